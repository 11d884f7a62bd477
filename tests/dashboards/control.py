"""What the tests of the control pages begin with: usage stored through the real pipeline just now, and people at their browsers."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from html import unescape
from itertools import count
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from governance.budgets.models import Budget, BudgetPeriod
from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor, system_actor
from governance.tenancy.models import Member, Organization, Role, Team
from ingest.formats.event import UsageEvent
from ingest.services import events_store

MODEL = "claude-sonnet-4-5"  # 3 USD a million of input, 15 of output
_numbers = count(1)


def use(organization: Organization, *, session: str, calls: int = 1, minutes_ago: float = 1, **fields: Any) -> None:
    """Stores calls of 1.50 USD each, named for nobody unless said otherwise."""
    now = timezone.now()
    facts: dict[str, Any] = {
        "provider": "anthropic",
        "model": MODEL,
        "harness": "claude-code",
        "output_tokens": 100_000,
        "session": session,
    }
    events = [
        UsageEvent(id=f"control-{next(_numbers)}", occurred_at=now - timedelta(minutes=minutes_ago, milliseconds=place), **(facts | fields))
        for place in range(calls)
    ]
    outcomes = events_store(actor=system_actor(organization), api_key=None, source="test", events=events, now=now)
    assert {outcome.status for outcome in outcomes} == {"accepted"}, outcomes


def budget(admin: Member, *, name: str = "Any session", limit: str = "3", scope_kind: str = "session", **fields: Any) -> Budget:
    """A budget made by the admin."""
    kind = fields.pop("period_kind", "session" if scope_kind == "session" else "month")
    return budget_create(
        actor=member_actor(admin), name=name, scope_kind=scope_kind, period_kind=kind, limit_amount=Decimal(limit), **fields
    )


def frozen(admin: Member, member: Member, *, session: str = "run-1") -> BudgetPeriod:
    """The member's session, frozen at 3.00 USD of 3: the period it stands against."""
    budget(admin)
    use(admin.organization, session=session, calls=2, member=member.user.email)
    return BudgetPeriod.objects.get(session_key=session)


def at(member: Member, **options: Any) -> Client:
    """The member's browser."""
    client = Client(**options)
    client.force_login(member.user)
    return client


def address(member: Member, path: str) -> str:
    return f"/o/{member.organization.slug}/{path}"


def text_of(response: Any) -> str:
    """The page as it reads, without its escapes."""
    return unescape(response.content.decode())


def queries(client: Client, path: str) -> int:
    """How many queries the page asks once its caches are warm."""
    client.get(path)
    with CaptureQueriesContext(connection) as found:
        assert client.get(path).status_code == 200
    return len(found)


def people(team: Team, engineer: Member, number: int) -> Sequence[Member]:
    """Members beside the engineer, in the same team."""
    from tests.conftest import person

    return [person(engineer.organization, email=f"p{place}@acme.example", role=Role.ENGINEER, team=team) for place in range(number)]
