"""Which spans of one request are the same model call: one instrumentation wraps another, or two watch side by side. Pure.

A call within a call is the same call, unless both have ids of the vendor's and these differ. So is a call with the same id in
another trace; and, where a framework's span has no id, the one call of a library that took place within its time with the same
model and counts. Of such sightings the more complete one is taken, with the labels that only another has.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ingest.formats.telemetry import Span

SpanKey = tuple[str, str]
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "reasoning_tokens")
# These are taken from one sighting together: counts of two would not fit each other, and times belong to a span.
OWN = (*COUNTS, "occurred_at", "latency_ms", "status", "trace", "parent", "id")

DATED = re.compile(r"(?:[-@]20[0-9]{2}-?[0-9]{2}-?[0-9]{2})?")
# No call lies deeper, and a request made of one endless line of spans must not cost the square of its length.
DEEPEST = 64
# Of more calls in one request the times are not compared, each with each.
MOST_COMPARED = 2_000


@dataclass(slots=True)
class Call:
    """A model call as one span has it, or several together.

    `spans` are its own, `above` those that it is known to lie in, `beyond` those of them that the request does not hold.
    """

    index: int
    span: Span
    fields: dict[str, Any]
    spans: list[SpanKey] = field(default_factory=list)
    above: list[SpanKey] = field(default_factory=list)
    beyond: list[SpanKey] = field(default_factory=list)

    @property
    def request_id(self) -> str | None:
        found = self.fields.get("request_id")
        return None if found is None else str(found)


def key_of(span: Span) -> SpanKey:
    return span.trace_id, span.span_id


def calls_once(calls: Sequence[Call], spans: Sequence[Span]) -> list[Call]:
    """Each model call once, in the order of the request. `spans` are all spans of the request, between which the calls lie."""
    by_key = {key_of(span): span for span in spans if span.span_id}
    for call in calls:
        call.spans = [key_of(call.span)] if call.span.span_id else []
        call.above = list(ancestors(call.span, by_key))
        call.beyond = [key for key in call.above if key not in by_key]
    left = unwrapped(calls)
    left = same_ids(left)
    return sorted(within_frameworks(left), key=lambda call: call.index)


def ancestors(span: Span, by_key: Mapping[SpanKey, Span]) -> Iterator[SpanKey]:
    """The spans above, from the nearest to the first that the request does not hold."""
    above, met = span, {span.span_id}
    while above.parent_id and above.parent_id not in met and len(met) <= DEEPEST:
        met.add(above.parent_id)
        key = (above.trace_id, above.parent_id)
        yield key
        if key not in by_key:
            return
        above = by_key[key]


def unwrapped(calls: Sequence[Call]) -> list[Call]:
    """The calls without those that only wrap others; what a wrapper alone says goes to the call in it."""
    wrappers = {call.spans[0]: call for call in calls if call.spans}
    inner: dict[SpanKey, list[Call]] = {}
    for call in calls:
        nearest = next((key for key in call.above if key in wrappers), None)
        if nearest is not None:
            inner.setdefault(nearest, []).append(call)
    current = {call.index: call for call in calls}
    # What a dropped wrapper stands for: the calls in it that are left.
    leaves: dict[int, list[int]] = {}
    # From the innermost outwards, so that a chain of wrappers ends in one call.
    for key in sorted(inner, key=lambda one: -len(wrappers[one].above)):
        wrapper = current[wrappers[key].index]
        found = dict.fromkeys(leaf for call in inner[key] for leaf in leaves.get(call.index, [call.index]) if leaf != wrapper.index)
        beneath = [current[leaf] for leaf in found]
        if (into := wrapped_by(wrapper, beneath)) is not None:
            leaves[wrapper.index] = list(found)
            if len(beneath) == 1 or wrapper.request_id is not None:
                current[into.index] = replace(merged(into, wrapper), index=into.index)
    return [current[call.index] for call in calls if call.index not in leaves]


def wrapped_by(wrapper: Call, beneath: Sequence[Call]) -> Call | None:
    """Which of the calls beneath is what the wrapper tells of; None when the wrapper is a call of its own."""
    same = [call for call in beneath if call.request_id is not None and call.request_id == wrapper.request_id]
    if same:
        return same[0]
    nameless = beneath if wrapper.request_id is None else [call for call in beneath if call.request_id is None]
    fitting = [call for call in nameless if call.fields.get("status") == wrapper.fields.get("status")] or nameless
    return fitting[-1] if fitting else None


def same_ids(calls: Sequence[Call]) -> list[Call]:
    """The calls, those with one id of the vendor's put together."""
    found: dict[Any, Call] = {}
    for call in calls:
        name: Any = call.request_id or (call.index,)
        found[name] = merged(found[name], call) if name in found else call
    return list(found.values())


def within_frameworks(calls: Sequence[Call]) -> list[Call]:
    """The calls without framework's spans that have no id and are told of by a library's span too, in a trace of its own."""
    left = list(calls)
    if len(left) > MOST_COMPARED:
        return left
    for outer in [call for call in calls if call.request_id is None]:
        inner = [call for call in left if call is not outer and lies_within(call, outer)]
        if inner:
            nearest = min(inner, key=lambda call: (outer.span.end_unix_nano - call.span.end_unix_nano, call.index))
            left = [merged(nearest, outer) if call is nearest else call for call in left if call is not outer]
    return left


def lies_within(inner: Call, outer: Call) -> bool:
    """Whether the inner span is the same call as seen by another instrumentation of the same process."""
    return (
        inner.span.source.scope != outer.span.source.scope
        and inner.span.source.resource == outer.span.source.resource
        and took_place_within(inner.span, outer)
        and are_one_model(str(inner.fields.get("model")), str(outer.fields.get("model")))
        and are_same_counts(comparable(inner), comparable(outer))
        and (inner.fields.get("status") == outer.fields.get("status") or bool(counted(inner) and counted(outer)))
    )


def took_place_within(inner: Span, outer: Call) -> bool:
    """Whether the inner span's time is within the outer's. What has no length was told when a stream ended, and says how long that was."""
    began, ended = outer.span.start_unix_nano, outer.span.end_unix_nano
    if began == ended and type(lasted := outer.fields.get("latency_ms")) is int:
        return inner.start_unix_nano <= ended - lasted * 1_000_000 <= inner.end_unix_nano <= ended
    return began <= inner.start_unix_nano <= inner.end_unix_nano <= ended


def are_one_model(first: str, second: str) -> bool:
    """Whether two names are the same but for the date that one of them leaves out."""
    short, long = sorted((first, second), key=len)
    return long.startswith(short) and DATED.fullmatch(long[len(short) :]) is not None


def comparable(call: Call) -> dict[str, Any]:
    """The counts with all cache writes as one: not every instrumentation tells how long they last."""
    found = counted(call)
    writes = [found.pop(name) for name in ("cache_write_5m_tokens", "cache_write_1h_tokens") if name in found]
    return found | ({"cache_write_tokens": sum(writes)} if writes and all(type(value) is int for value in writes) else {})


def are_same_counts(inner: dict[str, Any], outer: dict[str, Any]) -> bool:
    """Whether the inner call knows what the outer one does of input and output, and nothing that both know differs.

    Frameworks learn less of streams than libraries do, and nothing of calls that failed.
    """
    both = inner.keys() & outer.keys()
    return {"input_tokens", "output_tokens"} & outer.keys() <= both and all(inner[name] == outer[name] for name in both)


def counted(call: Call) -> dict[str, Any]:
    return {name: call.fields[name] for name in COUNTS if name in call.fields}


def merged(first: Call, second: Call) -> Call:
    """One call of two sightings; of two that are as complete the first is taken."""
    better, other = (first, second) if completeness(first) >= completeness(second) else (second, first)
    fields = {name: value for name, value in other.fields.items() if name not in OWN} | better.fields
    if tags := {**(other.fields.get("tags") or {}), **(better.fields.get("tags") or {})}:
        fields["tags"] = tags
    spans = [*better.spans, *other.spans]
    above = [key for key in dict.fromkeys((*better.above, *other.above)) if key not in spans]
    beyond = list(dict.fromkeys((*better.beyond, *other.beyond)))
    return Call(min(first.index, second.index), better.span, fields, spans, above, beyond)


def completeness(call: Call) -> tuple[int, int]:
    """How many of the counts a sighting knows, then whether it knows the vendor's id."""
    return len(counted(call)), call.request_id is not None
