"""Helicone's webhooks, and rows of its request query: one record for each request. Written from its documentation."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ingest.collector.readers.reading import Stateless
from ingest.collector.readers.values import Fields, amount, identifier, instant, known, mapping, text
from ingest.formats import any_vendor, vendor_openai
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.scalars import milliseconds

NAME = "helicone"
SESSION = ("Helicone-Session-Id", "helicone-session-id")
LONGEST_BODY = 1_000_000
FIELDS = {"team": "team", "project": "project", "environment": "environment"}


class Reader(Stateless):
    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if record.get("cache_enabled") is True and record.get("cache_reference_id") not in (
            None,
            "",
            "00000000-0000-0000-0000-000000000000",
        ):
            return
        sums = mapping(record.get("metadata"))
        words = {
            text(name, 120): text(value) for name, value in mapping(record.get("request_properties") or record.get("properties")).items()
        }
        status = record.get("response_status") or record.get("status")
        is_ok = not (isinstance(status, int) and status >= 400)
        made = record.get("response_created_at") or record.get("request_created_at") or record.get("created_at")
        yield known(
            {
                **{FIELDS[name.lower()]: value for name, value in words.items() if name.lower() in FIELDS},
                "id": identifier(record.get("request_id")),
                "occurred_at": instant(made) if made else None,
                "provider": text(record.get("provider"), 80).lower(),
                "model": text(record.get("response_model") or record.get("model") or record.get("request_model")),
                "gateway": "helicone",
                "member": text(record.get("request_user_id") or record.get("user_id"), 254),
                "session": next((words[name] for name in SESSION if words.get(name)), ""),
                "status": "ok" if is_ok else "error",
                **(tokens(record, sums) if is_ok else {}),
                "latency_ms": milliseconds(record.get("delay_ms") or sums.get("latencyMs")),
                "ttft_ms": milliseconds(record.get("time_to_first_token")),
                "reported_cost": amount(record.get("cost_usd") or record.get("cost") or sums.get("cost")) if is_ok else None,
                "tags": {name: value for name, value in words.items() if value and name not in SESSION and name.lower() not in FIELDS},
            }
        )


def tokens(record: Mapping[str, Any], sums: Mapping[str, Any]) -> Fields:
    """The vendor's own usage where the webhook brings its answer, else Helicone's counts, in which input includes what caches did."""
    if found := any_vendor.tokens(answer_of(record.get("response_body"))):
        return found
    reported = Reported(
        input=vendor_openai.first({**sums, **record}, "prompt_tokens", "promptTokens"),
        output=vendor_openai.first({**sums, **record}, "completion_tokens", "completionTokens"),
        cache_read=record.get("prompt_cache_read_tokens"),
        cache_write=record.get("prompt_cache_write_tokens"),
        reasoning=record.get("reasoning_tokens"),
        total=vendor_openai.first({**sums, **record}, "total_tokens", "totalTokens"),
    )
    return disjoint(reported, cache_in_input=True, reasoning_in_output=True)


def answer_of(body: Any) -> Mapping[str, Any]:
    """The vendor's answer, which webhooks bring as an object or as JSON in a text."""
    if not isinstance(body, str) or len(body) > LONGEST_BODY:
        return mapping(body)
    try:
        return mapping(json.loads(body))
    except (ValueError, RecursionError):
        return {}
