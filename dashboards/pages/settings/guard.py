"""Settings: the runaway guard's rules, what they found, and trying one on history; and the page of one finding."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from celery import current_app
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.components.figures import plain_decimal
from dashboards.components.findings import state_of
from dashboards.components.tables import Column, Table
from dashboards.forms.guard import RangeForm, RuleForm
from dashboards.pages.settings.frame import done, shown
from governance.errors import DomainError, NotFound
from governance.tenancy.access import Actor, Right, get_scoped, scoped
from governance.tenancy.models import Member
from ingest.guard import selectors, services
from ingest.guard.models import GuardFinding, GuardRule, GuardRuleVersion, GuardTrial
from ingest.guard.parameters import KINDS, parameters_of, plain
from ingest.guard.tell import sentence

TAB = "settings-guard"
SHOWN_DAYS = 30
TRIAL = "ingest.guard.tasks.guard_trial"
ACTIONS = {"notify": ("tells", ""), "ask": ("asks", "warn"), "freeze": ("freezes", "ice")}
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShownRule:
    """A rule with what it says in words and what it found of late."""

    rule: GuardRule
    words: str
    found: int
    action: tuple[str, str]


def words_of(rule: GuardRule | GuardTrial) -> str:
    """The rule in a sentence; what is wrong with it where its parameters make no sense."""
    try:
        return parameters_of(rule.kind, rule.parameters).words()
    except DomainError as refusal:
        return f"Cannot be used: {refusal.detail}"


@page(Right.MANAGE_ORGANIZATION)
def guard_list(request: PageRequest) -> HttpResponse:
    """The rules, and what they found of late."""
    actor, since = request.actor, timezone.now() - timedelta(days=SHOWN_DAYS)
    table = findings_table(request)
    if table.is_asked_as_csv:
        return table.csv_response("findings")
    rules = [ShownRule(rule, words_of(rule), rule.found, ACTIONS[rule.action]) for rule in selectors.rules_listed(actor, since=since)]
    return shown(request, "guard", TAB, {"rules": rules, "kinds": [(kind, made.title) for kind, made in KINDS.items()], "table": table, "days": SHOWN_DAYS})


def findings_table(request: PageRequest) -> Table:
    """What was found, latest first: when, by which rule, where, and the figures."""
    actor = request.actor
    slug, zone = actor.organization.slug, actor.organization.zone
    names = members_of(actor, GuardFinding.objects.filter(organization=actor.organization).exclude(member_id=None).values_list("member_id", flat=True).distinct())
    columns = [
        Column("at", "When", kind="at", href=lambda row: reverse("guard-finding", args=[slug, row.pk])),
        Column("rule", "Rule", "strong", order="rule__name", value=lambda row: row.rule.name),
        Column("session_key", "Session", href=lambda row: reverse("session", args=[slug, row.session_key]), note=lambda row: names.get(row.member_id, "")),
        Column("evidence", "What was seen", value=lambda row: sentence(row.rule.kind, row.evidence, zone), is_sortable=False, is_for_wide=True),
        Column("state", "State", kind="badge", value=state_of),
    ]
    return Table.from_request(
        request, id="findings", title="Found", columns=columns, rows=selectors.findings_visible(actor), sort="-at", search=("session_key", "rule__name"),
        empty="Nothing has run away yet.",
    )  # fmt: skip


def members_of(actor: Actor, ids: Iterable[int | None]) -> dict[int | None, str]:
    """The names of members by id."""
    rows = scoped(actor, Member.objects.filter(pk__in=[one for one in ids if one is not None])).select_related("user").order_by()
    return {member.pk: str(member) for member in rows}


@page(Right.MANAGE_ORGANIZATION)
def rule_new(request: PageRequest) -> HttpResponse:
    """A new rule of the kind that the address names."""
    kind = request.GET.get("kind", "burn")
    if kind not in KINDS:
        raise NotFound("There is no such kind of rule.")
    form = RuleForm(request.POST or None, actor=request.actor, kind=kind, initial={"name": KINDS[kind].title})
    return rule_edited(request, form, None)


@page(Right.MANAGE_ORGANIZATION)
def rule_page(request: PageRequest, rule_id: int) -> HttpResponse:
    """One rule: its parameters, switching it, its earlier versions."""
    actor = request.actor
    rule = get_scoped(actor, GuardRule.objects.all(), pk=rule_id)
    if request.method == "POST" and "active" in request.POST:
        services.rule_change(actor=actor, rule=rule, is_active=request.POST["active"] == "1")
        messages.success(request, f"{rule.name} is switched {'on' if request.POST['active'] == '1' else 'off'}.")
        return redirect(TAB, slug=actor.organization.slug)
    form = RuleForm(request.POST or None, actor=actor, kind=rule.kind, initial=values_of(rule))
    return rule_edited(request, form, rule)


def values_of(rule: GuardRule) -> dict[str, Any]:
    """What the form of a rule begins with."""
    try:
        given = plain(parameters_of(rule.kind, rule.parameters))
    except DomainError:
        given = {}
    numbers = {name: plain_decimal(Decimal(value)) if isinstance(value, str) else value for name, value in given.items()}
    common = {name: getattr(rule, name) for name in ("name", "action", "is_inline", "cooldown_minutes", "exempt_projects")}
    return {**common, "exempt_tags": "\n".join(rule.exempt_tags), **numbers}


def rule_edited(request: PageRequest, form: RuleForm, rule: GuardRule | None) -> HttpResponse:
    """Saves the rule, or tries it on history without saving."""
    actor = request.actor
    span = RangeForm(request.POST if "try" in request.POST else None)
    if request.method == "POST" and form.is_valid():
        if "try" in request.POST and span.is_valid():
            trial = done(form, lambda: trial_begin(actor, form, span.span))
            if trial:
                return redirect("settings-guard-trial", slug=actor.organization.slug, trial_id=trial.pk)
        elif saved := done(form, lambda: rule_save(actor, form, rule)):
            messages.success(request, f"{saved.name} is {'changed' if rule else 'made'}.")
            return redirect(TAB, slug=actor.organization.slug)
    versions = scoped(actor, GuardRuleVersion.objects.filter(rule=rule).select_related("by__user"))[:20] if rule else []
    kept = [(version, parameters_of(version.facts["kind"], version.facts["parameters"]).words()) for version in versions]
    values = {"form": form, "span": span, "rule": rule, "words": words_of(rule) if rule else "", "kind": KINDS[form.kind], "versions": kept}
    return shown(request, "guard_rule", TAB, values, status=422 if form.is_bound else 200)


def rule_save(actor: Actor, form: RuleForm, rule: GuardRule | None) -> GuardRule:
    if rule is None:
        return services.rule_create(actor=actor, kind=form.kind, **form.values)
    return services.rule_change(actor=actor, rule=rule, **form.values)


def trial_begin(actor: Actor, form: RuleForm, span: timedelta) -> GuardTrial:
    """Files the trial and wakes the worker. When the queue does not take it, the guard's look of the next minute does."""
    now, given = timezone.now(), form.values
    trial = services.trial_create(
        actor=actor, kind=form.kind, parameters=given["parameters"], starts_at=now - span, ends_at=now, exempt_projects=given["exempt_projects"],
        exempt_tags=given["exempt_tags"],
    )  # fmt: skip
    transaction.on_commit(lambda: trial_send(trial.pk), robust=True)
    return trial


def trial_send(trial_id: int) -> None:
    try:
        current_app.send_task(TRIAL, args=[trial_id], retry=False)
    except Exception as error:  # noqa: BLE001 - whatever keeps the broker from answering, the schedule takes over
        log.info("the queue did not take the trial, the schedule will: %s", error)


@page(Right.MANAGE_ORGANIZATION)
def trial_page(request: PageRequest, trial_id: int) -> HttpResponse:
    """What a rule would have caught; refreshes itself while it is worked out."""
    actor = request.actor
    trial = selectors.trial_get(actor, trial_id)
    table = trial_table(request, trial)
    if table.is_asked_as_csv:
        return table.csv_response("would-have-caught")
    is_over = trial.state in (GuardTrial.State.DONE, GuardTrial.State.FAILED)
    values = {"trial": trial, "words": words_of(trial), "table": table, "is_over": is_over, "title": KINDS[trial.kind].title}
    return shown(request, "guard_trial", TAB, values)


def trial_table(request: PageRequest, trial: GuardTrial) -> Table:
    actor = request.actor
    slug, currency, zone = actor.organization.slug, actor.organization.currency, actor.organization.zone
    names = members_of(actor, {row["member"] for row in trial.results if row["member"]})
    rows = [{**row, "at": datetime.fromisoformat(row["at"]), "spent_after": Decimal(row["spent_after"]), "seen": sentence(trial.kind, row["evidence"], zone)} for row in trial.results]
    columns = [
        Column("session", "Session", href=lambda row: reverse("session", args=[slug, row["session"]]), note=lambda row: names.get(row["member"], "")),
        Column("at", "When it would have", kind="at"),
        Column("spent_after", "Spent after that", kind="money", currency=currency),
        Column("seen", "What would have been seen", is_sortable=False, is_for_wide=True),
    ]
    return Table.from_request(
        request, id="caught", title="Would have caught", columns=columns, rows=rows, sort="-spent_after", search=("session",), empty="No session in this range."
    )


@page()
def finding_page(request: PageRequest, finding_id: int) -> HttpResponse:
    """One finding with its evidence; whoever may lets the session go on here."""
    actor = request.actor
    found = selectors.finding_get(actor, finding_id)
    refusal = ""
    if request.method == "POST":
        try:
            services.finding_go_on(actor=actor, finding_id=found.pk, reason=request.POST.get("reason", ""))
        except DomainError as error:
            if error.status in (403, 404):
                raise
            refusal = error.detail
        else:
            messages.success(request, "The session may go on.")
            return redirect("session", slug=actor.organization.slug, key=found.session_key)
    names = members_of(actor, [found.member_id])
    values = {
        "found": found, "said": sentence(found.rule.kind, found.evidence, actor.organization.zone), "state": state_of(found), "member": names.get(found.member_id, ""),
        "may_go_on": state_of(found)[0] == "stopped" and services.may_go_on(actor, found), "refusal": refusal, "reason": request.POST.get("reason", ""),
        "may_change": actor.can(Right.MANAGE_ORGANIZATION),
    }  # fmt: skip
    return render(request, "guard/finding.html", values, status=422 if refusal else 200)
