"""Django application of governance/billing."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "governance.billing"
    label = "billing"
    default_auto_field = "django.db.models.BigAutoField"
