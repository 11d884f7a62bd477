"""Django application of the operators' commands, the worker's sign of life and /healthz."""

from django.apps import AppConfig


class ConfConfig(AppConfig):
    name = "governance.conf"
    label = "conf"

    def ready(self) -> None:
        """Makes our Celery application the current one in every process, so that tasks go to our broker."""
        from governance.conf import celery  # noqa: F401 - needs the settings
