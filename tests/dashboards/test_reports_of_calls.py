"""The pages of a session and of a call show who reported it, and let an admin split, join and keep apart."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from governance.audit.models import AuditRecord
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.models import EventSighting, SightingPair
from ingest.models import UsageEvent as Stored
from ingest.once.services import calls_join
from tests.ingest.once.told import gateway, harness, told

pytestmark = pytest.mark.django_db
PAGE = "/o/acme/sessions/s-1"
ALL = "/o/acme/settings/counted-once"


def test_a_call_shows_its_reports_and_an_admin_splits_one_off(organization: Organization, admin: Member, engineer: Member) -> None:
    told(organization, "otlp", harness())
    told(organization, "litellm", gateway())
    call, client = Stored.objects.get(), Client()
    client.force_login(admin.user)
    shown = client.get(PAGE, {"call": str(call.id)}).content.decode()
    assert "Harness or SDK, through otlp" in shown
    assert "Gateway, through litellm" in shown
    asked = {"action": "split", "call": str(call.id), "number": str(EventSighting.objects.get(source="gateway:litellm").pk)}
    other = Client()
    other.force_login(engineer.user)
    assert other.post(PAGE, asked).status_code in (403, 404)
    assert client.post(PAGE, asked).status_code == 302
    assert Stored.objects.count() == 2
    assert client.post(PAGE, asked | {"number": "x"}).status_code == 404


@pytest.mark.parametrize(("action", "calls"), [("join", 1), ("apart", 2)])
def test_a_pair_that_is_undecided_is_decided_on_the_page(organization: Organization, admin: Member, action: str, calls: int) -> None:
    told(organization, "otlp", harness())
    told(organization, "litellm", gateway(output_tokens=58))
    client = Client()
    client.force_login(admin.user)
    assert "May be one call" in client.get(PAGE).content.decode()
    asked = {"action": action, "number": str(SightingPair.objects.get().pk)}
    assert client.post(PAGE, asked).status_code == 302
    assert Stored.objects.count() == calls
    assert "May be one call" not in client.get(PAGE).content.decode()
    assert client.post(PAGE, asked).status_code == 302
    assert "does not wait any more" in client.get(PAGE).content.decode()
    assert Stored.objects.count() == calls


def test_a_calls_own_page_shows_its_reports_splits_one_off_and_follows_a_join(
    organization: Organization, admin: Member, engineer: Member
) -> None:
    one_id = "msg_01XFDUDYJgAACzvnptvVoYEL"
    told(organization, "otlp", harness(session="", request_id=one_id, member=engineer.user.email))
    told(organization, "litellm", gateway(session="", request_id=one_id, output_tokens=60))
    call, client = Stored.objects.get(), Client()
    address = f"/o/acme/calls/{call.id}"
    client.force_login(engineer.user)
    shown = client.get(address).content.decode()
    assert "Gateway, through litellm" in shown
    assert "Split off" not in shown
    asked = {"action": "split", "number": str(EventSighting.objects.get(source="gateway:litellm").pk)}
    assert client.post(address, asked).status_code == 403
    client.force_login(admin.user)
    assert "Split off" in client.get(address).content.decode()
    assert client.post(address, asked).status_code == 302
    other = Stored.objects.exclude(id=call.id).get()
    assert "Split off" not in client.get(f"/o/acme/calls/{other.id}").content.decode()
    joined = calls_join(actor=member_actor(admin), first=call.id, second=other.id)[1]
    gone = call.id if joined == other.id else other.id
    assert client.get(f"/o/acme/calls/{gone}").headers["Location"] == f"/o/acme/calls/{joined}"


def test_all_that_is_undecided_is_found_from_the_overview_and_decided_in_one_place(organization: Organization, admin: Member) -> None:
    client = Client()
    client.force_login(admin.user)
    assert "Nothing waits." in client.get(ALL).content.decode()
    for number in range(3):
        told(organization, "otlp", harness(number, session=f"s-{number}"))
        told(organization, "litellm", gateway(number, session=f"s-{number}", output_tokens=58))
    assert "of calls may be one" in client.get("/o/acme/").content.decode()
    first, second, _ = SightingPair.objects.order_by("-id")
    assert client.post(ALL, {"action": "join", "number": str(first.pk)}).status_code == 302
    assert client.post(ALL, {"action": "apart", "number": str(second.pk)}).status_code == 302
    shown = client.get(ALL).content.decode()
    assert ("sessions/s-0#pairs" in shown, "sessions/s-2#pairs" in shown) == (True, False)
    assert Stored.objects.count() == 5
    assert client.post(ALL, {"action": "join", "number": str(first.pk)}).status_code == 302
    assert Stored.objects.count() == 5
    assert client.get(f"{ALL}?before={first.pk - 100}&days=x&by=weather").status_code == 200


def test_coverage_is_told_apart_by_what_was_asked(organization: Organization, admin: Member, team: Team) -> None:
    at = timezone.now() - timedelta(hours=2)
    told(organization, "otlp", *(harness(n, occurred_at=at + timedelta(minutes=n)) for n in range(3)), now=timezone.now())
    told(organization, "litellm", gateway(1, occurred_at=at + timedelta(minutes=1)), now=timezone.now())
    told(organization, "litellm", gateway(9, occurred_at=at, session="another"), now=timezone.now())
    client = Client()
    client.force_login(admin.user)
    table = client.get(ALL, {"by": "team", "format": "csv", "table": "coverage"}).content.decode().splitlines()
    assert [line.split(",")[:6] for line in table[1:]] == [["Platform", "2", "1", "1", "0", "0"], ["Unallocated", "2", "0", "0", "2", "0"]]


def test_whose_figures_stand_is_ordered_on_the_page_and_recorded(organization: Organization, admin: Member, lead: Member) -> None:
    client, wanted = Client(), {"kinds": "gateway>vendor>harness"}
    client.force_login(lead.user)
    assert client.post(ALL, wanted).status_code == 403
    client.force_login(admin.user)
    assert "as it is without an order" in client.get(ALL).content.decode()
    assert client.post(ALL, wanted).status_code == 302
    assert client.post(ALL, {"kinds": "gateway"}).status_code == 422
    assert '<option value="gateway&gt;vendor&gt;harness" selected>' in client.get(ALL).content.decode()
    record = AuditRecord.objects.get(action="sources.trust-ordered")
    assert (record.old, record.new) == ({"kinds": ["vendor", "gateway", "harness"]}, {"kinds": ["gateway", "vendor", "harness"]})
