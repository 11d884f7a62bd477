"""Prices: exchange rates, where they came from, which of them converts calls, and how to add some."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.prices import RateForm, RatesFileForm, RuleForm
from dashboards.pages.prices import shown
from dashboards.pages.prices_changes import proposals_open
from dashboards.pages.settings.frame import done
from dashboards.selectors.agreements import exchange_rules
from governance.money import currency_code
from governance.pricing import exchanging
from governance.pricing.book import current_book
from governance.pricing.exchange import Quote
from governance.pricing.models import ExchangeRate
from governance.pricing.sources import ecb
from governance.pricing.terms import terms_now
from governance.tenancy.access import Actor, Right, require, scoped

TAB = "prices-currencies"
DAYS_SHOWN = 31
FORMS: dict[str, type[Any]] = {"rate": RateForm, "file": RatesFileForm, "rule": RuleForm}
ADDED: dict[str, Callable[[Actor, dict[str, Any]], Any]] = {
    "rate": lambda actor, given: exchanging.own_rates_add(actor=actor, quotes=[
        Quote(currency_code(given["base"]), currency_code(given["quote"]), given["day"], given["rate"])
    ]) + 1,
    "file": lambda actor, given: exchanging.own_rates_add(actor=actor, quotes=ecb.read(given["file"]), source="file") + 1,
    "rule": lambda actor, given: exchanging.exchange_rule_set(actor=actor, **given),
}  # fmt: skip


@page(Right.VIEW_SPEND)
def currency_list(request: PageRequest) -> HttpResponse:
    """Today's rates into the organization's currency, those that rated calls, and the organization's own."""
    actor = request.actor
    asked = ""
    if request.method == "POST":
        require(actor, Right.MANAGE_PRICES)
        asked = request.POST.get("form", "none")
    today = timezone.now().astimezone(actor.organization.zone).date()
    found = {name: shape(*_given(request, asked == name), prefix=name, initial={"day": today, "valid_from": today}) for name, shape in FORMS.items()}
    if asked in found and found[asked].is_valid() and (added := done(found[asked], lambda: ADDED[asked](actor, found[asked].cleaned_data))):
        count = "" if asked == "rule" else f"{added - 1} new rate{'' if added == 2 else 's'}. "
        messages.success(request, f"{count}Calls that are stored from now on are converted by it. Earlier ones that it is for, if any, are offered below to be rated again.")
        return redirect(TAB, slug=actor.organization.slug)
    tables = [_rates_table(request), _used_table(request), _own_table(request)]
    for table in tables:
        if table.is_asked_as_csv:
            return table.csv_response(f"{actor.organization.slug}-{table.id}")
    values = {
        "tables": tables, "forms": found, "rules": exchange_rules(actor), "may_change": actor.can(Right.MANAGE_PRICES),
        "own": actor.organization.currency, "is_asked": asked, "proposals": proposals_open(actor), "may_rate": actor.can(Right.MANAGE_PRICES),
    }  # fmt: skip
    return shown(request, "currencies", TAB, values, status=422 if asked else 200)


def _given(request: PageRequest, is_asked: bool) -> tuple[Any, Any]:
    return (request.POST, request.FILES) if is_asked else (None, None)


def _rates_table(request: PageRequest) -> Table:
    """What one unit of each known currency is worth today."""
    actor = request.actor
    terms, book = terms_now(actor.organization), current_book()
    today = terms.local_day(timezone.now())
    rows = []
    for code in sorted({*book.rates.currencies, *terms.rates.currencies} - {actor.organization.currency}):
        found = terms.exchange_on(book, code, today)
        last = found or terms.exchange_last(book, code, today)
        if last is not None:
            rows.append({
                "code": code, "rate": last.rate, "day": last.day, "source": ", ".join(sorted({quote.source for quote in last.quotes})),
                "state": ("good", "ok") if found else ("too old", "warn"),
            })  # fmt: skip
    columns = [
        Column("code", "One unit of", "strong"),
        Column("rate", f"In {actor.organization.currency}", value=lambda row: f"{row['rate'].normalize():f}", is_sortable=False),
        Column("day", "Holds from", "day"),
        Column("source", "Source"),
        Column("state", "State", "badge", is_sortable=False),
    ]
    return Table.from_request(
        request, id="today", rows=rows, columns=columns, title="Exchange rates today", prefix="today-",
        empty="No exchange rate is known. Prices in other currencies leave their calls unpriced until there is one.",
    )  # fmt: skip


def _used_table(request: PageRequest) -> Table:
    """For each currency that prices are in: the rates that calls of the last days are converted at, and from when until when."""
    terms, book = terms_now(request.actor.organization), current_book()
    today = terms.local_day(timezone.now())
    priced = {row.currency for model in book.models() for row in model.rows} | {term.price.currency for term in terms.terms if term.price is not None}
    rows: list[dict[str, Any]] = []
    for code in sorted(priced - {terms.currency}):
        for day in (today - timedelta(days=back) for back in range(DAYS_SHOWN)):
            found = terms.exchange_on(book, code, day)
            span = {"code": code, "rate": found.rate if found else None, "quoted": found.day if found else None}
            if rows and all(rows[-1][name] == value for name, value in span.items()):
                rows[-1]["first"] = day
            else:
                rows.append({**span, "first": day, "last": day})
    columns = [
        Column("code", "Priced in", "strong"),
        Column("first", "Calls from", "day"),
        Column("last", "To", "day", note=lambda row: "so far" if row["last"] == today else ""),
        Column("rate", f"Converted to {terms.currency} at", value=lambda row: f"{row['rate'].normalize():f}" if row["rate"] is not None else "not at all: unpriced", is_sortable=False),
        Column("quoted", "A rate from", "day"),
    ]
    return Table.from_request(
        request, id="used", rows=rows, columns=columns, title="Which rate rates what", note=f"the last {DAYS_SHOWN} days; the rate that was used is kept on each call", prefix="used-",
        empty=f"Every price is in {terms.currency}: nothing has to be converted.",
    )  # fmt: skip


def _own_table(request: PageRequest) -> Table:
    columns = [
        Column("base", "One unit of", "strong"), Column("rate", "is", value=lambda row: f"{row.rate.normalize():f}"), Column("quote", "units of"),
        Column("day", "From", "day"), Column("source", "Source"), Column("created_at", "Added", "at"),
    ]  # fmt: skip
    return Table.from_request(
        request, id="own", rows=scoped(request.actor, ExchangeRate.objects.all()), columns=columns, title="Rates of your own", note="they go before the installation's", prefix="own-",
        empty="None. Those of the installation convert your calls.",
    )  # fmt: skip


urlpatterns = [path("prices/currencies", currency_list, name=TAB)]
