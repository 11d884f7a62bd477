"""Reads of attribution: rules, the share of spend that belongs to a team, people whom usage names and nobody here goes by, and stored calls to test on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from governance.attribution.models import AttributionRule
from governance.errors import Forbidden
from governance.tenancy.access import Actor, Right, get_scoped, require, scoped
from governance.tenancy.models import Member
from ingest.models import ReportedLabel, UsageEvent, UsageRollupDay

ZERO = Decimal(0)
TESTED_DAYS = 30
LATEST = 20


def rules_visible(actor: Actor) -> QuerySet[AttributionRule]:
    """The rules that are not retired, in their order, for who sees every team's figures. Raises Forbidden for others."""
    require(actor, Right.VIEW_SPEND)
    if actor.team_ids is not None:
        raise Forbidden("Rules are shown to those who see every team.")
    return scoped(actor, AttributionRule.objects.filter(retired_at=None).select_related("team", "project")).order_by("position", "id")


def rule_get(actor: Actor, rule_id: int) -> AttributionRule:
    """One rule. Raises NotFound, and Forbidden."""
    found: AttributionRule = get_scoped(actor, rules_visible(actor), pk=rule_id)
    return found


def rule_names(actor: Actor) -> dict[int, str]:
    """The names of all rules, retired ones too, by id."""
    return dict(scoped(actor, AttributionRule.objects.order_by("id")).values_list("pk", "name"))


@dataclass(frozen=True, slots=True)
class Allocation:
    """What of some days' billed spend belongs to a team, in the organization's currency; `share` is None when nothing was spent."""

    first: date
    last: date
    cost: Decimal
    allocated: Decimal
    calls: int
    calls_allocated: int

    @property
    def share(self) -> Decimal | None:
        return self.allocated / self.cost if self.cost else None

    @property
    def share_of_calls(self) -> Decimal | None:
        return Decimal(self.calls_allocated) / self.calls if self.calls else None


def allocation_of(actor: Actor, *, days: int = TESTED_DAYS, now: datetime | None = None) -> Allocation:
    """The last days, the present one among them, on the organization's clock."""
    require(actor, Right.VIEW_SPEND)
    last = (now or timezone.now()).astimezone(actor.organization.zone).date()
    first = last - timedelta(days=days - 1)
    rows = scoped(actor, UsageRollupDay.objects.filter(day__range=(first, last), currency=actor.organization.currency))
    has_team = Q(team_id__isnull=False)
    found = rows.aggregate(
        spent=Sum("cost"), allocated=Sum("cost", filter=has_team), made=Sum("calls"), owned=Sum("calls", filter=has_team)
    )
    return Allocation(first, last, found["spent"] or ZERO, found["allocated"] or ZERO, found["made"] or 0, found["owned"] or 0)


def events_latest(actor: Actor, *, limit: int = LATEST, now: datetime | None = None) -> Sequence[UsageEvent]:
    """The latest calls of the last days, to try rules on."""
    require(actor, Right.MANAGE_ORGANIZATION)
    now = now or timezone.now()
    rows = scoped(actor, UsageEvent.objects.filter(occurred_at__range=(now - timedelta(days=TESTED_DAYS), now + timedelta(days=1))))
    return list(rows.order_by("-occurred_at", "id")[:limit])


def event_find(actor: Actor, *, event_id: UUID, occurred_at: datetime) -> UsageEvent | None:
    """One stored call by its key and its time."""
    require(actor, Right.MANAGE_ORGANIZATION)
    return scoped(actor, UsageEvent.objects.filter(id=event_id, occurred_at=occurred_at)).first()


@dataclass(frozen=True, slots=True)
class Stranger:
    """A person whom usage names and nobody here goes by, with the member that this may well be."""

    name: str
    calls: int
    first_at: datetime
    last_at: datetime
    likely: Member | None


def strangers(actor: Actor, *, limit: int = 50) -> list[Stranger]:
    """People unknown here, those of most calls first. One whose name before the @ is one member's is likely that member."""
    require(actor, Right.MANAGE_ORGANIZATION)
    labels = scoped(actor, ReportedLabel.objects.filter(kind="member", calls__gt=0)).order_by("-calls", "value")[:limit]
    members: dict[str, list[Member]] = {}
    for member in members_named(actor):
        for part in {name.partition("@")[0].lower() for name in (member.user.email, *member.aliases)}:
            members.setdefault(part, []).append(member)

    def likely(name: str) -> Member | None:
        found = members.get(name.partition("@")[0].lower(), [])
        return found[0] if len(found) == 1 else None

    return [Stranger(label.value, label.calls, label.first_at, label.last_at, likely(label.value)) for label in labels]


def members_named(actor: Actor) -> QuerySet[Member]:
    """The members with their names in usage."""
    require(actor, Right.MANAGE_ORGANIZATION)
    return scoped(actor, Member.objects.select_related("user", "team")).order_by("user__name", "user__email", "id")
