"""Database connections of requests: the one that was given back last is lent next.

A connection of each thread would be as many as there are threads, each made anew with its thread, and each with plans of its own to
make: the first request that comes to one waits for that, and those behind it wait with it. So a few are used all the time.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

# After so long unused a connection is closed.
IDLE_S = 600.0

_lock = threading.Lock()
# Each with when it was given back, the one last given back at the end.
_free: list[tuple[float, Any]] = []


@contextmanager
def connection_lent() -> Iterator[None]:
    """Has the thread use a lent connection within the block. One that is in a transaction goes on with its own."""
    own = connections[DEFAULT_DB_ALIAS]
    if own.in_atomic_block:
        yield
        return
    with _lock:
        lent = _free.pop()[1] if _free else None
    if lent is None:
        lent = connections.create_connection(DEFAULT_DB_ALIAS)
        lent.inc_thread_sharing()
    connections[DEFAULT_DB_ALIAS] = lent
    try:
        # Where the request before has left it broken or in a transaction.
        lent.close_if_unusable_or_obsolete()
        yield
    finally:
        connections[DEFAULT_DB_ALIAS] = own
        _take_back(lent)


def _take_back(lent: Any) -> None:
    now = time.monotonic()
    with _lock:
        _free.append((now, lent))
        unused = _free.pop(0)[1] if _free[0][0] < now - IDLE_S else None
    if unused is not None:
        unused.close()


def connections_close() -> None:
    """Closes all that nobody uses now."""
    with _lock:
        unused = [one for _, one in _free]
        _free.clear()
    for one in unused:
        one.close()
