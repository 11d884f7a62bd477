"""Settings: attribution rules in their order, writing and trying one, testing them on a call."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.attribution import AttributionRuleForm, Conditions, EventForm, conditions_initial, rule_initial
from dashboards.pages.prices_runs import state_badge
from dashboards.pages.settings.frame import done, shown
from governance.attribution.explaining import Explained, condition_words
from governance.attribution.matching import Facts
from governance.attribution.models import AttributionRule
from governance.attribution.services import rule_change, rule_create, rule_move, rule_retire
from governance.ids import row_id
from governance.tenancy.access import Actor, Right, scoped
from governance.tenancy.models import Project, Team
from ingest.attributing.selectors import allocation_of, event_find, events_latest, rule_get, rules_visible, strangers
from ingest.attributing.services import KIND, TRIED_DAYS, rule_try
from ingest.attributing.testing import event_explained, event_read, stored_explained
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun
from ingest.rerating.revising import draft_read
from ingest.rerating.selectors import run_get, runs_visible

TAB = "settings-attribution"
WHAT = {
    "team": "Team",
    "project": "Project",
    "role": "Role",
    "task_class": "Task class",
    "environment": "Environment",
    "billing_mode": "Billing mode",
}
EXAMPLE = {
    "model": "claude-sonnet-4-5",
    "harness": "claude-code",
    "member": "somebody@example.com",
    "tags": {"repository": "github.com/acme/shop"},
}
MOVES = {"up": -1, "down": 1}


@page(Right.MANAGE_ORGANIZATION)
def rule_list(request: PageRequest) -> HttpResponse:
    """The rules in their order, how much of the spend belongs to a team, and the runs over history."""
    actor, slug = request.actor, request.actor.organization.slug
    if request.method == "POST":
        return rule_steps(request)
    table = runs_table(request)
    if table.is_asked_as_csv:
        return table.csv_response("attribution-runs")
    rules = [(rule, [condition_words(**one) for one in rule.conditions], sets_words(rule)) for rule in rules_visible(actor)]
    unknown = strangers(actor)
    values = {
        "rules": rules, "allocation": allocation_of(actor), "table": table, "unknown_people": len(unknown), "unknown_calls": sum(one.calls for one in unknown),
        "unallocated_href": f"{reverse('spend', args=[slug])}?range=30d&by=harness&team=~", "teams_href": f"{reverse('spend', args=[slug])}?range=30d&by=team",
    }  # fmt: skip
    return shown(request, "attribution", TAB, values)


def rule_steps(request: PageRequest) -> HttpResponse:
    """Moves, switches or retires a rule; then back to the list."""
    actor = request.actor
    action, given = request.POST.get("action", ""), row_id(request.POST.get("rule", ""))
    if given is not None:
        rule = rule_get(actor, given)
        if action in MOVES:
            rule_move(actor=actor, rule=rule, step=MOVES[action])
        elif action in ("on", "off"):
            rule_change(actor=actor, rule=rule, is_active=action == "on")
            messages.success(request, f"{rule.name} is switched {action}.")
        elif action == "retire":
            rule_retire(actor=actor, rule=rule)
            messages.success(request, f"{rule.name} is retired. Calls that it decided stay as they are until a run over history.")
    return redirect(TAB, slug=actor.organization.slug)


def sets_words(rule: AttributionRule) -> list[str]:
    """What a rule sets, such as `Team Platform`."""
    return [f"{label} {value}" for name, label in WHAT.items() if (value := getattr(rule, name))]


def runs_table(request: PageRequest) -> Table:
    """Runs over history and trials, newest first."""
    slug = request.actor.organization.slug
    columns = [
        Column("created_at", "Made", kind="at", href=lambda run: reverse("settings-attribution-run", args=[slug, run.pk])),
        Column("reason", "Why", note=lambda run: run.maker_label),
        Column("state", "State", kind="badge", value=run_badge),
        Column("events_seen", "Looked at", kind="count", is_for_wide=True),
        Column("events_changed", "Changed", kind="count"),
    ]
    return Table.from_request(
        request, id="runs", title="Runs over history", columns=columns, rows=runs_visible(request.actor, kind=KIND), sort="-created_at", search=("reason", "maker_label"),
        empty="History has not been attributed anew yet.", page_size=10,
    )  # fmt: skip


def run_badge(run: ReratingRun) -> tuple[str, str]:
    """The state with its tone; a trial waits for nobody."""
    return ("worked out", "ok") if run.draft is not None and run.state == ReratingRun.State.READY else state_badge(run)


@page(Right.MANAGE_ORGANIZATION)
def rule_new(request: PageRequest) -> HttpResponse:
    """A new rule, empty or as it was tried."""
    return rule_edited(request, None, initial=tried_rule(request))


@page(Right.MANAGE_ORGANIZATION)
def rule_page(request: PageRequest, attribution_id: int) -> HttpResponse:
    """One rule, to be changed; as it is, or as a change of it was tried."""
    rule = rule_get(request.actor, attribution_id)
    tried = tried_rule(request)
    return rule_edited(request, rule, initial=tried if tried is not None and tried.pk == rule.pk else rule)


def tried_rule(request: PageRequest) -> AttributionRule | None:
    """The rule of the trial that the address names."""
    tried = row_id(request.GET.get("tried", ""))
    if tried is None:
        return None
    run = run_get(request.actor, tried, kind=KIND)
    return draft_read(run) if run.draft is not None else None


def rule_edited(request: PageRequest, rule: AttributionRule | None, *, initial: AttributionRule | None) -> HttpResponse:
    """Saves the rule, or works out what it would do without saving it."""
    actor, slug = request.actor, request.actor.organization.slug
    form = AttributionRuleForm(request.POST or None, actor=actor, initial=rule_initial(initial, actor.organization.zone) if initial else {})
    lines = Conditions(request.POST if "lines-TOTAL_FORMS" in request.POST else None, prefix="lines", initial=conditions_initial(initial))
    if request.method == "POST" and form.is_valid() and lines.is_valid():
        conditions = [line.kept for line in lines if line.kept]
        asked = {**form.asked, "conditions": conditions}
        if "try" in request.POST:
            if run := done(form, lambda: rule_try(actor=actor, rule=rule, **asked)):
                return redirect("settings-attribution-run", slug=slug, attribution_run_id=run.pk)
        elif saved := done(form, lambda: rule_change(actor=actor, rule=rule, **asked) if rule else rule_create(actor=actor, **asked)):
            messages.success(request, f"{saved.name} holds for calls from now on. Run over history to look at those before.")
            return redirect(TAB, slug=slug)
    values = {"form": form, "lines": lines, "rule": rule, "days": TRIED_DAYS}
    return shown(request, "attribution_rule", TAB, values, status=422 if request.method == "POST" else 200)


@page(Right.MANAGE_ORGANIZATION)
def rule_test(request: PageRequest) -> HttpResponse:
    """What the rules make of one call, line by line: a stored one, or an event that is pasted."""
    actor = request.actor
    form = EventForm(request.POST or None, actor=actor, initial={"event": json.dumps(EXAMPLE, indent=2)})
    found: tuple[Facts, Explained] | None = None
    picked = picked_event(actor, request.GET.get("event", ""))
    if request.method == "POST" and form.is_valid():
        found = done(form, lambda: event_explained(actor, event_read(form.cleaned_data["event"]), key=form.cleaned_data["key"]))
    elif picked is not None:
        found = stored_explained(actor, picked)
    values = {
        "form": form, "explained": found and explained_shown(actor, found[1]), "picked": picked, "facts": found and facts_shown(found[0]), "latest": latest_shown(actor),
    }  # fmt: skip
    return shown(request, "attribution_test", TAB, values, status=422 if form.is_bound and found is None else 200)


def latest_shown(actor: Actor) -> list[tuple[str, UsageEvent]]:
    """The latest calls, with what names each in the address."""
    return [(f"{event.id}@{event.occurred_at.isoformat()}", event) for event in events_latest(actor)]


def picked_event(actor: Actor, text: str) -> UsageEvent | None:
    """The stored call that the address names; None for any other."""
    name, _, at = text.partition("@")
    try:
        occurred_at = datetime.fromisoformat(at)
        return event_find(actor, event_id=UUID(name), occurred_at=occurred_at) if occurred_at.tzinfo else None
    except (ValueError, OverflowError):
        return None


def facts_shown(facts: Facts) -> list[tuple[str, str]]:
    """What the call says, as far as it says something."""
    names = ("team", "project", "member", "key", "harness", "gateway", "provider", "model", "tier", "door", "session", "task", *WHAT)
    said = [(name.replace("_", " ").capitalize(), str(getattr(facts, name))) for name in dict.fromkeys(names) if getattr(facts, name)]
    return [*said, *((f"Tag {name}", value) for name, value in sorted(facts.tags.items()))]


def explained_shown(actor: Actor, explained: Explained) -> dict[str, Any]:
    """The reasons with teams and projects by name."""
    who = explained.decision.who
    team = scoped(actor, Team.objects.filter(pk=who.team_id)).first() if who.team_id else None
    project = scoped(actor, Project.objects.filter(pk=who.project_id)).first() if who.project_id else None
    values = {
        "team": team,
        "project": project,
        **{name: getattr(explained.decision, name) for name in ("role", "task_class", "environment", "billing_mode")},
    }
    nothing = {"team": "unallocated", "project": "none"}
    return {
        "by": [(WHAT[name], values[name] or nothing.get(name, "unknown"), by, name in explained.decision.by) for name, by in explained.by],
        "lines": [(line, [(WHAT[name], result, result == "sets it") for name, result in line.sets]) for line in explained.lines],
    }
