"""Token counts of clients that count in different ways become the same disjoint buckets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats.buckets import Reported, disjoint

OPENAI = {"input_tokens": 476, "cache_read_tokens": 1024, "output_tokens": 200, "reasoning_tokens": 64}
ANTHROPIC = {
    "input_tokens": 120, "cache_read_tokens": 10240, "cache_write_5m_tokens": 1536, "cache_write_1h_tokens": 512, "output_tokens": 57,
}  # fmt: skip
COUNTS = st.integers(min_value=0, max_value=1_000_000)


@pytest.mark.parametrize(
    ("reported", "cache_in_input", "reasoning_in_output", "expected"),
    [
        (Reported(input=1500, output=200, cache_read=1024, reasoning=64), True, True, OPENAI),
        (Reported(input=476, output=136, cache_read=1024, reasoning=64), False, False, OPENAI),
        (Reported(input=1300, output=90, cache_read=1000, reasoning=40), True, False,
         {"input_tokens": 300, "cache_read_tokens": 1000, "output_tokens": 130, "reasoning_tokens": 40}),
        (Reported(input=12408, output=57, cache_read=10240, cache_write=2048, cache_write_1h=512), True, True, ANTHROPIC),
        (Reported(input=12408, output=57, cache_read=10240, cache_write_5m=1536, cache_write_1h=512), True, True, ANTHROPIC),
        (Reported(input=120, output=57, cache_read=10240, cache_write=2048), False, True,
         ANTHROPIC | {"cache_write_5m_tokens": 2048, "cache_write_1h_tokens": None}),
        (Reported(input="1500", output=200.0, cache_read="1024"), True, True, OPENAI | {"reasoning_tokens": None}),
    ],
    ids=["openai", "opencode", "gemini-cli", "anthropic total", "anthropic parts", "no lifetimes", "text and floats"],
)  # fmt: skip
def test_each_way_of_counting_gives_the_same_buckets(
    reported: Reported, cache_in_input: bool, reasoning_in_output: bool, expected: dict[str, int | None]
) -> None:
    found = disjoint(reported, cache_in_input=cache_in_input, reasoning_in_output=reasoning_in_output)
    assert found == {name: value for name, value in expected.items() if value is not None}


def test_the_total_finds_out_a_client_that_counts_another_way_than_said() -> None:
    exclusive = Reported(input=476, output=200, cache_read=1024, total=1700)
    assert disjoint(exclusive, cache_in_input=True, reasoning_in_output=True)["input_tokens"] == 476
    thoughts_apart = Reported(input=1300, output=90, cache_read=1000, reasoning=40, total=1430)
    assert disjoint(thoughts_apart, cache_in_input=True, reasoning_in_output=True)["output_tokens"] == 130


def test_a_total_that_fits_nothing_changes_nothing() -> None:
    reported = Reported(input=1500, output=200, cache_read=1024, reasoning=64, total=9)
    assert disjoint(reported, cache_in_input=True, reasoning_in_output=True) == OPENAI


def test_input_smaller_than_its_cache_cannot_include_it() -> None:
    assert disjoint(Reported(input=120, output=57, cache_read=10240), cache_in_input=True, reasoning_in_output=True)["input_tokens"] == 120


def test_what_is_not_said_is_not_known() -> None:
    assert disjoint(Reported(), cache_in_input=True, reasoning_in_output=True) == {}
    assert disjoint(Reported(input=9), cache_in_input=True, reasoning_in_output=True) == {"input_tokens": 9}


@pytest.mark.parametrize("odd", ["many", -5, 1.5, True])
def test_what_is_no_count_is_left_for_the_events_rules(odd: object) -> None:
    found = disjoint(Reported(input=odd, output=200, cache_read=3), cache_in_input=True, reasoning_in_output=True)  # type: ignore[arg-type]
    assert found["input_tokens"] is odd


@given(
    fresh=COUNTS,
    read=COUNTS,
    written=COUNTS,
    answer=COUNTS,
    reasoning=COUNTS,
    cache_in=st.booleans(),
    reasoning_in=st.booleans(),
    guessed=st.booleans(),
)
def test_with_a_total_the_way_is_found_whatever_was_thought(
    fresh: int, read: int, written: int, answer: int, reasoning: int, cache_in: bool, reasoning_in: bool, guessed: bool
) -> None:
    total = fresh + read + written + answer + reasoning
    reported = Reported(
        input=fresh + (read + written if cache_in else 0), output=answer + (reasoning if reasoning_in else 0),
        cache_read=read, cache_write=written, reasoning=reasoning, total=total,
    )  # fmt: skip
    found = disjoint(reported, cache_in_input=guessed == cache_in, reasoning_in_output=reasoning_in)
    if read + written != reasoning:
        assert (found["input_tokens"], found["cache_read_tokens"], found["output_tokens"]) == (fresh, read, answer + reasoning)
    assert sum(found[name] for name in found if name != "reasoning_tokens") == total
