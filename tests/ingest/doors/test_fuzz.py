"""Whatever is posted, the door answers with a status it documents, counts what is good, and never breaks."""

import json
import os
from collections.abc import Iterator
from typing import Any, cast

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as some
from rest_framework.test import APIClient
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from governance.conf.wsgi import application
from ingest.models import UsageEvent
from tests.conftest import KeyInHand
from tests.ingest.doors.test_events import counts, send

pytestmark = pytest.mark.django_db
DOCUMENTED = {200, 201, 400, 409, 413, 415, 422}
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
anything = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text(max_size=20)
    | some.sampled_from([2**63, 1e308, "\x00", "\ud7ff"]),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = [
    "id",
    "request_id",
    "occurred_at",
    "model",
    "input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "units",
    "reported_cost",
    "tags",
    "session",
    "status",
]
odd_fields = some.dictionaries(some.sampled_from(NAMES), anything, max_size=4)


def is_json(value: object) -> bool:
    """JSON has no NaN and no Infinity, though Python writes them."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@settings(max_examples=EXAMPLES)
@given(changes=some.lists(odd_fields, min_size=1, max_size=5))
def test_odd_events_harm_no_good_one(api: APIClient, changes: list[dict[str, Any]]) -> None:
    before = UsageEvent.objects.count()
    good = {"occurred_at": timezone.now().isoformat(), "model": "gpt-5", "input_tokens": 1}
    events = [good | {"id": f"odd-{number}-{before}"} | change for number, change in enumerate(changes)]
    response = send(api, {"events": [*events, good | {"id": f"good-{before}"}]})
    if not is_json(changes):
        assert response.status_code == 400
        return
    answer = json.loads(response.content)
    assert response.status_code == 200
    assert answer["results"][-1]["status"] == "accepted"
    assert sum(counts(response)) == len(events) + 1
    assert UsageEvent.objects.count() == before + answer["accepted"]


@settings(max_examples=EXAMPLES)
@given(
    body=some.binary(max_size=200),
    content_type=some.sampled_from(["application/json", "application/x-ndjson", "application/x-protobuf", "text/plain"]),
)
@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/events/litellm", "/api/v1/events/claude-code", "/otlp/v1/logs", "/otlp/v1/metrics", "/otlp/v1/traces"])
def test_any_bytes_get_an_answer(api: APIClient, path: str, body: bytes, content_type: str) -> None:
    assert api.generic("POST", path, cast("str", body), content_type=content_type).status_code in DOCUMENTED


@pytest.fixture
def connection_kept() -> Iterator[None]:
    """Between requests a server closes connections it need not keep; the test's transaction lives on this one."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


schema = schemathesis.openapi.from_wsgi("/api/schema", application)


@schema.include(path_regex="^/api/v1/events$").parametrize()
@settings(max_examples=EXAMPLES)
@pytest.mark.usefixtures("connection_kept")
def test_the_description_and_the_door_agree(case: schemathesis.Case, api_key: KeyInHand) -> None:
    """What the schema calls an answer is one; what a batch's good and bad events are is for the tests above."""
    case.call_and_validate(
        headers={"Authorization": f"Bearer {api_key.secret}"},
        checks=[not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance],
    )
