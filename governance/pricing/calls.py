"""What kind of call a price may be for, by the words that clients and vendors use for it: one name for each kind."""

from collections.abc import Mapping

BATCH = ("processing", "batch")
FLEX = ("service_tier", "flex")
PRIORITY = ("service_tier", "priority")
# What is said of a call, and the kind that is meant. Vendors' own fields come first, then what people write.
MEANT: dict[tuple[str, str], tuple[str, str]] = {
    ("service_tier", "batch"): BATCH,
    ("batch", "true"): BATCH,
    ("is_batch", "true"): BATCH,
    ("batch_api", "true"): BATCH,
    ("processing", "batches"): BATCH,
    ("processing", "flex"): FLEX,
    ("processing", "priority"): PRIORITY,
    ("tier", "flex"): FLEX,
    ("tier", "priority"): PRIORITY,
    ("service_tier", "on_demand_flex"): FLEX,
    ("service_tier", "on_demand_priority"): PRIORITY,
    ("traffic_type", "on_demand_flex"): FLEX,
    ("traffic_type", "on_demand_priority"): PRIORITY,
}
# What the end of a model's name says, and the contexts of price rows that are meant by it.
KINDS_OF_CALL: dict[str, frozenset[tuple[str, str]]] = {
    "batch": frozenset({BATCH}),
    "fast": frozenset({("speed", "fast"), ("service_tier", "fast")}),
    "flex": frozenset({FLEX}),
    "priority": frozenset({PRIORITY}),
}
# Names of the attribute under which a call says where it was served.
REGION_KEYS = ("region", "inference_geo", "data_residency", "cloud.region", "aws_region", "location")
_SAID = frozenset(key for key, _ in MEANT) | frozenset(REGION_KEYS[1:])
# Every attribute that can say what kind of call it was, or where it was served.
SAID_OF_KINDS = _SAID | frozenset(REGION_KEYS)


def kind_of_call(said: Mapping[str, str]) -> Mapping[str, str]:
    """What was said of a call with each kind under its one name as well, so that a price row for the kind finds it.

    What the call says in that name itself is never replaced. A mapping without such words is returned as it is.
    """
    if _SAID.isdisjoint(said):
        return said
    found = dict(said)
    for key, value in said.items():
        meant = MEANT.get((key, str(value).lower()))
        if meant is not None and (meant[0] not in said or meant[0] == key):
            found[meant[0]] = meant[1]
    for key in REGION_KEYS[1:]:
        if key in said and "region" not in found:
            found["region"] = str(said[key]).lower()
    return found
