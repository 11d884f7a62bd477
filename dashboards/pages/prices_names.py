"""Prices: names of models that are not certain, what the organization means by them, and the form that prices a model no list has."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.prices_names import NameForm, PriceForm, starts
from dashboards.pages.prices import model_address, shown
from dashboards.pages.settings.frame import done
from dashboards.selectors.prices import model_row
from dashboards.selectors.unpriced import DAYS
from governance.errors import Conflict, Invalid
from governance.pricing import agreements, services
from governance.pricing.book import current_book
from governance.pricing.changing import is_book_keeper
from governance.pricing.models import NameMapping
from governance.pricing.own_names import name_mapping_add, name_mapping_end, name_mapping_get, name_mappings
from governance.tenancy.access import Actor, Right, require


@page(Right.VIEW_SPEND)
@require_http_methods(["GET", "POST"])
def name_list(request: PageRequest) -> HttpResponse:
    """The organization's mappings, and the form that adds one: `?name=…&provider=…` for a name that usage reported."""
    actor = request.actor
    if request.method == "POST":
        require(actor, Right.MANAGE_PRICES)
        if request.POST.get("action") == "end":
            return _ended(request)
        form = NameForm(request.POST)
        if form.is_valid() and done(form, lambda: _map(actor, form)) is not None:
            messages.success(request, f"{form.cleaned_data['name']} means that model from then on. Its unpriced calls are rated within minutes.")
            return redirect("prices-names", slug=actor.organization.slug)
        return _shown(request, form, status=422)
    name, provider = (request.GET.get(key, "").replace("\x00", "")[:200] for key in ("name", "provider"))
    return _shown(request, NameForm(initial={"name": name, "provider": provider[:80], "valid_from": _usual_start(actor, timezone.now())}))


def _shown(request: PageRequest, form: NameForm, status: int = 200) -> HttpResponse:
    name, provider = str(form["name"].value() or ""), str(form["provider"].value() or "")
    table = _table(request)
    if table.is_asked_as_csv:
        return table.csv_response("model-names")
    values: dict[str, Any] = {"form": form, "table": table, "can_change": request.actor.can(Right.MANAGE_PRICES), "name": name, "biller": provider}
    if name:
        match = current_book().resolve(provider, name)
        values |= {"match": match, "could": [(model, model_address(request.actor, model.provider, model.slug)) for model in match.candidates[:12]]}
        values["price_href"] = price_address(request.actor, provider, name)
    return shown(request, "names", "prices-names", values, status)


def _table(request: PageRequest) -> Table:
    def href(row: NameMapping) -> str:
        return model_address(request.actor, row.model.provider.slug, row.model.slug)

    columns = [
        Column("name", "Name in usage", "strong"),
        Column("provider", "Provider in usage", value=lambda row: row.provider or None, note=lambda row: "" if row.provider else "any"),
        Column("model", "Means", order="model__slug", value=lambda row: row.model.slug, href=href, note=lambda row: row.model.provider.slug),
        Column("valid_from", "From", "at"),
        Column("valid_to", "To", "at"),
        Column("maker_label", "Decided by"),
    ]  # fmt: skip
    return Table.from_request(
        request, id="names", columns=columns, rows=name_mappings(request.actor), search=("name", "provider", "model__slug"), title="What names mean here",
        note="for this organization only; goes before the price lists", empty="No name is mapped. Names that no price list knows are listed under Unpriced.",
    )  # fmt: skip


def _map(actor: Actor, form: NameForm) -> Any:
    given = form.cleaned_data
    meant = form.meant(current_book())
    model = model_row(meant.provider, meant.slug)
    if model is None:
        raise Invalid("The catalogue has no model of this name any more.", field="model")
    return name_mapping_add(
        actor=actor, name=given["name"], provider=given["provider"], model=model, valid_from=starts(actor.organization, given["valid_from"])
    )


def _ended(request: PageRequest) -> HttpResponse:
    text = request.POST.get("mapping", "")
    mapping = name_mapping_get(request.actor, int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0)
    name_mapping_end(actor=request.actor, mapping=mapping, valid_to=timezone.now())
    messages.success(request, f"{mapping.name} means what everybody means by it from now on.")
    return redirect("prices-names", slug=request.actor.organization.slug)


@page(Right.MANAGE_PRICES)
@require_http_methods(["GET", "POST"])
def price_add(request: PageRequest) -> HttpResponse:
    """The form that prices a model which has no price: for everybody who uses this book, or for the organization alone."""
    actor = request.actor
    is_keeper = is_book_keeper(actor)
    if request.method == "POST":
        form = PriceForm(request.POST, is_book_keeper=is_keeper)
        href = done(form, lambda: (_price if form.is_shared else _own_price)(actor, form)) if form.is_valid() else None
        if href is not None:
            messages.success(request, "The price is there. Unpriced calls of the model are rated within minutes.")
            return redirect(href)
        return shown(request, "price_add", "prices-unpriced", {"form": form}, 422)
    asked = {key: request.GET.get(key, "").replace("\x00", "") for key in ("provider", "model")}
    form = PriceForm(initial={**asked, "valid_from": _usual_start(actor, timezone.now())}, is_book_keeper=is_keeper)
    return shown(request, "price_add", "prices-unpriced", {"form": form})


def _own_price(actor: Actor, form: PriceForm) -> str:
    """Adds a term with the amounts, for the organization alone. Returns where it is shown."""
    given = form.cleaned_data
    agreements.term_add(
        actor=actor, name=f"Own price of {given['model']}", provider=given["provider"], model=given["model"], rates=form.rates, currency=given["currency"],
        valid_from=starts(actor.organization, given["valid_from"]),
    )  # fmt: skip
    return reverse("prices-terms", args=[actor.organization.slug])


@transaction.atomic
def _price(actor: Actor, form: PriceForm) -> str:
    """Adds the model where it is new, and its price. A model that a list prices is left to the list. Returns where it is shown."""
    given = form.cleaned_data
    book, begins = current_book(refresh=True), starts(actor.organization, given["valid_from"])
    known = book.entry(given["provider"], given["model"])
    model = model_row(known.provider, known.slug) if known is not None else None
    if known is not None and any(row.valid_to is None or row.valid_to > begins for row in known.standard):
        raise Conflict("This model has a price then already. An own price for this organization goes under Terms.", field="model")
    if model is None:
        model = services.model_add(actor=actor, provider=given["provider"], slug=given["model"])
    services.price_row_add(actor=actor, model=model, valid_from=begins, rates=form.rates, currency=given["currency"])
    return model_address(actor, model.provider.slug, model.slug)


def _usual_start(actor: Actor, now: datetime) -> str:
    """The first day of what the list of unpriced usage counts."""
    return (now.astimezone(actor.organization.zone).date() - timedelta(days=DAYS - 1)).isoformat()


def name_address(actor: Actor, provider: str, name: str) -> str:
    """Where somebody says what a reported name means."""
    return f"{reverse('prices-names', args=[actor.organization.slug])}?{urlencode({'provider': provider, 'name': name})}"


def price_address(actor: Actor, provider: str, name: str) -> str:
    """Where somebody prices a model that no list has."""
    return f"{reverse('prices-add', args=[actor.organization.slug])}?{urlencode({'provider': provider, 'model': name})}"


urlpatterns = [path("prices/names", name_list, name="prices-names"), path("prices/add", price_add, name="prices-add")]
