"""An Omnigent policy: denies what a session does next once Weighhouse has frozen it or its budget is used up, and tells why and where to ask for more.

In the agent's file, under guardrails: policies: weighhouse: {type: function, function: {path: weighhouse_omnigent.policy, arguments: {…}}}.
`url` and `key_file` (a file that holds nothing but a key of the scope authorize) say whom it asks, else WEIGHHOUSE_URL and WEIGHHOUSE_KEY do, which an
Omnigent that starts its server by itself keeps from it; with `fails: closed` it denies where nobody answers within `timeout_s`.
"""  # noqa: INP001

import json
import logging
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before anything that costs: what a person asks, each turn of a model, each tool.
ASKED_BEFORE = ("request", "llm_request", "tool_call")
log = logging.getLogger("weighhouse")


def policy(fails: str = "open", timeout_s: float = 2.0, url: str = "", key_file: str = "") -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """The evaluator, as Omnigent's function policies have it: event in, decision out; None where it has no say."""

    def evaluate(event: dict[str, Any]) -> dict[str, Any] | None:
        if event.get("type") not in ASKED_BEFORE:
            return None
        try:
            reason = refusal(question(event.get("context") or {}, url=url, key_file=key_file), timeout_s=timeout_s)
        except (OSError, ValueError, KeyError) as error:
            log.warning("Weighhouse could not be asked: %r", error)
            reason = f"Weighhouse could not be asked: {error!r}, and this policy is set to deny then. Try again shortly." if fails == "closed" else ""
        return {"result": "DENY", "reason": reason} if reason else {"result": "ALLOW"}

    return evaluate


def question(context: dict[str, Any], *, url: str, key_file: str) -> urllib.request.Request:
    """Whether the session may go on. Raises KeyError or OSError where neither arguments nor the environment say whom to ask."""
    told = {
        "session": context.get("conversation_id"),
        "model": context.get("model"),
        "harness": "omnigent",
        "member": (context.get("actor") or {}).get("run_as"),
    }
    labels = urllib.parse.urlencode({name: value for name, value in told.items() if value})
    key = Path(key_file).expanduser().read_text(encoding="utf-8").strip() if key_file else os.environ["WEIGHHOUSE_KEY"]
    return urllib.request.Request(  # noqa: S310
        f"{(url or os.environ['WEIGHHOUSE_URL']).rstrip('/')}/api/v1/check?{labels}", headers={"Authorization": f"Bearer {key}"}
    )


def refusal(question: urllib.request.Request, *, timeout_s: float) -> str:
    """Why the session may not go on, with the link; "" when it may. Raises OSError where nobody says."""
    try:
        with urllib.request.urlopen(question, timeout=timeout_s):  # noqa: S310 - the operator's own address
            return ""
    except urllib.error.HTTPError as error:
        if error.code != 402:
            raise
        return str(json.loads(error.read())["error"]["message"])
