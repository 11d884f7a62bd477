"""Calls rated by their kind, in SQL, come to exactly what they come to one by one."""

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from django.utils import timezone

from governance import sql
from governance.budgets.rules import rules_of
from governance.budgets.services import budget_create
from governance.pricing.agreements import term_add
from governance.pricing.book import current_book
from governance.pricing.exchange import Quote
from governance.pricing.exchanging import own_rates_add
from governance.pricing.models import Model
from governance.pricing.services import model_add, price_row_add
from governance.pricing.terms import terms_of
from governance.tenancy.access import member_actor
from governance.tenancy.directory import directory_at
from governance.tenancy.models import Member, Organization, Team
from ingest.amending.models import EventAmendment
from ingest.formats.event import UsageEvent as UsageEventIn
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun
from ingest.rerating.rating import RATED, Rerater
from ingest.rerating.scope import scope_parameters
from ingest.rerating.services import run_create, run_start
from ingest.rerating.together import looking, page_read
from ingest.rerating.working import fitting, run_work
from ingest.services.amend import real_changes
from ingest.verify import differences, organization_repair
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import event, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
NUMBERS = ("cost", "list_cost", "exchange_rate")
SIZES: tuple[dict[str, Any], ...] = (
    {"input_tokens": 1000, "output_tokens": 100}, {"input_tokens": 199_999, "cache_read_tokens": 1}, {"input_tokens": 200_001, "output_tokens": 7, "reasoning_tokens": 7},
    {"input_tokens": 3, "cache_read_tokens": 333_333, "cache_write_5m_tokens": 17, "cache_write_1h_tokens": 13, "output_tokens": 901, "reasoning_tokens": 33},
    {"input_tokens": None, "output_tokens": 55}, {"input_tokens": None, "output_tokens": None}, {"output_tokens": 5, "reasoning_tokens": 6},
    {"units": {"web_search": Decimal(2)}}, {"input_tokens": 10_000_001},
)  # fmt: skip
SAID: tuple[dict[str, str] | None, ...] = (None, {"ticket": "7"}, {"batch": "true", "ticket": "8"}, {"inference_geo": "US"})
MODELS = (("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-opus-4-5-20251101"), ("zhipu", "glm-x"), ("acme-ai", "nobody-knows"))


def calls(now: datetime) -> Iterator[UsageEventIn]:
    for number, ((provider, model), size, said) in enumerate(product(MODELS, SIZES, SAID)):
        # Every seventh minute from a day and a half ago: some lie before and some after each of the changes below.
        at = now - timedelta(hours=36) + timedelta(minutes=14 * number)
        labels: dict[str, Any] = {"team": "platform" if number % 3 else "", "session": f"s{number % 5}", "task": f"t{number % 2}", "tags": said}
        yield event(number, occurred_at=at, provider=provider, model=model, **labels, **({"input_tokens": 1000, "output_tokens": 100} | size))


def changes_of_all_kinds(admin: Member, team: Team, now: datetime) -> None:
    """Rows that begin within the calls, steps by size and by the hour, a kind of call, a currency, percents and own amounts."""
    actor, sonnet = member_actor(admin), Model.objects.get(provider__slug="anthropic", slug="claude-sonnet-4-5")
    glm = Model.objects.get(provider__slug="zhipu", slug="glm-x")
    own_rates_add(actor=actor, quotes=[Quote("CNY", "USD", (now - timedelta(days=3 - day)).date(), Decimal(f"0.1390{day}7713")) for day in range(3)])
    stepped = {"input_tokens": {"per": 1_000_000, "base": "3.1", "tiers": [[200_000, "6.05"]]}, "output_tokens": Decimal("15.5"), "output_reasoning_tokens": Decimal(21)}
    price_row_add(actor=None, model=sonnet, valid_from=now - timedelta(hours=20, minutes=3), rates=stepped)
    price_row_add(actor=None, model=sonnet, valid_from=now - timedelta(days=9), rates={"input_tokens": Decimal("1.55")}, context={"processing": "batch"})
    price_row_add(actor=None, model=glm, valid_from=now - timedelta(days=9), rates={"input_tokens": Decimal("2.17"), "output_tokens": Decimal("8.3")}, currency="CNY")
    night: dict[str, Any] = {"valid_from": now - timedelta(days=9), "daily_hours": (time(22, 10), time(6, 40)), "currency": "CNY"}
    price_row_add(actor=None, model=glm, rates={"input_tokens": Decimal("1.01"), "output_tokens": Decimal("4.7")}, **night)
    term_add(actor=actor, name="Ours", valid_from=now - timedelta(hours=11), provider="anthropic", percent_off=Decimal("12.5"), team=team)
    term_add(actor=actor, name="Opus", valid_from=now - timedelta(days=2), model="claude-opus-4-5", provider="anthropic", rates={"output_tokens": Decimal("19.99")})
    current_book(refresh=True)


def rerater_of(organization: Organization) -> Rerater:
    return Rerater(current_book(refresh=True), terms_of(directory_at(organization)))


def stored() -> dict[Any, Any]:
    return {row.id: row for row in sql.rows("SELECT * FROM usage_event")}


def test_every_call_comes_to_what_it_comes_to_alone(admin: Member, team: Team, organization: Organization) -> None:
    actor, now = member_actor(admin), timezone.now()
    model_add(actor=None, provider="zhipu", slug="glm-x")
    current_book(refresh=True)
    budget_create(actor=actor, name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(100), unpriced_call_amount=Decimal("0.25"))
    budget_create(actor=actor, name="Each", scope_kind="session", period_kind="session", limit_amount=Decimal(9), filters={"tag:ticket": ["7"]})
    budget_create(actor=actor, name="Task", scope_kind="task", period_kind="task", limit_amount=Decimal(9))
    store(admin, *calls(now))
    UsageEvent.objects.filter(external_id__in=("call-1", "call-2")).update(billing_mode="subscription")
    UsageEvent.objects.filter(external_id="call-3").update(tier="other")
    organization_repair(organization)
    changes_of_all_kinds(admin, team, now)
    run = run_create(actor=actor, reason="all kinds of changes", starts_at=now - timedelta(days=2), ends_at=now)
    organization.refresh_from_db()
    before, rerater = stored(), rerater_of(organization)
    given = scope_parameters(run) | looking(rerater, rules_of(directory_at(organization)), starts_at=run.starts_at, ends_at=run.ends_at)
    page = page_read(rerater, given | {"limit": 1000})
    assert page is not None
    assert page.seen == len(before)
    assert len(before) / 2 < page.by_kind < page.seen
    run_work(run.pk)
    run = run_start(actor=actor, run=ReratingRun.objects.get())
    run_work(run.pk, chunk=37)
    after, kept = stored(), {row.event_id: row for row in EventAmendment.objects.all()}
    for key, row in before.items():
        changes = real_changes(row, rerater.changes(row)) or {}
        assert {name: getattr(after[key], name) for name in RATED} == {name: getattr(row, name) for name in RATED} | changes
        assert (key in kept) == bool(changes)
        if changes:
            assert_kept(kept[key], row, changes)
    run.refresh_from_db()
    assert run.preview is not None
    assert (run.state, run.events_seen, run.events_changed, run.preview["events"]) == ("done", len(before), len(kept), len(kept))
    assert Decimal(run.preview["delta"]) == run.cost_after - run.cost_before
    assert differences(organization) == []


def assert_kept(kept: EventAmendment, row: Any, changes: Any) -> None:
    """Old and new stand beside the call, whichever way it was rated."""
    old = {name: getattr(row, name) for name in RATED}
    assert (kept.old_cost, kept.old_price_id, kept.new_cost, kept.new_price_id) == (
        row.cost, row.price_id, changes.get("cost", row.cost), changes.get("price_id", row.price_id),
    )  # fmt: skip
    others = changes.keys() - {"cost", "price_id"}
    assert read(kept.old) == {name: old[name] for name in others}
    assert read(kept.new) == {name: changes[name] for name in others}


def read(values: dict[str, Any] | None) -> dict[str, Any]:
    return {name: Decimal(value) if name in NUMBERS and value is not None else value for name, value in (values or {}).items()}


@pytest.mark.parametrize(
    ("lasted", "held", "size"), [(0.5, 0.05, 1000), (0.25, 0.001, 2000), (0.01, 0.001, 2000), (2.0, 0.01, 500), (0.1, 0.1, 500), (9.0, 0.01, 500)]
)
def test_chunk_grows_and_shrinks_with_the_time_it_takes(lasted: float, held: float, size: int) -> None:
    assert fitting(1000, lasted=lasted, held=held) == size
