"""API edge of attribution: rules written, ordered, tried and tested; history attributed anew; members' names in usage."""

from typing import Any

import msgspec
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from governance.attribution.explaining import Explained
from governance.attribution.models import AttributionRule
from governance.attribution.services import rule_change, rule_create, rule_retire, rules_order
from governance.audit.services import plain
from governance.budgets.views import CommandView, body_of, newest_page, zoned
from governance.errors import Invalid
from governance.tenancy.access import Actor, Right, require, scoped
from governance.tenancy.models import Member, Project, Scope, Team
from governance.tenancy.openapi import problems
from governance.tenancy.services import alias_add, alias_remove
from ingest.attributing import shapes
from ingest.attributing.selectors import allocation_of, members_named, rule_get, rules_visible, strangers
from ingest.attributing.services import KIND, attribution_run_create, rule_try
from ingest.attributing.testing import event_explained, event_read
from ingest.rerating.api import STEPS
from ingest.rerating.api import run_out as rerating_out
from ingest.rerating.models import ReratingRun
from ingest.rerating.selectors import run_get, runs_visible

RULE_IN: dict[str, Any] = {
    "name": "The shop's repository", "conditions": [{"field": "repository", "op": "is", "values": ["acme/shop"]}], "team": "platform", "task_class": "code",
}  # fmt: skip
RULE: dict[str, Any] = {
    "id": 3, "position": 1, **RULE_IN, "overrides": False, "project": "", "role": "", "environment": "", "billing_mode": "", "starts_at": None, "ends_at": None,
    "is_active": True,
}  # fmt: skip
RUN_IN: dict[str, Any] = {
    "reason": "The shop has a rule now",
    "starts_at": "2026-11-01T00:00:00+01:00",
    "ends_at": "2026-11-21T00:00:00+01:00",
}
RUN: dict[str, Any] = {
    "id": 12, "state": "ready", **RUN_IN, "team_ids": [], "moves_owners": False, "draft": None, "made_by": "Iris Varga", "created_at": "2026-11-21T20:01:00Z",
    "started_at": None, "ended_at": None, "events_total": 18211, "events_seen": 18211, "events_changed": 0, "cost_before": "0", "cost_after": "0",
    "preview": {"events": 211, "moves": [{"month": "2026-11", "from": "", "to": "Platform", "events": 211, "before": "18.2", "after": "18.2"}], "fields": {"team_id": 211}},
}  # fmt: skip
MEMBER = {"id": 7, "email": "mira@acme.example", "name": "Mira Kovač", "team": "platform", "aliases": ["mira@home.example"]}
RULE_RESPONSES = {(200, "application/json"): shapes.AttributionRuleOut, **problems(404, 409, 422)}
RULE_EXAMPLE = OpenApiExample("A rule", response_only=True, value=RULE)
RUN_RESPONSES = {(200, "application/json"): shapes.AttributionRunOut, **problems(404, 409, 422)}
RUN_EXAMPLE = OpenApiExample("A run", response_only=True, value=RUN)
MEMBER_RESPONSES = {(200, "application/json"): shapes.MemberNames, **problems(404, 409, 422)}
MEMBER_EXAMPLE = OpenApiExample("A member", response_only=True, value=MEMBER)


def rule_fields(actor: Actor, given: shapes.AttributionRuleIn) -> dict[str, Any]:
    """The rule as services name it. Raises Invalid for a team or project that is not here."""
    found = {
        name: getattr(given, name)
        for name in ("name", "role", "task_class", "environment", "billing_mode", "starts_at", "ends_at", "is_active")
    }
    owners = {name: _named(actor, model, getattr(given, name), field=name) for name, model in (("team", Team), ("project", Project))}
    return {**found, **owners, "is_overriding": given.overrides, "conditions": [msgspec.structs.asdict(one) for one in given.conditions]}


def _named(actor: Actor, model: type[Team] | type[Project], slug: str, *, field: str) -> Any:
    if not slug:
        return None
    row = model.objects.filter(organization=actor.organization, slug=slug).first() if "\0" not in slug else None
    if row is None:
        raise Invalid(f"There is no {field} {slug} here.", field=field)
    return row


class AttributionRules(CommandView):
    """GET and POST /api/v1/attribution-rules."""

    @extend_schema(
        operation_id="attribution_rules", summary="Attribution rules in their order", responses={(200, "application/json"): shapes.AttributionRulesOut},
        examples=[OpenApiExample("Rules", response_only=True, value={"items": [RULE], "allocated_share": "0.9375"})],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        items = [rule_out(rule) for rule in rules_visible(self.actor)]
        share = allocation_of(self.actor).share
        return Response({"items": items, "allocated_share": None if share is None else str(round(share, 6))})

    @extend_schema(
        operation_id="attribution_rule_create", summary="Add a rule behind the others", request=shapes.AttributionRuleIn,
        responses={(201, "application/json"): shapes.AttributionRuleOut, **problems(409, 422)},
        examples=[OpenApiExample("By repository", request_only=True, value=RULE_IN), OpenApiExample("A rule", response_only=True, status_codes=["201"], value=RULE)],
        description="It holds for calls stored from now on; a run attributes those stored before.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)

        def act() -> tuple[int, Any]:
            return 201, plain(
                rule_out(rule_create(actor=self.actor, **rule_fields(self.actor, body_of(request, shapes.AttributionRuleIn))))
            )

        return self.answer(act)


class AttributionRuleOne(CommandView):
    """GET, PUT and DELETE /api/v1/attribution-rules/<id>."""

    @extend_schema(operation_id="attribution_rule", summary="One attribution rule", responses=RULE_RESPONSES, examples=[RULE_EXAMPLE])
    def get(self, request: Request, attribution_id: int) -> Response:
        return Response(rule_out(rule_get(self.actor, attribution_id)))

    @extend_schema(
        operation_id="attribution_rule_change", summary="Change a rule for calls stored from now on", request=shapes.AttributionRuleIn, responses=RULE_RESPONSES,
        examples=[OpenApiExample("By repository", request_only=True, value=RULE_IN), RULE_EXAMPLE],
    )  # fmt: skip
    def put(self, request: Request, attribution_id: int) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        rule = rule_get(self.actor, attribution_id)
        rule_change(actor=self.actor, rule=rule, **rule_fields(self.actor, body_of(request, shapes.AttributionRuleIn)))
        return Response(rule_out(rule_get(self.actor, attribution_id)))

    @extend_schema(
        operation_id="attribution_rule_retire", summary="Take a rule out of the list for good", responses={204: None, **problems(404)}
    )
    def delete(self, request: Request, attribution_id: int) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        rule_retire(actor=self.actor, rule=rule_get(self.actor, attribution_id))
        return Response(status=204)


class AttributionOrder(CommandView):
    """PUT /api/v1/attribution-rules/order."""

    @extend_schema(
        operation_id="attribution_rules_order", summary="Put the rules in another order", request=shapes.AttributionOrderIn,
        responses={(200, "application/json"): shapes.AttributionOrderIn, **problems(422)},
        examples=[OpenApiExample("Two rules", value={"rule_ids": [4, 3]})],
    )  # fmt: skip
    def put(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        given = body_of(request, shapes.AttributionOrderIn)
        rules_order(actor=self.actor, rule_ids=given.rule_ids)
        return Response({"rule_ids": given.rule_ids})


class AttributionTest(CommandView):
    """POST /api/v1/attribution-rules/test."""

    @extend_schema(
        operation_id="attribution_rules_test", summary="Try the rules on an event", request=shapes.AttributionTestIn,
        responses={(200, "application/json"): shapes.AttributionTestOut, **problems(422)},
        examples=[
            OpenApiExample("An event", request_only=True, value={"event": {"model": "claude-sonnet-4-5", "tags": {"repository": "acme/shop"}}}),
            OpenApiExample("What they make of it", response_only=True, value={
                "decided": [{"what": "team", "value": "platform", "by": "The shop's repository", "rule_id": 3}],
                "rules": [{
                    "rule_id": 3, "name": "The shop's repository", "is_in_force": True, "matches": True,
                    "conditions": [{"condition": "Repository is acme/shop", "said": "acme/shop", "holds": True}], "sets": [{"what": "team", "result": "sets it"}],
                }],
            }),
        ],
        description="Nothing is stored. The event is taken to have come with the key that asks.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        given = body_of(request, shapes.AttributionTestIn)
        _, explained = event_explained(self.actor, event_read(msgspec.json.encode(given.event)), key=self.actor.api_key)
        return Response(explained_out(self.actor, explained))


class AttributionTry(CommandView):
    """POST /api/v1/attribution-rules/try."""

    @extend_schema(
        operation_id="attribution_rule_try", summary="Work out what a rule would move of the last 30 days", request=shapes.AttributionRuleIn,
        responses={(201, "application/json"): shapes.AttributionRunOut, **problems(422)},
        examples=[OpenApiExample("By repository", request_only=True, value=RULE_IN), OpenApiExample("A run", response_only=True, status_codes=["201"], value=RUN)],
        description="The rule is not saved. The run that comes back is worked out and cannot be started.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        run = rule_try(actor=self.actor, **rule_fields(self.actor, body_of(request, shapes.AttributionRuleIn)))
        return Response(run_out(run), status=201)


class AttributionRuns(CommandView):
    """GET and POST /api/v1/attribution-runs."""

    @extend_schema(
        operation_id="attribution_runs", summary="Runs over history, newest first",
        parameters=[OpenApiParameter("before", int, description="Only runs made before that with this id: the `next` of the page before.")],
        responses={(200, "application/json"): shapes.AttributionRunsOut, **problems(422)},
        examples=[OpenApiExample("Runs", response_only=True, value={"runs": [RUN], "next": None})],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        rows = runs_visible(self.actor, kind=KIND)
        found, following = newest_page(request, rows)
        return Response({"runs": [run_out(run) for run in found], "next": following})

    @extend_schema(
        operation_id="attribution_run_create", summary="Attribute stored calls anew: work out what would move", request=shapes.AttributionRunIn,
        responses={(201, "application/json"): shapes.AttributionRunOut, **problems(422)},
        examples=[OpenApiExample("This month", request_only=True, value=RUN_IN), OpenApiExample("A run", response_only=True, status_codes=["201"], value=RUN)],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        given = body_of(request, shapes.AttributionRunIn)
        zoned(given, "starts_at", "ends_at")
        run = attribution_run_create(
            actor=self.actor,
            reason=given.reason,
            starts_at=given.starts_at,
            ends_at=given.ends_at,
            team_ids=given.team_ids,
            moves_owners=given.moves_owners,
        )
        return Response(run_out(run), status=201)


class AttributionRun(CommandView):
    """GET /api/v1/attribution-runs/<id>."""

    @extend_schema(
        operation_id="attribution_run",
        summary="One run over history with its preview and progress",
        responses=RUN_RESPONSES,
        examples=[RUN_EXAMPLE],
    )
    def get(self, request: Request, attribution_run_id: int) -> Response:
        return Response(run_out(run_get(self.actor, attribution_run_id, kind=KIND)))


class AttributionRunStep(CommandView):
    """One step of a run: start (or go on), pause, cancel."""

    step = ""

    @extend_schema(
        summary="Start, pause or cancel a run over history", request=None, responses=RUN_RESPONSES, examples=[RUN_EXAMPLE],
        description="`start` applies what was worked out, or goes on after a pause. What a cancelled run has changed stays changed. 409 says why a step cannot be taken now.",
    )  # fmt: skip
    def post(self, request: Request, attribution_run_id: int) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        STEPS[self.step](actor=self.actor, run=run_get(self.actor, attribution_run_id, kind=KIND))
        return Response(run_out(run_get(self.actor, attribution_run_id, kind=KIND)))


@extend_schema_view(post=extend_schema(operation_id="attribution_run_start"))
class AttributionRunStart(AttributionRunStep):
    """POST /api/v1/attribution-runs/<id>/start."""

    step = "start"


@extend_schema_view(post=extend_schema(operation_id="attribution_run_pause"))
class AttributionRunPause(AttributionRunStep):
    """POST /api/v1/attribution-runs/<id>/pause."""

    step = "pause"


@extend_schema_view(post=extend_schema(operation_id="attribution_run_cancel"))
class AttributionRunCancel(AttributionRunStep):
    """POST /api/v1/attribution-runs/<id>/cancel."""

    step = "cancel"


class Members(CommandView):
    """GET /api/v1/members."""

    @property
    def scope(self) -> str:
        return Scope.ADMIN

    @extend_schema(
        operation_id="members", summary="Members with their names in usage, and people unknown here", responses={(200, "application/json"): shapes.MembersOut},
        examples=[OpenApiExample("Members", response_only=True, value={"items": [MEMBER], "unknown": [{"name": "mira@elsewhere.example", "calls": 12, "likely": 7}]})],
        description="Takes the admin scope: it is a list of people.",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        unknown = [{"name": one.name, "calls": one.calls, "likely": one.likely and one.likely.pk} for one in strangers(self.actor)]
        return Response({"items": [member_out(member) for member in members_named(self.actor)], "unknown": unknown})


class MemberAliases(CommandView):
    """POST and DELETE /api/v1/members/<id>/aliases."""

    @extend_schema(
        operation_id="member_alias_add", summary="Let usage name a member so as well", request=shapes.AliasIn, responses=MEMBER_RESPONSES,
        examples=[OpenApiExample("An address", request_only=True, value={"alias": "mira@home.example"}), MEMBER_EXAMPLE],
        description="It holds for calls stored from now on; a run over history brings those stored before. 409: somebody else goes by it.",
    )  # fmt: skip
    def post(self, request: Request, member_id: int) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        member = alias_add(actor=self.actor, member_id=member_id, alias=body_of(request, shapes.AliasIn).alias)
        return Response(member_out(member))

    @extend_schema(
        operation_id="member_alias_remove", summary="Take a name in usage off a member", responses=MEMBER_RESPONSES, examples=[MEMBER_EXAMPLE],
        parameters=[OpenApiParameter("alias", str, required=True, description="The name; one that the member does not go by changes nothing.")],
    )  # fmt: skip
    def delete(self, request: Request, member_id: int) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        return Response(member_out(alias_remove(actor=self.actor, member_id=member_id, alias=request.query_params.get("alias", ""))))


def rule_out(rule: AttributionRule) -> dict[str, Any]:
    """A rule as the API shows it."""
    return {
        "id": rule.pk, "position": rule.position, "name": rule.name, "conditions": rule.conditions, "overrides": rule.is_overriding,
        "team": rule.team.slug if rule.team else "", "project": rule.project.slug if rule.project else "", "role": rule.role, "task_class": rule.task_class,
        "environment": rule.environment, "billing_mode": rule.billing_mode, "starts_at": rule.starts_at, "ends_at": rule.ends_at, "is_active": rule.is_active,
    }  # fmt: skip


def run_out(run: ReratingRun) -> dict[str, Any]:
    """A run as the API shows it."""
    found = {name: value for name, value in rerating_out(run).items() if name not in ("providers", "models", "only_unpriced")}
    return found | {"moves_owners": run.moves_owners, "draft": run.draft}


def member_out(member: Member) -> dict[str, Any]:
    """A member as the API shows it."""
    return {
        "id": member.pk,
        "email": member.user.email,
        "name": member.user.name,
        "team": member.team.slug if member.team else "",
        "aliases": member.aliases,
    }


def decided_values(actor: Actor, explained: Explained) -> dict[str, str]:
    """What was decided, by what: team and project by slug."""
    decision = explained.decision
    team = scoped(actor, Team.objects.filter(pk=decision.who.team_id)).first() if decision.who.team_id else None
    project = scoped(actor, Project.objects.filter(pk=decision.who.project_id)).first() if decision.who.project_id else None
    labels = {name: getattr(decision, name) for name in ("role", "task_class", "environment", "billing_mode")}
    return {"team": team.slug if team else "", "project": project.slug if project else "", **labels}


def explained_out(actor: Actor, explained: Explained) -> dict[str, Any]:
    """The decision and its reasons as the API shows them."""
    values = decided_values(actor, explained)
    return {
        "decided": [{"what": name, "value": values[name], "by": by, "rule_id": explained.decision.by.get(name)} for name, by in explained.by],
        "rules": [
            {
                "rule_id": line.rule_id, "name": line.name, "is_in_force": line.is_in_force, "matches": line.matches,
                "conditions": [{"condition": one.words, "said": one.said, "holds": one.holds} for one in line.conditions],
                "sets": [{"what": name, "result": result} for name, result in line.sets],
            }
            for line in explained.lines
        ],
    }  # fmt: skip
