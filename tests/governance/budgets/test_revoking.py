"""A revoked key: refused for good, and frozen where freezes are seen and heard of, together with the sessions it ran."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from governance.audit.models import AuditRecord
from governance.budgets.models import Freeze, Session
from governance.budgets.rules import rules_remembered
from governance.budgets.selectors import session_freeze_of
from governance.budgets.services import freeze_start, freeze_stop, key_revoke, session_resume
from governance.errors import Conflict, Forbidden, Invalid
from governance.notices.endpoints import endpoint_create
from governance.notices.models import Signal
from governance.notices.stream.listening import Heard
from governance.tenancy.access import Actor, member_actor, system_actor
from governance.tenancy.models import Member, Organization, Role, Scope, ServiceAccount, Team
from tests.conftest import KeyInHand, client_with, key_of, person
from tests.governance.budgets.test_freezes import ask, seen

pytestmark = pytest.mark.django_db


def post(api: APIClient, number: int, session: str) -> int:
    event = {"id": f"call-{number}", "occurred_at": timezone.now().isoformat(), "provider": "anthropic", "model": "made-up", "session": session}
    return api.post("/api/v1/events", event).status_code


def state_of(api: APIClient, session: str) -> tuple[str, str | None]:
    answer = api.get(f"/api/v1/sessions/{session}").json()
    return answer["state"], answer["freeze"] and answer["freeze"]["cause"]


@pytest.fixture
def other(organization: Organization) -> KeyInHand:
    return key_of(organization, name="other")


def test_sessions_that_the_key_ran_are_frozen_until_another_key_runs_them(
    admin: Member, organization: Organization, api: APIClient, api_key: KeyInHand, other: KeyInHand
) -> None:
    second = client_with(other)
    assert (post(api, 1, "mine"), post(second, 2, "theirs")) == (201, 201)
    key_revoke(actor=member_actor(admin), key=api_key.row, reason="It leaked.")
    assert ask(api, "mine").status_code == 401
    assert (state_of(second, "mine"), state_of(second, "theirs")) == (("frozen", "key"), ("running", None))
    told = second.get("/api/v1/sessions/mine").json()["freeze"]
    assert (told["scope"], told["name"], told["reason"], told["started_by"]) == ("key", api_key.row.prefix, "It leaked.", "Admin")
    with pytest.raises(Conflict, match="Its next call by another key may go on"):
        session_resume(actor=member_actor(admin), session_key="mine")
    assert ask(second, "mine").status_code == 201
    assert post(second, 3, "mine") == 201
    assert state_of(second, "mine") == ("running", None)


def test_freeze_is_told_once_with_audit_rows_and_in_the_policy_document(admin: Member, organization: Organization, api_key: KeyInHand, other: KeyInHand) -> None:
    gateway = client_with(other)
    before = gateway.get("/api/v1/policy")
    for _ in range(2):
        key_revoke(actor=member_actor(admin), key=api_key.row)
    freeze = Freeze.objects.get()
    assert (freeze.cause, freeze.scope_kind, freeze.api_key_id, freeze.started_by, freeze.ended_at) == ("key", "key", api_key.row.pk, admin, None)
    assert list(AuditRecord.objects.filter(action__in=("api_key.revoked", "freeze.started")).order_by("id").values_list("action", flat=True)) == [
        "api_key.revoked", "freeze.started",
    ]
    signal = Signal.objects.get()
    assert (signal.kind, signal.facts["scope_kind"], signal.facts["scope_key"], signal.facts["cause"]) == ("freeze.started", "key", api_key.row.prefix, "key")
    after = gateway.get("/api/v1/policy", headers={"If-None-Match": before["ETag"]})
    assert after.status_code == 200
    assert [(row["scope"], row["name"], row["cause"]) for row in after.json()["freezes"]] == [("key", api_key.row.prefix, "key")]


def test_nobody_ends_it_and_nobody_makes_one_by_hand(admin: Member, organization: Organization, api_key: KeyInHand) -> None:
    actor = member_actor(admin)
    key_revoke(actor=actor, key=api_key.row)
    with pytest.raises(Conflict, match="revoked for good"):
        freeze_stop(actor=actor, freeze=Freeze.objects.get(), reason="please")
    with pytest.raises(Invalid):
        freeze_start(actor=system_actor(organization), scope_kind="key", scope_key=api_key.row.prefix, cause="key", reason="as if")
    assert freeze_start(actor=actor, scope_kind="key", scope_key=api_key.row.prefix, reason="again").cause == "key"
    assert Freeze.objects.filter(ended_at=None).count() == 1


def test_freeze_by_hand_gives_way_to_the_revocation(admin: Member, api_key: KeyInHand) -> None:
    actor = member_actor(admin)
    by_hand = freeze_start(actor=actor, scope_kind="key", scope_key=api_key.row.prefix, reason="odd")
    key_revoke(actor=actor, key=api_key.row)
    by_hand.refresh_from_db()
    assert by_hand.ended_at is not None
    assert list(Freeze.objects.filter(ended_at=None).values_list("cause", flat=True)) == ["key"]
    assert list(Signal.objects.order_by("id").values_list("kind", flat=True)) == ["freeze.started", "freeze.ended", "freeze.started"]


def test_who_may_not_revoke_freezes_nothing(engineer: Member, stranger: Member, api_key: KeyInHand) -> None:
    for who in (engineer, stranger):
        with pytest.raises(Forbidden):
            key_revoke(actor=member_actor(who), key=api_key.row)
    api_key.row.refresh_from_db()
    assert (api_key.row.revoked_at, Freeze.objects.count(), Signal.objects.count()) == (None, 0, 0)


def heard(actor: Actor) -> bool:
    signal = Signal.objects.get()
    return Heard(signal.pk, signal.organization_id, "acme", signal.team_id, None, signal.kind, signal.facts, signal.at).is_for(actor)


def test_holder_and_the_holders_approver_hear_of_it(admin: Member, engineer: Member, lead: Member, organization: Organization) -> None:
    key = key_of(organization, Scope.AUTHORIZE, name="Robin's", member=engineer)
    key_revoke(actor=member_actor(admin), key=key.row)
    outsider = person(organization, email="far@acme.example", role=Role.ENGINEER)
    assert [heard(member_actor(who)) for who in (engineer, lead, admin, outsider)] == [True, True, True, False]


def test_policy_document_tells_of_a_members_key_to_its_holder_and_to_programs_only(admin: Member, engineer: Member, organization: Organization, other: KeyInHand) -> None:
    mine = client_with(key_of(organization, Scope.AUTHORIZE, name="mine", member=engineer))
    theirs = client_with(key_of(organization, Scope.AUTHORIZE, name="theirs", member=person(organization, email="far@acme.example", role=Role.ENGINEER)))
    key_revoke(actor=member_actor(admin), key=key_of(organization, Scope.AUTHORIZE, name="leaked", member=engineer).row)
    assert [len(client.get("/api/v1/policy").json()["freezes"]) for client in (mine, client_with(other), theirs)] == [1, 1, 0]


def test_channel_of_the_service_accounts_team_is_told(admin: Member, organization: Organization, team: Team) -> None:
    account = ServiceAccount.objects.create(organization=organization, team=team, name="Nightly")
    actor = member_actor(admin)
    made = endpoint_create(actor=actor, channel="webhook", name="Team", address="https://1.1.1.1/hook", kinds=["freeze.started"], team=team)
    key_revoke(actor=actor, key=key_of(organization, name="nightly", service_account=account).row)
    key_revoke(actor=actor, key=key_of(organization, name="somebody's").row)
    assert made.endpoint.deliveries.count() == 1


def test_many_revoked_keys_cost_calls_nothing(admin: Member, organization: Organization, api: APIClient) -> None:
    actor = member_actor(admin)
    ask(api, "s1")
    for number in range(5):
        key_revoke(actor=actor, key=key_of(organization, name=f"old-{number}").row)
    ask(api, "s1")
    rules = rules_remembered(organization.pk)
    assert rules is not None
    assert rules.switches == []


def text(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_pages_show_the_sessions_it_ran(client: Client, admin: Member, organization: Organization, api_key: KeyInHand) -> None:
    seen(organization, "mine", api_key_id=api_key.row.pk)
    seen(organization, "another")
    client.force_login(admin.user)
    page = f"/o/acme/settings/keys/{api_key.row.pk}"
    assert "1 session of the last day" in text(client.get(page))
    assert client.post(page, {"reason": "It leaked."}).status_code == 302
    session = text(client.get("/o/acme/sessions/mine"))
    assert "which ran it last, was revoked by Admin: “It leaked.”" in session
    listed = text(client.get("/o/acme/sessions", {"state": "frozen"}))
    assert ("mine" in listed, "another" in listed) == (True, False)
    frozen = client.get("/o/acme/freezes")
    assert [(row.freeze.cause, [one.key for one in row.sessions], row.may_end) for row in frozen.context["standing"]] == [("key", ["mine"], False)]


def test_keys_revoked_long_ago_leave_the_page_when_nothing_runs_by_them(client: Client, admin: Member, organization: Organization, api_key: KeyInHand) -> None:
    key_revoke(actor=member_actor(admin), key=api_key.row)
    Freeze.objects.update(started_at=timezone.now() - timedelta(days=2))
    client.force_login(admin.user)
    assert client.get("/o/acme/freezes").context["standing"] == []
    seen(organization, "late", api_key_id=api_key.row.pk)
    assert len(client.get("/o/acme/freezes").context["standing"]) == 1
    assert Session.objects.filter(key="late").exists()
    assert session_freeze_of(member_actor(admin), "late") is not None
