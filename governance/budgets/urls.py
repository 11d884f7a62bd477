"""Addresses of the API in governance/budgets."""

from django.urls import path

from governance.budgets import api, api_authorizations, api_policy

urlpatterns = [
    path("authorizations", api.Authorizations.as_view(), name="api-authorizations"),
    path("authorizations/batch", api_authorizations.BatchOfAuthorizations.as_view(), name="api-authorizations-batch"),
    path("authorizations/<uuid:authorization_id>", api.OneAuthorization.as_view(), name="api-authorization"),
    path("authorizations/<uuid:authorization_id>/extend", api_authorizations.ExtendAuthorization.as_view(), name="api-authorization-extend"),
    path("policy", api_policy.PolicyDocument.as_view(), name="api-policy"),
    path("sessions/<path:key>", api.OneSession.as_view(), name="api-session"),
]
