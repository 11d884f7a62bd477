"""A person's own usage: burn by day, by model, the limits around it, and where a cheaper model is known to do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F, Q, Sum

from dashboards.insights.cheaper import Cheaper, PricedCall, cheapest
from dashboards.insights.figures import Figures
from dashboards.selectors.requests import economy_models, rate_for
from dashboards.selectors.usage import Row, days, spend_by, totals
from governance.approvals.models import ApprovalRequest
from governance.approvals.selectors import requests_visible
from governance.budgets.models import Session
from governance.periods import Window, first_day, local_midnight
from governance.pricing.models import Tier
from governance.pricing.usage import BUCKETS, Usage
from governance.tenancy.access import RIGHTS, Actor, Right, scoped
from governance.tenancy.models import Member
from ingest.models import UsageEvent, UsageRollupDay

KEY_MAKERS = [role for role, rights in RIGHTS.items() if Right.MANAGE_ORGANIZATION in rights]
KEY_MAKERS_SHOWN = 3
TREND_DAYS = 30
# A task class is one that economy models do when they make at least half of the organization's calls in it.
USUAL_SHARE = Decimal("0.5")
CALLS_NEEDED = 20


@dataclass(frozen=True, slots=True)
class Span:
    """What was used in a span of local days that ends now, and what the span before had cost by the same day and time."""

    name: str
    first: date
    figures: Figures
    before: Decimal

    @property
    def query(self) -> str:
        """What names the same days in the address of other pages."""
        return {"Today": "range=today", "This month": "range=mtd"}.get(self.name, f"range=custom&from={self.first.isoformat()}")


@dataclass(frozen=True, slots=True)
class Hint:
    """Own calls of one task class that the organization mostly gives to economy models, and what one of those would have cost."""

    task_class: str
    economy_share: Decimal
    cheaper: Cheaper


def own(member: Member) -> dict[str, tuple[str, ...]]:
    return {"member": (str(member.pk),)}


def spans(actor: Actor, member: Member, *, now: datetime) -> list[Span]:
    """Today, this week and this month so far, each with the day, week or month before up to the same time."""
    zone = actor.organization.zone
    today = now.astimezone(zone).date()
    tomorrow = today + timedelta(days=1)
    found = []
    for name, first in (("Today", today), ("This week", first_day("week", today)), ("This month", first_day("month", today))):
        length = tomorrow - first
        earlier = first - {"Today": timedelta(days=1), "This week": timedelta(days=7)}.get(
            name, first - first_day("month", first - timedelta(days=1))
        )
        figures = totals(actor, window=Window(local_midnight(first, zone), local_midnight(tomorrow, zone)), filters=own(member))
        before = totals(
            actor,
            window=Window(local_midnight(earlier, zone), local_midnight(min(earlier + length, first), zone)),
            filters=own(member),
            sums=("cost",),
        )
        last = earlier + length - timedelta(days=1)
        later = later_that_day(actor, member, last, now=now) if last < first and before.cost else Decimal(0)
        found.append(Span(name, first, figures, max(before.cost - later, Decimal(0))))
    return found


def later_that_day(actor: Actor, member: Member, day: date, *, now: datetime) -> Decimal:
    """Billed cost of the person's calls on a past day after the time of day that it is now, those that name a session.

    Day rollups know no hours and hour rollups no member; own sessions of that day are few, and found through an index.
    """
    zone = actor.organization.zone
    ends = local_midnight(day + timedelta(days=1), zone)
    begins = datetime.combine(day, now.astimezone(zone).time(), zone)
    sessions = scoped(actor, Session.objects.filter(member_id=member.pk, last_at__gte=begins, first_at__lt=ends)).order_by()
    calls = scoped(actor, UsageEvent.objects.filter(session__in=sessions.values("key"), occurred_at__gte=begins, occurred_at__lt=ends))
    billed = (
        calls.filter(member_id=member.pk, currency=actor.organization.currency).exclude(session="").exclude(billing_mode="subscription")
    )
    amount: Decimal = billed.order_by().aggregate(amount=Sum("cost", default=Decimal(0)))["amount"]
    return amount


def trend(actor: Actor, member: Member, *, now: datetime) -> list[tuple[str, Decimal]]:
    """(local day, billed cost) for each of the last 30 days, oldest first, days without usage included."""
    today = now.astimezone(actor.organization.zone).date()
    rows = days(actor, last_days(actor, now=now), own(member)).filter(currency=actor.organization.currency)
    spent = dict(rows.order_by().values_list("day").annotate(amount=Sum("cost")))
    dates = [today - timedelta(days=offset) for offset in range(TREND_DAYS - 1, -1, -1)]
    return [(day.isoformat(), spent.get(day, Decimal(0))) for day in dates]


def last_days(actor: Actor, *, now: datetime) -> Window:
    zone = actor.organization.zone
    today = now.astimezone(zone).date()
    return Window(local_midnight(today - timedelta(days=TREND_DAYS - 1), zone), local_midnight(today + timedelta(days=1), zone))


def by_model(actor: Actor, member: Member, *, now: datetime) -> list[Row]:
    """Own usage of the last 30 days by model, dearest first."""
    return spend_by(actor, "model", window=last_days(actor, now=now), filters=own(member))


def own_requests(actor: Actor, member: Member, limit: int = 10) -> list[ApprovalRequest]:
    """The requests the person filed, latest first."""
    return list(requests_visible(actor).filter(requester=member).order_by("-created_at", "-id")[:limit])


def hint(actor: Actor, member: Member, *, now: datetime) -> Hint | None:
    """The task class in which an economy model would have saved the person most over 30 days; None where the data says nothing."""
    window = last_days(actor, now=now)
    classes = usual_economy_classes(actor, first_day_of=window)
    if not classes:
        return None
    calls = own_calls(actor, member, window=window, classes=list(classes), now=now)
    hints, rate = [], rate_for(actor.organization, team_id=member.team_id)
    for name, priced in calls.items():
        found = cheapest(priced, economy_models(actor, now=now, task_classes=[name]), rate)
        if found is not None and found.calls >= CALLS_NEEDED:
            hints.append(Hint(name, classes[name], found))
    return max(hints, key=lambda entry: entry.cheaper.saved, default=None)


def usual_economy_classes(actor: Actor, *, first_day_of: Window) -> dict[str, Decimal]:
    """Task classes whose calls the organization gives to economy models at least half the time, with that share."""
    first = first_day_of.starts_at.astimezone(actor.organization.zone).date()
    rows = scoped(actor, UsageRollupDay.objects.filter(day__gte=first)).exclude(task_class="").order_by().values_list("task_class")
    sums = rows.annotate(every=Sum("calls"), economy=Sum("calls", filter=Q(tier=Tier.ECONOMY), default=0))
    return {name: Decimal(economy) / every for name, every, economy in sums if every and Decimal(economy) / every >= USUAL_SHARE}


def own_calls(actor: Actor, member: Member, *, window: Window, classes: Sequence[str], now: datetime) -> dict[str, list[PricedCall]]:
    """Own billed calls on flagship and standard models by task class, each entry the average call of one model."""
    rows = days(actor, window, own(member)).filter(
        task_class__in=classes, tier__in=(Tier.FLAGSHIP, Tier.STANDARD), billing_mode="metered", unpriced_calls=0, cost__gt=0
    )
    sums = {f"sum_{bucket}": Sum(bucket) for bucket in BUCKETS}
    grouped: Iterable[Mapping[str, Any]] = (
        rows.order_by()
        .values("task_class", "provider", "model", money=F("currency"))
        .annotate(all_calls=Sum("calls"), amount=Sum("cost"), **sums)
    )
    found: dict[str, list[PricedCall]] = {}
    for row in grouped:
        usage = Usage(**{bucket: round(row[f"sum_{bucket}"] / row["all_calls"]) for bucket in BUCKETS})
        call = PricedCall(row["provider"], row["model"], now, usage, row["amount"], row["money"], row["all_calls"])
        found.setdefault(row["task_class"], []).append(call)
    return {name: calls for name, calls in found.items() if len({call.currency for call in calls}) == 1}


def key_makers(actor: Actor) -> list[Member]:
    """Whom to ask for a key: the first few active members who may make one."""
    rows = scoped(actor, Member.objects.filter(role__in=KEY_MAKERS, is_active=True, user__is_active=True))
    return list(rows.select_related("user").order_by("user__name", "id")[:KEY_MAKERS_SHOWN])
