"""What the page of seats shows: each person's seat with its fee, use and last day, each plan in sum, and who would be cheaper on a seat."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from django.db.models import F, Max, Q, QuerySet, Sum

from dashboards.insights.seats import Cover, Key, Use, cheaper_on_a_seat, last_of, per_active, state_of, use_of, verdict
from dashboards.selectors.usage import TOKENS
from governance.billing.models import Seat, SeatPlan, SeatTerms
from governance.billing.proration import Days, amount_of, billing_period, prorated
from governance.billing.selectors import Fees, SeatFee, exchange_rate, fees_in, plans_of, seats_in, terms_at
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Member
from ingest.models import UsageRollupDay

LOOKED_BACK = timedelta(days=400)
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class SeatRow:
    """One seat in the range. `included` is (used, of) in the running billing period, in what the plan counts; None where it counts nothing."""

    seat: Seat
    fee: SeatFee
    use: Use
    last: date | None
    state: str
    included: tuple[Decimal, Decimal] | None

    @property
    def gain(self) -> Decimal | None:
        """What the same use would have cost by the call, less the fee."""
        return None if self.fee.amount is None else self.use.notional - self.fee.amount

    @property
    def verdict(self) -> str:
        return verdict(self.fee.amount, self.use.notional)


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan in the range."""

    plan: SeatPlan
    terms: SeatTerms | None
    rows: Sequence[SeatRow]
    fees: Decimal

    def number(self, state: str) -> int:
        return sum(row.state == state for row in self.rows)

    @property
    def notional(self) -> Decimal:
        return sum((row.use.notional for row in self.rows), ZERO)

    @property
    def cost_per_active(self) -> Decimal | None:
        return per_active(self.fees, self.number("active"))


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody without a seat who is billed by the call for what a plan covers. `fee` is a seat's for the same days."""

    member: Member
    plan: SeatPlan
    billed: Decimal
    fee: Decimal
    saving: Decimal


class SeatsView:
    """The figures of one visit, each read when it is asked for. `days` are the range, `today` the organization's day."""

    def __init__(self, actor: Actor, *, days: Days, today: date, idle_days: int) -> None:
        self.actor, self.days, self.today, self.idle_days = actor, days, today, idle_days

    @cached_property
    def plans(self) -> list[SeatPlan]:
        return list(plans_of(self.actor))

    @cached_property
    def fees(self) -> Fees:
        return fees_in(self.actor, self.days, list(seats_in(self.actor, self.days)))

    @cached_property
    def uses(self) -> dict[Key, Use]:
        """What everybody did in the range with what plans cover."""
        rows = self._covered().filter(day__gte=self.days.first, day__lt=self.days.until)
        return _uses(rows.values("member_id", "harness", "provider").annotate(**_sums(Q())).order_by())

    @cached_property
    def last_days(self) -> dict[Key, date]:
        rows = self._covered().filter(day__gte=self.today - LOOKED_BACK, member_id__in=[fee.seat.member_id for fee in self.fees.seats])
        found = rows.values("member_id", "harness", "provider").annotate(last=Max("day")).order_by()
        return {Key(row["member_id"] or 0, row["harness"], row["provider"]): row["last"] for row in found}

    @cached_property
    def included(self) -> dict[date, dict[Key, Use]]:
        """What was done under subscriptions since the first day of each running billing period."""
        starts = sorted({period for plan in self.plans if (period := self._period_start(plan)) is not None})
        if not starts:
            return {}
        rows = self._covered().filter(day__gte=starts[0], day__lte=self.today, billing_mode="subscription")
        sums = {f"s{index}_{name}": total for index, first in enumerate(starts) for name, total in _sums(Q(day__gte=first)).items()}
        found = list(rows.values("member_id", "harness", "provider").annotate(**sums).order_by())
        return {first: _uses(found, prefix=f"s{index}_") for index, first in enumerate(starts)}

    @cached_property
    def rows(self) -> list[SeatRow]:
        return [self._row(fee) for fee in self.fees.seats]

    @cached_property
    def held_now(self) -> list[SeatRow]:
        return [row for row in self.rows if row.state != "ended"]

    @cached_property
    def of_plans(self) -> list[PlanRow]:
        rows: dict[int, list[SeatRow]] = defaultdict(list)
        for row in self.rows:
            rows[row.seat.plan_id].append(row)
        return [
            PlanRow(plan, terms_at(plan, self.today), rows[plan.pk], sum((row.fee.amount or ZERO for row in rows[plan.pk]), ZERO)) for plan in self.plans
        ]

    def number(self, state: str) -> int:
        return sum(row.state == state for row in self.rows)

    @property
    def active(self) -> int:
        return self.number("active")

    @property
    def idle(self) -> int:
        return self.number("idle")

    @property
    def cost_per_active(self) -> Decimal | None:
        return per_active(self.fees.total, self.active)

    @property
    def notional(self) -> Decimal:
        return sum((row.use.notional for row in self.rows), ZERO)

    @property
    def dearer_than_calls(self) -> int:
        return sum(row.verdict == "metered" for row in self.rows)

    @cached_property
    def candidates(self) -> list[Candidate]:
        """People without a seat of the plan whose calls cost more than one, for plans that are sold today."""
        found: list[tuple[SeatPlan, int, Decimal, Decimal, Decimal]] = []
        for plan in self.plans:
            fee = self._fee_of_days(plan)
            if fee is None:
                continue
            seated = {row.seat.member_id for row in self.held_now if row.seat.plan_id == plan.pk}
            people = {key.member_id for key in self.uses} - seated
            billed = [(member_id, use_of(self.uses, member_id, cover_of(plan)).metered) for member_id in people]
            found += [(plan, *row, fee) for row in cheaper_on_a_seat(billed, fee)]
        people_there = self._people({member_id for _, member_id, *_ in found})
        return [Candidate(people_there[who], plan, billed, fee, saving) for plan, who, billed, saving, fee in found if who in people_there]

    def _people(self, ids: set[int]) -> dict[int, Member]:
        rows = scoped(self.actor, Member.objects.filter(pk__in=ids, is_active=True)).select_related("user", "team")
        if self.actor.team_ids is not None:
            rows = rows.filter(team_id__in=self.actor.team_ids)
        return {member.pk: member for member in rows} if ids else {}

    def _covered(self) -> QuerySet[UsageRollupDay]:
        """The days of use of anybody with anything that a plan covers. A seat is a person's, whichever team the work was for."""
        if not self.plans:
            return UsageRollupDay.objects.none()
        covers = Q()
        for plan in self.plans:
            covers |= Q(**{name: value for name, value in (("harness", plan.harness), ("provider", plan.provider)) if value})
        return scoped(self.actor, UsageRollupDay.objects.filter(covers, member_id__isnull=False, currency=self.actor.organization.currency))

    def _row(self, fee: SeatFee) -> SeatRow:
        seat = fee.seat
        cover = cover_of(seat.plan)
        last = last_of(self.last_days, seat.member_id, cover)
        is_over = seat.valid_to is not None and seat.valid_to <= self.today
        state = "ended" if is_over else state_of(last, seat.valid_from, today=self.today, idle_days=self.idle_days)
        return SeatRow(seat, fee, use_of(self.uses, seat.member_id, cover), last, state, None if is_over else self._included(seat))

    def _included(self, seat: Seat) -> tuple[Decimal, Decimal] | None:
        terms, first = terms_at(seat.plan, self.today), self._period_start(seat.plan)
        if terms is None or first is None or terms.included_amount is None:
            return None
        use = use_of(self.included.get(first, {}), seat.member_id, cover_of(seat.plan))
        return Decimal(getattr(use, terms.included_measure)), terms.included_amount

    def _period_start(self, plan: SeatPlan) -> date | None:
        terms = terms_at(plan, self.today)
        if terms is None or terms.included_amount is None:
            return None
        return billing_period(terms.period, terms.anchor, self.today).first

    def _fee_of_days(self, plan: SeatPlan) -> Decimal | None:
        """What a seat of the plan would cost for the range at the terms of today; None where it is not sold, or its currency not known."""
        terms = terms_at(plan, self.today)
        rate = None if terms is None else exchange_rate(None, terms.currency, self.today, self.actor.organization)
        if terms is None or rate is None:
            return None
        parts = prorated(terms.fee, terms.period, terms.anchor, self.days)
        return amount_of(sum((part.amount for part in parts), start=parts[0].amount * 0) * rate) if parts else None


def cover_of(plan: SeatPlan) -> Cover:
    return Cover(plan.harness, plan.provider)


def _sums(when: Q) -> dict[str, Sum]:
    """The sums that a Use is made of."""
    return {
        "notional_sum": Sum("notional_cost", filter=when & Q(billing_mode="subscription"), default=ZERO),
        "metered_sum": Sum("cost", filter=when & Q(billing_mode="metered"), default=ZERO),
        "calls_sum": Sum(F("calls"), filter=when & Q(), default=0),
        "tokens_sum": Sum(TOKENS, filter=when & Q(), default=0),
    }


def _uses(rows: Any, prefix: str = "") -> dict[Key, Use]:
    return {
        Key(row["member_id"], row["harness"], row["provider"]): Use(
            row[f"{prefix}notional_sum"], row[f"{prefix}metered_sum"], row[f"{prefix}calls_sum"], row[f"{prefix}tokens_sum"]
        )
        for row in rows
    }  # fmt: skip
