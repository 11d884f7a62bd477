"""A page asks the database as often for 20 rows as for 2, and not more often than the baseline says.

The baseline is tests/architecture/query_counts.json: for each page its queries at 2 and at 20 rows. A page that needs fewer may
lower it, and one that needs more has to say so there. `QUERY_COUNTS=write` writes what is measured.
"""

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from governance.approvals.services import request_create
from governance.budgets.models import BudgetPeriod
from governance.budgets.services import budget_create
from governance.pricing import book
from governance.tenancy.access import member_actor, system_actor
from governance.tenancy.models import Member, Organization
from governance.tenancy.services import api_key_create, member_add, service_account_create, team_create
from ingest.formats.event import UsageEvent
from tests.architecture.addresses import filled, patterns
from tests.dashboards.usage_made import call, use

BASELINE = Path(__file__).with_name("query_counts.json")
SIZES = (2, 20)
# Pages without a value of their own in the address, and those of one row that lists others.
PAGES = {name: route for name, route, _ in patterns() if route.startswith("o/") and ("<" not in route.removeprefix("o/<slug:slug>/") or name in ("session", "budget"))}


def peopled(organization: Organization, number: int) -> None:
    """As many teams, people, keys, budgets and waiting requests, and sessions with as many calls of as many models and harnesses."""
    actor = system_actor(organization)
    for index in range(number):
        team = team_create(actor=actor, slug=f"team-{index}", name=f"Team {index}")
        member = member_add(actor=actor, email=f"person-{index}@acme.example", role="engineer", team=team)
        api_key_create(actor=actor, name=f"key {index}", scopes=["ingest"], member=member)
        service_account_create(actor=actor, name=f"robot-{index}")
        budget_create(actor=actor, name=f"Budget {index}", scope_kind="team", team=team, period_kind="month", limit_amount=Decimal(100))
        use(organization, [_call(index, turn) for turn in range(number)])
        period = BudgetPeriod.objects.filter(organization=organization, budget__team=team).latest("pk")
        request_create(actor=member_actor(member), period_id=period.pk, amount=Decimal(5), reason="to finish")


def _call(index: int, turn: int) -> UsageEvent:
    return call(
        session=f"session-{index}", team=f"team-{index}", member=f"person-{index}@acme.example", harness=f"harness-{index}", gateway=f"gateway-{index}",
        model=("claude-sonnet-4-5", "claude-opus-4-5", f"unheard-of-{index}")[turn % 3], project=f"unknown-{index}", role=f"role-{turn}",
    )  # fmt: skip


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.mark.usefixtures("at_now", "prices")
def test_queries_do_not_grow_with_rows(
    client: Client, admin: Member, organization: Organization, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whether a newer price book is there is looked for by time, in whichever page comes next.
    monkeypatch.setattr(book, "SECONDS_BETWEEN_CHECKS", 3600.0)
    peopled(organization, size)
    client.force_login(admin.user)
    period = BudgetPeriod.objects.filter(organization=organization).earliest("pk")
    measured = {name: queries(client, filled(route, key="session-0", budget_id=str(period.budget_id))) for name, route in PAGES.items()}
    measured = {name: count for name, count in measured.items() if count is not None}
    known = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    if os.environ.get("QUERY_COUNTS") == "write":
        known = {name: {**known.get(name, {}), str(size): count} for name, count in measured.items()}
        BASELINE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert measured.keys() == known.keys()
    assert {name: count for name, count in measured.items() if count > known[name][str(size)]} == {}


def test_baseline_is_as_low_at_20_rows_as_at_2() -> None:
    known = json.loads(BASELINE.read_text(encoding="utf-8"))
    assert {name: counts for name, counts in known.items() if counts["20"] > counts["2"] + 1} == {}


def queries(client: Client, address: str) -> int | None:
    """How many queries a page needs that has been asked for before; None when it only sends elsewhere or is only posted to."""
    answer = client.get(address)
    if answer.status_code in (302, 405):
        return None
    assert answer.status_code == 200, (address, answer.status_code)
    with CaptureQueriesContext(connection) as asked:
        client.get(address)
    return len(asked)
