"""A poisoned record never sinks its batch: in every format that is read, at whatever place it stands, the others are read as without it."""

import copy
import json
import re
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ingest.collector.readers import readers
from ingest.formats import native, otlp, records, telemetry
from ingest.formats.batch import Parsed
from ingest.formats.event import UsageEvent
from tests.golden import captures
from tests.golden.harness_files import FILES
from tests.golden.test_gateways import BATCHES, DOCUMENTED, batch
from tests.golden.test_vendors import ANSWERS

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EXAMPLES = 40
ODD: list[Any] = [
    None, True, -1, 0, 2**63, 2**200, 1e308, -0.0, "", "x", "\x00", "a\nb", "9" * 400, "2026-13-45T99:99:99Z", "\ud7ff", "NaN", [], {}, [[]], {"": ""}, [None], {"a": {"b": []}}, "x" * 10_000,
]  # fmt: skip
# A whole line that is no record of any format.
ALIEN = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"17",
    b"\xff\xfe",
    b"{}",
    b'{"a":' * 3_000,
    b'{"type": 17}',
    b'{"type": null, "message": []}',
    b"[" * 100_000,
    b'{"\\ud800": "\\ud800"}',
]
STATELESS: list[tuple[str, Any]] = [(name, row) for name, row, *_ in [*ANSWERS, *(one.values for one in DOCUMENTED)]] + [
    ("litellm", row) for name in BATCHES for row in batch(name)
]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of everything within."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return (
        [path, *(place for key, one in inner for place in leaves(one, (*path, key)))]
        if path
        else [place for key, one in inner for place in leaves(one, (key,))]
    )


def poisoned(record: Any, place: tuple[Any, ...], odd: Any) -> Any:
    """The record with something odd at one place."""
    found = copy.deepcopy(record)
    within = found
    for key in place[:-1]:
        within = within[key]
    within[place[-1]] = odd
    return found


def told(parsed: Parsed) -> set[tuple[str, str, int | None]]:
    return {(event.request_id, event.id, event.output_tokens) for event in parsed.events}


def lines(*rows: bytes) -> bytes:
    return b"\n".join(rows)


def read(name: str, body: bytes) -> Parsed:
    return records.parse(body, name=name, labels={"model": "gpt-4o"}, received_at=NOW, is_lines=True)


def encoded(row: Any) -> bytes:
    return json.dumps(row).encode()


def of_another_call(name: str, row: Any) -> Any:
    """The row; where it is one part of a streamed answer, with another answer's id: parts with one id are one call, which counts or is refused whole."""
    is_part = getattr(records.record_formats()[name].Reader(), "is_part", lambda _: False)
    return {**row, "responseId": "another", "id": "another"} if is_part(row) else row


@settings(max_examples=EXAMPLES * 3)
@given(data=some.data(), chosen=some.sampled_from(STATELESS), odd=some.sampled_from(ODD))
def test_a_record_with_something_odd_in_it_harms_no_other(data: some.DataObject, chosen: tuple[str, Any], odd: Any) -> None:
    name, row = chosen
    place = data.draw(some.sampled_from(leaves(row)))
    poison = encoded(poisoned(of_another_call(name, row), place, odd))
    alone = told(read(name, encoded(row)))
    for body in (lines(poison, encoded(row)), lines(encoded(row), poison), b"[" + poison + b"," + encoded(row) + b"]"):
        assert alone <= told(
            records.parse(body, name=name, labels={"model": "gpt-4o"}, received_at=NOW, is_lines=not body.startswith(b"["))
        )


@settings(max_examples=EXAMPLES)
@given(data=some.data(), alien=some.sampled_from(ALIEN))
@pytest.mark.parametrize("name", sorted(records.record_formats()))
def test_a_line_that_is_no_record_harms_no_other(name: str, data: some.DataObject, alien: bytes) -> None:
    rows = [
        line for file in FILES if file.harness == name and file.path.suffix == ".jsonl" for line in file.path.read_bytes().splitlines()[:40]
    ]
    rows = rows or [encoded(row) for known, row in STATELESS if known == name]
    place = data.draw(some.integers(0, len(rows)))
    without = told(read(name, lines(*rows))) if rows else set()
    assert told(read(name, lines(*rows[:place], alien, *rows[place:], b"{}"))) == without


def test_every_harness_file_is_tried_with_records_of_its_own() -> None:
    assert set(readers()) - {file.harness for file in FILES} == {"qwen-code"}, "Qwen Code's files are made up in its own tests"


UUIDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CAPTURED = [found for name, found in sorted(captures.CAPTURES_OF_OTLP.items()) if found.signal in ("logs", "traces")]


@settings(max_examples=EXAMPLES * 2)
@given(data=some.data(), capture=some.sampled_from(CAPTURED), odd=some.sampled_from(ODD))
def test_a_log_record_or_span_with_something_odd_in_it_harms_no_other(data: some.DataObject, capture: captures.Capture, odd: Any) -> None:
    scopes, items = captures.ITEMS[capture.signal]
    document = capture.document
    alone = told(parsed(capture.signal, document))
    group = next(iter(document.values()))[0][scopes][0]
    record = data.draw(some.sampled_from(group[items]))
    place = data.draw(some.sampled_from(leaves(record)))
    # Another call's: of one call two broken reports are one.
    other = json.loads(UUIDS.sub(lambda found: str(uuid5(NAMESPACE_OID, found[0])), json.dumps(record).replace("Mock", "Odd")))
    poison = poisoned({**other, "spanId": "aaaaaaaaaaaaaaaa", "traceId": "b" * 32}, place, odd)
    group[items] = data.draw(some.sampled_from([[poison, *group[items]], [*group[items], poison]]))
    assert {one[0] or one[1] for one in alone} <= {one[0] or one[1] for one in told(parsed(capture.signal, document))}


def parsed(signal: str, document: Any) -> Parsed:
    body = json.dumps(document).encode()
    if signal == "logs":
        return otlp.parse(telemetry.log_records(body, is_json=True)).usage
    return otlp.parse_spans(telemetry.spans(body, is_json=True)).usage


@settings(max_examples=EXAMPLES * 2)
@given(odd=some.sampled_from(ODD), name=some.sampled_from([*(field.name for field in msgspec.structs.fields(UsageEvent)), "colour"]))
def test_a_native_event_with_something_odd_in_it_harms_no_other(odd: Any, name: str) -> None:
    good = {"id": "good", "occurred_at": NOW.isoformat(), "model": "gpt-5"}
    bad = {**good, "id": "bad", name: odd}
    for body, is_lines in ((json.dumps({"events": [bad, good]}), False), (f"{json.dumps(bad)}\n{json.dumps(good)}", True)):
        assert "good" in {event.id for event in native.parse(body.encode(), limit=100, is_lines=is_lines).events}
