"""Tables that the server sorts, searches and pages, and gives as CSV."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.encoding import escape_uri_path

from dashboards.components import figures

Kind = Literal["text", "strong", "money", "price", "tokens", "count", "percent", "duration", "at", "ago", "badge", "meter", "spark", "delta", "swatch", "day", "changes", "email"]
NUMBERS = frozenset({"money", "price", "tokens", "count", "percent", "duration", "delta"})
NOT_SORTED = frozenset({"meter", "spark"})
NOT_EXPORTED = frozenset({"meter", "spark"})
CSV_ROWS = 100_000
PROSE_FROM = 30  # characters of a text that needs room


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `value` reads a row (default: attribute or key `key`); `href` makes the cell a link; `order` is the queryset's field to sort by.
    `currency` is one for all rows, or a function that reads each row's.

    Values by kind: money, price (of so many units, hardly rounded) Decimal; tokens, count int; percent a fraction; duration seconds; at, ago datetime; badge (text, tone);
    meter (spent, limit) or (spent, limit, held, forecast); spark a sequence of numbers; delta (current, previous); swatch (provider slug, name);
    day a date; changes what has `first`, `rest` and a text for the file; email an address, which may break after its @.
    """

    key: str
    label: str
    kind: Kind = "text"
    value: Callable[[Any], Any] | None = None
    href: Callable[[Any], str | None] | None = None
    order: str | None = None
    currency: str | Callable[[Any], str] = "USD"
    note: Callable[[Any], str] | None = None
    good: str = "down"
    show: str = "percent"  # of a delta: both, percent or amount
    is_sortable: bool = True
    title: str = ""
    is_for_wide: bool = False  # left out on a phone
    is_for_desk: bool = False  # left out on tablets and windows of half a screen as well
    is_for_file: bool = False  # in the file alone

    @property
    def css(self) -> str:
        """The classes of its head and of all its cells."""
        return " ".join(name for name, holds in (("n", self.is_number), ("wide-only", self.is_for_wide), ("desk-only", self.is_for_desk)) if holds)

    @property
    def is_number(self) -> bool:
        return self.kind in NUMBERS

    def currency_of(self, row: Any) -> str:
        return self.currency if isinstance(self.currency, str) else self.currency(row)

    def read(self, row: Any) -> Any:
        if self.value is not None:
            return self.value(row)
        return row.get(self.key) if isinstance(row, dict) else getattr(row, self.key)


@dataclass(frozen=True, slots=True)
class Cell:
    """A value ready to be shown."""

    column: Column
    value: Any
    href: str | None
    note: str
    currency: str = "USD"

    @property
    def css(self) -> str:
        """The cell's classes: numbers to the right, and room for what else would be squeezed into a tall narrow column."""
        is_prose = self.column.kind == "text" and isinstance(self.value, str) and len(self.value) >= PROSE_FROM
        own = "changed" if self.column.kind == "changes" else "prose" if is_prose else ""
        return f"{self.column.css} {own}".strip()


@dataclass(frozen=True, slots=True)
class Header:
    """A column's head: its sort address and state (ascending, descending or none)."""

    column: Column
    href: str
    state: str


@dataclass(slots=True)
class Table:
    """One page of rows, with what its head and foot need. Made by `Table.from_request`."""

    id: str
    columns: Sequence[Column]
    rows: Sequence[Any]
    total: int
    page: int
    pages: int
    sort: str
    search: str | None
    prefix: str
    query: QueryDict
    every_row: Iterable[Any] = field(repr=False, default=())
    path: str = ""
    title: str = ""
    note: str = ""
    empty: str = "Nothing here yet."
    foot: dict[str, Any] | None = None
    is_asked_as_csv: bool = False

    @classmethod
    def from_request(  # noqa: PLR0913
        cls,
        request: HttpRequest,
        *,
        id: str,  # noqa: A002
        columns: Sequence[Column],
        rows: "QuerySet[Any] | Sequence[Any]",
        sort: str = "",
        search: Sequence[str] = (),
        page_size: int = 25,
        prefix: str = "",
        title: str = "",
        note: str = "",
        empty: str = "Nothing here yet.",
        foot: dict[str, Any] | None = None,
    ) -> "Table":
        """Sorts, searches and pages rows as the address says.

        `sort` is the key sorted by at first, "-cost" for descending. `search` names the fields (of a queryset) or columns (of a
        list) that the search box looks in; none, no box. With several tables on a page give each a `prefix` ("teams-").
        """
        query = request.GET
        asked = query.get(prefix + "sort", "") or sort
        column = next((entry for entry in columns if entry.key == asked.lstrip("-") and _is_sortable(entry)), None)
        asked = asked if column else sort
        text = query.get(prefix + "q", "").replace("\x00", "").strip()[:200]
        found = _searched(rows, columns, search, text) if search and text else rows
        ordered = _sorted(found, columns, asked)
        total = ordered.count() if isinstance(ordered, QuerySet) else len(ordered)
        pages = max(1, -(-total // page_size))
        page = min(max(1, _whole(query.get(prefix + "page", "1"))), pages)
        return cls(
            id=id, columns=columns, rows=list(ordered[(page - 1) * page_size : page * page_size]), total=total, page=page, pages=pages,
            sort=asked, search=text if search else None, prefix=prefix, query=query, every_row=ordered, path=escape_uri_path(request.path),
            title=title, note=note, empty=empty, foot=foot,
            is_asked_as_csv=query.get("format") == "csv" and query.get("table", id) == id,
        )  # fmt: skip

    @property
    def shown(self) -> list[Column]:
        """The page's columns: the file may have more."""
        return [column for column in self.columns if not column.is_for_file]

    @property
    def headers(self) -> list[Header]:
        return [self._header(column) for column in self.shown]

    @property
    def cells(self) -> list[list[Cell]]:
        shown = self.shown
        return [
            [
                Cell(column, column.read(row), column.href(row) if column.href else None, column.note(row) if column.note else "", column.currency_of(row))
                for column in shown
            ]
            for row in self.rows
        ]

    @property
    def foot_cells(self) -> list[Cell] | None:
        """The totals row: values by column key."""
        if self.foot is None:
            return None
        return [Cell(column, self.foot.get(column.key), None, "", column.currency_of(self.foot)) for column in self.shown]

    @property
    def href_before(self) -> str:
        return self._href(page=str(self.page - 1)) if self.page > 1 else ""

    @property
    def href_after(self) -> str:
        return self._href(page=str(self.page + 1)) if self.page < self.pages else ""

    @property
    def href_csv(self) -> str:
        query = self.query.copy()
        query["format"], query["table"] = "csv", self.id
        return f"{self.path}?{query.urlencode()}"

    @property
    def carried(self) -> list[tuple[str, str]]:
        """The address's other parameters, for the search form."""
        own = {self.prefix + "q", self.prefix + "page", "format", "table"}
        return [(key, value) for key, values in self.query.lists() if key not in own for value in values]

    def csv_response(self, name: str = "") -> HttpResponse:
        """All rows (not only this page), numbers unrounded, as a file."""
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{name or self.id}.csv"'
        writer = csv.writer(response)
        columns = [column for column in self.columns if column.kind not in NOT_EXPORTED]
        writer.writerow([name for column in columns for name in csv_names(column)])
        rows = self.every_row[:CSV_ROWS] if isinstance(self.every_row, QuerySet | Sequence) else self.every_row
        for row in rows:
            writer.writerow([text for column in columns for text in csv_texts(column.read(row), column.kind)])
        return response

    def _header(self, column: Column) -> Header:
        is_current = self.sort.lstrip("-") == column.key
        state = ("descending" if self.sort.startswith("-") else "ascending") if is_current else "none"
        first_way = "-" if column.kind in NUMBERS or column.kind in ("at", "ago", "day", "meter") else ""
        way = ("" if self.sort.startswith("-") else "-") if is_current else first_way
        return Header(column, self._href(sort=way + column.key) if _is_sortable(column) else "", state)

    def _href(self, **changes: str) -> str:
        query = self.query.copy()
        for key in ("format", "table", self.prefix + "page"):
            query.pop(key, None)
        for key, value in changes.items():
            query[self.prefix + key] = value
        return f"{self.path}?{query.urlencode()}"


def csv_names(column: Column) -> list[str]:
    """The heads of a column in a CSV file: a change has its amount and its percentage."""
    name = column.label or column.key
    return [f"{name}, amount", f"{name}, percent"] if column.kind == "delta" else [name]


def csv_texts(value: Any, kind: Kind) -> list[str]:
    """A cell as CSV texts, as many as the column has heads."""
    if kind != "delta":
        return [csv_text(value, kind)]
    current, previous = value if value is not None else (None, None)
    if current is None or not previous:
        return [csv_text(value, kind), ""]
    percent = (Decimal(current) - Decimal(previous)) * 100 / Decimal(previous)
    return [csv_text(value, kind), csv_text(percent.quantize(Decimal("0.0001")))]


def csv_text(value: Any, kind: Kind = "text") -> str:
    """A cell of a CSV file: every digit, ISO instants, and no text that a spreadsheet would run as a formula."""
    if value is None:
        return ""
    if kind == "delta":
        current, previous = value
        return "" if current is None or previous is None else csv_text(Decimal(current) - Decimal(previous))
    if kind in ("badge", "swatch"):
        value = value[0 if kind == "badge" else 1]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return figures.plain_decimal(value)
    text = str(value)
    return "'" + text if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _is_sortable(column: Column) -> bool:
    return column.is_sortable and (column.kind not in NOT_SORTED or column.order is not None)


def _searched(rows: Any, columns: Sequence[Column], fields: Sequence[str], text: str) -> Any:
    if isinstance(rows, QuerySet):
        wanted = Q()
        for name in fields:
            wanted |= Q(**{f"{name}__icontains": text})
        return rows.filter(wanted)
    looked_in = [column for column in columns if column.key in fields]
    return [row for row in rows if any(text.lower() in csv_text(column.read(row), column.kind).lower() for column in looked_in)]


def _sorted(rows: Any, columns: Sequence[Column], sort: str) -> Any:
    key = sort.lstrip("-")
    column = next((entry for entry in columns if entry.key == key), None)
    if column is None:
        return rows
    is_down = sort.startswith("-")
    if isinstance(rows, QuerySet):
        order = F(column.order or column.key)
        return rows.order_by(order.desc(nulls_last=True) if is_down else order.asc(nulls_last=True), "pk")
    known = [row for row in rows if _sort_value(column, row) is not None]
    unknown = [row for row in rows if _sort_value(column, row) is None]
    return sorted(known, key=lambda row: _sort_value(column, row), reverse=is_down) + unknown


def _sort_value(column: Column, row: Any) -> Any:
    value = column.read(row)
    if column.kind == "delta" and value is not None:
        return None if None in value else value[0] - value[1]
    if column.kind in ("badge", "swatch") and value is not None:
        value = value[0 if column.kind == "badge" else 1]
    return value.lower() if isinstance(value, str) else value


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1
