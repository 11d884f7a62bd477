"""API edge of what an organization agreed: own terms, commitments and credits, markups, exchange rates."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from governance.billing import description_agreements as description
from governance.billing.api import BillingView, day_of, id_check
from governance.billing.checks import amount_check, day_check, label_check, name_check
from governance.budgets.views import body_of
from governance.errors import Forbidden, Invalid
from governance.money import currency_code, digits
from governance.pricing import agreements
from governance.pricing.agreements import BalanceFacts, TermFacts
from governance.pricing.exchange import Quote
from governance.pricing.exchanging import MANUAL, own_rates_add
from governance.pricing.models import Balance, ExchangeRate, Markup, ReferenceRate, Term
from governance.pricing.sources import ecb
from governance.tenancy.access import RIGHTS, Actor, Right, scoped
from governance.tenancy.models import Team

LONGEST_NAME = 200
MOST_KINDS = 8
DAYS_SHOWN = timedelta(days=31)
MOST_DAYS = timedelta(days=366)
MOST_FILE_BYTES = 2 * 1024 * 1024


class AgreementsView(BillingView):
    """As plans; a member's key reads agreements where the member's page would show them."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        member = self.actor.member
        if member is not None and Right.VIEW_AUDIT not in RIGHTS[member.role]:
            raise Forbidden(f"Your role does not include {Right.VIEW_AUDIT.words}.", right=Right.VIEW_AUDIT.value)


class Terms(AgreementsView):
    """GET and POST /api/v1/prices/terms."""

    @description.terms_list
    def get(self, request: Request) -> Response:
        return Response({"items": [term_out(term) for term in scoped(self.actor, Term.objects.select_related("team"))]})

    @description.terms_add
    def post(self, request: Request) -> Response:
        def act() -> tuple[int, Any]:
            return 201, term_out(agreements.term_add(actor=self.actor, **term_facts(self.actor, body_of(request, description.TermIn))))

        return self.answer(act)


class TermEnd(AgreementsView):
    """POST /api/v1/prices/terms/<id>/end."""

    @description.terms_end
    def post(self, request: Request, term_id: int) -> Response:
        def act() -> tuple[int, Any]:
            at = body_of(request, description.TermEndIn).valid_to
            if at.tzinfo is None:
                raise Invalid("Say in which time zone the term ends.", field="valid_to")
            day_check(at.date(), "valid_to")
            return 200, term_out(agreements.term_end(actor=self.actor, term_id=id_check(term_id), at=at))

        return self.answer(act)


class Balances(AgreementsView):
    """GET and POST /api/v1/prices/balances."""

    @description.balances_list
    def get(self, request: Request) -> Response:
        return Response({"items": [balance_out(row) for row in scoped(self.actor, Balance.objects.select_related("team"))]})

    @description.balances_add
    def post(self, request: Request) -> Response:
        def act() -> tuple[int, Any]:
            asked = body_of(request, description.BalanceIn)
            facts: BalanceFacts = {
                "kind": asked.kind, "name": name_check(asked.name), "amount": amount_check(asked.amount, "amount"),
                "starts_on": day_check(asked.starts_on, "starts_on"), "ends_on": asked.ends_on and day_check(asked.ends_on, "ends_on"),
                "currency": asked.currency, "provider": label_check(asked.provider, "provider"), "model": label_check(asked.model, "model", LONGEST_NAME),
                "team": team_of(self.actor, asked.team),
            }  # fmt: skip
            return 201, balance_out(agreements.balance_add(actor=self.actor, **facts))

        return self.answer(act)


class BalanceEnd(AgreementsView):
    """POST /api/v1/prices/balances/<id>/end."""

    @description.balances_end
    def post(self, request: Request, balance_id: int) -> Response:
        def act() -> tuple[int, Any]:
            on = day_check(body_of(request, description.BalanceEndIn).ends_on, "ends_on")
            return 200, balance_out(agreements.balance_end(actor=self.actor, balance_id=id_check(balance_id), on=on))

        return self.answer(act)


class Markups(AgreementsView):
    """GET and POST /api/v1/prices/markups."""

    @description.markups_list
    def get(self, request: Request) -> Response:
        return Response({"items": [markup_out(row) for row in scoped(self.actor, Markup.objects.select_related("team"))]})

    @description.markups_set
    def post(self, request: Request) -> Response:
        def act() -> tuple[int, Any]:
            asked = body_of(request, description.MarkupIn)
            day, team = day_check(asked.valid_from, "valid_from"), team_of(self.actor, asked.team)
            return 201, markup_out(agreements.markup_set(actor=self.actor, percent=asked.percent, valid_from=day, team=team))

        return self.answer(act)


class ExchangeRates(BillingView):
    """GET and POST /api/v1/exchange-rates."""

    @description.rates_list
    def get(self, request: Request) -> Response:
        today = timezone.now().astimezone(self.actor.organization.zone).date()
        until = day_of(request, "to", today + timedelta(days=1))
        first = day_of(request, "from", until - DAYS_SHOWN)
        if not first < until <= first + MOST_DAYS:
            raise Invalid("The days end after they begin, at most 366 days later.", field="to")
        own = scoped(self.actor, ExchangeRate.objects.filter(day__gte=first, day__lt=until))
        common = ReferenceRate.objects.filter(day__gte=first, day__lt=until)
        items = [*(rate_out(row, is_own=True) for row in own), *(rate_out(row, is_own=False) for row in common)]
        return Response({"currency": self.actor.organization.currency, "items": items})

    @description.rates_add
    def post(self, request: Request) -> Response:
        def act() -> tuple[int, Any]:
            asked = body_of(request, description.ExchangeRatesIn).rates
            quotes = [Quote(currency_code(one.base), currency_code(one.quote), day_check(one.day, "day"), one.rate, MANUAL) for one in asked]
            return 200, {"added": own_rates_add(actor=self.actor, quotes=quotes)}

        return self.answer(act)


class ExchangeRatesFile(BillingView):
    """POST /api/v1/exchange-rates/file."""

    @description.rates_upload
    def post(self, request: Request) -> Response:
        if int(request.headers.get("Content-Length") or 0) > MOST_FILE_BYTES:
            raise Invalid("A file has at most 2 MiB; the European Central Bank's ZIP is smaller than its CSV.")

        def act() -> tuple[int, Any]:
            return 200, {"added": own_rates_add(actor=self.actor, quotes=ecb.read(request.body), source="file")}

        return self.answer(act)


def term_facts(actor: Actor, asked: description.TermIn) -> TermFacts:
    """The term as the service takes it. Raises Invalid with the field."""
    for field, at in (("valid_from", asked.valid_from), ("valid_to", asked.valid_to)):
        if at is not None:
            day_check(at.date(), field)
    if len(asked.context) > MOST_KINDS:
        raise Invalid(f"A kind of call has at most {MOST_KINDS} attributes.", field="context")
    return {
        "name": name_check(asked.name), "valid_from": asked.valid_from, "valid_to": asked.valid_to, "team": team_of(actor, asked.team),
        "provider": label_check(asked.provider, "provider"), "model": label_check(asked.model, "model", LONGEST_NAME),
        "context": {label_check(name, "context"): label_check(value, "context") for name, value in asked.context.items()},
        "rates": rates_of("rates", asked.rates), "amounts_off": rates_of("amounts_off", asked.amounts_off), "percent_off": asked.percent_off,
        "currency": asked.currency,
    }  # fmt: skip


def rates_of(field: str, given: Mapping[str, Decimal | description.RateIn]) -> dict[str, Any]:
    """The amounts by meter as a price row takes them. Raises Invalid for amounts that no price has."""
    found: dict[str, Any] = {}
    for meter, rate in given.items():
        if isinstance(rate, Decimal):
            found[meter] = amount_check(rate, field)
            continue
        amounts = [rate.base, *(amount for _, amount in rate.tiers), *([rate.least] if rate.least is not None else [])]
        for amount in amounts:
            amount_check(amount, field)
        found[meter] = {name: value for name, value in msgspec.structs.asdict(rate).items() if value is not None}
    return found


def team_of(actor: Actor, slug: str | None) -> Team | None:
    """The organization's team. Raises Invalid."""
    if slug is None:
        return None
    team = None if "\x00" in slug else scoped(actor, Team.objects.filter(slug=slug)).first()
    if team is None:
        raise Invalid("There is no such team here.", field="team")
    return team


def term_out(term: Term) -> dict[str, Any]:
    """A term as the API shows it."""
    names = ("name", "provider", "model", "context", "rates", "amounts_off", "currency", "valid_from", "valid_to")
    return {"id": term.pk, **{name: getattr(term, name) for name in names}, "percent_off": digits(term.percent_off), "team": slug_of(term)}


def balance_out(row: Balance) -> dict[str, Any]:
    """A commitment or credit as the API shows it."""
    names = ("kind", "name", "currency", "provider", "model", "starts_on", "ends_on")
    rate = None if row.exchange_rate is None else digits(row.exchange_rate)
    return {"id": row.pk, **{name: getattr(row, name) for name in names}, "amount": digits(row.amount), "exchange_rate": rate, "team": slug_of(row)}


def markup_out(row: Markup) -> dict[str, Any]:
    """A markup as the API shows it."""
    return {"id": row.pk, "percent": digits(row.percent), "valid_from": row.valid_from, "team": slug_of(row)}


def rate_out(row: ExchangeRate | ReferenceRate, *, is_own: bool) -> dict[str, Any]:
    """An exchange rate as the API shows it."""
    day: date = row.day
    return {"base": row.base, "quote": row.quote, "day": day, "rate": digits(row.rate), "source": row.source, "is_own": is_own}


def slug_of(row: Term | Balance | Markup) -> str | None:
    """The slug of the team that it is for."""
    return row.team.slug if row.team is not None else None
