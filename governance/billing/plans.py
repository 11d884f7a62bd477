"""Writes of plans: making one, changing what it costs from a day on, ending it. What held before that day stays as it was."""

from datetime import date
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from governance.audit.services import audit_record
from governance.billing.checks import amount_check, currency_check, day_check, facts_of, label_check, may_manage, name_check
from governance.billing.models import SeatPlan, SeatTerms
from governance.errors import Conflict, Invalid
from governance.tenancy.access import Actor, get_scoped
from governance.tenancy.models import Organization
from governance.tenancy.months import days_open_check

TERMS = ("fee", "currency", "period", "anchor", "included_measure", "included_amount")
LONGEST_INCLUDED = Decimal(10) ** 12


@transaction.atomic
def plan_create(  # noqa: PLR0913
    *,
    actor: Actor,
    name: str,
    fee: Decimal,
    valid_from: date,
    provider: str = "",
    harness: str = "",
    currency: str | None = None,
    period: str = SeatTerms.Period.MONTH,
    anchor: date | None = None,
    included_measure: str = "",
    included_amount: Decimal | None = None,
) -> SeatPlan:
    """A plan whose seats cost `fee` a period each, from a local day on. `anchor` is the first day of a billing period, else `valid_from`.

    Raises Forbidden, Conflict when the name is taken, Invalid.
    """
    may_manage(actor)
    provider, harness = label_check(provider, "provider"), label_check(harness, "harness")
    if not provider and not harness:
        raise Invalid("Say which harness or which provider the seats are for, so that their usage is known.", field="harness")
    terms = _terms_checked(
        actor.organization, fee=fee, currency=currency or actor.organization.currency, period=period, anchor=anchor or valid_from,
        included_measure=included_measure, included_amount=included_amount, valid_from=valid_from,
    )  # fmt: skip
    try:
        with transaction.atomic():
            plan = SeatPlan.objects.create(
                organization=actor.organization, created_by=actor.member, name=name_check(name), provider=provider, harness=harness
            )
    except IntegrityError:
        raise Conflict(f"There is a plan named {name.strip()} already.", field="name") from None
    first = SeatTerms.objects.create(organization=actor.organization, created_by=actor.member, plan=plan, **terms)
    new = facts_of(plan, "name", "provider", "harness") | facts_of(first, *TERMS, "valid_from")
    audit_record(actor=actor, action="seat_plan.created", target=("seat_plan", plan.pk), new=new)
    return plan


@transaction.atomic
def plan_change(*, actor: Actor, plan: SeatPlan, valid_from: date, **changes: Any) -> SeatTerms:
    """Other terms (fee, currency, period, anchor, included_measure, included_amount) from a local day on; the ones until then end there.

    Where the period changes, billing periods begin anew on that day. Raises Forbidden, Conflict, Invalid.
    """
    may_manage(actor)
    days_open_check(actor.organization, valid_from, field="valid_from")
    plan = plan_locked(actor, plan.pk)
    current = open_terms(plan)
    if current is None:
        raise Conflict("This plan has ended; make another one.")
    changes = {name: value for name, value in changes.items() if name in TERMS and value != getattr(current, name)}
    if not changes:
        return current
    if valid_from <= current.valid_from:
        raise Conflict(f"The present terms began on {current.valid_from}; others can begin later only.", field="valid_from")
    if changes.get("period") and "anchor" not in changes:
        changes["anchor"] = valid_from
    terms = _terms_checked(actor.organization, **{**facts_of(current, *TERMS), **changes, "valid_from": valid_from})
    old = facts_of(current, *changes)
    current.valid_to = valid_from
    current.save(update_fields=["valid_to"])
    row = SeatTerms.objects.create(organization=actor.organization, created_by=actor.member, plan=plan, **terms)
    audit_record(actor=actor, action="seat_plan.changed", target=("seat_plan", plan.pk), old=old, new={**changes, "valid_from": valid_from})
    return row


@transaction.atomic
def plan_end(*, actor: Actor, plan: SeatPlan, ends_on: date) -> SeatPlan:
    """Ends the plan and its seats: `ends_on` is the first day without them. Raises Forbidden, Conflict when it ended earlier, Invalid."""
    may_manage(actor)
    days_open_check(actor.organization, ends_on, field="ends_on")
    plan = plan_locked(actor, plan.pk)
    current = open_terms(plan)
    if current is None:
        raise Conflict("This plan has ended already.")
    if day_check(ends_on, "ends_on") < current.valid_from:
        raise Invalid(f"The present terms begin on {current.valid_from}; the plan cannot end before.", field="ends_on")
    current.valid_to = ends_on
    current.save(update_fields=["valid_to"])
    seats = list(plan.seats.filter(valid_to=None)) + list(plan.seats.filter(valid_to__gt=ends_on))
    for seat in seats:
        seat.valid_to = max(ends_on, seat.valid_from)
        seat.save(update_fields=["valid_to"])
    audit_record(
        actor=actor,
        action="seat_plan.ended",
        target=("seat_plan", plan.pk),
        old={"ends_on": None},
        new={"ends_on": ends_on, "seats": len(seats)},
    )
    return plan


def plan_locked(actor: Actor, plan_id: int) -> SeatPlan:
    """The organization's plan, held until the transaction ends, so that its terms and seats change one after another. Raises NotFound."""
    return get_scoped(actor, SeatPlan.objects.select_for_update(no_key=True), pk=plan_id)


def open_terms(plan: SeatPlan) -> SeatTerms | None:
    """The terms without an end."""
    return SeatTerms.objects.filter(plan=plan, valid_to=None).first()


def _terms_checked(organization: Organization, **terms: Any) -> dict[str, Any]:
    """The terms as a row holds them. Raises Invalid."""
    valid_from = day_check(terms["valid_from"], "valid_from")
    amount_check(terms["fee"], "fee")
    if terms["period"] not in SeatTerms.Period.values:
        raise Invalid("A period is a month or a year.", field="period")
    day_check(terms["anchor"], "anchor")
    measure, amount = terms["included_measure"], terms["included_amount"]
    if measure not in SeatTerms.Included.values:
        raise Invalid("Included use is counted in tokens, calls or usage at list price (notional).", field="included_measure")
    if (measure == "") != (amount is None):
        raise Invalid("Included use needs an amount and what it counts.", field="included_amount")
    if amount is not None and not (amount.is_finite() and Decimal(0) < amount <= LONGEST_INCLUDED):
        raise Invalid(f"Included use is more than nothing and at most {LONGEST_INCLUDED:,}.", field="included_amount")
    return terms | {"currency": currency_check(organization, terms["currency"], day=valid_from)}
