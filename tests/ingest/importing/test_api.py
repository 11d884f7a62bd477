"""Programs import files by the same steps as people."""

import gzip
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from governance.tenancy.models import Organization, Scope
from ingest.importing import working
from tests.conftest import client_with, key_of
from tests.ingest.few_prices import few_prices

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
ADDRESS = "/api/v1/imports"


@pytest.fixture
def api(organization: Organization) -> APIClient:
    return client_with(key_of(organization, Scope.ADMIN))


def send(api: APIClient, body: bytes, **headers: Any) -> Any:
    return api.generic("POST", f"{ADDRESS}?name=october.csv", body, content_type="text/csv", **headers)  # type: ignore[arg-type]


def table() -> bytes:
    then = (timezone.now() - timedelta(hours=1)).isoformat()
    return f"wann,was,wieviel\n{then},claude-sonnet-4-5,1000\n{then},claude-sonnet-4-5,x\n".encode()


def test_a_file_goes_through_every_step(api: APIClient) -> None:
    sent = send(api, gzip.compress(table()))
    assert sent.status_code == 201
    address = f"{ADDRESS}/{sent.json()['id']}"
    assert sent.json()["headers"] == ["wann", "was", "wieviel"]
    assert api.get(f"{address}/preview").json()["problem"].startswith("No column says when")
    assert api.post(f"{address}/start").status_code == 422
    columns = {"wann": "occurred_at", "was": "model", "wieviel": "input_tokens"}
    assert api.patch(address, {"meaning": {"columns": columns}}).json()["meaning"]["columns"] == columns
    rows = api.get(f"{address}/preview").json()["rows"]
    assert [(row["status"], row["cost"]) for row in rows] == [("accepted", "0.003"), ("rejected", None)]
    assert api.post(f"{address}/start").json()["state"] == "running"
    working.import_run_work(sent.json()["id"])
    assert api.get(address).json()["rows_accepted"] == 1
    assert [(row["row"], row["field"], row["value"]) for row in api.get(f"{address}/refused").json()["refused"]] == [
        (2, "input_tokens", "x")
    ]
    assert api.post(f"{address}/undo").json()["state"] == "undoing"
    working.import_run_work(sent.json()["id"])
    assert [run["state"] for run in api.get(ADDRESS).json()["imports"]] == ["undone"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [(b"", {}, 422), (b"\x1f\x8bbroken", {}, 400), (b"a,b", {"HTTP_CONTENT_ENCODING": "zstd"}, 415), (b"\xff\xfe\x00", {}, 201)],
)
def test_what_cannot_be_read_is_told(api: APIClient, body: bytes, headers: dict[str, str], status: int) -> None:
    assert send(api, body, **headers).status_code == status


def test_what_a_patch_leaves_out_stays_as_it_was_guessed(api: APIClient) -> None:
    """A table as spreadsheets of Germany write it, where a point parts thousands of what names no count."""
    day = timezone.localdate() - timedelta(days=2)
    body = f"Datum;was;Anzahl;Kosten\n{day:%d.%m.%Y};claude-sonnet-4-5;1.234;2.500\n{day:%d.%m.%Y};claude-sonnet-4-5;2.500;1.000\n"
    sent = send(api, body.encode()).json()
    address = f"{ADDRESS}/{sent['id']}"
    columns = {"Datum": "occurred_at", "was": "model", "Anzahl": "input_tokens", "Kosten": "reported_cost"}
    api.patch(address, {"meaning": {"columns": columns, "date_order": "dmy", "decimal": ","}})
    meaning = api.patch(address, {"meaning": {"columns": columns}}).json()["meaning"]
    assert (meaning["date_order"], meaning["decimal"], meaning["columns"]) == ("dmy", ",", columns)
    events = [row["event"] for row in api.get(f"{address}/preview").json()["rows"]]
    assert [(event["input_tokens"], Decimal(event["reported_cost"])) for event in events] == [(1234, 2500), (2500, 1000)]
    api.patch(address, {"meaning": {"decimal": "."}})
    reasons = {row["reason"] for row in api.get(f"{address}/preview").json()["rows"]}
    assert all('("decimal": ",")' in reason for reason in reasons)


def test_a_mapping_of_another_shape_is_refused(api: APIClient) -> None:
    address = f"{ADDRESS}/{send(api, table()).json()['id']}"
    for given in (
        {"meaning": {"columns": {"wann": "colour"}}},
        {"meaning": {"decimal": ";"}},
        {"colour": 1},
        {"encoding": "ebcdic"},
        {"delimiter": "xx"},
    ):
        assert api.patch(address, given).status_code == 422, given


def test_others_do_not_see_it(api: APIClient, other_organization: Organization) -> None:
    address = f"{ADDRESS}/{send(api, table()).json()['id']}"
    stranger = client_with(key_of(other_organization, Scope.ADMIN))
    assert {stranger.get(address).status_code, stranger.post(f"{address}/start").status_code, stranger.patch(address, {}).status_code} == {
        404
    }
