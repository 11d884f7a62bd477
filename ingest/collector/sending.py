"""Posts calls to Weighhouse and waits out its absence; what it refuses for good is said and not sent again."""

import gzip
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from typing import Any

from . import VERSION
from .readers.values import Fields

TIMEOUT_S = 30.0
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
LARGEST_REFUSAL = 20_000
# Sending again can help with these and with all that servers say of themselves; with every other refusal it cannot.
AGAIN = frozenset({408, 425, 429})
SERVERS_OWN = 500
# Refusals of a whole batch for what one call of it can be at fault for. Only Weighhouse says these: a proxy's 400 is about the address.
AT_FAULT = frozenset({"broken_json", "broken_utf8", "too_deep", "wrong_shape"})
log = logging.getLogger("weighhouse.collector")


class Away(Exception):
    """Weighhouse did not answer; the same can be sent later."""


class Unwritable(Exception):
    """Calls that JSON cannot say."""


class Refused(Exception):
    """Weighhouse refuses whatever is sent: a wrong address or key."""


class Post:
    """A sink that posts to a server. `patience_s` is how long one batch is tried before Away is raised; None waits for ever."""

    def __init__(self, url: str, key: str, *, patience_s: float | None = 30.0) -> None:
        if not url.startswith(("https://", "http://")):
            raise Refused(f"'{url}' is no address of a server; say something like https://weighhouse.example.com.")
        self.url, self.key, self.patience_s = url.rstrip("/"), key, patience_s

    def __call__(self, harness: str, calls: list[Fields]) -> None:
        """Returns when the calls are stored, but for those that cannot be, which are told. Raises Away and Refused."""
        until = None if self.patience_s is None else time.monotonic() + self.patience_s
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return said(calls, self.answer(harness, written(calls)))
            except Unwritable as error:
                return self.parted(harness, calls, str(error))
            except urllib.error.HTTPError as error:
                body = error.read(LARGEST_REFUSAL)
                if (error.code == 413 and len(calls) > 1) or is_at_fault(error.code, body):
                    return self.parted(harness, calls, f"answered {error.code}")
                if not self.may_change(error.code, body):
                    raise Refused(f"{self.url} answers {error.code}: {body[:500].decode(errors='replace')}") from None
                reason, asked_s = str(error), seconds(error.headers.get("Retry-After"))
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason, asked_s = str(error), 0.0
            pause_s = min(max(wait_s, asked_s), LONGEST_WAIT_S)
            if until is not None and time.monotonic() + pause_s > until:
                raise Away(f"{self.url} cannot be reached: {reason}")
            log.info("waiting %.0f s: %s", pause_s, reason)
            time.sleep(pause_s)
            wait_s *= 2

    def may_change(self, status: int, body: bytes) -> bool:
        """Whether the same may be taken later. Who waits for ever waits out a network that answers in the server's place as well."""
        return status in AGAIN or status >= SERVERS_OWN or (self.patience_s is None and not code_of(body))

    def parted(self, harness: str, calls: list[Fields], reason: str) -> None:
        """Sends a batch that is refused whole in halves, down to the call that is at fault: it is told and passed over, the others are counted."""
        if len(calls) == 1:
            log.warning("call %s cannot be sent and was not counted: %s", named(calls[0]), reason)
            return
        half = len(calls) // 2
        self(harness, calls[:half])
        self(harness, calls[half:])

    def answer(self, harness: str, body: bytes) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the user's own address, whose scheme was looked at
            f"{self.url}/api/v1/events/{harness}?results=errors",
            data=gzip.compress(body, 5),
            headers={
                "Authorization": f"Bearer {self.key}",
                "Content-Type": "application/json",
                "Content-Encoding": "gzip",
                "User-Agent": f"weighhouse-collector/{VERSION}",
            },
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            found: dict[str, Any] = json.loads(response.read())
            return found


def written(calls: list[Fields]) -> bytes:
    """The calls as a body. Raises Unwritable where JSON has no such number."""
    try:
        return json.dumps({"events": calls}, allow_nan=False).encode()
    except ValueError as error:
        raise Unwritable(str(error)) from None


def is_at_fault(status: int, body: bytes) -> bool:
    """Whether Weighhouse could not read the batch because of a call in it."""
    return status == 400 and code_of(body) in AT_FAULT


def code_of(body: bytes) -> str:
    """The code of one of Weighhouse's refusals; empty for anybody else's."""
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    return str(found.get("code") or "") if isinstance(found, dict) else ""


def named(call: Fields) -> str:
    return str(call.get("request_id") or call.get("id"))


def said(calls: list[Fields], answer: dict[str, Any]) -> None:
    """Tells which calls were not counted; an admin finds them in Weighhouse."""
    for result in answer.get("results") or ():
        if result.get("status") in ("conflict", "rejected"):
            call = calls[result.get("index", 0)]
            log.warning("call %s was not counted (%s): %s", named(call), result["status"], result.get("reason", ""))


def seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.0
