"""Every address the product answers at. An entry point: it may name every floor."""

from django.urls import include, path

handler400 = "governance.tenancy.problems.bad_request"
handler404 = "governance.tenancy.problems.page_not_found"
handler500 = "governance.tenancy.problems.server_error"

urlpatterns = [
    path("", include("governance.conf.health")),
    path("", include("ingest.urls")),
    path("api/v1/", include("governance.budgets.urls")),
    path("api/v1/", include("governance.approvals.urls")),
    path("api/v1/", include("governance.pricing.urls")),
    path("api/v1/", include("governance.billing.urls")),
    path("api/v1/", include("governance.notices.urls")),
    path("", include("dashboards.urls")),
]
