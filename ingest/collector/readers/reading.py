"""What a reader of a harness's records is, and what those have in common that write one call more than once."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from .values import Fields

# A call whose lines stand further apart than this many other calls is reported twice, and counted once by its id.
MOST_OPEN = 16
COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")


class Reader(Protocol):
    """Reads the records of one file in order. `context` is all it remembers, as JSON, so that it can go on later where it stopped."""

    context: dict[str, Any]

    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        """The calls that are complete with this record. Raises Misread for one that cannot be read."""
        ...

    def close(self) -> Iterable[Fields]:
        """The calls that no later record can complete, because there is none."""
        ...

    def waiting(self) -> int:
        """How many calls are held back because a later record may complete them."""
        ...


class Stateless:
    """A reader of records that each say all there is to say."""

    def __init__(self, context: dict[str, Any] | None = None) -> None:
        self.context: dict[str, Any] = context or {}

    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        raise NotImplementedError

    def close(self) -> Iterable[Fields]:
        return ()

    def waiting(self) -> int:
        return len(self.context.get("open", ()))


class Rewriting(Stateless):
    """A reader of files in which a call is written several times while it streams: its last lines are the whole of it."""

    def together(self, key: str, fields: Fields) -> Iterable[Fields]:
        """Keeps the call open for its next line; gives those that have waited long enough."""
        waiting: dict[str, Fields] = self.context.setdefault("open", {})
        waiting[key] = merged(waiting.pop(key), fields) if key in waiting else fields
        while len(waiting) > MOST_OPEN:
            yield waiting.pop(next(iter(waiting)))

    def close(self) -> Iterable[Fields]:
        yield from self.context.pop("open", {}).values()


def merged(old: Fields, new: Fields) -> Fields:
    """One call of two reports of it: the later text and time, the larger counts."""
    both = {**old, **new}
    for name in COUNTS:
        if isinstance(old.get(name), int) and isinstance(new.get(name), int):
            both[name] = max(old[name], new[name])
    both["occurred_at"] = max(old["occurred_at"], new["occurred_at"])
    return both
