"""A call's own page: also without a session, with what was changed of it, for those who may see it."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from governance.periods import add_months
from governance.tenancy.access import member_actor
from governance.tenancy.directory import month_of
from governance.tenancy.models import Member, Team
from governance.tenancy.months import month_close
from ingest.models import UsageEvent
from ingest.services.amend import Amendment, Cause, events_amend
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import event, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]


def page_of(client: Client, who: Member) -> str:
    client.force_login(who.user)
    call = UsageEvent.objects.get()
    answer = client.get(reverse("call", args=[who.organization.slug, call.id]))
    return answer.content.decode() if answer.status_code == 200 else str(answer.status_code)


def amend(member: Member, cost: str, kind: str = "correction") -> None:
    call = UsageEvent.objects.get()
    amendment = Amendment(call.id, call.occurred_at, {"cost": Decimal(cost), "price_id": 9, "role": "judge"})
    events_amend(organization=member.organization, actor=member_actor(member), amendments=[amendment], cause=Cause(kind, "the invoice says so", "run 7"))


def test_call_without_a_session_has_its_arithmetic(client: Client, admin: Member) -> None:
    store(admin, event(1, session=""))
    shown = page_of(client, admin)
    assert "Input, uncached" in shown
    assert "0.0045" in shown
    assert "What was changed since" not in shown


def test_old_and_new_are_shown_with_the_reason(client: Client, admin: Member) -> None:
    store(admin, event(1, session=""))
    amend(admin, "0.5")
    shown = page_of(client, admin)
    assert "the invoice says so" in shown
    assert "role: none to judge" in shown
    assert "price row:" in shown
    assert reverse("prices-run", args=[admin.organization.slug, 7]) in shown
    assert "Its month was closed" not in shown


def test_of_tags_only_those_that_differ_are_said(client: Client, admin: Member) -> None:
    store(admin, event(1, session="", tags={"kept": "1", "moved": "a", "gone": "x"}))
    call = UsageEvent.objects.get()
    amendment = Amendment(call.id, call.occurred_at, {"tags": {"kept": "1", "moved": "b", "come": "y"}})
    events_amend(organization=admin.organization, actor=member_actor(admin), amendments=[amendment], cause=Cause("correction", "the rules say so", "run 7"))
    shown = page_of(client, admin)
    assert re.findall(r'<span class="faint">(tag .*?)</span>', shown) == ["tag come: y (added)", "tag gone: x (removed)", "tag moved: a to b"]


def test_what_was_posted_elsewhere_is_said(client: Client, admin: Member) -> None:
    first = add_months(month_of(timezone.now(), admin.organization.zone), -1)
    store(admin, event(1, session="", occurred_at=timezone.now() - timedelta(days=timezone.now().day + 2)))
    month_close(actor=member_actor(admin), month=first, reason="reported")
    amend(admin, "0.5")
    assert "Its month was closed" in page_of(client, admin)
    assert UsageEvent.objects.get().cost == Decimal("0.0045")


def test_call_of_others_is_not_found(client: Client, admin: Member, team: Team, engineer: Member, stranger: Member) -> None:
    store(admin, event(1, team="", member=""))
    assert page_of(client, engineer) == "404"
    client.force_login(stranger.user)
    call = UsageEvent.objects.get()
    assert client.get(reverse("call", args=[stranger.organization.slug, call.id])).status_code == 404
