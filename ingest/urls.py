"""Addresses of the API in ingest, and of its description."""

from django.urls import path

from ingest.doors.description import description, description_page
from ingest.doors.events import EventsDoor
from ingest.doors.otlp import LogsDoor, MetricsDoor, TracesDoor
from ingest.doors.records import RecordsDoor
from ingest.doors.settle import SettleDoor
from ingest.guard.api import Findings

urlpatterns = [
    path("api/v1/events", EventsDoor.as_view(), name="api-events"),
    path("api/v1/events/<slug:format_name>", RecordsDoor.as_view(), name="api-events-format"),
    path("api/v1/authorizations/<uuid:authorization_id>/settle", SettleDoor.as_view(), name="api-authorization-settle"),
    path("api/v1/guard/findings", Findings.as_view(), name="api-guard-findings"),
    path("otlp/v1/logs", LogsDoor.as_view(), name="otlp-logs"),
    path("otlp/v1/metrics", MetricsDoor.as_view(), name="otlp-metrics"),
    path("otlp/v1/traces", TracesDoor.as_view(), name="otlp-traces"),
    path("api/schema", description, name="api-schema"),
    path("api/docs", description_page, name="api-docs"),
]
