"""A browser, the house it looks at, and the people who look."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, sync_playwright

from tests.browser.house import ENGINEER, OWNER, House, addresses, opened

# There is no screen: drawing by the processor alone, without a stand-in for a graphics card, costs least.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROKEN_EVENT = {"id": "broken-1", "occurred_at": "yesterday", "provider": "anthropic", "model": "claude-sonnet-4-5", "input_tokens": 5}
Visitors = dict[str, StorageState]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker has the browser, so that the house is built once."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The product with a small demo in it, and one event that was refused."""
    with opened(tmp_path_factory.mktemp("house"), demo=True) as found:
        found.post(found.key("ingest"), BROKEN_EVENT)
        yield found


@pytest.fixture(scope="session")
def places(house: House) -> dict[str, str]:
    return addresses(house)


# Playwright's loop runs in this thread for as long as it is open, and Django refuses its database meanwhile: so for a module, not for the session.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    assert path, "these tests need Chromium on the path"
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path, args=FLAGS) as browser:
        yield browser


@pytest.fixture(scope="module")
def session_of(chromium: Browser, house: House) -> Visitors:
    """The cookies of whoever has signed in once in this module."""
    return {}


def signed_in(chromium: Browser, house: House, sessions: Visitors, email: str, **options: object) -> BrowserContext:
    """A window of its own for somebody, signed in through the page the first time."""
    if email not in sessions:
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"{house.url}/sign-in")
        page.get_by_label("E-mail").fill(email)
        page.get_by_label("Password").fill(house.password)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url("**/o/**")
        sessions[email] = context.storage_state()
        context.close()
    return chromium.new_context(storage_state=sessions[email], **options)  # type: ignore[arg-type]


def at_a_desk(chromium: Browser, house: House, sessions: Visitors, email: str) -> BrowserContext:
    context = signed_in(chromium, house, sessions, email, base_url=house.url, viewport={"width": 1440, "height": 900}, accept_downloads=True)
    context.set_default_timeout(15_000)
    return context


@pytest.fixture
def owner(chromium: Browser, house: House, session_of: Visitors) -> Iterator[Page]:
    """The demo's owner at a desk."""
    with at_a_desk(chromium, house, session_of, OWNER) as context:
        yield context.new_page()


@pytest.fixture
def engineer(chromium: Browser, house: House, session_of: Visitors) -> Iterator[Page]:
    """One of the demo's engineers at a desk."""
    with at_a_desk(chromium, house, session_of, ENGINEER) as context:
        yield context.new_page()


@pytest.fixture
def visitor(chromium: Browser, house: House) -> Iterator[Page]:
    """Somebody who has not signed in."""
    with chromium.new_context(base_url=house.url, viewport={"width": 1440, "height": 900}) as context:
        context.set_default_timeout(15_000)
        yield context.new_page()
