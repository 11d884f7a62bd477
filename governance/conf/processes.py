"""Starts programs that end when we end, as another system user where that is needed, and stops them."""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
IS_LINUX = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Program:
    """Something to run. `end_signal` asks it to end in order; `user` is the system user it runs as, None for our own."""

    name: str
    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    user: pwd.struct_passwd | None = None
    end_signal: signal.Signals = signal.SIGTERM


def start(program: Program, output: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Starts the program in a session of its own, so that Ctrl-C reaches only us and we decide the order of ending.

    On Linux the kernel sends `end_signal` when we die in whatever way. Call from the main thread: the kernel watches
    the thread that started the program.
    """
    return subprocess.Popen(
        list(program.command),
        cwd=program.directory,
        env=dict(program.environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        start_new_session=True,
        preexec_fn=_before_exec(program),  # noqa: PLW1509 - only system calls between fork and exec, and no thread of ours runs
    )


def run(program: Program, output: IO[bytes]) -> int:
    """Runs the program to its end and returns its exit code."""
    return start(program, output).wait()


def stop(process: subprocess.Popen[bytes], *, end_signal: signal.Signals = signal.SIGTERM, patience_s: float = 15) -> None:
    """Asks the process to end, and after `patience_s` ends everything in its session."""
    if process.poll() is None:
        process.send_signal(end_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
    # What it started and left behind is still in its process group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def can_reach(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether the user may enter every folder above the path."""
    return all(_may_enter(folder, user) for folder in path.resolve().parents)


def _may_enter(folder: Path, user: pwd.struct_passwd) -> bool:
    status = folder.stat()
    if status.st_uid == user.pw_uid:
        return bool(status.st_mode & 0o100)
    return bool(status.st_mode & (0o010 if status.st_gid == user.pw_gid else 0o001))


def _before_exec(program: Program) -> Callable[[], None]:
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True) if IS_LINUX else None
    user = program.user
    keeps_reach = user is not None and libc is not None and not _reaches_all(program, user)

    def prepare() -> None:
        os.umask(0o077)
        if user is not None:
            if keeps_reach and libc is not None:
                _check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            if keeps_reach and libc is not None:
                _keep_reach(libc)
        if libc is not None:
            # After the change of user, which clears it.
            _check(libc.prctl(PR_SET_PDEATHSIG, int(program.end_signal), 0, 0, 0))
            if os.getppid() != parent:
                os._exit(1)

    return prepare


def _reaches_all(program: Program, user: pwd.struct_passwd) -> bool:
    return can_reach(Path(program.command[0]), user) and can_reach(program.directory / "inside", user)


def _keep_reach(libc: ctypes.CDLL) -> None:
    """Lets the other user pass folders that only root may enter, such as /root, without opening them to everybody."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    bit = 1 << CAP_DAC_OVERRIDE
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    _check(libc.capset(header, data))
    _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        _fail(ctypes.get_errno())


def _fail(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))
