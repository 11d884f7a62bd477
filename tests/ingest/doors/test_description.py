"""The API describes itself, to programs and to people, without scripts from anywhere."""

import json
import re
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.validation import validate_schema

from ingest.doors.description import openapi
from ingest.formats.event import UsageEvent


def test_the_schema_is_valid_openapi(client: Client) -> None:
    schema = json.loads(client.get("/api/schema").content)
    validate_schema(schema)
    assert schema["paths"]["/api/v1/events"]["post"]["security"] == [{"apiKey": []}]
    assert client.get("/api/schema?format=yaml").content.startswith(b"openapi: 3.")


def test_the_schema_is_made_without_a_warning(tmp_path: Path) -> None:
    """Two shapes of one name would describe one of them wrongly."""
    call_command("spectacular", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))


def test_every_field_of_an_event_is_described() -> None:
    described = openapi()["components"]["schemas"]["UsageEvent"]
    assert set(described["properties"]) == set(UsageEvent.__struct_fields__)
    assert described["required"] == ["occurred_at", "model"]
    assert described["properties"]["input_tokens"]["minimum"] == 0


def test_every_operation_says_what_it_is_for() -> None:
    operations = [operation for methods in openapi()["paths"].values() for operation in methods.values() if "operationId" in operation]
    assert [operation["operationId"] for operation in operations if not operation.get("summary")] == []


@pytest.mark.django_db
def test_the_page_lists_every_operation_and_runs_no_script_of_its_own(client: Client) -> None:
    response = client.get("/api/docs")
    page = response.content.decode()
    for path, methods in openapi()["paths"].items():
        assert path in page
        assert all(operation["operationId"] in page for operation in methods.values() if "operationId" in operation)
    assert response["Content-Security-Policy"]
    assert re.findall(r"<script(?![^>]* src=\"/static/)", page) == []
    assert "https://" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)
