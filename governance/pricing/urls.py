"""Addresses of the API in governance/pricing."""

from django.urls import path

from governance.pricing import api

urlpatterns = [path("prices", api.PricesView.as_view(), name="api-prices")]
