"""What an organization means by names: only for itself, dated, before what everybody means, decided by who may change prices."""

from datetime import UTC, datetime, timedelta

import pytest

from governance.audit.models import AuditRecord
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.pricing.book import Book, current_book
from governance.pricing.models import Model, NameMapping
from governance.pricing.own_names import name_mapping_add, name_mapping_end, own_names_load
from governance.pricing.services import model_add, price_row_add
from governance.tenancy.access import Actor, member_actor, system_actor
from governance.tenancy.models import Member, Organization

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def small(db: None) -> Book:
    """Two providers: a maker that sells two models, and another that resells them."""
    for slug, amount in (("gpt-a", "2"), ("gpt-b", "8")):
        model = model_add(actor=None, provider="openai", slug=slug, aliases=[slug])
        price_row_add(actor=None, model=model, valid_from=NOW - 100 * DAY, rates={"input_tokens": amount})
    other = model_add(actor=None, provider="azure", slug="azure-own", aliases=["azure-own"])
    other.provider.fallbacks = ["openai"]
    other.provider.save()
    return current_book(refresh=True)


def named(slug: str) -> Model:
    return Model.objects.get(slug=slug)


def meant(organization: Organization, book: Book, *, provider: str = "azure", model: str = "prod-chat", at: datetime = NOW) -> tuple[str, str]:
    return own_names_load(organization.pk).meant(book, provider=provider, model=model, at=at)


@pytest.fixture
def actor(organization: Organization) -> Actor:
    return system_actor(organization)


def test_deployment_means_its_model_for_this_organization_only(actor: Actor, other_organization: Organization, small: Book) -> None:
    name_mapping_add(actor=actor, name="Prod-Chat", provider="Azure", model=named("gpt-a"), valid_from=NOW - DAY)

    assert meant(actor.organization, small) == ("azure", "gpt-a")
    assert meant(actor.organization, small, provider="AZURE", model="PROD-CHAT") == ("AZURE", "gpt-a")
    assert meant(other_organization, small) == ("azure", "prod-chat")
    assert meant(actor.organization, small, provider="openai") == ("openai", "prod-chat")


def test_biller_stays_the_one_reported_where_it_sells_the_model_and_is_the_model_s_otherwise(actor: Actor, small: Book) -> None:
    name_mapping_add(actor=actor, name="chat", model=named("gpt-a"), valid_from=NOW - DAY)

    assert meant(actor.organization, small, provider="azure", model="chat") == ("azure", "gpt-a")
    assert meant(actor.organization, small, provider="", model="chat") == ("openai", "gpt-a")
    assert meant(actor.organization, small, provider="our-proxy", model="chat") == ("openai", "gpt-a")


def test_mapping_for_the_provider_goes_before_one_for_every_provider_and_both_before_the_list(actor: Actor, small: Book) -> None:
    name_mapping_add(actor=actor, name="gpt-a", model=named("gpt-b"), valid_from=NOW - DAY)
    name_mapping_add(actor=actor, name="gpt-a", provider="azure", model=named("azure-own"), valid_from=NOW - DAY)

    assert meant(actor.organization, small, provider="openai", model="gpt-a") == ("openai", "gpt-b")
    assert meant(actor.organization, small, provider="azure", model="gpt-a") == ("azure", "azure-own")


def test_deployment_that_was_moved_to_another_model_means_each_in_its_time(actor: Actor, small: Book) -> None:
    name_mapping_add(actor=actor, name="prod-chat", model=named("gpt-a"), valid_from=NOW - 10 * DAY)
    name_mapping_add(actor=actor, name="prod-chat", model=named("gpt-b"), valid_from=NOW)

    tick = timedelta.resolution
    found = [meant(actor.organization, small, at=at)[1] for at in (NOW - 10 * DAY - tick, NOW - 10 * DAY, NOW - tick, NOW)]
    assert found == ["prod-chat", "gpt-a", "gpt-a", "gpt-b"]


def test_ended_mapping_holds_until_its_end_and_one_that_never_held_is_gone(actor: Actor, small: Book) -> None:
    first = name_mapping_add(actor=actor, name="prod-chat", model=named("gpt-a"), valid_from=NOW - DAY)
    name_mapping_end(actor=actor, mapping=first, valid_to=NOW)
    later = name_mapping_add(actor=actor, name="prod-chat", model=named("gpt-b"), valid_from=NOW + DAY)
    name_mapping_end(actor=actor, mapping=later, valid_to=NOW)

    assert [meant(actor.organization, small, at=at)[1] for at in (NOW - DAY, NOW, NOW + 2 * DAY)] == ["gpt-a", "prod-chat", "prod-chat"]
    assert NameMapping.objects.count() == 1


def test_past_of_a_mapping_is_not_rewritten(actor: Actor, small: Book) -> None:
    name_mapping_add(actor=actor, name="prod-chat", model=named("gpt-a"), valid_from=NOW)

    with pytest.raises(Conflict):
        name_mapping_add(actor=actor, name="prod-chat", model=named("gpt-b"), valid_from=NOW - DAY)


def test_saying_the_same_again_changes_nothing(actor: Actor, small: Book) -> None:
    first = name_mapping_add(actor=actor, name="prod-chat", model=named("gpt-a"), valid_from=NOW - DAY)
    records = AuditRecord.objects.count()

    assert name_mapping_add(actor=actor, name="prod-chat", model=named("gpt-a"), valid_from=NOW).pk == first.pk
    assert AuditRecord.objects.count() == records


def test_mapping_moves_what_the_hot_path_keeps_and_leaves_a_record(actor: Actor, small: Book) -> None:
    version = Organization.objects.get().config_version
    row = name_mapping_add(actor=actor, name="prod-chat", model=named("gpt-a"), valid_from=NOW)
    name_mapping_end(actor=actor, mapping=row, valid_to=NOW + DAY)

    assert Organization.objects.get().config_version == version + 2
    assert list(AuditRecord.objects.filter(target_kind="name_mapping").order_by("pk").values_list("action", flat=True)) == ["model_name.mapped", "model_name.ended"]


def test_who_may_not_change_prices_maps_nothing(engineer: Member, actor: Actor, other_organization: Organization, small: Book) -> None:
    with pytest.raises(Forbidden):
        name_mapping_add(actor=member_actor(engineer), name="prod-chat", model=named("gpt-a"), valid_from=NOW)
    row = name_mapping_add(actor=actor, name="prod-chat", model=named("gpt-a"), valid_from=NOW)
    with pytest.raises(NotFound):
        name_mapping_end(actor=system_actor(other_organization), mapping=row, valid_to=NOW)


@pytest.mark.parametrize("name", ["", "   ", "x" * 201])
def test_name_has_to_be_one(actor: Actor, small: Book, name: str) -> None:
    with pytest.raises(Invalid):
        name_mapping_add(actor=actor, name=name, model=named("gpt-a"), valid_from=NOW)
    assert not NameMapping.objects.exists()
