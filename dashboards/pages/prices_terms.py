"""Prices: an organization's own terms in the order they are tried, commitments and credits, and what teams are charged on."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.components.figures import plain_decimal
from dashboards.components.meter_words import kind_label, meter_label
from dashboards.components.tables import Column, Table
from dashboards.forms.prices import BalanceForm, EndForm, MarkupForm, TermForm
from dashboards.pages.prices import shown
from dashboards.pages.prices_changes import proposals_open
from dashboards.pages.settings.frame import done
from dashboards.selectors.agreements import Drawn, balances_drawn, charged_on, terms_of_organization
from dashboards.selectors.term_effects import effects_of
from governance.periods import local_midnight
from governance.pricing import agreements
from governance.pricing.agreements import BalanceFacts, TermFacts
from governance.pricing.book import current_book
from governance.pricing.meters import in_order
from governance.pricing.models import Term
from governance.tenancy.access import Actor, Right, require

TAB = "prices-terms"
FORMS: dict[str, type[Any]] = {"term": TermForm, "balance": BalanceForm, "markup": MarkupForm, "end": EndForm}


@page(Right.VIEW_AUDIT)
def term_list(request: PageRequest) -> HttpResponse:
    """The terms, balances and charges, with forms to add to them for who manages prices."""
    actor = request.actor
    asked = ""
    if request.method == "POST":
        require(actor, Right.MANAGE_PRICES)
        asked = request.POST.get("form", "none")
    found = {name: shape(request.POST if asked == name else None, actor=actor, prefix=name) for name, shape in FORMS.items()}
    effects = None
    if asked in found and found[asked].is_valid():
        if asked == "term" and "preview" in request.POST:
            effects = done(found[asked], lambda: effects_of(actor, agreements.term_draft(actor=actor, **term_facts(actor, found["term"]))))
        elif done(found[asked], lambda: ADDED[asked](actor, found[asked])):
            messages.success(request, SAID[asked])
            return redirect(TAB, slug=actor.organization.slug)
    tables = [_terms_table(request), _balances_table(request), _charges_table(request)]
    for table in tables:
        if table.is_asked_as_csv:
            return table.csv_response(f"{actor.organization.slug}-{table.id}")
    values = {"tables": tables, "forms": found, "effects": effects, "may_change": actor.can(Right.MANAGE_PRICES), "is_asked": asked}
    values |= {"proposals": proposals_open(actor), "may_rate": values["may_change"]}
    return shown(request, "terms", TAB, values, status=422 if asked and effects is None else 200)


def _end(actor: Actor, form: forms.Form) -> Any:
    """Ends what was chosen: a term at once, a commitment or credit with the day before."""
    kind, _, key = form.cleaned_data["what"].partition("-")
    if kind == "term":
        return agreements.term_end(actor=actor, term_id=int(key), at=timezone.now())
    return agreements.balance_end(actor=actor, balance_id=int(key), on=timezone.now().astimezone(actor.organization.zone).date())


def term_facts(actor: Actor, form: forms.Form) -> TermFacts:
    """The term that was typed in, from the start of its first day to the end of its last."""
    given, kind = form.cleaned_data, form.cleaned_data["kind"]
    facts: TermFacts = {
        "name": given["name"], "provider": given["provider"], "model": given["model"], "team": given["team"], "currency": given["currency"],
        "valid_from": _begins(actor, given["first"]), "valid_to": _begins(actor, given["last"] + timedelta(days=1)) if given["last"] else None,
        "percent_off": given["percent_off"] or Decimal(0),
    }
    if kind == "own":
        facts["rates"] = form.amounts  # type: ignore[attr-defined]
    elif kind == "off":
        facts["amounts_off"] = form.amounts  # type: ignore[attr-defined]
    return facts


def _balance_add(actor: Actor, form: forms.Form) -> Any:
    given = form.cleaned_data
    facts: BalanceFacts = {
        "kind": given["kind"], "name": given["name"], "amount": given["amount"], "currency": given["currency"], "provider": given["provider"],
        "model": given["model"], "team": given["team"], "starts_on": given["first"],
        "ends_on": given["last"] + timedelta(days=1) if given["last"] else None,
    }
    return agreements.balance_add(actor=actor, **facts)


ADDED: dict[str, Callable[[Actor, Any], Any]] = {
    "term": lambda actor, form: agreements.term_add(actor=actor, **term_facts(actor, form)),
    "balance": _balance_add,
    "markup": lambda actor, form: agreements.markup_set(actor=actor, **form.cleaned_data),
    "end": _end,
}
SAID = {
    "term": "The term is in force for calls that are stored from now on. Calls since it began that were rated before, if any, are offered below to be rated again.",
    "balance": "It is there. What its scope was billed draws on it.",
    "end": "It has ended. What was counted by it until then stays as it is.",
    "markup": "The markup is there. Costs and budgets stay as they are.",
}


def _begins(actor: Actor, day: date) -> datetime:
    return local_midnight(day, actor.organization.zone)


def _for_text(row: Any) -> str:
    parts = [row.provider or ("every provider" if not row.model else ""), row.model, f"team {row.team.name}" if row.team else ""]
    return ", ".join(part for part in parts if part) + (f", {kind_label(row.context)}" if getattr(row, "context", None) else "")


def terms_text(term: Term) -> str:
    """What a term changes, in one line."""
    amounts = [
        f"{meter_label(meter)} {plain_decimal(Decimal(rate['base']))}{_steps_text(rate)} {term.currency}" for meter, rate in in_order({**term.rates, **term.amounts_off}).items()
    ]
    said = [(" · ".join(amounts) + (" off" if term.amounts_off else ""))] if amounts else []
    return ", ".join([*said, *([f"{plain_decimal(term.percent_off)} % off"] if term.percent_off else [])])


def _steps_text(rate: Mapping[str, Any]) -> str:
    """The amounts above thresholds; of the whole call's input, or of the meter's own units where they are marginal."""
    what = "for what is above" if rate.get("marginal") else "above"
    steps = [f"{plain_decimal(Decimal(amount))} {what} {int(threshold):,}" for threshold, amount in rate.get("tiers", ())]
    return f" ({', '.join(steps)})" if steps else ""


def _state(term: Term) -> tuple[str, str]:
    now = timezone.now()
    if not (is_known(term) or (term.valid_to is not None and term.valid_to <= now)):
        return "the book has no such name", "warn"
    if term.valid_to is not None and term.valid_to <= now:
        return ("withdrawn" if term.valid_to == term.valid_from else "ended"), ""
    return ("to come", "accent") if term.valid_from > now else ("in force", "ok")


def is_known(term: Term) -> bool:
    """Whether the price book has what the term takes something off. A term with own amounts needs nothing there."""
    if term.rates or not (term.provider or term.model):
        return True
    book = current_book()
    if term.provider and term.model:
        found = book.entry(term.provider, term.model)
        return found is not None and found.slug == term.model
    return any(term.model == model.slug or term.provider == model.provider for model in book.models())


def _terms_table(request: PageRequest) -> Table:
    zone = request.actor.organization.zone
    columns = [
        Column("name", "Term", "strong"),
        Column("scope", "For", value=_for_text, is_sortable=False),
        Column("change", "Instead of the list price", value=terms_text, is_sortable=False),
        Column("valid_from", "From", "day", value=lambda term: term.valid_from.astimezone(zone).date()),
        Column("valid_to", "Before", "day", value=lambda term: term.valid_to.astimezone(zone).date() if term.valid_to else None),
        Column("state", "State", "badge", value=_state, is_sortable=False),
    ]
    return Table.from_request(
        request, id="terms", rows=list(terms_of_organization(request.actor)), columns=columns, title="Terms", note="the first that fits a call applies",
        empty="No terms: every call costs its list price. A discount or a price of your own counts from the day you give it.", prefix="terms-",
    )  # fmt: skip


def _balances_table(request: PageRequest) -> Table:
    own = request.actor.organization.currency

    def last(row: Drawn) -> date | None:
        return row.until - timedelta(days=1) if row.until else None

    columns = [
        Column("name", "Name", "strong", value=lambda row: row.balance.name, note=lambda row: row.balance.get_kind_display().lower()),
        Column("scope", "For", value=lambda row: _for_text(row.balance), is_sortable=False),
        Column("amount", "Amount", "money", currency=own, note=lambda row: "" if row.balance.currency == own else f"{plain_decimal(row.balance.amount)} {row.balance.currency}"),
        Column("used", "Drawn down", "meter", value=lambda row: (row.used, row.amount), currency=own, is_sortable=False),
        Column("left", "Left", "money", currency=own),
        Column("until", "Last day", "day", value=last),
        Column("used_up_on", "Used up on", "day", title="At the pace of the last four weeks"),
        Column("unused_at_end", "Unused at its end", "money", currency=own, title="At the pace of the last four weeks"),
        Column("state", "State", "badge", is_sortable=False),
    ]
    return Table.from_request(
        request, id="balances", rows=balances_drawn(request.actor), columns=columns, title="Commitments and credits", note="what was billed, by the daily sums; taxes are no part of it",
        empty="No commitment or credit. Add what you agreed to spend, or may spend for free, and see it drawn down.", prefix="balances-",
    )  # fmt: skip


def _charges_table(request: PageRequest) -> Table:
    own = request.actor.organization.currency
    today = timezone.now().astimezone(request.actor.organization.zone).date()
    columns = [
        Column("team", "Team", "strong"),
        Column("listed", "At list price", "money", currency=own),
        Column("cost", "Cost", "money", currency=own),
        Column("charged", "Charged on", "money", currency=own, title="The cost with the team's markup of each day. Budgets hold the cost."),
    ]
    rows = charged_on(request.actor, first=today.replace(day=1), last=today)
    return Table.from_request(
        request, id="charges", rows=rows, columns=columns, title="Charged on inside the organization", note="month to date", empty="Nothing was billed this month.", prefix="charges-",
    )  # fmt: skip


urlpatterns = [path("prices/terms", term_list, name=TAB)]
