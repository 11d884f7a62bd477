"""Usage without a cost: models that lack a price they should have, apart from calls whose size nobody reported."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import F, Max, Q, Sum

from dashboards.selectors.usage import LACKING, LACKS, TOKENS
from governance.tenancy.access import Actor, visible
from ingest.models import UsageRollupDay
from ingest.own_hardware import SELF_HOSTED

DAYS = 30
# Rows where other calls have a price: their tokens cannot be told apart.
MIXED = LACKS & Q(unpriced_calls__lt=F("calls"))


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A model's calls without a cost. `calls` are billed by the call and of known size but lack a price, `unmeasured` are of unknown size.

    `tokens` are those of `calls`; None where sums mix them with priced calls of the same model. `last` is the last day of either.
    """

    provider: str
    model: str
    calls: int
    unmeasured: int
    tokens: int | None
    last: date


def unpriced_models(actor: Actor, *, now: datetime) -> list[Unpriced]:
    """The models with calls without a cost in the last 30 days, today included; most calls without a price first."""
    since = now.astimezone(actor.organization.zone).date() - timedelta(days=DAYS - 1)
    # What own hardware's calls come to is the hardware's cost, whatever their size.
    is_unmeasured = Q(unmeasured_calls__gt=0) & ~Q(billing_mode=SELF_HOSTED)
    rows = visible(actor, UsageRollupDay.objects.filter(LACKS | is_unmeasured, day__gte=since))
    sums = rows.order_by().values("provider", "model").annotate(
        lacking=LACKING, unmeasured=Sum("unmeasured_calls", filter=is_unmeasured, default=0), mixed=Sum("calls", filter=MIXED, default=0),
        tokens=Sum(TOKENS, filter=LACKS, default=0), last=Max("day"),
    )  # fmt: skip
    found = [_unpriced(row) for row in sums]
    return sorted(found, key=lambda row: (-row.calls, -row.unmeasured, row.model, row.provider))


def _unpriced(row: Mapping[str, Any]) -> Unpriced:
    return Unpriced(row["provider"], row["model"], row["lacking"], row["unmeasured"], None if row["mixed"] else row["tokens"], row["last"])
