"""Writes of own hardware: a fleet from a day on, what becomes of it, its end, and the hours it ran. Months that are fixed stay as they are."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from governance.audit.services import audit_record
from governance.billing.checks import amount_check, currency_check, day_check, facts_of, label_check, may_manage, name_check
from governance.billing.models import Fleet, FleetHours, FleetMonth
from governance.errors import Conflict, Invalid
from governance.periods import add_months, local_midnight
from governance.tenancy.access import Actor, get_scoped, scoped
from governance.tenancy.models import Organization
from governance.tenancy.months import days_open_check

CHANGEABLE = ("gpus", "gpu_kind", "rate", "currency", "basis", "schedule", "tokens_per_hour", "hosted_provider", "hosted_model")
FACTS = ("name", "model", "provider", *CHANGEABLE, "valid_from", "valid_to")
MOST_GPUS = 1_000_000
MOST_TOKENS_PER_HOUR = 10**12


@transaction.atomic
def fleet_create(  # noqa: PLR0913
    *,
    actor: Actor,
    name: str,
    model: str,
    gpus: int,
    rate: Decimal,
    valid_from: date,
    provider: str = "",
    currency: str | None = None,
    gpu_kind: str = "",
    basis: str = Fleet.Basis.HOURS,
    schedule: str = Fleet.Schedule.ALWAYS,
    tokens_per_hour: int | None = None,
    hosted_provider: str = "",
    hosted_model: str = "",
) -> Fleet:
    """Hardware that serves a model from a local day on, at `rate` per GPU and hour. Raises Forbidden, Conflict when the name is taken, Invalid."""
    may_manage(actor)
    organization = _held(actor)
    if scoped(actor, Fleet.objects.filter(name=name_check(name))).exists():
        raise Conflict(f"There is a fleet named {name.strip()} already.", field="name")
    model = label_check(model, "model", 200)
    if not model:
        raise Invalid("Say which model it serves, as usage names it.", field="model")
    facts = _checked(
        organization, gpus=gpus, rate=rate, currency=currency or organization.currency, gpu_kind=gpu_kind, basis=basis, schedule=schedule,
        tokens_per_hour=tokens_per_hour, hosted_provider=hosted_provider, hosted_model=hosted_model, valid_from=valid_from,
    )  # fmt: skip
    _not_fixed(organization, model, valid_from, "valid_from")
    fleet = Fleet.objects.create(
        organization=organization,
        created_by=actor.member,
        name=name_check(name),
        model=model,
        provider=label_check(provider, "provider"),
        **facts,
    )
    audit_record(actor=actor, action="fleet.created", target=("fleet", fleet.pk), new=facts_of(fleet, *FACTS))
    return fleet


@transaction.atomic
def fleet_change(*, actor: Actor, fleet: Fleet, valid_from: date, **changes: Any) -> Fleet:
    """What the fleet is from a local day on, as another row; the present one ends there. Raises Forbidden, NotFound, Conflict, Invalid."""
    may_manage(actor)
    organization = _held(actor)
    fleet = get_scoped(actor, Fleet.objects.all(), pk=fleet.pk)
    changes = {name: value for name, value in changes.items() if name in CHANGEABLE and value != getattr(fleet, name)}
    if not changes:
        return fleet
    if fleet.valid_to is not None:
        raise Conflict("This row has ended; change the fleet's present one, or add another fleet.")
    if valid_from <= fleet.valid_from:
        raise Conflict(f"The present row began on {fleet.valid_from}; another can begin later only.", field="valid_from")
    facts = _checked(organization, **{**facts_of(fleet, *CHANGEABLE), **changes, "valid_from": valid_from})
    _not_fixed(organization, fleet.model, valid_from, "valid_from")
    old = facts_of(fleet, *changes)
    fleet.valid_to = valid_from
    fleet.save(update_fields=["valid_to"])
    row = Fleet.objects.create(
        organization=organization, created_by=actor.member, name=fleet.name, model=fleet.model, provider=fleet.provider, **facts
    )
    audit_record(actor=actor, action="fleet.changed", target=("fleet", row.pk), old=old, new={**changes, "valid_from": valid_from})
    return row


@transaction.atomic
def fleet_end(*, actor: Actor, fleet: Fleet, ends_on: date) -> Fleet:
    """Ends the fleet: `ends_on` is the first day without it. Raises Forbidden, NotFound, Conflict, Invalid."""
    may_manage(actor)
    organization = _held(actor)
    fleet = get_scoped(actor, Fleet.objects.all(), pk=fleet.pk)
    if fleet.valid_to == ends_on:
        return fleet
    if fleet.valid_to is not None:
        raise Conflict(f"This fleet ended on {fleet.valid_to}.", field="ends_on")
    if day_check(ends_on, "ends_on") < fleet.valid_from:
        raise Invalid(f"It begins on {fleet.valid_from}; it cannot end before.", field="ends_on")
    _not_fixed(organization, fleet.model, ends_on, "ends_on")
    fleet.valid_to = ends_on
    fleet.save(update_fields=["valid_to"])
    audit_record(
        actor=actor, action="fleet.ended", target=("fleet", fleet.pk), old={"valid_to": None}, new={"name": fleet.name, "valid_to": ends_on}
    )
    return fleet


@transaction.atomic
def fleet_hours_enter(*, actor: Actor, fleet: Fleet, month: date, hours: Decimal, now: datetime | None = None) -> FleetHours:
    """The hours the fleet ran in a local month; entered again, the later number counts. Raises Forbidden, NotFound, Conflict, Invalid."""
    may_manage(actor)
    organization = _held(actor)
    fleet = get_scoped(actor, Fleet.objects.all(), pk=fleet.pk)
    first, until = day_check(month, "month").replace(day=1), add_months(month.replace(day=1), 1)
    if fleet.schedule != Fleet.Schedule.ENTERED:
        raise Conflict("This fleet runs around the clock: its hours follow from its days.", field="hours")
    if fleet.valid_from >= until or (fleet.valid_to is not None and fleet.valid_to <= first):
        raise Invalid("The fleet is not there in this month.", field="month")
    _not_fixed(organization, fleet.model, first, "month", until=until)
    zone = organization.zone
    starts, ends = local_midnight(max(first, fleet.valid_from), zone), local_midnight(min(until, fleet.valid_to or until), zone)
    if starts > (now or timezone.now()):
        raise Invalid("This month has not begun.", field="month")
    most = Decimal(int((ends - starts).total_seconds())) / 3600
    if not hours.is_finite() or not 0 <= hours <= most:
        raise Invalid(f"The fleet is there for {most.normalize():f} hours of this month.", field="hours")
    hours = hours.quantize(Decimal("0.001"))
    known = FleetHours.objects.filter(fleet=fleet, month=first).order_by("-id").first()
    if known is not None and known.hours == hours:
        return known
    row = FleetHours.objects.create(organization=organization, created_by=actor.member, fleet=fleet, month=first, hours=hours)
    old = None if known is None else {"hours": known.hours}
    audit_record(
        actor=actor,
        action="fleet.hours_entered",
        target=("fleet", fleet.pk),
        old=old,
        new={"name": fleet.name, "month": first, "hours": hours},
    )
    return row


def _held(actor: Actor) -> Organization:
    """The organization, whose fleets change one after another."""
    return Organization.objects.select_for_update(no_key=True).get(pk=actor.organization.pk)


def _not_fixed(organization: Organization, model: str, day: date, field: str, *, until: date | None = None) -> None:
    """Raises Conflict where the day lies in or before a month of the model that is fixed, or the days from it on in a closed month."""
    days_open_check(organization, day, until, field=field)
    last = FleetMonth.objects.filter(organization=organization, model=model).order_by("-month").first()
    if last is not None and day < add_months(last.month, 1):
        raise Conflict(f"The figures of {model} are fixed up to {last.month:%B %Y}.", field=field)


def _checked(organization: Organization, **facts: Any) -> dict[str, Any]:
    """The facts as a row holds them. Raises Invalid."""
    valid_from = day_check(facts["valid_from"], "valid_from")
    if not 1 <= facts["gpus"] <= MOST_GPUS:
        raise Invalid(f"A fleet has 1 to {MOST_GPUS:,} GPUs.", field="gpus")
    amount_check(facts["rate"], "rate")
    if facts["basis"] not in Fleet.Basis.values:
        raise Invalid("A fleet is paid by the hours or by the work.", field="basis")
    if facts["schedule"] not in Fleet.Schedule.values:
        raise Invalid("A fleet runs always, or its hours are entered.", field="schedule")
    speed = facts["tokens_per_hour"]
    if speed is None and facts["basis"] == Fleet.Basis.WORK:
        raise Invalid("What is paid by the work needs the tokens it does in an hour.", field="tokens_per_hour")
    if speed is not None and not 1 <= speed <= MOST_TOKENS_PER_HOUR:
        raise Invalid(f"A fleet does 1 to {MOST_TOKENS_PER_HOUR:,} tokens an hour.", field="tokens_per_hour")
    labels = {
        name: label_check(facts[name], name, longest)
        for name, longest in (("gpu_kind", 80), ("hosted_provider", 80), ("hosted_model", 200))
    }
    return facts | labels | {"currency": currency_check(organization, facts["currency"], day=valid_from)}
