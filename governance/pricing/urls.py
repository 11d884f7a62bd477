"""Addresses of the API in governance/pricing."""

from django.urls import path

from governance.pricing import api, api_models
from governance.pricing.sync import api as sync

urlpatterns = [
    path("prices", api.PricesView.as_view(), name="api-prices"),
    path("prices/runs", sync.RunsView.as_view(), name="api-price-runs"),
    path("prices/runs/<int:reading_id>", sync.RunView.as_view(), name="api-price-run"),
    path("prices/findings", sync.FindingsView.as_view(), name="api-price-findings"),
    path("prices/findings/<int:finding_id>", sync.FindingView.as_view(), name="api-price-finding"),
    path("prices/disagreements", sync.DisagreementsView.as_view(), name="api-price-disagreements"),
    path("prices/models", api_models.PriceModelsView.as_view(), name="api-prices-models"),
    path("prices/read", api_models.PriceNamesReadView.as_view(), name="api-prices-read"),
    path("prices/names", api_models.NameMappingsView.as_view(), name="api-prices-names"),
    path("prices/names/<int:mapping_id>", api_models.NameMappingView.as_view(), name="api-prices-name"),
]
