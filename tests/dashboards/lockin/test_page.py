"""The Lock-in page: indices and shares equal what the stored events say, with the rows behind them."""

from collections import defaultdict
from decimal import Decimal

import pytest
from django.test import Client

from governance.tenancy.models import Member, Organization
from tests.dashboards.usage_made import call, events_sql, use

pytestmark = pytest.mark.django_db
RANGE = "range=custom&from=2026-10-20&to=2026-11-18"
BILLED = "billing_mode <> 'subscription' AND cost > 0"


@pytest.fixture
def visitor(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def shares_of(organization: Organization, column: str) -> dict[str, Decimal]:
    rows = dict(events_sql(organization, f"{column}, sum(cost)", where=BILLED, rest="GROUP BY 1"))
    whole = sum(rows.values(), Decimal(0))
    return {key: cost / whole for key, cost in rows.items()}


@pytest.mark.parametrize("kind", ["provider", "maker", "harness"])
def test_index_is_the_sum_of_squared_shares_of_the_events(visitor: Client, varied: Organization, kind: str) -> None:
    panels = {panel["kind"]: panel for panel in visitor.get(f"/o/acme/lock-in?{RANGE}").context["panels"]}
    shares = shares_of(varied, kind)
    squares = sum(share * share for share in shares.values())
    found = panels[kind]["found"]
    assert found.hhi == pytest.approx(squares * 10_000)
    assert found.effective_number == pytest.approx(1 / squares)
    assert {row.key: row.share for row in panels[kind]["table"].every_row} == pytest.approx(shares)


def test_share_through_single_vendor_harnesses_is_that_of_the_events(visitor: Client, varied: Organization) -> None:
    context = visitor.get(f"/o/acme/lock-in?{RANGE}").context
    assert context["bound_share"] == pytest.approx(shares_of(varied, "harness")["claude-code"])
    assert context["direct_share"] == pytest.approx(shares_of(varied, "gateway")[""])
    assert visitor.get(context["bound_href"]).context["total"].cost == dict(events_sql(varied, "harness, sum(cost)", where=BILLED, rest="GROUP BY 1"))["claude-code"]


def test_tokens_count_subscription_usage_too(visitor: Client, varied: Organization) -> None:
    context = visitor.get(f"/o/acme/lock-in?{RANGE}&measure=tokens").context
    tokens = "coalesce(input_tokens, 0) + coalesce(cache_read_tokens, 0) + coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_1h_tokens, 0) + coalesce(output_tokens, 0)"
    ((whole,),) = events_sql(varied, f"sum({tokens})")
    assert sum(part.amount for part in context["providers"].parts) == whole


def test_exposure_is_by_what_was_billed(visitor: Client, varied: Organization) -> None:
    for measure in ("cost", "tokens"):
        exposed = visitor.get(f"/o/acme/lock-in?{RANGE}&rise=50&measure={measure}").context["view"].exposed
        stored = dict(events_sql(varied, "provider, sum(cost)", where=BILLED, rest="GROUP BY 1"))
        assert {row.provider: row.spent for row in exposed} == stored
        assert all(row.extra == row.monthly / 2 for row in exposed)


def test_week_of_the_history_has_the_index_of_its_events(visitor: Client, varied: Organization) -> None:
    chart = visitor.get(f"/o/acme/lock-in?{RANGE}").context["history_chart"]
    weeks: dict[str, list[Decimal]] = defaultdict(list)
    for week, _, cost in events_sql(varied, "date_trunc('week', day)::date, provider, sum(cost)", where=BILLED, rest="GROUP BY 1, 2"):
        weeks[f"{week:%Y-%m-%d}"].append(cost)
    expected = {week: sum((cost / sum(costs)) ** 2 for cost in costs) * 10_000 for week, costs in weeks.items()}
    assert {row[0]: row[1] for row in chart.rows} == {week: f"{index:,.0f}" for week, index in expected.items()}


def test_sessions_on_two_providers_are_found_and_linked(visitor: Client, varied: Organization) -> None:
    use(varied, [call(session="one-vendor"), call(session="one-vendor"), call(session="two/vendors"), call(session="two/vendors", provider="openai", model="gpt-5")])
    answer = visitor.get(f"/o/acme/lock-in/sessions?{RANGE}")
    found = dict(answer.context["spread"].examples)
    stored = dict(events_sql(varied, "session, count(DISTINCT provider)", where="provider <> '' AND session <> ''", rest="GROUP BY 1 HAVING count(DISTINCT provider) > 1"))
    assert found == stored
    assert "two/vendors" in found
    assert "one-vendor" not in found
    assert visitor.get("/o/acme/sessions/two/vendors").status_code == 200


def test_first_answer_reads_no_event(visitor: Client, varied: Organization, django_capture_on_commit_callbacks: object) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    for name in ("", "spend", "routing", "lock-in"):
        with CaptureQueriesContext(connection) as queries:
            assert visitor.get(f"/o/acme/{name}?{RANGE}").status_code == 200
        assert not [query["sql"] for query in queries if '"usage_event"' in query["sql"]], name


@pytest.mark.parametrize("table", ["by-provider", "by-maker", "by-harness", "harnesses", "routes", "exposure"])
def test_every_table_is_a_file_too(visitor: Client, varied: Organization, table: str) -> None:
    answer = visitor.get(f"/o/acme/lock-in?{RANGE}&format=csv&table={table}")
    assert answer["Content-Type"].startswith("text/csv")
    assert len(answer.content.decode().splitlines()) > 1
