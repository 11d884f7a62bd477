"""A model call as budgets look at it: whom it belongs to and what it is labelled with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from governance.errors import Invalid
from governance.tenancy.directory import Attribution

METERED = "metered"
# What a budget can be narrowed by: names as events and authorizations carry them.
LABELS = ("provider", "maker", "model", "tier", "harness", "gateway", "role", "task_class", "environment", "billing_mode")
# Several teams, projects or members that share one budget: by id.
POOLS = ("team", "project", "member")
TAG = "tag:"
MOST_VALUES = 50
LONGEST_VALUE = 200

Filters = Sequence[tuple[str, frozenset[Any]]]


@dataclass(frozen=True, slots=True)
class Call:
    """One call, or several that are alike. Names are the catalogue's where the model is known. `tags` has at least those that a budget looks at."""

    who: Attribution
    session_key: str = ""
    task: str = ""
    api_key_id: int | None = None
    service_account_id: int | None = None
    provider: str = ""
    maker: str = ""
    model: str = ""
    tier: str = ""
    harness: str = ""
    gateway: str = ""
    role: str = ""
    task_class: str = ""
    environment: str = ""
    billing_mode: str = METERED
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_notional(self) -> bool:
        return self.billing_mode != METERED


def filters_checked(filters: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
    """Filters as a budget keeps them: label, `tag:<key>` or pool → the values that count. Raises Invalid."""
    found: dict[str, list[Any]] = {}
    for name, values in filters.items():
        if name not in LABELS and name not in POOLS and not _is_tag(name):
            raise Invalid(f"Usage cannot be narrowed by {name[:80]}. Use one of {', '.join((*LABELS, *POOLS))} or tag:<key>.", field="filters")
        found[name] = sorted(set(_values(name, values)))
        if not found[name]:
            raise Invalid(f"Name at least one value of {name[:80]}, or leave it out: then every call counts.", field="filters")
    return found


def _is_tag(name: str) -> bool:
    return name.startswith(TAG) and len(TAG) < len(name) <= len(TAG) + LONGEST_VALUE and "\0" not in name


def _values(name: str, values: Iterable[Any]) -> list[Any]:
    listed = [values] if isinstance(values, str | int) else list(values)
    if len(listed) > MOST_VALUES:
        raise Invalid(f"At most {MOST_VALUES} values of {name} can be named.", field="filters")
    if name in POOLS:
        if any(not isinstance(value, int) or isinstance(value, bool) for value in listed):
            raise Invalid(f"{name} is given by id.", field="filters")
        return listed
    words = [value.strip() if isinstance(value, str) else "" for value in listed]
    if any(not word or len(word) > LONGEST_VALUE or "\0" in word for word in words):
        raise Invalid(f"Values of {name} are texts of 1 to {LONGEST_VALUE} characters.", field="filters")
    return [word.lower() for word in words] if name in ("harness", "gateway") else words


def covers(filters: Filters, call: Call, lineage: Sequence[int], *, is_lenient: bool = False) -> bool:
    """Whether the call passes every filter; lenient: as far as is known. `lineage` is its team and those above it."""
    return all(_passes(name, allowed, call, lineage) or (is_lenient and not _is_known(name, call)) for name, allowed in filters)


def _is_known(name: str, call: Call) -> bool:
    if name in POOLS or name.startswith(TAG):
        return name in POOLS
    return bool(getattr(call, name)) and name != "billing_mode"


def _passes(name: str, allowed: frozenset[Any], call: Call, lineage: Sequence[int]) -> bool:
    if name == "team":
        return not allowed.isdisjoint(lineage)
    if name == "project":
        return call.who.project_id in allowed
    if name == "member":
        return call.who.member_id in allowed
    if name.startswith(TAG):
        return call.tags.get(name[len(TAG) :]) in allowed
    return getattr(call, name) in allowed
