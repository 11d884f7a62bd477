"""The search palette: pages, sessions and budgets by name."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, path, reverse

from dashboards import navigation
from dashboards.access import PageRequest, page
from governance.budgets.models import Budget, Session
from governance.tenancy import access
from governance.tenancy.access import Actor

MOST = 6


@page()
def search(request: PageRequest) -> HttpResponse:
    """The matches as a fragment; without a text, the pages."""
    text = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    found = [("Pages", pages_named(request.actor, text))]
    if text:
        found += [("Sessions", sessions_named(request.actor, text)), ("Budgets", budgets_named(request.actor, text))]
    name = "partials/search_results.html" if request.htmx else "search.html"
    return render(request, name, {"groups": [group for group in found if group[1]], "text": text})


def pages_named(actor: Actor, text: str) -> list[tuple[str, str, str]]:
    """(label, address, note) of the pages whose name holds the text."""
    links = [link for group in navigation.groups(actor) for link in group.links]
    return [(link.label, link.href, f"g {link.key}") for link in links if text.lower() in link.label.lower()]


def sessions_named(actor: Actor, text: str) -> list[tuple[str, str, str]]:
    """The latest sessions whose key or task holds the text, among those the actor may see."""
    rows = access.visible(actor, Session.objects.all())
    rows = rows.filter(key__icontains=text) | rows.filter(task__icontains=text)
    found = [(row.key, _address("session", actor, row.key), " ".join(filter(None, (row.harness, row.task)))) for row in rows.order_by("-last_at")[:MOST]]
    return [entry for entry in found if entry[1]]


def budgets_named(actor: Actor, text: str) -> list[tuple[str, str, str]]:
    """Active budgets whose name holds the text, among those the actor may see."""
    rows = access.visible(actor, Budget.objects.filter(is_active=True, name__icontains=text)).order_by("name", "id")[:MOST]
    found = [(row.name, _address("budget", actor, row.pk), f"{row.scope_kind}, {row.period_kind}") for row in rows]
    return [entry for entry in found if entry[1]]


def _address(name: str, actor: Actor, key: object) -> str:
    try:
        return reverse(name, args=[actor.organization.slug, key])
    except NoReverseMatch:
        return ""


urlpatterns = [path("search", search, name="search")]
