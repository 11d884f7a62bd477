"""Freezes by hand and by guards: of a session with all below it, and the kill switches of teams, members, keys, providers and models."""

from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Model, QuerySet
from django.utils import timezone

from governance.budgets.models import Freeze, Session
from governance.budgets.reach import WIDE
from governance.budgets.selectors import freezes_reaching
from governance.budgets.services.freezes import freeze_end, freeze_record
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.pricing.catalogue import provider_family
from governance.tenancy.access import Actor, Right, require, scoped, visible
from governance.tenancy.models import ApiKey, Member, Team
from governance.tenancy.services import organization_touch

Cause, Kind = Freeze.Cause, Freeze.ScopeKind
Row = TypeVar("Row", bound=Model)
LONGEST_NAME = 200
LONGEST_ID = 18  # digits, so that it fits a bigint
OF_EVERYBODY = (Kind.ORGANIZATION, Kind.PROVIDER, Kind.MODEL)


@transaction.atomic
def freeze_start(*, actor: Actor, scope_kind: str, scope_key: str, cause: str = Cause.HAND, reason: str) -> Freeze:
    """Refuses calls in the scope from the commit on, in every process. What is frozen already stays as it is.

    `scope_key` is the session's key, the provider's or model's name, or names a team (slug), a member (address) or an API key (prefix)
    or gives its id; the organization has none. Raises Forbidden, NotFound for what the actor may not see, and Invalid. Guards act as
    the system. The storing transaction may freeze sessions only: wider scopes wait for whatever is being stored.
    """
    require(actor, Right.FREEZE)
    if not reason.strip():
        raise Invalid("Say why, so that the person at the other end knows.", field="reason")
    if scope_kind not in {Kind.SESSION, *WIDE} or cause in (Cause.BUDGET, Cause.KEY):
        raise Invalid("That cannot be frozen by hand.", field="scope_kind")
    target = _target(actor, scope_kind, scope_key.strip())
    standing = scoped(actor, Freeze.objects.filter(**target, scope_kind=scope_kind, ended_at=None, period=None))
    if found := standing.first():
        return found
    if scope_kind in WIDE:
        organization_touch(actor.organization)
    freeze, is_new = Freeze.objects.get_or_create(
        organization=actor.organization, **target, scope_kind=scope_kind, period=None, ended_at=None,
        defaults={"cause": cause, "reason": reason.strip()[:300], "started_at": timezone.now(), "started_by": actor.member,
            "started_label": "" if actor.api_key is None or actor.member else actor.label[:200]},
    )
    if is_new:
        facts = {"scope_kind": scope_kind, "scope": freeze.label, "cause": cause, "session": freeze.session_key, "reason": freeze.reason}
        freeze_record(actor=actor, freeze=freeze, facts=facts)
    return freeze


def scope_of(*, actor: Actor, scope_kind: str, scope_key: str) -> Freeze:
    """What `freeze_start` would freeze, not saved. Raises as it does."""
    require(actor, Right.FREEZE)
    if scope_kind not in {Kind.SESSION, *WIDE}:
        raise Invalid("That cannot be frozen by hand.", field="scope_kind")
    return Freeze(organization=actor.organization, scope_kind=scope_kind, **_target(actor, scope_kind, scope_key.strip()))


@transaction.atomic
def freeze_stop(*, actor: Actor, freeze: Freeze, reason: str = "") -> Freeze:
    """Ends a freeze that no budget caused; the next call may go on. One that has ended stays as it is.

    Raises Forbidden, NotFound, and Conflict for a budget's freeze, which takes a top-up or a higher limit.
    """
    require(actor, Right.FREEZE)
    found = freeze_visible(actor, freeze.pk)
    if found.period_id is not None:
        raise Conflict("A budget holds this. Grant it more, or raise the budget's limit.", freeze=found.pk)
    if found.cause == Cause.KEY:
        raise Conflict("This key was revoked for good. Make another one; what runs with it goes on.", freeze=found.pk)
    if found.scope_kind in WIDE:
        organization_touch(actor.organization)
    found = Freeze.objects.select_for_update(of=("self",)).select_related("team", "member__user", "api_key__member__user", "api_key__service_account").get(pk=found.pk)
    if found.ended_at is None:
        freeze_end(actor=actor, freeze=found, reason=reason.strip() or "resumed by hand")
    return found


def session_freeze(*, actor: Actor, session_key: str, reason: str) -> Freeze:
    """Refuses further calls of a session and of all below it until somebody resumes it. Freezing it again changes nothing."""
    return freeze_start(actor=actor, scope_kind=Kind.SESSION, scope_key=session_key, reason=reason)


@transaction.atomic
def session_resume(*, actor: Actor, session_key: str, reason: str = "") -> list[Freeze]:
    """Ends the freezes of a session that no budget caused. Raises Conflict when something else is what holds it, saying what."""
    require(actor, Right.FREEZE)
    session = _session(actor, session_key)
    standing = freezes_reaching(actor, session.key)
    own = [freeze for freeze in standing if freeze.session_key == session.key and freeze.period_id is None]
    if standing and not own:
        raise Conflict(_held_by(standing[0], session.key), freeze=standing[0].pk)
    return [freeze_stop(actor=actor, freeze=freeze, reason=reason) for freeze in own]


def _held_by(freeze: Freeze, session_key: str) -> str:
    if freeze.period_id is not None and freeze.session_key in ("", session_key):
        return "A budget holds this session. Grant it more, or raise the budget's limit."
    if freeze.cause == Cause.KEY:
        return f"{freeze.subject}, which runs this session, was revoked. Its next call by another key may go on."
    return f"This session is held by a freeze of {freeze.subject}. Resume that."


def freeze_visible(actor: Actor, freeze_id: int) -> Freeze:
    """A freeze that the actor may end. Raises NotFound for others', and Forbidden for what is not the actor's to switch."""
    freeze = scoped(actor, Freeze.objects.select_related("period", "team", "member__user", "api_key")).filter(pk=freeze_id).first()
    if freeze is None:
        raise NotFound("There is no such freeze here.")
    if freeze.period_id is None:
        _target(actor, freeze.scope_kind, freeze.scope_key)
    return freeze


def _target(actor: Actor, scope_kind: str, scope_key: str) -> dict[str, Any]:
    """The columns that name the scope. Raises NotFound, or Forbidden, for what is not the actor's to freeze."""
    if scope_kind in OF_EVERYBODY and actor.team_ids is not None:
        raise Forbidden("Only admins freeze what every team uses.", right=Right.FREEZE.value)
    if scope_kind == Kind.SESSION:
        key = _session(actor, scope_key).key
        return {"scope_key": key, "session_key": key}
    if scope_kind == Kind.TEAM:
        team = _one(actor, Team.objects.all(), scope_key, name="slug", team_column="id")
        return {"scope_key": str(team.pk), "team": team}
    if scope_kind == Kind.MEMBER:
        member = _one(actor, Member.objects.select_related("user"), scope_key, name="user__email__iexact", team_column="team_id")
        return {"scope_key": str(member.pk), "member": member}
    if scope_kind == Kind.KEY:
        api_key = _one(actor, ApiKey.objects.all(), scope_key, name="prefix", team_column="member__team_id")
        return {"scope_key": str(api_key.pk), "api_key": api_key}
    return {"scope_key": _label(scope_kind, scope_key)}


def _one(actor: Actor, rows: QuerySet[Row], key: str, *, name: str, team_column: str) -> Row:
    """The one row by its name or its id, among those of the actor's teams."""
    rows = scoped(actor, rows)
    if actor.team_ids is not None:
        rows = rows.filter(**{f"{team_column}__in": actor.team_ids})
    found = rows.filter(**{name: key}).first() or (rows.filter(pk=int(key)).first() if key.isdecimal() and len(key) < LONGEST_ID else None)
    if found is None:
        raise NotFound("There is nothing of that name here that you may freeze.")
    return found


def _session(actor: Actor, session_key: str) -> Session:
    session = visible(actor, Session.objects.all()).filter(key=session_key).first()
    if session is None:
        raise NotFound("There is no such session here.")
    return session


def _label(scope_kind: str, name: str) -> str:
    """A provider or a model as switches compare them. A model by the catalogue's name or the one its calls are sent under."""
    if scope_kind == Kind.ORGANIZATION:
        return ""
    label = provider_family(name) if scope_kind == Kind.PROVIDER else name.lower()
    if not label or len(label) > LONGEST_NAME or "\0" in label:
        raise Invalid(f"Name the {scope_kind}.", field="scope_key")
    return label
