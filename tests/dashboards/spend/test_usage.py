"""Sums by dimension equal the sums of events, for everybody who may see them and for nobody else."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count, F, Sum
from django.test.utils import CaptureQueriesContext

from dashboards.insights.figures import figures_sum
from dashboards.selectors import usage
from dashboards.selectors.behind import sessions_behind
from dashboards.selectors.dimensions import DIMENSIONS, names_of
from governance.periods import Window
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.models import UsageEvent
from tests.dashboards.usage_made import MONTH, NOW, call, use, varied_calls

pytestmark = pytest.mark.django_db


@pytest.fixture
def used(prices: None, organization: Organization, team: Team, admin: Member, lead: Member) -> Organization:
    Team.objects.create(organization=organization, slug="data", name="Data")
    use(organization, varied_calls())
    return organization


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_rows_of_every_dimension_add_up_to_the_events(used: Organization, admin: Member, dimension: str) -> None:
    rows = usage.spend_by(member_actor(admin), dimension, window=MONTH)
    total = figures_sum((row.figures for row in rows), "USD")
    events = UsageEvent.objects.filter(organization=used)
    billed = events.exclude(billing_mode="subscription").aggregate(cost=Sum("cost"))["cost"]
    notional = events.filter(billing_mode="subscription").aggregate(cost=Sum("cost"))["cost"]
    assert (total.cost, total.notional_cost) == (billed, notional)
    assert total.cost > 0
    assert total.notional_cost > 0
    assert total.calls == events.count() == 60
    assert total.unpriced_calls == events.filter(cost=None).count() > 0
    assert total.input_tokens == events.aggregate(sum=Sum("input_tokens"))["sum"]
    assert len({row.key for row in rows}) == len(rows)
    assert [row.figures.cost for row in rows] == sorted((row.figures.cost for row in rows), reverse=True)
    assert total == usage.totals(member_actor(admin), window=MONTH)


def test_each_row_equals_its_own_events(used: Organization, admin: Member) -> None:
    of_events = dict(UsageEvent.objects.exclude(billing_mode="subscription").values_list("model").annotate(Sum("cost")).order_by())
    of_rows = {row.key: row.figures.cost for row in usage.spend_by(member_actor(admin), "model", window=MONTH)}
    assert of_rows == {model: cost or Decimal(0) for model, cost in of_events.items()}


@pytest.mark.parametrize("step", ["hour", "day", "week"])
def test_series_add_up_to_the_total_at_every_step(used: Organization, admin: Member, step: str) -> None:
    actor = member_actor(admin)
    points = usage.series_by(actor, "provider", window=MONTH, keys=["anthropic", ""], step=step)
    assert figures_sum((point.figures for point in points), "USD") == usage.totals(actor, window=MONTH)
    assert {"anthropic", None} <= {point.key for point in points}
    assert [point.at for point in points] == sorted(point.at for point in points)


def test_days_are_those_of_the_organization(prices: None, organization: Organization, admin: Member) -> None:
    use(organization, [call(occurred_at=datetime(2026, 11, 16, 23, 30, tzinfo=UTC))])  # 00:30 on the 17th in Berlin
    (point,) = usage.series_by(member_actor(admin), "provider", window=MONTH, keys=["anthropic"])
    assert point.at == date(2026, 11, 17)
    from_midnight = Window(datetime(2026, 11, 16, 23, tzinfo=UTC), datetime(2026, 11, 17, 23, tzinfo=UTC))
    before = Window(datetime(2026, 11, 15, 23, tzinfo=UTC), datetime(2026, 11, 16, 23, tzinfo=UTC))
    assert usage.totals(member_actor(admin), window=from_midnight).calls == 1
    assert usage.totals(member_actor(admin), window=before).calls == 0


def test_filters_narrow_by_value_and_by_absence(used: Organization, admin: Member, team: Team) -> None:
    actor = member_actor(admin)
    events = UsageEvent.objects.filter(organization=used)
    unallocated = usage.totals(actor, window=MONTH, filters={"team": ("",)})
    assert unallocated.calls == events.filter(team_id=None).count() > 0
    both = usage.totals(actor, window=MONTH, filters={"team": ("", str(team.pk)), "provider": ("openai",)})
    assert both.calls == events.filter(provider="openai").exclude(team_id=None).filter(team_id=team.pk).count() + events.filter(provider="openai", team_id=None).count()


@pytest.mark.parametrize("value", ["abc", "-1", "9" * 40, "１２", "1 OR 1=1"])  # noqa: RUF001
def test_value_that_cannot_occur_matches_nothing(used: Organization, admin: Member, value: str) -> None:
    assert usage.totals(member_actor(admin), window=MONTH, filters={"team": (value,)}).calls == 0


def test_lead_sees_the_own_team_and_own_usage_only(used: Organization, lead: Member, team: Team) -> None:
    use(used, [call(member="lead@acme.example", team="data")])
    rows = usage.spend_by(member_actor(lead), "team", window=MONTH)
    events = UsageEvent.objects.filter(organization=used)
    assert {row.name: row.figures.calls for row in rows} == {"Platform": events.filter(team_id=team.pk).count(), "Data": 1}
    hours = usage.series_by(member_actor(lead), "team", window=MONTH, keys=[], step="hour")
    assert sum(point.figures.calls for point in hours) == events.filter(team_id=team.pk).count()


def test_hours_cannot_be_narrowed_to_a_member(admin: Member) -> None:
    with pytest.raises(ValueError, match="no member"):
        usage.series_by(member_actor(admin), "team", window=MONTH, keys=[], step="hour", filters={"member": (str(admin.pk),)})


def test_two_organizations_never_mix(used: Organization, other_organization: Organization, admin: Member, stranger: Member) -> None:
    before = usage.totals(member_actor(admin), window=MONTH)
    use(other_organization, [call(team="platform"), call(model="gpt-5", provider="openai")])
    assert usage.totals(member_actor(admin), window=MONTH) == before
    assert usage.totals(member_actor(stranger), window=MONTH).calls == 2
    own_teams = {row.key for row in usage.spend_by(member_actor(stranger), "team", window=MONTH)}
    assert own_teams == {""}


def test_names_of_another_organization_are_not_told(used: Organization, team: Team, stranger: Member) -> None:
    assert names_of(member_actor(stranger), DIMENSIONS["team"], [str(team.pk)]) == {str(team.pk): f"Team {team.pk}"}


def test_empty_organization_has_nothing(admin: Member) -> None:
    actor = member_actor(admin)
    assert usage.spend_by(actor, "provider", window=MONTH) == []
    assert usage.series_by(actor, "provider", window=MONTH, keys=["anthropic"]) == []
    assert usage.combinations(actor, ("team", "model"), window=MONTH, by_week=True) == []
    assert usage.totals(actor, window=MONTH).cost_per_call is None
    assert usage.first_and_last_day(actor, window=MONTH) == (None, None)
    assert usage.currency_used(actor, window=MONTH) == "USD"


def test_other_currency_is_kept_apart(used: Organization, admin: Member) -> None:
    total = usage.totals(member_actor(admin), window=MONTH, currency="EUR")
    dollars = usage.totals(member_actor(admin), window=MONTH)
    assert total.cost == 0
    assert total.foreign == (("USD", dollars.cost),)
    assert total.calls == dollars.calls


@pytest.mark.parametrize(
    "read",
    [
        lambda actor: usage.spend_by(actor, "member", window=MONTH),
        lambda actor: usage.spend_by(actor, "team", window=MONTH),
        lambda actor: usage.series_by(actor, "model", window=MONTH, keys=["claude-sonnet-4-5"]),
        lambda actor: usage.combinations(actor, ("team", "harness", "provider"), window=MONTH, by_week=True),
        lambda actor: sessions_behind(actor, window=MONTH, filters={}),
    ],
)
def test_queries_do_not_grow_with_rows(prices: None, organization: Organization, admin: Member, read: Callable[[Any], Any]) -> None:
    def calls(number: int) -> list[Any]:
        Team.objects.bulk_create(
            [Team(organization=organization, slug=f"t{index}", name=f"T{index}") for index in range(number)], ignore_conflicts=True
        )
        return [call(team=f"t{index}", session=f"s{index}", member="admin@acme.example", harness=f"h{index}") for index in range(number)]

    use(organization, calls(2))
    with CaptureQueriesContext(connection) as few:
        read(member_actor(admin))
    use(organization, calls(20))
    with CaptureQueriesContext(connection) as many:
        read(member_actor(admin))
    assert len(few) == len(many) <= 3


def test_sessions_behind_a_figure(used: Organization, admin: Member, team: Team) -> None:
    found = sessions_behind(member_actor(admin), window=MONTH, filters={})
    of_events = dict(UsageEvent.objects.values_list("session").annotate(calls=Count("id")).order_by())
    assert {row.key: row.calls for row in found} == of_events
    assert [row.cost for row in found] == sorted((row.cost for row in found), reverse=True)
    long_ago = Window(NOW - timedelta(days=300), NOW - timedelta(days=200))
    assert sessions_behind(member_actor(admin), window=long_ago, filters={}) == []


def test_averages_leave_out_what_is_not_known(used: Organization, admin: Member) -> None:
    total = usage.totals(member_actor(admin), window=MONTH)
    known = UsageEvent.objects.exclude(billing_mode="subscription").exclude(cost=None).exclude(input_tokens=None)
    sums = known.aggregate(cost=Sum("cost"), tokens=Sum(F("input_tokens") + F("cache_read_tokens") + F("output_tokens")), calls=Count("id"))
    assert (total.weighed_cost, total.weighed_tokens, total.weighed_calls) == (sums["cost"], sums["tokens"], sums["calls"])
