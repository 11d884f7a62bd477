"""The pages of attribution: rules written, ordered, tried, tested on a call; history run; a stranger given to a member."""

from typing import Any

import pytest
from django.test import Client

from governance.attribution.models import AttributionRule
from governance.attribution.services import rule_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Team
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun
from ingest.rerating.working import run_work
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import event, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
HOME = "/o/acme/settings/attribution"
LINES: dict[str, Any] = {
    "lines-TOTAL_FORMS": "3", "lines-INITIAL_FORMS": "0", "lines-0-field": "tag", "lines-0-tag": "repo", "lines-0-op": "like", "lines-0-values": "acme/*, other/web",
}  # fmt: skip


@pytest.fixture
def pages(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def written(team: Team, **fields: Any) -> dict[str, Any]:
    return {**LINES, "name": "Shop", "team": team.pk, **fields}


def test_rule_is_tried_saved_and_run_over_history(pages: Client, admin: Member, team: Team) -> None:
    store(admin, event(1, team="", tags={"repo": "acme/web"}))
    tried = pages.post(f"{HOME}/new", written(team, **{"try": "1"}))
    run = ReratingRun.objects.get()
    assert tried.status_code == 302
    assert f"/runs/{run.pk}" in tried["Location"]
    run_work(run.pk)
    page = pages.get(tried["Location"]).content.decode()
    assert "no team" in page
    assert "Platform" in page
    assert "Apply" not in page
    # The form begins with what was tried.
    assert 'value="acme/*, other/web"' in pages.get(f"{HOME}/new?tried={run.pk}").content.decode()
    assert pages.post(f"{HOME}/new", written(team)).status_code == 302
    rule = AttributionRule.objects.get()
    assert rule.conditions == [{"field": "tag:repo", "op": "like", "values": ["acme/*", "other/web"]}]
    made = pages.post(f"{HOME}/runs/new", {"reason": "Shop", "first": "2026-01-01", "last": "2099-01-01"})
    assert made.status_code == 422
    today = UsageEvent.objects.get().occurred_at.date().isoformat()
    made = pages.post(f"{HOME}/runs/new", {"reason": "Shop", "first": "2026-01-01" if today < "2026-12-01" else today, "last": today})
    run_work(ReratingRun.objects.latest("pk").pk)
    assert pages.post(made["Location"], {"action": "start"}).status_code == 302
    run_work(ReratingRun.objects.latest("pk").pk)
    assert UsageEvent.objects.get().team_id == team.pk
    assert "team none → Platform" in pages.get(made["Location"]).content.decode()
    assert b"100.0" in pages.get(HOME).content


def test_rules_are_moved_switched_and_retired(pages: Client, admin: Member, team: Team) -> None:
    conditions = [{"field": "harness", "op": "is", "values": ["codex"]}]
    first, second = (rule_create(actor=member_actor(admin), name=name, conditions=conditions, team=team) for name in ("One", "Two"))
    pages.post(HOME, {"rule": second.pk, "action": "up"})
    assert list(AttributionRule.objects.values_list("name", flat=True)) == ["Two", "One"]
    pages.post(HOME, {"rule": first.pk, "action": "off"})
    pages.post(HOME, {"rule": second.pk, "action": "retire"})
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.is_active, second.retired_at is None) == (False, False)
    assert pages.post(HOME, {"rule": second.pk, "action": "up"}).status_code == 404


def test_call_is_tested_line_by_line(pages: Client, admin: Member, team: Team) -> None:
    rule_create(
        actor=member_actor(admin),
        name="Codex",
        conditions=[{"field": "harness", "op": "is", "values": ["codex"]}],
        team=team,
        role="worker",
    )
    store(admin, event(1, team="", harness="codex", role="judge"))
    listed = pages.get(f"{HOME}/test").content.decode()
    address = listed.split('<a href="?event=')[1].split('"')[0]
    found = pages.get(f"{HOME}/test?event={address}").content.decode()
    for words in ("Harness is codex", "sets it", "the call or its key says it already", "Platform"):
        assert words in found
    pasted = pages.post(f"{HOME}/test", {"event": '{"harness": "aider"}'}).content.decode()
    assert "the call says aider" in pasted
    for broken in ("{", "[]", '{"team": 7}', "{}" * 9):
        assert pages.post(f"{HOME}/test", {"event": broken}).status_code == 422
    for strange in ("x", "x@y", f"{UsageEvent.objects.get().id}@9999-12-31T23:59:59-14:00"):
        assert pages.get(f"{HOME}/test", {"event": strange}).status_code == 200


def test_form_says_what_is_missing(pages: Client, team: Team) -> None:
    assert pages.post(f"{HOME}/new", {**written(team), "lines-0-tag": ""}).status_code == 422
    assert pages.post(f"{HOME}/new", {**written(team), "lines-0-field": "", "lines-0-values": ""}).status_code == 422
    assert pages.post(f"{HOME}/new", {"name": "x"}).status_code == 422
    assert not AttributionRule.objects.exists()


def test_stranger_is_given_to_a_member_with_one_click(pages: Client, admin: Member, engineer: Member, lead: Member) -> None:
    store(admin, event(1, team="", member="engineer@home.example"))
    listed = pages.get(f"{HOME}/people").content.decode()
    assert f'<option value="{engineer.pk}" selected>' in listed
    given = pages.post(f"{HOME}/people", {"name": "engineer@home.example", "member": engineer.pk})
    assert given["Location"].startswith(f"{HOME}/runs/new?reason=engineer")
    engineer.refresh_from_db()
    assert engineer.aliases == ["engineer@home.example"]
    assert pages.post(f"{HOME}/people", {"name": "engineer@home.example", "member": lead.pk}).status_code == 422
