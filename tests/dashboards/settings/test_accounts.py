"""A service account is switched off and on: its keys with it, at once, and the record says who did."""

from django.test import Client

from governance.audit.models import AuditRecord
from governance.tenancy.models import Member, Organization, ServiceAccount
from tests.conftest import client_with, key_of

ACCOUNTS = "/o/acme/settings/service-accounts"
ASKED = "/api/v1/approvals"


def test_keys_of_a_service_account_that_is_switched_off_are_refused_at_once(
    client: Client, organization: Organization, admin: Member
) -> None:
    account = ServiceAccount.objects.create(organization=organization, name="collector")
    robot, other = client_with(key_of(organization, service_account=account)), client_with(key_of(organization, name="other"))
    client.force_login(admin.user)
    page = client.get(f"{ACCOUNTS}/{account.pk}").content.decode()
    assert "Switch off" in page
    assert "gateway" in page
    answers = [robot.get(ASKED).status_code]
    for active in ("0", "1"):
        told = client.post(f"{ACCOUNTS}/{account.pk}", {"active": active}, follow=True)
        assert told.status_code == 200
        answers.append(robot.get(ASKED).status_code)
        assert ("switched off" in client.get(ACCOUNTS).content.decode()) == (active == "0")
    assert answers == [200, 401, 200]
    assert other.get(ASKED).status_code == 200
    rows = AuditRecord.objects.filter(action="service_account.changed").order_by("id")
    assert [(row.old["is_active"], row.new["is_active"], row.actor_id) for row in rows] == [
        (True, False, admin.pk),
        (False, True, admin.pk),
    ]


def test_refused_key_is_told_why(organization: Organization) -> None:
    account = ServiceAccount.objects.create(organization=organization, name="collector", is_active=False)
    answer = client_with(key_of(organization, service_account=account)).get(ASKED)
    assert (answer.status_code, answer.json()["code"]) == (401, "key_holder_inactive")
