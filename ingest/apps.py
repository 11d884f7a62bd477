"""Django application of ingest."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    name = "ingest"
    label = "ingest"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from governance.budgets import ledger
        from governance.tenancy import counted
        from ingest.ledger import EventLedger, has_usage

        ledger.register(EventLedger())
        counted.register(has_usage)
