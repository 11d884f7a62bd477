"""Django application of ingest."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    name = "ingest"
    label = "ingest"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from governance.budgets import ledger
        from ingest.ledger import EventLedger

        ledger.register(EventLedger())
