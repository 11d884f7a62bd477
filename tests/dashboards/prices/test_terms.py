"""The tabs Terms and Currencies, and a call's arithmetic under a term."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from dashboards.selectors.agreements import balances_drawn, charged_on
from dashboards.selectors.arithmetic import bill_of
from dashboards.selectors.own_prices import own_prices
from governance.pricing.agreements import balance_add, markup_set, term_add
from governance.pricing.book import current_book
from governance.pricing.models import ExchangeRate, RatingProposal, ReferenceRate, Term
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun
from tests.ingest.few_prices import few_prices
from tests.ingest.test_own_terms import rate_of, yuan_model
from tests.ingest.test_store import COST, event, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def visitor(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def typed(form: str, **fields: Any) -> dict[str, Any]:
    return {"form": form, **{f"{form}-{name}": value for name, value in fields.items()}}


def test_a_term_is_previewed_added_shown_and_ended(visitor: Client, admin: Member) -> None:
    last_month = timezone.now().replace(day=1) - timedelta(days=3)
    store(admin, event(1, occurred_at=last_month))
    fields = typed("term", name="Contract 7", provider="anthropic", kind="percent", percent_off="10", currency="USD", first="2026-01-01")
    preview = visitor.post("/o/acme/prices/terms", {**fields, "preview": "1"})
    assert (preview.status_code, Term.objects.count()) == (200, 0)
    effects = preview.context["effects"]
    assert (effects.before, effects.after) == (COST, COST * 9 / 10)
    assert visitor.post("/o/acme/prices/terms", fields).status_code == 302
    made = Term.objects.get()
    assert made.valid_from == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert "Contract 7" in visitor.get("/o/acme/prices/terms").content.decode()
    assert visitor.post("/o/acme/prices/terms", typed("end", what=f"term-{made.pk}")).status_code == 302
    made.refresh_from_db()
    assert made.valid_to is not None


def test_what_is_wrong_is_said_at_its_field(visitor: Client) -> None:
    answer = visitor.post("/o/acme/prices/terms", typed("term", name="x", kind="percent", currency="ABC", first="2026-01-01", percent_off="5"))
    assert answer.status_code == 422
    assert "no currency" in answer.content.decode()


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_day_out_of_all_time_is_refused_in_a_sentence(visitor: Client, day: str) -> None:
    fields = {"name": "Contract 7", "provider": "anthropic", "kind": "percent", "percent_off": "10", "currency": "USD", "first": day, "last": day}
    page = visitor.post("/o/acme/prices/terms", typed("term", **fields))
    assert (page.status_code, page.context["forms"]["term"].errors["last"]) == (422, ["Write a day from 1970 to 2999."])


def test_a_term_finds_its_model_by_any_name_and_one_that_fits_nothing_says_so(visitor: Client) -> None:
    fields = typed("term", name="x", kind="percent", percent_off="10", currency="USD", first="2026-01-01")
    for provider, model in (("anthropic", "anthropic/Claude-Sonnet-4-5"), ("antropic", "")):
        assert visitor.post("/o/acme/prices/terms", {**fields, "term-provider": provider, "term-model": model}).status_code == 302
    table = visitor.get("/o/acme/prices/terms").context["tables"][0]
    state = next(column for column in table.columns if column.key == "state")
    assert {(term.provider, term.model, state.value(term)[0]) for term in table.every_row} == {
        ("anthropic", "claude-sonnet-4-5", "in force"), ("antropic", "", "the book has no such name"),
    }  # fmt: skip


def test_own_terms_of_others_are_not_shown(visitor: Client, other_organization: Organization) -> None:
    Term.objects.create(organization=other_organization, name="Globex secret", percent_off=Decimal(1), valid_from=BEGINNING)
    assert "Globex secret" not in visitor.get("/o/acme/prices/terms").content.decode()


def test_a_call_shows_lines_discount_rate_and_total(admin: Member, team: Team) -> None:
    yuan_model()
    rate_of("EUR", "USD", "1.25")
    rate_of("EUR", "CNY", "8")
    term_add(actor=member_actor(admin), name="Contract 7", valid_from=BEGINNING, provider="zhipu-cn", percent_off=Decimal(25))
    store(admin, event(1, provider="zhipu-cn", model="glm-yuan"))
    bill = bill_of(UsageEvent.objects.get())
    assert [line.cost for line in bill.lines] == ["0.02", "0.008"]
    assert bill.steps == [("Sum", "CNY 0.028"), ("Contract 7, 25 % off", "\u22120.007"), ("1 CNY in USD", "\u00d7 0.15625")]
    assert (bill.stored, bill.listed, bill.difference) == ("USD 0.00328125", "USD 0.004375", "")


def test_a_call_says_what_its_price_does_not_charge(admin: Member) -> None:
    store(admin, event(1, units={"rerank_searches": "3"}), event(2, input_tokens=0, output_tokens=0))
    reranked, empty = (bill_of(call) for call in UsageEvent.objects.order_by("external_id"))
    assert (reranked.uncharged, reranked.difference) == (["Rerank searches 3"], "")
    assert (empty.stored, empty.reason) == ("USD 0", "Nothing that it used is charged for: USD 0.")


def test_a_commitment_is_drawn_down_by_what_its_scope_was_billed(admin: Member, team: Team) -> None:
    actor, today = member_actor(admin), timezone.now().date()
    balance_add(actor=actor, kind="commitment", name="Commit", amount=Decimal(1), starts_on=today - timedelta(days=9), provider="anthropic")
    balance_add(actor=actor, kind="commitment", name="Other", amount=Decimal(1), starts_on=today - timedelta(days=9), provider="openai")
    store(admin, event(1), event(2), event(3, billing_mode="subscription"))
    used = {row.balance.name: row.used for row in balances_drawn(actor)}
    assert used == {"Commit": 2 * COST, "Other": 0}


def test_a_billed_amount_draws_on_one_credit_the_one_that_ends_first(admin: Member, team: Team) -> None:
    actor, today = member_actor(admin), timezone.now().date()
    for name, amount, days in (("late", Decimal(1), 90), ("soon", Decimal("0.006"), 30)):
        balance_add(actor=actor, kind="credit", name=name, amount=amount, starts_on=today - timedelta(days=2), ends_on=today + timedelta(days=days))
    store(admin, event(1), event(2))
    found = {row.balance.name: row for row in balances_drawn(actor)}
    assert (found["soon"].used, found["late"].used) == (Decimal("0.006"), 2 * COST - Decimal("0.006"))
    assert found["soon"].state[0] == "used up"


def test_a_markup_is_charged_on_and_budgets_and_costs_stay(admin: Member, team: Team) -> None:
    actor, today = member_actor(admin), timezone.now().astimezone(admin.organization.zone).date()
    markup_set(actor=actor, percent=Decimal(10), valid_from=today - timedelta(days=40))
    markup_set(actor=actor, percent=Decimal(50), valid_from=today - timedelta(days=40), team=team)
    store(admin, event(1), event(2, team="nobody"))
    found = {line.team: line for line in charged_on(actor, first=today - timedelta(days=1), last=today)}
    assert (found["Platform"].cost, found["Platform"].charged) == (COST, COST * 3 / 2)
    assert found["Not allocated"].charged == COST * 11 / 10


def test_rates_are_added_by_hand_and_by_file(visitor: Client) -> None:
    today = timezone.now().date()
    answer = visitor.post("/o/acme/prices/currencies", typed("rate", base="EUR", rate="1.25", quote="usd", day=f"{today}"))
    assert answer.status_code == 302
    body = SimpleUploadedFile("rates.csv", f"day,base,quote,rate\n{today},EUR,CNY,8\n".encode())
    assert visitor.post("/o/acme/prices/currencies", typed("file", file=body)).status_code == 302
    assert (ExchangeRate.objects.count(), ReferenceRate.objects.count()) == (2, 0)
    page = visitor.get("/o/acme/prices/currencies").content.decode()
    assert "0.15625" in page
    assert visitor.post("/o/acme/prices/currencies", typed("file", file=SimpleUploadedFile("x.csv", b"nonsense"))).status_code == 422


def test_a_rule_is_set(visitor: Client) -> None:
    assert visitor.post("/o/acme/prices/currencies", typed("rule", basis="month", days_good_for="31", valid_from="2026-11-01")).status_code == 302
    assert "one rate for a month" in visitor.get("/o/acme/prices/currencies").content.decode()
    current_book(refresh=True)


def test_a_model_shows_which_term_applies_to_each_of_its_prices(visitor: Client, admin: Member, team: Team) -> None:
    actor = member_actor(admin)
    yuan_model()
    rate_of("CNY", "USD", "0.14")
    term_add(actor=actor, name="All of them", provider="zhipu-cn", percent_off=Decimal(10), valid_from=BEGINNING)
    term_add(actor=actor, name="Platform's", model="glm-yuan", team=team, rates={"input_tokens": "3"}, currency="CNY", valid_from=BEGINNING)
    found = current_book().entry("zhipu-cn", "glm-yuan")
    assert found is not None
    every, platform = own_prices(actor, found, at=timezone.now())
    assert (every.team, every.term and every.term.name, platform.team, [term.name for term in platform.passed]) == ("", "All of them", "Platform", ["All of them"])
    for shown in (every, platform):
        line = shown.lines[0]
        assert line.listed is not None
        charged = line.listed * Decimal("0.9") if shown is every else Decimal(3)
        assert line.own == charged * Decimal("0.14")
    page = visitor.get("/o/acme/prices/models/zhipu-cn/glm-yuan").content.decode()
    assert "10 % off by “All of them” → times 0.14, CNY to" in page


def test_terms_that_begin_in_the_past_offer_the_calls_since_then_to_be_rated_again(visitor: Client, admin: Member) -> None:
    organization, days_ago = admin.organization, [timezone.now() - timedelta(days=days) for days in range(6)]
    term = typed("term", name="Contract 8", provider="anthropic", kind="percent", percent_off="10", currency="USD")
    assert visitor.post("/o/acme/prices/terms", {**term, "term-first": f"{days_ago[5]:%Y-%m-%d}", "term-name": "Too early"}).status_code == 302
    assert not RatingProposal.objects.exists()

    store(admin, event(1, occurred_at=days_ago[3]), event(2, occurred_at=days_ago[1]))
    visitor.post("/o/acme/prices/terms", {**term, "term-first": f"{days_ago[4]:%Y-%m-%d}"})
    offered = RatingProposal.objects.get()
    assert (offered.organization, offered.provider, offered.calls) == (organization, "anthropic", 2)
    assert "“Contract 8” holds since" in visitor.get("/o/acme/prices/terms").content.decode()
    assert visitor.post("/o/acme/prices/changes", {"action": "rate", "proposal": offered.pk}).status_code == 302
    assert ReratingRun.objects.get().providers == ["anthropic"]


def test_rates_of_the_past_offer_the_calls_that_they_convert(visitor: Client, admin: Member) -> None:
    yuan_model()
    rate_of("CNY", "USD", "0.14", days_ago=30)
    at = timezone.now() - timedelta(days=2)
    store(admin, event(1, occurred_at=at, provider="zhipu-cn", model="glm-yuan"), event(2, occurred_at=at))
    first = at - timedelta(days=1)
    for rate, day in (("0.15", first), ("0.16", first - timedelta(days=4))):
        visitor.post("/o/acme/prices/currencies", typed("rate", base="CNY", quote="USD", rate=rate, day=f"{day:%Y-%m-%d}"))
    offered = RatingProposal.objects.get()
    assert (offered.model, offered.calls) == ("glm-yuan", 1)
    visitor.post("/o/acme/prices/currencies", typed("rate", base="SEK", quote="USD", rate="0.1", day=f"{first:%Y-%m-%d}"))
    assert RatingProposal.objects.count() == 1
