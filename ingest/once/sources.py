"""Who reports a call: the kind of source, which says how far its figures are trusted, and the door it comes through. Pure.

A source is written `kind:door`. What comes in our own words may be posted by anybody, so there it names the API key as well; but one who
uses our words gives calls ids of their own, so that all of these are one reporter: two ids are two calls.
"""

from functools import cache

from ingest.formats.records import record_formats

VENDOR, GATEWAY, HARNESS = "vendor", "gateway", "harness"
# Whose figures stand when reports differ, the most trusted first, unless an organization orders them otherwise.
TRUST = (VENDOR, GATEWAY, HARNESS)
KIND_LABELS = {VENDOR: "Vendor's own answer", GATEWAY: "Gateway", HARNESS: "Harness or SDK"}
# Formats whose module is named for a vendor that stands between the caller and the vendor who bills.
BETWEEN = frozenset({"openrouter"})
ENVELOPES = frozenset({"response"})
OWN_WORDS = frozenset({"rest", "cloudevents"})
SIGN = ":"
KEY_SIGN = "#"


@cache
def kinds_of_doors() -> dict[str, str]:
    """The kind of what comes through each door of records."""
    found = {}
    for name, module in record_formats().items():
        place = module.__name__.rpartition(".")[2]
        if place.startswith("gateway_") or name in BETWEEN:
            found[name] = GATEWAY
        else:
            found[name] = VENDOR if place.startswith("vendor_") or name in ENVELOPES else HARNESS
    return found


def source_of(door: str, *, gateway: str, api_key_id: int | None) -> str:
    """The source of a report that came through the door. A report in our own words, or a span, is a gateway's when it names one."""
    kind = kinds_of_doors().get(door)
    if kind is None or door in OWN_WORDS:
        kind = GATEWAY if gateway else HARNESS
    return f"{kind}{SIGN}{door}{KEY_SIGN}{api_key_id or ''}" if door in OWN_WORDS else f"{kind}{SIGN}{door}"


def kind_of(source: str) -> str:
    return source.partition(SIGN)[0]


def door_of(source: str) -> str:
    return source.partition(SIGN)[2].partition(KEY_SIGN)[0]


def shown_of(source: str) -> str:
    """The source without the key it came with: kind and door."""
    return source.partition(KEY_SIGN)[0]


def reporter_of(source: str) -> str:
    """What tells one reporter from another: two calls of one reporter are two, however alike they are."""
    return door_of(source) if KEY_SIGN in source else source
