"""Django application of governance/notices."""

from django.apps import AppConfig


class NoticesConfig(AppConfig):
    name = "governance.notices"
    label = "notices"
    default_auto_field = "django.db.models.BigAutoField"
