"""Quarantine over the API: what is kept is read by its kind, mended by rules, and sent through again."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from governance.audit.models import AuditRecord
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Scope
from ingest.models import RejectedInput, UsageEvent
from ingest.quarantine.models import QuarantineRule
from ingest.quarantine.services import MOST_RULES, rule_create
from tests.conftest import client_with, key_of
from tests.ingest.quarantine.test_rules import event, post

pytestmark = pytest.mark.django_db
KEPT, RULES = "/api/v1/quarantine", "/api/v1/quarantine-rules"
KIND = {"door": "rest", "code": "unknown_field", "field": "user_name"}
RENAME = {"action": "rename", "field": "user_name", "target": "member"}


@pytest.fixture
def manage(organization: Organization) -> APIClient:
    return client_with(key_of(organization, Scope.READ, Scope.ADMIN, name="terraform"))


def asked(client: APIClient, address: str, **parameters: str) -> Any:
    answer = client.get(address, parameters)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_what_is_kept_is_listed_page_by_page_and_by_its_kind(api: APIClient, manage: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance.budgets.views.PAGE", 2)
    post(api, *(event(number, user_name="anna") for number in range(3)), event(4, colour=1))
    first = asked(manage, KEPT)
    second = asked(manage, KEPT, before=str(first["next"]))
    assert (len(first["inputs"]), len(second["inputs"]), second["next"]) == (2, 2, None)
    assert [one["field"] for one in asked(manage, KEPT, field="colour")["inputs"]] == ["colour"]
    kinds = asked(manage, f"{KEPT}/kinds")["kinds"]
    assert [({name: kind[name] for name in KIND}, kind["number"]) for kind in kinds] == [(KIND, 3), ({**KIND, "field": "colour"}, 1)]
    one = asked(manage, f"{KEPT}/{second['inputs'][0]['id']}")
    assert (one["door"], one["is_whole"]) == ("rest", True)
    assert '"user_name":"anna"' in one["payload"]
    assert manage.get(KEPT, {"before": "x"}).status_code == manage.get(KEPT, {"waiting": "no"}).status_code == 422


def test_a_rule_is_tried_made_changed_switched_off_and_deleted(api: APIClient, manage: APIClient) -> None:
    post(api, *(event(number, user_name="anna") for number in range(3)))
    tried = manage.post(f"{RULES}/try", {"rule": RENAME, "kind": KIND}).json()
    assert (tried["kept"], tried["changed"], tried["counted"]) == (3, 3, 3)
    assert '"member":"anna"' in tried["examples"][0]["after"]
    assert not QuarantineRule.objects.exists()
    made = manage.post(RULES, RENAME, HTTP_IDEMPOTENCY_KEY="once")
    assert (made.status_code, manage.post(RULES, RENAME, HTTP_IDEMPOTENCY_KEY="once").json()) == (201, made.json())
    assert manage.post(RULES, RENAME).status_code == 409
    address = f"{RULES}/{made.json()['id']}"
    assert manage.put(address, {**RENAME, "target": "tags.who"}).json()["target"] == "tags.who"
    assert manage.put(address, {**RENAME, "target": "tags.who", "is_active": False}).json()["is_active"] is False
    assert [rule["is_active"] for rule in asked(manage, RULES)["rules"]] == [False]
    assert post(api, event(9, user_name="ben"))["rejected"] == 1
    assert manage.delete(address).status_code == 204
    assert manage.get(address).status_code == manage.delete(address).status_code == 404
    record = AuditRecord.objects.filter(target_kind="quarantine_rule").order_by("pk")
    assert list(record.values_list("action", flat=True)) == [
        f"quarantine_rule.{step}" for step in ("created", "changed", "changed", "deleted")
    ]
    assert {row.actor_kind for row in record} == {"api_key"}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"action": "eat"}, "action"),
        ({"field": ""}, "field"),
        ({"target": "nobody"}, "target"),
        ({"target": "tags.\x00"}, "target"),
        ({"door": "\x00"}, "door"),
        ({"was": "x" * 255}, "was"),
    ],
)
def test_a_rule_that_could_do_nothing_is_refused_with_its_field(manage: APIClient, wrong: dict[str, Any], field: str) -> None:
    answer = manage.post(RULES, {**RENAME, **wrong})
    assert (answer.status_code, answer.json().get("field")) == (422, field)


def test_no_more_rules_are_in_force_than_may_be(manage: APIClient, admin: Member) -> None:
    rules = [rule_create(actor=member_actor(admin), action="drop", field=f"field_{number}") for number in range(MOST_RULES)]
    off = {"action": "drop", "field": "field_0"}
    assert manage.put(f"{RULES}/{rules[0].pk}", {**off, "is_active": False}).status_code == 200
    assert manage.post(RULES, RENAME).status_code == 201
    assert manage.put(f"{RULES}/{rules[0].pk}", off).status_code == 409


def test_what_is_kept_is_counted_when_a_rule_or_a_correction_mends_it(api: APIClient, manage: APIClient) -> None:
    post(api, *(event(number, user_name="anna") for number in range(3)), event(4, colour=1))
    assert manage.post(f"{KEPT}/replay", KIND).json() == {"counted": 0, "refused": 3, "incomplete": 0, "left": 0}
    manage.post(RULES, RENAME)
    assert manage.post(f"{KEPT}/replay", KIND).json() == {"counted": 3, "refused": 0, "incomplete": 0, "left": 0}
    assert UsageEvent.objects.filter(member_label="anna").count() == 3
    (left,) = asked(manage, KEPT, waiting="1")["inputs"]
    address = f"{KEPT}/{left['id']}"
    refused = manage.post(f"{address}/replay", {}).json()
    assert [(one["status"], one["field"]) for one in refused["results"]] == [("rejected", "colour")]
    payload = asked(manage, address)["payload"].replace(',"colour":1', "")
    counted = manage.post(f"{address}/replay", {"corrected": payload}).json()
    assert counted["input"]["replay_outcome"] == "accepted"
    assert manage.post(f"{address}/replay", {}).status_code == 409
    assert UsageEvent.objects.count() == 4
    assert asked(manage, KEPT, waiting="1")["inputs"] == []


def test_another_organization_sees_and_changes_nothing(api: APIClient, admin: Member, other_organization: Organization) -> None:
    post(api, event(1, user_name="anna"))
    rule = rule_create(actor=member_actor(admin), action="drop", field="colour")
    other = client_with(key_of(other_organization, Scope.READ, Scope.ADMIN, name="theirs"))
    kept = RejectedInput.objects.get()
    assert asked(other, KEPT)["inputs"] == asked(other, RULES)["rules"] == asked(other, f"{KEPT}/kinds")["kinds"] == []
    assert {answer.status_code for answer in (
        other.get(f"{KEPT}/{kept.pk}"), other.post(f"{KEPT}/{kept.pk}/replay", {}), other.get(f"{RULES}/{rule.pk}"), other.put(f"{RULES}/{rule.pk}", RENAME), other.delete(f"{RULES}/{rule.pk}"),
    )} == {404}  # fmt: skip
    assert other.post(f"{KEPT}/replay", KIND).json()["counted"] == 0
