"""What a person decides about calls told of twice, over the API: reports, splits, joins, pairs, whose figures stand, and coverage."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import settings
from rest_framework.test import APIClient
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from governance.audit.models import AuditRecord
from governance.conf.wsgi import application
from governance.tenancy.models import Member, Organization, Scope, Team
from ingest.models import EventSighting, SightingPair
from ingest.models import UsageEvent as Stored
from tests.conftest import client_with, key_of
from tests.ingest.doors.test_fuzz import EXAMPLES, connection_kept
from tests.ingest.few_prices import few_prices
from tests.ingest.once.told import AT, NOW, assert_true, gateway, harness, sums, told

__all__ = ["connection_kept", "few_prices"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
WINDOW = {"since": AT.isoformat(), "until": NOW.isoformat()}
schema = schemathesis.openapi.from_wsgi("/api/schema", application)


@pytest.fixture
def manage(organization: Organization) -> APIClient:
    return client_with(key_of(organization, Scope.READ, Scope.ADMIN, name="terraform"))


def asked(client: APIClient, address: str, **parameters: str) -> Any:
    answer = client.get(f"/api/v1/{address}", parameters)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_reports_are_read_split_and_joined_again(organization: Organization, manage: APIClient) -> None:
    told(organization, "otlp", harness(reported_cost=Decimal("0.0100")))
    told(organization, "litellm", gateway(after=1))
    before, call = sums(organization), Stored.objects.get()
    shown = asked(manage, f"calls/{call.id}/reports")
    assert [(one["source"], one["how"]) for one in shown["reports"]] == [("harness:otlp", "first"), ("gateway:litellm", "matched")]
    assert [[one["field"] for one in report["differs"]] for report in shown["reports"]] == [["model"], []]
    address = f"calls/{call.id}/reports/{shown['reports'][1]['id']}/split"
    split = manage.post(f"/api/v1/{address}", {"reason": "two terminals"}, HTTP_IDEMPOTENCY_KEY="once")
    assert (split.status_code, split.json()["call"]) == (200, str(call.id))
    assert manage.post(f"/api/v1/{address}", {"reason": "two terminals"}, HTTP_IDEMPOTENCY_KEY="once").json() == split.json()
    assert sums(organization)["calls"] == 2
    new = split.json()["new"]
    assert [one["id"] is None for one in asked(manage, f"calls/{new}/reports")["reports"]] == [False]
    joined = manage.post(f"/api/v1/calls/{new}/join", {"other": str(call.id)}).json()["call"]
    assert sums(organization) == before
    # Either id leads to the call that stayed.
    assert {asked(manage, f"calls/{one}/reports")["call"] for one in (new, call.id)} == {joined}
    assert manage.post(f"/api/v1/calls/{new}/join", {"other": str(call.id)}).status_code == 409
    assert set(AuditRecord.objects.filter(action__startswith="call").values_list("actor_kind", flat=True)) == {"api_key"}
    assert_true(organization)


def test_a_call_with_one_report_shows_it(organization: Organization, manage: APIClient) -> None:
    call_id = told(organization, "litellm", gateway())[0].id
    (report,) = asked(manage, f"calls/{call_id}/reports")["reports"]
    assert (report["id"], report["source"], report["how"], report["differs"]) == (None, "gateway:litellm", "first", [])


def test_sources_are_named_without_the_key_they_came_with(organization: Organization, manage: APIClient) -> None:
    key = key_of(organization, Scope.INGEST, name="poster").row
    (stored,) = told(organization, "rest", harness(), api_key=key)
    told(organization, "litellm", gateway(after=1), api_key=key)
    assert {one["source"] for one in asked(manage, f"calls/{stored.id}/reports")["reports"]} == {"harness:rest", "gateway:litellm"}
    assert asked(manage, "coverage", **WINDOW)["total"]["sources"] == {"gateway:litellm+harness:rest": 1}


def test_pairs_are_listed_page_by_page_and_decided(organization: Organization, manage: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance.budgets.views.PAGE", 2)
    for number in range(3):
        told(organization, "otlp", harness(number, after=60 * number))
        told(organization, "litellm", gateway(number, after=60 * number, output_tokens=58))
    first = asked(manage, "call-pairs", session="s-1")
    second = asked(manage, "call-pairs", before=str(first["next"]))
    pairs = [*first["pairs"], *second["pairs"]]
    assert (len(first["pairs"]), len(pairs), second["next"]) == (2, 3, None)
    assert [one["sources"] for one in pairs[0]["calls"]] == [["harness:otlp"], ["gateway:litellm"]]
    assert {one["output_tokens"] for one in pairs[0]["calls"]} == {57, 58}
    assert asked(manage, "call-pairs", session="another")["pairs"] == []
    assert manage.get("/api/v1/call-pairs?before=x").status_code == 422
    assert manage.post(f"/api/v1/call-pairs/{pairs[0]['id']}/join").status_code == 200
    assert manage.post(f"/api/v1/call-pairs/{pairs[1]['id']}/keep-apart").json()["state"] == "apart"
    assert [one["id"] for one in asked(manage, "call-pairs")["pairs"]] == [pairs[2]["id"]]
    assert sums(organization)["calls"] == 5
    groups = asked(manage, "coverage", by="gateway", **WINDOW)
    total = groups["total"]
    assert (total["calls"], total["both"], total["gateway_only"], total["harness_only"]) == (5, 1, 2, 2)
    assert total["sources"]["gateway:litellm+harness:otlp"] == 1
    assert {one["group"]: one["calls"] for one in groups["groups"]} == {"litellm": 3, "": 2}
    assert asked(manage, "coverage", door="litellm", **WINDOW)["total"]["calls"] == 3
    assert_true(organization)


def test_a_pair_whose_call_was_joined_to_another_is_shown_with_that_one(organization: Organization, manage: APIClient) -> None:
    told(organization, "otlp", harness(1), harness(2, after=60))
    told(organization, "litellm", gateway(1, output_tokens=58))
    (pair,) = asked(manage, "call-pairs")["pairs"]
    told(organization, "openrouter", gateway(7, gateway="openrouter", output_tokens=58, after=1))
    assert Stored.objects.count() == 3
    (again,) = asked(manage, "call-pairs", session="s-1")["pairs"]
    assert again["id"] == pair["id"]
    assert sorted(len(one["sources"]) for one in again["calls"]) == [1, 2]
    assert manage.post(f"/api/v1/call-pairs/{pair['id']}/join").status_code == 200
    assert asked(manage, "call-pairs")["pairs"] == []
    assert SightingPair.objects.get(pk=pair["id"]).state == "joined"
    assert_true(organization)


def test_the_order_of_trust_is_set_and_holds_for_what_comes(organization: Organization, manage: APIClient) -> None:
    assert asked(manage, "order-of-trust") == {"kinds": ["vendor", "gateway", "harness"], "is_default": True}
    wanted = {"kinds": ["harness", "gateway", "vendor"]}
    assert manage.put("/api/v1/order-of-trust", wanted).json() == wanted | {"is_default": False}
    assert manage.put("/api/v1/order-of-trust", {"kinds": ["harness", "harness", "vendor"]}).json()["field"] == "kinds"
    one_id = "msg_01XFDUDYJgAACzvnptvVoYEL"
    told(organization, "litellm", gateway(request_id=one_id, output_tokens=60))
    told(organization, "otlp", harness(request_id=one_id, output_tokens=57))
    assert Stored.objects.get().output_tokens == 57
    assert AuditRecord.objects.get(action="sources.trust-ordered").new == wanted


def test_keys_see_and_decide_what_their_members_may(
    organization: Organization, engineer: Member, team: Team, other_organization: Organization
) -> None:
    told(organization, "otlp", harness(member=engineer.user.email))
    told(organization, "litellm", gateway())
    call, report = Stored.objects.get(), EventSighting.objects.get(source="gateway:litellm")
    own = client_with(key_of(organization, Scope.READ, Scope.ADMIN, member=engineer, name="own"))
    assert len(asked(own, f"calls/{call.id}/reports")["reports"]) == 2
    assert own.post(f"/api/v1/calls/{call.id}/reports/{report.pk}/split").status_code == 403
    assert {own.get(f"/api/v1/{name}").status_code for name in ("call-pairs", "coverage", "order-of-trust")} == {403}
    stranger = client_with(key_of(other_organization, Scope.READ, Scope.ADMIN, name="strange"))
    assert stranger.get(f"/api/v1/calls/{call.id}/reports").status_code == 404
    assert stranger.post(f"/api/v1/calls/{call.id}/reports/{report.pk}/split").status_code == 404
    assert stranger.post(f"/api/v1/calls/{call.id}/join", {"other": str(uuid4())}).status_code == 404
    assert asked(stranger, "coverage", **WINDOW)["total"]["calls"] == 0


@pytest.mark.parametrize("window", [
    {"since": NOW.isoformat(), "until": AT.isoformat()}, {"since": "2026-01-01T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, {"until": "0001-01-01T00:00:00Z"}, {"by": "weather"},
])  # fmt: skip
def test_a_window_that_cannot_be_read_is_refused(manage: APIClient, window: dict[str, str]) -> None:
    assert manage.get("/api/v1/coverage", window).status_code == 422


@schema.include(path_regex="^/api/v1/(calls|call-pairs|order-of-trust|coverage)").parametrize()
@settings(max_examples=max(EXAMPLES // 4, 5))
@pytest.mark.usefixtures("connection_kept")
def test_the_description_and_what_is_answered_agree(case: schemathesis.Case, organization: Organization, admin: Member) -> None:
    key = key_of(organization, Scope.READ, Scope.ADMIN, name=f"fuzz {uuid4()}", member=admin)
    known = told(organization, "otlp", harness())[0].id
    told(organization, "litellm", gateway())
    if "call_id" in case.path_parameters:
        case.path_parameters["call_id"] = known
    case.call_and_validate(headers={"Authorization": f"Bearer {key.secret}"}, checks=[not_a_server_error, response_schema_conformance])
