"""Names that set the direction of writing do not mirror what stands beside them, and none is invisible."""

import pytest
from django.test import Client

from governance.tenancy.models import Member, Team

pytestmark = pytest.mark.django_db
TURNED = "abc\N{RIGHT-TO-LEFT OVERRIDE}00.99 \N{RIGHT-TO-LEFT ISOLATE}x"


def test_page_shows_a_sign_in_their_place(client: Client, admin: Member) -> None:
    team = Team.objects.create(organization=admin.organization, name=TURNED, slug="turned")
    client.force_login(admin.user)
    page = client.get(f"/o/acme/settings/teams/{team.pk}").content.decode()
    text = page.replace(f'value="{TURNED}"', "")
    assert page != text, "the field keeps the name as it is"
    assert "abc\N{REPLACEMENT CHARACTER}00.99 \N{REPLACEMENT CHARACTER}x" in text
    assert TURNED not in text


def test_letters_from_right_to_left_stay(client: Client, admin: Member) -> None:
    Team.objects.create(organization=admin.organization, name="שלום", slug="shalom")
    client.force_login(admin.user)
    assert "שלום" in client.get("/o/acme/settings/teams").content.decode()


def test_a_name_that_cannot_be_seen_is_a_sign(client: Client, admin: Member) -> None:
    team = Team.objects.create(organization=admin.organization, name="\N{ZERO WIDTH SPACE}\N{WORD JOINER}", slug="unseen")
    client.force_login(admin.user)
    page = client.get("/o/acme/settings/teams").content.decode()
    link = page.partition(f"/settings/teams/{team.pk}")[2]
    assert link.partition(">")[2].startswith("\N{REPLACEMENT CHARACTER}</a>")
