"""Exchange rates as the tables hold them, read for the memory that converts."""

from datetime import date

from governance.pricing.exchange import Quote
from governance.pricing.models import ExchangeRate, ReferenceRate

COLUMNS = ("base", "quote", "day", "rate", "source")


def quotes_of(organization_id: int) -> list[Quote]:
    """The exchange rates of an organization's own, in the order in which they came."""
    return [Quote(*row) for row in ExchangeRate.objects.filter(organization=organization_id).order_by("id").values_list(*COLUMNS)]


def reference_quotes(since: date) -> list[Quote]:
    """The exchange rates of the installation from a day on, in the order in which they came."""
    return [Quote(*row) for row in ReferenceRate.objects.filter(day__gte=since).order_by("id").values_list(*COLUMNS)]
