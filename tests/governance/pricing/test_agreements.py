"""What an organization agreed is added and ended, never edited, by those who may, with an audit row."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from governance.audit.models import AuditRecord
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.pricing.agreements import balance_add, balance_end, markup_set, term_add, term_end
from governance.pricing.models import Balance, ExchangeRate, Markup, Term
from governance.tenancy.access import Actor, member_actor
from governance.tenancy.models import Member, Organization, Team

pytestmark = pytest.mark.django_db
JANUARY, MARCH, JUNE = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 3, 6))


@pytest.fixture
def actor(admin: Member) -> Actor:
    return member_actor(admin)


def add(actor: Actor, **facts: Any) -> Term:
    return term_add(actor=actor, **{"name": "Contract 7", "valid_from": JANUARY, "percent_off": Decimal(10), **facts})


def test_a_new_term_ends_the_one_that_stood_for_the_same(actor: Actor) -> None:
    old, other = add(actor, provider="anthropic"), add(actor, provider="openai")
    add(actor, provider="anthropic", valid_from=MARCH, percent_off=Decimal(20))
    old.refresh_from_db()
    other.refresh_from_db()
    assert (old.valid_to, other.valid_to) == (MARCH, None)
    record = AuditRecord.objects.filter(action="term.added").latest("pk")
    assert record.old is not None
    assert record.old["ended"][0]["term"] == old.pk


def test_a_term_before_one_that_stands_has_to_end_by_then(actor: Actor) -> None:
    add(actor, valid_from=MARCH)
    with pytest.raises(Conflict, match="from 2026-03-01 on"):
        add(actor)
    assert add(actor, valid_to=MARCH).valid_to == MARCH


def test_a_term_ends_earlier_but_never_later(actor: Actor) -> None:
    made = add(actor, valid_to=JUNE)
    assert term_end(actor=actor, term_id=made.pk, at=MARCH).valid_to == MARCH
    with pytest.raises(Conflict):
        term_end(actor=actor, term_id=made.pk, at=JUNE)
    assert term_end(actor=actor, term_id=made.pk, at=JANUARY - timedelta(days=1)).valid_to == JANUARY
    add(actor)  # what never applied stands in nobody's way


def test_the_database_lets_nothing_that_was_agreed_be_changed(actor: Actor) -> None:
    made = add(actor)
    statements = (
        "UPDATE price_term SET percent_off = 99",
        "DELETE FROM price_term",
        "UPDATE price_term SET valid_to = valid_from, name = 'x'",
    )
    for statement in statements:
        with pytest.raises(DatabaseError, match="never changed or deleted"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    term_end(actor=actor, term_id=made.pk, at=MARCH)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE price_term SET valid_to = NULL")


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"percent_off": Decimal(0)}, "percent_off"),
        ({"percent_off": Decimal("100.1")}, "percent_off"),
        ({"percent_off": Decimal("NaN")}, "percent_off"),
        ({"name": " "}, "name"),
        ({"valid_to": JANUARY}, "valid_to"),
        ({"currency": "ABC"}, "currency"),
        ({"rates": {"input_tokens": "1"}}, "model"),
        ({"rates": {"input_tokens": "-1"}, "model": "m"}, "rates.input_tokens"),
        ({"rates": {"teapots": "1"}, "model": "m"}, "rates.teapots"),
        ({"rates": {"input_tokens": {"factor": "2"}}, "model": "m"}, "rates"),
        ({"rates": {"input_tokens": "1"}, "amounts_off": {"input_tokens": "1"}, "model": "m"}, "amounts_off"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(actor: Actor, facts: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        add(actor, **facts)
    assert refusal.value.extra["field"] == field
    assert not Term.objects.exists()


def test_only_who_manages_prices_may(engineer: Member, lead: Member, actor: Actor) -> None:
    for member in (engineer, lead):
        with pytest.raises(Forbidden):
            add(member_actor(member))
    made = add(actor)
    with pytest.raises(Forbidden):
        term_end(actor=member_actor(lead), term_id=made.pk, at=MARCH)


def test_another_organizations_terms_and_teams_are_not_there(actor: Actor, other_organization: Organization) -> None:
    theirs = Term.objects.create(organization=other_organization, name="x", percent_off=Decimal(1), valid_from=JANUARY)
    with pytest.raises(NotFound):
        term_end(actor=actor, term_id=theirs.pk, at=MARCH)
    with pytest.raises(Invalid, match="no such team"):
        add(actor, team=Team.objects.create(organization=other_organization, slug="t", name="T"))
    add(actor)
    theirs.refresh_from_db()
    assert theirs.valid_to is None


def test_each_change_moves_the_configuration(actor: Actor) -> None:
    def version() -> int:
        return Organization.objects.get(pk=actor.organization.pk).config_version

    before = version()
    made = add(actor)
    between = version()
    term_end(actor=actor, term_id=made.pk, at=MARCH)
    assert before < between < version()


def test_a_commitment_keeps_the_rate_of_its_first_day(actor: Actor) -> None:
    facts: dict[str, Any] = {
        "kind": "commitment",
        "name": "Commit",
        "amount": Decimal(1000),
        "currency": "EUR",
        "starts_on": date(2026, 11, 1),
    }
    with pytest.raises(Invalid, match="No exchange rate from EUR to USD"):
        balance_add(actor=actor, **facts)
    ExchangeRate.objects.create(
        organization=actor.organization, base="EUR", quote="USD", day=date(2026, 10, 31), rate=Decimal("1.1"), source="test"
    )
    made = balance_add(actor=actor, **facts)
    assert made.exchange_rate == Decimal("1.1")
    assert balance_end(actor=actor, balance_id=made.pk, on=date(2026, 11, 9)).ends_on == date(2026, 11, 9)
    assert Balance.objects.count() == 1


def test_a_markup_is_dated_and_repeated_only_when_it_changes(actor: Actor, team: Team) -> None:
    first = markup_set(actor=actor, percent=Decimal(5), valid_from=date(2026, 1, 1), team=team)
    assert markup_set(actor=actor, percent=Decimal(5), valid_from=date(2026, 2, 1), team=team) == first
    markup_set(actor=actor, percent=Decimal(0), valid_from=date(2026, 3, 1), team=team)
    assert Markup.objects.count() == 2
