"""What is remembered of a key stands as long as none of the rows that it was read from has changed, and the configuration has not."""

from typing import Any

import pytest
from django.utils import timezone

from governance import sql
from governance.tenancy.access import member_actor
from governance.tenancy.authentication import Remembered, key_for, remembered_for
from governance.tenancy.models import Member, Organization, Scope
from governance.tenancy.services import service_account_create
from governance.tenancy.standing import as_remembered, parts_of
from tests.conftest import KeyInHand, key_of

pytestmark = pytest.mark.django_db


def remembered(key: KeyInHand) -> Remembered:
    for _ in range(2):  # the first notes the use, which is a change
        key_for(key.secret)
    found = remembered_for(key.secret, scope=Scope.INGEST)
    assert found is not None
    return found


def stands(organization: Organization, *keys: Remembered | None, version: int | None = None) -> bool:
    parts, told = parts_of(keys)
    version = Organization.objects.get(pk=organization.pk).config_version if version is None else version
    parameters = {**told, "organization": organization.pk, "version": version}
    return bool(sql.rows(f"SELECT {as_remembered(parts)} AS stands", parameters)[0].stands)


def touch(row: Any, **values: Any) -> None:
    type(row).objects.filter(pk=row.pk).update(**values)


@pytest.mark.parametrize("changed", ["nothing", "key", "member", "user", "organization", "version"])
def test_key_of_a_person(organization: Organization, engineer: Member, changed: str) -> None:
    key = key_of(organization, Scope.INGEST, member=engineer)
    found = remembered(key)
    match changed:
        case "key":
            touch(key.row, revoked_at=timezone.now())
        case "member":
            touch(engineer, is_active=False)
        case "user":
            touch(engineer.user, is_active=False)
        case "organization":
            touch(organization, name="Acme Corporation")
    assert stands(organization, found, version=-1 if changed == "version" else None) == (changed == "nothing")


def test_key_of_a_program_and_several_at_once(organization: Organization, admin: Member, engineer: Member) -> None:
    account = service_account_create(actor=member_actor(admin), name="collector")
    of_program = remembered(key_of(organization, Scope.INGEST, service_account=account))
    of_person = remembered(key_of(organization, Scope.INGEST, name="laptop", member=engineer))
    assert stands(organization, of_program)
    assert stands(organization, of_program, None, of_person)
    assert stands(organization, None)
    touch(account, is_active=False)
    assert not stands(organization, of_program)
    assert not stands(organization, of_program, of_person)
    assert stands(organization, of_person)


def test_another_row_in_the_same_place_is_not_taken_for_the_key(organization: Organization, engineer: Member) -> None:
    found = remembered(key_of(organization, Scope.INGEST, member=engineer))
    row = found.rows[2]
    moved = (*found.rows[:2], row._replace(id=row.id + 1), *found.rows[3:])
    assert not stands(organization, Remembered(found.secret_hash, found.stamp, found.key, moved))
