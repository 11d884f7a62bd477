"""Kong's log entries with its AI plugins' statistics (http-log and the like): one call for each plugin that made one. From its documentation."""

from collections.abc import Iterable, Mapping
from typing import Any

from ingest.collector.readers.reading import Stateless
from ingest.collector.readers.values import Fields, amount, identifier, instant, known, mapping, text
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.scalars import milliseconds
from ingest.formats.vendor_openai import first

NAME = "kong"


class Reader(Stateless):
    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        entry = mapping(record.get("ai"))
        for plugin, statistics in entry.items():
            usage, meta = mapping(mapping(statistics).get("usage")), mapping(mapping(statistics).get("meta"))
            is_cached = mapping(mapping(statistics).get("cache")).get("cache_status") == "Hit"
            if meta.get("request_model") and not is_cached:
                yield call(record, str(plugin), usage, meta)


def call(record: Mapping[str, Any], plugin: str, usage: Mapping[str, Any], meta: Mapping[str, Any]) -> Fields:
    request, response = mapping(record.get("request")), mapping(record.get("response"))
    consumer = mapping(record.get("consumer"))
    status = response.get("status")
    is_ok = not (isinstance(status, int) and status >= 400)
    reported = Reported(
        input=first(usage, "prompt_tokens", "prompt_token"),
        output=first(usage, "completion_tokens", "completion_token"),
        total=usage.get("total_tokens"),
    )
    return known(
        {
            "id": f"{identifier(request.get('id'))}:{text(plugin, 80)}" if request.get("id") else "",
            "occurred_at": instant(record.get("started_at")),
            "provider": text(meta.get("provider_name"), 80),
            "model": text(meta.get("response_model")) or text(meta.get("request_model")),
            "gateway": "kong",
            "member": text(consumer.get("username") or consumer.get("custom_id"), 254),
            "status": "ok" if is_ok else "error",
            **(disjoint(reported, cache_in_input=True, reasoning_in_output=True) if is_ok else {}),
            "latency_ms": milliseconds(meta.get("llm_latency")),
            "reported_cost": amount(usage.get("cost")) if is_ok else None,
            "tags": {
                name: value
                for name, value in (
                    ("service", text(mapping(record.get("service")).get("name"))),
                    ("route", text(mapping(record.get("route")).get("name"))),
                    ("model.requested", text(meta.get("request_model"))),
                )
                if value
            },
        }
    )
