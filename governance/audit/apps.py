"""Django application of governance/audit."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "governance.audit"
    label = "audit"
    default_auto_field = "django.db.models.BigAutoField"
