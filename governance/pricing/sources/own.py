"""Reads a provider's own price list that an admin uploads: CSV or JSON with the columns documented in docs/prices.md."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec

from governance.errors import Invalid
from governance.periods import is_kept
from governance.pricing.meters import EVERY_METER, METERS, MILLION, unit_key
from governance.pricing.sources import amounts
from governance.pricing.sources.rows import BEGINNING, Listing, SourceModel, SourceProvider, SourceRow, chain_key

PREFIX = "own:"
MOST_LINES = 20_000
COLUMNS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "reasoning": "output_reasoning_tokens",
    "audio_input": "input_audio_tokens",
    "audio_output": "output_audio_tokens",
    "web_search": "web_searches",
    "request": "requests",
}
FACTS = frozenset({
    "model", "name", "aliases", "context_window", "valid_from", "announced_at", "currency", "kind", "region", "hours", "per", "above", "marginal", "factor",
})  # fmt: skip
KINDS = {
    "": {}, "batch": {"processing": "batch"}, "flex": {"service_tier": "flex"}, "priority": {"service_tier": "priority"}, "fast": {"speed": "fast"},
}  # fmt: skip
YES = {"": False, "no": False, "false": False, "yes": True, "true": True}
HOURS = re.compile(r"^([01]\d|2[0-3]):([0-5]\d) ?(?:-|to) ?([01]\d|2[0-3]):([0-5]\d)$")
LARGEST_FACTOR = Decimal(100)
UNITS = {"": MILLION, "1": 1, "token": 1, "1000": 1000, "1k": 1000, "1000000": MILLION, "1m": MILLION, "million": MILLION}


def source_of(provider: str) -> str:
    """The source's name for one provider's own list."""
    return f"{PREFIX}{provider}"


def read(body: bytes, *, provider: str) -> Listing:
    """The list as one provider. Raises Invalid with the line that cannot be read: a list is taken as a whole or not at all."""
    lines = list(_lines(body))
    if not lines:
        raise Invalid("There is no price in the list.")
    if len(lines) > MOST_LINES:
        raise Invalid(f"The list has more than {MOST_LINES:,} lines.")
    by_model: defaultdict[str, list[_Line]] = defaultdict(list)
    for number, line in lines:
        try:
            read_line = _line(line)
        except Invalid as problem:
            raise Invalid(f"Line {number}: {problem.detail}", line=number) from None
        by_model[read_line.model].append(read_line)
    models = [_model(slug, found) for slug, found in by_model.items()]
    return Listing([SourceProvider(provider, provider, None, None, [], models)])


class _Line(msgspec.Struct, frozen=True):
    """One line: a model's amounts from an instant on, for a kind of call, for hours of the day, above so many tokens; or a factor for its kind."""

    model: str
    name: str
    aliases: tuple[str, ...]
    context_window: int | None
    valid_from: datetime
    announced_at: datetime | None
    currency: str
    context: dict[str, str]
    hours: tuple[time, time] | None
    above: int
    is_marginal: bool
    factor: Decimal | None
    rates: dict[str, tuple[Decimal, int]]

    @property
    def chain(self) -> tuple[Any, ...]:
        return chain_key(self.context, *(self.hours or (None, None)))


def _lines(body: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines with their number: a JSON array (or an object with `prices`), or CSV with a heading."""
    if body.lstrip()[:1] in (b"[", b"{"):
        document = amounts.document(body)
        entries = document.get("prices") if isinstance(document, dict) else document
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise Invalid("The list is no array of prices.")
        yield from enumerate(entries, 1)
        return
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("The list is neither JSON nor CSV in UTF-8.") from None
    if "\x00" in text:
        raise Invalid("The list has characters that do not belong into text.")
    sample = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=sample.count), strict=True)
    try:
        for row in rows:
            if None in row or None in row.values():
                raise Invalid(f"Line {rows.line_num}: it has not as many columns as the heading.", line=rows.line_num)
            if any(row.values()):
                yield rows.line_num, row
    except csv.Error as problem:
        raise Invalid(f"Line {rows.line_num}: {problem}.", line=rows.line_num) from None


def _line(given: Mapping[str, Any]) -> _Line:
    line = {str(key).strip().lower(): value.strip() if isinstance(value, str) else value for key, value in given.items()}
    slug = str(line.get("model") or "")
    if not amounts.is_name(slug):
        raise Invalid("'model' names no model.")
    per = UNITS.get(str(line.get("per") or "").lower())
    if per is None:
        raise Invalid("'per' is token, 1k or 1m.")
    context = _context(line)
    currency = str(line.get("currency") or "USD").upper()
    if len(currency) != 3 or not currency.isascii() or not currency.isalpha():
        raise Invalid("'currency' is a code of three letters.")
    return _Line(
        model=slug,
        name=str(line.get("name") or "")[:200],
        aliases=_aliases(line.get("aliases")),
        context_window=_whole(line, "context_window"),
        valid_from=_instant(line, "valid_from") or BEGINNING,
        announced_at=_instant(line, "announced_at"),
        currency=currency,
        context=context,
        hours=_hours(line),
        above=_whole(line, "above") or 0,
        is_marginal=_is_marginal(line),
        factor=(factor := _factor(line, context)),
        rates=_rates(line, per, is_needed=factor is None),
    )


def _context(line: Mapping[str, Any]) -> dict[str, str]:
    """The kind of call and the region that the line is for."""
    kind = KINDS.get(str(line.get("kind") or "").lower())
    if kind is None:
        raise Invalid("'kind' is empty, batch, flex, priority or fast.")
    region = str(line.get("region") or "").lower()
    if region and not amounts.is_name(region, longest=80):
        raise Invalid("'region' names no region.")
    return dict(kind) | ({"region": region} if region else {})


def _hours(line: Mapping[str, Any]) -> tuple[time, time] | None:
    text = str(line.get("hours") or "")
    if not text:
        return None
    found = HOURS.match(text)
    if found is None or found.group(1, 2) == found.group(3, 4):
        raise Invalid("'hours' are two times of day in UTC, such as 16:30-00:30.")
    first, last = (time(int(hour), int(minute)) for hour, minute in (found.group(1, 2), found.group(3, 4)))
    return first, last


def _is_marginal(line: Mapping[str, Any]) -> bool:
    found = YES.get(str(line.get("marginal") or "").lower())
    if found is None:
        raise Invalid("'marginal' is yes or empty.")
    return found


def _factor(line: Mapping[str, Any], context: Mapping[str, str]) -> Decimal | None:
    """What multiplies every amount of calls of the line's kind or region."""
    found = amounts.amount(line.get("factor"))
    if found is None:
        return None
    if not context:
        raise Invalid("'factor' is for a kind of call or a region.")
    if not 0 < found <= LARGEST_FACTOR:
        raise Invalid(f"'factor' is more than 0 and at most {LARGEST_FACTOR}.")
    return found


def _rates(line: Mapping[str, Any], per: int, *, is_needed: bool) -> dict[str, tuple[Decimal, int]]:
    """Amount and units by meter; none but where there is a factor. Amounts for tokens are for `per` of them, others for the units of their meter."""
    found: dict[str, tuple[Decimal, int]] = {}
    for column, value in line.items():
        if column in FACTS:
            continue
        meter = COLUMNS.get(column) or unit_key(column)
        if meter not in METERS:
            raise Invalid(f"There is no column '{column[:60]}'.")
        price = amounts.amount(value)
        if price is not None:
            usual = METERS[meter].per
            found[meter] = (price, per if usual == MILLION and meter.endswith("_tokens") else usual)
    if bool(found) != is_needed:
        raise Invalid("there is no amount." if is_needed else "a line has amounts or a factor.")
    return found


def _model(slug: str, lines: list[_Line]) -> SourceModel:
    chains: defaultdict[tuple[Any, ...], defaultdict[datetime, list[_Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        chains[line.chain][line.valid_from].append(line)
    rows = []
    for order, steps in enumerate(chains.values()):
        for begins, ends in pairwise([*sorted(steps), None]):
            if begins is not None:
                rows.append(_row(slug, steps[begins], ends, order))
    names = {slug.lower(), *(alias.lower() for line in lines for alias in line.aliases)}
    first = lines[0]
    return SourceModel(
        slug, {"or": [{"equals": name} for name in sorted(names)]}, rows, name=first.name, context_window=first.context_window
    )


def _row(slug: str, lines: list[_Line], ends: datetime | None, order: int) -> SourceRow:
    """One row of lines that begin together: the one without `above`, and its tiers."""
    ordered = sorted(lines, key=lambda line: line.above)
    base, above = ordered[0], ordered[1:]
    if base.above or any(line.above == earlier.above for earlier, line in pairwise(ordered)):
        raise Invalid(f"{slug} has two prices for the same calls, or none for short ones.")
    if base.factor is not None:
        if above:
            raise Invalid(f"{slug} has a factor and amounts for the same calls.")
        rates: dict[str, dict[str, Any]] = {EVERY_METER: {"factor": format(base.factor, "f")}}
    else:
        rates = _metered(base, above)
    first, last = base.hours or (None, None)
    return SourceRow(
        base.valid_from, ends, rates, base.context, daily_from=first, daily_to=last, precedence=order, currency=base.currency, announced_at=base.announced_at
    )


def _metered(base: _Line, above: Sequence[_Line]) -> dict[str, dict[str, Any]]:
    """The amounts below and above thresholds, by meter."""
    rates = {}
    for meter, (price, per) in base.rates.items():
        tiers = {line.above: line.rates[meter][0] * Decimal(per) / Decimal(line.rates[meter][1]) for line in above if meter in line.rates}
        rates[meter] = amounts.rate_of(meter, price, tiers, per=per) | ({"marginal": True} if tiers and any(line.is_marginal for line in above) else {})
    return rates


def _aliases(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else str(value or "").split("|")
    return tuple(str(name).strip() for name in names if str(name).strip())


def _whole(line: Mapping[str, Any], column: str) -> int | None:
    found = amounts.amount(line.get(column))
    if found is None:
        return None
    if found != found.to_integral_value() or not 0 <= found < 10**12:
        raise Invalid(f"'{column}' is a whole number.")
    return int(found)


def _instant(line: Mapping[str, Any], column: str) -> datetime | None:
    value = line.get(column)
    if value in (None, ""):
        return None
    try:
        read = datetime.fromisoformat(str(value))
        found = read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"'{column}' is a date such as 2026-03-16.") from None
    if not is_kept(found):
        raise Invalid(f"'{column}' lies too far away.")
    return found
