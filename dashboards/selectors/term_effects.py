"""What a term would have made of last month: for each model and team that it applies to, the cost as it was and as it would have been."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from django.db.models import Sum
from django.utils import timezone

from governance.periods import BEGINNING, local_midnight
from governance.pricing.book import current_book
from governance.pricing.models import Term
from governance.pricing.terms import converted, own_term, terms_now
from governance.pricing.usage import Usage
from governance.tenancy.access import Actor, scoped
from ingest.models import UsageRollupDay

ZERO = Decimal(0)
BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")


@dataclass(frozen=True, slots=True)
class Effect:
    """One model of one provider."""

    provider: str
    model: str
    before: Decimal
    after: Decimal


@dataclass(frozen=True, slots=True)
class Effects:
    """All of them, and their sums."""

    rows: Sequence[Effect]
    before: Decimal
    after: Decimal


def effects_of(actor: Actor, draft: Term) -> Effects:
    """Last month under the term beside those that stand, from daily sums: steps by the length of single calls are not in it."""
    zone = actor.organization.zone
    first = (timezone.now().astimezone(zone).date().replace(day=1) - timedelta(days=1)).replace(day=1)
    last = timezone.now().astimezone(zone).date().replace(day=1) - timedelta(days=1)
    at, book, terms = local_midnight(last, zone), current_book(), terms_now(actor.organization)
    term = replace(own_term(draft), valid_from=BEGINNING, valid_to=None)
    wanted = replace(terms, terms=[*terms.terms, term], _scopes={})
    rows = scoped(actor, UsageRollupDay.objects.filter(day__gte=first, day__lte=last, billing_mode="metered")).order_by()
    found: dict[tuple[str, str], list[Decimal]] = {}
    groups = rows.values_list("provider", "model", "team_id").annotate(*(Sum(name) for name in BUCKETS), Sum("cost"), Sum("list_cost"))
    for provider, model, team_id, *counts, cost, list_cost in groups:
        usage = Usage(*counts)
        listed = book.weigh(provider=provider, model=model, at=at, usage=usage)
        if wanted.applying(listed, at=at, team_id=team_id) is not term:
            continue
        after = converted(list_cost, Decimal(1), term.factor) if term.price is None else wanted.rate(
            book, provider=provider, model=model, at=at, usage=usage, team_id=team_id
        ).cost  # fmt: skip
        if after is not None:
            sums = found.setdefault((provider, model), [ZERO, ZERO])
            sums[0] += cost
            sums[1] += after
    effects = [Effect(*names, *sums) for names, sums in sorted(found.items(), key=lambda item: (-item[1][0], item[0]))]
    return Effects(effects, sum((row.before for row in effects), ZERO), sum((row.after for row in effects), ZERO))
