"""GET /api/v1/stream: Server-Sent Events over plain HTTP, by a process of its own, so that open streams keep no web thread."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
from django.db import Error, connection
from rest_framework.exceptions import AuthenticationFailed

from governance.notices.stream.listening import Heard, Hearing, Mark, mark_of
from governance.tenancy.access import Actor, key_actor
from governance.tenancy.authentication import key_for
from governance.tenancy.models import Scope
from governance.tenancy.problems import CONTENT_TYPE, document

PATH = "/api/v1/stream"
BEAT_S = 15.0
# How often the keys of open streams are looked at: a revoked one is cut after this long at most.
LOOK_AT_KEYS_S = 2.0
PATIENCE_S = 10.0
MOST_STREAMS = 2000
# Messages that wait for a slow reader, beside what the socket takes. A reader further behind is cut and comes back with its mark.
MOST_WAITING = 256
LONGEST_HEAD = 16 * 1024
AWAY = (Error, psycopg.Error)
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="weighhouse"'}
log = logging.getLogger(__name__)


class Refused(Exception):
    """The request is answered with a problem document."""

    def __init__(self, status: HTTPStatus, code: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers


@dataclass(slots=True, eq=False)
class Reader:
    """Somebody who holds a stream open."""

    secret: str
    actor: Actor
    waiting: "asyncio.Queue[tuple[Sequence[Heard], Mark]]" = field(default_factory=asyncio.Queue)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    behind: int = 0

    def hears(self, heard: Sequence[Heard], mark: Mark) -> None:
        """Has it told these, however many at once; but not while it is too far behind with others, nor anything after that."""
        if self.behind and self.behind + len(heard) > MOST_WAITING:
            self.over.set()
        if not self.over.is_set():
            self.behind += len(heard)
            self.waiting.put_nowait((heard, mark))


class Server:
    """The streams that are open, and what they hear."""

    def __init__(self) -> None:
        self.readers: set[Reader] = set()
        self.hearing = Hearing(self._tell)
        # The ORM is synchronous: keys are looked at in threads with connections of their own.
        self.threads = ThreadPoolExecutor(2, thread_name_prefix="keys")

    async def run(self, *, bind: str, port: int, ended: asyncio.Event) -> None:
        """Answers until `ended` is set. Raises OSError when the address cannot be used."""
        server = await asyncio.start_server(self._answer, bind, port, limit=LONGEST_HEAD, backlog=512)
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self.hearing.run()), asyncio.create_task(self._look_at_keys())]
        waiting: asyncio.Task[Any] = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            server.close()
            for reader in self.readers:
                reader.over.set()
            for task in (*tasks, waiting):
                task.cancel()
            await asyncio.gather(*tasks, waiting, return_exceptions=True)
            self.threads.shutdown(wait=False, cancel_futures=True)

    def _tell(self, heard: Sequence[Heard], mark: Mark) -> None:
        for reader in self.readers:
            mine = [one for one in heard if one.is_for(reader.actor)]
            if mine:
                reader.hears(mine, mark)

    async def _look_at_keys(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AT_KEYS_S)
            for secret in {reader.secret for reader in self.readers}:
                try:
                    actor: Actor | None = await self._actor(secret)
                except Refused:
                    actor = None
                except AWAY:
                    break
                for reader in [reader for reader in self.readers if reader.secret == secret]:
                    if actor is None:
                        reader.over.set()
                    else:
                        reader.actor = actor

    async def _actor(self, secret: str) -> Actor:
        return await asyncio.get_running_loop().run_in_executor(self.threads, _actor_of, secret)

    async def _answer(self, incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            try:
                await self._stream(incoming, outgoing)
            except Refused as refused:
                outgoing.write(_problem(refused))
            except AWAY:
                away = "The database does not answer. Try again in a moment."
                outgoing.write(_problem(Refused(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", away, **{"Retry-After": "2"})))
            await asyncio.wait_for(outgoing.drain(), PATIENCE_S)
        outgoing.close()
        with suppress(ConnectionError):
            await outgoing.wait_closed()

    async def _stream(self, incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        headers = await _asked(incoming)
        reader = Reader(secret := _secret(headers), await self._actor(secret))
        if len(self.readers) >= MOST_STREAMS:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "Too many streams are open here.", **{"Retry-After": "30"})
        with suppress(TimeoutError):
            await asyncio.wait_for(self.hearing.is_ready.wait(), PATIENCE_S)
        told = headers.get("last-event-id", "")
        since = mark_of(told)
        until = self.hearing.mark
        if until is None:
            raise psycopg.OperationalError("the database is away")
        # From here on the reader hears what comes after `until`; what came before is read from the database.
        self.readers.add(reader)
        try:
            outgoing.write(_head(HTTPStatus.OK, "text/event-stream; charset=utf-8", **{"X-Accel-Buffering": "no"}) + b"retry: 1000\n")
            if told and since is None:
                outgoing.write(b"event: reset\ndata: {}\n\n")
            if since is not None:
                await self._catch_up(reader, outgoing, since, until)
            outgoing.write(f"id: {until}\n\n".encode())
            await self._follow(reader, incoming, outgoing)
        finally:
            self.readers.discard(reader)

    async def _catch_up(self, reader: Reader, outgoing: asyncio.StreamWriter, since: Mark, until: Mark) -> None:
        try:
            async for heard in self.hearing.between(organization_id=reader.actor.organization.pk, since=since, until=until):
                outgoing.write(b"".join(_message(one) for one in heard if one.is_for(reader.actor)))
                await asyncio.wait_for(outgoing.drain(), PATIENCE_S)
        except psycopg.DataError:
            outgoing.write(b"event: reset\ndata: {}\n\n")

    async def _follow(self, reader: Reader, incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        """Writes what the reader hears until it leaves, is cut, or takes nothing any more."""
        leaving = asyncio.create_task(_left(incoming))
        cut = asyncio.create_task(reader.over.wait())
        next_one = asyncio.create_task(reader.waiting.get())
        try:
            while not leaving.done() and not cut.done():
                await asyncio.wait([leaving, cut, next_one], timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
                if cut.done() or leaving.done():
                    return
                heard: Sequence[Heard] = ()
                if next_one.done():
                    heard, mark = next_one.result()
                    outgoing.write(b"".join([*(_message(one) for one in heard[:-1]), _message(heard[-1], mark)]))
                    next_one = asyncio.create_task(reader.waiting.get())
                else:
                    # Nothing waits, so everything up to the present mark was heard.
                    outgoing.write(f": still here\nid: {self.hearing.mark}\n\n".encode())
                await asyncio.wait_for(outgoing.drain(), PATIENCE_S)
                reader.behind -= len(heard)
        finally:
            for task in (leaving, cut, next_one):
                task.cancel()


def _actor_of(secret: str) -> Actor:
    """Whoever holds the key. Raises Refused, and AWAY where a new connection to the database helps neither."""
    try:
        return _actor(secret)
    except AWAY:
        connection.close()
        return _actor(secret)


def _actor(secret: str) -> Actor:
    try:
        key = key_for(secret)
    except AuthenticationFailed as error:
        raise Refused(HTTPStatus.UNAUTHORIZED, str(error.get_codes()), str(error.detail), **CHALLENGE) from None
    if Scope.READ not in key.scopes:
        raise Refused(HTTPStatus.FORBIDDEN, "permission_denied", "This API key lacks the scope read.")
    return key_actor(key)


async def _asked(incoming: asyncio.StreamReader) -> dict[str, str]:
    """The request's headers, by lower-case name. Raises Refused for anything but GET of the stream."""
    try:
        head = await asyncio.wait_for(incoming.readuntil(b"\r\n\r\n"), PATIENCE_S)
    except asyncio.LimitOverrunError:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "invalid", f"Headers are at most {LONGEST_HEAD} bytes.") from None
    request, *lines = head.decode("latin-1").split("\r\n")
    method, _, target = request.partition(" ")
    path = target.partition(" ")[0].partition("?")[0]
    if path != PATH:
        raise Refused(HTTPStatus.NOT_FOUND, "not_found", f"Only {PATH} is here.")
    if method != "GET":
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "The stream is read with GET.", Allow="GET")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _secret(headers: dict[str, str]) -> str:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        code = "key_malformed" if "authorization" in headers else "not_authenticated"
        raise Refused(HTTPStatus.UNAUTHORIZED, code, "Send the API key as 'Authorization: Bearer <key>'.", **CHALLENGE)
    return secret.strip()


async def _left(incoming: asyncio.StreamReader) -> None:
    """Ends when the other side has closed; what it sends meanwhile is of no interest."""
    with suppress(ConnectionError):
        while await incoming.read(4096):
            pass


def _message(heard: Heard, mark: Mark | None = None) -> bytes:
    """One event. Only the last of several that were committed together moves the reader's mark."""
    mark_line = f"id: {mark}\n".encode() if mark is not None else b""
    return mark_line + f"event: {heard.kind}\ndata: ".encode() + heard.body + b"\n\n"


def _head(status: HTTPStatus, kind: str, **headers: str) -> bytes:
    lines = {"Content-Type": kind, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Connection": "close", **headers}
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() + "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode() + b"\r\n"


def _problem(refused: Refused) -> bytes:
    body = msgspec.json.encode(document(refused.status, refused.code, refused.status.phrase, refused.detail))
    return _head(refused.status, CONTENT_TYPE, **{"Content-Length": str(len(body))}, **refused.headers) + body
