"""Gives the simulated organization a discount, a commitment, a markup, and a model priced in another currency with the rates for it."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import transaction

from governance.periods import add_months, local_midnight
from governance.pricing.agreements import balance_add, markup_set, term_add
from governance.pricing.exchange import Quote
from governance.pricing.exchanging import exchange_rule_set, own_rates_add
from governance.pricing.models import Balance, ExchangeRule, Model, Term
from governance.pricing.services import model_add, price_row_add
from governance.tenancy.access import Actor
from ingest.demo import cast, offers
from ingest.demo.prices import SOURCE
from ingest.demo.simulation import Plan

DISCOUNT = "Enterprise agreement 2026"
DISCOUNT_PERCENT = Decimal(12)
DISCOUNT_DAYS = 30
# What teams are charged on top, for running the platform.
MARKUP_PERCENT = Decimal(4)
COMMITMENT = "Committed spend, this quarter"
# What a plan's events come to with the provider, by the event, with room above: it is drawn down evenly and not used up.
COMMITTED_PER_EVENT = Decimal("0.16")
# CNY a million tokens.
YUAN = {"input_tokens": Decimal("4.00"), "cache_read_tokens": Decimal("1.00"), "output_tokens": Decimal("16.00")}
# One CNY in USD, month after month: a handful of rates, the last of which is good for a year.
RATES = ("0.1389", "0.1394", "0.1401", "0.1398", "0.1404", "0.1411")
GOOD_FOR = 366


@transaction.atomic
def yuan_prices(*, begins: datetime) -> None:
    """The demo's own model with a price in CNY. A model that is there keeps the prices it has."""
    if not Model.objects.filter(provider__slug=offers.YUAN_PROVIDER, slug=offers.YUAN_MODEL).exists():
        model = model_add(
            actor=None, provider=offers.YUAN_PROVIDER, slug=offers.YUAN_MODEL, name="Kimi K2.6 (Northwind demo contract)", maker="moonshotai", tier="economy",
            context_window=262_144,
        )  # fmt: skip
        price_row_add(actor=None, model=model, valid_from=begins, rates=YUAN, currency="CNY", source=SOURCE)


@transaction.atomic
def terms_create(*, actor: Actor, plan: Plan) -> None:
    """The discount, the commitment, the markup, and one exchange rate a month over the plan's days, before any event is stored; once."""
    if Term.objects.filter(organization=actor.organization).exists() or ExchangeRule.objects.filter(organization=actor.organization).exists():
        return
    zone, last = ZoneInfo(cast.TIME_ZONE), plan.calendar[-1].date
    months = [add_months(last.replace(day=1), -back) for back in range(len(RATES))][::-1]
    own_rates_add(actor=actor, quotes=[Quote("CNY", "USD", day, Decimal(rate)) for day, rate in zip(months, RATES, strict=True)], source=SOURCE)
    exchange_rule_set(actor=actor, basis=ExchangeRule.Basis.MONTH, valid_from=months[0], days_good_for=GOOD_FOR)
    term_add(
        actor=actor, name=DISCOUNT, provider="openai", percent_off=DISCOUNT_PERCENT, currency="USD",
        valid_from=local_midnight(last - timedelta(days=DISCOUNT_DAYS), zone),
    )  # fmt: skip
    markup_set(actor=actor, percent=MARKUP_PERCENT, valid_from=plan.calendar[0].date)
    starts_on = _quarter(last)
    ends_on = add_months(starts_on, 3)
    committed = COMMITTED_PER_EVENT * plan.events * (ends_on - starts_on).days / len(plan.calendar)
    balance_add(
        actor=actor, kind=Balance.Kind.COMMITMENT, name=COMMITMENT, provider="anthropic", amount=max(round(committed, -2), Decimal(100)),
        currency="USD", starts_on=starts_on, ends_on=ends_on,
    )  # fmt: skip


def _quarter(day: date) -> date:
    """The first day of the day's quarter."""
    return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
