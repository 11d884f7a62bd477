"""API edge of approvals: file, list, read, decide, withdraw.

Filing and withdrawing take the scope `authorize`, reading `read`, deciding `admin`; filing, withdrawing and deciding take a key that
belongs to a member, because a person answers for them. A harness that runs under its user's `authorize` key can so ask, never grant.
"""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.approvals import answers, overrides, selectors, services
from governance.approvals.answers import AmountField, ChainOut, EvidenceOut, PersonOut, ReviewOut
from governance.approvals.models import ApprovalRequest, Decision
from governance.approvals.standing import Standing
from governance.errors import Invalid
from governance.notices.links import request_link
from governance.tenancy.access import Actor
from governance.tenancy.models import Scope

LONGEST_KEY = 200
PAGE = 50
LONGEST_PAGE = 200
IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Up to 200 characters. The same key with the same body gives the first answer again.",
)
PROBLEM = {"type": "object", "properties": {"code": {"type": "string"}, "title": {"type": "string"}, "detail": {"type": "string"}}}
PROBLEMS = {
    ("403", "application/problem+json"): PROBLEM,
    ("404", "application/problem+json"): PROBLEM,
    ("409", "application/problem+json"): PROBLEM,
    ("422", "application/problem+json"): PROBLEM,
}
EXAMPLE_REQUEST = {
    "id": "019a9f3c-5d51-7c35-9d0a-3f2b1c8e7a10",
    "state": "pending",
    "amount": "50",
    "currency": "USD",
    "reason": "The migration is two thirds done; stopping now loses the context.",
    "ends_at": None,
    "created_at": "2026-11-21T10:05:00Z",
    "ended_at": None,
    "session": "0b6f1c1e-7a51",
    "requester": {"id": 17, "name": "Robin", "email": "robin@example.com"},
    "budget": {"id": 4, "name": "Platform session"},
    "budget_period": {"id": 911, "starts_at": "1970-01-01T00:00:00Z", "ends_at": None},
    "decision": None,
    "chain": {
        "policy_version": None,
        "in_parallel": False,
        "steps": [
            {
                "text": "one approver of Platform or owner or admin",
                "who": ["approvers", "admins"],
                "needed": 1,
                "given": 0,
                "state": "open",
                "is_escalated": False,
            }
        ],
        "votes": [],
        "turn": "the approvers of Platform, owners and admins",
        "missing": "It needs one more decision; the next is for the approvers of Platform, owners and admins.",
        "escalates_at": None,
        "expires_at": None,
    },
    "review": None,
    "evidence": {
        "of": "session",
        "models": [{"provider": "anthropic", "model": "claude-sonnet-4-5", "calls": 412, "tokens": 61200340, "cost": "100.25"}],
        "last_calls": [
            {
                "at": "2026-11-21T10:04:31Z",
                "provider": "anthropic",
                "model": "claude-sonnet-4-5",
                "status": "ok",
                "input_tokens": 1200,
                "output_tokens": 830,
                "cost": "0.21",
            }
        ],
        "burn_per_minute": "1.1",
        "lasts_minutes": ["38", "60"],
        "overrun": "0.25",
        "buys": "49.75",
        "usable": "49.75",
        "warning": "",
        "budgets": [
            {
                "budget": 4,
                "name": "Session 0b6f1c1e-7a51",
                "is_asked": True,
                "is_hard": True,
                "is_frozen": True,
                "spent": "100.25",
                "held": "0",
                "limit": "100",
                "limit_after": "150",
                "left_after": "49.75",
                "consequence": "resumes",
                "exhausted_at": None,
                "binds": False,
            }
        ],
    },
    "deciders": [{"id": 3, "name": "Kim", "email": "kim@example.com"}],
    "may_decide": False,
    "link": "https://weighhouse.example.com/o/acme/approvals/019a9f3c-5d51-7c35-9d0a-3f2b1c8e7a10",
}


EXAMPLE_ITEM = {
    key: value for key, value in EXAMPLE_REQUEST.items() if key not in ("deciders", "may_decide", "chain", "review", "evidence")
}
EXAMPLE_DECISION = {
    "kind": "votes",
    "grant": True,
    "amount": "25",
    "note": "",
    "ends_at": "2026-11-22T18:00:00Z",
    "decider": {"id": 3, "name": "Kim", "email": "kim@example.com"},
    "at": "2026-11-21T10:20:00Z",
}
EXAMPLE_GRANT = {"state": "approved", "ended_at": "2026-11-21T10:20:00Z", "decision": EXAMPLE_DECISION}
EXAMPLE_OVERRIDE = EXAMPLE_GRANT | {
    "decision": EXAMPLE_DECISION | {"kind": "override", "amount": "50", "note": "The release is blocked.", "ends_at": None},
    "review": {"due_at": "2026-11-24T10:20:00Z", "reviewed_at": None, "reviewer": None, "upheld": None, "note": ""},
}
EXAMPLE_REVIEW = {
    "review": {
        "due_at": "2026-11-24T10:20:00Z",
        "reviewed_at": "2026-11-21T15:02:00Z",
        "reviewer": {"id": 5, "name": "Sam", "email": "sam@example.com"},
        "upheld": True,
        "note": "The release could not wait.",
    },
}


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


class ScopedView(APIView):
    """A view whose methods need different scopes."""

    scopes: dict[str, str] = {}

    @property
    def scope(self) -> str | None:
        return self.scopes.get(self.request.method or "")

    @property
    def actor(self) -> Actor:
        return self.request.user  # type: ignore[return-value]


class RequestsView(ScopedView):
    """The organization's requests."""

    scopes = {"GET": Scope.READ, "POST": Scope.AUTHORIZE}

    @extend_schema(
        operation_id="approvals_list",
        summary="List approval requests",
        description="The requests the key's holder may see, newest first.",
        parameters=[ListIn],
        responses={200: RequestListOut, **PROBLEMS},
        examples=[OpenApiExample("One waits", response_only=True, status_codes=["200"], value={"items": [EXAMPLE_ITEM], "next": None})],
    )
    def get(self, request: Request) -> Response:
        asked = _valid(ListIn(data=request.query_params))
        rows = selectors.requests_visible(self.actor).order_by("-id")
        if "state" in asked:
            rows = rows.filter(state=asked["state"])
        if "before" in asked:
            rows = rows.filter(id__lt=asked["before"])
        found = list(rows[: asked["limit"] + 1])
        page = found[: asked["limit"]]
        return Response({"items": RequestOut(page, many=True).data, "next": str(page[-1].pk) if len(found) > len(page) else None})

    @extend_schema(
        operation_id="approvals_file",
        summary="Ask for more budget",
        description=(
            "On a `budget_period`, or on whatever stands against a `session`: the period it is frozen on, else the one that refused a call. "
            "One request per person and period can wait; a second is a 409 that names the first. Needs a key that belongs to a member."
        ),
        parameters=[IDEMPOTENCY],
        request=FilingIn,
        responses={201: RequestDetailOut, **PROBLEMS},
        examples=[
            OpenApiExample(
                "Ask for a frozen session",
                request_only=True,
                value={"session": "0b6f1c1e-7a51", "amount": "50", "reason": EXAMPLE_REQUEST["reason"]},
            ),
            OpenApiExample("The request", response_only=True, status_codes=["201"], value=EXAMPLE_REQUEST),
        ],
    )
    def post(self, request: Request) -> Response:
        asked = _valid(FilingIn(data=request.data))
        filed = services.request_create(
            actor=self.actor,
            period_id=asked.get("budget_period"),
            amount=asked["amount"],
            reason=asked["reason"],
            session_key=asked.get("session", ""),
            ends_at=asked["ends_at"],
            session_only=asked["session_only"],
            idempotency_key=_idempotency_key(request),
        )
        return _detail(self.actor, filed.pk, status=201)


class RequestView(ScopedView):
    """One request."""

    scopes = {"GET": Scope.READ, "DELETE": Scope.AUTHORIZE}

    @extend_schema(
        operation_id="approvals_get",
        summary="Read an approval request",
        responses={200: RequestDetailOut, **PROBLEMS},
        examples=[OpenApiExample("The request", response_only=True, status_codes=["200"], value=EXAMPLE_REQUEST)],
    )
    def get(self, request: Request, request_id: UUID) -> Response:
        return _detail(self.actor, request_id)

    @extend_schema(
        operation_id="approvals_withdraw",
        summary="Withdraw one's own request",
        description="Withdrawing twice is the same as once. A request that was decided or has expired is a 409.",
        responses={204: None, **PROBLEMS},
    )
    def delete(self, request: Request, request_id: UUID) -> Response:
        services.request_withdraw(actor=self.actor, request_id=request_id)
        return Response(status=204)


class DecisionView(ScopedView):
    """The decision on a request."""

    scopes = {"POST": Scope.ADMIN}

    @extend_schema(
        operation_id="approvals_decide",
        summary="Grant or deny a request",
        description=(
            "In full or in part, within the approver's limit and never one's own. Where the policy asks several people, each decides once and "
            "the last one's grant moves the money: the smallest amount and the earliest end count; `chain` says whose turn it is. What was "
            "granted counts at once: a session that was frozen on the budget goes on with its next call. "
            "A request is decided once; a second decision is a 409 that names who made the first. "
            "Needs a key with the scope `admin` that belongs to a member who may decide."
        ),
        parameters=[IDEMPOTENCY],
        request=DecisionIn,
        responses={201: RequestDetailOut, **PROBLEMS},
        examples=[
            OpenApiExample(
                "Grant a part for a day", request_only=True, value={"grant": True, "amount": "25", "ends_at": "2026-11-22T18:00:00Z"}
            ),
            OpenApiExample("Deny", request_only=True, value={"grant": False, "note": "Use the batch queue for this."}),
            OpenApiExample("Granted", response_only=True, status_codes=["201"], value=EXAMPLE_REQUEST | EXAMPLE_GRANT),
        ],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        asked = _valid(DecisionIn(data=request.data))
        services.request_decide(
            actor=self.actor,
            request_id=request_id,
            is_grant=asked["grant"],
            amount=asked["amount"],
            note=asked["note"],
            ends_at=asked["ends_at"],
            session_only=asked["session_only"],
            idempotency_key=_idempotency_key(request),
        )
        return _detail(self.actor, request_id, status=201)


class OverrideView(ScopedView):
    """Granting in an emergency."""

    scopes = {"POST": Scope.ADMIN}

    @extend_schema(
        operation_id="approvals_override",
        summary="Override in an emergency",
        description=(
            "Grants at once, past the chain and above limits, for somebody whom the policy names. Admins are told, and somebody else reviews it. "
            "Never one's own request. Needs a key with the scope `admin` that belongs to a member."
        ),
        parameters=[IDEMPOTENCY],
        request=OverrideIn,
        responses={201: RequestDetailOut, **PROBLEMS},
        examples=[
            OpenApiExample("The release is blocked", request_only=True, value={"reason": "The release is blocked."}),
            OpenApiExample("Granted", response_only=True, status_codes=["201"], value=EXAMPLE_REQUEST | EXAMPLE_OVERRIDE),
        ],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        asked = _valid(OverrideIn(data=request.data))
        services.request_override(actor=self.actor, request_id=request_id, idempotency_key=_idempotency_key(request), **asked)
        return _detail(self.actor, request_id, status=201)


class ReviewView(ScopedView):
    """The review of an override."""

    scopes = {"POST": Scope.ADMIN}

    @extend_schema(
        operation_id="approvals_review",
        summary="Review an override",
        description="By an owner, an admin or finance, and by somebody else than who overrode or asked. The money stays as it is.",
        request=ReviewIn,
        responses={201: RequestDetailOut, **PROBLEMS},
        examples=[
            OpenApiExample("It was right", request_only=True, value={"upheld": True, "note": "The release could not wait."}),
            OpenApiExample("Reviewed", response_only=True, status_codes=["201"], value=EXAMPLE_REQUEST | EXAMPLE_OVERRIDE | EXAMPLE_REVIEW),
        ],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        asked = _valid(ReviewIn(data=request.data))
        services.review_record(actor=self.actor, request_id=request_id, is_upheld=asked["upheld"], note=asked["note"])
        return _detail(self.actor, request_id, status=201)


def _detail(actor: Actor, request_id: UUID, *, status: int = 200) -> Response:
    found = selectors.request_get(actor, request_id)
    return Response(RequestDetailOut(found, context={"actor": actor, "standing": Standing(found)}).data, status=status)


def _valid(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise Invalid(f"An Idempotency-Key has 1 to {LONGEST_KEY} printable characters.", field="Idempotency-Key")
    return key
