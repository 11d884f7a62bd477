"""The price book in memory: which row is valid for a call, and what the call costs. Immutable, shared by threads, reloaded by version.

`rate` is on the road of every event: names are matched once and remembered, rows are prepared once and remembered.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from functools import cached_property
from operator import attrgetter
from typing import Any

from django.db import connection

from governance import sql
from governance.money import quantize
from governance.pricing.arithmetic import RateSet, Unpriceable, rate_from_json, rates_merged
from governance.pricing.calls import KINDS_OF_CALL, SAID_OF_KINDS, kind_of_call
from governance.pricing.catalogue import FACTS, maker_of
from governance.pricing.exchange import ExchangeRates
from governance.pricing.matching import UNKNOWN, Candidate, Directory, Match, Seller, names_in
from governance.pricing.models import Model, PriceRow, Provider
from governance.pricing.own import OwnPrice
from governance.pricing.quotes import reference_quotes
from governance.pricing.usage import Line, ModelPrice, Rating, Usage, Weighed

NO_MODEL = UNKNOWN
NO_ROW = "no price for this model on this date"
# No call costs as much: an absurd count is listed as unpriced, and sums of costs fit their columns.
LARGEST_COST = Decimal(1_000_000)
TOO_LARGE = "the amount is too large"
# Names come from outside; the memory of them is emptied rather than let grow without end.
REMEMBERED_NAMES = 20_000
SECONDS_BETWEEN_CHECKS = 1.0
# Provider, model, maker and tier.
Names = tuple[str, str, str, str]
# No call is older than events are kept for, by far.
RATES_READ = timedelta(days=5 * 366)


@dataclass(slots=True)
class Row:
    """A price row as the book holds it."""

    id: int
    valid_from: datetime
    valid_to: datetime | None
    daily_from: clock_time | None
    daily_to: clock_time | None
    context: dict[str, str]
    precedence: int
    currency: str
    rates: dict[str, Any]
    source: str

    def holds(self, at: datetime) -> bool:
        """True when the row is in force at the instant, the hours of the day included."""
        if at < self.valid_from or (self.valid_to is not None and at >= self.valid_to):
            return False
        if self.daily_from is None or self.daily_to is None:
            return True
        hour = at.astimezone(UTC).time()
        if self.daily_to < self.daily_from:
            return hour >= self.daily_from or hour < self.daily_to
        return self.daily_from <= hour < self.daily_to


@dataclass
class CatalogueModel:
    """A model of one provider with what is known of it and its price rows."""

    provider: str
    slug: str
    name: str
    maker: str
    country: str
    tier: str
    has_open_weights: bool | None
    context_window: int | None
    is_deprecated: bool
    rows: list[Row] = field(default_factory=list)
    rule: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names that its match rule spells out, in lower case: whole names and beginnings of names."""
        return tuple(dict.fromkeys(names_in(self.rule)))

    @cached_property
    def standard(self) -> list[Row]:
        """The ordinary rows, oldest first; of two that begin together the newer counts."""
        return sorted((row for row in self.rows if not row.context and row.daily_from is None), key=attrgetter("valid_from", "id"))

    @cached_property
    def begins(self) -> list[datetime]:
        return [row.valid_from for row in self.standard]

    @cached_property
    def daily(self) -> list[Row]:
        return sorted((row for row in self.rows if not row.context and row.daily_from is not None), key=_trial_order)

    @cached_property
    def special(self) -> list[Row]:
        return sorted((row for row in self.rows if row.context), key=_trial_order)

    def row_at(self, at: datetime) -> Row | None:
        """The ordinary row in force at the instant."""
        for row in self.daily:
            if row.holds(at):
                return row
        index = bisect_right(self.begins, at) - 1
        if index < 0:
            return None
        row = self.standard[index]
        return row if row.valid_to is None or at < row.valid_to else None

    def overrides_at(self, at: datetime, context: Mapping[str, str]) -> list[Row]:
        """The rows that replace amounts for a call of this kind, the one that counts first first; the newest of each chain."""
        found: dict[tuple[Any, ...], Row] = {}
        for row in self.special:
            if row.holds(at) and all(context.get(key) == value for key, value in row.context.items()):
                found.setdefault((*sorted(row.context.items()), row.daily_from, row.daily_to), row)
        return list(found.values())


def _trial_order(row: Row) -> tuple[int, float, int]:
    """By precedence; within a chain the last to begin first, of two that begin together the newer."""
    return row.precedence, -row.valid_from.timestamp(), -row.id


@dataclass(frozen=True, slots=True)
class Found:
    """What a pair of reported names means. Variants for special calls hold only where the biller is the model's own seller."""

    provider: str
    model: CatalogueModel
    is_own: bool
    # The kind of call that the name itself says, and where the call was served.
    kind: str = ""
    region: str = ""

    @property
    def why_no_row(self) -> str:
        """Why no row holds for the call."""
        return no_price_for(self.kind) if self.kind else NO_ROW


class Book:
    """All providers, models and price rows of one version."""

    def __init__(self, *, version: int, sellers: Sequence[Seller[CatalogueModel]], rates: ExchangeRates | None = None) -> None:
        self.version = version
        # The exchange rates that hold for every organization which has none of its own.
        self.rates = ExchangeRates() if rates is None else rates
        self._directory = Directory(sellers, aliases=FACTS["provider_aliases"], neutral=frozenset(FACTS["neutral_providers"]))
        self._names: dict[tuple[str, str], Found | None] = {}
        self._reasons: dict[tuple[str, str], str] = {}
        self._rate_sets: dict[tuple[int, ...], RateSet] = {}

    def models(self) -> Sequence[CatalogueModel]:
        """Every model of every provider, in the order they are tried."""
        return [candidate.entry for seller in self._directory.sellers.values() for candidate in seller.models]

    def rate(self, *, provider: str, model: str, at: datetime, usage: Usage, context: Mapping[str, str] | None = None) -> Rating:
        """What one call costs at list price, in the price's currency, by the row in force at `at` (an aware instant).

        Never raises for odd usage or unknown names.
        """
        found = self.weigh(provider=provider, model=model, at=at, usage=usage, context=context)
        cost = None if found.amount is None else quantize(found.amount)
        return Rating(
            found.provider,
            found.model,
            found.maker,
            found.tier,
            cost,
            found.currency or "USD",
            found.price_id,
            found.reason,
            cost,
            found.currency,
        )

    def weigh(
        self,
        *,
        provider: str,
        model: str,
        at: datetime,
        usage: Usage,
        context: Mapping[str, str] | None = None,
        own: OwnPrice | None = None,
    ) -> Weighed:
        """As `rate`, to the last digit, with an organization's own amounts in the place of, or taken off, those of the rows."""
        names, currency, price_id, rates, reason = self.tariff(provider=provider, model=model, at=at, context=context, own=own)
        if rates is None:
            return Weighed(*names, None, "", None, reason)
        try:
            amount = rates.cost(usage)
        except Unpriceable as problem:
            return Weighed(*names, None, currency, price_id, str(problem))
        if amount > LARGEST_COST:
            return Weighed(*names, None, currency, price_id, TOO_LARGE)
        return Weighed(*names, amount, currency, price_id)

    def tariff(
        self, *, provider: str, model: str, at: datetime, context: Mapping[str, str] | None = None, own: OwnPrice | None = None
    ) -> tuple[Names, str, int | None, RateSet | None, str]:
        """What a call is priced by, whatever it used: its names (provider, model, maker, tier), the currency, the price row and the rates.

        Without rates the reason says why, and there is no currency and no row.
        """
        found = self._found(provider, model)
        names: Names
        if found is None:
            names = (provider, model, maker_of(provider, model), "unknown")
            if own is None or not own.rates:
                return names, "", None, None, self._reasons.get((provider, model), NO_MODEL)
            rows: list[Row] = []
        else:
            known = found.model
            names, rows = (found.provider, known.slug, known.maker, known.tier), self._rows(found, at, context)
            if not rows and (own is None or not own.rates):
                return names, "", None, None, found.why_no_row
        currency = own.currency if own is not None and own.rates else rows[0].currency
        return names, currency, rows[0].id if rows else None, self._rate_set(rows, own), ""

    def explain(
        self,
        *,
        provider: str,
        model: str,
        at: datetime,
        usage: Usage,
        context: Mapping[str, str] | None = None,
        price_id: int | None = None,
        own: OwnPrice | None = None,
    ) -> list[Line]:
        """The arithmetic of a call: its lines add up, exactly, to the cost that `rate` rounds to 15 places. Empty when unpriced.

        With `price_id`, the row that rated the call explains it, also when another row has taken its place since; `context` then
        only adds what else applied beside that row. `own` as in `weigh`.
        """
        found = self._found(provider, model)
        rows = [] if found is None else self._rows(found, at, context)
        if found is not None and price_id is not None and (not rows or rows[0].id != price_id):
            rows = self._rows_of(found, at, price_id)
        if not rows and (own is None or not own.rates):
            return []
        try:
            return self._rate_set(rows, own).lines(usage)
        except Unpriceable:
            return []

    @cached_property
    def context_keys(self) -> frozenset[str]:
        """What calls can say of themselves that makes a row for their kind of call apply."""
        return frozenset(key for model in self.models() for row in model.rows for key in row.context) | SAID_OF_KINDS

    def turns(self, first: datetime, last: datetime) -> set[datetime]:
        """The instants in (first, last) at which some row begins or ceases to hold, the hours of the day included."""
        rows = [row for model in self.models() for row in model.rows]
        found = {at for row in rows for at in (row.valid_from, row.valid_to) if at is not None and first < at < last}
        hours = {hour for row in rows if row.daily_from is not None for hour in (row.daily_from, row.daily_to) if hour is not None}
        day = first.astimezone(UTC).date()
        while hours and day <= last.astimezone(UTC).date():
            found |= {at for hour in hours if first < (at := datetime.combine(day, hour, UTC)) < last}
            day += timedelta(days=1)
        return found

    def find(self, provider: str, model: str, at: datetime) -> ModelPrice | None:
        """The model that the reported names mean and the ordinary row in force at the instant; None when not recognised."""
        found = self._found(provider, model)
        if found is None:
            return None
        row = found.model.row_at(at)
        return ModelPrice(
            provider=found.provider,
            model=found.model.slug,
            maker=found.model.maker,
            tier=found.model.tier,
            price_id=row.id if row else None,
            valid_from=row.valid_from if row else None,
            currency=row.currency if row else "USD",
        )

    def entry(self, provider: str, model: str) -> CatalogueModel | None:
        """The catalogue's model that the reported names mean, with all its rows."""
        found = self._found(provider, model)
        return found.model if found else None

    def resolve(self, provider: str, model: str) -> Match[CatalogueModel]:
        """What the reported names mean, with the steps of reading them, or why that is not certain and what they could mean.

        A kind of call that the name says and that the model has no price for is not certain: it may be another model.
        """
        match = self._directory.resolve(provider, model)
        if match.entry is None or not match.kind:
            return match
        is_own = match.provider == match.entry.provider
        if is_own and any(KINDS_OF_CALL[match.kind] & row.context.items() for row in match.entry.special):
            return match
        return replace(match, entry=None, reason=no_price_for(match.kind), candidates=(match.entry,))

    def call_context(self, provider: str, model: str, said: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """What a call says of itself by the one name of each kind, with what the name of its model says beside the model.

        For `explain`, to which the stored names say less, and for an organization's own terms.
        """
        found = self._found(provider, model)
        told = said if found is None or not (found.kind or found.region) else _said(found, said)
        return kind_of_call(told) if told else told

    def provider_of(self, provider: str, model: str) -> str:
        """Who bills for a call of these names, as it is stored; the provider as it was reported where the model is not recognised."""
        found = self._found(provider, model)
        return found.provider if found else provider

    def _found(self, provider: str, model: str) -> Found | None:
        key = (provider, model)
        try:
            return self._names[key]
        except KeyError:
            pass
        match = self.resolve(provider, model)
        found = None
        if match.entry is not None:
            found = Found(match.provider, match.entry, match.provider == match.entry.provider, match.kind, match.region)
        if len(self._names) >= REMEMBERED_NAMES:
            self._names.clear()
            self._reasons.clear()
        if found is None:
            self._reasons[key] = match.reason
        self._names[key] = found
        return found

    def _rows(self, found: Found, at: datetime, context: Mapping[str, str] | None) -> list[Row]:
        """The rows of a call: those that override first, the ordinary one last. Empty when there is no ordinary row."""
        row = found.model.row_at(at)
        if row is None:
            return []
        if found.kind or found.region:
            context = _said(found, context)
        if not context or not found.is_own or not found.model.special:
            return [] if found.kind else [row]
        overriding = found.model.overrides_at(at, kind_of_call(context))
        if found.kind and not any(KINDS_OF_CALL[found.kind] & other.context.items() for other in overriding):
            return []  # a kind of call that has no price of its own is not taken for an ordinary one
        return [*overriding, row]

    def _rows_of(self, found: Found, at: datetime, price_id: int) -> list[Row]:
        """The row with this id; one for a special kind of call together with the ordinary row it leaves the rest to."""
        named = next((row for row in found.model.rows if row.id == price_id), None)
        if named is None or not named.context:
            return [] if named is None else [named]
        ordinary = found.model.row_at(at)
        return [named] if ordinary is None else [named, ordinary]

    def _rate_set(self, rows: Sequence[Row], own: OwnPrice | None = None) -> RateSet:
        ids = [row.id for row in rows]
        # Rows count from 1, so that an own price below 0 is told from them.
        key = tuple(ids) if own is None else (*ids, -own.id)
        prepared = self._rate_sets.get(key)
        if prepared is None:
            layers = [row.rates for row in rows]
            if own is None:
                merged = rates_merged(layers)
            else:
                specials = sum(1 for row in rows if row.context)
                merged = own.over(layers[:specials], layers[specials:], currency=rows[0].currency if rows else own.currency)
            prepared = RateSet({meter: rate_from_json(rate) for meter, rate in merged.items()})
            # A draft has no id yet that would tell it from another.
            if own is None or own.id:
                self._rate_sets[key] = prepared
        return prepared


def no_price_for(kind: str) -> str:
    """Why a call of this kind has no price."""
    return f"no price for {kind} calls of this model"


def _said(found: Found, said: Mapping[str, str] | None) -> dict[str, str]:
    """What the call says, and before it what its model's name says."""
    named = {"region": found.region} if found.region else {}
    if found.kind:
        named |= dict(KINDS_OF_CALL[found.kind])
    return {**named, **(said or {})}


def book_load() -> tuple[tuple[Any, ...], Book]:
    """Reads the book from the tables: its stamp, and the book. Read again when a change went by meanwhile."""
    stamp = book_stamp()
    while True:
        rates = ExchangeRates(reference_quotes(datetime.now(UTC).date() - RATES_READ))
        book = Book(version=stamp[0], sellers=_sellers(), rates=rates)
        after = book_stamp()
        if after == stamp:
            return stamp, book
        stamp = after


def book_stamp() -> tuple[Any, ...]:
    """What tells one state of the book from another, in one cheap query."""
    # Asked each second in between requests that have to be quick: past the ORM, and past the question whether the connection lives.
    sql.check_health()
    with connection.cursor() as cursor:
        cursor.execute("SELECT version, changed_at FROM price_book ORDER BY id LIMIT 1")
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row if row is not None else (0, None)


def book_changed_at() -> datetime | None:
    """When the book last moved. None: nobody has loaded one."""
    found: datetime | None = book_stamp()[1]
    return found


def _sellers() -> list[Seller[CatalogueModel]]:
    sellers = {
        key: Seller[CatalogueModel](slug, match, model_match, fallbacks)
        for key, slug, match, model_match, fallbacks in Provider.objects.order_by("position", "slug").values_list(
            "id", "slug", "match", "model_match", "fallbacks"
        )
    }
    models: dict[int, CatalogueModel] = {}
    columns = (
        "id",
        "provider_id",
        "match",
        "slug",
        "name",
        "maker",
        "country",
        "tier",
        "has_open_weights",
        "context_window",
        "is_deprecated",
    )
    for key, provider, rule, *described in Model.objects.order_by("provider_id", "position", "id").values_list(*columns):
        models[key] = CatalogueModel(sellers[provider].slug, *described)
        models[key].rule = rule
        sellers[provider].models.append(Candidate(models[key].slug, rule, models[key]))
    _add_rows(models)
    return list(sellers.values())


def _add_rows(models: Mapping[int, CatalogueModel]) -> None:
    columns = ("id", "valid_from", "valid_to", "daily_from", "daily_to", "context", "precedence", "currency", "rates", "source")
    rows: Iterable[Any] = PriceRow.objects.order_by("id").values_list("model_id", *columns)
    for model, *values in rows:
        if model in models:
            models[model].rows.append(Row(*values))


@dataclass
class _Shelf:
    """This process's copy of the book. The lock lets one thread read the tables while the others go on with what they have."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    stamp: tuple[Any, ...] | None = None
    book: Book | None = None
    checked_at: float = 0.0


_shelf = _Shelf()


def current_book(*, refresh: bool = False) -> Book:
    """The newest book this process knows; looks for a newer one at most once a second, or at once with `refresh`."""
    book = _shelf.book
    if book is not None and not refresh and time.monotonic() - _shelf.checked_at < SECONDS_BETWEEN_CHECKS:
        return book
    if book is not None and not refresh and _shelf.lock.locked():
        return book
    with _shelf.lock:
        if _shelf.book is None or book_stamp() != _shelf.stamp:
            _shelf.stamp, _shelf.book = book_load()
        _shelf.checked_at = time.monotonic()
        return _shelf.book


def output_amount(rates: Mapping[str, Any]) -> Decimal | None:
    """The base amount for a million output tokens in stored rates; None when there is none. Free models have 0."""
    if not rates:
        return Decimal(0)
    rate = rates.get("output_tokens")
    return None if rate is None else Decimal(rate["base"])
