"""How far votes bring a chain, whatever the chain and the order: no vote is lost, and nobody is asked whose vote would change nothing."""

from decimal import Decimal
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.approvals import policy
from governance.approvals.policy import ADMINS, APPROVERS, BUILT_IN, FINANCE, OWNERS, Automatic, Band, Chain, Override, Rules, Step

PARTIES = (APPROVERS, ADMINS, OWNERS, FINANCE, "member:1", "member:2")
steps = st.builds(Step, who=st.lists(st.sampled_from(PARTIES), min_size=1, max_size=3, unique=True).map(tuple), needed=st.integers(1, 3))
chains = st.builds(Chain, steps=st.lists(steps, min_size=1, max_size=4).map(tuple), in_parallel=st.booleans())
people = st.frozensets(st.sampled_from(PARTIES), min_size=1, max_size=3)


@st.composite
def under_way(draw: st.DrawFn) -> tuple[Chain, list[frozenset[str]], frozenset[int]]:
    """A chain, the people who have voted, and the steps that were left lying."""
    chain = draw(chains)
    late = draw(st.frozensets(st.integers(0, len(chain.steps) - 1)))
    return chain, draw(st.lists(people, max_size=5)), late


def votes_of(chain: Chain, voters: list[frozenset[str]], late: frozenset[int]) -> list[frozenset[int]]:
    return [policy.fits(chain, parties, late) for parties in voters]


def most_seats(chain: Chain, votes: list[frozenset[int]]) -> int:
    """By trying every way to give the votes to steps."""
    best = 0
    for choice in product(*[[None, *vote] for vote in votes]):
        best = max(best, sum(min(choice.count(place), step.needed) for place, step in enumerate(chain.steps)))
    return best


@given(under_way())
def test_as_many_seats_are_filled_as_can_be(case: tuple[Chain, list[frozenset[str]], frozenset[int]]) -> None:
    chain, voters, late = case
    votes = votes_of(chain, voters, late)
    found = policy.progress(chain, votes, late)
    assert all(taken <= step.needed for taken, step in zip(found.filled, chain.steps, strict=True))
    if chain.in_parallel:
        assert sum(found.filled) == most_seats(chain, votes)


@given(under_way(), people)
def test_a_vote_is_wanted_exactly_when_it_brings_the_request_further(
    case: tuple[Chain, list[frozenset[str]], frozenset[int]], voter: frozenset[str]
) -> None:
    chain, voters, late = case
    votes = votes_of(chain, voters, late)
    before = policy.progress(chain, votes, late)
    after = policy.progress(chain, [*votes, policy.fits(chain, voter, late)], late)
    is_wanted = bool(policy.fits(chain, voter, late) & before.open_steps)
    if is_wanted:
        assert sum(after.filled) > sum(before.filled) or after.is_complete
    else:
        assert (after.reached, after.done) == (before.reached, before.done)


@given(under_way())
def test_nothing_that_was_done_is_undone_by_one_more_vote(case: tuple[Chain, list[frozenset[str]], frozenset[int]]) -> None:
    chain, voters, late = case
    standing = [policy.progress(chain, votes_of(chain, voters[:count], late), late) for count in range(len(voters) + 1)]
    for earlier, later in pairwise(standing):
        assert earlier.reached <= later.reached
        assert all(now or not before for before, now in zip(earlier.done, later.done, strict=True))


@given(under_way())
def test_a_chain_is_never_done_with_fewer_people_than_its_last_step_takes(case: tuple[Chain, list[frozenset[str]], frozenset[int]]) -> None:
    chain, voters, late = case
    if policy.progress(chain, votes_of(chain, voters, late), late).is_complete:
        assert len(voters) >= chain.steps[-1].needed
        assert late or len(voters) >= sum(step.needed for step in chain.steps)


@given(under_way())
def test_a_request_that_is_not_done_has_an_open_step_unless_nothing_can_help(
    case: tuple[Chain, list[frozenset[str]], frozenset[int]],
) -> None:
    chain, voters, late = case
    found = policy.progress(chain, votes_of(chain, voters, late), late)
    assert found.is_complete or found.open_steps


def test_the_order_in_which_two_people_decide_leads_into_no_dead_end() -> None:
    """An admin who decided first holds the approver's seat only until an approver comes."""
    chain = Chain((Step((APPROVERS, ADMINS)), Step((ADMINS,))), in_parallel=True)
    admin, approver = policy.fits(chain, frozenset({ADMINS}), ()), policy.fits(chain, frozenset({APPROVERS}), ())
    assert policy.progress(chain, [admin]).open_steps == {0, 1}
    assert policy.progress(chain, [admin, approver]).is_complete
    assert policy.progress(chain, [approver, admin]).is_complete


def test_steps_in_order_open_one_after_another() -> None:
    chain = Chain((Step((APPROVERS,)), Step((FINANCE,), 2)))
    lead, finance = frozenset({0}), frozenset({1})
    assert policy.progress(chain, []).open_steps == {0}
    assert policy.progress(chain, [lead]).open_steps == {1}
    assert policy.progress(chain, [lead, finance]).open_steps == {1}
    assert policy.progress(chain, [lead, finance, finance]).is_complete


def test_the_next_step_decides_for_one_that_was_left_lying() -> None:
    chain = Chain((Step((APPROVERS,)), Step((ADMINS,))))
    assert policy.progress(chain, [], {0}).open_steps == {0, 1}
    assert policy.progress(chain, [frozenset({1})], {0}).is_complete
    assert not policy.progress(chain, [frozenset({0})], {0}).is_complete
    assert policy.parties_at(chain, 1, {1}) == {ADMINS}
    assert policy.parties_at(Chain((Step((FINANCE,)),)), 0, {0}) == {FINANCE, ADMINS}


BANDS = (Band((Step((APPROVERS,)),), Decimal(100)), Band((Step((ADMINS,)),), Decimal(1000)), Band((Step((FINANCE,)),)))


@given(st.decimals(min_value="0.01", max_value="1000000", places=2))
def test_an_amount_falls_into_one_band(amount: Decimal) -> None:
    expected = APPROVERS if amount <= 100 else ADMINS if amount <= 1000 else FINANCE
    assert policy.chain_for(Rules(BANDS), amount).steps[0].who == (expected,)


def test_an_amount_that_cannot_be_compared_falls_into_the_last_band() -> None:
    assert policy.chain_for(Rules(BANDS), None).steps[0].who == (FINANCE,)


@given(
    st.builds(
        Rules,
        bands=st.just(BANDS),
        escalate_minutes=st.none() | st.integers(1, 100),
        automatic=st.none() | st.just(Automatic(Decimal("0.1"), Decimal(2), Decimal(3))),
    )
)
def test_a_policy_is_read_as_it_was_written(rules: Rules) -> None:
    assert policy.rules_of(policy.to_facts(rules)) == rules


STEP = Step((ADMINS,))
FAULTS = {
    "no rows": Rules(()),
    "no last row": Rules((Band((STEP,), Decimal(5)),)),
    "two last rows": Rules((Band((STEP,)), Band((STEP,)))),
    "falling amounts": Rules((Band((STEP,), Decimal(5)), Band((STEP,), Decimal(5)), Band((STEP,)))),
    "an amount of nothing": Rules((Band((STEP,), Decimal(0)), Band((STEP,)))),
    "no steps": Rules((Band(()),)),
    "nobody": Rules((Band((Step(()),)),)),
    "an unknown group": Rules((Band((Step(("everybody",)),)),)),
    "nobody needed": Rules((Band((Step((ADMINS,), 0),)),)),
    "more than are named": Rules((Band((Step(("member:1",), 2),)),)),
    "escalation at once": Rules((Band((STEP,)),), escalate_minutes=0),
    "expiry at once": Rules((Band((STEP,)),), expire_hours=0),
    "no denial": Rules((Band((STEP,)),), denials=0),
    "a grant above its cap": Rules((Band((STEP,)),), automatic=Automatic(Decimal(5), Decimal(4), Decimal(10))),
    "a person above the team": Rules((Band((STEP,)),), automatic=Automatic(Decimal(5), Decimal(20), Decimal(10))),
    "nothing automatic": Rules((Band((STEP,)),), automatic=Automatic(Decimal(0), Decimal(0), Decimal(0))),
    "an override by nobody": Rules((Band((STEP,)),), override=Override(())),
    "a review at once": Rules((Band((STEP,)),), override=Override((OWNERS,), 0)),
}


@pytest.mark.parametrize("rules", FAULTS.values(), ids=FAULTS)
def test_a_policy_that_cannot_be_says_why(rules: Rules) -> None:
    assert policy.fault_of(rules).endswith(".")


def test_the_built_in_policy_is_sound() -> None:
    assert policy.fault_of(BUILT_IN) == ""
    assert policy.chain_of({}) == policy.chain_for(BUILT_IN, Decimal(1))
