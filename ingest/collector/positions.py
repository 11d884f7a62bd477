"""Remembers how far each file was read, in one file that is replaced as a whole, so that a crash leaves the old or the new one."""

import json
import os
from pathlib import Path
from typing import Any


def default_path(environment: Any = os.environ) -> Path:
    """Where positions are kept: the user's state folder."""
    base = environment.get("XDG_STATE_HOME") or environment.get("LOCALAPPDATA") or str(Path.home() / ".local" / "state")
    return Path(base) / "weighhouse" / "collector.json"


class Positions:
    """Positions by "<harness>:<path>". What is not saved is read again, which counts nothing twice."""

    def __init__(self, path: Path | None, *, is_kept: bool = True) -> None:
        """`is_kept` is false where what is noted is not to outlive the run."""
        self.path = path if is_kept else None
        self.known: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except (ValueError, OSError):
                found = {}
            self.known = found if isinstance(found, dict) else {}

    def get(self, key: str) -> dict[str, Any]:
        found = self.known.get(key)
        return dict(found) if isinstance(found, dict) else {}

    def put(self, key: str, position: dict[str, Any]) -> None:
        """Notes the position and writes all of them down."""
        self.known[key] = position
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(f".{os.getpid()}.tmp")
        with beside.open("w", encoding="utf-8") as file:
            json.dump(self.known, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)

    def forget_missing(self) -> None:
        """Drops files that are gone, so that the list does not grow for ever."""
        self.known = {key: position for key, position in self.known.items() if Path(key.partition(":")[2]).exists()}
