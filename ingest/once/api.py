"""API edge of counting once: reports of a call, calls split and joined, pairs that wait, whose figures stand, and coverage."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from governance.audit.services import plain
from governance.budgets.views import CommandView, body_of, newest_page
from governance.errors import Invalid
from governance.tenancy.access import Actor, Right, require
from governance.tenancy.models import Scope
from governance.tenancy.openapi import problems
from ingest.models import UsageEvent
from ingest.once import examples, selectors, services, shapes
from ingest.once.selectors import BY, Coverage, Described, shares_of
from ingest.once.settling import trust_of
from ingest.once.sources import TRUST, door_of, kind_of, shown_of

MOST_GROUPS = 1_000
# It reads every call of the window.
LONGEST_WINDOW = timedelta(days=31)
WINDOW = timedelta(days=1)
IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER,
    description="1 to 200 printable characters: the same request under the same key is answered as the first time, for a day.",
)  # fmt: skip


class CallReportsView(CommandView):
    """GET /api/v1/calls/<id>/reports."""

    @extend_schema(
        operation_id="call_reports", summary="Who reported a call, by what each report was recognised, and in what it differs",
        responses={(200, "application/json"): shapes.CallReports, **problems(404)},
        examples=[OpenApiExample("Told of twice", response_only=True, value=examples.REPORTS)],
    )  # fmt: skip
    def get(self, request: Request, call_id: UUID) -> Response:
        return Response(reports_out(self.actor, selectors.call_now(self.actor, call_id)))


class CallSplit(CommandView):
    """POST /api/v1/calls/<id>/reports/<report>/split."""

    @extend_schema(
        operation_id="call_split", summary="Count a report as a call of its own", request=shapes.SplitIn, parameters=[IDEMPOTENCY],
        responses={(200, "application/json"): shapes.SplitOut, **problems(404, 409, 422)},
        examples=[OpenApiExample("Why", request_only=True, value=examples.SPLIT_IN), OpenApiExample("Two calls", response_only=True, value=examples.SPLIT)],
        description="What shares an id with the report goes with it. All sums and budgets move at once, and nothing joins the two again but a person.",
    )  # fmt: skip
    def post(self, request: Request, call_id: UUID, sighting_id: int) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)

        def act() -> tuple[int, Any]:
            reason = body_of(request, shapes.SplitIn).reason
            call = selectors.call_now(self.actor, call_id)
            _, new = services.call_split(actor=self.actor, event_id=call.id, sighting_id=sighting_id, reason=reason)
            return 200, {"call": str(call.id), "new": str(new)}

        return self.answer(act)


class CallJoin(CommandView):
    """POST /api/v1/calls/<id>/join."""

    @extend_schema(
        operation_id="call_join", summary="Make one call of two", request=shapes.JoinIn, parameters=[IDEMPOTENCY],
        responses={(200, "application/json"): shapes.JoinOut, **problems(404, 409, 422)},
        examples=[OpenApiExample("The same call", request_only=True, value=examples.JOIN_IN), OpenApiExample("One call", response_only=True, value=examples.JOIN)],
        description="409 where one source reports both under an id each: those are two calls. All sums and budgets move at once.",
    )  # fmt: skip
    def post(self, request: Request, call_id: UUID) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)

        def act() -> tuple[int, Any]:
            given = body_of(request, shapes.JoinIn)
            _, stays = services.calls_join(actor=self.actor, first=call_id, second=given.other, reason=given.reason)
            return 200, {"call": str(stays)}

        return self.answer(act)


class PairView(CommandView):
    """Pairs are for who manages the organization, looking as well."""

    @property
    def scope(self) -> str:
        return Scope.ADMIN


class CallPairs(PairView):
    """GET /api/v1/call-pairs."""

    @extend_schema(
        operation_id="call_pairs", summary="Pairs of calls that may be one and wait for somebody to decide, latest first",
        parameters=[
            OpenApiParameter("session", str, description="Only in the session with this key."),
            OpenApiParameter("before", int, description="Only pairs noted before that with this id: the `next` of the page before."),
        ],
        responses={(200, "application/json"): shapes.CallPairs, **problems(422)},
        examples=[OpenApiExample("A pair", response_only=True, value=examples.PAIRS)],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        rows = selectors.pairs_undecided(self.actor, session=request.query_params.get("session") or None)
        found, following = newest_page(request, rows)
        described = selectors.pairs_described(self.actor, found)
        return Response({"pairs": [pair_out(one) for one in described], "next": following})


class CallPairJoin(PairView):
    """POST /api/v1/call-pairs/<id>/join."""

    @extend_schema(
        operation_id="call_pair_join", summary="The two calls of a pair are one", request=None, parameters=[IDEMPOTENCY],
        responses={(200, "application/json"): shapes.JoinOut, **problems(404, 409, 422)},
        examples=[OpenApiExample("One call", response_only=True, value=examples.JOIN)],
    )  # fmt: skip
    def post(self, request: Request, pair_id: int) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)

        def act() -> tuple[int, Any]:
            return 200, {"call": str(services.pair_join_by_hand(actor=self.actor, pair_id=pair_id)[1])}

        return self.answer(act)


class CallPairApart(PairView):
    """POST /api/v1/call-pairs/<id>/keep-apart."""

    @extend_schema(
        operation_id="call_pair_keep_apart", summary="The two calls of a pair are two", request=None, parameters=[IDEMPOTENCY],
        responses={(200, "application/json"): shapes.PairDecided, **problems(404, 409, 422)},
        examples=[OpenApiExample("Two calls", response_only=True, value={"id": 12, "state": "apart"})],
        description="Nothing joins them from then on but a person.",
    )  # fmt: skip
    def post(self, request: Request, pair_id: int) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)

        def act() -> tuple[int, Any]:
            pair = services.pair_keep_apart(actor=self.actor, pair_id=pair_id)
            return 200, {"id": pair.pk, "state": str(pair.state)}

        return self.answer(act)


class TrustOrder(CommandView):
    """GET and PUT /api/v1/order-of-trust."""

    @extend_schema(
        operation_id="trust_order", summary="Whose figures stand where reports of a call differ", responses={(200, "application/json"): shapes.TrustOut},
        examples=[OpenApiExample("As it is without an order of one's own", response_only=True, value=examples.TRUST_OUT)],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        require(self.actor, Right.VIEW_SPEND)
        return Response(trust_out(self.actor))

    @extend_schema(
        operation_id="trust_order_set", summary="Say whose figures stand where reports of a call differ", request=shapes.TrustIn, parameters=[IDEMPOTENCY],
        responses={(200, "application/json"): shapes.TrustOut, **problems(422)},
        examples=[OpenApiExample("The gateway first", request_only=True, value=examples.TRUST_IN), OpenApiExample("Ordered", response_only=True, value=examples.TRUSTED)],
        description="For reports that come from then on; what was counted stays.",
    )  # fmt: skip
    def put(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)

        def act() -> tuple[int, Any]:
            services.trust_order(actor=self.actor, kinds=body_of(request, shapes.TrustIn).kinds)
            return 200, trust_out(self.actor)

        return self.answer(act)


class CoverageQuery(serializers.Serializer[dict[str, Any]]):
    """The parameters of coverage."""

    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    by = serializers.ChoiceField(choices=sorted(BY), default="door")
    session = serializers.CharField(required=False, allow_blank=True, max_length=200, default="")
    door = serializers.CharField(required=False, allow_blank=True, max_length=80, default="")


class CoverageView(CommandView):
    """GET /api/v1/coverage."""

    @extend_schema(
        operation_id="coverage", summary="How many calls a gateway told of, a harness, or both",
        parameters=[
            OpenApiParameter("since", datetime, description="The first call may be made then (RFC 3339). A day before `until` when absent."),
            OpenApiParameter("until", datetime, description="The last call was made before then; now when absent. At most 31 days after `since`."),
            OpenApiParameter("by", str, enum=sorted(BY), description="What to tell apart. `door`, as without it: all calls are one group."),
            OpenApiParameter("session", str, description="Only calls of the session with this key."),
            OpenApiParameter("door", str, description="Only calls that a report of this format told of, such as litellm."),
        ],
        responses={(200, "application/json"): shapes.CoverageOut, **problems(422)},
        examples=[OpenApiExample("By harness", response_only=True, value=examples.COVERAGE)],
        description="Reads the calls of the window: ask for a day or a week. Calls of teams that the key's member does not see are left out.",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        require(self.actor, Right.VIEW_SPEND)
        query = CoverageQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        since, until = window_of(asked.get("since"), asked.get("until"), timezone.now())
        found = selectors.coverage(
            self.actor, since=since, until=until, by=asked["by"], session=asked["session"] or None, door=asked["door"] or None
        )
        return Response(coverage_out(found) | {"since": since, "until": until, "by": asked["by"]})


def window_of(since: datetime | None, until: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """The window asked for. Raises Invalid for one that is empty or too long."""
    ends = until or now
    try:
        begins = since or ends - WINDOW
    except OverflowError:
        begins = ends
    if not (begins < ends and ends - begins <= LONGEST_WINDOW):
        raise Invalid(f"A window begins before it ends and has at most {LONGEST_WINDOW.days} days.", field="since")
    return begins, ends


def coverage_out(found: Sequence[Coverage]) -> dict[str, Any]:
    """Coverage as the API shows it: all of it, and each group's."""
    groups: dict[str, list[Coverage]] = {}
    for one in found:
        groups.setdefault(one.group, []).append(one)
    listed = sorted((group_out(name, rows) for name, rows in groups.items()), key=lambda one: (-one["calls"], one["group"]))
    return {"total": group_out("", found), "groups": listed[:MOST_GROUPS], "is_cut": len(listed) > MOST_GROUPS}


def group_out(name: str, rows: Sequence[Coverage]) -> dict[str, Any]:
    shares, sources = shares_of(rows), dict[str, int]()
    for row in rows:
        key = "+".join(row.sources)
        sources[key] = sources.get(key, 0) + row.calls
    return {
        "group": name, "calls": shares.calls, "both": shares.both, "gateway_only": shares.gateway_only, "harness_only": shares.harness_only,
        "other": shares.other, "sources": sources,
    }  # fmt: skip


def reports_out(actor: Actor, call: UsageEvent) -> dict[str, Any]:
    """A call's reports as the API shows them."""
    reports = [report_out(one, selectors.differences(one, call)) for one in selectors.sightings_of_call(actor, call.id)]
    if not reports:
        source = selectors.source_of_call(actor, call)
        reports = [{
            "id": None, "source": shown_of(source), "kind": kind_of(source), "door": door_of(source), "how": "first", "own_id": call.request_id or call.external_id,
            "reported_at": call.occurred_at, "seen_at": call.received_at, "differs": [],
        }]  # fmt: skip
    return {"call": str(call.id), "occurred_at": call.occurred_at, "session": call.session, "model": call.model, "reports": reports}


def report_out(one: Any, differs: Sequence[tuple[str, Any, Any]]) -> dict[str, Any]:
    return {
        "id": one.pk, "source": shown_of(one.source), "kind": kind_of(one.source), "door": door_of(one.source), "how": one.how, "own_id": one.own_id,
        "reported_at": one.reported_at, "seen_at": one.seen_at,
        "differs": [{"field": name, "reported": str(said), "counted": None if counted is None else str(plain(counted))} for name, said, counted in differs],
    }  # fmt: skip


def pair_out(one: Described) -> dict[str, Any]:
    """A pair as the API shows it."""
    calls = [_pair_call(call, sources) for call, sources in zip(one.calls, one.sources, strict=True)]
    return {"id": one.pair.pk, "session": one.pair.session, "noted_at": one.pair.noted_at, "calls": calls}


def _pair_call(call: Any, sources: Sequence[str]) -> dict[str, Any]:
    counts = {name: getattr(call, name) for name in examples.COUNTS}
    cost = None if call.cost is None else str(plain(call.cost))
    return {
        "call": str(call.id),
        "occurred_at": call.occurred_at,
        "provider": call.provider,
        "model": call.model,
        "sources": sorted(set(map(shown_of, sources))),
        **counts,
        "cost": cost,
    }


def trust_out(actor: Actor) -> dict[str, Any]:
    kinds = trust_of(actor.organization.pk)
    return {"kinds": list(kinds), "is_default": tuple(kinds) == TRUST}
