"""Replays the Zhipu price rise: a model of the demo's own in the price book, with a price before and after the rise."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from governance.pricing.models import Model
from governance.pricing.services import model_add, price_row_add
from ingest.demo import offers

SOURCE = "demo"
# USD a million tokens before the rise, and the rise over both steps as reported for spring 2026 (+83 %).
BEFORE = {"input_tokens": Decimal("0.60"), "cache_read_tokens": Decimal("0.12"), "output_tokens": Decimal("2.00")}
FACTOR = Decimal("1.83")
AFTER = {meter: amount * FACTOR for meter, amount in BEFORE.items()}
NOTICE = timedelta(days=3)


@transaction.atomic
def contract_prices(*, begins: datetime, rises: datetime) -> Model:
    """The demo's own model with its two price rows. A model that is there keeps the prices it has."""
    known = Model.objects.filter(provider__slug=offers.CONTRACT_PROVIDER, slug=offers.CONTRACT_MODEL).first()
    if known is not None:
        return known
    model = model_add(
        actor=None,
        provider=offers.CONTRACT_PROVIDER,
        slug=offers.CONTRACT_MODEL,
        name="GLM-5-Turbo (Northwind demo contract)",
        maker="zhipu",
        tier="economy",
        context_window=202_752,
    )
    price_row_add(actor=None, model=model, valid_from=begins, rates=BEFORE, source=SOURCE)
    price_row_add(actor=None, model=model, valid_from=rises, rates=AFTER, source=SOURCE, announced_at=rises - NOTICE)
    return model
