"""API edge of imports: a file sent, its mapping, its first rows, the steps of its import, and the rows that were refused."""

import tempfile
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any, ClassVar, Literal

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from governance.audit.services import plain
from governance.budgets.views import CommandView, body_of, newest_page, number_asked
from governance.tenancy.access import Right, require
from governance.tenancy.models import Scope
from governance.tenancy.openapi import problems
from ingest.doors.body import PIECE, raw_pieces
from ingest.formats.batch import Unsupported
from ingest.importing import files, services
from ingest.importing.models import ImportRun
from ingest.importing.selectors import import_get, import_preview, imports_visible, refusals_of

PAGE = 500
STEPS = {"start": services.import_start, "pause": services.import_pause, "cancel": services.import_cancel, "undo": services.import_undo}
ENCODINGS = ("", "identity", "gzip", "x-gzip")


class ImportMeaningIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of the mapping changes; what is left out stays. `columns` and `constants` are given as a whole."""

    columns: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    constants: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    time_zone: str | msgspec.UnsetType = msgspec.UNSET
    date_order: Literal["ymd", "dmy", "mdy"] | msgspec.UnsetType = msgspec.UNSET
    decimal: Literal[".", ","] | msgspec.UnsetType = msgspec.UNSET
    is_input_whole: bool | msgspec.UnsetType = msgspec.UNSET
    are_totals: bool | msgspec.UnsetType = msgspec.UNSET


class ImportMapIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the columns mean, or how the file is written: another encoding or delimiter has the mapping guessed anew."""

    meaning: ImportMeaningIn | None = None
    encoding: str = ""
    delimiter: str = ""


class ImportOut(msgspec.Struct, frozen=True, kw_only=True):
    """An import: how its file is read, how far it is, and what came of it."""

    id: int
    state: str
    file_name: str
    digest: str
    bytes: int
    encoding: str
    is_lines: bool
    delimiter: str
    headers: list[str]
    read_as: str
    meaning: dict[str, Any]
    made_by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    lines: int
    rows_seen: int
    rows_accepted: int
    rows_duplicate: int
    rows_rejected: int
    rows_empty: int
    events_accepted: int
    why_paused: str
    events_removed: int
    events_posted: int
    events_kept: int
    cost_undone: str

    field_notes: ClassVar[dict[str, str]] = {
        "state": "ready (look at it and start it), running, paused, done, cancelled, undoing or undone.",
        "read_as": "The product whose export it is known as; empty where the columns are of no known one.",
        "meaning": "What columns mean, such as {“columns”: {“day”: “occurred_at”}}.",
        "rows_rejected": "Refused rows and conflicts; `refused` lists them.",
        "rows_empty": "Totals of nothing.",
        "events_kept": "That another source told of as well: they stay, as that one told them.",
        "events_posted": "Of closed months: they stay, and their cost was taken back in the open one.",
    }


class ImportsOut(msgspec.Struct, frozen=True):
    """Imports, newest first; `next` goes into `before` for older ones, null at the end."""

    imports: list[ImportOut]
    next: int | None


class ImportLookOut(msgspec.Struct, frozen=True, kw_only=True):
    """One of the first rows as it would be counted."""

    row: int
    status: str
    reason: str
    events: int
    cost: str | None
    event: dict[str, Any] | None


class ImportPreviewOut(msgspec.Struct, frozen=True):
    """The first rows, or the `problem` for which none can be read."""

    rows: list[ImportLookOut]
    problem: str


class ImportRefusalOut(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was not counted."""

    row: int
    line: int
    code: str
    field: str
    reason: str
    value: str


class ImportRefusalsOut(msgspec.Struct, frozen=True):
    """Refused rows in the file's order; `next` goes into `after`, null at the end."""

    refused: list[ImportRefusalOut]
    next: int | None


EXAMPLE: dict[str, Any] = {
    "id": 4, "state": "ready", "file_name": "october.csv", "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "bytes": 120, "encoding": "utf-8",
    "is_lines": False, "delimiter": ",", "headers": ["day", "model", "input_tokens"], "read_as": "",
    "meaning": {"columns": {"day": "occurred_at", "model": "model", "input_tokens": "input_tokens"}, "time_zone": "UTC", "date_order": "ymd", "decimal": "."},
    "made_by": "admin@acme.example", "created_at": "2026-11-21T10:00:00Z", "started_at": None, "ended_at": None, "lines": 2, "rows_seen": 0, "rows_accepted": 0, "rows_duplicate": 0,
    "rows_rejected": 0, "rows_empty": 0, "events_accepted": 0, "why_paused": "", "events_removed": 0, "events_posted": 0, "events_kept": 0, "cost_undone": "0",
}  # fmt: skip
EXAMPLE_ROW: dict[str, Any] = {
    "row": 1, "status": "accepted", "reason": "", "events": 1, "cost": "0.003", "event": {"occurred_at": "2026-11-20T12:00:00Z", "model": "claude-sonnet-4-5", "input_tokens": 1000, "id": "row-9f86"},
}  # fmt: skip
EXAMPLE_REFUSED = {
    "row": 2,
    "line": 3,
    "code": "invalid_field",
    "field": "input_tokens",
    "reason": "A whole number is expected.",
    "value": "x",
}
RESPONSES = {(200, "application/json"): ImportOut, **problems(404, 409, 422)}
RUN_EXAMPLE = OpenApiExample("An import", response_only=True, value=EXAMPLE)


class ImportView(CommandView):
    """All of it is for who manages the organization, looking as well: files name people."""

    parser_classes = ()

    @property
    def scope(self) -> str:
        return Scope.ADMIN


class Imports(ImportView):
    """GET and POST /api/v1/imports."""

    @extend_schema(
        operation_id="imports", summary="Imports of files, newest first",
        parameters=[OpenApiParameter("before", int, description="Only imports made before that with this id: the `next` of the page before.")],
        responses={(200, "application/json"): ImportsOut, **problems(422)}, examples=[OpenApiExample("Imports", response_only=True, value={"imports": [EXAMPLE], "next": None})],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        found, following = newest_page(request, imports_visible(self.actor))
        return Response({"imports": [import_out(run) for run in found], "next": following})

    @extend_schema(
        operation_id="import_create", summary="Send a file to import",
        description=(
            "The body is the file: a table with its headers in the first row, or one JSON object per line; gzip is unpacked, also without Content-Encoding. "
            f"{files.MOST_BYTES // 1024**2} MiB as it is sent, {files.MOST_UNPACKED // 1024**2} MiB unpacked, {files.MOST_OPEN} open at a time. Nothing is counted before `start`."
        ),
        parameters=[OpenApiParameter("name", str, description="The file's name, to find it again.")],
        request={"text/csv": OpenApiTypes.STR, "application/x-ndjson": OpenApiTypes.STR, "application/gzip": OpenApiTypes.BINARY},
        responses={(201, "application/json"): ImportOut, **problems(400, 409, 411, 413, 415, 422)},
        examples=[
            OpenApiExample("A table", request_only=True, media_type="text/csv", value="day,model,input_tokens\n2026-11-20,claude-sonnet-4-5,1000\n"),
            OpenApiExample("An import", response_only=True, status_codes=["201"], value=EXAMPLE),
        ],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_ORGANIZATION)
        if request.headers.get("Content-Encoding", "").strip().lower() not in ENCODINGS:
            raise Unsupported("unsupported_encoding", "A file is taken as it is, or compressed with gzip.")
        with tempfile.TemporaryFile() as file:
            # On disk first: whoever sends slowly keeps no transaction open.
            for piece in raw_pieces(request._request, files.MOST_BYTES):
                file.write(piece)
            file.seek(0)
            run = services.import_create(actor=self.actor, file_name=request.query_params.get("name", ""), sent=_pieces(file))
        return Response(import_out(run), status=201)


class Import(ImportView):
    """GET and PATCH /api/v1/imports/<id>."""

    @extend_schema(
        operation_id="import", summary="One import with its mapping, progress and result", responses=RESPONSES, examples=[RUN_EXAMPLE]
    )
    def get(self, request: Request, import_id: int) -> Response:
        return Response(import_out(import_get(self.actor, import_id)))

    @extend_schema(
        operation_id="import_map", summary="Say what the columns of a waiting import mean", request=ImportMapIn, responses=RESPONSES,
        examples=[OpenApiExample("A mapping", request_only=True, value={"meaning": {"columns": {"day": "occurred_at", "model": "model", "input_tokens": "input_tokens"}}}), RUN_EXAMPLE],
    )  # fmt: skip
    def patch(self, request: Request, import_id: int) -> Response:
        given = body_of(request, ImportMapIn)
        run = import_get(self.actor, import_id)
        changes = (
            None
            if given.meaning is None
            else {name: value for name, value in msgspec.structs.asdict(given.meaning).items() if value is not msgspec.UNSET}
        )
        services.import_map(actor=self.actor, run=run, changes=changes, encoding=given.encoding, delimiter=given.delimiter)
        return Response(import_out(import_get(self.actor, import_id)))


class ImportPreview(ImportView):
    """GET /api/v1/imports/<id>/preview."""

    @extend_schema(
        operation_id="import_preview", summary="The first rows as they would be counted", responses={(200, "application/json"): ImportPreviewOut, **problems(404, 409)},
        examples=[OpenApiExample("Rows", response_only=True, value={"rows": [EXAMPLE_ROW], "problem": ""})],
    )  # fmt: skip
    def get(self, request: Request, import_id: int) -> Response:
        preview = import_preview(self.actor, import_get(self.actor, import_id))
        rows = [
            {
                "row": row.number, "status": row.status, "reason": row.reason, "events": row.parts, "cost": None if row.cost is None else str(plain(row.cost)),
                "event": None if row.event is None else msgspec.to_builtins(row.event),
            }
            for row in preview.rows
        ]  # fmt: skip
        return Response({"rows": rows, "problem": preview.problem})


class ImportRefused(ImportView):
    """GET /api/v1/imports/<id>/refused."""

    @extend_schema(
        operation_id="import_refused", summary="The rows of an import that were not counted",
        parameters=[OpenApiParameter("after", int, description="Only rows after this one: the `next` of the page before.")],
        responses={(200, "application/json"): ImportRefusalsOut, **problems(404, 422)},
        examples=[OpenApiExample("Rows", response_only=True, value={"refused": [EXAMPLE_REFUSED], "next": None})],
    )  # fmt: skip
    def get(self, request: Request, import_id: int) -> Response:
        rows = refusals_of(import_get(self.actor, import_id)).filter(row__gt=number_asked(request, "after") or 0)
        found = list(rows[: PAGE + 1])
        listed = [{name: getattr(row, name) for name in ("row", "line", "code", "field", "reason", "value")} for row in found[:PAGE]]
        return Response({"refused": listed, "next": found[PAGE - 1].row if len(found) > PAGE else None})


class ImportStep(ImportView):
    """One step of an import: start (or go on), pause, cancel, undo."""

    step = ""

    @extend_schema(
        summary="Start, pause, cancel or undo an import", request=None, responses=RESPONSES, examples=[RUN_EXAMPLE],
        description="`start` counts the rows, or goes on after a pause. `undo` takes back exactly the events that the import stored. 409 says why a step cannot be taken now.",
    )  # fmt: skip
    def post(self, request: Request, import_id: int) -> Response:
        STEPS[self.step](actor=self.actor, run=import_get(self.actor, import_id))
        return Response(import_out(import_get(self.actor, import_id)))


@extend_schema_view(post=extend_schema(operation_id="import_start"))
class ImportStart(ImportStep):
    """POST /api/v1/imports/<id>/start."""

    step = "start"


@extend_schema_view(post=extend_schema(operation_id="import_pause"))
class ImportPause(ImportStep):
    """POST /api/v1/imports/<id>/pause."""

    step = "pause"


@extend_schema_view(post=extend_schema(operation_id="import_cancel"))
class ImportCancel(ImportStep):
    """POST /api/v1/imports/<id>/cancel."""

    step = "cancel"


@extend_schema_view(post=extend_schema(operation_id="import_undo"))
class ImportUndo(ImportStep):
    """POST /api/v1/imports/<id>/undo."""

    step = "undo"


def import_out(run: ImportRun) -> dict[str, Any]:
    """An import as the API shows it."""
    same = (
        "state", "file_name", "digest", "encoding", "is_lines", "delimiter", "headers", "meaning", "created_at", "started_at", "ended_at", "rows_seen", "rows_accepted",
        "rows_duplicate", "rows_rejected", "rows_empty", "events_accepted", "why_paused", "events_removed", "events_posted", "events_kept",
    )  # fmt: skip
    facts = {name: getattr(run, name) for name in same}
    return {
        "id": run.pk,
        "bytes": run.bytes_total,
        "lines": run.lines_total,
        "read_as": run.export,
        "made_by": run.maker_label,
        "cost_undone": str(plain(run.cost_undone)),
        **facts,
    }


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece
