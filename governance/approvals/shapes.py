"""Bodies and answers of the API of requests: what comes in, and how a request is shown."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from governance.approvals import answers, overrides, selectors
from governance.approvals.answers import AmountField, ChainOut, EvidenceOut, PersonOut, ReviewOut
from governance.approvals.models import ApprovalRequest, Decision
from governance.notices.links import request_link

PAGE = 50
LONGEST_PAGE = 200


class FilingIn(serializers.Serializer[Any]):
    """Ask for more, on a budget period or on whatever stands against a session."""

    budget_period = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    session = serializers.CharField(required=False, max_length=200)
    amount = AmountField()
    reason = serializers.CharField(max_length=2000)
    ends_at = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="until when the money is wanted")
    session_only = serializers.BooleanField(
        required=False, default=False, help_text="ask on the session's own limit; refused where it has none"
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "budget_period" not in attrs and "session" not in attrs:
            raise serializers.ValidationError("Name a budget_period or a session.")
        return attrs


class DecisionIn(serializers.Serializer[Any]):
    """Grant a request, in full when no amount is given, or deny it with a note."""

    grant = serializers.BooleanField()
    amount = AmountField(required=False, allow_null=True, default=None)
    note = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)
    ends_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="until when it counts; as asked for when absent"
    )
    session_only = serializers.BooleanField(
        required=False, default=False, help_text="give it to the session's own limit; refused where it has none"
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs["grant"] and attrs["amount"] is not None:
            raise serializers.ValidationError({"amount": "A denial has no amount."})
        return attrs


class OverrideIn(serializers.Serializer[Any]):
    """Grant at once in an emergency, past the chain and above one's limit."""

    reason = serializers.CharField(max_length=2000)
    amount = AmountField(required=False, allow_null=True, default=None)
    ends_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    session_only = serializers.BooleanField(required=False, default=False)


class ReviewIn(serializers.Serializer[Any]):
    """Whether an override was right; finding it wrong needs a note."""

    upheld = serializers.BooleanField()
    note = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class ListIn(serializers.Serializer[Any]):
    """What to list."""

    state = serializers.ChoiceField(ApprovalRequest.State.choices, required=False)
    before = serializers.UUIDField(required=False, help_text="the `next` of the page before")
    limit = serializers.IntegerField(required=False, default=PAGE, min_value=1, max_value=LONGEST_PAGE)


class AskedBudgetOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()


class AskedPeriodOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(allow_null=True)


class DecisionOut(serializers.Serializer[Any]):
    """The one decision on a request. `decider` is the last of those who decided; null where the policy granted it at once."""

    kind = serializers.ChoiceField(Decision.Kind.choices)
    grant = serializers.BooleanField(source="is_grant")
    amount = AmountField(allow_null=True)
    note = serializers.CharField()
    ends_at = serializers.DateTimeField(source="topup.ends_at", allow_null=True, default=None)
    decider = PersonOut(allow_null=True)
    at = serializers.DateTimeField()


class RequestOut(serializers.Serializer[Any]):
    """A request as the lists show it."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(ApprovalRequest.State.choices)
    amount = AmountField()
    currency = serializers.CharField()
    reason = serializers.CharField()
    ends_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    session = serializers.CharField(source="session_key")
    requester = PersonOut()
    budget = AskedBudgetOut(source="period.budget")
    budget_period = AskedPeriodOut(source="period")
    decision = serializers.SerializerMethodField()
    link = serializers.SerializerMethodField()

    @extend_schema_field(DecisionOut(allow_null=True))
    def get_decision(self, request: ApprovalRequest) -> dict[str, Any] | None:
        decision: Decision | None = getattr(request, "decision", None)
        return None if decision is None else dict(DecisionOut(decision).data)

    def get_link(self, request: ApprovalRequest) -> str:
        return request_link(request.organization.slug, request.pk)


class RequestDetailOut(RequestOut):
    """A request with who may decide it, how far it has come, and the evidence."""

    deciders = serializers.SerializerMethodField(help_text="whose turn it is, with those who stand in for them")
    may_decide = serializers.SerializerMethodField()
    chain = serializers.SerializerMethodField()
    review = serializers.SerializerMethodField()
    evidence = serializers.SerializerMethodField()

    @extend_schema_field(PersonOut(many=True))
    def get_deciders(self, request: ApprovalRequest) -> list[dict[str, Any]]:
        return answers.people(
            [seat.person for seat in self.context["standing"].seats] if request.state == ApprovalRequest.State.PENDING else []
        )

    def get_may_decide(self, request: ApprovalRequest) -> bool:
        return selectors.may_decide(self.context["actor"], request)

    @extend_schema_field(ChainOut)
    def get_chain(self, request: ApprovalRequest) -> dict[str, Any]:
        return dict(ChainOut(answers.chain_answer(request, self.context["standing"])).data)

    @extend_schema_field(ReviewOut(allow_null=True))
    def get_review(self, request: ApprovalRequest) -> dict[str, Any] | None:
        return answers.review_answer(overrides.review_of(request))

    @extend_schema_field(EvidenceOut)
    def get_evidence(self, request: ApprovalRequest) -> dict[str, Any]:
        return dict(EvidenceOut(answers.evidence_answer(self.context["actor"], request)).data)


class RequestListOut(serializers.Serializer[Any]):
    items = RequestOut(many=True)
    next = serializers.UUIDField(allow_null=True, help_text="pass as `before` for the page that follows; null on the last one")
