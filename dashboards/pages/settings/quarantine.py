"""Settings: what was not counted by its kind, sending a kind through again, and rules that mend it."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from dashboards.access import PageRequest, page
from dashboards.forms.quarantine import MendingForm
from dashboards.pages.settings.frame import done, shown
from governance.tenancy.access import Actor, Right
from ingest.quarantine.models import QuarantineRule
from ingest.quarantine.selectors import Kind, kinds_of, rule_try
from ingest.quarantine.services import fixes_of, kind_replay, rule_check, rule_create, rule_delete, rule_switch

TAB = "settings-intake"
MOST_KINDS = 20
Action = QuarantineRule.Action


def shown_kinds(actor: Actor) -> list[dict[str, Any]]:
    """What waits by its kind, with where a rule for it is written."""
    slug = actor.organization.slug
    found = kinds_of(actor)[:MOST_KINDS]
    for kind in found:
        asked = {name: kind[name] for name in ("door", "code", "field")}
        kind["href"] = f"{reverse('settings-quarantine-rule', args=[slug])}?{urlencode(asked)}"
    return found


def rule_words(rule: QuarantineRule) -> str:
    """What a rule does, in words; names stand in grave accents."""
    where = f" at the door {rule.door}" if rule.door else ""
    match rule.action:
        case Action.RENAME:
            return f"`{rule.field}` is read as `{rule.target}`{where}"
        case Action.DEFAULT:
            return f"`{rule.field}` is `{rule.value}` where it is missing{where}"
        case Action.MAP:
            return f"`{rule.was}` in `{rule.field}` becomes `{rule.value}`{where}"
        case Action.NUMBER:
            return f"Text in `{rule.field}` is read as a number{where}"
    return f"`{rule.field}` is left out{where}"


@page(Right.MANAGE_ORGANIZATION)
def kind_again(request: PageRequest) -> HttpResponse:
    """Sends what is kept of a kind through again."""
    slug = request.actor.organization.slug
    if request.method == "POST":
        kind = Kind(*(request.POST.get(name, "")[:120] for name in ("door", "code", "field")))
        found = kind_replay(actor=request.actor, kind=kind)
        parts = [f"{found['counted']:,} counted"]
        parts += [f"{found['refused']:,} still refused"] if found["refused"] else []
        parts += [f"{found['incomplete']:,} cannot be sent again, because a part of them was taken out when they were kept"] if found["incomplete"] else []
        parts += [f"{found['left']:,} left: send them again"] if found["left"] else []
        (messages.success if found["counted"] else messages.error)(request, f"{', '.join(parts)}.")
    return redirect(TAB, slug=slug)


@page(Right.MANAGE_ORGANIZATION)
def rule_new(request: PageRequest) -> HttpResponse:
    """A new rule: tried on what is kept, then put in force, and what is kept sent through again."""
    actor = request.actor
    kind = Kind(*(request.GET.get(name, "")[:120] for name in ("door", "code", "field")))
    form = MendingForm(request.POST if "action" in request.POST and "field" in request.POST else None, initial=suggested(kind))
    tried = None
    if form.is_bound and form.is_valid():
        if "save" in request.POST:
            if rule := done(form, lambda: rule_create(actor=actor, **form.asked)):
                messages.success(request, f"The rule is in force: {rule_words(rule).replace('`', '')}. Send what is kept through again to count it.")
                return redirect(TAB, slug=actor.organization.slug)
        elif done(form, lambda: _checked(form)):
            tried = rule_try(actor, form.fix, fixes_of(actor.organization.pk), kind if kind.code else None)
    values = {"form": form, "tried": tried, "kind": kind if kind.code else None}
    return shown(request, "quarantine_rule", TAB, values, status=422 if form.is_bound and form.errors else 200)


def _checked(form: MendingForm) -> bool:
    rule_check(**form.asked)
    return True


def suggested(kind: Kind) -> dict[str, str]:
    """What a rule for a kind may be: a field that means nothing is read as another or left out, one that is missing is set."""
    action = {"unknown_field": Action.RENAME, "missing_field": Action.DEFAULT, "missing_id": Action.RENAME}.get(kind.code, Action.NUMBER if kind.field.endswith("_tokens") else Action.MAP)
    return {"action": action, "field": "" if kind.code == "missing_id" else kind.field, "target": "id" if kind.code == "missing_id" else "", "door": kind.door}


@page(Right.MANAGE_ORGANIZATION)
def rule_switched(request: PageRequest, mending_id: int) -> HttpResponse:
    """Switches a rule on or off, or deletes it."""
    if request.method == "POST" and "delete" in request.POST:
        rule_delete(actor=request.actor, rule_id=mending_id)
        messages.success(request, "The rule is deleted. What it mended stays counted.")
    elif request.method == "POST" and request.POST.get("active") in ("0", "1"):
        rule = rule_switch(actor=request.actor, rule_id=mending_id, is_active=request.POST["active"] == "1")
        messages.success(request, f"The rule is switched {'on' if rule.is_active else 'off'}. What it mended stays counted.")
    return redirect(TAB, slug=request.actor.organization.slug)
