"""Addresses of the API in ingest."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
