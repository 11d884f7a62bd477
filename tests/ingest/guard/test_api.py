"""What was found, for programs."""

import pytest
from rest_framework.test import APIClient

from governance.tenancy.access import Actor
from governance.tenancy.models import Member, Organization, Scope
from ingest.guard.looking import organization_look
from ingest.guard.services import rule_create
from tests.conftest import client_with, key_of
from tests.ingest.guard.conftest import loop, store

pytestmark = pytest.mark.usefixtures("prices")
FINDINGS = "/api/v1/guard/findings"


@pytest.fixture
def three(organization: Organization, by_admin: Actor, engineer: Member) -> None:
    """Three sessions in a loop, one of them the engineer's."""
    rule_create(actor=by_admin, kind="repeat", name="Loops", action="ask")
    for number in range(3):
        store(organization, loop(session=f"s-{number}", member=engineer.user.email if number == 2 else ""))
        organization_look(organization)


def test_findings_are_told_with_their_evidence(api: APIClient, three: None) -> None:
    answer = api.get(FINDINGS).json()
    assert [found["session"] for found in answer["findings"]] == ["s-2", "s-1", "s-0"]
    assert answer["next"] is None
    first = answer["findings"][0]
    assert first["said"].startswith("The same call 12 times among 12")
    assert (first["kind"], first["evidence"]["calls"], first["is_stopped"]) == ("repeat", 12, True)
    assert first["url"].endswith("/o/acme/sessions/s-2")


def test_they_are_narrowed_to_a_session_and_paged(api: APIClient, three: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [found["session"] for found in api.get(FINDINGS, {"session": "s-1"}).json()["findings"]] == ["s-1"]
    monkeypatch.setattr("governance.budgets.views.PAGE", 2)
    page = api.get(FINDINGS).json()
    assert [found["session"] for found in page["findings"]] == ["s-2", "s-1"]
    rest = api.get(FINDINGS, {"before": page["next"]}).json()
    assert ([found["session"] for found in rest["findings"]], rest["next"]) == (["s-0"], None)
    assert api.get(FINDINGS, {"before": "soon"}).status_code == 422


def test_a_members_key_reads_what_the_member_sees(organization: Organization, engineer: Member, other_organization: Organization, three: None) -> None:
    own = client_with(key_of(organization, Scope.READ, name="own", member=engineer))
    assert [found["session"] for found in own.get(FINDINGS).json()["findings"]] == ["s-2"]
    strangers = client_with(key_of(other_organization, Scope.READ, name="theirs"))
    assert strangers.get(FINDINGS).json()["findings"] == []
