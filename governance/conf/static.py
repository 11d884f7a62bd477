"""Whether the static files that were collected into a data folder are still those of the sources, so that a start need not collect again."""

import json
from collections.abc import Iterator
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

from django.contrib.staticfiles.finders import BaseFinder, get_finders
from django.core.files.storage import Storage

MANIFEST = "staticfiles.json"
# What turns sources into names and compressed files.
MAKERS = ("django", "whitenoise")


def sources_digest() -> str:
    """A hash of every static file's name and content, and of the versions of what prepares them."""
    found = blake2b(" ".join(f"{name} {version(name)}" for name in MAKERS).encode(), digest_size=16)
    files = {name: storage for finder in reversed(list(get_finders())) for name, storage in _prefixed(finder)}
    for name in sorted(files):
        storage, path = files[name]
        with storage.open(path) as source:
            content = source.read()
        found.update(f"\0{name}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()


def is_collected(var_dir: Path, digest: str) -> bool:
    """Whether the data folder holds all files made of these sources."""
    folder = var_dir / "static"
    try:
        if _stamp(var_dir).read_text() != digest:
            return False
        names = json.loads((folder / MANIFEST).read_text())["paths"].values()
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((folder / name).is_file() for name in names)


def collecting_begins(var_dir: Path) -> None:
    """Takes the note away, so that a collecting that is broken off is done again."""
    _stamp(var_dir).unlink(missing_ok=True)


def collecting_done(var_dir: Path, digest: str) -> None:
    """Notes what the files were made of: the digest taken before the collecting began."""
    _stamp(var_dir).write_text(digest)


def _stamp(var_dir: Path) -> Path:
    """Beside the folder and not in it, where it would be served."""
    return var_dir / "static-sources"


def _prefixed(finder: BaseFinder) -> Iterator[tuple[str, tuple[Storage, str]]]:
    for path, storage in finder.list([]):
        prefix = getattr(storage, "prefix", None)
        yield (f"{prefix}/{path}" if prefix else path), (storage, path)
