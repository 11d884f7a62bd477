"""What notices say: amounts rounded for reading, instants on the organization's clock, nothing left out."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from governance.notices import messages

BERLIN = ZoneInfo("Europe/Berlin")
END = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
LINK = "https://weighhouse.example/o/acme/budgets/4"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1234.5", "USD", "1,234.50 USD"),
        ("0", "USD", "0.00 USD"),
        ("0.005", "USD", "0.0050 USD"),
        ("0.000000000000001", "USD", "0.000000000000001 USD"),
        ("0.00999", "EUR", "0.0100 EUR"),
        ("-3.456", "USD", "-3.46 USD"),
        ("2.675", "USD", "2.68 USD"),
        ("2.665", "USD", "2.66 USD"),
        ("1234567.49", "JPY", "1,234,567 JPY"),
        ("9999999999999.999999999999999", "USD", "10,000,000,000,000.00 USD"),
        ("1E+3", "USD", "1,000.00 USD"),
    ],
)
def test_amounts_are_rounded_for_reading(amount: str, currency: str, text: str) -> None:
    assert messages.amount_text(Decimal(amount), currency) == text


def test_threshold_mail() -> None:
    message = messages.budget_threshold(
        budget="Platform month",
        percent=80,
        spent=Decimal("81.239"),
        limit=Decimal(100),
        currency="USD",
        zone=BERLIN,
        ends_at=END,
        link=LINK,
    )

    assert message.subject == "Platform month: 80 % of 100.00 USD used"
    assert message.body.splitlines() == [
        "Platform month has used 80 % of its limit.",
        "",
        "Spent:  81.24 USD",
        "Limit:  100.00 USD",
        "Left:   18.76 USD",
        "Until:  1 April 2026, 00:00 (Europe/Berlin)",
        "",
        "Nothing is stopped. You are told once for each threshold and period.",
        "",
        LINK,
    ]


def test_threshold_at_or_past_the_limit_has_nothing_left_and_says_by_how_much() -> None:
    message = messages.budget_threshold(
        budget="B", percent=100, spent=Decimal("100.5"), limit=Decimal(100), currency="USD", zone=BERLIN, link=LINK
    )

    assert "Over:   0.50 USD" in message.body
    assert "Nothing is stopped" not in message.body


def test_frozen_mail_names_the_session_and_the_way_out() -> None:
    message = messages.budget_frozen(
        budget="Platform session", spent=Decimal("100.25"), limit=Decimal(100), currency="USD", zone=BERLIN, session="run-1", link=LINK
    )

    assert message.subject == "Frozen: session run-1 at 100.00 USD"
    assert "Session run-1 reached the limit of Platform session" in message.body
    assert "Nothing that was done is lost" in message.body
    assert message.body.endswith(LINK)


def test_frozen_mail_of_a_wider_budget() -> None:
    message = messages.budget_frozen(
        budget="Acme month", spent=Decimal(100), limit=Decimal(100), currency="EUR", zone=BERLIN, ends_at=END, link=LINK
    )

    assert message.subject == "Frozen: Acme month at 100.00 EUR"
    assert "Until:  1 April 2026, 00:00 (Europe/Berlin)" in message.body


ASKED = messages.Asked(budget="B", amount=Decimal(50), currency="USD", zone=BERLIN, link=LINK)


def test_reasons_and_notes_keep_their_lines() -> None:
    message = messages.request_filed(ASKED, requester="Robin", reason="One.\n\nTwo.", spent=Decimal(100), limit=Decimal(100))

    assert "\n  One.\n\n  Two.\n" in message.body


def test_granted_mail_in_part_until_an_end() -> None:
    message = messages.request_granted(ASKED, decider="Kim", granted=Decimal(20), note="", ends_at=END)

    assert message.body.splitlines()[0] == (
        "Kim granted 20.00 USD of the 50.00 USD asked for on B. It counts until 1 April 2026, 00:00 (Europe/Berlin)."
    )
    assert "Calls may go on now." in message.body


def test_threshold_mail_of_a_session_names_it_and_its_member() -> None:
    message = messages.budget_threshold(
        budget="Any session",
        percent=50,
        spent=Decimal(51),
        limit=Decimal(100),
        currency="USD",
        zone=BERLIN,
        session="run-1",
        member="Kim",
        link="https://weighhouse.example/o/acme/sessions/run-1",
    )

    assert message.subject == "Session run-1 (Kim): 50 % of 100.00 USD used"
    assert message.body.splitlines()[:3] == ["Session run-1 has used 50 % of the limit of Any session.", "", "Member: Kim"]
