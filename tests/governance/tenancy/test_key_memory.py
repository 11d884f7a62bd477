"""A key is remembered between requests, and every change to it or its holder holds at once."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from governance.tenancy.authentication import key_for
from governance.tenancy.models import Member, Organization, Scope
from tests.conftest import KeyInHand, key_of


def changed(row: Any, **values: Any) -> None:
    type(row).objects.filter(pk=row.pk).update(**values)


def test_unchanged_key_is_not_read_again(api_key: KeyInHand, django_assert_num_queries: Any) -> None:
    first = key_for(api_key.secret)  # notes its use, which is a change
    again = key_for(api_key.secret)
    with django_assert_num_queries(0):  # but for the question whether anything changed, which goes past Django
        assert key_for(api_key.secret) is again
    assert first.pk == again.pk


def test_revoked_key_is_refused_at_once(api_key: KeyInHand) -> None:
    key_for(api_key.secret)
    changed(api_key.row, revoked_at=timezone.now())
    with pytest.raises(AuthenticationFailed, match="revoked"):
        key_for(api_key.secret)


def test_key_that_was_given_an_end_is_refused_after_it(api_key: KeyInHand) -> None:
    key_for(api_key.secret)
    changed(api_key.row, expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(AuthenticationFailed, match="expired"):
        key_for(api_key.secret)


def test_key_of_a_member_who_left_is_refused(organization: Organization, engineer: Member) -> None:
    key = key_of(organization, Scope.INGEST, member=engineer)
    key_for(key.secret)
    changed(engineer, is_active=False)
    with pytest.raises(AuthenticationFailed, match="holder"):
        key_for(key.secret)


def test_change_of_the_organization_shows(organization: Organization, api_key: KeyInHand) -> None:
    assert key_for(api_key.secret).organization.name == "Acme"
    changed(organization, name="Acme Corporation")
    assert key_for(api_key.secret).organization.name == "Acme Corporation"


def test_new_scopes_show(api_key: KeyInHand) -> None:
    key_for(api_key.secret)
    changed(api_key.row, scopes=[Scope.READ])
    assert key_for(api_key.secret).scopes == [Scope.READ]
