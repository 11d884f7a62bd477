"""Settings → Channels: added, tested with the answer shown, secret once, dead letters sent again."""

import json
import re

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings
from standardwebhooks import Webhook

from governance.notices.deliveries import deliveries_send
from governance.notices.models import Delivery, Endpoint, Notice, Signal
from governance.notices.signals import signal_add
from governance.tenancy.models import Member, Organization, Team
from tests.governance.notices.conftest import hooks
from tests.governance.notices.hook_server import HookServer

__all__ = ["hooks"]
LIST = "/o/acme/settings/channels"


@pytest.fixture
def by_admin(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def add(client: Client, hooks: HookServer, **fields: object) -> tuple[Endpoint, str]:
    given = {"channel": "webhook", "name": "Tool", "address": hooks.url, "kinds": ["freeze.started"], **fields}
    answer = client.post(LIST, given)
    assert answer.status_code in (200, 302), answer.content
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", answer.content.decode())
    return Endpoint.objects.latest("id"), found.group(0) if found else ""


def test_secret_is_shown_once_and_is_the_one_that_signs(by_admin: Client, hooks: HookServer, organization: Organization) -> None:
    endpoint, secret = add(by_admin, hooks)
    for address in (LIST, f"{LIST}/{endpoint.pk}"):
        answer = by_admin.get(address)
        assert b"whsec_" not in answer.content
        assert "no-store" in answer["Cache-Control"]
    signal_add(organization=organization, kind=Signal.Kind.FREEZE_STARTED, facts={})
    deliveries_send()
    Webhook(secret).verify(hooks.taken[0].body, hooks.taken[0].headers)


def test_new_secret_is_shown_once_as_well(by_admin: Client, hooks: HookServer) -> None:
    endpoint, first = add(by_admin, hooks)
    answer = by_admin.post(f"{LIST}/{endpoint.pk}", {"action": "rotate"})
    shown = re.search(r"whsec_[A-Za-z0-9+/=]+", answer.content.decode()).group(0)
    assert shown != first
    assert b"Old secret signs until" in by_admin.get(f"{LIST}/{endpoint.pk}").content


@pytest.mark.parametrize(("status", "said"), [(200, b"The test was taken"), (503, b"It answered 503."), (302, b"redirects are not followed")])
def test_test_shows_the_answer(by_admin: Client, hooks: HookServer, status: int, said: bytes) -> None:
    endpoint, _ = add(by_admin, hooks)
    hooks.answers = [(status, {}, b"<b>hello</b>")]
    answer = by_admin.post(f"{LIST}/{endpoint.pk}", {"action": "test"})
    assert said in answer.content
    assert b"&lt;b&gt;hello" in answer.content


@pytest.mark.parametrize("address", ["http://hooks.example/in", "https://127.0.0.1/in", "https://169.254.169.254/latest", "https://[::1]/", "ftp://x", "https://no-such-name.invalid/in"])
def test_address_that_may_not_be_called_is_said_beside_its_field(by_admin: Client, settings: Settings, address: str) -> None:
    settings.WEBHOOKS_ALLOW_PRIVATE = False
    answer = by_admin.post(LIST, {"channel": "webhook", "name": "Tool", "address": address, "kinds": ["freeze.started"]})
    assert answer.status_code == 422
    assert answer.context["form"].errors["address"]
    assert Endpoint.objects.count() == 0


def test_slack_address_is_never_shown_whole(by_admin: Client, hooks: HookServer) -> None:
    endpoint, secret = add(by_admin, hooks, channel="slack", address=f"{hooks.url}/T0/B0/hidden-part")
    assert secret == ""
    for address in (LIST, f"{LIST}/{endpoint.pk}"):
        assert b"hidden-" not in by_admin.get(address).content


def test_dead_letter_shows_payload_and_answer_and_is_sent_again(by_admin: Client, hooks: HookServer, organization: Organization) -> None:
    endpoint, _ = add(by_admin, hooks)
    signal_add(organization=organization, kind=Signal.Kind.FREEZE_STARTED, facts={"session": "run-9"})
    hooks.answers = [(410, {}, b"moved out"), (200, {}, b"")]
    deliveries_send()
    dead = Delivery.objects.get()
    page = f"{LIST}/{endpoint.pk}/deliveries/{dead.pk}"
    shown = by_admin.get(page).content
    assert b"moved out" in shown
    assert b"run-9" in shown
    assert by_admin.post(page).status_code == 409  # it is switched off

    by_admin.post(f"{LIST}/{endpoint.pk}", {"action": "on"})
    by_admin.post(f"{LIST}/{endpoint.pk}", {"action": "again"})
    deliveries_send()

    assert Delivery.objects.get().state == "sent"
    assert hooks.taken[0].headers["webhook-id"] == hooks.taken[1].headers["webhook-id"]


def test_channel_is_changed_switched_and_removed(by_admin: Client, hooks: HookServer, team: Team) -> None:
    endpoint, _ = add(by_admin, hooks)
    page = f"{LIST}/{endpoint.pk}"
    by_admin.post(page, {"action": "change", "name": "Other", "kinds": ["guard.fired"], "team": team.pk})
    endpoint.refresh_from_db()
    assert (endpoint.name, endpoint.kinds, endpoint.team_id) == ("Other", ["guard.fired"], team.pk)
    assert by_admin.post(page, {"action": "change", "name": "Other", "kinds": []}).status_code == 422
    by_admin.post(page, {"action": "off"})
    assert b"switched off" in by_admin.get(page).content
    by_admin.post(page, {"action": "remove"})
    assert by_admin.get(page).status_code == 404
    endpoint.refresh_from_db()
    assert (endpoint.address, endpoint.secret) == ("", "")


def test_page_of_a_slack_request_does_not_hold_the_link_that_decides(by_admin: Client, hooks: HookServer, organization: Organization) -> None:
    endpoint, _ = add(by_admin, hooks, channel="slack", kinds=["request.filed"])
    signal_add(organization=organization, kind=Signal.Kind.REQUEST_FILED, facts={"request": "019a9f3c-5d51-7c35-9d0a-3f2b1c8e7a10", "url": "https://x.example/r"})
    deliveries_send()
    assert "approvals/link/" in json.dumps(json.loads(hooks.taken[0].body))
    assert b"approvals/link/" not in by_admin.get(f"{LIST}/{endpoint.pk}/deliveries/{Delivery.objects.get().pk}").content


def test_mail_that_was_given_up_is_listed_and_sent_again(by_admin: Client, organization: Organization) -> None:
    notice = Notice.objects.create(
        organization=organization, recipient="x@acme.example", subject="Frozen: run-1", body="", key="k", state="dead", last_error="550 no such mailbox",
        next_attempt_at=timezone.now(),
    )  # fmt: skip
    assert b"Frozen: run-1" in by_admin.get(LIST).content
    page = f"{LIST}/mail/{notice.pk}"
    assert b"550 no such mailbox" in by_admin.get(page).content
    by_admin.post(page)
    notice.refresh_from_db()
    assert notice.state == "waiting"
    assert by_admin.get(page).status_code == 404
