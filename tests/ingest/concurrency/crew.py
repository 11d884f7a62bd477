"""Real processes, each with its own connection to the test's database, started together.

They are forked from a process that has loaded Django but has no connection, so that 64 of them cost little.
"""

import multiprocessing
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.ingest.concurrency.loaded"])
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does: a function of a module, with its arguments."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


class CrewError(Exception):
    """A process ended badly; the message holds its traceback."""


def crew_run(jobs: Sequence[Job], *, patience_s: float = PATIENCE_S) -> list[Any]:
    """Runs each job in a process of its own, all let go at once. Returns what each returned, in order. Raises CrewError."""
    from django.db import connection

    barrier = CONTEXT.Barrier(len(jobs))
    pipes = [CONTEXT.Pipe(duplex=False) for _ in jobs]
    database = {name: connection.settings_dict[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")}
    processes = [
        CONTEXT.Process(target=_member, args=(job, barrier, sending, database), daemon=True)
        for job, (_, sending) in zip(jobs, pipes, strict=True)
    ]
    for process in processes:
        process.start()
    for _, sending in pipes:
        sending.close()
    until = time.monotonic() + patience_s
    try:
        return [_answer(receiving, until) for receiving, _ in pipes]
    finally:
        for process in processes:
            process.join(1.0 if process.is_alive() else None)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        for receiving, _ in pipes:
            receiving.close()


def _answer(receiving: Connection, until: float) -> Any:
    if not receiving.poll(max(0.0, until - time.monotonic())):
        raise CrewError("a process did not answer in time")
    try:
        is_good, value = receiving.recv()
    except EOFError:
        raise CrewError("a process died without an answer") from None
    if not is_good:
        raise CrewError(value)
    return value


def _member(job: Job, barrier: Barrier, sending: Connection, database: Mapping[str, Any]) -> None:
    from django.conf import settings
    from django.db import connection

    import tests.ingest.concurrency.loaded  # noqa: F401

    settings.CELERY_BROKER_URL = "memory://"
    connection.settings_dict.update(database)
    try:
        connection.ensure_connection()
        barrier.wait(PATIENCE_S)
        sending.send((True, job.work(*job.arguments)))
    except BaseException:
        barrier.abort()
        sending.send((False, traceback.format_exc()))
    finally:
        connection.close()
        sending.close()
