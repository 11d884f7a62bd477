"""GET /api/v1/check: what it says of freezes and used-up budgets, whom it takes its labels from, and how little it costs."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from governance import sql
from governance.budgets.models import Authorization, BudgetPeriod, Freeze, Refusal
from governance.budgets.services import budget_create, freeze_stop
from governance.budgets.services.checking import CHECKED
from governance.tenancy import authentication
from governance.tenancy.access import member_actor
from governance.tenancy.models import ApiKey, Member, Organization, Scope, Team
from tests.conftest import KeyInHand, client_with, key_of
from tests.governance.budgets.test_freezes import freeze, seen, tree
from tests.ingest.few_prices import few_prices

__all__ = ["few_prices"]
pytestmark = pytest.mark.django_db
CHECK = "/api/v1/check"
SONNET = {"provider": "anthropic", "model": "claude-sonnet-4-5"}


def check(api: APIClient, session: str = "", **labels: Any) -> Any:
    return api.get(CHECK, {"session": session} | labels)


def used_up(admin: Member, spent: str = "5", **fields: Any) -> BudgetPeriod:
    """A budget of 5 of which so much is spent."""
    given: dict[str, Any] = {"name": "Few", "scope_kind": "organization", "period_kind": "month", "limit_amount": Decimal(5)}
    budget = budget_create(actor=member_actor(admin), **(given | fields))
    period, _ = BudgetPeriod.objects.get_or_create(organization=admin.organization, budget=budget)
    period.spent = Decimal(spent)
    period.save()
    return period


def test_session_nobody_stopped_goes_on_and_nothing_is_held(api: APIClient, admin: Member) -> None:
    used_up(admin, "4.99", action="freeze")
    answer = check(api, "s1")
    assert (answer.status_code, answer.json()) == (200, {"goes_on": True, "session": "s1"})
    assert not Authorization.objects.exists()
    assert not Refusal.objects.exists()


@pytest.mark.parametrize("accepted", ["text/event-stream", "text/html", "nonsense"])
def test_what_a_proxys_caller_accepts_says_nothing_of_the_check(api: APIClient, accepted: str) -> None:
    """Codex streams, so it accepts nothing but events; nginx asks with its headers, and would take a 406 for a failure of its own."""
    assert api.get(CHECK, {"session": "s1", "format": "sse"}, headers={"accept": accepted}).status_code == 200
    stream = api.get("/api/v1/stream", headers={"accept": accepted})
    assert (stream.status_code, stream["Content-Type"]) == (307, "application/json")


def test_frozen_session_and_those_below_are_refused_with_reason_and_link(api: APIClient, organization: Organization, admin: Member) -> None:
    tree(organization)
    stop = freeze(admin, "session", "root", reason="It loops — “again”")
    for key in ("root", "grandchild"):
        answer = check(api, key)
        told = answer.json()
        assert (answer.status_code, answer["Content-Type"], told["code"], told["is_frozen"], told["freeze"]) == (
            402,
            "application/problem+json",
            "budget_exceeded",
            True,
            stop.pk,
        )
        assert told["error"]["message"] == f"{told['detail']} {told['request_url']}"
        assert answer["X-Weighhouse-Link"] == told["request_url"]
        assert 'It loops ? "again"' in answer["X-Weighhouse-Reason"]
        passed_on = json.loads(answer["X-Weighhouse-Problem"])
        assert (passed_on["status"], passed_on["code"], passed_on["error"]["message"]) == (
            402,
            "budget_exceeded",
            f"{answer['X-Weighhouse-Reason']} {told['request_url']}",
        )
    assert check(api, "new", parent_session="child").status_code == 402
    assert check(api, "alone").status_code == 200
    assert Refusal.objects.filter(freeze=stop).count() == 3
    freeze_stop(actor=member_actor(admin), freeze=stop, reason="done")
    assert check(api, "grandchild").status_code == 200


@pytest.mark.parametrize(
    ("kind", "key", "labels"),
    [
        ("organization", "", {}),
        ("team", "platform", {"team": "platform"}),
        ("model", "claude-sonnet-4-5", SONNET),
        ("provider", "anthropic", SONNET),
    ],
)
def test_wide_switch_is_refused_by_the_labels_that_are_told(
    kind: str, key: str, labels: dict[str, str], api: APIClient, admin: Member, team: Team
) -> None:
    freeze(admin, kind, str(team.pk) if kind == "team" else key)
    assert check(api, "s1", **labels).status_code == 402
    assert check(api, "s1", team="other", model="gpt-5").status_code == (402 if kind == "organization" else 200)


def test_what_is_not_told_goes_by_the_sessions_latest_call(
    api: APIClient, organization: Organization, admin: Member, team: Team, few_prices: None
) -> None:
    seen(organization, "s1", team_id=team.pk, task="t-1", **SONNET)
    seen(organization, "s2", **SONNET)
    used_up(admin, scope_kind="team", team=team, filters={"model": ["claude-sonnet-4-5"]}, action="ask")
    assert check(api, "s1").json()["detail"] == "The budget “Few” is used up: 5.00 of 5.00 USD spent."
    assert check(api, "s1", provider="anthropic", model="claude-haiku-4-5").status_code == 200
    assert check(api, "s2").status_code == 200
    assert check(api, "s2", team="platform").status_code == 402


def test_limits_of_sessions_and_tasks_stand_against_their_own(api: APIClient, organization: Organization, admin: Member) -> None:
    seen(organization, "s1", task="t-1")
    of_task = budget_create(actor=member_actor(admin), name="Task", scope_kind="task", period_kind="task", limit_amount=Decimal(1))
    facts = {
        "organization": organization,
        "budget": of_task,
        "starts_at": timezone.datetime(1970, 1, 1, tzinfo=timezone.get_fixed_timezone(0)),
        "limit_amount": 1,
        "is_hard": True,
    }
    BudgetPeriod.objects.create(**facts, task_key="t-1", spent=1, frozen_at=timezone.now())
    assert check(api, "s1").json()["detail"] == "The budget “Task” for task t-1 is frozen: 1.00 of 1.00 USD spent."
    assert check(api, "s1", task="t-2").status_code == 200
    assert check(api, task="t-1").status_code == 402


def test_budget_that_only_notifies_refuses_nothing_and_one_that_downgrades_lets_its_models_pass(
    api: APIClient, admin: Member, few_prices: None
) -> None:
    period = used_up(admin, action="notify")
    assert check(api, "s1").status_code == 200
    period.delete()
    used_up(admin, name="Cheap", action="downgrade", downgrade_models=["claude-haiku-4-5"])
    assert check(api, "s1", **SONNET).status_code == 402
    assert check(api, "s1", provider="anthropic", model="claude-haiku-4-5").status_code == 200


def test_labels_and_key_come_in_headers(organization: Organization, api_key: KeyInHand, admin: Member) -> None:
    freeze(admin, "model", "gpt-5")
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION="Bearer sk-the-callers-own", HTTP_X_WEIGHHOUSE_KEY=api_key.secret)
    assert api.get(CHECK, HTTP_X_WEIGHHOUSE_MODEL="gpt-5").status_code == 402
    assert api.get(f"{CHECK}?model=gpt-4o", HTTP_X_WEIGHHOUSE_MODEL="gpt-5").status_code == 200
    assert APIClient().get(CHECK, HTTP_X_WEIGHHOUSE_KEY="wh_wrong").status_code == 401
    for header in ("HTTP_X_WEIGHHOUSE_SESSION", "HTTP_X_CLAUDE_CODE_SESSION_ID", "HTTP_X_LITELLM_SESSION_ID", "HTTP_SESSION_ID"):
        named: dict[str, Any] = {header: "s-9"}
        assert api.get(CHECK, **named).json()["session"] == "s-9"


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "head"])
def test_envoys_way_of_asking_takes_any_method_and_path_and_no_query(
    method: str, api: APIClient, admin: Member, organization: Organization
) -> None:
    seen(organization, "s1")
    freeze(admin, "session", "s1")
    ask = getattr(api, method)
    path = f"{CHECK}/v1/messages?session=other&beta=true"
    assert ask(path, HTTP_X_WEIGHHOUSE_SESSION="s1").status_code == 402
    assert ask(path, HTTP_X_WEIGHHOUSE_SESSION="s1", HTTP_X_WEIGHHOUSE_REFUSED="403").status_code == 403
    assert ask(path, HTTP_X_WEIGHHOUSE_SESSION="s2").status_code == 200


def test_what_nginx_cannot_pass_on_is_a_403(api: APIClient, admin: Member) -> None:
    freeze(admin, "organization")
    assert check(api, "s1", refused="403").status_code == 403
    assert json.loads(check(api, "s1", refused="403")["X-Weighhouse-Problem"])["status"] == 402
    assert [check(api, "s" * 201, **more).status_code for more in ({}, {"refused": "403"})] == [422, 403]
    assert check(api, "s\0").status_code == 422


def test_check_of_a_key_in_memory_is_one_statement(
    api: APIClient, api_key: KeyInHand, admin: Member, organization: Organization, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen(organization, "s1", team_id=team.pk, **SONNET)
    for name in ("A", "B", "C"):
        used_up(admin, "1", name=name)
    for _ in range(3):
        check(api, "s1")
    assert authentication.remembered_for(api_key.secret, scope=Scope.AUTHORIZE) is not None
    asked: list[str] = []
    rows = sql.rows

    def noted(statement: str, *told: Any) -> list[Any]:
        asked.append(statement)
        return rows(statement, *told)

    monkeypatch.setattr(sql, "rows", noted)
    with CaptureQueriesContext(connection) as queries:
        assert check(api, "s1").status_code == 200
    assert asked == [CHECKED]
    assert len(queries) == 0


def test_change_between_two_checks_is_seen_by_the_second(
    api: APIClient, api_key: KeyInHand, admin: Member, organization: Organization
) -> None:
    assert [check(api, "s1").status_code for _ in range(3)] == [200, 200, 200]
    freeze(admin, "organization")
    assert check(api, "s1").status_code == 402
    Freeze.objects.all().delete()
    organization.refresh_from_db()
    Organization.objects.filter(pk=organization.pk).update(config_version=organization.config_version + 1)
    assert check(api, "s1").status_code == 200
    ApiKey.objects.filter(pk=api_key.row.pk).update(scopes=[Scope.READ])
    assert check(api, "s1").status_code == 403
    ApiKey.objects.filter(pk=api_key.row.pk).update(revoked_at=timezone.now())
    assert check(api, "s1").status_code == 401


def test_other_organizations_freezes_are_not_seen(stranger: Member, organization: Organization, admin: Member) -> None:
    seen(organization, "s1")
    freeze(admin, "session", "s1")
    theirs = client_with(key_of(stranger.organization))
    assert check(theirs, "s1").status_code == 200
