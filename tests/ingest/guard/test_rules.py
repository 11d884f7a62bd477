"""Each rule finds its pattern, leaves ordinary heavy work alone, and says what it saw."""

from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import Invalid
from ingest.guard.parameters import KINDS, Burn, Errors, FanOut, Growth, OffHours, Parameters, Repeat, parameters_of, plain
from ingest.guard.rules import CallSeen, ChildSeen, Exempt, Finding, find
from tests.ingest.guard.made import MONDAY_TEN, ZONE, seen

CALL_RULES: list[Parameters] = [Burn(), Repeat(), Growth(), Errors(), OffHours()]
TEAM = [Decimal(amount) for amount in (1, 1, 2, 2, 2, 3, 3, 3, 4, 4) * 2]


def found(rule: Parameters, calls: Any, **more: Any) -> Finding | None:
    return find(rule, calls, zone=ZONE, **more)


def test_one_call_again_and_again_is_found() -> None:
    finding = found(Repeat(), [seen(number) for number in range(30)])
    assert finding is not None
    assert finding.at == MONDAY_TEN + timedelta(minutes=11)
    assert finding.evidence == {
        "calls": 12, "of_calls": 12, "since": MONDAY_TEN.isoformat(), "model": "big", "amount": "6", "context_tokens": 50_000, "output_tokens": 500,
    }  # fmt: skip


def test_a_history_that_grows_by_some_percent_a_call_is_no_repetition() -> None:
    assert found(Repeat(), [seen(number, context_tokens=50_000 + 3_000 * number) for number in range(60)]) is None


def test_repetition_that_is_slow_small_or_cheap_is_not_found() -> None:
    assert found(Repeat(), [seen(15 * number) for number in range(60)]) is None
    assert found(Repeat(), [seen(number, context_tokens=900) for number in range(60)]) is None
    assert found(Repeat(), [seen(number, cost=Decimal("0.01")) for number in range(60)]) is None


def test_documents_of_one_size_among_others_are_a_batch() -> None:
    sizes = (50_000, 20_000, 90_000)
    assert found(Repeat(), [seen(number / 10, context_tokens=sizes[number % 3]) for number in range(300)]) is None


def test_a_context_past_230000_tokens_resent_on_every_call_is_found() -> None:
    calls = [seen(4 * number, context_tokens=200_100 + 334 * number, cache_read_tokens=12_000, cost=Decimal(2)) for number in range(94)]
    finding = found(Growth(), calls)
    assert finding is not None
    assert (finding.evidence["calls"], finding.evidence["amount"], finding.evidence["is_growing"]) == (10, "20", True)
    assert found(Repeat(), calls) is not None


def test_a_context_that_grows_on_every_call_is_found_before_it_is_large() -> None:
    calls = [seen(number, context_tokens=60_000 + 6_000 * number) for number in range(20)]
    finding = found(Growth(), calls)
    assert finding is not None
    assert finding.evidence["to_tokens"] == 114_000


@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_a_planner_that_reads_its_long_history_from_a_cache_is_ordinary(share: float) -> None:
    calls = [seen(number, context_tokens=(size := 60_000 + 2_500 * number), cache_read_tokens=int(size * share)) for number in range(80)]
    assert found(Growth(), calls) is None


def test_subagents_between_do_not_hide_growth_and_failed_calls_do_not_break_it() -> None:
    calls = []
    for number in range(20):
        calls += [seen(number, context_tokens=210_000 + number), seen(number + 0.3, model="small", context_tokens=9_000), seen(number + 0.5, is_error=True, context_tokens=0)]
    assert found(Growth(), calls) is not None


def test_a_burn_far_above_the_team_is_found_and_the_teams_own_pace_is_not() -> None:
    assert found(Burn(), [seen(number, cost=Decimal("0.30")) for number in range(240)], team_past=TEAM) is None
    finding = found(Burn(), [seen(number, cost=Decimal("0.80")) for number in range(240)], team_past=TEAM)
    assert finding is not None
    assert Decimal(finding.evidence["amount"]) >= 20
    assert finding.evidence["team_median"] == "2.5"


def test_a_burn_as_always_is_not_found_however_large() -> None:
    """No team to compare with: from its fifth hour on the session's own past is the measure."""
    slow = [seen(number, cost=Decimal("0.50")) for number in range(600)]
    assert found(Burn(), slow) is None
    finding = found(Burn(), slow + [seen(600 + number / 4, cost=Decimal("1.00")) for number in range(240)])
    assert finding is not None
    assert finding.evidence["own_median"] == "30"


def test_a_burn_with_nothing_to_compare_with_takes_times_the_least_amount() -> None:
    assert found(Burn(), [seen(number, cost=Decimal("1.20")) for number in range(60)]) is None
    assert found(Burn(), [seen(number, cost=Decimal("1.60")) for number in range(60)]) is not None


def test_a_burn_below_the_least_amount_is_never_found() -> None:
    cheap = [seen(number, cost=Decimal("0.10")) for number in range(60)]
    assert found(Burn(), cheap, team_past=[Decimal("0.01")] * 50) is None


def test_agents_that_start_agents_are_found_by_number_and_by_depth() -> None:
    many = [ChildSeen(MONDAY_TEN + timedelta(seconds=10 * number)) for number in range(40)]
    deep = [ChildSeen(MONDAY_TEN + timedelta(minutes=5 * number), number + 1) for number in range(6)]
    assert found(FanOut(), many).evidence == {"children": 25, "minutes": 10, "depth": 1}
    assert found(FanOut(), deep).evidence["depth"] == 5


def test_subagents_over_a_day_are_ordinary() -> None:
    assert found(FanOut(), [ChildSeen(MONDAY_TEN + timedelta(minutes=2 * number), 1 + number % 2) for number in range(300)]) is None


def test_a_retry_storm_is_found_and_an_outage_waited_out_is_not() -> None:
    storm = [seen(number / 6, is_error=number % 5 != 0) for number in range(120)]
    waited = [seen(number**2 / 4, is_error=True) for number in range(12)] + [seen(60 + number) for number in range(60)]
    assert found(Errors(), storm).evidence["errors"] == 20
    assert found(Errors(), waited) is None


def test_a_ci_burst_that_is_rate_limited_is_ordinary() -> None:
    assert found(Errors(), [seen(number / 20, is_error=number % 3 == 0) for number in range(300)]) is None


def test_automation_at_night_is_found_and_the_same_by_day_or_by_a_person_is_not() -> None:
    night = MONDAY_TEN.replace(hour=22)
    calls = [seen(4 * number, at=night, cost=Decimal(2)) for number in range(60)]
    finding = found(OffHours(), calls)
    assert finding is not None
    assert finding.evidence == {"amount": "20", "calls": 10, "since": night.isoformat()}
    assert found(OffHours(), [seen(4 * number, cost=Decimal(2)) for number in range(60)]) is None
    assert found(OffHours(), [call._replace(has_member=True) for call in calls]) is None
    assert found(OffHours(people_too=True), [call._replace(has_member=True) for call in calls]) is not None


def test_a_weekend_is_off_hours_where_it_is_no_working_day() -> None:
    saturday = MONDAY_TEN + timedelta(days=5)
    calls = [seen(number, at=saturday, cost=Decimal(2)) for number in range(20)]
    assert found(OffHours(), calls) is not None
    assert found(OffHours(days=(1, 2, 3, 4, 5, 6)), calls) is None


def test_each_night_is_a_stretch_of_its_own() -> None:
    nights = [seen(number, at=MONDAY_TEN.replace(hour=22) + timedelta(days=day), cost=Decimal(1)) for day in range(5) for number in range(12)]
    assert found(OffHours(), nights) is None


def test_the_hours_are_the_organizations_on_both_sides_of_the_change_of_clocks() -> None:
    for day in ("2026-03-27", "2026-03-30"):
        begins = MONDAY_TEN.fromisoformat(f"{day}T19:00:00").replace(tzinfo=ZONE)
        assert found(OffHours(), [seen(number, at=begins, cost=Decimal(2)) for number in range(59)]) is None
        assert found(OffHours(), [seen(60 + number, at=begins, cost=Decimal(2)) for number in range(59)]) is not None


@pytest.mark.parametrize("rule", CALL_RULES, ids=lambda rule: rule.kind)
def test_exempt_calls_are_passed_over(rule: Parameters) -> None:
    runaway = [
        seen(number / 4, at=MONDAY_TEN.replace(hour=23), context_tokens=220_000, cost=Decimal(3), project_id=7, tags=frozenset({"processing=batch"}), is_error=rule.kind == "errors")
        for number in range(100)
    ]
    assert found(rule, runaway) is not None
    assert found(rule, runaway, exempt=Exempt(projects=frozenset({7}))) is None
    assert found(rule, runaway, exempt=Exempt(tags=frozenset({"processing=batch"}))) is None
    assert found(rule, runaway, exempt=Exempt(frozenset({8}), frozenset({"processing=online"}))) is not None


CALLS = st.lists(
    st.builds(
        CallSeen,
        at=st.integers(0, 4000).map(lambda minute: MONDAY_TEN + timedelta(minutes=minute)),
        model=st.sampled_from(("big", "small")),
        context_tokens=st.one_of(st.none(), st.integers(0, 300_000)),
        cache_read_tokens=st.integers(0, 1000),
        output_tokens=st.one_of(st.none(), st.integers(0, 5000)),
        cost=st.decimals(0, 20, places=4),
        is_error=st.booleans(),
        has_member=st.booleans(),
    ),
    max_size=60,
)
LOW: list[Parameters] = [
    Burn(minimum_amount=Decimal(5), own_windows=2), Repeat(calls=3, tolerance_percent=Decimal(30), share_percent=Decimal(0), tokens=0), Growth(calls=3, tokens=1000, resent_percent=Decimal(0)),
    Errors(errors=3, minutes=600, share_percent=Decimal(20)), OffHours(minimum_amount=Decimal(3), calls=2),
]  # fmt: skip


@settings(max_examples=60)
@given(calls=CALLS, rule=st.sampled_from(LOW), seed=st.integers(0, 1000))
def test_the_order_in_which_calls_are_told_does_not_matter(calls: list[CallSeen], rule: Parameters, seed: int) -> None:
    shuffled = list(calls)
    Random(seed).shuffle(shuffled)
    assert found(rule, calls) == found(rule, shuffled)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found_in_nothing(kind: str) -> None:
    assert found(KINDS[kind](), []) is None


@settings(max_examples=40)
@given(calls=CALLS, rule=st.sampled_from(LOW))
def test_what_comes_later_does_not_change_when_it_was_found(calls: list[CallSeen], rule: Parameters) -> None:
    finding = found(rule, calls)
    if finding is not None:
        assert found(rule, [call for call in calls if call.at <= finding.at]) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_survive_being_stored(kind: str) -> None:
    assert parameters_of(kind, plain(KINDS[kind]())) == KINDS[kind]()
    assert KINDS[kind]().words().endswith(".")


@pytest.mark.parametrize(
    ("kind", "given_values", "field"),
    [
        ("repeat", {"calls": 0}, "calls"), ("repeat", {"calls": "many"}, "calls"), ("repeat", {"calls": 3.5}, "calls"), ("repeat", {"colour": 1}, "colour"),
        ("burn", {"times": "NaN"}, "times"), ("off_hours", {"days": [8]}, "days"), ("off_hours", {"from_hour": 20, "to_hour": 7}, "to_hour"), ("magic", {}, "kind"),
    ],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_refused_where_they_stand(kind: str, given_values: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parameters_of(kind, given_values)
    assert refused.value.extra["field"] == field
