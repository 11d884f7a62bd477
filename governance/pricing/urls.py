"""Addresses of the API in governance/pricing."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
