"""The weekly leaderboard ranks by tokens and says who moved."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dashboards.insights.leaderboard import leaderboard

WEEKS = [date(2026, 11, 2) + timedelta(weeks=index) for index in range(3)]


def test_overtaking_is_a_change_of_place() -> None:
    rows = [(WEEKS[1], "old", 10), (WEEKS[1], "rising", 5), (WEEKS[2], "old", 10), (WEEKS[2], "rising", 11)]
    first, second = leaderboard(rows, WEEKS)
    assert (first.key, first.rank, first.change) == ("rising", 1, 1)
    assert (second.key, second.rank, second.change) == ("old", 2, -1)


def test_first_week_of_a_model_is_new_not_a_jump() -> None:
    (standing,) = leaderboard([(WEEKS[2], "new", 1)], WEEKS)
    assert standing.is_new
    assert standing.change is None
    assert standing.ranks == (None, None, 1)


def test_model_no_longer_used_stays_listed_last() -> None:
    standings = leaderboard([(WEEKS[0], "gone", 99), (WEEKS[2], "here", 1)], WEEKS)
    assert [(row.key, row.is_gone) for row in standings] == [("here", False), ("gone", True)]


def test_equal_tokens_are_ordered_by_name() -> None:
    assert [row.key for row in leaderboard([(WEEKS[2], "b", 5), (WEEKS[2], "a", 5)], WEEKS)] == ["a", "b"]


def test_no_usage_no_standings() -> None:
    assert leaderboard([], WEEKS) == []
    assert leaderboard([(date(2020, 1, 6), "a", 5)], WEEKS) == []


@given(st.lists(st.tuples(st.sampled_from(WEEKS), st.sampled_from("abcdef"), st.integers(0, 10**12))))
def test_ranks_are_places_without_gaps_and_tokens_are_kept(rows: list[tuple[date, str, int]]) -> None:
    standings = leaderboard(rows, WEEKS)
    assert sum(sum(row.tokens) for row in standings) == sum(amount for _, _, amount in rows)
    for index in range(len(WEEKS)):
        ranks = sorted(row.ranks[index] for row in standings if row.ranks[index] is not None)  # type: ignore[type-var]
        assert ranks == list(range(1, len(ranks) + 1))
