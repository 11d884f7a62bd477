"""Django application of governance/tenancy."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    name = "governance.tenancy"
    label = "tenancy"
    default_auto_field = "django.db.models.BigAutoField"
