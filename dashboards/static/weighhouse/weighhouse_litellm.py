"""LiteLLM callbacks: `weighhouse_litellm.weighhouse` posts every finished call to Weighhouse, `.guard` asks there before each call as well.

Needs WEIGHHOUSE_URL and WEIGHHOUSE_KEY in the environment. A call is posted by its id, so that sending it again counts it once.
The guard holds what a call may cost until it is posted, and refuses with the reason and the link where to ask for more.
"""  # noqa: INP001

import asyncio
import atexit
import http.client
import json
import logging
import os
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import httpx
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
AGAIN = frozenset({408, 425, 429, *range(500, 600)})
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
# How long a caller waits for Weighhouse's word before the call goes by the policy document instead.
ASKING_S = float(os.environ.get("WEIGHHOUSE_TIMEOUT_S", "2"))
POLICY_S = float(os.environ.get("WEIGHHOUSE_POLICY_S", "60"))
# What a call may answer at most where it does not say, and how long its money is held unless it ends before.
MOST_OUTPUT_TOKENS = int(os.environ.get("WEIGHHOUSE_MAX_OUTPUT_TOKENS", "4096"))
HOLD_S = int(os.environ.get("WEIGHHOUSE_HOLD_S", "600"))
# Characters of a request for each token that is held: fewer than any tokenizer needs for prose or code.
CHARACTERS_A_TOKEN = 3
MOST_HELD = 100_000
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
        attempt = f"{call_id}-failed-{record['endTime'] * 1000:.0f}"
        return {"id": attempt, "request_id": attempt}
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
            if record and (event := self.event(record)):
                self.outbox.put(event)
        except Exception:  # whatever LiteLLM changes, its callers' answers go on
            log.exception("a call could not be read")

    def event(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """What is posted of the call."""
        return event_of(record)


class Guard(Weighhouse):
    """Asks before each call, and reports it under what was held for it."""

    def __init__(self) -> None:
        super().__init__()
        self.client: httpx.AsyncClient | None = None
        self.policy: dict[str, Any] | None = None
        self.policy_tag, self.policy_at = "", float("-inf")
        # By LiteLLM's id of the call: the authorizations of calls under way.
        self.held: dict[str, str] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str) -> dict[str, Any]:
        """Returns when the call may go on. Raises LiteLLM's own refusal, which the caller is answered with."""
        labels = labels_of(user_api_key_dict, data)
        try:
            answer = await self._send("POST", "/api/v1/authorizations", json={**labels, **estimate_of(data), "ttl_seconds": HOLD_S})
            if answer.status_code == 402:
                told = answer.json()
                raise refusal(402, f"{told.get('detail', 'A budget stands against this call.')} {told.get('request_url', '')}".strip())
            answer.raise_for_status()
        except (httpx.HTTPError, ValueError) as error:
            log.warning("Weighhouse could not be asked: %s", error)
            if reason := stands_against(self.policy, labels):
                raise refusal(503, f"Weighhouse cannot be asked just now, and {reason}. Try again shortly.") from error
            return data
        if len(self.held) >= MOST_HELD:  # calls that LiteLLM told nothing more of
            del self.held[next(iter(self.held))]
        self._beside(self._policy_keep())
        self.held[str(data.get("litellm_call_id"))] = answer.json()["id"]
        return data

    async def async_post_call_failure_hook(self, request_data: dict[str, Any], *_: Any, **__: Any) -> None:
        """The whole call has failed, retries included: what was held for it is given back."""
        self._give_back(request_data.get("litellm_call_id"))

    def take(self, record: dict[str, Any] | None) -> None:
        """Posts the call of the record under its authorization. A failed attempt may be followed by a retry and leaves it alone."""
        record = record or {}
        call_id = record.get("litellm_call_id") or record.get("id")
        if record.get("status") == "success" and record.get("cache_hit") is True:
            return self._give_back(call_id)
        return super().take(record)

    def event(self, record: dict[str, Any]) -> dict[str, Any] | None:
        found = super().event(record)
        if found is not None and found["status"] == "ok" and (held := self.held.pop(found["id"], None)):
            found["authorization"] = held
        return found

    def _give_back(self, call_id: Any) -> None:
        """Without waiting for it: what does not arrive expires by itself."""
        if held := self.held.pop(str(call_id), None):
            self._beside(self._send("DELETE", f"/api/v1/authorizations/{held}"))

    def _beside(self, asking: Coroutine[Any, Any, Any]) -> None:
        """Asks without anybody waiting for the answer."""

        async def asked() -> None:
            try:
                await asking
            except (httpx.HTTPError, ValueError) as error:
                log.warning("Weighhouse could not be told: %s", error)

        task = asyncio.get_running_loop().create_task(asked())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _policy_keep(self) -> None:
        """Looks now and then whether the policy document has changed: calls go by it while Weighhouse is away."""
        if time.monotonic() - self.policy_at < POLICY_S:
            return
        self.policy_at = time.monotonic()
        answer = await self._send("GET", "/api/v1/policy", headers={"If-None-Match": self.policy_tag} if self.policy_tag else None)
        if answer.status_code == 200:
            self.policy, self.policy_tag = answer.json(), answer.headers["ETag"]

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        if self.client is None:
            self.client = httpx.AsyncClient(
                base_url=os.environ["WEIGHHOUSE_URL"], headers={"Authorization": "Bearer " + os.environ["WEIGHHOUSE_KEY"]}, timeout=ASKING_S
            )
        return await self.client.request(method, path, **more)


def labels_of(key: Any, data: dict[str, Any]) -> dict[str, str]:
    """Whose call it is and on which model, under the same names as its event will have."""
    metadata = {name: getattr(key, name.removeprefix("user_api_key_"), None) for name in ("user_api_key_user_id", "user_api_key_user_email")}
    headers = {name.lower(): value for name, value in ((data.get("proxy_server_request") or {}).get("headers") or {}).items()}
    named = {
        **model_of(str(data.get("model") or "")),
        "session": data.get("litellm_session_id") or data.get("litellm_trace_id"),
        "member": _member({"end_user": getattr(key, "end_user_id", None) or data.get("user")}, metadata),
        "team": getattr(key, "team_alias", None),
        "project": getattr(key, "project_alias", None),
        "harness": _harness(headers.get("user-agent")).get("harness"),
        "gateway": "litellm",
    }
    return {name: _clean(name, str(value)) for name, value in named.items() if value}


def model_of(name: str) -> dict[str, str]:
    """Who bills and the model behind the name that callers use, by the proxy's first deployment of it."""
    try:
        from litellm.proxy.proxy_server import llm_router  # type: ignore[import-not-found]

        found = [deployment["litellm_params"]["model"] for deployment in llm_router.model_list if deployment["model_name"] == name]
    except (ImportError, AttributeError, KeyError, TypeError):
        found = []
    provider, _, model = (found[0] if found else name).partition("/")
    return {"provider": provider, "model": model} if model else {"model": provider}


def estimate_of(data: dict[str, Any]) -> dict[str, int]:
    """The most tokens that the call can come to: what is sent, by its length, and what it may answer."""
    sent = [data.get(name) for name in ("messages", "input", "prompt", "system", "instructions", "tools")]
    asked = next((data[name] for name in ("max_completion_tokens", "max_tokens", "max_output_tokens") if data.get(name)), MOST_OUTPUT_TOKENS)
    return {"input_tokens": len(json.dumps(sent, default=str, ensure_ascii=False)) // CHARACTERS_A_TOKEN + 1, "max_output_tokens": int(asked)}


def refusal(status: int, message: str) -> Exception:
    """The exception that LiteLLM answers its callers with, in the form of an error of OpenAI's."""
    from litellm.proxy._types import ProxyException  # type: ignore[import-not-found]

    kind = "budget_exceeded" if status == 402 else "service_unavailable"
    made: Exception = ProxyException(message=message, type=kind, param=None, code=status, openai_code=kind)
    return made


def stands_against(policy: dict[str, Any] | None, labels: dict[str, str]) -> str:
    """Why a call is refused that Weighhouse could not be asked about, by the policy document; "" when it goes on.

    Where no document was ever seen, WEIGHHOUSE_FAILS=closed refuses and everything else lets calls go on.
    """
    if policy is None:
        return "nothing is known of its budgets" if os.environ.get("WEIGHHOUSE_FAILS") == "closed" else ""
    for freeze in policy["freezes"]:
        if freeze["scope"] == "organization" or _is_named(freeze["scope"], freeze["name"], labels):
            return f"{freeze['scope']} {freeze['name']} is frozen: {freeze['reason']} {freeze['url']}"
    for budget in policy["budgets"]:
        if not budget["fails_open"] and budget["action"] != "notify" and _is_covered(budget, labels):
            return f"the budget “{budget['name']}” lets no call pass meanwhile"
    return ""


def _is_named(scope: str, name: str, labels: dict[str, str]) -> bool:
    if scope == "key":
        return bool(name) and os.environ["WEIGHHOUSE_KEY"].startswith(name)
    return labels.get(scope, "").lower() == name.lower() != ""


def _is_covered(budget: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether the call may be one of the budget's: labels that are not known here speak for it."""
    named = all(_is_named(scope, name, labels) for scope, name in budget["covers"].items() if scope in labels or scope == "key")
    return named and all(labels[name] in values for name, values in budget["filters"].items() if name in ("provider", "model", "harness", "gateway") and name in labels)


weighhouse = Weighhouse()
guard = Guard()
