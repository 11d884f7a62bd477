"""An Omnigent policy: denies what a session does next once Weighhouse has frozen it or its budget is used up, and tells why and where to ask for more.

In the agent's file, under guardrails: policies: weighhouse: {type: function, function: {path: weighhouse_omnigent.policy, arguments: {}}}.
WEIGHHOUSE_URL and WEIGHHOUSE_KEY (scope: authorize) say whom it asks; with `fails: closed` it denies where nobody answers within `timeout_s`.
"""  # noqa: INP001

import json
import logging
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

# Before anything that costs: what a person asks, each call of a model, each tool.
ASKED_BEFORE = ("request", "llm_request", "tool_call")
log = logging.getLogger("weighhouse")


def policy(fails: str = "open", timeout_s: float = 2.0) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """The evaluator, as Omnigent's function policies have it: event in, decision out; None where it has no say."""

    def evaluate(event: dict[str, Any]) -> dict[str, Any] | None:
        if event.get("type") not in ASKED_BEFORE:
            return None
        reason = stopped(event.get("context") or {}, fails=fails, timeout_s=timeout_s)
        return {"result": "DENY", "reason": reason} if reason else {"result": "ALLOW"}

    return evaluate


def stopped(context: dict[str, Any], *, fails: str, timeout_s: float) -> str:
    """Why the session may not go on, with the link; "" when it may."""
    told = {
        "session": context.get("conversation_id"),
        "model": context.get("model"),
        "harness": "omnigent",
        "member": (context.get("actor") or {}).get("run_as"),
    }
    labels = urllib.parse.urlencode({name: value for name, value in told.items() if value})
    try:
        request = urllib.request.Request(  # noqa: S310
            f"{os.environ['WEIGHHOUSE_URL'].rstrip('/')}/api/v1/check?{labels}", headers={"Authorization": f"Bearer {os.environ['WEIGHHOUSE_KEY']}"}
        )
        with urllib.request.urlopen(request, timeout=timeout_s):  # noqa: S310 - the operator's own address
            return ""
    except urllib.error.HTTPError as error:
        if error.code == 402:
            return str(json.loads(error.read())["error"]["message"])
        said = f"Weighhouse answered {error.code}"
    except (OSError, ValueError, KeyError) as error:
        said = f"Weighhouse could not be asked: {error!r}"
    log.warning("%s", said)
    return f"{said}, and this policy is set to deny then. Try again shortly." if fails == "closed" else ""
