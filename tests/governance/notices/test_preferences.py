"""Told the way one chose: kinds, quiet hours, daily mails, and no storms."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.utils import timezone
from pytest_django.fixtures import Settings

from governance.audit.models import AuditRecord
from governance.errors import Forbidden, Invalid
from governance.notices import gathering, tasks
from governance.notices.models import Notice, NoticePreference, Signal
from governance.notices.preferences import STORM_NOTICES, STORM_TIME, preference_change
from governance.notices.services import notice_add, notices_deliver
from governance.notices.signals import signal_add
from governance.tenancy.access import key_actor, member_actor
from governance.tenancy.models import Member, Organization, Scope, Team
from tests.conftest import KeyInHand, key_of

Kind = Notice.Kind
# 21:00 UTC in winter is 22:00 in Berlin, where the organization is.
EVENING = datetime(2026, 11, 21, 21, 30, tzinfo=UTC)
MORNING = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def mailbox(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox = []


def choose(member: Member, **chosen: Any) -> NoticePreference:
    return preference_change(actor=member_actor(member), **{"ways": {}, **chosen})


def tell(*members: Member, kind: Kind = Kind.THRESHOLD, number: int = 1, start: int = 0) -> int:
    return sum(
        notice_add(organization=members[0].organization, recipients=members, subject=f"Notice {index}", body=f"Body {index}", key=f"{kind}:{index}", kind=kind)
        for index in range(start, start + number)
    )


def test_kind_that_somebody_switched_off_reaches_the_others(admin: Member, lead: Member) -> None:
    choose(admin, ways={"budget.threshold": "off"})

    assert tell(admin, lead) == 1
    assert tell(admin, lead, kind=Kind.FROZEN) == 2


def test_quiet_hours_hold_what_can_wait_and_let_pass_what_somebody_waits_for(admin: Member) -> None:
    choose(admin, quiet_from=time(22), quiet_until=time(7))
    with time_machine.travel(EVENING, tick=False) as clock:
        tell(admin, number=3)
        tell(admin, kind=Kind.OWN_FROZEN)
        tell(admin, kind=Kind.REQUEST_FILED)
        tasks.notices_deliver()
        assert [message.subject for message in mail.outbox] == ["Notice 0", "Notice 0"]

        clock.move_to(MORNING - timedelta(seconds=1))
        tasks.notices_deliver()
        assert len(mail.outbox) == 2
        clock.move_to(MORNING)
        tasks.notices_deliver()

    told = mail.outbox[2]
    assert told.subject == "3 notices: a budget passes a threshold"
    assert told.body.startswith("This happened in your quiet hours.")
    assert all(f"Body {index}" in told.body for index in range(3))
    assert "/o/acme/notifications" in told.body


def test_quiet_hours_go_by_the_persons_own_clock(admin: Member) -> None:
    choose(admin, quiet_from=time(22), quiet_until=time(7), time_zone="America/New_York")
    with time_machine.travel(EVENING, tick=False):
        tell(admin)
        assert notices_deliver().sent == 1
    with time_machine.travel(datetime(2026, 11, 22, 4, tzinfo=UTC), tick=False):
        tell(admin, start=1)
        assert notices_deliver().sent == 0


def test_one_that_is_alone_after_quiet_hours_goes_as_it_is(admin: Member) -> None:
    choose(admin, quiet_from=time(22), quiet_until=time(7))
    with time_machine.travel(EVENING, tick=False) as clock:
        tell(admin)
        clock.move_to(MORNING)
        tasks.notices_deliver()
    assert [message.subject for message in mail.outbox] == ["Notice 0"]


def test_daily_mail_gathers_every_kind_once_a_day(admin: Member) -> None:
    choose(admin, ways={"budget.threshold": "daily", "guard.fired": "daily"}, daily_at=time(8))
    with time_machine.travel(EVENING, tick=False) as clock:
        tell(admin, number=2)
        tell(admin, kind=Kind.GUARD)
        clock.move_to(datetime(2026, 11, 22, 7, tzinfo=UTC))
        tasks.notices_deliver()
        tasks.notices_deliver()

    assert [message.subject for message in mail.outbox] == ["3 notices"]
    assert set(Notice.objects.exclude(kind="digest").values_list("state", flat=True)) == {"gathered"}


def test_a_storm_becomes_one_mail_and_no_cause_is_lost(admin: Member, lead: Member) -> None:
    with time_machine.travel(EVENING, tick=False) as clock:
        tell(admin, lead, number=40)
        tell(admin, kind=Kind.FROZEN)
        while tasks.services.notices_deliver().sent:
            pass
        assert len(mail.outbox) == 2 * STORM_NOTICES + 1

        clock.shift(STORM_TIME)
        tasks.notices_deliver()

    gathered = mail.outbox[2 * STORM_NOTICES + 1 :]
    assert {message.subject for message in gathered} == {f"{40 - STORM_NOTICES} notices: a budget passes a threshold"}
    assert len(gathered) == 2
    assert all(f"Body {index}" in gathered[0].body for index in range(STORM_NOTICES, 40))


def test_what_follows_within_a_storm_is_told_with_it_and_afterwards_one_by_one_again(admin: Member) -> None:
    with time_machine.travel(EVENING, tick=False) as clock:
        tell(admin, number=STORM_NOTICES + 1)
        clock.shift(STORM_TIME - timedelta(minutes=1))
        tell(admin, number=2, start=100)
        clock.shift(timedelta(minutes=1))
        tasks.notices_deliver()
        assert f"{3} notices: a budget passes a threshold" in [message.subject for message in mail.outbox]
        clock.shift(STORM_TIME + timedelta(seconds=1))
        tell(admin, start=200)
        tasks.notices_deliver()
    assert mail.outbox[-1].subject == "Notice 200"


def test_once_per_cause_also_where_notices_are_held(admin: Member) -> None:
    choose(admin, ways={"budget.threshold": "daily"})
    assert [tell(admin), tell(admin)] == [1, 0]


def test_choices_are_ones_own_checked_and_recorded(admin: Member, organization: Organization) -> None:
    key: KeyInHand = key_of(organization, Scope.ADMIN, member=admin)
    with pytest.raises(Forbidden):
        preference_change(actor=key_actor(key.row), ways={})
    for wrong in ({"ways": {"no.such": "off"}}, {"ways": {"budget.threshold": "loud"}}, {"quiet_from": time(22)}, {"quiet_from": time(7), "quiet_until": time(7)}):
        with pytest.raises(Invalid):
            choose(admin, **wrong)
    choose(admin, ways={"budget.threshold": "off", "guard.fired": "now"}, quiet_from=time(22), quiet_until=time(7))
    choose(admin, ways={"budget.threshold": "off"}, quiet_from=time(22), quiet_until=time(7))

    record = AuditRecord.objects.get(action="notices.chosen")
    assert record.new["ways"] == {"budget.threshold": "off"}
    assert record.new["quiet_from"] == "22:00"


def test_team_digest_counts_what_happened_in_the_teams_one_answers_for(organization: Organization, lead: Member, admin: Member, team: Team) -> None:
    other = Team.objects.create(organization=organization, slug="other", name="Other")
    with time_machine.travel(EVENING, tick=False) as clock:
        choose(lead, team_digest="daily", daily_at=time(8))
        choose(admin, team_digest="weekly", daily_at=time(8))
        for about in (team, team, other):
            signal_add(organization=organization, kind=Signal.Kind.FREEZE_STARTED, facts={"scope_kind": "session", "scope_key": f"of {about.slug}"}, team_id=about.pk)
        clock.move_to(datetime(2026, 11, 22, 7, tzinfo=UTC))
        tasks.team_digests_write()
        tasks.team_digests_write()
        tasks.notices_deliver()
        assert [(message.to, message.subject) for message in mail.outbox] == [([lead.user.email], "Platform: 2 happenings")]
        assert "Frozen: session of platform" in mail.outbox[0].body
        assert "of other" not in mail.outbox[0].body
        assert "2  Freeze started" in mail.outbox[0].body
        clock.move_to(datetime(2026, 11, 23, 7, tzinfo=UTC))
        tasks.team_digests_write()
        tasks.notices_deliver()
    assert {message.subject for message in mail.outbox[1:]} == {"Platform: 0 happenings", "Acme: 3 happenings"}


def test_digest_after_a_long_outage_comes_once(lead: Member) -> None:
    with time_machine.travel(EVENING, tick=False) as clock:
        choose(lead, team_digest="daily")
        clock.shift(timedelta(days=9))
        assert [gathering.team_digests_write(), gathering.team_digests_write()] == [1, 0]


def test_held_notices_of_someone_who_left_are_not_sent_after_they_were_removed(admin: Member, lead: Member) -> None:
    choose(lead, ways={"budget.threshold": "daily"})
    tell(lead)
    lead.delete()
    with time_machine.travel(timezone.now() + timedelta(days=2)):
        tasks.notices_deliver()
    assert mail.outbox == []
