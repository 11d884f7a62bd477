"""Anthropic's messages and the events of their streams. Input excludes cached tokens; the last count of a stream is the whole."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ingest.collector.readers import claude_code
from ingest.collector.readers.values import Fields, identifier, mapping, text
from ingest.formats.answers import AnswerReader, unusual

NAME = "anthropic"


class Reader(AnswerReader):
    def joined(self, parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The message of a stream: begun with its id, model and first counts, ended with counts that replace them."""
        message: dict[str, Any] = {}
        usage: dict[str, Any] = {}
        for part in parts:
            whole = mapping(part.get("message")) if part.get("type") == "message_start" else part
            usage |= {name: value for name, value in mapping(whole.get("usage")).items() if value is not None}
            message |= {name: value for name, value in whole.items() if name in ("id", "model", "error") and value is not None}
        return {**message, "usage": usage}

    def opened(self, record: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, str]]:
        result = mapping(record.get("result"))
        return (result["message"], {"processing": "batch"}) if isinstance(result.get("message"), dict) else (record, {})

    def within(self, answer: Mapping[str, Any], fields: Fields) -> Iterable[Fields]:
        return claude_code.advice(mapping(answer.get("usage")), fields)

    def call(self, answer: Mapping[str, Any]) -> Fields:
        usage = mapping(answer.get("usage"))
        message_id = identifier(answer.get("id"))
        return {
            "request_id": message_id,
            "provider": claude_code.provider_of(message_id),
            "model": text(answer.get("model")),
            "status": "error" if answer.get("error") else "ok",
            **claude_code.tokens(usage),
            "units": claude_code.searches(usage),
            "tags": unusual(service_tier=usage.get("service_tier"), speed=usage.get("speed"), inference_geo=usage.get("inference_geo")),
        }
