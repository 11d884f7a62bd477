"""The search palette: it finds what the person may see, and leads where the person may go."""

import pytest

from governance.tenancy.models import Member, Organization, Role, Team
from tests.conftest import person
from tests.dashboards.control import address, at, text_of, use

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("prices")]


def found(member: Member, text: str) -> dict[str, list[tuple[str, str]]]:
    """{heading: [(name, address)]}"""
    answer = at(member).get(address(member, "search"), {"q": text})
    assert answer.status_code == 200
    return {label: [(name, href) for name, href, _ in links] for label, links in answer.context["groups"]}


def test_people_teams_and_models_lead_to_what_they_used(admin: Member, engineer: Member, team: Team) -> None:
    use(admin.organization, session="run", team="platform", member=engineer.user.email)
    assert found(admin, engineer.user.email)["People"] == [(str(engineer), f"/o/acme/spend?range=30d&by=model&member={engineer.pk}")]
    assert found(admin, "PLATF")["Teams"] == [("Platform", f"/o/acme/spend?range=30d&by=model&team={team.pk}")]
    assert found(admin, "sonnet")["Models"] == [("claude-sonnet-4-5", "/o/acme/spend?range=30d&by=member&model=claude-sonnet-4-5")]
    for links in (found(admin, text) for text in (engineer.user.email, "platf", "sonnet")):
        for _, href in [link for group in links.values() for link in group]:
            assert at(admin).get(href).status_code == 200


def test_an_engineer_finds_own_things_only(admin: Member, engineer: Member, team: Team) -> None:
    use(admin.organization, session="run", member=engineer.user.email)
    use(admin.organization, session="other", provider="openai", model="gpt-5")
    assert "People" not in found(engineer, admin.user.email)
    assert found(engineer, engineer.user.email)["People"] == [(str(engineer), f"/o/acme/sessions?member={engineer.pk}&state=all")]
    assert "Models" not in found(engineer, "gpt-5")
    assert found(engineer, "sonnet")["Models"] == [("claude-sonnet-4-5", "/o/acme/sessions?model=claude-sonnet-4-5&state=all")]
    assert "Teams" not in found(engineer, "platform")


def test_an_approver_finds_the_own_team_only(lead: Member, engineer: Member, admin: Member, organization: Organization, team: Team) -> None:
    Team.objects.create(organization=organization, slug="platinum", name="Platinum")
    assert [name for name, _ in found(lead, "plat")["Teams"]] == ["Platform"]
    assert found(lead, engineer.user.email)["People"]
    assert "People" not in found(lead, admin.user.email)


def test_strangers_and_those_who_left_are_not_found(admin: Member, stranger: Member, organization: Organization) -> None:
    gone = person(organization, email="gone@acme.example", role=Role.ENGINEER)
    Member.objects.filter(pk=gone.pk).update(is_active=False)
    assert "Nothing is named" in text_of(at(admin).get(address(admin, "search"), {"q": "gone@acme"}))
    assert "People" not in found(admin, stranger.user.email)
