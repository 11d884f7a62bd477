"""Writes of quarantine: rules are made, changed, switched and deleted; refused events are mended by them at the door; kept ones are replayed by their kind."""

from collections import Counter
from collections.abc import Mapping, Sequence

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from governance.audit.services import audit_record
from governance.errors import Conflict, Invalid
from governance.tenancy.access import Actor, Right, get_scoped, require, scoped
from ingest.formats.batch import Refusal
from ingest.importing.mapping import FIELDS
from ingest.models import RejectedInput
from ingest.quarantine.mending import TAGS, Fix, Mended, mended
from ingest.quarantine.models import QuarantineRule
from ingest.quarantine.selectors import Kind, kept_of

MOST_RULES = 50
MOST_AT_ONCE = 500
Action = QuarantineRule.Action
IDS = ("id", "request_id")
FACTS = ("action", "field", "target", "value", "was", "door")


def fixes_of(organization_id: int) -> list[Fix]:
    """The rules in force, in their order."""
    rows = QuarantineRule.objects.filter(organization=organization_id, is_active=True).order_by("id")
    return [Fix(*row) for row in rows.values_list("id", "door", "action", "field", "target", "value", "was")]


def refusals_mend(*, organization_id: int, door: str, refused: Sequence[Refusal]) -> dict[int, Mended]:
    """Of refused events those that the organization's rules mend, by their place among the refused."""
    if not any(one.payload for one in refused):
        return {}
    fixes = fixes_of(organization_id)
    if not fixes:
        return {}
    found = {place: one for place, refusal in enumerate(refused) if (one := mended(refusal.payload, fixes, door))}
    mended_note(organization_id, list(found.values()))
    return found


def mended_note(organization_id: int, found: Sequence[Mended]) -> None:
    """Counts for each rule how many events it helped with."""
    counts = Counter(rule for one in found for rule in one.by)
    for rule_id in sorted(counts):
        QuarantineRule.objects.filter(organization=organization_id, pk=rule_id).update(
            mended=F("mended") + counts[rule_id], mended_at=timezone.now()
        )


def rule_check(*, action: str, field: str, target: str = "", value: str = "", was: str = "", door: str = "") -> None:
    """Raises Invalid, with the `field`, for a rule that could never do anything."""
    if action not in Action.values:
        raise Invalid("There is no such change.", field="action")
    if not field or len(field) > 120 or not field.isprintable():
        raise Invalid("Name the field as the sender writes it.", field="field")
    for name, text, most in (("target", target, 120), ("value", value, 254), ("was", was, 254), ("door", door, 40)):
        if len(text) > most or "\0" in text:
            raise Invalid(f"At most {most} characters, none of them NUL.", field=name)
    if action == Action.RENAME and (target == field or (target not in FIELDS and not (target.startswith(TAGS) and target != TAGS))):
        raise Invalid("Choose a field of an event, or tags. and a name.", field="target")
    if action == Action.DEFAULT and (not value or field not in FIELDS):
        raise Invalid("Say which field of an event is set, and to what.", field="value" if field in FIELDS else "field")
    if action == Action.MAP and (not was or was == value):
        raise Invalid("Say which value is replaced, and by what.", field="was")
    if field in IDS and action in (Action.DEFAULT, Action.MAP):
        raise Invalid("An id is one call's own: the same for all would make them one call.", field="field")
    if target in IDS and action == Action.RENAME and field in FIELDS and field not in IDS:
        raise Invalid(f"An id is one call's own: `{field}` says something that calls share.", field="target")


@transaction.atomic
def rule_create(
    *, actor: Actor, action: str, field: str, target: str = "", value: str = "", was: str = "", door: str = ""
) -> QuarantineRule:
    """Makes a rule, in force at once for what comes in from now on. Raises Forbidden, and Invalid with the `field`."""
    require(actor, Right.MANAGE_ORGANIZATION)
    facts = {"action": action, "field": field, "target": target, "value": value, "was": was, "door": door}
    rule_check(**facts)
    _room_check(actor)
    _sameness_check(actor, facts)
    rule = QuarantineRule.objects.create(organization=actor.organization, **facts, maker_label=actor.label[:200], created_at=timezone.now())
    audit_record(actor=actor, action="quarantine_rule.created", target=("quarantine_rule", rule.pk), new=facts)
    return rule


def _room_check(actor: Actor) -> None:
    if QuarantineRule.objects.filter(organization=actor.organization, is_active=True).count() >= MOST_RULES:
        raise Conflict(f"{MOST_RULES} rules are in force. Switch one off first.")


def _sameness_check(actor: Actor, facts: Mapping[str, str], *, besides: int = 0) -> None:
    if QuarantineRule.objects.filter(organization=actor.organization, is_active=True, **facts).exclude(pk=besides).exists():
        raise Conflict("There is such a rule already.")


@transaction.atomic
def rule_change(*, actor: Actor, rule_id: int, is_active: bool = True, **given: str) -> QuarantineRule:
    """Makes another rule of it (as `rule_create` takes them), at the same place in the order, for what comes in from now on.

    Raises NotFound, Forbidden, Conflict, and Invalid with the `field`.
    """
    require(actor, Right.MANAGE_ORGANIZATION)
    rule: QuarantineRule = get_scoped(actor, QuarantineRule.objects.select_for_update(), pk=rule_id)
    facts = {name: given.get(name, "") for name in FACTS}
    rule_check(**facts)
    new: dict[str, str | bool] = {**facts, "is_active": is_active}
    old = {name: getattr(rule, name) for name in new}
    if old == new:
        return rule
    if is_active:
        _sameness_check(actor, facts, besides=rule.pk)
        if not rule.is_active:
            _room_check(actor)
    for name, fact in new.items():
        setattr(rule, name, fact)
    rule.save(update_fields=list(new))
    audit_record(actor=actor, action="quarantine_rule.changed", target=("quarantine_rule", rule.pk), old=old, new=new)
    return rule


@transaction.atomic
def rule_delete(*, actor: Actor, rule_id: int) -> None:
    """Takes a rule out of the list for good; the record keeps what it said, and what it mended stays counted. Raises NotFound and Forbidden."""
    require(actor, Right.MANAGE_ORGANIZATION)
    rule: QuarantineRule = get_scoped(actor, QuarantineRule.objects.select_for_update(), pk=rule_id)
    old = {name: getattr(rule, name) for name in (*FACTS, "is_active", "mended")}
    audit_record(actor=actor, action="quarantine_rule.deleted", target=("quarantine_rule", rule.pk), old=old)
    rule.delete()


@transaction.atomic
def rule_switch(*, actor: Actor, rule_id: int, is_active: bool) -> QuarantineRule:
    """Switches a rule on or off. What it mended stays counted. Raises NotFound and Forbidden."""
    require(actor, Right.MANAGE_ORGANIZATION)
    rule: QuarantineRule = get_scoped(actor, QuarantineRule.objects.select_for_update(), pk=rule_id)
    if rule.is_active == is_active:
        return rule
    if is_active:
        _room_check(actor)
    rule.is_active = is_active
    rule.save(update_fields=["is_active"])
    audit_record(
        actor=actor,
        action="quarantine_rule.switched",
        target=("quarantine_rule", rule.pk),
        old={"is_active": not is_active},
        new={"is_active": is_active},
    )
    return rule


def kind_replay(*, actor: Actor, kind: Kind, most: int = MOST_AT_ONCE) -> Counter[str]:
    """Sends kept inputs of a kind through again, oldest first, each by itself, with the rules in force. Returns how many of each outcome; `left`: not tried yet.

    What cannot be counted stays, noted as tried, and comes after those that were never tried.
    """
    from ingest.rejections import rejected_replay

    require(actor, Right.MANAGE_ORGANIZATION)
    rows = kept_of(actor, kind).order_by(F("replayed_at").asc(nulls_first=True), "received_at", "id")
    found: Counter[str] = Counter()
    for row in rows[:most]:
        try:
            with transaction.atomic():
                outcomes = rejected_replay(actor=actor, rejected=row)
        except Conflict:
            # Somebody else has sent it through meanwhile, or the same person twice.
            found["counted"] += 1
            continue
        except Invalid:
            found["incomplete"] += 1
            RejectedInput.objects.filter(organization=actor.organization, pk=row.pk).update(replayed_at=timezone.now())
            continue
        good = all(one.status in ("accepted", "duplicate") for one in outcomes) and bool(outcomes)
        found["counted" if good else "refused"] += 1
    found["left"] = max(0, scoped(actor, rows).count() - found["refused"] - found["incomplete"])
    return found
