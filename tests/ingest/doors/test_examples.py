"""Every example in the API's description is tried: what it says is sent is taken, and what it says is answered is of the shape described."""

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import jsonschema
import pytest
import time_machine
from django.utils import timezone
from rest_framework.test import APIClient

from governance.approvals.policies import policy_set
from governance.approvals.policy import ADMINS, Band, Override, Rules, Step
from governance.approvals.services import request_override
from governance.attribution.models import AttributionRule
from governance.attribution.services import rule_create
from governance.budgets.models import Budget, BudgetPeriod
from governance.budgets.services import budget_create, freeze_start
from governance.pricing.agreements import BalanceFacts, balance_add, term_add
from governance.pricing.book import current_book
from governance.pricing.models import PriceFinding
from governance.pricing.services import prices_load
from governance.pricing.sync.services import list_upload
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role, Scope, Team
from governance.tenancy.months import month_close
from ingest.doors.description import METHODS, openapi
from ingest.importing.services import import_create
from ingest.models import EventSighting, RejectedInput
from ingest.quarantine.services import rule_create as mending_create
from tests.conftest import client_with, key_of, person
from tests.governance.billing.billed_things import billed_things
from tests.ingest.once.told import gateway, harness, told

pytestmark = pytest.mark.django_db
SCOPES = (Scope.INGEST, Scope.AUTHORIZE, Scope.READ)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in openapi()["paths"].items():
        for method in METHODS:
            if method in methods:
                yield path, method, methods[method]


def sent() -> list[Any]:
    """(operation, method, address, media type, body) of every request example."""
    return [
        pytest.param(operation["operationId"], method, path, media_type, example["value"], id=f"{operation['operationId']}-{name}")
        for path, method, operation in operations()
        for media_type, body in operation.get("requestBody", {}).get("content", {}).items()
        for name, example in body.get("examples", {}).items()
    ]


def answered() -> list[Any]:
    """(schema, body) of every answer example that has a schema of its own."""
    return [
        pytest.param(body["schema"], example["value"], id=f"{operation['operationId']}-{status}-{name}")
        for _, _, operation in operations()
        for status, answer in operation["responses"].items()
        for body in answer.get("content", {}).values()
        for name, example in body.get("examples", {}).items()
    ]


def plain(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` as JSON Schema says it."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: plain(value) for key, value in schema.items() if key != "nullable"}
    return {"anyOf": [found, {"type": "null"}]} if schema.get("nullable") is True else found


@pytest.fixture(autouse=True)
def day_of_the_examples() -> Iterator[None]:
    with time_machine.travel("2026-11-21T12:00:00Z"):
        yield


@pytest.fixture
def caller(organization: Organization, engineer: Member) -> APIClient:
    return client_with(key_of(organization, *SCOPES, member=engineer))


def held(caller: APIClient) -> str:
    """The id of an authorization."""
    return str(caller.post("/api/v1/authorizations", {"session": "s-7f31", "amount": "0.25"}, format="json").json()["id"])


def frozen(caller: APIClient, admin: Member, session: str) -> None:
    """A session that has spent more than its budget."""
    prices_load()
    current_book(refresh=True)
    budget_create(
        actor=member_actor(admin), name="Platform session", scope_kind="session", period_kind="session", limit_amount=Decimal("0.01")
    )
    call = {
        "id": "c1",
        "occurred_at": timezone.now().isoformat(),
        "model": "claude-sonnet-4-5",
        "output_tokens": 10_000,
        "session": session,
    }
    assert caller.post("/api/v1/events", call, format="json").status_code == 201
    assert BudgetPeriod.objects.filter(frozen_at__isnull=False).exists()


def filed(caller: APIClient, admin: Member) -> UUID:
    """The id of a request that waits, where admins may override."""
    policy_set(actor=member_actor(admin), team=None, rules=Rules((Band((Step((ADMINS,)),)),), override=Override((ADMINS,), review_days=3)))
    frozen(caller, admin, "s1")
    wanted = {"session": "s1", "amount": "50", "reason": "It is needed."}
    return UUID(caller.post("/api/v1/approvals", wanted, format="json").json()["id"])


def rule_of(admin: Member, name: str) -> AttributionRule:
    """A rule of the organization."""
    return rule_create(actor=member_actor(admin), name=name, conditions=[{"field": "harness", "op": "is", "values": [name]}], role="worker")


def price_that_waits() -> int:
    """The id of a finding that somebody has to decide."""
    prices_load()
    list_upload(actor=None, provider="anthropic", body=b"model,input,output\nclaude-sonnet-4-5,3000,15000\n")
    return int(PriceFinding.objects.get(state="waiting").pk)


def month(admin: Member, name: str, limit: str, team: Team | None) -> Budget:
    """A budget of a month, the team's or everybody's."""
    scope = "organization" if team is None else "team"
    return budget_create(
        actor=member_actor(admin), name=name, scope_kind=scope, team=team, period_kind="month", limit_amount=Decimal(limit)
    )


DECIDERS = (
    "budgets_", "approval", "freezes_", "delegations_", "rerating_", "month_", "price", "plans_", "seats_", "fleets_", "exchange_", "import_", "attribution_", "organization_", "member_",
    "call_", "trust_", "quarantine_",
)  # fmt: skip


@pytest.mark.parametrize(("operation", "method", "path", "media_type", "body"), sent())
def test_what_is_said_to_be_sent_is_taken(
    operation: str,
    method: str,
    path: str,
    media_type: str,
    body: Any,
    caller: APIClient,
    admin: Member,
    organization: Organization,
    team: Team,
) -> None:
    client = caller
    if operation.startswith(DECIDERS) and operation != "approvals_file":
        client = client_with(key_of(organization, *Scope, member=admin, name="decider"))
    if operation in ("authorizations_settle", "authorizations_extend"):
        path = path.format(authorization_id=held(caller))
    elif operation == "events_format_post":
        path = path.format(format_name="litellm")
    elif operation in ("authorizations_hold", "prices_names_add"):
        prices_load()
        current_book(refresh=True)
    elif operation == "price_terms_end":
        term = term_add(actor=member_actor(admin), name="MSA", valid_from=timezone.now(), percent_off=Decimal(5))
        path = path.format(term_id=term.pk)
    elif operation == "price_balances_end":
        facts: BalanceFacts = {"kind": "credit", "name": "Start", "amount": Decimal(5), "starts_on": date(2026, 11, 1)}
        path = path.format(balance_id=balance_add(actor=member_actor(admin), **facts).pk)
    elif operation == "price_finding_decide":
        path = path.format(finding_id=price_that_waits())
    elif operation.startswith("month_"):
        path = path.format(month="2026-10")
        if operation == "month_reopen":
            month_close(actor=member_actor(admin), month=date(2026, 10, 1), reason="Reported")
    elif operation == "import_map":
        table = b"day,model,input_tokens\n2026-11-20,claude-sonnet-4-5,1000\n"
        path = path.format(import_id=import_create(actor=member_actor(admin), file_name="october.csv", sent=[table]).pk)
    elif operation == "approvals_file":
        frozen(caller, admin, body["session"])
    elif operation in ("attribution_rule_change", "attribution_rules_order"):
        rules = [rule_of(admin, name) for name in ("One", "Two")]
        path = path.format(attribution_id=rules[0].pk)
        body = body if operation == "attribution_rule_change" else {"rule_ids": [rule.pk for rule in reversed(rules)]}
    elif operation == "call_split":
        told(organization, "otlp", harness())
        told(organization, "litellm", gateway())
        second = EventSighting.objects.get(source="gateway:litellm")
        path = path.format(call_id=second.event_id, sighting_id=second.pk)
    elif operation == "call_join":
        first, other = told(organization, "otlp", harness())[0], told(organization, "litellm", gateway(output_tokens=80))[0]
        path, body = path.format(call_id=first.id), body | {"other": other.id}
    elif operation == "quarantine_input_replay":
        misspelt = {"id": "c1", "occurred_at": timezone.now().isoformat(), "model": "gpt-5", "user_name": "anna"}
        assert caller.post("/api/v1/events", misspelt, format="json").status_code == 422
        mending_create(actor=member_actor(admin), action="rename", field="user_name", target="member")
        path = path.format(rejected_id=RejectedInput.objects.get().pk)
    elif operation == "quarantine_rule_change":
        path = path.format(mending_id=mending_create(actor=member_actor(admin), action="number", field="input_tokens").pk)
    elif operation == "member_alias_add":
        path = path.format(member_id=admin.pk)
    elif operation == "freezes_end":
        path = path.format(freeze_id=freeze_start(actor=member_actor(admin), scope_kind="model", scope_key="gpt-5", reason="leaks prompts").pk)
    elif operation == "approval_team_policy_set":
        path = path.format(team_slug=team.slug)
    elif operation == "delegations_create":
        person(organization, email=body["delegate"], role=Role.ADMIN)
    elif operation.startswith("approvals_"):
        request_id = filed(caller, admin)
        path = path.format(request_id=request_id)
        if operation == "approvals_review":
            overrider = person(organization, email="second@acme.example", role=Role.ADMIN)
            request_override(actor=member_actor(overrider), request_id=request_id, reason="The release is blocked.")
    elif "{budget_id}" in path:
        path = path.format(budget_id=month(admin, "Platform", "500", team).pk)
        if operation == "budgets_transfer":
            body = body | {"to": month(admin, "Everybody", "5000", None).pk}
            held(caller)  # begins the windows of both
    elif operation.startswith(("plans_", "seats_", "fleets_")):
        billed = billed_things(admin)
        path = billed.path(path)
        if operation == "seats_give":
            body = body | {"plan": billed.plan.pk, "member": person(organization, email="kim@acme.example", role=Role.ENGINEER).user.email}
    data = body if isinstance(body, str) else json.dumps(body)
    response = client.generic(method.upper(), path, data, content_type=media_type)
    assert response.status_code in (200, 201, 202), response.content
    answer = json.loads(response.content)
    assert answer.get("rejected", 0) == 0
    if path.endswith(("/logs", "/metrics")):
        assert answer == {}


@pytest.mark.parametrize(("schema", "body"), answered())
def test_what_is_said_to_be_answered_is_of_the_shape_described(schema: dict[str, Any], body: Any) -> None:
    components = plain(openapi()["components"])
    jsonschema.validate(body, {**plain(schema), "components": components}, cls=jsonschema.Draft202012Validator)


def test_real_answers_are_of_the_shape_described(caller: APIClient, admin: Member, team: Team) -> None:
    authorization_id = held(caller)
    frozen(caller, admin, "s1")
    refused = {"session": "s1", "amount": "1"}
    found = [
        ("/api/v1/sessions/{key}", "get", "200", caller.get("/api/v1/sessions/s1")),
        ("/api/v1/prices", "get", "200", caller.get("/api/v1/prices?model=claude-sonnet-4-5")),
        ("/api/v1/authorizations", "post", "402", caller.post("/api/v1/authorizations", refused, format="json")),
        ("/api/v1/authorizations/{authorization_id}", "get", "200", caller.get(f"/api/v1/authorizations/{authorization_id}")),
        ("/api/v1/approvals", "get", "200", caller.get("/api/v1/approvals")),
    ]
    for path, method, status, response in found:
        assert response.status_code == int(status)
        content = openapi()["paths"][path][method]["responses"][status]["content"]
        schema = plain(next(iter(content.values()))["schema"])
        jsonschema.validate(json.loads(response.content), {**schema, "components": plain(openapi()["components"])})


def test_every_operation_shows_an_answer_or_says_that_there_is_none() -> None:
    bare = [
        operation["operationId"]
        for _, _, operation in operations()
        if "204" not in operation["responses"]
        and not any(body.get("examples") for answer in operation["responses"].values() for body in answer.get("content", {}).values())
    ]
    assert bare == []


def test_every_operation_says_what_a_bad_key_is_answered() -> None:
    for _, _, operation in operations():
        assert {"401", "403"} <= set(operation["responses"])
