"""The installation's secret key where the environment sets none: made once, kept under var/, readable by its owner only."""

import os
import secrets
from pathlib import Path

NAME = "secret-key"


def kept_in(var_dir: Path) -> str:
    """The key kept in the folder, made on first use. Falls back to one for this process when the folder cannot be written."""
    path = var_dir / NAME
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return _made(path)
    except OSError:
        return secrets.token_urlsafe(64)


def _made(path: Path) -> str:
    key = secrets.token_urlsafe(64)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return key
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key)
    return key
