"""Replays the Zhipu price rise: a model of the demo's own in the price book, whose provider's list announces another price."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from governance.pricing.models import Model, PriceRun
from governance.pricing.services import model_add
from governance.pricing.sync.services import list_upload
from ingest.demo import offers

SOURCE = "demo"
# USD a million tokens before the rise, and the rise over both steps as reported for spring 2026 (+83 %).
BEFORE = {"input_tokens": Decimal("0.60"), "cache_read_tokens": Decimal("0.12"), "output_tokens": Decimal("2.00")}
FACTOR = Decimal("1.83")
AFTER = {meter: amount * FACTOR for meter, amount in BEFORE.items()}
NOTICE = timedelta(days=3)
LASTED = timedelta(seconds=1)


@transaction.atomic
def contract_prices(*, begins: datetime, rises: datetime) -> Model:
    """The demo's own model with its two price rows, from two lists that were read. A model that is there keeps the prices it has."""
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
    told = rises - NOTICE
    first = _line(begins, "", BEFORE)
    _read([first], at=begins)
    _read([first, _line(rises, told.isoformat(), AFTER)], at=told)
    return model


def _read(lines: Sequence[str], *, at: datetime) -> None:
    """Has the provider's list read, as it was at the instant."""
    run = list_upload(actor=None, provider=offers.CONTRACT_PROVIDER, body=_listed(lines), now=at)
    PriceRun.objects.filter(pk=run.pk).update(finished_at=at + LASTED)


def _listed(lines: Sequence[str]) -> bytes:
    return "\n".join([",".join(["model", "valid_from", "announced_at", *BEFORE]), *lines]).encode()


def _line(begins: datetime, announced: str, rates: Mapping[str, Decimal]) -> str:
    return ",".join([offers.CONTRACT_MODEL, begins.isoformat(), announced, *(format(amount, "f") for amount in rates.values())])
