"""Records of gateways, vendors and harness files made into usage events, each by its format, which is found by its name. Pure.

A module of this folder, or of the collector's readers, is a format when it has NAME and Reader: `Reader().read(record)` gives the
fields of the calls that are complete with the record, `close()` those that no further record can complete. Nothing of a record is
kept but those fields.
"""

import json
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec

import ingest.formats
from ingest.collector.readers import readers
from ingest.collector.readers.reading import Reader
from ingest.collector.readers.values import Fields, Misread
from ingest.formats import native
from ingest.formats.answers import named
from ingest.formats.batch import Parsed, Refusal, TooLarge, Unreadable, fault_of, json_reading, without_half_characters
from ingest.formats.event import Fault, UsageEvent
from ingest.formats.fields import event_of

# What one record may hold before it is refused undecoded: bounds the memory that a hostile one can take.
MOST_VALUES = 200_000
# A post may hold many lines without usage in them, such as a transcript's.
MOST_RECORDS = 200_000
REPLACEMENT = b"\\ufffd"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What says which call it is or when it was: of one record only, or all records of a body would be the same call.
OF_ONE_CALL = ("id", "request_id", "occurred_at", "latency_ms", "ttft_ms", "reported_cost", "authorization", "status")
OF_MANY = (
    "team", "project", "member", "session", "parent_session", "task", "trace", "parent", "role", "task_class", "environment", "harness",
    "harness_version", "gateway", "provider", "model", "billing_mode", "currency",
)  # fmt: skip
# What a broken record can raise in a reader that expects another shape.
ODD = (AttributeError, KeyError, IndexError, TypeError, ValueError, ArithmeticError)
json_value = msgspec.json.Decoder()
raw_list = msgspec.json.Decoder(list[msgspec.Raw])
Document = bytes | msgspec.Raw


@cache
def record_formats() -> Mapping[str, ModuleType]:
    """Every format of records by its name."""
    modules = (import_module(f"ingest.formats.{found.name}") for found in pkgutil.iter_modules(ingest.formats.__path__))
    return {**readers(), **{module.NAME: module for module in modules if hasattr(module, "Reader") and hasattr(module, "NAME")}}


def parse(body: bytes, *, name: str, labels: Mapping[str, Any], received_at: datetime, is_lines: bool = False, client: str = "") -> Parsed:
    """The calls that a body reports in the format `name`; positions are those of the records that completed them.

    `labels` fill what the records do not say; `received_at` is the time of records that say none; `client` sent them. Raises Unreadable and TooLarge
    for a body that cannot be read as a whole, and KeyError for a format that does not exist.
    """
    reader: Reader = record_formats()[name].Reader()
    found = documents(body, is_lines=is_lines)
    many = {key: value for key, value in labels.items() if len(found) == 1 or key not in OF_ONE_CALL}
    reading = Reading(reader, {"occurred_at": received_at, **many}, client=client)
    for index, document in enumerate(found):
        reading.take(document, index)
    reading.finish(len(found) - 1)
    return Parsed(reading.events, reading.refused, reading.positions)


def documents(body: bytes, *, is_lines: bool) -> Sequence[Document]:
    """The records of a body, undecoded: a list's members, one per line, or a single one. Raises Unreadable and TooLarge."""
    body = without_half_characters(body.removeprefix(BYTE_ORDER_MARK), REPLACEMENT)
    if not body or body.isspace():
        raise Unreadable("empty_body", "The body is empty; send records as JSON.")
    if not is_lines and body.lstrip()[:1] == b"[":
        with json_reading("A list of records is expected."):
            found: Sequence[Document] = raw_list.decode(body)
    elif is_lines or native.looks_like_lines(body):
        found = [line for line in body.split(b"\n") if line and not line.isspace()]
    else:
        found = concatenated(body)
    if len(found) > MOST_RECORDS:
        raise TooLarge("too_many_events", f"A request may hold {MOST_RECORDS:,} records; send it in several.")
    return found


def concatenated(body: bytes) -> Sequence[Document]:
    """The one document of a body, or those that follow one another in it, as some clients write their files."""
    try:
        json_value.decode(body)
    except msgspec.DecodeError as error:
        if "trailing" not in str(error):
            raise Unreadable("broken_json", "The body is not JSON: a record, a list of them or one per line is expected.") from None
    except (UnicodeDecodeError, RecursionError):
        with json_reading("A record is expected."):
            json_value.decode(body)
    else:
        return [body]
    return list(following(body))


def following(body: bytes) -> Iterator[bytes]:
    text, at, decoder = body.decode("utf-8", "replace"), 0, json.JSONDecoder()
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            # The rest cannot be told apart; it is refused as one record.
            end = len(text)
        yield text[at:end].encode()
        at = end


class Reading:
    """One body being read: what a record breaks is refused with it, and the next one is read all the same."""

    def __init__(self, reader: Reader, labels: Mapping[str, Any], *, client: str = "") -> None:
        self.reader, self.labels, self.client = reader, labels, client
        self.first = {name: labels[name] for name in getattr(reader, "labels_first", ()) if name in labels}
        # A reader that names the shape of its records has only that much of them decoded.
        self.decode = msgspec.json.Decoder(getattr(reader, "shape", Any)).decode
        self.events: list[UsageEvent] = []
        self.positions: list[int] = []
        self.refused: list[Refusal] = []

    def take(self, document: Document, index: int) -> None:
        try:
            record = decoded(document, self.decode)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.refused.append(Refusal(index, fault_of(error)))
            return
        if isinstance(record, dict):
            self._add(lambda: self.reader.read(record), index)
        else:
            self.refused.append(Refusal(index, Fault("wrong_shape", "A record is an object.", "")))

    def finish(self, index: int) -> None:
        self._add(self.reader.close, index)

    def _add(self, read: Any, index: int) -> None:
        try:
            calls: Iterable[Fields] = read()
            for fields in calls:
                self._put({**labelled(fields, self.labels), **self.first}, index)
        except Misread as error:
            self.refused.append(Refusal(index, Fault("invalid_field", error.reason, error.field)))
        except ODD:
            self.refused.append(Refusal(index, Fault("wrong_shape", "The record is not of the shape that this format has.", "")))

    def _put(self, fields: Fields, index: int) -> None:
        # The time of what says none is the post's, as the only one that is no text.
        at = fields.get("occurred_at")
        received = f"{at.isoformat()} {index}" if isinstance(at, datetime) else ""
        found = event_of(named(fields, client=self.client, received=received), index)
        if isinstance(found, Refusal):
            self.refused.append(found)
        else:
            self.events.append(found)
            self.positions.append(index)


def decoded(document: Document, decode: Callable[[bytes], Any]) -> Any:
    piece = bytes(document)
    if piece.count(b",") > MOST_VALUES:
        raise msgspec.ValidationError("Expected `object`, got `array`")
    return decode(piece)


def labelled(fields: Fields, labels: Mapping[str, Any]) -> Fields:
    """The fields, with what they do not say from the labels."""
    found = {**labels, **fields}
    if labels.get("tags") and fields.get("tags"):
        found["tags"] = {**labels["tags"], **fields["tags"]}
    return found
