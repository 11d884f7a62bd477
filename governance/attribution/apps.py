"""Django application of governance/attribution."""

from django.apps import AppConfig


class AttributionConfig(AppConfig):
    name = "governance.attribution"
    label = "attribution"
    default_auto_field = "django.db.models.BigAutoField"
