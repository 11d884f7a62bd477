"""/healthz: whether web, database, broker and worker are ready."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
