"""Settings: members with their roles, and service accounts."""

import secrets
from typing import Any

from django.contrib import messages
from django.db.models import Count, Max, Q
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache

from dashboards.access import PageRequest, page
from dashboards.components.figures import plain_decimal
from dashboards.components.tables import Column, Table
from dashboards.forms.settings import MemberAddForm, MemberForm, ServiceAccountForm
from dashboards.pages.settings.frame import done, shown
from governance.tenancy import services
from governance.tenancy.access import RIGHTS, Actor, Right, get_scoped, scoped
from governance.tenancy.models import ApiKey, Member, ServiceAccount, User


@never_cache
@page(Right.MANAGE_ORGANIZATION)
def member_list(request: PageRequest) -> HttpResponse:
    """Everybody, and a form to add somebody. The first password of a new account is shown once, here."""
    actor = request.actor
    form = MemberAddForm(request.POST or None, actor=actor)
    first_password = ""
    if request.method == "POST" and form.is_valid():
        has_account = User.objects.filter(email__iexact=form.cleaned_data["email"]).exists()
        password = secrets.token_urlsafe(12)
        member = done(form, lambda: services.member_add(actor=actor, password=password, **form.cleaned_data))
        if member and has_account:
            messages.success(request, f"{member} is a member now and signs in as before.")
            return redirect("settings-members", slug=actor.organization.slug)
        if member:
            first_password = password
            messages.success(request, f"{member} is a member now.")
    is_made = bool(first_password)
    table = members_table(request)
    if table.is_asked_as_csv:
        return table.csv_response()
    values = {"form": MemberAddForm(actor=actor) if is_made else form, "table": table, "first_password": first_password, "email": form.cleaned_data["email"] if is_made else ""}
    return shown(request, "members", "settings-members", values, status=422 if form.is_bound and not is_made else 200)


def members_table(request: PageRequest) -> Table:
    """The members: who, role, team, limit, state."""
    actor = request.actor
    slug, currency = actor.organization.slug, actor.organization.currency
    columns = [
        Column("user", "Member", order="user__name", value=str, href=lambda row: reverse("settings-member", args=[slug, row.pk])),
        Column("email", "E-mail", kind="email", order="user__email", value=lambda row: row.user.email),
        Column("role", "Role", value=lambda row: row.get_role_display()),
        Column("team", "Team", order="team__name", value=lambda row: row.team.name if row.team else None),
        Column("approval_limit", "May grant", kind="money", currency=currency, note=grant_note, title="Largest grant in one decision, for roles that decide"),
        Column("is_active", "State", kind="badge", value=lambda row: ("active", "ok") if row.is_active else ("deactivated", "")),
    ]
    rows = scoped(actor, Member.objects.select_related("user", "team"))
    return Table.from_request(request, id="members", title="Members", columns=columns, rows=rows, sort="user", search=("user__name", "user__email", "team__name"))


def grant_note(row: Member) -> str:
    """What stands where no amount does: owners, admins and approvers without a limit grant any amount."""
    return "any amount" if row.approval_limit is None and Right.DECIDE in RIGHTS[row.role] else ""


@page(Right.MANAGE_ORGANIZATION)
def member_page(request: PageRequest, member_id: int) -> HttpResponse:
    """One member: role, team, limit, names; deactivating and bringing back."""
    actor = request.actor
    member = get_scoped(actor, Member.objects.select_related("user", "team"), pk=member_id)
    if request.method == "POST" and "active" in request.POST:
        return member_switch(request, member, is_active=request.POST["active"] == "1")
    form = MemberForm(request.POST or None, actor=actor, initial=member_values(member))
    if request.method == "POST" and form.is_valid() and done(form, lambda: services.member_change(actor=actor, member=member, **form.cleaned_data)):
        messages.success(request, "Saved.")
        return redirect("settings-members", slug=actor.organization.slug)
    return shown(request, "member", "settings-members", {"form": form, "member": member}, status=422 if form.is_bound else 200)


def member_values(member: Member) -> dict[str, Any]:
    limit = None if member.approval_limit is None else plain_decimal(member.approval_limit)
    return {"role": member.role, "team": member.team_id, "approval_limit": limit, "aliases": ", ".join(member.aliases)}


def member_switch(request: PageRequest, member: Member, *, is_active: bool) -> HttpResponse:
    form = MemberForm(actor=request.actor, initial=member_values(member))
    form.cleaned_data = {}
    if done(form, lambda: services.member_change(actor=request.actor, member=member, is_active=is_active)) is None:
        return shown(request, "member", "settings-members", {"form": form, "member": member}, status=409)
    messages.success(request, f"{member} can sign in again." if is_active else f"{member} is deactivated. The record and the usage stay.")
    return redirect("settings-member", slug=request.actor.organization.slug, member_id=member.pk)


@page(Right.MANAGE_ORGANIZATION)
def account_list(request: PageRequest) -> HttpResponse:
    """Programs that act in the organization, with their keys counted."""
    actor = request.actor
    form = ServiceAccountForm(request.POST or None, actor=actor)
    if request.method == "POST" and form.is_valid() and done(form, lambda: services.service_account_create(actor=actor, **form.cleaned_data)):
        messages.success(request, f"{form.cleaned_data['name']} is there. Make a key for it next.")
        return redirect("settings-accounts", slug=actor.organization.slug)
    table = accounts_table(request, actor)
    if table.is_asked_as_csv:
        return table.csv_response()
    return shown(request, "accounts", "settings-accounts", {"form": form, "table": table}, status=422 if form.is_bound else 200)


def accounts_table(request: PageRequest, actor: Actor) -> Table:
    """Service accounts with their live keys and last use."""
    rows = scoped(actor, ServiceAccount.objects.select_related("team")).annotate(
        keys=Count("api_keys", filter=Q(api_keys__revoked_at=None)), used_at=Max("api_keys__use__last_used_at")
    )
    slug = actor.organization.slug
    columns = [
        Column("name", "Service account", href=lambda row: reverse("settings-account", args=[slug, row.pk])),
        Column("team", "Team", order="team__name", value=lambda row: row.team.name if row.team else None),
        Column("keys", "Live keys", kind="count"),
        Column("used_at", "Last use", kind="ago"),
        Column("is_active", "State", kind="badge", value=lambda row: ("active", "ok") if row.is_active else ("switched off", "")),
    ]
    return Table.from_request(request, id="accounts", title="Service accounts", columns=columns, rows=rows, sort="name", empty="No service accounts yet. A gateway or a collector gets one.")


@page(Right.MANAGE_ORGANIZATION)
def account_page(request: PageRequest, account_id: int) -> HttpResponse:
    """One service account: its keys, and switching it off and on."""
    actor = request.actor
    account = get_scoped(actor, ServiceAccount.objects.select_related("team"), pk=account_id)
    if request.method == "POST" and request.POST.get("active") in ("0", "1"):
        account = services.service_account_switch(actor=actor, account=account, is_active=request.POST["active"] == "1")
        messages.success(request, f"{account} is switched on again." if account.is_active else f"{account} is switched off. Calls with its keys are refused from now on.")
        return redirect("settings-account", slug=actor.organization.slug, account_id=account.pk)
    keys = scoped(actor, ApiKey.objects.filter(service_account=account, revoked_at=None)).order_by("name")
    return shown(request, "account", "settings-accounts", {"account": account, "keys": keys})
