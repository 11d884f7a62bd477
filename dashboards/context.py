"""What every template may use."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from dashboards import navigation
from governance.tenancy import access
from ingest.demo.progress import demo_progress


def page(request: HttpRequest) -> dict[str, Any]:
    """The actor, the organization and its clock, the navigation, and the person's other organizations. Queried only where a template asks."""
    actor = getattr(request, "actor", None)
    if actor is None:
        return {"actor": None, "organization": None}
    return {
        "actor": actor,
        "organization": actor.organization,
        "zone": actor.organization.zone,
        "now": timezone.now(),
        "demo_progress": SimpleLazyObject(lambda: demo_progress(actor.organization)),
        "navigation": SimpleLazyObject(lambda: navigation.groups(actor, request.path)),
        "memberships": SimpleLazyObject(lambda: list(access.organizations_of(request.user.pk)) if request.user.pk else []),
    }
