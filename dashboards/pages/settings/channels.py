"""Settings: channels (webhooks and Slack), what went to them, and mail that was not delivered."""

import json

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.notices import ChannelChangeForm, ChannelForm, endpoint_values
from dashboards.pages.settings.frame import done, shown
from governance.errors import DomainError
from governance.notices import endpoints, parcels, selectors, services
from governance.notices.models import Delivery, Endpoint, Notice, Signal
from governance.tenancy.access import Right, get_scoped

TAB = "settings-channels"
TONES = {"waiting": "warn", "sent": "ok", "dead": "danger"}
WORDS = {"waiting": "waiting", "sent": "taken", "dead": "not taken"}


@never_cache
@page(Right.MANAGE_ORGANIZATION)
def channel_list(request: PageRequest) -> HttpResponse:
    """All channels, a form for a new one, and mail that was given up. A webhook's secret is shown once, here."""
    actor = request.actor
    form = ChannelForm(request.POST or None, actor=actor)
    made = None
    if request.method == "POST" and form.is_valid():
        made = done(form, lambda: endpoints.endpoint_create(actor=actor, **form.cleaned_data))
        if made and not made.secret:
            messages.success(request, f"{made.endpoint} is there. Send a test next.")
            return redirect("settings-channel", slug=actor.organization.slug, endpoint_id=made.endpoint.pk)
    tables = [channels_table(request), dead_mail_table(request)]
    for table in tables:
        if table.is_asked_as_csv:
            return table.csv_response(table.id)
    values = {
        "form": ChannelForm(actor=actor) if made else form, "table": tables[0], "mail": tables[1], "made": made,
        "allows_private": settings.WEBHOOKS_ALLOW_PRIVATE,
    }  # fmt: skip
    return shown(request, "channels", TAB, values, status=422 if form.is_bound and not made else 200)


def channels_table(request: PageRequest) -> Table:
    slug = request.actor.organization.slug
    columns = [
        Column("name", "Channel", href=lambda row: reverse("settings-channel", args=[slug, row.pk])),
        Column("off", "State", kind="badge", value=channel_state),
        Column("channel", "Kind", value=lambda row: row.get_channel_display(), is_for_wide=True),
        Column("shown_address", "Address", is_for_wide=True),
        Column("team", "Hears of", order="team__name", value=lambda row: row.team.name if row.team else "everything", is_for_wide=True),
        Column("waiting", "Waiting", kind="count"),
        Column("dead", "Not taken", kind="count"),
    ]
    rows = selectors.endpoints_present(request.actor)
    return Table.from_request(request, id="channels", title="Channels", columns=columns, rows=rows, sort="name", empty="No channels yet. People are told by mail.")


def channel_state(endpoint: Endpoint) -> tuple[str, str]:
    """How the channel does, and the tone to say it in."""
    if endpoint.off:
        return ("switched off", "" if endpoint.off == Endpoint.Off.HAND else "danger")
    return ("failing", "warn") if endpoint.failing_since else ("on", "ok")


def dead_mail_table(request: PageRequest) -> Table:
    slug = request.actor.organization.slug
    columns = [
        Column("created_at", "Written", kind="at"),
        Column("recipient", "To", kind="email"),
        Column("subject", "Mail", href=lambda row: reverse("settings-mail", args=[slug, row.pk])),
        Column("last_error", "Why not", value=lambda row: row.last_error[:160], is_sortable=False),
    ]
    return Table.from_request(
        request, id="mail", title="Mail that was not delivered", note="given up after the last attempt", columns=columns, rows=selectors.notices_dead(request.actor),
        sort="-created_at", prefix="mail-", empty="All mail was delivered.", page_size=10,
    )  # fmt: skip


@never_cache
@page(Right.MANAGE_ORGANIZATION)
def channel_page(request: PageRequest, endpoint_id: int) -> HttpResponse:
    """One channel: change, test, secret, switch, remove; and what went to it."""
    actor = request.actor
    endpoint = get_scoped(actor, selectors.endpoints_present(actor), pk=endpoint_id)
    form = ChannelChangeForm(actor=actor, initial=endpoint_values(endpoint))
    refusal, secret, tested, status = "", "", None, 200
    if request.method == "POST":
        try:
            match request.POST.get("action"):
                case "test":
                    tested = endpoints.endpoint_test(actor=actor, endpoint_id=endpoint.pk)
                case "rotate":
                    secret = endpoints.secret_rotate(actor=actor, endpoint_id=endpoint.pk).secret
                case _:
                    return channel_change(request, endpoint)
        except DomainError as error:
            refusal, status = error.detail, 409
        endpoint = get_scoped(actor, selectors.endpoints_present(actor), pk=endpoint_id)
    table = deliveries_table(request, endpoint)
    if table.is_asked_as_csv:
        return table.csv_response("deliveries")
    values = channel_values(endpoint, form) | {"table": table, "refusal": refusal, "secret": secret, "tested": tested}
    return shown(request, "channel", TAB, values, status=status)


def channel_values(endpoint: Endpoint, form: ChannelChangeForm) -> dict[str, object]:
    kinds = [Signal.Kind(kind).label for kind in endpoint.kinds]
    return {"endpoint": endpoint, "state": channel_state(endpoint), "form": form, "kinds": kinds, "overlap_hours": int(endpoints.OVERLAP.total_seconds() // 3600)}


def channel_change(request: PageRequest, endpoint: Endpoint) -> HttpResponse:
    """Switches, removes, sends again what was not taken, or changes; then back to the page."""
    actor, slug = request.actor, request.actor.organization.slug
    here = redirect("settings-channel", slug=slug, endpoint_id=endpoint.pk)
    match request.POST.get("action"):
        case "on" | "off" as wanted:
            endpoints.endpoint_switch(actor=actor, endpoint_id=endpoint.pk, is_on=wanted == "on")
            messages.success(request, f"{endpoint} is switched {wanted}.")
        case "again":
            found = endpoints.deliveries_retry(actor=actor, endpoint_id=endpoint.pk)
            messages.success(request, f"{found} are sent again." if found != 1 else "It is sent again.")
        case "remove":
            endpoints.endpoint_remove(actor=actor, endpoint_id=endpoint.pk)
            messages.success(request, f"{endpoint} is removed.")
            return redirect("settings-channels", slug=slug)
        case _:
            form = ChannelChangeForm(request.POST, actor=actor)
            if not (form.is_valid() and done(form, lambda: endpoints.endpoint_change(actor=actor, endpoint_id=endpoint.pk, **form.cleaned_data))):
                values = channel_values(endpoint, form) | {"table": deliveries_table(request, endpoint)}
                return shown(request, "channel", TAB, values, status=422)
            messages.success(request, "Saved.")
    return here


def deliveries_table(request: PageRequest, endpoint: Endpoint) -> Table:
    """What went or goes to the channel, newest first."""
    slug = request.actor.organization.slug
    columns = [
        Column("id", "Message", value=lambda row: parcels.message_id(row)[:12] + "…", href=lambda row: reverse("settings-delivery", args=[slug, endpoint.pk, row.pk])),
        Column("kind", "What", order="signal__kind", value=kind_text),
        Column("created_at", "Made", kind="at"),
        Column("state", "State", kind="badge", value=lambda row: (WORDS[row.state], TONES[row.state])),
        Column("attempts", "Attempts", kind="count"),
        Column("last_status", "Answer", kind="count"),
        Column("last_error", "Why not", value=lambda row: row.last_error[:160], is_sortable=False, is_for_wide=True),
    ]
    rows = selectors.deliveries_of(request.actor, endpoint)
    return Table.from_request(request, id="deliveries", title="Deliveries", columns=columns, rows=rows, sort="-id", empty="Nothing was sent to it yet.")


def kind_text(delivery: Delivery) -> str:
    return delivery.signal.get_kind_display() if delivery.signal is not None else "Test"


@page(Right.MANAGE_ORGANIZATION)
def delivery_page(request: PageRequest, endpoint_id: int, delivery_id: int) -> HttpResponse:
    """One delivery: what was sent, what was answered, and sending it again."""
    actor = request.actor
    endpoint = get_scoped(actor, selectors.endpoints_present(actor), pk=endpoint_id)
    delivery = get_scoped(actor, selectors.deliveries_of(actor, endpoint), pk=delivery_id)
    refusal = ""
    if request.method == "POST":
        try:
            endpoints.delivery_retry(actor=actor, delivery_id=delivery.pk)
        except DomainError as error:
            refusal = error.detail
        else:
            messages.success(request, "It is on its way again, under the same message id.")
            return redirect("settings-delivery", slug=actor.organization.slug, endpoint_id=endpoint.pk, delivery_id=delivery.pk)
    values = {
        "endpoint": endpoint, "delivery": delivery, "refusal": refusal, "message_id": parcels.message_id(delivery), "kind": kind_text(delivery),
        "state": (WORDS[delivery.state], TONES[delivery.state]), "body": body_text(delivery),
    }  # fmt: skip
    return shown(request, "delivery", TAB, values, status=409 if refusal else 200)


def body_text(delivery: Delivery) -> str:
    """The body for reading. That of a request's Slack message is shown without its link, which decides."""
    body = json.loads(parcels.body_of(delivery, with_link=False))
    return json.dumps(body, indent=2, ensure_ascii=False)


@page(Right.MANAGE_ORGANIZATION)
def mail_page(request: PageRequest, notice_id: int) -> HttpResponse:
    """One mail that was given up, and sending it again."""
    actor = request.actor
    notice = get_scoped(actor, Notice.objects.all(), pk=notice_id)
    if request.method == "POST":
        try:
            services.notice_retry(actor=actor, notice_id=notice.pk)
        except DomainError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, "It is on its way again.")
        return redirect("settings-channels", slug=actor.organization.slug)
    if notice.state != Notice.State.DEAD:
        raise Http404
    return shown(request, "mail", TAB, {"notice": notice})
