"""Settings: connections. How each client does, and for each its lines with a key made on the spot, a test of its door, and a watch for the first call."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.connecting.clients import BY_SLUG, FIRST, Client
from dashboards.connecting.stopping import StoppingDoor, doors, lines_of
from dashboards.connecting.trying import connection_try
from dashboards.forms.connecting import ConnectForm
from dashboards.pages.settings.frame import done, shown
from dashboards.selectors.connections import Connection, connections, waited
from governance.errors import NotFound
from governance.tenancy import services
from governance.tenancy.access import Actor, Right, get_scoped
from governance.tenancy.models import ApiKey

PLACEHOLDER = "<key>"
TAB = "settings-connections"
STATES = {"never": ("never used", ""), "live": ("live", "ok"), "quiet": ("quiet", "warn"), "failing": ("failing", "danger")}
MOST_NAMED = 3
SEEN = "by a gateway and by the harness, of its calls of the last 24 hours"


@dataclass(frozen=True, slots=True)
class Snippet:
    """Lines to copy: where they go, and what they are."""

    id: str
    title: str
    where: str
    text: str


def snippets(client: Client, secret: str = "") -> list[Snippet]:
    """What connects the client, with the key in place."""
    return [
        Snippet(
            f"{client.slug}-{number}" if number else client.slug,
            client.name,
            lines.where,
            lines.filled(address=settings.PUBLIC_URL, secret=secret or PLACEHOLDER),
        )
        for number, lines in enumerate(client.lines)
    ]


def first_snippets(secret: str = "") -> list[Snippet]:
    """What an empty organization is shown."""
    return [snippets(client, secret)[0] for client in FIRST]


def stopping_snippets(door: StoppingDoor, secret: str = "") -> list[Snippet]:
    """What makes the door ask, with the key in place."""
    return [
        Snippet(f"{door.slug}-{number}", door.name, lines.where, lines.filled(address=settings.PUBLIC_URL, secret=secret or PLACEHOLDER))
        for number, lines in enumerate(lines_of(door))
    ]


def client_named(slug: str) -> Client:
    if slug not in BY_SLUG:
        raise NotFound("There is no such client.")
    return BY_SLUG[slug]


@page(Right.MANAGE_ORGANIZATION)
def connection_list(request: PageRequest) -> HttpResponse:
    """Every client and how it does."""
    found = connections(request.actor, now=timezone.now())
    table = connections_table(request, found)
    if table.is_asked_as_csv:
        return table.csv_response("connections")
    return shown(
        request,
        "connections",
        TAB,
        {"table": table, "doors": list(doors().values()), "counts": {state: sum(one.state == state for one in found) for state in STATES}},
    )


def connections_table(request: PageRequest, found: list[Connection]) -> Table:
    slug = request.actor.organization.slug
    columns = [
        Column(
            "name",
            "Client",
            "strong",
            value=lambda row: row.client.name,
            href=lambda row: reverse("settings-connection", args=[slug, row.client.slug]),
        ),
        Column("state", "State", "badge", value=lambda row: STATES[row.state]),
        Column("last_at", "Last event", "ago"),
        Column(
            "calls",
            "Calls",
            "count",
            value=lambda row: row.calls + row.repeats if row.last_at else None,
            title="in the last 24 hours",
            note=rate,
        ),
        Column("by_hour", "Last 24 hours", "spark", value=lambda row: row.by_hour if any(row.by_hour) else (), is_for_wide=True),
        Column(
            "refused",
            "Refused",
            "count",
            value=lambda row: row.refused,
            title="in the last 24 hours",
            href=lambda row: refused_href(slug, row),
        ),
        Column("coverage", "Seen by both", "percent", value=lambda row: row.seen_by_both, title=SEEN, is_for_wide=True),
        Column("keys", "Keys", value=keys_text, is_sortable=False, is_for_wide=True),
    ]
    return Table.from_request(
        request, id="connections", title="Connections", note="calls, refusals and the line are of the last 24 hours", columns=columns, rows=found, sort="", search=("name", "state"),
        empty="No client is called like this.",
    )  # fmt: skip


def rate(row: Connection) -> str:
    return f"{row.an_hour:,.1f} an hour" if row.calls or row.repeats else ""


def refused_href(slug: str, row: Connection) -> str | None:
    return reverse("settings-intake", args=[slug]) if row.refused else None


def keys_text(row: Connection) -> str:
    names = [key.name for key in row.keys]
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


@never_cache
@page(Right.MANAGE_ORGANIZATION)
def connection_page(request: PageRequest, client: str) -> HttpResponse:
    """One client: how it does, its lines, and with POST a key put into them."""
    if client in doors():
        return stopping_door_page(request, doors()[client])
    actor, now, found = request.actor, timezone.now(), client_named(client)
    form = ConnectForm(request.POST or None, actor=actor, client=found.name, now=now)
    made = key_made(form, actor) if request.method == "POST" else None
    return client_shown(request, found, now=now, form=form, made=made, status=422 if request.method == "POST" and not made else 200)


def client_shown(request: PageRequest, client: Client, *, now: datetime, status: int = 200, **values: Any) -> HttpResponse:
    actor = request.actor
    key, secret = values.get("made") or (None, "")
    form = values.get("form") or ConnectForm(actor=actor, client=client.name, now=now)
    (connection,) = [one for one in connections(actor, now=now) if one.client is client]
    context = {
        "client": client, "connection": connection, "state": STATES[connection.state], "snippets": snippets(client, secret), "form": form, "key": key, "secret": secret,
        "waited": waited(actor, key, now=now) if key else None, "tried": values.get("tried"), "pasted": values.get("pasted", ""),
    }  # fmt: skip
    return shown(request, "connection", TAB, context, status=status)


def stopping_door_page(request: PageRequest, door: StoppingDoor) -> HttpResponse:
    """A door that stops calls: its lines, with POST a key put into them, and whether it has asked."""
    actor, now = request.actor, timezone.now()
    form = ConnectForm(request.POST or None, actor=actor, client=door.name, now=now)
    made = key_made(form, actor) if request.method == "POST" else None
    key, secret = made or (None, "")
    values = {"client": door, "door": door, "form": form, "key": key, "secret": secret, "snippets": stopping_snippets(door, secret)}
    values |= {
        "check": f"curl -i {settings.PUBLIC_URL}/api/v1/check -H 'X-Weighhouse-Key: {secret or PLACEHOLDER}'",
        "waited": waited(actor, key, now=now) if key else None,
    }
    return shown(request, "connection", TAB, values, status=422 if request.method == "POST" and not made else 200)


def key_made(form: ConnectForm, actor: Actor) -> tuple[ApiKey, str] | None:
    if not form.is_valid():
        return None
    made: tuple[ApiKey, str] | None = done(form, lambda: services.api_key_create(actor=actor, **form.values))
    return made


@never_cache
@page(Right.MANAGE_ORGANIZATION)
def connection_test(request: PageRequest, client: str) -> HttpResponse:
    """Sends the client's sample through its door with the key that was given, and says what became of it. A plain visit goes back.

    The page's own status says whether it could ask, not what the door answered, which stands in it.
    """
    found = client_named(client)
    if request.method != "POST":
        return redirect("settings-connection", slug=request.actor.organization.slug, client=client)
    secret = request.POST.get("secret", "").strip()
    tried = connection_try(actor=request.actor, client=found, secret=secret, now=timezone.now()) if secret else None
    status = 200 if tried else 422
    if request.headers.get("HX-Request"):
        return render(request, "settings/connection_tried.html", {"tried": tried, "client": found}, status=status)
    return client_shown(request, found, now=timezone.now(), tried=tried, pasted=secret, status=status)


@never_cache
@require_GET
@page(Right.MANAGE_ORGANIZATION)
def connection_wait(request: PageRequest, client: str, key_id: int) -> HttpResponse:
    """Asked every few seconds: whether the first call with a key has come."""
    door = doors().get(client)
    found, key = door or client_named(client), get_scoped(request.actor, ApiKey.objects.all(), pk=key_id)
    return render(
        request, "settings/connection_wait.html", {"waited": waited(request.actor, key, now=timezone.now()), "client": found, "door": door}
    )


@never_cache
@page(Right.MANAGE_ORGANIZATION)
def key_make(request: PageRequest) -> HttpResponse:
    """Makes a key and puts it into the lines that an empty organization is shown. A plain visit goes to the connections."""
    actor = request.actor
    if request.method != "POST":
        return redirect("settings-connections", slug=actor.organization.slug)
    form = ConnectForm(request.POST, actor=actor, now=timezone.now())
    made = key_made(form, actor)
    key, secret = made or (None, "")
    values = {"form": form, "snippets": first_snippets(secret), "key": key, "secret": secret}
    status = 200 if made else 422
    if request.headers.get("HX-Request"):
        return render(request, "settings/connect_card.html", values, status=status)
    return shown(request, "connect", TAB, values, status=status)
