"""What a format makes of a body: the events it read, what it refused, and why a body could not be read at all."""

import re

import msgspec

from governance.errors import DomainError
from ingest.formats.event import UsageEvent


class Refusal(msgspec.Struct, frozen=True):
    """One event that cannot be taken. `payload` is what came, so that it can be looked at and sent again."""

    index: int
    code: str
    reason: str
    field: str = ""
    id: str = ""
    payload: bytes = b""


class Parsed(msgspec.Struct, frozen=True):
    """The events of one body in its order. `positions` are their places among all it held; None: every one was good."""

    events: list[UsageEvent]
    refused: list[Refusal] = []
    positions: list[int] | None = None
    is_single: bool = False


class BadBody(DomainError):
    """The request as a whole cannot be taken; nothing of it was stored."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Unreadable(BadBody):
    """The body is not what its content type says."""

    status = 400
    title = "The body could not be read"


class TooLarge(BadBody):
    """The body or what it unpacks to is over a limit."""

    status = 413
    title = "The request is too large"


class Unsupported(BadBody):
    """A media type or compression that this door does not take."""

    status = 415
    title = "This kind of body is not taken here"


MISSING = re.compile(r"missing required field `(?P<field>[^`]*)`")
UNKNOWN = re.compile(r"unknown field `(?P<field>[^`]*)`")
PATH = re.compile(r" - at (?:`key` in )?`\$\.?(?P<field>[^`]*)`$")


def described(message: str) -> tuple[str, str, str]:
    """(code, reason, field) from a decoder's complaint such as "Expected `int`, got `str` - at `$.input_tokens`"."""
    if found := MISSING.search(message):
        return "missing_field", f"`{found['field']}` is missing.", found["field"]
    if found := UNKNOWN.search(message):
        return "unknown_field", f"There is no field `{found['field'][:80]}`; free labels go into `tags`.", found["field"][:120]
    found = PATH.search(message)
    reason, field = (message[: found.start()], found["field"]) if found else (message, "")
    if "timezone component" in reason:
        reason = "The time has no time zone; write it as 2026-11-21T10:00:00Z or with an offset"
    return "invalid_field", f"{reason}.", field.removesuffix("[...]")[:120]
