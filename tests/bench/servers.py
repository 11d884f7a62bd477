"""Brings up what is measured: embedded servers in a folder of their own, the product's web server as `manage.py up` starts it, and the baseline's."""

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from governance.conf import processes
from governance.conf.addresses import Address
from governance.conf.installation import Installation
from governance.conf.processes import Program

BARE = "tests.bench.bare.wsgi:application"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def processor_seconds(pid: int) -> float:
    """What the process and those it started have used of the processors."""
    times = [one.cpu_times() for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]
    return sum(time.user + time.system for time in times)


@dataclass
class Web:
    """A running web server. `peak_rss_mb` is the most its processes held together, shared pages counted for each."""

    port: int
    process: subprocess.Popen[bytes]
    peak_rss_mb: float = 0.0
    workers: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        # Seldom: to find a process's children looks through all processes of the machine, beside what is measured.
        while not self._ended.wait(1.0):
            with contextlib.suppress(psutil.Error):
                first = psutil.Process(self.process.pid)
                family = [first, *first.children(recursive=True)]
                self.workers = len(family) - 1
                self.peak_rss_mb = max(self.peak_rss_mb, sum(one.memory_info().rss for one in family) / 1024 / 1024)

    def end(self) -> None:
        self._ended.set()
        processes.stop(self.process)


@contextlib.contextmanager
def web(var_dir: Path, *, is_bare: bool = False) -> Iterator[Web]:
    """The product's web server, or the same server with the baseline's application."""
    port = free_port()
    place = Installation(Address("127.0.0.1", port), var_dir, is_demo=False, has_traffic=False)
    program = place.web()
    if is_bare:
        program = replace(program, command=[BARE if part == "governance.conf.wsgi:application" else part for part in program.command])
    with (var_dir / "log" / f"{'bare' if is_bare else 'web'}.log").open("ab") as log:
        found = Web(port, processes.start(_with_plain_statics(program), log))
    watcher = threading.Thread(target=found.watch, daemon=True)
    watcher.start()
    try:
        _wait(port, found.process)
        yield found
    finally:
        found.end()
        watcher.join()


def _with_plain_statics(program: Program) -> Program:
    """No page is asked for here, so that nothing has to be collected."""
    return replace(program, environment={**program.environment, "STATIC_COLLECTED": "0", "PYTHONPATH": os.fspath(program.directory)})


def _wait(port: int, process: subprocess.Popen[bytes], patience_s: float = 60) -> None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError("The web server did not start; see its log.")
