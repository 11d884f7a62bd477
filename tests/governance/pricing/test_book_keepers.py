"""Who decides about the price book that every organization of an installation is rated by."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from governance.errors import Forbidden
from governance.pricing.book import current_book
from governance.pricing.changing import keeps_book
from governance.pricing.models import Model, PriceFinding, Term
from governance.pricing.sync import services
from governance.pricing.terms import terms_now
from governance.pricing.usage import Usage
from governance.tenancy.access import key_actor, member_actor
from governance.tenancy.models import Member, Organization, Scope
from tests.conftest import key_of
from tests.governance.pricing.test_sync import catalogue, sync

pytestmark = pytest.mark.django_db
NEW_PRICE = {"provider": "moonshotai", "model": "kimi-of-ours", "valid_from": "2026-01-01", "currency": "USD", "input_tokens": "2"}


@pytest.fixture
def waiting() -> PriceFinding:
    catalogue()
    sync(("glm-5", "1.5"), ("glm-5.5", "2"), now=timezone.now() - timedelta(days=1))
    sync(("glm-5", "1.5"), ("glm-5.5", "200"), now=timezone.now())
    return PriceFinding.objects.get(state="waiting")


def test_another_organization_decides_nothing_that_all_are_rated_by(
    organization: Organization, admin: Member, stranger: Member, waiting: PriceFinding
) -> None:
    with pytest.raises(Forbidden):
        services.finding_accept(actor=member_actor(stranger), finding_id=waiting.pk)
    with pytest.raises(Forbidden):
        services.source_switch(actor=member_actor(stranger), source="litellm", is_on=False)
    assert services.finding_reject(actor=member_actor(admin), finding_id=waiting.pk).state == "rejected"


def test_key_of_an_organization_never_decides_and_that_of_a_keeper_does(
    organization: Organization, admin: Member, waiting: PriceFinding
) -> None:
    with pytest.raises(Forbidden, match="belongs to a member"):
        services.finding_accept(actor=key_actor(key_of(organization, Scope.ADMIN).row), finding_id=waiting.pk)
    assert (
        services.finding_reject(
            actor=key_actor(key_of(organization, Scope.ADMIN, name="admin's", member=admin).row), finding_id=waiting.pk
        ).state
        == "rejected"
    )


def test_organization_that_has_the_installation_to_itself_keeps_the_book(settings: Any, organization: Organization) -> None:
    settings.PRICE_KEEPERS = []
    demo = Organization.objects.create(slug="demo", name="Demo", is_demo=True)
    assert (keeps_book(organization), keeps_book(demo)) == (True, False)
    other = Organization.objects.create(slug="globex", name="Globex")
    assert (keeps_book(organization), keeps_book(other)) == (False, False)


def test_model_is_priced_for_ones_own_organization_without_the_shared_book(
    client: Client, organization: Organization, stranger: Member
) -> None:
    client.force_login(stranger.user)
    assert client.post("/o/globex/prices/add", NEW_PRICE | {"holds_for": "all"}).status_code == 302
    assert not Model.objects.filter(slug="kimi-of-ours").exists()
    assert Term.objects.get().organization == stranger.organization

    at, usage = datetime(2026, 3, 1, tzinfo=UTC), Usage(input_tokens=1_000_000)
    own, others = (
        terms_now(each).rate(current_book(), provider="moonshotai", model="kimi-of-ours", at=at, usage=usage)
        for each in (stranger.organization, organization)
    )
    assert (own.cost, others.cost) == (Decimal(2), None)
