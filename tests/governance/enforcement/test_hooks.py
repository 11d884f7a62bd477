"""The hook of Claude Code and Codex as a process of its own, and Omnigent's policy, both before a real server of ours."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings
from pytest_django.live_server_helper import LiveServer

from governance.budgets.services import freeze_stop
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from tests.conftest import KeyInHand
from tests.governance.budgets.test_freezes import freeze, seen
from tests.ingest.doors.test_live import free_port

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("transactional_db")]
FOLDER = settings.BASE_DIR / "dashboards/static/weighhouse"
GOLDEN = settings.BASE_DIR / "tests/golden"
COMMON = {"session_id": "s1", "transcript_path": "/home/dev/s1.jsonl", "cwd": "/home/dev/project", "permission_mode": "default"}
PROMPT = COMMON | {"hook_event_name": "UserPromptSubmit", "prompt": "Go on."}
TOOL = COMMON | {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "toolu_01"}
WHY = f"Session s1 was frozen by hand by Admin: looks like a loop {settings.PUBLIC_URL}/o/acme/sessions/s1"
Run = Callable[..., tuple[dict[str, Any] | None, str]]


@pytest.fixture
def run(live_server: LiveServer, api_key: KeyInHand) -> Run:
    """Runs the hook with a payload on its standard input: what it answers, None where it says nothing, and what it says beside that."""

    def hook(payload: Any, harness: str = "claude-code", **environment: str) -> tuple[dict[str, Any] | None, str]:
        # -S -E: nothing installed helps it.
        done = subprocess.run(
            [sys.executable, "-S", "-E", str(FOLDER / "weighhouse_hook.py"), harness], input=payload if isinstance(payload, str) else json.dumps(payload), text=True,
            capture_output=True, check=True, env={"WEIGHHOUSE_URL": live_server.url, "WEIGHHOUSE_KEY": api_key.secret, "WEIGHHOUSE_TIMEOUT_S": "60"} | environment,
        )  # fmt: skip
        return (json.loads(done.stdout) if done.stdout else None), done.stderr

    return hook


@pytest.fixture
def frozen(organization: Organization, admin: Member) -> Any:
    seen(organization, "s1")
    return freeze(admin, "session", "s1")


def test_frozen_session_of_claude_code_is_stopped_and_told_why(run: Run, frozen: Any, admin: Member) -> None:
    assert run(PROMPT)[0] == {"decision": "block", "reason": WHY}
    denied = {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": WHY}
    assert run(TOOL)[0] == {"hookSpecificOutput": denied, "systemMessage": WHY, "continue": False, "stopReason": WHY}
    freeze_stop(actor=member_actor(admin), freeze=frozen, reason="done")
    assert (run(PROMPT), run(TOOL)) == ((None, ""), (None, ""))


def test_codex_is_told_in_the_members_that_it_takes(run: Run, organization: Organization, admin: Member) -> None:
    prompt, tool = ((GOLDEN / f"codex-cli/hooks/{event}.json").read_text(encoding="utf-8") for event in ("UserPromptSubmit", "PreToolUse"))
    session = json.loads(prompt)["session_id"]
    seen(organization, session)
    assert (run(prompt, "codex"), run(tool, "codex")) == ((None, ""), (None, ""))
    freeze(admin, "session", session)
    why = f"Session {session} was frozen by hand by Admin: looks like a loop {settings.PUBLIC_URL}/o/acme/sessions/{session}"
    assert run(prompt, "codex")[0] == {"decision": "block", "reason": why}
    # With `continue` or `stopReason` Codex 0.169.0 takes the answer for a fault and runs the tool.
    denied = {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": why}
    assert run(tool, "codex")[0] == {"hookSpecificOutput": denied}


def test_model_that_is_switched_off_is_refused_where_the_hook_names_it(run: Run, admin: Member) -> None:
    freeze(admin, "model", "gpt-5")
    answer, _ = run(PROMPT | {"model": "gpt-5"}, "codex")
    assert answer is not None
    assert "Model gpt-5 was frozen" in answer["reason"]
    assert run(PROMPT | {"model": "gpt-4o"}, "codex")[0] is None


@pytest.mark.parametrize("broken", [{"WEIGHHOUSE_URL": ""}, {"WEIGHHOUSE_KEY": "wh_wrong"}, {"WEIGHHOUSE_URL": "away"}])
def test_where_nobody_answers_the_session_goes_on_or_not_as_set(broken: dict[str, str], run: Run) -> None:
    if broken.get("WEIGHHOUSE_URL") == "away":
        broken = {"WEIGHHOUSE_URL": f"http://127.0.0.1:{free_port()}"}
    answer, said = run(PROMPT, **broken)
    assert (answer, "the session goes on" in said) == (None, True)
    answer, _ = run(PROMPT, WEIGHHOUSE_FAILS="closed", **broken)
    assert answer is not None
    assert answer["decision"] == "block"


@pytest.mark.parametrize("payload", ["", "no JSON", "[]", '{"session_id": null}'])
def test_payload_that_says_nothing_stops_nothing(payload: str, run: Run) -> None:
    assert run(payload)[0] is None


@pytest.fixture
def omnigent(live_server: LiveServer, api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("WEIGHHOUSE_URL", live_server.url)
    monkeypatch.setenv("WEIGHHOUSE_KEY", api_key.secret)
    spec = importlib.util.spec_from_file_location("weighhouse_omnigent", FOLDER / "weighhouse_omnigent.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_omnigents_policy_denies_what_a_frozen_session_does_next(
    omnigent: ModuleType, frozen: Any, live_server: LiveServer, api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # An Omnigent that starts its server by itself keeps these from it.
    monkeypatch.delenv("WEIGHHOUSE_URL")
    monkeypatch.delenv("WEIGHHOUSE_KEY")
    (tmp_path / "key").write_text(f"{api_key.secret}\n", encoding="utf-8")
    evaluate = omnigent.policy(timeout_s=60, url=live_server.url, key_file=str(tmp_path / "key"))

    def decided(kind: str, session: str = "s1") -> Any:
        return evaluate(
            {
                "type": kind,
                "target": None,
                "data": {},
                "context": {"conversation_id": session, "model": "gpt-5", "actor": {"run_as": ""}},
                "session_state": {},
            }
        )

    asked = ("request", "llm_request", "tool_call")
    assert [decided(kind) for kind in asked] == [{"result": "DENY", "reason": WHY}] * 3
    assert [decided(kind) for kind in ("response", "tool_result", "llm_response")] == [None, None, None]
    assert decided("request", "s2") == {"result": "ALLOW"}


def test_omnigents_policy_goes_on_or_not_as_set_where_nobody_answers(omnigent: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHHOUSE_URL", f"http://127.0.0.1:{free_port()}")
    event = {"type": "request", "context": {"conversation_id": "s1"}}
    assert omnigent.policy()(event) == {"result": "ALLOW"}
    assert omnigent.policy(fails="closed")(event)["result"] == "DENY"
