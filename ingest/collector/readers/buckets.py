"""Makes a client's token counts into the event's disjoint buckets: clients differ on what "input" and "output" include. Pure.

Each format says which way its client counts. Where a total is reported too, it is the judge: a client that changed its
way between versions, or a gateway that counts another way than the client it passes on, is found out by the sum.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from .values import Scalar, count


class Reported(NamedTuple):
    """Counts as a client reports them, under any of its names for them; None for what it does not say.

    `cache_write` is all that was written to a cache, `cache_write_5m` and `cache_write_1h` its parts by lifetime.
    """

    input: Scalar | None = None
    output: Scalar | None = None
    cache_read: Scalar | None = None
    cache_write: Scalar | None = None
    cache_write_5m: Scalar | None = None
    cache_write_1h: Scalar | None = None
    reasoning: Scalar | None = None
    total: Scalar | None = None


def disjoint(reported: Reported, *, cache_in_input: bool, reasoning_in_output: bool) -> dict[str, Any]:
    """The event's token fields; those that are not known are left out. What is no count stays as it came, to be refused by the event's rules.

    `cache_in_input`: whether `input` counts what caches read and wrote too. `reasoning_in_output`: whether `output` counts reasoning.
    """
    found = Reported(*(count(value) for value in reported))
    if all(is_count(value) for value in found):
        cache_in_input, reasoning_in_output = as_total_says(found, cache_in_input, reasoning_in_output)
        five, hour = lifetimes(found)
        fields = {
            "input_tokens": without(found.input, cached(found)) if cache_in_input else found.input,
            "output_tokens": found.output if reasoning_in_output else with_reasoning(found.output, found.reasoning),
            "cache_write_5m_tokens": five,
            "cache_write_1h_tokens": hour,
        }
    else:
        fields = {
            "input_tokens": found.input,
            "output_tokens": found.output,
            "cache_write_5m_tokens": found.cache_write if found.cache_write_5m is None else found.cache_write_5m,
            "cache_write_1h_tokens": found.cache_write_1h,
        }
    fields |= {"cache_read_tokens": found.cache_read, "reasoning_tokens": found.reasoning}
    return {name: value for name, value in fields.items() if value is not None}


def is_count(value: Scalar | None) -> bool:
    return value is None or (type(value) is int and value >= 0)


def known(values: Iterable[Any]) -> int:
    return sum(value for value in values if value is not None)


def cached(found: Reported) -> int:
    """What caches read and wrote, as far as it is known."""
    parts = known((found.cache_write_5m, found.cache_write_1h))
    return known((found.cache_read, max(known((found.cache_write,)), parts)))


def as_total_says(found: Reported, cache_in_input: bool, reasoning_in_output: bool) -> tuple[bool, bool]:
    """The two ways of counting: those given, unless only others add up to the total, or make no sense otherwise."""
    given = (cache_in_input, reasoning_in_output)
    if found.input is None or found.output is None:
        return given
    ways = [
        given,
        (not cache_in_input, reasoning_in_output),
        (cache_in_input, not reasoning_in_output),
        (not cache_in_input, not reasoning_in_output),
    ]
    possible = [way for way in ways if makes_sense(found, way)] or [given]
    return next((way for way in possible if found.total is not None and summed(found, way) == found.total), possible[0])


def makes_sense(found: Reported, way: tuple[bool, bool]) -> bool:
    """Whether no part is larger than what is said to include it."""
    cache_in_input, reasoning_in_output = way
    return not (cache_in_input and cached(found) > known((found.input,))) and not (
        reasoning_in_output and known((found.reasoning,)) > known((found.output,))
    )


def summed(found: Reported, way: tuple[bool, bool]) -> int:
    cache_in_input, reasoning_in_output = way
    return known((
        found.input, found.output, None if cache_in_input else cached(found), None if reasoning_in_output else found.reasoning,
    ))  # fmt: skip


def without(whole: Any, part: int) -> int | None:
    return None if whole is None else max(0, whole - part)


def with_reasoning(output: Any, reasoning: Any) -> int | None:
    return None if output is None else output + (reasoning or 0)


def lifetimes(found: Reported) -> tuple[Any, Any]:
    """Cache writes for five minutes and for an hour. What a total has beyond the parts that are said counts as five minutes' writes."""
    five, hour = found.cache_write_5m, found.cache_write_1h
    if five is None and found.cache_write is not None:
        five = max(0, known((found.cache_write,)) - known((hour,)))
    return five, hour
