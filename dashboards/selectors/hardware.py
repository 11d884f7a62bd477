"""What the page of own hardware shows: months of each model, fixed or as known now, and who used it in the running one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.db.models import Sum

from governance.billing.models import Fleet, FleetMonth
from governance.billing.proration import amount_of
from governance.billing.selectors import months_fixed
from governance.periods import add_months
from governance.tenancy.access import Actor, scoped, visible
from governance.tenancy.models import Team
from ingest.models import UsageRollupDay
from ingest.own_hardware import BUCKETS, SELF_HOSTED, HardwareMonth, hardware_months, serves

OPEN_MONTHS = 3


@dataclass(frozen=True, slots=True)
class HardwareRow:
    """A model in a month: `fixed`, `running`, `open` (over, not fixed yet) or `hours` (over, and hours or a rate are missing)."""

    model: str
    month: date
    gpu_hours: Decimal | None
    amount: Decimal | None
    tokens: int
    per_mtok: Decimal | None
    hosted_per_mtok: Decimal | None
    hosted_name: str
    utilisation: float | None
    state: str


@dataclass(frozen=True, slots=True)
class Share:
    """A team's part of a model's month, by tokens."""

    model: str
    team: str
    calls: int
    tokens: int
    share: Decimal
    amount: Decimal | None


def hardware_rows(actor: Actor, fleets: Sequence[Fleet], *, now: datetime) -> list[HardwareRow]:
    """The fixed months, and the running one and those before it that are not fixed yet, latest first."""
    if not fleets:
        return []
    fixed = [_of_fixed(row) for row in months_fixed(actor)]
    known = {(row.model, row.month) for row in fixed}
    running = now.astimezone(actor.organization.zone).date().replace(day=1)
    rows = list(fixed)
    for back in range(OPEN_MONTHS):
        month = add_months(running, -back)
        found = hardware_months(actor.organization, month, now=now, fleets=fleets)
        rows += [_of_open(row, is_running=back == 0) for row in found if (row.model, month) not in known]
    return sorted(rows, key=lambda row: (row.month, row.model), reverse=True)


def _of_fixed(row: FleetMonth) -> HardwareRow:
    used = None if not row.capacity_tokens else row.tokens / row.capacity_tokens
    return HardwareRow(
        row.model, row.month, row.gpu_hours, row.amount, row.tokens, row.per_mtok, row.hosted_per_mtok, row.hosted_name, used, "fixed"
    )


def _of_open(row: HardwareMonth, *, is_running: bool) -> HardwareRow:
    figures = row.figures
    state = "running" if is_running else "open" if row.amount is not None else "hours"
    hours = None if figures.gpu_hours is None else amount_of(figures.gpu_hours)
    used = None if figures.utilisation is None else float(figures.utilisation)
    return HardwareRow(row.model, row.month, hours, row.amount, row.used.tokens, row.per_mtok, row.hosted_per_mtok, row.hosted_name, used, state)


def shares_of(actor: Actor, fleets: Sequence[Fleet], running: Sequence[HardwareRow], *, now: datetime) -> list[Share]:
    """The running month's tokens by model and team that the actor may see, with each one's part of the cost."""
    of_model = {row.model: row for row in running}
    if not of_model:
        return []
    first = next(iter(running)).month
    rows = visible(actor, UsageRollupDay.objects.filter(day__gte=first, day__lt=add_months(first, 1), billing_mode=SELF_HOSTED, model__in=list(of_model)))
    sums = {f"sum_{bucket}": Sum(bucket) for bucket in BUCKETS}
    found: dict[tuple[str, int | None], list[int]] = {}
    summed: Any = rows.values("model", "provider", "team_id").annotate(sum_calls=Sum("calls"), **sums).order_by()
    for row in summed:
        if serves([fleet for fleet in fleets if fleet.model == row["model"]], row["provider"]):
            entry = found.setdefault((row["model"], row["team_id"]), [0, 0])
            entry[0] += row["sum_calls"]
            entry[1] += sum(row[f"sum_{bucket}"] for bucket in BUCKETS)
    names = {team.pk: team.name for team in scoped(actor, Team.objects.all())}
    return [_share(of_model[model], names.get(team or 0, "Unallocated"), calls, tokens) for (model, team), (calls, tokens) in sorted(found.items(), key=str)]


def _share(row: HardwareRow, team: str, calls: int, tokens: int) -> Share:
    share = Fraction(tokens, row.tokens) if row.tokens else Fraction(0)
    amount = None if row.amount is None or not row.tokens else amount_of(Fraction(row.amount) * share)
    return Share(row.model, team, calls, tokens, amount_of(share), amount)
