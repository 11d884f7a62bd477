"""Which budgets a call counts against: an organization's active budgets in memory, matched by attribution."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from threading import Lock
from zoneinfo import ZoneInfo

from governance.budgets.models import Budget
from governance.periods import PeriodKind, Window, window_at
from governance.tenancy.directory import Attribution, Directory

QUARTER_HOUR = 900


@dataclass(frozen=True, slots=True)
class Rule:
    """An active budget as the hot path needs it."""

    id: int
    scope_kind: str
    team_id: int | None
    project_id: int | None
    member_id: int | None
    period_kind: PeriodKind
    limit_amount: Decimal
    is_hard: bool
    thresholds: tuple[int, ...]
    unpriced_call_amount: Decimal | None
    counts_notional: bool
    counts_from: datetime
    name: str
    currency: str


@dataclass(frozen=True, slots=True)
class PeriodKey:
    """A period by its natural key, with the end that its row gets."""

    budget_id: int
    starts_at: datetime
    ends_at: datetime | None
    session_key: str


@dataclass(frozen=True, slots=True)
class Rules:
    """One version of an organization's active budgets."""

    version: int
    directory: Directory
    by_id: Mapping[int, Rule]
    of_organization: Sequence[Rule]
    of_team: Mapping[int, Sequence[Rule]]
    of_project: Mapping[int, Sequence[Rule]]
    of_member: Mapping[int, Sequence[Rule]]
    of_session: Sequence[Rule]

    def matching(self, who: Attribution, session_key: str) -> Iterator[Rule]:
        """Every budget a call with this attribution counts against, widest scope first."""
        yield from self.of_organization
        lineage = self.directory.lineage.get(who.team_id, ()) if who.team_id is not None else ()
        for team_id in reversed(lineage):
            yield from self.of_team.get(team_id, ())
        if who.project_id is not None:
            yield from self.of_project.get(who.project_id, ())
        if who.member_id is not None:
            yield from self.of_member.get(who.member_id, ())
        if session_key:
            yield from (rule for rule in self.of_session if _template_covers(rule, who, lineage))

    def period(self, rule: Rule, instant: datetime, session_key: str) -> PeriodKey | None:
        """The period of the budget that holds the instant; None when the budget began to count only later."""
        if instant < rule.counts_from:
            return None
        window = _window(rule.period_kind, int(instant.timestamp()) // QUARTER_HOUR, self.directory.zone.key, self.directory.year_starts_in)
        return PeriodKey(rule.id, window.starts_at, window.ends_at, session_key if rule.scope_kind == "session" else "")


def _template_covers(rule: Rule, who: Attribution, lineage: Sequence[int]) -> bool:
    return (
        (rule.team_id is None or rule.team_id in lineage)
        and (rule.project_id is None or rule.project_id == who.project_id)
        and (rule.member_id is None or rule.member_id == who.member_id)
    )


@lru_cache(maxsize=65_536)
def _window(kind: PeriodKind, quarter_hour: int, zone: str, year_starts_in: int) -> Window:
    """Windows begin at local midnights, which every zone has on a quarter hour of UTC, so a quarter hour lies in one window."""
    return window_at(kind, datetime.fromtimestamp(quarter_hour * QUARTER_HOUR, UTC), ZoneInfo(zone), year_starts_in)


_rules: dict[int, Rules] = {}
_lock = Lock()


def rules_of(directory: Directory) -> Rules:
    """The organization's budgets at the directory's configuration version, from memory when they are there."""
    found = _rules.get(directory.organization_id)
    if found is None or found.directory is not directory:
        found = _load(directory)
        with _lock:
            _rules[directory.organization_id] = found
    return found


def rules_remembered(organization_id: int) -> Rules | None:
    """The organization's budgets as they were when last read, of whatever version: for whoever has the database compare it."""
    return _rules.get(organization_id)


def rules_at(directory: Directory) -> Rules:
    """The budgets as the present transaction sees them, past the memory: for whoever is changing them."""
    return _load(directory)


def _load(directory: Directory) -> Rules:
    budgets = Budget.objects.filter(organization_id=directory.organization_id, is_active=True).order_by("id")
    rules = [_rule(budget) for budget in budgets]

    def by(column: str) -> dict[int, list[Rule]]:
        found: dict[int, list[Rule]] = {}
        for rule in rules:
            if rule.scope_kind == column:
                found.setdefault(getattr(rule, f"{column}_id"), []).append(rule)
        return found

    return Rules(
        version=directory.version,
        directory=directory,
        by_id={rule.id: rule for rule in rules},
        of_organization=[rule for rule in rules if rule.scope_kind == "organization"],
        of_team=by("team"),
        of_project=by("project"),
        of_member=by("member"),
        of_session=[rule for rule in rules if rule.scope_kind == "session"],
    )


def _rule(budget: Budget) -> Rule:
    return Rule(
        id=budget.pk,
        scope_kind=budget.scope_kind,
        team_id=budget.team_id,
        project_id=budget.project_id,
        member_id=budget.member_id,
        period_kind=budget.period_kind,  # type: ignore[arg-type]
        limit_amount=budget.limit_amount,
        is_hard=budget.is_hard,
        thresholds=tuple(budget.thresholds),
        unpriced_call_amount=budget.unpriced_call_amount,
        counts_notional=budget.counts_notional,
        counts_from=budget.counts_from,
        name=budget.name,
        currency=budget.currency,
    )
