"""Page: how I am told. Everybody chooses for themselves."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.notices import NotificationsForm
from dashboards.pages.settings.frame import done
from governance.notices.models import Notice
from governance.notices.preferences import STORM_NOTICES, STORM_TIME, URGENT, preference_change, preference_of
from governance.tenancy.access import scoped

STATES = {"waiting": ("on its way", "warn"), "held": ("later", "ice"), "gathered": ("in a digest", ""), "sent": ("sent", "ok"), "dead": ("not delivered", "danger")}


@page()
@require_http_methods(["GET", "POST"])
def notifications(request: PageRequest) -> HttpResponse:
    """Kinds by way, quiet hours, the daily mail; below, what was sent lately."""
    actor = request.actor
    assert actor.member is not None  # noqa: S101 - pages are opened by people
    form = NotificationsForm(request.POST or None, actor=actor, preference=preference_of(actor.member))
    if request.method == "POST" and form.is_valid() and done(form, lambda: preference_change(actor=actor, **form.values)):
        messages.success(request, "Saved.")
        return redirect("notifications", slug=actor.organization.slug)
    table = told_table(request)
    if table.is_asked_as_csv:
        return table.csv_response("notifications")
    values = {
        "form": form, "table": table, "email": actor.member.user.email, "urgent": [kind.label for kind in sorted(URGENT, key=str)],
        "storm_notices": STORM_NOTICES, "storm_minutes": int(STORM_TIME.total_seconds() // 60),
    }  # fmt: skip
    return render(request, "accounts/notifications.html", values, status=422 if form.is_bound else 200)


def told_table(request: PageRequest) -> Table:
    """The person's own notices, newest first."""
    columns = [
        Column("created_at", "When", kind="at"),
        Column("subject", "What", "strong"),
        Column("kind", "Kind", value=lambda row: row.get_kind_display(), is_for_wide=True),
        Column("state", "State", kind="badge", value=lambda row: STATES[row.state]),
    ]
    rows = scoped(request.actor, Notice.objects.filter(member=request.actor.member))
    return Table.from_request(request, id="told", title="What you were told", columns=columns, rows=rows, sort="-created_at", page_size=10, empty="Nothing yet.")


urlpatterns = [path("notifications", notifications, name="notifications")]
