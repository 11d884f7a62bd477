"""Whose call it is, from the labels that people put on telemetry: fields where a label's name says so, tags otherwise. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from ingest.formats.scalars import Scalar, text

Attributes = Mapping[str, Scalar]
# Of each field the first that is there wins.
LABELS = {
    "team": ("team.id", "team", "team.name", "team_id"),
    "project": ("project.id", "project", "project.name", "project_id"),
    "member": ("user.email", "user.account_uuid", "user.account_id", "enduser.id"),
    "environment": ("deployment.environment.name", "deployment.environment", "environment", "env"),
    "gateway": ("gateway.name", "gateway"),
}
SIZES = {"team": 200, "project": 200, "member": 254, "environment": 80, "gateway": 80}
# Of a resource these say what the call ran on, not whose it is.
TECHNICAL = ("host.", "os.", "process.", "telemetry.", "wsl.", "container.")
READ_ELSEWHERE = {
    "service.name", "service.version", "service.instance.id", "session.id", *(key for keys in LABELS.values() for key in keys),
}  # fmt: skip
MOST_TAGS = 32
# What a service is called whose owner gave it no name.
NAMELESS = "unknown_service"


def labelled(labels: Attributes, *, members: Iterable[str] = ()) -> dict[str, str | None]:
    """team, project, member, environment and gateway. `members` are further names of the person, after those that always count."""
    found = {field: first(labels, keys, SIZES[field]) for field, keys in LABELS.items()}
    return found if found["member"] else found | {"member": first(labels, members, SIZES["member"])}


def first(labels: Attributes, keys: Iterable[str], size: int = 200) -> str | None:
    """The first of these labels that says something."""
    # Most labels are not there: a generator would cost more than looking.
    for key in keys:
        value = labels.get(key)
        if value is not None and (found := text(value, size)):
            return found
    return None


def tags_of(own: Mapping[str, Scalar | None], resource: Attributes) -> dict[str, str] | None:
    """`own` and the resource's labels that have no field of their own, at most 32; None for none."""
    further = {key: value for key, value in resource.items() if key not in READ_ELSEWHERE and not key.startswith(TECHNICAL)}
    found = {text(key, 200): text(value, 1000) for key, value in (own | further).items()}  # type: ignore[operator]
    return {key: value for key, value in list(found.items())[:MOST_TAGS] if key and value} or None


def picked(attributes: Attributes, keys: Iterable[str]) -> dict[str, Scalar]:
    """These attributes, where they are there."""
    return {key: attributes[key] for key in keys if key in attributes}


def service(resource: Attributes) -> str | None:
    """The name that the sender's owner gave it."""
    name = text(resource.get("service.name"), 80)
    return None if name is None or name.startswith(NAMELESS) else name


def said(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value is not None}
