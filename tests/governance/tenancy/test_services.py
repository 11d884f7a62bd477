"""Owners, roles and keys: what no service lets anybody do, whichever door it is called from."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from governance.audit.models import AuditRecord
from governance.errors import Conflict, Forbidden, Invalid
from governance.tenancy import access, keys, services
from governance.tenancy.access import Actor, member_actor, system_actor
from governance.tenancy.authentication import key_for
from governance.tenancy.models import ApiKey, Member, Organization, Role, Scope, ServiceAccount, Team
from tests.conftest import key_of, person


@pytest.fixture
def owner(organization: Organization) -> Member:
    return person(organization, email="owner@acme.example", role=Role.OWNER)


def change(by: Member, member: Member, **changes: Any) -> Member:
    return services.member_change(actor=member_actor(by), member=member, **changes)


@pytest.mark.parametrize("changes", [{"role": Role.ADMIN}, {"is_active": False}])
def test_last_owner_stays(owner: Member, changes: dict[str, Any]) -> None:
    with pytest.raises(Conflict, match="at least one owner"):
        change(owner, owner, **changes)
    owner.refresh_from_db()
    assert (owner.role, owner.is_active) == (Role.OWNER, True)


def test_owner_whose_account_is_closed_does_not_count(owner: Member, organization: Organization) -> None:
    second = person(organization, email="second@acme.example", role=Role.OWNER)
    second.user.is_active = False
    second.user.save()
    with pytest.raises(Conflict):
        change(owner, owner, role=Role.ADMIN)


def test_owner_goes_when_another_remains(owner: Member, organization: Organization) -> None:
    person(organization, email="second@acme.example", role=Role.OWNER)
    assert change(owner, owner, role=Role.ENGINEER).role == Role.ENGINEER


@pytest.mark.parametrize("changes", [{"role": Role.ADMIN}, {"is_active": False}])
def test_admin_changes_no_owner(admin: Member, owner: Member, organization: Organization, changes: dict[str, Any]) -> None:
    person(organization, email="second@acme.example", role=Role.OWNER)
    with pytest.raises(Forbidden):
        change(admin, owner, **changes)


def test_admin_makes_no_owner(admin: Member, engineer: Member) -> None:
    with pytest.raises(Forbidden):
        change(admin, engineer, role=Role.OWNER)
    with pytest.raises(Forbidden):
        services.member_add(actor=member_actor(admin), email="new@acme.example", role=Role.OWNER)


@pytest.mark.parametrize("role", [Role.FINANCE, Role.APPROVER, Role.ENGINEER, Role.AUDITOR])
def test_who_does_not_manage_changes_nobody(organization: Organization, engineer: Member, role: Role) -> None:
    actor = member_actor(person(organization, email="somebody@acme.example", role=role))
    attempts = (
        lambda: services.member_change(actor=actor, member=engineer, role=Role.ADMIN),
        lambda: services.member_add(actor=actor, email="new@acme.example"),
        lambda: services.team_create(actor=actor, slug="new"),
        lambda: services.project_create(actor=actor, slug="new"),
        lambda: services.service_account_create(actor=actor, name="new"),
        lambda: services.service_account_switch(
            actor=actor, account=ServiceAccount(organization=organization, name="gateway"), is_active=False
        ),
        lambda: services.api_key_create(actor=actor, name="new", scopes=[Scope.INGEST]),
        lambda: services.organization_change(actor=actor, name="Other"),
    )
    before = AuditRecord.objects.count()
    for attempt in attempts:
        with pytest.raises(Forbidden):
            attempt()
    assert AuditRecord.objects.count() == before


def test_nothing_of_another_organization_is_taken(admin: Member, stranger: Member, other_organization: Organization) -> None:
    actor = member_actor(admin)
    theirs = Team.objects.create(organization=other_organization, slug="theirs", name="Theirs")
    attempts = (
        lambda: services.member_change(actor=actor, member=stranger, role=Role.ENGINEER),
        lambda: services.team_create(actor=actor, slug="new", parent=theirs),
        lambda: services.team_change(actor=actor, team=theirs, name="Ours", parent=None),
        lambda: services.member_add(actor=actor, email="new@acme.example", team=theirs),
        lambda: services.api_key_create(actor=actor, name="new", scopes=[Scope.INGEST], member=stranger),
        lambda: services.api_key_revoke(actor=actor, key=key_of(other_organization).row),
    )
    for attempt in attempts:
        with pytest.raises(Forbidden):
            attempt()


def make(actor: Actor, **fields: Any) -> tuple[ApiKey, str]:
    return services.api_key_create(actor=actor, **{"name": "new", "scopes": [Scope.INGEST], **fields})


def test_secret_is_given_once_and_kept_as_a_hash(admin: Member) -> None:
    row, secret = make(member_actor(admin))
    row.refresh_from_db()
    assert secret.startswith(row.prefix + "_")
    assert row.secret_hash == keys.secret_hash(secret)
    assert secret not in str(vars(row))
    record = AuditRecord.objects.get(action="api_key.created")
    assert (record.new["prefix"], record.actor_id) == (row.prefix, admin.pk)
    assert secret not in str(record.new)
    assert key_for(secret).pk == row.pk


def test_key_does_not_make_a_key_that_does_more(organization: Organization) -> None:
    actor = access.key_actor(key_of(organization, Scope.ADMIN).row)
    with pytest.raises(Forbidden, match="ingest"):
        make(actor, scopes=[Scope.ADMIN, Scope.INGEST])
    assert make(actor, scopes=[Scope.ADMIN])[0].scopes == [Scope.ADMIN]


def test_key_that_decides_in_somebodys_name_is_made_by_that_person(admin: Member, lead: Member, owner: Member) -> None:
    for holder in (lead, owner):
        with pytest.raises(Forbidden, match="holder"):
            make(member_actor(admin), scopes=[Scope.ADMIN], member=holder)
    assert make(member_actor(admin), scopes=[Scope.ADMIN], member=admin)[0].member == admin
    assert make(member_actor(admin), name="posts", member=lead)[0].member == lead


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"defaults": {"cost": "0"}}, "defaults"),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "expires_at"),
    ],
)
def test_key_that_makes_no_sense_is_refused(admin: Member, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        make(member_actor(admin), **fields)
    assert refusal.value.extra["field"] == field


def test_name_is_free_again_once_its_key_is_revoked(admin: Member) -> None:
    actor = member_actor(admin)
    row, _ = make(actor)
    with pytest.raises(Conflict):
        make(actor)
    services.api_key_revoke(actor=actor, key=row)
    services.api_key_revoke(actor=actor, key=row)
    assert AuditRecord.objects.filter(action="api_key.revoked").count() == 1
    assert make(actor)[0].pk != row.pk


@pytest.mark.parametrize("ended", ["member", "account"])
def test_members_key_ends_with_the_member(organization: Organization, engineer: Member, ended: str) -> None:
    from rest_framework.exceptions import AuthenticationFailed

    key = key_of(organization, member=engineer)
    assert key_for(key.secret).member == engineer
    row = engineer if ended == "member" else engineer.user
    row.is_active = False
    row.save()
    with pytest.raises(AuthenticationFailed):
        key_for(key.secret)


def test_members_key_sees_what_the_member_sees(organization: Organization, engineer: Member, lead: Member) -> None:
    for member in (engineer, lead):
        whole = member_actor(member)
        reads = access.key_actor(key_of(organization, Scope.READ, name=member.user.email, member=member).row)
        assert reads.team_ids == whole.team_ids
        assert reads.rights <= whole.rights


def test_use_is_noted(organization: Organization, api_key: Any) -> None:
    assert api_key.row.last_used_at is None
    key_for(api_key.secret)
    noted = ApiKey.objects.get(pk=api_key.row.pk).last_used_at
    assert noted is not None
    assert timezone.now() - noted < timedelta(minutes=1)


def test_every_change_leaves_one_row(organization: Organization) -> None:
    actor = system_actor(organization)
    before = AuditRecord.objects.count()
    team = services.team_create(actor=actor, slug="new", name="New")
    services.team_change(actor=actor, team=team, name="Newer", parent=None)
    services.team_change(actor=actor, team=team, name="Newer", parent=None)
    member = services.member_add(actor=actor, email="new@acme.example", team=team, password="a long enough one")
    services.member_change(actor=actor, member=member, role=Role.APPROVER)
    services.member_change(actor=actor, member=member, role=Role.APPROVER)
    services.project_create(actor=actor, slug="p", team=team)
    account = services.service_account_create(actor=actor, name="gateway")
    services.service_account_switch(actor=actor, account=account, is_active=False)
    services.service_account_switch(actor=actor, account=account, is_active=False)
    services.organization_change(actor=actor, retention_days=400)
    rows = list(AuditRecord.objects.order_by("id").values_list("action", flat=True))[before:]
    assert rows == [
        "team.created", "team.changed", "member.added", "member.changed", "project.created", "service_account.created", "service_account.changed",
        "organization.changed",
    ]  # fmt: skip
