"""Ollama's chat and generate answers, and the last line of their streams: counts and durations in nanoseconds, no id.

An answer is told from others by its model, its time to the nanosecond and its counts, unless a label gives its id. Embeddings have no
time: they are told apart by their content, which has what they took to the nanosecond.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ingest.collector.readers.values import Fields, identifier, instant, text
from ingest.formats.answers import KNOWN_BY, AnswerReader, content_hash
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.scalars import milliseconds

NAME = "ollama"


class Reader(AnswerReader):
    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        """Of a stream's lines only the last one says what the call took."""
        return () if record.get("done") is False and "eval_count" not in record else super().read(record)

    def joined(self, parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        return {name: value for part in parts for name, value in part.items()}

    def call(self, answer: Mapping[str, Any]) -> Fields:
        reported = Reported(input=answer.get("prompt_eval_count"), output=answer.get("eval_count"))
        at, model = identifier(answer.get("created_at")), text(answer.get("model"))
        return {
            KNOWN_BY: known_by(answer, model, at),
            "occurred_at": instant(shortened(at)) if at else None,
            "provider": "ollama",
            "model": model,
            "status": "error" if answer.get("error") else "ok",
            **disjoint(reported, cache_in_input=True, reasoning_in_output=True),
            "latency_ms": milliseconds(answer.get("total_duration"), shift=-6),
            "billing_mode": "self-hosted",
        }


def known_by(answer: Mapping[str, Any], model: str, at: str) -> str | None:
    counts = (answer.get("prompt_eval_count"), answer.get("eval_count"), answer.get("total_duration"))
    if at:
        return ":".join((model, at, *(text(one) for one in counts)))[-200:]
    is_telling = bool(answer.get("total_duration")) and answer.get("prompt_eval_count") is not None
    return f"{model[:160]}:{content_hash(answer)}" if is_telling else None


def shortened(stamp: str) -> str:
    """The time with its fraction cut to microseconds, which is all that others read."""
    whole, point, rest = stamp.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return f"{whole}{point}{rest[: min(digits, 6)]}{rest[digits:]}"
