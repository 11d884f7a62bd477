"""Plans, seats and fleets over the API: read by readers, changed by admins, other organizations' not there, refused with the field that is wrong."""

from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from governance.billing.models import Fleet, Seat, SeatPlan
from governance.tenancy.models import Member, Organization, Scope
from tests.conftest import client_with, key_of
from tests.governance.billing.billed_things import billed_things

pytestmark = pytest.mark.django_db
PLAN: dict[str, Any] = {"name": "Claude Team", "harness": "claude-code", "fee": "30", "valid_from": "2026-09-01"}
FLEET: dict[str, Any] = {"name": "Pool", "model": "qwen3-coder-30b", "gpus": 4, "rate": "2.5", "valid_from": "2026-09-01", "schedule": "entered"}


@pytest.fixture
def manage(organization: Organization) -> APIClient:
    return client_with(key_of(organization, Scope.READ, Scope.ADMIN, name="terraform"))


def test_plan_and_seat_are_made_read_changed_and_ended(manage: APIClient, engineer: Member) -> None:
    made = manage.post("/api/v1/plans", PLAN)
    assert made.status_code == 201, made.json()
    plan = f"/api/v1/plans/{made.json()['id']}"
    changed = manage.patch(plan, {"valid_from": "2026-11-01", "fee": "60"}).json()
    assert [(row["fee"], row["valid_to"]) for row in changed["terms"]] == [("30", "2026-11-01"), ("60", None)]
    seat = manage.post("/api/v1/seats", {"plan": made.json()["id"], "member": engineer.user.email, "valid_from": "2026-09-01"})
    assert seat.status_code == 201, seat.json()
    costs = manage.get("/api/v1/seats?from=2026-09-01&to=2026-12-01").json()
    assert (costs["cost"], costs["items"][0]["cost"], costs["items"][0]["days"]) == ("120", "120", 91)
    ended = manage.post(f"/api/v1/seats/{seat.json()['id']}/end", {"ends_on": "2026-11-16"})
    assert ended.json()["valid_to"] == "2026-11-16"
    assert manage.get("/api/v1/seats?from=2026-11-01&to=2026-12-01").json()["cost"] == "30"
    assert manage.post(f"{plan}/end", {"ends_on": "2026-12-01"}).json()["terms"][-1]["valid_to"] == "2026-12-01"
    assert manage.get(plan).json()["terms"][0]["valid_from"] == "2026-09-01"
    assert [row["name"] for row in manage.get("/api/v1/plans").json()["items"]] == ["Claude Team"]


def test_seats_of_the_running_month_are_listed_unless_days_are_given(manage: APIClient, engineer: Member) -> None:
    billed_things(engineer)
    with time_machine.travel("2026-10-31T23:30:00Z"):  # November in Berlin
        found = manage.get("/api/v1/seats").json()
    assert (found["from"], found["to"], found["cost"]) == ("2026-11-01", "2026-12-01", "31")


@pytest.mark.parametrize("query", ["from=soon", "from=2026-09-01&to=2026-09-01", "from=2026-09-01&to=2020-01-01", "from=1000-01-01", "from=2026-01-01&to=2199-01-01", "to=9999-12-31"])
def test_days_that_cannot_be_are_refused(manage: APIClient, query: str) -> None:
    assert manage.get(f"/api/v1/seats?{query}").status_code == 422


def test_fleet_is_made_changed_and_its_hours_are_entered(manage: APIClient) -> None:
    made = manage.post("/api/v1/fleets", FLEET)
    assert made.status_code == 201, made.json()
    fleet = f"/api/v1/fleets/{made.json()['id']}"
    with time_machine.travel("2026-11-21T12:00:00Z"):
        manage.post(f"{fleet}/hours", {"month": "2026-10-15", "hours": "700"})
        entered = manage.post(f"{fleet}/hours", {"month": "2026-10-15", "hours": "388.5"})
        assert entered.json()["hours"] == [{"month": "2026-10-01", "hours": "388.5"}]
        assert manage.post(f"{fleet}/hours", {"month": "2026-10-15", "hours": "745.5"}).status_code == 422
        assert manage.post(f"{fleet}/hours", {"month": "2026-12-01", "hours": "1"}).status_code == 422
        assert manage.post(f"{fleet}/hours", {"month": "2026-08-01", "hours": "1"}).status_code == 422
    changed = manage.patch(fleet, {"valid_from": "2026-12-01", "gpus": 8, "schedule": "always"}).json()
    assert (changed["gpus"], changed["valid_from"], changed["id"]) == (8, "2026-12-01", made.json()["id"] + 1)
    assert manage.get(fleet).json()["valid_to"] == "2026-12-01"
    assert manage.patch(fleet, {"valid_from": "2027-01-01", "gpus": 2}).status_code == 409
    assert manage.post(f"/api/v1/fleets/{changed['id']}/end", {"ends_on": "2027-01-01"}).json()["valid_to"] == "2027-01-01"
    assert [row["gpus"] for row in manage.get("/api/v1/fleets").json()["items"]] == [4, 8]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("plans", PLAN | {"fee": "-1"}, "fee"), ("plans", PLAN | {"fee": "1e400"}, "fee"), ("plans", PLAN | {"period": "week"}, "period"), ("plans", PLAN | {"harness": ""}, "harness"),
        ("plans", PLAN | {"name": ""}, "name"), ("plans", PLAN | {"currency": "EUR"}, "currency"), ("plans", PLAN | {"valid_from": "2026-02-30"}, "valid_from"),
        ("seats", {"plan": 10**30, "member": "x", "valid_from": "2026-09-01"}, "plan"), ("seats", {"plan": 1, "member": "x", "valid_from": "2026-09-01"}, "plan"),
        ("fleets", FLEET | {"gpus": 0}, "gpus"), ("fleets", FLEET | {"gpus": 10**12}, "gpus"), ("fleets", FLEET | {"rate": "NaN"}, "rate"), ("fleets", FLEET | {"basis": "work"}, "tokens_per_hour"),
        ("fleets", FLEET | {"tokens_per_hour": 0}, "tokens_per_hour"), ("fleets", FLEET | {"tokens_per_hour": 10**30}, "tokens_per_hour"), ("fleets", FLEET | {"model": " "}, "model"),
        ("fleets", FLEET | {"model": "a\x00b"}, "model"), ("fleets", FLEET | {"valid_from": "0001-01-01"}, "valid_from"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_its_field(manage: APIClient, path: str, body: dict[str, Any], field: str) -> None:
    answer = manage.post(f"/api/v1/{path}", body)
    assert (answer.status_code, answer.json().get("field")) == (422, field), answer.json()


def test_same_key_makes_one_plan(manage: APIClient) -> None:
    answers = [manage.post("/api/v1/plans", PLAN, headers={"Idempotency-Key": "p-1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert SeatPlan.objects.count() == 1


def test_strangers_see_and_change_nothing(engineer: Member, other_organization: Organization) -> None:
    billed = billed_things(engineer)
    stranger = client_with(key_of(other_organization, Scope.READ, Scope.ADMIN))
    assert stranger.get("/api/v1/plans").json()["items"] == []
    assert stranger.get("/api/v1/seats").json()["items"] == []
    assert stranger.get("/api/v1/fleets").json() == {"items": [], "months": []}
    for method, path, body in (
        ("get", "plans/{plan_id}", None),
        ("patch", "plans/{plan_id}", {"valid_from": "2026-12-01", "fee": "1"}),
        ("post", "plans/{plan_id}/end", {"ends_on": "2026-12-01"}),
        ("post", "seats/{seat_id}/end", {"ends_on": "2026-12-01"}),
        ("get", "fleets/{fleet_id}", None),
        ("patch", "fleets/{fleet_id}", {"valid_from": "2026-12-01", "gpus": 2}),
        ("post", "fleets/{fleet_id}/end", {"ends_on": "2026-12-01"}),
        ("post", "fleets/{fleet_id}/hours", {"month": "2026-09-01", "hours": "1"}),
    ):
        assert getattr(stranger, method)(f"/api/v1/{billed.path(path)}", body).status_code == 404, path
    answer = stranger.post("/api/v1/seats", {"plan": billed.plan.pk, "member": engineer.user.email, "valid_from": "2026-09-01"})
    assert (answer.status_code, answer.json()["field"]) == (422, "plan")
    assert (Seat.objects.filter(valid_to=None).count(), Fleet.objects.filter(valid_to=None).count()) == (1, 1)


def test_engineers_key_neither_reads_nor_changes(organization: Organization, engineer: Member) -> None:
    client = client_with(key_of(organization, Scope.READ, Scope.ADMIN, member=engineer))
    assert {client.get(f"/api/v1/{path}").status_code for path in ("plans", "seats", "fleets")} == {403}
    assert client.post("/api/v1/plans", PLAN).status_code == 403
