"""Own terms, commitments, markups and exchange rates over the API: who may, whose they are, and what is refused at which field."""

from decimal import Decimal
from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from governance.budgets.services import budget_create
from governance.pricing.models import Balance, ExchangeRate, Markup, Term
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role, Scope, Team
from tests.conftest import client_with, key_of, person

pytestmark = pytest.mark.django_db
TERM: dict[str, Any] = {"name": "MSA", "provider": "anthropic", "percent_off": "12", "valid_from": "2026-11-01T00:00:00Z"}
OWN: dict[str, Any] = {"name": "Order", "model": "qwen-own", "valid_from": "2026-11-01T00:00:00Z", "rates": {"input_tokens": "2.4"}}
BALANCE: dict[str, Any] = {"kind": "commitment", "name": "Committed", "amount": "120000", "starts_on": "2026-01-01", "ends_on": "2027-01-01"}
RATE: dict[str, Any] = {"base": "EUR", "quote": "USD", "day": "2026-11-20", "rate": "1.0841"}


@pytest.fixture
def manage(organization: Organization) -> APIClient:
    return client_with(key_of(organization, Scope.READ, Scope.ADMIN, name="terraform"))


def test_term_is_added_listed_and_ended(manage: APIClient, team: Team) -> None:
    made = manage.post("/api/v1/prices/terms", TERM | {"team": team.slug})
    assert (made.status_code, made.json()["percent_off"], made.json()["team"]) == (201, "12", team.slug), made.json()
    tiered = OWN | {"rates": {"input_tokens": {"base": "2.4", "tiers": [[200000, "4.8"]], "marginal": True}}, "context": {"processing": "batch"}}
    own = manage.post("/api/v1/prices/terms", tiered).json()
    assert own["rates"] == {"input_tokens": {"per": 1_000_000, "base": "2.4", "tiers": [[200000, "4.8"]], "marginal": True}}
    ended = manage.post(f"/api/v1/prices/terms/{made.json()['id']}/end", {"valid_to": "2026-12-01T00:00:00Z"})
    assert (ended.status_code, ended.json()["valid_to"]) == (200, "2026-12-01T00:00:00Z")
    again = manage.post(f"/api/v1/prices/terms/{made.json()['id']}/end", {"valid_to": "2027-12-01T00:00:00Z"})
    assert again.status_code == 409
    assert {row["id"] for row in manage.get("/api/v1/prices/terms").json()["items"]} == {made.json()["id"], own["id"]}


def test_commitment_and_markup_are_added_listed_and_ended(manage: APIClient) -> None:
    made = manage.post("/api/v1/prices/balances", BALANCE)
    assert (made.status_code, made.json()["amount"], made.json()["exchange_rate"]) == (201, "120000", None), made.json()
    ended = manage.post(f"/api/v1/prices/balances/{made.json()['id']}/end", {"ends_on": "2026-12-01"})
    assert ended.json()["ends_on"] == "2026-12-01"
    assert [row["name"] for row in manage.get("/api/v1/prices/balances").json()["items"]] == ["Committed"]
    assert manage.post("/api/v1/prices/markups", {"percent": "4.5", "valid_from": "2026-11-01"}).status_code == 201
    assert [row["percent"] for row in manage.get("/api/v1/prices/markups").json()["items"]] == ["4.5"]


def test_organization_counts_in_another_currency_until_something_was_counted(manage: APIClient, admin: Member) -> None:
    address = "/api/v1/organization/currency"
    assert manage.get(address).json() == {"currency": "USD", "is_fixed": False}
    assert manage.put(address, {"currency": "eur"}).json() == {"currency": "EUR", "is_fixed": False}
    assert manage.put(address, {"currency": "SHL"}).status_code == 422
    admin.organization.refresh_from_db()
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(5))
    assert manage.put(address, {"currency": "USD"}).status_code == 409
    assert manage.get(address).json() == {"currency": "EUR", "is_fixed": True}


def test_months_may_have_one_fixed_rate(manage: APIClient) -> None:
    rule = {"basis": "month", "valid_from": "2026-11-01", "days_good_for": 31}
    assert manage.post("/api/v1/exchange-rates/rules", rule).status_code == 201
    assert manage.post("/api/v1/exchange-rates/rules", rule | {"basis": "year"}).status_code == 422
    assert manage.get("/api/v1/exchange-rates/rules").json() == {"items": [rule]}


@time_machine.travel("2026-11-21T12:00:00Z")
def test_rates_are_added_uploaded_and_listed(manage: APIClient) -> None:
    assert manage.post("/api/v1/exchange-rates", {"rates": [RATE]}).json() == {"added": 1}
    assert manage.post("/api/v1/exchange-rates", {"rates": [RATE]}).json() == {"added": 0}
    text = "day,base,quote,rate\n2026-11-20,EUR,USD,1.0841\n2026-11-21,EUR,CNY,7.8\n"
    assert manage.generic("POST", "/api/v1/exchange-rates/file", text, content_type="text/csv").json() == {"added": 1}
    bank = "<Cube><Cube time='2026-11-19'><Cube currency='GBP' rate='0.84'/></Cube></Cube>"
    assert manage.generic("POST", "/api/v1/exchange-rates/file", bank, content_type="application/xml").json() == {"added": 1}
    found = manage.get("/api/v1/exchange-rates").json()
    assert [(row["quote"], row["day"], row["rate"], row["source"], row["is_own"]) for row in found["items"]] == [
        ("CNY", "2026-11-21", "7.8", "file", True), ("GBP", "2026-11-20", "0.84", "file", True), ("USD", "2026-11-20", "1.0841", "manual", True),
    ]  # fmt: skip
    assert [row["day"] for row in manage.get("/api/v1/exchange-rates?from=2026-11-21").json()["items"]] == ["2026-11-21"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("prices/terms", TERM | {"percent_off": "101"}, "percent_off"), ("prices/terms", TERM | {"percent_off": "0"}, "percent_off"),
        ("prices/terms", TERM | {"valid_from": "2026-11-01T00:00:00"}, "valid_from"), ("prices/terms", TERM | {"valid_from": "0001-01-01T00:00:00Z"}, "valid_from"),
        ("prices/terms", TERM | {"valid_to": "2026-10-01T00:00:00Z"}, "valid_to"), ("prices/terms", TERM | {"name": " "}, "name"),
        ("prices/terms", TERM | {"team": "nobody"}, "team"), ("prices/terms", TERM | {"model": "a\x00b"}, "model"), ("prices/terms", TERM | {"currency": "XXX"}, "currency"),
        ("prices/terms", OWN | {"model": ""}, "model"), ("prices/terms", OWN | {"rates": {"minutes": "1"}}, "rates.minutes"),
        ("prices/terms", OWN | {"rates": {"input_tokens": "-1"}}, "rates"), ("prices/terms", OWN | {"rates": {"input_tokens": {"base": "1e400"}}}, "rates"),
        ("prices/terms", OWN | {"amounts_off": {"input_tokens": "1"}}, "amounts_off"), ("prices/terms", OWN | {"colour": "red"}, None),
        ("prices/balances", BALANCE | {"amount": "0"}, "amount"), ("prices/balances", BALANCE | {"kind": "gift"}, "kind"),
        ("prices/balances", BALANCE | {"ends_on": "2025-01-01"}, "ends_on"), ("prices/balances", BALANCE | {"currency": "CNY"}, "currency"),
        ("prices/markups", {"percent": "1001", "valid_from": "2026-11-01"}, "percent"), ("prices/markups", {"percent": "NaN", "valid_from": "2026-11-01"}, "percent"),
        ("exchange-rates", {"rates": [RATE | {"rate": "0"}]}, "rate"), ("exchange-rates", {"rates": [RATE | {"quote": "EUR"}]}, "quote"),
        ("exchange-rates", {"rates": [RATE | {"day": "2199-01-01"}]}, "day"), ("exchange-rates", {"rates": []}, "rates"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_its_field(manage: APIClient, path: str, body: dict[str, Any], field: str | None) -> None:
    answer = manage.post(f"/api/v1/{path}", body)
    assert (answer.status_code, answer.json().get("field")) == (422, field), answer.json()
    assert not any(model.objects.exists() for model in (Term, Balance, Markup, ExchangeRate))


@pytest.mark.parametrize("text", ["", "day,base,quote,rate\n", "day,base,quote,rate\n2026-11-20,EUR,USD,1\n2026-11-20,EUR,USD,x\n", "PK broken", "<a><b></a>"])
def test_file_that_is_wrong_in_any_part_changes_nothing(manage: APIClient, text: str) -> None:
    assert manage.generic("POST", "/api/v1/exchange-rates/file", text, content_type="text/csv").status_code == 422
    assert not ExchangeRate.objects.exists()


def test_file_that_is_too_large_is_refused(manage: APIClient) -> None:
    assert manage.generic("POST", "/api/v1/exchange-rates/file", "x" * 2_200_000, content_type="text/csv").status_code == 422


@pytest.mark.parametrize("query", ["from=soon", "from=2026-11-02&to=2026-11-01", "from=2020-01-01&to=2026-01-01"])
def test_days_that_cannot_be_are_refused(manage: APIClient, query: str) -> None:
    assert manage.get(f"/api/v1/exchange-rates?{query}").status_code == 422


def test_same_key_adds_one_term(manage: APIClient) -> None:
    answers = [manage.post("/api/v1/prices/terms", TERM, headers={"Idempotency-Key": "t-1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert Term.objects.count() == 1


def test_strangers_see_and_change_nothing(manage: APIClient, other_organization: Organization, team: Team) -> None:
    term, balance = (manage.post(f"/api/v1/prices/{path}", body).json()["id"] for path, body in (("terms", TERM), ("balances", BALANCE)))
    manage.post("/api/v1/exchange-rates", {"rates": [RATE]})
    stranger = client_with(key_of(other_organization, Scope.READ, Scope.ADMIN))
    for path in ("prices/terms", "prices/balances", "prices/markups", "exchange-rates?from=2026-11-01&to=2026-12-01"):
        assert stranger.get(f"/api/v1/{path}").json()["items"] == [], path
    assert stranger.post(f"/api/v1/prices/terms/{term}/end", {"valid_to": "2026-12-01T00:00:00Z"}).status_code == 404
    assert stranger.post(f"/api/v1/prices/balances/{balance}/end", {"ends_on": "2026-12-01"}).status_code == 404
    assert stranger.post("/api/v1/prices/terms", TERM | {"team": team.slug}).json()["field"] == "team"


def test_keys_of_members_reach_as_far_as_their_roles(organization: Organization, team: Team) -> None:
    for role, reads, adds in ((Role.FINANCE, 200, 201), (Role.AUDITOR, 200, 403), (Role.APPROVER, 403, 403), (Role.ENGINEER, 403, 403)):
        member = person(organization, email=f"{role}@acme.example", role=role, team=team)
        client = client_with(key_of(organization, Scope.READ, Scope.ADMIN, name=role, member=member))
        assert client.get("/api/v1/prices/terms").status_code == reads, role
        assert client.post("/api/v1/prices/terms", TERM).status_code == adds, role
