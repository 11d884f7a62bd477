"""What a model costs an organization now: its list price, the one term of its own that applies, the exchange rate, and its rate of that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from dashboards.components.figures import money_text, plain_decimal
from dashboards.components.meter_words import kind_label, meter_label, per_text
from governance.pricing.book import CatalogueModel, current_book
from governance.pricing.exchange import Exchange
from governance.pricing.meters import in_order
from governance.pricing.terms import EXACT, HUNDRED, OwnTerm, Terms, terms_now
from governance.pricing.usage import Weighed
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Team


@dataclass(frozen=True, slots=True)
class OwnLine:
    """One meter: `listed` in the list's currency, what is done to it in words, in order, and `own` in the organization's.

    Amounts are for the same units. `listed` None: the list does not charge it; `own` None: no exchange rate is known.
    """

    meter: str
    per: str
    listed: Decimal | None
    currency: str
    steps: tuple[str, ...]
    own: Decimal | None


@dataclass(frozen=True, slots=True)
class OwnPriceShown:
    """The prices of one team ("": every other) and kind of call. `term` None: the list price; `passed` are terms that fit but come later."""

    team: str
    kind: str
    term: OwnTerm | None
    passed: Sequence[OwnTerm]
    lines: Sequence[OwnLine]


def own_prices(actor: Actor, model: CatalogueModel, *, at: datetime) -> list[OwnPriceShown]:
    """For every team, and apart for each team and kind of call that another term applies to. Empty where nothing differs from the list."""
    terms = terms_now(actor.organization)
    row = model.row_at(at)
    currency = row.currency if row is not None else ""
    listed = Weighed(model.provider, model.slug, model.maker, model.tier, None, currency, None)
    found: dict[tuple[int | None, str], OwnPriceShown] = {}
    names = _teams(actor, terms)
    for team_id in (None, *names):
        fitting = [term for term in terms.in_scope(model.provider, model.slug, team_id) if term.fits(listed) and term.holds(at, term.context)]
        for context in (dict[str, str](), *(dict(term.context) for term in fitting if term.context)):
            ordered = [term for term in fitting if term.holds(at, context)]
            term = ordered[0] if ordered else None
            alike = found.get((None, kind_label(context))) or found.get((None, kind_label({}))) if team_id or context else None
            if alike is not None and alike.term == term:
                continue
            rates = row.rates if row is not None else {}
            lines = tuple(_lines(terms, rates, currency, term=term, at=at))
            found[team_id, kind_label(context)] = OwnPriceShown(names.get(team_id or 0, ""), kind_label(context), term, ordered[1:], lines)
    return [] if all(shown.term is None for shown in found.values()) and currency in ("", terms.currency) else list(found.values())


def _teams(actor: Actor, terms: Terms) -> dict[int, str]:
    """The teams with terms of their own that the actor may see, by id."""
    wanted = {term.team_id for term in terms.terms if term.team_id is not None}
    if actor.team_ids is not None:
        wanted &= actor.team_ids
    return dict(scoped(actor, Team.objects.filter(pk__in=wanted)).order_by("name", "pk").values_list("pk", "name")) if wanted else {}


def _lines(terms: Terms, rates: Mapping[str, Any], currency: str, *, term: OwnTerm | None, at: datetime) -> Iterator[OwnLine]:
    own = term.price if term is not None else None
    charged = own.over([], [rates] if rates else [], currency=currency) if own is not None else rates
    given = own.currency if own is not None and own.rates else currency
    exchange = terms.exchange(current_book(), given, at)
    for meter in in_order({**rates, **charged}):
        rate, before = charged.get(meter), rates.get(meter)
        present: Mapping[str, Any] = rate or before or {}
        if "factor" in present:
            continue
        per = int(present["per"])
        listed = None if before is None else Decimal(before["base"]) * per / int(before["per"])
        amount = None if rate is None else Decimal(rate["base"])
        yield OwnLine(meter_label(meter), per_text(per), listed, currency, tuple(_steps(meter, term, given, exchange, terms)), _own(amount, term, exchange))


def _own(amount: Decimal | None, term: OwnTerm | None, exchange: Exchange | None) -> Decimal | None:
    if amount is None or exchange is None:
        return None
    if term is not None and term.factor is not None:
        amount = EXACT.multiply(amount, term.factor)
    return EXACT.multiply(amount, exchange.rate)


def _steps(meter: str, term: OwnTerm | None, given: str, exchange: Exchange | None, terms: Terms) -> Iterator[str]:  # noqa: PLR0917
    """What happens to a list price on its way, in words."""
    if term is not None and term.price is not None:
        own, less = term.price.rates.get(meter), term.price.amounts_off.get(meter)
        if own is not None:
            yield f"{money_text(Decimal(own['base']), term.price.currency)} by “{term.name}”"
        if less is not None:
            yield f"{money_text(Decimal(less['base']), term.price.currency)} off by “{term.name}”"
    if term is not None and term.factor is not None:
        yield f"{plain_decimal((1 - term.factor) * HUNDRED)} % off by “{term.name}”"
    if given != terms.currency:
        yield f"times {plain_decimal(exchange.rate)}, {given} to {terms.currency}" if exchange else f"no exchange rate from {given} to {terms.currency}"
