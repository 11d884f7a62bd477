"""The look from the storing transaction: at once where an organization wants it, free for all others, and never in the way of usage."""

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from governance.budgets.selectors import session_freeze_of
from governance.tenancy.access import Actor
from governance.tenancy.models import Organization
from ingest.guard import looking, rule_sets
from ingest.guard.models import GuardFinding, GuardRule
from ingest.guard.services import rule_change, rule_create
from ingest.models import UsageEvent
from tests.backends import backend_end
from tests.ingest.guard.conftest import call, loop, store

pytestmark = pytest.mark.usefixtures("prices")


def stored_with(organization: Organization, run: Any, calls: list[Any]) -> list[Any]:
    with run(execute=True) as callbacks:
        store(organization, calls)
    return list(callbacks)


def test_an_inline_rule_stops_a_loop_with_the_call_that_shows_it(organization: Organization, by_admin: Actor, django_capture_on_commit_callbacks: Any) -> None:
    rule_create(actor=by_admin, kind="repeat", name="Loops", action="freeze", is_inline=True)
    stored_with(organization, django_capture_on_commit_callbacks, loop(30, 11))
    assert session_freeze_of(by_admin, "s-1") is None
    looking._looked_inline.clear()
    stored_with(organization, django_capture_on_commit_callbacks, [call(1)])
    assert session_freeze_of(by_admin, "s-1") is not None
    assert GuardFinding.objects.get().state == "stopped"


@pytest.mark.parametrize("kind", ["growth", "errors", "burn", "fan_out", "off_hours"])
def test_every_kind_can_look_inline(organization: Organization, by_admin: Actor, django_capture_on_commit_callbacks: Any, kind: str) -> None:
    low: Any = {
        "growth": {"calls": 3, "tokens": 50_000, "minimum_amount": 1}, "errors": {"errors": 3}, "burn": {"minimum_amount": 1, "times": 1}, "fan_out": {"children": 3},
        "off_hours": {"minimum_amount": 1, "calls": 3, "days": []},
    }[kind]  # fmt: skip
    rule_create(actor=by_admin, kind=kind, name="Any", parameters=low, is_inline=True)
    calls = loop(30, 8, status="error" if kind == "errors" else "ok")
    if kind == "fan_out":
        calls = [call(20, session=f"child-{number}", parent_session="s-0") for number in range(4)]
    stored_with(organization, django_capture_on_commit_callbacks, calls)
    assert GuardFinding.objects.get().rule.kind == kind


def test_an_organization_without_inline_rules_pays_no_query(organization: Organization, by_admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    rule_create(actor=by_admin, kind="repeat", name="Loops")
    store(organization, [call(3)])
    with CaptureQueriesContext(connection) as with_guard:
        store(organization, [call(2)])
    monkeypatch.setattr(looking, "stored", lambda **_: None)
    with CaptureQueriesContext(connection) as without:
        store(organization, [call(1)])
    assert [query["sql"] for query in with_guard if "guard" in query["sql"]] == []
    assert len(with_guard) == len(without)


def test_inline_rules_are_read_once_for_each_configuration(organization: Organization, by_admin: Actor) -> None:
    rule = rule_create(actor=by_admin, kind="errors", name="Storms", is_inline=True)
    store(organization, [call(4)])
    with CaptureQueriesContext(connection) as asked:
        store(organization, [call(3)])
    assert [query["sql"] for query in asked if "guard" in query["sql"]] == []
    rule_change(actor=by_admin, rule=rule, is_inline=False)
    with CaptureQueriesContext(connection) as asked:
        store(organization, [call(2)])
    assert len([query["sql"] for query in asked if "guard_rule" in query["sql"]]) == 1


def test_a_rule_that_fails_loses_no_event_and_hinders_no_other(
    organization: Organization, by_admin: Actor, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    rule_create(actor=by_admin, kind="growth", name="Broken", parameters={"calls": 3, "tokens": 50_000, "minimum_amount": 1}, is_inline=True)
    rule_create(actor=by_admin, kind="repeat", name="Loops", is_inline=True)
    monkeypatch.setattr("ingest.guard.rules.GrowthWatch.add", lambda *_: 1 / 0)
    stored_with(organization, django_capture_on_commit_callbacks, loop(30, 14))
    assert UsageEvent.objects.filter(organization=organization).count() == 14
    assert GuardFinding.objects.get().rule.name == "Loops"


@pytest.mark.parametrize("part", ["ingest.guard.looking.inline_rules", "ingest.guard.looking.active_rules", "ingest.guard.features.calls_of"])
def test_whatever_breaks_in_the_guard_usage_is_stored(
    organization: Organization, by_admin: Actor, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any, part: str
) -> None:
    rule_create(actor=by_admin, kind="repeat", name="Loops", is_inline=True)

    def broken(*_: Any, **__: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    monkeypatch.setattr(part, broken)
    if part.endswith("inline_rules"):
        monkeypatch.setattr(part, lambda *_: 1 / 0)
    stored_with(organization, django_capture_on_commit_callbacks, loop(30, 14)) if part.endswith("inline_rules") else None
    if not part.endswith("inline_rules"):
        with django_capture_on_commit_callbacks() as callbacks:
            store(organization, loop(30, 14))
        assert len(callbacks) == 1
    assert UsageEvent.objects.filter(organization=organization).count() == 14


@pytest.mark.usefixtures("transactional_db")
def test_usage_is_not_acknowledged_where_the_connection_ends_under_the_guard(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard takes whatever fails for its own; the end of the connection ends the storing transaction with it, in silence."""

    def ended(*_: object, **__: object) -> list[object]:
        backend_end()
        return []

    sent = [call(1)]
    with monkeypatch.context() as patched:
        patched.setattr(rule_sets, "active_rules", ended)
        with pytest.raises(OperationalError):
            store(organization, sent)
    connection.close()
    assert not UsageEvent.objects.exists()
    store(organization, sent)
    assert UsageEvent.objects.count() == 1


def test_a_rule_whose_stored_parameters_make_no_sense_is_left_out(organization: Organization, by_admin: Actor, django_capture_on_commit_callbacks: Any) -> None:
    broken = rule_create(actor=by_admin, kind="errors", name="Storms", is_inline=True)
    GuardRule.objects.filter(pk=broken.pk).update(parameters={"colour": "red"})
    rule_create(actor=by_admin, kind="repeat", name="Loops", is_inline=True)
    stored_with(organization, django_capture_on_commit_callbacks, loop(30, 14))
    assert GuardFinding.objects.get().rule.name == "Loops"
