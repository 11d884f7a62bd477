"""How a hold ends: by its event, by an amount, by void, by time; in any order, and never counted twice."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from governance.budgets.models import Authorization, BudgetPeriod
from governance.budgets.services import authorization_settle, authorization_void, holds_expire
from governance.errors import DomainError
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Scope
from ingest.formats.event import UsageEvent
from ingest.models import UsageEvent as StoredEvent
from ingest.services import events_store
from tests.conftest import client_with, key_of
from tests.governance.budgets.test_holds import budget
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event

__all__ = ["few_prices"]

pytestmark = pytest.mark.django_db


def hold(api: APIClient, amount: str = "4", **fields: Any) -> str:
    answer = api.post("/api/v1/authorizations", {"session": "s1", "amount": amount} | fields)
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def settle(api: APIClient, authorization: str, **body: Any) -> Any:
    return api.post(f"/api/v1/authorizations/{authorization}/settle", body)


def balance() -> tuple[Decimal, Decimal]:
    period = BudgetPeriod.objects.get()
    return period.spent, period.held


def as_json(sent: UsageEvent) -> Any:
    return msgspec.json.decode(msgspec.json.encode(sent))


def store(admin: Member, sent: UsageEvent) -> str:
    return events_store(actor=member_actor(admin), api_key=None, source="rest", events=[sent])[0].status


def test_amount_replaces_the_estimate_until_the_event_comes(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    answer = settle(api, made, amount="0.005")
    assert (answer.status_code, answer.json()["state"], Decimal(answer.json()["reported_cost"])) == (200, "settling", Decimal("0.005"))
    assert balance() == (0, Decimal("0.005"))
    store(admin, event(authorization=UUID(made)))
    assert balance() == (COST, 0)
    assert api.get(f"/api/v1/authorizations/{made}").json()["state"] == "settled"
    assert Authorization.objects.get().settled_cost == COST


def test_amount_above_the_estimate_is_held_in_full(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    settle(api, made, amount="7")
    assert balance() == (0, 7)
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "4"}).status_code == 402


def test_amount_after_the_event_moves_nothing(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    store(admin, event(authorization=UUID(made)))
    answer = settle(api, made, amount="3")
    assert (answer.status_code, answer.json()["state"], Decimal(answer.json()["settled_cost"])) == (200, "settled", COST)
    assert balance() == (COST, 0)


def test_settling_again_changes_nothing_and_another_amount_corrects(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    assert [settle(api, made, amount=amount).status_code for amount in ("3", "3.00", "2")] == [200, 200, 200]
    assert balance() == (0, 2)


def test_amount_of_an_expired_hold_is_kept_as_far_as_there_is_room(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    late = hold(api, "10", ttl_seconds=1)
    holds_expire(now=timezone.now() + timedelta(seconds=2))
    hold(api, "9")
    answer = settle(api, late, amount="10")
    assert (answer.status_code, Decimal(answer.json()["reported_cost"])) == (200, 10)
    assert balance() == (0, 10)


def test_absurd_amount_holds_no_more_than_there_is_room_and_can_be_corrected(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    assert settle(api, made, amount="1000000000").status_code == 422
    assert settle(api, made, amount="1000000").status_code == 200
    assert balance() == (0, 10)
    assert settle(api, made, amount="0.5").status_code == 200
    assert balance() == (0, Decimal("0.5"))
    store(admin, event(authorization=UUID(made)))
    assert balance() == (COST, 0)


def test_hold_has_a_ceiling_and_a_floor(admin: Member, api: APIClient) -> None:
    budget(admin, "10", is_hard=False)
    for amount, status in (("1000000", 201), ("1000000.01", 422), ("1e-30", 422), ("0", 201)):
        assert api.post("/api/v1/authorizations", {"session": "s1", "amount": amount}).status_code == status, amount


def test_hold_that_the_sum_cannot_take_is_refused(admin: Member, api: APIClient) -> None:
    budget(admin, "10", is_hard=False)
    hold(api)
    BudgetPeriod.objects.update(held=Decimal(999_999_999_999))
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "2"}).status_code == 402


def test_call_of_absurd_cost_is_unpriced(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    sent = [event(number, input_tokens=1_000_000_000, units={"web_searches": Decimal(1_000_000_000)}) for number in range(3)]
    assert {one.status for one in events_store(actor=member_actor(admin), api_key=None, source="rest", events=sent)} == {"accepted"}
    assert balance()[0] < 10_000_000


def test_event_settles_and_is_counted_in_one_step(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    sent = event()
    answer = settle(api, made, event=as_json(sent))
    assert (answer.status_code, answer.json()["state"], answer.json()["event"]["status"]) == (200, "settled", "accepted")
    assert settle(api, made, event=as_json(sent)).json()["event"]["status"] == "duplicate"
    assert balance() == (COST, 0)
    assert StoredEvent.objects.get().authorization_id == UUID(made)


def test_event_counted_before_without_its_authorization_gives_the_hold_back(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made, sent = hold(api), event()
    assert api.post("/api/v1/events", as_json(sent)).status_code == 201
    assert balance() == (COST, 4)
    answer = settle(api, made, event=as_json(sent))
    assert (answer.status_code, answer.json()["event"]["status"], answer.json()["state"]) == (200, "duplicate", "settled")
    assert balance() == (COST, 0)


def test_event_known_with_other_content_leaves_the_hold_to_expire(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made, sent = hold(api), event()
    store(admin, sent)
    answer = settle(api, made, event=as_json(sent) | {"output_tokens": 101})
    assert (answer.status_code, answer.json()["code"], answer.json()["state"]) == (409, "identity_conflict", "held")
    assert balance() == (COST, 4)
    holds_expire(now=timezone.now() + timedelta(hours=1))
    assert balance() == (COST, 0)


@pytest.mark.parametrize("changed", [{}, {"output_tokens": 101}])
def test_calls_told_under_one_id_do_not_pass_the_limit(few_prices: None, admin: Member, api: APIClient, changed: dict[str, Any]) -> None:
    budget(admin, "10")
    sent = event()
    store(admin, sent)
    answers = []
    for _ in range(5):
        asked = api.post("/api/v1/authorizations", {"session": "s1", "amount": "3"})
        answers.append(asked.status_code)
        if asked.status_code == 201:
            store(admin, msgspec.structs.replace(sent, authorization=UUID(asked.json()["id"]), **changed))
    # A call that was counted gives back what was held for it, once; a conflict gives nothing back.
    assert answers == ([201, 201, 201, 402, 402] if changed else [201, 201, 201, 201, 402])
    assert balance() == (COST, 9)


def test_a_repeat_that_names_another_authorization_leaves_that_one(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    first, second = UUID(hold(api)), UUID(hold(api))
    sent = event(authorization=first)
    assert [store(admin, sent), store(admin, sent)] == ["accepted", "duplicate"]
    assert store(admin, msgspec.structs.replace(sent, authorization=second)) == "duplicate"
    assert balance() == (COST, 4)
    assert StoredEvent.objects.get().authorization_id == first


def test_a_repeat_in_the_same_request_settles_the_hold(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made, sent = UUID(hold(api)), event()
    events = [sent, msgspec.structs.replace(sent, output_tokens=1), msgspec.structs.replace(sent, authorization=made)]
    outcomes = events_store(actor=member_actor(admin), api_key=None, source="rest", events=events)
    assert [outcome.status for outcome in outcomes] == ["accepted", "conflict", "duplicate"]
    assert balance() == (COST, 0)
    assert (StoredEvent.objects.get().authorization_id, Authorization.objects.get().settled_cost) == (made, COST)


def test_refused_event_leaves_the_hold(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    answer = settle(api, made, event=as_json(event()) | {"input_tokens": -1})
    assert (answer.status_code, answer.json()["field"]) == (422, "input_tokens")
    assert balance() == (0, 4)


def test_only_one_of_amount_and_event_is_taken(admin: Member, api: APIClient) -> None:
    made = hold(api)
    assert settle(api, made).status_code == 422
    assert settle(api, made, amount="1", event=as_json(event())).status_code == 422
    assert settle(api, made, amount="-1").status_code == 422
    assert settle(api, made, amount="NaN").status_code == 422
    assert api.post(f"/api/v1/authorizations/{made}/settle", b"{", content_type="application/json").status_code == 422


def test_event_takes_the_scope_to_report(organization: Organization, admin: Member) -> None:
    asking = client_with(key_of(organization, Scope.AUTHORIZE, name="asks"))
    made = hold(asking)
    assert settle(asking, made, event=as_json(event())).status_code == 403
    assert settle(asking, made, amount="1").status_code == 200


def test_strangers_see_no_authorization(api: APIClient, other_organization: Organization) -> None:
    made = hold(api)
    outside = client_with(key_of(other_organization))
    assert settle(outside, made, amount="1").status_code == 404
    assert settle(outside, made, event=as_json(event())).status_code == 404
    assert not StoredEvent.objects.exists()


def test_settling_after_the_hold_expired_holds_what_was_spent(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api, ttl_seconds=1)
    holds_expire(now=timezone.now() + timedelta(seconds=2))
    assert balance() == (0, 0)
    assert settle(api, made, amount="2").json()["state"] == "settling"
    assert balance() == (0, 2)
    store(admin, event(authorization=UUID(made)))
    assert balance() == (COST, 0)


def test_money_is_not_kept_for_ever_for_an_event_that_never_comes(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    settle(api, made, amount="2")
    assert holds_expire(now=timezone.now() + timedelta(hours=23)) == 0
    assert holds_expire(now=timezone.now() + timedelta(hours=25)) == 1
    assert balance() == (0, 0)
    store(admin, event(authorization=UUID(made)))
    assert balance() == (COST, 0)
    assert Authorization.objects.get().settled_cost == COST


def test_several_events_of_one_authorization_add_up(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = UUID(hold(api))
    store(admin, event(1, authorization=made))
    store(admin, event(2, authorization=made))
    assert balance() == (2 * COST, 0)
    assert Authorization.objects.get().settled_cost == 2 * COST


def test_whatever_the_order_the_money_is_held_or_spent_once(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    for number, order in enumerate(permutations(["amount", "event", "expiry", "void"])):
        walk(admin, hold(api, session=f"s{number}", ttl_seconds=1), event(number, session=f"s{number}"), order)


def walk(admin: Member, authorization: str, sent: UsageEvent, order: tuple[str, ...]) -> None:
    """Takes the steps, each twice, and looks at the balance after each."""
    actor, made, later = member_actor(admin), UUID(authorization), timezone.now() + timedelta(days=2)
    steps: dict[str, Callable[[], object]] = {
        "amount": lambda: authorization_settle(actor=actor, authorization_id=made, amount=Decimal(3)),
        "event": lambda: store(admin, msgspec.structs.replace(sent, authorization=made)),
        "expiry": lambda: holds_expire(now=later),
        "void": lambda: authorization_void(actor=actor, authorization_id=made),
    }
    period = BudgetPeriod.objects.get(session_key=sent.session)
    for step in (*order, *order, *order[::-1]):
        try:
            steps[step]()
        except DomainError as error:
            assert error.status == 409, (order, step)  # noqa: PT017
        period.refresh_from_db()
        assert period.held == {"held": 4, "settling": 3}.get(Authorization.objects.get(pk=made).state, 0), (order, step)
        assert period.spent == (COST if StoredEvent.objects.filter(session=sent.session).exists() else 0), (order, step)
    holds_expire(now=later + timedelta(days=2))
    period.refresh_from_db()
    assert (period.spent, period.held) == (COST, 0), order


def test_hold_that_is_over_refuses_nobody_before_it_is_swept(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api, "8", ttl_seconds=1)
    Authorization.objects.filter(pk=made).update(expires_at=timezone.now() - timedelta(seconds=1))
    hold(api, "9")
    assert balance() == (0, 9)
    assert Authorization.objects.get(pk=made).state == "expired"


def test_key_in_the_header_is_the_id(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    asked = {"session": "s1", "amount": "4"}
    first = api.post("/api/v1/authorizations", asked, headers={"Idempotency-Key": "k1"})
    again = api.post("/api/v1/authorizations", asked, headers={"Idempotency-Key": "k1"})
    other = api.post("/api/v1/authorizations", asked | {"amount": "5"}, headers={"Idempotency-Key": "k1"})
    in_body = api.post("/api/v1/authorizations", asked | {"id": "k1"})
    assert (first.status_code, again.status_code, other.status_code, in_body.status_code) == (201, 200, 409, 200)
    assert first.json()["id"] == again.json()["id"] == in_body.json()["id"]
    assert Decimal(again.json()["left"]) == 6
    assert balance() == (0, 4)
    assert api.post("/api/v1/authorizations", asked, headers={"Idempotency-Key": "k" * 201}).status_code == 422
    assert api.post("/api/v1/authorizations", asked | {"id": "k1"}, headers={"Idempotency-Key": "k2"}).status_code == 422


def test_call_that_fits_again_ends_the_note_that_one_did_not(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    store(admin, event())
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "11"}).status_code == 402
    assert api.get("/api/v1/sessions/s1").json()["state"] == "blocked"
    hold(api, "1")
    assert api.get("/api/v1/sessions/s1").json()["state"] == "running"


def test_description_shows_how_to_hold_and_settle(api: APIClient) -> None:
    paths = api.get("/api/schema").json()["paths"]
    asked = paths["/api/v1/authorizations"]["post"]
    settled = paths["/api/v1/authorizations/{authorization_id}/settle"]["post"]
    assert {"201", "200", "402", "409", "422"} <= asked["responses"].keys()
    assert asked["responses"]["402"]["content"]["application/problem+json"]["examples"]
    assert settled["responses"].keys() >= {"200", "404", "409", "422"}
    assert len(settled["requestBody"]["content"]["application/json"]["examples"]) == 2


EARLIER = timedelta(minutes=6)


def test_call_made_before_its_authorization_does_not_settle_it(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    old = event(occurred_at=timezone.now() - EARLIER)
    answer = settle(api, made, event=as_json(old))
    assert (answer.status_code, answer.json()["state"], answer.json()["event"]["status"]) == (200, "held", "accepted")
    assert store(admin, event(2, occurred_at=timezone.now() - EARLIER, authorization=UUID(made))) == "accepted"
    assert balance() == (2 * COST, 4)
    assert Authorization.objects.get().settled_cost is None
    store(admin, event(3, authorization=UUID(made)))
    assert balance() == (3 * COST, 0)
    assert Authorization.objects.get().settled_cost == COST


def test_clock_that_is_a_little_behind_settles(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    store(admin, event(occurred_at=timezone.now() - timedelta(minutes=4, seconds=50), authorization=UUID(made)))
    assert balance() == (COST, 0)


def test_of_calls_in_one_request_only_those_made_after_it_settle(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    first, second = UUID(hold(api)), UUID(hold(api))
    old = timezone.now() - EARLIER
    sent = [event(1, occurred_at=old, authorization=first), event(2, authorization=first), event(3, occurred_at=old, authorization=second)]
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=sent)
    assert balance() == (3 * COST, 4)
    assert [(one.state, one.settled_cost) for one in Authorization.objects.order_by("created_at")] == [("settled", COST), ("held", None)]


def test_repeat_of_a_call_made_before_the_authorization_names_it_in_vain(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    sent = event(occurred_at=timezone.now() - EARLIER)
    store(admin, sent)
    made = hold(api)
    assert settle(api, made, event=as_json(sent)).json()["state"] == "held"
    assert store(admin, msgspec.structs.replace(sent, authorization=UUID(made))) == "duplicate"
    assert balance() == (COST, 4)
    assert StoredEvent.objects.get().authorization_id is None
