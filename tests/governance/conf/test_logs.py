"""The log stays readable while the database is away."""

import logging
import sys

import django.db
import psycopg
import pytest

from governance.conf import logs

LOST = "connection failed: server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally"


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock; set its only entry."""
    now = [100.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    return now


def record(error: Exception, text: str = "Service Unavailable: %s") -> logging.LogRecord:
    try:
        try:
            raise error
        except psycopg.Error as cause:
            raise django.db.OperationalError(str(cause)) from cause
    except Exception:
        return logging.LogRecord("django.request", logging.ERROR, __file__, 1, text, ("/api/v1/events",), sys.exc_info())


def told(found: logging.Filter, one: logging.LogRecord) -> str | None:
    return logging.Formatter("%(message)s").format(one) if found.filter(one) else None


def test_lost_database_is_one_line_in_ten_seconds_that_counts_the_others(seconds: list[float]) -> None:
    found = logs.OnceInAWhile()
    assert told(found, record(psycopg.OperationalError(LOST))) == f"Service Unavailable: /api/v1/events ({LOST.splitlines()[0]})"
    assert [told(found, record(psycopg.OperationalError(LOST))) for _ in range(300)] == [None] * 300
    seconds[0] += logs.AGAIN_AFTER_S
    assert (told(found, record(psycopg.errors.AdminShutdown("ended"))) or "").endswith("(ended)"), "another way to fail is told at once"
    assert (told(found, record(psycopg.OperationalError(LOST))) or "").endswith("; 300 more since the last such line")


def test_what_the_message_says_already_is_not_said_again(seconds: list[float]) -> None:
    line = told(logs.OnceInAWhile(), record(psycopg.OperationalError(LOST), f"Task %s raised unexpected: {LOST}"))
    assert line == f"Task /api/v1/events raised unexpected: {LOST.splitlines()[0]}"


def test_statement_that_the_database_refuses_is_told_with_its_place_once(seconds: list[float]) -> None:
    found = logs.OnceInAWhile()
    line = told(found, record(psycopg.errors.DeadlockDetected("deadlock detected"))) or ""
    assert "Traceback" in line
    assert told(found, record(psycopg.errors.DeadlockDetected("deadlock detected"))) is None


def test_fault_of_ours_is_told_each_time() -> None:
    found = logs.OnceInAWhile()
    lines = [told(found, record(ValueError("nobody foresaw this"))) or "" for _ in range(2)]
    assert all("Traceback" in line and "nobody foresaw this" in line for line in lines)


def test_503_of_a_view_has_been_told_by_the_view() -> None:
    answered = logging.LogRecord("django.request", logging.ERROR, __file__, 1, "Service Unavailable: %s", ("/healthz",), None)
    answered.status_code = 503
    assert not logs.NewsOnly().filter(answered)
    unforeseen = record(psycopg.OperationalError(LOST))
    unforeseen.status_code = 503
    assert logs.NewsOnly().filter(unforeseen)
