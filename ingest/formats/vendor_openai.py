"""OpenAI's answers: chat completions, the responses API, embeddings, and the last chunk of their streams; also vLLM's and others' like them.

Input includes cached tokens, output includes reasoning. A stream whose caller did not ask for usage has none: counts stay unknown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ingest.collector.readers.values import Fields, amount, count, identifier, instant, mapping, text
from ingest.formats.answers import AnswerReader, unusual
from ingest.formats.buckets import Reported, disjoint

NAME = "openai"


class Reader(AnswerReader):
    provider = "openai"

    def opened(self, record: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, str]]:
        body = mapping(record.get("response")).get("body")
        return (body, {"processing": "batch"}) if isinstance(body, dict) else (record, {})

    def lacks_id(self, answer: Mapping[str, Any]) -> bool:
        """Embeddings, images and transcriptions have none; answers and the parts of their streams do."""
        return not answer.get("id") and bool(answer.get("usage")) and not text(answer.get("object")).startswith("chat.completion")

    def is_part(self, record: Mapping[str, Any]) -> bool:
        is_last = record.get("choices") == [] and bool(record.get("usage"))
        return record.get("object") == "chat.completion.chunk" and not is_last

    def joined(self, parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The answer in a stream: the responses API sends it whole at the end, chat spreads id, model and usage over its chunks."""
        answer: dict[str, Any] = {}
        for part in parts:
            whole = mapping(part.get("response")) or part
            answer |= {name: value for name, value in whole.items() if value is not None}
        return answer

    def call(self, answer: Mapping[str, Any]) -> Fields:
        usage = mapping(answer.get("usage"))
        made = answer.get("completed_at") or answer.get("created_at") or answer.get("created")
        has_failed = bool(answer.get("error")) or answer.get("status") == "failed"
        return {
            "request_id": identifier(answer.get("id")),
            "occurred_at": instant(made) if made else None,
            "provider": self.provider,
            "model": text(answer.get("model")),
            "status": "error" if has_failed else "ok",
            **tokens(usage),
            "units": sounds(usage),
            "reported_cost": amount(mapping(usage.get("cost")).get("total_cost", usage.get("cost"))),
            "tags": unusual(service_tier=answer.get("service_tier")),
        }


def tokens(usage: Mapping[str, Any]) -> Fields:
    """The disjoint buckets, under the names of chat completions or those of the responses API."""
    read = mapping(usage.get("prompt_tokens_details")) or mapping(usage.get("input_tokens_details"))
    written = mapping(usage.get("completion_tokens_details")) or mapping(usage.get("output_tokens_details"))
    split = mapping(usage.get("cache_creation"))
    reported = Reported(
        input=first(usage, "prompt_tokens", "input_tokens"),
        output=first(usage, "completion_tokens", "output_tokens"),
        cache_read=first(read, "cached_tokens") if read else first(usage, "cache_read_input_tokens", "prompt_cache_hit_tokens"),
        cache_write=first(read, "cache_write_tokens", "cache_creation_tokens") or first(usage, "cache_creation_input_tokens"),
        cache_write_5m=split.get("ephemeral_5m_input_tokens"),
        cache_write_1h=split.get("ephemeral_1h_input_tokens"),
        reasoning=first(written, "reasoning_tokens"),
        total=usage.get("total_tokens"),
    )
    return disjoint(reported, cache_in_input=True, reasoning_in_output=True)


def first(values: Mapping[str, Any], *names: str) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def sounds(usage: Mapping[str, Any]) -> Fields:
    """Parts of input and output that have prices of their own."""
    read, written = mapping(usage.get("prompt_tokens_details")), mapping(usage.get("completion_tokens_details"))
    found = {
        "input_audio_tokens": count(read.get("audio_tokens")),
        "output_audio_tokens": count(written.get("audio_tokens")),
        "web_searches": count(mapping(usage.get("server_tool_use")).get("web_search_requests")),
    }
    return {name: value for name, value in found.items() if value}
