"""Prices: usage without a price, and usage whose size nobody reported."""

from datetime import timedelta
from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import path, reverse
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.pages.prices import shown
from dashboards.pages.prices_names import name_address
from dashboards.selectors.dimensions import NOTHING
from dashboards.selectors.unpriced import Unpriced, unpriced_models
from governance.periods import local_midnight
from governance.pricing.book import current_book
from governance.pricing.terms import Terms, terms_now
from governance.pricing.usage import Usage
from governance.tenancy.access import Right

PRICED_NOW = "it has a price now: rated within minutes, in closed months by an adjustment"


@page(Right.VIEW_SPEND)
def unpriced_list(request: PageRequest) -> HttpResponse:
    """Calls without a cost in the last 30 days: of models that lack a price, and, apart, those of unknown size."""
    found = unpriced_models(request.actor, now=timezone.now())
    tables = [_lacking_table(request, found), _unmeasured_table(request, found)]
    for table in tables:
        if table.is_asked_as_csv:
            return table.csv_response(table.id)
    return shown(request, "unpriced", "prices-unpriced", {"tables": tables})


def _lacking_table(request: PageRequest, found: list[Unpriced]) -> Table:
    terms = terms_now(request.actor.organization)
    columns = [
        Column("model", "Model", href=lambda row: _model_href(request, row, "tokens")),
        Column("provider", "Provider", value=lambda row: row.provider or None),
        Column("why", "Why", value=lambda row: why_unpriced(terms, row), is_sortable=False),
        Column("calls", "Calls without a price", kind="count"),
        Column("tokens", "Tokens of these calls", kind="tokens", title="A dash where the sums hold priced calls of the same model as well"),
        Column("last", "Last day", kind="day"),
    ]
    if request.actor.can(Right.MANAGE_PRICES):
        columns.append(Column("act", "Decide", value=lambda _row: "What is it?", href=lambda row: name_address(request.actor, row.provider, row.model), is_sortable=False))
    return Table.from_request(
        request, id="unpriced", title="Without a price", note="last 30 days, calls of known size", columns=columns, rows=[row for row in found if row.calls],
        sort="-calls", search=("model", "provider"), empty="Every call of known size had a price.",
    )  # fmt: skip


def why_unpriced(terms: Terms, row: Unpriced) -> str:
    """Why a call of the model that is made on the last of those days has no cost, by the price book and the organization's names, terms and rates."""
    at = local_midnight(row.last, terms.zone) + timedelta(hours=12)
    found = terms.rate(current_book(), provider=row.provider, model=row.model, at=at, usage=Usage(input_tokens=1, output_tokens=1))
    return found.reason or PRICED_NOW


def _unmeasured_table(request: PageRequest, found: list[Unpriced]) -> Table:
    columns = [
        Column("model", "Model", href=lambda row: _model_href(request, row, "calls")),
        Column("provider", "Provider", value=lambda row: row.provider or None),
        Column("unmeasured", "Calls of unknown size", kind="count"),
        Column("last", "Last day", kind="day"),
    ]
    return Table.from_request(
        request, id="unmeasured", prefix="unmeasured-", title="Of unknown size", note="last 30 days, neither input nor output tokens reported", columns=columns,
        rows=[row for row in found if row.unmeasured], sort="-unmeasured", search=("model", "provider"), empty="Every call reported its size.",
    )  # fmt: skip


def _model_href(request: PageRequest, row: Unpriced, measure: str) -> str:
    query = {"range": "30d", "by": "team", "measure": measure, "model": row.model or NOTHING}
    return f"{reverse('spend', args=[request.actor.organization.slug])}?{urlencode(query)}"


urlpatterns = [path("prices/unpriced", unpriced_list, name="prices-unpriced")]
