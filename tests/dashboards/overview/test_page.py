"""The Overview: its figures equal the stored events, what waits is listed, and what renews itself reads its own part only."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client

from governance.budgets.models import Budget
from governance.budgets.services import budget_create, session_freeze
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from tests.dashboards.usage_made import NOW, call, events_sql, use

pytestmark = pytest.mark.django_db
BILLED = "billing_mode <> 'subscription'"


@pytest.fixture
def visitor(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def test_headlines_equal_the_events(visitor: Client, varied: Organization) -> None:
    shown = visitor.get("/o/acme/").context["shown"]
    ((month,),) = events_sql(varied, "sum(cost)", where=BILLED, first="2026-11-01")
    ((today,),) = events_sql(varied, "sum(cost)", where=BILLED, first="2026-11-18")
    ((whole, calls),) = events_sql(varied, f"sum(cost) FILTER (WHERE {BILLED}), count(*)")
    assert (shown.month_figures.cost, shown.today.spent) == (month, today)
    assert (shown.totals.cost, shown.totals.calls) == (whole, calls)


def test_usual_is_the_mean_of_the_same_weekday_up_to_this_hour(visitor: Client, prices: None, at_now: None, organization: Organization) -> None:
    use(organization, [call(occurred_at=NOW - timedelta(days=7 * week, hours=2)) for week in (1, 2)])
    use(organization, [call(occurred_at=NOW - timedelta(days=7) + timedelta(hours=3))])
    today = visitor.get("/o/acme/").context["shown"].today
    ((one,),) = events_sql(organization, "max(cost)")
    assert today.spent == 0
    assert today.usual == one, "later hours of that day do not count, weeks before the first usage neither"


def test_a_morning_is_not_held_against_a_whole_day(visitor: Client, prices: None, at_now: None, organization: Organization) -> None:
    yesterday = NOW - timedelta(days=1)  # 16:30 in Berlin: of the hour from 16:00 one half counts
    use(organization, [call(occurred_at=yesterday - timedelta(hours=3)), call(occurred_at=yesterday - timedelta(minutes=5)), call(occurred_at=yesterday + timedelta(hours=2))])
    use(organization, [call()])
    answer = visitor.get("/o/acme/?range=today")
    shown = answer.context["shown"]
    ((one,),) = events_sql(organization, "max(cost)")
    assert (shown.totals.cost, shown.before.cost) == (one, one * Decimal("1.5"))
    assert "against 17 November 2026 until 16:30" in answer.content.decode()
    spent = visitor.get("/o/acme/spend?range=today")
    assert spent.context["before"].cost == one * Decimal("1.5")
    assert "vs yesterday until 16:30" in spent.content.decode()
    by_member = visitor.get("/o/acme/spend?range=today&by=member")
    assert by_member.context["before"].cost == one * 3, "hours know no member: there the day before is whole, and called so"
    assert "against 17 November 2026<" in by_member.content.decode()


def test_chart_adds_up_to_the_days(visitor: Client, varied: Organization) -> None:
    chart = visitor.get("/o/acme/?range=30d").context["shown"].chart
    drawn = sum(sum(trace.y) for trace in chart.figure.data)
    ((whole,),) = events_sql(varied, "sum(cost)", where=BILLED)
    assert drawn == pytest.approx(float(whole))
    assert chart.rows[-1][0] == "2026-11-18"


def test_movers_compare_with_the_range_before(visitor: Client, varied: Organization) -> None:
    movers = visitor.get("/o/acme/?range=7d").context["shown"].movers
    now = dict(events_sql(varied, "model, sum(cost)", where=f"{BILLED} AND cost > 0", rest="GROUP BY 1", first="2026-11-12"))
    before = dict(events_sql(varied, "model, sum(cost)", where=f"{BILLED} AND cost > 0", rest="GROUP BY 1", first="2026-11-05", last="2026-11-11"))
    assert {row.key: row.change for row in movers} == {model: now.get(model, Decimal(0)) - before.get(model, Decimal(0)) for model in {*now, *before}}
    assert [abs(row.change) for row in movers] == sorted((abs(row.change) for row in movers), reverse=True)


def test_allocated_share_leaves_out_what_has_no_team(visitor: Client, varied: Organization) -> None:
    split = visitor.get("/o/acme/").context["shown"].split
    ((allocated, bound, whole),) = events_sql(
        varied, "sum(cost) FILTER (WHERE team_id IS NOT NULL), sum(cost) FILTER (WHERE harness = 'claude-code'), sum(cost)", where=BILLED
    )
    assert (split.allocated, split.bound) == (allocated / whole, bound / whole)


def test_only_models_without_a_price_are_called_so(visitor: Client, varied: Organization) -> None:
    waiting = visitor.get("/o/acme/").context["shown"].waiting
    assert [row.model for row in waiting.unpriced] == ["no-such-model"]
    ((calls,),) = events_sql(varied, "count(*)", where="model = 'no-such-model' AND input_tokens IS NOT NULL AND billing_mode = 'metered'")
    assert waiting.unpriced_calls == calls


def test_what_waits_is_one_click_away(visitor: Client, varied: Organization, admin: Member, team: Team) -> None:
    actor = member_actor(admin)
    session_freeze(actor=actor, session_key="s1", reason="looks wrong")
    budget = budget_create(actor=actor, name="Platform month", scope_kind="team", team=team, period_kind=Budget.Kind.MONTH, limit_amount=Decimal("0.01"))
    use(varied, [call(team="platform", occurred_at=NOW)])
    text = visitor.get("/o/acme/").content.decode()
    assert "/o/acme/sessions/s1" in text
    assert f"/o/acme/budgets/{budget.pk}" in text
    assert "/o/acme/prices/unpriced" in text


def test_live_tiles_carry_no_chart_and_the_chart_no_page(visitor: Client, varied: Organization) -> None:
    tiles = visitor.get("/o/acme/", headers={"HX-Request": "true", "HX-Target": "tiles"}).content.decode()
    assert 'id="tiles"' in tiles
    assert 'id="needs"' in tiles
    assert "figure-data" not in tiles
    chart = visitor.get("/o/acme/", headers={"HX-Request": "true", "HX-Target": "spend-by-provider-figure"}).content.decode()
    assert 'id="spend-by-provider-figure"' in chart
    assert 'id="tiles"' not in chart


def test_live_tiles_move_with_the_next_event(visitor: Client, varied: Organization) -> None:
    def spent() -> Decimal:
        return Decimal(visitor.get("/o/acme/", headers={"HX-Request": "true", "HX-Target": "tiles"}).context["shown"].today.spent)

    before = spent()
    use(varied, [call(occurred_at=NOW)])
    ((added,),) = events_sql(varied, "cost", where="occurred_at = (SELECT max(occurred_at) FROM usage_event)")
    assert spent() - before == added


def test_lead_sees_the_own_team_only(client: Client, varied: Organization, lead: Member) -> None:
    client.force_login(lead.user)
    shown = client.get("/o/acme/").context["shown"]
    ((cost,),) = events_sql(varied, "sum(cost)", where=f"{BILLED} AND team_id = {int(lead.team_id or 0)}")
    assert shown.totals.cost == cost


def test_empty_organization_is_shown_how_to_connect(visitor: Client, organization: Organization) -> None:
    assert "Connect your first harness" in visitor.get("/o/acme/").content.decode()
    assert visitor.get("/o/acme/first-event").status_code == 204


def test_teams_lead_to_the_same_figure_and_add_up_to_the_month(visitor: Client, varied: Organization, team: Team) -> None:
    Team.objects.filter(slug="data").update(parent=team)
    response = visitor.get("/o/acme/")
    teams, shown = response.context["teams"], response.context["shown"]
    links = {row.key: cells[0].href for row, cells in zip(teams.rows, teams.cells, strict=True)}
    for row in teams.rows:
        spend = visitor.get(links[row.key]).context
        assert (spend["total"].cost, spend["before"].cost) == (row.spent, row.previous), row.name
    platform = next(row for row in teams.rows if row.name == "Platform")
    assert platform.is_with_teams_below
    assert platform.spent > platform.own
    assert "Unallocated" in {row.name for row in teams.rows}
    assert teams.foot["own"] == shown.month_figures.cost
    assert "with sub-teams" in response.content.decode()


def test_file_of_teams_says_amount_and_percent(visitor: Client, varied: Organization) -> None:
    head = visitor.get("/o/acme/?format=csv&table=teams").content.decode().splitlines()[0]
    assert "vs October, amount,vs October, percent" in head.replace('"', "")
