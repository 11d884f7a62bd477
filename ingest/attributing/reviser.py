"""Attributes stored calls anew: which of a row's columns the present names and rules would change. Reads nothing but what it is given."""

from collections.abc import Mapping
from typing import Any

from governance.attribution.matching import LABELS, Decision
from governance.attribution.rules import AttributionRules
from ingest.attributing.facts import KeyFacts, facts_of_row
from ingest.rerating.rating import ALSO as RATED_ALSO
from ingest.rerating.rating import DECIDING, RATED, Rerater

# What a page of events selects besides what sums look at.
ALSO = (*RATED_ALSO, "ruled", "source")
NO_KEY = KeyFacts()


class Reattributer:
    """The names, rules and prices of one moment. `keys` are the organization's API keys by id; `moves_owners` says whether a call follows a member or

    project that has gone to another team since.
    """

    also = ALSO

    def __init__(self, rules: AttributionRules, rerater: Rerater, *, keys: Mapping[int, KeyFacts], moves_owners: bool) -> None:
        self.rules, self.rerater, self.keys, self.moves_owners = rules, rerater, keys, moves_owners

    def changes(self, row: Any) -> Mapping[str, Any] | None:
        """What becomes of the call. Its cost moves only where the team or the billing mode that it has now makes a different price."""
        facts = facts_of_row(row, key=self.keys.get(row.api_key_id, NO_KEY))
        decision = self.rules.decide(facts)
        found: dict[str, Any] = {
            "team_id": self._team(row, decision),
            "project_id": _known("project", row, decision, found=decision.who.project_id),
            "member_id": decision.who.member_id,
            **{name: getattr(decision, name) for name in LABELS},
            "ruled": decision.kept(facts),
        }
        changes = {name: value for name, value in found.items() if value != getattr(row, name)}
        if "team_id" in changes or "billing_mode" in changes:
            changes |= self._price(row, changes)
        return changes or None

    def _team(self, row: Any, decision: Decision) -> int | None:
        """The team. A call that a member or project brought to its team stays there when those have moved, unless asked otherwise."""
        is_by_owner = not row.team_label and not {"team", "project"} & (_rules(row) | decision.by.keys())
        is_same_owner = (row.project_id, row.member_id) == (decision.who.project_id, decision.who.member_id)
        if is_by_owner and is_same_owner and row.team_id is not None and not self.moves_owners:
            return int(row.team_id)
        return _known("team", row, decision, found=decision.who.team_id)

    def _price(self, row: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
        before, after = (
            self.rerater.rating(row),
            self.rerater.rating(row._replace(**{name: changes[name] for name in ("team_id", "billing_mode") if name in changes})),
        )
        if after.cost is None or all(getattr(before, name) == getattr(after, name) for name in DECIDING):
            return {}
        rated = {name: getattr(after, name) for name in RATED}
        return {name: value for name, value in rated.items() if value != getattr(row, name)}


def _rules(row: Any) -> set[str]:
    """What rules set of the call when it was attributed last."""
    return set((row.ruled or {}).get("rules", {}))


def _known(name: str, row: Any, decision: Decision, *, found: int | None) -> int | None:
    """What the call's own name leads to; one that led somewhere when the call came, and is not known any more, still does."""
    is_by_name = getattr(row, f"{name}_label") and name not in decision.by and name not in _rules(row)
    stored: int | None = getattr(row, f"{name}_id")
    return stored if found is None and is_by_name else found
