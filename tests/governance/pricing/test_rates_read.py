"""Exchange rates come from files of the European Central Bank, from anybody's CSV and by hand; a broken or hostile file changes nothing."""

import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from unittest.mock import patch

import pytest

from governance.audit.models import AuditRecord
from governance.errors import Forbidden, Invalid
from governance.notices.addresses import Unreachable
from governance.pricing.book import current_book
from governance.pricing.exchange import Quote
from governance.pricing.exchanging import ecb_read, exchange_rule_set, own_rates_add, reference_rates_add
from governance.pricing.models import ExchangeRate, ExchangeRule, PriceBook, ReferenceRate
from governance.pricing.sources import ecb
from governance.pricing.tasks import rates_read
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HISTORY = b"Date,USD,JPY,BGN,CNY,\n2026-11-20,1.0842,161.2,N/A,7.8512,\n2026-11-19,1.08,160,1.9558,7.8,\n"
DAILY = b"Date, USD, CNY, \n20 November 2026, 1.0842, 7.8512, \n"
XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
<gesmes:subject>Reference rates</gesmes:subject>
<Cube><Cube time='2026-11-20'><Cube currency='USD' rate='1.0842'/><Cube currency='CNY' rate='7.8512'/></Cube></Cube>
</gesmes:Envelope>"""


def zipped(body: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("eurofxref.csv", body)
    return packed.getvalue()


@pytest.mark.parametrize("body", [DAILY, XML, zipped(DAILY), b"\xef\xbb\xbf" + DAILY])
def test_each_format_says_the_same(body: bytes) -> None:
    """What was published on the 20th holds from the 21st."""
    assert ecb.read(body) == [
        Quote("EUR", "USD", date(2026, 11, 21), Decimal("1.0842"), "ecb"), Quote("EUR", "CNY", date(2026, 11, 21), Decimal("7.8512"), "ecb"),
    ]


def test_a_history_leaves_out_what_was_not_quoted() -> None:
    found = ecb.read(HISTORY)
    assert len(found) == 7
    assert [quote.day for quote in found if quote.quote == "BGN"] == [date(2026, 11, 20)]


def test_a_plain_list_holds_from_its_own_days() -> None:
    found = ecb.read(b"day,base,quote,rate\n2026-11-01,USD,CNY,7.1\n\n")
    assert found == [Quote("USD", "CNY", date(2026, 11, 1), Decimal("7.1"), "file")]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"hello", b"\xff\xfe\x00", b"Date,USD\n2026-11-20,-1\n", b"Date,USD\n2026-11-20,NaN\n", b"Date,USD\n2026-11-20,1e999999\nx", b"Date,XYZ\n2026-11-20,1\n",
        b"Date,USD\nyesterday,1\n", b"<html>", b"<html><body>No rates today</body></html>", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>", b"PK\x03\x04nonsense",
        b"day,base,quote,rate\n2026-11-01,USD\n", zipped(b""), b"Date,USD\n",
    ],
)  # fmt: skip
def test_what_is_no_list_of_rates_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(Invalid):
        ecb.read(body)


@pytest.fixture
def no_shelf() -> Iterator[None]:
    yield
    current_book(refresh=True)


@pytest.mark.django_db
class TestStored:
    def test_rates_are_added_once_and_the_book_moves_with_them(self) -> None:
        version = PriceBook.objects.get().version
        assert ecb_read(body=HISTORY, now=NOW) == 7
        assert ecb_read(body=HISTORY, now=NOW) == 0
        assert PriceBook.objects.get().version == version + 1
        found = current_book(refresh=True).rates.find("CNY", "USD", date(2026, 11, 21), days_good_for=7)
        assert found is not None
        assert found.rate == Decimal("0.138093539841043407")

    def test_a_correction_is_another_row_and_counts(self, admin: Member) -> None:
        ecb_read(body=DAILY, now=NOW)
        corrected = [Quote("EUR", "USD", date(2026, 11, 21), Decimal("1.09"))]
        assert reference_rates_add(actor=member_actor(admin), quotes=corrected, source="manual", now=NOW) == 1
        assert ReferenceRate.objects.filter(quote="USD").count() == 2
        found = current_book(refresh=True).rates.find("EUR", "USD", date(2026, 11, 21), days_good_for=7)
        assert found is not None
        assert found.rate == Decimal("1.09")
        assert AuditRecord.objects.filter(action="rates.added", organization=admin.organization).count() == 2

    def test_a_jump_in_what_is_read_by_itself_changes_nothing(self) -> None:
        ecb_read(body=DAILY, now=NOW)
        with pytest.raises(Invalid, match="Nothing was taken over"):
            ecb_read(body=DAILY.replace(b"20 Nov", b"21 Nov").replace(b"1.0842", b"10.842"), now=NOW)
        assert ReferenceRate.objects.count() == 2

    @pytest.mark.parametrize("answer", [b"<html>", Unreachable("no way there"), XML.replace(b"7.8512", b"0")])
    def test_the_daily_task_survives_whatever_comes(self, answer: bytes | Exception) -> None:
        effect = {"side_effect": answer} if isinstance(answer, Exception) else {"return_value": answer}
        with patch("governance.pricing.exchanging.fetch", **effect):
            assert rates_read() == 0
        assert not ReferenceRate.objects.exists()

    def test_own_rates_are_for_who_manages_prices(self, admin: Member, engineer: Member) -> None:
        quotes = [Quote("USD", "CNY", date(2026, 11, 1), Decimal("7.1"))]
        with pytest.raises(Forbidden):
            own_rates_add(actor=member_actor(engineer), quotes=quotes)
        assert own_rates_add(actor=member_actor(admin), quotes=quotes) == 1
        assert own_rates_add(actor=member_actor(admin), quotes=quotes) == 0
        assert ExchangeRate.objects.get().organization == admin.organization

    def test_a_rule_is_dated(self, admin: Member) -> None:
        actor = member_actor(admin)
        first = exchange_rule_set(actor=actor, basis="month", valid_from=date(2026, 11, 1), days_good_for=7)
        assert exchange_rule_set(actor=actor, basis="month", valid_from=date(2026, 11, 5), days_good_for=7) == first
        exchange_rule_set(actor=actor, basis="day", valid_from=date(2026, 12, 1), days_good_for=7)
        assert ExchangeRule.objects.count() == 2
        with pytest.raises(Invalid):
            exchange_rule_set(actor=actor, basis="week", valid_from=date(2026, 12, 1), days_good_for=7)
