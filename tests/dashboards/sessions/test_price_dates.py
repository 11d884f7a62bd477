"""The call dialog says in words when it is not known since when a price holds."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.template.loader import render_to_string

from dashboards.selectors.arithmetic import Bill
from governance.pricing.models import Model, PriceRow, Provider
from governance.pricing.sources.rows import BEGINNING
from governance.tenancy.models import Organization
from ingest.models import UsageEvent

SEPTEMBER, OCTOBER = (datetime(2026, month, 1, 12, tzinfo=UTC) for month in (9, 10))


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (BEGINNING, None, ", no start known, source"),
        (BEGINNING, OCTOBER, ", no start known, to 1 Oct 2026, source"),
        (SEPTEMBER, OCTOBER, ", from 1 Sep 2026 to 1 Oct 2026, source"),
    ],
)
def test_a_price_without_a_known_start_is_not_dated_1970(begins: datetime, ends: datetime | None, said: str) -> None:
    model = Model(slug="m", name="M", provider=Provider(slug="p", name="P"))
    price = PriceRow(pk=1, model=model, valid_from=begins, valid_to=ends, rates={}, source="list")
    bill, call = Bill((), "", "", "", price, None), UsageEvent(id=UUID(int=1), occurred_at=SEPTEMBER)
    shown = render_to_string("sessions/_call.html", {"bill": bill, "call": call, "zone": UTC, "organization": Organization(slug="acme")})
    assert said in shown
    assert "1970" not in shown
