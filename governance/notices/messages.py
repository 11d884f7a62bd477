"""The words of every notice: plain text built from plain values, nothing read and nothing sent."""

from datetime import datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

WITHOUT_MINOR_UNIT = frozenset({"CLP", "ISK", "JPY", "KRW", "VND"})
CENT = Decimal("0.01")


class Message(NamedTuple):
    """Subject and body of one notice."""

    subject: str
    body: str


def amount_text(amount: Decimal, currency: str) -> str:
    """The amount as people read it: "1,234.50 USD". Amounts under a cent keep two significant digits instead of becoming zero."""
    if currency in WITHOUT_MINOR_UNIT:
        places = 0
    elif 0 < abs(amount) < CENT:
        places = min(1 - amount.adjusted(), 15)
    else:
        places = 2
    return f"{amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN):,f} {currency}"


def instant_text(instant: datetime, zone: tzinfo) -> str:
    """The instant on the organization's clock, which is named: "3 March 2026, 14:05 (Europe/Berlin)"."""
    local = instant.astimezone(zone)
    return f"{local.day} {local:%B %Y, %H:%M} ({zone})"


def budget_threshold(
    *, budget: str, percent: int, spent: Decimal, limit: Decimal, currency: str, zone: tzinfo, ends_at: datetime | None = None, link: str
) -> Message:
    """A budget passed a percentage of its limit. A hard limit that is reached has a notice of its own, `budget_frozen`."""
    is_within = spent < limit
    lines = [
        f"{budget} has used {percent} % of its limit.",
        "",
        f"Spent:  {amount_text(spent, currency)}",
        f"Limit:  {amount_text(limit, currency)}",
        f"Left:   {amount_text(limit - spent, currency)}" if is_within else f"Over:   {amount_text(spent - limit, currency)}",
        *_period_end(ends_at, zone),
        "",
        f"{'Nothing is stopped. ' if is_within else ''}You are told once for each threshold and period.",
        "",
        link,
    ]
    return Message(f"{budget}: {percent} % of {amount_text(limit, currency)} used", "\n".join(lines))


def budget_frozen(
    *, budget: str, spent: Decimal, limit: Decimal, currency: str, zone: tzinfo, ends_at: datetime | None = None, session: str = "", link: str
) -> Message:
    """A hard budget was reached and calls under it are refused until more is granted or the period ends."""
    what = f"session {session}" if session else budget
    because = f"Session {session} reached the limit of {budget}." if session else f"{budget} reached its limit."
    lines = [
        f"{because} Further calls under it are refused.",
        "",
        f"Spent:  {amount_text(spent, currency)}",
        f"Limit:  {amount_text(limit, currency)}",
        *_period_end(ends_at, zone),
        "",
        "Nothing that was done is lost. To go on, ask for more from the page below; once it is granted, the next call passes.",
        "",
        link,
    ]
    return Message(f"Frozen: {what} at {amount_text(limit, currency)}", "\n".join(lines))


def request_filed(  # noqa: PLR0913
    *, requester: str, budget: str, amount: Decimal, spent: Decimal, limit: Decimal, currency: str, reason: str, zone: tzinfo,
    ends_at: datetime | None = None, session: str = "", link: str,
) -> Message:
    """Somebody asks for more; goes to those who may decide."""
    asked = amount_text(amount, currency)
    lines = [
        f"{requester} asks for {asked} more on {budget}.",
        "",
        *([f"Session:  {session}"] if session else []),
        f"Spent:    {amount_text(spent, currency)} of {amount_text(limit, currency)}",
        *([f"Until:    {instant_text(ends_at, zone)}"] if ends_at else []),
        "",
        "Reason given:",
        *_quoted(reason),
        "",
        "Grant it in full or in part, or deny it:",
        link,
    ]
    return Message(f"{requester} asks for {asked} on {budget}", "\n".join(lines))


def request_granted(  # noqa: PLR0913
    *, decider: str, budget: str, granted: Decimal, asked: Decimal, currency: str, note: str, zone: tzinfo, ends_at: datetime | None = None,
    is_still_frozen: bool = False, session: str = "", link: str,
) -> Message:
    """The answer to a requester who gets what was asked, or a part of it."""
    amount = amount_text(granted, currency)
    part = "" if granted == asked else f" of the {amount_text(asked, currency)} you asked for"
    until = f" It counts until {instant_text(ends_at, zone)}." if ends_at else ""
    lines = [
        f"{decider} granted {amount}{part} on {budget}.{until}",
        *_noted(note),
        "",
        _outlook(is_still_frozen=is_still_frozen, session=session),
        "",
        link,
    ]
    return Message(f"Granted: {amount} on {budget}", "\n".join(lines))


def request_denied(*, decider: str, budget: str, asked: Decimal, currency: str, note: str, link: str) -> Message:
    """The answer to a requester who gets nothing."""
    amount = amount_text(asked, currency)
    lines = [f"{decider} denied your request for {amount} on {budget}.", *_noted(note), "", link]
    return Message(f"Denied: {amount} on {budget}", "\n".join(lines))


def request_expired(*, budget: str, asked: Decimal, currency: str, why: str, link: str) -> Message:
    """A request ran out before anybody decided; `why` is a sentence."""
    amount = amount_text(asked, currency)
    lines = [f"Your request for {amount} on {budget} was closed without a decision.", why, "", "If you still need it, ask again.", "", link]
    return Message(f"Closed without a decision: {amount} on {budget}", "\n".join(lines))


def _period_end(ends_at: datetime | None, zone: tzinfo) -> list[str]:
    return [f"Until:  {instant_text(ends_at, zone)}"] if ends_at else []


def _quoted(text: str) -> list[str]:
    return [f"  {line}".rstrip() for line in text.splitlines()]


def _noted(note: str) -> list[str]:
    return ["", "Note:", *_quoted(note)] if note else []


def _outlook(*, is_still_frozen: bool, session: str) -> str:
    if is_still_frozen:
        return "This does not yet cover what has been spent, so calls are still refused. Ask for more, or wait for the next period."
    return f"Session {session} may go on now." if session else "Calls may go on now."
