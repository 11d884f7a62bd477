"""API edge of quarantine: what is kept, its kinds, sending it through again, and rules that mend it."""

from typing import Any

import msgspec
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from governance.audit.services import plain
from governance.budgets.views import CommandView, body_of, newest_page
from governance.errors import Invalid, NotFound
from governance.tenancy.access import Right, require
from governance.tenancy.models import Scope
from governance.tenancy.openapi import problems
from ingest.formats.event import Outcome
from ingest.models import RejectedInput
from ingest.quarantine import services, shapes
from ingest.quarantine.mending import Fix
from ingest.quarantine.models import QuarantineRule
from ingest.quarantine.selectors import COUNTED, Kind, kinds_of, rule_try, rules_visible
from ingest.rejections import rejected_input_get, rejected_inputs, rejected_replay

NARROWED_BY = ("door", "code", "field", "kind")
KIND_IN = {"door": "rest", "code": "unknown_field", "field": "user_name"}
INPUT: dict[str, Any] = {
    "id": 41, "kind": "rejected", **KIND_IN, "reason": "user_name is no field of an event.", "is_whole": True, "received_at": "2026-11-21T10:00:00Z", "replayed_at": None,
    "replay_outcome": "", "call": None, "differs": [],
}  # fmt: skip
RULE_IN: dict[str, Any] = {"action": "rename", "field": "user_name", "target": "member"}
RULE: dict[str, Any] = {
    "id": 3, **RULE_IN, "value": "", "was": "", "door": "", "is_active": True, "made_by": "admin@acme.example", "created_at": "2026-11-21T10:05:00Z", "mended": 0,
    "mended_at": None,
}  # fmt: skip
TRIED: dict[str, Any] = {
    "kept": 12, "changed": 12, "counted": 12,
    "examples": [{"before": '{"model":"gpt-5","user_name":"anna"}', "after": '{"model":"gpt-5","member":"anna"}', "why_not": ""}],
}  # fmt: skip
RULE_EXAMPLES = [OpenApiExample("Another name", request_only=True, value=RULE_IN), OpenApiExample("A rule", response_only=True, value=RULE)]


class QuarantineView(CommandView):
    """All of it is for who manages the organization, looking as well: what is kept names people."""

    @property
    def scope(self) -> str:
        return Scope.ADMIN

    def rule_of(self, rule_id: int) -> QuarantineRule:
        rule = rules_visible(self.actor).filter(pk=rule_id).first()
        if rule is None:
            raise NotFound("There is no such rule.")
        return rule


class Inputs(QuarantineView):
    """GET /api/v1/quarantine."""

    @extend_schema(
        operation_id="quarantine", summary="What came in and was not counted, newest first",
        parameters=[
            OpenApiParameter("door", str, description="Only what came in by this door."),
            OpenApiParameter("code", str, description="Only what was refused for this."),
            OpenApiParameter("field", str, description="Only where this field is to blame."),
            OpenApiParameter("kind", str, description="Only rejected, conflict or envelope."),
            OpenApiParameter("waiting", str, enum=["1"], description="1: only what was not counted by a replay since."),
            OpenApiParameter("before", int, description="Only inputs kept before that with this id: the `next` of the page before."),
        ],
        responses={(200, "application/json"): shapes.QuarantineInputsOut, **problems(422)},
        examples=[OpenApiExample("Inputs", response_only=True, value={"inputs": [INPUT], "next": None})],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        asked = request.query_params
        rows = rejected_inputs(self.actor).filter(**{name: asked[name] for name in NARROWED_BY if name in asked})
        if asked.get("waiting", "") not in ("", "1"):
            raise Invalid("Say 1, or leave it out.", field="waiting")
        rows = rows.exclude(replay_outcome__in=COUNTED) if asked.get("waiting") else rows
        found, following = newest_page(request, rows.defer("payload"))
        return Response({"inputs": [input_out(row) for row in found], "next": following})


class Kinds(QuarantineView):
    """GET /api/v1/quarantine/kinds."""

    @extend_schema(
        operation_id="quarantine_kinds", summary="What waits by its kind, the most of it first", responses={(200, "application/json"): shapes.QuarantineKindsOut},
        examples=[OpenApiExample("Kinds", response_only=True, value={"kinds": [{**KIND_IN, "number": 12, "mendable": 12, "sendable": 12, "last_at": "2026-11-21T10:00:00Z"}]})],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        return Response({"kinds": kinds_of(self.actor)})


class Input(QuarantineView):
    """GET /api/v1/quarantine/<id>."""

    @extend_schema(
        operation_id="quarantine_input", summary="One kept input with what is kept of it", responses={(200, "application/json"): shapes.QuarantinePayloadOut, **problems(404)},
        examples=[OpenApiExample("An input", response_only=True, value={**INPUT, "payload": '{"id":"call-1","model":"gpt-5","user_name":"anna"}'})],
    )  # fmt: skip
    def get(self, request: Request, rejected_id: int) -> Response:
        row = rejected_input_get(self.actor, rejected_id)
        return Response({**input_out(row), "payload": bytes(row.payload).decode("utf-8", "replace")})


class InputReplay(QuarantineView):
    """POST /api/v1/quarantine/<id>/replay."""

    @extend_schema(
        operation_id="quarantine_input_replay", summary="Send a kept input through its door again", request=shapes.QuarantineReplayIn,
        responses={(200, "application/json"): shapes.QuarantineReplayOut, **problems(404, 409, 422)},
        examples=[
            OpenApiExample("As it was kept", request_only=True, value={}),
            OpenApiExample("Counted", response_only=True, value={
                "input": {**INPUT, "replayed_at": "2026-11-21T10:06:00Z", "replay_outcome": "accepted"},
                "results": [{"status": "accepted", "code": "", "reason": "", "field": ""}],
            }),
        ],
        description="The rules in force are applied first. What was counted already is a duplicate, never counted twice; 409 where the input was counted by a replay before.",
    )  # fmt: skip
    def post(self, request: Request, rejected_id: int) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)

        def act() -> tuple[int, Any]:
            corrected = body_of(request, shapes.QuarantineReplayIn).corrected
            row = rejected_input_get(self.actor, rejected_id)
            outcomes = rejected_replay(actor=self.actor, rejected=row, corrected=corrected)
            return 200, plain({"input": input_out(rejected_input_get(self.actor, rejected_id)), "results": [outcome_out(one) for one in outcomes]})

        return self.answer(act)


class KindReplay(QuarantineView):
    """POST /api/v1/quarantine/replay."""

    @extend_schema(
        operation_id="quarantine_replay", summary="Send all kept inputs of a kind through again", request=shapes.QuarantineKindIn,
        responses={(200, "application/json"): shapes.QuarantineKindReplayOut, **problems(422)},
        examples=[OpenApiExample("A kind", request_only=True, value=KIND_IN), OpenApiExample("How it went", response_only=True, value={"counted": 12, "refused": 0, "incomplete": 0, "left": 0})],
        description=f"Oldest first, up to {services.MOST_AT_ONCE} at a time, each by itself. Asking again harms nothing: what was counted is not tried again.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        found = services.kind_replay(actor=self.actor, kind=kind_of(body_of(request, shapes.QuarantineKindIn)))
        return Response({name: found[name] for name in ("counted", "refused", "incomplete", "left")})


class Rules(QuarantineView):
    """GET and POST /api/v1/quarantine-rules."""

    @extend_schema(
        operation_id="quarantine_rules", summary="Rules that mend what would be refused, in their order",
        responses={(200, "application/json"): shapes.QuarantineRulesOut}, examples=[OpenApiExample("Rules", response_only=True, value={"rules": [RULE]})],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        return Response({"rules": [rule_out(rule) for rule in rules_visible(self.actor)]})

    @extend_schema(
        operation_id="quarantine_rule_create", summary="Add a rule behind the others", request=shapes.QuarantineRuleIn,
        responses={(201, "application/json"): shapes.QuarantineRuleOut, **problems(409, 422)},
        examples=[OpenApiExample("Another name", request_only=True, value=RULE_IN), OpenApiExample("A rule", response_only=True, status_codes=["201"], value=RULE)],
        description="In force at once for what comes in from now on; what is kept is mended when it is replayed.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)

        def act() -> tuple[int, Any]:
            facts = msgspec.structs.asdict(body_of(request, shapes.QuarantineRuleIn))
            is_active = facts.pop("is_active")
            rule = services.rule_create(actor=self.actor, **facts)
            return 201, plain(rule_out(rule if is_active else services.rule_switch(actor=self.actor, rule_id=rule.pk, is_active=False)))

        return self.answer(act)


class Rule(QuarantineView):
    """GET, PUT and DELETE /api/v1/quarantine-rules/<id>."""

    @extend_schema(
        operation_id="quarantine_rule", summary="One rule", responses={(200, "application/json"): shapes.QuarantineRuleOut, **problems(404)}, examples=RULE_EXAMPLES[1:]
    )  # fmt: skip
    def get(self, request: Request, mending_id: int) -> Response:
        return Response(rule_out(self.rule_of(mending_id)))

    @extend_schema(
        operation_id="quarantine_rule_change", summary="Change a rule, or switch it on or off", request=shapes.QuarantineRuleIn,
        responses={(200, "application/json"): shapes.QuarantineRuleOut, **problems(404, 409, 422)}, examples=RULE_EXAMPLES,
        description="For what comes in from now on. What it mended stays counted.",
    )  # fmt: skip
    def put(self, request: Request, mending_id: int) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        facts = msgspec.structs.asdict(body_of(request, shapes.QuarantineRuleIn))
        return Response(rule_out(services.rule_change(actor=self.actor, rule_id=mending_id, **facts)))

    @extend_schema(operation_id="quarantine_rule_delete", summary="Take a rule out of the list for good", responses={204: None, **problems(404)})
    def delete(self, request: Request, mending_id: int) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        services.rule_delete(actor=self.actor, rule_id=mending_id)
        return Response(status=204)


class RuleTry(QuarantineView):
    """POST /api/v1/quarantine-rules/try."""

    @extend_schema(
        operation_id="quarantine_rule_try", summary="What a rule would do to what is kept", request=shapes.QuarantineTryIn,
        responses={(200, "application/json"): shapes.QuarantineTryOut, **problems(422)},
        examples=[OpenApiExample("A rule", request_only=True, value={"rule": RULE_IN, "kind": KIND_IN}), OpenApiExample("What it would do", response_only=True, value=TRIED)],
        description="Nothing is changed. The rule is applied after those in force, to the newest 500 of what waits.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        given = body_of(request, shapes.QuarantineTryIn)
        facts = msgspec.structs.asdict(given.rule)
        del facts["is_active"]
        services.rule_check(**facts)
        kind = None if given.kind is None else kind_of(given.kind)
        tried = rule_try(self.actor, Fix(0, **facts), services.fixes_of(self.actor.organization.pk), kind)
        examples = [dict(zip(("before", "after", "why_not"), one, strict=True)) for one in tried.examples]
        return Response({"kept": tried.kept, "changed": tried.changed, "counted": tried.counted, "examples": examples})


def kind_of(given: shapes.QuarantineKindIn) -> Kind:
    return Kind(given.door, given.code, given.field)


def input_out(row: RejectedInput) -> dict[str, Any]:
    names = ("id", "kind", "door", "code", "field", "reason", "is_whole", "received_at", "replayed_at", "replay_outcome")
    return {**{name: getattr(row, name) for name in names}, "call": row.call_id, "differs": row.differs}


def outcome_out(outcome: Outcome) -> dict[str, Any]:
    return {name: getattr(outcome, name) or "" for name in ("status", "code", "reason", "field")}


def rule_out(rule: QuarantineRule) -> dict[str, Any]:
    names = ("id", "action", "field", "target", "value", "was", "door", "is_active", "created_at", "mended", "mended_at")
    return {**{name: getattr(rule, name) for name in names}, "made_by": rule.maker_label}
