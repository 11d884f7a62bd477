"""Keeps the programs of an installation running, shows their output as one log, and ends them in order."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from governance.conf import processes
from governance.conf.processes import Program

COLOURS = {"web": 32, "stream": 34, "worker": 33, "beat": 35, "demo": 94, "traffic": 96, "static": 90, "up": 1}
NAME_WIDTH = 8
LONGEST_WAIT_S = 30.0
# A program that ran this long had started well; its next failure is a new one.
STEADY_S = 60.0


@dataclass(slots=True, eq=False)
class Child:
    """A program and its present process. One that runs once calls `when_done` with its exit code; others are started again.

    What it says goes into the common log, or into the file `log`, as the servers' does.
    """

    program: Program
    log: Path | None = None
    when_done: Callable[[int], None] | None = None
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    failures: int = 0
    unfinished: bytes = b""


@dataclass(slots=True)
class Supervisor:
    """Children in the order they were started. Everything happens in the thread that calls `turn`."""

    children: list[Child] = field(default_factory=list)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def add(self, program: Program, *, log: Path | None = None, when_done: Callable[[int], None] | None = None) -> Child:
        """Starts a program; with `when_done` it runs once."""
        child = Child(program, log, when_done)
        self.children.append(child)
        self._start(child)
        return child

    def turn(self, wait_s: float) -> None:
        """Prints what the children said within this time, and sees to those that have ended."""
        for key, _ in self.selector.select(wait_s):
            self._read(key.data)
        for child in list(self.children):
            self._look_after(child)

    def stop(self, patience_s: float = 10) -> None:
        """Ends the children, the latest started first. The servers, started first, outlive those who use them."""
        servers = [child for child in self.children if child.log is not None]
        others = [child for child in self.children if child not in servers]
        for group in (others, servers[::-1]):
            self._stop_together(group, patience_s)
        self.children.clear()

    def _stop_together(self, group: list[Child], patience_s: float) -> None:
        for child in reversed(group):
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(child.program.end_signal)
        until = time.monotonic() + patience_s
        while time.monotonic() < until and any(child.process is not None and child.process.poll() is None for child in group):
            for key, _ in self.selector.select(0.05):
                self._read(key.data)
        for child in group:
            if child.process is not None:
                processes.stop(child.process, end_signal=child.program.end_signal, patience_s=0)
                self._forget_output(child)

    def _start(self, child: Child) -> None:
        child.started_at = time.monotonic()
        if child.log is not None:
            with child.log.open("ab") as log:
                child.process = processes.start(child.program, log)
            return
        child.process = processes.start(child.program, subprocess.PIPE)
        if child.process.stdout is not None:
            os.set_blocking(child.process.stdout.fileno(), False)
            self.selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def _look_after(self, child: Child) -> None:
        if child.process is None:
            if time.monotonic() >= child.due_at:
                self._start(child)
            return
        code = child.process.poll()
        if code is None:
            return
        self._forget_output(child)
        processes.stop(child.process, patience_s=0)
        if child.when_done is not None:
            self.children.remove(child)
            child.when_done(code)
        else:
            self._put_off(child, code)

    def _put_off(self, child: Child, code: int) -> None:
        if time.monotonic() - child.started_at > STEADY_S:
            child.failures = 0
        wait_s = min(LONGEST_WAIT_S, 2.0**child.failures)
        child.failures += 1
        child.process, child.due_at = None, time.monotonic() + wait_s
        details = f" (see {child.log})" if child.log is not None else ""
        say("up", f"{child.program.name} {ended(code)}{details}; it starts again in {wait_s:.0f} s")

    def _read(self, child: Child) -> None:
        if child.process is None or child.process.stdout is None:
            return
        chunk = child.process.stdout.read(65536)
        if chunk == b"":
            self.selector.unregister(child.process.stdout)
            child.process.stdout.close()
            child.process.stdout = None
        *lines, child.unfinished = (child.unfinished + (chunk or b"")).split(b"\n")
        for line in lines:
            say(child.program.name, line.decode(errors="replace"))

    def _forget_output(self, child: Child) -> None:
        """Prints what is left, then lets go of the pipe, which a grandchild might hold open for longer."""
        self._read(child)
        if child.unfinished:
            say(child.program.name, child.unfinished.decode(errors="replace"))
            child.unfinished = b""
        if child.process is not None and child.process.stdout is not None:
            self.selector.unregister(child.process.stdout)
            child.process.stdout.close()
            child.process.stdout = None


def ended(code: int) -> str:
    """An exit code in words."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def say(name: str, line: str) -> None:
    """One line of the common log. Coloured on a terminal unless NO_COLOR is set."""
    if not line.strip():
        return
    prefix = f"{datetime.now().astimezone():%H:%M:%S} {name:<{NAME_WIDTH}}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        prefix = f"\x1b[{COLOURS.get(name, 37)}m{prefix}\x1b[0m"
    # A terminal that was closed takes no more lines; that must not keep us from ending the children.
    with contextlib.suppress(OSError):
        print(f"{prefix} {line.rstrip()}", flush=True)  # noqa: T201
