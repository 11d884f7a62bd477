"""Prices: one model, with its price of now, the steps of its history, its rows, other sellers, and what it was used for here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_GET

from dashboards.access import PageRequest, page
from dashboards.charts.base import Chart
from dashboards.charts.prices import Step, price_steps
from dashboards.components.figures import plain_decimal, price_text
from dashboards.components.meter_words import hours_text, kind_label, meter_label, per_text
from dashboards.components.tables import Column, Table
from dashboards.insights.market import BRANDS
from dashboards.pages.prices import TIER_TONES, model_address, shown
from dashboards.pages.routing import COUNTRIES
from dashboards.pages.spend import spend_address
from dashboards.selectors import usage
from dashboards.selectors.own_prices import own_prices
from dashboards.selectors.prices import Offer, model_row, offers_elsewhere, per_million, price_day, provider_names
from governance.errors import NotFound
from governance.periods import Window
from governance.pricing.book import Book, CatalogueModel, Row, current_book
from governance.pricing.meters import in_order
from governance.pricing.models import Model, PriceRow
from governance.pricing.selectors import price_history
from governance.pricing.sources.rows import BEGINNING
from governance.tenancy.access import Actor, Right

USED_WITHIN = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Amount:
    """One amount of a row: the meter, its price as text, and the amounts above thresholds."""

    meter: str
    price: Decimal | None
    per: str
    notes: tuple[str, ...]
    factor: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """The amounts for one kind of call, by meter."""

    label: str
    hours: str
    row: Row
    amounts: Mapping[str, Amount]


@page()
@require_GET
def price_model(request: PageRequest, provider: str, model: str) -> HttpResponse:
    """One model as one provider sells it. Without a row in the table, 404."""
    book, now, actor = current_book(), timezone.now(), request.actor
    stored = model_row(provider, model)
    found = _listed(book, provider, model)
    if stored is not None and found is None:  # it was added a moment ago
        book = current_book(refresh=True)
        found = _listed(book, provider, model)
    if stored is None or found is None:
        raise NotFound("There is no such model in the price book.")
    tables = {"rows": _rows_table(request, stored), "elsewhere": _elsewhere_table(request, found, now)}
    for table in tables.values():
        if table.is_asked_as_csv:
            return table.csv_response(f"{provider}-{table.id}")
    kinds = kinds_of(found, now)
    values = {
        "model": found, "stored": stored, "offer": Offer(found, now), "kinds": kinds, "lines": price_lines(kinds), "chart": _chart(found, now), "tables": tables,
        "tone": TIER_TONES.get(found.tier, ""), "country": COUNTRIES.get(found.country, found.country), "maker": BRANDS.get(found.maker, found.maker),
        "since": (begins := Offer(found, now).since) and price_day(begins, actor.organization.zone),
        "names": [name for name in found.names if name != found.slug.lower()], **_used(actor, found, now),
        "own": own_prices(actor, found, at=now) if actor.can(Right.VIEW_SPEND) else None, "may_see_terms": actor.can(Right.VIEW_AUDIT),
    }  # fmt: skip
    return shown(request, "model", "prices", values)


def _listed(book: Book, provider: str, slug: str) -> CatalogueModel | None:
    return next((entry for entry in book.models() if (entry.provider, entry.slug) == (provider, slug)), None)


def kinds_of(model: CatalogueModel, at: datetime) -> list[Kind]:
    """The ordinary amounts in force, and those of the hours and kinds of call that have their own."""
    ordinary = next((row for row in reversed(model.standard) if row.holds(at)), None)
    rows = [] if ordinary is None else [ordinary]
    rows += [row for row in [*model.daily, *model.special] if row.valid_from <= at and (row.valid_to is None or at < row.valid_to)]
    return [
        Kind(kind_label(row.context), hours_text(row.daily_from, row.daily_to), row, {amount.meter: amount for amount in amounts_of(row)})
        for row in rows
    ]


def price_lines(kinds: Sequence[Kind]) -> list[tuple[str, list[tuple[Kind, Amount | None]]]]:
    """For each meter that any of the kinds charges, its amount in each of them."""
    meters = in_order({meter: 0 for kind in kinds for meter in kind.row.rates})
    return [(meter_label(meter), [(kind, kind.amounts.get(meter_label(meter))) for kind in kinds]) for meter in meters]


def amounts_of(row: Row | PriceRow) -> tuple[Amount, ...]:
    """The amounts of a row in the order people read them."""
    found = []
    for meter, rate in in_order(row.rates).items():
        if "factor" in rate:
            found.append(Amount(meter_label(meter), None, "times the price otherwise", (), Decimal(rate["factor"])))
            continue
        what = "for what is above {:,}" if rate.get("marginal") else "above {:,} input tokens"
        notes = [f"{price_text(Decimal(amount), row.currency)} {what.format(int(threshold))}" for threshold, amount in rate.get("tiers", ())]
        if rate.get("least"):
            notes.append(f"at least {rate['least']} are billed")
        found.append(Amount(meter_label(meter), Decimal(rate["base"]), per_text(int(rate["per"])), tuple(notes)))
    return tuple(found)


def _chart(model: CatalogueModel, now: datetime) -> Chart | None:
    """The ordinary rows as steps, amounts per million; meters of other units are left to the table of rows."""
    rows = model.standard
    if not rows:
        return None
    meters = [meter for meter in in_order({meter: 0 for row in rows for meter in row.rates}) if any(_is_per_million(row, meter) for row in rows)]
    if not meters:
        return None
    steps = [
        Step(
            None if row.valid_from == BEGINNING else row.valid_from,
            row.valid_to,
            {meter_label(meter): per_million(row.rates[meter]) for meter in meters if _is_per_million(row, meter)},
        )
        for row in rows
    ]
    note = "ordinary price per million, each step a row of the book"
    return price_steps(steps, meters=[meter_label(meter) for meter in meters], now=now, currency=rows[-1].currency, note=note)


def _is_per_million(row: Row, meter: str) -> bool:
    return meter in row.rates and meter.endswith("_tokens")


def _rows_table(request: PageRequest, stored: Model) -> Table:
    zone = request.actor.organization.zone
    columns = [
        Column(
            "valid_from", "From", "day", value=lambda row: None if row.valid_from == BEGINNING else price_day(row.valid_from, zone),
            note=lambda row: "the beginning" if row.valid_from == BEGINNING else "",
        ),
        Column("valid_to", "To", "day", value=lambda row: price_day(row.valid_to, zone) if row.valid_to else None, note=lambda row: "" if row.valid_to else "open"),
        Column("context", "For", value=_for_text, is_sortable=False),
        Column("rates", "Amounts", value=rates_text, is_sortable=False),
        Column("currency", "Currency"),
        Column("source", "Source"),
        Column("announced_at", "Announced", "day", value=lambda row: price_day(row.announced_at, zone) if row.announced_at else None),
        Column("created_at", "Written", "at"),
        Column("pk", "Row", value=lambda row: row.pk),
    ]  # fmt: skip
    return Table.from_request(
        request, id="rows", prefix="rows-", columns=columns, rows=price_history(stored), title="Price rows", note="never changed; a new price is a new row",
        empty="No price of this model is known.",
    )  # fmt: skip


def _for_text(row: PriceRow) -> str:
    hours = hours_text(row.daily_from, row.daily_to)
    return kind_label(row.context) + (f", {hours}" if hours else "")


def rates_text(row: PriceRow) -> str:
    """All amounts of a row in one line."""
    if not row.rates:
        return "nothing of its own" if row.context else "free of charge"
    found = []
    for amount in amounts_of(row):
        notes = f" ({'; '.join(amount.notes)})" if amount.notes else ""
        figure = amount.factor if amount.price is None else amount.price
        found.append(f"{amount.meter} {plain_decimal(figure or Decimal(0))} {amount.per}{notes}")
    return " · ".join(found)


def _elsewhere_table(request: PageRequest, model: CatalogueModel, now: datetime) -> Table:
    names = provider_names()
    here = Offer(model, now)

    def change(key: str) -> Any:
        return lambda offer: (getattr(offer, key), getattr(here, key)) if offer.currency == here.currency and offer.model is not model else None

    columns = [
        Column("provider", "Provider", "swatch", value=lambda offer: (offer.provider, names.get(offer.provider, offer.provider))),
        Column("slug", "Named there", "strong", href=lambda offer: model_address(request.actor, offer.provider, offer.slug), note=lambda offer: "this one" if offer.model is model else ""),
        Column("input", "Input", "price", currency=lambda offer: offer.currency),
        Column("input_change", "Against this", "delta", value=change("input")),
        Column("output", "Output", "price", currency=lambda offer: offer.currency),
        Column("output_change", "Against this", "delta", value=change("output")),
        Column("cache_read", "From cache", "price", currency=lambda offer: offer.currency),
        Column("kinds", "Depends on", value=lambda offer: offer.kinds or None, is_for_wide=True),
    ]  # fmt: skip
    offers = offers_elsewhere(current_book(), model, now)
    return Table.from_request(
        request, id="elsewhere", prefix="elsewhere-", columns=columns, rows=offers, sort="input", title="The same model at every provider", note="by its name; per million tokens, now",
    )  # fmt: skip


def _used(actor: Actor, model: CatalogueModel, now: datetime) -> dict[str, Any]:
    """What the actor may see of its use in the last 30 days, and where Spend shows it."""
    filters = {"provider": (model.provider,), "model": (model.slug,)}
    total = usage.totals(actor, window=Window(now - USED_WITHIN, None), filters=filters)
    href = ""
    if actor.can(Right.VIEW_SPEND):
        href = spend_address(actor.organization.slug, {"range": "30d"}, "team", {"provider": model.provider, "model": model.slug})
    return {"used": total, "used_href": href}


urlpatterns = [path("prices/models/<str:provider>/<path:model>", price_model, name="price-model")]
