"""Sums of whole runs, one event for each model: Qwen Code's usage_record.jsonl, and what Gemini CLI prints with --output-format json.

For places that keep nothing better: they repeat, call by call, what chats and telemetry say, under no id that those have. Sums that
go on over resumed sessions (Claude Code's `total_cost_usd` and `modelUsage`, Codex's `turn.completed`) are refused: they would count what
was before again.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ingest.collector.readers.reading import Stateless
from ingest.collector.readers.values import Fields, Misread, count, folder, identifier, instant, known, mapping, tags, text
from ingest.formats.buckets import Reported, disjoint

NAME = "run-sums"
GROWING = "These sums go on over resumed sessions, and would count again what was before; read the harness's files instead."


class Reader(Stateless):
    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if "modelUsage" in record or "total_cost_usd" in record or record.get("type") == "turn.completed":
            raise Misread("usage", GROWING)
        if isinstance(record.get("stats"), dict):
            for model, sums in mapping(record["stats"].get("models")).items():
                yield gemini(record, model, mapping(sums))
        elif isinstance(record.get("models"), dict):
            for model, sums in record["models"].items():
                yield qwen(record, model, mapping(sums))


def gemini(record: Mapping[str, Any], model: str, sums: Mapping[str, Any]) -> Fields:
    """`input` is the prompt without what caches served, `prompt` is with it."""
    told = mapping(sums.get("tokens"))
    prompt, tool = count(told.get("prompt")), count(told.get("tool"))
    reported = Reported(
        input=prompt + tool if isinstance(prompt, int) and isinstance(tool, int) else prompt,
        output=told.get("candidates"),
        cache_read=told.get("cached"),
        reasoning=told.get("thoughts"),
        total=told.get("total"),
    )
    return known(
        {
            "id": f"{identifier(record.get('session_id'))}:{model}",
            "harness": "gemini-cli",
            "provider": "google",
            "model": text(model),
            "session": identifier(record.get("session_id")),
            **disjoint(reported, cache_in_input=True, reasoning_in_output=False),
            "tags": tags(calls=mapping(sums.get("api")).get("totalRequests")),
        }
    )


def qwen(record: Mapping[str, Any], model: str, sums: Mapping[str, Any]) -> Fields:
    reported = Reported(
        input=sums.get("inputTokens"),
        output=sums.get("outputTokens"),
        cache_read=sums.get("cachedTokens"),
        reasoning=sums.get("thoughtsTokens"),
        total=sums.get("totalTokens"),
    )
    session = identifier(record.get("sessionId"))
    return known(
        {
            "id": f"{session}:{text(record.get('timestamp'))}:{model}",
            "occurred_at": instant(record.get("timestamp")),
            "harness": "qwen-code",
            "model": text(model),
            "session": session,
            **disjoint(reported, cache_in_input=True, reasoning_in_output=True),
            "tags": tags(calls=sums.get("requests"), folder=folder(record.get("project"))),
        }
    )
