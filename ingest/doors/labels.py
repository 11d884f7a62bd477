"""What a request says beside its body of the calls in it: headers and query parameters as fields of their events."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from django.http import HttpRequest

from governance.errors import Invalid
from ingest.formats.records import OF_MANY, OF_ONE_CALL
from ingest.formats.scalars import count

HEADER = "HTTP_X_WEIGHHOUSE_"
CLOUD_EVENT = "HTTP_CE_"
MOST_TAGS = 32
NUMBERS = ("latency_ms", "ttft_ms")
LABELS = frozenset((*OF_MANY, *OF_ONE_CALL))
TAG = re.compile(r"\s*(?P<name>[^=,]{1,200}?)\s*=\s*(?P<value>[^,]{0,1000}?)\s*(?:,|$)")


def labels_of(request: HttpRequest) -> dict[str, Any]:
    """Fields by `X-Weighhouse-<Field>` and `?<field>=`; the address wins. `tags` is a list such as `cost_center=eng-1,feature=search`.

    Raises Invalid for a name that is no label, so that a misspelled one is not lost silently.
    """
    found: dict[str, Any] = {}
    for name, value in (*headers(request.META), *parameters(request)):
        if name == "tags":
            found["tags"] = {**found.get("tags", {}), **tags(value)}
        elif name in LABELS:
            found[name] = count(value) if name in NUMBERS else value
        else:
            raise Invalid(f"There is no label `{name[:80]}`; known are {', '.join(sorted(LABELS))} and tags.", field=name[:80])
    return {name: value for name, value in found.items() if value != ""}


def headers(sent: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in sent.items():
        if name.startswith(HEADER):
            yield name.removeprefix(HEADER).lower(), str(value)


def parameters(request: HttpRequest) -> Iterator[tuple[str, str]]:
    for name, value in request.GET.items():
        if name != "results":
            yield name, str(value)


def tags(text: str) -> dict[str, str]:
    """Names and values of a list such as `cost_center=eng-1,feature=search`."""
    found = {part["name"]: part["value"] for part in TAG.finditer(text)}
    return dict(list(found.items())[:MOST_TAGS])


def cloud_event(request: HttpRequest, body: bytes) -> bytes:
    """A CloudEvent in binary mode (its attributes are headers) as one in structured mode; any other body as it is."""
    attributes = {
        name.removeprefix(CLOUD_EVENT).lower(): str(value) for name, value in request.META.items() if name.startswith(CLOUD_EVENT)
    }
    if "specversion" not in attributes:
        return body
    try:
        return msgspec.json.encode({**attributes, "data": msgspec.json.decode(body)})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
