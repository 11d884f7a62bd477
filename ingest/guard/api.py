"""API edge of the guard: what was found."""

from datetime import datetime
from typing import Any, ClassVar

import msgspec
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.budgets.views import newest_page
from governance.notices.links import session_link
from governance.tenancy.access import Actor
from governance.tenancy.models import Scope
from governance.tenancy.openapi import problems
from ingest.guard import selectors
from ingest.guard.tell import sentence

EXAMPLE = {
    "findings": [
        {
            "id": 15,
            "rule": "Repeated calls",
            "kind": "repeat",
            "session": "cc-7f31d04b92ae",
            "at": "2026-11-21T19:51:40Z",
            "said": "The same call 12 times among 12: claude-opus-4-8 with about 61,012 tokens in and 900 out, 3.93 USD together.",
            "evidence": {
                "calls": 12, "of_calls": 12, "since": "2026-11-21T19:22:40Z", "model": "claude-opus-4-8", "amount": "3.93046", "context_tokens": 61012, "output_tokens": 900,
            },
            "action": "ask",
            "is_stopped": True,
            "url": "https://weighhouse.example.com/o/acme/sessions/cc-7f31d04b92ae",
        }
    ],
    "next": None,
}  # fmt: skip


class FindingOut(msgspec.Struct, frozen=True, kw_only=True):
    """A session that a rule found."""

    id: int
    rule: str
    kind: str
    session: str
    at: datetime
    said: str
    evidence: dict[str, Any]
    action: str
    is_stopped: bool
    url: str

    field_notes: ClassVar[dict[str, str]] = {
        "at": "The call with which the rule held.",
        "said": "The evidence in a sentence.",
        "evidence": "The figures that show it, by the kind of rule; amounts are texts, in USD.",
        "is_stopped": "Whether the session's calls are refused because of it now.",
    }


class FindingsOut(msgspec.Struct, frozen=True):
    """Findings, latest first; `next` goes into `before` for those that are older, null at the end."""

    findings: list[FindingOut]
    next: int | None


class Findings(APIView):
    """GET /api/v1/guard/findings."""

    scope = Scope.READ

    @extend_schema(
        operation_id="guard_findings",
        tags=["guard"],
        summary="What the runaway guard found",
        parameters=[
            OpenApiParameter("session", str, description="Only in the session with this key."),
            OpenApiParameter("before", int, description="Only findings made before that with this id: the `next` of the page before."),
        ],
        responses={(200, "application/json"): FindingsOut, **problems(422)},
        examples=[OpenApiExample("A loop", response_only=True, status_codes=["200"], value=EXAMPLE)],
    )
    def get(self, request: Request) -> Response:
        actor = request.user
        if not isinstance(actor, Actor):
            raise TypeError("this view is reached with an API key only")
        rows = selectors.findings_visible(actor)
        if session := request.query_params.get("session", ""):
            rows = rows.filter(session_key=session)
        found, following = newest_page(request, rows)
        return Response({"findings": [_facts(actor, one) for one in found], "next": following})


def _facts(actor: Actor, found: Any) -> dict[str, Any]:
    return {
        "id": found.pk, "rule": found.rule.name, "kind": found.rule.kind, "session": found.session_key, "at": found.at,
        "said": sentence(found.rule.kind, found.evidence, actor.organization.zone), "evidence": found.evidence, "action": found.action,
        "is_stopped": found.is_standing, "url": session_link(actor.organization.slug, found.session_key),
    }  # fmt: skip
