"""What every settings page shares: its tabs, and turning a service's refusal into an error of the form."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from dashboards.access import PageRequest
from governance.errors import DomainError
from governance.tenancy.access import Right

# In groups, because all of them in one row are wider than an ordinary screen: the first stands in a row of its own.
TABS = (
    ("Organization and people", (
        ("settings", "Organization", Right.MANAGE_ORGANIZATION),
        ("settings-teams", "Teams and projects", Right.MANAGE_ORGANIZATION),
        ("settings-members", "Members", Right.MANAGE_ORGANIZATION),
        ("settings-accounts", "Service accounts", Right.MANAGE_ORGANIZATION),
        ("settings-keys", "API keys", Right.MANAGE_ORGANIZATION),
        ("settings-record", "Record", Right.VIEW_AUDIT),
    )),
    ("Rules and connections", (
        ("settings-policies", "Approval policy", Right.MANAGE_BUDGETS),
        ("settings-attribution", "Attribution", Right.MANAGE_ORGANIZATION),
        ("settings-guard", "Guard", Right.MANAGE_ORGANIZATION),
        ("settings-channels", "Channels", Right.MANAGE_ORGANIZATION),
        ("settings-connections", "Connections", Right.MANAGE_ORGANIZATION),
    )),
    ("What came in", (
        ("settings-imports", "Imports", Right.MANAGE_ORGANIZATION),
        ("settings-intake", "Not counted", Right.MANAGE_ORGANIZATION),
        ("settings-labels", "Unknown names", Right.MANAGE_ORGANIZATION),
        ("settings-once", "Counted once", Right.MANAGE_ORGANIZATION),
    )),
)  # fmt: skip


def shown(request: PageRequest, name: str, tab: str, values: dict[str, Any], status: int = 200) -> HttpResponse:  # noqa: PLR0917
    """The settings page `name` under the tab, which is marked as current."""
    slug = request.actor.organization.slug
    groups = [
        (title, [{"href": reverse(key, args=[slug]), "label": label, "is_current": key == tab} for key, label, right in tabs if request.actor.can(right)])
        for title, tabs in TABS
    ]
    return render(request, f"settings/{name}.html", {"tab_groups": [(title, tabs) for title, tabs in groups if tabs], **values}, status=status)


def done(form: forms.Form, action: Callable[[], Any]) -> Any:
    """What the action returns; None when a service refused, which is then said beside the field it is about."""
    try:
        return action()
    except DomainError as refusal:
        field = refusal.extra.get("field")
        form.add_error(field if field in form.fields else None, refusal.detail)
        return None
