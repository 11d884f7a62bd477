"""A price book for the tests of the pages: three providers of the bundled one, which load quickly."""

from collections.abc import Iterator

import pytest
import time_machine

from governance.pricing.book import current_book
from governance.pricing.services import prices_load
from governance.pricing.sources.genai import bundled_providers
from governance.tenancy.models import Member, Organization, Team
from tests.dashboards.usage_made import NOW, use, varied_calls

LOADED = ("anthropic", "openai", "deepseek")


@pytest.fixture
def prices(db: None) -> None:
    prices_load(providers=[provider for provider in bundled_providers() if provider.slug in LOADED])
    current_book(refresh=True)  # the rows of the test before are gone, whatever the clock says


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
