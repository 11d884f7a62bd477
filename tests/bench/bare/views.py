"""The baselines over HTTP: a view that commits one row, and one that updates one row. No key, no price, no budget, no second look."""

import json
import secrets

from django.db import connection
from django.http import HttpRequest, JsonResponse

COLUMNS = (
    "request_id", "occurred_at", "provider", "model", "harness", "team", "project", "member", "session", "role", "input_tokens",
    "cache_read_tokens", "cache_write_5m_tokens", "output_tokens", "latency_ms",
)
TABLES = """
CREATE TABLE bare_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, request_id text, occurred_at timestamptz, provider text, model text, harness text,
    team text, project text, member text, session text, role text, input_tokens bigint, cache_read_tokens bigint,
    cache_write_5m_tokens bigint, output_tokens bigint, latency_ms bigint
);
CREATE INDEX ON bare_event (session);
CREATE TABLE bare_balance (id bigint PRIMARY KEY, held numeric(28,15) NOT NULL);
INSERT INTO bare_balance SELECT number, 0 FROM generate_series(1, 1000) AS number;
"""
INSERT = f"INSERT INTO bare_event ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))}) RETURNING id"
UPDATE = "UPDATE bare_balance SET held = held + %s WHERE id = %s RETURNING held"


def answer(facts: dict[str, object]) -> JsonResponse:
    found = JsonResponse(facts, status=201)
    found["Content-Length"] = str(len(found.content))
    return found


def store(request: HttpRequest) -> JsonResponse:
    """Commits the event in the body as one row."""
    event = json.loads(request.body)
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [event[name] for name in COLUMNS])
        return answer({"id": cursor.fetchone()[0]})


def hold_one(request: HttpRequest) -> JsonResponse:
    """Commits an amount to the one row that all clients update."""
    asked = json.loads(request.body)
    with connection.cursor() as cursor:
        cursor.execute(UPDATE, [asked["input_tokens"], 1])
        return answer({"held": str(cursor.fetchone()[0])})


def hold(request: HttpRequest) -> JsonResponse:
    """Commits an amount to one of a thousand rows."""
    asked = json.loads(request.body)
    with connection.cursor() as cursor:
        cursor.execute(UPDATE, [asked["input_tokens"], secrets.randbelow(1000) + 1])
        return answer({"held": str(cursor.fetchone()[0])})
