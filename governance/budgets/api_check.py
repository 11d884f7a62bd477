"""API edge for proxies: GET /api/v1/check says whether a call may go on, in the terms of nginx, Envoy, Traefik and Kong."""

import json
from contextlib import suppress
from typing import Any, ClassVar, Literal

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from governance.audit.services import plain
from governance.budgets.api import actor_of, api_key_of
from governance.budgets.description import BudgetExceeded
from governance.budgets.services import AuthorizationIn, session_check
from governance.errors import DomainError, Invalid, PaymentRequired
from governance.tenancy.authentication import KeyMoved, RememberedKeyAuthentication, confirmed, unconfirmed_of
from governance.tenancy.models import Scope
from governance.tenancy.openapi import KEY_NEEDED, problems
from governance.tenancy.problems import document, problem
from governance.tenancy.views import ProgramView

LABELS = (
    "session", "parent_session", "team", "project", "member", "provider", "model", "harness", "gateway", "role", "task_class", "environment", "task",
    "billing_mode",
)  # fmt: skip
# Where harnesses and gateways name their session by themselves: Claude Code, LiteLLM's callers, Codex.
SESSION_HEADERS = ("X-Claude-Code-Session-Id", "X-LiteLLM-Session-Id", "Session-Id")
REFUSED_AS = ("402", "403")
# Headers of answers pass proxies with small buffers.
LONGEST_REASON = 600
PLAINER = str.maketrans("“”", '""')


class CheckAuthentication(RememberedKeyAuthentication):
    """The proxy's key in X-Weighhouse-Key, where Authorization is the caller's own; else as everywhere."""

    def secret_of(self, request: Request) -> str | None:
        return request.META.get("HTTP_X_WEIGHHOUSE_KEY", "").strip() or super().secret_of(request)

    def remembers(self, request: Request) -> bool:
        return True


class Checked(msgspec.Struct, frozen=True):
    """The call may go on just now. Nothing is held for it."""

    goes_on: Literal[True]
    session: str


class VendorError(msgspec.Struct, frozen=True):
    """The refusal where SDKs of model vendors look for it."""

    type: str
    code: str
    message: str


class CheckRefused(BudgetExceeded, frozen=True, kw_only=True):
    """The call may not go on, as a problem document that clients of model APIs can show too."""

    error: VendorError

    field_notes: ClassVar[dict[str, str]] = {
        **BudgetExceeded.field_notes,
        "error": "Reason and link where OpenAI's and Anthropic's SDKs look for a message.",
        "is_frozen": "True: a freeze stands against it. False: a budget that does not freeze is used up.",
    }


EXAMPLE: dict[str, Any] = {
    "type": "urn:weighhouse:problem:budget_exceeded", "title": "A budget or a freeze stands against this call", "status": 402, "code": "budget_exceeded",
    "detail": "Session s-7f31 was frozen by hand by Kim: It repeats itself.", "is_frozen": True, "session": "s-7f31", "freeze": 9,
    "frozen_by": {
        "id": 9, "scope": "session", "name": "s-7f31", "cause": "hand", "reason": "It repeats itself.", "started_at": "2026-11-21T10:05:00Z",
        "started_by": "Kim", "period": None, "url": "https://weighhouse.example.com/o/acme/sessions/s-7f31",
    },
    "approvers": [{"name": "Kim", "email": "kim@example.com"}], "request_url": "https://weighhouse.example.com/o/acme/sessions/s-7f31",
    "error": {
        "type": "budget_exceeded", "code": "budget_exceeded",
        "message": "Session s-7f31 was frozen by hand by Kim: It repeats itself. https://weighhouse.example.com/o/acme/sessions/s-7f31",
    },
}  # fmt: skip
PARAMETERS = [
    *(
        OpenApiParameter(
            name, OpenApiTypes.STR, description="" if name != "session" else "Else the header X-Weighhouse-Session, or the harness's own."
        )
        for name in LABELS
    ),
    OpenApiParameter(
        "refused", OpenApiTypes.STR, enum=list(REFUSED_AS), description="The status of refusals, 402 unless said: nginx passes 403 on."
    ),
    OpenApiParameter(
        "X-Weighhouse-Key", OpenApiTypes.STR, OpenApiParameter.HEADER, description="The key, where Authorization is the caller's own."
    ),
    OpenApiParameter(
        "X-Weighhouse-Session",
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        description="Each label may come as such a header; the query goes first.",
    ),
]


class Check(ProgramView):
    """GET /api/v1/check, and by whatever method a proxy asks with."""

    scope = Scope.AUTHORIZE
    authentication_classes = (CheckAuthentication,)
    # Envoy asks with the path and the query of the call itself: there only headers are the proxy's.
    reads_query: ClassVar[bool] = True

    @extend_schema(
        operation_id="check",
        tags=["check"],
        auth=KEY_NEEDED,
        summary="Whether a call may go on, for proxies that ask before they pass it on",
        description=(
            "200: no freeze reaches the call and no budget that stands against it is used up. Nothing is held: docs/enforcement.md says what that "
            "promises. What is not named goes by the session's latest call. Refusals are told in the body and in the headers X-Weighhouse-Reason, "
            "X-Weighhouse-Link and X-Weighhouse-Problem (JSON that a proxy can answer with as it is)."
        ),
        parameters=PARAMETERS,
        responses={
            (200, "application/json"): Checked,
            (402, "application/problem+json"): OpenApiResponse(CheckRefused, description="A budget or a freeze stands against the call."),
            **problems(s422="A label is not valid. With `refused=403` this is a 403 too."),
        },
        examples=[
            OpenApiExample("It may", value={"goes_on": True, "session": "s-7f31"}, response_only=True, status_codes=["200"]),
            OpenApiExample("Frozen", value=EXAMPLE, response_only=True, status_codes=["402"]),
        ],
    )
    def get(self, request: Request, asked_for: str = "") -> Response:
        try:
            asked = self._asked(request)
            self._check(request, asked)
        except (PaymentRequired, Invalid) as refusal:
            refusal.__traceback__ = None  # as ProgramView does with what it answers itself
            confirmed(request)
            return _refused(refusal, as_status=self._refused_as(request))
        return Response({"goes_on": True, "session": asked.session})

    def _check(self, request: Request, asked: AuthorizationIn) -> None:
        """A key that was only remembered is asked for by the statement that checks."""
        unconfirmed = unconfirmed_of(request)
        if unconfirmed is not None:
            with suppress(KeyMoved):
                return session_check(actor=actor_of(request), api_key=api_key_of(request), request=asked, unconfirmed=unconfirmed)
        confirmed(request)
        return session_check(actor=actor_of(request), api_key=api_key_of(request), request=asked)

    def _asked(self, request: Request) -> AuthorizationIn:
        """The labels of the call. Raises Invalid."""
        told = {name: value for name in LABELS if (value := self._label(request, name))}
        if "session" not in told:
            told |= {"session": next((value for name in SESSION_HEADERS if (value := request.headers.get(name, "").strip())), "")}
        if any("\0" in value for value in told.values()):
            raise Invalid("Text must not contain NUL characters.")
        try:
            return msgspec.convert(told, AuthorizationIn)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at `$.")
            raise Invalid(message, field=path.rstrip("`")) from error

    def _label(self, request: Request, name: str) -> str:
        queried = request.query_params.get(name, "") if self.reads_query else ""
        return (queried or request.headers.get(f"X-Weighhouse-{name.replace('_', '-')}", "")).strip()

    def _refused_as(self, request: Request) -> int | None:
        """The status that every refusal gets, None for each its own."""
        named = request.query_params.get("refused") if self.reads_query else request.headers.get("X-Weighhouse-Refused")
        return 403 if named == "403" else None


class CheckAnyPath(Check):
    """/api/v1/check/<the call's own path>, by any method: as Envoy asks."""

    reads_query = False

    @extend_schema(exclude=True)
    def get(self, request: Request, asked_for: str = "") -> Response:
        return super().get(request, asked_for)

    @extend_schema(exclude=True)
    def post(self, request: Request, asked_for: str = "") -> Response:
        return self.get(request, asked_for)

    put = patch = delete = post


def _refused(refusal: DomainError, *, as_status: int | None) -> Response:
    """The refusal as a document and, for proxies that keep the body to themselves, in headers."""
    status = as_status or refusal.status
    link = str(refusal.extra.get("request_url", ""))
    message = f"{refusal.detail} {link}".strip()
    error = {"type": refusal.code, "code": refusal.code, "message": message}
    answer = problem(status, refusal.code, refusal.title, refusal.detail, **refusal.extra, error=error)
    short = f"{_ascii(refusal.detail)[:LONGEST_REASON]}"
    answer["X-Weighhouse-Reason"] = short
    answer["X-Weighhouse-Problem"] = json.dumps(
        plain(
            document(refusal.status, refusal.code, refusal.title, short)
            | {"request_url": link, "error": error | {"message": f"{short} {link}".strip()}}
        )
    )
    if link:
        answer["X-Weighhouse-Link"] = link
    return answer


def _ascii(text: str) -> str:
    """What a header can carry: one line, quotes as ASCII has them, other signs as question marks."""
    plainer = text.translate(PLAINER)
    return " ".join(plainer.split()).encode("ascii", "replace").decode()
