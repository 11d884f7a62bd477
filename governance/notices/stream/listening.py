"""Hears of signals: each one once and within moments of its commit, by comparing what two snapshots of the database see.

Ids are taken before transactions commit, so that a later one may be seen first. A mark therefore holds the snapshot that was looked
at; what was heard since is what the next snapshot sees and that one did not.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from django.db import connection
from psycopg.rows import namedtuple_row

from governance.notices.payloads import instant
from governance.notices.signals import CHANNEL
from governance.tenancy.access import Actor

MARK = re.compile(r"([0-9]{1,18})-([0-9]{1,19}:[0-9]{1,19}:(?:[0-9]{1,19}(?:,[0-9]{1,19})*)?)")
LONGEST_MARK = 8000
# A notification that is lost, as behind a pooling proxy, costs this much time and nothing else.
LOOK_S = 5.0
AGAIN_S = 1.0
REPLAYED_AT_ONCE = 500
# Scopes of freezes that whoever makes calls runs into.
OF_EVERYBODY = ("organization", "provider", "model")
OF_PERSONS = ("member", "key")
log = logging.getLogger(__name__)

COLUMNS = """s.id, s.organization_id, o.slug, s.team_id, x.member_id, s.kind, s.facts, s.at
    FROM signal s JOIN organization o ON o.id = s.organization_id
    LEFT JOIN session x ON x.organization_id = s.organization_id AND x.key = s.facts ->> 'session'"""
SEEN = "pg_visible_in_snapshot(s.xid::text::xid8, %({mark})s::pg_snapshot)"
NOW = "SELECT pg_current_snapshot()::text AS snapshot, coalesce((SELECT max(id) FROM signal), 0) AS last"
SINCE = f"""
SELECT pg_current_snapshot()::text AS snapshot, found.*
FROM (SELECT 1) one LEFT JOIN LATERAL (
    SELECT {COLUMNS}
    WHERE s.xid >= pg_snapshot_xmin(%(mark)s::pg_snapshot)::text::bigint AND NOT {SEEN.format(mark="mark")}
    ORDER BY s.id
) found ON true
"""  # noqa: S608 - built from constants
BETWEEN = f"""
SELECT {COLUMNS}
WHERE s.organization_id = %(organization)s AND s.id > %(after)s AND {SEEN.format(mark="until")}
    AND (s.id > %(last)s OR (s.xid >= pg_snapshot_xmin(%(since)s::pg_snapshot)::text::bigint AND NOT {SEEN.format(mark="since")}))
ORDER BY s.id LIMIT {REPLAYED_AT_ONCE}
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far somebody has heard: everything that the snapshot sees, and every id up to `last` that it sees."""

    last: int
    snapshot: str

    def __str__(self) -> str:
        return f"{self.last}-{self.snapshot}"


def mark_of(text: str) -> Mark | None:
    """The mark that `str` wrote. None when it is none."""
    found = MARK.fullmatch(text) if len(text) <= LONGEST_MARK else None
    return None if found is None else Mark(int(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class Heard:
    """A signal with what says who may hear it: its team, and the member whose session it is about."""

    id: int
    organization_id: int
    slug: str
    team_id: int | None
    member_id: int | None
    kind: str
    facts: dict[str, Any]
    at: datetime

    def is_for(self, actor: Actor) -> bool:
        """Whether the actor may hear it: all of its organization's, or those of its teams, its own, and what everybody runs into."""
        if self.organization_id != actor.organization.pk:
            return False
        if actor.team_ids is None or self.team_id in actor.team_ids or self.facts.get("scope_kind") in OF_EVERYBODY:
            return True
        if actor.member is None:
            return False
        is_own = self.facts.get("scope_kind") in OF_PERSONS and self.facts.get("member") == actor.member.user.email
        return is_own or self.member_id == actor.member.pk

    @property
    def body(self) -> bytes:
        """As a webhook has it, with the signal's number."""
        told = {"signal": self.id, "type": self.kind, "timestamp": instant(self.at), "organization": self.slug, "data": self.facts}
        return msgspec.json.encode(told)


Listener = Callable[[Sequence[Heard], Mark], None]


@dataclass(slots=True)
class Hearing:
    """Looks when the database notifies. `tell` is called with what is new, in the order of ids, and the mark that includes it."""

    tell: Listener
    mark: Mark | None = None
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: psycopg.AsyncConnection[Any] | None = None
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Listens until cancelled; a database that is away is tried again, and nothing committed meanwhile is lost."""
        while True:
            try:
                async with await _connection() as listening, await _connection() as self._reading:
                    await listening.execute(f"LISTEN {CHANNEL}")
                    waking = asyncio.create_task(self._wake(listening))
                    try:
                        await self._look_again_and_again(waking)
                    finally:
                        waking.cancel()
                        with suppress(asyncio.CancelledError, psycopg.Error):
                            await waking
            except (psycopg.Error, OSError) as error:
                log.warning("the database does not answer, trying again: %s", str(error).strip().partition("\n")[0])
            finally:
                self._reading = None
            await asyncio.sleep(AGAIN_S)

    async def between(self, *, organization_id: int, since: Mark, until: Mark) -> AsyncIterator[list[Heard]]:
        """The organization's signals that `until` sees and `since` does not, in pieces. Raises psycopg.Error, also for a mark of no database."""
        after = 0
        while True:
            if self._reading is None:
                raise psycopg.OperationalError("the database is away")
            found = await self._reading.execute(BETWEEN, {
                "organization": organization_id, "after": after, "last": since.last, "since": since.snapshot, "until": until.snapshot,
            })
            heard = [Heard(*row) for row in await found.fetchall()]
            if heard:
                yield heard
                after = heard[-1].id
            if len(heard) < REPLAYED_AT_ONCE:
                return

    async def _wake(self, listening: psycopg.AsyncConnection[Any]) -> None:
        async for _ in listening.notifies():
            self._woken.set()

    async def _look_again_and_again(self, waking: "asyncio.Task[None]") -> None:
        while not waking.done():
            self._woken.clear()
            await self._look()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LOOK_S)
        await waking

    async def _look(self) -> None:
        if self._reading is None:
            return
        if self.mark is None:
            now = (await (await self._reading.execute(NOW)).fetchall())[0]
            self.mark = Mark(now.last, now.snapshot)
            self.is_ready.set()
            return
        rows = await (await self._reading.execute(SINCE, {"mark": self.mark.snapshot})).fetchall()
        heard = [Heard(*row[1:]) for row in rows if row.id is not None]
        self.mark = Mark(max([self.mark.last, *(one.id for one in heard)]), rows[0].snapshot)
        if heard:
            self.tell(heard, self.mark)


async def _connection() -> psycopg.AsyncConnection[Any]:
    """A connection of our own to Django's database; each statement is a transaction."""
    parameters = connection.get_connection_params()
    wanted = {name: value for name, value in parameters.items() if name not in ("cursor_factory", "context", "prepare_threshold")}
    return await psycopg.AsyncConnection.connect(**wanted, autocommit=True, row_factory=namedtuple_row, prepare_threshold=None)
