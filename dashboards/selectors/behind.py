"""The sessions behind a figure: those of a span of time, narrowed by what a session knows of itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Q

from dashboards.selectors.dimensions import DIMENSIONS, Filters, filters_q, names_of
from governance.budgets.models import Session
from governance.periods import Window
from governance.tenancy.access import Actor, visible

# A session knows these of itself; `model` is that of its latest call.
KNOWN = ("team", "project", "member", "harness", "gateway", "model")
SHOWN = 50


@dataclass(frozen=True, slots=True)
class SessionBehind:
    """One session, with the totals of its whole life."""

    key: str
    team: str
    member: str
    harness: str
    model: str
    calls: int
    tokens: int
    cost: Decimal
    notional_cost: Decimal
    first_at: datetime
    last_at: datetime


def sessions_behind(actor: Actor, *, window: Window, filters: Filters, limit: int = SHOWN) -> list[SessionBehind]:
    """The most expensive sessions with a call around the window, narrowed by those filters that sessions know.

    Ordered by cost, list-price cost, tokens, key.
    """
    overlaps = Q(last_at__gte=window.starts_at) & (Q(first_at__lt=window.ends_at) if window.ends_at else Q())
    narrowed = filters_q({slug: values for slug, values in filters.items() if slug in KNOWN})
    rows = visible(actor, Session.objects.all()).filter(overlaps, narrowed)
    found = list(rows.order_by("-cost", "-notional_cost", "-tokens", "key")[:limit])
    teams, members = _names(actor, "team", found), _names(actor, "member", found)
    return [
        SessionBehind(
            row.key, teams[str(row.team_id or "")], members[str(row.member_id or "")], row.harness, row.model,
            row.calls, row.tokens, row.cost, row.notional_cost, row.first_at, row.last_at,
        )
        for row in found
    ]  # fmt: skip


def _names(actor: Actor, dimension: str, rows: list[Session]) -> Mapping[str, str]:
    column = DIMENSIONS[dimension].column
    return names_of(actor, DIMENSIONS[dimension], {str(getattr(row, column) or "") for row in rows})
