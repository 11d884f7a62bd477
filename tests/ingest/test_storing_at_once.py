"""The usual posts are stored in one round trip; whatever else they are is found, and stored as it always was."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection

from governance import pipelines
from governance.budgets import rules
from governance.budgets.models import BudgetPeriod, Freeze, ThresholdCrossing
from governance.budgets.services import budget_create, session_freeze
from governance.tenancy import directory as directories
from governance.tenancy import services as tenancy
from governance.tenancy.access import key_actor, member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.formats.event import Outcome, UsageEvent
from ingest.models import UsageEvent as StoredEvent
from ingest.models import UsageRollup
from ingest.services import events_store
from ingest.services.prepare import claim_of
from tests.conftest import KeyInHand
from tests.ingest.few_prices import few_prices
from tests.ingest.once.told import assert_true

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transactional_db", "few_prices")]
Post = Callable[..., list[Outcome]]


def call(number: int, **facts: Any) -> UsageEvent:
    return UsageEvent(**{
        "occurred_at": datetime.now(UTC), "model": "claude-sonnet-4-5", "provider": "anthropic", "id": f"call-{number}", "session": "s-1",
        "input_tokens": 1000, "output_tokens": 100, **facts,
    })  # fmt: skip


@pytest.fixture
def post(api_key: KeyInHand) -> Post:
    """Posts events; a first one has told this process what it has to know of the organization."""

    def store(*events: UsageEvent) -> list[Outcome]:
        return events_store(actor=key_actor(api_key.row), api_key=api_key.row, source="rest", events=events)

    store(call(0))
    return store


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many statements went to the database with each message."""
    sent: list[int] = []
    run = pipelines.run

    def counted(connection: Any, statements: Any, **how: Any) -> None:
        sent.append(len(statements))
        run(connection, statements, **how)

    monkeypatch.setattr(pipelines, "run", counted)
    return sent


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def test_usual_posts_wait_for_the_database_once(post: Post, messages: list[int], admin: Member, organization: Organization) -> None:
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(100))
    post(call(1))
    post(call(2))
    messages.clear()
    assert statuses(post(call(3), call(4, session="s-2"))) == ["accepted", "accepted"]
    assert messages == [3]
    assert BudgetPeriod.objects.get().calls == 5
    assert sum(UsageRollup.objects.values_list("calls", flat=True)) == StoredEvent.objects.count() == 5
    assert_true(organization)


def test_call_that_came_before_is_not_counted_again(post: Post, organization: Organization) -> None:
    sent = call(1)
    assert statuses(post(sent)) == ["accepted"]
    assert statuses(post(sent)) == ["duplicate"]
    assert statuses(post(sent, call(2))) == ["duplicate", "accepted"]
    assert StoredEvent.objects.count() == 3
    assert_true(organization)


def test_post_that_reaches_a_limit_freezes_and_tells(post: Post, admin: Member, organization: Organization) -> None:
    budget_create(
        actor=member_actor(admin),
        name="Small",
        scope_kind="session",
        period_kind="session",
        limit_amount=Decimal("0.02"),
        is_hard=True,
        thresholds=[50],
    )
    seen = [(statuses(post(call(number))), ThresholdCrossing.objects.count(), Freeze.objects.count()) for number in range(1, 7)]
    assert seen == [(["accepted"], crossings, freezes) for crossings, freezes in ((0, 0), (1, 0), (1, 0), (1, 1), (1, 1), (1, 1))]
    assert list(StoredEvent.objects.order_by("occurred_at").values_list("is_after_freeze", flat=True)) == [False] * 5 + [True] * 2
    assert BudgetPeriod.objects.get().spent == Decimal("0.0315")
    assert_true(organization)


def test_post_of_a_session_frozen_by_hand_is_marked(post: Post, admin: Member) -> None:
    session_freeze(actor=member_actor(admin), session_key="s-1", reason="look at it")
    post(call(1))
    assert StoredEvent.objects.get(external_id="call-1").is_after_freeze


def test_post_goes_by_the_names_that_stand_now(post: Post, organization: Organization, admin: Member) -> None:
    before, directory = rules._rules[organization.pk], directories._directories[organization.pk]
    tenancy.team_create(actor=member_actor(admin), slug="research", name="Research")
    # Another process has not heard of it yet.
    rules._rules[organization.pk], directories._directories[organization.pk] = before, directory
    post(call(1, team="research"))
    assert StoredEvent.objects.get(external_id="call-1").team_id == Team.objects.get(slug="research").pk


def test_call_that_another_process_stores_meanwhile_is_counted_once(post: Post, api_key: KeyInHand, organization: Organization) -> None:
    """Both find it new; the later one waits for the earlier, finds it taken and undoes all that it has done."""
    sent = call(1)
    claim = claim_of(0, sent, "rest", defaults=api_key.row.defaults, api_key_id=api_key.row.pk)
    found: list[Outcome] = []

    def later() -> None:
        found.extend(post(sent))
        connection.close()

    facts = connection.get_connection_params()
    address = {name: facts[name] for name in ("dbname", "user", "password", "host", "port") if facts.get(name)}
    with psycopg.connect(**address) as earlier:
        earlier.execute(
            "INSERT INTO event_identity (organization_id, key, body_hash, occurred_at, sightings, source) VALUES (%s, %s, %s, %s, 1, %s)",
            [organization.pk, claim.key, claim.body_hash, sent.occurred_at, claim.source],
        )
        thread = threading.Thread(target=later)
        thread.start()
        with psycopg.connect(**address, autocommit=True) as looking:
            while not looking.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'").fetchone():
                assert thread.is_alive()
    thread.join(20)
    assert statuses(found) == ["duplicate"]
    assert StoredEvent.objects.count() == sum(UsageRollup.objects.values_list("calls", flat=True)) == 1


def test_frozen_session_is_taken_step_by_step_from_then_on(post: Post, messages: list[int], admin: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    session_freeze(actor=member_actor(admin), session_key="s-1", reason="look at it")
    # The first finds that some session is frozen, the second that its own is.
    for number, steps in ((1, 3), (2, 3), (3, 2)):
        messages.clear()
        post(call(number))
        assert len(messages) == steps


def test_rolling_budget_counts_what_is_posted(post: Post, admin: Member, organization: Organization) -> None:
    budget_create(
        actor=member_actor(admin),
        name="A day",
        scope_kind="organization",
        period_kind="rolling",
        rolling_hours=24,
        limit_amount=Decimal(100),
    )
    for number in range(1, 4):
        assert statuses(post(call(number))) == ["accepted"]
    assert BudgetPeriod.objects.get().calls == 4
    assert_true(organization)
