"""Adds prepared events up: rollups by hour and by day, sessions, and what budgets are charged. Pure."""

import operator
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from governance.budgets.calls import Call
from governance.budgets.rules import QUARTER_HOUR, Looks
from governance.budgets.services import AuthorizedCall, Spend
from governance.ids import hash16
from governance.periods import hour_bucket
from governance.tenancy.directory import Attribution
from ingest.once.sources import reporter_of
from ingest.services.prepare import Prepared

ZERO = Decimal(0)
NO_TAGS: Mapping[str, str] = {}
Key = TypeVar("Key", bound=Hashable)
Labels = tuple[str, str, tuple[tuple[str, str], ...]]
# The order in which the statements and the sums name the measures.
COUNTS = (
    "calls", "errors", "unpriced_calls", "unmeasured_calls", "input_tokens", "cache_read_tokens", "cache_write_5m_tokens",
    "cache_write_1h_tokens", "output_tokens", "reasoning_tokens", "latency_ms_sum", "latency_calls",
)
AMOUNTS = ("cost", "notional_cost", "list_cost")
DIMENSIONS = (
    "team_id", "project_id", "harness", "gateway", "provider", "model", "maker", "tier", "role", "task_class", "billing_mode", "currency",
)


@dataclass(slots=True)
class Sums:
    """Measures of some events: counts in the order of COUNTS, amounts in the order of AMOUNTS."""

    counts: list[int] = field(default_factory=lambda: [0] * len(COUNTS))
    cost: Decimal = ZERO
    notional_cost: Decimal = ZERO
    # What the billed calls come to at list price; one that the price book has no price for, at its own.
    list_cost: Decimal = ZERO

    @property
    def amounts(self) -> tuple[Decimal, ...]:
        """The amounts in the order of AMOUNTS."""
        return self.cost, self.notional_cost, self.list_cost

    @property
    def tokens(self) -> int:
        """Input, cached or not, and output."""
        return sum(self.counts[4:9])

    def add(self, other: "Sums") -> None:
        if any(other.counts):
            self.counts = list(map(operator.add, self.counts, other.counts))
        self.cost += other.cost
        self.notional_cost += other.notional_cost
        self.list_cost += other.list_cost

    def add_event(self, row: Prepared) -> None:
        event, counts, cost = row.event, self.counts, row.rating.cost
        counts[0] += 1
        if event.status != "ok":
            counts[1] += 1
        if cost is None:
            counts[2] += 1
        elif row.billing_mode == "metered":
            self.cost += cost
            list_cost = row.rating.list_cost
            self.list_cost += cost if list_cost is None else list_cost
        else:
            self.notional_cost += cost
        if event.input_tokens is None and event.output_tokens is None:
            counts[3] += 1
        counts[4] += event.input_tokens or 0
        counts[5] += event.cache_read_tokens or 0
        counts[6] += event.cache_write_5m_tokens or 0
        counts[7] += event.cache_write_1h_tokens or 0
        counts[8] += event.output_tokens or 0
        counts[9] += event.reasoning_tokens or 0
        if event.latency_ms is not None:
            counts[10] += event.latency_ms
            counts[11] += 1

    def add_stored(self, row: Any, sign: int) -> None:
        """As `add_event`, for a row of usage_event; with sign -1 it takes the event off."""
        counts = self.counts
        counts[0] += sign
        if row.status != "ok":
            counts[1] += sign
        self.add_cost(row.cost, row.list_cost, row.billing_mode, sign=sign)
        if row.input_tokens is None and row.output_tokens is None:
            counts[3] += sign
        counts[4] += sign * (row.input_tokens or 0)
        counts[5] += sign * (row.cache_read_tokens or 0)
        counts[6] += sign * (row.cache_write_5m_tokens or 0)
        counts[7] += sign * (row.cache_write_1h_tokens or 0)
        counts[8] += sign * (row.output_tokens or 0)
        counts[9] += sign * (row.reasoning_tokens or 0)
        if row.latency_ms is not None:
            counts[10] += sign * row.latency_ms
            counts[11] += sign

    def add_cost(self, cost: Decimal | None, list_cost: Decimal | None, billing_mode: str, *, sign: int) -> None:
        """Adds or takes off what one event of this billing mode cost, and its list price; without a cost it has no price."""
        if cost is None:
            self.counts[2] += sign
        elif billing_mode == "metered":
            self.cost += sign * cost
            self.list_cost += sign * (cost if list_cost is None else list_cost)
        else:
            self.notional_cost += sign * cost

    @property
    def is_nothing(self) -> bool:
        """Whether all measures are 0."""
        return not any(self.counts) and not any(self.amounts)


@lru_cache(maxsize=65_536)
def _local_bucket(quarter_hour: int, zone: str) -> tuple[datetime, Any]:
    """The local hour (as an instant) and the local day that a quarter hour of UTC lies in."""
    instant = datetime.fromtimestamp(quarter_hour * QUARTER_HOUR, UTC)
    return hour_bucket(instant, ZoneInfo(zone)), instant.astimezone(ZoneInfo(zone)).date()


@lru_cache(maxsize=65_536)
def dimensions_hash(values: tuple[Any, ...]) -> UUID:
    """The 16-byte hash that stands for a list of dimension values in a rollup's key."""
    return hash16(*("" if value is None else str(value) for value in values))


@dataclass(slots=True)
class Batch:
    """Everything a batch of accepted events adds to the tables of sums."""

    hours: dict[tuple[datetime, tuple[Any, ...]], Sums]
    days: dict[tuple[Any, tuple[Any, ...]], Sums]
    sessions: dict[str, "SessionSums"]
    spends: list[Spend]


@dataclass(slots=True)
class SessionSums:
    """What a batch adds to one session. The providers are the first and the last by name (code points); empty: none is known."""

    first_at: datetime
    latest: Prepared
    sums: Sums = field(default_factory=Sums)
    tokens: int = 0
    context_tokens: int = 0
    context_tokens_max: int = 0
    provider_least: str = ""
    provider_greatest: str = ""
    source_least: str = ""
    source_greatest: str = ""

    def add_source(self, source: str) -> None:
        reporter = reporter_of(source)
        self.source_least = min(self.source_least or reporter, reporter)
        self.source_greatest = max(self.source_greatest, reporter)

    def add_provider(self, name: str) -> None:
        if name:
            self.provider_least = min(self.provider_least or name, name)
            self.provider_greatest = max(self.provider_greatest, name)


def labels_of(looks: Looks, *, task: str, environment: str, tags: Mapping[str, str] | None) -> Labels:
    """The task, environment and tags, as far as a budget looks at them."""
    return (
        task if looks.task else "",
        environment if looks.environment else "",
        tuple((name, tags[name]) for name in sorted(looks.tags & tags.keys())) if looks.tags and tags else (),
    )


@dataclass(frozen=True, slots=True)
class Origin:
    """What budgets look at beyond what usage is added up by: the key that events came with, and the labels that matter."""

    looks: Looks
    api_key_id: int | None = None
    service_account_id: int | None = None

    def labels(self, row: Prepared) -> Labels:
        """The task, environment and tags of an event, as far as a budget looks at them."""
        return labels_of(self.looks, task=row.event.task, environment=row.environment, tags=row.event.tags)

    def call(self, row: Prepared) -> Call:
        """One event as budgets see it."""
        rating = row.rating
        dimensions = (
            row.who.team_id, row.who.project_id, row.harness, row.gateway, rating.provider, rating.model, rating.maker, rating.tier, row.role,
            row.task_class, row.billing_mode,
        )
        return self.call_of(row.event.session, row.who.member_id, dimensions, self.labels(row))

    def call_of(self, session: str, member_id: int | None, dimensions: Sequence[Any], labels: Labels) -> Call:
        """Calls that are alike as budgets see them; `dimensions` in the order of DIMENSIONS."""
        team_id, project_id, harness, gateway, provider, model, maker, tier, role, task_class, billing_mode = dimensions[:11]
        task, environment, tags = labels
        return Call(
            Attribution(team_id, project_id, member_id), session, task, self.api_key_id, self.service_account_id, provider, maker, model, tier,
            harness, gateway, role, task_class, environment, billing_mode, dict(tags) if tags else NO_TAGS,
        )


def batch_sums(rows: Sequence[Prepared], zone: ZoneInfo, origin: Origin) -> Batch:
    """Adds up accepted events. Each event is added once; the wider sums are made of the narrower."""
    fine: dict[tuple[Any, ...], tuple[Sums, datetime]] = {}
    sessions: dict[str, SessionSums] = {}
    for row in rows:
        event, rating, who = row.event, row.rating, row.who
        quarter = int(row.at.timestamp()) // QUARTER_HOUR
        key = (
            quarter, event.session, who.member_id, who.team_id, who.project_id, row.harness, row.gateway, rating.provider, rating.model,
            rating.maker, rating.tier, row.role, row.task_class, row.billing_mode, rating.currency, origin.labels(row),
        )
        found = fine.get(key)
        if found is None:
            fine[key] = found = (Sums(), row.at)
        found[0].add_event(row)
        if event.session:
            _add_to_session(sessions, row)
    batch = Batch(hours={}, days={}, sessions=sessions, spends=[])
    for key, (sums, occurred_at) in fine.items():
        widen(batch, key, sums, occurred_at=occurred_at, zone=zone.key, origin=origin)
        _add_session_sums(sessions, key[1], sums)
    return batch


def widen(batch: Batch, key: tuple[Any, ...], sums: Sums, *, occurred_at: datetime, zone: str, origin: Origin) -> None:
    """Adds the sums of one quarter hour's like events to the hour, the day and the spends."""
    quarter, session, member_id, *dimensions, labels = key
    hour, day = _local_bucket(quarter, zone)
    _add_to(batch.hours, (hour, tuple(dimensions)), sums)
    _add_to(batch.days, (day, (*dimensions, member_id)), sums)
    batch.spends.append(Spend(
        call=origin.call_of(session, member_id, dimensions, labels),
        occurred_at=occurred_at,
        amount=sums.cost + sums.notional_cost,
        tokens=sums.tokens,
        calls=sums.counts[0],
        unpriced_calls=sums.counts[2],
    ))


def _add_to(totals: dict[Key, Sums], key: Key, sums: Sums) -> None:
    found = totals.get(key)
    if found is None:
        totals[key] = replace(sums, counts=sums.counts.copy())
    else:
        found.add(sums)


def _add_to_session(sessions: dict[str, SessionSums], row: Prepared) -> None:
    event = row.event
    context = (
        (event.input_tokens or 0) + (event.cache_read_tokens or 0) + (event.cache_write_5m_tokens or 0) + (event.cache_write_1h_tokens or 0)
    )
    found = sessions.get(event.session)
    if found is None:
        sessions[event.session] = found = SessionSums(first_at=event.occurred_at, latest=row, context_tokens=context)
    elif event.occurred_at >= found.latest.event.occurred_at:
        found.latest, found.context_tokens = row, context
    found.first_at = min(found.first_at, event.occurred_at)
    found.context_tokens_max = max(found.context_tokens_max, context)
    found.tokens += context + (event.output_tokens or 0)
    found.add_provider(row.rating.provider)
    found.add_source(row.source)


def _add_session_sums(sessions: dict[str, SessionSums], session: str, sums: Sums) -> None:
    if session:
        sessions[session].sums.add(sums)


def authorized_calls(rows: Iterable[Prepared], origin: Origin) -> list[AuthorizedCall]:
    """The calls that name an authorization."""
    return [
        AuthorizedCall(row.event.authorization, row.cost, row.event.occurred_at, _spend(row, origin))
        for row in rows if row.event.authorization is not None
    ]


def _spend(row: Prepared, origin: Origin) -> Spend:
    """What budgets are charged for one call."""
    sums = Sums()
    sums.add_event(row)
    amount = sums.cost + sums.notional_cost
    return Spend(origin.call(row), row.at, amount=amount, tokens=sums.tokens, calls=1, unpriced_calls=sums.counts[2])


def authorized_call_stored(row: Any) -> AuthorizedCall:
    """A call that was counted before it named its authorization, as NAME_AUTHORIZATIONS returns it."""
    call = Call(
        Attribution(row.team_id, row.project_id, row.member_id), row.session, row.task, row.api_key_id, row.service_account_id, row.provider, row.maker,
        row.model, row.tier, row.harness, row.gateway, row.role, row.task_class, row.environment, row.billing_mode, row.tags or NO_TAGS,
    )
    unpriced = int(row.cost is None)
    spend = Spend(call, row.occurred_at, amount=row.cost or ZERO, tokens=row.tokens, calls=1, unpriced_calls=unpriced)
    return AuthorizedCall(row.authorization_id, row.cost, row.occurred_at, spend)
