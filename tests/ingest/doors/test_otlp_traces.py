"""The traces door over several requests: what wraps a call counts once with it, in whatever order the two come."""

import json
import threading
from itertools import permutations
from typing import Any, cast

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from governance.tenancy.models import Organization
from ingest.models import RejectedInput, SpanSeen, UsageEvent
from ingest.signals.nested import REMEMBERED
from ingest.tasks import signals_forget
from tests.conftest import KeyInHand, client_with, key_of
from tests.ingest.telemetry_made import NOON, SECOND, request, span

pytestmark = pytest.mark.django_db
NOW = int(timezone.now().timestamp()) * SECOND
NAMELESS: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o",
    "llm.token_count.prompt": 1500,
    "llm.token_count.completion": 200,
}
NAMED = NAMELESS | {"output.value": '{"id": "chatcmpl-Abcdef123456"}'}
SCOPE = "openinference.instrumentation.openai"


def send(api: APIClient, *spans: dict[str, Any], scope: str = SCOPE) -> Any:
    """Posts them as if they had ended now."""
    body = request((scope, spans))
    for old in {found for one in spans for found in (one["startTimeUnixNano"], one["endTimeUnixNano"])}:
        body = body.replace(old.encode(), str(NOW - NOON + int(old) - 60 * SECOND).encode())
    response = api.generic("POST", "/otlp/v1/traces", cast("str", body), content_type="application/json")
    assert response.status_code == 200
    return json.loads(response.content)


WRAPPER = span(NAMELESS, number=1, end=2)
WRAPPED = span(NAMED, number=2, parent=1)


def test_a_wrapper_in_another_request_than_its_call_does_not_count(api: APIClient) -> None:
    assert send(api, WRAPPED) == send(api, WRAPPER) == {}
    assert UsageEvent.objects.get().request_id == "chatcmpl-Abcdef123456"
    assert not RejectedInput.objects.exists()


def test_nor_does_a_call_whose_wrapper_came_first(api: APIClient) -> None:
    for _ in range(2):
        send(api, WRAPPER)
        send(api, WRAPPED)
    assert UsageEvent.objects.count() == 1


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_chain_of_wrappers_counts_once_in_any_order(api: APIClient, order: tuple[int, ...]) -> None:
    chain = [span(NAMELESS, number=3, end=3), span(NAMELESS, number=1, parent=3, end=2), WRAPPED]
    for place in order:
        send(api, chain[place])
    # An outermost wrapper that comes before the one between cannot know of the innermost call.
    assert UsageEvent.objects.count() == (2 if order in ((0, 2, 1), (2, 0, 1)) else 1)


def test_two_calls_of_one_agent_are_two_whatever_request_they_come_in(api: APIClient) -> None:
    second = NAMELESS | {"output.value": '{"id": "chatcmpl-Zyxwvu987654"}'}
    send(api, WRAPPED)
    send(api, span(second, number=3, parent=1))
    send(api, span({"openinference.span.kind": "AGENT", "llm.token_count.prompt": 3000}, number=1))
    assert UsageEvent.objects.count() == 2


def test_another_trace_with_the_same_span_ids_is_another(api: APIClient) -> None:
    send(api, WRAPPED)
    send(api, span(NAMELESS, number=1, trace=2))
    assert UsageEvent.objects.count() == 2


def test_two_instrumentations_in_two_traces_and_requests_are_one_call_and_no_failure(api: APIClient) -> None:
    assert send(api, span(NAMED, trace=1)) == {}
    # A warning, with nothing rejected.
    assert send(api, span(NAMED | {"llm.token_count.completion": 201}, trace=2)) == {
        "partialSuccess": {"errorMessage": "1 kept aside: counted before under the same id, with other output_tokens."}
    }
    assert UsageEvent.objects.get().output_tokens == 200


def test_organizations_do_not_see_each_others_spans(api: APIClient, other_organization: Organization) -> None:
    send(api, WRAPPED)
    send(client_with(key_of(other_organization)), WRAPPER)
    assert UsageEvent.objects.count() == 2


def test_complete_traces_leave_nothing_behind_and_the_rest_is_forgotten(api: APIClient) -> None:
    send(api, span(NAMED))
    assert not SpanSeen.objects.exists()
    send(api, WRAPPED)
    assert SpanSeen.objects.count() == 2
    assert signals_forget() == 0
    SpanSeen.objects.update(seen_at=timezone.now() - REMEMBERED * 2)
    assert signals_forget() == 2


def test_a_bad_span_is_named_and_kept_without_what_was_said(api: APIClient) -> None:
    answer = send(api, span(NAMED | {"llm.token_count.prompt": -5, "input.value": "my secret"}), span(NAMELESS, number=2))
    assert answer["partialSuccess"] == {"rejectedSpans": "1", "errorMessage": "1 not counted: A whole number of at least 0 is expected."}
    kept = bytes(RejectedInput.objects.get().payload)
    assert b"my secret" not in kept
    assert b"chatcmpl-Abcdef123456" in kept


def test_spans_that_count_tokens_in_names_of_nobodys_are_noted(api: APIClient) -> None:
    answer = send(api, span({"acme.tokens.in": 5}), span({"http.request.method": "POST"}, number=2), scope="acme")
    assert answer["partialSuccess"]["errorMessage"].startswith("1 span of checkout-agent was not read")
    assert RejectedInput.objects.get().code == "format_unknown"


@pytest.mark.django_db(transaction=True)
def test_a_wrapper_and_its_call_that_come_at_once_are_one(api_key: KeyInHand) -> None:
    def post(one: dict[str, Any]) -> None:
        try:
            send(client_with(api_key), one)
        finally:
            connection.close()

    for trace in range(1, 9):
        pair = [span(NAMELESS, number=1, trace=trace, end=2), span(NAMELESS, number=2, parent=1, trace=trace)]
        threads = [threading.Thread(target=post, args=(one,)) for one in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert UsageEvent.objects.filter(organization=api_key.row.organization_id).count() == 8
