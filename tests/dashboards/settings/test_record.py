"""The record's page: what moved, in words, narrowed by the address, whole in the file."""

import csv
from io import StringIO

import pytest
from django.test import Client

from dashboards.pages.settings.record import changes_of, fact_text
from governance.tenancy import services
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Team

RECORD = "/o/acme/settings/record"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""), ("", ""), ([], ""), (True, "yes"), (False, "no"), (0, "0"), ("100.000000000000000", "100"), ("0.250000000000000", "0.25"),
        ("2026-11-21T15:14:18.5+00:00", "2026-11-21T15:14:18.5+00:00"), ("1.2.3", "1.2.3"), (["ingest", "read"], "ingest, read"), ({"per": 2, "base": "1.50"}, "per 2, base 1.5"),
    ],
)  # fmt: skip
def test_facts_read_as_words(value: object, text: str) -> None:
    assert fact_text(value) == text


def test_only_what_moved_is_shown() -> None:
    found = changes_of({"role": "engineer", "team": "data", "limit": "5.00"}, {"role": "approver", "team": "data", "is_active": True})
    assert [str(change) for change in found.every] == ["role: engineer → approver", "is active: yes", "limit: 5"]
    assert (len(changes_of(None, {str(n): n for n in range(1, 6)}).first), len(changes_of(None, {str(n): n for n in range(1, 6)}).rest)) == (3, 2)


def test_page_leads_to_what_was_changed_and_narrows(client: Client, admin: Member, engineer: Member, team: Team) -> None:
    actor = member_actor(admin)
    services.member_change(actor=actor, member=engineer, role="approver")
    services.project_create(actor=actor, slug="mole", team=team)
    client.force_login(admin.user)
    whole = client.get(RECORD).content.decode()
    assert f'href="/o/acme/settings/members/{engineer.pk}"' in whole
    assert "<del>engineer</del> → approver" in whole
    narrowed = client.get(RECORD, {"action": "project.created"}).content.decode()
    assert "mole" in narrowed
    assert "<del>engineer</del>" not in narrowed
    rows = list(csv.reader(StringIO(client.get(RECORD, {"format": "csv", "table": "record"}).content.decode())))
    assert rows[0] == ["When", "Who", "What", "On", "Facts", "From"]
    assert {row[2] for row in rows[1:]} == {"member changed", "project created"}
    assert any("role: engineer → approver" in row[4] for row in rows[1:])


def test_team_page_shows_its_own_people_and_projects(client: Client, admin: Member, engineer: Member, lead: Member, team: Team) -> None:
    services.project_create(actor=member_actor(admin), slug="mole", name="Mole", team=team)
    client.force_login(admin.user)
    page = client.get(f"/o/acme/settings/teams/{team.pk}").content.decode()
    for name in ("Engineer", "Lead", "Mole"):
        assert name in page
    rows = client.get(f"/o/acme/settings/teams/{team.pk}", {"format": "csv", "table": "people"}).content.decode().splitlines()
    assert len(rows) == 3


def test_first_password_of_a_member_is_shown_once_and_opens(client: Client, admin: Member) -> None:
    client.force_login(admin.user)
    answer = client.post("/o/acme/settings/members", {"email": "new@acme.example", "role": "engineer"})
    page = answer.content.decode()
    password = page.partition('<code id="first-password">')[2].partition("<")[0]
    assert len(password) >= 12
    assert answer["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    assert password not in client.get("/o/acme/settings/members").content.decode()
    assert Member.objects.get(user__email="new@acme.example").user.check_password(password)
    assert Member.objects.get(user__email="new@acme.example").user.must_change_password
