"""Addresses of the API in governance/approvals."""

from django.urls import path

from governance.approvals import api

urlpatterns = [
    path("approvals", api.RequestsView.as_view(), name="api-approvals"),
    path("approvals/<uuid:request_id>", api.RequestView.as_view(), name="api-approval"),
    path("approvals/<uuid:request_id>/decision", api.DecisionView.as_view(), name="api-approval-decision"),
    path("approvals/<uuid:request_id>/override", api.OverrideView.as_view(), name="api-approval-override"),
    path("approvals/<uuid:request_id>/review", api.ReviewView.as_view(), name="api-approval-review"),
]
