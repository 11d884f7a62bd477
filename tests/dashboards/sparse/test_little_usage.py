"""Every page stands with next to nothing used: one standard model, one model without a price, errors only."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.template import Context, Template
from django.test import Client

from dashboards.components.ranges import Range
from dashboards.selectors.marks import marks_in
from governance.pricing.models import Model, PriceRow, Provider
from governance.tenancy.access import system_actor
from governance.tenancy.models import Member, Organization
from ingest.formats.event import BillingMode
from tests.dashboards.usage_made import NOW, call, use

pytestmark = pytest.mark.django_db
PAGES = ("", "spend", "routing", "lock-in", "sessions", "budgets", "prices/unpriced", "my-usage", "approvals")
LITTLE: dict[str, dict[str, Any]] = {
    "one standard model": {},
    "one unpriced model": {"provider": "", "model": "no-such-model"},
    "errors only": {"status": "error", "input_tokens": None, "output_tokens": None},
    "one subscription call": {"billing_mode": "subscription"},
}


@pytest.fixture
def visitor(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


@pytest.mark.parametrize("kind", LITTLE)
@pytest.mark.parametrize("page", PAGES)
def test_page_stands(visitor: Client, prices: None, at_now: None, organization: Organization, kind: str, page: str) -> None:
    use(organization, [call(**LITTLE[kind], session="only")])
    response = visitor.get(f"/o/acme/{page}", follow=True)
    assert response.status_code == 200


def test_flagships_share_is_zero_without_a_flagship(visitor: Client, prices: None, at_now: None, organization: Organization) -> None:
    use(organization, [call()])
    response = visitor.get("/o/acme/routing")
    assert response.context["brain_share"] == Decimal(0)
    assert b"no flagship was called" in response.content


@pytest.mark.parametrize("tag", ["money", "tokens", "count", "percent", "duration"])
def test_missing_number_is_a_dash(tag: str) -> None:
    shown = Template(f"{{% load weighhouse %}}{{% {tag} nothing.there %}}").render(Context({}))
    assert "\u2013" in shown


def test_only_models_without_a_price_are_listed_as_such(visitor: Client, prices: None, at_now: None, organization: Organization) -> None:
    use(organization, [call(), call(input_tokens=None, output_tokens=None, status="error"), call(provider="", model="no-such-model", input_tokens=7, output_tokens=3)])
    lacking, unmeasured = visitor.get("/o/acme/prices/unpriced").context["tables"]
    assert [(row.model, row.calls, row.tokens) for row in lacking.rows] == [("no-such-model", 1, 10)]
    assert [(row.model, row.unmeasured) for row in unmeasured.rows] == [("claude-sonnet-4-5", 1)]


def test_without_a_price_means_the_same_on_every_page(visitor: Client, varied: Organization) -> None:
    overview = visitor.get("/o/acme/?range=30d").context["shown"]
    spend = visitor.get("/o/acme/spend?range=30d&by=model").context
    lacking = visitor.get("/o/acme/prices/unpriced").context["tables"][0]
    known = overview.totals.lacking_calls
    assert known > 0
    assert overview.waiting.unpriced_calls == spend["total"].lacking_calls == sum(row.calls for row in lacking.every_row) == known
    assert spend["table"].foot["unpriced"] == known


@pytest.mark.parametrize(("billing_mode", "lacking"), [("metered", 1), ("subscription", 0), ("self-hosted", 0)])
def test_only_what_is_billed_by_the_call_lacks_a_price(visitor: Client, prices: None, at_now: None, organization: Organization, billing_mode: BillingMode, lacking: int) -> None:
    use(organization, [call(provider="", model="no-such-model", session="s1", billing_mode=billing_mode), call(session="s1")])
    overview = visitor.get("/o/acme/?range=30d").context["shown"]
    queue = visitor.get("/o/acme/prices/unpriced").context["tables"][0].every_row
    session = visitor.get("/o/acme/sessions/s1").context
    counts = (overview.totals.lacking_calls, overview.waiting.unpriced_calls, visitor.get("/o/acme/spend").context["total"].lacking_calls)
    assert (*counts, sum(row.calls for row in queue), session["without_price"]) == (lacking,) * 5


def test_bar_leads_to_its_day_and_series(visitor: Client, varied: Organization) -> None:
    figure = visitor.get("/o/acme/spend?range=30d&by=provider").context["chart"].figure
    anthropic = next(trace for trace in figure.data if trace.name == "Anthropic")
    assert "provider=anthropic" in anthropic.customdata[-1]
    assert visitor.get(anthropic.customdata[-1]).context["range"].days == [anthropic.x[-1]]


def test_price_of_a_model_that_is_not_shown_is_not_marked(visitor: Client, varied: Organization) -> None:
    span = Range.from_query({"range": "30d"}, varied.zone, NOW)
    model = Model.objects.create(provider=Provider.objects.get(slug="deepseek"), slug="no-such-model", match={"equals": "no-such-model"})
    at = NOW - timedelta(days=3)
    first, second = ({"output_tokens": {"base": base, "per": 1_000_000}} for base in ("1", "2"))
    PriceRow.objects.create(model=model, valid_from=at - timedelta(days=90), valid_to=at, rates=first, source="test")
    PriceRow.objects.create(model=model, valid_from=at, rates=second, source="test")
    actor = system_actor(varied)
    unnamed, anthropic = ([mark.label for mark in marks_in(actor, span, filters={"provider": (slug,)})] for slug in ("", "anthropic"))
    assert any("no-such-model" in label for label in unnamed), unnamed
    assert not any("no-such-model" in label for label in anthropic), anthropic


def test_blended_price_of_one_day_has_no_line(visitor: Client, prices: None, at_now: None, organization: Organization) -> None:
    use(organization, [call()])
    response = visitor.get("/o/acme/")
    assert response.context["shown"].totals.blended_per_mtok
    assert "blended price per day" not in response.content.decode()
