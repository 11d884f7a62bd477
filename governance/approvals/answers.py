"""The parts of an API answer about how a request stands: its chain, the votes, the review and the evidence."""

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from governance.approvals import words
from governance.approvals.evidence import evidence_of
from governance.approvals.models import ApprovalRequest, Review
from governance.approvals.policies import names_of, parties_of
from governance.approvals.selectors import whose_turn
from governance.approvals.standing import Standing
from governance.money import DIGITS, PLACES
from governance.tenancy.access import Actor
from governance.tenancy.models import Member

STEP_STATES = ("waiting", "open", "done", "passed")


class AmountField(serializers.DecimalField):
    """An amount of money: text without trailing zeros on the way out; a number or text, at most numeric(28,15), on the way in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=DIGITS, decimal_places=PLACES, **options)

    def to_representation(self, value: Decimal) -> str:
        return f"{value.normalize():f}"


class PersonOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField(source="*")
    email = serializers.EmailField(source="user.email")


class StepOut(serializers.Serializer[Any]):
    """One step of the chain."""

    text = serializers.CharField(help_text="who decides, in words")
    who = serializers.ListField(child=serializers.CharField(), help_text="approvers, admins, owners, finance, or member:<id>")
    needed = serializers.IntegerField(help_text="how many different people it takes")
    given = serializers.IntegerField()
    state = serializers.ChoiceField(STEP_STATES, help_text="passed: left lying, and decided by the step after it")
    is_escalated = serializers.BooleanField()


class VoteOut(serializers.Serializer[Any]):
    """What one person said. `counts` is false for somebody who has left or lost the role since."""

    decider = PersonOut()
    in_stead_of = PersonOut(allow_null=True)
    grant = serializers.BooleanField(source="is_grant")
    amount = AmountField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True)
    session_only = serializers.BooleanField(source="is_session_only")
    note = serializers.CharField()
    at = serializers.DateTimeField()
    counts = serializers.BooleanField()


class ChainOut(serializers.Serializer[Any]):
    """How far the request has come, and what is missing."""

    policy_version = serializers.IntegerField(allow_null=True, help_text="in force when it was filed; null: the built-in policy")
    in_parallel = serializers.BooleanField()
    steps = StepOut(many=True)
    votes = VoteOut(many=True)
    turn = serializers.CharField(help_text="whose turn it is, in words; empty once it is decided")
    missing = serializers.CharField(help_text="what is missing, as a sentence; empty once it is decided")
    escalates_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)


class ReviewOut(serializers.Serializer[Any]):
    """The review of an emergency override."""

    due_at = serializers.DateTimeField()
    reviewed_at = serializers.DateTimeField(allow_null=True)
    reviewer = PersonOut(allow_null=True)
    upheld = serializers.BooleanField(source="is_upheld", allow_null=True)
    note = serializers.CharField()


class ModelUseOut(serializers.Serializer[Any]):
    provider = serializers.CharField()
    model = serializers.CharField()
    calls = serializers.IntegerField()
    tokens = serializers.IntegerField()
    cost = AmountField(allow_null=True)


class CallSeenOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    provider = serializers.CharField()
    model = serializers.CharField()
    status = serializers.CharField()
    input_tokens = serializers.IntegerField(allow_null=True)
    output_tokens = serializers.IntegerField(allow_null=True)
    cost = AmountField(allow_null=True)


class BudgetEffectOut(serializers.Serializer[Any]):
    """A budget that the money would be spent from, and what the grant would do to it. Amounts are null where it counts something else."""

    budget = serializers.IntegerField()
    name = serializers.CharField()
    is_asked = serializers.BooleanField()
    is_hard = serializers.BooleanField()
    is_frozen = serializers.BooleanField()
    spent = AmountField(allow_null=True)
    held = AmountField(allow_null=True)
    limit = AmountField(allow_null=True)
    limit_after = AmountField(allow_null=True)
    left_after = AmountField(allow_null=True)
    consequence = serializers.CharField()
    exhausted_at = serializers.DateTimeField(
        allow_null=True, help_text="by forecast, with the amount spent on top; null: within its period"
    )
    binds = serializers.BooleanField(help_text="whether it would stop the work before the grant is spent")


class EvidenceOut(serializers.Serializer[Any]):
    """What a decider should know."""

    of = serializers.ChoiceField(("session", "requester"), help_text="whose work `models` and `last_calls` are")
    models = ModelUseOut(many=True)
    last_calls = CallSeenOut(many=True)
    burn_per_minute = AmountField()
    lasts_minutes = serializers.ListField(
        child=AmountField(), allow_null=True, help_text="low and high, eight of ten outcomes; null: not known"
    )
    overrun = AmountField(help_text="how far the asked budget is past its limit already")
    buys = AmountField(help_text="what of the amount is left after the overrun")
    usable = AmountField(help_text="what of that can be spent before a wider hard budget stops the work")
    warning = serializers.CharField(help_text="says so, as a sentence; empty: nothing stands in the way")
    budgets = BudgetEffectOut(many=True)


def chain_answer(request: ApprovalRequest, standing: Standing) -> dict[str, Any]:
    """The shape of ChainOut."""
    chain, progress, is_pending = standing.chain, standing.progress, request.state == ApprovalRequest.State.PENDING
    names = names_of(request.organization, parties_of(chain))
    counting = {vote.pk for vote in standing.counting}
    for vote in standing.votes:
        vote.counts = vote.pk in counting  # type: ignore[attr-defined]
    steps = [
        {
            "text": words.step_text(step, team=_team(request), names=names), "who": step.who, "needed": step.needed, "given": progress.filled[place],
            "state": step_state(standing, place), "is_escalated": place in request.escalated,
        }
        for place, step in enumerate(chain.steps)
    ]  # fmt: skip
    return {
        "policy_version": request.policy.number if request.policy is not None else None, "in_parallel": chain.in_parallel, "steps": steps,
        "votes": standing.votes, "turn": whose_turn(standing) if is_pending else "", "missing": missing_text(standing) if is_pending else "",
        "escalates_at": request.escalates_at if is_pending else None, "expires_at": request.expires_at if is_pending else None,
    }  # fmt: skip


def step_state(standing: Standing, place: int) -> str:
    """Whether a step is done, open, waits for those before it, or was decided by the one after it."""
    progress = standing.progress
    if progress.done[place]:
        return "done" if progress.filled[place] == standing.chain.steps[place].needed else "passed"
    return "open" if place < progress.reached else "waiting"


def missing_text(standing: Standing) -> str:
    """What the request still needs, as a sentence; names when nobody is there to give it."""
    left = sum(standing.remaining(place) for place in range(len(standing.chain.steps)))
    decisions = f"{words.NUMBERS[left] if left < len(words.NUMBERS) else left} more decision{'' if left == 1 else 's'}"
    if not standing.seats:
        return f"It needs {decisions}, and nobody is there who may give the next one: it is for {whose_turn(standing)}."
    return f"It needs {decisions}; the next is for {whose_turn(standing)}."


def evidence_answer(actor: Actor, request: ApprovalRequest) -> Mapping[str, Any]:
    """The shape of EvidenceOut."""
    return asdict(evidence_of(actor, request, now=timezone.now()))


def review_answer(review: Review | None) -> dict[str, Any] | None:
    return None if review is None else dict(ReviewOut(review).data)


def people(members: list[Member]) -> list[dict[str, Any]]:
    return [dict(PersonOut(member).data) for member in members]


def _team(request: ApprovalRequest) -> str:
    return str(request.team) if request.team is not None else "the team"
