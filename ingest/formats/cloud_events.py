"""CloudEvents 1.0: structured, batched, and (its attributes put around the data by the door) binary.

`data` is a usage event with Weighhouse's own fields, or an envelope {"format": …, "response": …} around a vendor's answer. The event's
`source` and `id` together are the call's id unless the data has one, `time` is when the call ended, `subject` the member.
"""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ingest.collector.readers.reading import Stateless
from ingest.collector.readers.values import Fields, Misread, identifier, instant, known, mapping, text
from ingest.formats import envelope

NAME = "cloudevents"


class Reader(Stateless):
    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if not str(record.get("specversion", "")).startswith("1."):
            raise Misread("specversion", "A CloudEvent of version 1.0 is expected.")
        about = known(
            {
                "id": f"{identifier(record.get('source'))}:{identifier(record.get('id'))}",
                "occurred_at": instant(record["time"]) if record.get("time") else None,
                "member": text(record.get("subject"), 254),
            }
        )
        data = data_of(record)
        calls = envelope.Reader().read(data) if "format" in data else [dict(data)]
        for call in calls:
            yield {**about, **call} if call.get("id") or not call.get("request_id") else {**about, **call, "id": about["id"]}


def data_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event's data, which may be packed as base64."""
    packed = record.get("data_base64")
    try:
        data = msgspec.json.decode(base64.b64decode(packed, validate=True)) if isinstance(packed, str) else record.get("data")
    except (ValueError, msgspec.DecodeError):
        data = None
    if not isinstance(data, dict):
        raise Misread("data", "`data` has to be an object: a usage event, or an envelope with `format` and `response`.")
    return mapping(data)
