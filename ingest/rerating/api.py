"""API edge of re-rating: runs made, looked at and steered; months closed and reopened."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar

import msgspec
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from governance.audit.services import plain
from governance.budgets.views import CommandView, body_of, newest_page, zoned
from governance.tenancy.access import Right, require
from governance.tenancy.models import MonthClose
from governance.tenancy.months import month_close, month_named, month_reopen
from governance.tenancy.openapi import problems
from ingest.rerating import services
from ingest.rerating.models import ReratingRun
from ingest.rerating.selectors import months_closed, months_posted, run_get, runs_visible

Name = Annotated[str, msgspec.Meta(max_length=200)]
STEPS = {"start": services.run_start, "pause": services.run_pause, "cancel": services.run_cancel}


class RunIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The calls that are to be priced anew, and why."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    starts_at: datetime
    ends_at: datetime
    providers: Annotated[list[Name], msgspec.Meta(max_length=50)] = []
    models: Annotated[list[Name], msgspec.Meta(max_length=50)] = []
    team_ids: Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=2**53)]], msgspec.Meta(max_length=50)] = []
    only_unpriced: bool = False

    field_notes: ClassVar[dict[str, str]] = {
        "starts_at": "The first call may be made then (RFC 3339, with its offset).",
        "ends_at": "The last call was made before then; at most 400 days later.",
        "models": "As the price book or as calls name them. Empty: all.",
        "team_ids": "Teams by id, with those below. Empty: every call.",
        "only_unpriced": "Whether calls that have a price are left alone.",
    }


class RunOut(msgspec.Struct, frozen=True, kw_only=True):
    """A run: how far it is, and what it changed."""

    id: int
    state: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    providers: list[str]
    models: list[str]
    team_ids: list[int]
    only_unpriced: bool
    made_by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    events_total: int | None
    events_seen: int
    events_changed: int
    cost_before: str
    cost_after: str
    preview: dict[str, Any] | None

    field_notes: ClassVar[dict[str, str]] = {
        "state": "previewing, ready (start it), running, paused, done, cancelled or failed.",
        "cost_before": "Of the calls changed, as far as they had a cost, in the organization's currency.",
        "preview": "What the run would change: events, delta, by month, team and budget, with what would freeze or thaw. Null until it is worked out.",
    }


class RunsOut(msgspec.Struct, frozen=True):
    """Runs, newest first; `next` goes into `before` for older ones, null at the end."""

    runs: list[RunOut]
    next: int | None


class MonthIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a month is closed or reopened."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]


class MonthOut(msgspec.Struct, frozen=True, kw_only=True):
    """A close of a month."""

    month: str
    closed_at: datetime
    closed_by: str
    reason: str
    reopened_at: datetime | None
    reopened_by: str
    reopen_reason: str


class PostedOut(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted later for a closed month."""

    month: str
    because: str
    reference: str
    calls: int
    cost: str

    field_notes: ClassVar[dict[str, str]] = {"because": "The reason of the run or correction; empty for calls that came when the month was closed.", "reference": "Such as `run 12`."}


class MonthsOut(msgspec.Struct, frozen=True):
    """Closes of months, latest month first, and what was counted later for them."""

    months: list[MonthOut]
    posted: list[PostedOut]


EXAMPLE_IN = {
    "reason": "The provider corrected its price list", "starts_at": "2026-11-01T00:00:00+01:00", "ends_at": "2026-11-21T00:00:00+01:00", "providers": ["anthropic"],
    "models": ["claude-sonnet-4-5"],
}  # fmt: skip
EXAMPLE = {
    "id": 12, "state": "ready", **EXAMPLE_IN, "starts_at": "2026-10-31T23:00:00Z", "ends_at": "2026-11-20T23:00:00Z", "team_ids": [], "only_unpriced": False,
    "made_by": "Iris Varga", "created_at": "2026-11-21T20:01:00Z", "started_at": None, "ended_at": None, "events_total": 18211, "events_seen": 18211,
    "events_changed": 0, "cost_before": "0", "cost_after": "0",
    "preview": {"events": 18211, "before": "182.11", "after": "91.055", "delta": "-91.055", "months": [], "teams": [], "budgets": []},
}  # fmt: skip
EXAMPLE_MONTHS: dict[str, list[dict[str, Any]]] = {
    "months": [{
        "month": "2026-10", "closed_at": "2026-11-05T09:00:00Z", "closed_by": "Iris Varga", "reason": "Reported", "reopened_at": None, "reopened_by": "", "reopen_reason": "",
    }],
    "posted": [{"month": "2026-10", "because": "The provider corrected its price list", "reference": "run 12", "calls": 4, "cost": "-0.31"}],
}  # fmt: skip
RUN_RESPONSES = {(200, "application/json"): RunOut, **problems(404, 409, 422)}
RUN_EXAMPLE = OpenApiExample("A run", response_only=True, value=EXAMPLE)


class Runs(CommandView):
    """GET and POST /api/v1/rerating-runs."""

    @extend_schema(
        operation_id="rerating_runs", summary="Re-rating runs, newest first",
        parameters=[OpenApiParameter("before", int, description="Only runs made before that with this id: the `next` of the page before.")],
        responses={(200, "application/json"): RunsOut, **problems(422)},
        examples=[OpenApiExample("Runs", response_only=True, value={"runs": [EXAMPLE], "next": None})],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        rows = runs_visible(self.actor)
        found, following = newest_page(request, rows)
        return Response({"runs": [run_out(run) for run in found], "next": following})

    @extend_schema(
        operation_id="rerating_run_create", summary="Price stored calls anew: work out what would change", request=RunIn,
        responses={(201, "application/json"): RunOut, **problems(422)},
        examples=[OpenApiExample("A corrected list", request_only=True, value=EXAMPLE_IN), OpenApiExample("A run", response_only=True, status_codes=["201"], value=EXAMPLE)],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_PRICES)
        given = body_of(request, RunIn)
        zoned(given, "starts_at", "ends_at")
        run = services.run_create(
            actor=self.actor, reason=given.reason, starts_at=given.starts_at, ends_at=given.ends_at, providers=given.providers, models=given.models,
            team_ids=given.team_ids, is_unpriced_only=given.only_unpriced,
        )  # fmt: skip
        return Response(run_out(run), status=201)


class Run(CommandView):
    """GET /api/v1/rerating-runs/<id>."""

    @extend_schema(operation_id="rerating_run", summary="One re-rating run with its preview and progress", responses=RUN_RESPONSES, examples=[RUN_EXAMPLE])
    def get(self, request: Request, run_id: int) -> Response:
        return Response(run_out(run_get(self.actor, run_id)))


class RunStep(CommandView):
    """One step of a run: start (or go on), pause, cancel."""

    step = ""

    @extend_schema(
        summary="Start, pause or cancel a re-rating run", request=None, responses=RUN_RESPONSES, examples=[RUN_EXAMPLE],
        description="`start` applies what was worked out, or goes on after a pause. What a cancelled run has changed stays changed. 409 says why a step cannot be taken now.",
    )  # fmt: skip
    def post(self, request: Request, run_id: int) -> Response:
        require(self.actor, Right.MANAGE_PRICES)
        STEPS[self.step](actor=self.actor, run=run_get(self.actor, run_id))
        return Response(run_out(run_get(self.actor, run_id)))


@extend_schema_view(post=extend_schema(operation_id="rerating_run_start"))
class RunStart(RunStep):
    """POST /api/v1/rerating-runs/<id>/start."""

    step = "start"


@extend_schema_view(post=extend_schema(operation_id="rerating_run_pause"))
class RunPause(RunStep):
    """POST /api/v1/rerating-runs/<id>/pause."""

    step = "pause"


@extend_schema_view(post=extend_schema(operation_id="rerating_run_cancel"))
class RunCancel(RunStep):
    """POST /api/v1/rerating-runs/<id>/cancel."""

    step = "cancel"


class Months(CommandView):
    """GET /api/v1/months."""

    @extend_schema(
        operation_id="months", summary="Closed months, and what was counted later for them", responses={(200, "application/json"): MonthsOut},
        examples=[OpenApiExample("A closed month", response_only=True, value=EXAMPLE_MONTHS)],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        runs_visible(self.actor)
        posted = [
            {"month": f"{row.month:%Y-%m}", "because": row.cause, "reference": row.reference, "calls": row.calls, "cost": plain(row.cost)} for row in months_posted(self.actor)
        ]
        return Response({"months": [month_out(row) for row in months_closed(self.actor)], "posted": posted})


class MonthStep(CommandView):
    """Closing or reopening a month."""

    is_closing = True

    @extend_schema(
        summary="Close or reopen a month", request=MonthIn,
        responses={(200, "application/json"): MonthOut, **problems(404, 422)},
        parameters=[OpenApiParameter("month", str, OpenApiParameter.PATH, description="Such as 2026-10, in the organization's time zone.")],
        examples=[
            OpenApiExample("Why", request_only=True, value={"reason": "Reported"}), OpenApiExample("Closed", response_only=True, value=EXAMPLE_MONTHS["months"][0]),
        ],
    )  # fmt: skip
    def post(self, request: Request, month: str) -> Response:
        require(self.actor, Right.CLOSE_MONTHS)
        change = month_close if self.is_closing else month_reopen
        return Response(month_out(change(actor=self.actor, month=month_named(month), reason=body_of(request, MonthIn).reason)))


@extend_schema_view(post=extend_schema(operation_id="month_close"))
class Closing(MonthStep):
    """POST /api/v1/months/<month>/close."""


@extend_schema_view(post=extend_schema(operation_id="month_reopen"))
class Reopening(MonthStep):
    """POST /api/v1/months/<month>/reopen."""

    is_closing = False


def run_out(run: ReratingRun) -> dict[str, Any]:
    """A run as the API shows it."""
    return {
        "id": run.pk, "state": run.state, "reason": run.reason, "starts_at": run.starts_at, "ends_at": run.ends_at, "providers": run.providers,
        "models": run.model_names, "team_ids": run.team_ids, "only_unpriced": run.is_unpriced_only, "made_by": run.maker_label, "created_at": run.created_at,
        "started_at": run.started_at, "ended_at": run.ended_at, "events_total": run.events_total, "events_seen": run.events_seen,
        "events_changed": run.events_changed, "cost_before": _text(run.cost_before), "cost_after": _text(run.cost_after), "preview": run.preview,
    }  # fmt: skip


def _text(amount: Decimal | int) -> str:
    return str(plain(Decimal(amount)))


def month_out(row: MonthClose) -> dict[str, Any]:
    """A close of a month as the API shows it."""
    return {
        "month": f"{row.month:%Y-%m}", "closed_at": row.closed_at, "closed_by": str(row.closed_by or ""), "reason": row.reason, "reopened_at": row.reopened_at,
        "reopened_by": str(row.reopened_by or ""), "reopen_reason": row.reopen_reason,
    }  # fmt: skip
