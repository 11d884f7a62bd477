"""What a format makes of a body: the events it read, what it refused, and why a body could not be read at all."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from governance.errors import DomainError
from ingest.formats.event import BILLING_MODES, Fault, Outcome, UsageEvent


class Refusal(msgspec.Struct, frozen=True):
    """One event that cannot be taken. `payload` is what came, so that it can be looked at and sent again."""

    index: int
    fault: Fault
    id: str = ""
    payload: bytes = b""

    @property
    def outcome(self) -> Outcome:
        """What the sender is told."""
        return Outcome(self.index, "rejected", self.id, self.fault.code, self.fault.reason, self.fault.field)


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


# Looking at each of more than these would take seconds; a body of so many with a half among them is refused whole.
MOST_ESCAPES = 1_000_000
ESCAPE = re.compile(rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)


def without_half_characters(body: bytes, stand_in: bytes) -> bytes:
    """The body with each escaped half of a surrogate pair made `stand_in`, an escape of six bytes: no decoder takes a half."""
    if (b"\\ud" not in body and b"\\uD" not in body) or body.count(b"\\") > MOST_ESCAPES:
        return body
    # Both escapes have six bytes, so the copy is mended in place: a list of pieces would take many times the body.
    mended = bytearray(body)
    for found in ESCAPE.finditer(body):
        if found.start("half") >= 0:
            mended[found.start() : found.end()] = stand_in
    return bytes(mended)


@contextmanager
def json_reading(wrong_shape: str) -> Iterator[None]:
    """What a JSON decoder raises becomes Unreadable; `wrong_shape` is the sentence for JSON of another shape, with {error} in it or not."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise Unreadable("broken_utf8", f"The body is not UTF-8 (byte {error.start}).") from None
    except RecursionError:
        raise Unreadable("too_deep", "The JSON is nested too deeply.") from None
    except msgspec.ValidationError as error:
        raise Unreadable("wrong_shape", wrong_shape.replace("{error}", str(error))) from None
    except msgspec.DecodeError as error:
        raise Unreadable("broken_json", f"The body is not JSON: {str(error).removeprefix('JSON is malformed: ')}.") from None


def fault_of(error: Exception) -> Fault:
    """Why one event could not be decoded."""
    if isinstance(error, msgspec.ValidationError):
        return described(str(error))
    if isinstance(error, UnicodeDecodeError):
        return Fault("broken_utf8", "The text is not UTF-8.", "")
    if isinstance(error, RecursionError):
        return Fault("too_deep", "The JSON is nested too deeply.", "")
    return Fault("broken_json", "This is not JSON.", "")


MISSING = re.compile(r"missing required field `(?P<field>[^`]*)`")
UNKNOWN = re.compile(r"unknown field `(?P<field>[^`]*)`")
PATH = re.compile(r" - at (?:`key` in )?`\$\.?(?P<field>[^`]*)`$")
KIND = re.compile(r"Expected `(?P<wanted>\w+)(?: \| null)?`, got `(?P<got>\w+)`")
RANGE = re.compile(r"Expected `int` (?P<side>[<>]=) (?P<bound>\d+)")
LENGTH = re.compile(r"Expected `str` of length <= (?P<most>\d+)")
KINDS = {
    "int": "a whole number",
    "float": "a fraction",
    "decimal": "a number",
    "str": "text",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
TIME = "A time with its zone is expected, written as 2026-11-21T10:00:00Z or with an offset such as +01:00"
# By the beginning of what the decoder says; none of its own sentences names what the sender's text was.
SENTENCES = {
    "Expected `datetime` with a timezone": f"The time has no time zone. {TIME}",
    "Expected `datetime`": f"{TIME}; seconds since 1970 are not taken",
    "Invalid RFC3339": TIME,
    "Invalid decimal": "A number is expected",
    "Invalid UUID": "The id of an authorization is expected, as the answer to it gave it",
    "Invalid enum value": f"One of {', '.join(BILLING_MODES)} is expected",
    "Number out of range": "The number is out of range",
    "Integer value out of range": "The number is out of range",
    "Expected `str` of length >= 1": "The text is empty",
    "Expected `str` matching": "Three capital letters are expected, such as USD",
}


def described(message: str) -> Fault:
    """The fault in a decoder's complaint such as "Expected `int | null`, got `str` - at `$.input_tokens`"."""
    if found := MISSING.search(message):
        return Fault("missing_field", f"`{found['field']}` is missing.", found["field"])
    if found := UNKNOWN.search(message):
        return Fault("unknown_field", f"There is no field `{found['field'][:80]}`; free labels go into `tags`.", found["field"][:120])
    found = PATH.search(message)
    said, field = (message[: found.start()], found["field"]) if found else (message, "")
    return Fault("invalid_field", f"{sentence(said)}.", field.removesuffix("[...]")[:120])


def sentence(said: str) -> str:
    """What a decoder says of a value, for people."""
    for beginning, words in SENTENCES.items():
        if said.startswith(beginning):
            return words
    if found := RANGE.match(said):
        return f"A whole number of at {'least' if found['side'] == '>=' else 'most'} {int(found['bound']):,} is expected"
    if found := LENGTH.match(said):
        return f"The text is too long; {int(found['most']):,} characters are taken"
    if found := KIND.match(said):
        wanted = KINDS.get(found["wanted"], found["wanted"])
        return f"{wanted[0].upper()}{wanted[1:]} is expected, not {KINDS.get(found['got'], found['got'])}"
    return said
