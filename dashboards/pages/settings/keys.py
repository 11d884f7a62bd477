"""Settings: API keys, made and revoked. The secret is shown once, in the answer to the form that made it."""

from datetime import datetime

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.settings import KeyForm
from dashboards.pages.settings.frame import done, shown
from dashboards.selectors.freezes import sessions_run
from governance.budgets.services import key_revoke
from governance.tenancy import services
from governance.tenancy.access import Right, get_scoped, scoped
from governance.tenancy.models import ApiKey

TAB = "settings-keys"


@never_cache
@page(Right.MANAGE_ORGANIZATION)
def key_list(request: PageRequest) -> HttpResponse:
    """All keys, and a form for a new one."""
    actor = request.actor
    form = KeyForm(request.POST or None, actor=actor)
    made = None
    if request.method == "POST" and form.is_valid():
        made = done(form, lambda: services.api_key_create(actor=actor, **form.values))
    table = keys_table(request)
    if table.is_asked_as_csv:
        return table.csv_response()
    key, secret = made or (None, "")
    values = {"form": KeyForm(actor=actor) if made else form, "table": table, "key": key, "secret": secret}
    return shown(request, "keys", TAB, values, status=422 if form.is_bound and not made else 200)


def keys_table(request: PageRequest) -> Table:
    """The keys by prefix, never by secret."""
    actor, now = request.actor, timezone.now()
    columns = [
        Column("name", "Key", href=lambda row: reverse("settings-key", args=[actor.organization.slug, row.pk])),
        Column("prefix", "Begins with"),
        Column("scopes", "Scopes", value=lambda row: ", ".join(row.scopes), is_sortable=False),
        Column("holder", "Belongs to", value=lambda row: str(row.service_account or row.member or "organization"), is_sortable=False),
        Column("last_used_at", "Last use", kind="ago", order="use__last_used_at"),
        Column("expires_at", "Expires", kind="at"),
        Column("state", "State", kind="badge", value=lambda row: key_state(row, now), is_sortable=False),
    ]
    rows = scoped(actor, ApiKey.objects.select_related("member__user", "service_account", "use"))
    return Table.from_request(
        request, id="keys", title="API keys", columns=columns, rows=rows, sort="", search=("name", "prefix", "service_account__name", "member__user__email"), empty="No keys yet."
    )


def key_state(key: ApiKey, now: datetime) -> tuple[str, str]:
    """What the key is good for now, and the tone to say it in."""
    if key.revoked_at is not None:
        return "revoked", ""
    if key.expires_at is not None and key.expires_at <= now:
        return "expired", "warn"
    return ("live", "ok") if key.last_used_at else ("never used", "ice")


@page(Right.MANAGE_ORGANIZATION)
def key_page(request: PageRequest, key_id: int) -> HttpResponse:
    """One key: what it may do, and revoking it."""
    actor = request.actor
    key = get_scoped(actor, ApiKey.objects.select_related("member__user", "service_account", "created_by", "use"), pk=key_id)
    if request.method == "POST":
        key_revoke(actor=actor, key=key, reason=request.POST.get("reason", ""))
        messages.success(request, f"{key.name} is revoked. Calls with it are refused from now on.")
        return redirect("settings-key", slug=actor.organization.slug, key_id=key.pk)
    now = timezone.now()
    return shown(request, "key", TAB, {"key": key, "state": key_state(key, now), "sessions": sessions_run(actor, key, now=now)})
