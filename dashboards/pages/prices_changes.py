"""Prices: what readings of price sources found, what waits for a decision, where sources disagree, and what it does to the bill."""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from dashboards.access import PageRequest, page
from dashboards.components.figures import UNKNOWN, plain_decimal
from dashboards.components.meter_words import kind_label, meter_label, per_text
from dashboards.components.tables import Column, Table
from dashboards.pages.prices import model_address, shown
from governance.errors import DomainError, Invalid
from governance.pricing.changing import is_book_keeper
from governance.pricing.models import PriceFinding, PriceRun, Provider, RatingProposal
from governance.pricing.sources.own import PREFIX
from governance.pricing.sync import selectors, services
from governance.pricing.sync.selectors import Disagreement
from governance.pricing.sync.trust import DEFAULT, LABELS, kind_of, label_of
from governance.tenancy.access import Actor, Right, require, scoped
from governance.tenancy.models import Team
from ingest.price_changes.effect import Effect, effects_of
from ingest.price_changes.services import proposal_dismiss, proposal_take
from ingest.price_changes.telling import percent_text

TAB = "prices-changes"
TONES = {"applied": "ok", "accepted": "ok", "waiting": "warn", "rejected": "", "overtaken": "", "noted": ""}
RUN_TONES = {"done": "ok", "unchanged": "", "failed": "danger"}
MOST_UPLOADED = 5 * 1024 * 1024
WAITING_SHOWN = 25
TEAMS_SHOWN = 5
LINES_SHOWN = 8
Kind, State = PriceFinding.Kind, PriceFinding.State


@page(Right.VIEW_SPEND)
@require_http_methods(["GET", "POST"])
def changes(request: PageRequest) -> HttpResponse:
    """The readings, what waits, calls to rate again, and the sources. A POST decides, reads, switches, uploads or orders."""
    if request.method == "GET":
        table = _runs_table(request)
        if table.is_asked_as_csv:
            return table.csv_response("price-readings")
        return shown(request, "changes", TAB, _context(request) | {"table": table})
    require(request.actor, Right.MANAGE_PRICES)
    try:
        said, href = _done(request)
    except DomainError as refusal:
        if refusal.status in (403, 404):
            raise
        return shown(request, "changes", TAB, _context(request) | {"table": _runs_table(request), "refusal": refusal.detail}, status=422)
    messages.success(request, said)
    return HttpResponseRedirect(href or reverse(TAB, args=[request.actor.organization.slug]))


def _done(request: PageRequest) -> tuple[str, str]:
    """Does what the form asks. Returns what to say, and where to go on ("": the same page)."""
    doings = {
        "accept": _decided, "reject": _decided, "read": _read, "switch": _switched, "upload": _uploaded, "trust": _ordered, "rate": _rated, "leave": _rated,
    }  # fmt: skip
    doing = doings.get(request.POST.get("action", ""))
    if doing is None:
        raise Invalid("Say what to do.", field="action")
    return doing(request)


def _number(request: PageRequest, name: str) -> int:
    text = request.POST.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _decided(request: PageRequest) -> tuple[str, str]:
    is_accepted = request.POST["action"] == "accept"
    decide = services.finding_accept if is_accepted else services.finding_reject
    finding = decide(actor=request.actor, finding_id=_number(request, "finding"), note=request.POST.get("note", ""))
    if is_accepted:
        return f"{finding.slug} is in the book at this price since it was found.", ""
    return f"{finding.slug} stays as it is. The same is not asked again.", ""


def _read(request: PageRequest) -> tuple[str, str]:
    source = request.POST.get("source", "")
    if source not in services.ONLINE:
        raise Invalid("There is no such source.", field="source")
    services.reading_ask(source)
    return f"{label_of(source)} is being read. What is found is listed below.", ""


def _switched(request: PageRequest) -> tuple[str, str]:
    setting = services.source_switch(actor=request.actor, source=request.POST.get("source", ""), is_on=request.POST.get("is_on") == "1")
    return f"{label_of(setting.source)} is {'read daily' if setting.is_on else 'no longer read'}.", ""


def _uploaded(request: PageRequest) -> tuple[str, str]:
    file = request.FILES.get("file")
    if file is None:
        raise Invalid("Choose a file: CSV or JSON.", field="file")
    if (file.size or 0) > MOST_UPLOADED:
        raise Invalid("No price list has more than 5 MB.", field="file")
    run = services.list_upload(actor=request.actor, provider=request.POST.get("provider", ""), body=file.read())
    return f"{run.models_read:,} models read.", reverse("price-reading", args=[request.actor.organization.slug, run.pk])


def _ordered(request: PageRequest) -> tuple[str, str]:
    order = [kind for kind in request.POST.getlist("sources") if kind]
    provider = request.POST.get("provider", "")
    services.trust_set(actor=request.actor, provider=provider, sources=order)
    return f"The order for {provider or 'all providers'} is set. It holds from the next reading on.", ""


def _rated(request: PageRequest) -> tuple[str, str]:
    number = _number(request, "proposal")
    if request.POST["action"] == "leave":
        proposal_dismiss(actor=request.actor, proposal_id=number)
        return "These calls stay as they were rated.", ""
    run = proposal_take(actor=request.actor, proposal_id=number)
    said = f"Run {run.pk} works out what it would change. Nothing is changed before it is started."
    return said, reverse("prices-run", args=[request.actor.organization.slug, run.pk])


def _context(request: PageRequest) -> dict[str, Any]:
    now = timezone.now()
    waiting = list(selectors.findings_waiting()[: WAITING_SHOWN + 1])
    effects = {effect.finding.pk: effect for effect in effects_of(request.actor.organization, waiting[:WAITING_SHOWN], now=now, team_ids=request.actor.team_ids)} if waiting else {}
    return {
        "waiting": [_card(request, finding, effects.get(finding.pk)) for finding in waiting[:WAITING_SHOWN]],
        "more_wait": len(waiting) > WAITING_SHOWN,
        "proposals": proposals_open(request.actor),
        "sources": [{"state": state, "tone": RUN_TONES.get(state.last.state, "") if state.last else ""} for state in selectors.source_states()],
        "orders": [(provider, [LABELS[kind] for kind in order]) for provider, order in selectors.trust_orders()],
        "kinds": [(kind, LABELS[kind]) for kind in DEFAULT],
        "places": range(1, len(DEFAULT) + 1),
        "providers": list(Provider.objects.order_by("slug").values_list("slug", flat=True)),
        "may_change": is_book_keeper(request.actor),
        "may_rate": request.actor.can(Right.MANAGE_PRICES),
        "is_any_read_daily": bool(services.sources_due()),
    }


def proposals_open(actor: Actor) -> list[RatingProposal]:
    """The latest offers to rate calls again that wait for an answer; none for who sees some teams' figures only."""
    if actor.team_ids is not None:
        return []
    return list(scoped(actor, RatingProposal.objects.filter(state=RatingProposal.State.OPEN)).order_by("-id")[:WAITING_SHOWN])


def _card(request: PageRequest, finding: PriceFinding, effect: Effect | None) -> dict[str, Any]:
    """A finding that waits, ready to be judged."""
    return {
        "finding": finding,
        "href": model_address(request.actor, finding.provider, finding.slug) if finding.model_id else None,
        "source": source_text(finding.run.source),
        "doubts": services.doubt_words(finding.suspicions),
        "lines": [_line(line) for line in finding.steps if line["meter"]][:LINES_SHOWN],
        "effect": effect if effect and effect.is_felt else None,
    }


def _line(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "label": f"{meter_label(line['meter'])} {per_text(line['per'])}",
        "kind": kind_label(line["context"]) if line["context"] else "",
        "old": line["old"],
        "new": line["new"],
        "currency": line["currency"],
    }


def _runs_table(request: PageRequest) -> Table:
    slug = request.actor.organization.slug
    columns = [
        Column("started_at", "Read", kind="at", href=lambda run: reverse("price-reading", args=[slug, run.pk])),
        Column("source", "Source", value=lambda run: source_text(run.source)),
        Column("state", "Outcome", kind="badge", value=lambda run: (run.get_state_display(), RUN_TONES[run.state])),
        Column("models_read", "Models", kind="count", value=lambda run: run.models_read or None),
        Column("found", "Found", value=_found_text, is_sortable=False),
        Column("by", "Asked by", value=lambda run: run.by or ("the operator" if run.source.startswith(PREFIX) else "daily"), is_for_wide=True),
    ]
    return Table.from_request(
        request, id="runs", title="Readings", columns=columns, rows=selectors.runs(), sort="-started_at", search=("source", "by"),
        empty="No source has been read yet.",
    )  # fmt: skip


def source_text(source: str) -> str:
    """The source's name, with the provider's where it is one's own list."""
    own = source.removeprefix(PREFIX)
    return label_of(source) if own == source else f"{label_of(source)} ({own})"


def _found_text(run: PriceRun) -> str:
    if run.state == PriceRun.State.FAILED:
        return f"{run.problem}{f' ({run.failures} times)' if run.failures > 1 else ''}"
    words = {**{kind.value: kind.label.lower() for kind in Kind}, "waiting": "waiting"}
    return ", ".join(f"{number:,} {words.get(kind, kind)}" for kind, number in run.counts.items()) or UNKNOWN


@page(Right.VIEW_SPEND)
@require_GET
def reading_page(request: PageRequest, reading_id: int) -> HttpResponse:
    """One reading: what it found, and what that does to last month's bill."""
    run = selectors.run_named(reading_id)
    findings = list(selectors.findings_of(run))
    for finding in findings:
        finding.run = run
    compared = [finding for finding in findings if finding.state not in (State.REJECTED, State.OVERTAKEN)]
    actor = request.actor
    found = effects_of(actor.organization, compared, now=timezone.now(), with_budgets=True, team_ids=actor.team_ids)
    effects = {effect.finding.pk: effect for effect in found}
    table = _findings_table(request, findings, effects)
    if table.is_asked_as_csv:
        return table.csv_response(f"price-reading-{run.pk}")
    felt = [effect for effect in effects.values() if effect.is_felt]
    values = {
        "run": run, "tone": RUN_TONES[run.state], "source": source_text(run.source), "table": table, "felt": felt[:10], "felt_by": _felt_by(actor, felt[:10]), "left_out": sorted(run.left_out.items()),
        "before": sum(effect.before for effect in felt), "after": sum(effect.after for effect in felt), "currency": request.actor.organization.currency,
        "budgets": [(effect, budget) for effect in felt for budget in effect.budgets][:10],
        "seconds": (run.finished_at - run.started_at).total_seconds(),
    }  # fmt: skip
    return shown(request, "reading", TAB, values)


def _felt_by(actor: Actor, felt: Sequence[Effect]) -> list[tuple[Effect, list[tuple[str, Decimal]]]]:
    """The effects, each with the teams that feel it most and by how much."""
    names = dict(scoped(actor, Team.objects.all()).values_list("pk", "name")) if felt else {}

    def teams(effect: Effect) -> list[tuple[str, Decimal]]:
        shares = sorted(effect.by_team.items(), key=lambda item: -abs(item[1]))[:TEAMS_SHOWN]
        return [(names.get(team or 0, "no team"), amount) for team, amount in shares if amount]

    return [(effect, teams(effect)) for effect in felt]


def _findings_table(request: PageRequest, findings: Sequence[PriceFinding], effects: dict[int, Effect]) -> Table:
    def bill(finding: PriceFinding) -> Any:
        effect = effects.get(finding.pk)
        return effect.difference if effect and effect.is_felt else None

    def href(finding: PriceFinding) -> str | None:
        return model_address(request.actor, finding.provider, finding.slug) if finding.model_id else None

    columns = [
        Column("slug", "Model", kind="strong", href=href),
        Column("provider", "Provider"),
        Column("kind", "What", value=lambda finding: finding.get_kind_display()),
        Column("change", "Change", value=lambda finding: percent_text(finding.change) if finding.change is not None else None),
        Column("amounts", "Amounts", value=_amounts_text, is_sortable=False),
        Column("valid_from", "From", kind="at", is_for_wide=True),
        Column("bill", "On last month's bill", kind="money", value=bill, currency=request.actor.organization.currency),
        Column("state", "State", kind="badge", value=lambda finding: (finding.get_state_display(), TONES[finding.state])),
    ]
    return Table.from_request(
        request, id="findings", title="What was found", columns=columns, rows=list(findings), sort="slug", search=("slug", "provider"),
        empty="Nothing differed from what the book has.",
    )  # fmt: skip


def _amounts_text(finding: PriceFinding) -> str:
    """The first amounts that differ: "input 3 to 6"."""
    lines = [line for line in finding.steps if line["meter"] and not line["context"]] or [line for line in finding.steps if line["meter"]]
    shown_lines = [f"{meter_label(line['meter']).lower()} {line['old'] or UNKNOWN} to {line['new'] or UNKNOWN}" for line in lines[:3]]
    return "; ".join(shown_lines) + (f" and {len(lines) - 3} more" if len(lines) > 3 else "")


@page(Right.VIEW_SPEND)
@require_GET
def disagreements_page(request: PageRequest) -> HttpResponse:
    """Models about which sources say different things, side by side."""
    rows = selectors.disagreements()
    sources = sorted({source for row in rows for source in row.quotes}, key=lambda source: (DEFAULT.index(kind_of(source)), source))
    columns = [
        Column("slug", "Model", kind="strong", href=lambda row: model_address(request.actor, row.provider, row.slug)),
        Column("provider", "Provider"),
        *(Column(f"says-{source}", label_of(source), value=partial(_says, source=source), is_sortable=False, title="Input / output / read from cache, per million tokens") for source in sources),
        Column("rated_by", "Rates calls", value=lambda row: label_of(row.rated_by) if row.rated_by else UNKNOWN),
        Column("spread", "Apart", kind="percent", value=lambda row: row.spread if row.spread < 1000 else None),
    ]
    table = Table.from_request(
        request, id="disagreements", title="Sources disagree", note="input / output / read from cache, per million tokens", columns=columns, rows=rows, sort="-spread",
        search=("slug", "provider"), empty="Every model that several sources know has the same price in all of them.",
    )  # fmt: skip
    if table.is_asked_as_csv:
        return table.csv_response("price-disagreements")
    return shown(request, "disagreements", TAB, {"table": table})


def _says(row: Disagreement, *, source: str) -> str | None:
    if source not in row.quotes:
        return None
    amounts = [row.amount(source, meter) for meter in selectors.COMPARED]
    currency = row.currencies[source]
    said = " / ".join(UNKNOWN if amount is None else plain_decimal(amount) for amount in amounts)
    return said if currency == "USD" else f"{said} {currency}"


urlpatterns = [
    path("prices/changes", changes, name=TAB),
    path("prices/changes/<int:reading_id>", reading_page, name="price-reading"),
    path("prices/disagreements", disagreements_page, name="prices-disagreements"),
]
