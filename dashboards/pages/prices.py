"""Prices: the frame of its tabs, and the first of them, every model of the book with its price of now."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from dashboards.access import PageRequest, page
from dashboards.components.filters import FilterBar
from dashboards.components.tables import Column, Table
from dashboards.insights.market import BRANDS
from dashboards.selectors.prices import Offer, makers_named, price_day, provider_names
from governance.pricing.book import Book, current_book
from governance.pricing.search import Wanted, models_search
from governance.tenancy.access import Actor, Right

# (url name, label, right that opens it or None for every member). Each tab has a module and a template of its own.
TABS: tuple[tuple[str, str, Right | None], ...] = (
    ("prices", "Models", None),
    ("prices-changes", "Changes", Right.VIEW_SPEND),
    ("prices-unpriced", "Unpriced", Right.VIEW_SPEND),
    ("prices-names", "Names", Right.VIEW_SPEND),
    ("prices-terms", "Terms", Right.VIEW_AUDIT),
    ("prices-currencies", "Currencies", Right.VIEW_SPEND),
    ("prices-seats", "Seats", Right.VIEW_SPEND),
    ("prices-hardware", "Own hardware", Right.VIEW_SPEND),
    ("prices-runs", "Runs", Right.VIEW_AUDIT),
    ("prices-months", "Months", Right.VIEW_AUDIT),
)
TIERS = (("flagship", "Flagship"), ("standard", "Standard"), ("economy", "Economy"), ("unknown", "Not known"))
TIER_TONES = {"flagship": "accent", "standard": "", "economy": "ok"}
WEIGHTS = (("open", "Open"), ("closed", "Closed"))
LONGEST_TEXT = 200
MOST_CANDIDATES = 6


def shown(request: PageRequest, name: str, tab: str, values: dict[str, Any], status: int = 200) -> HttpResponse:  # noqa: PLR0917
    """The page `prices/<name>.html` under the tab, which is marked as current."""
    slug = request.actor.organization.slug
    tabs = [
        {"href": reverse(key, args=[slug]), "label": label, "is_current": key == tab}
        for key, label, right in TABS
        if right is None or request.actor.can(right)
    ]
    return render(request, f"prices/{name}.html", {"tabs": tabs, **values}, status=status)


def model_address(actor: Actor, provider: str, slug: str) -> str:
    """Where one model's prices are shown."""
    return reverse("price-model", args=[actor.organization.slug, provider, slug])


def asked_text(request: PageRequest) -> str:
    """What is typed into the search box."""
    return request.GET.get("q", "").replace("\x00", "").strip()[:LONGEST_TEXT]


@page()
@require_GET
def price_list(request: PageRequest) -> HttpResponse:
    """Every model of every provider, found as one types."""
    book, now = current_book(), timezone.now()
    bar = _filter_bar(request, book)
    text = asked_text(request)
    chosen = bar.chosen
    wanted = Wanted(text, *(chosen.get(param, ()) for param in ("provider", "maker", "tier", "weights")))
    table = _table(request, book, wanted, now)
    if table.is_asked_as_csv:
        table.columns = [*table.columns[:4], Column("currency", "Currency"), *table.columns[4:]]
        return table.csv_response("prices")
    meant = meant_by(request.actor, book, text, chosen.get("provider", ())) if text else {}
    kept = [(key, value) for key, values in chosen.items() for value in values]
    return shown(request, "models", "prices", {"table": table, "bar": bar, "text": text, "kept": kept, "count": f"{len(book.models()):,}", **meant})


def meant_by(actor: Actor, book: Book, text: str, providers: Sequence[str]) -> dict[str, Any]:
    """What a call that reports the text as its model would be priced as, by the one provider chosen or by the name alone, and why."""
    biller = providers[0] if len(providers) == 1 else ""
    match = book.resolve(biller, text)
    model = match.entry
    found = {"match": match, "biller": biller, "could": [(entry, model_address(actor, entry.provider, entry.slug)) for entry in match.candidates[:MOST_CANDIDATES]]}
    return found | {"meant": model, "meant_href": model_address(actor, model.provider, model.slug) if model else ""}


def _filter_bar(request: PageRequest, book: Book) -> FilterBar:
    models = book.models()
    names = provider_names()
    sellers = {model.provider for model in models}
    makers = [(maker, BRANDS.get(maker, maker)) for maker in makers_named(models)]
    return FilterBar.from_query(
        request.GET,
        [
            ("provider", "providers", [(slug, name) for slug, name in names.items() if slug in sellers]),
            ("maker", "makers", sorted(makers, key=lambda pair: pair[1].lower())),
            ("tier", "tiers", TIERS),
            ("weights", "weights", WEIGHTS),
        ],
    )


def _table(request: PageRequest, book: Book, wanted: Wanted, now: datetime) -> Table:
    names = provider_names()
    found = models_search(book, wanted)
    # What a call of this name is priced as comes first, also when the name holds more than the catalogue's.
    meant = book.entry(wanted.providers[0] if len(wanted.providers) == 1 else "", wanted.text) if wanted.text else None
    if meant is not None and not any(model is meant for model in found):
        found.insert(0, meant)
    offers = [Offer(model, now) for model in found]
    return Table.from_request(
        request, id="models", rows=offers, columns=_columns(request.actor, names), title="Models", note="ordinary price per million tokens, now",
        empty="No model passes all of this. Try fewer words, or lift a filter.",
    )  # fmt: skip


def _columns(actor: Actor, names: dict[str, str]) -> list[Column]:
    def price(key: str, label: str, *, is_for_wide: bool = False) -> Column:
        return Column(key, label, "price", currency=lambda offer: offer.currency, is_for_wide=is_for_wide)

    return [
        Column("slug", "Model", "strong", href=lambda offer: model_address(actor, offer.provider, offer.slug), note=lambda offer: "retired" if offer.model.is_deprecated else ""),
        Column("provider", "Provider", "swatch", value=lambda offer: (offer.provider, names.get(offer.provider, offer.provider))),
        Column("maker", "Maker", value=lambda offer: BRANDS.get(offer.model.maker, offer.model.maker) or None, is_for_wide=True),
        Column("tier", "Tier", "badge", value=lambda offer: (offer.model.tier, TIER_TONES[offer.model.tier]) if offer.model.tier in TIER_TONES else None, is_for_wide=True),
        price("input", "Input"),
        price("output", "Output"),
        price("cache_read", "From cache", is_for_wide=True),
        Column("context_window", "Context", "tokens", value=lambda offer: offer.model.context_window, is_for_wide=True),
        Column("kinds", "Depends on", value=lambda offer: offer.kinds or None, title="What changes the price: length of the context, hours of the day, kinds of call", is_for_wide=True),
        Column(
            "since", "Since", "day", value=lambda offer: price_day(offer.since, actor.organization.zone) if offer.since else None,
            title="When the price took effect, where the lists say so", is_for_wide=True,
        ),
    ]  # fmt: skip


urlpatterns = [path("prices", price_list, name="prices")]
