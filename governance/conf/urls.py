"""Every address the product answers at. An entry point: it may name every floor."""

from django.urls import include, path

urlpatterns = [
    path("", include("governance.conf.health")),
    path("", include("ingest.urls")),
    path("api/v1/", include("governance.budgets.urls")),
    path("api/v1/", include("governance.approvals.urls")),
    path("api/v1/", include("governance.pricing.urls")),
    path("", include("dashboards.urls")),
]
