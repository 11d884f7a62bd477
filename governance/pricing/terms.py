"""An organization's own terms in memory: which one applies to a call, and what the call costs by it in the organization's currency.

One term applies to a call. Of those whose provider, model, team, dates and kind of call fit, it is the first by this order:
1. one for the model before one for all models;
2. one for the call's team, or the nearest team above it, before one for all teams;
3. one for the provider before one for all providers;
4. one for calls of a kind (such as batch processing) before one for all kinds;
5. the one that began last, and of two that began together the newer.

Terms are for metered calls; what subscriptions and own hardware stand for is shown at list price. Taxes are no part of any cost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from threading import Lock
from zoneinfo import ZoneInfo

from governance.money import quantize
from governance.periods import local_midnight
from governance.pricing.book import TOO_LARGE, Book
from governance.pricing.calls import kind_of_call
from governance.pricing.exchange import ONE, SAME, Exchange, ExchangeRates
from governance.pricing.models import ExchangeRule, Term
from governance.pricing.own import OwnPrice
from governance.pricing.own_names import NONE as NO_NAMES
from governance.pricing.own_names import OwnNames, own_names_load
from governance.pricing.quotes import quotes_of
from governance.pricing.usage import Rating, Usage, Weighed
from governance.tenancy.directory import Directory, directory_now
from governance.tenancy.models import Organization

EXACT = Context(prec=150, rounding=ROUND_HALF_EVEN)
HUNDRED = Decimal(100)
DAYS_GOOD_FOR = 7
REMEMBERED_SCOPES = 20_000
# As the book's own bound, with room for currencies of small units: sums of costs fit their columns.
LARGEST_CONVERTED = Decimal(10_000_000)


@dataclass(frozen=True, slots=True)
class OwnTerm:
    """A term as the hot path needs it."""

    id: int
    name: str
    provider: str
    model: str
    team_id: int | None
    context: Mapping[str, str]
    price: OwnPrice | None
    # What is left of each amount after the percents that are off; None: all of it.
    factor: Decimal | None
    valid_from: datetime
    valid_to: datetime | None

    def holds(self, at: datetime, context: Mapping[str, str] | None) -> bool:
        """Whether it is in force at the instant, for a call of this kind."""
        if at < self.valid_from or (self.valid_to is not None and at >= self.valid_to):
            return False
        return not self.context or (context is not None and all(context.get(key) == value for key, value in self.context.items()))

    def fits(self, listed: Weighed) -> bool:
        """Whether it can be applied: amounts are taken off a price in the same currency, percents off any price there is."""
        if self.price is None:
            return listed.currency != ""
        return bool(self.price.rates) or self.price.currency == listed.currency


@dataclass(frozen=True, slots=True)
class Basis:
    """Which day's rate converts a call from a local day on."""

    valid_from: date
    by_month: bool
    days_good_for: int


@dataclass
class Terms:
    """One version of an organization's terms and exchange rates."""

    version: int
    organization_id: int
    currency: str
    zone: ZoneInfo
    lineage: Mapping[int, tuple[int, ...]]
    terms: Sequence[OwnTerm]
    rates: ExchangeRates
    # Oldest first.
    bases: Sequence[Basis] = ()
    names: OwnNames = NO_NAMES
    _scopes: dict[tuple[str, str, int | None], tuple[OwnTerm, ...]] = field(default_factory=dict)

    def rate(
        self,
        book: Book,
        *,
        provider: str,
        model: str,
        at: datetime,
        usage: Usage,
        context: Mapping[str, str] | None = None,
        team_id: int | None = None,
        is_metered: bool = True,
    ) -> Rating:
        """What one call costs the organization, in its currency, and what it costs by the price book alone.

        `at` is an aware instant; `provider` and `model` as the call names them. Never raises for odd usage or unknown names.
        """
        if self.names.spans:
            provider, model = self.names.meant(book, provider=provider, model=model, at=at)
        listed = book.weigh(provider=provider, model=model, at=at, usage=usage, context=context)
        term = None
        if self.terms and is_metered:
            term = self.applying(listed, at=at, context=book.call_context(provider, model, context), team_id=team_id)
        if term is None:
            return self.at_list_price(book, listed, at)
        charged = listed
        if term.price is not None:
            charged = book.weigh(provider=provider, model=model, at=at, usage=usage, context=context, own=term.price)
        return self.by_term(book, listed, charged, term=term, at=at)

    def at_list_price(self, book: Book, listed: Weighed, at: datetime) -> Rating:
        """The cost of a call that no term applies to."""
        amount, exchange_rate = listed.amount, None
        if amount is None:
            return self._unpriced(listed, listed.reason)
        if listed.currency == self.currency:
            cost = quantize(amount)
        else:
            found = self.exchange(book, listed.currency, at)
            if found is None:
                return self._unpriced(listed, self._no_rate(listed.currency, at))
            exchange_rate = found.rate
            converted_cost = converted(amount, exchange_rate)
            if converted_cost is None:
                return self._unpriced(listed, TOO_LARGE)
            cost = converted_cost
        return Rating(
            listed.provider,
            listed.model,
            listed.maker,
            listed.tier,
            cost,
            self.currency,
            listed.price_id,
            "",
            cost,
            listed.currency,
            exchange_rate,
        )

    def by_term(self, book: Book, listed: Weighed, charged: Weighed, *, term: OwnTerm, at: datetime) -> Rating:
        """The cost of a call by a term: `charged` is what it comes to at its amounts, before percents."""
        amount, exchange = charged.amount, SAME
        if amount is None:
            return self._unpriced(charged, charged.reason)
        if charged.currency != self.currency:
            found = self.exchange(book, charged.currency, at)
            if found is None:
                return self._unpriced(charged, self._no_rate(charged.currency, at))
            exchange = found
        cost = converted(amount, exchange.rate, term.factor)
        if cost is None:
            return self._unpriced(charged, TOO_LARGE)
        return Rating(
            charged.provider,
            charged.model,
            charged.maker,
            charged.tier,
            cost,
            self.currency,
            charged.price_id,
            "",
            self._list_cost(book, listed, at, exchange if charged.currency == listed.currency else None),
            charged.currency,
            None if exchange is SAME else exchange.rate,
            term.id,
        )

    def applying(
        self, listed: Weighed, *, at: datetime, context: Mapping[str, str] | None = None, team_id: int | None = None
    ) -> OwnTerm | None:
        """The term that a call is rated by; `listed` is the call at list price. None: the list price."""
        if context:
            context = kind_of_call(context)
        for term in self.in_scope(listed.provider, listed.model, team_id):
            if term.holds(at, context) and term.fits(listed):
                return term
        return None

    def in_scope(self, provider: str, model: str, team_id: int | None) -> Sequence[OwnTerm]:
        """The terms whose provider, model and team fit, of any date, the one that counts first first."""
        key = (provider, model, team_id)
        found = self._scopes.get(key)
        if found is None:
            above = self.lineage.get(team_id, ()) if team_id is not None else ()
            fitting = [
                term
                for term in self.terms
                if term.provider in ("", provider) and term.model in ("", model) and (term.team_id is None or term.team_id in above)
            ]
            if len(self._scopes) >= REMEMBERED_SCOPES:
                self._scopes.clear()
            found = self._scopes[key] = tuple(sorted(fitting, key=lambda term: _trial_order(term, above)))
        return found

    def turns(self, first: datetime, last: datetime) -> set[datetime]:
        """The instants in (first, last) at which a term, a name or a day's exchange rate begins or ceases to hold."""
        ends = [(term.valid_from, term.valid_to) for term in self.terms]
        ends += [(span[0], span[1]) for spans in self.names.spans.values() for span in spans]
        found = {at for both in ends for at in both if at is not None and first < at < last}
        day = self.local_day(first)
        while day < self.local_day(last):
            day += timedelta(days=1)
            midnight = local_midnight(day, self.zone)
            # Where the clock is set back at midnight, the day before goes on for another hour.
            found |= {at for at in (midnight, midnight + timedelta(hours=1)) if first < at < last}
        return found

    def exchange(self, book: Book, given: str, at: datetime) -> Exchange | None:
        """What converts an amount of a call made at the instant into the organization's currency. None: no rate is known."""
        return self.exchange_on(book, given, self.local_day(at))

    def exchange_on(self, book: Book, given: str, day: date, *, wanted: str = "") -> Exchange | None:
        """As `exchange`, for a local day, into the organization's currency or another. Own rates go before the installation's."""
        wanted = wanted or self.currency
        if given == wanted:
            return SAME
        basis = self.basis_on(day)
        at = day.replace(day=1) if basis.by_month else day
        return self.rates.find(given, wanted, at, days_good_for=basis.days_good_for) or book.rates.find(
            given, wanted, at, days_good_for=basis.days_good_for
        )

    def exchange_last(self, book: Book, given: str, day: date, *, wanted: str = "") -> Exchange | None:
        """As `exchange_on`, and where no rate is good any more the last one that was known by then: for limits, which have to stand somewhere."""
        return self.exchange_on(book, given, day, wanted=wanted) or max(
            filter(None, (rates.find(given, wanted or self.currency, day, days_good_for=None) for rates in (self.rates, book.rates))),
            key=lambda found: found.day or date.min,
            default=None,
        )

    def basis_on(self, day: date) -> Basis:
        """The rule that converts the calls of a local day."""
        return next((basis for basis in reversed(self.bases) if basis.valid_from <= day), DAILY)

    def local_day(self, at: datetime) -> date:
        """The organization's day that the instant lies in."""
        return at.astimezone(self.zone).date()

    def _list_cost(self, book: Book, listed: Weighed, at: datetime, exchange: Exchange | None) -> Decimal | None:
        if listed.amount is None:
            return None
        found = exchange or self.exchange(book, listed.currency, at)
        return None if found is None else converted(listed.amount, found.rate)

    def _no_rate(self, given: str, at: datetime) -> str:
        return f"no exchange rate from {given} to {self.currency} on {self.local_day(at)}"

    def _unpriced(self, found: Weighed, reason: str) -> Rating:
        return Rating(
            found.provider, found.model, found.maker, found.tier, None, self.currency, found.price_id, reason, price_currency=found.currency
        )


DAILY = Basis(date.min, by_month=False, days_good_for=DAYS_GOOD_FOR)


def converted(amount: Decimal, exchange_rate: Decimal, factor: Decimal | None = None) -> Decimal | None:
    """The amount after its discount in another currency, rounded once to 15 places. None: more than any call costs."""
    if factor is not None:
        amount = EXACT.multiply(amount, factor)
    if exchange_rate is not ONE:
        amount = EXACT.multiply(amount, exchange_rate)
    return quantize(amount) if amount <= LARGEST_CONVERTED else None


def exchanged(amount: Decimal, exchange_rate: Decimal) -> Decimal:
    """An amount that is no call's in another currency, rounded once to 15 places. Raises AmountTooLarge."""
    return quantize(EXACT.multiply(amount, exchange_rate))


def _trial_order(term: OwnTerm, above: Sequence[int]) -> tuple[bool, int, bool, bool, float, int]:
    nearness = len(above) if term.team_id is None else above.index(term.team_id)
    return not term.model, nearness, not term.provider, not term.context, -term.valid_from.timestamp(), -term.id


_remembered: dict[int, tuple[Directory, Terms]] = {}
_lock = Lock()


def terms_of(directory: Directory) -> Terms:
    """The organization's terms at the directory's configuration version, from memory when they are there."""
    found = _remembered.get(directory.organization_id)
    if found is None or found[0] is not directory:
        found = directory, terms_load(directory)
        with _lock:
            _remembered[directory.organization_id] = found
    return found[1]


def terms_now(organization: Organization) -> Terms:
    """The organization's terms at its present configuration version."""
    return terms_of(directory_now(organization))


def terms_load(directory: Directory) -> Terms:
    """The terms as the present transaction sees them, past the memory: for whoever is changing them."""
    organization = directory.organization_id
    return Terms(
        version=directory.version,
        organization_id=organization,
        currency=directory.currency,
        zone=directory.zone,
        lineage=directory.lineage,
        terms=[own_term(term) for term in Term.objects.filter(organization=organization).order_by("id")],
        rates=ExchangeRates(quotes_of(organization)),
        bases=bases_of(ExchangeRule.objects.filter(organization=organization).order_by("id")),
        names=own_names_load(organization),
    )


def own_term(term: Term) -> OwnTerm:
    """The term, saved or not, as the hot path needs it. One that is not saved has the id 0."""
    price = None
    if term.rates or term.amounts_off:
        price = OwnPrice(term.pk or 0, term.currency, term.rates, term.amounts_off, bool(term.context))
    return OwnTerm(
        term.pk or 0,
        term.name,
        term.provider,
        term.model,
        term.team_id,
        term.context,
        price,
        (HUNDRED - term.percent_off) / HUNDRED if term.percent_off else None,
        term.valid_from,
        term.valid_to,
    )


def bases_of(rules: Iterable[ExchangeRule]) -> list[Basis]:
    """The rules by the day they begin on; of two that begin together the newer counts."""
    by_day = {rule.valid_from: Basis(rule.valid_from, rule.basis == ExchangeRule.Basis.MONTH, rule.days_good_for) for rule in rules}
    return [by_day[day] for day in sorted(by_day)]
