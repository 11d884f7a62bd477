"""A LiteLLM callback that posts every finished call to Weighhouse: config.yaml, litellm_settings: callbacks: weighhouse_litellm.weighhouse.

Needs WEIGHHOUSE_URL and WEIGHHOUSE_KEY in the environment. A call is posted by its id, so that a retry is counted once.
"""  # noqa: INP001

import asyncio
import json
import logging
import os
import urllib.request
from datetime import UTC, datetime
from typing import Any

from litellm.integrations.custom_logger import CustomLogger  # type: ignore[import-not-found]

ATTEMPTS = 4
TIMEOUT_SECONDS = 10
log = logging.getLogger("weighhouse")


def event_of(record: dict[str, Any]) -> dict[str, Any]:
    """Weighhouse's event for LiteLLM's standard logging record. LiteLLM's prompt tokens include what caches served and took; ours do not."""
    metadata = record.get("metadata") or {}
    usage = metadata.get("usage_object") or {}
    details = usage.get("prompt_tokens_details") or {}
    read = usage.get("cache_read_input_tokens") or details.get("cached_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or details.get("cache_creation_tokens") or 0
    hour = (details.get("cache_creation_token_details") or {}).get("ephemeral_1h_input_tokens") or 0
    event = {
        "id": record["litellm_call_id"] if record.get("litellm_call_id") else record["id"],
        "occurred_at": datetime.fromtimestamp(record["endTime"], UTC).isoformat(),
        "provider": record.get("custom_llm_provider") or "",
        "model": (record.get("model") or "").split("/")[-1],
        "gateway": "litellm",
        "session": record.get("trace_id") or "",
        "member": record.get("end_user") or metadata.get("user_api_key_user_email") or "",
        "team": metadata.get("user_api_key_team_alias") or "",
        "status": "ok" if record.get("status") == "success" else "error",
        "latency_ms": int((record["endTime"] - record["startTime"]) * 1000),
    }
    if usage:
        event |= {
            "input_tokens": max(0, (usage.get("prompt_tokens") or 0) - read - written),
            "cache_read_tokens": read,
            "cache_write_5m_tokens": written - hour,
            "cache_write_1h_tokens": hour,
            "output_tokens": usage.get("completion_tokens") or 0,
            "reasoning_tokens": (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
        }
    return {name: value for name, value in event.items() if value != ""}


def post(event: dict[str, Any]) -> None:
    """Sends one event. Raises OSError when it could not be delivered."""
    request = urllib.request.Request(  # noqa: S310
        os.environ["WEIGHHOUSE_URL"].rstrip("/") + "/api/v1/events",
        data=json.dumps(event).encode(),
        headers={"Authorization": "Bearer " + os.environ["WEIGHHOUSE_KEY"], "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - the operator's own address
        response.read()


class Weighhouse(CustomLogger):  # type: ignore[misc]
    """Posts after the call, beside it: a caller never waits for it and never sees it fail."""

    async def async_log_success_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        await self.deliver(kwargs)

    async def async_log_failure_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        await self.deliver(kwargs)

    async def deliver(self, kwargs: dict[str, Any]) -> None:  # noqa: RET503
        record = kwargs.get("standard_logging_object")
        if not record:
            return None
        for attempt in range(ATTEMPTS):
            try:
                return await asyncio.to_thread(post, event_of(record))
            except OSError as error:
                log.warning("event %s not delivered, attempt %d: %s", record.get("id"), attempt + 1, error)
                await asyncio.sleep(2**attempt)


weighhouse = Weighhouse()
