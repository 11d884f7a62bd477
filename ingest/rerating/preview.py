"""Works out what a run would do, changing nothing: calls, amounts by month and team, and by budget with what would freeze or thaw."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from governance import sql
from governance.audit.services import plain
from governance.budgets.rules import PeriodKey, Rules, rules_of
from governance.budgets.services.charge import period_totals
from governance.budgets.services.periods import KEY_COLUMNS, SAME_KEY, key_arrays
from governance.pricing.book import current_book
from governance.tenancy.directory import Directory, directory_of, month_of
from governance.tenancy.models import Organization, Team
from ingest.rerating.models import ReratingRun
from ingest.rerating.revising import Reviser, reviser_of
from ingest.rerating.scope import scope_parameters
from ingest.rerating.statements import GROUPS_FORESEEN, rest
from ingest.rerating.together import Page, looking, page_read
from ingest.rerating.together import rows as together_rows
from ingest.services.amend import posted_rows, real_changes
from ingest.services.differences import Differences

ZERO = Decimal(0)
ROWS = 10_000
MOST_NAMED = 50
# What attribution anew may change of a call, besides its cost.
ATTRIBUTED = frozenset({"team_id", "project_id", "member_id", "role", "task_class", "environment", "billing_mode"})
# How the budget periods stand that a run would move.
STANDING = f"""
SELECT p.id, p.budget_id, p.starts_at, p.ends_at, p.session_key, p.task_key, p.slides_from, p.spent, p.limit_amount + p.topup AS allowance, p.frozen_at IS NOT NULL AS is_frozen,
    p.is_hard AND p.freezes_at_limit AND (p.ends_at IS NULL OR p.ends_at > %(now)s) AS freezes
FROM {sql.unnest("x", KEY_COLUMNS)} JOIN budget_period p ON p.organization_id = %(organization)s AND {SAME_KEY}
ORDER BY p.id
"""  # noqa: S608 - built from constants


@dataclass(slots=True)
class Line:
    """What would change of one month or team: calls, and their costs before and after as far as known."""

    calls: int = 0
    priced: int = 0
    cost_before: Decimal = ZERO
    cost_after: Decimal = ZERO

    def add(self, other: Any) -> None:
        """Adds another line, or a row of `statements.GROUPS_FORESEEN`."""
        self.calls += other.calls
        self.priced += other.priced
        self.cost_before += other.cost_before
        self.cost_after += other.cost_after

    def facts(self) -> dict[str, Any]:
        return {"events": self.calls, "priced": self.priced, "before": self.cost_before, "after": self.cost_after, "delta": self.cost_after - self.cost_before}


@dataclass(slots=True)
class Found:
    """What the pages read so far would change."""

    seen: int = 0
    total: Line = field(default_factory=Line)
    # What would be posted in the open month, the calls' own being closed.
    posted: Line = field(default_factory=Line)
    months: dict[str, Line] = field(default_factory=dict)
    teams: dict[int | None, Line] = field(default_factory=dict)
    # Calls that go from one team to another, by month and both teams; and how many change in what.
    moves: dict[tuple[str, int | None, int | None], Line] = field(default_factory=dict)
    fields: dict[str, int] = field(default_factory=dict)
    rules: dict[int, int] = field(default_factory=dict)
    periods: dict[tuple[PeriodKey, datetime | None], Decimal] = field(default_factory=dict)

    def add(self, month: str, team_id: int | None, line: Any) -> None:
        """Notes what would change of one month and team."""
        for sums in (self.total, self.months.setdefault(month, Line()), self.teams.setdefault(team_id, Line())):
            sums.add(line)


def run_work_out(run: ReratingRun, *, now: datetime, told: Callable[[int], bool]) -> dict[str, Any] | None:
    """The run's preview. `told` hears after each page how many calls were read, and says whether to go on. None: it said no."""
    organization = Organization.objects.get(pk=run.organization_id)
    rules = rules_of(directory_of(organization, organization.config_version))
    current_book(refresh=True)
    reviser, found = reviser_of(run, rules.directory), Found()
    parameters = scope_parameters(run, rules.directory) | looking(reviser, rules, starts_at=run.starts_at, ends_at=run.ends_at) | {"limit": ROWS}
    while page := page_read(reviser, parameters):
        _page_add(found, page, reviser, rules, now=now)
        parameters |= {"from": page.last_at, "after": page.last_id}
        if not told(found.seen):
            return None
    return _answer(found, rules, now)


def _page_add(found: Found, page: Page, reviser: Reviser, rules: Rules, *, now: datetime) -> None:
    groups = [group for group in together_rows(GROUPS_FORESEEN[page.is_whole], page.parameters) if group.calls] if page.by_kind else []
    rows = together_rows(rest(reviser.also), page.parameters) if page.one_by_one else []
    keys = {row.api_key_id for row in (*groups, *rows)}
    differences = Differences(rules=rules, service_accounts=service_accounts(rules.directory.organization_id, keys))
    for group in groups:
        differences.change_alike(group)
        found.add(f"{group.month:%Y-%m}", group.team_id, group)
    for row, changes, is_posted in _changed(rules.directory, rows, reviser):
        line = _line(row.cost, changes.get("cost", row.cost))
        _call_add(found, row, changes, line=line, month=f"{row.occurred_at.astimezone(rules.directory.zone):%Y-%m}")
        if is_posted:
            found.posted.add(line)
            differences.post(row, changes, now=now, month=month_of(row.counted_at or row.occurred_at, rules.directory.zone))
        else:
            differences.change(row, changes)
    found.seen += page.seen
    for place, (amount, _) in period_totals(rules, differences.batch().spends).items():
        found.periods[place] = found.periods.get(place, ZERO) + amount


def _call_add(found: Found, row: Any, changes: Mapping[str, Any], *, line: Line, month: str) -> None:
    """One call that changes: in all, in its month, and of the team that has it or of both teams."""
    team_id = changes.get("team_id", row.team_id)
    found.total.add(line)
    found.months.setdefault(month, Line()).add(line)
    for name in changes.keys() & ATTRIBUTED:
        found.fields[name] = found.fields.get(name, 0) + 1
    for rule_id in set((changes.get("ruled") or {}).get("rules", {}).values()):
        found.rules[rule_id] = found.rules.get(rule_id, 0) + 1
    if team_id == row.team_id:
        found.teams.setdefault(row.team_id, Line()).add(line)
        return
    found.teams.setdefault(row.team_id, Line()).add(Line(1, 0, line.cost_before, ZERO))
    found.teams.setdefault(team_id, Line()).add(Line(1, 0, ZERO, line.cost_after))
    found.moves.setdefault((month, row.team_id, team_id), Line()).add(line)


def _line(old: Decimal | None, new: Decimal | None) -> Line:
    return Line(1, int(old is None and new is not None), old or ZERO, new or ZERO)


def _changed(directory: Directory, rows: list[Any], reviser: Reviser) -> Iterator[tuple[Any, Mapping[str, Any], bool]]:
    """The calls that would change, as what was posted before makes them; how; and whether that would be posted."""
    posted = posted_rows(directory, rows)
    for stored in rows:
        row = posted.get(stored.id, stored)
        if changes := real_changes(row, reviser.changes(row)):
            yield row, changes, stored.id in posted


def service_accounts(organization_id: int, named: Iterable[int | None]) -> dict[int | None, int | None]:
    """The service accounts of API keys, by the key's id."""
    keys = sorted(key for key in named if key is not None)
    if not keys:
        return {}
    statement = "SELECT id, service_account_id FROM api_key WHERE organization_id = %(organization)s AND id = ANY(%(keys)s::bigint[])"
    known = {row.id: row.service_account_id for row in sql.rows(statement, {"organization": organization_id, "keys": keys})}
    return {key: known.get(key) for key in keys}


def _answer(found: Found, rules: Rules, now: datetime) -> dict[str, Any]:
    names = dict(Team.objects.filter(organization=rules.directory.organization_id).values_list("pk", "name"))
    teams = [{"team_id": team_id, "team": names.get(team_id, "") if team_id else "", **line.facts()} for team_id, line in found.teams.items()]
    moves = [
        {"month": month, "from": names.get(old or 0, ""), "to": names.get(new or 0, ""), "from_id": old, "to_id": new, **line.facts()}
        for (month, old, new), line in found.moves.items()
    ]
    answer: dict[str, Any] = plain({
        "seen": found.seen, **found.total.facts(), "posted": found.posted.facts(), "months": [{"month": month, **line.facts()} for month, line in sorted(found.months.items())],
        "teams": sorted(teams, key=lambda line: -abs(line["delta"])), "budgets": _budgets(found.periods, rules, now),
        "moves": sorted(moves, key=lambda line: (line["month"], -line["events"], line["from"], line["to"])), "fields": found.fields,
        "rules": {str(rule_id): calls for rule_id, calls in found.rules.items()},
    })  # fmt: skip
    return answer


def _budgets(moved: Mapping[tuple[PeriodKey, datetime | None], Decimal], rules: Rules, now: datetime) -> list[dict[str, Any]]:
    """Each budget whose periods would move: by how much, and which of them would freeze or thaw (the first of many are named)."""
    keys = list(dict.fromkeys(key for (key, _), amount in moved.items() if amount))
    if not keys:
        return []
    rows = sql.rows(STANDING, {"organization": rules.directory.organization_id, "now": now, **key_arrays(keys)})
    deltas: dict[tuple[Any, ...], list[tuple[datetime | None, Decimal]]] = {}
    for (key, slice_at), amount in moved.items():
        deltas.setdefault((key.budget_id, key.starts_at, key.session_key, key.task_key), []).append((slice_at, amount))
    lines: dict[int, dict[str, Any]] = {}
    for row in rows:
        parts = deltas[row.budget_id, row.starts_at, row.session_key, row.task_key]
        delta = sum((amount for at, amount in parts if at is None or row.slides_from is None or at >= row.slides_from), ZERO)
        _budget_add(lines, row, delta, rules)
    return sorted(lines.values(), key=lambda line: -abs(line["delta"]))


def _budget_add(lines: dict[int, dict[str, Any]], row: Any, delta: Decimal, rules: Rules) -> None:
    rule = rules.by_id[row.budget_id]
    line = lines.setdefault(
        rule.id, {"budget": rule.id, "name": rule.name, "unit": rule.unit, "periods": 0, "delta": ZERO, "freezes": 0, "thaws": 0, "named": []}
    )
    becomes = row.freezes and row.spent + delta >= row.allowance
    line["periods"] += 1
    line["delta"] += delta
    if becomes == row.is_frozen:
        return
    line["freezes" if becomes else "thaws"] += 1
    if len(line["named"]) < MOST_NAMED:
        what = {"starts_at": row.starts_at, "session": row.session_key, "task": row.task_key, "becomes": "frozen" if becomes else "free"}
        line["named"].append(what | {"spent": row.spent + delta, "allowance": row.allowance})
