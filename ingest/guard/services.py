"""Writes of the guard: rules made, changed and switched; findings recorded once, with what is done about them; going on after one."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from psycopg.types.json import Jsonb

from governance import sql
from governance.audit.services import audit_record, plain
from governance.budgets.models import Freeze, Session
from governance.budgets.services import freeze_start, freeze_stop
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.tenancy.access import Actor, Right, get_scoped, require, scoped, system_actor, visible
from governance.tenancy.models import Organization, Project
from governance.tenancy.services import organization_touch
from ingest.guard import parameters as given
from ingest.guard import tell
from ingest.guard.models import GuardFinding, GuardRule, GuardRuleVersion, GuardTrial
from ingest.guard.rule_sets import LoadedRule
from ingest.guard.rules import Finding
from ingest.guard.tell import reason_of

LONGEST_COOLDOWN_MINUTES = 60 * 24 * 31
LONGEST_TRIAL = timedelta(days=92)
TRIALS_KEPT = timedelta(days=90)
MOST_TAGS = 20
CHANGEABLE = ("name", "parameters", "action", "cooldown_minutes", "exempt_projects", "exempt_tags", "is_inline", "is_active")

RECORD = """
INSERT INTO guard_finding (organization_id, rule_id, rule_version, session_key, number, team_id, member_id, at, found_at, evidence, action, state)
SELECT %(organization)s, %(rule)s, %(version)s, %(session)s::text, coalesce(max(number), 0) + 1, %(team)s, %(member)s, %(at)s::timestamptz, %(now)s::timestamptz,
    %(evidence)s::jsonb, %(action)s::text, %(state)s::text
FROM guard_finding WHERE organization_id = %(organization)s AND rule_id = %(rule)s AND session_key = %(session)s::text
HAVING max(at) IS NULL OR max(at) <= %(at)s::timestamptz - %(cooldown)s::interval
ON CONFLICT (organization_id, rule_id, session_key, number) DO NOTHING
RETURNING id
"""


@transaction.atomic
def rule_create(
    *, actor: Actor, kind: str, name: str, parameters: Mapping[str, Any] | None = None, action: str = GuardRule.Action.NOTIFY, is_default: bool = False, **more: Any
) -> GuardRule:
    """Makes a rule, active at once. `more`: cooldown_minutes, exempt_projects (ids), exempt_tags ("name=value"), is_inline, is_active.

    Needs the right to manage the organization. Raises Invalid, with the `field`.
    """
    require(actor, Right.MANAGE_ORGANIZATION)
    values = {"name": name, "parameters": parameters or {}, "action": action, **more}
    rule = GuardRule(organization=actor.organization, kind=kind, is_default=is_default, **_checked(actor, kind, values))
    organization_touch(actor.organization)
    rule.save()
    _version_keep(actor, rule)
    audit_record(actor=actor, action="guard_rule.created", target=("guard_rule", rule.pk), new=rule_facts(rule))
    return rule


@transaction.atomic
def rule_change(*, actor: Actor, rule: GuardRule, **changes: Any) -> GuardRule:
    """Changes some of name, parameters, action, cooldown_minutes, exempt_projects, exempt_tags, is_inline and is_active; keeps the version.

    Parameters are given as a whole: those left out have their defaults. A change that changes nothing leaves no trace.
    """
    require(actor, Right.MANAGE_ORGANIZATION)
    organization_touch(actor.organization)
    rule = get_scoped(actor, GuardRule.objects.select_for_update(), pk=rule.pk)
    old = rule_facts(rule)
    for name, value in _checked(actor, rule.kind, changes).items():
        setattr(rule, name, value)
    new = rule_facts(rule)
    if new == old:
        return rule
    rule.version += 1
    rule.save()
    _version_keep(actor, rule)
    moved = [name for name in new if new[name] != old[name]]
    audit_record(
        actor=actor, action="guard_rule.changed", target=("guard_rule", rule.pk),
        old={name: old[name] for name in moved}, new={name: new[name] for name in moved},
    )  # fmt: skip
    return rule


def default_rules_ensure(organization: Organization) -> int:
    """Makes a rule of each kind that only tells, where the organization never had one of these. Returns how many are new."""
    there = set(GuardRule.objects.filter(organization=organization, is_default=True).values_list("kind", flat=True))
    missing = [kind for kind in given.KINDS if kind not in there]
    if not missing:
        return 0
    actor = system_actor(organization)
    with transaction.atomic():
        organization_touch(organization)
        there = set(GuardRule.objects.filter(organization=organization, is_default=True).values_list("kind", flat=True))
        for kind in [kind for kind in missing if kind not in there]:
            rule_create(actor=actor, kind=kind, name=given.KINDS[kind].title, is_default=True)
    return len(missing)


def rule_facts(rule: GuardRule) -> dict[str, Any]:
    """The rule as versions and the record keep it."""
    return {"kind": rule.kind, **{name: plain(getattr(rule, name)) for name in CHANGEABLE}}


def _version_keep(actor: Actor, rule: GuardRule) -> None:
    GuardRuleVersion.objects.create(
        organization=actor.organization, rule=rule, number=rule.version, facts=rule_facts(rule), at=timezone.now(), by=actor.member
    )


def _checked(actor: Actor, kind: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values as columns hold them. Raises Invalid."""
    found = dict(changes)
    if unknown := sorted(set(found) - set(CHANGEABLE)):
        raise Invalid(f"A rule has no {unknown[0]}.", field=unknown[0])
    if "parameters" in found or kind not in given.KINDS:
        found["parameters"] = given.plain(given.parameters_of(kind, found.get("parameters", {})))
    if "name" in found and not 0 < len(found["name"].strip()) <= 120:
        raise Invalid("A name has 1 to 120 characters.", field="name")
    if "action" in found and found["action"] not in GuardRule.Action.values:
        raise Invalid("Choose what is done: notify, ask or freeze.", field="action")
    if not 1 <= found.get("cooldown_minutes", 1) <= LONGEST_COOLDOWN_MINUTES:
        raise Invalid("A cooldown lasts from a minute to 31 days.", field="cooldown_minutes")
    if kind == given.FanOut.kind and (found.get("exempt_tags") or found.get("exempt_projects")):
        raise Invalid("A fan-out looks at sessions, not at calls: it passes nothing over.", field="exempt_tags")
    if "exempt_tags" in found:
        found["exempt_tags"] = _checked_tags(found["exempt_tags"])
    if "exempt_projects" in found:
        found["exempt_projects"] = _checked_projects(actor, found["exempt_projects"])
    return found


def _checked_tags(tags: Iterable[str]) -> list[str]:
    found = sorted({tag.strip() for tag in tags if tag.strip()})
    if len(found) > MOST_TAGS or any("=" not in tag[1:] or len(tag) > 400 or "\0" in tag for tag in found):
        raise Invalid(f"Write tags as name=value, {MOST_TAGS} at most.", field="exempt_tags")
    return found


def _checked_projects(actor: Actor, ids: Iterable[int]) -> list[int]:
    wanted = sorted(set(ids))
    if scoped(actor, Project.objects.filter(pk__in=wanted)).count() != len(wanted):
        raise Invalid("There is no such project here.", field="exempt_projects")
    return wanted


@transaction.atomic
def finding_record(*, actor: Actor, rule: LoadedRule, session_key: str, finding: Finding, is_past: bool = False) -> GuardFinding | None:
    """Records what a rule found in a session and does what the rule says; None where it was found within the cooldown already.

    With `is_past` it is only recorded: nothing is done about what is over. Runs may overlap: one of them records.
    """
    now = timezone.now()
    session = Session.objects.filter(organization=actor.organization, key=session_key).first()
    values = {
        "organization": actor.organization.pk, "rule": rule.id, "version": rule.version, "session": session_key, "at": finding.at, "now": now,
        "team": session.team_id if session else None, "member": session.member_id if session else None, "evidence": Jsonb(finding.evidence),
        "action": rule.action, "state": GuardFinding.State.PAST if is_past else GuardFinding.State.TOLD, "cooldown": rule.cooldown,
    }  # fmt: skip
    made = sql.rows(RECORD, values)
    if not made:
        return None
    found = GuardFinding.objects.select_related("rule").get(pk=made[0].id)
    if not is_past:
        _act(actor, found, is_there=session is not None)
    facts = {"rule": found.rule.name, "session": session_key, "at": found.at, "action": found.action, "state": found.state, "evidence": found.evidence}
    audit_record(actor=actor, action="guard.fired", target=("guard_finding", found.pk), new=facts)
    return found


def _act(actor: Actor, found: GuardFinding, *, is_there: bool) -> None:
    """Stops the session where the rule says so, and tells. A session of which nothing is stored yet cannot be stopped."""
    if found.action != GuardRule.Action.NOTIFY and is_there:
        freeze = freeze_start(
            actor=actor, scope_kind="session", scope_key=found.session_key, cause=Freeze.Cause.GUARD, reason=reason_of(found, actor.organization)
        )
        found.freeze_id, found.state = freeze.pk, GuardFinding.State.STOPPED
        found.save(update_fields=["freeze_id", "state"])
    tell.fired(actor.organization, found)


@transaction.atomic
def finding_go_on(*, actor: Actor, finding_id: int, reason: str) -> GuardFinding:
    """Lets a session that the guard stopped go on. Where the rule asks, its own member may say so; else it takes the right to freeze.

    Raises NotFound, Forbidden, Invalid without a reason, and Conflict when it goes on already.
    """
    found = visible(actor, GuardFinding.objects.select_for_update(of=("self",)).select_related("rule")).filter(pk=finding_id).first()
    if found is None:
        raise NotFound("There is no such finding here.")
    if not may_go_on(actor, found):
        raise Forbidden("This takes somebody who may resume sessions.", right=Right.FREEZE.value)
    if not reason.strip():
        raise Invalid("Say why it may go on: the reason is kept in the record.", field="reason")
    if found.state != GuardFinding.State.STOPPED:
        raise Conflict("The session is not stopped by this.")
    freeze = scoped(actor, Freeze.objects.all()).filter(pk=found.freeze_id).first() if found.freeze_id else None
    # The answer to a question is the member's own to give, though ending freezes is not.
    if freeze is not None:
        freeze_stop(actor=actor if actor.can(Right.FREEZE) else system_actor(actor.organization), freeze=freeze, reason=f"{actor.label}: {reason.strip()}")
    # One freeze stands for all that was found while it stood.
    same = scoped(actor, GuardFinding.objects.filter(freeze_id=found.freeze_id, state=GuardFinding.State.STOPPED))
    same.update(state=GuardFinding.State.WENT_ON, ended_at=timezone.now(), ended_by=actor.member)
    facts = {"session": found.session_key, "rule": found.rule.name, "reason": reason.strip()[:300]}
    audit_record(actor=actor, action="guard.went_on", target=("guard_finding", found.pk), old={"state": found.state}, new={"state": "went_on", **facts})
    found.refresh_from_db()
    return found


def may_go_on(actor: Actor, found: GuardFinding) -> bool:
    """Whether the actor may say go on to what was found."""
    if actor.can(Right.FREEZE):
        return True
    return found.action == GuardRule.Action.ASK and actor.member is not None and actor.member.pk == found.member_id and actor.can(Right.REQUEST)


@transaction.atomic
def trial_create(
    *, actor: Actor, kind: str, parameters: Mapping[str, Any], starts_at: datetime, ends_at: datetime, exempt_projects: Sequence[int] = (), exempt_tags: Sequence[str] = ()
) -> GuardTrial:
    """Asks what a rule would have caught in [starts_at, ends_at); a task works it out. Raises Invalid. Nothing else changes, so nothing is recorded."""
    require(actor, Right.MANAGE_ORGANIZATION)
    if not starts_at < ends_at:
        raise Invalid("The range ends after it begins.", field="ends_at")
    if ends_at - starts_at > LONGEST_TRIAL:
        raise Invalid(f"A range is {LONGEST_TRIAL.days} days long at most.", field="starts_at")
    values = _checked(actor, kind, {"parameters": parameters, "exempt_projects": exempt_projects, "exempt_tags": exempt_tags})
    return GuardTrial.objects.create(organization=actor.organization, kind=kind, starts_at=starts_at, ends_at=ends_at, by=actor.member, **values)


def trials_forget(*, now: datetime) -> int:
    """Deletes trials after TRIALS_KEPT, or as soon as an organization keeps no events that long. Returns how many."""
    count = 0
    for organization in Organization.objects.order_by("id"):
        kept = min(TRIALS_KEPT, timedelta(days=organization.retention_days)) if organization.retention_days else TRIALS_KEPT
        count += GuardTrial.objects.filter(organization=organization, created_at__lt=now - kept).delete()[0]
    return count
