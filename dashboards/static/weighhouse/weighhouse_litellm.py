"""A LiteLLM callback that posts every finished call to Weighhouse: config.yaml, litellm_settings: callbacks: weighhouse_litellm.weighhouse.

Needs WEIGHHOUSE_URL and WEIGHHOUSE_KEY in the environment. A call is posted by its id, so that sending it again counts it once.
"""  # noqa: INP001

import atexit
import http.client
import json
import logging
import os
import queue
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

from litellm.integrations.custom_logger import CustomLogger  # type: ignore[import-not-found]

TIMEOUT_S = 10.0
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
# Events that wait while Weighhouse is away; about 10 MB. What comes after that many is lost and said so.
MOST_WAITING = 10_000
BATCH = 100
# How long the end of the process waits for what is still to be sent.
PATIENCE_S = 5.0
# Sending again can help with these; with every other refusal it cannot.
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
# Where LiteLLM keeps what the vendor answered with: the vendor's own id of the call.
REQUEST_IDS = ("llm_provider-request-id", "llm_provider-x-request-id")
# By the first word of the caller's User-Agent, in lower case.
HARNESSES = {
    "claude-cli": "claude-code",
    "codex_cli_rs": "codex",
    "codex_exec": "codex",
    "geminicli": "gemini-cli",
    "opencode": "opencode",
    "qwencode": "qwen-code",
}
NOBODY = "default_user_id"
LONGEST = {"member": 254, "provider": 80, "harness": 80, "harness_version": 80}
log = logging.getLogger("weighhouse")


def event_of(record: dict[str, Any]) -> dict[str, Any] | None:
    """Weighhouse's event for LiteLLM's standard logging record; None for an answer from LiteLLM's own cache, which no vendor bills."""
    if record.get("cache_hit") is True:
        return None
    metadata = record.get("metadata") or {}
    is_ok = record.get("status") == "success"
    event = {
        **_ids(record, is_ok=is_ok),
        **_model(record),
        **_harness(record.get("user_agent") or metadata.get("user_agent")),
        "occurred_at": datetime.fromtimestamp(record["endTime"], UTC).isoformat(),
        "gateway": "litellm",
        "session": record.get("trace_id"),
        "member": _member(record, metadata),
        "team": metadata.get("user_api_key_team_alias"),
        "project": metadata.get("user_api_key_project_alias"),
        "status": "ok" if is_ok else "error",
        "latency_ms": _latency_ms(record),
        **_tokens(metadata.get("usage_object") or {}, is_ok=is_ok),
    }
    cost = record.get("response_cost")
    if is_ok and cost is not None and not record.get("response_cost_failure_debug_info"):
        event["reported_cost"] = f"{cost:.15f}"
    return {name: _clean(name, value) for name, value in event.items() if value is not None and value != ""}


def _clean(name: str, value: Any) -> Any:
    """Text as Weighhouse takes it: one line, no longer than the field."""
    if not isinstance(value, str):
        return value
    return "".join(max(character, " ") for character in value)[: LONGEST.get(name, 200)]


def _ids(record: dict[str, Any], *, is_ok: bool) -> dict[str, Any]:
    """LiteLLM's id of the call, and the vendor's where LiteLLM knows it. A failed attempt has the id of the retry that succeeds, so it gets its own."""
    call_id = record.get("litellm_call_id") or record.get("id")
    if not is_ok:
        return {"id": f"{call_id}-failed-{record['endTime'] * 1000:.0f}"}
    headers = (record.get("hidden_params") or {}).get("additional_headers") or {}
    return {"id": call_id, "request_id": next((headers[name] for name in REQUEST_IDS if headers.get(name)), None)}


def _model(record: dict[str, Any]) -> dict[str, Any]:
    """Who bills and the model, without the provider that LiteLLM writes before it. Resellers' own names keep their maker."""
    provider = record.get("custom_llm_provider") or ""
    model = record.get("model") or record.get("model_group") or "unknown"
    model = model.removeprefix(f"{provider}/") if provider else model
    return {"provider": provider, "model": model.rpartition("/")[2] if provider.startswith("bedrock") else model}


def _harness(user_agent: Any) -> dict[str, str]:
    name, _, version = str(user_agent or "").partition(" ")[0].partition("/")
    harness = HARNESSES.get(name.lower())
    return {"harness": harness, "harness_version": version} if harness else {}


def _member(record: dict[str, Any], metadata: dict[str, Any]) -> str:
    """The person: whom the caller named, else whose key it is. What Claude Code sends there is a device, and an account where somebody is signed in."""
    named = str(record.get("end_user") or "")
    if named.startswith("{"):
        try:
            named = str(json.loads(named).get("account_uuid") or "")
        except ValueError:
            named = ""
    elif named.startswith("user_") and "_account_" in named and "_session_" in named:
        named = named.partition("_account_")[2].rpartition("_session_")[0].strip("_")
    owner = metadata.get("user_api_key_user_id")
    return named or metadata.get("user_api_key_user_email") or (owner if owner != NOBODY else "") or ""


def _latency_ms(record: dict[str, Any]) -> int | None:
    """From request to the end of the answer. LiteLLM's clock of streamed /v1/messages starts when the stream has nearly ended."""
    if record.get("call_type") == "anthropic_messages" and record.get("stream"):
        return None
    seconds: float = record["endTime"] - record["startTime"]
    return max(0, round(seconds * 1000))


def _tokens(usage: dict[str, Any], *, is_ok: bool) -> dict[str, int | None]:
    """Disjoint counts, None where LiteLLM does not know. Its prompt tokens include what caches served and took; ours do not."""
    if not is_ok and not usage.get("total_tokens"):
        return {}
    details = usage.get("prompt_tokens_details") or {}
    read = _first(usage.get("cache_read_input_tokens"), details.get("cached_tokens"))
    written = _first(usage.get("cache_creation_input_tokens"), details.get("cache_creation_tokens"))
    hour = (details.get("cache_creation_token_details") or {}).get("ephemeral_1h_input_tokens")
    prompt = usage.get("prompt_tokens")
    return {
        "input_tokens": None if prompt is None else max(0, prompt - (read or 0) - (written or 0)),
        "cache_read_tokens": read,
        "cache_write_5m_tokens": None if written is None else max(0, written - (hour or 0)),
        "cache_write_1h_tokens": hour,
        "output_tokens": usage.get("completion_tokens"),
        "reasoning_tokens": (usage.get("completion_tokens_details") or {}).get("reasoning_tokens"),
    }


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


def post(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Sends events and returns Weighhouse's answer. Raises OSError or HTTPException when they could not be delivered."""
    request = urllib.request.Request(  # noqa: S310
        os.environ["WEIGHHOUSE_URL"].rstrip("/") + "/api/v1/events?results=errors",
        data=json.dumps({"events": events}).encode(),
        headers={"Authorization": "Bearer " + os.environ["WEIGHHOUSE_KEY"], "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - the operator's own address
        answer: dict[str, Any] = json.loads(response.read())
        return answer


class Outbox:
    """Sends what it is given in a thread of its own, in order, until Weighhouse has it or says that it never will."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[dict[str, Any]] = queue.Queue(MOST_WAITING)
        self.thread: threading.Thread | None = None
        self.starting = threading.Lock()
        self.ending = threading.Event()

    def put(self, event: dict[str, Any]) -> None:
        """Takes the event along. Never waits and never raises."""
        with self.starting:
            # Begun at the first call, and again where the process was forked after that.
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._run, name="weighhouse", daemon=True)
                self.thread.start()
        try:
            self.waiting.put_nowait(event)
        except queue.Full:
            log.error("event %s is lost: %d wait for Weighhouse already", event["id"], MOST_WAITING)  # noqa: TRY400 - it is full, no more is to know

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Gives what still waits this long to be sent."""
        if self.thread is None or not self.thread.is_alive():
            return
        done = threading.Thread(target=self.waiting.join, daemon=True)
        done.start()
        done.join(patience_s)
        self.ending.set()
        if left := self.waiting.unfinished_tasks:
            log.error("%d events are lost: the process ends", left)

    def _run(self) -> None:
        while not self.ending.is_set():
            events = [self.waiting.get()]
            while len(events) < BATCH and not self.waiting.empty():
                events.append(self.waiting.get_nowait())
            self._deliver(events)
            for _ in events:
                self.waiting.task_done()

    def _deliver(self, events: list[dict[str, Any]]) -> None:
        wait_s = FIRST_WAIT_S
        while not self.ending.is_set():
            asked_s = 0.0
            try:
                return _note(events, post(events))
            except urllib.error.HTTPError as error:
                if error.code not in AGAIN:
                    said = error.read(500).decode(errors="replace")
                    return log.error("%d events refused: %d %s", len(events), error.code, said)  # noqa: TRY400 - the answer says it all
                asked_s = _seconds(error.headers.get("Retry-After"))
                log.warning("%d events not delivered yet: %s", len(events), error)
            except (OSError, http.client.HTTPException, ValueError) as error:
                log.warning("%d events not delivered yet: %s", len(events), error)
            self.ending.wait(min(max(wait_s, asked_s), LONGEST_WAIT_S))
            wait_s *= 2
        return None


def _note(events: list[dict[str, Any]], answer: dict[str, Any]) -> None:
    """Says which events were not counted. They are kept in Weighhouse, where an admin looks at them; sending again would not help."""
    for result in answer.get("results") or ():
        if result.get("status") in ("conflict", "rejected"):
            log.error("event %s not counted (%s): %s", events[result["index"]]["id"], result["status"], result.get("reason", ""))


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.0


class Weighhouse(CustomLogger):  # type: ignore[misc]
    """Posts after the call, beside it: a caller never waits for it and never sees it fail."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        atexit.register(self.outbox.close)

    async def async_log_success_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.take(kwargs.get("standard_logging_object"))

    async def async_log_failure_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.take(kwargs.get("standard_logging_object"))

    def take(self, record: dict[str, Any] | None) -> None:
        """Posts the call of the record, if there is one."""
        try:
            if record and (event := event_of(record)):
                self.outbox.put(event)
        except Exception:  # whatever LiteLLM changes, its callers' answers go on
            log.exception("a call could not be read")


weighhouse = Weighhouse()
