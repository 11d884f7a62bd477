"""`manage.py stream`: the process behind /api/v1/stream, which `up` runs beside the web server."""

import asyncio
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from governance.notices.stream.serving import Server


class Command(BaseCommand):
    help = "Answers GET /api/v1/stream with signals as they are committed (Server-Sent Events), until it is ended."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8001, help="where it answers (8001)")
        parser.add_argument("--bind", default="127.0.0.1", help="the address to listen on (127.0.0.1: this machine only)")

    def handle(self, *, port: int, bind: str, **_: Any) -> None:
        try:
            asyncio.run(_until_ended(bind, port))
        except OSError as error:
            raise CommandError(f"Port {port} on {bind} cannot be used: {error.strerror or error}") from None


async def _until_ended(bind: str, port: int) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await Server().run(bind=bind, port=port, ended=ended)
