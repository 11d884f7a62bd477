"""Page: an engineer's home, with own burn against own and team limits, own sessions and requests."""

from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_GET

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.connecting.clients import BY_SLUG
from dashboards.pages.settings.connections import snippets
from dashboards.selectors import own_usage, sessions
from dashboards.selectors.asking import own_periods
from dashboards.selectors.burn import burn_by_session
from dashboards.selectors.narrowing import Narrowing
from governance.errors import NotFound
from governance.tenancy.access import Right

SESSIONS_SHOWN = 12


@page()
@require_GET
def my_usage(request: PageRequest) -> HttpResponse:
    """What the person spent, what limits it, what runs and what is frozen; refreshes itself."""
    actor, now = request.actor, timezone.now()
    if actor.member is None:
        raise NotFound("This page is for people.")
    member = actor.member
    models = own_usage.by_model(actor, member, now=now)
    table = Table.from_request(
        request,
        id="models",
        title="By model",
        note="last 30 days",
        columns=model_columns(actor.organization.currency),
        rows=models,
        sort="-cost",
    )
    if table.is_asked_as_csv:
        return table.csv_response("my-usage")
    mine = sessions.sessions_listed(actor, state="live", wanted=Narrowing({"member": (str(member.pk),)}), now=now)
    live = sorted(mine[:SESSIONS_SHOWN], key=lambda row: row.state != "frozen")
    burns = burn_by_session(actor, [row.key for row in live], now=now)
    trend = own_usage.trend(actor, member, now=now)
    requests = own_usage.own_requests(actor, member)
    context: dict[str, Any] = {
        "spans": own_usage.spans(actor, member, now=now),
        "trend": [amount for _, amount in trend],
        "trend_total": sum((amount for _, amount in trend), Decimal(0)),
        "live": [(row, burns.get(row.key)) for row in live],
        "frozen": [row for row in live if row.state == "frozen"],
        "limits": own_periods(actor),
        "requests": requests,
        "waiting": {row.session_key for row in requests if row.state == "pending"},
        "table": table,
        "hint": own_usage.hint(actor, member, now=now),
        "is_empty": not models and not live,
        "can_request": actor.can(Right.REQUEST),
        "member": member,
        "lines": snippets(BY_SLUG["claude-code"])[0].text,
        "may_make_keys": actor.can(Right.MANAGE_ORGANIZATION),
        "key_makers": own_usage.key_makers(actor),
    }
    return render(request, "my_usage/my_usage.html", context)


def model_columns(currency: str) -> list[Column]:
    return [
        Column("model", "Model", "strong", value=lambda row: row.name),
        Column("cost", "Cost", "money", value=lambda row: row.figures.cost, currency=currency),
        Column("calls", "Calls", "count", value=lambda row: row.figures.calls),
        Column("tokens", "Tokens", "tokens", value=lambda row: row.figures.tokens, is_for_wide=True),
        Column("per_call", "Per call", "money", value=lambda row: row.figures.cost_per_call, currency=currency, is_for_wide=True),
        Column(
            "cached",
            "Cached",
            "percent",
            value=lambda row: row.figures.cache_hit_share,
            title="part of the input that a cache served",
            is_for_wide=True,
        ),
        Column(
            "unpriced",
            "No price",
            "count",
            value=lambda row: row.figures.lacking_calls or None,
            title="Calls of known size without a price: in no amount here",
            is_for_wide=True,
        ),
        Column(
            "unmeasured",
            "No size",
            "count",
            value=lambda row: row.figures.unmeasured_calls or None,
            title="Calls of which neither input nor output tokens were reported: in no amount here",
            is_for_wide=True,
        ),
    ]


urlpatterns = [path("my-usage", my_usage, name="my-usage")]
