"""A price that changes is told to those who look after prices: by how much, what last month would have cost, which teams and budgets it is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from governance.budgets.services import budget_create
from governance.errors import Conflict, Forbidden, NotFound
from governance.notices.models import Notice, Signal
from governance.pricing.book import current_book
from governance.pricing.models import PriceFinding, PriceRun, Provider, RatingProposal
from governance.pricing.services import model_add, price_row_add
from governance.pricing.sync.services import finding_accept, list_upload, source_sync
from governance.pricing.usage import Usage
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.formats.event import UsageEvent
from ingest.price_changes.effect import effects_of
from ingest.price_changes.services import proposal_dismiss, proposal_take
from ingest.price_changes.telling import changes_tell
from ingest.rerating.models import ReratingRun
from ingest.services import events_store

pytestmark = pytest.mark.django_db
# Zhipu raised API prices with GLM-5 on 2026-02-12 and again with GLM-5-Turbo on 2026-03-16, 83 percent over both (market review of 2026-04-04).
FIRST_RISE, SECOND_RISE = datetime(2026, 2, 12, tzinfo=UTC), datetime(2026, 3, 16, tzinfo=UTC)
BEFORE, BETWEEN, AFTER = ("0.60", "2.00"), ("0.78", "2.60"), ("1.098", "3.66")
DAY = timedelta(days=1)


def own_list(*steps: tuple[str, str, tuple[str, str]]) -> bytes:
    lines = [f"glm-5,{begins},{announced},{amounts[0]},{amounts[1]}" for begins, announced, amounts in steps]
    return "\n".join(["model,valid_from,announced_at,input,output", *lines]).encode()


def upload(at: datetime, *steps: tuple[str, str, tuple[str, str]]) -> PriceRun:
    return list_upload(actor=None, provider="zhipuai", body=own_list(*steps), now=at)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(datetime(2026, 2, 11, 8, tzinfo=UTC), tick=False) as traveller:
        yield traveller


@pytest.fixture
def glm(clock: Any, organization: Organization) -> None:
    """The model at its price before the rises."""
    model = model_add(actor=None, provider="zhipuai", slug="glm-5", tier="economy")
    price_row_add(
        actor=None, model=model, valid_from=datetime(2025, 7, 1, tzinfo=UTC), rates={"input_tokens": "0.60", "output_tokens": "2.00"}
    )
    Provider.objects.filter(slug="zhipuai").update(model_match={"starts_with": "glm-"})
    current_book(refresh=True)


def use(member: Member, at: datetime, *, number: int, team: str = "platform", tokens: int = 1_000_000) -> None:
    """One call of a million tokens in and as many out."""
    call = UsageEvent(
        id=f"call-{number}",
        occurred_at=at,
        provider="zhipuai",
        model="glm-5",
        team=team,
        session=f"s{number}",
        input_tokens=tokens,
        output_tokens=tokens,
    )
    current_book(refresh=True)
    events_store(actor=member_actor(member), api_key=None, source="rest", events=[call])


def price(at: datetime) -> Decimal:
    cost = (
        current_book(refresh=True)
        .rate(provider="zhipuai", model="glm-5", at=at, usage=Usage(input_tokens=1_000_000, output_tokens=1_000_000))
        .cost
    )
    assert cost is not None
    return cost


def test_zhipu_announces_two_rises_that_come_to_83_percent(glm: None, clock: Any, admin: Member, team: Team) -> None:
    for number in range(20):
        use(admin, datetime(2026, 1, 5, tzinfo=UTC) + number * DAY, number=number)

    upload(datetime(2026, 2, 11, 9, tzinfo=UTC), ("", "", BEFORE), ("2026-02-12", "2026-02-11", BETWEEN))
    changes_tell(now=datetime(2026, 2, 11, 10, tzinfo=UTC))
    clock.move_to(datetime(2026, 3, 13, 9, tzinfo=UTC))
    for number in range(20, 30):
        use(admin, datetime(2026, 2, 14, tzinfo=UTC) + (number - 20) * DAY, number=number)
    upload(datetime(2026, 3, 13, 9, tzinfo=UTC), ("", "", BEFORE), ("2026-02-12", "", BETWEEN), ("2026-03-16", "2026-03-13", AFTER))
    changes_tell(now=datetime(2026, 3, 13, 10, tzinfo=UTC))

    first, second = PriceFinding.objects.order_by("id")
    assert [(found.kind, found.change.quantize(Decimal("0.0001")), found.valid_from) for found in (first, second)] == [
        ("announced", Decimal("0.3"), FIRST_RISE),
        ("announced", Decimal("0.4077"), SECOND_RISE),
    ]
    assert second.announced_at == datetime(2026, 3, 13, tzinfo=UTC)
    assert (price(FIRST_RISE - DAY), price(FIRST_RISE), price(SECOND_RISE)) == (Decimal("2.60"), Decimal("3.38"), Decimal("4.758"))
    assert price(SECOND_RISE) / price(FIRST_RISE - DAY) - 1 == Decimal("0.83")

    told = list(Notice.objects.filter(kind=Notice.Kind.PRICES, member=admin).order_by("id"))
    assert [notice.subject for notice in told] == [
        "glm-5 +30 %: +15.60 USD on last month's bill",
        "glm-5 +40.8 %: +13.78 USD on last month's bill",
    ]
    assert "January 2026: 52.00 USD; at the new price 67.60 USD (+15.60 USD)" in told[0].body
    assert "Teams: Platform +15.60 USD" in told[0].body
    assert "from 16 March 2026, 01:00 (Europe/Berlin)" in told[1].body


def test_signal_says_what_changed_for_programs(glm: None, admin: Member, team: Team) -> None:
    use(admin, datetime(2026, 1, 5, tzinfo=UTC), number=1)
    run = upload(datetime(2026, 2, 11, 9, tzinfo=UTC), ("", "", BEFORE), ("2026-02-12", "2026-02-11", BETWEEN))
    changes_tell()
    facts = Signal.objects.get(kind=Signal.Kind.PRICES_CHANGED).facts

    assert (facts["run"], facts["source"], facts["changes"][0]["model"]) == (run.pk, "own:zhipuai", "glm-5")
    assert Decimal(facts["changes"][0]["after"]) - Decimal(facts["changes"][0]["before"]) == Decimal("0.78")


def test_budget_that_the_new_price_takes_over_its_limit_is_named(glm: None, clock: Any, admin: Member, team: Team) -> None:
    budget_create(
        actor=member_actor(admin), name="Platform", scope_kind="team", team=team, period_kind="month", limit_amount=Decimal(80), is_hard=False, action="notify",
    )  # fmt: skip
    for number in range(27):
        use(admin, datetime(2026, 1, 15, 12, tzinfo=UTC) + number * DAY, number=number)
    upload(datetime(2026, 2, 11, 9, tzinfo=UTC), ("", "", BEFORE), ("2026-02-12", "2026-02-11", BETWEEN))
    changes_tell()
    (effect,) = effects_of(
        admin.organization, PriceFinding.objects.select_related("run"), now=datetime(2026, 2, 11, 9, tzinfo=UTC), with_budgets=True
    )

    (budget,) = effect.budgets
    assert budget.expected < 80 <= budget.expected_after
    assert "Budget Platform: forecast" in Notice.objects.get(kind=Notice.Kind.PRICES).body
    assert "over its limit" in Notice.objects.get(kind=Notice.Kind.PRICES).body
    # Once calls have been rated by it for days, forecasts go by it already.
    (later,) = effects_of(
        admin.organization, PriceFinding.objects.select_related("run"), now=datetime(2026, 2, 14, 9, tzinfo=UTC), with_budgets=True
    )
    assert later.budgets == ()


def test_nobody_is_told_of_models_that_are_not_used(glm: None, admin: Member) -> None:
    upload(datetime(2026, 2, 11, 9, tzinfo=UTC), ("", "", BEFORE), ("2026-02-12", "2026-02-11", BETWEEN))

    assert (changes_tell(), changes_tell()) == (1, 0)
    assert not Notice.objects.exists()


def test_each_run_is_told_once_and_to_those_who_look_after_prices(
    glm: None, admin: Member, engineer: Member, lead: Member, stranger: Member
) -> None:
    use(admin, datetime(2026, 1, 5, tzinfo=UTC), number=1)
    upload(datetime(2026, 2, 11, 9, tzinfo=UTC), ("", "", BEFORE), ("2026-02-12", "2026-02-11", BETWEEN))
    for _ in range(3):
        changes_tell()

    assert [notice.member for notice in Notice.objects.all()] == [admin]


def test_price_that_waits_is_told_as_waiting(glm: None, admin: Member) -> None:
    use(admin, datetime(2026, 1, 5, tzinfo=UTC), number=1)
    upload(datetime(2026, 2, 11, 9, tzinfo=UTC), ("", "", ("600", "2000")))
    changes_tell()
    notice = Notice.objects.get()

    assert "+2,597.40 USD" in notice.subject
    assert "waits for a decision" in notice.body
    assert "the unit may be mistaken" in notice.body
    assert price(datetime(2026, 2, 12, tzinfo=UTC)) == Decimal("2.60")


def test_price_found_late_is_an_offer_to_rate_again(glm: None, clock: Any, admin: Member, engineer: Member, stranger: Member) -> None:
    clock.move_to(datetime(2026, 2, 20, 9, tzinfo=UTC))
    for number in range(3):
        use(admin, datetime(2026, 2, 13, 12, tzinfo=UTC) + number * DAY, number=number)
    upload(datetime(2026, 2, 20, 9, tzinfo=UTC), ("", "", BEFORE), ("2026-02-12", "2026-02-11", BETWEEN))
    changes_tell()
    proposal = RatingProposal.objects.get()

    assert (proposal.organization, proposal.calls, proposal.difference, proposal.starts_at) == (
        admin.organization,
        3,
        Decimal("2.34"),
        FIRST_RISE,
    )
    for person, refusal in ((engineer, Forbidden), (stranger, NotFound)):
        with pytest.raises(refusal):
            proposal_take(actor=member_actor(person), proposal_id=proposal.pk)
    run = proposal_take(actor=member_actor(admin), proposal_id=proposal.pk)
    assert (run.providers, run.model_names, run.starts_at) == (["zhipuai"], ["glm-5"], FIRST_RISE)
    assert ReratingRun.objects.count() == 1
    with pytest.raises(Conflict):
        proposal_dismiss(actor=member_actor(admin), proposal_id=proposal.pk)


def test_price_accepted_late_is_an_offer_as_well(glm: None, clock: Any, admin: Member) -> None:
    upload(datetime(2026, 2, 11, 9, tzinfo=UTC), ("", "", ("600", "2000")))
    changes_tell()
    clock.move_to(datetime(2026, 2, 14, 9, tzinfo=UTC))
    use(admin, datetime(2026, 2, 12, 9, tzinfo=UTC), number=1)
    finding_accept(actor=member_actor(admin), finding_id=PriceFinding.objects.get().pk)
    changes_tell()

    proposal = RatingProposal.objects.get()
    assert (proposal.starts_at, proposal.calls, proposal.difference) == (datetime(2026, 2, 11, 9, tzinfo=UTC), 1, Decimal("2597.4"))


def test_source_that_worked_is_missed_once_after_days(glm: None, admin: Member) -> None:
    source_sync(
        actor=None, source="openrouter", body=b'{"data": [{"id": "a", "pricing": {"prompt": "0.000001", "completion": "0.000001"}}]}'
    )
    for _ in range(6):
        source_sync(actor=None, source="openrouter", body=b"<html>")
        changes_tell()

    assert [notice.subject for notice in Notice.objects.all()] == ["Prices of OpenRouter cannot be read"]


def test_source_that_never_worked_is_not_missed(glm: None, admin: Member) -> None:
    for _ in range(6):
        source_sync(actor=None, source="openrouter", body=b"<html>")
        changes_tell()

    assert not Notice.objects.exists()
