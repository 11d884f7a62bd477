"""What holds on every page: it can be read by everybody, breaks no rule of the browser, fits a phone, and gives its figures away."""

from time import monotonic

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page, ViewportSize

from tests.architecture.addresses import filled, patterns

PHONE: ViewportSize = {"width": 390, "height": 844}
# Addresses that are posted to or asked by a script, and answer with a redirect or a fragment.
NO_PAGES = {"first-event", "lockin-sessions", "settings-project-add", "settings-connections-key", "settings-connection-test", "settings-connection-wait"}
PAGES = [(name, route) for name, route, _ in patterns() if route.startswith("o/") and name not in NO_PAGES]
ALSO = [("password", "password"), ("api-docs", "api/docs"), ("not-found", "nowhere")]
# What is asked of a page besides its address, so that it has something to say.
QUESTIONS = {"search": "?q=a", "request-new": "?session={key}", "spend": "?range=30d"}
# One template writes hundreds of sections of these: axe is shown every tenth.
LONG = {"api-docs"}
SERIOUS = ("serious", "critical")
SETTLED = """
    document.querySelectorAll('[data-chart]').length === document.querySelectorAll('[data-chart][data-drawn]').length
    && !document.querySelector('.htmx-request, .htmx-swapping, .htmx-added, .htmx-settling')
    && !document.getAnimations().some(each => each instanceof CSSTransition)
"""
STANDARD = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


class Listener:
    """What the browser complained about since the last look."""

    def __init__(self, page: Page) -> None:
        self.said: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(message.text)


def visit(page: Page, route: str, name: str, places: dict[str, str]) -> None:
    answer = page.goto(filled(route, **places) + QUESTIONS.get(name, "").format(**places))
    assert answer is not None
    assert answer.status == (404 if name == "not-found" else 200)
    settle(page)


def settle(page: Page) -> None:
    """Waits until every chart is drawn, and no part of the page is dimmed because it is being loaded.

    Asked from here: `wait_for_function` compiles its text in the page when it has to ask twice, which the page's policy forbids.
    """
    until = monotonic() + 30
    while not page.evaluate(SETTLED):
        assert monotonic() < until, "the page does not come to rest"
        page.wait_for_timeout(20)


def faults_of(page: Page, *rules: str) -> list[str]:
    """What axe finds serious, with the first element each; by the rules of the standard, or by those named. From then on the page asks for nothing new."""
    page.evaluate("document.addEventListener('htmx:beforeRequest', event => event.preventDefault(), true)")
    settle(page)
    kind, values = ("rule", rules) if rules else ("tag", STANDARD)
    found = Axe().run(page, options={"resultTypes": ["violations"], "runOnly": {"type": kind, "values": list(values)}})
    return [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in found.response["violations"] if each["impact"] in SERIOUS]


def shown_as_table(page: Page) -> list[str]:
    """Charts that cannot be read as a table, or kept as a picture."""
    poor = []
    for chart in page.locator("[data-chart]").all():
        chart.get_by_role("button", name="Show as table").click()
        if not chart.locator(".as-table tbody tr").count() or not chart.get_by_role("button", name="PNG").count():
            poor.append(chart.get_attribute("data-title") or "")
        chart.get_by_role("button", name="Show as chart").click()
    return poor


def not_given_away(page: Page) -> list[str]:
    """Tables whose rows cannot be had as a file, or not be sorted. A tree has an order of its own."""
    poor = []
    for table in page.locator("section.card:has(.table-foot)").all():
        title = table.get_attribute("aria-label") or table.inner_text()[:40]
        file = page.request.get(table.get_by_role("link", name="CSV").get_attribute("href") or "")
        if file.status != 200 or not file.headers["content-type"].startswith("text/csv") or len(file.text().splitlines()) < 2:
            poor.append(f"{title}: no file")
        if table.get_attribute("hx-push-url") and not table.locator("thead a").count():
            poor.append(f"{title}: no order")
    return poor


@pytest.mark.parametrize(("name", "route"), PAGES + ALSO, ids=[name for name, _ in PAGES + ALSO])
def test_page_is_sound(owner: Page, places: dict[str, str], name: str, route: str) -> None:
    """Axe finds nothing serious in either theme, the browser complains of nothing, figures can be taken away, nothing runs off a phone's screen."""
    heard = Listener(owner)
    visit(owner, route, name, places)
    if name in LONG:
        owner.evaluate("document.querySelectorAll('.stack > section').forEach((each, index) => index % 10 && each.remove())")
    light = faults_of(owner)
    owner.emulate_media(color_scheme="dark")
    dark = faults_of(owner, "color-contrast")
    poor = not_given_away(owner) + shown_as_table(owner)
    owner.set_viewport_size(PHONE)
    owner.wait_for_timeout(150)
    excess = owner.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    complaints = [text for text in heard.said if not (name == "not-found" and "404" in text)]
    assert (light, dark, poor, complaints, excess) == ([], [], [], [], 0)


def test_an_engineers_pages_are_sound_as_well(engineer: Page, places: dict[str, str]) -> None:
    """What an engineer is shown instead: own usage, own sessions, no settings."""
    heard = Listener(engineer)
    for name in ("my-usage", "sessions", "budgets", "approvals"):
        visit(engineer, f"o/<slug:slug>/{name}", name, places)
        assert (name, faults_of(engineer), heard.said) == (name, [], [])
    assert engineer.get_by_role("link", name="Settings").count() == 0
