"""Slack messages as blocks: a heading, facts in two columns, a reason, buttons that are links. Pure: facts in, a dict out."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from governance.notices.messages import amount_text, instant_text

HEADING_LONGEST = 150
TEXT_LONGEST = 2900  # Slack takes 3,000 characters in a section
FIELD_LONGEST = 1900
FIELDS_MOST = 10
LISTED_MOST = 20
OUTCOMES = {"approved": "granted", "denied": "denied", "withdrawn": "withdrawn", "expired": "closed without a decision"}


def message(kind: str, facts: Mapping[str, Any], *, organization: str, zone: tzinfo, decide_link: str = "") -> dict[str, Any]:
    """One signal as a message. `decide_link` adds the button that leads to the decision."""
    heading = headline(kind, facts)
    blocks: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": _cut(heading, HEADING_LONGEST)}}]
    if fields := [
        {"type": "mrkdwn", "text": _cut(f"*{label}*\n{escaped(value)}", FIELD_LONGEST)} for label, value in _fields(kind, facts, zone)
    ]:
        blocks.append({"type": "section", "fields": fields[:FIELDS_MOST]})
    if reason := str(facts.get("reason") or facts.get("note") or facts.get("said") or "").strip():
        quoted = "\n".join(f"> {line}" for line in escaped(reason).splitlines())
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": _cut(quoted, TEXT_LONGEST)}})
    buttons = ([_button("Decide", decide_link, is_primary=True)] if decide_link else []) + (
        [_button("Open", str(facts["url"]))] if facts.get("url") else []
    )
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": escaped(f"{organization} · Weighhouse")}]})
    return {"text": escaped(_cut(heading, HEADING_LONGEST)), "blocks": blocks}


def gathered(kind: str, many: Sequence[Mapping[str, Any]], *, organization: str) -> dict[str, Any]:
    """Many signals of one kind as one message, instead of a storm."""
    heading = f"{len(many)} times: {KINDS.get(kind, kind)}"
    lines = [_line(headline(kind, facts), str(facts.get("url") or "")) for facts in many[:LISTED_MOST]]
    if len(many) > LISTED_MOST:
        lines.append(f"and {len(many) - LISTED_MOST} more")
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": heading}},
        *({"type": "section", "text": {"type": "mrkdwn", "text": line}} for line in lines),
        {"type": "context", "elements": [{"type": "mrkdwn", "text": escaped(f"{organization} · Weighhouse")}]},
    ]
    return {"text": escaped(heading), "blocks": blocks}


KINDS = {
    "freeze.started": "frozen",
    "freeze.ended": "freeze ended",
    "budget.threshold_passed": "a threshold was passed",
    "budget.forecast_exceeds": "a budget will run out",
    "request.filed": "somebody asks for more",
    "request.closed": "a request was closed",
    "guard.fired": "the guard caught a session",
    "prices.changed": "prices changed",
    "test": "a test message",
}


def headline(kind: str, facts: Mapping[str, Any]) -> str:
    """What happened in one line."""
    asked, budget = _amount(facts, "amount"), facts.get("budget_name") or "a budget"
    outcome = str(facts.get("outcome"))
    what = f"Session {facts['session']}" if facts.get("session") else budget
    said = {
        "freeze.started": f"Frozen: {_scope(facts)}",
        "freeze.ended": f"Freeze ended: {_scope(facts)}",
        "budget.threshold_passed": f"{what}: {facts.get('percent')} % of {_amount(facts, 'limit')} used",
        "budget.forecast_exceeds": f"{budget} will run out before its period ends",
        "request.filed": f"{facts.get('requester', 'Somebody')} asks for {asked} on {budget}",
        "request.closed": f"Request for {asked} on {budget}: {OUTCOMES.get(outcome, outcome)}",
        "guard.fired": f"Guard: {facts.get('name') or 'a rule'} caught {_scope(facts)}",
        "prices.changed": f"Prices changed: {_models(facts)}",
    }
    return said.get(kind) or str(facts.get("message") or kind)


def escaped(text: str) -> str:
    """The text with Slack's three control characters spelled out, so that nobody's words become links or mentions."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _models(facts: Mapping[str, Any]) -> str:
    """The models whose price changed, the first three by name."""
    names = [str(change.get("model")) for change in facts.get("changes") or () if isinstance(change, Mapping)]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _scope(facts: Mapping[str, Any]) -> str:
    kind, key = facts.get("scope_kind") or "session", facts.get("scope_name") or facts.get("scope_key") or facts.get("session") or ""
    return f"{kind} {key}".strip()


def _fields(kind: str, facts: Mapping[str, Any], zone: tzinfo) -> list[tuple[str, str]]:
    """The facts worth reading at a glance, with their labels."""
    found = [
        ("Spent", _amount(facts, "spent")),
        ("Limit", _amount(facts, "limit")),
        ("Granted", _amount(facts, "granted")),
        ("Session", str(facts.get("session") or "") if not kind.startswith("freeze") else ""),
        ("Member", str(facts.get("member") or "")),
        ("Team", str(facts.get("team") or "")),
        ("Cause", str(facts.get("cause") or "")),
        ("Decided by", str(facts.get("decider") or "")),
        ("Until", _instant(facts.get("ends_at") or facts.get("period_ends_at"), zone)),
        ("Runs out", _instant(facts.get("exhausted_at"), zone)),
    ]
    return [(label, value) for label, value in found if value]


def _amount(facts: Mapping[str, Any], name: str) -> str:
    """The fact as an amount of money, tokens or calls; "" when it is not there."""
    try:
        return amount_text(Decimal(str(facts[name])), str(facts.get("unit") or facts.get("currency") or "USD"))
    except (KeyError, InvalidOperation):
        return ""


def _instant(value: object, zone: tzinfo) -> str:
    try:
        return instant_text(datetime.fromisoformat(str(value)), zone) if value else ""
    except ValueError:
        return ""


def _line(text: str, url: str) -> str:
    words = escaped(_cut(text, 300)).replace("|", "¦")
    return f"• <{url}|{words}>" if url.startswith(("https://", "http://")) and ">" not in url else f"• {words}"


def _button(label: str, url: str, *, is_primary: bool = False) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": label}, "url": url, **({"style": "primary"} if is_primary else {})}


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
