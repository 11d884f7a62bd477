"""Approvals over the API: scopes, people behind keys, answers and problem documents."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from governance.approvals import examples
from governance.approvals.models import ApprovalRequest, Decision
from governance.approvals.policies import policy_set
from governance.approvals.policy import ADMINS, APPROVERS, FINANCE, Automatic, Band, Override, Rules, Step
from governance.budgets.models import BudgetPeriod, TopUp
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role, Scope
from tests.conftest import client_with, key_of, person
from tests.governance.approvals.conftest import FROZEN_SESSION, session_of

EVERY_SCOPE = (Scope.INGEST, Scope.AUTHORIZE, Scope.READ, Scope.ADMIN)
APPROVALS = "/api/v1/approvals"


def client_of(member: Member, *scopes: Scope) -> APIClient:
    """A client with the member's own key."""
    name = f"{member.user.email}:{','.join(scopes)}:{timezone.now().timestamp()}"
    return client_with(key_of(member.organization, *(scopes or EVERY_SCOPE), name=name[:120], member=member))


def ask(client: APIClient, period: BudgetPeriod, **fields: Any) -> Any:
    return client.post(APPROVALS, {"budget_period": period.pk, "amount": "50", "reason": "Nearly done."} | fields)


def filed(member: Member, period: BudgetPeriod) -> str:
    return str(ask(client_of(member), period).json()["id"])


@pytest.fixture
def url(engineer: Member, frozen: BudgetPeriod) -> str:
    """The engineer's request for 50 USD."""
    return f"{APPROVALS}/{filed(engineer, frozen)}"


def test_asking_answers_with_the_request_and_who_decides(engineer: Member, lead: Member, admin: Member, frozen: BudgetPeriod) -> None:
    response = ask(client_of(engineer, Scope.AUTHORIZE), frozen, ends_at="2099-01-01T00:00:00+01:00")

    body = response.json()
    assert response.status_code == 201
    assert (body["state"], body["amount"], body["currency"], body["session"]) == ("pending", "50", "USD", FROZEN_SESSION)
    assert body["ends_at"] == "2098-12-31T23:00:00Z"
    assert body["requester"] == {"id": engineer.pk, "name": "Engineer", "email": engineer.user.email}
    assert [person["email"] for person in body["deciders"]] == [lead.user.email, admin.user.email]
    assert (body["may_decide"], body["decision"]) == (False, None)
    assert body["link"].endswith(f"/o/acme/approvals/{body['id']}")


def test_asking_by_session_alone(engineer: Member, frozen: BudgetPeriod) -> None:
    response = client_of(engineer).post(APPROVALS, {"session": FROZEN_SESSION, "amount": 12.5, "reason": "Nearly done."})

    assert response.status_code == 201
    assert (response.json()["budget_period"]["id"], response.json()["amount"]) == (frozen.pk, "12.5")


def test_asking_by_session_with_nothing_frozen(engineer: Member) -> None:
    session_of(engineer, "fine")

    response = client_of(engineer).post(APPROVALS, {"session": "fine", "amount": "5", "reason": "Nearly done."})

    assert (response.status_code, response["Content-Type"]) == (409, "application/problem+json")
    assert "Nothing is frozen" in response.json()["detail"]


def test_engineer_reads_own_request_after_the_decision(engineer: Member, lead: Member, frozen: BudgetPeriod, url: str) -> None:
    decided = client_of(lead).post(f"{url}/decision", {"grant": True, "amount": "20", "note": "Go on."})

    assert decided.status_code == 201
    body = client_of(engineer, Scope.READ).get(url).json()
    assert body["state"] == "approved"
    decision = body["decision"]
    assert (decision["grant"], decision["amount"], decision["note"], decision["ends_at"]) == (True, "20", "Go on.", None)
    assert decision["decider"]["email"] == lead.user.email
    frozen.refresh_from_db()
    assert (frozen.topup, frozen.frozen_at) == (Decimal(20), None)


def test_denying_over_the_api(lead: Member, url: str) -> None:
    response = client_of(lead).post(f"{url}/decision", {"grant": False, "note": "No."})

    assert (response.status_code, response.json()["decision"]["amount"]) == (201, None)


def test_deciding_twice_names_who_decided(lead: Member, admin: Member, url: str) -> None:
    client_of(lead).post(f"{url}/decision", {"grant": True})

    response = client_of(admin).post(f"{url}/decision", {"grant": True})

    problem = response.json()
    assert (response.status_code, problem["code"], problem["decided_by"]) == (409, "conflict", "Lead")
    assert "Lead has already granted 50.00 USD" in problem["detail"]


def test_withdrawing(engineer: Member, lead: Member, url: str) -> None:
    assert client_of(lead).delete(url).status_code == 403
    client = client_of(engineer)

    assert [client.delete(url).status_code, client.delete(url).status_code] == [204, 204]
    assert client_of(lead).post(f"{url}/decision", {"grant": True}).status_code == 409


def test_asking_again_with_the_same_key_gives_the_same_answer(engineer: Member, lead: Member, frozen: BudgetPeriod) -> None:
    client = client_of(engineer)
    body = {"session": FROZEN_SESSION, "amount": "50", "reason": "Nearly done."}
    first = client.post(APPROVALS, body, HTTP_IDEMPOTENCY_KEY="k-1")
    assert client.post(APPROVALS, body, HTTP_IDEMPOTENCY_KEY="k-1").json() == first.json()
    assert client.post(APPROVALS, body).status_code == 409
    decision = {"grant": True, "amount": "30"}
    url = f"{APPROVALS}/{first.json()['id']}/decision"
    once = client_of(lead).post(url, decision, HTTP_IDEMPOTENCY_KEY="d-1")

    again = client_of(lead).post(url, decision, HTTP_IDEMPOTENCY_KEY="d-1")
    replayed = client.post(APPROVALS, body, HTTP_IDEMPOTENCY_KEY="k-1")

    assert (again.status_code, again.json()) == (201, once.json())
    assert (replayed.status_code, replayed.json()["id"]) == (201, first.json()["id"])
    assert (ApprovalRequest.objects.count(), TopUp.objects.count()) == (1, 1)


def test_idempotency_key_reused_for_something_else(engineer: Member, frozen: BudgetPeriod) -> None:
    client = client_of(engineer)
    client.post(APPROVALS, {"budget_period": frozen.pk, "amount": "50", "reason": "a"}, HTTP_IDEMPOTENCY_KEY="k-1")

    response = client.post(APPROVALS, {"budget_period": frozen.pk, "amount": "51", "reason": "a"}, HTTP_IDEMPOTENCY_KEY="k-1")

    assert (response.status_code, response.json()["field"]) == (409, "Idempotency-Key")


@pytest.mark.parametrize("key", ["", "x" * 201, "tab\there"])
def test_idempotency_key_must_be_printable_and_short(engineer: Member, frozen: BudgetPeriod, key: str) -> None:
    response = client_of(engineer).post(APPROVALS, {"budget_period": frozen.pk, "amount": "50", "reason": "a"}, HTTP_IDEMPOTENCY_KEY=key)

    assert response.status_code == 422


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "0"}, {"amount": "-1"}, {"amount": "NaN"}, {"amount": "1e30"}, {"amount": None}, {"amount": True}, {"amount": []},
        {"amount": "0.0000000000000001"}, {"reason": ""}, {"reason": "x" * 2001}, {"reason": "a\x00b"}, {"reason": None}, {"ends_at": "2001-01-01T00:00:00Z"},
        {"ends_at": "soon"}, {"ends_at": "9999-12-31T23:59:59-12:00"}, {"budget_period": "x"}, {"budget_period": 2**70}, {"budget_period": None},
        {"session": {}}, {"session": ""},
    ],
)  # fmt: skip
def test_bad_requests_are_refused_with_the_field(engineer: Member, frozen: BudgetPeriod, change: dict[str, Any]) -> None:
    response = ask(client_of(engineer), frozen, **change)

    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    problem = response.json()
    assert problem.get("field", next(iter(problem.get("errors", {})), None)) == next(iter(change))


@pytest.mark.parametrize("body", ["[]", '"x"', "{}", "null"])
def test_bodies_that_are_no_request(engineer: Member, frozen: BudgetPeriod, body: str) -> None:
    response = client_of(engineer).post(APPROVALS, body, content_type="application/json")

    assert response.status_code == 422


@pytest.mark.parametrize("body", ["{", '{"amount": NaN}', "\xff"])
def test_bodies_that_are_no_json(engineer: Member, body: str) -> None:
    response = client_of(engineer).post(APPROVALS, body.encode("latin-1"), content_type="application/json")

    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    "body", [{}, {"grant": "perhaps"}, {"grant": False, "amount": "5", "note": "n"}, {"grant": False}, {"grant": True, "amount": "51"}]
)
def test_bad_decisions_are_refused(lead: Member, url: str, body: dict[str, Any]) -> None:
    assert client_of(lead).post(f"{url}/decision", body).status_code == 422
    assert Decision.objects.count() == 0


def test_scopes(engineer: Member, lead: Member, frozen: BudgetPeriod, url: str) -> None:
    def statuses(member: Member, scope: Scope) -> dict[str, int]:
        client = client_of(member, scope)
        return {
            "file": client.post(APPROVALS, {}).status_code,
            "list": client.get(APPROVALS).status_code,
            "read": client.get(url).status_code,
            "decide": client.post(f"{url}/decision", {}).status_code,
        }

    assert statuses(lead, Scope.INGEST) == {"file": 403, "list": 403, "read": 403, "decide": 403}
    assert statuses(lead, Scope.AUTHORIZE) == {"file": 422, "list": 403, "read": 403, "decide": 403}
    assert statuses(lead, Scope.READ) == {"file": 403, "list": 200, "read": 200, "decide": 403}
    assert statuses(lead, Scope.ADMIN) == {"file": 403, "list": 403, "read": 403, "decide": 422}


def test_key_of_nobody_neither_asks_nor_decides(organization: Organization, frozen: BudgetPeriod, url: str) -> None:
    client = client_with(key_of(organization, *EVERY_SCOPE, name="robot"))

    filed = ask(client, frozen)
    assert filed.status_code == 403
    assert filed.json()["detail"] == "A key of the organization cannot do this (asking for more budget); it needs a key that belongs to a member."
    assert client.get(url).status_code == 200
    refused = client.post(f"{url}/decision", {"grant": True})
    assert refused.status_code == 403
    assert "belongs to a member" in refused.json()["detail"]
    assert client.delete(url).status_code == 403


def test_without_a_key(frozen: BudgetPeriod, url: str) -> None:
    client = APIClient()

    assert {
        client.get(APPROVALS).status_code,
        client.get(url).status_code,
        client.post(APPROVALS, {}).status_code,
        client.delete(url).status_code,
    } == {401}


@pytest.mark.parametrize(
    ("who", "reads", "decides", "withdraws"),
    [
        ("stranger", 404, 404, 404),
        ("other_engineer", 404, 404, 404),
        ("other_lead", 404, 404, 404),
        ("engineer", 200, 403, 204),
        ("lead", 200, 201, 403),
        ("admin", 200, 201, 403),
        ("owner", 200, 201, 403),
    ],
)
def test_who_may_do_what(request: pytest.FixtureRequest, url: str, who: str, reads: int, decides: int, withdraws: int) -> None:
    client = client_of(request.getfixturevalue(who))

    assert client.get(url).status_code == reads
    listed = {item["id"] for item in client.get(APPROVALS).json()["items"]}
    assert listed == ({url.rpartition("/")[2]} if reads == 200 else set())
    assert client.delete(url).status_code == withdraws
    ApprovalRequest.objects.update(state="pending", ended_at=None)
    assert client.post(f"{url}/decision", {"grant": True, "amount": "1"}).status_code == decides


@pytest.mark.parametrize(
    ("who", "status"), [("stranger", 404), ("other_engineer", 404), ("other_lead", 404), ("engineer", 201), ("lead", 201), ("admin", 201)]
)
def test_who_may_ask(request: pytest.FixtureRequest, frozen: BudgetPeriod, who: str, status: int) -> None:
    assert ask(client_of(request.getfixturevalue(who)), frozen).status_code == status


def test_session_of_a_stranger_is_not_there(stranger: Member, frozen: BudgetPeriod) -> None:
    response = client_of(stranger).post(APPROVALS, {"session": FROZEN_SESSION, "amount": "5", "reason": "a"})

    assert response.status_code == 404


def test_listing_by_state_and_page(
    engineer: Member, lead: Member, admin: Member, frozen: BudgetPeriod, team_period: BudgetPeriod, organization_period: BudgetPeriod
) -> None:
    ids = [filed(engineer, period) for period in (frozen, team_period, organization_period)]
    client_of(admin).post(f"{APPROVALS}/{ids[1]}/decision", {"grant": False, "note": "No."})
    client = client_of(admin)

    first = client.get(APPROVALS, {"limit": 2}).json()
    second = client.get(APPROVALS, {"limit": 2, "before": first["next"]}).json()

    assert [item["id"] for item in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None
    assert [item["id"] for item in client.get(APPROVALS, {"state": "denied"}).json()["items"]] == [ids[1]]


@pytest.mark.parametrize("query", [{"state": "lost"}, {"limit": 0}, {"limit": 201}, {"before": "x"}])
def test_bad_list_parameters(admin: Member, query: dict[str, Any]) -> None:
    assert client_of(admin).get(APPROVALS, query).status_code == 422


def test_reading_a_list_takes_the_same_queries_at_any_length(
    engineer: Member,
    admin: Member,
    frozen: BudgetPeriod,
    team_period: BudgetPeriod,
    django_assert_num_queries: Any,
    organization_period: BudgetPeriod,
) -> None:
    client = client_of(admin)
    for _ in range(2):  # the first notes the key's use, the second remembers the key as it then is
        client.get(APPROVALS)
    filed(engineer, frozen)
    with django_assert_num_queries(1):
        client.get(APPROVALS)
    for period in (team_period, organization_period):
        filed(engineer, period)

    with django_assert_num_queries(1):
        assert len(client.get(APPROVALS).json()["items"]) == 3


@pytest.fixture
def schema() -> dict[str, Any]:
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


def test_schema_names_every_door(schema: dict[str, Any]) -> None:
    paths = {path: set(methods) for path, methods in schema["paths"].items() if "approvals" in path}

    assert paths == {
        "/api/v1/approvals": {"get", "post"},
        "/api/v1/approvals/{request_id}": {"get", "delete"},
        "/api/v1/approvals/{request_id}/decision": {"post"},
        "/api/v1/approvals/{request_id}/override": {"post"},
        "/api/v1/approvals/{request_id}/review": {"post"},
    }
    filing = schema["paths"]["/api/v1/approvals"]["post"]
    assert "examples" in filing["requestBody"]["content"]["application/json"]
    assert {"201", "403", "404", "409", "422"} <= set(filing["responses"])


def test_past_end_of_a_grant_is_refused(lead: Member, url: str) -> None:
    past = (timezone.now() - timedelta(minutes=1)).isoformat()

    assert client_of(lead).post(f"{url}/decision", {"grant": True, "ends_at": past}).status_code == 422


def test_the_answer_says_whose_turn_it_is_what_is_missing_and_who_has_decided(
    engineer: Member, lead: Member, admin: Member, organization: Organization, frozen: BudgetPeriod
) -> None:
    rules = Rules((Band((Step((APPROVERS,)), Step((ADMINS, FINANCE), 2))),), escalate_minutes=60, expire_hours=48)
    policy_set(actor=member_actor(admin), team=None, rules=rules)
    url = f"{APPROVALS}/{filed(engineer, frozen)}"

    first = client_of(engineer).get(url).json()["chain"]
    assert [step["state"] for step in first["steps"]] == ["open", "waiting"]
    assert [step["text"] for step in first["steps"]] == ["one approver of Platform", "two of owners or admins and people of finance"]
    assert first["missing"] == "It needs three more decisions; the next is for the approvers of Platform."
    assert (first["policy_version"], first["escalates_at"] is None, first["expires_at"] is None) == (1, False, False)

    answer = client_of(lead).post(f"{url}/decision", {"grant": True, "amount": "20", "note": "Enough."})
    body = answer.json()
    assert (answer.status_code, body["state"], body["decision"]) == (201, "pending", None)
    assert [step["state"] for step in body["chain"]["steps"]] == ["done", "open"]
    assert [(vote["decider"]["id"], vote["amount"], vote["counts"], vote["in_stead_of"]) for vote in body["chain"]["votes"]] == [
        (lead.pk, "20", True, None)
    ]
    assert body["chain"]["turn"] == "owners, admins and finance"
    again = client_of(lead).post(f"{url}/decision", {"grant": True})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_the_answer_carries_the_evidence(engineer: Member, lead: Member, organization_period: BudgetPeriod, url: str) -> None:
    BudgetPeriod.objects.filter(pk=organization_period.pk).update(spent=Decimal(97))

    evidence = client_of(lead).get(url).json()["evidence"]

    assert (evidence["of"], evidence["overrun"], evidence["buys"], evidence["usable"]) == ("session", "0.25", "49.75", "3")
    assert evidence["warning"] == "Only $3.00 of it can be spent before Acme month binds."
    assert [(row["name"], row["binds"], row["left_after"]) for row in evidence["budgets"]] == [
        (f"Platform session, session {FROZEN_SESSION}", False, "49.75"), ("Acme month", True, "3"),
    ]  # fmt: skip


def test_overriding_and_reviewing_over_the_api(engineer: Member, lead: Member, admin: Member, frozen: BudgetPeriod) -> None:
    policy_set(actor=member_actor(admin), team=None, rules=Rules((Band((Step((ADMINS,), 2),)),), override=Override((APPROVERS,))))
    url = f"{APPROVALS}/{filed(engineer, frozen)}"

    assert client_of(admin).post(f"{url}/override", {"reason": "Now."}).status_code == 403
    assert client_of(lead).post(f"{url}/override", {}).status_code == 422
    done = client_of(lead).post(f"{url}/override", {"reason": "Customers are down."}).json()
    assert (done["state"], done["decision"]["kind"], done["review"]["reviewed_at"]) == ("approved", "override", None)
    assert client_of(lead).post(f"{url}/review", {"upheld": True}).status_code == 403
    reviewed = client_of(admin).post(f"{url}/review", {"upheld": False, "note": "It could have waited."}).json()["review"]
    assert (reviewed["upheld"], reviewed["reviewer"]["id"], reviewed["note"]) == (False, admin.pk, "It could have waited.")


def test_a_grant_by_the_policy_has_no_decider(engineer: Member, admin: Member, frozen: BudgetPeriod) -> None:
    automatic = Automatic(Decimal(50), Decimal(50), Decimal(50))
    policy_set(actor=member_actor(admin), team=None, rules=Rules((Band((Step((ADMINS,)),)),), automatic=automatic))
    body = ask(client_of(engineer), frozen).json()
    assert (body["state"], body["decision"]["kind"], body["decision"]["decider"]) == ("approved", "automatic", None)
    assert client_of(engineer).get(APPROVALS).json()["items"][0]["decision"]["decider"] is None


def test_session_only_over_the_api(engineer: Member, lead: Member, frozen: BudgetPeriod, team_period: BudgetPeriod) -> None:
    refused = client_of(engineer).post(APPROVALS, {"budget_period": team_period.pk, "amount": "5", "reason": "More.", "session_only": True})
    assert refused.status_code == 422
    request = ask(client_of(engineer), team_period, session=FROZEN_SESSION).json()
    granted = client_of(lead).post(f"{APPROVALS}/{request['id']}/decision", {"grant": True, "session_only": True})
    assert granted.status_code == 201
    assert TopUp.objects.get().period == frozen


FIXED = ("state", "deciders", "may_decide")
OF_STEPS = ("needed", "given", "state", "is_escalated")


def told_of(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says of how the request stands, without names and instants."""
    chain, evidence = answer["chain"], answer["evidence"]
    effect = evidence["budgets"][0]
    return {
        **{name: answer[name] for name in FIXED},
        "kind": answer["decision"]["kind"], "amount": answer["decision"]["amount"],
        "steps": [[step[name] for name in OF_STEPS] for step in chain["steps"]],
        "votes": [[vote["amount"], vote["grant"], vote["counts"]] for vote in chain["votes"]],
        "turn": [chain["turn"], chain["missing"], chain["escalates_at"], chain["expires_at"]],
        "effect": {name: effect[name] for name in effect if name not in ("budget", "name", "exhausted_at")},
        "grants": [evidence[name] for name in ("overrun", "buys", "usable", "warning")],
        "upheld": answer["review"] and answer["review"]["upheld"],
    }  # fmt: skip


def test_examples_after_a_decision_an_override_and_a_review_are_what_is_answered(
    engineer: Member, lead: Member, admin: Member, organization: Organization, frozen: BudgetPeriod
) -> None:
    finance = person(organization, email="sam@acme.example", role=Role.FINANCE)
    url = f"{APPROVALS}/{filed(engineer, frozen)}"
    decided = client_of(lead).post(f"{url}/decision", {"grant": True, "amount": "25", "ends_at": "2099-11-22T18:00:00Z"}).json()
    assert told_of(decided) == told_of(examples.DECIDED)

    TopUp.objects.all().delete()
    BudgetPeriod.objects.update(topup=0)
    policy_set(actor=member_actor(admin), team=None, rules=Rules((Band((Step((APPROVERS, ADMINS)),)),), override=Override((ADMINS,), review_days=3)))
    url = f"{APPROVALS}/{filed(engineer, frozen)}"
    overridden = client_of(admin).post(f"{url}/override", {"reason": "The release is blocked."}).json()
    assert told_of(overridden) == told_of(examples.OVERRIDDEN)
    reviewed = client_of(finance).post(f"{url}/review", {"upheld": True, "note": "The release could not wait."}).json()
    assert told_of(reviewed) == told_of(examples.REVIEWED)
