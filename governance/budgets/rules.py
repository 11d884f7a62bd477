"""Which budgets a call counts against, and which switches are off: an organization's in memory, matched by attribution."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from threading import Lock
from zoneinfo import ZoneInfo

from governance.budgets.calls import TAG, Call, Filters, covers
from governance.budgets.models import Budget
from governance.budgets.reach import Switch, switches_of
from governance.periods import PeriodKind, Window, window_at
from governance.tenancy.directory import Directory

QUARTER_HOUR = 900
MOST_SCOPES = 10_000
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Rule:
    """An active budget as the hot path needs it."""

    id: int
    scope_kind: str
    team_id: int | None
    project_id: int | None
    member_id: int | None
    service_account_id: int | None
    api_key_id: int | None
    filters: Filters
    period_kind: PeriodKind
    rolling_hours: int | None
    anchor_day: int
    measure: str
    limit_amount: Decimal
    is_hard: bool
    action: str
    downgrade_models: frozenset[str]
    thresholds: tuple[int, ...]
    unpriced_call_amount: Decimal | None
    counts_notional: bool
    counts_from: datetime
    name: str
    currency: str
    quoted_limit: Decimal | None
    quoted_currency: str

    @property
    def is_money(self) -> bool:
        return self.measure == Budget.Measure.MONEY

    @property
    def freezes_at_limit(self) -> bool:
        return self.action == Budget.Action.FREEZE

    @property
    def unit(self) -> str:
        """What the limit counts: the currency, or `tokens` or `calls`."""
        return self.currency if self.is_money else self.measure

    def slides_from(self, now: datetime) -> datetime | None:
        """From when on a rolling window counts at this moment. None for other kinds."""
        if self.rolling_hours is None:
            return None
        return rolling_start(self.rolling_hours, now)

    def measured(self, *, amount: Decimal, tokens: int, calls: int, unpriced_calls: int) -> Decimal:
        """What calls count against the budget, in its measure. Those without a price count its placeholder."""
        if self.is_money:
            return amount + (self.unpriced_call_amount or ZERO) * unpriced_calls
        return Decimal(tokens if self.measure == Budget.Measure.TOKENS else calls)

    def refuses(self, call: Call) -> bool:
        """Whether the limit stands against this call when it is asked for first."""
        return self.is_hard or (self.action == Budget.Action.DOWNGRADE and call.model not in self.downgrade_models)


@dataclass(frozen=True, slots=True)
class PeriodKey:
    """A period by its natural key, with the end that its row gets."""

    budget_id: int
    starts_at: datetime
    ends_at: datetime | None
    session_key: str
    task_key: str = ""


@dataclass(frozen=True, slots=True)
class Looks:
    """What budgets look at in a call beyond what usage is added up by."""

    environment: bool
    task: bool
    tags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """One version of an organization's active budgets, and of its freezes of wide scopes."""

    version: int
    directory: Directory
    by_id: Mapping[int, Rule]
    of_organization: Sequence[Rule]
    of_team: Mapping[int, Sequence[Rule]]
    of_project: Mapping[int, Sequence[Rule]]
    of_member: Mapping[int, Sequence[Rule]]
    of_service_account: Mapping[int, Sequence[Rule]]
    of_key: Mapping[int, Sequence[Rule]]
    templates: Sequence[Rule]
    looks: Looks
    switches: Sequence[Switch] = ()
    _scopes: dict[tuple[Hashable, ...], tuple[Sequence[int], Sequence[Rule]]] = field(default_factory=dict, compare=False, repr=False)

    def switch_over(self, call: Call, *, named_model: str = "") -> Switch | None:
        """The freeze of a wide scope that reaches the call. `named_model` is what its sender calls the model."""
        if not self.switches:
            return None
        lineage = self.directory.lineage.get(call.who.team_id, ()) if call.who.team_id is not None else ()
        return next((switch for switch in self.switches if switch.reaches(call, lineage, named_model)), None)

    def matching(self, call: Call, *, is_lenient: bool = False) -> Iterator[Rule]:
        """Every budget the call counts against, widest scope first; lenient: those too of which it is not known."""
        lineage, in_scope = self._in_scope(call)
        for rule in in_scope:
            if not rule.filters or covers(rule.filters, call, lineage, is_lenient=is_lenient):
                yield rule

    def _in_scope(self, call: Call) -> tuple[Sequence[int], Sequence[Rule]]:
        """The call's team and those above it, and the budgets whose scope it is in; remembered by whose the call is."""
        who = call.who
        key = who.team_id, who.project_id, who.member_id, call.service_account_id, call.api_key_id, bool(call.session_key), bool(call.task)
        found = self._scopes.get(key)
        if found is None:
            if len(self._scopes) >= MOST_SCOPES:
                self._scopes.clear()
            lineage = self.directory.lineage.get(who.team_id, ()) if who.team_id is not None else ()
            found = self._scopes[key] = lineage, tuple(self._scoped(call, lineage))
        return found

    def _scoped(self, call: Call, lineage: Sequence[int]) -> Iterator[Rule]:
        who = call.who
        yield from self.of_organization
        for team_id in reversed(lineage):
            yield from self.of_team.get(team_id, ())
        if who.project_id is not None:
            yield from self.of_project.get(who.project_id, ())
        if who.member_id is not None:
            yield from self.of_member.get(who.member_id, ())
        if call.service_account_id is not None:
            yield from self.of_service_account.get(call.service_account_id, ())
        if call.api_key_id is not None:
            yield from self.of_key.get(call.api_key_id, ())
        yield from (rule for rule in self.templates if _template_covers(rule, call, lineage))

    def period(self, rule: Rule, instant: datetime, call: Call) -> PeriodKey | None:
        """The period of the budget that holds the instant; None when the budget began to count only later."""
        if instant < rule.counts_from:
            return None
        window = _window(
            rule.period_kind, int(instant.timestamp()) // QUARTER_HOUR, self.directory.zone.key,
            year_starts_in=self.directory.year_starts_in, anchor_day=rule.anchor_day,
        )
        session_key = call.session_key if rule.scope_kind == "session" else ""
        return PeriodKey(rule.id, window.starts_at, window.ends_at, session_key, call.task if rule.scope_kind == "task" else "")


def _template_covers(rule: Rule, call: Call, lineage: Sequence[int]) -> bool:
    return (
        bool(call.session_key if rule.scope_kind == "session" else call.task)
        and (rule.team_id is None or rule.team_id in lineage)
        and (rule.project_id is None or rule.project_id == call.who.project_id)
        and (rule.member_id is None or rule.member_id == call.who.member_id)
        and (rule.service_account_id is None or rule.service_account_id == call.service_account_id)
        and (rule.api_key_id is None or rule.api_key_id == call.api_key_id)
    )


def rolling_start(rolling_hours: int, now: datetime) -> datetime:
    """From when on a rolling window of this length counts: a quarter hour is let go when it has left the window as a whole."""
    return quarter_hour(now - timedelta(hours=rolling_hours))


def quarter_hour(instant: datetime) -> datetime:
    """The start of the quarter hour that holds the instant."""
    return datetime.fromtimestamp(int(instant.timestamp()) // QUARTER_HOUR * QUARTER_HOUR, UTC)


@lru_cache(maxsize=65_536)
def _window(kind: PeriodKind, quarter_hour: int, zone: str, *, year_starts_in: int, anchor_day: int) -> Window:
    """Windows begin at local midnights, which every zone has on a quarter hour of UTC, so a quarter hour lies in one window."""
    return window_at(kind, datetime.fromtimestamp(quarter_hour * QUARTER_HOUR, UTC), ZoneInfo(zone), year_starts_in, anchor_day=anchor_day)


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
    rules = [rule_of(budget) for budget in budgets]

    def by(scope_kind: str, column: str = "") -> dict[int, list[Rule]]:
        found: dict[int, list[Rule]] = {}
        for rule in rules:
            if rule.scope_kind == scope_kind:
                found.setdefault(getattr(rule, f"{column or scope_kind}_id"), []).append(rule)
        return found

    return Rules(
        version=directory.version,
        directory=directory,
        by_id={rule.id: rule for rule in rules},
        of_organization=[rule for rule in rules if rule.scope_kind == "organization"],
        of_team=by("team"),
        of_project=by("project"),
        of_member=by("member"),
        of_service_account=by("service_account"),
        of_key=by("key", "api_key"),
        templates=[rule for rule in rules if rule.scope_kind in ("session", "task")],
        looks=_looks(rules),
        switches=switches_of(directory.organization_id),
    )


def _looks(rules: Sequence[Rule]) -> Looks:
    names = {name for rule in rules for name, _ in rule.filters}
    return Looks(
        environment="environment" in names,
        task=any(rule.scope_kind == "task" for rule in rules),
        tags=frozenset(name[len(TAG) :] for name in names if name.startswith(TAG)),
    )


def rule_of(budget: Budget) -> Rule:
    """The budget, saved or not, as the hot path needs it."""
    return Rule(
        id=budget.pk,
        scope_kind=budget.scope_kind,
        team_id=budget.team_id,
        project_id=budget.project_id,
        member_id=budget.member_id,
        service_account_id=budget.service_account_id,
        api_key_id=budget.api_key_id,
        filters=tuple((name, frozenset(values)) for name, values in sorted(budget.filters.items())),
        period_kind=budget.period_kind,  # type: ignore[arg-type]
        rolling_hours=budget.rolling_hours,
        anchor_day=budget.anchor_day,
        measure=budget.measure,
        limit_amount=budget.limit_amount,
        is_hard=budget.is_hard,
        action=budget.action,
        downgrade_models=frozenset(budget.downgrade_models),
        thresholds=tuple(budget.thresholds),
        unpriced_call_amount=budget.unpriced_call_amount,
        counts_notional=budget.counts_notional,
        counts_from=budget.counts_from,
        name=budget.name,
        currency=budget.currency,
        quoted_limit=budget.quoted_limit,
        quoted_currency=budget.quoted_currency,
    )
