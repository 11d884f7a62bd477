"""Addresses of the API in governance/approvals."""

from django.urls import path

from governance.approvals import api, api_delegations, api_policies

urlpatterns = [
    path("approvals", api.RequestsView.as_view(), name="api-approvals"),
    path("approvals/<uuid:request_id>", api.RequestView.as_view(), name="api-approval"),
    path("approvals/<uuid:request_id>/decision", api.DecisionView.as_view(), name="api-approval-decision"),
    path("approvals/<uuid:request_id>/override", api.OverrideView.as_view(), name="api-approval-override"),
    path("approvals/<uuid:request_id>/review", api.ReviewView.as_view(), name="api-approval-review"),
    path("approval-policies", api_policies.ApprovalPolicies.as_view(), name="api-approval-policies"),
    path("approval-policies/organization", api_policies.OrganizationPolicy.as_view(), name="api-approval-policy"),
    path("approval-policies/teams/<slug:team_slug>", api_policies.TeamPolicy.as_view(), name="api-approval-team-policy"),
    path("delegations", api_delegations.Delegations.as_view(), name="api-delegations"),
    path("delegations/<int:delegation_id>", api_delegations.OneDelegation.as_view(), name="api-delegation"),
]
