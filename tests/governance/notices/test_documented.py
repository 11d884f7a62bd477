"""What docs/notices.md shows of each kind is what is sent, after things that really happened."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.utils import timezone
from standardwebhooks import Webhook

from governance.approvals.services import request_create, request_decide
from governance.budgets.models import BudgetPeriod
from governance.budgets.services import freeze_start, freeze_stop
from governance.notices import deliveries, endpoints, outgoing, preferences, tokens
from governance.notices.deliveries import deliveries_send
from governance.notices.models import Notice, Signal
from governance.notices.parcels import delay_after
from governance.notices.signals import signal_add
from governance.pricing.sync.services import list_upload
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.guard import tell as guard_tell
from ingest.guard.models import GuardFinding, GuardRule
from ingest.price_changes.telling import changes_tell
from tests.governance.approvals.conftest import FROZEN_SESSION, budget_of, frozen_session_period
from tests.governance.budgets.test_forecasts import NOW, look, used
from tests.governance.budgets.test_scopes import budget, store
from tests.governance.notices.conftest import Makes
from tests.governance.notices.hook_server import HookServer
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event

__all__ = ["few_prices"]
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "notices.md").read_text(encoding="utf-8")
EXAMPLES = {kind: json.loads(text) for kind, text in re.findall(r"^### `([a-z._]+)`\n.*?```json\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)}


@pytest.fixture
def sent(few_prices: None, organization: Organization, admin: Member, engineer: Member, team: Team, channel: Makes, hooks: HookServer) -> dict[str, dict[str, Any]]:
    """The body of each kind, sent because it happened."""
    made = channel()
    with time_machine.travel(NOW, tick=False) as clock:
        used(admin)
        budget(admin, 25 * COST, name="Platform month", thresholds=(50, 80))
        look(clock)
        store(admin, event(99, occurred_at=timezone.now()), event(98, occurred_at=timezone.now()), event(97, occurred_at=timezone.now()))
    limit = budget_of(organization, name="Platform session", scope_kind="session", period_kind="session", team=team)
    period: BudgetPeriod = frozen_session_period(engineer, limit)
    request = request_create(actor=member_actor(engineer), period_id=period.pk, amount=Decimal(50), reason="Two thirds are done.")
    request_decide(actor=member_actor(admin), request_id=request.pk, is_grant=True, amount=Decimal(20), note="Enough for today.")
    freeze = freeze_start(actor=member_actor(admin), scope_kind="session", scope_key=FROZEN_SESSION, reason="It repeats itself.")
    freeze_stop(actor=member_actor(admin), freeze=freeze, reason="Looked at.")
    guard_fires(organization, engineer)
    price_rises(admin)
    endpoints.endpoint_test(actor=member_actor(admin), endpoint_id=made.endpoint.pk)
    deliveries_send()
    bodies = [Webhook(made.secret).verify(taken.body, taken.headers) for taken in hooks.taken]
    return {body["type"]: body for body in bodies}


def guard_fires(organization: Organization, engineer: Member) -> None:
    now = timezone.now()
    rule = GuardRule.objects.create(organization=organization, kind="repeat", name="Loops", action="ask")
    evidence = {"calls": 12, "of_calls": 12, "since": now.isoformat(), "model": "claude-sonnet-4-5", "amount": "6", "context_tokens": 50_000, "output_tokens": 500}
    found = GuardFinding.objects.create(
        organization=organization, rule=rule, rule_version=1, session_key=FROZEN_SESSION, number=1, team_id=engineer.team_id, member_id=engineer.pk, at=now,
        found_at=now, evidence=evidence, action="ask", state="told",
    )  # fmt: skip
    guard_tell.fired(organization, found)


def price_rises(admin: Member) -> None:
    now = timezone.now()
    store(admin, event(200, occurred_at=now.replace(day=1) - timedelta(days=10)))
    list_upload(actor=member_actor(admin), provider="anthropic", body=b"model,input,output\nclaude-sonnet-4-5,4,20\n")
    changes_tell()


def shape(value: Any) -> Any:
    """Names and kinds of values. Whole numbers and nothing may stand for one another where a thing may be missing."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return type(value).__name__


def test_every_kind_has_its_section() -> None:
    assert set(EXAMPLES) == {*Signal.Kind.values, "test"}
    assert all(example["type"] == kind for kind, example in EXAMPLES.items())


def test_examples_are_what_is_sent(sent: dict[str, dict[str, Any]]) -> None:
    assert {kind: shape(body) for kind, body in sent.items()} == {kind: shape(example) for kind, example in EXAMPLES.items()}


def test_page_verifies_with_the_lines_it_shows(organization: Organization, channel: Makes, hooks: HookServer) -> None:
    """The code under "Without a library" is run as it stands."""
    code = re.search(r"```python\n(def verified.*?)```", PAGE, re.DOTALL).group(1)
    names: dict[str, Any] = {}
    exec("import base64, hashlib, hmac, time\n" + code, names)
    made = channel()
    signal_add(organization=organization, kind=Signal.Kind.FREEZE_STARTED, facts={"session": "s1"})
    deliveries_send()

    taken = hooks.taken[0]
    assert names["verified"](made.secret, taken.headers, taken.body) is True
    assert names["verified"](made.secret, taken.headers, taken.body + b" ") is False
    assert names["verified"](made.secret, {**taken.headers, "webhook-timestamp": "1"}, taken.body) is False


def test_numbers_of_the_page_are_those_of_the_code() -> None:
    waits = [round(delay_after(number, 0.5).total_seconds()) for number in range(1, deliveries.ATTEMPTS)]
    told = re.search(r"^\| wait \|(.*)\|$", PAGE, re.MULTILINE).group(1)
    assert [int(number) for number in re.findall(r"(\d+) s", told)] == waits
    for sentence in (
        f"{deliveries.ATTEMPTS} attempts",
        f"within {outgoing.SECONDS:.0f} seconds",
        f"after {deliveries.FAILING_FOR.days} days",
        f"for {endpoints.OVERLAP // timedelta(hours=1)} hours",
        f"after {tokens.LASTS.days} days",
        f"more than {preferences.STORM_NOTICES} notices of a kind within {preferences.STORM_TIME // timedelta(minutes=1)} minutes",
        f"after {deliveries.ASIDE_AFTER} answered refusals",
    ):
        assert sentence in " ".join(PAGE.split()), sentence


def test_every_kind_of_notice_is_listed() -> None:
    for kind in preferences.CHOSEN:
        assert f"| `{kind.value}` |" in PAGE, kind
    assert Notice.Kind.OWN_FROZEN in preferences.URGENT
