"""An organization's attribution rules in memory: those of one configuration version."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from operator import attrgetter
from threading import Lock
from typing import Any

from governance.attribution.matching import LABELS, Condition, Decision, Facts, Rule, decide, looked_at
from governance.attribution.models import AttributionRule
from governance.tenancy.directory import Directory

# Calls that are alike to the rules are decided once; forgotten when so many kinds have come, as where rules look at sessions.
MOST_DECIDED = 5_000


class AttributionRules:
    """One version of an organization's rules in their order, with the names they lead to."""

    def __init__(self, directory: Directory, rules: Sequence[Rule]) -> None:
        self.directory, self.rules = directory, rules
        fields, self._tags = looked_at(rules)
        self._fields = attrgetter(*fields)
        self._dated = [rule for rule in rules if rule.starts_at is not None or rule.ends_at is not None]
        self._decided: dict[Hashable, Decision] = {}

    def __bool__(self) -> bool:
        return bool(self.rules)

    def decide(self, facts: Facts) -> Decision:
        """As `matching.decide` has it."""
        tags = facts.tags.get
        alike = (self._fields(facts), *map(tags, self._tags), *(rule.is_in_force(facts.at) for rule in self._dated))
        found = self._decided.get(alike)
        if found is None:
            if len(self._decided) >= MOST_DECIDED:
                self._decided.clear()
            found = self._decided[alike] = decide(facts, self.rules, directory=self.directory)
        return found


_remembered: dict[int, AttributionRules] = {}
_lock = Lock()


def attribution_rules_of(directory: Directory) -> AttributionRules:
    """The organization's rules at the directory's configuration version, from memory when they are there."""
    found = _remembered.get(directory.organization_id)
    if found is None or found.directory is not directory:
        found = attribution_rules_load(directory)
        with _lock:
            _remembered[directory.organization_id] = found
    return found


def attribution_rules_load(directory: Directory) -> AttributionRules:
    """The rules as the present transaction sees them, past the memory."""
    rows = AttributionRule.objects.filter(organization=directory.organization_id, is_active=True, retired_at=None).order_by(
        "position", "id"
    )
    return AttributionRules(directory, [rule_compiled(row) for row in rows])


def with_draft(rules: AttributionRules, draft: AttributionRule) -> AttributionRules:
    """The rules as they would be with this one, which stands in the place of its former self where it has one, else behind the others."""
    compiled = rule_compiled(draft)
    others = [compiled if rule.id == compiled.id else rule for rule in rules.rules]
    if not any(rule.id == compiled.id for rule in rules.rules):
        others.append(compiled)
    return AttributionRules(rules.directory, others)


def rule_compiled(row: AttributionRule) -> Rule:
    """The rule, saved or not, as the hot path needs it. One that is not saved has the id 0."""
    sets = {"team": row.team_id, "project": row.project_id} | {name: getattr(row, name) for name in LABELS}
    return Rule(
        row.pk or 0,
        row.name,
        conditions_read(row.conditions),
        {name: value for name, value in sets.items() if value},
        row.is_overriding,
        row.starts_at,
        row.ends_at,
    )


def conditions_read(conditions: Iterable[Mapping[str, Any]]) -> tuple[Condition, ...]:
    """Conditions as they are kept, ready to be asked."""
    return tuple(Condition(one["field"], one["op"], tuple(value.lower() for value in one["values"])) for one in conditions)
