"""Writes of exchange rates: those of the installation, an organization's own, and which of them converts its calls."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from governance.audit.services import audit_record
from governance.errors import Invalid
from governance.pricing.book import current_book
from governance.pricing.changing import book_advance, book_audit, book_lock, may_change_prices
from governance.pricing.contracts import ExchangeRate, ExchangeRule, ReferenceRate
from governance.pricing.exchange import Quote
from governance.pricing.late import rates_tell
from governance.pricing.sources import ecb
from governance.pricing.sources.fetch import Limits, fetch
from governance.tenancy.access import Actor, Right, require
from governance.tenancy.services import organization_touch

OLDEST = timedelta(days=5 * 366)
# A currency that moved more than this between two readings was misread, until a person says otherwise.
WILDEST = Decimal(2)
MANUAL = "manual"
SMALL = Limits(seconds=20.0, sent_bytes=4 * 1024 * 1024, whole_bytes=16 * 1024 * 1024)


@transaction.atomic
def reference_rates_add(*, actor: Actor | None, quotes: Sequence[Quote], source: str, is_checked: bool = False, now: datetime | None = None) -> int:
    """Adds rates for every organization: those that are new or not what stands there; returns how many. Rows are never changed.

    Without an actor it is the operator, or the daily reading (`is_checked`), which refuses rates that jumped. Raises Invalid.
    """
    may_change_prices(actor)
    today = (now or timezone.now()).date()
    _check(quotes, today)
    book = book_lock()
    since = today - OLDEST
    standing = {
        (base, quote, day): rate
        for base, quote, day, rate in ReferenceRate.objects.filter(day__gte=since).order_by("id").values_list("base", "quote", "day", "rate")
    }
    new = [quote for quote in quotes if quote.day >= since and standing.get((quote.base, quote.quote, quote.day)) != quote.rate]
    if is_checked:
        _check_jumps(new, standing)
    if not new:
        return 0
    ReferenceRate.objects.bulk_create([ReferenceRate(base=one.base, quote=one.quote, day=one.day, rate=one.rate, source=source[:40]) for one in new], 1000)
    book_advance(book)
    days = sorted({one.day for one in new})
    facts = {"rates": len(new), "from": days[0], "to": days[-1], "source": source[:40]}
    book_audit(actor=actor, action="rates.added", target=("exchange_rates", source[:40]), old=None, new=facts)
    return len(new)


@transaction.atomic
def own_rates_add(*, actor: Actor, quotes: Sequence[Quote], source: str = MANUAL) -> int:
    """Adds rates of the organization's own, which go before the installation's. Returns how many are new. Raises Invalid."""
    require(actor, Right.MANAGE_PRICES)
    _check(quotes, timezone.now().date())
    organization_touch(actor.organization)
    rows = ExchangeRate.objects.filter(organization=actor.organization).order_by("id")
    standing = {(base, quote, day): rate for base, quote, day, rate in rows.values_list("base", "quote", "day", "rate")}
    new = [one for one in quotes if standing.get((one.base, one.quote, one.day)) != one.rate]
    if not new:
        return 0
    ExchangeRate.objects.bulk_create([
        ExchangeRate(
            organization=actor.organization, created_by=actor.member, base=one.base, quote=one.quote, day=one.day, rate=one.rate, source=source[:40]
        ) for one in new
    ], 1000)  # fmt: skip
    old = [{"pair": f"{one.base}/{one.quote}", "day": one.day, "rate": standing[one.base, one.quote, one.day]} for one in new if (one.base, one.quote, one.day) in standing]
    facts = {"source": source[:40], "rates": [{"pair": f"{one.base}/{one.quote}", "day": one.day, "rate": one.rate} for one in new[:100]], "count": len(new)}
    audit_record(actor=actor, action="rates.added", target=("organization", actor.organization.pk), old={"corrected": old[:100]} if old else None, new=facts)
    currencies, since = {code for one in new for code in (one.base, one.quote)}, min(one.day for one in new)
    rates_tell(actor.organization, currencies, since=since, reason=f"Exchange rates of your own for {', '.join(sorted(currencies))} since {since}")
    return len(new)


@transaction.atomic
def exchange_rule_set(*, actor: Actor, basis: str, valid_from: date, days_good_for: int) -> ExchangeRule:
    """Says which day's rate converts calls from a local day on, and for how many days a rate is good. Raises Invalid."""
    require(actor, Right.MANAGE_PRICES)
    if basis not in ExchangeRule.Basis.values:
        raise Invalid("Rates are taken by day or by month.", field="basis")
    if not 1 <= days_good_for <= 400:
        raise Invalid("A rate is good for 1 to 400 days.", field="days_good_for")
    organization_touch(actor.organization)
    standing = ExchangeRule.objects.filter(organization=actor.organization, valid_from__lte=valid_from).order_by("-valid_from", "-id").first()
    if standing is not None and (standing.basis, standing.days_good_for) == (basis, days_good_for):
        return standing
    found = ExchangeRule.objects.create(
        organization=actor.organization, created_by=actor.member, basis=basis, valid_from=valid_from, days_good_for=days_good_for
    )
    old = None if standing is None else {"basis": standing.basis, "days_good_for": standing.days_good_for}
    facts = {"basis": basis, "valid_from": valid_from, "days_good_for": days_good_for}
    audit_record(actor=actor, action="exchange_rule.set", target=("exchange_rule", found.pk), old=old, new=facts)
    priced = {row.currency for model in current_book().models() for row in model.rows}
    rates_tell(actor.organization, priced, since=valid_from, reason=f"Another rule for exchange rates since {valid_from}")
    return found


def ecb_read(*, body: bytes | None = None, now: datetime | None = None) -> int:
    """Takes in the European Central Bank's rates of the day, read from its address unless a body is given. Returns how many are new.

    Raises Unreachable or Invalid, with nothing changed.
    """
    found = ecb.read(fetch(ecb.DAILY, limits=SMALL) if body is None else body)
    return reference_rates_add(actor=None, quotes=found, source=ecb.SOURCE, is_checked=True, now=now)


def _check(quotes: Sequence[Quote], today: date) -> None:
    if not quotes:
        raise Invalid("There is no exchange rate in this.")
    for one in quotes:
        if not one.rate.is_finite() or not Decimal("1e-12") <= one.rate < Decimal("1e12") or -one.rate.as_tuple().exponent > 15:  # type: ignore[operator]
            raise Invalid(f"{one.rate} is no exchange rate: 1 {one.base} in {one.quote} on {one.day}.", field="rate")
        if one.base == one.quote:
            raise Invalid(f"A rate is between two currencies, not {one.base} and itself.", field="quote")
        if one.day > today + timedelta(days=366):
            raise Invalid(f"{one.day} is more than a year ahead.", field="day")


def _check_jumps(new: Sequence[Quote], standing: dict[tuple[str, str, date], Decimal]) -> None:
    last: dict[tuple[str, str], tuple[date, Decimal]] = {}
    for (base, quote, day), rate in standing.items():
        if (base, quote) not in last or last[base, quote][0] <= day:
            last[base, quote] = day, rate
    for one in new:
        known = last.get((one.base, one.quote))
        if known is not None and not known[1] / WILDEST < one.rate < known[1] * WILDEST:
            raise Invalid(f"1 {one.base} was {known[1].normalize():f} {one.quote} on {known[0]} and is said to be {one.rate:f} now. Nothing was taken over.")
