"""Every address of the product, filled in so that it can be asked for."""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.urls import URLPattern, URLResolver, get_resolver

SAMPLES = {"slug": "acme", "int": "1", "uuid": str(UUID(int=7)), "path": "some/key", "session_key": "some/key", "str": "key"}


def patterns(found: Iterable[Any] | None = None, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """(name, route, view) of every pattern of the URLconf."""
    for entry in get_resolver().url_patterns if found is None else found:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry.url_patterns, route)
        elif isinstance(entry, URLPattern):
            yield entry.name or "", route, entry.callback


def filled(route: str, **values: str) -> str:
    """The route as an address, each <converter:name> replaced by the value of that name or a sample of the kind."""
    parts = route.split("<")
    address = parts[0]
    for part in parts[1:]:
        inside, _, rest = part.partition(">")
        kind, _, name = inside.rpartition(":")
        address += values.get(name, SAMPLES[kind or "str"]) + rest
    return "/" + address
