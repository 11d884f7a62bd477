"""Cells as people and programs write them: numbers with their separators, times with or without a zone. Pure."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

NOTHING = frozenset(("", "-", "\u2013", "n/a", "na", "nan", "none", "null", "nil", "undefined", "(none)", "not set", "\\n"))
# What stands around an amount, and between groups of digits, beside point and comma.
AROUND = re.compile(r"^(?:[$€£¥]|US\$|USD|EUR)\s*|\s*(?:[$€£¥]|USD|EUR)$", re.IGNORECASE)
SPACES = str.maketrans(dict.fromkeys(" \u00a0\u2009\u202f'\u2019_", None))
GROUPED = {".": re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"), ",": re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+(?:,\d+)?")}
PLAIN = {".": re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"), ",": re.compile(r"[+-]?(?:\d+,?\d*|,\d+)(?:[eE][+-]?\d+)?")}
# "2.000" tokens are two thousand: nobody writes two with three digits of nothing. "2.0" is what programs write.
THOUSANDS = {".": re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+"), ",": re.compile(r"[1-9]\d{0,2}(?:,\d{3})+")}
DECIMAL_COMMA = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+,\d+|[+-]?\d+,(?:\d{1,2}|\d{4,})")
DECIMAL_POINT = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+\.\d+|[+-]?\d*\.(?:\d{1,2}|\d{4,})|[+-]?0*\.\d+")
POINTED_DAY = re.compile(r"\d{1,2}\.\d{1,2}\.\d{2,4}\b")
EPOCH = re.compile(r"\d{9,19}(?:\.\d+)?")
# Digits of seconds, milliseconds, microseconds and nanoseconds since 1970, for this century.
PER_SECOND = {9: 1, 10: 1, 13: 10**3, 16: 10**6, 19: 10**9}
NUMBERED = re.compile(r"(?P<first>\d{1,4})[./-](?P<second>\d{1,2})[./-](?P<third>\d{1,4})(?:(?:T|,?\s+)(?P<clock>.+))?", re.IGNORECASE)
CLOCK = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*"
    r"(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?(?:\s*(?:UTC|GMT))?"
)
WORDED = ("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%Y%m%d")
NOON = time(12)
# Beyond these no cell is looked into: a number with digits farther from the point takes for ever to write out, and blanks by the
# thousand take for ever to match.
LONGEST_NUMBER, LONGEST_TIME = 400, 100
ORDERS = ("ymd", "dmy", "mdy")


class Unclear(ValueError):
    """A cell that cannot be read; the text says why."""


def is_nothing(text: str) -> bool:
    """Whether a cell says that there is no value."""
    return text.strip().lower() in NOTHING


def number(text: str, decimal: str) -> Decimal:
    """The number that a cell writes with `decimal` as its sign for fractions. Raises Unclear."""
    if len(text) > LONGEST_NUMBER:
        raise Unclear("The number is out of range.")
    bare = AROUND.sub("", text.strip()).translate(SPACES)
    if GROUPED[decimal].fullmatch(bare):
        bare = bare.replace("," if decimal == "." else ".", "")
    elif not PLAIN[decimal].fullmatch(bare):
        word, other = ("point", ",") if decimal == "." else ("comma", ".")
        raise Unclear(f'A number with a decimal {word} is expected. If fractions have the other sign, say so ("decimal": "{other}").')
    try:
        found = Decimal(bare.replace(",", "."))
    except InvalidOperation:
        raise Unclear("The number is out of range.") from None
    if abs(found.adjusted()) > LONGEST_NUMBER:
        raise Unclear("The number is out of range.")
    return found


def whole(text: str, decimal: str) -> int:
    """A whole number. Raises Unclear."""
    found = number(text, decimal)
    if not found.is_finite() or abs(found) > 10**18 or found != found.to_integral_value() or THOUSANDS[decimal].fullmatch(text.strip()):
        word, other, sign = ("point", "comma", ",") if decimal == "." else ("comma", "point", ".")
        raise Unclear(
            f'A whole number is expected. If its {word} parts thousands, say that fractions have a {other} ("decimal": "{sign}").'
        )
    return int(found)


def instant(text: str, *, zone: ZoneInfo, order: str) -> tuple[datetime, bool]:
    """(instant, whether it is only a day). A time without a zone is on the zone's clock, and a day stands at its noon. Raises Unclear."""
    text = text.strip()
    if len(text) > LONGEST_TIME:
        raise Unclear("A time has at most 100 characters.")
    if found := _epoch(text):
        return found, False
    day, clock = _day_and_clock(text, order)
    if clock is None:
        return _noon(day, zone), True
    match = CLOCK.fullmatch(clock.strip())
    if match is None:
        raise Unclear("The time of day cannot be read; write it as 14:05 or 14:05:30.")
    return _placed(day, match, zone), False


def _noon(day: date, zone: ZoneInfo) -> datetime:
    try:
        return datetime.combine(day, NOON, tzinfo=zone).astimezone(UTC)
    except OverflowError:
        raise Unclear("This day lies too far away.") from None


def _epoch(text: str) -> datetime | None:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970."""
    if not EPOCH.fullmatch(text):
        return None
    per_second = PER_SECOND.get(len(text.partition(".")[0]))
    if per_second is None:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(Decimal(text) * 10**6 / per_second))


def _day_and_clock(text: str, order: str) -> tuple[date, str | None]:
    if found := NUMBERED.fullmatch(text):
        try:
            return _day(found, order), found["clock"]
        except ValueError:
            raise Unclear('There is no such day; is the order of day, month and year ("date_order") right?') from None
    for form in WORDED:
        try:
            return datetime.strptime(text, form).date(), None  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    raise Unclear("A time such as 2026-11-21T10:00:00Z, a day such as 2026-11-21 or seconds since 1970 are expected.")


def _day(found: re.Match[str], order: str) -> date:
    first, second, third = int(found["first"]), int(found["second"]), int(found["third"])
    if len(found["first"]) == len("2026"):
        return date(first, second, third)
    if order == "ymd" or len(found["third"]) not in (2, 4):
        raise Unclear('Say in which order day, month and year stand ("date_order": "dmy" or "mdy").')
    year = third if len(found["third"]) == len("2026") else 2000 + third
    return date(year, second, first) if order == "dmy" else date(year, first, second)


def _placed(day: date, clock: re.Match[str], zone: ZoneInfo) -> datetime:
    hour = int(clock["hour"])
    if half := (clock["half"] or "").lower():
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    try:
        local = datetime.combine(
            day, time(hour, int(clock["minute"]), int(clock["second"] or 0), int((clock["part"] or "0").ljust(6, "0")[:6]))
        )
        return (local - _offset(clock["zone"])).replace(tzinfo=UTC) if clock["zone"] else local.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unclear("There is no such time of day.") from None


def _offset(zone: str) -> timedelta:
    if zone in ("Z", "UTC", "GMT"):
        return timedelta()
    minutes = int(zone[1:3]) * 60 + int(zone[3:].lstrip(":") or 0)
    return timedelta(minutes=-minutes if zone[0] == "-" else minutes)


def order_of(samples: list[str]) -> str:
    """The order of day, month and year that some cells have: the day is what is above 12. Day first where nothing tells."""
    parts = [found for text in samples if (found := NUMBERED.fullmatch(text.strip())) and len(found["first"]) <= 2]
    if not parts:
        return "ymd"
    return "mdy" if any(int(found["second"]) > 12 for found in parts) and not any(int(found["first"]) > 12 for found in parts) else "dmy"


def decimal_of(samples: list[str], *, counts: list[str], times: Sequence[str] = (), delimiter: str = ",") -> str:
    """The sign for fractions that some cells have: a comma where one can be nothing else, or where a point parts the thousands of counts.

    A file as spreadsheets of countries with a decimal comma write it, parted by semicolons and with days as 21.11.2026, has it where no cell tells.
    """
    bare = [AROUND.sub("", text.strip()).translate(SPACES) for text in samples if len(text) <= LONGEST_NUMBER]
    has_comma = any(DECIMAL_COMMA.fullmatch(text) for text in bare)
    if has_comma or any(THOUSANDS["."].fullmatch(text.strip()) for text in counts):
        return ","
    has_point = any(DECIMAL_POINT.fullmatch(text) for text in bare)
    return "," if not has_point and delimiter == ";" and any(POINTED_DAY.match(text.strip()) for text in times) else "."
