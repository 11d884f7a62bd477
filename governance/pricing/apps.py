"""Django application of governance/pricing."""

from django.apps import AppConfig


class PricingConfig(AppConfig):
    name = "governance.pricing"
    label = "pricing"
    default_auto_field = "django.db.models.BigAutoField"
