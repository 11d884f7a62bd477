"""Addresses of the API in governance/budgets."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
