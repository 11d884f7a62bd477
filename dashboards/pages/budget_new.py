"""Page: the form of a new budget, with a look ahead at what it would freeze at once."""

from typing import Any, cast

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboards.access import PageRequest, page
from dashboards.forms.budgets import OWNERS, BudgetForm, Choices
from dashboards.selectors.budget_course import known_labels
from dashboards.selectors.quoted_limits import currencies_known
from governance.budgets.models import Budget
from governance.budgets.previews import creation_preview
from governance.budgets.services import budget_create
from governance.budgets.services.drafts import BudgetFacts
from governance.errors import DomainError
from governance.tenancy import access
from governance.tenancy.access import Actor, Right, scoped
from governance.tenancy.models import ApiKey, Member, Project, ServiceAccount, Team

ROWS: dict[str, Any] = {"team": Team, "project": Project, "member": Member, "service_account": ServiceAccount, "api_key": ApiKey}
# What the service calls a field is not always the form's name for it.
FIELDS = {"rolling_hours": "rolling_length", "filters": "tags"}


@page(Right.MANAGE_BUDGETS)
@require_http_methods(["GET", "POST"])
def budget_new(request: PageRequest) -> HttpResponse:
    """The form of a new budget, with a preview of what it would freeze at once."""
    actor, now = request.actor, timezone.now()
    form = budget_form(request)
    is_look = request.POST.get("step") == "preview"
    context: dict[str, Any] = {"form": form, "is_look": False, "known": known_labels(actor, now=now)}
    own = "the currency beside it" if len(form.currencies) > 1 else actor.organization.currency
    context["limit_hint"] = f"In {own}, or a whole number of tokens or calls."
    if request.method == "GET":
        return render(request, "budgets/new.html", context)
    if not form.is_valid():
        # A look ahead while the form is being filled in is answered with what it still needs; nothing failed.
        return render(request, "budgets/new.html", context | {"is_look": is_look}, status=200 if is_look else 422)
    try:
        facts = facts_of(actor, form.cleaned_data)
        if is_look:
            return render(request, "budgets/new.html", context | {"preview": creation_preview(actor, facts, now=now)})
        budget = budget_create(actor=actor, **facts)
    except DomainError as refusal:
        field = refusal.extra.get("field")
        field = FIELDS.get(field, field) if field else None
        form.add_error(field if field in form.fields else None, refusal.detail)
        return render(request, "budgets/new.html", context | {"is_look": is_look}, status=200 if is_look else refusal.status)
    messages.success(request, f"{budget.name} is in force.")
    return HttpResponseRedirect(reverse("budget", args=[actor.organization.slug, budget.pk]))


def budget_form(request: PageRequest) -> BudgetForm:
    """The form with the organization's teams, projects, members, service accounts and keys to choose from."""
    return BudgetForm(
        request.POST if request.method == "POST" else None,
        initial={
            "thresholds": "50, 80, 100",
            "scope_kind": request.GET.get("scope", Budget.ScopeKind.TEAM.value),
            "team": request.GET.get("team"),
            "warns_ahead": True,
        },
        owners=owners_of(request.actor),
        currencies=currencies_known(request.actor),
    )


def owners_of(actor: Actor) -> dict[str, Choices]:
    """Whom a budget can be for, by the form's field."""
    keys = scoped(actor, ApiKey.objects.filter(revoked_at=None)).order_by("name", "id")
    members = scoped(actor, Member.objects.filter(is_active=True).select_related("user").order_by("user__name", "id"))
    return {
        "team": list(scoped(actor, Team.objects.order_by("name")).values_list("pk", "name")),
        "project": list(scoped(actor, Project.objects.order_by("name")).values_list("pk", "name")),
        "member": [(row.pk, str(row)) for row in members],
        "service_account": list(scoped(actor, ServiceAccount.objects.order_by("name")).values_list("pk", "name")),
        "api_key": [(row.pk, f"{row.name} ({row.prefix}…)") for row in keys],
    }


def facts_of(actor: Actor, cleaned: dict[str, Any]) -> BudgetFacts:
    """The form's answers with rows in place of ids."""
    rows = {name: access.get_scoped(actor, ROWS[name].objects.all(), pk=cleaned[name]) if cleaned.get(name) else None for name in OWNERS}
    return cast("BudgetFacts", cleaned | rows)


urlpatterns = [path("budgets/new", budget_new, name="budget-new")]
