"""Reads the SQLite stores of harnesses, without ever writing to them, as rows of the shape {"table": …, column: …}."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple


class Table(NamedTuple):
    """A table to read: the column whose value grows with each change, the order of rows, and the columns that hold JSON."""

    name: str
    grows: str
    order: str
    json: tuple[str, ...]
    # Rows without any of this text are passed over in the database.
    where: str = "1"


# Tables that are read as a whole each time come first and say so by growing by nothing.
TABLES = {
    "opencode": (
        Table("session", "", "id", ()),
        Table("message", "time_updated", "time_updated, id", ("data",), "instr(data, '\"assistant\"') > 0"),
    ),
    "openclaw": (
        Table(
            "transcript_events",
            "created_at",
            "created_at, session_id, seq",
            ("event_json",),
            "(event_json IS NULL OR instr(event_json, '\"usage\"') > 0)",
        ),
    ),
}
# Of a session only these say anything of its calls; its title is text that somebody wrote.
COLUMNS = {"session": ("id", "parent_id", "version")}


def rows(path: Path, harness: str, since: int) -> Iterator[tuple[dict[str, Any], int]]:
    """(row, its place) of what changed at or after the place `since`. Raises sqlite3.Error for a file that cannot be read."""
    with closing(opened(path)) as store:
        for table in TABLES.get(harness, ()):
            present = [column[1] for column in store.execute(f"PRAGMA table_info({table.name})")]
            columns = [name for name in COLUMNS.get(table.name, present) if name in present]
            if not columns or (table.grows and table.grows not in present):
                continue
            # Names are from the list above, never from the file.
            condition = f"{table.grows} >= ? AND {table.where}" if table.grows else "? IS NOT NULL"
            found = store.execute(f"SELECT {', '.join(columns)} FROM {table.name} WHERE {condition} ORDER BY {table.order}", [since])  # noqa: S608
            for values in found:
                row = dict(zip(columns, values, strict=True))
                packed = row.pop("event_zstd", None)
                if isinstance(packed, bytes) and row.get("event_json") is None:
                    row["event_json"] = unzstd(packed)
                place = row[table.grows] if table.grows else since
                yield (
                    {"table": table.name, **{name: unpacked(value) if name in table.json else value for name, value in row.items()}},
                    place,
                )


def opened(path: Path) -> sqlite3.Connection:
    """The store, read-only; one whose last writer is gone and left a journal is read as it stands."""
    try:
        store = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
        store.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, timeout=5)
    return store


def unpacked(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str | bytes) else value
    except (ValueError, RecursionError):
        return None


def unzstd(packed: bytes) -> Any:
    """A packed event, where this Python can unpack it: from 3.14 on by itself, before with the package zstandard. None otherwise."""
    for name in ("compression.zstd", "zstandard"):
        try:
            return json.loads(import_module(name).decompress(packed))
        except (ImportError, ValueError, RecursionError):
            continue
        except Exception:  # noqa: BLE001 - each library has an error of its own for what it cannot unpack
            return None
    return None
