"""The WSGI application that granian serves."""

import os
import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.conf.settings")
# Larger than any body that is taken outside the doors of ingest, which read such bodies piece by piece themselves.
MOST_BYTES = 1024 * 1024
READ_PIECE_BY_PIECE = ("/api/v1/events", "/otlp/")
# How long a thread that computes, such as one that draws a page, keeps those waiting that have an answer of the database to go on with.
SWITCH_S = 0.001
pages = get_wsgi_application()

from governance.collecting import YOUNG_OF_REQUESTS, collect_rarely  # noqa: E402 - Django is set up by now
from governance.conf.lending import connection_lent  # noqa: E402 - Django is set up by now
from governance.conf.machines import MachineHandler, split  # noqa: E402 - Django is set up by now

django = split(pages=pages, machines=MachineHandler())
sys.setswitchinterval(SWITCH_S)
_ = get_resolver().url_patterns
collect_rarely(young=YOUNG_OF_REQUESTS)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Django, which takes a body without a Content-Length for an empty one: such a body is measured first."""
    is_unmeasured = environ.get("HTTP_TRANSFER_ENCODING") and environ.get("wsgi.input_terminated") and not environ.get("CONTENT_LENGTH")
    if is_unmeasured and not environ.get("PATH_INFO", "").startswith(READ_PIECE_BY_PIECE):
        body = beginning(environ["wsgi.input"])
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
    if settings.BEHIND_PROXY and (forwarded := environ.get("HTTP_X_FORWARDED_FOR")):
        # The last entry is the one our own proxy wrote; those before it are whatever the client claimed.
        environ["REMOTE_ADDR"] = forwarded.rpartition(",")[2].strip()
    with connection_lent():
        return django(environ, start_response)


def beginning(stream: Any) -> bytes:
    """What the stream holds, or its first mebibyte, which is more than is taken anywhere."""
    pieces: list[bytes] = []
    left = MOST_BYTES
    while left > 0 and (piece := stream.read(min(left, 65_536))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
