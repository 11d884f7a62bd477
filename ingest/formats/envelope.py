"""Envelopes that name the format of what is in them: {"format": "openai", "labels": {…}, "response": {…}}, in one post for many vendors."""

from collections.abc import Iterable, Mapping
from typing import Any

from ingest.collector.readers.reading import Stateless
from ingest.collector.readers.values import Fields, Misread, text
from ingest.formats.answers import AnswerReader

NAME = "response"


class Reader(Stateless):
    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        from ingest.formats.records import record_formats

        name = text(record.get("format"), 80)
        reader = getattr(record_formats().get(name), "Reader", Stateless)
        if not issubclass(reader, AnswerReader):
            raise Misread("format", "`format` has to name a vendor whose answers are read, such as openai, anthropic or gemini.")
        yield from reader().read(record)
