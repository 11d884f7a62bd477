"""Says line by line why a call belongs where it does: each rule with its conditions, and who decided each thing. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from governance.attribution.matching import FIELDS as NAMES
from governance.attribution.matching import (
    LABELS,
    METERED,
    OPERATORS,
    SETTABLE,
    TAG,
    WITHOUT_VALUES,
    Condition,
    Decision,
    Facts,
    Rule,
    first_of,
)
from governance.attribution.rules import AttributionRules
from governance.tenancy.directory import Directory


@dataclass(frozen=True, slots=True)
class Checked:
    """One condition of a rule, what the call says to it, and whether it holds."""

    words: str
    said: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One rule as it was asked: whether it is in force and matches, its conditions, and of what it would set whether it does (and if not, why)."""

    rule_id: int
    name: str
    is_in_force: bool
    matches: bool
    conditions: Sequence[Checked]
    sets: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Explained:
    """The decision, every rule that was asked in its order, and by whom each thing was decided: (what, by whom)."""

    decision: Decision
    lines: Sequence[Line]
    by: Sequence[tuple[str, str]]


def explain(facts: Facts, rules: AttributionRules) -> Explained:
    """The decision about a call, with its reasons."""
    decision = rules.decide(facts)
    over, fill = first_of(rules.rules, facts)
    names = {rule.id: rule.name for rule in rules.rules}

    def result(rule: Rule, name: str) -> str:
        if decision.by.get(name) == rule.id:
            return "sets it"
        first = (over if rule.is_overriding else fill).get(name)
        if first is not None and first[1] != rule.id:
            return f"{names[first[1]]} came first"
        return f"{names[decision.by[name]]} overrides it" if name in decision.by else "the call or its key says it already"

    lines = [
        Line(
            rule.id, rule.name, rule.is_in_force(facts.at), rule.matches(facts), [_checked(one, facts) for one in rule.conditions],
            [(name, result(rule, name)) for name in rule.sets] if rule.matches(facts) else [],
        )
        for rule in rules.rules
    ]  # fmt: skip
    by = [
        (name, names[decision.by[name]] if name in decision.by else _without_rules(name, facts, decision, directory=rules.directory))
        for name in SETTABLE
    ]
    return Explained(decision, lines, by)


def _checked(condition: Condition, facts: Facts) -> Checked:
    return Checked(
        condition_words(condition.field, condition.op, condition.values), ", ".join(facts.values(condition.field)), condition.holds(facts)
    )


def condition_words(field: str, op: str, values: Sequence[str]) -> str:
    """A condition as a person reads it: `Harness is codex or aider`."""
    name = NAMES.get(field) or f"Tag {field.removeprefix(TAG)}"
    return f"{name} {OPERATORS[op]}" if op in WITHOUT_VALUES else f"{name} {OPERATORS[op]} {' or '.join(values)}"


def _without_rules(name: str, facts: Facts, decision: Decision, *, directory: Directory) -> str:
    """Who decided a thing that no rule did."""
    said = getattr(facts, name)
    if name in LABELS:
        return "taken to be so" if name == "billing_mode" and said == METERED else ("the call or its key" if said else "nobody")
    if said:
        is_known = (decision.who.team_id if name == "team" else decision.who.project_id) is not None
        return "the call or its key" if is_known else f"the call or its key, which names {said}: nobody here goes by it"
    if name == "team" and decision.who.team_id is not None:
        is_by_project = (
            decision.who.project_id is not None and directory.team_of_project.get(decision.who.project_id) == decision.who.team_id
        )
        return "the project's team" if is_by_project else "the member's team"
    return "nobody"
