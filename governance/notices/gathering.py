"""Gathers what was held (storms, quiet hours, daily mails) into one mail each, and writes the digests of teams."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from uuid import uuid4

from django.db import transaction
from django.utils import timezone

from governance.notices import messages, nudge, slack
from governance.notices.links import preferences_link
from governance.notices.messages import Message
from governance.notices.models import Notice, NoticePreference, Signal
from governance.notices.preferences import Gather, Kind, TeamDigest, digest_after
from governance.tenancy import access
from governance.tenancy.models import Member, Organization

AT_ONCE = 500
LISTED = 100
State = Notice.State
LEADS = {
    Gather.STORM: "This happened often within a few minutes, so you get one mail for all of it.",
    Gather.QUIET: "This happened in your quiet hours.",
    Gather.DAILY: "This is your daily mail.",
}


def held_gather() -> int:
    """Turns what is due of the held notices into mails: one that is alone goes as it is, several become one. Returns how many mails."""
    now = timezone.now()
    due = Notice.objects.filter(state=State.HELD, next_attempt_at__lte=now).order_by("next_attempt_at", "id")
    members = list(dict.fromkeys(due.values_list("organization_id", "member_id")[:AT_ONCE]))
    return sum(_gather_for(organization_id, member_id, now) for organization_id, member_id in members)


@transaction.atomic
def _gather_for(organization_id: int, member_id: int | None, now: datetime) -> int:
    """Gathers what is due for one person. Notices that another worker has are left to it."""
    rows = Notice.objects.select_related("organization").filter(
        organization=organization_id, member=member_id, state=State.HELD, next_attempt_at__lte=now
    )
    due = list(rows.select_for_update(of=("self",), skip_locked=True).order_by("gather", "kind", "id"))
    groups = [
        list(found) for _, found in groupby(due, key=lambda notice: (notice.gather, notice.kind if notice.gather == Gather.STORM else ""))
    ]
    for group in groups:
        _send_together(group, now)
    if groups:
        nudge.after_commit()
    return len(groups)


def _send_together(group: Sequence[Notice], now: datetime) -> None:
    keys = [notice.pk for notice in group]
    if len(group) == 1:
        Notice.objects.filter(pk__in=keys).update(state=State.WAITING, next_attempt_at=now)
        return
    first = group[0]
    message = gathered_message(group)
    made = Notice.objects.create(
        organization=first.organization, member_id=first.member_id, recipient=first.recipient, kind=Kind.DIGEST, gather=first.gather,
        subject=message.subject[:200], body=message.body, key=f"gathered:{uuid4().hex}", next_attempt_at=now,
    )  # fmt: skip
    Notice.objects.filter(pk__in=keys).update(state=State.GATHERED, gathered_in=made)


def gathered_message(group: Sequence[Notice]) -> Message:
    """One mail for many: the subjects, then each in full, oldest first."""
    first = group[0]
    in_order = sorted(group, key=lambda notice: notice.pk)
    subjects = [f"- {notice.subject}" for notice in in_order[:LISTED]]
    left_out = [f"and {len(group) - LISTED} more"] if len(group) > LISTED else []
    bodies = [part for notice in in_order[:LISTED] for part in ("", "-" * 40, notice.subject, "", notice.body)]
    lines = [
        LEADS[Gather(first.gather)],
        "",
        *subjects,
        *left_out,
        *bodies,
        "",
        "-" * 40,
        "What you are told, and how:",
        preferences_link(first.organization.slug),
    ]
    same = {notice.kind for notice in group}
    about = f": {Kind(first.kind).label.lower()}" if len(same) == 1 else ""
    return Message(f"{len(group)} notices{about}", "\n".join(lines))


def team_digests_write() -> int:
    """Writes the digests of teams that are due. Returns how many mails."""
    now = timezone.now()
    due = NoticePreference.objects.filter(team_digest_next_at__lte=now, member__is_active=True, member__user__is_active=True)
    return sum(_write_digest(key, now) for key in list(due.order_by("team_digest_next_at").values_list("pk", flat=True)[:AT_ONCE]))


@transaction.atomic
def _write_digest(preference_id: int, now: datetime) -> int:
    """One person's digest, and when the next is due. One that was due long ago is written once."""
    rows = NoticePreference.objects.select_related("organization", "member__user", "member__team", "member__organization")
    kept = (
        rows.select_for_update(of=("self",), skip_locked=True, no_key=True).filter(pk=preference_id, team_digest_next_at__lte=now).first()
    )
    if kept is None:
        return 0
    due_at, organization = kept.team_digest_next_at or now, kept.organization
    kept.team_digest_next_at = digest_after(kept, organization.zone, now)
    kept.save(update_fields=["team_digest_next_at"])
    since = due_at - (timedelta(days=7) if kept.team_digest == TeamDigest.WEEKLY else timedelta(days=1))
    message = digest_message(organization, kept.member, since=since, until=due_at)
    Notice.objects.create(
        organization=organization, member=kept.member, recipient=kept.member.user.email, kind=Kind.DIGEST, subject=message.subject[:200],
        body=message.body, key=f"team-digest:{kept.member_id}:{due_at.isoformat()}", next_attempt_at=now,
    )  # fmt: skip
    nudge.after_commit()
    return 1


def digest_message(organization: Organization, member: Member, *, since: datetime, until: datetime) -> Message:
    """What happened in the teams the person answers for: how often each kind, then the newest of it."""
    team_ids = access.member_actor(member).team_ids
    rows = Signal.objects.filter(organization=organization, at__gte=since, at__lt=until).order_by("-id")
    rows = rows if team_ids is None else rows.filter(team_id__in=team_ids)
    counts = Counter(rows.values_list("kind", flat=True))
    listed = [f"- {_clock(signal, organization)}  {slack.headline(signal.kind, signal.facts)}" for signal in rows[:LISTED]]
    whose = organization.name if team_ids is None else str(member.team or "Your team")
    summed = [f"{number:>5}  {Signal.Kind(kind).label}" for kind, number in sorted(counts.items())]
    lines = [f"{whose}, {messages.instant_text(since, organization.zone)} to {messages.instant_text(until, organization.zone)}", ""]
    lines += (
        [*summed, "", *listed, *([f"and {sum(counts.values()) - LISTED} more"] if sum(counts.values()) > LISTED else [])]
        if counts
        else ["Nothing was frozen, asked for, or close to its limit."]
    )
    return Message(
        f"{whose}: {sum(counts.values())} happenings",
        "\n".join([*lines, "", "What you are told, and how:", preferences_link(organization.slug)]),
    )


def _clock(signal: Signal, organization: Organization) -> str:
    return signal.at.astimezone(organization.zone).strftime("%d %b %H:%M")
