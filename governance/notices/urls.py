"""Addresses of the API in governance/notices."""

from django.urls import path

from governance.notices import api

urlpatterns = [path("stream", api.Stream.as_view(), name="api-stream")]
