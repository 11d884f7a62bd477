"""An admin joins, splits and keeps apart; either undoes the other, every sum moves with it, and a split is never joined again."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.audit.models import AuditRecord
from governance.budgets.models import Authorization, BudgetPeriod
from governance.budgets.services import budget_create
from governance.errors import Conflict, Forbidden, NotFound
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Scope
from ingest.models import EventSighting, SightingPair
from ingest.models import UsageEvent as Stored
from ingest.once.later import pass_run
from ingest.once.selectors import coverage, pairs_undecided, shares_of
from ingest.once.services import call_split, calls_join, pair_join_by_hand, pair_keep_apart, trust_order
from tests.conftest import client_with, key_of
from tests.governance.budgets.test_holds import budget
from tests.ingest.few_prices import few_prices
from tests.ingest.once.told import AT, NOW, assert_true, gateway, harness, statuses, sums, told

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]


def second(event_id: UUID, source: str) -> int:
    return EventSighting.objects.get(event_id=event_id, source=source).pk


@pytest.mark.parametrize("source", ["gateway:litellm", "harness:otlp"])
def test_a_split_and_a_join_undo_each_other(organization: Organization, admin: Member, source: str) -> None:
    actor = member_actor(admin)
    told(organization, "otlp", harness(output_tokens=58))
    told(organization, "litellm", gateway(output_tokens=58, after=1))
    one = sums(organization)
    stored = Stored.objects.get()
    call_split(actor=actor, event_id=stored.id, sighting_id=second(stored.id, source), reason="two calls")
    two = sums(organization)
    assert (two["calls"], two["cost"]) == (2, 2 * one["cost"])
    assert_true(organization)
    assert statuses(told(organization, "litellm", gateway(output_tokens=58, after=1))) == ["duplicate"]
    pass_run(organization=organization, now=NOW)
    assert sums(organization) == two
    first, other = Stored.objects.values_list("id", flat=True)
    calls_join(actor=actor, first=first, second=other)
    assert sums(organization) == one
    assert_true(organization)
    assert list(AuditRecord.objects.filter(action__startswith="call").values_list("action", flat=True).order_by("id")) == [
        "call.split",
        "calls.joined",
    ]


def test_reports_of_one_id_can_be_split_and_their_repeats_stay_repeats(organization: Organization, admin: Member) -> None:
    told(organization, "otlp", harness())
    told(organization, "claude-code", harness(trace="t", output_tokens=60))
    stored = Stored.objects.get()
    call_split(actor=member_actor(admin), event_id=stored.id, sighting_id=second(stored.id, "harness:claude-code"))
    assert set(Stored.objects.values_list("output_tokens", flat=True)) == {57, 60}
    assert statuses(told(organization, "claude-code", harness(trace="t", output_tokens=60))) == ["duplicate"]
    assert sums(organization)["calls"] == 2
    assert_true(organization)


def test_budgets_are_charged_once_and_follow(organization: Organization, admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(1))
    told(organization, "otlp", harness())
    told(organization, "litellm", gateway())

    def spent() -> Any:
        return BudgetPeriod.objects.get().spent

    once, stored = spent(), Stored.objects.get()
    assert once == stored.cost > 0
    new = call_split(actor=member_actor(admin), event_id=stored.id, sighting_id=second(stored.id, "gateway:litellm"))
    assert spent() == 2 * once
    calls_join(actor=member_actor(admin), first=stored.id, second=new[1])
    assert spent() == once
    assert_true(organization)


def test_pairs_wait_for_a_person_who_joins_or_keeps_them_apart(organization: Organization, admin: Member) -> None:
    actor = member_actor(admin)
    told(organization, "otlp", harness(1), harness(2, after=60))
    told(organization, "litellm", gateway(1, output_tokens=58), gateway(2, after=60, output_tokens=58))
    pass_run(organization=organization, now=NOW)
    first, other = pairs_undecided(actor)
    pair_join_by_hand(actor=actor, pair_id=first.pk)
    pair_keep_apart(actor=actor, pair_id=other.pk)
    assert not pairs_undecided(actor)
    assert sums(organization)["calls"] == 3
    with pytest.raises(Conflict):
        pair_keep_apart(actor=actor, pair_id=first.pk)
    found = shares_of(coverage(actor, since=AT, until=NOW))
    assert (found.both, found.gateway_only, found.harness_only) == (1, 1, 1)
    assert_true(organization)


def test_only_those_who_keep_the_organization_decide(organization: Organization, engineer: Member, admin: Member, stranger: Member) -> None:
    told(organization, "otlp", harness())
    told(organization, "litellm", gateway())
    stored = Stored.objects.get()
    sighting_id = second(stored.id, "gateway:litellm")
    with pytest.raises(Forbidden):
        call_split(actor=member_actor(engineer), event_id=stored.id, sighting_id=sighting_id)
    with pytest.raises(NotFound):
        call_split(actor=member_actor(stranger), event_id=stored.id, sighting_id=sighting_id)
    with pytest.raises(NotFound):
        call_split(actor=member_actor(admin), event_id=stored.id, sighting_id=0)


def test_an_organization_orders_whom_it_trusts(organization: Organization, admin: Member) -> None:
    trust_order(actor=member_actor(admin), kinds=["harness", "gateway", "vendor"])
    one_id = "msg_01XFDUDYJgAACzvnptvVoYEL"
    told(organization, "litellm", gateway(request_id=one_id, output_tokens=60))
    told(organization, "otlp", harness(request_id=one_id, output_tokens=57))
    assert Stored.objects.get().output_tokens == 57
    assert_true(organization)


def test_a_clock_that_is_wrong_is_found_by_the_whole_session(organization: Organization) -> None:
    told(organization, "otlp", *(harness(n, after=n * 40, input_tokens=100 + n) for n in range(4)))
    told(organization, "litellm", *(gateway(n, after=180 + n * 40, input_tokens=100 + n) for n in range(4)))
    assert sums(organization)["calls"] == 8
    assert pass_run(organization=organization, now=NOW) == 4
    assert sums(organization)["calls"] == 4
    assert not SightingPair.objects.filter(state="undecided").exists()
    # From then on the difference of the clocks is known when a call comes.
    told(organization, "otlp", harness(9, after=400, input_tokens=109))
    assert statuses(told(organization, "litellm", gateway(9, after=580, input_tokens=109))) == ["duplicate"]
    assert_true(organization)


@pytest.mark.parametrize("doors", [("otlp", "litellm"), ("litellm", "otlp")])
def test_a_gateway_that_counts_all_input_together_corrects_the_output_and_not_what_caches_did(
    organization: Organization, doors: tuple[str, str]
) -> None:
    one_id = "msg_01XFDUDYJgAACzvnptvVoYEL"
    lumped: dict[str, Any] = {
        "input_tokens": 120 + 10240 + 2048,
        "cache_read_tokens": None,
        "cache_write_5m_tokens": None,
        "output_tokens": 60,
    }
    for door in doors:
        told(organization, door, harness(request_id=one_id) if door == "otlp" else gateway(request_id=one_id, **lumped))
    stored = Stored.objects.get()
    assert (stored.input_tokens, stored.cache_read_tokens, stored.cache_write_5m_tokens, stored.output_tokens) == (120, 10240, 2048, 60)


def shape(organization: Organization) -> list[list[str]]:
    """The calls by their reports."""
    found: dict[UUID, list[str]] = {row.id: [] for row in Stored.objects.filter(organization=organization)}
    assert len(found) == Stored.objects.filter(organization=organization).count()
    for one in EventSighting.objects.filter(organization=organization):
        found[one.event_id].append(f"{one.source} {one.own_id[-4:]}")
    return sorted(sorted(reports) for reports in found.values())


def test_a_report_that_is_split_off_again_is_a_call_again(organization: Organization, admin: Member) -> None:
    actor = member_actor(admin)
    told(organization, "otlp", harness())
    told(organization, "claude-code", harness(id="msg_011CQ4pvX7abcd9999"))
    told(organization, "otlp", harness(2, after=2))
    ours, other = Stored.objects.order_by("occurred_at").values_list("id", flat=True)
    _, split = call_split(actor=actor, event_id=ours, sighting_id=second(ours, "harness:claude-code"))
    assert sums(organization)["calls"] == 3
    _, joined = calls_join(actor=actor, first=split, second=other)
    assert sums(organization)["calls"] == 2
    call_split(actor=actor, event_id=joined, sighting_id=second(joined, "harness:claude-code"))
    assert sums(organization)["calls"] == 3
    assert [len(reports) for reports in shape(organization)] == [1, 1, 1]
    assert_true(organization)


STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 20)), min_size=3, max_size=14)


def test_every_call_stays_known_whatever_is_decided(organization: Organization, admin: Member) -> None:
    actor = member_actor(admin)
    told(organization, "otlp", *(harness(n, after=n * 3) for n in range(3)))
    told(organization, "claude-code", *(harness(n, after=n * 3, id=f"msg_011CQ4pvX7abcd9{n:03}") for n in range(3)))
    told(organization, "litellm", *(gateway(n, after=n * 3 + 1) for n in range(3)))
    reports = EventSighting.objects.filter(organization=organization).count()

    @settings(max_examples=12, database=None)
    @given(STEPS)
    def hold(steps: list[tuple[bool, int, int]]) -> None:
        with transaction.atomic():
            for is_split, number, other in steps:
                calls = Stored.objects.order_by("occurred_at", "id").values_list("id", flat=True)
                before, change = len(calls), 0
                try:
                    if is_split:
                        sighting = EventSighting.objects.order_by("id")[number % EventSighting.objects.count()]
                        call_split(actor=actor, event_id=sighting.event_id, sighting_id=sighting.pk)
                        change = 1
                    else:
                        calls_join(actor=actor, first=calls[number % before], second=calls[other % before])
                        change = -1
                except Conflict:
                    pass
                assert Stored.objects.count() == before + change
                assert sum(map(len, shape(organization))) == EventSighting.objects.count() >= reports
                assert_true(organization)
            transaction.set_rollback(True)

    hold()


def test_authorizations_part_and_join_with_their_calls(organization: Organization, admin: Member) -> None:
    actor = member_actor(admin)
    api, now = client_with(key_of(organization, Scope.AUTHORIZE)), timezone.now()
    budget(admin, "10")
    held = [UUID(api.post("/api/v1/authorizations", {"session": "s-1", "amount": "1"}).json()["id"]) for _ in range(2)]
    told(organization, "otlp", harness(authorization=held[0], occurred_at=now), now=now)
    told(organization, "litellm", gateway(authorization=held[1], occurred_at=now + timedelta(seconds=60)), now=now + timedelta(seconds=61))

    def settled() -> list[Decimal]:
        return [Authorization.objects.get(pk=one).settled_cost for one in held]

    before = settled()
    first, other = Stored.objects.order_by("occurred_at").values_list("id", flat=True)
    _, call = calls_join(actor=actor, first=first, second=other)
    assert sorted(settled()) == [0, before[0]]
    call_split(actor=actor, event_id=call, sighting_id=second(call, "harness:otlp"))
    assert settled() == before
    assert before[0] == before[1] > 0
    assert_true(organization)
