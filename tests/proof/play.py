"""One proof from beginning to end: the organization made, the calls made, the books looked at, the report written."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.db.models import Max, Sum
from django.utils import timezone

from governance.budgets.models import Budget, BudgetPeriod
from governance.budgets.services import holds_expire
from governance.tenancy.models import Organization
from ingest.models import UsageEvent
from ingest.verify import organization_verify
from tests.proof.report import REPORT, End, Kept, text
from tests.proof.stage import posts, run
from tests.proof.world import COST, World, world_make

LEVELS = ("organization", "team", "member", "session")
POSTERS = 8


def prove(*, calls: int, processes: int, strikes: int, events: int, seed: int, report: Path | None = None) -> int:
    """Returns 0 when everything that must be true was. The database is the one in settings, migrated and used up."""
    call_command("migrate", verbosity=0)
    world = world_make(calls)
    connection.close()
    told = run(organization_id=world.organization_id, calls=calls, processes=processes, strikes=strikes, seed=seed)
    connection.close()  # it may be one of those that were cut
    end = _end(world)
    posted = posts(organization_id=world.posting_id, events=events, processes=POSTERS)
    connection.close()
    kept = _kept(world, events)
    written = text(told=told, end=end, posted=posted, kept=kept, world=world, calls=calls, processes=processes, seed=seed)
    (report or REPORT).write_text(written)
    print(written)
    is_true = end.is_true and kept.is_true
    return 0 if is_true and not (told.wrong or told.failures or posted.failures) else 1


def _end(world: World) -> End:
    """The books once every hold's time is over. What was settled by amount waits a day for its event: the sweep's clock is set ahead."""
    holds_expire(now=timezone.now() + timedelta(days=2))
    organization = Organization.objects.get(pk=world.organization_id)
    periods = BudgetPeriod.objects.filter(organization=organization)
    whole = periods.get(budget__scope_kind=Budget.ScopeKind.ORGANIZATION)
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        deadlocks = cursor.fetchone()[0]
    by_level = {level: periods.filter(budget__scope_kind=level) for level in LEVELS}
    return End(
        deadlocks=deadlocks,
        leaked=periods.aggregate(held=Sum("held"))["held"] or Decimal(0),
        differences=_differences(organization),
        spent=whole.spent.normalize(),
        events=UsageEvent.objects.filter(organization_id=organization.pk).count(),
        levels=[
            (level, world.limits[level], rows.count(), (rows.aggregate(most=Max("spent"))["most"] or Decimal(0)).normalize())
            for level, rows in by_level.items()
        ],
        room=(whole.allowance - whole.spent).normalize(),
    )


def _kept(world: World, events: int) -> Kept:
    """What there is of events that were all acknowledged."""
    organization = Organization.objects.get(pk=world.posting_id)
    stored = UsageEvent.objects.filter(organization_id=organization.pk).values_list("external_id", flat=True)
    whole = BudgetPeriod.objects.get(organization=organization, budget__scope_kind=Budget.ScopeKind.ORGANIZATION)
    return Kept(
        acknowledged=events,
        lost=events - len(set(stored)),
        twice=len(stored) - len(set(stored)),
        off_by=whole.spent - len(stored) * COST,
        differences=_differences(organization),
    )


def _differences(organization: Organization) -> list[str]:
    return [f"{one.table} {one.row}: {one.stored}, true is {one.true}" for one in organization_verify(organization)]
