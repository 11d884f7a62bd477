"""The Lock-in page: indices and shares equal what the stored events say, with the rows behind them."""

import re
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
from django.test import Client

from governance.tenancy.models import Member, Organization
from tests.dashboards.usage_made import NOW, call, events_sql, use

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


def sessions_of_events(organization: Organization, first: str, last: str) -> dict[str, int]:
    """{session: providers of all its calls} of the sessions with two or more calls and one from first to last, by the events."""
    in_range = "session IN (SELECT session FROM usage_event WHERE organization_id = e.organization_id AND (occurred_at AT TIME ZONE 'Europe/Berlin')::date BETWEEN '{}' AND '{}')"
    named = "count(DISTINCT provider) FILTER (WHERE provider <> '')"
    return dict(
        events_sql(
            organization, f"session, {named}", where=f"session <> '' AND {in_range.format(first, last)}", rest="GROUP BY 1 HAVING count(*) > 1",
            first="2026-01-01", last="2026-12-31",
        )
    )  # fmt: skip


def listed(visitor: Client, href: str) -> set[str]:
    rows = visitor.get(f"{href}&format=csv").content.decode().splitlines()
    return {row.partition(",")[0] for row in rows[1:]}


SPREAD = {
    "one-vendor": [("anthropic", 1), ("anthropic", 2)], "two/vendors": [("anthropic", 1), ("openai", 2)], "three": [("deepseek", 1), ("openai", 2), ("anthropic", 90)],
    "one-named": [("anthropic", 1), ("", 2)], "one-call": [("openai", 1)], "none-named": [("", 1), ("", 3)], "around": [("openai", 1), ("anthropic", 24 * 6)],
    "across": [("openai", 1), ("anthropic", 24 * 4), ("openai", 24 * 6)], "before": [("openai", 24 * 5), ("deepseek", 24 * 6)],
}  # fmt: skip


@pytest.mark.parametrize(("first", "last"), [("2026-10-20", "2026-11-18"), ("2026-11-13", "2026-11-15"), ("2026-11-14", "2026-11-14"), ("2026-11-18", "2026-11-18"), ("2026-05-01", "2026-05-31")])
def test_share_on_several_providers_is_that_of_all_events_and_leads_to_its_sessions(visitor: Client, varied: Organization, first: str, last: str) -> None:
    use(
        varied,
        [call(session=session, provider=provider, model="m", occurred_at=NOW - timedelta(hours=hours)) for session, calls in SPREAD.items() for provider, hours in calls],
    )
    answer = visitor.get(f"/o/acme/lock-in/sessions?range=custom&from={first}&to={last}")
    spread, stored = answer.context["spread"], sessions_of_events(varied, first, last)
    several = {session for session, providers in stored.items() if providers > 1}
    assert (spread.sessions, spread.spread) == (len(stored), len(several))
    assert spread.share == (Decimal(len(several)) / len(stored) if stored else None)
    assert {key for key, *_ in spread.shown} == several
    page = unescape(answer.content.decode())
    assert "ample" not in page
    found = re.findall(r'href="(/o/acme/sessions\?[^"]*)"', page)
    assert len(found) == bool(stored)
    assert [listed(visitor, href) for href in found] == [several] * len(found)


def test_share_on_several_providers_is_exact_for_more_sessions_than_are_shown(visitor: Client, varied: Organization) -> None:
    calls = [call(session=f"many-{number}", provider=provider, model="m") for number in range(120) for provider in ("openai", "anthropic" if number % 3 else "openai")]
    use(varied, calls)
    spread = visitor.get(f"/o/acme/lock-in/sessions?{RANGE}").context["spread"]
    stored = sessions_of_events(varied, "2026-10-20", "2026-11-18")
    assert (spread.sessions, spread.spread) == (len(stored), sum(providers > 1 for providers in stored.values()))
    assert spread.spread >= 80
    assert len(spread.shown) == 10


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
