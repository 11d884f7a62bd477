"""Reads exchange rates: files of the European Central Bank (CSV, XML, or the CSV in a ZIP) and CSV files of anybody. Pure.

A reference rate is published in the afternoon. It holds from the day after, so that the calls of one day are converted alike.
"""

import csv
import io
import zipfile
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from xml.etree import ElementTree

from governance.errors import Invalid
from governance.money import currency_code
from governance.pricing.exchange import PIVOT, Quote
from governance.pricing.sources.amounts import LARGEST_EXPONENT

SOURCE = "ecb"
DAILY = "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml"
MOST_BYTES = 16 * 1024 * 1024
MOST_RATES = 500_000
ABSENT = ("", "N/A", "-")
PAIRS = {"base", "quote", "rate"}


def read(body: bytes) -> list[Quote]:
    """The rates of a file in any of the formats. Raises Invalid when any part of it is not what it should be."""
    if len(body) > MOST_BYTES:
        raise Invalid("The file is larger than any list of exchange rates.")
    if body.startswith(b"PK"):
        body = _unzipped(body)
    if body.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return _bounded(_xml(body))
    try:
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error):
        raise Invalid("The file is neither CSV nor XML of exchange rates.") from None
    head = [cell.strip() for cell in rows[0]] if rows else []
    names = [cell.lower() for cell in head]
    if set(names) >= PAIRS and ("day" in names or "date" in names):
        return _bounded(_pairs(names, rows[1:]))
    if names[:1] == ["date"]:
        return _bounded(_columns(head, rows[1:]))
    raise Invalid(
        "The first line must name the columns: date and currencies, as the European Central Bank does, or day, base, quote and rate."
    )


def _unzipped(body: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as packed:
            first = packed.infolist()[0]
            if first.file_size > MOST_BYTES:
                raise Invalid("The file is larger than any list of exchange rates.")
            with packed.open(first) as member:
                return member.read(MOST_BYTES)
    except (zipfile.BadZipFile, IndexError, NotImplementedError, RuntimeError, OSError, EOFError):
        raise Invalid("The file is a damaged archive.") from None


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[Quote]:
    """The European Central Bank's CSV: a day a line, a currency a column."""
    currencies = [currency_code(cell) if cell else "" for cell in head[1:]]
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        day = _day(row[0])
        for currency, cell in zip(currencies, row[1:], strict=False):
            if currency and cell.strip() not in ABSENT:
                yield Quote(PIVOT, currency, day + timedelta(days=1), _rate(cell), SOURCE)


def _pairs(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[Quote]:
    """Anybody's CSV: a pair and day a line, which holds from that day on."""
    day_column = "day" if "day" in names else "date"
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) < len(names):
            raise Invalid(f"A line has fewer columns than the first: {','.join(row)[:80]}")
        said = {name: cell.strip() for name, cell in zip(names, row, strict=False)}
        yield Quote(currency_code(said["base"]), currency_code(said["quote"]), _day(said[day_column]), _rate(said["rate"]), "file")


def _xml(body: bytes) -> Iterable[Quote]:
    """The European Central Bank's XML. Declarations of entities have no place in it."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise Invalid("The file declares entities, which no list of exchange rates does.")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - entities are refused above
    except ElementTree.ParseError:
        raise Invalid("The file is no whole XML document.") from None
    for dated in root.iter():
        if dated.tag.endswith("Cube") and "time" in dated.attrib:
            day = _day(dated.attrib["time"])
            for one in dated:
                if "currency" in one.attrib:
                    currency = currency_code(one.attrib["currency"])
                    yield Quote(PIVOT, currency, day + timedelta(days=1), _rate(one.attrib.get("rate", "")), SOURCE)


def _bounded(quotes: Iterable[Quote]) -> list[Quote]:
    found: list[Quote] = []
    for quote in quotes:
        found.append(quote)
        if len(found) > MOST_RATES:
            raise Invalid("There are more rates in this than in any list.")
    if not found:
        raise Invalid("There is no exchange rate in this.")
    return found


def _day(text: str) -> date:
    text = text.strip()
    for form in ("%Y-%m-%d", "%d %B %Y"):
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no time zone
        except ValueError:
            continue
    raise Invalid(f"“{text[:40]}” is no day.", field="day")


def _rate(text: str) -> Decimal:
    try:
        found = Decimal(text.strip())
    except InvalidOperation:
        raise Invalid(f"“{text[:40]}” is no exchange rate.", field="rate") from None
    if not found.is_finite() or found <= 0 or abs(found.adjusted()) > LARGEST_EXPONENT:
        raise Invalid(f"“{text[:40]}” is no exchange rate.", field="rate")
    return found
