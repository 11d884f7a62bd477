"""The people the other tests rely on."""

import pytest
from rest_framework.test import APIClient

from governance.tenancy import access
from governance.tenancy.access import Right
from governance.tenancy.models import Member, Organization
from tests.conftest import PASSWORD, KeyInHand


def test_lead_decides_and_engineer_does_not(lead: Member, engineer: Member) -> None:
    assert access.member_actor(lead).can(Right.DECIDE)
    assert not access.member_actor(engineer).can(Right.DECIDE)


def test_stranger_belongs_to_the_other_organization_only(stranger: Member, organization: Organization) -> None:
    assert list(access.organizations_of(stranger.user_id)) == [stranger]
    assert stranger.organization != organization


def test_people_sign_in_with_the_shared_password(admin: Member) -> None:
    assert admin.user.check_password(PASSWORD)


def test_api_client_is_known_by_its_key(api: APIClient, api_key: KeyInHand) -> None:
    assert api.get("/api/v1/sessions/none").status_code == 404
    api_key.row.delete()
    assert api.get("/api/v1/sessions/none").status_code == 401


@pytest.mark.django_db(transaction=True)
def test_tables_are_emptied_after_real_commits(admin: Member) -> None:
    assert Member.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_tables_are_emptied_after_real_commits_again(admin: Member) -> None:
    assert Member.objects.count() == 1
