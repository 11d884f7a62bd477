"""The guard's pages: rules in words, changed and switched; what was found; trials; and saying go on."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from governance.budgets.selectors import session_freeze_of
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.guard.history import trial_run
from ingest.guard.looking import organization_look
from ingest.guard.models import GuardFinding, GuardRule, GuardTrial
from ingest.guard.parameters import KINDS, plain
from ingest.guard.services import default_rules_ensure, rule_create
from tests.ingest.guard.conftest import loop, store

pytestmark = pytest.mark.usefixtures("prices")
RULES = "/o/acme/settings/guard"


@pytest.fixture
def as_admin(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def filled_form(kind: str, **changes: Any) -> dict[str, Any]:
    """What a browser sends of the form of a kind that nobody has touched, apart from the changes."""
    values = {name: value for name, value in plain(KINDS[kind]()).items() if value is not False}
    return {"name": "Mine", "action": "notify", "cooldown_minutes": 60, "exempt_tags": "", **values, **changes}


def test_every_default_rule_is_told_in_words(as_admin: Client, organization: Organization) -> None:
    default_rules_ensure(organization)
    page = as_admin.get(RULES).content.decode()
    assert all(made.title in page for made in KINDS.values())
    assert "12 calls of one model within 2 hours" in page


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_of_each_kind_is_made_and_changed_on_its_page(as_admin: Client, organization: Organization, kind: str) -> None:
    assert as_admin.get(f"{RULES}/new?kind={kind}").status_code == 200
    assert as_admin.post(f"{RULES}/new?kind={kind}", filled_form(kind)).status_code == 302
    rule = GuardRule.objects.get()
    assert (rule.kind, rule.name, rule.cooldown_minutes) == (kind, "Mine", 60)
    assert as_admin.get(f"{RULES}/rules/{rule.pk}").status_code == 200
    assert as_admin.post(f"{RULES}/rules/{rule.pk}", filled_form(kind, action="ask", is_inline="on", exempt_tags="a=b\nc=d")).status_code == 302
    rule.refresh_from_db()
    assert (rule.action, rule.is_inline, rule.exempt_tags, rule.version) == ("ask", True, [] if kind == "fan_out" else ["a=b", "c=d"], 2)
    page = as_admin.get(f"{RULES}/rules/{rule.pk}").content.decode()
    assert "Versions" in page


def test_what_makes_no_sense_is_said_beside_its_field(as_admin: Client, organization: Organization) -> None:
    answer = as_admin.post(f"{RULES}/new?kind=repeat", filled_form("repeat", calls=0, exempt_tags="batch"))
    assert answer.status_code == 422
    assert not GuardRule.objects.exists()
    answer = as_admin.post(f"{RULES}/new?kind=off_hours", filled_form("off_hours", from_hour=20, to_hour=8))
    assert "Work ends after it begins." in answer.content.decode()
    assert as_admin.get(f"{RULES}/new?kind=magic").status_code == 404


def test_a_rule_is_switched_off_and_on(as_admin: Client, organization: Organization) -> None:
    default_rules_ensure(organization)
    rule = GuardRule.objects.get(kind="burn")
    as_admin.post(f"{RULES}/rules/{rule.pk}", {"active": "0"})
    rule.refresh_from_db()
    assert not rule.is_active
    as_admin.post(f"{RULES}/rules/{rule.pk}", {"active": "1"})
    rule.refresh_from_db()
    assert rule.is_active


def test_a_trial_shows_what_would_have_been_caught(as_admin: Client, organization: Organization) -> None:
    store(organization, loop(3 * 24 * 60, 40))
    answer = as_admin.post(f"{RULES}/new?kind=repeat", filled_form("repeat", **{"try": "1", "days": "7"}))
    trial = GuardTrial.objects.get()
    assert answer["Location"].endswith(f"/trials/{trial.pk}")
    assert "hx-trigger" in as_admin.get(answer["Location"]).content.decode()
    trial_run(trial.pk)
    page = as_admin.get(answer["Location"]).content.decode()
    assert "The same call 12 times" in page
    assert 'hx-trigger="every 2s"' not in page
    assert not GuardRule.objects.exists()
    assert b"s-1" in as_admin.get(answer["Location"] + "?format=csv").content


def test_a_finding_leads_to_its_session_and_its_member_says_go_on(client: Client, organization: Organization, admin: Member, engineer: Member, team: Team) -> None:
    rule_create(actor=member_actor(admin), kind="repeat", name="Loops", action="ask")
    store(organization, loop(member=engineer.user.email))
    organization_look(organization)
    found = GuardFinding.objects.get()
    client.force_login(engineer.user)
    session = client.get("/o/acme/sessions/s-1").content.decode()
    assert f"/o/acme/guard/findings/{found.pk}" in session
    assert "The same call 12 times" in session
    page = client.get(f"/o/acme/guard/findings/{found.pk}").content.decode()
    assert "Why it may go on" in page
    assert client.post(f"/o/acme/guard/findings/{found.pk}", {"reason": ""}).status_code == 422
    assert client.post(f"/o/acme/guard/findings/{found.pk}", {"reason": "one file after another"}).status_code == 302
    assert session_freeze_of(member_actor(admin), "s-1") is None
    assert "Why it may go on" not in client.get(f"/o/acme/guard/findings/{found.pk}").content.decode()
    client.force_login(admin.user)
    assert "went on" in client.get(RULES).content.decode()


def test_timeline_marks_where_the_guard_saw_something(as_admin: Client, organization: Organization, admin: Member) -> None:
    rule_create(actor=member_actor(admin), kind="repeat", name="Loops", action="notify")
    store(organization, loop())
    assert [note.text for note in as_admin.get("/o/acme/sessions/s-1").context["timeline"].figure.layout.annotations if "guard" in note.text] == []
    organization_look(organization)
    found = GuardFinding.objects.get()
    notes = as_admin.get("/o/acme/sessions/s-1").context["timeline"].figure.layout.annotations
    assert f"guard {found.at.astimezone(organization.zone):%H:%M}" in [note.text for note in notes]


def test_the_list_of_findings_says_what_was_seen(as_admin: Client, organization: Organization, admin: Member) -> None:
    rule_create(actor=member_actor(admin), kind="repeat", name="Loops")
    store(organization, loop())
    organization_look(organization)
    page = as_admin.get(RULES).content.decode()
    assert "The same call 12 times among 12" in page
    assert b"s-1" in as_admin.get(RULES + "?format=csv").content


def test_a_finding_of_another_organization_does_not_exist(client: Client, organization: Organization, admin: Member, stranger: Member) -> None:
    rule = rule_create(actor=member_actor(admin), kind="repeat", name="Loops")
    now = timezone.now() - timedelta(hours=1)
    found = GuardFinding.objects.create(organization=organization, rule=rule, rule_version=1, session_key="s", number=1, at=now, found_at=now, evidence={}, action="notify", state="told")
    client.force_login(stranger.user)
    assert client.get(f"/o/globex/guard/findings/{found.pk}").status_code == 404
