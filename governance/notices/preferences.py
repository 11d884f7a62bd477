"""How each person is told: at once, in the daily mail, or not at all; and when, by quiet hours and against storms."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils import timezone

from governance import sql
from governance.audit.services import audit_record
from governance.errors import Forbidden, Invalid
from governance.notices.models import Notice, NoticePreference
from governance.notices.quiet import next_at, next_monday_at, quiet_end
from governance.tenancy.access import Actor
from governance.tenancy.models import Member

Kind: TypeAlias = Notice.Kind
Gather: TypeAlias = Notice.Gather
Way: TypeAlias = NoticePreference.Way
TeamDigest: TypeAlias = NoticePreference.TeamDigest

# What somebody waits for, or is stopped by: it passes quiet hours.
URGENT = frozenset({Kind.OWN_FROZEN, Kind.REQUEST_FILED})
# What people choose about; the others come with what they set up themselves.
CHOSEN = (
    Kind.OWN_FROZEN, Kind.REQUEST_FILED, Kind.REQUEST_CLOSED, Kind.FROZEN, Kind.THRESHOLD, Kind.FORECAST, Kind.GUARD, Kind.PRICES, Kind.QUARANTINE, Kind.CHANNEL,
)  # fmt: skip
# So many notices of a kind to one person within so long are sent one by one; those that follow are gathered for as long.
STORM_NOTICES = 5
STORM_TIME = timedelta(minutes=10)

RECIPIENTS = """
SELECT m.id, u.email, o.time_zone AS organization_zone, p.ways, p.time_zone, p.quiet_from, p.quiet_until, p.daily_at,
    recent.number, recent.held_until
FROM member m JOIN user_account u ON u.id = m.user_id JOIN organization o ON o.id = m.organization_id
LEFT JOIN notice_preference p ON p.member_id = m.id
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE n.gather = '') AS number, min(n.next_attempt_at) FILTER (WHERE n.state = 'held' AND n.gather = 'storm') AS held_until
    FROM notice n
    WHERE n.organization_id = m.organization_id AND n.member_id = m.id AND n.kind = %(kind)s::text AND n.created_at > %(since)s::timestamptz
) AS recent
WHERE m.organization_id = %(organization)s AND m.id = ANY(%(members)s::bigint[]) AND m.is_active AND u.is_active
ORDER BY m.id
"""


class Sending(NamedTuple):
    """When a notice is due, and why it is held until then ("": it is not)."""

    at: datetime
    gather: Gather


@dataclass(frozen=True, slots=True)
class Recipient:
    """A person to be told, with what decides how."""

    member_id: int
    email: str
    zone: ZoneInfo
    ways: Mapping[str, str]
    quiet_from: time | None
    quiet_until: time | None
    daily_at: time
    recent: int
    storm_until: datetime | None

    def sending(self, kind: Kind, now: datetime) -> Sending | None:
        """How a notice of the kind goes out; None: not at all."""
        way = self.ways.get(kind.value, Way.NOW)
        if way == Way.OFF:
            return None
        if way == Way.DAILY:
            return Sending(next_at(now, self.zone, self.daily_at), Gather.DAILY)
        if kind not in URGENT and self.quiet_from is not None and self.quiet_until is not None:
            ends_at = quiet_end(now, self.zone, self.quiet_from, self.quiet_until)
            if ends_at is not None:
                return Sending(ends_at, Gather.QUIET)
        if kind is not Kind.OTHER and (self.storm_until is not None or self.recent >= STORM_NOTICES):
            return Sending(self.storm_until or now + STORM_TIME, Gather.STORM)
        return Sending(now, Gather.NOT)


def recipients_of(organization_id: int, member_ids: list[int], *, kind: Kind, now: datetime) -> list[Recipient]:
    """The active people among the members, by id, in one query."""
    values = {"organization": organization_id, "members": member_ids, "kind": kind.value, "since": now - STORM_TIME}
    return [
        Recipient(
            row.id, row.email, ZoneInfo(row.time_zone or row.organization_zone), row.ways or {}, row.quiet_from, row.quiet_until,
            row.daily_at or time(8), row.number, row.held_until,
        )
        for row in sql.rows(RECIPIENTS, values)
    ]  # fmt: skip


def preference_of(member: Member) -> NoticePreference:
    """The person's choices, or those that hold before any was made (not stored)."""
    found = NoticePreference.objects.filter(organization=member.organization_id, member=member).first()
    return found or NoticePreference(organization_id=member.organization_id, member=member)


def zone_of(preference: NoticePreference, organization_zone: ZoneInfo) -> ZoneInfo:
    return ZoneInfo(preference.time_zone) if preference.time_zone else organization_zone


@transaction.atomic
def preference_change(
    *,
    actor: Actor,
    ways: Mapping[str, str],
    time_zone: str = "",
    quiet_from: time | None = None,
    quiet_until: time | None = None,
    daily_at: time = time(8),
    team_digest: str = "",
) -> NoticePreference:
    """Stores how the acting person wants to be told. Raises Invalid, and Forbidden where no person acts."""
    if actor.member is None or actor.api_key is not None:
        raise Forbidden("Everybody chooses for themselves, on their own page.")
    _check(ways, quiet_from, quiet_until)
    NoticePreference.objects.get_or_create(organization=actor.organization, member=actor.member)
    kept = NoticePreference.objects.select_for_update(no_key=True).get(organization=actor.organization, member=actor.member)
    old = _facts(kept)
    kept.ways = {kind: way for kind, way in ways.items() if way != Way.NOW}
    kept.time_zone, kept.quiet_from, kept.quiet_until, kept.daily_at = time_zone, quiet_from, quiet_until, daily_at
    kept.team_digest = team_digest
    new = _facts(kept)
    if old == new:
        return kept
    kept.team_digest_next_at = digest_after(kept, actor.organization.zone, timezone.now())
    kept.save()
    audit_record(actor=actor, action="notices.chosen", target=("member", actor.member.pk), old=old, new=new)
    return kept


def digest_after(preference: NoticePreference, organization_zone: ZoneInfo, at: datetime) -> datetime | None:
    """When the team's next digest is due; None: the person wants none."""
    if not preference.team_digest:
        return None
    following = next_monday_at if preference.team_digest == TeamDigest.WEEKLY else next_at
    return following(at, zone_of(preference, organization_zone), preference.daily_at)


def _check(ways: Mapping[str, str], quiet_from: time | None, quiet_until: time | None) -> None:
    if set(ways) - {kind.value for kind in CHOSEN} or set(ways.values()) - set(Way.values):
        raise Invalid("Choose one way for each kind.", field="ways")
    if (quiet_from is None) != (quiet_until is None):
        raise Invalid("Quiet hours need a beginning and an end.", field="quiet_until" if quiet_until is None else "quiet_from")
    if quiet_from is not None and quiet_from == quiet_until:
        raise Invalid("Quiet hours that end when they begin would never be over.", field="quiet_until")


def _facts(kept: NoticePreference) -> dict[str, Any]:
    clock = {"quiet_from": kept.quiet_from, "quiet_until": kept.quiet_until, "daily_at": kept.daily_at}
    times = {name: at.strftime("%H:%M") if at else None for name, at in clock.items()}
    return {"ways": dict(kept.ways), "time_zone": kept.time_zone, **times, "team_digest": kept.team_digest}
