"""The Routing page: shares, ranks and prices equal what the stored events say."""

from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest
from django.test import Client

from governance.tenancy.models import Member, Organization
from tests.dashboards.usage_made import call, events_sql, use

pytestmark = pytest.mark.django_db
RANGE = "range=custom&from=2026-10-20&to=2026-11-18"
TOKENS = "coalesce(input_tokens, 0) + coalesce(cache_read_tokens, 0) + coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_1h_tokens, 0) + coalesce(output_tokens, 0)"
BILLED = "billing_mode <> 'subscription'"


@pytest.fixture
def visitor(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def test_tiers_share_tokens_and_spend_as_the_events_do(visitor: Client, varied: Organization) -> None:
    found = visitor.get(f"/o/acme/routing?{RANGE}").context["view"].tiers
    rows = events_sql(varied, f"coalesce(nullif(tier, ''), 'unknown'), sum({TOKENS}), coalesce(sum(cost) FILTER (WHERE {BILLED}), 0)", rest="GROUP BY 1")
    all_tokens, all_cost = sum(row[1] for row in rows), sum(row[2] for row in rows)
    assert {part.key: (part.token_share, part.spend_share) for part in found} == {
        tier: (Decimal(tokens) / Decimal(all_tokens), cost / all_cost) for tier, tokens, cost in rows
    }
    assert sum(part.token_share for part in found) == pytest.approx(1)


def test_leaderboard_ranks_models_by_the_tokens_of_each_week(visitor: Client, varied: Organization) -> None:
    table = visitor.get(f"/o/acme/routing?{RANGE}").context["tables"]["leaderboard"]
    weeks: dict[date, list[tuple[int, str]]] = defaultdict(list)
    for week, model, tokens in events_sql(varied, f"date_trunc('week', day)::date, model, sum({TOKENS})", rest="GROUP BY 1, 2", first="2026-09-28"):
        weeks[week].append((-int(tokens), model))
    latest, before = (sorted(weeks[week]) for week in sorted(weeks)[:-3:-1])
    assert [(row.key, row.tokens[-1]) for row in table.rows if not row.is_gone] == [(model, -tokens) for tokens, model in latest]
    ranks = {model: rank for rank, (_, model) in enumerate(before, start=1)}
    assert {row.key: row.change for row in table.rows if not row.is_gone} == {
        model: ranks[model] - rank if model in ranks else None for rank, (_, model) in enumerate(latest, start=1)
    }


def test_blended_price_is_over_calls_of_known_price_and_size(visitor: Client, varied: Organization) -> None:
    view = visitor.get(f"/o/acme/routing?{RANGE}").context["view"]
    ((cost, tokens),) = events_sql(varied, f"sum(cost), sum({TOKENS})", where="billing_mode = 'metered' AND cost IS NOT NULL AND input_tokens IS NOT NULL")
    assert view.total.blended_per_mtok == cost * 1_000_000 / tokens
    assert (view.compared.actual, view.compared.tokens) == (cost, tokens)
    assert view.compared.saving == view.compared.counterfactual - cost


def test_flagship_on_simple_work_is_listed_with_its_cost(visitor: Client, varied: Organization) -> None:
    rows = visitor.get(f"/o/acme/routing?{RANGE}").context["tables"]["simple"].every_row
    ((calls, cost),) = events_sql(
        varied, f"count(*), coalesce(sum(cost) FILTER (WHERE {BILLED}), 0)", where="tier = 'flagship' AND task_class = 'extract'"
    )
    assert sum(row.figures.calls for row in rows) == calls > 0
    assert sum(row.figures.cost for row in rows) == cost


def test_single_weeks_lead_to_the_same_tokens_on_spend(visitor: Client, varied: Organization) -> None:
    table = visitor.get(f"/o/acme/routing?{RANGE}").context["tables"]["leaderboard"]
    cell = next(cell for cell in table.cells[0] if cell.column.key == "tokens")
    assert visitor.get(cell.href).context["total"].tokens == cell.value


def test_shares_by_country_lead_to_their_models(visitor: Client, varied: Organization) -> None:
    for name in ("weights", "countries"):
        for row in visitor.get(f"/o/acme/routing?{RANGE}").context["tables"][name].cells:
            values = {cell.column.key: cell for cell in row}
            assert visitor.get(values["name"].href).context["total"].tokens == values["tokens"].value


def test_figures_of_a_lead_are_those_of_the_own_team(client: Client, varied: Organization, lead: Member) -> None:
    client.force_login(lead.user)
    view = client.get(f"/o/acme/routing?{RANGE}").context["view"]
    ((tokens,),) = events_sql(varied, f"sum({TOKENS})", where=f"team_id = {int(lead.team_id or 0)}")
    assert view.total.tokens == tokens


def test_reads_do_not_grow_with_usage(visitor: Client, varied: Organization, django_assert_max_num_queries: object) -> None:
    use(varied, [call(model=f"model-{index}", harness=f"h{index}", team="data", session=f"more-{index}") for index in range(30)])
    for name, most in (("routing", 16), ("lock-in", 16), ("spend", 22), ("", 40)):
        with django_assert_max_num_queries(most):
            assert visitor.get(f"/o/acme/{name}?{RANGE}").status_code == 200
