"""Writes about who: organizations, teams, projects, members, service accounts and API keys."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.db import connection, transaction
from django.utils import timezone
from django.utils.text import slugify

from governance.audit.services import audit_record
from governance.errors import Conflict, Forbidden, Invalid
from governance.money import currency_code
from governance.tenancy import keys
from governance.tenancy.access import Actor, Right, get_scoped, member_actor, organizations_of, require, system_actor
from governance.tenancy.aliases import aliases_checked
from governance.tenancy.counted import is_counted
from governance.tenancy.models import ApiKey, Member, Organization, Project, Role, Scope, ServiceAccount, Team, User

DEFAULT_LABELS = frozenset(
    {"team", "project", "member", "harness", "gateway", "environment", "role", "task_class", "billing_mode", "provider"}
)



# Holds the configuration still, shared, as the first statement of a transaction on the hot path. Until it ends plans are kept as they
# are: all its statements look rows up by their keys, and to weigh a plan for each set of parameters costs as much as to run it.
LOCK_CONFIGURATION = "SELECT pg_advisory_xact_lock_shared(hashint8(%s::bigint), 1), set_config('plan_cache_mode', 'force_generic_plan', true)"


def organization_lock(organization_id: int, *, exclusive: bool) -> None:
    """Holds the organization's configuration still until the transaction ends.

    Storing transactions share the lock; whoever changes what they cache (teams, budgets) takes it alone, so that
    no event is attributed or charged by a configuration that is no longer true.
    """
    function = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashint8(%s), 1)", [organization_id])


def organization_touch(organization: Organization) -> None:
    """Takes the configuration lock alone and moves the version, so that every cache of it is reloaded."""
    organization_lock(organization.pk, exclusive=True)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE organization SET config_version = config_version + 1 WHERE id = %s", [organization.pk])


def organization_create(
    *, slug: str, name: str = "", time_zone: str = "UTC", currency: str = "USD", is_demo: bool = False, owner_email: str | None = None,
    owner_password: str | None = None, owner_name: str = "",
) -> Organization:
    """Creates an organization, with its owner, who chose the password, where an e-mail is given. Raises Conflict when the slug is taken."""
    currency = currency_code(currency)
    if slugify(slug) != slug or not slug:
        raise Invalid("A slug has lower-case letters, digits and hyphens only.", field="slug")
    _check_zone(time_zone)
    with transaction.atomic():
        organization, made = Organization.objects.get_or_create(
            slug=slug, defaults={"name": name or slug, "time_zone": time_zone, "currency": currency, "is_demo": is_demo}
        )
        if not made:
            raise Conflict(f"There is an organization named {slug} already.", field="slug")
        actor = system_actor(organization)
        audit_record(actor=actor, action="organization.created", target=("organization", organization.pk), new={"slug": slug})
        if owner_email:
            member_add(actor=actor, email=owner_email, name=owner_name, role=Role.OWNER, password=owner_password, is_own_password=True)
    return organization


PROFILE = ("name", "time_zone", "currency", "year_starts_in", "flagship_token_share_target", "retention_days")


@transaction.atomic
def organization_change(*, actor: Actor, **changes: Any) -> Organization:
    """Changes the profile (name, time_zone, currency, year_starts_in, flagship_token_share_target, retention_days).

    The time zone decides where days and budget periods begin, so it is fixed once usage has been counted by it; so is the fiscal
    year once there are budgets, because retired ones still count, and the currency in both cases. Raises Conflict then.
    """
    require(actor, Right.MANAGE_ORGANIZATION)
    if "currency" in changes:
        changes["currency"] = currency_code(changes["currency"])
    organization_touch(actor.organization)
    organization = Organization.objects.select_for_update().get(pk=actor.organization.pk)
    changes = {name: value for name, value in changes.items() if name in PROFILE and getattr(organization, name) != value}
    if not changes:
        return organization
    if "time_zone" in changes:
        _check_zone(changes["time_zone"])
    if {"time_zone", "year_starts_in"} & changes.keys() and organization.budgets.exists():
        raise Conflict("There are budgets, and their periods begin and end by the present time zone and fiscal year, so these stay as they are.")
    if "currency" in changes and currency_is_fixed(organization):
        raise Conflict("Usage has been counted, or budgets were set, in the present currency, so it stays as it is.", field="currency")
    if "time_zone" in changes and is_counted(organization):
        raise Conflict("Usage has been counted by days of the present time zone, so it stays as it is.", field="time_zone")
    old = {name: getattr(organization, name) for name in changes}
    for name, value in changes.items():
        setattr(organization, name, value)
    organization.full_clean(exclude=["slug"])
    organization.save(update_fields=list(changes))
    audit_record(actor=actor, action="organization.changed", target=("organization", organization.pk), old=old, new=changes)
    return organization


def currency_is_fixed(organization: Organization) -> bool:
    """Whether costs or limits are kept in the organization's currency already: what was counted is not converted afterwards."""
    return organization.budgets.exists() or is_counted(organization)


def _check_zone(name: str) -> None:
    if name not in available_timezones():
        raise Invalid(f"{name} is not a time zone.", field="time_zone")
    ZoneInfo(name)


@transaction.atomic
def team_create(*, actor: Actor, slug: str, name: str = "", parent: Team | None = None) -> Team:
    """Adds a team below `parent`, or at the top."""
    require(actor, Right.MANAGE_ORGANIZATION)
    _check_own(actor, parent)
    organization_touch(actor.organization)
    team, made = Team.objects.get_or_create(organization=actor.organization, slug=slug, defaults={"name": name or slug, "parent": parent})
    if not made:
        raise Conflict(f"There is a team named {slug} already.", field="slug")
    audit_record(actor=actor, action="team.created", target=("team", team.pk), new={"slug": slug, "parent": parent and parent.slug})
    return team


@transaction.atomic
def team_change(*, actor: Actor, team: Team, name: str, parent: Team | None) -> Team:
    """Renames a team or moves it in the tree. Raises Conflict while budgets above its old or new place have counted by the old one."""
    require(actor, Right.MANAGE_ORGANIZATION)
    _check_own(actor, team, parent)
    organization_touch(actor.organization)
    team = Team.objects.select_for_update().get(pk=team.pk)
    if (team.name, team.parent_id) == (name, parent and parent.pk):
        return team
    if (parent and parent.pk) != team.parent_id:
        if parent is not None and parent.pk in _subtree_of(team):
            raise Invalid("A team cannot be moved below itself.", field="parent")
        if _has_counted_above_of(team.parent) or _has_counted_above_of(parent):
            raise Conflict("Team budgets above have already counted this team's usage by its present place; retire them first.")
    old = {"name": team.name, "parent": team.parent_id}
    team.name, team.parent = name, parent
    team.save(update_fields=["name", "parent"])
    audit_record(actor=actor, action="team.changed", target=("team", team.pk), old=old, new={"name": name, "parent": team.parent_id})
    return team


def _subtree_of(team: Team) -> set[int]:
    found, pending = {team.pk}, [team.pk]
    while pending:
        below = list(Team.objects.filter(organization=team.organization_id, parent__in=pending).values_list("pk", flat=True))
        pending = [pk for pk in below if pk not in found]
        found.update(pending)
    return found


def _has_counted_above_of(team: Team | None) -> bool:
    """Whether a budget in force counts what this team, or one above it, spends."""
    node = team
    while node is not None:
        if node.budgets.filter(is_active=True).exists():
            return True
        node = node.parent
    return False


@transaction.atomic
def project_create(*, actor: Actor, slug: str, name: str = "", team: Team | None = None) -> Project:
    """Adds a project that usage may be allocated to."""
    require(actor, Right.MANAGE_ORGANIZATION)
    _check_own(actor, team)
    organization_touch(actor.organization)
    project, made = Project.objects.get_or_create(organization=actor.organization, slug=slug, defaults={"name": name or slug, "team": team})
    if not made:
        raise Conflict(f"There is a project named {slug} already.", field="slug")
    audit_record(actor=actor, action="project.created", target=("project", project.pk), new={"slug": slug, "team": team and team.slug})
    return project


@transaction.atomic
def member_add(  # noqa: PLR0913
    *, actor: Actor, email: str, name: str = "", role: str = Role.ENGINEER, team: Team | None = None, password: str | None = None,
    approval_limit: Decimal | None = None, aliases: Iterable[str] = (), is_own_password: bool = False,
) -> Member:
    """Adds a person, making the account when the e-mail is new. An existing account keeps its own password.

    A password that the person did not choose (`is_own_password`) has to be changed before any page is shown.
    """
    require(actor, Right.MANAGE_ORGANIZATION)
    _check_own(actor, team)
    _check_role(actor, role)
    organization_touch(actor.organization)
    present = Member.objects.filter(organization=actor.organization, user__email__iexact=email).first()
    names = aliases_checked(actor.organization, aliases, member=present)
    user = User.objects.filter(email__iexact=email).first() or User.objects.create_user(
        email, password, name=name, must_change_password=password is not None and not is_own_password
    )
    member, made = Member.objects.get_or_create(
        organization=actor.organization, user=user,
        defaults={"role": role, "team": team, "approval_limit": approval_limit, "aliases": names},
    )
    if not made:
        raise Conflict(f"{email} is a member already.", field="email")
    audit_record(actor=actor, action="member.added", target=("member", member.pk), new=_member_facts(member))
    return member


@transaction.atomic
def password_change(*, user: User, password: str, address: str | None = None) -> None:
    """Gives a person the password that they chose. Every organization they are active in records that, not what it is."""
    user.set_password(password)
    user.must_change_password = False
    user.save(update_fields=["password", "must_change_password"])
    for member in organizations_of(user.pk):
        audit_record(actor=member_actor(member, address), action="member.password_changed", target=("member", member.pk))


MEMBER_FIELDS = ("role", "team", "approval_limit", "is_active", "aliases")


@transaction.atomic
def member_change(*, actor: Actor, member: Member, **changes: Any) -> Member:
    """Changes role, team, approval_limit, aliases or is_active. The last active owner stays owner."""
    require(actor, Right.MANAGE_ORGANIZATION)
    _check_own(actor, member, changes.get("team"))
    organization_touch(actor.organization)
    member = Member.objects.select_for_update(of=("self",)).select_related("user", "team").get(pk=member.pk)
    if "aliases" in changes:
        changes["aliases"] = aliases_checked(actor.organization, changes["aliases"], member=member)
    changes = {name: value for name, value in changes.items() if name in MEMBER_FIELDS and getattr(member, name) != value}
    if not changes:
        return member
    if "role" in changes or "is_active" in changes:
        _check_role(actor, changes.get("role", member.role))
        _check_role(actor, member.role)
        _check_owner_remains(member, changes)
    old = _member_facts(member)
    for name, value in changes.items():
        setattr(member, name, value)
    member.save(update_fields=list(changes))
    audit_record(actor=actor, action="member.changed", target=("member", member.pk), old=old, new=_member_facts(member))
    return member


@transaction.atomic
def alias_add(*, actor: Actor, member_id: int, alias: str) -> Member:
    """Lets usage name the member so as well: an address, a user name of a gateway. Raises NotFound, Invalid, and Conflict where another goes by it."""
    require(actor, Right.MANAGE_ORGANIZATION)
    organization_lock(actor.organization.pk, exclusive=True)
    member = get_scoped(actor, Member.objects.select_related("user"), pk=member_id)
    if not alias.strip():
        raise Invalid("Say which name.", field="alias")
    if alias.strip().lower() == member.user.email.lower():
        return member
    return member_change(actor=actor, member=member, aliases=[*member.aliases, alias])


@transaction.atomic
def alias_remove(*, actor: Actor, member_id: int, alias: str) -> Member:
    """Usage of this name is the member's no more. One that the member does not go by changes nothing. Raises NotFound."""
    require(actor, Right.MANAGE_ORGANIZATION)
    organization_lock(actor.organization.pk, exclusive=True)
    member = get_scoped(actor, Member.objects.select_related("user"), pk=member_id)
    return member_change(actor=actor, member=member, aliases=[name for name in member.aliases if name.lower() != alias.strip().lower()])


def _member_facts(member: Member) -> dict[str, Any]:
    return {
        "email": member.user.email, "role": str(member.role), "team": member.team and member.team.slug,
        "approval_limit": member.approval_limit, "is_active": member.is_active, "aliases": list(member.aliases),
    }


def _check_role(actor: Actor, role: str) -> None:
    if role not in Role.values:
        raise Invalid(f"{role} is not a role.", field="role")
    is_person = actor.member is not None or actor.api_key is not None
    if role == Role.OWNER and is_person and (actor.member is None or actor.member.role != Role.OWNER):
        raise Forbidden("Only an owner makes or changes an owner.")


def _check_owner_remains(member: Member, changes: Mapping[str, Any]) -> None:
    if member.role != Role.OWNER:
        return
    stays = changes.get("role", member.role) == Role.OWNER and changes.get("is_active", member.is_active)
    others = Member.objects.filter(organization=member.organization_id, role=Role.OWNER, is_active=True, user__is_active=True).exclude(pk=member.pk)
    if not stays and not others.exists():
        raise Conflict("An organization keeps at least one owner.")


@transaction.atomic
def service_account_create(*, actor: Actor, name: str, team: Team | None = None) -> ServiceAccount:
    """Adds an account for a program."""
    require(actor, Right.MANAGE_ORGANIZATION)
    _check_own(actor, team)
    account, made = ServiceAccount.objects.get_or_create(organization=actor.organization, name=name, defaults={"team": team})
    if not made:
        raise Conflict(f"There is a service account named {name} already.", field="name")
    audit_record(actor=actor, action="service_account.created", target=("service_account", account.pk), new={"name": name})
    return account


@transaction.atomic
def service_account_switch(*, actor: Actor, account: ServiceAccount, is_active: bool) -> ServiceAccount:
    """Switches a program's account off, so that its keys are refused from the next call on, or on again. The keys themselves stay."""
    require(actor, Right.MANAGE_ORGANIZATION)
    _check_own(actor, account)
    account = ServiceAccount.objects.select_for_update(of=("self",)).get(pk=account.pk)
    if account.is_active == is_active:
        return account
    account.is_active = is_active
    account.save(update_fields=["is_active"])
    facts = {"name": account.name, "is_active": is_active}
    audit_record(actor=actor, action="service_account.changed", target=("service_account", account.pk), old=facts | {"is_active": not is_active}, new=facts)
    return account


@transaction.atomic
def api_key_create(
    *, actor: Actor, name: str, scopes: Iterable[str], defaults: Mapping[str, str] | None = None, member: Member | None = None,
    service_account: ServiceAccount | None = None, expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Makes a key and returns it with its secret, which is not kept. `defaults` are labels for events that carry none."""
    require(actor, Right.MANAGE_ORGANIZATION)
    _check_own(actor, member, service_account)
    scopes, defaults = sorted(set(scopes)), dict(defaults or {})
    if not scopes or set(scopes) - set(Scope.values):
        raise Invalid(f"Scopes are {', '.join(Scope.values)}; name at least one.", field="scopes")
    _check_scopes(actor, scopes, member)
    if unknown := set(defaults) - DEFAULT_LABELS:
        raise Invalid(f"A key cannot default {', '.join(sorted(unknown))}.", field="defaults")
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid("A key must expire in the future.", field="expires_at")
    organization_touch(actor.organization)
    if ApiKey.objects.filter(organization=actor.organization, name=name, revoked_at=None).exists():
        raise Conflict(f"There is a key named {name} already.", field="name")
    secret, prefix = keys.new_secret()
    key = ApiKey.objects.create(
        organization=actor.organization, name=name, prefix=prefix, secret_hash=keys.secret_hash(secret), scopes=scopes, defaults=defaults,
        member=member, service_account=service_account, expires_at=expires_at, created_by=actor.member.user if actor.member else None,
    )
    facts = {"name": name, "prefix": prefix, "scopes": scopes, "defaults": defaults, "expires_at": expires_at}
    audit_record(actor=actor, action="api_key.created", target=("api_key", key.pk), new=facts)
    return key, secret


def _check_scopes(actor: Actor, scopes: Iterable[str], holder: Member | None) -> None:
    """A key never does more than whoever makes it: no scope that the making key lacks, no acting as somebody else."""
    if actor.api_key is not None and (beyond := set(scopes) - set(actor.api_key.scopes)):
        raise Forbidden(f"The key that asks does not have {', '.join(sorted(beyond))} itself.", field="scopes")
    if holder is not None and Scope.ADMIN in scopes and actor.kind != "system" and (actor.member is None or actor.member.pk != holder.pk):
        raise Forbidden("With this scope the key decides and changes in its holder's name, so only the holder makes it.", field="scopes")


@transaction.atomic
def api_key_revoke(*, actor: Actor, key: ApiKey) -> ApiKey:
    """Ends a key at once and for good. Revoking it again changes nothing."""
    require(actor, Right.MANAGE_ORGANIZATION)
    _check_own(actor, key)
    key = ApiKey.objects.select_for_update(of=("self",)).get(pk=key.pk)
    if key.revoked_at is not None:
        return key
    key.revoked_at = timezone.now()
    key.save(update_fields=["revoked_at"])
    audit_record(actor=actor, action="api_key.revoked", target=("api_key", key.pk), old={"name": key.name, "prefix": key.prefix})
    return key


def _check_own(actor: Actor, *rows: Any) -> None:
    """Rows handed in by a caller belong to the actor's organization, or the caller has a fault."""
    for row in rows:
        if row is not None and row.organization_id != actor.organization.pk:
            raise Forbidden("This belongs to another organization.")
