#!/usr/bin/env python3
"""A hook for Claude Code and Codex: stops a session that Weighhouse has frozen, or whose budget is used up, and tells why and where to ask for more.

Reads the hook's JSON from standard input and needs nothing but Python. WEIGHHOUSE_URL and WEIGHHOUSE_KEY (scope: authorize) say whom it asks;
WEIGHHOUSE_FAILS=closed stops the session where nobody answers within WEIGHHOUSE_TIMEOUT_S (2), anything else lets it go on.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT_S = 2.0
# Codex takes no `continue` before a tool (0.169.0 runs the tool then after all): there the tool alone is denied, and the next prompt is blocked.
STOPS_BEFORE_TOOLS = ("claude-code",)


def main() -> None:
    """Prints what the harness reads; nothing where the session may go on. Ends with 0: what else it says would be taken for a fault of the hook."""
    harness = sys.argv[1] if len(sys.argv) > 1 else "claude-code"
    hook = told(sys.stdin.read())
    if reason := stopped(str(hook.get("session_id") or ""), harness, str(hook.get("model") or "")):
        sys.stdout.write(json.dumps(answer(str(hook.get("hook_event_name") or ""), harness, reason)))


def told(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def stopped(session: str, harness: str, model: str) -> str:
    """Why the session may not go on, with the link; "" when it may."""
    labels = {name: value for name, value in (("session", session), ("harness", harness), ("model", model)) if value}
    try:
        request = urllib.request.Request(  # noqa: S310
            os.environ["WEIGHHOUSE_URL"].rstrip("/") + "/api/v1/check?" + urllib.parse.urlencode(labels),
            headers={"Authorization": "Bearer " + os.environ["WEIGHHOUSE_KEY"]},
        )
        with urllib.request.urlopen(request, timeout=float(os.environ.get("WEIGHHOUSE_TIMEOUT_S", TIMEOUT_S))):  # noqa: S310 - the user's own address
            return ""
    except urllib.error.HTTPError as error:
        if error.code == 402:
            return str(told(error.read().decode(errors="replace")).get("error", {}).get("message") or "A budget stands against this session.")
        return unasked(f"Weighhouse answered {error.code}")
    except (OSError, ValueError, KeyError) as error:
        return unasked(f"Weighhouse could not be asked: {error!r}")


def unasked(why: str) -> str:
    """What becomes of a session that nobody could say anything about."""
    if os.environ.get("WEIGHHOUSE_FAILS") == "closed":
        return f"{why}, and this machine is set to stop then. Try again shortly."
    sys.stderr.write(f"{why}; the session goes on.\n")
    return ""


def answer(event: str, harness: str, reason: str) -> dict[str, Any]:
    """The decision as both harnesses read it from standard output."""
    if event == "PreToolUse":
        denied = {"hookEventName": event, "permissionDecision": "deny", "permissionDecisionReason": reason}
        # Codex shows the reason of a denial itself and would say it twice.
        ending = {"systemMessage": reason, "continue": False, "stopReason": reason} if harness in STOPS_BEFORE_TOOLS else {}
        return {"hookSpecificOutput": denied, **ending}
    return {"decision": "block", "reason": reason}


if __name__ == "__main__":
    main()
