"""Reading event JSON: one, many, or one per line; a bad event is refused by itself."""

import json
import re
from typing import Any

import pytest

from ingest.formats.batch import BadBody, Parsed
from ingest.formats.event import UsageEvent
from ingest.formats.native import parse

GOOD: dict[str, Any] = {"id": "call-1", "occurred_at": "2026-11-21T10:00:00Z", "model": "gpt-5", "input_tokens": 3}


def body(*events: object) -> bytes:
    return json.dumps({"events": list(events)}).encode()


def lines(*events: object) -> bytes:
    return b"\n".join(json.dumps(event).encode() for event in events)


def read(text: bytes, limit: int = 10, **options: Any) -> Parsed:
    return parse(text, limit=limit, **options)


def test_one_event_is_single() -> None:
    parsed = read(json.dumps(GOOD, indent=2).encode() + b"\n\n")
    assert parsed.is_single
    assert parsed.events[0].input_tokens == 3


def test_a_batch_of_one_is_a_batch() -> None:
    assert not read(body(GOOD)).is_single


@pytest.mark.parametrize("is_lines", [True, False], ids=["told", "noticed"])
def test_lines_are_read_as_events(is_lines: bool) -> None:
    text = lines(GOOD, GOOD).replace(b"\n", b"\r\n\r\n") + b"\n"
    assert len(read(text, is_lines=is_lines).events) == 2


def test_a_bad_event_harms_no_other() -> None:
    parsed = read(body(GOOD, {**GOOD, "id": "call-2", "input_tokens": -1}, 7, GOOD))
    assert parsed.positions == [0, 3]
    assert [(one.index, one.fault.code, one.fault.field, one.id) for one in parsed.refused] == [
        (1, "invalid_field", "input_tokens", "call-2"),
        (2, "invalid_field", "", ""),
    ]


def test_a_refused_event_keeps_what_came() -> None:
    bad = {**GOOD, "colour": "blue"}
    assert json.loads(read(body(bad)).refused[0].payload) == bad


def test_a_broken_line_harms_no_other() -> None:
    parsed = read(lines(GOOD) + b'\n{"id": tru}\n\xff\xfe\n' + lines(GOOD), is_lines=True)
    assert parsed.positions == [0, 3]
    assert [one.fault.code for one in parsed.refused] == ["broken_json", "broken_json"]


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"id": ""}, "missing_id", "id"),
        ({"id": " "}, "missing_id", "id"),
        ({"model": ""}, "invalid_field", "model"),
        ({"model": " "}, "invalid_field", "model"),
        ({"model": None}, "missing_field", "model"),
        ({"model": "a\x00b"}, "control_character", "model"),
        ({"session": "a\nb"}, "control_character", "session"),
        ({"tags": {"note": "a\x1b"}}, "control_character", "tags"),
        ({"tags": {"a\x00": "b"}}, "control_character", "tags"),
        ({"tags": {str(n): "" for n in range(65)}}, "invalid_field", "tags"),
        ({"tags": {"a": 1}}, "invalid_field", "tags"),
        ({"session": "x" * 201}, "invalid_field", "session"),
        ({"input_tokens": 1.5}, "invalid_field", "input_tokens"),
        ({"input_tokens": "7"}, "invalid_field", "input_tokens"),
        ({"input_tokens": True}, "invalid_field", "input_tokens"),
        ({"input_tokens": 10**30}, "invalid_field", "input_tokens"),
        ({"output_tokens": 5, "reasoning_tokens": 6}, "invalid_field", "reasoning_tokens"),
        ({"latency_ms": -1}, "invalid_field", "latency_ms"),
        ({"reported_cost": -1}, "invalid_field", "reported_cost"),
        ({"reported_cost": "NaN"}, "invalid_field", "reported_cost"),
        ({"reported_cost": "sNaN"}, "invalid_field", "reported_cost"),
        ({"reported_cost": "Infinity"}, "invalid_field", "reported_cost"),
        ({"reported_cost": "1e999999999"}, "invalid_field", "reported_cost"),
        ({"reported_cost": "1e-999999999"}, "invalid_field", "reported_cost"),
        ({"units": {str(n): 1 for n in range(65)}}, "invalid_field", "units"),
        ({"units": {"web_searches": -1}}, "invalid_field", "units"),
        ({"currency": "usd"}, "invalid_field", "currency"),
        ({"billing_mode": "free"}, "invalid_field", "billing_mode"),
        ({"authorization": "no uuid"}, "invalid_field", "authorization"),
        ({"occurred_at": "2026-11-21T10:00:00"}, "invalid_field", "occurred_at"),
        ({"occurred_at": 1795255369}, "invalid_field", "occurred_at"),
        ({"occurred_at": "yesterday"}, "invalid_field", "occurred_at"),
        ({"colour": "blue"}, "unknown_field", "colour"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_the_field(change: dict[str, Any], code: str, field: str) -> None:
    refused = read(body(GOOD | change)).refused
    assert [(one.fault.code, one.fault.field) for one in refused] == [(code, field)]
    assert re.fullmatch(r"[A-Z`].*[a-zA-Z0-9`]\.", refused[0].fault.reason)
    assert "null" not in refused[0].fault.reason


@pytest.mark.parametrize("name", ["occurred_at", "model"])
def test_a_missing_field_is_named(name: str) -> None:
    refused = read(body({key: value for key, value in GOOD.items() if key != name})).refused
    assert [(one.fault.code, one.fault.field) for one in refused] == [("missing_field", name)]


def test_text_that_no_database_holds_is_refused_alone() -> None:
    parsed = read(body({**GOOD, "team": "🙂 \\ud800"})[:-2] + b', {"id": "b", "occurred_at": "2026-11-21T10:00:00Z", "model": "\\ud800"}]}')
    assert parsed.events[0].team == "🙂 \\ud800"
    assert [(one.index, one.fault.code, one.fault.field) for one in parsed.refused] == [(1, "control_character", "model")]


def test_null_says_the_same_as_an_absent_field() -> None:
    every = dict.fromkeys(UsageEvent.__struct_fields__, None)
    assert read(body(GOOD, every | GOOD)).events == [*read(body(GOOD)).events] * 2


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()).is_single


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input_tokens": -1}, "A whole number of at least 0 is expected."),
        ({"input_tokens": 2_000_000_000}, "A whole number of at most 1,000,000,000 is expected."),
        ({"input_tokens": "7"}, "A whole number is expected, not text."),
        ({"session": "x" * 201}, "The text is too long; 200 characters are taken."),
        ({"billing_mode": "free"}, "One of metered, subscription, self-hosted is expected."),
        (
            {"occurred_at": 1795255369},
            "A time with its zone is expected, written as 2026-11-21T10:00:00Z or with an offset such as +01:00; seconds since 1970 are not taken.",
        ),
    ],
)
def test_the_reason_is_a_sentence_for_people(change: dict[str, Any], reason: str) -> None:
    assert read(body(GOOD | change)).refused[0].fault.reason == reason


def test_escaped_text_is_taken() -> None:
    assert read(body({**GOOD, "team": 'Ärzte "Nord" \\ud800 東京 🙂'})).events[0].team == 'Ärzte "Nord" \\ud800 東京 🙂'


def test_the_last_of_two_equal_keys_holds() -> None:
    text = json.dumps(GOOD).encode()[:-1] + b', "input_tokens": 9}'
    assert read(text).events[0].input_tokens == 9


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "empty_body"),
        (b" \n ", "empty_body"),
        (b"[]", "wrong_shape"),
        (b"7", "wrong_shape"),
        (b"null", "wrong_shape"),
        (b'{"events": 7}', "wrong_shape"),
        (b'{"events": [], "more": 1}', "wrong_shape"),
        (b'{"events": [', "broken_json"),
        (b'{"id": NaN}', "broken_json"),
        (b'{"id": Infinity}', "broken_json"),
        (b'{"id": "\xff"}', "broken_utf8"),
        (b'{"a":' * 100_000, "too_deep"),
        (b'{"events": [' + b"[" * 100_000, "too_deep"),
    ],
)
def test_a_body_that_is_none_is_unreadable(text: bytes, code: str) -> None:
    with pytest.raises(BadBody) as caught:
        read(text)
    assert (caught.value.status, caught.value.code) == (400, code)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (body(*[GOOD] * 11), "too_many_events"),
        (lines(*[GOOD] * 11), "too_many_events"),
        (body(*[{}] * 11), "too_many_events"),
        (b"{}\n" * 41, "too_many_events"),
        (b'{"events": [' + b"0," * 1281 + b"0]}", "too_many_values"),
    ],
)
def test_a_body_over_the_limit_is_refused_whole(text: bytes, code: str) -> None:
    with pytest.raises(BadBody) as caught:
        read(text)
    assert (caught.value.status, caught.value.code) == (413, code)
