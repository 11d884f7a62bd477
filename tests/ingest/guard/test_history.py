"""A rule on history says what it would have caught, and what that would have saved."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Sum
from django.utils import timezone

from governance.errors import Forbidden, Invalid
from governance.notices.models import Notice
from governance.tenancy.access import Actor, member_actor
from governance.tenancy.models import Member, Organization
from ingest.guard.history import organization_look_back, trial_run
from ingest.guard.models import GuardFinding, GuardTrial
from ingest.guard.services import rule_create, trial_create
from ingest.models import UsageEvent
from tests.ingest.guard.conftest import call, loop, store

pytestmark = pytest.mark.usefixtures("prices")
DAY = 24 * 60


def trial(actor: Actor, kind: str = "repeat", parameters: dict[str, Any] | None = None, *, days: int = 7) -> GuardTrial:
    now = timezone.now()
    made = trial_create(actor=actor, kind=kind, parameters=parameters or {}, starts_at=now - timedelta(days=days), ends_at=now)
    done = trial_run(made.pk)
    assert done is not None
    return done


def test_it_says_which_sessions_when_and_what_was_spent_after(organization: Organization, by_admin: Actor) -> None:
    store(organization, loop(3 * DAY, 40))
    store(organization, [call(2 * DAY - number * 10, session="ordinary", input_tokens=20_000 + 900 * number) for number in range(30)])
    done = trial(by_admin)
    assert (done.state, done.caught, done.is_cut) == ("done", 1, False)
    (caught,) = done.results
    after = UsageEvent.objects.filter(organization=organization, session="s-1", occurred_at__gt=datetime.fromisoformat(caught["at"]))
    assert caught["session"] == "s-1"
    assert after.count() == 28
    assert Decimal(caught["spent_after"]) == done.spent_after == after.aggregate(total=Sum("cost"))["total"]


def test_nothing_is_told_or_stopped_by_a_trial(organization: Organization, by_admin: Actor) -> None:
    store(organization, loop(3 * DAY, 40))
    trial(by_admin)
    assert not GuardFinding.objects.exists()
    assert not Notice.objects.exists()


def test_what_lies_outside_the_range_is_not_looked_at(organization: Organization, by_admin: Actor) -> None:
    store(organization, loop(9 * DAY, 40))
    assert trial(by_admin).caught == 0
    assert trial(by_admin, days=10).caught == 1


def test_fan_out_counts_what_the_whole_tree_spent(organization: Organization, by_admin: Actor) -> None:
    store(organization, [call(DAY, session="root")])
    store(organization, [call(DAY - 1 - number / 60, session=f"child-{number}", parent_session="root") for number in range(10)])
    done = trial(by_admin, "fan_out", {"children": 5})
    assert done.caught == 1
    assert done.spent_after == UsageEvent.objects.filter(session__in=[f"child-{number}" for number in range(5, 10)]).aggregate(total=Sum("cost"))["total"]


def test_a_trial_is_worked_out_once_and_ends_when_its_time_is_over(organization: Organization, by_admin: Actor) -> None:
    for number in range(3):
        store(organization, loop(3 * DAY, 20, session=f"s-{number}"))
    now = timezone.now()
    made = trial_create(actor=by_admin, kind="repeat", parameters={}, starts_at=now - timedelta(days=7), ends_at=now)
    done = trial_run(made.pk, seconds=-1)
    assert done is not None
    assert (done.state, done.looked_at, done.is_cut) == ("done", 3, False)
    assert trial_run(made.pk) is None


@pytest.mark.parametrize(("days", "field"), [(-1, "ends_at"), (100, "starts_at")])
def test_a_range_that_makes_no_sense_is_refused(by_admin: Actor, days: int, field: str) -> None:
    now = timezone.now()
    with pytest.raises(Invalid) as refused:
        trial_create(actor=by_admin, kind="repeat", parameters={}, starts_at=now - timedelta(days=days), ends_at=now)
    assert refused.value.extra["field"] == field


def test_only_who_manages_the_organization_tries_rules(engineer: Member) -> None:
    now = timezone.now()
    with pytest.raises(Forbidden):
        trial_create(actor=member_actor(engineer), kind="repeat", parameters={}, starts_at=now - timedelta(days=1), ends_at=now)


def test_looking_back_records_and_leaves_everybody_alone(organization: Organization, by_admin: Actor) -> None:
    rule_create(actor=by_admin, kind="repeat", name="Loops", action="freeze")
    store(organization, loop(3 * DAY, 40))
    now = timezone.now()
    assert organization_look_back(organization, starts_at=now - timedelta(days=7), ends_at=now) == 1
    assert organization_look_back(organization, starts_at=now - timedelta(days=7), ends_at=now) == 0
    found = GuardFinding.objects.get()
    assert (found.state, found.freeze_id) == ("past", None)
    assert not Notice.objects.exists()
