"""Wire formats, pure: bytes or records in, usage events out. Each client's format is one module here, found by name.

A module reads the telemetry of a client when it has Client's members, and spans of a convention that many
instrumentations share when it has Convention's. A client's module without `event_fields` or `call_fields` knows that what it
would find there is reported better elsewhere: such records and spans are taken and not counted.
"""

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, cast

from ingest.formats.telemetry import LogRecord, Source, Span


class Client(Protocol):
    """A module that knows one client's telemetry. `event_fields` and `call_fields` are optional, and apart from them none of its records counts."""

    NAME: str

    def reads(self, source: Source) -> bool:
        """Whether the records of this source are the client's."""
        ...


class LogFormat(Client, Protocol):
    """A client that reports calls in log records. `EVENTS` is how the names of its records begin, where nobody else's do."""

    EVENTS: str

    def event_fields(self, record: LogRecord) -> dict[str, Any] | None:
        """The fields of the usage event in a record, not yet validated; None for a record that reports no call."""
        ...


class SpanFormat(Client, Protocol):
    """A client that reports calls as spans."""

    def call_fields(self, span: Span) -> dict[str, Any] | None:
        """The fields of the usage event that a span is, not yet validated; None for a span that is no model call of its own."""
        ...


class Convention(Protocol):
    """A module that knows how instrumentations of many makers name things in spans. The first that speaks of a span reads it."""

    NAME: str
    RANK: int

    def speaks(self, span: Span) -> bool:
        """Whether the span's attributes are of the convention."""
        ...

    def call_fields(self, span: Span) -> dict[str, Any] | None:
        """As SpanFormat has it."""
        ...


@cache
def _modules() -> tuple[ModuleType, ...]:
    return tuple(import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))


@cache
def clients() -> tuple[Client, ...]:
    """Every module of this folder that knows a client's telemetry, by name."""
    return tuple(cast("Client", module) for module in _modules() if hasattr(module, "reads"))


@cache
def conventions() -> tuple[Convention, ...]:
    """Every module of this folder that knows a convention of spans, the narrower before the more general."""
    found = [cast("Convention", module) for module in _modules() if hasattr(module, "speaks")]
    return tuple(sorted(found, key=lambda module: module.RANK))


@cache
def _by_events() -> dict[str, Client]:
    return {module.EVENTS: cast("Client", module) for module in _modules() if hasattr(module, "EVENTS")}


def client_by_event(record: LogRecord) -> Client | None:
    """Whose record it is by its name alone, for where neither scope nor service say; None when no module here has such names."""
    return next((client for begun, client in _by_events().items() if record.name.startswith(begun) or record.kind.startswith(begun)), None)


def client_of(source: Source) -> Client | None:
    """Whose telemetry it is; None when no module here knows it."""
    return next((module for module in clients() if module.reads(source)), None)
