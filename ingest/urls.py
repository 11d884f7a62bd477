"""Addresses of the API in ingest, and of its description."""

from django.urls import path

from ingest.attributing import api as attribution
from ingest.doors.collector import collector_file
from ingest.doors.description import description, description_page
from ingest.doors.events import EventsDoor
from ingest.doors.otlp import LogsDoor, MetricsDoor, TracesDoor
from ingest.doors.records import RecordsDoor
from ingest.doors.settle import SettleDoor
from ingest.guard.api import Findings
from ingest.importing import api as importing
from ingest.once import api as once
from ingest.quarantine import api as quarantine
from ingest.rerating import api as rerating

urlpatterns = [
    path("api/v1/events", EventsDoor.as_view(), name="api-events"),
    path("api/v1/events/<slug:format_name>", RecordsDoor.as_view(), name="api-events-format"),
    path("api/v1/authorizations/<uuid:authorization_id>/settle", SettleDoor.as_view(), name="api-authorization-settle"),
    path("api/v1/calls/<uuid:call_id>/reports", once.CallReportsView.as_view(), name="api-call-reports"),
    path("api/v1/calls/<uuid:call_id>/reports/<int:sighting_id>/split", once.CallSplit.as_view(), name="api-call-split"),
    path("api/v1/calls/<uuid:call_id>/join", once.CallJoin.as_view(), name="api-call-join"),
    path("api/v1/call-pairs", once.CallPairs.as_view(), name="api-call-pairs"),
    path("api/v1/call-pairs/<int:pair_id>/join", once.CallPairJoin.as_view(), name="api-call-pair-join"),
    path("api/v1/call-pairs/<int:pair_id>/keep-apart", once.CallPairApart.as_view(), name="api-call-pair-apart"),
    path("api/v1/order-of-trust", once.TrustOrder.as_view(), name="api-order-of-trust"),
    path("api/v1/coverage", once.CoverageView.as_view(), name="api-coverage"),
    path("api/v1/guard/findings", Findings.as_view(), name="api-guard-findings"),
    path("api/v1/imports", importing.Imports.as_view(), name="api-imports"),
    path("api/v1/imports/<int:import_id>", importing.Import.as_view(), name="api-import"),
    path("api/v1/imports/<int:import_id>/preview", importing.ImportPreview.as_view(), name="api-import-preview"),
    path("api/v1/imports/<int:import_id>/refused", importing.ImportRefused.as_view(), name="api-import-refused"),
    path("api/v1/imports/<int:import_id>/start", importing.ImportStart.as_view(), name="api-import-start"),
    path("api/v1/imports/<int:import_id>/pause", importing.ImportPause.as_view(), name="api-import-pause"),
    path("api/v1/imports/<int:import_id>/cancel", importing.ImportCancel.as_view(), name="api-import-cancel"),
    path("api/v1/imports/<int:import_id>/undo", importing.ImportUndo.as_view(), name="api-import-undo"),
    path("api/v1/quarantine", quarantine.Inputs.as_view(), name="api-quarantine"),
    path("api/v1/quarantine/kinds", quarantine.Kinds.as_view(), name="api-quarantine-kinds"),
    path("api/v1/quarantine/replay", quarantine.KindReplay.as_view(), name="api-quarantine-replay"),
    path("api/v1/quarantine/<int:rejected_id>", quarantine.Input.as_view(), name="api-quarantine-input"),
    path("api/v1/quarantine/<int:rejected_id>/replay", quarantine.InputReplay.as_view(), name="api-quarantine-input-replay"),
    path("api/v1/quarantine-rules", quarantine.Rules.as_view(), name="api-quarantine-rules"),
    path("api/v1/quarantine-rules/try", quarantine.RuleTry.as_view(), name="api-quarantine-rule-try"),
    path("api/v1/quarantine-rules/<int:mending_id>", quarantine.Rule.as_view(), name="api-quarantine-rule"),
    path("api/v1/rerating-runs", rerating.Runs.as_view(), name="api-rerating-runs"),
    path("api/v1/rerating-runs/<int:run_id>", rerating.Run.as_view(), name="api-rerating-run"),
    path("api/v1/rerating-runs/<int:run_id>/start", rerating.RunStart.as_view(), name="api-rerating-run-start"),
    path("api/v1/rerating-runs/<int:run_id>/pause", rerating.RunPause.as_view(), name="api-rerating-run-pause"),
    path("api/v1/rerating-runs/<int:run_id>/cancel", rerating.RunCancel.as_view(), name="api-rerating-run-cancel"),
    path("api/v1/attribution-rules", attribution.AttributionRules.as_view(), name="api-attribution-rules"),
    path("api/v1/attribution-rules/order", attribution.AttributionOrder.as_view(), name="api-attribution-order"),
    path("api/v1/attribution-rules/test", attribution.AttributionTest.as_view(), name="api-attribution-test"),
    path("api/v1/attribution-rules/try", attribution.AttributionTry.as_view(), name="api-attribution-try"),
    path("api/v1/attribution-rules/<int:attribution_id>", attribution.AttributionRuleOne.as_view(), name="api-attribution-rule"),
    path("api/v1/attribution-runs", attribution.AttributionRuns.as_view(), name="api-attribution-runs"),
    path("api/v1/attribution-runs/<int:attribution_run_id>", attribution.AttributionRun.as_view(), name="api-attribution-run"),
    path(
        "api/v1/attribution-runs/<int:attribution_run_id>/start",
        attribution.AttributionRunStart.as_view(),
        name="api-attribution-run-start",
    ),
    path(
        "api/v1/attribution-runs/<int:attribution_run_id>/pause",
        attribution.AttributionRunPause.as_view(),
        name="api-attribution-run-pause",
    ),
    path(
        "api/v1/attribution-runs/<int:attribution_run_id>/cancel",
        attribution.AttributionRunCancel.as_view(),
        name="api-attribution-run-cancel",
    ),
    path("api/v1/members", attribution.Members.as_view(), name="api-members"),
    path("api/v1/members/<int:member_id>/aliases", attribution.MemberAliases.as_view(), name="api-member-aliases"),
    path("api/v1/months", rerating.Months.as_view(), name="api-months"),
    path("api/v1/months/<str:month>/close", rerating.Closing.as_view(), name="api-month-close"),
    path("api/v1/months/<str:month>/reopen", rerating.Reopening.as_view(), name="api-month-reopen"),
    path("otlp/v1/logs", LogsDoor.as_view(), name="otlp-logs"),
    path("otlp/v1/metrics", MetricsDoor.as_view(), name="otlp-metrics"),
    path("otlp/v1/traces", TracesDoor.as_view(), name="otlp-traces"),
    path("collector.pyz", collector_file, name="collector-file"),
    path("api/schema", description, name="api-schema"),
    path("api/docs", description_page, name="api-docs"),
]
