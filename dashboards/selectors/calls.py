"""Reads one call by its id, whether or not it belongs to a session, and what was changed of it since it was stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from governance.tenancy.access import Actor, Right, scoped
from ingest.models import EventAmendment, UsageEvent
from ingest.once.selectors import call_now

NAMES = {
    "list_cost": "list price", "term_id": "own term", "exchange_rate": "exchange rate", "price_currency": "currency of the price", "team_id": "team", "project_id": "project",
    "member_id": "member", "task_class": "task class", "billing_mode": "billing", "model_reported": "reported model",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a call: why and by whom, its cost before and after, and what else became another, each in a few words.

    `run_id` is the run that made it, for who may see runs.
    """

    row: EventAmendment
    others: Sequence[str]
    run_id: int | None

    @property
    def difference(self) -> Decimal:
        return (self.row.new_cost or Decimal(0)) - (self.row.old_cost or Decimal(0))


def call_get(actor: Actor, call_id: UUID) -> UsageEvent:
    """One call that the actor may see; the id of one that was joined to another leads to that one. Raises NotFound."""
    return call_now(actor, call_id)


def call_changes(actor: Actor, call: UsageEvent) -> list[Change]:
    """What was changed of the call, the latest first; with the price rows it had."""
    rows = scoped(actor, EventAmendment.objects.filter(occurred_at=call.occurred_at, event_id=call.id).select_related("cause")).order_by("-at", "-cause_id")
    return [Change(row, _others(row), _run(row) if actor.can(Right.VIEW_AUDIT) else None) for row in rows]


def _others(row: EventAmendment) -> list[str]:
    old: dict[str, Any] = row.old or {}
    new: dict[str, Any] = row.new or {}
    found = _became("price row", row.old_price_id, row.new_price_id)
    for name in sorted(old.keys() | new.keys()):
        found += _became(NAMES.get(name, name.replace("_", " ")), old.get(name), new.get(name))
    return found


def _became(name: str, old: Any, new: Any) -> list[str]:
    """What a field was and is; of tags and units only those that differ, each by itself. Nothing where it is the same."""
    if isinstance(old, dict) or isinstance(new, dict):
        before, after = old or {}, new or {}
        return [words for key in sorted(before.keys() | after.keys()) for words in _became_part(f"{name.removesuffix('s')} {key}", before.get(key), after.get(key))]
    return [f"{name}: {_said(old)} to {_said(new)}"] if _said(old) != _said(new) else []


def _became_part(name: str, old: Any, new: Any) -> list[str]:
    if old is None and new is not None:
        return [f"{name}: {_said(new)} (added)"]
    return [f"{name}: {_said(old)} (removed)"] if new is None and old is not None else _became(name, old, new)


def _said(value: Any) -> str:
    """A value as the page writes it, without the zeros that storage pads amounts with."""
    if value is None or value == "":
        return "none"
    text = str(value)
    return text.rstrip("0").rstrip(".") if isinstance(value, str) and text.replace(".", "", 1).isdigit() and "." in text else text


def _run(row: EventAmendment) -> int | None:
    kind, _, number = row.cause.reference.partition(" ")
    return int(number) if kind == "run" and number.isdigit() else None
