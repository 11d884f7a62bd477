"""Calls of a deployment are priced as the model that the organization says it is, those before it said so as well."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from governance.pricing.models import Model
from governance.pricing.own_names import name_mapping_add
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role
from ingest.models import UsageEvent as StoredEvent
from ingest.rerating.unpriced import unpriced_rerate
from ingest.rerating.working import run_work
from tests.conftest import person
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transactional_db", "few_prices")]


def is_sonnet(admin: Member) -> None:
    model = Model.objects.get(provider__slug="anthropic", slug="claude-sonnet-4-5")
    name_mapping_add(actor=member_actor(admin), name="prod-chat", model=model, valid_from=timezone.now() - timedelta(days=3))


def test_deployment_is_stored_under_its_model_and_keeps_the_name_it_came_by(admin: Member) -> None:
    is_sonnet(admin)
    store(admin, event(1, provider="our-gateway", model="Prod-Chat"))

    stored = StoredEvent.objects.get()
    assert (stored.provider, stored.model, stored.model_reported, stored.cost) == ("anthropic", "claude-sonnet-4-5", "Prod-Chat", COST)


def test_calls_before_the_decision_are_priced_after_it(admin: Member, organization: Organization) -> None:
    store(admin, event(1, provider="our-gateway", model="prod-chat"))
    assert StoredEvent.objects.get().cost is None
    is_sonnet(admin)

    for run in unpriced_rerate(Organization.objects.get(pk=organization.pk)):
        while run_work(run):
            pass

    stored = StoredEvent.objects.get()
    assert (stored.model, stored.cost) == ("claude-sonnet-4-5", COST)
    call_command("verify")


def test_name_means_nothing_to_others(admin: Member, other_organization: Organization) -> None:
    is_sonnet(admin)
    stranger = person(other_organization, email="admin@globex.example", role=Role(admin.role))
    store(stranger, event(1, provider="our-gateway", model="prod-chat"))

    assert StoredEvent.objects.get().cost is None
