"""What rules of attribution look at, read from a call that is being stored and from one that is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from governance.attribution.matching import LABELS, METERED, Facts
from governance.pricing.usage import Rating
from ingest.formats.event import UsageEvent


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What a call has from the key that it came with: its name, its default labels, its member."""

    name: str = ""
    member_id: int | None = None
    defaults: Mapping[str, str] | None = None


def facts_of_event(event: UsageEvent, *, key: KeyFacts, rating: Rating, door: str) -> Facts:
    """Of a call as it comes: its labels, else its key's defaults; the names of provider and model are the price book's."""
    defaults = key.defaults or {}

    def said(name: str) -> str:
        return getattr(event, name) or defaults.get(name, "")

    return Facts(
        event.occurred_at, said("team"), said("project"), said("member"), key.name, key.member_id, said("harness").lower(), said("gateway").lower(), rating.provider,
        rating.maker, rating.model, event.model, rating.tier, door, event.session, event.task, said("role"), said("task_class"), said("environment"),
        event.billing_mode or defaults.get("billing_mode", METERED), event.tags or {},
    )  # fmt: skip


def facts_of_row(row: Any, *, key: KeyFacts) -> Facts:
    """Of a stored call: what it said before rules set anything."""
    was = (row.ruled or {}).get("was", {})
    role, task_class, environment, billing_mode = (was.get(name, getattr(row, name)) for name in LABELS)
    return Facts(
        row.occurred_at, row.team_label, row.project_label, row.member_label, key.name, key.member_id, row.harness, row.gateway, row.provider, row.maker, row.model,
        row.model_reported, row.tier, row.source, row.session, row.task, role, task_class, environment, billing_mode, row.tags or {},
    )  # fmt: skip
