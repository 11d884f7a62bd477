"""Addresses of the API in governance/approvals."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
