"""The Spend page: its rows equal the stored events, and every figure leads to the calls it is made of."""

import csv
import re
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
import time_machine
from django.test import Client

from dashboards.components.figures import plain_decimal
from dashboards.insights.figures import MEASURES
from dashboards.selectors.dimensions import DIMENSIONS
from governance.pricing.agreements import term_add
from governance.tenancy.access import system_actor
from governance.tenancy.models import Member, Organization
from tests.dashboards.usage_made import NOW, call, events_sql, use

pytestmark = pytest.mark.django_db
RANGE = "range=custom&from=2026-10-20&to=2026-11-18"
BILLED = "billing_mode <> 'subscription'"


@pytest.fixture
def visitor(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def test_file_of_every_dimension_equals_the_events(visitor: Client, varied: Organization) -> None:
    for slug, dimension in DIMENSIONS.items():
        answer = visitor.get(f"/o/acme/spend?{RANGE}&by={slug}&format=csv&table=spend-by-{slug}")
        rows = csv.DictReader(answer.content.decode().splitlines())
        stored = events_sql(varied, f"count(*), coalesce(sum(cost) FILTER (WHERE {BILLED}), 0)", rest=f"GROUP BY {dimension.column}")
        assert sorted((int(row["Calls"]), Decimal(row["Billed"] or 0)) for row in rows) == sorted(stored), slug


def test_total_is_exact_on_hover(visitor: Client, varied: Organization) -> None:
    ((cost,),) = events_sql(varied, "sum(cost)", where=BILLED)
    assert f'title="USD {plain_decimal(cost)}"' in visitor.get(f"/o/acme/spend?{RANGE}").content.decode()


def test_change_is_against_the_days_before(visitor: Client, varied: Organization) -> None:
    answer = visitor.get("/o/acme/spend?range=custom&from=2026-11-15&to=2026-11-18")
    ((now,),) = events_sql(varied, "sum(cost)", where=BILLED, first="2026-11-15")
    ((before,),) = events_sql(varied, "sum(cost)", where=BILLED, first="2026-11-11", last="2026-11-14")
    assert (answer.context["total"].cost, answer.context["before"].cost) == (now, before)
    assert "against the period before" in answer.content.decode()


def test_filters_narrow_table_and_chart_alike(visitor: Client, varied: Organization) -> None:
    answer = visitor.get(f"/o/acme/spend?{RANGE}&by=model&provider=anthropic&measure=calls")
    stored = dict(events_sql(varied, "model, count(*)", where="provider = 'anthropic'", rest="GROUP BY model"))
    assert {row.key: row.figures.calls for row in answer.context["table"].rows} == stored
    drawn = {trace.name: sum(trace.y) for trace in answer.context["chart"].figure.data}
    assert drawn == stored


def test_every_figure_leads_to_a_call_and_its_price_row(visitor: Client, varied: Organization) -> None:
    row = _first_link(visitor.get(f"/o/acme/spend?{RANGE}").content.decode(), r'href="([^"]*provider=anthropic[^"]*)"')
    inside = visitor.get("/o/acme/spend" + row if row.startswith("?") else row)
    assert inside.status_code == 200
    address = _first_link(inside.content.decode(), r'href="(/o/acme/sessions/[^"]+)"')
    session = visitor.get(address)
    assert session.status_code == 200
    calls = re.findall(r'(?:hx-get|href)="([^"]*call=[^"]*)"', session.content.decode())
    shown = [visitor.get(_from(address, unescape(link))).content.decode() for link in sorted(set(calls))]
    assert any("Price row" in text for text in shown)


SENSELESS = (
    "by=nonsense", "measure=nonsense", "range=nonsense", "range=custom&from=2026-12-01&to=2026-01-01", "range=custom&from=0001-01-01&to=9999-12-31",
    "range=custom&from=abc", "page=-1", "page=9999999999", "sort=nonsense", "team=999999999999999999999999", "tier=~", "format=csv",
    "range=custom&from=2020-01-01&to=2026-11-18", "model=a&model=b&model=~", "rise=nan", "rise=-5", "rise=1e400",
)  # fmt: skip


@pytest.mark.parametrize("name", ["", "spend", "routing", "lock-in", "lock-in/sessions"])
def test_senseless_addresses_are_answered_with_a_page(visitor: Client, varied: Organization, name: str) -> None:
    assert {query: visitor.get(f"/o/acme/{name}?{query}").status_code for query in SENSELESS} == dict.fromkeys(SENSELESS, 200)
    assert visitor.get(f"/o/acme/{name}?team=%00").status_code == 400


@pytest.mark.parametrize("span", ["today", "7d", "last-month", "custom&from=2026-01-01"])
def test_every_measure_is_drawn_over_every_range(visitor: Client, varied: Organization, span: str) -> None:
    for measure in MEASURES:
        chart = visitor.get(f"/o/acme/spend?range={span}&measure={measure}").context["chart"]
        assert chart is None or len({len(row) for row in chart.rows} | {len(chart.headers)}) == 1


@pytest.mark.parametrize("name", ["spend", "routing", "lock-in", "lock-in/sessions"])
def test_empty_organization_is_told_so(visitor: Client, organization: Organization, name: str) -> None:
    answer = visitor.get(f"/o/acme/{name}")
    assert answer.status_code == 200
    assert "othing was" in answer.content.decode() or "No session" in answer.content.decode()


@pytest.mark.parametrize("name", ["", "spend", "routing", "lock-in", "lock-in/sessions"])
def test_engineers_and_strangers_do_not_see_spend(client: Client, organization: Organization, engineer: Member, stranger: Member, name: str) -> None:
    client.force_login(engineer.user)
    assert client.get(f"/o/acme/{name}").status_code == 403
    client.force_login(stranger.user)
    assert client.get(f"/o/acme/{name}").status_code == 404


def _first_link(page: str, pattern: str) -> str:
    found = re.search(pattern, page)
    assert found, pattern
    return unescape(found[1])


def _from(base: str, link: str) -> str:
    return link if link.startswith("/") else base + link


def test_list_price_stands_beside_cost_where_own_terms_made_it_another(visitor: Client, varied: Organization) -> None:
    assert "taken off by own terms" not in visitor.get(f"/o/acme/spend?{RANGE}").content.decode()
    term_add(actor=system_actor(varied), name="MSA", provider="openai", percent_off=Decimal(20), valid_from=NOW - timedelta(days=40))
    use(varied, [call(provider="openai", model="gpt-5", input_tokens=1_000_000) for _ in range(3)])
    answer = visitor.get(f"/o/acme/spend?{RANGE}")
    ((cost, listed),) = events_sql(varied, "sum(cost), sum(coalesce(list_cost, cost))", where=BILLED)
    total = answer.context["total"]
    assert (total.cost, total.list_cost, total.discount) == (cost, listed, listed - cost)
    assert "taken off by own terms" in answer.content.decode()
    rows = csv.DictReader(visitor.get(f"/o/acme/spend?{RANGE}&by=provider&format=csv&table=spend-by-provider").content.decode().splitlines())
    found = {row["Provider"]: Decimal(row["At list price"] or 0) - Decimal(row["Billed"] or 0) for row in rows}
    assert {name for name, discount in found.items() if discount} == {"OpenAI"}
    with time_machine.travel(NOW):
        page = visitor.get("/o/acme/").content.decode()
    assert "taken off by own terms" in page
