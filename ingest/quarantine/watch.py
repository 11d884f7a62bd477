"""Tells those who look after an organization that its quarantine grows: once, until it has been quiet in between."""

from datetime import datetime, timedelta
from urllib.parse import quote

from django.conf import settings
from django.db import transaction

from governance import sql
from governance.notices.models import Notice
from governance.notices.services import notice_add
from governance.tenancy.access import RIGHTS, Right
from governance.tenancy.models import Member, Organization
from ingest.quarantine.models import QuarantineAlarm
from ingest.rejections import STANDS_FOR

# So many within an hour are told of; half as many and it is quiet again.
MANY = 25
FEW = 12
SPAN = timedelta(hours=1)
MOST_LINES = 8
COUNTS = f"SELECT organization_id, sum({STANDS_FOR})::bigint AS number FROM rejected_input WHERE received_at > %s AND received_at <= %s GROUP BY 1"  # noqa: S608 - built from constants
KINDS = f"""
SELECT door, code, reason, sum({STANDS_FOR})::bigint AS number FROM rejected_input WHERE organization_id = %s AND received_at > %s AND received_at <= %s
GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3
"""  # noqa: S608 - built from constants


def quarantine_watch(*, now: datetime) -> int:
    """Raises and lowers alarms. Returns how many were raised."""
    counts = {row.organization_id: row.number for row in sql.rows(COUNTS, [now - SPAN, now])}
    raised = set(QuarantineAlarm.objects.filter(is_raised=True).values_list("organization", flat=True))
    grown = {one for one, count in counts.items() if count >= MANY} - raised
    calm = {one for one in raised if counts.get(one, 0) <= FEW}
    for organization in Organization.objects.filter(pk__in=grown).order_by("pk"):
        _raise(organization, now)
    QuarantineAlarm.objects.filter(organization__in=calm, is_raised=True).update(is_raised=False, changed_at=now)
    return len(grown)


@transaction.atomic
def _raise(organization: Organization, now: datetime) -> None:
    QuarantineAlarm.objects.get_or_create(organization=organization, defaults={"changed_at": now})
    alarm = QuarantineAlarm.objects.select_for_update().get(organization=organization)
    if alarm.is_raised:
        return
    alarm.is_raised, alarm.number, alarm.changed_at = True, alarm.number + 1, now
    alarm.save(update_fields=["is_raised", "number", "changed_at"])
    kinds = sql.rows(KINDS, [organization.pk, now - SPAN, now])
    total = sum(kind.number for kind in kinds)
    lines = [
        f"{total:,} inputs were refused within an hour, so what they used is not counted. What was kept of them can be mended by a rule and sent through again.",
        "",
        *(f"{kind.number:>6,}  {kind.door}: {kind.reason[:160]}" for kind in kinds[:MOST_LINES]),
        "",
        "You are told again only after it has been quiet in between.",
        "",
        f"{settings.PUBLIC_URL}/o/{quote(organization.slug)}/settings/not-counted",
    ]
    notice_add(
        organization=organization, recipients=keepers(organization), subject=f"{total:,} inputs were not counted within an hour", body="\n".join(lines),
        key=f"quarantine:{alarm.number}", kind=Notice.Kind.QUARANTINE,
    )  # fmt: skip


def keepers(organization: Organization) -> list[Member]:
    """The active people who look after the organization."""
    roles = [role for role, rights in RIGHTS.items() if Right.MANAGE_ORGANIZATION in rights]
    people = Member.objects.filter(organization=organization, role__in=roles, is_active=True, user__is_active=True)
    return list(people.select_related("user", "team").order_by("id"))
