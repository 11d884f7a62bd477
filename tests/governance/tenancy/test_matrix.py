"""Every role before every page, and every scope before every address of the API: the whole table, both ways."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from governance.audit.models import AuditRecord
from governance.tenancy.models import Member, Organization, Role, Scope
from tests.architecture.addresses import filled, patterns
from tests.conftest import client_with, key_of, person
from tests.governance.tenancy.conftest import Things

ALL = frozenset(Role)
SPENDING = ALL - {Role.ENGINEER}
MANAGING = frozenset({Role.OWNER, Role.ADMIN})
BUDGETING = MANAGING | {Role.FINANCE}
RECORD = frozenset({Role.OWNER, Role.ADMIN, Role.FINANCE, Role.AUDITOR})
ASKING = ALL - {Role.AUDITOR}
# Who may open each page. A new page fails here until somebody says who it is for.
PAGES: dict[str, frozenset[Role]] = {
    "overview": SPENDING, "first-event": SPENDING, "spend": SPENDING, "routing": SPENDING, "lockin": SPENDING, "lockin-sessions": SPENDING, "prices-unpriced": SPENDING,
    "prices-seats": SPENDING, "prices-plan": BUDGETING, "prices-hardware": SPENDING, "prices-fleet": BUDGETING,
    "prices": ALL, "price-model": ALL, "prices-names": SPENDING, "prices-add": BUDGETING, "prices-runs": RECORD, "prices-run": RECORD, "prices-run-new": BUDGETING, "prices-months": RECORD,
    "prices-changes": SPENDING, "price-reading": SPENDING, "prices-disagreements": SPENDING,
    "prices-terms": RECORD, "prices-currencies": SPENDING,
    "sessions": ALL, "session": ALL, "call": ALL,
    "budgets": ALL, "budget": ALL, "freezes": ALL, "approvals": ALL, "request": ALL, "request-link": ALL, "notifications": ALL, "my-usage": ALL, "search": ALL,
    "settings-policies": BUDGETING, "settings-policy": BUDGETING, "settings-team-policy": BUDGETING, "delegate": ASKING, "request-new": ASKING, "budget-new": BUDGETING, "settings-record": RECORD,
    # Who may read the record only is sent to it.
    "settings": RECORD,
    "settings-teams": MANAGING, "settings-team": MANAGING, "settings-project-add": MANAGING, "settings-members": MANAGING, "settings-member": MANAGING,
    "settings-accounts": MANAGING, "settings-account": MANAGING, "settings-keys": MANAGING, "settings-key": MANAGING, "settings-connections": MANAGING, "settings-connections-key": MANAGING,
    "settings-connection": MANAGING, "settings-connection-test": MANAGING, "settings-connection-wait": MANAGING,
    "settings-channels": MANAGING, "settings-channel": MANAGING, "settings-delivery": MANAGING, "settings-mail": MANAGING,
    "settings-intake": MANAGING, "settings-rejected": MANAGING, "settings-labels": MANAGING,
    "settings-quarantine-again": MANAGING, "settings-quarantine-rule": MANAGING, "settings-quarantine-switch": MANAGING,
    "settings-once": MANAGING, "settings-imports": MANAGING, "settings-import": MANAGING,
    "settings-attribution": MANAGING, "settings-attribution-new": MANAGING, "settings-attribution-test": MANAGING, "settings-attribution-rule": MANAGING,
    "settings-attribution-people": MANAGING, "settings-attribution-run-new": MANAGING, "settings-attribution-run": MANAGING,
    "settings-guard": MANAGING, "settings-guard-new": MANAGING, "settings-guard-rule": MANAGING, "settings-guard-trial": MANAGING, "guard-finding": ALL,
}  # fmt: skip
# Whom a form on the page obeys, where that is fewer than may look.
FREEZING = frozenset({Role.OWNER, Role.ADMIN, Role.APPROVER})
CHANGING: dict[str, frozenset[Role]] = {
    "settings": MANAGING, "session": FREEZING, "call": MANAGING, "freezes": FREEZING, "budget": BUDGETING, "guard-finding": ASKING - {Role.FINANCE},
    "prices-run": BUDGETING, "prices-months": BUDGETING, "prices-changes": BUDGETING,
    "prices-terms": BUDGETING, "prices-currencies": BUDGETING, "prices-names": BUDGETING,
    "prices-seats": BUDGETING, "prices-hardware": BUDGETING,
}
ROUTES = {name: route for name, route, _ in patterns() if route.startswith("o/")}
READ_ONLY = {name for name in PAGES if name in {
    "overview", "first-event", "spend", "routing", "lockin", "lockin-sessions", "prices-unpriced", "prices", "price-model", "prices-runs", "price-reading", "prices-disagreements",
    "sessions", "budgets", "approvals", "my-usage", "search", "settings-record",
    "settings-intake", "settings-labels", "settings-connections", "settings-connection-wait", "settings-policies", "settings-guard", "settings-guard-trial",
}}  # fmt: skip
# What belongs to no organization: the price book and the clients that can be connected are the same for all.
COMMON = {"price-model", "price-reading", "settings-connection", "settings-connection-test"}
# A request is looked at by all who see it; what each may post there is tests/governance/approvals' subject.
FORMS = sorted(set(PAGES) - READ_ONLY - {"request", "request-link"})


def test_table_names_every_page() -> None:
    assert set(PAGES) == set(ROUTES)


@pytest.mark.parametrize("role", Role)
def test_role_opens_its_pages_and_no_others(client: Client, people: dict[str, Member], things: Things, role: Role) -> None:
    client.force_login(people[role].user)
    answers = {name: client.get(filled(route, **things.parts)).status_code for name, route in ROUTES.items()}
    opened = {name for name, status in answers.items() if status in (200, 204, 302)}
    assert opened == {name for name, roles in PAGES.items() if role in roles}
    assert {status for name, status in answers.items() if name not in opened} <= {403}


@pytest.mark.parametrize("role", Role)
def test_role_changes_what_it_may_and_nothing_else(client: Client, people: dict[str, Member], things: Things, role: Role) -> None:
    client.force_login(people[role].user)
    answers = {name: client.post(filled(ROUTES[name], **things.parts), {"action": "freeze"}).status_code for name in FORMS}
    refused = {name for name, status in answers.items() if status == 403}
    assert refused == {name for name in FORMS if role not in CHANGING.get(name, PAGES[name])}
    assert {status for name, status in answers.items() if name not in refused} <= {200, 302, 400, 409, 422}


@pytest.mark.parametrize("role", Role)
def test_nobody_changes_anything_where_pages_only_show(client: Client, people: dict[str, Member], things: Things, role: Role) -> None:
    client.force_login(people[role].user)
    before = AuditRecord.objects.count()
    for name in READ_ONLY:
        client.post(filled(ROUTES[name], **things.parts))
    assert AuditRecord.objects.count() == before


@pytest.mark.parametrize("role", Role)
def test_the_same_role_elsewhere_sees_nothing_here(client: Client, things: Things, other_organization: Organization, role: Role) -> None:
    client.force_login(person(other_organization, email=f"{role}@globex.example", role=role).user)
    for name, route in ROUTES.items():
        for method in (client.get, client.post):
            assert method(filled(route, **things.parts)).status_code in (404, 405), name


@pytest.mark.parametrize("role", Role)
def test_a_role_of_ones_own_does_not_open_others_things_under_its_address(client: Client, things: Things, other_organization: Organization, role: Role) -> None:
    """The own slug with somebody else's ids."""
    client.force_login(person(other_organization, email=f"{role}@globex.example", role=role).user)
    for name, route in ROUTES.items():
        if route.count("<") > 1 and name not in COMMON:
            address = filled(route, **{**things.parts, "slug": other_organization.slug})
            for method in (client.get, client.post):
                answer = method(address)
                assert answer.status_code in (302, 403, 404, 405), name
                assert b"Platform session" not in answer.content, name


def test_a_colleague_does_not_see_an_engineers_session(client: Client, organization: Organization, things: Things) -> None:
    client.force_login(person(organization, email="colleague@acme.example", role=Role.ENGINEER).user)
    assert client.get(filled(ROUTES["session"], **things.parts)).status_code == 404
    assert client.get(filled(ROUTES["request"], **things.parts)).status_code == 404
    assert things.key.encode() not in client.get(filled(ROUTES["sessions"], **things.parts)).content
    assert f"sessions/{things.key}".encode() not in client.get(filled(ROUTES["search"], **things.parts) + f"?q={things.key}").content


def test_a_member_who_was_deactivated_sees_nothing(client: Client, people: dict[str, Member], things: Things) -> None:
    member = people[Role.ADMIN]
    client.force_login(member.user)
    member.is_active = False
    member.save()
    assert {client.get(filled(route, **things.parts)).status_code for route in ROUTES.values()} == {404}


# The scope each method of the API takes.
DOORS: dict[str, dict[str, Scope]] = {
    "api-events": {"post": Scope.INGEST}, "api-events-format": {"post": Scope.INGEST},
    "otlp-logs": {"post": Scope.INGEST}, "otlp-metrics": {"post": Scope.INGEST}, "otlp-traces": {"post": Scope.INGEST},
    "api-authorizations": {"post": Scope.AUTHORIZE}, "api-authorization": {"get": Scope.AUTHORIZE, "delete": Scope.AUTHORIZE},
    "api-authorization-settle": {"post": Scope.AUTHORIZE}, "api-authorization-extend": {"post": Scope.AUTHORIZE},
    "api-authorizations-batch": {"post": Scope.AUTHORIZE}, "api-session": {"get": Scope.READ}, "api-prices": {"get": Scope.READ},
    "api-price-runs": {"get": Scope.READ, "post": Scope.ADMIN}, "api-price-run": {"get": Scope.READ},
    "api-price-findings": {"get": Scope.READ}, "api-price-finding": {"post": Scope.ADMIN}, "api-price-disagreements": {"get": Scope.READ},
    "api-prices-models": {"get": Scope.READ}, "api-prices-read": {"get": Scope.READ}, "api-prices-names": {"get": Scope.READ, "post": Scope.ADMIN},
    "api-prices-name": {"delete": Scope.ADMIN},
    "api-budgets": {"get": Scope.READ, "post": Scope.ADMIN}, "api-budgets-preview": {"post": Scope.ADMIN},
    "api-budget": {"get": Scope.READ, "patch": Scope.ADMIN}, "api-budget-preview": {"post": Scope.ADMIN}, "api-budget-retire": {"post": Scope.ADMIN},
    "api-budget-transfer": {"post": Scope.ADMIN},
    "api-approvals": {"get": Scope.READ, "post": Scope.AUTHORIZE}, "api-approval": {"get": Scope.READ, "delete": Scope.AUTHORIZE},
    "api-approval-decision": {"post": Scope.ADMIN}, "api-approval-override": {"post": Scope.ADMIN}, "api-approval-review": {"post": Scope.ADMIN},
    "api-freezes": {"get": Scope.READ, "post": Scope.ADMIN}, "api-freeze": {"get": Scope.READ}, "api-freeze-end": {"post": Scope.ADMIN},
    "api-approval-policies": {"get": Scope.READ}, "api-approval-policy": {"get": Scope.READ, "put": Scope.ADMIN, "delete": Scope.ADMIN},
    "api-approval-team-policy": {"get": Scope.READ, "put": Scope.ADMIN, "delete": Scope.ADMIN},
    "api-delegations": {"get": Scope.READ, "post": Scope.ADMIN}, "api-delegation": {"delete": Scope.ADMIN},
    "api-check": {"get": Scope.AUTHORIZE}, "api-check-path": {"get": Scope.AUTHORIZE, "post": Scope.AUTHORIZE, "put": Scope.AUTHORIZE},
    "api-policy": {"get": Scope.AUTHORIZE}, "api-stream": {"get": Scope.READ},
    "api-guard-findings": {"get": Scope.READ},
    "api-call-reports": {"get": Scope.READ}, "api-call-split": {"post": Scope.ADMIN}, "api-call-join": {"post": Scope.ADMIN},
    "api-call-pairs": {"get": Scope.ADMIN}, "api-call-pair-join": {"post": Scope.ADMIN}, "api-call-pair-apart": {"post": Scope.ADMIN},
    "api-order-of-trust": {"get": Scope.READ, "put": Scope.ADMIN}, "api-coverage": {"get": Scope.READ},
    "api-imports": {"get": Scope.ADMIN, "post": Scope.ADMIN}, "api-import": {"get": Scope.ADMIN, "patch": Scope.ADMIN}, "api-import-preview": {"get": Scope.ADMIN},
    "api-import-refused": {"get": Scope.ADMIN}, "api-import-start": {"post": Scope.ADMIN}, "api-import-pause": {"post": Scope.ADMIN},
    "api-import-cancel": {"post": Scope.ADMIN}, "api-import-undo": {"post": Scope.ADMIN},
    "api-quarantine": {"get": Scope.ADMIN}, "api-quarantine-kinds": {"get": Scope.ADMIN}, "api-quarantine-replay": {"post": Scope.ADMIN},
    "api-quarantine-input": {"get": Scope.ADMIN}, "api-quarantine-input-replay": {"post": Scope.ADMIN},
    "api-quarantine-rules": {"get": Scope.ADMIN, "post": Scope.ADMIN}, "api-quarantine-rule": {"get": Scope.ADMIN, "put": Scope.ADMIN, "delete": Scope.ADMIN},
    "api-quarantine-rule-try": {"post": Scope.ADMIN},
    "api-rerating-runs": {"get": Scope.READ, "post": Scope.ADMIN}, "api-rerating-run": {"get": Scope.READ}, "api-rerating-run-start": {"post": Scope.ADMIN},
    "api-rerating-run-pause": {"post": Scope.ADMIN}, "api-rerating-run-cancel": {"post": Scope.ADMIN},
    "api-attribution-rules": {"get": Scope.READ, "post": Scope.ADMIN}, "api-attribution-rule": {"get": Scope.READ, "put": Scope.ADMIN, "delete": Scope.ADMIN},
    "api-attribution-order": {"put": Scope.ADMIN}, "api-attribution-test": {"post": Scope.ADMIN}, "api-attribution-try": {"post": Scope.ADMIN},
    "api-attribution-runs": {"get": Scope.READ, "post": Scope.ADMIN}, "api-attribution-run": {"get": Scope.READ}, "api-attribution-run-start": {"post": Scope.ADMIN},
    "api-attribution-run-pause": {"post": Scope.ADMIN}, "api-attribution-run-cancel": {"post": Scope.ADMIN},
    "api-members": {"get": Scope.ADMIN}, "api-member-aliases": {"post": Scope.ADMIN, "delete": Scope.ADMIN},
    "api-months": {"get": Scope.READ}, "api-month-close": {"post": Scope.ADMIN}, "api-month-reopen": {"post": Scope.ADMIN},
    "api-plans": {"get": Scope.READ, "post": Scope.ADMIN}, "api-plan": {"get": Scope.READ, "patch": Scope.ADMIN}, "api-plan-end": {"post": Scope.ADMIN},
    "api-seats": {"get": Scope.READ, "post": Scope.ADMIN}, "api-seat-end": {"post": Scope.ADMIN},
    "api-fleets": {"get": Scope.READ, "post": Scope.ADMIN}, "api-fleet": {"get": Scope.READ, "patch": Scope.ADMIN},
    "api-fleet-end": {"post": Scope.ADMIN}, "api-fleet-hours": {"post": Scope.ADMIN},
    "api-price-terms": {"get": Scope.READ, "post": Scope.ADMIN}, "api-price-term-end": {"post": Scope.ADMIN},
    "api-price-balances": {"get": Scope.READ, "post": Scope.ADMIN}, "api-price-balance-end": {"post": Scope.ADMIN},
    "api-price-markups": {"get": Scope.READ, "post": Scope.ADMIN},
    "api-exchange-rates": {"get": Scope.READ, "post": Scope.ADMIN}, "api-exchange-rates-file": {"post": Scope.ADMIN},
    "api-exchange-rules": {"get": Scope.READ, "post": Scope.ADMIN}, "api-organization-currency": {"get": Scope.READ, "put": Scope.ADMIN},
}  # fmt: skip
API = {name: route for name, route, _ in patterns() if route.startswith(("api/v1/", "otlp/"))}
ASKED = [(name, method) for name, methods in DOORS.items() for method in methods]


def says(name: str, answer: Any, code: str) -> bool:
    """Whether the refusal is a problem document of this code; the telemetry doors answer in their protocol's own form instead."""
    return name.startswith("otlp-") or (answer["Content-Type"], answer.json()["code"]) == ("application/problem+json", code)


def test_table_names_every_address_of_the_api() -> None:
    assert set(DOORS) == set(API)


@pytest.mark.parametrize("scope", Scope)
def test_scope_opens_its_doors_and_no_others(organization: Organization, things: Things, scope: Scope) -> None:
    api = client_with(key_of(organization, scope, name="one"))
    answers = {(name, method): getattr(api, method)(filled(API[name], **things.parts), {}) for name, method in ASKED}
    refused = {at for at, answer in answers.items() if answer.status_code == 403 and says(at[0], answer, "permission_denied")}
    assert refused == {(name, method) for name, method in ASKED if DOORS[name][method] != scope}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "key_expired"),
        ({"revoked_at": timezone.now()}, "key_revoked"),
        (None, "key_unknown"),
    ],
)
def test_dead_key_is_told_so_at_every_door(organization: Organization, things: Things, fields: dict[str, object] | None, code: str) -> None:
    key = key_of(organization, *Scope, name="dead", **(fields or {}))
    if fields is None:
        key.row.delete()
    api = client_with(key)
    for name, method in ASKED:
        answer = getattr(api, method)(filled(API[name], **things.parts), {})
        assert answer.status_code == 401, name
        assert says(name, answer, code), name
        assert answer["WWW-Authenticate"].startswith("Bearer"), name


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic abc", "wh_1234"])
def test_malformed_credentials_are_told_so(things: Things, header: str) -> None:
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=header)
    for name, method in ASKED:
        answer = getattr(api, method)(filled(API[name], **things.parts), {}, format="json")
        assert answer.status_code == 401, name
        assert says(name, answer, "key_malformed"), name
