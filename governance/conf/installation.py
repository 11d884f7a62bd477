"""The programs that make up a running installation, and the environment they share."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from governance.conf.addresses import Address
from governance.conf.processes import Program

CELERY = ("-m", "celery", "--quiet", "-A", "governance.conf.celery")
LOG = Path(__file__).with_name("granian_log.json")  # what granian's log leaves out
# How many connections all web processes together may come to keep.
WEB_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Installation:
    """One `up`: where it answers, where its data lies, and whether it shows the demo."""

    address: Address
    var_dir: Path
    is_demo: bool
    has_traffic: bool
    stream_address: Address | None = None

    def environment(self) -> dict[str, str]:
        """Ours, with what follows from the address unless the operator has set it."""
        derived = {"PUBLIC_URL": self.address.public_url, "ALLOWED_HOSTS": ",".join(self.address.allowed_hosts)}
        # Behind an address of the operator's own a proxy tells the stream from the pages.
        if self.stream_address is not None and "PUBLIC_URL" not in os.environ:
            derived["STREAM_URL"] = self.stream_address.public_url
        fixed = {"VAR": str(self.var_dir), "STATIC_COLLECTED": "1", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        if self.address.is_loopback and self.is_demo:
            fixed["WEIGHHOUSE_DEMO_SIGN_IN"] = "1"
        return {**derived, **os.environ, **fixed}

    def web(self) -> Program:
        workers = os.environ.get("WEB_WORKERS") or str(max(2, min(8, os.cpu_count() or 2)))
        # Posts can be stored together only while they are in flight in one process; each thread may keep a database connection.
        threads = os.environ.get("WEB_THREADS") or str(max(8, min(16, WEB_CONNECTIONS // int(workers))))
        listen = ["--host", self.address.bind, "--port", str(self.address.port), "--interface", "wsgi", "--no-ws"]
        size = ["--workers", workers, "--blocking-threads", threads, "--respawn-failed-workers", "--workers-kill-timeout", "8"]
        return self._python("web", "-m", "granian", *listen, *size, "--log-level", "warning", "--log-config", str(LOG), "governance.conf.wsgi:application")

    def stream(self) -> Program:
        listening = self.stream_address or self.address
        return self._python("stream", "manage.py", "stream", "--bind", listening.bind, "--port", str(listening.port))

    def worker(self) -> Program:
        size = ["--concurrency", os.environ.get("WORKER_PROCESSES") or "2"]
        quiet = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
        return self._python("worker", *CELERY, "worker", *size, *quiet)

    def beat(self) -> Program:
        return self._python("beat", *CELERY, "beat", "--loglevel", "WARNING", "--pidfile=")

    def command(self, name: str, *arguments: str) -> Program:
        """A management command."""
        return self._python(name, "manage.py", *arguments)

    def _python(self, name: str, *arguments: str) -> Program:
        return Program(name, [sys.executable, *arguments], settings.BASE_DIR, self.environment(), None, signal.SIGTERM)
