"""Links that decide: bound to organization, request, person and purpose, good once and for a while; opening one changes nothing."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.core import signing
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from governance.approvals import tell
from governance.approvals.models import ApprovalRequest, Decision
from governance.approvals.services import request_create, request_decide
from governance.budgets.models import BudgetPeriod
from governance.errors import Conflict, NotFound
from governance.notices import tasks, tokens
from governance.notices.models import Notice, UsedLink
from governance.notices.tokens import link_make, link_read, link_use
from governance.tenancy.access import key_actor, member_actor
from governance.tenancy.models import Member, Organization, Scope
from tests.conftest import key_of
from tests.governance.approvals.conftest import budget_of, frozen_session_period, period_of

REQUEST = UUID("019a9f3c-5d51-7c35-9d0a-3f2b1c8e7a10")


def token_of(member: Member | None, organization: Organization, **fields: Any) -> str:
    return link_make(organization=organization, request_id=REQUEST, member=member, **fields).rpartition("/")[2]


def test_link_says_what_it_was_made_for_to_the_person_it_was_made_for(organization: Organization, lead: Member) -> None:
    link = link_read(member_actor(lead), token_of(lead, organization))
    assert (link.organization_id, link.request_id, link.member_id, link.purpose) == (organization.pk, REQUEST, lead.pk, "decide")


def test_link_is_for_nobody_else(organization: Organization, lead: Member, admin: Member, stranger: Member) -> None:
    token = token_of(lead, organization)
    open_to_deciders = token_of(None, organization)
    key = key_of(organization, Scope.ADMIN, member=lead)
    for actor in (member_actor(admin), member_actor(stranger), key_actor(key.row)):
        with pytest.raises(NotFound):
            link_read(actor, token)
    with pytest.raises(NotFound):
        link_read(member_actor(stranger), open_to_deciders)
    with pytest.raises(NotFound):
        link_read(member_actor(lead), token, purpose="resume")
    assert link_read(member_actor(admin), open_to_deciders).member_id is None


@pytest.mark.parametrize("spoil", [lambda token: token[:-2], lambda token: "A" + token[1:], lambda token: "key", lambda token: "", lambda token: token + "x", lambda token: signing.dumps([1, 2])])
def test_forged_and_cut_links_are_not_there(organization: Organization, lead: Member, spoil: object) -> None:
    with pytest.raises(NotFound):
        link_read(member_actor(lead), spoil(token_of(lead, organization)))


def test_link_is_used_once_and_stays_good_when_the_transaction_is_taken_back(organization: Organization, lead: Member) -> None:
    token, actor = token_of(lead, organization), member_actor(lead)
    with transaction.atomic():
        link_use(actor=actor, token=token)
        transaction.set_rollback(True)

    link_use(actor=actor, token=token)

    with pytest.raises(Conflict, match="used already"):
        link_use(actor=actor, token=token)
    assert tokens.is_used(link_read(actor, token))


def test_time_runs_out_and_used_links_are_forgotten_then(organization: Organization, lead: Member) -> None:
    token, actor = token_of(lead, organization), member_actor(lead)
    used = token_of(lead, organization)
    link_use(actor=actor, token=used)
    with time_machine.travel(timezone.now() + tokens.LASTS + timedelta(days=2)):
        with pytest.raises(Conflict, match="time of this link is over"):
            link_use(actor=actor, token=token)
        tasks.outbox_forget()
        assert UsedLink.objects.count() == 0
        with pytest.raises(Conflict):
            link_use(actor=actor, token=used)


@pytest.fixture
def asked(engineer: Member) -> ApprovalRequest:
    """The engineer asks for 50 more on a frozen session."""
    budget = budget_of(engineer.organization, name="Platform session", scope_kind="session", period_kind="session", team=engineer.team)
    period: BudgetPeriod = frozen_session_period(engineer, budget)
    return request_create(actor=member_actor(engineer), period_id=period.pk, amount=Decimal(50), reason="Two thirds are done.")


def link_in_mail(member: Member) -> str:
    body = Notice.objects.get(member=member, kind="request.filed").body
    return re.search(r"https?://[^/\s]+(/o/acme/approvals/link/\S+)", body).group(1)


def test_every_approver_gets_a_link_of_their_own(asked: ApprovalRequest, lead: Member, admin: Member) -> None:
    again = request_mail_for(asked, lead, admin)
    assert link_in_mail(again[0]) != link_in_mail(again[1])


def request_mail_for(asked: ApprovalRequest, *members: Member) -> tuple[Member, ...]:
    """Files it anew now that these people are there."""
    Notice.objects.all().delete()
    tell.filed(asked, members)
    return members


def test_opening_the_link_signs_in_first_and_then_changes_nothing(client: Client, lead: Member, asked: ApprovalRequest) -> None:
    request_mail_for(asked, lead)
    address = link_in_mail(lead)
    sent_away = client.get(address)
    assert (sent_away.status_code, sent_away["Location"].startswith("/sign-in?next=")) == (302, True)

    client.force_login(lead.user)
    for _ in range(3):
        assert client.get(address).status_code == 200
        assert client.head(address).status_code == 405

    assert ApprovalRequest.objects.get().state == "pending"
    assert UsedLink.objects.count() == 0


def test_form_behind_the_link_decides_once_with_csrf(lead: Member, asked: ApprovalRequest) -> None:
    request_mail_for(asked, lead)
    address, client = link_in_mail(lead), Client(enforce_csrf_checks=True)
    client.force_login(lead.user)
    given = {"decision": "grant", "amount": "20", "note": "go on"}
    assert client.post(address, given).status_code == 403
    client.get(address)

    answer = client.post(address, given | {"csrfmiddlewaretoken": client.cookies["csrftoken"].value})

    assert (answer.status_code, answer["Location"]) == (302, f"/o/acme/approvals/{asked.pk}")
    assert Decision.objects.get().amount == 20
    over = client.get(address)
    assert over.status_code == 410
    assert b"This link was used already" in over.content
    assert f"/o/acme/approvals/{asked.pk}".encode() in over.content


def test_grant_behind_the_link_can_be_for_the_session_only(client: Client, engineer: Member, lead: Member, organization: Organization) -> None:
    own = frozen_session_period(engineer, budget_of(organization, name="Each session", scope_kind="session", period_kind="session", team=engineer.team))
    wide = period_of(budget_of(organization, name="Platform", scope_kind="team", team=engineer.team), spent=Decimal(100))
    asked = request_create(actor=member_actor(engineer), period_id=wide.pk, amount=Decimal(50), reason="Nearly done.", session_key=own.session_key)
    request_mail_for(asked, lead)
    client.force_login(lead.user)
    assert b"For this session only" in client.get(link_in_mail(lead)).content

    assert client.post(link_in_mail(lead), {"decision": "grant", "amount": "20", "session_only": "on"}).status_code == 302

    own.refresh_from_db()
    wide.refresh_from_db()
    assert (own.topup, wide.topup) == (20, 0)


def test_refusal_leaves_the_link_good(client: Client, lead: Member, asked: ApprovalRequest) -> None:
    request_mail_for(asked, lead)
    address = link_in_mail(lead)
    client.force_login(lead.user)
    assert client.post(address, {"decision": "grant", "amount": "51"}).status_code == 422
    assert client.post(address, {"decision": "deny", "reason": ""}).status_code == 422
    assert UsedLink.objects.count() == 0

    assert client.post(address, {"decision": "deny", "reason": "not now"}).status_code == 302
    assert ApprovalRequest.objects.get().state == "denied"


def test_somebody_else_who_is_signed_in_is_told_so(client: Client, lead: Member, admin: Member, asked: ApprovalRequest) -> None:
    request_mail_for(asked, lead, admin)
    client.force_login(admin.user)

    answer = client.get(link_in_mail(lead))

    assert answer.status_code == 404
    assert b"signed in as the person it was sent to" in answer.content
    assert client.post(link_in_mail(lead), {"decision": "grant", "amount": "50"}).status_code == 404


def test_expired_link_says_so_and_leads_on(client: Client, lead: Member, asked: ApprovalRequest) -> None:
    request_mail_for(asked, lead)
    address = link_in_mail(lead)
    with time_machine.travel(timezone.now() + tokens.LASTS + timedelta(minutes=1)):
        client.force_login(lead.user)
        answer = client.get(address)
    assert answer.status_code == 410
    assert b"The time of this link is over" in answer.content


def test_link_of_a_request_that_was_decided_elsewhere_leads_to_it(client: Client, lead: Member, admin: Member, asked: ApprovalRequest) -> None:
    request_mail_for(asked, lead)
    request_decide(actor=member_actor(admin), request_id=asked.pk, is_grant=True)
    client.force_login(lead.user)
    assert client.get(link_in_mail(lead)).status_code == 302


def test_channel_link_is_for_whoever_may_decide(client: Client, organization: Organization, lead: Member, engineer: Member, asked: ApprovalRequest) -> None:
    address = "/o/acme" + link_make(organization=organization, request_id=asked.pk, member=None).partition("/o/acme")[2]
    client.force_login(engineer.user)
    assert b"Nobody decides their own request" in client.get(address).content
    assert client.post(address, {"decision": "grant", "amount": "50"}).status_code == 403

    client.force_login(lead.user)
    assert client.post(address, {"decision": "grant", "amount": "50"}).status_code == 302
    assert ApprovalRequest.objects.get().state == "approved"


def test_link_to_a_request_that_is_not_there_is_not_there(client: Client, organization: Organization, lead: Member) -> None:
    client.force_login(lead.user)
    address = link_make(organization=organization, request_id=uuid4(), member=lead)
    assert client.get("/o/acme" + address.partition("/o/acme")[2]).status_code == 404


@pytest.mark.usefixtures("transactional_db")
def test_two_clicks_at_once_decide_once(lead: Member, asked: ApprovalRequest) -> None:
    request_mail_for(asked, lead)
    address = link_in_mail(lead)

    def click() -> int:
        try:
            client = Client()
            client.force_login(lead.user)
            return client.post(address, {"decision": "grant", "amount": "50"}).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        answers = [running.result(30) for running in [threads.submit(click) for _ in range(4)]]

    assert set(answers) <= {302, 410}
    assert Decision.objects.count() == 1
    assert UsedLink.objects.count() == 1
