"""Who runs the embedded servers of a data folder: one owner starts and stops them, others use them meanwhile.

Two lock files, held for the life of a process and freed by the kernel however it ends. The owner holds `owner.lock`
and writes who it is into it. Everybody who uses the servers shares `users.lock`; an owner that is a passing command
waits for the last of them before it stops the servers.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that runs the servers; `address` is where its page answers, empty for a passing command."""

    process_id: int
    address: str = ""

    @property
    def is_up(self) -> bool:
        return self.address != ""


class Owned(Exception):
    """Another process runs the servers of this folder."""

    def __init__(self, owner: Owner | None) -> None:
        super().__init__("the data folder is in use")
        self.owner = owner


@contextmanager
def owning(var_dir: Path, address: str = "") -> Iterator[None]:
    """Holds the folder for the length of the block. Raises Owned when somebody else does."""
    with _open(var_dir / "owner.lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Owned(_read(file)) from None
        file.seek(0)
        file.truncate()
        json.dump(asdict(Owner(os.getpid(), address)), file)
        file.flush()
        yield


@contextmanager
def using(var_dir: Path) -> Iterator[IO[str]]:
    """Keeps a passing owner from stopping the servers for the length of the block."""
    with _open(var_dir / "users.lock") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield file


def wait_for_last_user(users: IO[str]) -> None:
    """Returns once nobody but the holder of the file uses the servers, and keeps new users waiting until it is closed."""
    fcntl.flock(users, fcntl.LOCK_EX)


def owner_of(var_dir: Path) -> Owner | None:
    """Who runs the servers of the folder now."""
    try:
        with owning(var_dir):
            return None
    except Owned as error:
        return error.owner


def _open(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8")


def _read(file: IO[str]) -> Owner | None:
    file.seek(0)
    try:
        return Owner(**json.load(file))
    except (ValueError, TypeError):
        return None  # the owner is between taking the lock and writing its name
