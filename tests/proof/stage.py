"""Lets the processes go, kills some of them and cuts connections while they work, and gathers what they say."""

import multiprocessing
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import psycopg
from django.db import connection

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.proof.loaded"])
PATIENCE_S = 1500.0
STRIKE_EVERY_S = 0.3
# At each strike one process is killed and so many connections are cut. Of those that only post one is, after so many posts.
CUT_AT_ONCE = 4
CUT_EVERY = 3
# Numbers come from the database: a lock in memory would stay with a process that is killed holding it.
NUMBERS = "proof_number"
CUT = """
SELECT pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    ORDER BY random() LIMIT %s) chosen
"""


@dataclass
class Told:
    """What the run came to."""

    callers: Counter[str] = field(default_factory=Counter)
    sweeps: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    wrong: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    killed: int = 0
    cut: int = 0
    seconds: float = 0.0


@dataclass
class Posted:
    """What posting while connections are cut came to. `tries` counts posts, those sent again included."""

    tries: int = 0
    failures: list[str] = field(default_factory=list)
    cut: int = 0
    seconds: float = 0.0


@dataclass
class Hand:
    """A running process and the pipe that its answer comes through."""

    process: BaseProcess
    receiving: Connection

    def answer(self) -> Any:
        """What it returned. Raises EOFError when it died without an answer."""
        is_good, value = self.receiving.recv()
        if not is_good:
            raise RuntimeError(value)
        return value


def run(*, organization_id: int, calls: int, processes: int, strikes: int, seed: int) -> Told:
    """Makes the calls with so many processes. `strikes` of them are killed and replaced, and CUT_AT_ONCE times as many connections are cut."""
    from tests.proof import workers

    told, over = Told(), CONTEXT.Event()
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SEQUENCE {NUMBERS} MINVALUE 0 START 0")
    observers = [_begin(workers.observer, organization_id, over) for _ in range(2)]
    sweepers = [_begin(workers.sweeper, organization_id, over, number) for number in range(2)]
    started = time.monotonic()
    callers = [_begin(workers.caller, organization_id, calls, number) for number in range(processes)]
    _strikes(callers, told, strikes, lambda number: _begin(workers.caller, organization_id, calls, number), chance=random.Random(seed))
    _gather(callers, told.failures, told.callers.update, patience_s=PATIENCE_S)
    told.seconds = time.monotonic() - started
    over.set()
    _gather(sweepers, told.failures, told.sweeps.update, patience_s=60)
    _gather(observers, told.failures, lambda found: _seen(told, *found), patience_s=60)
    return told


def posts(*, organization_id: int, events: int, processes: int) -> Posted:
    """Posts so many events with so many processes, each again until it is acknowledged, while their connections are cut one after the other."""
    from tests.proof import workers

    found, acknowledged = Posted(), CONTEXT.Value("q", 0)
    started = time.monotonic()
    posters = [_begin(workers.poster, organization_id, range(number, events, processes), number, acknowledged) for number in range(processes)]
    with _striking() as striking:
        while any(one.process.is_alive() and not one.receiving.poll(0.002) for one in posters) and time.monotonic() < started + PATIENCE_S:
            if acknowledged.value >= CUT_EVERY * (found.cut + 1):
                found.cut += len(striking.execute(CUT, [1]).fetchall())
    tries: list[int] = []
    _gather(posters, found.failures, tries.append, patience_s=60)
    found.tries, found.seconds = sum(tries), time.monotonic() - started
    return found


def _striking() -> psycopg.Connection[Any]:
    """A connection that cuts others, and not itself."""
    return psycopg.connect(**connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}, autocommit=True)


def _seen(told: Told, looks: int, wrong: list[str]) -> None:
    told.looks += looks
    told.wrong += wrong


def _strikes(callers: list[Hand], told: Told, strikes: int, begin: Callable[[int], Hand], *, chance: random.Random) -> None:
    """Kills callers wherever they are and starts others in their place; cuts connections of whoever has one."""
    with _striking() as striking:
        for number in range(strikes):
            time.sleep(STRIKE_EVERY_S)
            place = chance.randrange(len(callers))
            if callers[place].process.is_alive():
                callers[place].process.kill()
                callers[place].process.join()
                told.killed += 1
                callers[place] = begin(1000 + number)
            told.cut += len(striking.execute(CUT, [CUT_AT_ONCE]).fetchall())


def _gather(hands: list[Hand], failures: list[str], take: Callable[[Any], None], *, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    for hand in hands:
        if not hand.receiving.poll(max(0.0, until - time.monotonic())):
            failures.append("a process did not end in time")
            hand.process.kill()
            continue
        try:
            take(hand.answer())
        except (EOFError, RuntimeError) as error:
            failures.append(str(error) or "a process died without an answer")
        hand.process.join()


def _begin(work: Callable[..., Any], *arguments: Any) -> Hand:
    receiving, sending = CONTEXT.Pipe(duplex=False)
    database = {name: connection.settings_dict[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")}
    process = CONTEXT.Process(target=_member, args=(sending, database, work, arguments), daemon=True)
    process.start()
    sending.close()
    return Hand(process, receiving)


def _member(sending: Connection, database: Mapping[str, Any], work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    from django.conf import settings

    import tests.proof.loaded  # noqa: F401

    settings.CELERY_BROKER_URL = "memory://"
    connection.settings_dict.update(database)
    try:
        sending.send((True, work(*arguments)))
    except BaseException:
        sending.send((False, traceback.format_exc()))
    finally:
        connection.close()
        sending.close()
