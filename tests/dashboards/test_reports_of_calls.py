"""The pages of a session and of a call show who reported it, and let an admin split, join and keep apart."""

import pytest
from django.test import Client

from governance.tenancy.models import Member, Organization
from ingest.models import EventSighting, SightingPair
from ingest.models import UsageEvent as Stored
from tests.ingest.once.told import gateway, harness, told

pytestmark = pytest.mark.django_db
PAGE = "/o/acme/sessions/s-1"


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
    assert client.post(PAGE, asked).status_code == 404
