"""Reads a growing file of lines from where it was left, and notices when it is another file by now."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# A line longer than this holds pictures or a whole file, and no usage.
LONGEST_LINE = 16 * 1024 * 1024
HEAD = TAIL = 256


class Identity(NamedTuple):
    """What tells a file from another one at its path: its number on the disk, how it begins, and what stands before the place."""

    number: int
    text: str


def identity(path: Path, length: int) -> Identity:
    """The identity of what was read, the first `length` bytes: how they begin and how they end must still be there.

    A file that was cut and has grown past the place again, as rotation by copying leaves it, often begins as it did before.
    """
    with path.open("rb") as file:
        head = file.read(min(HEAD, length))
        file.seek(max(0, length - TAIL))
        tail = file.read(min(TAIL, length))
    return Identity(path.stat().st_ino, hashlib.blake2b(head + tail, digest_size=8).hexdigest())


def resumed(path: Path, position: dict[str, Any]) -> bool:
    """Whether the file is the one that the position was noted for, and has not been cut."""
    offset, noted = position.get("offset"), position.get("identity")
    if not isinstance(offset, int) or not isinstance(noted, list) or not isinstance(position.get("context"), dict):
        return False
    if not 0 < offset <= path.stat().st_size:
        return False
    return list(identity(path, offset)) == noted


def lines(path: Path, offset: int, marks: Sequence[bytes], *, is_final: bool = False) -> Iterator[tuple[bytes, int]]:
    """(line, offset after it) of each whole line from `offset`; b"" for one without any of the marks, which says nothing of usage.

    A last line without its end is still being written and is left for the next time, unless the file `is_final` and the line is a whole record:
    a writer can rest in the middle of one for as long as its machine sleeps.
    """
    with path.open("rb") as file:
        file.seek(offset)
        while line := file.readline(LONGEST_LINE):
            if not line.endswith(b"\n"):
                if len(line) == LONGEST_LINE:
                    offset += len(line) + skipped(file)
                    yield b"", offset
                    continue
                if not is_final or not is_record(line):
                    return
            offset += len(line)
            yield (line if any(mark in line for mark in marks) else b""), offset


def is_record(line: bytes) -> bool:
    try:
        json.loads(line)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def skipped(file: Any) -> int:
    """The bytes up to the end of the line that is being read."""
    seen = 0
    while part := file.readline(LONGEST_LINE):
        seen += len(part)
        if part.endswith(b"\n"):
            break
    return seen
