"""Gemini's generateContent answers and the chunks of its streams. Input includes cached tokens, `candidates` leaves thoughts out.

Google's Python libraries write an answer out with `usage_metadata` where the API says `usageMetadata`; both are read.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ingest.collector.readers.values import Fields, count, identifier, instant, listed, mapping, text
from ingest.formats.answers import AnswerReader, unusual
from ingest.formats.buckets import Reported, disjoint

NAME = "gemini"


SNAKE = re.compile(r"_([a-z])")
WRITTEN_OUT = ("usage_metadata", "response_id", "model_version")


class Reader(AnswerReader):
    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if isinstance(record.get("response"), dict):
            record = {**record, "response": as_the_api(record["response"])}
        elif isinstance(record.get("stream"), list):
            record = {**record, "stream": [as_the_api(part) if isinstance(part, dict) else part for part in record["stream"]]}
        return super().read(as_the_api(record))

    def joined(self, parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The last chunk's counts are those of the whole stream."""
        answer: dict[str, Any] = {}
        for part in parts:
            answer |= {name: value for name, value in part.items() if value is not None}
        return answer

    def is_part(self, record: Mapping[str, Any]) -> bool:
        """A stream that is not of server-sent events is a list of parts, each with the counts so far; the last says why it ended."""
        ends = any(mapping(one).get("finishReason") for one in listed(record.get("candidates")))
        return bool(record.get("responseId")) and bool(record.get("candidates")) and not ends

    def lacks_id(self, answer: Mapping[str, Any]) -> bool:
        """Embeddings have none, nor have answers of older versions, whose parts are told from the whole by what ends them."""
        ends = any(mapping(one).get("finishReason") for one in listed(answer.get("candidates")))
        return ends or "embedding" in answer or "embeddings" in answer

    def call(self, answer: Mapping[str, Any]) -> Fields:
        usage = mapping(answer.get("usageMetadata"))
        return {
            "request_id": identifier(answer.get("responseId")),
            "occurred_at": instant(answer["createTime"]) if answer.get("createTime") else None,
            "provider": "google",
            "model": text(answer.get("modelVersion")).removeprefix("models/"),
            "status": "error" if answer.get("error") else "ok",
            **tokens(usage),
            "units": sounds(usage),
            "tags": unusual(traffic_type=usage.get("trafficType")),
        }


def as_the_api(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer with the API's names, of its own parts, its usage and its candidates."""
    if not any(name in answer for name in WRITTEN_OUT):
        return answer
    found = renamed(answer)
    if isinstance(usage := found.get("usageMetadata"), dict):
        found["usageMetadata"] = {
            name: [renamed(part) if isinstance(part, dict) else part for part in value] if isinstance(value, list) else value
            for name, value in renamed(usage).items()
        }
    if isinstance(candidates := found.get("candidates"), list):
        found["candidates"] = [renamed(one) if isinstance(one, dict) else one for one in candidates]
    return found


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {SNAKE.sub(lambda letter: letter[1].upper(), name): value for name, value in values.items() if value is not None}


def tokens(usage: Mapping[str, Any]) -> Fields:
    prompt, tool = count(usage.get("promptTokenCount")), count(usage.get("toolUsePromptTokenCount"))
    reported = Reported(
        input=prompt + tool if isinstance(prompt, int) and isinstance(tool, int) else prompt,
        output=usage.get("candidatesTokenCount"),
        cache_read=usage.get("cachedContentTokenCount"),
        reasoning=usage.get("thoughtsTokenCount"),
        total=usage.get("totalTokenCount"),
    )
    return disjoint(reported, cache_in_input=True, reasoning_in_output=False)


def sounds(usage: Mapping[str, Any]) -> Fields:
    """The tokens of sound, which have a price of their own."""
    found: Fields = {}
    for name, unit in (("promptTokensDetails", "input_audio_tokens"), ("candidatesTokensDetails", "output_audio_tokens")):
        parts = [mapping(part) for part in listed(usage.get(name))]
        heard = sum(part["tokenCount"] for part in parts if part.get("modality") == "AUDIO" and isinstance(part.get("tokenCount"), int))
        if heard:
            found[unit] = heard
    return found
