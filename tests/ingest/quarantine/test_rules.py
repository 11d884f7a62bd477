"""What was refused is mended by a rule: at every door from now on, and what is kept when it is sent through again."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from governance.audit.models import AuditRecord
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.notices.models import Notice
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member
from ingest.models import RejectedInput, UsageEvent
from ingest.quarantine.mending import Fix, mended
from ingest.quarantine.selectors import Kind, kinds_of, rule_try
from ingest.quarantine.services import MOST_RULES, fixes_of, kind_replay, rule_create, rule_switch
from ingest.quarantine.watch import FEW, MANY, quarantine_watch
from ingest.rejections import unread_note
from tests.conftest import KeyInHand
from tests.golden.captures import CAPTURES_OF_OTLP, written

pytestmark = pytest.mark.django_db


def event(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"id": f"call-{number}", "occurred_at": timezone.now().isoformat(), "model": "gpt-5"} | fields


def post(api: APIClient, *events: Any) -> Any:
    return api.post("/api/v1/events", {"events": events}).json()


@pytest.mark.parametrize(
    ("odd", "fix", "read"),
    [
        ({"user_name": "anna"}, Fix(1, "", "rename", "user_name", "member"), {"member": "anna"}),
        ({"colour": 7}, Fix(1, "", "rename", "colour", "tags.colour"), {"tags": {"colour": "7"}}),
        ({"colour": {"deep": [1]}}, Fix(1, "", "drop", "colour"), {}),
        ({"model": None}, Fix(1, "", "default", "model", value="gpt-5"), {"model": "gpt-5"}),
        ({"billing_mode": "flat"}, Fix(1, "", "map", "billing_mode", value="subscription", was="flat"), {"billing_mode": "subscription"}),
        ({"input_tokens": "1,200"}, Fix(1, "", "number", "input_tokens"), {"input_tokens": 1200}),
        ({"input_tokens": 12.0}, Fix(1, "", "number", "input_tokens"), {"input_tokens": 12}),
        ({"output_tokens": -1}, Fix(1, "", "map", "output_tokens", value="0", was="-1"), {"output_tokens": 0}),
    ],
)  # fmt: skip
def test_a_rule_mends_what_it_is_for(odd: dict[str, Any], fix: Fix, read: dict[str, Any]) -> None:
    payload = json.dumps(event(**odd)).encode()
    found = mended(payload, [fix], "rest")
    assert found is not None
    assert {name: getattr(found.event, name) for name in read} == read
    assert mended(payload, [fix._replace(door="otlp")], "rest") is None
    assert mended(b"{broken", [fix], "rest") is None


@pytest.mark.parametrize("number", ["1e999999999", "1e1000000", "-7e4300", "9" * 5000, "1" + " " * 100_000 + "x", "1e-999999999.", "NaN"])
def test_a_number_that_would_take_for_ever_to_write_out_stays_refused(number: str) -> None:
    payload = json.dumps(event(input_tokens=number)).encode()
    assert mended(payload, [Fix(1, "", "number", "input_tokens")], "rest") is None


def test_rules_work_together_and_never_overwrite(admin: Member) -> None:
    fixes = [Fix(1, "", "rename", "prompt", "input_tokens"), Fix(2, "", "number", "input_tokens"), Fix(3, "", "drop", "x")]
    found = mended(json.dumps(event(prompt="12", x=[1])).encode(), fixes, "rest")
    assert found is not None
    assert (found.event.input_tokens, found.by) == (12, (1, 2, 3))
    assert mended(json.dumps(event(prompt="12", input_tokens=5)).encode(), fixes, "rest") is None


def test_a_rule_mends_new_events_at_the_door_and_the_sender_is_told_they_count(api: APIClient, admin: Member) -> None:
    rule = rule_create(actor=member_actor(admin), action="rename", field="user_name", target="member")
    answer = post(api, event(1), event(2, user_name="anna"), event(3, colour=1))
    assert [(one["index"], one["status"]) for one in answer["results"]] == [(0, "accepted"), (1, "accepted"), (2, "rejected")]
    assert UsageEvent.objects.get(external_id="call-2").member_label == "anna"
    assert RejectedInput.objects.count() == 1
    rule.refresh_from_db()
    assert rule.mended == 1
    single = api.post("/api/v1/events", event(4, user_name="ben"))
    assert single.status_code == 201
    again = api.post(
        "/api/v1/events", event(4, user_name="ben") | {"occurred_at": UsageEvent.objects.get(external_id="call-4").occurred_at.isoformat()}
    )
    assert again.status_code == 200


def test_a_rule_mends_what_other_formats_report(api: APIClient, admin: Member) -> None:
    record = {
        "id": "chatcmpl-AbC123456789",
        "created": int(timezone.now().timestamp()),
        "model": "gpt-4o",
        "usage": {"prompt_tokens": 5, "completion_tokens": 2},
    }
    assert api.post("/api/v1/events/openai?billing_mode=flat", record).json()["rejected"] == 1
    rule_create(actor=member_actor(admin), action="map", field="billing_mode", was="flat", value="subscription", door="openai")
    assert api.post("/api/v1/events/openai?billing_mode=flat", record).json()["accepted"] == 1
    assert kind_replay(actor=member_actor(admin), kind=Kind("openai", "invalid_field", "billing_mode"))["counted"] == 1
    assert UsageEvent.objects.get().billing_mode == "subscription"


def test_a_rule_mends_telemetry_and_the_exporter_hears_of_no_failure(api: APIClient, admin: Member) -> None:
    capture = next(
        one for one in CAPTURES_OF_OTLP.values() if one.signal == "logs" and b"claude_code.api_request" in one.body and one.is_json
    )
    document = capture.document
    now = str(int(timezone.now().timestamp() * 1_000_000_000))
    for group in document["resourceLogs"]:
        for scope in group["scopeLogs"]:
            for record in scope["logRecords"]:
                record["timeUnixNano"] = record["observedTimeUnixNano"] = now
                for attribute in record["attributes"]:
                    if attribute["key"] == "session.id":
                        attribute["value"] = {"stringValue": "s" * 300}
                    elif attribute["key"] == "event.timestamp":
                        attribute["value"] = {"stringValue": timezone.now().isoformat()}
    post_it = written(document, capture).post
    assert "partialSuccess" in post_it(api).json()
    rule_create(actor=member_actor(admin), action="drop", field="session", door="otlp")
    assert post_it(api).json() == {}
    assert UsageEvent.objects.count() >= 1


def test_a_misspelt_model_is_mended_in_what_is_kept(api: APIClient, admin: Member) -> None:
    actor = member_actor(admin)
    misspelt = event(1, modle="gpt-5.1")
    del misspelt["model"]
    post(api, misspelt)
    (kind,) = kinds_of(actor)
    rule_create(actor=actor, action="rename", field="modle", target="model")
    assert kind_replay(actor=actor, kind=Kind(kind["door"], kind["code"], kind["field"]))["counted"] == 1
    assert UsageEvent.objects.get().model_reported == "gpt-5.1"


def test_rules_and_sending_again_are_offered_only_where_they_may_help(api: APIClient, client: Client, admin: Member) -> None:
    post(api, event(1))
    post(api, event(1, model="another"), event(2, colour=1))
    api.generic("POST", "/api/v1/events", '{"id": ', content_type="application/json")
    api.generic("POST", "/api/v1/events", json.dumps(event(3)), content_type="text/plain")
    api.generic("POST", "/api/v1/events/litellm", '{"id": ', content_type="application/json")
    actor = member_actor(admin)
    offered = {(kind["door"], kind["code"]): (kind["mendable"], kind["sendable"]) for kind in kinds_of(actor)}
    assert offered == {
        ("rest", "identity_conflict"): (0, 0), ("rest", "unknown_field"): (1, 1), ("rest", "broken_json"): (0, 0),
        ("rest", "unsupported_media_type"): (0, 1), ("litellm", "broken_json"): (0, 0),
    }  # fmt: skip
    client.force_login(admin.user)
    page = client.get(f"/o/{admin.organization.slug}/settings/not-counted").content.decode()
    assert (page.count("Write a rule"), page.count("Send all again")) == (1, 2)
    for row in RejectedInput.objects.all():
        page = client.get(f"/o/{admin.organization.slug}/settings/not-counted/{row.pk}").content.decode()
        assert ("Send it through again" in page) == (row.code in ("unknown_field", "unsupported_media_type"))
        assert ("Correct it first" in page) == (row.door == "rest")
        assert not ("Nothing of it was kept" in page and "A part of it was" in page)


def test_what_is_kept_is_mended_and_counted_once(api: APIClient, admin: Member) -> None:
    actor = member_actor(admin)
    post(api, *(event(number, userEmail=f"p{number}@acme.example", note="Write a poem about my mother") for number in range(4)))
    (kind,) = kinds_of(actor)
    assert (kind["door"], kind["code"], kind["number"]) == ("rest", "unknown_field", 4)
    assert b"mother" not in b"".join(bytes(row.payload) for row in RejectedInput.objects.all())
    tried = rule_try(actor, Fix(0, "", "rename", "userEmail", "member"), [])
    assert (tried.kept, tried.changed, tried.counted) == (4, 4, 0)
    rule_create(actor=actor, action="drop", field="note")
    tried = rule_try(actor, Fix(0, "", "rename", "userEmail", "member"), fixes_of(actor.organization.pk))
    assert (tried.changed, tried.counted) == (4, 4)
    assert not UsageEvent.objects.exists()
    asked = Kind(kind["door"], kind["code"], kind["field"])
    assert kind_replay(actor=actor, kind=asked)["incomplete"] == 4
    rule_create(actor=actor, action="rename", field="userEmail", target="member")
    assert kind_replay(actor=actor, kind=asked, most=3)["counted"] == 3
    assert kind_replay(actor=actor, kind=asked)["counted"] == 1
    assert kind_replay(actor=actor, kind=asked)["counted"] == 0
    assert sorted(UsageEvent.objects.values_list("member_label", flat=True)) == [f"p{number}@acme.example" for number in range(4)]
    assert kinds_of(actor) == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"action": "explode", "field": "x"}, "action"), ({"action": "rename", "field": "", "target": "model"}, "field"), ({"action": "rename", "field": "x", "target": "colour"}, "target"),
        ({"action": "rename", "field": "x", "target": "tags."}, "target"), ({"action": "default", "field": "colour", "value": "red"}, "field"),
        ({"action": "rename", "field": "session", "target": "id"}, "target"), ({"action": "rename", "field": "model", "target": "request_id"}, "target"),
        ({"action": "default", "field": "id", "value": "same"}, "field"), ({"action": "map", "field": "model", "was": "", "value": "x"}, "was"),
    ],
)  # fmt: skip
def test_a_rule_that_could_do_nothing_or_harm_is_refused(admin: Member, given: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        rule_create(actor=member_actor(admin), **given)
    assert refusal.value.extra["field"] == field


def test_an_id_under_a_name_of_the_senders_own_is_read(admin: Member) -> None:
    assert rule_create(actor=member_actor(admin), action="rename", field="event_uuid", target="id").target == "id"


def test_rules_are_bounded_switched_and_on_the_record(api: APIClient, admin: Member, stranger: Member, engineer: Member) -> None:
    actor = member_actor(admin)
    rule = rule_create(actor=actor, action="drop", field="colour")
    with pytest.raises(Conflict):
        rule_create(actor=actor, action="drop", field="colour")
    with pytest.raises(Forbidden):
        rule_create(actor=member_actor(engineer), action="drop", field="x")
    with pytest.raises(NotFound):
        rule_switch(actor=member_actor(stranger), rule_id=rule.pk, is_active=False)
    rule_switch(actor=actor, rule_id=rule.pk, is_active=False)
    assert post(api, event(1, colour=1))["rejected"] == 1
    assert set(AuditRecord.objects.values_list("action", flat=True)) >= {"quarantine_rule.created", "quarantine_rule.switched"}
    for number in range(MOST_RULES):
        rule_create(actor=actor, action="drop", field=f"x{number}")
    with pytest.raises(Conflict):
        rule_create(actor=actor, action="drop", field="one too many")


def test_a_rule_of_another_organization_does_nothing_here(api: APIClient, stranger: Member) -> None:
    rule_create(actor=member_actor(stranger), action="drop", field="colour")
    assert post(api, event(1, colour=1))["rejected"] == 1


def keep(admin: Member, count: int, at: Any) -> None:
    RejectedInput.objects.bulk_create(
        RejectedInput(
            organization=admin.organization,
            kind="rejected",
            door="rest",
            code="invalid_field",
            reason="It was wrong.",
            payload=b"{}",
            received_at=at,
        )
        for _ in range(count)
    )


def test_its_keepers_are_told_once_when_it_grows_and_again_after_it_was_quiet(admin: Member, engineer: Member, stranger: Member) -> None:
    now = timezone.now()
    keep(admin, MANY - 1, now)
    assert quarantine_watch(now=now) == 0
    keep(admin, 1, now)
    assert quarantine_watch(now=now) == 1
    notice = Notice.objects.get()
    assert notice.recipient == "admin@acme.example"
    assert "It was wrong." in notice.body
    later = now + timedelta(minutes=50)
    keep(admin, MANY, later)
    assert quarantine_watch(now=later) == 0
    RejectedInput.objects.filter(received_at=later).delete()
    keep(admin, FEW + 1, later)
    assert quarantine_watch(now=now + timedelta(minutes=70)) == 0
    keep(admin, MANY, later)
    assert quarantine_watch(now=now + timedelta(minutes=70)) == 0, "it was not quiet in between"
    quiet = later + timedelta(hours=2)
    assert quarantine_watch(now=quiet) == 0
    keep(admin, MANY, quiet)
    assert quarantine_watch(now=quiet) == 1
    assert Notice.objects.count() == 2


def test_what_only_the_number_was_kept_of_counts_as_growth(admin: Member, api_key: KeyInHand) -> None:
    """A client that no format reads yet, however much it sends, is one row an hour."""
    unread_note(api_key=api_key.row, door="otlp", unread=Counter({"some-agent": 4_000}))
    now = timezone.now()
    assert quarantine_watch(now=now) == 1
    notice = Notice.objects.get()
    assert notice.subject == "4,000 inputs were not counted within an hour"
    assert " 4,000  otlp: 4,000 records of some-agent" in notice.body


def test_the_page_shows_kinds_tries_a_rule_and_sends_all_again(client: Client, api: APIClient, admin: Member) -> None:
    client.force_login(admin.user)
    post(api, *(event(number, user_name="anna") for number in range(3)))
    page = "/o/acme/settings/not-counted"
    assert "unknown_field" in client.get(page).content.decode()
    new = f"{page}/rules/new?door=rest&code=unknown_field&field=user_name"
    rule = {"action": "rename", "field": "user_name", "target": "member", "door": "rest"}
    tried = client.post(new, {**rule, "try": "1"}).content.decode()
    assert "would be counted" in tried
    assert client.post(new, {**rule, "target": "colour", "try": "1"}).status_code == 422
    assert client.post(new, {**rule, "save": "1"}).status_code == 302
    assert client.post(f"{page}/again", {"door": "rest", "code": "unknown_field", "field": "user_name"}).status_code == 302
    assert UsageEvent.objects.count() == 3
    shown = client.get(page).content.decode()
    assert "is read as" in shown
    assert 'id="kinds"' not in shown
