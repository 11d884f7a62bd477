"""Freezes of any scope: what they reach, who may switch them, that the very next call sees them, and what is told of them."""

import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from governance.audit.models import AuditRecord
from governance.budgets.models import BudgetPeriod, Freeze, Session, SessionLink
from governance.budgets.selectors import freezes_reaching, session_freeze_of
from governance.budgets.services import (
    AuthorizationIn,
    authorization_hold,
    budget_create,
    freeze_start,
    freeze_stop,
    links_forget,
    session_freeze,
    session_resume,
)
from governance.errors import Conflict, Forbidden, Invalid, NotFound, PaymentRequired
from governance.notices.models import Signal
from governance.tenancy.access import member_actor, system_actor
from governance.tenancy.models import Member, Organization, Role, Team
from ingest.models import UsageEvent
from tests.conftest import KeyInHand, client_with, key_of, person
from tests.ingest.test_store import event, prices, store

__all__ = ["prices"]

pytestmark = pytest.mark.django_db

# Every label is named, so that the call is decided in one round trip.
NAMED: dict[str, Any] = {"team": "platform", "project": "nothing", "member": "no.one@example.org"}


def freeze(member: Member, kind: str, key: str = "", **more: Any) -> Freeze:
    return freeze_start(actor=member_actor(member), scope_kind=kind, scope_key=key, **({"reason": "looks like a loop"} | more))


def seen(organization: Organization, key: str, **fields: Any) -> Session:
    return Session.objects.create(organization=organization, key=key, **({"first_at": timezone.now(), "last_at": timezone.now()} | fields))


def tree(organization: Organization) -> None:
    """root → child → grandchild, and beside them one alone and two that name each other."""
    for key, parent in {"root": "", "child": "root", "grandchild": "child", "alone": "", "circle-a": "circle-b", "circle-b": "circle-a"}.items():
        seen(organization, key, parent_key=parent)


def ask(api: APIClient, session: str, **fields: Any) -> Any:
    return api.post("/api/v1/authorizations", {"session": session, "amount": "1"} | NAMED | fields)


def allowed(api: APIClient, *sessions: str, **fields: Any) -> set[str]:
    """Those of the sessions whose next call may go on; asked in both ways, the second time in one round trip."""
    once = {session for session in sessions if ask(api, session, **fields).status_code == 201}
    again = {session for session in sessions if ask(api, session, **fields).status_code == 201}
    assert once == again
    return once


def test_session_freeze_reaches_all_below_it_at_any_depth(admin: Member, organization: Organization, api: APIClient) -> None:
    tree(organization)
    everybody = ("root", "child", "grandchild", "alone", "circle-a", "circle-b")
    assert allowed(api, *everybody) == set(everybody)
    made = freeze(admin, "session", "root")
    assert allowed(api, *everybody) == {"alone", "circle-a", "circle-b"}
    freeze_stop(actor=member_actor(admin), freeze=made, reason="it was none")
    assert allowed(api, *everybody) == set(everybody)
    freeze(admin, "session", "child")
    freeze(admin, "session", "circle-a")
    assert allowed(api, *everybody) == {"root", "alone"}


def test_child_that_was_never_seen_is_refused_by_the_parent_it_names(admin: Member, organization: Organization, api: APIClient) -> None:
    tree(organization)
    freeze(admin, "session", "root")
    assert allowed(api, "new", parent_session="grandchild") == set()
    assert allowed(api, "newer", parent_session="alone") == {"newer"}
    problem = ask(api, "new", parent_session="grandchild").json()
    assert (problem["is_frozen"], problem["frozen_by"]["name"], problem["frozen_by"]["started_by"]) == (True, "root", str(admin))
    assert problem["detail"] == "Session root, above this one, was frozen by hand by Admin: looks like a loop"
    assert problem["request_url"].endswith("/o/acme/sessions/root")


def test_events_below_a_frozen_session_are_counted_and_marked(prices: None, admin: Member, organization: Organization) -> None:
    store(admin, event(1, session="root"))
    freeze(admin, "session", "root")
    store(
        admin, event(2, session="root"), event(3, session="fork", parent_session="deep"), event(4, session="deep", parent_session="root"),
        event(5, session="alone"),
    )
    store(admin, event(6, session="later", parent_session="fork"))
    store(admin, event(7, session="later"))
    marked = dict(UsageEvent.objects.filter(organization=organization).values_list("external_id", "is_after_freeze"))
    assert marked == {f"call-{number}": number in (2, 3, 4, 6, 7) for number in range(1, 8)}
    assert Session.objects.get(key="later").calls == 2


def test_budget_freeze_of_a_session_reaches_its_children(prices: None, admin: Member, api: APIClient) -> None:
    budget_create(
        actor=member_actor(admin), name="Each session", scope_kind="session", period_kind="session", limit_amount=Decimal("0.004")
    )
    store(admin, event(1, session="root"), event(2, session="alone", input_tokens=1, output_tokens=1))
    assert ask(api, "kid", parent_session="root", amount="0.001").json()["frozen_by"]["cause"] == "budget"
    assert ask(api, "alone", amount="0.001").status_code == 201
    assert ask(api, "root", amount="0.001").json()["budget"]["name"] == "Each session"
    with pytest.raises(Conflict, match="A budget holds"):
        session_resume(actor=member_actor(admin), session_key="root")


def below(team: Team) -> Team:
    return Team.objects.create(organization=team.organization, slug="core", name="Core", parent=team)


REACHED: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("team", "platform", {"team": "platform"}, {"team": "nobody"}),
    ("team", "platform", {"team": "core"}, {"team": "nobody"}),
    ("team", "core", {"team": "core"}, {"team": "platform"}),
    ("member", "engineer@acme.example", {"member": "engineer@acme.example"}, {"member": "admin@acme.example"}),
    ("provider", "Anthropic", {"provider": "anthropic", "model": "claude-sonnet-4-5"}, {"provider": "openai", "model": "gpt-5"}),
    ("provider", "anthropic", {"model": "claude-sonnet-4-5"}, {"model": "gpt-5"}),
    ("provider", "vertex_ai", {"provider": "google", "model": "made-up"}, {"provider": "acme-ai", "model": "made-up"}),
    ("model", "claude-sonnet-4-5", {"provider": "anthropic", "model": "claude-sonnet-4-5"}, {"provider": "openai", "model": "gpt-5"}),
    ("model", "Made-Up-9", {"model": "made-up-9"}, {"model": "made-up-10"}),
    ("organization", "", {}, {}),
]


@pytest.mark.parametrize(("kind", "key", "hit", "missed"), REACHED)
def test_switch_refuses_what_it_reaches_and_nothing_else(
    kind: str, key: str, hit: dict[str, Any], missed: dict[str, Any], prices: None, admin: Member, engineer: Member, team: Team, api: APIClient
) -> None:
    below(team)
    assert allowed(api, "s", **hit) == {"s"}
    made = freeze(admin, kind, key)
    refused = ask(api, "s", **hit)
    assert (refused.status_code, refused.json()["freeze"], refused.json()["frozen_by"]["scope"]) == (402, made.pk, kind)
    assert allowed(api, "s", **hit) == set()
    if kind != "organization":
        assert allowed(api, "s", **missed) == {"s"}
    freeze_stop(actor=member_actor(admin), freeze=made, reason="over")
    assert allowed(api, "s", **hit) == {"s"}


def test_switch_of_a_key_refuses_with_402_and_other_keys_go_on(admin: Member, api: APIClient, api_key: KeyInHand, organization: Organization) -> None:
    other = client_with(key_of(organization, name="another"))
    assert (allowed(api, "s"), allowed(other, "s")) == ({"s"}, {"s"})
    freeze(admin, "key", api_key.row.prefix)
    assert (allowed(api, "s"), allowed(other, "s")) == (set(), {"s"})


def test_switch_marks_events(prices: None, admin: Member, team: Team) -> None:
    freeze(admin, "model", "claude-sonnet-4-5")
    store(admin, event(1), event(2, model="claude-opus-4-1"))
    assert dict(UsageEvent.objects.values_list("external_id", "is_after_freeze")) == {"call-1": True, "call-2": False}


def test_freezing_and_resuming_twice_changes_nothing_more(admin: Member, organization: Organization) -> None:
    seen(organization, "s1")
    for kind, key in (("session", "s1"), ("provider", "anthropic")):
        first, again = freeze(admin, kind, key), freeze(admin, kind, key, cause="guard", reason="another")
        assert (first.pk, again.cause, again.reason) == (again.pk, "hand", "looks like a loop")
        ended = [freeze_stop(actor=member_actor(admin), freeze=first, reason=reason) for reason in ("over", "again")]
        assert [found.end_reason for found in ended] == ["over", "over"]
    assert AuditRecord.objects.filter(action__in=("freeze.started", "freeze.ended")).count() == 4
    told = list(Signal.objects.order_by("id").values_list("kind", "facts__scope_kind", "facts__scope_key"))
    assert told == [(f"freeze.{what}", *scope) for scope in (("session", "s1"), ("provider", "anthropic")) for what in ("started", "ended")]


def test_call_held_for_is_refused_when_asked_again_after_a_switch(admin: Member, api: APIClient, team: Team) -> None:
    fields = {"id": "call-1", "parent_session": "p"}
    assert ask(api, "s", **fields).status_code == 201
    made = freeze(admin, "team", "platform")
    assert ask(api, "s", **fields).status_code == 402
    freeze_stop(actor=member_actor(admin), freeze=made, reason="over")
    assert ask(api, "s", **fields).status_code == 200
    seen(admin.organization, "p")
    freeze(admin, "session", "p")
    assert ask(api, "s", **fields).status_code == 402


def test_leads_switch_their_own_teams_only(lead: Member, engineer: Member, admin: Member, team: Team, organization: Organization) -> None:
    other = Team.objects.create(organization=organization, slug="research", name="Research")
    own_session, alien = seen(organization, "mine", team_id=team.pk), seen(organization, "theirs", team_id=other.pk)
    outsider = person(organization, email="outsider@acme.example", role=Role.ENGINEER, team=other)
    core = below(team)
    for kind, key in (("team", "platform"), ("team", core.slug), ("member", engineer.user.email), ("session", own_session.key)):
        assert freeze(lead, kind, key).started_by == lead
    for kind, key in (("team", "research"), ("member", outsider.user.email), ("session", alien.key)):
        with pytest.raises(NotFound):
            freeze(lead, kind, key)
        made = freeze(admin, kind, key)
        with pytest.raises(NotFound):
            freeze_stop(actor=member_actor(lead), freeze=made, reason="mine")
    for kind, key in (("provider", "anthropic"), ("model", "gpt-5"), ("organization", "")):
        with pytest.raises(Forbidden):
            freeze(lead, kind, key)
        made = freeze(admin, kind, key)
        with pytest.raises(Forbidden):
            freeze_stop(actor=member_actor(lead), freeze=made, reason="mine")


@pytest.mark.parametrize("role", [Role.ENGINEER, Role.FINANCE, Role.AUDITOR])
def test_roles_without_the_right_switch_nothing(role: Role, admin: Member, organization: Organization, team: Team) -> None:
    who = person(organization, email="who@acme.example", role=role, team=team)
    seen(organization, "s1", member_id=who.pk, team_id=team.pk)
    made = freeze(admin, "session", "s1")
    for kind, key in (("session", "s1"), ("team", "platform"), ("model", "gpt-5")):
        with pytest.raises(Forbidden):
            freeze(who, kind, key)
    with pytest.raises(Forbidden):
        freeze_stop(actor=member_actor(who), freeze=made, reason="please")


def test_another_organization_sees_and_reaches_nothing(
    admin: Member, stranger: Member, team: Team, organization: Organization, other_organization: Organization, api: APIClient
) -> None:
    tree(organization)
    made = freeze(admin, "session", "root")
    for kind, key in (("session", "root"), ("team", "platform"), ("team", str(team.pk)), ("member", admin.user.email), ("key", "wh_")):
        with pytest.raises(NotFound):
            freeze(stranger, kind, key)
    with pytest.raises(NotFound):
        freeze_stop(actor=member_actor(stranger), freeze=made, reason="mine")
    theirs = client_with(key_of(other_organization))
    tree(other_organization)
    assert allowed(theirs, "root", "child") == {"root", "child"}
    freeze(stranger, "organization")
    freeze(stranger, "provider", "anthropic")
    assert allowed(theirs, "root", "child") == set()
    assert allowed(api, "alone", provider="anthropic", model="claude-sonnet-4-5") == {"alone"}
    assert freezes_reaching(member_actor(stranger), "root") == list(Freeze.objects.filter(organization=other_organization, scope_kind="organization"))


@pytest.mark.parametrize(
    ("kind", "key", "more"),
    [
        ("provider", "", {}), ("provider", "litellm", {}), ("model", " ", {}), ("model", "a\0b", {}), ("period", "1", {}), ("session", "s1", {"reason": " "}),
        ("session", "s1", {"cause": "budget"}), ("model", "x" * 201, {}),
    ],
)
def test_what_cannot_be_frozen_is_refused(kind: str, key: str, more: dict[str, Any], admin: Member, organization: Organization) -> None:
    seen(organization, "s1")
    with pytest.raises(Invalid):
        freeze(admin, kind, key, **more)
    assert not Freeze.objects.exists()


def test_guard_freezes_as_the_system(organization: Organization, api: APIClient, lead: Member, team: Team) -> None:
    seen(organization, "s1", team_id=team.pk)
    freeze_start(actor=system_actor(organization), scope_kind="session", scope_key="s1", cause="guard", reason="12 calls alike in a minute")
    problem = ask(api, "s1").json()
    assert problem["detail"] == "Session s1 was frozen by the runaway guard: 12 calls alike in a minute"
    assert lead.user.email in [person["email"] for person in problem["approvers"]]
    session_resume(actor=member_actor(lead), session_key="s1", reason="it was meant")
    assert ask(api, "s1").status_code == 201


def test_session_tells_what_reaches_it_from_anywhere(prices: None, admin: Member, api: APIClient, team: Team) -> None:
    store(admin, event(1, session="root"), event(2, session="kid", parent_session="root"))
    actor = member_actor(admin)

    def told() -> tuple[str, str] | None:
        answer = api.get("/api/v1/sessions/kid").json()
        assert answer["state"] == ("frozen" if answer["freeze"] else "running")
        return answer["freeze"] and (answer["freeze"]["scope"], answer["freeze"]["name"])

    assert told() is None
    for kind, key in (("provider", "anthropic"), ("model", "claude-sonnet-4-5"), ("team", "platform"), ("organization", ""), ("session", "root")):
        made = freeze(admin, kind, key)
        assert told() == (kind, key)
        with pytest.raises(Conflict, match="Resume that"):
            session_resume(actor=actor, session_key="kid")
        freeze_stop(actor=actor, freeze=made, reason="over")
    assert told() is None
    session_freeze(actor=actor, session_key="kid", reason="its own")
    freeze(admin, "team", "platform")
    assert told() == ("session", "kid")
    assert [found.scope_kind for found in freezes_reaching(actor, "kid")] == ["session", "team"]
    assert session_freeze_of(actor, "root") is not None


def test_next_look_costs_no_round_trip_more(admin: Member, organization: Organization, api: APIClient, team: Team) -> None:
    tree(organization)
    allowed(api, "grandchild")
    freeze(admin, "session", "alone")
    freeze(admin, "model", "gpt-5")
    allowed(api, "grandchild")
    with CaptureQueriesContext(connection) as queries:
        allowed(api, "grandchild", parent_session="child")
    assert not [query for query in queries if '"freeze"' in query["sql"] and query["sql"].lstrip().startswith("SELECT")]


SCOPES: list[tuple[str, str]] = [("session", "root"), ("session", "child"), ("team", "platform"), ("model", "gpt-5"), ("organization", "")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("kind", "key"), SCOPES)
def test_call_asked_for_after_the_commit_is_refused_in_every_thread(
    kind: str, key: str, transactional_db: None, admin: Member, organization: Organization, team: Team
) -> None:
    """Threads with connections of their own ask all the time; none is allowed that began after the freeze was committed, none refused after its end."""
    tree(organization)
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(10**6))
    state = {"frozen": 0}  # odd while a freeze is known to be committed
    wrong: list[str] = []
    done = threading.Event()

    def asking() -> None:
        request = AuthorizationIn(session="grandchild", amount=Decimal(1), model="gpt-5", **NAMED)
        try:
            while not done.is_set():
                before = state["frozen"]
                is_allowed = _is_allowed(lambda: authorization_hold(actor=system_actor(organization), api_key=None, request=request))
                if state["frozen"] == before and is_allowed == bool(before % 2) and before >= 0:
                    wrong.append(f"{'allowed' if is_allowed else 'refused'} in state {before}")
        finally:
            connection.close()

    threads = [threading.Thread(target=asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    for round_ in range(6):
        state["frozen"] = -1  # on the way
        made = freeze(admin, kind, key)
        state["frozen"] = 2 * round_ + 1
        done.wait(0.05)
        state["frozen"] = -1
        freeze_stop(actor=member_actor(admin), freeze=made, reason="over")
        state["frozen"] = 2 * round_ + 2
        done.wait(0.05)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert BudgetPeriod.objects.get().held > 0


def _is_allowed(hold: Callable[[], Any]) -> bool:
    try:
        hold()
    except PaymentRequired:
        return False
    return True


def test_line_of_sessions_that_only_authorizations_have_named_is_refused_at_any_depth(admin: Member, organization: Organization, api: APIClient) -> None:
    """Nothing but the root was ever reported. The links come with calls that are granted, with calls that are refused, one by one and in batches."""
    seen(organization, "root")
    assert allowed(api, "a", parent_session="root") == {"a"}
    made = freeze(admin, "session", "root")
    assert ask(api, "b", parent_session="a").status_code == 402
    entries = [{"session": "c", "parent_session": "b", "amount": "1"} | NAMED, {"session": "alone-c", "parent_session": "alone", "amount": "1"} | NAMED]
    assert [row["status"] for row in api.post("/api/v1/authorizations/batch", {"authorizations": entries}).json()["authorizations"]] == [402, 201]
    assert allowed(api, "d", parent_session="c") == set()
    refused = ask(api, "d").json()
    assert (refused["frozen_by"]["name"], refused["detail"]) == ("root", "Session root, above this one, was frozen by hand by Admin: looks like a loop")
    assert allowed(api, "a", "b", "c", "alone-c") == {"alone-c"}
    freeze_stop(actor=member_actor(admin), freeze=made, reason="over")
    assert allowed(api, "a", "b", "c", "d") == {"a", "b", "c", "d"}


def test_events_below_a_line_that_authorizations_named_are_marked_and_shown(
    prices: None, admin: Member, organization: Organization, api: APIClient, client: Client
) -> None:
    store(admin, event(1, session="root"))
    ask(api, "mid", parent_session="root")
    freeze(admin, "session", "root")
    store(admin, event(2, session="leaf", parent_session="mid"), event(3, session="other", parent_session="elsewhere"))
    assert dict(UsageEvent.objects.values_list("session", "is_after_freeze")) == {"root": False, "leaf": True, "other": False}
    assert api.get("/api/v1/sessions/leaf").json()["freeze"]["name"] == "root"
    client.force_login(admin.user)
    assert {session.key for session in client.get("/o/acme/freezes").context["standing"][0].sessions} == {"root", "leaf"}
    listed = client.get("/o/acme/sessions", {"state": "frozen"}).content.decode()
    assert ("leaf" in listed, "elsewhere" in listed) == (True, False)


def test_links_are_kept_once_within_their_organization_and_forgotten(
    admin: Member, organization: Organization, other_organization: Organization, api: APIClient
) -> None:
    tree(organization)
    seen(other_organization, "root")
    for _ in range(2):
        ask(api, "new", parent_session="root")
        ask(api, "child", parent_session="root")
    theirs = client_with(key_of(other_organization))
    freeze(admin, "session", "root")
    assert ask(theirs, "new").status_code == 201
    # What events say already is not said again; a circle of sessions ends.
    assert list(SessionLink.objects.values_list("organization", "key", "parent_key")) == [(organization.pk, "new", "root")]
    ask(api, "x", parent_session="y")
    ask(api, "y", parent_session="x")
    assert allowed(api, "x", "y") == {"x", "y"}
    SessionLink.objects.filter(key="new").update(at=timezone.now() - timedelta(days=91))
    assert links_forget(now=timezone.now()) == 1
