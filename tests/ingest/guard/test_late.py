"""What is reported late is looked at once it has come, and acted on only where it is not over for long; trials are let go of; looking back by command."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from governance.budgets.selectors import session_freeze_of
from governance.notices.models import Notice, Signal
from governance.tenancy.access import Actor
from governance.tenancy.models import Member, Organization
from ingest.guard.looking import organization_look
from ingest.guard.models import GuardFinding, GuardLate, GuardRule, GuardTrial
from ingest.guard.services import rule_change, rule_create
from ingest.guard.tasks import guard_forget
from tests.ingest.guard.conftest import call, loop, store

pytestmark = pytest.mark.usefixtures("prices")
HOUR, DAY = 60, 60 * 24


@pytest.fixture
def report(organization: Organization, django_capture_on_commit_callbacks: Any) -> Any:
    """Stores calls, and what the commit sets off."""

    def run(calls: list[Any]) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            store(organization, calls)

    return run


@pytest.fixture
def rule(by_admin: Actor) -> GuardRule:
    return rule_create(actor=by_admin, kind="repeat", name="Loops", action="freeze")


def test_loop_that_is_reported_three_hours_late_is_found_told_and_stopped(organization: Organization, by_admin: Actor, rule: GuardRule, report: Any) -> None:
    report(loop(5 * HOUR, 20))
    assert organization_look(organization) == 1
    found = GuardFinding.objects.get()
    assert (found.state, found.session_key) == ("stopped", "s-1")
    assert session_freeze_of(by_admin, "s-1") is not None
    assert Signal.objects.filter(kind="guard.fired").count() == 1
    assert organization_look(organization) == 0
    assert not GuardLate.objects.exists()


def test_loop_of_days_ago_is_recorded_and_disturbs_nobody(organization: Organization, by_admin: Actor, rule: GuardRule, report: Any, admin: Member) -> None:
    report(loop(3 * DAY, 20))
    assert organization_look(organization) == 1
    assert GuardFinding.objects.get().state == "past"
    assert session_freeze_of(by_admin, "s-1") is None
    assert (Signal.objects.count(), Notice.objects.count()) == (0, 0)


def test_what_is_older_than_a_week_is_left_to_looking_back(organization: Organization, rule: GuardRule, report: Any) -> None:
    report(loop(8 * DAY, 20))
    assert not GuardLate.objects.exists()
    assert organization_look(organization) == 0


def test_late_calls_of_a_session_that_is_live_are_found(organization: Organization, rule: GuardRule, report: Any) -> None:
    report([call(1)])
    assert organization_look(organization) == 0
    report(loop(6 * HOUR, 20))
    assert organization_look(organization) == 1
    assert not GuardLate.objects.exists()


def test_parts_that_come_bit_by_bit_are_looked_at_from_the_earliest_on(organization: Organization, rule: GuardRule, report: Any) -> None:
    calls = loop(5 * HOUR, 20)
    report(calls[10:])
    report(calls[:10])
    late = GuardLate.objects.get()
    assert late.begins_at == calls[0].occurred_at
    assert organization_look(organization) == 1
    # What comes again is looked at again, and found no second time within the cooldown.
    report([call(4 * HOUR)])
    assert GuardLate.objects.count() == 1
    assert organization_look(organization) == 0
    assert not GuardLate.objects.exists()


def test_live_usage_is_not_noted_and_without_rules_nothing_gathers(organization: Organization, by_admin: Actor, rule: GuardRule, report: Any) -> None:
    report([call(10)])
    assert not GuardLate.objects.exists()
    rule_change(actor=by_admin, rule=rule, is_active=False)
    report([call(5 * HOUR)])
    assert organization_look(organization) == 0
    assert not GuardLate.objects.exists()


def test_late_usage_of_others_is_looked_at_by_their_rules(
    organization: Organization, other_organization: Organization, rule: GuardRule, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        store(other_organization, loop(5 * HOUR, 20))
    assert organization_look(organization) == 0
    assert GuardLate.objects.get().organization == other_organization


def test_trials_are_let_go_of(organization: Organization, other_organization: Organization) -> None:
    now = timezone.now()
    other_organization.retention_days = 30
    other_organization.save()
    for place, days in ((organization, 89), (organization, 91), (other_organization, 29), (other_organization, 31)):
        made = GuardTrial.objects.create(organization=place, kind="repeat", starts_at=now, ends_at=now)
        GuardTrial.objects.filter(pk=made.pk).update(created_at=now - timedelta(days=days))
    assert guard_forget() == 2
    assert sorted((now - row.created_at).days for row in GuardTrial.objects.all()) == [29, 89]


def looked_back(*words: str) -> str:
    out = StringIO()
    call_command("guard", "lookback", *words, stdout=out)
    return out.getvalue()


def test_command_tells_what_active_rules_would_have_caught_and_does_nothing(organization: Organization, by_admin: Actor, rule: GuardRule) -> None:
    store(organization, loop(3 * DAY, 20))
    store(organization, [call(2 * DAY, session="calm")])
    rule_create(actor=by_admin, kind="errors", name="Storms")
    told = looked_back("acme", "--days", "7")
    lines = told.splitlines()
    assert lines[0].startswith("Loops: 1 of ")
    assert lines[1].startswith("  s-1 ")
    assert "The same call 12 times" in lines[1]
    assert lines[2].startswith("Storms: 0 of ")
    assert looked_back("acme", "--days", "1").splitlines()[0].startswith("Loops: 0 of ")
    assert "Storms" not in looked_back("acme", "--kind", "repeat")
    assert looked_back("acme", "--kind", "growth") == "No such rule is active.\n"
    assert (GuardFinding.objects.count(), Signal.objects.count(), session_freeze_of(by_admin, "s-1")) == (0, 0, None)
    for words in (("nobody",), ("acme", "--days", "0"), ("acme", "--days", "93")):
        with pytest.raises(CommandError):
            looked_back(*words)
