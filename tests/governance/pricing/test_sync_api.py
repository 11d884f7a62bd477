"""Readings, decisions and disagreements for programs."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from governance.pricing.models import PriceFinding
from governance.tenancy.models import Member, Organization, Scope
from tests.conftest import client_with, key_of
from tests.governance.pricing.test_sync import catalogue, sync

pytestmark = pytest.mark.django_db


@pytest.fixture
def by_admin(organization: Organization, admin: Member) -> APIClient:
    return client_with(key_of(organization, Scope.READ, Scope.ADMIN, name="admin's", member=admin))


@pytest.fixture
def waiting(organization: Organization) -> PriceFinding:
    catalogue()
    sync(("glm-5", "1.5"), ("glm-5.5", "2"), now=timezone.now() - timedelta(days=1))
    sync(("glm-5", "1.5"), ("glm-5.5", "200"), now=timezone.now())
    return PriceFinding.objects.get(state="waiting")


def test_readings_are_listed_with_what_they_found(api: APIClient, waiting: PriceFinding) -> None:
    newest, first, *_ = api.get("/api/v1/prices/runs").json()["runs"]
    assert (newest["source"], newest["counts"], first["counts"]) == ("litellm", {"changed": 1, "waiting": 1}, {"new_model": 1})
    assert [run["id"] for run in api.get(f"/api/v1/prices/runs?limit=1&before={newest['id']}").json()["runs"]] == [first["id"]]

    (found,) = api.get(f"/api/v1/prices/runs/{newest['id']}").json()["findings"]
    assert (found["model"], Decimal(found["change"]), found["suspicions"]) == ("glm-5.5", 99, ["tenfold"])
    assert api.get("/api/v1/prices/findings").json()["findings"] == [found]


def test_member_key_decides(by_admin: APIClient, waiting: PriceFinding) -> None:
    answer = by_admin.post(f"/api/v1/prices/findings/{waiting.pk}", {"decision": "reject", "note": "a slip"})
    assert (answer.status_code, answer.json()["state"], answer.json()["note"]) == (200, "rejected", "a slip")
    assert by_admin.post(f"/api/v1/prices/findings/{waiting.pk}", {"decision": "accept"}).status_code == 409


def test_key_without_the_admin_scope_decides_nothing(organization: Organization, waiting: PriceFinding) -> None:
    client = client_with(key_of(organization, Scope.READ, Scope.INGEST, name="theirs"))
    assert client.post(f"/api/v1/prices/findings/{waiting.pk}", {"decision": "accept"}).status_code == 403
    assert client.post("/api/v1/prices/runs", {"source": "litellm"}).status_code == 403


def test_disagreement_is_shown_side_by_side(api: APIClient, waiting: PriceFinding) -> None:
    (row,) = api.get("/api/v1/prices/disagreements").json()["disagreements"]
    assert (row["model"], row["rated_by"], Decimal(row["spread"])) == ("glm-5", "genai-prices", Decimal("0.5"))
    assert row["quotes"]["litellm"]["rates"]["input_tokens"]["base"] == "1.5"


def test_source_is_read_when_asked(by_admin: APIClient) -> None:
    assert by_admin.post("/api/v1/prices/runs", {"source": "nobody"}).status_code == 422
    answer = by_admin.post("/api/v1/prices/runs", {"source": "litellm"})
    assert (answer.status_code, answer.json()) == (202, {"source": "litellm", "state": "asked"})


@pytest.mark.parametrize("path", ["runs/999999999999999999999999", "runs/7", "runs?limit=0", "runs?before=x"])
def test_what_is_not_there_is_told(api: APIClient, path: str) -> None:
    assert api.get(f"/api/v1/prices/{path}").status_code in (404, 422)
