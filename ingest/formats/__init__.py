"""Wire formats, pure: bytes or records in, usage events out. Each client's format is one module here, found by name.

A module reads the log records of a client when it has LogFormat's three members.
"""

import pkgutil
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

from ingest.formats.telemetry import LogRecord, Source


class LogFormat(Protocol):
    """A module that knows one client's log records."""

    NAME: str

    def reads(self, source: Source) -> bool:
        """Whether the records of this source are in the format."""
        ...

    def event_fields(self, record: LogRecord) -> dict[str, Any] | None:
        """The fields of the usage event in a record, not yet validated; None for a record that reports no call."""
        ...


@cache
def log_formats() -> tuple[LogFormat, ...]:
    """Every module of this folder that reads log records, by name."""
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return tuple(cast("LogFormat", module) for module in modules if hasattr(module, "event_fields"))


def log_format_of(source: Source) -> LogFormat | None:
    """The format of a source's log records; None when no module here knows it."""
    return next((module for module in log_formats() if module.reads(source)), None)
