"""Django application of ingest."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    name = "ingest"
    label = "ingest"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from governance.budgets import ledger
        from governance.pricing import late
        from governance.tenancy import counted
        from ingest.ledger import EventLedger, has_usage
        from ingest.price_changes.late import proposal_offer

        ledger.register(EventLedger())
        counted.register(has_usage)
        late.register(proposal_offer)
