"""Django application of governance/approvals."""

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "governance.approvals"
    label = "approvals"
    default_auto_field = "django.db.models.BigAutoField"
