"""Tells of what the guard found: the sentence that shows it, the notice to people, the signal to programs."""

from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

from governance.notices.links import session_link
from governance.notices.messages import amount_text, instant_text
from governance.notices.models import Notice, Signal
from governance.notices.services import notice_add
from governance.notices.signals import signal_add
from governance.tenancy.access import members_who_decide
from governance.tenancy.models import Member, Organization
from ingest.guard.models import GuardFinding, GuardRule

DONE = {
    GuardFinding.State.TOLD: "Nothing is stopped.",
    GuardFinding.State.STOPPED: "Its further calls are refused.",
}


def fired(organization: Organization, found: GuardFinding) -> None:
    """To the session's member, to those who decide about its team, and to programs."""
    link = session_link(organization.slug, found.session_key)
    recipients = list(members_who_decide(organization, found.team_id))
    person = Member.objects.filter(organization=organization, pk=found.member_id).select_related("user").first() if found.member_id else None
    if person is not None:
        recipients.append(person)
    notice_add(
        organization=organization, recipients=recipients, subject=f"{found.rule.name}: session {found.session_key}{f' ({person})' if person else ''}",
        body=_body(organization, found, person=person, link=link), key=f"guard:{found.pk}", kind=Notice.Kind.GUARD,
    )  # fmt: skip
    facts = {
        "finding": found.pk, "rule": found.rule_id, "name": found.rule.name, "kind": found.rule.kind, "session": found.session_key, "at": found.at,
        "evidence": found.evidence, "said": sentence(found.rule.kind, found.evidence, organization.zone), "action": found.action, "state": found.state,
        "freeze": found.freeze_id, "url": link,
    }  # fmt: skip
    signal_add(organization=organization, kind=Signal.Kind.GUARD_FIRED, facts=facts, team_id=found.team_id)


def _body(organization: Organization, found: GuardFinding, *, person: Member | None, link: str) -> str:
    ask = "Say there whether it may go on:" if found.action == GuardRule.Action.ASK else "Look at it, and resume it if it may go on:"
    return "\n".join((
        f"Session {found.session_key}: {sentence(found.rule.kind, found.evidence, organization.zone)}",
        "",
        *([f"Member:  {person}"] if person else []),
        f"Rule:    {found.rule.name}",
        f"When:    {instant_text(found.at, organization.zone)}",
        "",
        DONE.get(GuardFinding.State(found.state), ""),
        ask if found.state == GuardFinding.State.STOPPED else "Look at what it does:",
        link,
    ))  # fmt: skip


def reason_of(found: GuardFinding, organization: Organization) -> str:
    """What a refused call is told: what was seen, and where to say go on."""
    said = sentence(found.rule.kind, found.evidence, organization.zone)
    ask = "Say go on at" if found.action == GuardRule.Action.ASK else "Ask for it to be resumed at"
    link = session_link(organization.slug, found.session_key)
    room = 300 - len(link) - len(ask) - len(found.rule.name) - 6
    return f"{found.rule.name}: {said[: max(room, 0)]} {ask} {link}"[:300]


def sentence(kind: str, evidence: dict[str, Any], zone: tzinfo) -> str:
    """What the figures show, in a sentence, on the organization's clock. Money is in USD."""
    if kind == "off_hours":
        return _off_hours(evidence, zone)
    say = {"burn": _burn, "repeat": _repeat, "growth": _growth, "fan_out": _fan_out, "errors": _errors}[kind]
    return say(evidence)


def _money(value: Any) -> str:
    return amount_text(Decimal(str(value)), "USD")


def _burn(seen: dict[str, Any]) -> str:
    compared = [f"{whose} median is {_money(seen[name])}" for name, whose in (("own_median", "its own"), ("team_median", "the team's")) if seen.get(name) is not None]
    rest = f" ({', '.join(compared)})" if compared else ""
    return f"{_money(seen['amount'])} in {seen['minutes']} minutes over {seen['calls']:,} calls; up to {_money(seen['ordinary_at_most'])} is ordinary{rest}."


def _repeat(seen: dict[str, Any]) -> str:
    return (
        f"The same call {seen['calls']:,} times among {seen['of_calls']:,}: {seen['model']} with about {seen['context_tokens']:,} tokens in and "
        f"{seen['output_tokens']:,} out, {_money(seen['amount'])} together."
    )


def _growth(seen: dict[str, Any]) -> str:
    how = "each larger than the one before" if seen["is_growing"] else "all of them large"
    return (
        f"{seen['calls']} calls in a row from {seen['from_tokens']:,} to {seen['to_tokens']:,} tokens of input, {how}, {seen['resent_percent']} % of it not read "
        f"from a cache, {_money(seen['amount'])} together."
    )


def _fan_out(seen: dict[str, Any]) -> str:
    return f"{seen['children']:,} sessions began below it within {seen['minutes']} minutes, {seen['depth']} generations deep."


def _errors(seen: dict[str, Any]) -> str:
    return f"{seen['errors']:,} of {seen['calls']:,} calls failed within {seen['minutes']} minutes."


def _off_hours(seen: dict[str, Any], zone: tzinfo) -> str:
    since = instant_text(datetime.fromisoformat(seen["since"]), zone)
    return f"{_money(seen['amount'])} in {seen['calls']:,} calls since {since}, while nobody is at work."
