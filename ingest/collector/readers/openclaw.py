"""OpenClaw's transcript (table `transcript_events` of openclaw-agent.sqlite, or session files before it): one call for each answer.

Input excludes cached tokens, output includes reasoning. `trajectory…model.completed` repeats the sum of a run and is not read.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from .buckets import Reported, disjoint
from .reading import Stateless
from .values import Fields, amount, count, elapsed_ms, folder, identifier, instant, known, mapping, tags, text

NAME = "openclaw"
HARNESS = "openclaw"
MARKS = (b'"usage"', b'"session"')


class Reader(Stateless):
    """Remembers the session that a file of lines begins with; rows name theirs themselves."""

    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if record.get("table", "transcript_events") != "transcript_events":
            return
        event = mapping(record.get("event_json")) or record
        message = mapping(event.get("message"))
        if event.get("type") == "session":
            self.context |= {"session": identifier(event.get("id")), "folder": folder(event.get("cwd"))}
        elif message.get("role") == "assistant" and isinstance(message.get("usage"), dict):
            yield self._call(event, message, session=identifier(record.get("session_id")) or self.context.get("session", ""))

    def _call(self, event: Mapping[str, Any], message: Mapping[str, Any], *, session: str) -> Fields:
        usage = message["usage"]
        buckets = tokens(usage)
        is_failed = message.get("stopReason") in ("error", "aborted")
        is_empty = is_failed and not any(buckets.values())
        at = instant(event.get("timestamp") or message.get("timestamp"))
        return known(
            {
                "request_id": identifier(message.get("responseId")),
                "id": identifier(event.get("id")),
                "occurred_at": at,
                "harness": HARNESS,
                "provider": text(message.get("provider"), 80),
                "model": text(message.get("responseModel")) or text(message.get("model")),
                "session": session,
                "trace": identifier(mapping(message.get("__openclaw")).get("runId")),
                "status": "error" if is_failed else "ok",
                **({} if is_empty else buckets),
                "latency_ms": elapsed_ms(instant(message["timestamp"]), at) if message.get("timestamp") else None,
                "reported_cost": None if is_empty else amount(mapping(usage.get("cost")).get("total")),
                "tags": tags(folder=self.context.get("folder"), api=message.get("api")),
            }
        )


def tokens(usage: Mapping[str, Any]) -> Fields:
    """The disjoint buckets. What is written for an hour is a part of what is written, unless only beside it the total comes out."""
    names = ("input", "output", "cacheRead", "cacheWrite", "cacheWrite1h", "totalTokens")
    known_counts = [count(usage.get(name)) for name in names]
    is_beside = all(isinstance(one, int) for one in known_counts) and sum(known_counts[:5]) == known_counts[5]  # type: ignore[arg-type]
    reported = Reported(
        input=usage.get("input"),
        output=usage.get("output"),
        cache_read=usage.get("cacheRead"),
        cache_write=None if is_beside else usage.get("cacheWrite"),
        cache_write_5m=usage.get("cacheWrite") if is_beside else None,
        cache_write_1h=usage.get("cacheWrite1h"),
        reasoning=usage.get("reasoningTokens"),
        total=usage.get("totalTokens"),
    )
    return disjoint(reported, cache_in_input=False, reasoning_in_output=True)
