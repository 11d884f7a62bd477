"""Lets a process die right before its n-th statement or commit, as a machine that loses power would have it."""

import os
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import psycopg

from tests.ingest.concurrency.crew import CONTEXT, Job

EXIT_CODE = 9
PATIENCE_S = 60.0


def crash_at(place: int, job: Job) -> int | None:
    """Runs the job in a process of its own that dies before its place-th step at the database. None when it died; else the steps it took."""
    from django.db import connection

    receiving, sending = CONTEXT.Pipe(duplex=False)
    database = {name: connection.settings_dict[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")}
    process = CONTEXT.Process(target=_run, args=(place, job, sending, database), daemon=True)
    process.start()
    sending.close()
    process.join(PATIENCE_S)
    if process.exitcode == EXIT_CODE:
        return None
    steps: int = receiving.recv()
    return steps


def _run(place: int, job: Job, sending: Connection, database: Mapping[str, Any]) -> None:
    from django.conf import settings
    from django.db import connection

    import tests.ingest.concurrency.loaded  # noqa: F401

    settings.CELERY_BROKER_URL = "memory://"
    connection.settings_dict.update(database)
    taken = 0

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **named: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken == place:
                os._exit(EXIT_CODE)
            return step(*arguments, **named)

        return stepping

    connection.ensure_connection()
    for owner, name in ((psycopg.Cursor, "execute"), (psycopg.Cursor, "copy"), (psycopg.Connection, "commit")):
        setattr(owner, name, counted(getattr(owner, name)))
    job.work(*job.arguments)
    sending.send(taken)
    connection.close()
