"""API edge of freezes: what is frozen, and the switch: freezing and resuming a session, team, member, provider, model, key, or everything."""

from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from governance.budgets import services
from governance.budgets.api_budgets import BudgetView
from governance.budgets.description import StandingFreeze
from governance.budgets.freezes import doubt_about, freeze_seen, freezes_visible
from governance.budgets.models import Freeze
from governance.budgets.services.refusals import freeze_facts
from governance.budgets.views import body_of
from governance.errors import DomainError, Invalid
from governance.tenancy.access import Actor, Right, require
from governance.tenancy.openapi import problems

PAGE, LONGEST_PAGE = 50, 200
LARGEST_ID = 2**63 - 1
SENT_AS = {"scope_kind": "scope", "scope_key": "name"}


class FreezeIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to freeze, and why."""

    scope: Literal["session", "team", "member", "provider", "model", "key", "organization"]
    reason: str
    name: str = ""

    field_notes: ClassVar[dict[str, str]] = {
        "scope": "A session with all below it, a team with the teams below, a member, a provider, a model, a key, or everything.",
        "name": "The session's key, the team's slug, the member's e-mail, the provider, the model, or the key's prefix. Nothing for everything.",
        "reason": "Told to whoever runs into it; at most 300 characters are kept.",
    }


class FreezeEnd(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it may go on."""

    reason: str = ""


class FreezeOut(StandingFreeze, frozen=True, kw_only=True):
    """A freeze, in force or over."""

    ended_at: datetime | None
    ended_by: str | None
    end_reason: str
    notice: str = ""

    field_notes: ClassVar[dict[str, str]] = StandingFreeze.field_notes | {
        "ended_at": "Null as long as it is in force.",
        "notice": "When it was just made: that no call goes by this provider's or model's name, so that it may be misspelled.",
    }


class FreezesOut(msgspec.Struct, frozen=True):
    """Freezes, the latest first."""

    items: list[FreezeOut]
    next: int | None

    field_notes: ClassVar[dict[str, str]] = {"next": "Pass as `before` for the page that follows; null on the last one."}


EXAMPLE: dict[str, Any] = {
    "id": 9, "scope": "model", "name": "gpt-5", "cause": "hand", "reason": "leaks prompts", "started_at": "2026-11-21T10:05:00Z", "started_by": "Kim",
    "period": None, "url": "https://weighhouse.example.com/o/acme/freezes", "ended_at": None, "ended_by": None, "end_reason": "",
}  # fmt: skip
ENDED = EXAMPLE | {"ended_at": "2026-11-21T11:40:00Z", "ended_by": "Kim", "end_reason": "fixed by the vendor"}
REPEATED = OpenApiParameter(
    "Idempotency-Key", OpenApiTypes.STR, OpenApiParameter.HEADER, description="The same key with the same body gives the first answer again, for a day."
)


def shown(actor: Actor, freeze: Freeze) -> dict[str, Any]:
    """A freeze as answers show it."""
    ended_by = str(freeze.ended_by) if freeze.ended_by else None
    return freeze_facts(actor, freeze) | {"ended_at": freeze.ended_at, "ended_by": ended_by, "end_reason": freeze.end_reason}


class FreezeView(BudgetView):
    """Reading takes the scope `read`, all else `admin` and the right to freeze."""

    def handle_exception(self, exc: Exception) -> Response:
        """A refusal names the field as the body does."""
        if isinstance(exc, DomainError) and exc.extra.get("field") in SENT_AS:
            exc.extra["field"] = SENT_AS[exc.extra["field"]]
        return super().handle_exception(exc)


class Freezes(FreezeView):
    """GET and POST /api/v1/freezes."""

    @extend_schema(
        operation_id="freezes_list", tags=["freezes"], summary="What is frozen, or was",
        description="Those the key's holder may know of, the latest first: of its teams and sessions, and those that everybody runs into.",
        parameters=[
            OpenApiParameter("active", OpenApiTypes.BOOL, description="`true` (as without it): in force. `false`: over."),
            OpenApiParameter("before", OpenApiTypes.INT64, description="The `next` of the page before."),
            OpenApiParameter("limit", OpenApiTypes.INT, description=f"At most {LONGEST_PAGE}; {PAGE} unless given."),
        ],
        responses={(200, "application/json"): FreezesOut, **problems(s422="`active`, `before` or `limit` is none.")},
        examples=[OpenApiExample("A model is switched off", value={"items": [EXAMPLE], "next": None}, response_only=True, status_codes=["200"])],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        wanted = request.query_params.get("active", "true")
        if wanted not in ("true", "false"):
            raise Invalid("`active` is true or false.", field="active")
        limit, before = _number(request, "limit", PAGE, most=LONGEST_PAGE), _number(request, "before", LARGEST_ID, most=LARGEST_ID)
        rows = freezes_visible(self.actor).filter(ended_at__isnull=wanted == "true", pk__lt=before).order_by("-id")
        found = list(rows[: limit + 1])
        page = found[:limit]
        return Response({"items": [shown(self.actor, freeze) for freeze in page], "next": page[-1].pk if len(found) > len(page) else None})

    @extend_schema(
        operation_id="freezes_start", tags=["freezes"], summary="Freeze a scope: its next call is refused",
        description=(
            "In force with the answer: whatever is asked for afterwards, by whatever process, is a 402. What is frozen already stays as it is (200). "
            "Needs a key with the scope `admin`; one that belongs to a member freezes what the member may."
        ),
        parameters=[REPEATED], request={"application/json": FreezeIn},
        responses={
            (201, "application/json"): FreezeOut, (200, "application/json"): FreezeOut,
            **problems(s404="There is nothing of that name that the key's holder may freeze.", s409="The Idempotency-Key was used for another request.",
                       s422="The body is wrong: `field` says where."),
        },
        examples=[
            OpenApiExample("Switch a model off", value={"scope": "model", "name": "gpt-5", "reason": "leaks prompts"}, request_only=True),
            OpenApiExample("Frozen", value=EXAMPLE | {"notice": ""}, response_only=True, status_codes=["201", "200"]),
        ],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        require(self.actor, Right.FREEZE)

        def act() -> tuple[int, Any]:
            asked, since = body_of(request, FreezeIn), timezone.now()
            freeze = services.freeze_start(actor=self.actor, scope_kind=asked.scope, scope_key=asked.name, reason=asked.reason)
            notice = doubt_about(self.actor, scope_kind=asked.scope, name=asked.name)
            return 201 if freeze.started_at >= since else 200, shown(self.actor, freeze) | {"notice": notice}

        return self.answer(act)


class OneFreeze(FreezeView):
    """GET /api/v1/freezes/<id>."""

    @extend_schema(
        operation_id="freezes_get", tags=["freezes"], summary="One freeze",
        responses={(200, "application/json"): FreezeOut, **problems(s404="There is no such freeze that the key's holder may know of.")},
        examples=[OpenApiExample("It is over", value=ENDED, response_only=True, status_codes=["200"])],
    )  # fmt: skip
    def get(self, request: Request, freeze_id: int) -> Response:
        return Response(shown(self.actor, freeze_seen(self.actor, freeze_id)))


class EndOfFreeze(FreezeView):
    """POST /api/v1/freezes/<id>/end."""

    @extend_schema(
        operation_id="freezes_end", tags=["freezes"], summary="End a freeze: the next call may go on",
        description="As far as budgets and other freezes allow. One that is over stays as it is.",
        parameters=[REPEATED], request={"application/json": FreezeEnd},
        responses={
            (200, "application/json"): FreezeOut,
            **problems(s404="There is no such freeze that the key's holder may end.", s422="The body is wrong.",
                       s409="A budget holds it, which takes a grant or a higher limit; or the key was revoked, for good."),
        },
        examples=[
            OpenApiExample("It was fixed", value={"reason": "fixed by the vendor"}, request_only=True),
            OpenApiExample("Over", value=ENDED, response_only=True, status_codes=["200"]),
        ],
    )  # fmt: skip
    def post(self, request: Request, freeze_id: int) -> Response:
        require(self.actor, Right.FREEZE)

        def act() -> tuple[int, Any]:
            freeze = freeze_seen(self.actor, freeze_id)
            services.freeze_stop(actor=self.actor, freeze=freeze, reason=body_of(request, FreezeEnd).reason)
            return 200, shown(self.actor, freeze_seen(self.actor, freeze_id))

        return self.answer(act)


def _number(request: Request, name: str, default: int, *, most: int) -> int:
    """A number of the query from 1 to `most`. Raises Invalid."""
    given = request.query_params.get(name, str(default))
    if not (given.isascii() and given.isdecimal() and len(given) < 20 and 1 <= int(given) <= most):
        raise Invalid(f"`{name}` is a number from 1 to {most:,}.", field=name)
    return int(given)
