"""What readers of vendors' answers share: one answer, the events of its stream, or an envelope with labels around either. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ingest.collector.readers.reading import Stateless
from ingest.collector.readers.values import Fields, Misread, known, listed, mapping, text

ENVELOPE = frozenset(("format", "labels", "response", "stream"))
LABELS = frozenset((
    "id", "request_id", "occurred_at", "latency_ms", "ttft_ms", "status", "team", "project", "member", "session", "parent_session", "task",
    "trace", "parent", "role", "task_class", "environment", "harness", "harness_version", "gateway", "provider", "model", "billing_mode",
    "authorization", "tags",
))  # fmt: skip
# What prices do not go by, because it is how every call is made.
USUAL = frozenset(("", "auto", "default", "standard", "not_available", "on_demand"))


class AnswerReader(Stateless):
    """Reads answers of one vendor. `call` gives an answer's fields; `joined` makes one answer of a stream's events."""

    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if not ENVELOPE.issuperset(record) or not (isinstance(record.get("response"), dict) or isinstance(record.get("stream"), list)):
            yield known(self.call(self.joined([record])))
            return
        labels = checked(mapping(record.get("labels")))
        parts = listed(record.get("stream")) or [record["response"]]
        fields = known(self.call(self.joined([part for part in parts if isinstance(part, dict)])))
        tags = {**labels.pop("tags", {}), **fields.get("tags", {})}
        yield known({**labels, **fields, "tags": tags})

    def call(self, answer: Mapping[str, Any]) -> Fields:
        raise NotImplementedError

    def joined(self, parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        raise NotImplementedError


def checked(labels: Mapping[str, Any]) -> Fields:
    """The envelope's labels. Raises Misread for a name that is none, so that a misspelled one is not lost silently."""
    if unknown := sorted(set(labels) - LABELS):
        raise Misread("labels", f"There is no label `{text(unknown[0], 80)}`.")
    return {**labels, "tags": {text(name): text(value, 1000) for name, value in mapping(labels.get("tags")).items()}}


def unusual(**named: object) -> dict[str, str]:
    """Ways of processing that prices may go by, as tags."""
    found = {name: text(value, 40) for name, value in named.items()}
    return {name: value for name, value in found.items() if value.lower() not in USUAL}
