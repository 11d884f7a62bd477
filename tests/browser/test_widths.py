"""At the widths of ordinary screens nothing is cut: tables show all their columns, settings all their tabs, and cards their edges."""

from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from tests.browser.house import SLUG, House

HOME = f"/o/{SLUG}"
WIDTHS = (1440, 1360, 1280)
CUT = "elements => elements.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => `${each.getAttribute('aria-label') || each.className}: ${each.scrollWidth} in ${each.clientWidth}`)"


@pytest.fixture(scope="module", autouse=True)
def long_names(house: House) -> None:
    """A call under names as long as harnesses make them."""
    names = {"session": "3f0c9a52-8c1e-4f7d-b1a6-52e7c0d9a41b", "task": "nightly-dependency-upgrade-of-every-service"}
    event = {"id": "long-names", "occurred_at": datetime.now(UTC).isoformat(), "provider": "anthropic", "model": "claude-sonnet-4-5", "input_tokens": 5}
    assert house.post(house.key("ingest"), event | names).status_code == 201


@pytest.mark.parametrize("path", ["", "/sessions", "/spend", "/budgets", "/settings/members", "/settings/keys", "/settings/connections", "/routing", "/lock-in"])
def test_no_column_is_cut(owner: Page, path: str) -> None:
    owner.goto(HOME + path)
    for width in WIDTHS:
        owner.set_viewport_size({"width": width, "height": 900})
        assert (width, owner.locator(".table-scroll:visible, .tabs").evaluate_all(CUT)) == (width, [])


def test_spend_leaves_columns_out_where_there_is_no_room(owner: Page) -> None:
    owner.goto(f"{HOME}/spend?by=model")
    heads = owner.locator("#spend-by-model th:visible")
    shown = []
    for width in (1440, 1024, 390):
        owner.set_viewport_size({"width": width, "height": 900})
        assert (width, owner.locator(".table-scroll:visible").evaluate_all(CUT)) == (width, [])
        shown.append(heads.all_inner_texts())
    assert shown[2] == ["Model", "Billed", "Change"]
    assert set(shown[2]) < set(shown[1]) < set(shown[0])


@pytest.mark.parametrize(("path", "heads"), [("", ["Team", "Spent", "Budget", "State"]), ("/sessions", ["Session", "State", "Spent"]), ("/prices", ["Model", "Provider", "Input", "Output"])])
def test_a_phone_shows_what_matters_without_scrolling(owner: Page, path: str, heads: list[str]) -> None:
    owner.set_viewport_size({"width": 390, "height": 844})
    owner.goto(HOME + path)
    table = owner.locator("#teams, #sessions, #models")
    assert table.locator("th:visible").all_inner_texts() == heads
    assert table.locator(".table-scroll").evaluate_all(CUT) == []


def test_what_shares_a_line_is_level(owner: Page) -> None:
    owner.set_viewport_size({"width": 1440, "height": 900})
    owner.goto(f"{HOME}/sessions")
    middles = owner.locator("#narrowing .pick > summary, #narrowing > a").evaluate_all("elements => elements.map(each => each.getBoundingClientRect()).map(box => Math.round(box.top + box.bottom))")
    assert len(middles) > 1
    assert len(set(middles)) == 1
    owner.goto(f"{HOME}/freezes")
    ends = owner.locator("#switch form.row > .field > :last-child, #switch form.row > button").evaluate_all("elements => elements.map(each => Math.round(each.getBoundingClientRect().bottom))")
    assert len(ends) == 3
    assert len(set(ends)) == 1


def test_a_table_that_ends_a_card_leaves_its_edge(owner: Page) -> None:
    owner.goto(HOME)
    rounded = owner.locator(".card > .table-scroll:last-child").evaluate_all("elements => elements.map(each => parseFloat(getComputedStyle(each).borderBottomLeftRadius))")
    assert rounded
    assert min(rounded) > 0


def test_a_new_budget_asks_for_what_its_scope_needs(owner: Page) -> None:
    owner.goto(f"{HOME}/budgets/new")
    team = owner.get_by_label("Team", exact=True)
    expect(team.locator("option").first).to_have_text("Choose a team")
    assert team.evaluate("each => each.required")
    owner.get_by_label("What it limits").select_option("session")
    expect(team.locator("option").first).to_have_text("Any team")
    assert not team.evaluate("each => each.required")
