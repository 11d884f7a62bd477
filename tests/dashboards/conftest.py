"""What the tests of the pages start from: three providers' prices, a clock that stands, ten days of usage."""

from collections.abc import Iterator

import pytest
import time_machine

from governance.tenancy.models import Member, Organization, Team
from tests.dashboards.usage_made import NOW, use, varied_calls
from tests.price_books import KeptBook


@pytest.fixture
def prices(db: None, book_of_the_pages: KeptBook) -> None:
    book_of_the_pages.put()


@pytest.fixture
def at_now() -> Iterator[None]:
    """The clock stands at NOW."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def varied(prices: None, at_now: None, organization: Organization, team: Team, admin: Member) -> Organization:
    """The organization after ten days of varied usage of two teams."""
    Team.objects.create(organization=organization, slug="data", name="Data")
    use(organization, varied_calls())
    return organization
