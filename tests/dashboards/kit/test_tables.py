"""Tables: order, finding, pages and files, all from the address."""

import csv
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.test import RequestFactory

from dashboards.components.tables import Column, Table, csv_text

ROWS: list[dict[str, Any]] = [
    {"name": "=HYPERLINK(1)", "cost": Decimal("0.100000000000000"), "calls": 3, "at": datetime(2026, 11, 1, tzinfo=UTC), "state": ("live", "ok")},
    {"name": "beta", "cost": None, "calls": 20, "at": None, "state": ("old", "")},
    {"name": "Alpha", "cost": Decimal("12.123456789012345"), "calls": 1, "at": datetime(2026, 11, 2, tzinfo=UTC), "state": ("frozen", "ice")},
]
COLUMNS = [
    Column("name", "Name"),
    Column("cost", "Cost", kind="money"),
    Column("calls", "Calls", kind="count"),
    Column("at", "Seen", kind="at"),
    Column("state", "State", kind="badge"),
    Column("meter", "Share", kind="meter", value=lambda row: None),
]


def table(query: str = "", **fields: Any) -> Table:
    request = RequestFactory().get(f"/page?{query}")
    return Table.from_request(request, **{"id": "things", "columns": COLUMNS, "rows": ROWS, "sort": "name", "search": ("name", "state"), **fields})


def names(found: Table) -> list[str]:
    return [row["name"] for row in found.rows]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["=HYPERLINK(1)", "Alpha", "beta"]),
        ("sort=-cost", ["Alpha", "=HYPERLINK(1)", "beta"]),
        ("sort=cost", ["=HYPERLINK(1)", "Alpha", "beta"]),
        ("sort=-calls", ["beta", "=HYPERLINK(1)", "Alpha"]),
        ("sort=state", ["Alpha", "=HYPERLINK(1)", "beta"]),
        ("sort=meter", ["=HYPERLINK(1)", "Alpha", "beta"]),
        ("sort=nothing", ["=HYPERLINK(1)", "Alpha", "beta"]),
        ("q=ALPHA", ["Alpha"]),
        ("q=frozen", ["Alpha"]),
        ("q=%00", ["=HYPERLINK(1)", "Alpha", "beta"]),
    ],
)
def test_address_says_order_and_text_and_unknown_values_come_last(query: str, expected: list[str]) -> None:
    assert names(table(query)) == expected


@pytest.mark.parametrize(("asked", "page"), [("2", 2), ("99", 2), ("0", 1), ("-1", 1), ("x", 1), ("9" * 30, 1)])
def test_page_stays_within_what_there_is(asked: str, page: int) -> None:
    assert table(f"page={asked}", page_size=2).page == page


def test_links_keep_the_rest_of_the_address() -> None:
    found = table("range=7d&team=1&team=2&page=2&sort=calls", page_size=2)
    head = {header.column.key: header for header in found.headers}
    assert head["calls"].state == "ascending"
    assert head["calls"].href == "/page?range=7d&team=1&team=2&sort=-calls"
    assert head["cost"].href == "/page?range=7d&team=1&team=2&sort=-cost"
    assert head["meter"].href == ""
    assert found.href_before == "/page?range=7d&team=1&team=2&sort=calls&page=1"


def test_two_tables_on_a_page_do_not_disturb_each_other() -> None:
    found = table("a-sort=-calls&b-q=alpha", prefix="a-")
    assert names(found)[0] == "beta"
    assert not table("format=csv&table=others").is_asked_as_csv
    assert table("format=csv&table=things").is_asked_as_csv


def test_file_has_every_row_every_digit_and_no_formula() -> None:
    answer = table("sort=-cost&page=1", page_size=1).csv_response("things")
    assert answer["Content-Disposition"] == 'attachment; filename="things.csv"'
    rows = list(csv.reader(StringIO(answer.content.decode())))
    assert rows == [
        ["Name", "Cost", "Calls", "Seen", "State"],
        ["Alpha", "12.123456789012345", "1", "2026-11-02T00:00:00+00:00", "frozen"],
        ["'=HYPERLINK(1)", "0.1", "3", "2026-11-01T00:00:00+00:00", "live"],
        ["beta", "", "20", "", "old"],
    ]


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_text_is_never_a_formula(text: str) -> None:
    assert csv_text(text) == "'" + text
    assert csv_text(Decimal(-1)) == "-1"
