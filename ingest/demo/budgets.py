"""Makes the simulated organization's budgets, as large as people would set them who know what was spent."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_UP, Decimal

from django.db import transaction
from django.db.models import Min, Sum

from governance.budgets.models import Budget
from governance.budgets.services import budget_change, budget_create
from governance.periods import PeriodKind, window_at
from governance.tenancy.access import Actor
from governance.tenancy.models import Organization, Project, ServiceAccount, Team
from ingest.demo import cast
from ingest.models import UsageRollupDay

SESSION_LIMIT = Decimal(100)
ANY_SESSION = "Any session"
QUIET_THRESHOLDS = (100,)
THRESHOLDS = (50, 80, 100)
SANDBOX = "sandbox"
SANDBOX_LIMIT = Decimal(3)
NIGHTLY = "nightly-enrichment"
NIGHTLY_LIMIT = Decimal(60)
AUTOMATION = "OpenClaw nightly"
AUTOMATION_LIMIT = Decimal(80)
POOL = ("platform", "search")
FLAGSHIP_TEAM = "mobile"
CHEAPER = ("claude-haiku-4-5", "gpt-5-mini", "gemini-2.5-flash")
MILLION = Decimal(1_000_000)
MONTH_DAYS = 30
ROOM = Decimal("1.08")
# A limit that its team comes up to 98 or 99 percent of.
TIGHT = Decimal("1.012")
# A window younger than this says nothing about its team yet.
WINDOW_DAYS = 4


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent up to the organization's local day `today`."""

    organization: Organization
    today: date

    def since(self, first: date) -> dict[int | None, Decimal]:
        """USD billed by team (id; None: unallocated) from a local day on."""
        rows = UsageRollupDay.objects.filter(organization=self.organization, day__gte=first, day__lte=self.today)
        return {row["team_id"]: row["total"] for row in rows.values("team_id").annotate(total=Sum("cost")).order_by()}

    def a_month(self) -> dict[int | None, Decimal]:
        """USD by team of the last thirty days, or of a shorter history as it would be in thirty."""
        begins = UsageRollupDay.objects.filter(organization=self.organization).aggregate(first=Min("day"))["first"] or self.today
        days = min((self.today - begins).days + 1, MONTH_DAYS)
        spent = self.since(self.today - timedelta(days=days - 1))
        return {team: amount * MONTH_DAYS / days for team, amount in spent.items()}


    def flagship_tokens_a_month(self, team_id: int) -> int:
        """Tokens that a team sent to and had from flagship models in the last thirty days."""
        rows = UsageRollupDay.objects.filter(
            organization=self.organization, team_id=team_id, tier="flagship", day__gt=self.today - timedelta(days=MONTH_DAYS), day__lte=self.today
        )
        columns = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens")
        return sum(rows.aggregate(**{name: Sum(name) for name in columns})[name] or 0 for name in columns)


@transaction.atomic
def budgets_create(*, actor: Actor, until: datetime) -> None:
    """A budget for the organization and each team, one for the nightly job, and one of each other kind, by what `history_since` covers; once."""
    if Budget.objects.filter(organization=actor.organization, scope_kind="organization").exists():
        return
    spending = Spending(actor.organization, until.astimezone(actor.organization.zone).date())
    monthly = spending.a_month()
    total = sum(monthly.values(), Decimal(0))
    budget_create(actor=actor, name=f"{cast.NAME}, a month", scope_kind="organization", period_kind="month", limit_amount=roomy(total))
    _team_budgets(actor, spending, monthly, until)
    projects = {row.slug: row for row in Project.objects.filter(organization=actor.organization)}
    nightly = projects.get(NIGHTLY)
    if nightly is not None:
        name = "Nightly enrichment, a day"
        budget_create(actor=actor, name=name, scope_kind="project", project=nightly, period_kind="day", limit_amount=NIGHTLY_LIMIT)
    _other_kinds(actor, spending, monthly)


def _other_kinds(actor: Actor, spending: Spending, monthly: Mapping[int | None, Decimal]) -> None:
    """A pool that two teams share, a team's tokens on flagship models, and what the nightly automation may spend in any 24 hours."""
    teams = {row.slug: row for row in Team.objects.filter(organization=actor.organization)}
    sharing = [teams[slug].pk for slug in POOL if slug in teams]
    pool = roomy(amount_of(monthly, set(sharing)))
    budget_create(
        actor=actor, name="Platform and Search, shared", scope_kind="organization", filters={"team": sharing}, period_kind="month", limit_amount=pool,
        rollover_cap=pool / 10,
    )
    tokens = spending.flagship_tokens_a_month(teams[FLAGSHIP_TEAM].pk) if FLAGSHIP_TEAM in teams else 0
    if tokens:
        budget_create(
            actor=actor, name=f"{teams[FLAGSHIP_TEAM].name}, tokens on flagships", scope_kind="team", team=teams[FLAGSHIP_TEAM], filters={"tier": ["flagship"]},
            period_kind="month", measure="tokens", limit_amount=roomy_tokens(tokens), action="downgrade", downgrade_models=CHEAPER,
        )
    account = ServiceAccount.objects.filter(organization=actor.organization, name=AUTOMATION).first()
    if account is not None:
        budget_create(
            actor=actor, name="Nightly automation, any 24 hours", scope_kind="service_account", service_account=account, period_kind="rolling",
            rolling_hours=24, limit_amount=AUTOMATION_LIMIT, action="ask", fails_open=False,
        )


@transaction.atomic
def session_budgets_create(*, actor: Actor) -> None:
    """A limit for every session and a lower one for the sandbox's, before any session is there; once."""
    mine = Budget.objects.filter(organization=actor.organization, scope_kind="session")
    if mine.exists():
        return
    budget_create(
        actor=actor, name=ANY_SESSION, scope_kind="session", period_kind="session", limit_amount=SESSION_LIMIT, thresholds=QUIET_THRESHOLDS
    )
    sandbox = Project.objects.filter(organization=actor.organization, slug=SANDBOX).first()
    if sandbox is not None:
        budget_create(
            actor=actor, name="Sandbox session", scope_kind="session", project=sandbox, period_kind="session", limit_amount=SANDBOX_LIMIT
        )


def session_thresholds_set(*, actor: Actor) -> None:
    """From now on sessions tell at half and at four fifths of their limit too, as nobody wants to hear of those of the past."""
    quiet = Budget.objects.filter(organization=actor.organization, name=ANY_SESSION, thresholds=list(QUIET_THRESHOLDS), is_active=True).first()
    if quiet is not None:
        budget_change(actor=actor, budget=quiet, thresholds=THRESHOLDS)


def history_since(organization: Organization, until: datetime) -> date:
    """The first local day whose usage decides on how large the budgets are."""
    today = until.astimezone(organization.zone).date()
    _, settled = settled_window(until, organization)
    return min(settled, today - timedelta(days=MONTH_DAYS - 1))


def _team_budgets(actor: Actor, spending: Spending, monthly: Mapping[int | None, Decimal], until: datetime) -> None:
    """A month's budget for each team with room in it; one team gets a window that it has nearly used up."""
    teams = list(Team.objects.filter(organization=actor.organization).order_by("slug"))
    for team in teams:
        family = {team.pk, *(child.pk for child in teams if child.parent_id == team.pk)}
        kind: PeriodKind = "month"
        limit = roomy(amount_of(monthly, family))
        if team.slug == cast.NEAR_LIMIT_TEAM:
            kind, first = settled_window(until, actor.organization)
            limit = tight(amount_of(spending.since(first), family))
        name = f"{team.name}, in all" if kind == "lifetime" else f"{team.name}, a {kind}"
        budget_create(actor=actor, name=name, scope_kind="team", team=team, period_kind=kind, limit_amount=limit)


def settled_window(until: datetime, organization: Organization) -> tuple[PeriodKind, date]:
    """The shortest of the organization's windows that is some days old, and its first local day."""
    kinds: tuple[PeriodKind, ...] = ("month", "quarter", "year")
    for kind in kinds:
        window = window_at(kind, until, organization.zone, organization.year_starts_in)
        if until - window.starts_at >= timedelta(days=WINDOW_DAYS):
            return kind, window.starts_at.astimezone(organization.zone).date()
    return "lifetime", date.min


def amount_of(spent: Mapping[int | None, Decimal], teams: set[int]) -> Decimal:
    return sum((spent.get(team, Decimal(0)) for team in teams), Decimal(0))


def roomy(monthly: Decimal) -> Decimal:
    """A limit that a month like the last one stays within, rounded up to a number that a person would set."""
    amount = monthly * ROOM
    step = Decimal(500) if amount > 2000 else Decimal(100) if amount > 200 else Decimal(20)
    return max((amount / step).quantize(Decimal(1), rounding=ROUND_UP) * step, step)


def roomy_tokens(tokens: int) -> Decimal:
    """A limit in tokens that a month like the last one stays within, in whole tens of millions."""
    step = 10 * MILLION if tokens > 100 * MILLION else MILLION
    return max((tokens * ROOM / step).quantize(Decimal(1), rounding=ROUND_UP) * step, step)


def tight(spent: Decimal) -> Decimal:
    """A limit that the spend comes up to 98 or 99 percent of, in whole dollars or tens of them."""
    step = Decimal(10) if spent > 1000 else Decimal(1)
    return max((spent * TIGHT / step).quantize(Decimal(1), rounding=ROUND_UP) * step, Decimal(1))
