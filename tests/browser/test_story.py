"""The main job from end to end: a gateway posts until a budget refuses, an engineer asks, an admin grants, the next call passes."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visitors, signed_in
from tests.browser.house import ENGINEER, LEAD, OWNER, SLUG, House

RUN = "story-ledger-migration"
LIMIT = Decimal(2)
# The gateway expects less of a call than it costs in the end, so that spend crosses the limit with the eighth.
EXPECTED = "0.10"
USED = {"input_tokens": 20_317, "cache_read_tokens": 154_211, "cache_write_5m_tokens": 9_173, "output_tokens": 1_129}
MOST_CALLS = 20
expect.set_options(timeout=30_000)
ASKED, GRANTED = Decimal("1.50"), Decimal("0.75")


class Gateway:
    """Asks before each call whether it may go on, and posts afterwards what was used."""

    def __init__(self, house: House) -> None:
        key = house.key("ingest", "authorize", "read")
        self.http = httpx.Client(base_url=f"{house.url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=30)
        self.made = 0

    def ask(self) -> httpx.Response:
        about = {"session": RUN, "member": ENGINEER, "provider": "anthropic", "model": "claude-opus-4-8", "amount": EXPECTED}
        return self.http.post("/authorizations", json=about)

    def call(self) -> httpx.Response:
        """One call from authorization to event; a refusal is handed back."""
        asked = self.ask()
        if asked.status_code != 201:
            return asked
        self.made += 1
        event = {
            "id": f"{RUN}-{self.made}", "occurred_at": datetime.now(UTC).isoformat(), "provider": "anthropic", "model": "claude-opus-4-8",
            "harness": "claude-code", "member": ENGINEER, "session": RUN, "role": "planner", "authorization": asked.json()["id"], **USED,
        }  # fmt: skip
        stored = self.http.post("/events", json=event)
        assert stored.status_code == 201, stored.text
        return asked

    def call_until_refused(self) -> dict[str, Any]:
        """The problem document of the first refusal."""
        for _ in range(MOST_CALLS):
            answer = self.call()
            if answer.status_code != 201:
                assert (answer.status_code, answer.headers["content-type"]) == (402, "application/problem+json"), answer.text
                document: dict[str, Any] = answer.json()
                return document
        raise AssertionError("the budget never refused")

    def session(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.get(f"/sessions/{RUN}").json()
        return answer


@pytest.fixture(scope="module")
def gateway(house: House) -> Iterator[Gateway]:
    found = Gateway(house)
    yield found
    found.http.close()


def window(chromium: Browser, house: House, sessions: Visitors, email: str) -> Page:
    """A person's own browser."""
    context = signed_in(chromium, house, sessions, email, base_url=house.url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(30_000)
    return context.new_page()


def exact(page: Page, figure: str) -> Decimal:
    """The exact amount behind a rounded figure, as its hover text gives it."""
    title = page.locator(figure).first.get_attribute("title") or ""
    assert title.startswith("USD "), title
    return Decimal(title.removeprefix("USD "))


def limit_each_run(page: Page) -> None:
    """The admin makes a budget for every single run of the engineer, having looked at what it would freeze."""
    page.goto(f"/o/{SLUG}/budgets/new")
    page.get_by_label("Name", exact=True).fill("A run of Mira's")
    page.get_by_label("What it limits").select_option("session")
    page.get_by_label("Member", exact=True).select_option(label="Mira Kovač")
    page.get_by_label("Limit", exact=True).fill(str(LIMIT))
    page.get_by_role("button", name="What would it freeze now?").click()
    expect(page.locator("#preview .note")).to_be_visible()
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="A run of Mira's", level=1)).to_be_visible()


def totals(house: House, gateway: Gateway, page: Page) -> set[Decimal]:
    """What the run has spent: on its page, over the API, and in every place of the database that keeps it."""
    page.goto(f"/o/{SLUG}/sessions/{RUN}")
    facts = gateway.session()
    own = tightest(facts)
    here = f"organization_id = (SELECT id FROM organization WHERE slug = '{SLUG}')"
    stored = (
        house.one(f"SELECT sum(cost) FROM usage_event WHERE {here} AND session = '{RUN}'"),
        house.one(f"SELECT cost FROM session WHERE {here} AND key = '{RUN}'"),
        house.one(f"SELECT spent FROM budget_period WHERE {here} AND session_key = '{RUN}' AND limit_amount = {LIMIT}"),
    )
    shown = exact(page, "#state .figure .value [title^='USD']")
    return {shown, Decimal(facts["cost"]), Decimal(own["spent"]), *map(Decimal, stored)}


def tightest(session: dict[str, Any]) -> dict[str, Any]:
    """The balance of the budget that the admin made for the run."""
    return next(budget for budget in session["budgets"] if Decimal(budget["limit"]) == LIMIT)


def test_blocked_work_goes_on_as_soon_as_somebody_grants_more(
    chromium: Browser, house: House, session_of: Visitors, gateway: Gateway
) -> None:
    engineer, admin, late = (window(chromium, house, session_of, email) for email in (ENGINEER, OWNER, LEAD))
    limit_each_run(admin)
    refusal = gateway.call_until_refused()
    assert refusal["code"] == "budget_exceeded"
    assert refusal["is_frozen"], refusal["detail"]
    assert Decimal(refusal["spent"]) > Decimal(refusal["limit"]) == LIMIT
    assert {LEAD, OWNER} <= {person["email"] for person in refusal["approvers"]}
    assert gateway.session()["state"] == "frozen"

    engineer.goto(refusal["request_url"])
    engineer.get_by_label("How much more").fill(str(ASKED))
    engineer.get_by_label("Why").fill("31 of 54 files converted and tests green; stopping here means redoing the context.")
    engineer.get_by_role("button", name="Send the request").click()
    expect(engineer.get_by_role("heading", name="Your request waits")).to_be_visible()
    engineer.evaluate("window.neverReloaded = true")
    asked = engineer.url

    late.goto(asked)
    expect(late.get_by_role("button", name="Grant and resume")).to_be_visible()
    # Away from the page's own refresh, as on a train: what it shows grows stale.
    late.context.set_offline(True)
    admin.goto(f"/o/{SLUG}/approvals")
    admin.get_by_role("link", name=re.compile(f"{RUN}")).click()
    admin.get_by_role("textbox", name="Grant").fill(str(GRANTED))
    admin.get_by_role("button", name="Grant and resume").click()
    expect(admin.locator("#outcome")).to_contain_text("resumed")

    expect(engineer.locator("#outcome")).to_contain_text("The session is resumed")
    expect(engineer.locator("#outcome")).to_contain_text("$0.75")
    assert engineer.evaluate("window.neverReloaded")

    late.context.set_offline(False)
    late.get_by_role("button", name="Grant and resume").click()
    expect(late.get_by_role("alert")).to_contain_text("has already granted 0.75 USD")

    spent = totals(house, gateway, engineer)
    assert len(spent) == 1, spent
    assert gateway.call().status_code == 201
    after = totals(house, gateway, engineer)
    assert len(after) == 1, after
    assert after.pop() - spent.pop() == Decimal(
        house.one(f"SELECT cost FROM usage_event WHERE session = '{RUN}' ORDER BY occurred_at DESC LIMIT 1")
    )
    assert Decimal(tightest(gateway.session())["topup"]) == GRANTED
    assert house.one(f"SELECT count(*) FROM topup t JOIN budget_period p ON p.id = t.period_id WHERE p.session_key = '{RUN}'") == "1"
    for page in (engineer, admin, late):
        page.context.close()
