"""Settings: counting once. Who told of the calls, pairs that wait for somebody to decide, and whose figures stand."""

from datetime import timedelta
from itertools import permutations
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.pages.deciding import DECISIONS, decided
from dashboards.pages.settings.frame import done, shown
from dashboards.selectors.told_twice import BY, Group, coverage_of, pairs_listed, share_of_both
from governance.ids import row_id
from governance.tenancy.access import Right
from ingest.once.selectors import pairs_undecided
from ingest.once.services import trust_order
from ingest.once.settling import trust_of
from ingest.once.sources import KIND_LABELS, TRUST

TAB = "settings-once"
WINDOWS = {"1": ("24 hours", timedelta(days=1)), "7": ("7 days", timedelta(days=7))}
MOST_PAIRS = 20
SIGN = ">"


class TrustForm(forms.Form):
    """Whose figures stand: the kinds of sources in one of their orders."""

    kinds = forms.ChoiceField(
        label="Figures stand in this order",
        choices=[(SIGN.join(kinds), ", then ".join(KIND_LABELS[kind] for kind in kinds)) for kinds in permutations(TRUST)],
    )


@page(Right.MANAGE_ORGANIZATION)
def once_page(request: PageRequest) -> HttpResponse:
    """Who told of how many calls, pairs to decide, and the order of trust; each can be changed here."""
    actor, is_sent = request.actor, request.method == "POST"
    if is_sent and request.POST.get("action") in DECISIONS:
        decided(request)
        return redirect(request.get_full_path())
    kinds = trust_of(actor.organization.pk)
    form = TrustForm(request.POST if is_sent else None, initial={"kinds": SIGN.join(kinds)})
    if is_sent and form.is_valid() and done(form, lambda: trust_order(actor=actor, kinds=form.cleaned_data["kinds"].split(SIGN))):
        messages.success(request, "Reports that come from now on go by this order.")
        return redirect(request.get_full_path())
    days, by = request.GET.get("days", "1"), request.GET.get("by", "harness")
    days, by = days if days in WINDOWS else "1", by if by in BY else "harness"
    now = timezone.now()
    shares, groups = coverage_of(actor, since=now - WINDOWS[days][1], until=now, by=by)
    table = coverage_table(request, groups, by)
    if table.is_asked_as_csv:
        return table.csv_response("counted-once")
    values = {
        "form": form, "shares": shares, "seen_by_both": share_of_both(shares), "table": table, "windows": [(key, name, key == days) for key, (name, _) in WINDOWS.items()],
        "dimensions": [(key, key == by) for key in BY], "is_own_order": kinds != TRUST, **pairs_shown(request),
    }  # fmt: skip
    return shown(request, "counted_once", TAB, values, status=422 if is_sent else 200)


def pairs_shown(request: PageRequest) -> dict[str, Any]:
    """A page of the pairs, where the next begins, and how many there are."""
    before = row_id(request.GET.get("before", ""))
    pairs, older = pairs_listed(request.actor, most=MOST_PAIRS, before=before)
    return {"pairs": pairs, "older": older, "is_later_page": before is not None, "pairs_total": pairs_undecided(request.actor).count()}


def coverage_table(request: PageRequest, groups: list[Group], by: str) -> Table:
    columns = [
        Column("name", by.capitalize(), "strong"),
        Column("calls", "Calls", "count", value=lambda row: row.shares.calls),
        Column("both", "Both", "count", value=lambda row: row.shares.both, title="a gateway and a harness told of them"),
        Column("gateway_only", "Gateway only", "count", value=lambda row: row.shares.gateway_only, title="no harness told of them"),
        Column("harness_only", "Harness only", "count", value=lambda row: row.shares.harness_only, title="no gateway told of them"),
        Column("other", "Vendor only", "count", value=lambda row: row.shares.other, title="only the vendor's own answer", is_for_wide=True),
        Column("share", "Seen by both", "percent", value=lambda row: row.seen_by_both),
    ]
    return Table.from_request(
        request, id="coverage", title=f"By {by}", columns=columns, rows=groups, sort="-calls", search=("name",),
        empty="No call was made in this time.",
    )  # fmt: skip
