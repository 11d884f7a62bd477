"""The demo organization shows what the product is for: each thing it is said to contain is there, in a sane measure."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import Count, F, Max, Q, Sum
from django.db.models.functions import ExtractHour, TruncDate

from dashboards.selectors.agreements import balances_drawn
from governance.approvals.models import ApprovalRequest
from governance.budgets.models import Budget, BudgetPeriod, Session
from governance.errors import Conflict
from governance.pricing.models import PriceRow
from governance.tenancy.access import system_actor
from governance.tenancy.models import ApiKey, Member, Role, Team
from ingest.demo import cast, offers, stories, terms
from ingest.demo.loading import Loaded, demo_load
from ingest.demo.organization import KEYS
from ingest.models import EventAmendment, EventSighting, ReportedLabel, UsageEvent, UsageRollupDay
from ingest.once.later import pass_run
from ingest.once.selectors import coverage, pairs_described, pairs_undecided, shares_of
from ingest.verify import differences
from tests.ingest.demo.conftest import EVENTS

pytestmark = pytest.mark.django_db
TOKENS = F("input_tokens") + F("cache_read_tokens") + F("cache_write_5m_tokens") + F("cache_write_1h_tokens") + F("output_tokens")


def tokens(loaded: Loaded, *conditions: Q, **fields: object) -> int:
    rows = UsageRollupDay.objects.filter(*conditions, organization=loaded.organization, **fields)
    return rows.aggregate(total=Sum(TOKENS))["total"] or 0


def cost(loaded: Loaded, **fields: object) -> Decimal:
    return UsageRollupDay.objects.filter(organization=loaded.organization, **fields).aggregate(total=Sum("cost"))["total"] or Decimal(0)


def test_every_event_of_the_plan_is_counted(loaded: Loaded) -> None:
    assert loaded.outcomes == {"accepted": EVENTS}
    assert UsageEvent.objects.filter(organization=loaded.organization, external_id__startswith=loaded.plan.tag).count() >= EVENTS


def test_it_is_a_demo_of_eight_teams_and_about_ninety_people(loaded: Loaded) -> None:
    assert loaded.organization.is_demo
    assert Team.objects.filter(organization=loaded.organization).count() == 8
    members = Member.objects.filter(organization=loaded.organization)
    assert 85 <= members.count() <= 95
    assert set(members.values_list("role", flat=True)) == set(Role.values)


def test_keys_that_history_came_by_were_used(loaded: Loaded) -> None:
    keys = ApiKey.objects.filter(organization=loaded.organization, name__in=KEYS.values()).select_related("use")
    assert len(keys) == len(KEYS)
    assert all(key.last_used_at for key in keys)


def test_flagships_think_and_low_cost_models_work(loaded: Loaded) -> None:
    everything = tokens(loaded)
    assert 0.30 < tokens(loaded, tier="flagship") / everything < 0.50
    assert tokens(loaded, role="worker", tier="economy") > 0.6 * tokens(loaded, role="worker")
    assert tokens(loaded, role="planner", tier="flagship") > 0.6 * tokens(loaded, role="planner")
    assert cost(loaded, tier="flagship") > 2 * cost(loaded, tier="economy")


def test_harnesses_gateways_and_makers_are_many_and_none_is_all(loaded: Loaded) -> None:
    for dimension, least in (("harness", 8), ("gateway", 4), ("maker", 8), ("provider", 6)):
        rows = UsageRollupDay.objects.filter(organization=loaded.organization).values(dimension)
        parts = list(rows.annotate(part=Sum("calls")).order_by().values_list("part", flat=True))
        assert len(parts) >= least, dimension
        assert max(parts) < 0.6 * sum(parts), dimension


def test_contexts_are_cached_and_grow_large(loaded: Loaded) -> None:
    planners = Q(harness="claude-code", role="planner")
    rows = UsageRollupDay.objects.filter(planners, organization=loaded.organization)
    read, fresh = rows.aggregate(read=Sum("cache_read_tokens"), fresh=Sum("input_tokens")).values()
    assert read > fresh
    assert rows.aggregate(total=Sum("cache_write_5m_tokens"))["total"] > 0
    assert Session.objects.filter(organization=loaded.organization).aggregate(most=Max("context_tokens_max"))["most"] > 200_000


def test_a_panel_and_its_judge_share_a_trace_and_hang_together(loaded: Loaded) -> None:
    calls = UsageEvent.objects.filter(organization=loaded.organization, trace__startswith="fu-").order_by("occurred_at")
    traces: dict[str, list[UsageEvent]] = {}
    for call in calls:
        traces.setdefault(call.trace, []).append(call)
    whole = [found for found in traces.values() if found[-1].role == "judge" and all(call.status == "ok" for call in found)]
    assert len(whole) > 10
    for panel in whole:
        assert len(panel) >= 3
        assert {call.role for call in panel[:-1]} == {"panel"}
        assert len({call.model for call in panel[:-1]}) == len(panel) - 1
        assert {call.parent for call in panel[1:]} == {panel[0].external_id}


def test_a_subscription_counts_beside_the_bill(loaded: Loaded) -> None:
    rows = UsageRollupDay.objects.filter(organization=loaded.organization, billing_mode="subscription")
    billed, notional = rows.aggregate(billed=Sum("cost"), notional=Sum("notional_cost")).values()
    assert billed == 0
    assert notional > 0


def test_a_model_without_a_price_is_unpriced_and_listed(loaded: Loaded) -> None:
    calls = UsageEvent.objects.filter(organization=loaded.organization, model=offers.UNPRICED_MODEL)
    assert calls.filter(status="ok").exists()
    assert not calls.filter(cost__isnull=False).exists()
    assert ReportedLabel.objects.filter(organization=loaded.organization, kind="model", value=offers.UNPRICED_MODEL).exists()


def test_the_price_rise_shows_in_dated_rows_and_in_what_a_token_costs(loaded: Loaded) -> None:
    before, after = PriceRow.objects.filter(model__slug=offers.CONTRACT_MODEL).order_by("valid_from")
    assert before.valid_to == after.valid_from == loaded.plan.price_rise_at
    assert Decimal(after.rates["output_tokens"]["base"]) == Decimal(before.rates["output_tokens"]["base"]) * Decimal("1.83")
    calls = UsageEvent.objects.filter(organization=loaded.organization, model=offers.CONTRACT_MODEL, status="ok")
    each = []
    for row in (before, after):
        rated = calls.filter(price_id=row.pk).aggregate(cost=Sum("cost"), tokens=Sum(F("input_tokens") + F("cache_read_tokens")))
        each.append(rated["cost"] / rated["tokens"])
    assert Decimal("1.4") < each[1] / each[0] < Decimal("2.4")
    assert not calls.filter(occurred_at__gte=after.valid_from, price_id=before.pk).exists()


def test_one_automation_burned_two_hundred_dollars_in_a_day(loaded: Loaded) -> None:
    calls = UsageEvent.objects.filter(organization=loaded.organization, harness="openclaw")
    days = calls.annotate(day=TruncDate("occurred_at", tzinfo=loaded.organization.zone)).values("day").annotate(burned=Sum("cost"))
    worst, *others = days.order_by("-burned")
    assert worst["day"] == (loaded.plan.until - timedelta(days=stories.RUNAWAY_DAYS_AGO)).date()
    assert 200 <= worst["burned"] <= 240
    assert all(day["burned"] < 30 for day in others)
    assert set(calls.values_list("team_id", flat=True)) == {Team.objects.get(organization=loaded.organization, slug="data").pk}


def test_one_session_is_frozen_at_its_limit_and_somebody_waits_for_a_decision(loaded: Loaded) -> None:
    period = BudgetPeriod.objects.get(organization=loaded.organization, session_key=stories.FROZEN_SESSION, frozen_at__isnull=False)
    assert period.limit_amount == 100
    assert 100 <= period.spent < 104
    request = ApprovalRequest.objects.get(organization=loaded.organization)
    assert (request.state, request.amount, request.requester.user.email) == ("pending", 60, cast.ENGINEER)
    others = Session.objects.filter(organization=loaded.organization).exclude(key=stories.FROZEN_SESSION)
    assert others.aggregate(most=Max("cost"))["most"] < 100


def test_one_team_is_near_its_limit_and_nobody_else_beyond_theirs(loaded: Loaded) -> None:
    for budget in Budget.objects.filter(organization=loaded.organization, scope_kind__in=("organization", "team")).select_related("team"):
        period = BudgetPeriod.objects.filter(budget=budget).order_by("-starts_at").first()
        used = period.spent / period.limit_amount if period else Decimal(0)
        if budget.team is not None and budget.team.slug == cast.NEAR_LIMIT_TEAM:
            assert Decimal("0.9") < used < 1
        else:
            assert used < Decimal("0.97"), budget.name


def test_work_has_a_rhythm(loaded: Loaded) -> None:
    calls = UsageEvent.objects.filter(organization=loaded.organization)
    hours = calls.annotate(hour=ExtractHour("occurred_at", tzinfo=loaded.organization.zone)).values("hour").annotate(count=Count("id"))
    by_hour = {row["hour"]: row["count"] for row in hours.order_by()}
    assert max(by_hour, key=lambda hour: by_hour[hour]) in range(9, 18)
    assert sum(by_hour.get(hour, 0) for hour in range(6)) < 0.1 * sum(by_hour.values())
    days = [(day.date.weekday(), quota) for day, quota in zip(loaded.plan.calendar[:-1], loaded.plan.quotas[:-1], strict=True)]
    weekend = [quota for weekday, quota in days if weekday >= 5]
    work = [quota for weekday, quota in days if weekday < 5]
    assert sum(weekend) / len(weekend) < 0.6 * sum(work) / len(work)


def test_some_usage_is_nobody_s_and_its_names_are_listed(loaded: Loaded) -> None:
    unallocated = tokens(loaded, team_id=None) / tokens(loaded)
    assert 0 < unallocated < 0.1
    kinds = set(ReportedLabel.objects.filter(organization=loaded.organization).values_list("kind", flat=True))
    assert {"team", "member", "model"} <= kinds


def test_rules_say_whose_some_usage_is(loaded: Loaded) -> None:
    calls = UsageEvent.objects.filter(organization=loaded.organization).exclude(ruled=None)
    assert {"platform"} <= set(Team.objects.filter(pk__in=calls.values("team_id")).values_list("slug", flat=True))
    assert not UsageEvent.objects.filter(organization=loaded.organization, team_label="platform-eng", team_id=None).exists()


def test_every_sum_is_that_of_its_events(loaded: Loaded) -> None:
    assert differences(loaded.organization) == []


def test_loading_again_counts_nothing_twice(loaded: Loaded) -> None:
    spent = cost(loaded)
    budgets = Budget.objects.filter(organization=loaded.organization).count()
    again = demo_load(plan=loaded.plan, again=True, processes=1)
    assert again.outcomes == {"duplicate": EVENTS}
    assert (cost(loaded), Budget.objects.filter(organization=loaded.organization).count()) == (spent, budgets)
    assert ApprovalRequest.objects.filter(organization=loaded.organization).count() == 1


def test_loading_into_a_loaded_organization_is_refused(loaded: Loaded) -> None:
    with pytest.raises(Conflict, match="--again"):
        demo_load(plan=loaded.plan, processes=1)
    assert system_actor(loaded.organization).organization.is_demo


def test_own_terms_and_another_currency_show(loaded: Loaded) -> None:
    calls = UsageEvent.objects.filter(organization=loaded.organization, cost__gt=0)
    discounted = calls.filter(term_id__isnull=False)
    assert set(discounted.values_list("provider", flat=True)) == {"openai"}
    sums = discounted.aggregate(cost=Sum("cost"), listed=Sum("list_cost"))
    assert abs(sums["cost"] / sums["listed"] - Decimal("0.88")) < Decimal("1e-6")
    converted = calls.filter(model=offers.YUAN_MODEL)
    assert set(converted.values_list("price_currency", "currency")) == {("CNY", "USD")}
    assert {f"{rate.normalize():f}" for rate in converted.values_list("exchange_rate", flat=True)} <= set(terms.RATES)
    (drawn,) = balances_drawn(system_actor(loaded.organization))
    assert 0 < drawn.used < drawn.amount


def test_payments_claude_code_is_told_of_by_harness_and_gateway_and_counted_once(loaded: Loaded) -> None:
    actor, until = system_actor(loaded.organization), loaded.plan.until
    found = [one for one in coverage(actor, since=until - timedelta(days=7), until=until, by="team") if "otlp" in one.doors]
    payments = Team.objects.get(organization=loaded.organization, slug="payments")
    shares = shares_of([one for one in found if one.group == str(payments.pk)])
    assert shares.both > shares.harness_only > 0
    assert shares_of([one for one in found if one.group != str(payments.pk)]).both == 0
    pairs = pairs_described(actor, pairs_undecided(actor))
    assert 2 <= len(pairs) <= 7
    assert {one.sources for one in pairs} == {(("harness:otlp",), ("gateway:litellm",))}
    corrected = EventAmendment.objects.filter(organization=loaded.organization, cause__kind="identity", new__has_key="output_tokens")
    assert corrected.exists()
    assert EventSighting.objects.filter(organization=loaded.organization, is_settled=False).count() == 0
    assert pass_run(organization=loaded.organization, now=until) == 0
