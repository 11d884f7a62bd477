"""Own hardware: what each model it serves comes to in a month, by its fleets' hours and its calls' tokens; months that are over are fixed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.db import transaction
from django.db.models import Sum

from governance.audit.services import audit_record
from governance.billing.hardware import MILLION, MonthOfModel, Rig, at_ordinary_rates, hours_there, month_of
from governance.billing.models import Fleet, FleetMonth
from governance.billing.proration import LAST_DAY, amount_of
from governance.billing.selectors import exchange_rate, fleets_of
from governance.periods import add_months, local_midnight
from governance.pricing.book import current_book
from governance.tenancy.access import Actor, scoped, system_actor
from governance.tenancy.models import Organization
from ingest.models import UsageRollupDay

SELF_HOSTED = "self-hosted"
BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens")
# How long hours can be entered, and late calls be counted, after a month is over.
GRACE = timedelta(days=3)
MOST_MONTHS = 36


@dataclass(slots=True)
class Used:
    """What calls on own hardware took, by bucket."""

    calls: int = 0
    buckets: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BUCKETS, 0))

    @property
    def tokens(self) -> int:
        return sum(self.buckets.values())


@dataclass(frozen=True, slots=True)
class HardwareMonth:
    """A model on own hardware in a local month. Amounts are in the organization's currency; None, never zero, where something is not known."""

    model: str
    month: date
    fleets: Sequence[Fleet]
    used: Used
    figures: MonthOfModel
    hosted_per_mtok: Decimal | None
    hosted_name: str

    @property
    def amount(self) -> Decimal | None:
        return None if self.figures.amount is None else amount_of(self.figures.amount)

    @property
    def per_mtok(self) -> Decimal | None:
        return None if self.figures.per_mtok is None else amount_of(self.figures.per_mtok)

    @property
    def capacity_tokens(self) -> int | None:
        return None if self.figures.capacity is None else int(self.figures.capacity)


def hardware_months(organization: Organization, month: date, *, now: datetime, fleets: Sequence[Fleet] | None = None) -> list[HardwareMonth]:
    """Each model that the organization's hardware served in the local month named by its first day, as it is known now, by model."""
    until = add_months(month, 1)
    rows = list(fleets_of(system_actor(organization))) if fleets is None else fleets
    there: dict[str, list[Fleet]] = defaultdict(list)
    for fleet in rows:
        if fleet.valid_from < until and (fleet.valid_to or LAST_DAY) > month:
            there[fleet.model].append(fleet)
    used = used_in(organization, month, there)
    return [_month(organization, month, found, used=used.get(model, Used()), now=now) for model, found in sorted(there.items())]


def used_in(organization: Organization, month: date, fleets: Mapping[str, Sequence[Fleet]]) -> dict[str, Used]:
    """What the calls of the month that the fleets serve took, by model."""
    if not fleets:
        return {}
    rows = UsageRollupDay.objects.filter(
        organization=organization, day__gte=month, day__lt=add_months(month, 1), billing_mode=SELF_HOSTED, model__in=list(fleets)
    )
    sums = {f"sum_{bucket}": Sum(bucket) for bucket in BUCKETS}
    found: dict[str, Used] = defaultdict(Used)
    summed: Any = rows.values("model", "provider").annotate(sum_calls=Sum("calls"), **sums).order_by()
    for row in summed:
        if serves(fleets[row["model"]], row["provider"]):
            used = found[row["model"]]
            used.calls += row["sum_calls"]
            for bucket in BUCKETS:
                used.buckets[bucket] += row[f"sum_{bucket}"]
    return dict(found)


def serves(fleets: Iterable[Fleet], provider: str) -> bool:
    """Whether one of the fleets serves calls reported with this provider."""
    return any(fleet.provider in ("", provider) for fleet in fleets)


def _month(organization: Organization, month: date, fleets: Sequence[Fleet], *, used: Used, now: datetime) -> HardwareMonth:
    rigs = [_rig(organization, fleet, month, now) for fleet in fleets]
    hosted, name = _hosted(organization, month, fleets, used=used, now=now)
    return HardwareMonth(fleets[0].model, month, fleets, used, month_of(rigs, used.tokens), hosted, name)


def _rig(organization: Organization, fleet: Fleet, month: date, now: datetime) -> Rig:
    hours: Fraction | None = hours_there(fleet.valid_from, fleet.valid_to, month=(month, add_months(month, 1)), zone=organization.zone, now=now)
    if fleet.schedule == Fleet.Schedule.ENTERED:
        entered = [row.hours for row in sorted(fleet.hours.all(), key=lambda row: row.pk) if row.month == month]
        hours = Fraction(entered[-1]) if entered else None
    rate = exchange_rate(None, fleet.currency, month, organization)
    return Rig(
        fleet.pk, fleet.name, fleet.gpus, fleet.rate, fleet.currency, rate,
        fleet.basis == Fleet.Basis.WORK, hours, fleet.tokens_per_hour,
    )  # fmt: skip


def _hosted(organization: Organization, month: date, fleets: Sequence[Fleet], *, used: Used, now: datetime) -> tuple[Decimal | None, str]:
    """A million of these tokens at the list price of who sells the model, at the end of the month or now, and who that is."""
    named = next((fleet for fleet in reversed(fleets) if fleet.hosted_model), None)
    provider, model = (named.hosted_provider, named.hosted_model) if named else ("", fleets[-1].model)
    entry = current_book().entry(provider, model)
    at = min(now, local_midnight(add_months(month, 1), organization.zone) - timedelta(seconds=1))
    row = entry.row_at(at) if entry is not None else None
    if entry is None or row is None:
        return None, ""
    rate = exchange_rate(None, row.currency, month, organization)
    cost = at_ordinary_rates(row.rates, used.buckets)
    name = f"{entry.slug} of {entry.provider}"
    return (None if cost is None or rate is None or not used.tokens else amount_of(cost * rate * MILLION / used.tokens)), name


def months_fix(organization: Organization, *, now: datetime) -> list[FleetMonth]:
    """Fixes the months that are over, model by model, oldest first, as far as all hours and exchange rates of a month are known."""
    actor = system_actor(organization)
    fixed: list[FleetMonth] = []
    with transaction.atomic():
        # As the writes of fleets do: a month is not fixed while its hours are being entered.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        fleets = list(fleets_of(actor))
        last = dict(scoped(actor, FleetMonth.objects.all()).order_by("month").values_list("model", "month"))
        stopped: set[str] = set()
        for month in _months_over(organization, fleets, now):
            for found in hardware_months(organization, month, now=now, fleets=fleets):
                is_done = found.model in last and month <= last[found.model]
                if is_done or found.model in stopped:
                    continue
                if found.amount is None:
                    stopped.add(found.model)
                    continue
                fixed.append(_fixed(actor, found, now))
    return fixed


def _months_over(organization: Organization, fleets: Sequence[Fleet], now: datetime) -> list[date]:
    """The local months that have been over for the days of grace, since the first fleet began, oldest first."""
    if not fleets:
        return []
    running = (now - GRACE).astimezone(organization.zone).date().replace(day=1)
    month = max(min(fleet.valid_from for fleet in fleets).replace(day=1), add_months(running, -MOST_MONTHS))
    found = []
    while month < running:
        found.append(month)
        month = add_months(month, 1)
    return found


def _fixed(actor: Actor, found: HardwareMonth, now: datetime) -> FleetMonth:
    amounts = found.figures.amounts
    parts = [
        {"fleet": fleet.pk, "name": fleet.name, "gpus": fleet.gpus, "rate": str(fleet.rate), "currency": fleet.currency, "amount": str(amount_of(part))}
        for fleet in found.fleets
        if (part := amounts[fleet.pk]) is not None
    ]
    gpu_hours = found.figures.gpu_hours
    row = FleetMonth.objects.create(
        organization=actor.organization, model=found.model, month=found.month, tokens=found.used.tokens, calls=found.used.calls, amount=found.amount,
        gpu_hours=None if gpu_hours is None else amount_of(gpu_hours), per_mtok=found.per_mtok, capacity_tokens=found.capacity_tokens,
        hosted_per_mtok=found.hosted_per_mtok, hosted_name=found.hosted_name, parts=parts, fixed_at=now,
    )  # fmt: skip
    new = {"month": found.month, "amount": found.amount, "tokens": found.used.tokens, "per_mtok": found.per_mtok}
    audit_record(actor=actor, action="fleet.month_fixed", target=("fleet_month", row.pk), new={"model": found.model, **new})
    return row


def months_fix_all(*, now: datetime) -> int:
    """Fixes what is over in every organization with own hardware. Returns how many months were."""
    owners = Organization.objects.filter(pk__in=Fleet.objects.values("organization")).order_by("pk")
    return sum(len(months_fix(organization, now=now)) for organization in owners)
