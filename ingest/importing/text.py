"""Bytes of a file made into records: its encoding, its delimiter, its rows under their headers. Pure, and never holds more than a row."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

DELIMITERS = (",", ";", "\t", "|")
ENCODINGS = {"utf-8": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "cp1252": "Latin-1 (Windows-1252)"}
BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
# A row or a value beyond this is refused; so is the run of rows that a quote swallows which is never closed.
LONGEST_LINE = 1_000_000
LONGEST_VALUE = 100_000
MOST_COLUMNS = 500
DEEPEST = 4
# So many rows tell which names there are in lines of JSON, and what the values look like.
LOOKED_AT = 200
TOO_LONG = "\x1atoo long\x1a"
json_object = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the text of a file is laid out. `is_lines`: one JSON object per line; else a table with `delimiter`."""

    encoding: str
    is_lines: bool = False
    delimiter: str = ","


@dataclass(frozen=True, slots=True)
class Record:
    """One row: its number among the rows, the line on which it ends, its values by header; or why it cannot be read."""

    number: int
    line: int
    values: dict[str, str] = field(default_factory=dict)
    fault: str = ""


def encoding_of(head: bytes, *, is_utf8: bool) -> str:
    """The encoding by the byte order mark, by NULs where UTF-16 has them, else whether the whole file is UTF-8."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    half = len(head) // 2
    if half and head[1::2].count(0) > half * 0.4:
        return "utf-16-le"
    if half and head[0::2].count(0) > half * 0.4:
        return "utf-16-be"
    return "utf-8" if is_utf8 else "cp1252"


def layout_of(head: bytes, encoding: str) -> Layout:
    """The layout that the beginning of a file shows."""
    text = head.decode(encoding, "replace").lstrip("\ufeff")
    if text.lstrip()[:1] == "{":
        return Layout(encoding, is_lines=True)
    return Layout(encoding, delimiter=max(DELIMITERS, key=lambda one: _regularity(text, one)))


def _regularity(text: str, delimiter: str) -> tuple[int, int]:
    """(rows as wide as the first, its width) of the first rows with this delimiter."""
    lines = text.splitlines(keepends=True)[:20]
    try:
        widths = [len(row) for row in csv.reader(lines[:-1] or lines, delimiter=delimiter) if row]
    except csv.Error:
        return 0, 0
    return (sum(width == widths[0] for width in widths), widths[0]) if widths and widths[0] > 1 else (0, 0)


def records(pieces: Iterable[bytes], layout: Layout) -> Iterator[Record]:
    """The rows of a file whose bytes come in pieces, in order. The header's row is none of them; empty rows are passed over."""
    lines = _lines(pieces, layout.encoding)
    return _objects(lines) if layout.is_lines else _rows(lines, layout.delimiter)


def headers_of(pieces: Iterable[bytes], layout: Layout) -> list[str]:
    """The names of the columns: of a table its first row, of lines of JSON what the first of them have."""
    if not layout.is_lines:
        return named(_first_row(pieces, layout))
    found: dict[str, None] = {}
    for record in records(pieces, layout):
        found.update(dict.fromkeys(record.values))
        if record.number >= LOOKED_AT:
            break
    return list(found)[:MOST_COLUMNS]


def _first_row(pieces: Iterable[bytes], layout: Layout) -> list[str]:
    """The first row that holds something; nothing where it is none that could name columns."""
    csv.field_size_limit(LONGEST_VALUE)
    try:
        first = next((row for row in csv.reader(_lines(pieces, layout.encoding), delimiter=layout.delimiter) if _is_filled(row)), [])
    except csv.Error:
        return []
    return [] if first[:1] == [TOO_LONG] else first


def named(row: Sequence[str]) -> list[str]:
    """Headers that are told apart: empty ones by their place, equal ones by a number. No two are the same."""
    found: dict[str, None] = {}
    for place, header in enumerate(row[:MOST_COLUMNS], 1):
        name = " ".join(header.replace("\x00", "").split())[:200] or f"column {place}"
        distinct, again = name, 1
        while distinct in found:
            again += 1
            distinct = f"{name} ({again})"
        found[distinct] = None
    return list(found)


def _lines(pieces: Iterable[bytes], encoding: str) -> Iterator[str]:
    """The lines with their ends; what is too long for one is TOO_LONG."""
    text = io.TextIOWrapper(io.BufferedReader(_Pieces(pieces), 65_536), encoding=encoding, errors="replace", newline="")
    is_first, is_within = True, False
    while line := text.readline(LONGEST_LINE):
        is_whole = line.endswith(("\n", "\r")) or len(line) < LONGEST_LINE
        if is_within:
            is_within = not is_whole
            continue
        is_within = not is_whole
        yield (line.removeprefix("\ufeff") if is_first else line) if is_whole else f"{TOO_LONG}\n"
        is_first = False


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file that is read once."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._rest = iter(pieces), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            found = next(self._pieces, None)
            if found is None:
                return 0
            self._rest = found
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _is_filled(row: Sequence[str]) -> bool:
    return any(value.strip() for value in row)


def _rows(lines: Iterator[str], delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(LONGEST_VALUE)
    reader = csv.reader(lines, delimiter=delimiter)
    headers: list[str] = []
    number = 0
    while True:
        began = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            number += 1
            yield Record(number, began, fault=f"A value that begins on line {began:,} is too long, or its quote is never closed.")
            continue
        if not _is_filled(row):
            continue
        if not headers:
            headers = named(row)
            continue
        number += 1
        yield _row(number, reader.line_num, headers, row)


def _row(number: int, line: int, headers: Sequence[str], row: Sequence[str]) -> Record:
    if row[0] == TOO_LONG:
        return Record(number, line, fault=f"The line has more than {LONGEST_LINE:,} characters.")
    if len(row) > len(headers) and _is_filled(row[len(headers) :]):
        return Record(
            number,
            line,
            fault=f"The row has {len(row)} values and the table {len(headers)} columns. Is there a delimiter in a value without quotes?",
        )
    return Record(number, line, dict(zip(headers, row, strict=False)))


def _objects(lines: Iterator[str]) -> Iterator[Record]:
    number = 0
    for line_number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        number += 1
        yield _object(number, line_number, line)


def _object(number: int, line_number: int, line: str) -> Record:
    if line.startswith(TOO_LONG):
        return Record(number, line_number, fault=f"The line has more than {LONGEST_LINE:,} characters.")
    try:
        return Record(number, line_number, dict(_flat("", json_object.decode(line.encode()), 0)))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Record(number, line_number, fault="The line is no JSON object.")


def _flat(prefix: str, value: dict[str, Any], depth: int) -> Iterator[tuple[str, str]]:
    """The values within, each as text under the names that lead to it. Lists hold nothing that counts a call."""
    for name, inner in list(value.items())[:MOST_COLUMNS]:
        if isinstance(inner, dict):
            if depth < DEEPEST:
                yield from _flat(f"{prefix}{name}.", inner, depth + 1)
        elif not isinstance(inner, list):
            yield f"{prefix}{name}"[:200], _text(inner)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
