"""Settings: the organization's profile."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect

from dashboards.access import PageRequest, page
from dashboards.forms.settings import ProfileForm
from dashboards.pages.settings.frame import done, shown
from governance.tenancy import services
from governance.tenancy.access import Right, require


@page()
def profile(request: PageRequest) -> HttpResponse:
    """Name, clock, fiscal year, target and retention. Who may only read the record goes there."""
    actor = request.actor
    if request.method == "GET" and not actor.can(Right.MANAGE_ORGANIZATION) and actor.can(Right.VIEW_AUDIT):
        return redirect("settings-record", slug=actor.organization.slug)
    require(actor, Right.MANAGE_ORGANIZATION)
    organization = actor.organization
    initial = {name: getattr(organization, name) for name in services.PROFILE}
    form = ProfileForm(request.POST or None, initial=initial, currency_is_fixed=services.currency_is_fixed(organization))
    if request.method == "POST" and form.is_valid() and done(form, lambda: services.organization_change(actor=actor, **form.cleaned_data)):
        messages.success(request, "Saved.")
        return redirect("settings", slug=organization.slug)
    return shown(request, "organization", "settings", {"form": form}, status=422 if form.is_bound else 200)
