"""Qwen Code's chats (~/.qwen/projects/*/chats/*.jsonl): one call for each `api_response` that the session notes, by its `response_id`.

Input includes cached tokens and output includes thoughts, under the names that Gemini CLI uses for the opposite. The answer's own line
repeats the counts; it is read only where the version noted none. `usage_record.jsonl` sums whole sessions and is not read.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from .buckets import Reported, disjoint
from .reading import Stateless
from .values import Fields, folder, identifier, instant, known, mapping, tags, text

NAME = "qwen-code"
HARNESS = "qwen-code"
MARKS = (b'"ui_telemetry"', b'"usageMetadata"')
RESPONSE, ERROR = "qwen-code.api_response", "qwen-code.api_error"


class Reader(Stateless):
    """Remembers whether the session notes its responses, so that an answer's line is not counted beside its note."""

    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if record.get("forkedFrom") or (record.get("agentId") and not record.get("model")):
            # A branch copies the lines of the chat it was made from; a sub-agent's file repeats what the chat notes, without the model.
            return
        told = mapping(mapping(record.get("systemPayload")).get("uiEvent")) if record.get("subtype") == "ui_telemetry" else {}
        if told.get("event.name") == ERROR:
            yield known({**self._noted(record, told), "status": "error"})
        elif told.get("event.name") == RESPONSE and told.get("input_token_count") is not None:
            self.context["noted"] = True
            yield known({**self._noted(record, told), **noted_tokens(told)})
        elif record.get("type") == "assistant" and record.get("usageMetadata") and not self.context.get("noted"):
            usage = mapping(record["usageMetadata"])
            yield known(
                {**self._shared(record), "id": identifier(record.get("uuid")), "model": text(record.get("model")), **answer_tokens(usage)}
            )

    def _noted(self, record: Mapping[str, Any], told: Mapping[str, Any]) -> Fields:
        return {
            **self._shared(record),
            "occurred_at": instant(told.get("event.timestamp") or record.get("timestamp")),
            "request_id": identifier(told.get("response_id")),
            "id": identifier(record.get("uuid")),
            "model": text(told.get("model")),
            "trace": identifier(told.get("prompt_id")),
            "role": "subagent" if told.get("subagent_name") else "",
            "latency_ms": told.get("duration_ms") if isinstance(told.get("duration_ms"), int) else None,
            "ttft_ms": told.get("ttft_ms") if isinstance(told.get("ttft_ms"), int) else None,
        }

    def _shared(self, record: Mapping[str, Any]) -> Fields:
        told = mapping(mapping(record.get("systemPayload")).get("uiEvent"))
        return {
            "occurred_at": instant(record.get("timestamp")),
            "harness": HARNESS,
            "harness_version": text(record.get("version"), 80),
            "session": identifier(record.get("sessionId")),
            "tags": tags(
                folder=folder(record.get("cwd")),
                git__branch=record.get("gitBranch"),
                auth_type=told.get("auth_type"),
                agent__name=told.get("subagent_name"),
            ),
        }


def noted_tokens(told: Mapping[str, Any]) -> Fields:
    reported = Reported(
        input=told.get("input_token_count"),
        output=told.get("output_token_count"),
        cache_read=told.get("cached_content_token_count"),
        reasoning=told.get("thoughts_token_count"),
        total=told.get("total_token_count"),
    )
    return disjoint(reported, cache_in_input=True, reasoning_in_output=True)


def answer_tokens(usage: Mapping[str, Any]) -> Fields:
    reported = Reported(
        input=usage.get("promptTokenCount"),
        output=usage.get("candidatesTokenCount"),
        cache_read=usage.get("cachedContentTokenCount"),
        reasoning=usage.get("thoughtsTokenCount"),
        total=usage.get("totalTokenCount"),
    )
    return disjoint(reported, cache_in_input=True, reasoning_in_output=True)
