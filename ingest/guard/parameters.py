"""The kinds of guard rules with their parameters: defaults, bounds, and what a rule says in words. Pure."""

# ruff: noqa: RUF009 - no default of a parameter can be changed

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from governance.errors import Invalid

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WORKING_DAYS = (1, 2, 3, 4, 5)


def _given(default: Any, label: str, *, least: int = 1, most: int = 1_000_000, hint: str = "") -> Any:
    """A parameter: its default, what it is called, between which bounds it lies."""
    return field(default=default, metadata={"label": label, "least": least, "most": most, "hint": hint})


@dataclass(frozen=True, slots=True)
class Burn:
    """Money spent faster than the session did before and than the sessions of its team do."""

    kind: ClassVar[str] = "burn"
    title: ClassVar[str] = "Burn rate"
    window_minutes: int = _given(60, "Window, minutes", least=5, most=1440)
    minimum_amount: Decimal = _given(Decimal(20), "At least, USD in the window", least=0, hint="Nothing below this is ever found.")
    times: Decimal = _given(Decimal(4), "Times the median", hint="Of the session's own earlier windows, and of the team's sessions.")
    mads: Decimal = _given(Decimal(8), "And median deviations above it", least=0, most=1000, hint="Robust: what a few large sessions cost moves neither.")
    own_windows: int = _given(4, "Earlier windows needed for an own past", least=2, most=1000, hint="With fewer, only the team is compared with.")
    team_sessions: int = _given(20, "Sessions needed for a team's past", least=5, most=100_000, hint="With fewer, and no own past, the window has to hold times the least amount.")

    @property
    def minutes(self) -> int:
        """How long a call matters: the window, and a day of own past."""
        return self.window_minutes + 1440

    def words(self) -> str:
        return (
            f"More than {_amount(self.minimum_amount)} in {_span(self.window_minutes)}, and that more than {_number(self.times)} times and {_number(self.mads)} median "
            "deviations above what the session spent before and what sessions of its team spend."
        )


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same call again and again: one model, near the same tokens."""

    kind: ClassVar[str] = "repeat"
    title: ClassVar[str] = "Repeated calls"
    calls: int = _given(12, "Near-identical calls", least=3, most=10_000)
    minutes: int = _given(120, "Within minutes", most=1440)
    tolerance_percent: Decimal = _given(Decimal(2), "Input alike within, percent", least=0, most=100)
    output_tolerance_percent: Decimal = _given(Decimal(25), "Output alike within, percent", least=0, most=1000, hint="Answers to one question vary more than the question.")
    share_percent: Decimal = _given(Decimal(70), "Of all calls then, at least, percent", least=0, most=100, hint="A batch has some documents of the same size among others.")
    tokens: int = _given(8_000, "Input of each, at least, tokens", least=0, most=10_000_000, hint="A loop resends a history; rows of a batch are small.")
    minimum_amount: Decimal = _given(Decimal(1), "Together at least, USD", least=0)

    def words(self) -> str:
        return (
            f"{self.calls} calls of one model within {_span(self.minutes)}, input alike within {_number(self.tolerance_percent)} % and output within "
            f"{_number(self.output_tolerance_percent)} %, of {self.tokens:,} tokens or more, that cost {_amount(self.minimum_amount)} or more together."
        )


@dataclass(frozen=True, slots=True)
class Growth:
    """A history that grows, or has grown large, and is paid for anew with every call."""

    kind: ClassVar[str] = "growth"
    title: ClassVar[str] = "Growing context"
    calls: int = _given(10, "Calls in a row", least=3, most=1000, hint="Of one model. Failed calls and those of unknown size are passed over.")
    minutes: int = _given(180, "Within minutes", most=1440)
    tokens: int = _given(200_000, "Every one beyond, tokens", least=1000, most=10_000_000)
    growing_tokens: int = _given(100_000, "Or each larger than the one before, up to at least, tokens", least=1000, most=10_000_000)
    resent_percent: Decimal = _given(Decimal(80), "Not read from a cache, at least, percent", least=0, most=100, hint="A long session that reads its history from a cache is ordinary.")
    minimum_amount: Decimal = _given(Decimal(3), "Together at least, USD", least=0)

    def words(self) -> str:
        return (
            f"{self.calls} calls in a row each beyond {self.tokens:,} tokens of input, or each larger than the one before up to {self.growing_tokens:,}, "
            f"{_number(self.resent_percent)} % or more of it not read from a cache, that cost {_amount(self.minimum_amount)} or more together."
        )


@dataclass(frozen=True, slots=True)
class FanOut:
    """Sessions that start sessions that start sessions."""

    kind: ClassVar[str] = "fan_out"
    title: ClassVar[str] = "Fan-out"
    children: int = _given(25, "New sessions below it", least=2, most=100_000)
    minutes: int = _given(10, "Within minutes", most=1440)
    depth: int = _given(5, "Or so many generations below it", least=2, most=100)

    def words(self) -> str:
        return f"{self.children} sessions begun below it within {_span(self.minutes)}, or sessions {self.depth} generations below it."


@dataclass(frozen=True, slots=True)
class Errors:
    """Calls that fail and are tried again without end."""

    kind: ClassVar[str] = "errors"
    title: ClassVar[str] = "Retry storm"
    errors: int = _given(20, "Failed calls", least=2, most=100_000)
    minutes: int = _given(15, "Within minutes", most=1440)
    share_percent: Decimal = _given(Decimal(60), "Of all calls then, at least, percent", least=0, most=100)

    def words(self) -> str:
        return f"{self.errors} failed calls within {_span(self.minutes)} that are {_number(self.share_percent)} % or more of all."


@dataclass(frozen=True, slots=True)
class OffHours:
    """A program that spends while nobody is at work to see it."""

    kind: ClassVar[str] = "off_hours"
    title: ClassVar[str] = "Off-hours automation"
    minimum_amount: Decimal = _given(Decimal(15), "Spent off hours, at least, USD", least=0)
    calls: int = _given(10, "In calls, at least", most=100_000)
    from_hour: int = _given(7, "Work begins at, hour", least=0, most=23)
    to_hour: int = _given(20, "Work ends at, hour", least=1, most=24)
    days: tuple[int, ...] = _given(WORKING_DAYS, "Working days", most=7)
    people_too: bool = _given(False, "Calls of members count too")

    @property
    def minutes(self) -> int:
        """How long a call matters: a stretch without work is a long weekend at most."""
        return 4 * 1440

    def words(self) -> str:
        whom = "by sessions" if self.people_too else "by programs (calls without a member)"
        return (
            f"{_amount(self.minimum_amount)} or more spent {whom} in {self.calls} calls or more in one stretch outside {_days(self.days)}, "
            f"{self.from_hour}:00 to {self.to_hour}:00 on the organization's clock."
        )


Parameters = Burn | Repeat | Growth | FanOut | Errors | OffHours
KINDS: Mapping[str, type[Parameters]] = {kind.kind: kind for kind in (Burn, Repeat, Growth, FanOut, Errors, OffHours)}


def parameters_of(kind: str, given: Mapping[str, Any]) -> Parameters:
    """The parameters of a kind from plain values (JSON or a form's); those not given have their defaults.

    Raises Invalid for an unknown kind or name, and for a value that is no number or out of bounds, with the `field`.
    """
    made = KINDS.get(kind)
    if made is None:
        raise Invalid(f"There is no kind of rule named {kind}.", field="kind")
    known = {one.name: one for one in fields(made)}
    if unknown := sorted(set(given) - set(known)):
        raise Invalid(f"A rule of this kind has no parameter {unknown[0]}.", field=unknown[0])
    values = {name: _checked(known[name], value) for name, value in given.items()}
    found = made(**values)
    if isinstance(found, OffHours) and found.from_hour >= found.to_hour:
        raise Invalid("Work ends after it begins.", field="to_hour")
    return found


def plain(parameters: Parameters) -> dict[str, Any]:
    """The parameters as JSON holds them."""
    return {name: str(value) if isinstance(value, Decimal) else list(value) if isinstance(value, tuple) else value for name, value in asdict(parameters).items()}


def _checked(parameter: Any, value: Any) -> Any:
    default, about = parameter.default, parameter.metadata
    if isinstance(default, bool):
        return bool(value)
    if isinstance(default, tuple):
        return _checked_days(value, parameter.name)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise Invalid(f"{about['label']}: a number is expected.", field=parameter.name) from None
    if not number.is_finite() or not about["least"] <= number <= about["most"]:
        raise Invalid(f"{about['label']}: a number from {about['least']:,} to {about['most']:,} is expected.", field=parameter.name)
    if isinstance(default, Decimal):
        return number
    if number != int(number):
        raise Invalid(f"{about['label']}: a whole number is expected.", field=parameter.name)
    return int(number)


def _checked_days(value: Any, name: str) -> tuple[int, ...]:
    try:
        days = sorted({int(day) for day in value})
    except (TypeError, ValueError):
        days = [0]
    if any(not 1 <= day <= len(DAYS) for day in days):
        raise Invalid("Working days are numbers from 1 (Monday) to 7 (Sunday).", field=name)
    return tuple(days)


def _number(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _amount(value: Decimal) -> str:
    return f"{value:,.2f} USD"


def _span(minutes: int) -> str:
    """ "60 minutes" as "an hour"."""
    if minutes % 60:
        return f"{minutes} minutes"
    return "an hour" if minutes == 60 else f"{minutes // 60} hours"


def _days(days: Sequence[int]) -> str:
    if tuple(days) == WORKING_DAYS:
        return "Monday to Friday"
    return ", ".join(DAYS[day - 1] for day in days) or "no day of work"
