"""Addresses of the API in governance/budgets."""

from django.urls import path

from governance.budgets import api, api_authorizations, api_budgets, api_check, api_freezes, api_policy

urlpatterns = [
    path("authorizations", api.Authorizations.as_view(), name="api-authorizations"),
    path("authorizations/batch", api_authorizations.BatchOfAuthorizations.as_view(), name="api-authorizations-batch"),
    path("authorizations/<uuid:authorization_id>", api.OneAuthorization.as_view(), name="api-authorization"),
    path("authorizations/<uuid:authorization_id>/extend", api_authorizations.ExtendAuthorization.as_view(), name="api-authorization-extend"),
    path("check", api_check.Check.as_view(), name="api-check"),
    path("check/<path:asked_for>", api_check.CheckAnyPath.as_view(), name="api-check-path"),
    path("policy", api_policy.PolicyDocument.as_view(), name="api-policy"),
    path("budgets", api_budgets.Budgets.as_view(), name="api-budgets"),
    path("budgets/preview", api_budgets.BudgetsPreview.as_view(), name="api-budgets-preview"),
    path("budgets/<int:budget_id>", api_budgets.OneBudget.as_view(), name="api-budget"),
    path("budgets/<int:budget_id>/preview", api_budgets.BudgetPreview.as_view(), name="api-budget-preview"),
    path("budgets/<int:budget_id>/retire", api_budgets.BudgetRetire.as_view(), name="api-budget-retire"),
    path("budgets/<int:budget_id>/transfer", api_budgets.BudgetTransfer.as_view(), name="api-budget-transfer"),
    path("freezes", api_freezes.Freezes.as_view(), name="api-freezes"),
    path("freezes/<int:freeze_id>", api_freezes.OneFreeze.as_view(), name="api-freeze"),
    path("freezes/<int:freeze_id>/end", api_freezes.EndOfFreeze.as_view(), name="api-freeze-end"),
    path("sessions/<path:key>", api.OneSession.as_view(), name="api-session"),
]
