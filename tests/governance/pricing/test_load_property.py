"""Whatever a source says after whatever it said before: the book agrees with it from now on, and with itself before."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.pricing.book import current_book
from governance.pricing.services import prices_load
from governance.pricing.sources.rows import BEGINNING, SourceModel, SourceProvider, SourceRow
from governance.pricing.usage import Usage

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = [FIRST + number * DAY for number in range(12)]
Chain = list[tuple[datetime, int]]

# A history is the amounts in force from the beginning and from some days on.
histories = st.builds(
    lambda first, later: [(BEGINNING, first), *sorted(later.items())],
    st.integers(1, 3),
    st.dictionaries(st.sampled_from(DAYS), st.integers(1, 3), max_size=3),
)


def source(chain: Chain) -> list[SourceProvider]:
    ends = [begins for begins, _ in chain[1:]] + [None]
    rows = [
        SourceRow(begins, end, {"input_tokens": {"per": 1_000_000, "base": str(amount)}})
        for (begins, amount), end in zip(chain, ends, strict=True)
    ]
    return [SourceProvider("p", "P", None, None, [], [SourceModel("m", {"equals": "m"}, rows)])]


def amount_at(chain: Chain, at: datetime) -> int:
    return next(amount for begins, amount in reversed(chain) if begins <= at)


def book_amounts(instants: list[datetime]) -> list[Decimal | None]:
    book = current_book(refresh=True)
    return [book.rate(provider="p", model="m", at=at, usage=Usage(input_tokens=1_000_000)).cost for at in instants]


@settings(max_examples=150)
@given(loads=st.lists(st.tuples(histories, st.integers(0, 3)), min_size=1, max_size=4))
def test_book_agrees_with_the_source_from_the_load_on(loads: list[tuple[Chain, int]]) -> None:
    instants = [at + step for at in DAYS for step in (-timedelta.resolution, timedelta(0), DAY / 2)]
    with transaction.atomic():
        now = FIRST - DAY
        for chain, days in loads:
            now += days * DAY + timedelta(hours=1)
            before = dict(zip(instants, book_amounts(instants), strict=True))
            prices_load(providers=source(chain), now=now)
            after = dict(zip(instants, book_amounts(instants), strict=True))

            assert {at: amount for at, amount in after.items() if at >= now} == {at: amount_at(chain, at) for at in instants if at >= now}
            # Before the load only a price with a date may have come in, from its date on.
            dated = min((begins for begins, _ in chain[1:]), default=now)
            undated_past = [at for at in instants if at < min(now, dated)]
            assert before[instants[0]] is None or [after[at] for at in undated_past] == [before[at] for at in undated_past]
        transaction.set_rollback(True)
