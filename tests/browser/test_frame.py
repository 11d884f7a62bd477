"""The frame around every page: keys, focus, themes, messages, the narrow navigation, and an address that carries the whole state."""

import re
import subprocess

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.house import SLUG, House

HOME = f"/o/{SLUG}"
PHONE: ViewportSize = {"width": 390, "height": 844}


def test_first_tab_skips_to_the_content(owner: Page) -> None:
    owner.goto(f"{HOME}/settings/teams")
    owner.keyboard.press("Tab")
    expect(owner.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    owner.keyboard.press("Enter")
    assert owner.evaluate("document.activeElement.id") == "main"


def test_focus_is_always_seen(owner: Page) -> None:
    """Every stop of the first forty shows a ring, or a border and a shade of its own."""
    owner.goto(f"{HOME}/settings/members")
    unseen = []
    for _ in range(40):
        owner.keyboard.press("Tab")
        seen = owner.evaluate("(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2; })()")
        if not seen:
            unseen.append(owner.evaluate("document.activeElement.outerHTML.slice(0, 120)"))
    assert unseen == []


def test_slash_searches_and_escape_closes(owner: Page) -> None:
    owner.goto(f"{HOME}/budgets")
    owner.keyboard.press("/")
    field = owner.get_by_label("Search everywhere")
    expect(field).to_be_focused()
    field.fill("data")
    found = owner.locator("#search-results").get_by_role("link", name=re.compile("Data, a month"))
    expect(found).to_be_visible()
    owner.keyboard.press("Escape")
    expect(field).not_to_be_visible()
    owner.keyboard.press("/")
    with owner.expect_response(re.compile(r"search\?q=data%2C")):
        field.fill("data, a month")
    owner.wait_for_timeout(100)
    owner.keyboard.press("ArrowDown")
    owner.keyboard.press("Enter")
    owner.wait_for_url(re.compile(r"/budgets/\d+$"))


def test_page_says_that_it_is_not_renewed_until_it_is(owner: Page) -> None:
    owner.goto(f"{HOME}/sessions")
    owner.route("**/sessions", lambda route: route.fulfill(status=503, body="away"))
    note = owner.get_by_text("The server does not answer: what you see is as it was at")
    expect(note).to_be_visible(timeout=15_000)
    owner.unroute("**/sessions")
    expect(note).to_have_count(0, timeout=15_000)


def test_g_and_a_letter_goes_to_every_page(owner: Page) -> None:
    owner.goto(f"{HOME}/budgets")
    letters = {link.get_attribute("data-key"): link.get_attribute("href") for link in owner.locator(".side nav a").all()}
    assert len(letters) >= 9
    for letter, href in letters.items():
        owner.keyboard.press("g")
        owner.keyboard.press(letter or "")
        owner.wait_for_url(f"**{href}", wait_until="domcontentloaded")
        expect(owner.locator(".side nav a[aria-current]")).to_have_attribute("href", href or "")


def test_question_mark_lists_the_keys(owner: Page) -> None:
    owner.goto(f"{HOME}/budgets")
    owner.keyboard.press("?")
    expect(owner.get_by_role("dialog", name="Keys")).to_be_visible()
    owner.keyboard.press("Escape")
    expect(owner.get_by_role("dialog", name="Keys")).not_to_be_visible()


def test_keys_are_letters_while_one_types(owner: Page) -> None:
    owner.goto(f"{HOME}/settings/members")
    field = owner.get_by_label("Find in Members")
    field.click()
    field.press_sequentially("go/")
    expect(field).to_have_value("go/")
    expect(owner).to_have_url(re.compile("/settings/members$"))


def test_chosen_theme_stays(owner: Page) -> None:
    owner.goto(f"{HOME}/budgets")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = owner.evaluate(paper)
    switch = owner.get_by_role("button", name=re.compile("^Theme"))
    switch.click()
    switch.click()
    expect(switch).to_have_text("Theme: dark")
    dark = owner.evaluate(paper)
    assert dark != light
    owner.goto(f"{HOME}/sessions")
    assert owner.evaluate(paper) == dark
    expect(owner.get_by_role("button", name=re.compile("^Theme"))).to_have_text("Theme: dark")


def test_order_page_and_text_of_a_table_live_in_the_address(owner: Page) -> None:
    owner.goto(f"{HOME}/settings/members")
    first = owner.locator("#members tbody tr").first
    usual = first.inner_text()
    owner.locator("#members").get_by_role("link", name="E-mail").click()
    owner.wait_for_url("**?sort=email")
    owner.locator("#members").get_by_role("link", name="E-mail").click()
    owner.wait_for_url("**?sort=-email")
    expect(owner.locator("#members th[aria-sort=descending]")).to_have_text("E-mail")
    turned = first.inner_text()
    assert turned != usual
    owner.locator("#members").get_by_role("link", name="Next").click()
    owner.wait_for_url("**page=2**")
    owner.reload()
    expect(owner.locator("#members .table-foot")).to_contain_text("page 2 of")
    owner.evaluate("history.back()")
    expect(owner.locator("#members .table-foot")).to_contain_text("page 1 of")
    expect(owner).to_have_url(re.compile(r"\?sort=-email$"))
    expect(first).to_have_text(re.compile(re.escape(turned.split("\t")[0])))


def test_finding_in_a_table_can_be_shared(owner: Page) -> None:
    owner.goto(f"{HOME}/settings/members?sort=-email")
    owner.get_by_label("Find in Members").fill("weber")
    owner.keyboard.press("Enter")
    owner.wait_for_url("**q=weber**")
    assert "sort=-email" in owner.url
    expect(owner.locator("#members tbody tr")).to_have_count(1)
    owner.reload()
    expect(owner.locator("#members tbody tr")).to_have_count(1)
    owner.goto(f"{HOME}/settings/members?q=nobody-of-this-name")
    expect(owner.locator("#members")).to_contain_text("Nothing matches")
    owner.get_by_role("link", name="Show everything").click()
    expect(owner.locator("#members .table-foot")).to_contain_text("page 1")


@pytest.mark.parametrize("page_name", ["", "/spend", "/routing", "/lock-in"])
def test_range_is_chosen_once_and_kept_in_the_address(owner: Page, page_name: str) -> None:
    owner.goto(f"{HOME}{page_name or '/'}")
    picker = owner.locator(".page-tools details.pick").filter(has=owner.get_by_label("From", exact=True))
    picker.locator("summary").click()
    for name in ("Today", "7 days", "30 days", "Month to date", "Last month", "Quarter to date"):
        expect(picker.get_by_role("link", name=name)).to_be_visible()
    expect(picker).to_contain_text("Europe/Berlin")
    expect(picker).to_contain_text("compared with")
    picker.get_by_role("link", name="7 days").click()
    owner.wait_for_url("**range=7d**")
    expect(picker.locator("summary")).to_contain_text("7 days")
    owner.reload()
    expect(picker.locator("summary")).to_contain_text("7 days")
    owner.go_back()
    expect(picker.locator("summary")).not_to_contain_text("7 days")


def test_range_of_ones_own_days(owner: Page) -> None:
    owner.goto(f"{HOME}/spend?by=team")
    picker = owner.locator(".page-tools details.pick").filter(has=owner.get_by_label("From", exact=True))
    picker.locator("summary").click()
    until = owner.get_by_label("To", exact=True).get_attribute("max") or ""
    owner.get_by_label("From", exact=True).fill(until[:8] + "01")
    owner.get_by_label("To", exact=True).fill(until[:8] + "01")
    picker.get_by_role("button", name="Show").click()
    owner.wait_for_url(f"**from={until[:8]}01&to={until[:8]}01**")
    assert "by=team" in owner.url
    expect(picker.locator("summary")).to_contain_text("Custom")


def test_filter_is_sent_when_its_panel_closes(owner: Page) -> None:
    owner.goto(f"{HOME}/settings/record")
    pick = owner.locator("form.filters details.pick").first
    pick.locator("summary").click()
    pick.get_by_label("team created").check()
    owner.get_by_role("heading", name="Settings").click()
    owner.wait_for_url("**action=team.created**")
    expect(pick.locator("summary")).to_have_text("team created")
    expect(owner.locator("#record tbody tr").first).to_contain_text("team created")
    owner.get_by_role("link", name="Clear filters").click()
    expect(pick.locator("summary")).to_have_text("All changes")


def test_chart_is_kept_as_a_picture(owner: Page) -> None:
    owner.goto(f"{HOME}/spend?range=30d")
    chart = owner.locator("[data-chart][data-drawn]").first
    with owner.expect_download() as download:
        chart.get_by_role("button", name="PNG").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_nothing_runs_in_the_page_that_is_not_ours(owner: Page) -> None:
    """A script put into the page is refused, and the rule says so."""
    answer = owner.goto(f"{HOME}/budgets")
    assert answer is not None
    rule = answer.headers["content-security-policy"]
    assert "script-src 'self'" in rule
    owner.evaluate("() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s); }")
    assert owner.evaluate("window.ran") is None


def test_narrow_navigation_opens_to_everything(owner: Page) -> None:
    owner.set_viewport_size(PHONE)
    owner.goto(f"{HOME}/")
    expect(owner.get_by_role("link", name="Approvals")).to_be_visible()
    expect(owner.get_by_role("link", name="Settings")).not_to_be_visible()
    owner.get_by_role("button", name="More").click()
    expect(owner.get_by_role("button", name="Sign out")).to_be_in_viewport()
    owner.get_by_role("link", name="Settings").click()
    owner.wait_for_url(f"**{HOME}/settings")
    tab = owner.locator(".tabs [aria-current]")
    expect(tab).to_be_in_viewport()


def test_signing_out_is_within_reach_and_ends_the_session(owner: Page, visitor: Page, house: House) -> None:
    """With a session of its own, because the other tests share theirs."""
    visitor.goto("/sign-in")
    visitor.get_by_role("button", name=re.compile("^A team lead")).click()
    visitor.wait_for_url("**/o/**")
    cookie = next(each for each in visitor.context.cookies() if each["name"] == "sessionid")
    button = visitor.get_by_role("button", name="Sign out")
    expect(button).to_be_in_viewport(ratio=1)
    button.click()
    visitor.wait_for_url("**/sign-in")
    visitor.context.add_cookies([{"name": "sessionid", "value": cookie["value"], "url": house.url}])
    visitor.goto(f"{HOME}/")
    expect(visitor).to_have_url(re.compile(r"/sign-in\?next="))


def test_wrong_password_is_told_and_next_leads_back(visitor: Page, house: House) -> None:
    visitor.goto(f"{HOME}/settings/teams")
    visitor.get_by_label("E-mail").fill("ana.ruiz@northwind.example")
    visitor.get_by_label("Password").fill("not this one")
    visitor.get_by_role("button", name="Sign in", exact=True).click()
    expect(visitor.get_by_role("alert")).to_be_visible()
    visitor.get_by_label("Password").fill(house.password)
    visitor.get_by_role("button", name="Sign in", exact=True).click()
    visitor.wait_for_url(f"**{HOME}/settings/teams")


def test_new_key_is_shown_once_and_works(owner: Page, house: House) -> None:
    owner.goto(f"{HOME}/settings/keys")
    owner.get_by_label("Name", exact=True).fill("Browser's own")
    owner.get_by_role("button", name="Make the key").click()
    secret = owner.locator("#secret").inner_text()
    assert secret.startswith("wh_")
    event = {"id": "browser-1", "occurred_at": house.one("SELECT to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"), "provider": "anthropic", "model": "claude-sonnet-4-5"}
    assert house.post(secret, event).status_code == 201
    owner.goto(f"{HOME}/settings/keys")
    assert secret not in owner.content()
    row = owner.locator("#keys tr", has_text="Browser's own")
    expect(row).to_contain_text("live")
    row.get_by_role("link").click()
    owner.get_by_role("button", name="Revoke").click()
    owner.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(owner.get_by_text("is revoked")).to_be_visible()
    refused = house.post(secret, event)
    assert (refused.status_code, refused.headers["content-type"], refused.json()["code"]) == (401, "application/problem+json", "key_revoked")


OWN = "chosen by nobody else"


def test_first_event_turns_an_empty_organization_into_its_dashboard(visitor: Page, house: House) -> None:
    """The lines that connect stand on the first page; a key is made on the spot; the page changes by itself."""
    house.command("organization", "create", "fresh", "--name", "Fresh")
    house.command("member", "create", "first@fresh.example", "--organization", "fresh", "--role", "owner", "--password-stdin", said="a long enough one")
    visitor.goto("/sign-in")
    visitor.get_by_label("E-mail").fill("first@fresh.example")
    visitor.get_by_label("Password").fill("a long enough one")
    visitor.get_by_role("button", name="Sign in", exact=True).click()
    visitor.wait_for_url("**/password")
    for label, password in (("Old password", "a long enough one"), ("New password", OWN), ("New password confirmation", OWN)):
        visitor.get_by_label(label, exact=True).fill(password)
    visitor.get_by_role("button", name="Change it").click()
    visitor.wait_for_url("**/o/fresh/")
    for harness in ("Claude Code", "LiteLLM proxy", "REST and curl"):
        expect(visitor.get_by_role("heading", name=re.compile(f"^{harness}"))).to_be_visible()
    visitor.get_by_role("button", name="Make a key").click()
    secret = visitor.locator("#connect-key").inner_text()
    lines = visitor.locator("#snippet-claude-code").inner_text()
    assert secret in lines
    assert lines.count("export ") == 5
    shell(visitor.locator("#snippet-rest").inner_text())
    expect(visitor.get_by_role("heading", name=re.compile("^Spend this month"))).to_be_visible(timeout=20_000)


def shell(lines: str) -> None:
    """Runs the lines as somebody would who copies them."""
    done = subprocess.run(["sh", "-c", lines], capture_output=True, text=True, timeout=30, check=False)
    assert '"accepted"' in done.stdout, done.stdout + done.stderr


def test_finding_takes_along_what_was_just_ticked(owner: Page) -> None:
    owner.goto(f"/o/{SLUG}/sessions?state=all")
    pick = owner.locator("details.pick", has_text="eam").first
    pick.locator("summary").click()
    pick.locator("input[type=checkbox]").nth(1).check()
    value = pick.locator("input[type=checkbox]").nth(1).get_attribute("value")
    field = owner.locator(".table-search input[type=search]")
    field.click()
    field.press_sequentially("cc", delay=60)
    field.press("Enter")
    owner.wait_for_url("**q=cc**")
    owner.wait_for_load_state("load")
    assert f"team={value}" in owner.url
    assert owner.locator(".table-search input[type=search]").input_value() == "cc"
