"""The Freezes page: what it shows to whom, the switch with what it would stop, and resuming with a reason."""

from typing import Any

import pytest
from django.test import Client

from governance.budgets.models import Freeze
from governance.budgets.services import freeze_start
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from tests.governance.budgets.test_freezes import seen, tree

pytestmark = pytest.mark.django_db
PAGE = "/o/acme/freezes"


def text(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_switch_shows_what_it_would_stop_then_stops_it_and_is_resumed_with_a_reason(client: Client, admin: Member, organization: Organization, team: Team) -> None:
    seen(organization, "hit", provider="anthropic", model="claude-sonnet-4-5")
    seen(organization, "missed", provider="openai", model="gpt-5")
    client.force_login(admin.user)
    assert "Nothing is frozen." in text(client.get(PAGE))
    shown = client.get(PAGE, {"kind": "provider", "key": "Anthropic"})
    assert [session.key for session in shown.context["stopped"]] == ["hit"]
    assert "Freezing provider anthropic</strong> refuses the next call of 1 session of the last day" in text(shown)
    assert not Freeze.objects.exists()
    asked = {"action": "freeze", "kind": "provider", "key": "Anthropic", "reason": ""}
    assert (client.post(PAGE, asked).status_code, Freeze.objects.count()) == (422, 0)
    assert client.post(PAGE, asked | {"reason": "an outage"}).status_code == 302
    freeze = Freeze.objects.get()
    assert (freeze.scope_kind, freeze.scope_key, freeze.started_by) == ("provider", "anthropic", admin)
    page = client.get(PAGE)
    assert [(row.freeze, [session.key for session in row.sessions], row.may_end) for row in page.context["standing"]] == [(freeze, ["hit"], True)]
    assert client.post(PAGE, {"action": "resume", "freeze": freeze.pk, "reason": "it is back"}).status_code == 302
    page = client.get(PAGE)
    assert "Nothing is frozen." in text(page)
    assert "it is back" in text(page)
    assert client.get(PAGE, {"kind": "model", "key": ""}).context["refusal"] == "Name the model."


@pytest.mark.usefixtures("prices")
def test_switch_of_a_name_that_nothing_goes_by_says_that_it_stops_nothing(client: Client, admin: Member, organization: Organization) -> None:
    seen(organization, "hit", provider="in-house", model="own-model")
    client.force_login(admin.user)
    known = [("provider", "anthropic"), ("provider", "in-house"), ("model", "claude-sonnet-4-5"), ("model", "own-model"), ("organization", "")]
    for kind, key in known:
        assert client.get(PAGE, {"kind": kind, "key": key}).context["doubt"] == ""
    for kind, key, meant in (("provider", "anthropc", "anthropic"), ("model", "claude-sonet-4-5", "claude-sonnet-4-5")):
        sentence = f"no price list knows one. Did you mean {meant}"
        assert sentence in text(client.get(PAGE, {"kind": kind, "key": key}))
        told = client.post(PAGE, {"action": "freeze", "kind": kind, "key": key, "reason": "an outage"}, follow=True)
        assert sentence in text(told)


def test_freeze_of_a_session_is_shown_with_all_it_reaches(client: Client, admin: Member, organization: Organization) -> None:
    tree(organization)
    freeze_start(actor=member_actor(admin), scope_kind="session", scope_key="root", reason="a loop")
    client.force_login(admin.user)
    row = client.get(PAGE).context["standing"][0]
    assert {session.key for session in row.sessions} == {"root", "child", "grandchild"}
    listed = client.get("/o/acme/sessions", {"state": "frozen"})
    assert all(key in text(listed) for key in ("root", "child", "grandchild"))
    assert "alone" not in text(listed)
    told = text(client.get("/o/acme/sessions/grandchild"))
    assert "which this one lies below" in told
    assert "a loop" in told


@pytest.mark.parametrize(("kind", "key"), [("team", "platform"), ("member", "engineer@acme.example"), ("model", "gpt-5"), ("organization", "")])
def test_session_page_and_list_tell_of_wide_freezes(
    kind: str, key: str, client: Client, admin: Member, engineer: Member, organization: Organization, team: Team
) -> None:
    seen(organization, "s1", team_id=team.pk, member_id=engineer.pk, model="gpt-5", provider="openai")
    seen(organization, "other")
    freeze_start(actor=member_actor(admin), scope_kind=kind, scope_key=key, reason="stop this")
    client.force_login(engineer.user)
    assert "stop this" in text(client.get("/o/acme/sessions/s1"))
    assert "s1" in text(client.get("/o/acme/sessions", {"state": "frozen"}))
    assert "stop this" in text(client.get(PAGE))
    assert "Resume…" not in text(client.get(PAGE))


def test_lead_sees_and_ends_what_is_of_the_own_teams(client: Client, admin: Member, lead: Member, organization: Organization, team: Team) -> None:
    research = Team.objects.create(organization=organization, slug="research", name="Research")
    seen(organization, "theirs", team_id=research.pk)
    made = {}
    for kind, key in (("team", "platform"), ("team", "research"), ("session", "theirs"), ("provider", "anthropic")):
        made[key] = freeze_start(actor=member_actor(admin), scope_kind=kind, scope_key=key, reason="over")
    client.force_login(lead.user)
    page = client.get(PAGE)
    assert {(row.freeze, row.may_end) for row in page.context["standing"]} == {(made["platform"], True), (made["anthropic"], False)}
    assert [kind for kind, _ in page.context["kinds"]] == ["team", "member", "key"]
    assert client.get(PAGE, {"kind": "provider", "key": "anthropic"}).context["refusal"] == "Only admins freeze what every team uses."
    assert client.post(PAGE, {"action": "resume", "freeze": made["anthropic"].pk, "reason": "mine"}).status_code == 403
    client.post(PAGE, {"action": "resume", "freeze": made["research"].pk, "reason": "mine"})
    assert set(Freeze.objects.filter(ended_at=None)) == set(made.values())
    client.post(PAGE, {"action": "resume", "freeze": made["platform"].pk, "reason": "mine"})
    assert not Freeze.objects.filter(pk=made["platform"].pk, ended_at=None).exists()


def test_strangers_see_nothing(client: Client, admin: Member, stranger: Member, organization: Organization) -> None:
    freeze_start(actor=member_actor(admin), scope_kind="provider", scope_key="anthropic", reason="an outage")
    client.force_login(stranger.user)
    assert client.get(PAGE).status_code == 404
    own = client.get("/o/globex/freezes")
    assert own.context["standing"] == []
    assert "an outage" not in text(own)
