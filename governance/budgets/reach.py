"""Which freezes reach a call: those of wide scopes in memory, those of sessions by the sessions above it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from governance.budgets.calls import Call
from governance.budgets.models import Freeze
from governance.pricing.catalogue import provider_family

Kind = Freeze.ScopeKind
# Scopes that a freeze of any session cannot be found by: few at a time, kept with the budgets and reloaded with them.
WIDE = (Kind.ORGANIZATION, Kind.TEAM, Kind.MEMBER, Kind.PROVIDER, Kind.MODEL, Kind.KEY)


@dataclass(frozen=True, slots=True)
class Switch:
    """An active freeze of a wide scope as the hot path needs it. `key` is an id or a name in lower case."""

    id: int
    kind: str
    key: str

    def reaches(self, call: Call, lineage: Sequence[int], named_model: str) -> bool:
        """Whether the call is in its scope. `lineage` is its team and those above; a model goes by the catalogue's name or by the one it was named by."""
        match self.kind:
            case Kind.ORGANIZATION:
                return True
            case Kind.TEAM:
                return any(self.key == str(team_id) for team_id in lineage)
            case Kind.MEMBER:
                return self.key == str(call.who.member_id)
            case Kind.KEY:
                return self.key == str(call.api_key_id)
            case Kind.PROVIDER:
                return self.key == provider_family(call.provider)
        return self.key in (call.model.lower(), named_model.lower())


def switches_of(organization_id: int) -> list[Switch]:
    """The organization's active freezes of wide scopes that calls can run into: whoever holds a revoked key is not let in at all."""
    found = Freeze.objects.filter(organization=organization_id, ended_at=None, scope_kind__in=WIDE).exclude(cause=Freeze.Cause.KEY).order_by("id")
    return [Switch(*row) for row in found.values_list("pk", "scope_kind", "scope_key")]


def session_freezes(*, first: str) -> str:
    """SQL of the freezes of sessions that reach others: rows of (reached, and the freeze's columns f.*).

    `first` selects (reached, key): each session beside itself and beside what is said to be above it. The sessions above those are
    looked up only while any session is frozen. Needs %(organization)s. A circle of parents ends by UNION.
    """
    return f"""
    (WITH RECURSIVE line AS (
        SELECT one.reached, one.key FROM ({first}) one (reached, key)
        WHERE one.key <> '' AND EXISTS (
            SELECT FROM "freeze" WHERE organization_id = %(organization)s AND ended_at IS NULL AND session_key <> '' AND scope_kind = 'session')
        UNION
        SELECT line.reached, up.parent_key FROM line CROSS JOIN LATERAL (
            SELECT s.parent_key FROM session s WHERE s.organization_id = %(organization)s AND s.key = line.key AND s.parent_key <> ''
            UNION ALL
            SELECT k.parent_key FROM session_link k WHERE k.organization_id = %(organization)s AND k.key = line.key OFFSET 0) up
    )
    SELECT line.reached, f.* FROM line JOIN "freeze" f ON f.organization_id = %(organization)s AND f.session_key = line.key
    WHERE f.ended_at IS NULL AND f.scope_kind = 'session' AND (f.period_id IS NULL OR line.key <> line.reached))"""  # noqa: S608


# Whether a session of the organization is frozen at all: asked in an instant, while what it takes to look above a session costs a statement
# that decides about one call a tenth of its time, and be it never run.
IS_ANY_SESSION_FROZEN = """EXISTS (
    SELECT FROM "freeze" WHERE organization_id = %(organization)s AND ended_at IS NULL AND session_key <> '' AND scope_kind = 'session')"""
# How long statements look above sessions, by the process's clock, after one that did not has found that something stands against a call.
AMONG_FREEZES_S = 60.0
_among_freezes: dict[int, float] = {}


def is_among_freezes(organization_id: int) -> bool:
    """Whether sessions of the organization may be frozen, so that a statement had better look above those of its calls."""
    return _among_freezes.get(organization_id, 0.0) > time.monotonic()


def note_among_freezes(organization_id: int) -> None:
    """Has the next statements look above sessions."""
    _among_freezes[organization_id] = time.monotonic() + AMONG_FREEZES_S


# Of one call: the session %(session)s with %(parent)s above it. A budget's freeze of the session itself is left to the budget.
ONE_LINE = "SELECT %(session)s::varchar, unnest(ARRAY[%(session)s::varchar, %(parent)s::varchar])"
FREEZES_OVER_CALL = session_freezes(first=ONE_LINE)
