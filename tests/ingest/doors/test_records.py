"""POST /api/v1/events/<format>: bodies of every kind, whatever order and pieces they come in, and whatever is wrong with them."""

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
import time_machine
import zstandard
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from rest_framework.test import APIClient

from governance.tenancy.models import Organization
from ingest.collector.readers import readers
from ingest.formats.records import record_formats
from ingest.models import EventIdentity, RejectedInput, UsageEvent, UsageRollup
from ingest.verify import differences
from tests.golden.captures import FOLDER
from tests.golden.harness_files import FILES, qwen_chat
from tests.ingest.test_store import prices

__all__ = ["prices"]

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
JSON, LINES = "application/json", "application/x-ndjson"


@pytest.fixture(autouse=True)
def day_of_the_captures() -> Any:
    with time_machine.travel(NOW, tick=True):
        yield


def send(api: APIClient, name: str, body: bytes, content_type: str = JSON, **headers: Any) -> Any:
    return api.generic("POST", f"/api/v1/events/{name}", cast("str", body), content_type=content_type, **headers)


def told(response: Any) -> tuple[int, ...]:
    answer = json.loads(response.content)
    return tuple(answer[status] for status in ("accepted", "duplicate", "conflict", "rejected"))


def batch() -> list[dict[str, Any]]:
    names = ("litellm/001", "litellm/002", "claude-code-via-litellm/005")
    return [row for name in names for row in json.loads((FOLDER / f"{name}.json").read_text())["body"]]


def lines(rows: list[Any]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def test_a_list_lines_and_one_record_are_the_same_report(api: APIClient) -> None:
    rows = batch()
    assert told(send(api, "litellm", json.dumps(rows).encode())) == (7, 0, 0, 0)
    assert told(send(api, "litellm", lines(rows), LINES)) == (0, 7, 0, 0)
    assert told(send(api, "litellm", lines(rows))) == (0, 7, 0, 0)
    assert told(send(api, "litellm", json.dumps(rows[0], indent=2).encode())) == (0, 1, 0, 0)
    assert told(send(api, "litellm", b"\n\n".join(json.dumps(row, indent=2).encode() for row in rows))) == (0, 7, 0, 0)


def test_compressed_bodies_are_the_same_report(api: APIClient) -> None:
    body = json.dumps(batch()).encode()
    assert told(send(api, "litellm", gzip.compress(body), HTTP_CONTENT_ENCODING="gzip")) == (7, 0, 0, 0)
    assert told(send(api, "litellm", zstandard.compress(body), HTTP_CONTENT_ENCODING="zstd")) == (0, 7, 0, 0)


def test_only_what_was_not_counted_is_listed_when_asked(api: APIClient) -> None:
    answer = json.loads(send(api, "litellm?results=errors", json.dumps([*batch(), {"metadata": 1}]).encode()).content)
    assert [result["status"] for result in answer["results"]] == ["rejected"]


def test_an_empty_list_is_taken_and_an_empty_body_is_not(api: APIClient) -> None:
    assert told(send(api, "litellm", b"[]")) == (0, 0, 0, 0)
    assert send(api, "litellm", b"").status_code == 400


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b'[{"a": 1}', JSON, 400, "broken_json"),
        (b"nonsense", JSON, 400, "broken_json"),
        (b"\xff\xfe", JSON, 400, "broken_json"),
        (b"[" * 100_000, JSON, 400, "too_deep"),
        (b"{}", "text/csv", 415, "unsupported_media_type"),
        (b'data: {broken}\n\ndata: {"usage"\n', "text/event-stream", 400, "broken_json"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_refused_and_none_of_it_is_kept(
    api: APIClient, body: bytes, content_type: str, status: int, code: str
) -> None:
    response = send(api, "openai", body, content_type)
    assert (response.status_code, json.loads(response.content)["code"]) == (status, code)
    assert not UsageEvent.objects.exists()
    assert all(bytes(row.payload) == b"" for row in RejectedInput.objects.all())


def test_a_label_that_does_not_exist_refuses_the_post_and_is_listed_where_an_admin_looks(api: APIClient) -> None:
    """A gateway sends it with every post, and nobody reads its log."""
    answer = api.post("/api/v1/events/litellm", batch(), headers={"X-Weighhouse-Taem": "platform"})
    assert (answer.status_code, UsageEvent.objects.count()) == (422, 0)
    kept = RejectedInput.objects.get()
    assert (kept.door, kept.code, bytes(kept.payload)) == ("litellm", "invalid_label", b"")
    assert "`taem`" in kept.reason


def test_a_format_that_does_not_exist_is_named_with_those_that_do(api: APIClient) -> None:
    response = send(api, "litelm", b"[]")
    assert response.status_code == 404
    assert "litellm" in json.loads(response.content)["detail"]


def test_lines_that_cannot_be_read_harm_no_other(api: APIClient) -> None:
    good = [json.dumps(row).encode() for row in batch()[:2]]
    odd = [b"{", b'{"a": "\xff"}', b"[" * 5000, b"7", b'{"status": "success", "endTime": {}}']
    response = send(api, "litellm", b"\n".join([odd[0], good[0], *odd[1:], good[1]]), LINES)
    assert response.status_code == 200
    assert told(response) == (2, 0, 0, len(odd))


def test_what_was_refused_can_be_corrected_and_counted_under_its_own_door(api: APIClient, admin: Any) -> None:
    from governance.tenancy.access import member_actor
    from ingest.rejections import rejected_replay

    row = {**batch()[0], "custom_llm_provider": "openai"}
    row["metadata"]["usage_object"]["prompt_tokens"] = -5
    assert told(send(api, "litellm", json.dumps(row).encode())) == (0, 0, 0, 1)
    kept = RejectedInput.objects.get()
    fields = json.loads(bytes(kept.payload))
    assert (kept.door, kept.field, fields["input_tokens"]) == ("litellm", "input_tokens", -5)
    (outcome,) = rejected_replay(actor=member_actor(admin), rejected=kept, corrected=json.dumps({**fields, "input_tokens": 476}))
    assert outcome.status == "accepted"
    assert UsageEvent.objects.get().source == "litellm"


def test_the_same_id_with_other_counts_is_still_a_conflict(api: APIClient) -> None:
    row = batch()[0]
    send(api, "litellm", json.dumps(row).encode())
    row["metadata"]["usage_object"]["completion_tokens"] = 999
    row["metadata"]["usage_object"]["total_tokens"] = 2499
    assert told(send(api, "litellm", json.dumps(row).encode())) == (0, 0, 1, 0)
    assert RejectedInput.objects.get().kind == "conflict"


def pieces() -> list[tuple[str, bytes]]:
    """The captured material, in the pieces that say enough by themselves: whole files of harnesses, single records of LiteLLM."""
    found = [(file.harness, file.path.read_bytes()) for file in FILES]
    found.append(("qwen-code", lines(qwen_chat())))
    transcripts = [file for file in FILES if file.harness == "claude-code"]
    found += [("claude-code", line) for file in transcripts for line in file.path.read_bytes().splitlines() if b'"assistant"' in line]
    found += [("codex", file.path.read_bytes()[: 3 * file.path.stat().st_size // 4]) for file in FILES if file.harness == "codex"]
    return found + [("litellm", json.dumps([row]).encode()) for row in batch()]


def state() -> tuple[Any, ...]:
    """What is counted, by call, and the sums that pages read. The key of a call that several sources report is that of the first report."""
    calls = sorted(
        UsageEvent.objects.values_list(
            "session", "input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "cost"
        ),
        key=repr,
    )
    sums = [
        UsageRollup.objects.values_list(name, flat=True) for name in ("calls", "input_tokens", "output_tokens", "cache_read_tokens", "cost")
    ]
    return calls, *(sum(values, Decimal(0)) for values in sums)


@pytest.mark.usefixtures("prices")
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=some.permutations(range(len(pieces()))), again=some.lists(some.integers(0, len(pieces()) - 1), max_size=6))
def test_any_order_and_any_repeats_of_the_captured_material_count_the_same(
    api: APIClient, organization: Organization, order: list[int], again: list[int]
) -> None:
    material = pieces()
    expected = counted(api, organization, material)
    assert counted(api, organization, [material[index] for index in (*order, *again)]) == expected


def counted(api: APIClient, organization: Organization, material: Sequence[tuple[str, bytes]]) -> tuple[Any, ...]:
    """What is counted when these are posted in this order, and nothing else was before. Nothing of it stays."""
    with transaction.atomic():
        for name, body in material:
            assert send(api, name, body).status_code == 200
        found = state()
        assert not RejectedInput.objects.filter(kind="conflict").exists()
        assert EventIdentity.objects.filter(event_id=None).count() == len(found[0])
        assert differences(organization) == []
        transaction.set_rollback(True)
    return found


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=some.data(), name=some.sampled_from(sorted(record_formats())))
def test_whatever_is_posted_is_answered_and_breaks_nothing(api: APIClient, data: some.DataObject, name: str) -> None:
    leaf = (
        some.none()
        | some.booleans()
        | some.integers()
        | some.floats(allow_nan=False, allow_infinity=False)
        | some.text(max_size=12)
        | some.just("\x00")
    )
    names = some.sampled_from(
        [
            "id",
            "usage",
            "metadata",
            "message",
            "type",
            "model",
            "tokens",
            "response",
            "stream",
            "data",
            "ai",
            "payload",
            "timestamp",
            "info",
            "status",
            "endTime",
        ]
    )
    anything = some.recursive(
        leaf, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(names, inner, max_size=5), max_leaves=12
    )
    rows = data.draw(some.lists(anything, max_size=6))
    response = send(api, name, json.dumps(rows).encode())
    assert response.status_code == 200
    assert len(json.loads(response.content)["results"]) >= sum(not isinstance(row, dict) for row in rows)


def test_every_reader_is_a_format_of_the_door() -> None:
    assert set(readers()) <= set(record_formats())
    assert all(callable(module.Reader) and module.__doc__ for module in record_formats().values())
