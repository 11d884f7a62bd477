"""Pages: my_usage."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
