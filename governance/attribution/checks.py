"""What a rule may say: its conditions, and what it sets. Raises Invalid with the field."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from governance.attribution.matching import FIELDS, OPERATORS, TAG, WITHOUT_VALUES
from governance.errors import Invalid
from governance.periods import is_kept

MOST_RULES = 200
MOST_CONDITIONS = 20
MOST_VALUES = 50
LONGEST_VALUE = 254
LONGEST = {"role": 40, "task_class": 40, "environment": 80, "billing_mode": 12}
BILLING_MODES = ("metered", "subscription", "self-hosted")


def conditions_checked(conditions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Conditions as they are kept. At least one; a rule for every call says so with a condition that all meet."""
    found = [_condition(one) for one in conditions]
    if not found:
        raise Invalid("Name at least one condition, or the rule would hold for every call.", field="conditions")
    if len(found) > MOST_CONDITIONS:
        raise Invalid(f"A rule has at most {MOST_CONDITIONS} conditions.", field="conditions")
    return found


def _condition(one: Mapping[str, Any]) -> dict[str, Any]:
    field, op = str(one.get("field", "")).strip(), str(one.get("op", ""))
    is_tag = field.startswith(TAG) and len(TAG) < len(field) <= len(TAG) + 200
    if field not in FIELDS and not is_tag:
        raise Invalid(
            f"A rule cannot look at {field[:80] or 'nothing'}. It looks at {', '.join(FIELDS)} or tag:<name>.", field="conditions"
        )
    if op not in OPERATORS:
        raise Invalid(f"{op[:80] or 'Nothing'} is no `op`: a condition is one of {', '.join(OPERATORS)}.", field="conditions")
    values = _values(field, one.get("values") or [])
    if op in WITHOUT_VALUES:
        values = []
    elif not values:
        raise Invalid(f"Say which {FIELDS.get(field, field).lower()} is meant.", field="conditions")
    if _has_control_character(field):
        raise Invalid("The name of a tag holds no line breaks or other control characters.", field="conditions")
    return {"field": field, "op": op, "values": values}


def _values(field: str, values: Iterable[Any]) -> list[str]:
    found = list(dict.fromkeys(value.strip() if isinstance(value, str) else "" for value in values))
    if len(found) > MOST_VALUES:
        raise Invalid(f"A condition has at most {MOST_VALUES} values.", field="conditions")
    if any(not value or len(value) > LONGEST_VALUE or _has_control_character(value) for value in found):
        raise Invalid(f"Values are texts of 1 to {LONGEST_VALUE} characters without line breaks.", field="conditions")
    return [value.removeprefix("@") for value in found] if field == "email_domain" else found


def label_checked(name: str, value: str) -> str:
    """A label that a rule sets; empty: it does not set it."""
    value = value.strip()
    if len(value) > LONGEST[name] or _has_control_character(value):
        raise Invalid(f"This has at most {LONGEST[name]} characters, without line breaks.", field=name)
    if name == "billing_mode" and value and value not in BILLING_MODES:
        raise Invalid(f"A billing mode is one of {', '.join(BILLING_MODES)}.", field=name)
    return value


def range_check(starts_at: datetime | None, ends_at: datetime | None) -> None:
    if any(at is not None and at.tzinfo is None for at in (starts_at, ends_at)):
        raise Invalid("Say in which time zone: with an offset, or Z.", field="starts_at")
    if any(at is not None and not is_kept(at) for at in (starts_at, ends_at)):
        raise Invalid("This day lies too far away.", field="starts_at")
    if starts_at is not None and ends_at is not None and starts_at >= ends_at:
        raise Invalid("A rule ends after it begins.", field="ends_at")


def _has_control_character(text: str) -> bool:
    return any(character < " " for character in text)
