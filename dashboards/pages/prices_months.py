"""Prices: months that finance has closed, what was posted for them since, and closing and reopening them."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.rerating import CloseForm, ReopenForm
from dashboards.pages.prices import shown
from dashboards.pages.settings.frame import done
from governance.tenancy.access import Right, require
from governance.tenancy.months import month_close, month_named, month_reopen
from ingest.rerating.selectors import months_closed, months_posted

TAB = "prices-months"


@page(Right.VIEW_AUDIT)
@require_http_methods(["GET", "POST"])
def month_list(request: PageRequest) -> HttpResponse:
    """Closed months, and what was counted later for them. A POST closes or reopens one."""
    actor = request.actor
    closes = list(months_closed(actor))
    closed = frozenset(row.month for row in closes if row.reopened_at is None)
    is_reopening = request.method == "POST" and request.POST.get("action") == "reopen"
    form = CloseForm(request.POST if request.method == "POST" and not is_reopening else None, today=timezone.localdate(), closed=closed)
    reopen = ReopenForm(request.POST if is_reopening else None, prefix=None)
    if request.method == "POST":
        require(actor, Right.CLOSE_MONTHS)
        if _changed(request, reopen if is_reopening else form, is_reopening=is_reopening):
            return redirect(TAB, slug=actor.organization.slug)
    table = _posted_table(request)
    if table.is_asked_as_csv:
        return table.csv_response("posted")
    values = {"form": form, "reopen": reopen, "closes": closes, "table": table, "can_close": actor.can(Right.CLOSE_MONTHS)}
    return shown(request, "months", TAB, values, status=422 if request.method == "POST" else 200)


def _changed(request: PageRequest, form: CloseForm | ReopenForm, *, is_reopening: bool) -> bool:
    """Closes or reopens the month of the form. False where that was refused, which the form then says."""
    if not form.is_valid():
        return False
    change = month_reopen if is_reopening else month_close
    row = done(form, lambda: change(actor=request.actor, month=month_named(form.cleaned_data["month"]), reason=form.cleaned_data["reason"]))
    if row is not None:
        messages.success(request, f"{row.month:%B %Y} is {'open again' if is_reopening else 'closed'}.")
    return row is not None


def _posted_table(request: PageRequest) -> Table:
    columns = [
        Column("month", "Of", kind="text", value=lambda row: f"{row.month:%Y-%m}"),
        Column("cause", "Because", value=lambda row: row.cause or "calls that came when it was closed", note=lambda row: row.reference),
        Column("calls", "Calls", kind="count"),
        Column("cost", "Counted later", kind="money", currency=request.actor.organization.currency),
        Column("at", "Since", kind="at"),
    ]
    return Table.from_request(
        request, id="posted", title="Counted later for closed months", columns=columns, rows=months_posted(request.actor), sort="-month",
        empty="Nothing has changed what closed months say.",
    )  # fmt: skip


urlpatterns = [path("prices/months", month_list, name="prices-months")]
