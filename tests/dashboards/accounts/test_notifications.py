"""My notifications: my choices, kinds of my role, and what I was told."""

from datetime import time

from django.test import Client
from django.utils import timezone

from governance.notices.models import Notice, NoticePreference
from governance.tenancy.models import Member

PAGE = "/o/acme/notifications"


def chosen(client: Client, **fields: str) -> int:
    form = client.get(PAGE).context["form"]
    given = {name: form[name].value() or "" for name in form.fields}
    given["daily_at"] = "08:00"
    return client.post(PAGE, given | fields).status_code


def test_choices_are_kept_and_shown(client: Client, admin: Member) -> None:
    client.force_login(admin.user)
    fields = {"way_budget_threshold": "daily", "quiet_from": "22:00", "quiet_until": "07:00", "time_zone": "America/New_York", "team_digest": "weekly"}

    assert chosen(client, **fields) == 302

    kept = NoticePreference.objects.get(member=admin)
    assert (kept.ways, kept.quiet_from, kept.quiet_until, kept.time_zone) == ({"budget.threshold": "daily"}, time(22), time(7), "America/New_York")
    assert kept.team_digest_next_at > timezone.now()
    form = client.get(PAGE).context["form"]
    assert (form["way_budget_threshold"].value(), form["time_zone"].value()) == ("daily", "America/New_York")
    assert chosen(client, team_digest="") == 302
    assert NoticePreference.objects.get(member=admin).team_digest_next_at is None


def test_half_quiet_hours_are_said_beside_the_field(client: Client, admin: Member) -> None:
    client.force_login(admin.user)
    assert chosen(client, quiet_from="22:00") == 422
    assert chosen(client, quiet_from="07:00", quiet_until="07:00") == 422
    assert chosen(client, quiet_from="nonsense", quiet_until="07:00") == 422
    assert not NoticePreference.objects.exists()


def test_engineers_choose_about_what_they_are_told(client: Client, engineer: Member) -> None:
    client.force_login(engineer.user)
    fields = client.get(PAGE).context["form"].fields
    assert "way_own_frozen" in fields
    assert "way_request_filed" not in fields
    assert "team_digest" not in fields
    assert chosen(client, way_own_frozen="off") == 302


def test_only_ones_own_notices_are_listed(client: Client, engineer: Member, lead: Member) -> None:
    for member, subject in ((engineer, "Mine"), (lead, "Theirs")):
        Notice.objects.create(
            organization=member.organization, member=member, recipient=member.user.email, subject=subject, body="", key=subject, next_attempt_at=timezone.now()
        )
    client.force_login(engineer.user)
    shown = client.get(PAGE).content
    assert b"Mine" in shown
    assert b"Theirs" not in shown
