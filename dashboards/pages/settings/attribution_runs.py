"""Settings: history attributed anew, with its preview, its progress and each call's old and new; and people whom usage names and nobody knows."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.attribution import HistoryForm, StrangerForm, last_days
from dashboards.pages.prices_runs import AT_WORK, SAID, STEPS, run_steps
from dashboards.pages.settings.attribution import TAB, run_badge, sets_words
from dashboards.pages.settings.frame import done, shown
from governance.attribution.explaining import condition_words
from governance.errors import DomainError
from governance.tenancy.access import Actor, Right, scoped
from governance.tenancy.models import Member, Project, Team
from governance.tenancy.services import alias_add
from ingest.attributing.selectors import rule_names, strangers
from ingest.attributing.services import KIND, TRIED_DAYS, attribution_run_create
from ingest.rerating.models import ReratingRun
from ingest.rerating.revising import draft_read
from ingest.rerating.selectors import events_of, run_amendments, run_get

State = ReratingRun.State
FIELDS = {
    "team_id": "team",
    "project_id": "project",
    "member_id": "member",
    "role": "role",
    "task_class": "task class",
    "environment": "environment",
    "billing_mode": "billing mode",
}


@page(Right.MANAGE_ORGANIZATION)
def run_new(request: PageRequest) -> HttpResponse:
    """Asks which calls, and why; what would move is worked out before anything does."""
    actor = request.actor
    form = HistoryForm(request.POST or None, actor=actor, initial={**last_days(TRIED_DAYS), "reason": request.GET.get("reason", "")[:300]})
    if request.method == "POST" and form.is_valid() and (run := done(form, lambda: attribution_run_create(actor=actor, **form.asked))):
        return redirect("settings-attribution-run", slug=actor.organization.slug, attribution_run_id=run.pk)
    return shown(request, "attribution_run_new", TAB, {"form": form}, status=422 if form.is_bound else 200)


@page(Right.MANAGE_ORGANIZATION)
def run_page(request: PageRequest, attribution_run_id: int) -> HttpResponse:
    """One run, or a rule that is tried: what would move or how far it is, the steps that may be taken, and what it changed call by call."""
    actor, slug, refusal = request.actor, request.actor.organization.slug, ""
    if request.method == "POST":
        run, step = run_get(actor, attribution_run_id, kind=KIND), request.POST.get("action", "")
        try:
            if step in STEPS:
                STEPS[step](actor=actor, run=run)
                messages.success(request, SAID[step])
            return redirect("settings-attribution-run", slug=slug, attribution_run_id=run.pk)
        except DomainError as error:
            refusal = error.detail
    run = run_get(actor, attribution_run_id, kind=KIND)
    table = amendments_table(request, run)
    if table.is_asked_as_csv:
        return table.csv_response(f"attribution-run-{run.pk}")
    values = {
        "run": run, "state": run_badge(run), "refusal": refusal, "is_at_work": run.state in AT_WORK, "table": table, "steps": steps_of(run), "preview": preview_shown(actor, run),
        "percent": Decimal(run.events_seen) / run.events_total if run.events_total else None, "last_day": run.ends_at - timedelta(seconds=1), "draft": draft_shown(run),
    }  # fmt: skip
    return shown(request, "attribution_run", TAB, values, status=409 if refusal else 200)


def steps_of(run: ReratingRun) -> list[tuple[str, str, str]]:
    """What may be done now; a trial is only ever cancelled, while it is worked out."""
    steps = run_steps(run)
    return steps if run.draft is None else [step for step in steps if step[0] == "cancel" and run.state == State.PREVIEWING]


def draft_shown(run: ReratingRun) -> dict[str, Any] | None:
    """The rule that is tried, in words, and where it is written on."""
    if run.draft is None:
        return None
    rule = draft_read(run)
    slug = run.organization.slug
    address = (
        reverse("settings-attribution-new", args=[slug])
        if not run.draft.get("rule")
        else reverse("settings-attribution-rule", args=[slug, rule.pk])
    )
    return {
        "rule": rule,
        "conditions": [condition_words(**one) for one in rule.conditions],
        "sets": sets_words(rule),
        "href": f"{address}?tried={run.pk}",
    }


def preview_shown(actor: Actor, run: ReratingRun) -> Mapping[str, Any] | None:
    """The preview with its amounts as amounts, rules by name, and what changes in words."""
    if run.preview is None:
        return None

    def read(line: Mapping[str, Any]) -> dict[str, Any]:
        return {**line, **{name: Decimal(line[name]) for name in ("before", "after", "delta") if name in line}}

    names = {**rule_names(actor), 0: "the rule that is tried"}
    lines = {name: [read(line) for line in run.preview[name]] for name in ("moves", "teams", "budgets")}
    for line in lines["budgets"]:
        line["named"] = [{**one, "starts_at": datetime.fromisoformat(one["starts_at"])} for one in line["named"]]
    fields = [(FIELDS[name], calls) for name, calls in sorted(run.preview["fields"].items(), key=lambda item: -item[1])]
    rules = [
        (names.get(int(rule_id), "A rule that is gone"), calls)
        for rule_id, calls in sorted(run.preview["rules"].items(), key=lambda item: -item[1])
    ]
    return {**read(run.preview), **lines, "posted": read(run.preview["posted"]), "fields": fields, "rules": rules}


def amendments_table(request: PageRequest, run: ReratingRun) -> Table:
    """Old and new of each call that the run changed, with the session it belongs to."""
    actor, slug = request.actor, request.actor.organization.slug
    events, names = dict[Any, Any](), names_of(actor)

    def session(row: Any) -> str | None:
        key = events[row.event_id].session if row.event_id in events else ""
        return reverse("session", args=[slug, key]) if key else None

    def became(row: Any) -> str:
        old, new = row.old or {}, row.new or {}
        changed = [(name, words) for name, words in FIELDS.items() if name in new]
        return "; ".join(
            f"{words} {value_words(names, name, old.get(name))} → {value_words(names, name, new[name])}" for name, words in changed
        )

    columns = [
        Column("occurred_at", "Call of", kind="at", href=session),
        Column("became", "What changed", value=became, is_sortable=False),
        Column("old_cost", "Before", kind="money", currency=actor.organization.currency, is_for_wide=True),
        Column("new_cost", "After", kind="money", currency=actor.organization.currency),
        Column(
            "is_posted",
            "Counted",
            value=lambda row: "in the open month" if row.is_posted else "where it was",
            is_sortable=False,
            is_for_wide=True,
        ),
    ]
    if request.GET.get("format") == "csv":
        columns = [Column("event_id", "Event", is_sortable=False), *columns]
    table = Table.from_request(
        request, id="changed", title="Calls that changed", columns=columns, rows=run_amendments(run), sort="occurred_at",
        empty="No call has changed yet." if not run.is_ended else "No call changed.",
    )  # fmt: skip
    events.update(events_of(run, table.rows))
    return table


def names_of(actor: Actor) -> dict[str, dict[int, str]]:
    """Teams, projects and members by column and id."""
    return {
        "team_id": dict(scoped(actor, Team.objects.order_by("id")).values_list("pk", "name")),
        "project_id": dict(scoped(actor, Project.objects.order_by("id")).values_list("pk", "name")),
        "member_id": {member.pk: str(member) for member in scoped(actor, Member.objects.select_related("user").order_by("id"))},
    }


def value_words(names: Mapping[str, Mapping[int, str]], name: str, value: Any) -> str:
    """A column's value as a person reads it."""
    if value is None or value == "":
        return "none" if name in names else "unknown"
    return names[name].get(value, str(value)) if name in names else str(value)


@page(Right.MANAGE_ORGANIZATION)
def people_list(request: PageRequest) -> HttpResponse:
    """People whom usage names and nobody here goes by, each to be given to a member with one click."""
    actor, slug = request.actor, request.actor.organization.slug
    form = StrangerForm(request.POST or None, actor=actor)
    if request.method == "POST" and form.is_valid():
        member, name = form.cleaned_data["member"], form.cleaned_data["name"]
        if done(form, lambda: alias_add(actor=actor, member_id=member.pk, alias=name)):
            messages.success(request, f"{name} is {member} from now on. Run over history to bring the calls before.")
            return redirect(f"{reverse('settings-attribution-run-new', args=[slug])}?{urlencode({'reason': f'{name} is {member}'})}")
    lines = [
        (one, StrangerForm(actor=actor, auto_id=f"id_{number}_%s", initial={"name": one.name, "member": one.likely}))
        for number, one in enumerate(strangers(actor))
    ]
    values = {"form": form, "lines": lines}
    return shown(request, "attribution_people", TAB, values, status=422 if form.is_bound else 200)
