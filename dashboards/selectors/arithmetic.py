"""One call's cost line by line, from the price row that rated it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from dashboards.components.figures import plain_decimal
from dashboards.components.meter_words import hours_text, kind_label, meter_label, per_text
from governance.pricing.arithmetic import Unpriceable, reported
from governance.pricing.book import current_book
from governance.pricing.exchange import ONE
from governance.pricing.meters import METERS, contains
from governance.pricing.models import PriceRow, Term
from governance.pricing.sources.rows import BEGINNING
from governance.pricing.terms import EXACT, OwnTerm, converted, own_term
from governance.pricing.usage import Line, Usage
from ingest.models import UsageEvent


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line as text: what was metered, how much of it, at what price, and what that makes."""

    label: str
    quantity: str
    price: str
    cost: str


@dataclass(frozen=True, slots=True)
class Bill:
    """The arithmetic of one call. `reason` says why there is none; `difference` is what the lines and the stored cost are apart."""

    lines: Sequence[BillLine]
    sum: str
    stored: str
    difference: str
    price: PriceRow | None
    seconds: float | None
    reason: str = ""
    why_different: str = ""
    # What follows the lines up to the stored cost: the sum, what is off it, the exchange rate. Label and text.
    steps: Sequence[tuple[str, str]] = ()
    # What the call costs at list price, where that is not what it cost.
    listed: str = ""
    term: str = ""
    is_listed: bool = True
    # What the call used and its price names no amount for, directly or as part of something else.
    uncharged: Sequence[str] = ()

    @property
    def price_begins(self) -> datetime | None:
        """When the price took effect; None when the lists do not know since when it holds."""
        return None if self.price is None or self.price.valid_from == BEGINNING else self.price.valid_from

    @property
    def kind(self) -> str:
        """The kind of call that the price row is for, and the hours of the day; empty for an ordinary row."""
        if self.price is None:
            return ""
        hours = hours_text(self.price.daily_from, self.price.daily_to)
        return f"{kind_label(self.price.context)}{f', {hours}' if hours else ''}" if self.price.context or hours else ""


def usage_of(call: UsageEvent) -> Usage:
    """The call's metered quantities."""
    units = {name: Decimal(str(quantity)) for name, quantity in call.units.items()} if call.units else None
    return Usage(
        input_tokens=call.input_tokens,
        cache_read_tokens=call.cache_read_tokens,
        cache_write_5m_tokens=call.cache_write_5m_tokens,
        cache_write_1h_tokens=call.cache_write_1h_tokens,
        output_tokens=call.output_tokens,
        reasoning_tokens=call.reasoning_tokens,
        units=units,
    )


def bill_of(call: UsageEvent) -> Bill:
    """The lines behind the call's stored cost, at the prices of the moment it was made and by the term that rated it."""
    price = PriceRow.objects.select_related("model__provider").filter(pk=call.price_id).first() if call.price_id else None
    seconds = None if call.latency_ms is None else call.latency_ms / 1000
    if call.cost is None:
        return Bill((), "", "", "", price, seconds, _why_unpriced(call))
    row = Term.objects.select_related("team").filter(organization=call.organization_id, pk=call.term_id).first() if call.term_id else None
    term = None if row is None else own_term(row)
    book = current_book()
    lines = book.explain(
        provider=call.provider, model=call.model, at=call.occurred_at, usage=usage_of(call), price_id=call.price_id,
        context=book.call_context(call.provider, call.model_reported, call.tags), own=None if term is None else term.price,
    )
    stored = f"{call.currency} {plain_decimal(call.cost)}"
    listed = f"{call.currency} {plain_decimal(call.list_cost)}" if call.list_cost is not None and call.list_cost != call.cost else ""
    name = "" if row is None else f"{row.name}: {row.kind}"
    known: dict[str, Any] = {"listed": listed, "term": name, "is_listed": call.list_cost is not None, "uncharged": _uncharged(call, lines)}
    if not lines:
        reason = f"The stored cost is {stored}; the price book has no arithmetic for it any more." if call.cost else f"Nothing that it used is charged for: {stored}."
        return Bill((), "", stored, "", price, seconds, reason, **known)
    total = sum((line.cost for line in lines), Decimal(0))
    steps = _steps(call, total, term, row)
    owed = converted(total, call.exchange_rate if call.exchange_rate is not None else ONE, None if term is None else term.factor)
    apart = call.cost - (total if owed is None else owed)
    is_apart = abs(apart) >= Decimal("1e-15")
    why = "The call was rated by another price row or under special terms, such as batch processing." if is_apart else ""
    return Bill(
        [bill_line(line) for line in lines], plain_decimal(total), stored, plain_decimal(apart) if is_apart else "", price, seconds, "", why, steps, **known
    )


def _uncharged(call: UsageEvent, lines: Sequence[Line]) -> list[str]:
    """What the call reported and no line carries, with its quantity."""
    try:
        counts = reported(usage_of(call))
    except Unpriceable:
        return []
    metered = [line.meter for line in lines]
    return [f"{meter_label(key)} {quantity.normalize():,f}" for key, quantity in counts.items() if quantity and not any(_is_carried(key, meter) for meter in metered)]


def _is_carried(key: str, meter: str) -> bool:
    return key in METERS and (contains(meter, key) or contains(key, meter))


def _why_unpriced(call: UsageEvent) -> str:
    if call.input_tokens is None and call.output_tokens is None:
        return "Neither input nor output tokens were reported: the size of the call is not known, so no price could tell its cost."
    if call.price_currency and call.price_currency != call.currency:
        return (
            f"Its price is in {call.price_currency}, and no exchange rate to {call.currency} was known for its day: it counts in tokens, not in money. "
            "Add the rate under Prices, Currencies; the call is rated as soon as it is there."
        )
    rating = current_book().rate(provider=call.provider, model=call.model_reported, at=call.occurred_at, usage=usage_of(call), context=call.tags)
    why = f" Still so: {rating.reason}." if rating.reason else ""
    return f"No price was known for this model when the call was made: it counts in tokens, not in money.{why}"


def _steps(call: UsageEvent, total: Decimal, term: OwnTerm | None, row: Term | None) -> list[tuple[str, str]]:
    """From the lines' sum to the stored cost, one step a line."""
    steps, unit = [], call.price_currency or call.currency
    if row is not None and term is not None and term.factor is not None:
        steps.append(("Sum", f"{unit} {plain_decimal(total)}"))
        steps.append((f"{row.name}, {plain_decimal(row.percent_off)} % off", f"\u2212{plain_decimal(EXACT.subtract(total, EXACT.multiply(total, term.factor)))}"))
    if call.exchange_rate is not None:
        if not steps:
            steps.append(("Sum", f"{unit} {plain_decimal(total)}"))
        steps.append((f"1 {unit} in {call.currency}", f"\u00d7 {plain_decimal(call.exchange_rate)}"))
    return steps


def bill_line(line: Line) -> BillLine:
    label = "Input, uncached" if line.meter == "input_tokens" else meter_label(line.meter)
    price = f"{plain_decimal(line.amount)} {per_text(line.per)}"
    return BillLine(label, f"{line.quantity.normalize():,f}", price, plain_decimal(line.cost))
