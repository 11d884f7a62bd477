"""What readers of vendors' answers share: one answer, the events of its stream, or an envelope with labels around either. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from governance.ids import hash16
from ingest.collector.readers.reading import COUNTS, MOST_OPEN, Rewriting
from ingest.collector.readers.values import Fields, Misread, known, listed, mapping, text

ENVELOPE = frozenset(("format", "labels", "response", "stream"))
LABELS = frozenset((
    "id", "request_id", "occurred_at", "latency_ms", "ttft_ms", "status", "team", "project", "member", "session", "parent_session", "task",
    "trace", "parent", "role", "task_class", "environment", "harness", "harness_version", "gateway", "provider", "model", "billing_mode",
    "authorization", "tags",
))  # fmt: skip
# Beside an event's fields: what an answer without an id is known by, alone or together with its time (`named`).
KNOWN_BY, CONTENT = "known_by", "content"
# What prices do not go by, because it is how every call is made.
USUAL = frozenset(("", "auto", "default", "standard", "not_available", "on_demand"))


class AnswerReader(Rewriting):
    """Reads answers of one vendor. `call` gives an answer's fields; `joined` makes one answer of a stream's events.

    A body may hold a stream's parts as so many records: those that `is_part` knows wait for the one that ends it, by their id.
    """

    # Many vendors answer in the shape of one, so a label that says who it was goes before the format's own vendor.
    labels_first = ("provider",)

    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if not ENVELOPE.issuperset(record) or not (isinstance(record.get("response"), dict) or isinstance(record.get("stream"), list)):
            record, tags = self.opened(record)
            fields = known(self.call(self.joined([record])))
            if self.is_part(record):
                yield from self._kept(fields)
            else:
                fields = self._ended(fields)
                yield from self._all(known({**fields, "tags": {**fields.get("tags", {}), **tags}, **self._marked(record, fields)}), record)
            return
        labels = checked(mapping(record.get("labels")))
        parts = listed(record.get("stream")) or [record["response"]]
        answer = self.joined([part for part in parts if isinstance(part, dict)])
        fields = known(self.call(answer))
        tags = {**labels.pop("tags", {}), **fields.get("tags", {})}
        first = {name: labels[name] for name in self.labels_first if name in labels}
        yield from self._all(known({**labels, **fields, **first, "tags": tags, **self._marked(answer, fields)}), answer)

    def _all(self, fields: Fields, answer: Mapping[str, Any]) -> Iterable[Fields]:
        yield fields
        yield from self.within(answer, fields)

    def _kept(self, fields: Fields) -> Iterable[Fields]:
        """Keeps a part for those that follow, whose counts replace its own. A part that has no id says nothing of a call by itself."""
        waiting: dict[str, Fields] = self.context.setdefault("open", {})
        if name := fields.get("request_id"):
            waiting[name] = {**waiting.pop(name, {}), **fields}
        while len(waiting) > MOST_OPEN:
            yield waiting.pop(next(iter(waiting)))

    def _ended(self, fields: Fields) -> Fields:
        """The answer together with the parts of it that came before."""
        return {**self.context.get("open", {}).pop(fields.get("request_id"), {}), **fields}

    def opened(self, record: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, str]]:
        """The answer in what a vendor's batch delivers it in, and tags that say so."""
        return record, {}

    def _marked(self, answer: Mapping[str, Any], fields: Fields) -> Fields:
        """The hash of an answer that is whole and of a kind without ids. One that says no counts is no call that could be told from others."""
        is_counted = any(isinstance(fields.get(name), int) for name in COUNTS)
        return {CONTENT: content_hash(answer)} if is_counted and not fields.get("request_id") and self.lacks_id(answer) else {}

    def lacks_id(self, answer: Mapping[str, Any]) -> bool:
        """Whether this is a whole answer of a kind that the vendor gives no id."""
        return False

    def is_part(self, record: Mapping[str, Any]) -> bool:
        """Whether a record by itself is only a part of a streamed answer."""
        return False

    def within(self, answer: Mapping[str, Any], fields: Fields) -> Iterable[Fields]:
        """Further calls that an answer tells of."""
        return ()

    def call(self, answer: Mapping[str, Any]) -> Fields:
        raise NotImplementedError

    def joined(self, parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        raise NotImplementedError


def content_hash(answer: Mapping[str, Any]) -> str:
    """The same for the same answer however its JSON is laid out; nothing of it can be read back."""
    return hash16(msgspec.json.encode(answer, order="deterministic").decode()).hex


def named(fields: Fields, *, client: str, received: str) -> Fields:
    """A call's fields with an id. One that has none and is of a kind without ids is known by a fingerprint: the client, all that is said of
    the call (so its session, time, model and tokens) and the answer's content. `received` says when and as which record of its post it
    came; it counts where nothing else says the time, so that two equal answers stay two calls. Empty: the call's time is known.
    """
    kept = {name: value for name, value in fields.items() if name not in (KNOWN_BY, CONTENT)}
    if kept.get("id") or kept.get("request_id"):
        return kept
    if known_by := fields.get(KNOWN_BY):
        return {**kept, "id": known_by}
    if content := fields.get(CONTENT):
        said = msgspec.json.encode(kept, order="deterministic").decode()
        return {**kept, "id": f"answer-{hash16(client, content, said, received).hex}"}
    return kept


def checked(labels: Mapping[str, Any]) -> Fields:
    """The envelope's labels. Raises Misread for a name that is none, so that a misspelled one is not lost silently."""
    if unknown := sorted(set(labels) - LABELS):
        raise Misread("labels", f"There is no label `{text(unknown[0], 80)}`.")
    return {**labels, "tags": {text(name): text(value, 1000) for name, value in mapping(labels.get("tags")).items()}}


def unusual(**named: object) -> dict[str, str]:
    """Ways of processing that prices may go by, as tags."""
    found = {name: text(value, 40) for name, value in named.items()}
    return {name: value for name, value in found.items() if value.lower() not in USUAL}
