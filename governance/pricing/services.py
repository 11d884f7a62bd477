"""Writes to the price book: loading a source, adding a model, adding a price. Rows are added and open ends closed; nothing is edited."""

from collections.abc import Mapping, Sequence
from datetime import datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import transaction
from django.utils import timezone

from governance.errors import Conflict, Invalid
from governance.periods import is_kept
from governance.pricing import catalogue
from governance.pricing.book import output_amount
from governance.pricing.changing import book_advance, book_audit, book_lock, may_change_prices
from governance.pricing.late import Late, late_tell
from governance.pricing.load import LoadResult
from governance.pricing.meters import EVERY_METER, METERS
from governance.pricing.models import Model, PriceRow, Provider
from governance.pricing.sources import genai
from governance.pricing.sources.amounts import LARGEST_EXPONENT
from governance.pricing.sources.rows import Listing, SourceProvider, digest
from governance.pricing.sync.laying import Laying
from governance.pricing.sync.services import read_lately, run_keep
from governance.pricing.sync.trust import MANUAL
from governance.tenancy.access import Actor
from governance.tenancy.models import Organization

__all__ = ["MANUAL", "amount_check", "book_advance", "book_audit", "book_lock", "model_add", "price_row_add", "prices_load", "rate_check"]


@transaction.atomic
def prices_load(
    *,
    actor: Actor | None = None,
    providers: Sequence[SourceProvider] | None = None,
    source: str = genai.SOURCE,
    now: datetime | None = None,
) -> LoadResult:
    """Loads a price source, by default the bundled one; does nothing when it says what it said last time.

    New prices become rows from their effective date, an undated change from `now`; open ends are closed; what is doubtful waits
    for a decision. Without an actor it is the operator who loads. Raises Invalid, changing nothing, for prices the book cannot hold.
    """
    found = genai.bundled_providers() if providers is None else list(providers)
    fingerprint = digest(found, catalogue.FACTS_TEXT.encode())
    book = book_lock()
    if book.source_digest == fingerprint:
        return LoadResult(version=book.version, is_changed=False)
    if providers is None and read_lately(source, now=now or timezone.now()):
        # What was read from the publisher since is no older than what is bundled.
        book_advance(book, source_digest=fingerprint)
        return LoadResult(version=book.version, is_changed=False)
    old = {"version": book.version, "source_digest": book.source_digest}
    laid = Laying(Listing(found), source=source, now=now or timezone.now(), writes_catalogue=True).lay()
    book_advance(book, source_digest=fingerprint)
    run_keep(laid, actor=actor, source=source, models=sum(len(provider.models) for provider in found), now=now or timezone.now())
    result = LoadResult(
        version=book.version,
        is_changed=True,
        providers=len(found),
        models=sum(len(provider.models) for provider in found),
        rows_added=len(laid.added),
        rows_closed=len(laid.closed),
        held=laid.held,
    )
    new = {"version": book.version, "source_digest": fingerprint, "rows_added": result.rows_added, "rows_closed": result.rows_closed}
    book_audit(actor=actor, action="prices.loaded", target=("price_book", source), old=old, new=new)
    return result


@transaction.atomic
def model_add(
    *,
    actor: Actor | None,
    provider: str,
    slug: str,
    name: str = "",
    aliases: Sequence[str] = (),
    maker: str = "",
    tier: str = "",
    context_window: int | None = None,
) -> Model:
    """Adds a model that no source lists (and its provider, where that is new). It goes by its slug and the aliases.

    Facts that are not given follow from the name. Raises Conflict when the provider already has the model.
    """
    may_change_prices(actor)
    slug, provider = slug.strip(), provider.strip().lower()
    if not slug or not provider:
        raise Invalid("A model needs a provider and a name.", field="slug" if provider else "provider")
    book = book_lock()
    seller, _ = Provider.objects.get_or_create(slug=provider, defaults={"name": provider, "position": Provider.objects.count()})
    if seller.models.filter(slug=slug).exists():
        raise Conflict(f"{provider} already has a model {slug}.")
    facts = catalogue.facts_of(provider, slug)
    made_by = maker or facts.maker
    model = Model.objects.create(
        provider=seller,
        slug=slug,
        name=name,
        maker=made_by,
        country=catalogue.country_of(made_by),
        tier=tier or catalogue.tier_of(slug, None),
        has_open_weights=facts.has_open_weights,
        context_window=context_window,
        position=seller.models.count(),
        match={"or": [{"equals": known} for known in (slug, *aliases)]},
    )
    book_advance(book)
    new = {"provider": provider, "model": slug, "maker": model.maker, "tier": model.tier, "aliases": list(aliases)}
    book_audit(actor=actor, action="model.added", target=("model", model.pk), old=None, new=new)
    return model


@transaction.atomic
def price_row_add(  # noqa: PLR0913
    *,
    actor: Actor | None,
    model: Model,
    valid_from: datetime,
    rates: Mapping[str, Any],
    currency: str = "USD",
    source: str = MANUAL,
    announced_at: datetime | None = None,
    context: Mapping[str, str] | None = None,
    daily_hours: tuple[time, time] | None = None,
    precedence: int = 0,
) -> PriceRow:
    """Adds the price of a model from `valid_from` on and closes the row of the same kind that was open until then.

    `rates` maps a meter to an amount for the meter's usual number of units (text or Decimal; per million for tokens), or to
    a rate as PriceRow stores it. With `context` the row is for calls of that kind, and may multiply amounts by a factor;
    with `daily_hours` (UTC) for those hours of every day. Raises Invalid for rates the book cannot hold, Conflict when a row
    of the same kind begins at or after then.
    """
    may_change_prices(actor)
    if valid_from.tzinfo is None:
        raise Invalid("Say in which time zone the price begins.", field="valid_from")
    if not is_kept(valid_from):
        raise Invalid("This day lies too far away.", field="valid_from")
    stored = {meter: rate_check(meter, rate) for meter, rate in rates.items()}
    if not context and any("factor" in rate for rate in stored.values()):
        raise Invalid("Only the price of a kind of call can be a factor of the ordinary one.", field="rates")
    daily_from, daily_to = daily_hours or (None, None)
    book = book_lock()
    chain = PriceRow.objects.filter(model=model, context=context or {}, daily_from=daily_from, daily_to=daily_to)
    if chain.filter(valid_from__gte=valid_from).exists():
        raise Conflict("A price of this model begins then or later; past prices are not changed.")
    closed = list(chain.filter(valid_to=None)) or list(chain.filter(valid_to__gt=valid_from))
    for row in closed:
        if row.valid_to is None:
            row.valid_to = valid_from
            row.save(update_fields=["valid_to"])
    row = PriceRow.objects.create(
        model=model, valid_from=valid_from, rates=stored, currency=currency, source=source, announced_at=announced_at,
        context=dict(context or {}), daily_from=daily_from, daily_to=daily_to, precedence=precedence,
    )  # fmt: skip
    if not context and daily_hours is None:
        _tier_follow(model, stored)
    book_advance(book)
    old = [{"price": row.pk, "valid_from": row.valid_from, "rates": row.rates} for row in closed]
    new = {"price": row.pk, "model": model.slug, "valid_from": valid_from, "rates": stored, "currency": currency, "source": source}
    if context or daily_hours:
        new |= {"context": dict(context or {}), "daily_from": daily_from, "daily_to": daily_to}
    book_audit(actor=actor, action="price.added", target=("model", model.pk), old={"closed": old} if old else None, new=new)
    if closed:
        _late_tell(row)
    return row


def _late_tell(row: PriceRow) -> None:
    """Tells every organization of a price that takes another's place since before now. Calls without a price are rated anew by themselves."""
    provider, slug = row.model.provider.slug, row.model.slug
    for organization in Organization.objects.order_by("pk"):
        late_tell(
            Late(
                organization,
                f"{provider} {slug} costs otherwise since {row.valid_from:%Y-%m-%d}",
                row.valid_from,
                timezone.now(),
                models=(slug,),
            )
        )


def rate_check(meter: str, rate: Any) -> dict[str, Any]:
    """The rate as a price row stores it. Raises Invalid for unknown meters and amounts that are no finite, non-negative number."""
    given = dict(rate) if isinstance(rate, Mapping) else {"base": rate}
    if meter not in METERS and not (meter == EVERY_METER and "factor" in given):
        raise Invalid(f"There is no meter '{meter}'.", field=f"rates.{meter}")
    try:
        if "factor" in given:
            return {"factor": amount_check(given["factor"])}
        stored: dict[str, Any] = {"per": int(given.get("per", METERS[meter].per)), "base": amount_check(given["base"])}
        if given.get("tiers"):
            stored["tiers"] = sorted([int(threshold), amount_check(amount)] for threshold, amount in given["tiers"])
            if given.get("marginal"):
                stored["marginal"] = True
        if given.get("least") is not None:
            stored["least"] = amount_check(given["least"])
    except (KeyError, TypeError, ValueError, InvalidOperation):
        raise Invalid(f"The rate of '{meter}' is not an amount.", field=f"rates.{meter}") from None
    if stored["per"] <= 0:
        raise Invalid(f"The rate of '{meter}' is for no units.", field=f"rates.{meter}")
    return stored


def amount_check(value: Any) -> str:
    """The amount as text, exact. Raises ValueError for floats, and for what is negative or no number."""
    if isinstance(value, float | bool):
        raise ValueError("give amounts as text, so that no digit is lost")  # noqa: TRY004
    amount = Decimal(value)
    if not amount.is_finite() or amount < 0 or (amount and abs(amount.adjusted()) > LARGEST_EXPONENT):
        raise ValueError("not an amount")
    return format(amount, "f")


def _tier_follow(model: Model, rates: Mapping[str, Any]) -> None:
    if model.tier == "unknown":
        model.tier = catalogue.tier_of(model.slug, output_amount(rates))
        model.save(update_fields=["tier"])
