"""Django application of dashboards."""

from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    name = "dashboards"
    label = "dashboards"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from dashboards.selectors.evidence import evidence
        from governance.approvals import evidence as approvals

        approvals.register(evidence)
