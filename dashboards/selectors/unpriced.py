"""Usage without a cost: models that lack a price, apart from calls whose size nobody reported and from what own hardware prices."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import F, Max, Q, Sum

from dashboards.selectors.usage import TOKENS
from governance.billing.models import Fleet
from governance.billing.selectors import fleets_of
from governance.tenancy.access import Actor, visible
from ingest.models import UsageRollupDay
from ingest.own_hardware import SELF_HOSTED

DAYS = 30
# Rows of which some calls of known size have no price, and those where other calls have one: their tokens cannot be told apart.
LACKS = Q(unpriced_calls__gt=F("unmeasured_calls"))
MIXED = LACKS & Q(unpriced_calls__lt=F("calls"))


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A model's calls without a cost. `calls` are of known size but lack a price, `unmeasured` are of unknown size.

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
    rows = visible(actor, UsageRollupDay.objects.filter(Q(unpriced_calls__gt=0) | Q(unmeasured_calls__gt=0), day__gte=since))
    rows = rows.exclude(served_by(fleets_of(actor).prefetch_related(None)))
    sums = rows.order_by().values("provider", "model").annotate(
        uncosted=Sum("unpriced_calls"), unmeasured=Sum("unmeasured_calls"), mixed=Sum("calls", filter=MIXED, default=0),
        tokens=Sum(TOKENS, filter=LACKS, default=0), last=Max("day"),
    )  # fmt: skip
    found = [_unpriced(row) for row in sums]
    return sorted(found, key=lambda row: (-row.calls, -row.unmeasured, row.model, row.provider))


def served_by(fleets: Iterable[Fleet]) -> Q:
    """The sums of calls that own hardware served on its days: what they come to is the hardware's cost, by its model, not a list's."""
    found = Q(pk__in=())
    for fleet in fleets:
        days = Q(day__gte=fleet.valid_from) if fleet.valid_to is None else Q(day__gte=fleet.valid_from, day__lt=fleet.valid_to)
        provider = Q(provider=fleet.provider) if fleet.provider else Q()
        found |= Q(billing_mode=SELF_HOSTED, model=fleet.model) & days & provider
    return found


def _unpriced(row: Mapping[str, Any]) -> Unpriced:
    calls = max(row["uncosted"] - row["unmeasured"], 0)
    return Unpriced(row["provider"], row["model"], calls, row["unmeasured"], None if row["mixed"] else row["tokens"], row["last"])
