"""Numbers as people read them: rounded text, and the exact value beside it for hovering and for screen readers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from zoneinfo import ZoneInfo

THIN = "\u202f"  # narrow no-break space
MINUS = "\u2212"
UNKNOWN = "\u2013"
SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "CNY": "CN¥", "INR": "₹"}
STEPS = ((Decimal(10) ** 12, "T"), (Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k"))
PRICE = Context(prec=6, rounding=ROUND_HALF_EVEN)
SMALLEST_SHOWN = Decimal("0.0001")
SLIGHT = Decimal("0.0005")  # a change written as 0.0 % is neither good nor bad news


def money_text(amount: Decimal | int | None, currency: str = "USD") -> str:
    """An amount for reading: $25,656 from a thousand on, $12.30 below, $0.0042 below a cent; unknown is a dash, never zero.

    What budgets count instead of money goes for a currency: "18.2 M tokens", "1 call".
    """
    if amount is None:
        return UNKNOWN
    value = Decimal(amount)
    if currency in COUNTED:
        return f"{COUNTED[currency](value)}\u00a0{counted_word(value, currency)}"
    size = abs(value)
    sign = MINUS if value < 0 else ""
    unit = SYMBOLS.get(currency, currency + "\u00a0")
    if 0 < size < SMALLEST_SHOWN:
        return f"{sign}<{unit}{SMALLEST_SHOWN}"
    places = 0 if size >= 1000 else 2 if size >= Decimal("0.1") or size == 0 else 4
    return f"{sign}{unit}{_rounded(size, places):,}"


def price_text(amount: Decimal | None, currency: str = "USD") -> str:
    """What units cost, for reading: two decimal places, and more where it has them, to six significant digits: $25.00, $0.125, $0.003625."""
    if amount is None:
        return UNKNOWN
    value = PRICE.create_decimal(amount).normalize()
    places = max(2, -int(value.as_tuple().exponent))
    unit = SYMBOLS.get(currency, currency + "\u00a0")
    return f"{MINUS if value < 0 else ''}{unit}{abs(value):,.{places}f}"


def money_exact(amount: Decimal | int | None, currency: str = "USD") -> str:
    """Every digit that is stored, with the currency's code."""
    if amount is not None and currency in COUNTED:
        return f"{count_text(amount)} {counted_word(amount, currency)}"
    return "not known" if amount is None else f"{currency} {plain_decimal(Decimal(amount))}"


def counted_word(amount: Decimal | int, unit: str) -> str:
    """`tokens` or `calls`, one of them without its s."""
    return unit.removesuffix("s") if amount == 1 else unit


def plain_decimal(value: Decimal) -> str:
    """The number without exponent and without zeros at the end: "0.0042", "12"."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def tokens_text(tokens: Decimal | int | None) -> str:
    """A count of tokens with a unit prefix: 950, 18.2 k, 1.24 M, 3.1 B."""
    if tokens is None:
        return UNKNOWN
    value = Decimal(tokens)
    for size, letter in STEPS:
        if abs(value) >= size:
            return f"{_three_digits(value / size)}{THIN}{letter}".replace("-", MINUS)
    return f"{int(value):,}".replace("-", MINUS)


def count_text(count: Decimal | int | None) -> str:
    """A whole number with thousands separators."""
    return UNKNOWN if count is None else f"{int(count):,}".replace("-", MINUS)


def percent_text(share: Decimal | float | None, places: int | None = None) -> str:
    """A fraction (0.48) as percent ("48 %"); below ten percent with one decimal unless places says otherwise."""
    if share is None:
        return UNKNOWN
    percent = Decimal(str(share)) * 100
    if places is None:
        places = 1 if 0 < abs(percent) < 10 else 0
    return f"{_rounded(percent, places):,}{THIN}%".replace("-", MINUS)


def duration_text(seconds: float | timedelta | None) -> str:
    """A length of time in its two largest units: 840 ms, 12 s, 4 min 10 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None:
        return UNKNOWN
    total = seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds)
    if total < 1:
        return f"{round(total * 1000)} ms"
    whole = round(total)
    for large, small, size, part in (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def ago_text(instant: datetime | None, now: datetime) -> str:
    """How long ago, or in how long: "just now", "4 min ago", "in 2 h"."""
    if instant is None:
        return "never"
    seconds = (now - instant).total_seconds()
    if abs(seconds) < 10:
        return "just now"
    length = duration_text(abs(seconds)).split(" ")
    text = " ".join(length[:2])
    return f"{text} ago" if seconds > 0 else f"in {text}"


def at_text(instant: datetime | None, zone: ZoneInfo, now: datetime | None = None) -> str:
    """A moment on the organization's clock: "14:32" today, "12 Nov 14:32" this year, with the year otherwise."""
    if instant is None:
        return UNKNOWN
    local = instant.astimezone(zone)
    today = now.astimezone(zone) if now else None
    if today and local.date() == today.date():
        return f"{local:%H:%M}"
    year = "" if today and local.year == today.year else f" {local.year}"
    return f"{local.day} {local:%b}{year} {local:%H:%M}"


def day_text(day: date | None, today: date) -> str:
    """A local day: "21 Nov", with the year when it is another one."""
    if day is None:
        return UNKNOWN
    return f"{day.day} {day:%b}" + ("" if day.year == today.year else f" {day.year}")


# What budgets count beside money.
COUNTED: dict[str, Callable[[Decimal], str]] = {"tokens": tokens_text, "calls": count_text}


@dataclass(frozen=True, slots=True)
class Delta:
    """A change: amount and percent for reading, a sentence for screen readers, and whether it is good news."""

    amount: str
    percent: str
    words: str
    mood: str  # good, bad or same


def delta(current: Decimal | None, previous: Decimal | None, currency: str | None = "USD", good: str = "down") -> Delta | None:
    """The move from previous to current. None when there is nothing to compare with. `good` says which way is welcome: down, up or neither."""
    if current is None or previous is None or (previous == 0 and current == 0):
        return None
    change = Decimal(current) - Decimal(previous)
    if change == 0:
        return Delta("±0", percent_text(0), "unchanged", "same")
    sign, way, verb = ("+", "up", "up by") if change > 0 else (MINUS, "down", "down by")
    size = money_text(abs(change), currency) if currency else tokens_text(abs(change))
    share = percent_text(abs(change / Decimal(previous))) if previous else ""
    is_slight = bool(previous) and abs(change / Decimal(previous)) < SLIGHT
    mood = "same" if is_slight or good == "neither" else "good" if way == good else "bad"
    words = f"{verb} {size}" + (f", {share.replace(THIN, ' ')}," if share else "") + " against the period before"
    if is_slight and abs(change) < SMALLEST_SHOWN and currency:
        return Delta("±0", percent_text(0), "practically unchanged", "same")
    return Delta(f"{sign}{size}", f"{sign}{share}" if share else "new", words, mood)


def _rounded(value: Decimal, places: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)


def _three_digits(value: Decimal) -> str:
    size = abs(value)
    return str(_rounded(value, 0 if size >= 100 else 1 if size >= 10 else 2))
