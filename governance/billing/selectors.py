"""Reads of plans, seats and fleets, and what seats cost in a range of days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from django.db.models import F, Prefetch, Q, QuerySet

from governance.billing.models import Fleet, FleetMonth, Seat, SeatPlan, SeatTerms
from governance.billing.proration import Days, amount_of, prorated
from governance.pricing.book import current_book
from governance.pricing.terms import Terms, terms_now
from governance.tenancy.access import Actor, scoped, visible
from governance.tenancy.models import Organization

ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class SeatFee:
    """What one seat costs in a range, in the organization's currency; None where an exchange rate is not known. `days` are those it is held."""

    seat: Seat
    days: int
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class Fees:
    """What seats cost in a range of days. `total` is of those that could be converted; `unconverted` counts the others."""

    total: Decimal
    seats: Sequence[SeatFee]
    unconverted: int

    @property
    def of_seat(self) -> Mapping[int, SeatFee]:
        return {fee.seat.pk: fee for fee in self.seats}


def plans_of(actor: Actor) -> QuerySet[SeatPlan]:
    """The organization's plans with their terms, oldest first, by name."""
    return (
        scoped(actor, SeatPlan.objects.all())
        .prefetch_related(Prefetch("terms", SeatTerms.objects.order_by("valid_from", "id")))
        .order_by("name", "id")
    )


def seats_visible(actor: Actor) -> QuerySet[Seat]:
    """The seats of people the actor may see, each with its plan's terms; those that ended on the day they began never were."""
    rows = visible(actor, Seat.objects.all(), team_column="member__team_id").exclude(valid_to=F("valid_from"))
    terms = Prefetch("plan__terms", SeatTerms.objects.order_by("valid_from", "id"))
    return (
        rows.select_related("plan", "member__user", "member__team")
        .prefetch_related(terms)
        .order_by("member__user__name", "member__user__email", "valid_from", "id")
    )


def seats_in(actor: Actor, days: Days) -> QuerySet[Seat]:
    """The visible seats that somebody held on one of the days."""
    return seats_visible(actor).filter(Q(valid_to=None) | Q(valid_to__gt=days.first), valid_from__lt=days.until)


def fees_in(actor: Actor, days: Days, seats: Sequence[Seat] | None = None) -> Fees:
    """What the visible seats cost for the days, each billing period prorated by its days and converted at the rate of its first."""
    found = list(seats_in(actor, days)) if seats is None else seats
    terms = terms_now(actor.organization) if found else None
    fees = [_fee(seat, days, terms, actor.organization) for seat in found]
    total = sum((fee.amount for fee in fees if fee.amount is not None), Decimal(0))
    return Fees(total, fees, sum(fee.amount is None for fee in fees))


def _fee(seat: Seat, days: Days, terms: Terms | None, organization: Organization) -> SeatFee:
    held = days.within(seat.valid_from, seat.valid_to)
    share: Fraction | None = ZERO
    for row in seat.plan.terms.all():
        for part in prorated(row.fee, row.period, row.anchor, held.within(row.valid_from, row.valid_to)):
            rate = exchange_rate(terms, row.currency, part.period.first, organization)
            share = None if share is None or rate is None else share + part.amount * rate
    return SeatFee(seat, held.count, None if share is None else amount_of(share))


def exchange_rate(terms: Terms | None, currency: str, day: date, organization: Organization) -> Fraction | None:
    """What one unit is worth in the organization's currency on the day, or was at last; None where that is not known."""
    if currency == organization.currency:
        return Fraction(1)
    found = (terms or terms_now(organization)).exchange_last(current_book(), currency, day)
    return None if found is None else Fraction(found.rate)


def terms_at(plan: SeatPlan, day: date) -> SeatTerms | None:
    """The terms in force on the day; before the first and after the last, None."""
    return next((row for row in plan.terms.all() if row.valid_from <= day and (row.valid_to is None or day < row.valid_to)), None)


def fleets_of(actor: Actor) -> QuerySet[Fleet]:
    """The organization's fleet rows with the hours entered for them, by name, oldest first; those that ended on the day they began never were."""
    return scoped(actor, Fleet.objects.exclude(valid_to=F("valid_from"))).prefetch_related("hours").order_by("name", "valid_from", "id")


def months_fixed(actor: Actor) -> QuerySet[FleetMonth]:
    """The months that are fixed, latest first, by model."""
    return scoped(actor, FleetMonth.objects.all()).order_by("-month", "model")
