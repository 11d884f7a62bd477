"""Writes of what an organization agreed: terms, commitments and credits, markups. Rows are added and ended; nothing is edited."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Required, TypedDict, Unpack

from django.db import transaction
from django.db.models import F, Q, QuerySet

from governance.audit.services import audit_record
from governance.errors import Conflict, Invalid, NotFound
from governance.money import LARGEST, currency_code
from governance.periods import is_kept, local_midnight
from governance.pricing.book import current_book
from governance.pricing.contracts import Balance, Markup, Term
from governance.pricing.late import term_tell
from governance.pricing.services import rate_check
from governance.pricing.terms import terms_load
from governance.tenancy.access import Actor, Right, require
from governance.tenancy.directory import directory_at
from governance.tenancy.models import Organization, Team
from governance.tenancy.services import organization_touch

ZERO = Decimal(0)
HUNDRED = Decimal(100)
MOST_MARKUP = Decimal(1000)
SIX_PLACES = Decimal("0.000001")


class TermFacts(TypedDict, total=False):
    """What a term is made of. `rates` (own amounts, of one model) and `amounts_off` map a meter to an amount for its usual units, or to
    a rate as PriceRow stores it, in `currency` (the organization's, when absent). Empty provider, model and team mean any.
    """

    name: Required[str]
    valid_from: Required[datetime]
    valid_to: datetime | None
    provider: str
    model: str
    team: Team | None
    context: Mapping[str, str] | None
    rates: Mapping[str, Any] | None
    amounts_off: Mapping[str, Any] | None
    percent_off: Decimal
    currency: str


class BalanceFacts(TypedDict, total=False):
    """What a commitment or a credit is made of; [starts_on, ends_on) in local days."""

    kind: Required[str]
    name: Required[str]
    amount: Required[Decimal]
    starts_on: Required[date]
    ends_on: date | None
    currency: str
    provider: str
    model: str
    team: Team | None


@transaction.atomic
def term_add(*, actor: Actor, **facts: Unpack[TermFacts]) -> Term:
    """Adds a term from `valid_from` on, which ends the one that stood for the same provider, model, team and kind of call.

    Raises Invalid for what cannot be, Conflict where another term for the same begins later: end that first.
    """
    term = term_draft(actor=actor, **facts)
    organization_touch(actor.organization)
    ended = [
        {"term": standing.pk, "name": standing.name, "valid_to": _ended(standing, term.valid_from)}
        for standing in _alike(term) if not _stands_apart(standing, term)
    ]
    term.save()
    audit_record(actor=actor, action="term.added", target=("term", term.pk), old={"ended": ended} if ended else None, new=term_facts(term))
    term_tell(term, since=term.valid_from, what="holds since")
    return term


def _alike(term: Term) -> QuerySet[Term]:
    """The terms for the same that have not ended by then, locked, oldest first."""
    rows = Term.objects.filter(organization=term.organization, provider=term.provider, model=term.model, team=term.team, context=term.context)
    rows = rows.filter(Q(valid_to=None) | Q(valid_to__gt=term.valid_from) & Q(valid_to__gt=F("valid_from")))
    return rows.order_by("valid_from", "id").select_for_update(of=("self",))


def _stands_apart(standing: Term, term: Term) -> bool:
    """Whether it begins only after the new one has ended. Raises Conflict where it begins while that runs."""
    if standing.valid_from < term.valid_from:
        return False
    if term.valid_to is not None and term.valid_to <= standing.valid_from:
        return True
    raise Conflict(
        f"“{standing.name}” stands for the same from {standing.valid_from:%Y-%m-%d} on. End it first, or end this one by then.", field="valid_from"
    )


def _ended(term: Term, at: datetime) -> datetime | None:
    """Ends the term; returns the end that it had."""
    old, term.valid_to = term.valid_to, at
    term.save(update_fields=["valid_to"])
    return old


def term_draft(*, actor: Actor, **facts: Unpack[TermFacts]) -> Term:
    """The term as `term_add` would keep it, not saved: for a preview. Raises Invalid and Forbidden as that does."""
    require(actor, Right.MANAGE_PRICES)
    organization, valid_to = actor.organization, facts.get("valid_to")
    _check_window(facts["valid_from"], valid_to)
    _check_team(actor, facts.get("team"))
    if not facts["name"].strip():
        raise Invalid("Give the term a name, such as the contract's number.", field="name")
    provider, model = _names_meant(facts.get("provider", ""), facts.get("model", ""))
    found = Term(
        organization=organization, created_by=actor.member, name=facts["name"].strip()[:120], provider=provider, model=model, team=facts.get("team"), context=dict(facts.get("context") or {}),
        rates=_amounts("rates", facts.get("rates")), amounts_off=_amounts("amounts_off", facts.get("amounts_off")),
        percent_off=_percent(facts.get("percent_off", ZERO)), currency=currency_code(facts.get("currency") or organization.currency),
        valid_from=facts["valid_from"], valid_to=valid_to,
    )  # fmt: skip
    if found.rates and found.amounts_off:
        raise Invalid("Own amounts and amounts off exclude each other.", field="amounts_off")
    if not found.rates and not found.amounts_off and not found.percent_off:
        raise Invalid("Say what the term changes: own amounts, amounts off or a percent off.", field="percent_off")
    if found.rates and not found.model:
        raise Invalid("Own amounts are of one model.", field="model")
    return _named_as_in_the_book(found)


def _named_as_in_the_book(term: Term) -> Term:
    """The term under the names that the price book knows its provider and model by, which calls are stored under."""
    known = current_book().entry(term.provider, term.model) if term.model else None
    if known is not None:
        term.provider, term.model = current_book().provider_of(term.provider, term.model) if term.provider else "", known.slug
    return term


@transaction.atomic
def term_end(*, actor: Actor, term_id: int, at: datetime) -> Term:
    """Ends a term at an instant, earlier than it would otherwise; at the one it began, it never applied. Raises Conflict, Invalid, NotFound."""
    require(actor, Right.MANAGE_PRICES)
    organization_touch(actor.organization)
    term = Term.objects.select_for_update(of=("self",)).filter(organization=actor.organization, pk=term_id).first()
    if term is None:
        raise NotFound("There is no such term here.")
    at = max(at, term.valid_from)
    if term.valid_to == at:
        return term
    if term.valid_to is not None and at > term.valid_to:
        raise Conflict(f"It ended on {term.valid_to:%Y-%m-%d} already; add a term from then on.", field="valid_to")
    audit_record(actor=actor, action="term.ended", target=("term", term.pk), old={"valid_to": _ended(term, at)}, new={"name": term.name, "valid_to": at})
    term_tell(term, since=at, what="ended on")
    return term


@transaction.atomic
def balance_add(*, actor: Actor, **facts: Unpack[BalanceFacts]) -> Balance:
    """Adds a commitment or a credit. Raises Invalid, also where its currency has no exchange rate by its first day."""
    require(actor, Right.MANAGE_PRICES)
    organization, starts_on, ends_on = actor.organization, facts["starts_on"], facts.get("ends_on")
    _check_team(actor, facts.get("team"))
    if facts["kind"] not in Balance.Kind.values:
        raise Invalid("It is a commitment or a credit.", field="kind")
    if not facts["name"].strip():
        raise Invalid("Give it a name.", field="name")
    if not facts["amount"].is_finite() or not 0 < facts["amount"] < LARGEST:
        raise Invalid("The amount must be more than 0.", field="amount")
    if ends_on is not None and ends_on <= starts_on:
        raise Invalid("It ends after it begins.", field="ends_on")
    currency = currency_code(facts.get("currency") or organization.currency)
    organization_touch(organization)
    provider, model = _names_meant(facts.get("provider", ""), facts.get("model", ""))
    found = Balance.objects.create(
        organization=organization, created_by=actor.member, kind=facts["kind"], name=facts["name"].strip()[:120], provider=provider, model=model, team=facts.get("team"), amount=facts["amount"],
        currency=currency, exchange_rate=rate_on(organization, currency, starts_on), starts_on=starts_on, ends_on=ends_on,
    )  # fmt: skip
    kept = {name: getattr(found, name) for name in ("kind", "name", "provider", "model", "team_id", "amount", "currency", "exchange_rate", "starts_on", "ends_on")}
    audit_record(actor=actor, action="balance.added", target=("balance", found.pk), new=kept)
    return found


@transaction.atomic
def balance_end(*, actor: Actor, balance_id: int, on: date) -> Balance:
    """Ends a commitment or credit before its time: the day does not count any more. Raises Conflict and NotFound."""
    require(actor, Right.MANAGE_PRICES)
    organization_touch(actor.organization)
    found = Balance.objects.select_for_update(of=("self",)).filter(organization=actor.organization, pk=balance_id).first()
    if found is None:
        raise NotFound("There is no such commitment or credit here.")
    on = max(on, found.starts_on)
    if found.ends_on == on:
        return found
    if found.ends_on is not None and on > found.ends_on:
        raise Conflict(f"It ended on {found.ends_on} already.", field="ends_on")
    old, found.ends_on = found.ends_on, on
    found.save(update_fields=["ends_on"])
    audit_record(actor=actor, action="balance.ended", target=("balance", found.pk), old={"ends_on": old}, new={"name": found.name, "ends_on": on})
    return found


@transaction.atomic
def markup_set(*, actor: Actor, percent: Decimal, valid_from: date, team: Team | None = None) -> Markup:
    """Says what is added to a team's cost (None: of every team that has none of its own) from a local day on; 0 ends it."""
    require(actor, Right.MANAGE_PRICES)
    _check_team(actor, team)
    if not percent.is_finite() or not -HUNDRED <= percent <= MOST_MARKUP:
        raise Invalid("A markup is from -100 to 1000 percent.", field="percent")
    organization_touch(actor.organization)
    percent = percent.quantize(SIX_PLACES)
    alike = Markup.objects.filter(organization=actor.organization, team=team)
    standing = alike.filter(valid_from__lte=valid_from).order_by("-valid_from", "-id").first()
    if standing is not None and standing.percent == percent and not alike.filter(valid_from__gt=standing.valid_from).exists():
        return standing
    found = Markup.objects.create(organization=actor.organization, created_by=actor.member, team=team, percent=percent, valid_from=valid_from)
    facts = {"team": team and team.slug, "percent": percent, "valid_from": valid_from}
    audit_record(actor=actor, action="markup.set", target=("markup", found.pk), old=None if standing is None else {"percent": standing.percent}, new=facts)
    return found


def rate_on(organization: Organization, currency: str, day: date) -> Decimal | None:
    """One unit of a currency in the organization's own on a local day; None where it is the same. Raises Invalid where none is known."""
    if currency == organization.currency:
        return None
    found = terms_load(directory_at(organization)).exchange_last(current_book(), currency, day)
    if found is None:
        raise Invalid(f"No exchange rate from {currency} to {organization.currency} is known by {day}. Add one under Currencies.", field="currency")
    return found.rate


def day_begins(organization: Organization, day: date) -> datetime:
    """The instant at which the organization's local day begins."""
    return local_midnight(day, organization.zone)


def term_facts(term: Term) -> dict[str, Any]:
    """The term as the record tells it."""
    columns = ("name", "provider", "model", "team_id", "context", "rates", "amounts_off", "percent_off", "currency", "valid_from", "valid_to")
    return {name: getattr(term, name) for name in columns}


def _names_meant(provider: str, model: str) -> tuple[str, str]:
    """The names under which calls of these are stored, where the price book is certain of them; else as they were written."""
    provider, model = provider.strip().lower(), model.strip()
    found = current_book().resolve(provider, model) if provider and model else None
    if found is None or found.entry is None or found.kind or found.region:
        return provider, model
    return found.provider, found.entry.slug


def _check_window(valid_from: datetime, valid_to: datetime | None) -> None:
    if valid_from.tzinfo is None or (valid_to is not None and valid_to.tzinfo is None):
        raise Invalid("Say in which time zone the term begins and ends.", field="valid_from")
    if not is_kept(valid_from) or (valid_to is not None and not is_kept(valid_to)):
        raise Invalid("This day lies too far away.", field="valid_from")
    if valid_to is not None and valid_to <= valid_from:
        raise Invalid("The term ends after it begins.", field="valid_to")


def _check_team(actor: Actor, team: Team | None) -> None:
    if team is not None and team.organization_id != actor.organization.pk:
        raise Invalid("There is no such team here.", field="team")


def _amounts(field: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    found = {}
    for meter, rate in (given or {}).items():
        found[meter] = rate_check(meter, rate)
        if "factor" in found[meter]:
            raise Invalid("A term names amounts; for a share of the price give a percent.", field=field)
    return found


def _percent(value: Decimal) -> Decimal:
    if not value.is_finite() or not 0 <= value <= HUNDRED:
        raise Invalid("A discount is from 0 to 100 percent.", field="percent_off")
    return value.quantize(SIX_PLACES)
