"""An import of calls that a harness told of as well, before it or after it: undone, the calls stay as that told them; nothing is lost or counted twice."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from governance.budgets.models import Session
from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import ApiKey, Member, Organization, Scope
from ingest.formats.event import UsageEvent as Event
from ingest.importing import services
from ingest.importing.models import ImportRun
from ingest.models import EventAmendment, EventIdentity, EventSighting, UsageEvent
from tests.conftest import key_of
from tests.ingest.few_prices import few_prices
from tests.ingest.importing.test_imports import started, work
from tests.ingest.once.told import assert_true, statuses, sums, told

__all__ = ["few_prices"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
HOUR = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
VENDORS = "req_011CQ4pvX7abcd{:04}"
GATEWAYS = "2c3bd870-bb5a-45fd-a8b3-9a24380f{:04}"


@pytest.fixture(autouse=True)
def budget(admin: Member) -> None:
    """What the sums are compared with in each test is held against a budget as well."""
    budget_create(actor=member_actor(admin), name="All", scope_kind="organization", period_kind="month", limit_amount=Decimal(10))


def harness(
    organization: Organization, *numbers: int, output: int = 100, after: timedelta = timedelta(0), api_key: ApiKey | None = None
) -> list[str]:
    """Calls as Claude Code tells of them."""
    events = [
        Event(
            occurred_at=HOUR + timedelta(minutes=number) + after, model="claude-sonnet-4-5", provider="anthropic", harness="claude-code", session="s-1",
            request_id=VENDORS.format(number), input_tokens=1000 + number, output_tokens=output, team="platform",
        )
        for number in numbers
    ]  # fmt: skip
    return statuses(told(organization, "otlp", *events, api_key=api_key, now=timezone.now()))


def table(numbers: Sequence[int], *, ids: str = VENDORS, output: int = 100) -> bytes:
    """The gateway's own list of calls."""
    rows = (
        f"{(HOUR + timedelta(minutes=number)).isoformat()},claude-sonnet-4-5,{1000 + number},{output},{ids.format(number)},s-1,litellm,anthropic"
        for number in numbers
    )
    return "\n".join(("time,model,input tokens,output tokens,request id,session,gateway,provider", *rows)).encode()


def undone(admin: Member, run: ImportRun) -> ImportRun:
    services.import_undo(actor=member_actor(admin), run=run)
    return work(run, chunk=2)


@pytest.mark.parametrize(("ids", "output"), [(VENDORS, 120), (GATEWAYS, 100)], ids=["by id, corrected", "by tokens and time"])
def test_an_import_of_what_a_harness_told_before_is_taken_back_with_its_corrections(admin: Member, ids: str, output: int) -> None:
    organization = admin.organization
    harness(organization, 1, 2, 3)
    before: dict[str, Any] = sums(organization)
    run = started(admin, table((1, 2, 3, 4), ids=ids, output=output), chunk=2)
    assert (run.rows_accepted, run.rows_duplicate, run.rows_rejected) == (1, 3, 0)
    assert set(UsageEvent.objects.values_list("output_tokens", flat=True)) == {output}
    assert set(UsageEvent.objects.values_list("gateway", flat=True)) == {"litellm"}
    run = undone(admin, run)
    assert (run.state, run.events_removed, run.events_kept) == ("undone", 1, 0)
    assert sums(organization) == before
    # It may be imported again, and taken back again.
    again = started(admin, table((1, 2, 3, 4), ids=ids, output=output), chunk=3)
    assert (again.rows_accepted, again.rows_duplicate) == (1, 3)
    assert set(UsageEvent.objects.values_list("output_tokens", flat=True)) == {output}
    undone(admin, again)
    assert sums(organization) == before
    assert harness(organization, 1, 2, 3) == ["duplicate"] * 3


@pytest.mark.parametrize(("ids", "output"), [(VENDORS, 120), (GATEWAYS, 100)], ids=["by id, corrected", "by tokens and time"])
def test_what_a_harness_told_of_after_the_import_stays_when_that_is_undone(admin: Member, ids: str, output: int) -> None:
    organization = admin.organization
    run = started(admin, table((1, 2, 3), ids=ids, output=output), chunk=2)
    assert harness(organization, 1, 2) == ["duplicate"] * 2
    run = undone(admin, run)
    assert (run.state, run.events_removed, run.events_kept) == ("undone", 1, 2)
    told_once = [(1001, 100, "claude-code", ""), (1002, 100, "claude-code", "")]
    counted = UsageEvent.objects.order_by("occurred_at").values_list("input_tokens", "output_tokens", "harness", "gateway")
    assert list(counted) == told_once
    assert set(EventSighting.objects.values_list("source", flat=True)) == {"harness:otlp"}
    assert harness(organization, 1, 2) == ["duplicate"] * 2
    again = started(admin, table((1, 2, 3), ids=ids, output=output))
    assert (again.rows_accepted, again.rows_duplicate) == (1, 2)
    assert set(UsageEvent.objects.values_list("output_tokens", flat=True)) == {output}
    undone(admin, again)
    assert list(counted.all()) == told_once
    assert_true(organization)


@pytest.mark.parametrize("ids", [VENDORS, GATEWAYS], ids=["by id", "by tokens and time"])
def test_a_call_that_stays_is_what_the_report_that_is_left_would_have_made_of_it(
    admin: Member, other_organization: Organization, ids: str
) -> None:
    """Time, door, key and ids as well, in the event, in its session and in every sum."""
    organization, later = admin.organization, timedelta(seconds=4)
    run = started(admin, table((1, 2), ids=ids, output=100))
    key = key_of(organization, Scope.INGEST).row
    assert harness(organization, 1, after=later, api_key=key) == ["duplicate"]
    undone(admin, run)
    harness(other_organization, 1, after=later, api_key=key_of(other_organization, Scope.INGEST).row)
    by_itself = (
        "organization_id",
        "api_key_id",
        "received_at",
        "team_id",
        "price_id",
        "cost",
        "list_cost",
        "currency",
        "exchange_rate",
        "price_currency",
    )
    stays, alone = (UsageEvent.objects.filter(organization=one).values().get() for one in (organization, other_organization))
    assert {name: value for name, value in stays.items() if name not in by_itself} == {
        name: value for name, value in alone.items() if name not in by_itself
    }
    assert (stays["source"], stays["occurred_at"], stays["api_key_id"]) == ("otlp", HOUR + timedelta(minutes=1) + later, key.pk)
    identities = [
        EventIdentity.objects.filter(organization=one).values_list("key", "occurred_at", "source", "event_id")
        for one in (organization, other_organization)
    ]
    assert list(identities[0]) == list(identities[1])
    sessions = [
        Session.objects.filter(organization=one).values_list("first_at", "last_at", "calls").get()
        for one in (organization, other_organization)
    ]
    assert sessions[0] == sessions[1]
    change = EventAmendment.objects.filter(event_id=stays["id"], occurred_at=stays["occurred_at"]).get()
    assert (change.old or {})["source"] == "import"
    assert_true(organization)
    # What is taken back counts as another report when it comes again.
    again = started(admin, table((1,), ids=ids, output=100))
    assert (again.rows_accepted, again.rows_duplicate) == (0, 1)


def test_of_two_imports_of_a_call_the_one_that_told_of_it_takes_it_back(admin: Member) -> None:
    organization = admin.organization
    harness(organization, 1)
    before = sums(organization)
    first = started(admin, table((1,), output=120))
    second = started(admin, table((1, 2), output=120))
    undone(admin, second)
    assert UsageEvent.objects.get().output_tokens == 120
    undone(admin, first)
    assert sums(organization) == before
