"""Addresses of the pages. Everything of an organization lies under /o/<slug>/."""

from django.urls import include, path

from dashboards.pages import (
    accounts,
    approvals,
    budget_new,
    budgets,
    decide_link,
    delegates,
    freezes,
    lockin,
    my_usage,
    notifications,
    overview,
    prices,
    prices_changes,
    prices_currencies,
    prices_model,
    prices_months,
    prices_runs,
    prices_terms,
    prices_unpriced,
    routing,
    search,
    sessions,
    settings,
    spend,
)

IN_ORGANIZATION = [
    *overview.urlpatterns,
    *spend.urlpatterns,
    *routing.urlpatterns,
    *lockin.urlpatterns,
    *prices.urlpatterns,
    *prices_changes.urlpatterns,
    *prices_model.urlpatterns,
    *prices_months.urlpatterns,
    *prices_runs.urlpatterns,
    *prices_unpriced.urlpatterns,
    *prices_terms.urlpatterns,
    *prices_currencies.urlpatterns,
    *sessions.urlpatterns,
    *budget_new.urlpatterns,
    *budgets.urlpatterns,
    *approvals.urlpatterns,
    *decide_link.urlpatterns,
    *delegates.urlpatterns,
    *freezes.urlpatterns,
    *notifications.urlpatterns,
    *my_usage.urlpatterns,
    *settings.urlpatterns,
    *search.urlpatterns,
]

urlpatterns = [
    *accounts.urlpatterns,
    path("o/<slug:slug>/", include(IN_ORGANIZATION)),
]
