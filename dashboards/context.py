"""What every template may use."""

from typing import Any

from django.http import HttpRequest


def page(request: HttpRequest) -> dict[str, Any]:
    """The actor and organization of the page, when there is one."""
    actor = getattr(request, "actor", None)
    return {"actor": actor, "organization": actor.organization if actor else None}
