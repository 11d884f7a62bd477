"""The search palette: pages, sessions, budgets, people, teams and models by name, each among what the person may see."""

from datetime import timedelta
from urllib.parse import urlencode

from django.db.models import Max, Q
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, path, reverse
from django.utils import timezone

from dashboards import navigation
from dashboards.access import PageRequest, page
from dashboards.components.budget_words import scope_words, window_words
from dashboards.pages.spend import spend_address
from dashboards.selectors import usage
from governance.budgets.models import Session
from governance.budgets.tree import budgets_visible
from governance.periods import Window
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from governance.tenancy.models import Member, Team

MOST = 6
USED_WITHIN = timedelta(days=30)
Found = list[tuple[str, str, str]]


@page()
def search(request: PageRequest) -> HttpResponse:
    """The matches as a fragment; without a text, the pages."""
    text = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    found = [("Pages", pages_named(request.actor, text))]
    if text:
        lists = {"Sessions": sessions_named, "Budgets": budgets_named, "People": people_named, "Teams": teams_named, "Models": models_named}
        found += [(label, named(request.actor, text)) for label, named in lists.items()]
    name = "partials/search_results.html" if request.htmx else "search.html"
    return render(request, name, {"groups": [group for group in found if group[1]], "text": text})


def pages_named(actor: Actor, text: str) -> Found:
    """(label, address, note) of the pages whose name holds the text."""
    links = [link for group in navigation.groups(actor) for link in group.links]
    return [(link.label, link.href, f"g {link.key}") for link in links if text.lower() in link.label.lower()]


def sessions_named(actor: Actor, text: str) -> Found:
    """The latest sessions whose key or task holds the text, among those the actor may see."""
    rows = access.visible(actor, Session.objects.all())
    rows = rows.filter(key__icontains=text) | rows.filter(task__icontains=text)
    found = [(row.key, _address("session", actor, row.key), " ".join(filter(None, (row.harness, row.task)))) for row in rows.order_by("-last_at")[:MOST]]
    return [entry for entry in found if entry[1]]


def budgets_named(actor: Actor, text: str) -> Found:
    """Active budgets whose name holds the text, among those the actor may see."""
    rows = budgets_visible(actor).filter(is_active=True, name__icontains=text)[:MOST]
    found = [(row.name, _address("budget", actor, row.pk), scope_words(row) if row.is_template else f"{scope_words(row)}, {window_words(row)}") for row in rows]
    return [entry for entry in found if entry[1]]


def people_named(actor: Actor, text: str) -> Found:
    """The person, and the people of the teams the person sees, by name or e-mail address; each leads to what they used."""
    rows = access.visible(actor, Member.objects.filter(is_active=True), member_column="pk").select_related("user", "team")
    rows = rows.filter(Q(user__name__icontains=text) | Q(user__email__icontains=text)).order_by("user__name", "id")[:MOST]
    return [(str(row), _usage_of(actor, "member", row.pk), row.team.name if row.team else row.get_role_display()) for row in rows]


def teams_named(actor: Actor, text: str) -> Found:
    """The teams the person sees; each leads to what it spent by model."""
    rows = access.scoped(actor, Team.objects.filter(Q(name__icontains=text) | Q(slug__icontains=text)))
    if actor.team_ids is not None:
        rows = rows.filter(pk__in=actor.team_ids)
    return [(row.name, _usage_of(actor, "team", row.pk), "team") for row in rows.order_by("name", "id")[:MOST]]


def models_named(actor: Actor, text: str) -> Found:
    """Models with usage the person may see in the last 30 days, most used first."""
    rows = usage.days(actor, Window(timezone.now() - USED_WITHIN, None)).filter(model__icontains=text).order_by()
    most = rows.values_list("model").annotate(sum_calls=usage.SUMS["calls"], made_by=Max("maker")).order_by("-sum_calls", "model")[:MOST]
    return [(model, _usage_of(actor, "model", model), maker) for model, _, maker in most]


def _usage_of(actor: Actor, dimension: str, key: object) -> str:
    """The explorer narrowed to it, or, for who may not open that, the list of own sessions."""
    slug = actor.organization.slug
    if actor.can(Right.VIEW_SPEND):
        return spend_address(slug, {"range": "30d"}, "member" if dimension == "model" else "model", {dimension: str(key)})
    return f"{reverse('sessions', args=[slug])}?{urlencode({dimension: key, 'state': 'all'})}"


def _address(name: str, actor: Actor, key: object) -> str:
    try:
        return reverse(name, args=[actor.organization.slug, key])
    except NoReverseMatch:
        return ""


urlpatterns = [path("search", search, name="search")]
