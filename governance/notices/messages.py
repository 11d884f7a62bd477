"""The words of every notice: plain text built from plain values, nothing read and nothing sent."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

WITHOUT_MINOR_UNIT = frozenset({"CLP", "ISK", "JPY", "KRW", "VND"})
CENT = Decimal("0.01")


class Message(NamedTuple):
    """Subject and body of one notice."""

    subject: str
    body: str


COUNTED = ("tokens", "calls")


def amount_text(amount: Decimal, currency: str) -> str:
    """The amount as people read it: "1,234.50 USD", "12,000 tokens". Amounts under a cent keep two significant digits instead of becoming zero."""
    if currency in WITHOUT_MINOR_UNIT or currency in COUNTED:
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


def budget_threshold(  # noqa: PLR0913 - each is a word of the mail
    *,
    budget: str,
    percent: int,
    spent: Decimal,
    limit: Decimal,
    currency: str,
    zone: tzinfo,
    ends_at: datetime | None = None,
    session: str = "",
    member: str = "",
    link: str,
) -> Message:
    """A budget passed a percentage of its limit. A hard limit that is reached has a notice of its own, `budget_frozen`."""
    is_within = spent < limit
    what = f"Session {session}" if session else budget
    lines = [
        f"{what} has used {percent} % of {f'the limit of {budget}' if session else 'its limit'}.",
        "",
        *([f"Member: {member}"] if session and member else []),
        f"Spent:  {amount_text(spent, currency)}",
        f"Limit:  {amount_text(limit, currency)}",
        f"Left:   {amount_text(limit - spent, currency)}" if is_within else f"Over:   {amount_text(spent - limit, currency)}",
        *_period_end(ends_at, zone),
        "",
        f"{'Nothing is stopped. ' if is_within else ''}You are told once for each threshold and period.",
        "",
        link,
    ]
    whose = f" ({member})" if session and member else ""
    return Message(f"{what}{whose}: {percent} % of {amount_text(limit, currency)} used", "\n".join(lines))


def budget_frozen(
    *,
    budget: str,
    spent: Decimal,
    limit: Decimal,
    currency: str,
    zone: tzinfo,
    ends_at: datetime | None = None,
    session: str = "",
    link: str,
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


def budget_forecast(  # noqa: PLR0913 - each is a word of the mail
    *,
    budget: str,
    spent: Decimal,
    limit: Decimal,
    expected: Decimal,
    currency: str,
    zone: tzinfo,
    exhausted_at: datetime,
    ends_at: datetime,
    link: str,
) -> Message:
    """A budget is forecast to reach its limit before its period ends."""
    day = exhausted_at.astimezone(zone)
    lines = [
        f"At its present pace {budget} reaches its limit on {instant_text(exhausted_at, zone)}, before its period ends.",
        "",
        f"Spent:     {amount_text(spent, currency)}",
        f"Limit:     {amount_text(limit, currency)}",
        f"Forecast:  {amount_text(expected, currency)} at the end of the period",
        f"Until:     {instant_text(ends_at, zone)}",
        "",
        "Nothing is stopped. You are told again only after the forecast has fallen well below the limit in between.",
        "",
        link,
    ]
    return Message(f"{budget} runs out on {day.day} {day:%B} at its present pace", "\n".join(lines))


@dataclass(frozen=True, slots=True)
class Asked:
    """What every notice about a request names."""

    budget: str
    amount: Decimal
    currency: str
    zone: tzinfo
    link: str
    session: str = ""

    @property
    def text(self) -> str:
        return amount_text(self.amount, self.currency)


def request_filed(asked: Asked, *, requester: str, reason: str, spent: Decimal, limit: Decimal, ends_at: datetime | None = None) -> Message:
    """Somebody asks for more; goes to those who may decide."""
    lines = [
        f"{requester} asks for {asked.text} more on {asked.budget}.",
        "",
        *([f"Session:  {asked.session}"] if asked.session else []),
        f"Spent:    {amount_text(spent, asked.currency)} of {amount_text(limit, asked.currency)}",
        *([f"Until:    {instant_text(ends_at, asked.zone)}"] if ends_at else []),
        "",
        "Reason given:",
        *_quoted(reason),
        "",
        "Grant it in full or in part, or deny it:",
        asked.link,
    ]
    return Message(f"{requester} asks for {asked.text} on {asked.budget}", "\n".join(lines))


def request_granted(
    asked: Asked, *, decider: str, granted: Decimal, note: str, ends_at: datetime | None = None, is_still_frozen: bool = False, held_by: str = ""
) -> Message:
    """The answer to a requester who gets what was asked, or a part of it. `held_by` is what else refuses calls, in words."""
    amount = amount_text(granted, asked.currency)
    part = "" if granted == asked.amount else f" of the {asked.text} asked for"
    until = f" It counts until {instant_text(ends_at, asked.zone)}." if ends_at else ""
    lines = [
        f"{decider} granted {amount}{part} on {asked.budget}.{until}",
        *_noted(note),
        "",
        _outlook(is_still_frozen=is_still_frozen, held_by=held_by, session=asked.session),
        "",
        asked.link,
    ]
    return Message(f"Granted: {amount} on {asked.budget}", "\n".join(lines))


def request_denied(asked: Asked, *, decider: str, note: str) -> Message:
    """The answer to a requester who gets nothing."""
    lines = [f"{decider} denied the request for {asked.text} on {asked.budget}.", *_noted(note), "", asked.link]
    return Message(f"Denied: {asked.text} on {asked.budget}", "\n".join(lines))


def request_expired(asked: Asked, *, why: str) -> Message:
    """A request ran out before anybody decided; `why` is a sentence."""
    lines = [
        f"The request for {asked.text} on {asked.budget} was closed without a decision.",
        why,
        "",
        "If it is still needed, ask again.",
        "",
        asked.link,
    ]
    return Message(f"Closed without a decision: {asked.text} on {asked.budget}", "\n".join(lines))


def channel_switched_off(*, name: str, why: str, last: str, link: str) -> Message:
    """A webhook or Slack channel gets nothing any more until somebody looks after it."""
    lines = [
        f"The channel {name} was switched off: {why}.",
        "",
        f"Last attempt: {last}",
        "",
        "Nothing is lost: what it did not take is kept, and can be sent again once it is switched on.",
        "",
        link,
    ]
    return Message(f"Channel {name} was switched off", "\n".join(lines))


def _period_end(ends_at: datetime | None, zone: tzinfo) -> list[str]:
    return [f"Until:  {instant_text(ends_at, zone)}"] if ends_at else []


def _quoted(text: str) -> list[str]:
    return [f"  {line}".rstrip() for line in text.splitlines()]


def _noted(note: str) -> list[str]:
    return ["", "Note:", *_quoted(note)] if note else []


def _outlook(*, is_still_frozen: bool, held_by: str, session: str) -> str:
    if is_still_frozen:
        return "This does not yet cover what has been spent, so calls are still refused. Ask for more, or wait for the next period."
    if held_by:
        return f"Calls are still refused for another reason: {held_by}."
    return f"Session {session} may go on now." if session else "Calls may go on now."
