"""Writes of seats: giving one, ending one, and reading many from a CSV. One person has one seat at a time for the same calls."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from django.db import transaction
from django.db.models import F, Q

from governance.audit.services import audit_record
from governance.billing.checks import day_check, facts_of, may_manage
from governance.billing.models import Seat, SeatPlan, SeatTerms
from governance.billing.plans import plan_locked
from governance.errors import Conflict, DomainError, Invalid, NotFound
from governance.tenancy.access import Actor, get_scoped, scoped
from governance.tenancy.models import Member
from governance.tenancy.months import days_open_check

MOST_LINES = 5_000
MOST_BYTES = 1_000_000
MOST_COMPLAINTS = 20
COLUMNS = ("email", "from", "to")


@dataclass(frozen=True, slots=True)
class Imported:
    """What reading a file did."""

    given: int
    ended: int
    unchanged: int


@transaction.atomic
def seat_give(*, actor: Actor, plan: SeatPlan, member: Member, valid_from: date, valid_to: date | None = None) -> Seat:
    """Gives the member a seat from a local day on, until the day `valid_to` (the first without it) where that is known.

    The seat that the member has from that day on is left as it is. Raises Forbidden, NotFound, Invalid outside the plan's days, and
    Conflict where the person has another seat for the same calls then.
    """
    may_manage(actor)
    same = Seat.objects.filter(plan=plan, member=member, valid_from=valid_from, valid_to=valid_to)
    if not same.exists():
        days_open_check(actor.organization, valid_from, valid_to, field="valid_from")
    plan = plan_locked(actor, plan.pk)
    # Held as well: two plans may be for the same calls.
    member = get_scoped(actor, Member.objects.select_for_update(no_key=True, of=("self",)).select_related("user"), pk=member.pk)
    _days_check(plan, valid_from, valid_to)
    if (known := same.first()) is not None:
        return known
    other = _overlapping(plan, member, valid_from, valid_to)
    if other is not None:
        until = f" until {other.valid_to}" if other.valid_to else ""
        raise Conflict(f"{member} has a seat of {other.plan} from {other.valid_from}{until}, which is for the same calls.", field="member")
    seat = Seat.objects.create(
        organization=actor.organization, created_by=actor.member, plan=plan, member=member, valid_from=valid_from, valid_to=valid_to
    )
    new = {"plan": plan.name, "member": member.user.email, **facts_of(seat, "valid_from", "valid_to")}
    audit_record(actor=actor, action="seat.given", target=("seat", seat.pk), new=new)
    return seat


@transaction.atomic
def seat_end(*, actor: Actor, seat: Seat, ends_on: date) -> Seat:
    """Ends the seat: `ends_on` is the first day without it; the day it began on, and it never was. Raises Forbidden, NotFound, Conflict, Invalid."""
    may_manage(actor)
    if seat.valid_to != ends_on:
        days_open_check(actor.organization, ends_on, field="ends_on")
    plan_locked(actor, seat.plan_id)
    seat = get_scoped(actor, Seat.objects.select_related("plan", "member__user"), pk=seat.pk)
    if seat.valid_to == ends_on:
        return seat
    if seat.valid_to is not None and seat.valid_to < ends_on:
        raise Conflict(f"This seat ended on {seat.valid_to}; give another one from then on.", field="ends_on")
    if day_check(ends_on, "ends_on") < seat.valid_from:
        raise Invalid(f"This seat begins on {seat.valid_from}; it cannot end before.", field="ends_on")
    old = facts_of(seat, "valid_to")
    seat.valid_to = ends_on
    seat.save(update_fields=["valid_to"])
    new = {"plan": seat.plan.name, "member": seat.member.user.email, "valid_to": ends_on}
    audit_record(actor=actor, action="seat.ended", target=("seat", seat.pk), old=old, new=new)
    return seat


@transaction.atomic
def seats_import(*, actor: Actor, plan: SeatPlan, data: bytes) -> Imported:
    """Seats from a CSV with the columns email, from and (optional) to: all of them or, with a sentence for each line that is wrong, none.

    A line that says what is so already changes nothing; one with an end for a seat that has none yet ends it. Raises Forbidden, Invalid.
    """
    may_manage(actor)
    members = {member.user.email.lower(): member for member in scoped(actor, Member.objects.select_related("user")).order_by("id")}
    wrong: list[str] = []
    outcomes: list[str] = []
    for number, line in _lines(data):
        try:
            with transaction.atomic():
                outcomes.append(_line_apply(actor, plan, members, line))
        except DomainError as refusal:
            wrong.append(f"Line {number}: {refusal.detail}")
            if len(wrong) == MOST_COMPLAINTS:
                break
    if wrong:
        raise Invalid("Nothing was changed. " + " ".join(wrong), field="file", lines=wrong)
    return Imported(outcomes.count("given"), outcomes.count("ended"), outcomes.count("unchanged"))


def _line_apply(actor: Actor, plan: SeatPlan, members: dict[str, Member], line: dict[str, str]) -> str:
    member = members.get(line.get("email", "").strip().lower())
    if member is None:
        raise NotFound(f"Nobody here goes by {line.get('email', '').strip()[:100] or 'no e-mail'}.")
    first, until = _day(line.get("from", ""), "from"), _day(line["to"], "to") if line.get("to", "").strip() else None
    known = Seat.objects.filter(plan=plan, member=member, valid_from=first).exclude(valid_to=F("valid_from")).first()
    if known is not None and known.valid_to == until:
        return "unchanged"
    if known is not None and until is None:
        raise Conflict(f"The seat of {member} from {first} ended on {known.valid_to}.")
    if known is not None and until is not None:
        seat_end(actor=actor, seat=known, ends_on=until)
        return "ended"
    seat_give(actor=actor, plan=plan, member=member, valid_from=first, valid_to=until)
    return "given"


def _lines(data: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, values by column) of the file. Raises Invalid for what is no such file."""
    if len(data) > MOST_BYTES:
        raise Invalid(f"A file has at most {MOST_BYTES:,} bytes.", field="file")
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise Invalid("The file is not CSV in UTF-8.", field="file") from None
    heads = [head.strip().lower() for head in rows[0]] if rows else []
    if not {"email", "from"} <= set(heads) or set(heads) - set(COLUMNS) or len(set(heads)) < len(heads):
        raise Invalid("The first line names the columns: email, from and, where seats have an end, to.", field="file")
    if len(rows) > MOST_LINES + 1:
        raise Invalid(f"A file has at most {MOST_LINES:,} lines.", field="file")
    for number, row in enumerate(rows[1:], 2):
        if any(cell.strip() for cell in row):
            if "\x00" in "".join(row):
                raise Invalid(f"Line {number} holds a character that cannot be kept.", field="file")
            yield number, dict(zip(heads, row, strict=False))


def _day(text: str, column: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise Invalid(f"“{text.strip()[:30]}” in column {column} is no day; write it as 2026-11-01.") from None


def _days_check(plan: SeatPlan, valid_from: date, valid_to: date | None) -> None:
    """Raises Invalid for days on which the plan does not cost anything, because it has not begun or has ended."""
    day_check(valid_from, "valid_from")
    if valid_to is not None and day_check(valid_to, "valid_to") <= valid_from:
        raise Invalid("The seat ends before it begins.", field="valid_to")
    terms = list(SeatTerms.objects.filter(plan=plan).order_by("valid_from"))
    if valid_from < terms[0].valid_from:
        raise Invalid(f"The plan begins on {terms[0].valid_from}.", field="valid_from")
    ends = None if any(row.valid_to is None for row in terms) else max(row.valid_to for row in terms if row.valid_to)
    if ends is not None and (valid_to is None or valid_to > ends):
        raise Invalid(f"The plan ends on {ends}.", field="valid_to" if valid_to else "valid_from")


def _overlapping(plan: SeatPlan, member: Member, first: date, until: date | None) -> Seat | None:
    """A seat of the person, in those days, of this plan or of one for some of the same calls."""
    rows = Seat.objects.filter(organization=plan.organization_id, member=member).filter(Q(valid_to=None) | Q(valid_to__gt=first))
    # A seat that ended on the day it began never was.
    rows = rows.exclude(valid_to__isnull=False, valid_to__lte=first)
    if until is not None:
        rows = rows.filter(valid_from__lt=until)
    if plan.provider:
        rows = rows.filter(plan__provider__in=("", plan.provider))
    if plan.harness:
        rows = rows.filter(plan__harness__in=("", plan.harness))
    found = [seat for seat in rows.select_related("plan").order_by("valid_from", "id") if seat.valid_to != seat.valid_from]
    return found[0] if found else None
