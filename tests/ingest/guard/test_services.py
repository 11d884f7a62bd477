"""Rules are kept with their versions; findings are recorded once, told, and stop sessions where the rule says so."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from governance.audit.models import AuditRecord
from governance.budgets.models import Freeze
from governance.budgets.selectors import session_freeze_of
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.notices.models import Notice, Signal
from governance.tenancy.access import Actor, member_actor, system_actor
from governance.tenancy.models import Member, Organization, Project, Role, Team
from ingest.guard.looking import organization_look
from ingest.guard.models import GuardFinding, GuardRule, GuardRuleVersion
from ingest.guard.parameters import KINDS
from ingest.guard.services import default_rules_ensure, finding_go_on, rule_change, rule_create
from tests.conftest import person
from tests.ingest.guard.conftest import call, loop, store

pytestmark = pytest.mark.usefixtures("prices")


def ask_rule(actor: Actor, action: str = "ask", **more: Any) -> GuardRule:
    return rule_create(actor=actor, kind="repeat", name="Loops", action=action, **more)


def test_a_new_organization_gets_a_rule_of_each_kind_that_only_tells(organization: Organization) -> None:
    assert default_rules_ensure(organization) == len(KINDS)
    assert default_rules_ensure(organization) == 0
    rules = GuardRule.objects.filter(organization=organization)
    assert {rule.kind for rule in rules} == set(KINDS)
    assert {(rule.action, rule.is_active, rule.is_inline) for rule in rules} == {("notify", True, False)}


def test_a_rule_keeps_its_versions_and_who_changed_it(by_admin: Actor) -> None:
    rule = ask_rule(by_admin)
    version = by_admin.organization.config_version
    changed = rule_change(actor=by_admin, rule=rule, parameters={"calls": 5}, is_active=False)
    by_admin.organization.refresh_from_db()
    assert by_admin.organization.config_version > version
    assert (changed.version, changed.parameters["calls"], changed.parameters["minutes"]) == (2, 5, 120)
    kept = GuardRuleVersion.objects.filter(rule=rule).order_by("number")
    assert [row.facts["parameters"]["calls"] for row in kept] == [12, 5]
    assert [row.by for row in kept] == [by_admin.member, by_admin.member]
    record = AuditRecord.objects.get(action="guard_rule.changed")
    assert (record.old["is_active"], record.new["is_active"]) == (True, False)


def test_a_change_that_changes_nothing_leaves_no_trace(by_admin: Actor) -> None:
    rule = ask_rule(by_admin)
    rule_change(actor=by_admin, rule=rule, name="Loops", action="ask")
    assert GuardRuleVersion.objects.count() == 1
    assert not AuditRecord.objects.filter(action="guard_rule.changed").exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"), ({"action": "explode"}, "action"), ({"cooldown_minutes": 0}, "cooldown_minutes"), ({"exempt_tags": ["batch"]}, "exempt_tags"),
        ({"exempt_projects": [4711]}, "exempt_projects"), ({"parameters": {"calls": 0}}, "calls"), ({"kind": "burn"}, "kind"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(by_admin: Actor, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        rule_change(actor=by_admin, rule=ask_rule(by_admin), **changes)
    assert refused.value.extra["field"] == field


def test_only_who_manages_the_organization_makes_rules(engineer: Member, by_admin: Actor, stranger: Member) -> None:
    with pytest.raises(Forbidden):
        ask_rule(member_actor(engineer))
    with pytest.raises(NotFound):
        rule_change(actor=member_actor(stranger), rule=ask_rule(by_admin), name="mine")


def test_a_loop_is_found_once_and_told_to_the_member_and_those_who_decide(organization: Organization, by_admin: Actor, lead: Member, engineer: Member) -> None:
    rule = ask_rule(by_admin, "notify")
    store(organization, loop(member=engineer.user.email, team="platform"))
    assert organization_look(organization) == 1
    store(organization, loop(8, 6, member=engineer.user.email, team="platform"))
    assert organization_look(organization) == 0
    found = GuardFinding.objects.get()
    assert (found.rule, found.session_key, found.state, found.member_id, found.number) == (rule, "s-1", "told", engineer.pk, 1)
    assert found.evidence["calls"] == 12
    assert {row.recipient for row in Notice.objects.all()} == {by_admin.member.user.email, lead.user.email, engineer.user.email}
    assert "The same call 12 times" in Notice.objects.first().body
    signal = Signal.objects.get(kind=Signal.Kind.GUARD_FIRED)
    assert (signal.facts["session"], signal.facts["kind"], signal.facts["freeze"]) == ("s-1", "repeat", None)
    assert session_freeze_of(by_admin, "s-1") is None


def test_a_session_is_found_again_when_the_cooldown_is_over(organization: Organization, by_admin: Actor) -> None:
    ask_rule(by_admin, "notify", cooldown_minutes=10)
    store(organization, loop(30, 14))
    assert organization_look(organization) == 1
    store(organization, loop(8, 6))
    assert organization_look(organization) == 1
    assert list(GuardFinding.objects.order_by("number").values_list("number", flat=True)) == [1, 2]


def test_ask_stops_the_session_until_its_own_member_says_go_on(organization: Organization, by_admin: Actor, engineer: Member, team: Team) -> None:
    ask_rule(by_admin)
    store(organization, loop(member=engineer.user.email))
    assert organization_look(organization) == 1
    freeze = session_freeze_of(by_admin, "s-1")
    assert freeze is not None
    assert freeze.cause == Freeze.Cause.GUARD
    assert freeze.reason.startswith("Loops: The same call 12 times")
    assert freeze.reason.endswith("/sessions/s-1")
    found = GuardFinding.objects.get()
    finding_go_on(actor=member_actor(engineer), finding_id=found.pk, reason="it converts one file after another")
    assert session_freeze_of(by_admin, "s-1") is None
    found.refresh_from_db()
    assert (found.state, found.ended_by) == ("went_on", engineer)
    record = AuditRecord.objects.get(action="guard.went_on")
    assert (record.actor_id, record.new["reason"]) == (engineer.pk, "it converts one file after another")
    with pytest.raises(Conflict):
        finding_go_on(actor=member_actor(engineer), finding_id=found.pk, reason="again")


def test_freeze_takes_somebody_who_may_resume(organization: Organization, by_admin: Actor, engineer: Member, lead: Member) -> None:
    ask_rule(by_admin, "freeze")
    store(organization, loop(member=engineer.user.email))
    organization_look(organization)
    found = GuardFinding.objects.get()
    with pytest.raises(Forbidden):
        finding_go_on(actor=member_actor(engineer), finding_id=found.pk, reason="please")
    with pytest.raises(Invalid):
        finding_go_on(actor=member_actor(lead), finding_id=found.pk, reason=" ")
    finding_go_on(actor=member_actor(lead), finding_id=found.pk, reason="known")
    assert session_freeze_of(by_admin, "s-1") is None


def test_nobody_else_sees_a_finding(organization: Organization, by_admin: Actor, engineer: Member, stranger: Member) -> None:
    ask_rule(by_admin)
    store(organization, loop(member=engineer.user.email))
    organization_look(organization)
    colleague = person(organization, email="colleague@acme.example", role=Role.ENGINEER)
    for other in (colleague, stranger):
        with pytest.raises(NotFound):
            finding_go_on(actor=member_actor(other), finding_id=GuardFinding.objects.get().pk, reason="mine")


def test_a_rule_that_is_off_finds_nothing_and_an_exempt_project_is_passed_over(organization: Organization, by_admin: Actor) -> None:
    project = Project.objects.create(organization=organization, slug="evals", name="Evals")
    rule = ask_rule(by_admin, is_active=False)
    store(organization, loop(project="evals"))
    assert organization_look(organization) == 0
    rule = rule_change(actor=by_admin, rule=rule, is_active=True, exempt_projects=[project.pk])
    assert organization_look(organization) == 0
    rule = rule_change(actor=by_admin, rule=rule, exempt_projects=[], exempt_tags=["processing=batch"])
    store(organization, loop(tags={"processing": "batch"}, session="s-2"))
    assert organization_look(organization) == 1
    assert GuardFinding.objects.get().session_key == "s-1"


def test_a_fan_out_is_found_at_the_session_that_began_it(organization: Organization, by_admin: Actor) -> None:
    rule_create(actor=by_admin, kind="fan_out", name="Fan-out", action="freeze", parameters={"children": 5})
    store(organization, [call(30, session="root")])
    store(organization, [call(20 - number / 10, session=f"child-{number}", parent_session="root" if number < 3 else "child-1") for number in range(6)])
    assert organization_look(organization) == 1
    found = GuardFinding.objects.get()
    assert (found.session_key, found.evidence) == ("root", {"children": 5, "minutes": 10, "depth": 2})
    assert session_freeze_of(by_admin, "root") is not None
    assert session_freeze_of(by_admin, "child-4") is not None


def test_the_other_organization_is_left_alone(organization: Organization, other_organization: Organization, by_admin: Actor) -> None:
    rule_create(actor=system_actor(other_organization), kind="repeat", name="Loops", action="freeze")
    store(organization, loop())
    assert organization_look(other_organization) == 0
    assert organization_look(organization) == 0


def test_a_burn_is_held_against_the_team(organization: Organization, by_admin: Actor, team: Team) -> None:
    rule_create(actor=by_admin, kind="burn", name="Burn", parameters={"minimum_amount": 5})
    old = timezone.now() - timedelta(days=3)
    store(organization, [call(0, session=f"old-{number}", team="platform", occurred_at=old + timedelta(minutes=number), input_tokens=60_000) for number in range(25)])
    store(organization, loop(40, 30, team="platform"))
    assert organization_look(organization) == 1
    evidence = GuardFinding.objects.get().evidence
    assert Decimal(evidence["team_median"]) < Decimal("0.5") < Decimal(evidence["amount"])


def test_a_fan_out_takes_no_exemptions(by_admin: Actor) -> None:
    with pytest.raises(Invalid):
        rule_create(actor=by_admin, kind="fan_out", name="Fan-out", exempt_tags=["processing=batch"])
