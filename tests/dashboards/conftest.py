"""A price book for the tests of the pages: three providers of the bundled one, which load quickly."""

import pytest

from governance.pricing.services import prices_load
from governance.pricing.sources.genai import bundled_providers

LOADED = ("anthropic", "openai", "deepseek")


@pytest.fixture
def prices(db: None) -> None:
    prices_load(providers=[provider for provider in bundled_providers() if provider.slug in LOADED])
