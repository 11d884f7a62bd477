"""Writes of attribution: a rule is made, changed, moved in the order, switched, retired. Calls stored before stay until a run looks at them anew."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from governance.attribution.checks import MOST_RULES, conditions_checked, label_checked, range_check
from governance.attribution.matching import LABELS
from governance.attribution.models import AttributionRule
from governance.audit.services import audit_record
from governance.errors import Conflict, Invalid, NotFound
from governance.tenancy.access import Actor, Right, require, scoped
from governance.tenancy.models import Project, Team
from governance.tenancy.services import organization_touch

CHANGEABLE = ("name", "conditions", "is_overriding", "team", "project", *LABELS, "starts_at", "ends_at", "is_active")


def rule_draft(*, actor: Actor, rule: AttributionRule | None = None, **fields: Any) -> AttributionRule:
    """A rule as it would be, checked and not saved. Fields as in `rule_create`. Raises Invalid with the `field`."""
    draft = AttributionRule(
        pk=rule.pk if rule else None, organization=actor.organization, position=rule.position if rule else 0, made_by=actor.member, maker_label=actor.label[:200],
        created_at=timezone.now(),
    )  # fmt: skip
    for name in CHANGEABLE:
        setattr(draft, name, getattr(rule, name) if rule is not None else _nothing(name))
    for name, value in _checked(actor, fields).items():
        setattr(draft, name, value)
    range_check(draft.starts_at, draft.ends_at)
    if not draft.name:
        raise Invalid("Give the rule a name.", field="name")
    if not draft.conditions:
        conditions_checked([])
    if not any((draft.team_id, draft.project_id, *(getattr(draft, name) for name in LABELS))):
        raise Invalid(
            "A rule sets at least one thing: a team, a project, a role, a task class, an environment or a billing mode.", field="team"
        )
    return draft


def _nothing(name: str) -> Any:
    return {
        "conditions": [],
        "is_overriding": False,
        "is_active": True,
        "team": None,
        "project": None,
        "starts_at": None,
        "ends_at": None,
    }.get(name, "")


def _checked(actor: Actor, fields: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in fields.items() if name in CHANGEABLE}
    if "name" in found:
        found["name"] = found["name"].strip()
        if not 0 < len(found["name"]) <= 120 or not found["name"].isprintable():
            raise Invalid("A name has 1 to 120 characters.", field="name")
    if "conditions" in found:
        found["conditions"] = conditions_checked(found["conditions"])
    for name in LABELS:
        if name in found:
            found[name] = label_checked(name, found[name])
    for name, model in (("team", Team), ("project", Project)):
        row = found.get(name)
        if row is not None and row.organization_id != actor.organization.pk:
            raise Invalid(f"There is no such {model.__name__.lower()} here.", field=name)
    return found


@transaction.atomic
def rule_create(*, actor: Actor, **fields: Any) -> AttributionRule:
    """Adds a rule behind the others: `name`, `conditions`, what it sets (`team`, `project`, `role`, `task_class`, `environment`, `billing_mode`),

    `is_overriding`, [`starts_at`, `ends_at`), `is_active`. It holds for calls stored from now on. Raises Forbidden, Invalid, Conflict.
    """
    require(actor, Right.MANAGE_ORGANIZATION)
    organization_touch(actor.organization)
    present = _present(actor)
    if present.count() >= MOST_RULES:
        raise Conflict(f"There are {MOST_RULES} rules, the most there can be. Retire some that no longer match.")
    rule = rule_draft(actor=actor, **fields)
    _check_name(actor, rule)
    rule.position = (present.aggregate(last=Max("position"))["last"] or 0) + 1
    rule.save(force_insert=True)
    audit_record(actor=actor, action="attribution_rule.created", target=("attribution_rule", rule.pk), new=rule_facts(rule))
    return rule


@transaction.atomic
def rule_change(*, actor: Actor, rule: AttributionRule, **fields: Any) -> AttributionRule:
    """Changes a rule for calls stored from now on. Fields as in `rule_create`."""
    require(actor, Right.MANAGE_ORGANIZATION)
    organization_touch(actor.organization)
    rule = _locked(actor, rule)
    changed = rule_draft(actor=actor, rule=rule, **fields)
    names = [name for name in CHANGEABLE if getattr(changed, name) != getattr(rule, name)]
    if not names:
        return rule
    _check_name(actor, changed)
    old = rule_facts(rule)
    for name in names:
        setattr(rule, name, getattr(changed, name))
    rule.save(update_fields=names)
    audit_record(actor=actor, action="attribution_rule.changed", target=("attribution_rule", rule.pk), old=old, new=rule_facts(rule))
    return rule


@transaction.atomic
def rules_order(*, actor: Actor, rule_ids: Sequence[int]) -> None:
    """Puts the rules in this order; all that are not retired have to be named, once each. Raises Invalid."""
    require(actor, Right.MANAGE_ORGANIZATION)
    organization_touch(actor.organization)
    rows = {rule.pk: rule for rule in _present(actor).order_by("position", "id").select_for_update()}
    if sorted(rule_ids) != sorted(rows):
        raise Invalid("Name every rule once.", field="rule_ids")
    old = list(rows)
    if list(rule_ids) == old:
        return
    for position, rule_id in enumerate(rule_ids, 1):
        rows[rule_id].position = position
    AttributionRule.objects.bulk_update(rows.values(), ["position"])
    audit_record(
        actor=actor,
        action="attribution_rules.ordered",
        target=("organization", actor.organization.pk),
        old={"rules": old},
        new={"rules": list(rule_ids)},
    )


@transaction.atomic
def rule_move(*, actor: Actor, rule: AttributionRule, step: int) -> None:
    """Moves a rule up (-1) or down (1) past its neighbour; at the end of the list it stays."""
    require(actor, Right.MANAGE_ORGANIZATION)
    organization_touch(actor.organization)
    order = list(_present(actor).order_by("position", "id").values_list("pk", flat=True))
    place = order.index(_locked(actor, rule).pk)
    if 0 <= place + step < len(order):
        order[place], order[place + step] = order[place + step], order[place]
        rules_order(actor=actor, rule_ids=order)


@transaction.atomic
def rule_retire(*, actor: Actor, rule: AttributionRule) -> None:
    """Takes a rule out of the list for good. Its row stays, because calls name it."""
    require(actor, Right.MANAGE_ORGANIZATION)
    organization_touch(actor.organization)
    rule = _locked(actor, rule)
    rule.retired_at = timezone.now()
    rule.save(update_fields=["retired_at"])
    audit_record(actor=actor, action="attribution_rule.retired", target=("attribution_rule", rule.pk), old=rule_facts(rule))


def rule_facts(rule: AttributionRule) -> dict[str, Any]:
    """What a rule says, for the record."""
    facts: dict[str, Any] = {name: getattr(rule, name) for name in CHANGEABLE if name not in ("team", "project")}
    return facts | {"team": rule.team and rule.team.slug, "project": rule.project and rule.project.slug, "position": rule.position}


def _present(actor: Actor) -> Any:
    return scoped(actor, AttributionRule.objects.filter(retired_at=None))


def _locked(actor: Actor, rule: AttributionRule) -> AttributionRule:
    found = _present(actor).select_for_update(of=("self",)).select_related("team", "project").filter(pk=rule.pk).first()
    if found is None:
        raise NotFound("There is no such rule here.")
    row: AttributionRule = found
    return row


def _check_name(actor: Actor, rule: AttributionRule) -> None:
    if _present(actor).filter(name=rule.name).exclude(pk=rule.pk).exists():
        raise Conflict(f"There is a rule named {rule.name} already.", field="name")
