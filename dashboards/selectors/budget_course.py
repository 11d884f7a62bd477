"""What budgets counted on each of the last days, in each one's scope, filters and measure: two queries for most, one more for the others."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import F, Sum

from governance.budgets.calls import LABELS, METERED, Call, covers
from governance.budgets.models import Budget
from governance.budgets.rules import Rule, rule_of
from governance.budgets.services.forecasts import history_of
from governance.forecast import HISTORY_DAYS
from governance.tenancy.access import Actor, scoped
from governance.tenancy.directory import Attribution, Directory, directory_of
from governance.tenancy.models import Organization
from ingest.ledger_days import tells_apart
from ingest.models import UsageRollupDay

ZERO = Decimal(0)
Days = Mapping[date, Decimal]
SUGGESTED = ("provider", "maker", "model", "harness", "gateway", "role", "task_class")
SUMS = {
    "billed": Sum("cost"),
    "notional": Sum("notional_cost"),
    "tokens": Sum(F("input_tokens") + F("cache_read_tokens") + F("cache_write_5m_tokens") + F("cache_write_1h_tokens") + F("output_tokens")),
    "count": Sum("calls"),
    "unpriced": Sum("unpriced_calls"),
}


class DayUse(NamedTuple):
    """The sums of one day and one kind of call."""

    day: date
    call: Call
    billed: Decimal
    tokens: int
    calls: int
    unpriced: int


def directory_now(actor: Actor) -> Directory:
    """The organization's directory as it is now."""
    version = Organization.objects.values_list("config_version", flat=True).get(pk=actor.organization.pk)
    return directory_of(actor.organization, version)


def budget_rule(budget: Budget) -> Rule:
    """The budget, active or retired, as it matches calls."""
    return rule_of(budget)


def histories(actor: Actor, budgets: Sequence[Budget], *, now: datetime, days: int = HISTORY_DAYS) -> dict[int, Days]:
    """What each budget counted by local day over the last days, by budget id."""
    if not budgets:
        return {}
    directory = directory_now(actor)
    rules = [rule_of(budget) for budget in budgets]
    told = [rule for rule in rules if tells_apart(rule)]
    personal = [rule for rule in told if is_personal(rule)]
    shared = [rule for rule in told if not is_personal(rule)]
    since = now.astimezone(actor.organization.zone).date() - timedelta(days=days)
    found: dict[int, Days] = {rule.id: history_of(directory, rule, now=now) for rule in rules if not tells_apart(rule)}
    for group in (personal, shared):
        if group:
            uses = day_uses(actor, group, since=since)
            found |= {rule.id: counted(rule, uses, directory) for rule in group}
    return found


def is_personal(rule: Rule) -> bool:
    """Whether it looks at who called."""
    return rule.member_id is not None or any(name == "member" for name, _ in rule.filters)


def day_uses(actor: Actor, rules: Sequence[Rule], *, since: date) -> list[DayUse]:
    """The daily sums by all that these budgets look at; where they look at members, of those members only."""
    labels = sorted({name for rule in rules for name, _ in rule.filters if name in LABELS} | {"billing_mode"})
    columns = ["day", "team_id", "project_id", *labels]
    rows: Any = scoped(actor, UsageRollupDay.objects.filter(day__gte=since)).order_by()
    if any(is_personal(rule) for rule in rules):
        columns.append("member_id")
        rows = rows.filter(member_id__in=members_of(rules))
    return [_use(row, labels) for row in rows.values(*columns).annotate(**SUMS)]


def members_of(rules: Sequence[Rule]) -> set[int]:
    own = {rule.member_id for rule in rules if rule.member_id is not None}
    return own.union(*(values for rule in rules for name, values in rule.filters if name == "member"))


def _use(row: Mapping[str, Any], labels: Sequence[str]) -> DayUse:
    who = Attribution(row["team_id"], row["project_id"], row.get("member_id"))
    call = Call(who, **{label: row[label] for label in labels})
    return DayUse(row["day"], call, row["billed"] + row["notional"], row["tokens"], row["count"], row["unpriced"])


def counted(rule: Rule, uses: Sequence[DayUse], directory: Directory) -> Days:
    """What the budget counts of these sums, by day, in its measure."""
    found: dict[date, Decimal] = defaultdict(Decimal)
    for use in uses:
        lineage = directory.lineage.get(use.call.who.team_id, ()) if use.call.who.team_id is not None else ()
        if (rule.counts_notional or use.call.billing_mode == METERED) and in_scope(rule, use.call, lineage) and covers(rule.filters, use.call, lineage):
            found[use.day] += rule.measured(amount=use.billed, tokens=use.tokens, calls=use.calls, unpriced_calls=use.unpriced)
    return dict(found)


def in_scope(rule: Rule, call: Call, lineage: Sequence[int]) -> bool:
    """Whether the call is of the team, project or member that the budget is for."""
    return (
        (rule.team_id is None or rule.team_id in lineage)
        and (rule.project_id is None or rule.project_id == call.who.project_id)
        and (rule.member_id is None or rule.member_id == call.who.member_id)
    )


def known_labels(actor: Actor, *, now: datetime) -> dict[str, list[str]]:
    """What usage of the last days was labelled with, by label: what a form suggests."""
    since = now.astimezone(actor.organization.zone).date() - timedelta(days=HISTORY_DAYS)
    rows = scoped(actor, UsageRollupDay.objects.filter(day__gte=since)).order_by().values_list(*SUGGESTED).distinct()
    found: dict[str, set[str]] = {name: set() for name in SUGGESTED}
    for row in rows:
        for name, value in zip(SUGGESTED, row, strict=True):
            found[name].add(value)
    return {name: sorted(values - {""}) for name, values in found.items()}
