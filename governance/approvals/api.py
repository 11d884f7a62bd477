"""API edge of approvals: file, list, read, decide, withdraw.

Filing and withdrawing take the scope `authorize`, reading `read`, deciding `admin`; filing, withdrawing and deciding take a key that
belongs to a member, because a person answers for them. A harness that runs under its user's `authorize` key can so ask, never grant.
"""

from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from governance.approvals import selectors, services
from governance.approvals.examples import DECIDED, EXAMPLE_ITEM, EXAMPLE_REQUEST, OVERRIDDEN, REVIEWED
from governance.approvals.shapes import DecisionIn, FilingIn, ListIn, OverrideIn, RequestDetailOut, RequestListOut, RequestOut, ReviewIn
from governance.approvals.standing import Standing
from governance.approvals.views import IDEMPOTENCY, PROBLEMS, ScopedView, idempotency_key, valid
from governance.tenancy.access import Actor
from governance.tenancy.models import Scope


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
        asked = valid(ListIn(data=request.query_params))
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
        asked = valid(FilingIn(data=request.data))
        filed = services.request_create(
            actor=self.actor,
            period_id=asked.get("budget_period"),
            amount=asked["amount"],
            reason=asked["reason"],
            session_key=asked.get("session", ""),
            ends_at=asked["ends_at"],
            session_only=asked["session_only"],
            idempotency_key=idempotency_key(request),
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
            OpenApiExample("Granted", response_only=True, status_codes=["201"], value=DECIDED),
        ],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        asked = valid(DecisionIn(data=request.data))
        services.request_decide(
            actor=self.actor,
            request_id=request_id,
            is_grant=asked["grant"],
            amount=asked["amount"],
            note=asked["note"],
            ends_at=asked["ends_at"],
            session_only=asked["session_only"],
            idempotency_key=idempotency_key(request),
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
            OpenApiExample("Granted", response_only=True, status_codes=["201"], value=OVERRIDDEN),
        ],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        asked = valid(OverrideIn(data=request.data))
        services.request_override(actor=self.actor, request_id=request_id, idempotency_key=idempotency_key(request), **asked)
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
            OpenApiExample("Reviewed", response_only=True, status_codes=["201"], value=REVIEWED),
        ],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        asked = valid(ReviewIn(data=request.data))
        services.review_record(actor=self.actor, request_id=request_id, is_upheld=asked["upheld"], note=asked["note"])
        return _detail(self.actor, request_id, status=201)


def _detail(actor: Actor, request_id: UUID, *, status: int = 200) -> Response:
    found = selectors.request_get(actor, request_id)
    return Response(RequestDetailOut(found, context={"actor": actor, "standing": Standing(found)}).data, status=status)
