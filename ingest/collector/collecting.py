"""One round over a harness's files: reads what is new, hands the calls on in batches, and remembers the place once they are taken."""

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from . import databases, files
from .places import DATABASE, DOCUMENT, Source, changed_at, sources
from .positions import Positions
from .readers import readers
from .readers.reading import Reader
from .readers.values import Fields, Misread, is_sendable

BATCH = 500
# A file that nobody wrote to for so long has its last call whole.
QUIET_S = 30.0
# Decoding at most so many lines without a call before the place is noted.
MOST_LINES = 50_000
# What a broken record can raise in a reader that expects another shape.
ODD = (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError)
Sink = Callable[[str, list[Fields]], None]
log = logging.getLogger("weighhouse.collector")


class Step(NamedTuple):
    """Calls to hand on, and the position to remember when they are taken."""

    calls: list[Fields]
    position: dict[str, Any]


class Round(NamedTuple):
    """What a round did. `waiting` calls were read and are held back until it is clear that they are whole."""

    files: int
    calls: int
    unread: int
    waiting: int = 0


class Collector:
    """Reads the files of harnesses into a sink. The sink raises when it cannot take calls; then nothing is remembered of them."""

    def __init__(self, sink: Sink, positions: Positions, *, labels: Mapping[str, Any] | None = None, is_final: bool = False) -> None:
        self.sink, self.positions, self.labels, self.is_final = sink, positions, dict(labels or {}), is_final
        self.unread = self.waiting = 0

    def round(self, harness: str, path: Path | None = None) -> Round:
        """Reads what is new in the harness's files, or in those at `path`. Raises what the sink raises."""
        seen = calls = unread = waiting = 0
        for source in sources(harness, path):
            seen += 1
            self.unread = self.waiting = 0
            try:
                calls += self.collect(source)
            except (OSError, sqlite3.Error) as error:
                log.warning("%s could not be read: %s", source.path, error)
            unread, waiting = unread + self.unread, waiting + self.waiting
        return Round(seen, calls, unread, waiting)

    def collect(self, source: Source) -> int:
        """Hands on the new calls of one file. Returns how many."""
        key = f"{source.harness}:{source.path.resolve()}"
        calls = 0
        for step in self.steps(source, self.positions.get(key)):
            if step.calls:
                self.sink(source.harness, [labelled(call, self.labels) for call in step.calls])
                calls += len(step.calls)
            if step.calls or step.position != self.positions.get(key):
                self.positions.put(key, step.position)
        return calls

    def steps(self, source: Source, position: dict[str, Any]) -> Iterator[Step]:
        if source.kind == DATABASE:
            return self._rows(source, position)
        if source.kind == DOCUMENT:
            return self._document(source, position)
        return self._lines(source, position)

    def _lines(self, source: Source, position: dict[str, Any]) -> Iterator[Step]:
        module = readers()[source.harness]
        if not files.resumed(source.path, position):
            position = {}
        offset, size = position.get("offset", 0), source.path.stat().st_size
        # A file from a clock that is ahead is as old as one from a clock that is behind.
        is_quiet = self.is_final or abs(time.time() - changed_at(source.path)) > QUIET_S
        held = len(position.get("context", {}).get("open", ()))
        if offset >= size and not (is_quiet and held):
            self.waiting = held
            return
        reader: Reader = module.Reader(deepcopy(position.get("context")))
        calls: list[Fields] = []
        read = 0
        for line, end in files.lines(source.path, offset, module.MARKS, is_final=is_quiet):
            offset, read = end, read + 1
            if line:
                calls += self._read(reader, line)
            if len(calls) >= BATCH or read % MOST_LINES == 0:
                yield Step(calls, noted(source.path, offset, reader))
                calls = []
        if is_quiet:
            calls += self._taken(reader.close)
        self.waiting = reader.waiting()
        yield Step(calls, noted(source.path, offset, reader))

    def _read(self, reader: Reader, line: bytes) -> list[Fields]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            self.unread += 1
            return []
        return self._taken(lambda: reader.read(record)) if isinstance(record, dict) else []

    def _taken(self, read: Callable[[], Iterable[Fields]]) -> list[Fields]:
        """The calls of one record; a record that cannot be read is counted and passed over."""
        try:
            found = list(read())
        except (Misread, *ODD):
            self.unread += 1
            return []
        calls = [call for call in found if is_sendable(call)]
        self.unread += len(found) - len(calls)
        return calls

    def _document(self, source: Source, position: dict[str, Any]) -> Iterator[Step]:
        """A file that is one JSON document is read again as a whole when it changed."""
        found = source.path.stat()
        stamp = [found.st_mtime_ns, found.st_size]
        if position.get("stamp") == stamp or found.st_size > files.LONGEST_LINE * 4:
            return
        reader: Reader = readers()[source.harness].Reader(None)
        calls = self._read(reader, source.path.read_bytes()) + self._taken(reader.close)
        yield from parted(calls, {"stamp": stamp})

    def _rows(self, source: Source, position: dict[str, Any]) -> Iterator[Step]:
        """Rows that changed since the last time; those of the last instant come again, which counts nothing twice."""
        reader: Reader = readers()[source.harness].Reader(None)
        noted_place = position.get("since")
        since = place = noted_place if isinstance(noted_place, int) else 0
        calls: list[Fields] = []
        for row, place in databases.rows(source.path, source.harness, since):
            calls += self._taken(lambda row=row: reader.read(row))  # type: ignore[misc]
            if len(calls) >= BATCH:
                yield Step(calls, {"since": place})
                calls = []
        if calls and not (place == since and position.get("last") == last_of(calls)):
            yield Step(calls, {"since": place, "last": last_of(calls)})


def labelled(call: Fields, labels: Mapping[str, Any]) -> Fields:
    """The call, with what it does not say from the labels."""
    tags = {**labels.get("tags", {}), **call.get("tags", {})}
    return {**labels, **call, **({"tags": tags} if tags else {})}


def last_of(calls: list[Fields]) -> list[str]:
    """The ids of calls that wait at the end of a database, so that an idle one is not sent again and again."""
    return [str(call.get("request_id") or call.get("id")) for call in calls]


def parted(calls: list[Fields], position: dict[str, Any]) -> Iterator[Step]:
    """The calls in batches; the position is that of all of them, and remembered with the last."""
    for start in range(BATCH, len(calls) + 1, BATCH):
        yield Step(calls[start - BATCH : start], {})
    yield Step(calls[len(calls) - len(calls) % BATCH :], position)


def noted(path: Path, offset: int, reader: Reader) -> dict[str, Any]:
    return {"offset": offset, "identity": list(files.identity(path, offset)), "context": deepcopy(reader.context)}
