"""Where each harness keeps what it writes, and which way a file is read: line by line, as one document, or as a database."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

LINES, DOCUMENT, DATABASE = "lines", "document", "database"
DATABASES = (".db", ".sqlite", ".sqlite3")


class Place(NamedTuple):
    """A folder and the pattern of the files in it."""

    folder: Path
    pattern: str


class Source(NamedTuple):
    """One file of a harness and the way it is read."""

    harness: str
    path: Path
    kind: str


def places(harness: str, environment: Mapping[str, str] = os.environ, home: Path | None = None) -> list[Place]:
    """The harness's own folders on this machine, by the variables that it obeys itself."""
    at = home or Path.home()

    def folder(variable: str, otherwise: str) -> Path:
        return Path(environment[variable]) if environment.get(variable) else at / otherwise

    known = {
        "claude-code": [
            Place(folder("CLAUDE_CONFIG_DIR", ".claude") / "projects", "**/*.jsonl"),
            Place(at / ".config" / "claude" / "projects", "**/*.jsonl"),
        ],
        "codex": [
            Place(folder("CODEX_HOME", ".codex") / "sessions", "**/rollout-*.jsonl"),
            Place(folder("CODEX_HOME", ".codex") / "archived_sessions", "**/rollout-*.jsonl"),
        ],
        "gemini-cli": [Place(at / ".gemini" / "tmp", "*/chats/**/session-*.json*")],
        "qwen-code": [Place(folder("QWEN_HOME", ".qwen") / "projects", "*/chats/**/*.jsonl")],
        "opencode": [
            Place(folder("XDG_DATA_HOME", ".local/share") / "opencode", "opencode*.db"),
            Place(folder("XDG_DATA_HOME", ".local/share") / "opencode" / "storage" / "message", "**/*.json"),
        ],
        "openclaw": [
            Place(folder("OPENCLAW_STATE_DIR", ".openclaw") / "agents", "*/agent/openclaw-agent.sqlite"),
            Place(folder("OPENCLAW_STATE_DIR", ".openclaw") / "agents", "*/sessions/*.jsonl"),
        ],
    }
    return known.get(harness, [])


def sources(harness: str, path: Path | None = None) -> Iterator[Source]:
    """The files to read, those that changed longest ago first: a fork or a resumed session comes after what it was made from."""
    if path is None:
        found = {file for place in places(harness) if place.folder.is_dir() for file in place.folder.glob(place.pattern)}
    elif path.is_dir():
        found = {file for pattern in ("*.jsonl", "*.json", *(f"*{ending}" for ending in DATABASES)) for file in path.rglob(pattern)}
    else:
        found = {path}
    for file in sorted((file for file in found if file.is_file()), key=lambda file: (changed_at(file), str(file))):
        yield Source(harness, file, kind_of(file))


def kind_of(path: Path) -> str:
    if path.suffix in DATABASES:
        return DATABASE
    return DOCUMENT if path.suffix == ".json" else LINES


def changed_at(path: Path) -> float:
    """Seconds since 1970; 0 for a file that is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
