"""Encodings, delimiters, numbers and times as programs and people write them, and the exports that are known."""

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from governance.errors import Invalid
from ingest.importing import text, values
from ingest.importing.layouts import guess
from ingest.importing.mapping import AGGREGATED, Meaning, Reader, Row, meaning_check, parts_of
from ingest.importing.values import Unclear

BERLIN = ZoneInfo("Europe/Berlin")
TABLE = "timestamp;model;prompt_tokens;kosten;user\n21.11.2026 10:00;gpt-5;1.200;0,05;Jörg\n"


def laid_out(body: bytes) -> text.Layout:
    try:
        body.decode()
        is_utf8 = True
    except UnicodeDecodeError:
        is_utf8 = False
    return text.layout_of(body[:65_536], text.encoding_of(body[:65_536], is_utf8=is_utf8))


def read(body: bytes, **changes: Any) -> list[Row]:
    """The rows of a file by what is guessed of it."""
    layout = laid_out(body)
    headers = text.headers_of([body], layout)
    samples = [record.values for record in islice(text.records([body], layout), 50)]
    meaning = guess(headers, samples).meaning
    for name, value in changes.items():
        object.__setattr__(meaning, name, value)
    meaning_check(meaning, headers)
    reader = Reader(meaning)
    return [reader.read(record) for record in text.records([body], layout)]


def event(row: Row) -> Any:
    assert row.event is not None, row.fault
    return row.event


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_every_encoding_is_recognised(encoding: str) -> None:
    found = event(read(TABLE.encode(encoding))[0])
    assert (found.member, found.input_tokens, found.reported_cost) == ("Jörg", 1200, Decimal("0.05"))


@pytest.mark.parametrize("delimiter", text.DELIMITERS)
def test_every_delimiter_is_recognised(delimiter: str) -> None:
    body = (
        delimiter.join(("time", "model", "note, with a comma" if delimiter != "," else "note"))
        + "\n"
        + delimiter.join(("2026-11-21T10:00:00Z", "gpt-5", "x"))
    )
    assert event(read(body.encode())[0]).model == "gpt-5"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_taken_and_quotes_hold_lines_together(end: str) -> None:
    rows = read(
        f'time,model,id,note{end}2026-11-21T10:00Z,gpt-5,a,"two{end}lines, ""quoted"""{end}{end}2026-11-21T10:00Z,gpt-5,b,x{end}'.encode()
    )
    assert [event(row).id for row in rows] == ["a", "b"]


def test_a_row_with_a_value_too_many_says_so_and_the_next_is_read() -> None:
    rows = read(b"time,model,id\n2026-11-21T10:00Z,gpt-5,a,stray\n2026-11-21T10:00Z,gpt-5,b\n")
    assert rows[0].fault is not None
    assert "4 values" in rows[0].fault.reason
    assert event(rows[1]).id == "b"


def test_a_quote_that_is_never_closed_costs_the_rows_it_swallows_and_no_more_memory() -> None:
    good = b"2026-11-21T10:00Z,gpt-5,b\n"
    rows = read(b'time,model,id\n2026-11-21T10:00Z,gpt-5,"a\n' + good * 8_000)
    assert rows[0].fault is not None
    assert "quote" in rows[0].fault.reason
    assert event(rows[-1]).id == "b"


def test_no_two_columns_have_one_name() -> None:
    assert text.named(["input_tokens (2)", "input_tokens", "input_tokens", "", ""]) == [
        "input_tokens (2)", "input_tokens", "input_tokens (3)", "column 4", "column 5"
    ]  # fmt: skip
    assert len(set(text.named(["a", "a (2)", "a", "a (2)", "a"]))) == 5


def test_a_line_without_end_is_refused_without_being_held() -> None:
    rows = read(b"time,model,id\n" + b"x" * 3_000_000 + b"\n2026-11-21T10:00Z,gpt-5,b\n")
    assert [row.fault is None for row in rows] == [False, True]


def test_lines_of_json_are_read_with_what_they_hold_within() -> None:
    rows = read(
        b'{"occurred_at": "2026-11-21T10:00:00Z", "model": "gpt-5", "id": "a", "input_tokens": 12, "tags": {"feature": "search"}, "messages": [1]}\n'
        b"not json\n"
        b'{"occurred_at": 1795255200, "model": "gpt-5", "id": "b", "reported_cost": 0.1, "team": null}\n'
    )
    assert (event(rows[0]).input_tokens, event(rows[0]).tags) == (12, {"feature": "search"})
    assert rows[1].fault is not None
    assert (event(rows[2]).reported_cost, event(rows[2]).team) == (Decimal("0.1"), "")


@pytest.mark.parametrize(
    ("cell", "decimal", "wanted"),
    [
        ("1,234.5", ".", "1234.5"), ("1.234,5", ",", "1234.5"), ("1 234", ".", "1234"), ("1\u202f234,50 €", ",", "1234.50"), ("$0.05", ".", "0.05"), ("1'234.5", ".", "1234.5"),
        ("1e-3", ".", "0.001"), (".5", ".", "0.5"), ("12.", ".", "12"), ("USD 3", ".", "3"),
    ],
)  # fmt: skip
def test_numbers_with_separators(cell: str, decimal: str, wanted: str) -> None:
    assert values.number(cell, decimal) == Decimal(wanted)


@pytest.mark.parametrize(
    "cell",
    [
        "1,23",
        "1,2345",
        "12,345,6",
        "abc",
        "1.2.3",
        "0x12",
        "1-2",
        "½",
        "7e1000000",
        "1e999999999",
        "1e99999999999999999999",
        "1" + " " * 90_000 + "x",
    ],
)
def test_what_may_be_another_number_is_refused(cell: str) -> None:
    with pytest.raises(Unclear):
        values.number(cell, ".")


def test_a_fraction_is_no_count() -> None:
    assert values.whole("3.0", ".") == 3
    with pytest.raises(Unclear, match="thousands"):
        values.whole("1.234", ".")
    with pytest.raises(values.Unclear, match="parts thousands"):
        values.whole("2.000", ".")
    assert values.decimal_of(["0.5", "2.000"], counts=["2.000"]) == ","
    assert values.decimal_of(["0.500", "2.0"], counts=["2.0"]) == "."


@pytest.mark.parametrize(
    ("cell", "order", "wanted"),
    [
        ("2026-11-21T10:00:00Z", "ymd", "2026-11-21T10:00:00"), ("2026-11-21 10:00:00.123456789+01:00", "ymd", "2026-11-21T09:00:00.123456"),
        ("2026-11-21 10:00", "ymd", "2026-11-21T09:00:00"), ("2026-11-21", "ymd", "2026-11-21T11:00:00"), ("21.11.2026 10:00", "dmy", "2026-11-21T09:00:00"),
        ("11/21/2026, 10:00:05 PM", "mdy", "2026-11-21T21:00:05"), ("2026-11-21 10:00:00 UTC", "ymd", "2026-11-21T10:00:00"), ("1795255200", "ymd", "2026-11-21T10:00:00"),
        ("1795255200000", "ymd", "2026-11-21T10:00:00"), ("1795255200.5", "ymd", "2026-11-21T10:00:00.500000"), ("2026-07-01 00:30", "ymd", "2026-06-30T22:30:00"),
        ("Nov 21, 2026", "ymd", "2026-11-21T11:00:00"), ("2026-11-21 10:00:00 +0000 UTC", "ymd", "2026-11-21T10:00:00"),
    ],
)  # fmt: skip
def test_times(cell: str, order: str, wanted: str) -> None:
    assert values.instant(cell, zone=BERLIN, order=order)[0] == datetime.fromisoformat(wanted).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "cell",
    [
        "yesterday",
        "2026-13-01",
        "2026-02-30",
        "2026-11-21 25:00",
        "21.11.2026",
        "",
        "99999999999999999999",
        "2026-11-21 10:00" + " " * 90_000 + "x",
    ],
)
def test_what_is_no_time_is_refused(cell: str) -> None:
    with pytest.raises(Unclear):
        values.instant(cell, zone=BERLIN, order="ymd")


@pytest.mark.parametrize(("cell", "zone"), [("9999-12-31", "Etc/GMT+12"), ("9999-12-31 23:00", "Etc/GMT+12"), ("0001-01-01", "Etc/GMT-14")])
def test_days_at_the_ends_of_time_are_refused(cell: str, zone: str) -> None:
    with pytest.raises(Unclear):
        values.instant(cell, zone=ZoneInfo(zone), order="ymd")


@given(some.text(max_size=40), some.sampled_from(values.ORDERS))
def test_any_cell_is_read_or_refused(cell: str, order: str) -> None:
    with suppress(Unclear):
        values.instant(cell, zone=BERLIN, order=order)
    with suppress(Unclear):
        values.whole(cell, ".")
    with suppress(Unclear):
        values.number(cell, ",")


@given(some.binary(max_size=400))
def test_any_bytes_are_rows_or_refusals(body: bytes) -> None:
    layout = laid_out(body)
    headers = text.headers_of([body], layout)
    reader = Reader(
        Meaning(dict.fromkeys(headers[:1], "occurred_at") | dict.fromkeys(headers[1:2], "model") | dict.fromkeys(headers[2:], "tag"))
    )
    for record in text.records([body], layout):
        row = reader.read(record)
        assert (row.event is None) != (row.fault is None)


OPENAI = (
    "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,batch,input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens\n"
    "1795132800,1795219200,2026-11-20T00:00:00+00:00,2026-11-21T00:00:00+00:00,proj_1,300,,key_9,gpt-5-2025-08-07,False,7162,900,1280,5882\n"
    "1795219200,1795305600,2026-11-21T00:00:00+00:00,2026-11-22T00:00:00+00:00,,,,,,,,,,\n"
)
ANTHROPIC = (
    "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,"
    "usage_input_tokens_cache_read,usage_output_tokens,web_search_count,inference_geo,speed\n"
    "2026-11-20,claude-sonnet-4-5-20250929,ci,Default,standard,≤ 200k,100000,2000,0,5000,50000,3,,standard\n"
)
OPENROUTER = (
    "generation_id,created_at,cost_total,cost_web_search,cost_cache,cost_file_processing,byok_usage_inference,tokens_prompt,tokens_completion,tokens_reasoning,tokens_cached,"
    "model_permaslug,provider_name,variant,cancelled,streamed,user,finish_reason_raw,finish_reason_normalized,generation_time_ms,time_to_first_token_ms,api_key_disabled,api_key_name,app_name\n"
    "gen-1795255200-AbCdEf123456,2026-11-21 10:00:00.713,0.0123,0,0,0,0,10389,137,20,389,openai/gpt-5,OpenAI,standard,false,true,anna,stop,stop,1200,300,false,ci,checkout\n"
)
LITELLM = (
    "request_id,call_type,api_key,spend,total_tokens,prompt_tokens,completion_tokens,startTime,endTime,model,model_group,custom_llm_provider,end_user,team_id,session_id,status\n"
    "chatcmpl-AbC123456789,acompletion,hashed,0.0045,1700,1500,200,2026-11-21 10:00:00.736,2026-11-21 10:00:01.531,gpt-4o,gpt,openai,anna@acme.example,t1,sess-1,success\n"
)


def test_openai_usage_is_known_and_its_input_is_what_no_cache_served() -> None:
    first, empty = read(OPENAI.encode())
    found = event(first)
    assert (found.provider, found.input_tokens, found.cache_read_tokens, found.output_tokens) == ("openai", 5882, 1280, 900)
    assert found.occurred_at == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert (found.tags[AGGREGATED], found.tags["api_key_id"], first.calls) == ("300", "key_9", 300)
    assert empty.fault is not None
    assert empty.fault.code == "empty_total"


def test_anthropic_usage_is_known_with_both_kinds_of_cache() -> None:
    found = event(read(ANTHROPIC.encode())[0])
    assert (found.input_tokens, found.cache_write_5m_tokens, found.cache_read_tokens, found.output_tokens) == (
        100_000,
        2_000,
        5_000,
        50_000,
    )
    assert (found.provider, found.project, found.units, found.tags[AGGREGATED]) == ("anthropic", "Default", {"web_searches": 3}, "several")


def test_openrouter_activity_is_known_by_its_generations() -> None:
    found = event(read(OPENROUTER.encode())[0])
    assert (found.request_id, found.input_tokens, found.cache_read_tokens, found.output_tokens) == (
        "gen-1795255200-AbCdEf123456",
        10_000,
        389,
        137,
    )
    assert (found.provider, found.model, found.member, found.reported_cost) == ("openrouter", "openai/gpt-5", "anna", Decimal("0.0123"))


def test_litellm_spend_logs_are_known() -> None:
    found = event(read(LITELLM.encode())[0])
    assert (found.request_id, found.gateway, found.session, found.status) == ("chatcmpl-AbC123456789", "litellm", "sess-1", "ok")
    assert found.occurred_at == datetime(2026, 11, 21, 10, 0, 1, 531_000, tzinfo=UTC)


def test_a_row_without_an_id_is_the_same_call_in_every_file_and_two_equal_rows_are_two() -> None:
    row = b"2026-11-21T10:00Z,gpt-5,7\n"
    first, again = (event(one).id for one in read(b"time,model,input_tokens\n" + row * 2))
    assert first != again
    assert event(read(b"time,model,input_tokens\n2026-11-21T09:00Z,gpt-5,1\n" + row)[1]).id == first


def test_a_total_that_has_grown_is_the_same_total() -> None:
    then, now = read(OPENAI.encode())[0], read(OPENAI.replace("7162,900,1280,5882", "9162,1000,1280,7882").encode())[0]
    other = read(OPENAI.replace("key_9", "key_8").encode())[0]
    assert event(then).id == event(now).id != event(other).id


def test_a_total_is_shared_out_where_the_price_rises_with_input_and_nothing_is_lost() -> None:
    row = read(ANTHROPIC.replace(",100000,", ",1000007,").encode())[0]
    assert len(parts_of(row, has_thresholds=False)) == 1
    parts = parts_of(row, has_thresholds=True)
    assert sum(part.input_tokens or 0 for part in parts) == 1_000_007
    assert sum(part.output_tokens or 0 for part in parts) == 50_000
    assert sum((part.units or {}).get("web_searches", Decimal(0)) for part in parts) == 3
    assert max((part.input_tokens or 0) + (part.cache_read_tokens or 0) for part in parts) <= 100_000
    assert len({part.id for part in parts}) == len(parts)


@pytest.mark.parametrize(
    ("meaning", "field"),
    [
        (Meaning({"b": "model"}), "columns"), (Meaning({"a": "occurred_at"}), "columns"), (Meaning({"a": "occurred_at", "b": "model", "c": "model"}), "columns"),
        (Meaning({"a": "occurred_at", "b": "colour"}), "columns"), (Meaning({"x": "occurred_at"}), "columns"),
        (Meaning({"a": "occurred_at"}, {"model": "m", "colour": "red"}), "constants"), (Meaning({"a": "occurred_at", "b": "model"}, time_zone="Mars/Base"), "time_zone"),
    ],
)  # fmt: skip
def test_a_mapping_that_cannot_be_read_with_says_why(meaning: Meaning, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        meaning_check(meaning, ["a", "b", "c"])
    assert refusal.value.extra["field"] == field
