"""Calls attributed by rules as they are stored, and stored ones anew: what moves, what stays, and what is kept of it."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from governance.attribution.models import AttributionRule
from governance.attribution.services import rule_change, rule_create, rule_move, rule_retire
from governance.audit.models import AuditRecord
from governance.budgets.models import BudgetPeriod, Session
from governance.budgets.services import authorization_hold, budget_create
from governance.budgets.services.asking import AuthorizationIn
from governance.errors import Conflict, Forbidden, PaymentRequired
from governance.pricing.agreements import term_add
from governance.tenancy.access import member_actor, system_actor
from governance.tenancy.models import Member, Organization, Project, Team
from governance.tenancy.months import month_close
from governance.tenancy.services import member_change
from ingest.amending.models import Adjustment, EventAmendment
from ingest.attributing.services import attribution_run_create, rule_try
from ingest.formats.event import UsageEvent as EventIn
from ingest.models import UsageEvent, UsageRollup, UsageRollupDay
from ingest.rerating.models import ReratingRun
from ingest.rerating.services import run_cancel, run_create, run_pause, run_start
from ingest.rerating.working import run_work
from ingest.services import events_store
from ingest.verify import differences
from tests.conftest import key_of
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]


@pytest.fixture
def web(organization: Organization) -> Team:
    return Team.objects.create(organization=organization, slug="web", name="Web")


def when(field: str, *values: str, op: str = "is") -> list[dict[str, Any]]:
    return [{"field": field, "op": op, "values": list(values)}]


def rule(member: Member, conditions: list[dict[str, Any]], **sets: Any) -> AttributionRule:
    return rule_create(actor=member_actor(member), **({"name": f"rule {AttributionRule.objects.count()}", "conditions": conditions} | sets))


def ready(member: Member, **fields: Any) -> ReratingRun:
    asked: dict[str, Any] = {
        "reason": "rules",
        "starts_at": timezone.now() - timedelta(days=70),
        "ends_at": timezone.now() + timedelta(days=1),
    } | fields
    run = attribution_run_create(actor=member_actor(member), **asked)
    run_work(run.pk)
    run.refresh_from_db()
    return run


def rerun(member: Member, *, chunk: int = 2000, **fields: Any) -> ReratingRun:
    run = ready(member, **fields)
    run_start(actor=member_actor(member), run=run)
    run_work(run.pk, chunk=chunk, seconds=60)
    run.refresh_from_db()
    assert run.state == "done"
    assert differences(member.organization) == []
    return run


def test_rule_fills_in_what_the_call_does_not_say(admin: Member, web: Team, organization: Organization) -> None:
    made = rule(admin, when("harness", "codex"), team=web, role="worker", environment="ci")
    store(
        admin,
        event(1, team="", harness="Codex"),
        event(2, team="web", harness="codex", role="judge", environment="prod"),
        event(3, team="", harness="aider"),
    )
    first, second, third = UsageEvent.objects.order_by("external_id")
    assert (first.team_id, first.role, first.environment) == (web.pk, "worker", "ci")
    assert first.ruled == {"rules": {"team": made.pk, "role": made.pk, "environment": made.pk}, "was": {"role": "", "environment": ""}}
    assert (second.team_id, second.role, second.environment, second.ruled) == (web.pk, "judge", "prod", None)
    assert (third.team_id, third.role, third.ruled) == (None, "", None)
    assert differences(organization) == []


def test_key_is_matched_by_its_name_and_its_defaults_come_before_rules(admin: Member, web: Team, organization: Organization) -> None:
    key = key_of(organization, name="LiteLLM prod", defaults={"role": "planner"}).row
    rule(admin, when("key", "litellm*", op="like"), team=web, role="worker")
    events_store(actor=member_actor(admin), api_key=key, source="rest", events=[event(1, team="")])
    stored = UsageEvent.objects.get()
    assert (stored.team_id, stored.role) == (web.pk, "planner")
    # An API key is found again by its id when history is looked at.
    rule_change(actor=member_actor(admin), rule=AttributionRule.objects.get(), role="judge", is_overriding=True)
    rerun(admin)
    stored.refresh_from_db()
    assert (stored.role, stored.ruled["was"]) == ("judge", {"role": "planner"})


def test_team_of_a_rule_decides_the_price_and_the_budget(admin: Member, web: Team) -> None:
    actor = member_actor(admin)
    budget_create(actor=actor, name="Web", scope_kind="team", team=web, period_kind="month", limit_amount=Decimal(5))
    term_add(actor=actor, name="Web's discount", percent_off=Decimal(50), team=web, valid_from=timezone.now() - timedelta(days=9))
    store(admin, event(1, team="plat", session="s1"))
    made = rule(admin, when("team", "plat"), team=web, is_overriding=True)
    store(admin, event(2, team="plat", session="s2"))
    assert UsageEvent.objects.get(external_id="call-2").cost == COST / 2
    run = rerun(admin)
    assert (run.events_changed, run.cost_before, run.cost_after) == (1, COST, COST / 2)
    assert set(UsageEvent.objects.values_list("team_id", "cost", "team_label")) == {(web.pk, COST / 2, "plat")}
    assert set(Session.objects.values_list("team_id", flat=True)) == {web.pk}
    assert BudgetPeriod.objects.get().spent == COST
    kept = EventAmendment.objects.get()
    assert (kept.cause.kind, kept.old["team_id"], kept.new["team_id"], kept.old["ruled"], kept.new["ruled"]["rules"]) == (
        "attribution",
        None,
        web.pk,
        None,
        {"team": made.pk},
    )
    # Without the rule the name leads nowhere again.
    rule_retire(actor=actor, rule=made)
    rerun(admin)
    assert set(UsageEvent.objects.values_list("team_id", "cost", "ruled")) == {(None, COST, None)}


def test_hold_is_made_against_the_team_that_a_rule_names(admin: Member, web: Team) -> None:
    actor = member_actor(admin)
    rule(admin, when("model", "claude-sonnet-4-5"), team=web, environment="ci")
    budget_create(
        actor=actor,
        name="Web's CI",
        scope_kind="team",
        team=web,
        period_kind="month",
        limit_amount=Decimal(1),
        is_hard=True,
        filters={"environment": ["ci"]},
    )
    asked = AuthorizationIn(model="claude-sonnet-4-5", provider="anthropic", amount=Decimal("0.75"), harness="codex")
    assert authorization_hold(actor=actor, api_key=None, request=asked).authorization.periods
    with pytest.raises(PaymentRequired):
        authorization_hold(actor=actor, api_key=None, request=asked)


def test_preview_says_what_would_move_from_team_to_team_by_month(admin: Member, team: Team, web: Team) -> None:
    store(admin, event(1), event(2, team=""), event(3, harness="aider"))
    made = rule(admin, when("harness", "aider", op="is_not"), team=web, is_overriding=True)
    run = ready(admin)
    assert run.state == "ready"
    month = f"{timezone.localtime(timezone.now(), admin.organization.zone):%Y-%m}"
    moves = {(line["from"], line["to"]): (line["month"], line["events"], Decimal(line["before"])) for line in run.preview["moves"]}
    assert moves == {("Platform", "Web"): (month, 1, COST), ("", "Web"): (month, 1, COST)}
    assert {line["team"]: Decimal(line["delta"]) for line in run.preview["teams"]} == {"Web": 2 * COST, "Platform": -COST, "": -COST}
    assert (run.preview["fields"], run.preview["rules"]) == ({"team_id": 2}, {str(made.pk): 2})
    assert not EventAmendment.objects.exists()


def test_rule_is_tried_before_it_is_saved_and_the_trial_cannot_be_applied(admin: Member, web: Team) -> None:
    actor = member_actor(admin)
    store(admin, event(1, team=""), event(2, team="", occurred_at=timezone.now() - timedelta(days=40)))
    run = rule_try(actor=actor, name="All", conditions=when("harness", op="is_empty"), team=web)
    run_work(run.pk)
    run.refresh_from_db()
    assert (run.state, run.preview["seen"], run.preview["moves"][0]["to"]) == ("ready", 1, "Web")
    with pytest.raises(Conflict):
        run_start(actor=actor, run=run)
    assert not AttributionRule.objects.exists()
    made = rule(admin, when("harness", op="is_empty"), team=web)
    rerun(admin)
    tried = rule_try(actor=actor, rule=made, conditions=when("harness", "codex"))
    run_work(tried.pk)
    tried.refresh_from_db()
    assert [(line["from"], line["to"]) for line in tried.preview["moves"]] == [("Web", "")]


def test_order_decides_and_is_changed_step_by_step(admin: Member, team: Team, web: Team) -> None:
    actor = member_actor(admin)
    first, second = rule(admin, when("harness", op="is_empty"), team=web), rule(admin, when("harness", op="is_empty"), team=team)
    store(admin, event(1, team=""))
    assert UsageEvent.objects.get().team_id == web.pk
    rule_move(actor=actor, rule=second, step=-1)
    rule_move(actor=actor, rule=second, step=-1)
    assert list(AttributionRule.objects.values_list("pk", flat=True)) == [second.pk, first.pk]
    rerun(admin)
    assert UsageEvent.objects.get().team_id == team.pk
    assert AuditRecord.objects.filter(action="attribution_rules.ordered").count() == 1


def test_closed_month_stands_and_the_difference_is_posted(admin: Member, team: Team, web: Team, organization: Organization) -> None:
    at = datetime.now(UTC) - timedelta(days=45)
    store(admin, event(1, team="", occurred_at=at), event(2, team=""))
    month_close(actor=member_actor(admin), month=at.astimezone(organization.zone).date(), reason="reported")
    rule(admin, when("harness", op="is_empty"), team=web)
    run = rerun(admin)
    assert run.events_changed == 2
    assert dict(UsageEvent.objects.values_list("external_id", "team_id")) == {"call-1": None, "call-2": web.pk}
    assert set(Adjustment.objects.values_list("team_id", "cost")) == {(None, -COST), (web.pk, COST)}
    assert rerun(admin).events_changed == 0


def test_calls_stay_with_the_team_of_their_time_unless_asked_otherwise(admin: Member, engineer: Member, team: Team, web: Team) -> None:
    actor = member_actor(admin)
    store(admin, event(1, team="", member="engineer@acme.example"))
    member_change(actor=actor, member=engineer, team=web)
    assert rerun(admin).events_changed == 0
    assert rerun(admin, moves_owners=True).events_changed == 1
    assert UsageEvent.objects.get().team_id == web.pk


def test_unknown_address_given_to_a_member_brings_its_history(admin: Member, engineer: Member, team: Team) -> None:
    store(admin, event(1, team="", member="mira@home.example"))
    member_change(actor=member_actor(admin), member=engineer, aliases=["Mira@home.example"])
    rerun(admin)
    stored = UsageEvent.objects.get()
    assert (stored.member_id, stored.team_id, stored.ruled) == (engineer.pk, team.pk, None)


def test_run_is_paused_goes_on_and_is_cancelled(admin: Member, web: Team) -> None:
    actor = member_actor(admin)
    store(admin, *(event(number, team="") for number in range(5)))
    rule(admin, when("harness", op="is_empty"), team=web)
    run = run_start(actor=actor, run=ready(admin))
    assert run_work(run.pk, seconds=0.001, chunk=2)
    run_pause(actor=actor, run=run)
    assert not run_work(run.pk, chunk=2)
    assert UsageEvent.objects.filter(team_id=web.pk).count() == 2
    run_start(actor=actor, run=run)
    run_work(run.pk, seconds=0.001, chunk=2)
    run_cancel(actor=actor, run=run)
    run_work(run.pk, chunk=2)
    assert UsageEvent.objects.filter(team_id=web.pk).count() == 4
    assert differences(admin.organization) == []
    assert set(AuditRecord.objects.filter(target_kind="attribution_run").values_list("action", flat=True)) == {
        f"attribution_run.{state}" for state in ("created", "running", "paused", "cancelled")
    }  # fmt: skip


def test_finance_rates_but_does_not_attribute(admin: Member, organization: Organization) -> None:
    admin.role = "finance"
    admin.save(update_fields=["role"])
    actor = member_actor(admin)
    span: dict[str, Any] = {"starts_at": timezone.now() - timedelta(days=1), "ends_at": timezone.now()}
    run_create(actor=actor, reason="prices", **span)
    with pytest.raises(Forbidden):
        attribution_run_create(actor=actor, reason="rules", **span)
    theirs = attribution_run_create(actor=system_actor(organization), reason="rules", **span)
    for step in (run_start, run_cancel):
        with pytest.raises(Forbidden):
            step(actor=actor, run=theirs)


SAID = st.fixed_dictionaries({
    "team": st.sampled_from(["", "", "platform", "plat"]), "project": st.sampled_from(["", "shop"]), "member": st.sampled_from(["", "engineer@acme.example", "who@else.example"]),
    "harness": st.sampled_from(["", "codex", "own"]), "role": st.sampled_from(["", "judge"]), "environment": st.sampled_from(["", "ci"]),
    "model": st.sampled_from(["claude-sonnet-4-5", "claude-opus-4-1", "made-up-9"]), "session": st.sampled_from(["", "s1", "s2"]),
    "tags": st.sampled_from([None, {"repo": "acme/shop"}]), "hours": st.integers(0, 90),
})  # fmt: skip
CONDITIONS = st.sampled_from([
    when("harness", "codex"), when("email_domain", "else.example"), when("repository", "acme/*", op="like"), when("team", "plat"), when("tier", "flagship"),
    when("environment", op="is_empty"), when("model", "claude", op="starts_with"), when("role", "judge"),
])  # fmt: skip
SETS = st.fixed_dictionaries({"is_overriding": st.booleans()}, optional={
    "team": st.sampled_from(["platform", "web"]), "project": st.just("shop"), "role": st.just("worker"), "task_class": st.just("code"),
    "environment": st.just("prod"), "billing_mode": st.just("subscription"),
}).filter(lambda sets: len(sets) > 1)  # fmt: skip


@settings(max_examples=10, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    said=st.lists(SAID, min_size=1, max_size=8),
    earlier=st.lists(st.tuples(CONDITIONS, SETS), max_size=2),
    rules=st.lists(st.tuples(CONDITIONS, SETS), max_size=4),
)
def test_run_over_history_equals_a_fresh_load_under_the_new_rules(
    admin: Member, engineer: Member, team: Team, web: Team, said: list[dict[str, Any]], earlier: Any, rules: Any
) -> None:
    base = datetime.now(UTC) - timedelta(days=5)
    events = [
        event(number, occurred_at=base + timedelta(hours=one.pop("hours"), seconds=number), **one)
        for number, one in enumerate(map(dict, said))
    ]
    with transaction.atomic():
        _things(admin, web)
        fresh = _loaded(admin, events, rules)
        transaction.set_rollback(True)
    with transaction.atomic():
        _things(admin, web)
        _loaded(admin, events, earlier)
        for one in AttributionRule.objects.all():
            rule_retire(actor=member_actor(admin), rule=one)
        _ruled(admin, rules)
        rerun(admin, chunk=3)
        assert _state(admin) == fresh
        assert rerun(admin).events_changed == 0
        transaction.set_rollback(True)


VERSIONS = itertools.count(1_000_000, 1_000)


def _things(admin: Member, web: Team) -> None:
    # What is in memory by its version must not be what was rolled back under the same one.
    Organization.objects.update(config_version=next(VERSIONS))
    actor = member_actor(admin)
    Project.objects.create(organization=admin.organization, slug="shop", name="Shop", team=web)
    term_add(actor=actor, name="Web's", percent_off=Decimal(10), team=web, valid_from=timezone.now() - timedelta(days=9))
    budget_create(actor=actor, name="web", scope_kind="team", team=web, period_kind="month", limit_amount=Decimal(1), counts_notional=True)
    budget_create(
        actor=actor, name="prod", scope_kind="organization", period_kind="day", limit_amount=Decimal(1), filters={"environment": ["prod"]}
    )
    budget_create(actor=actor, name="each", scope_kind="session", period_kind="session", limit_amount=Decimal(1))


def _ruled(admin: Member, rules: Sequence[tuple[list[dict[str, Any]], dict[str, Any]]]) -> None:
    for conditions, sets in rules:
        named = {
            name: model.objects.get(organization=admin.organization, slug=sets[name])
            for name, model in (("team", Team), ("project", Project))
            if name in sets
        }
        rule(admin, conditions, **{**sets, **named})


def _loaded(admin: Member, events: list[EventIn], rules: Any) -> Any:
    _ruled(admin, rules)
    store(admin, *events)
    assert differences(admin.organization) == []
    return _state(admin)


def _state(admin: Member) -> Any:
    """All that attribution moves, by names that two loads have in common."""
    columns = ("external_id", "team_id", "member_id", "role", "task_class", "environment", "billing_mode", "cost", "list_cost")
    calls = sorted(UsageEvent.objects.values_list(*columns))
    has_project = sorted(UsageEvent.objects.exclude(project_id=None).values_list("external_id", flat=True))
    sums = [
        sorted(
            str(row) for row in table.objects.exclude(calls=0).values_list("team_id", "role", "task_class", "billing_mode", "model").annotate(
                Sum("calls"), Sum("cost"), Sum("notional_cost"), Sum("list_cost")).order_by()
        )
        for table in (UsageRollup, UsageRollupDay)
    ]  # fmt: skip
    spent = sorted(BudgetPeriod.objects.exclude(spent=0).values_list("budget__name", "session_key", "starts_at", "spent"), key=str)
    return calls, has_project, sums, spent
