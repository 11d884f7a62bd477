"""Adds up what changes to stored events move: for hours, days, sessions, labels, authorizations and budgets, new less old. Pure."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any
from uuid import UUID

from governance.budgets.rules import QUARTER_HOUR, Rules
from governance.periods import BEGINNING
from ingest.services.prepare import unknown_names
from ingest.services.sums import DIMENSIONS, ZERO, Batch, Origin, Sums, labels_of, widen

# Columns whose change alone leaves an event where it is in every table of sums.
MONEY = frozenset({"cost", "price_id", "list_cost", "price_currency", "exchange_rate", "term_id", "reported_cost"})
TOKENS = frozenset({"input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"})
dimensions_of = attrgetter(*DIMENSIONS)
# What a session says of its calls beyond their sums, and of whose it is.
COURSE = frozenset({"session", "provider", "model", "api_key_id", "occurred_at"}) | TOKENS
OWNERS = frozenset({"session", "team_id", "project_id", "member_id", "harness", "gateway", "task", "parent_session"})
LABELLED = frozenset({"team_id", "project_id", "member_id", "team_label", "project_label", "member_label", "price_id", "term_id", "model_reported", "harness"})

# What an adjustment says of the calls it is about, besides their tags.
ADJUSTED = (
    "team_id", "project_id", "member_id", "api_key_id", "harness", "gateway", "provider", "model", "maker", "tier", "role", "task_class", "environment",
    "billing_mode", "currency",
)


@dataclass(slots=True)
class SessionDifference:
    """What one session's row gains. `latest` is the last of its events that are new to it in more than money."""

    sums: Sums = field(default_factory=Sums)
    latest: Any = None
    first_at: datetime | None = None
    context_tokens_max: int = 0
    provider_least: str = ""
    provider_greatest: str = ""

    def add(self, row: Any) -> None:
        """Takes note of an event as it is now."""
        if self.latest is None or row.occurred_at >= self.latest.occurred_at:
            self.latest = row
        self.first_at = row.occurred_at if self.first_at is None else min(self.first_at, row.occurred_at)
        self.context_tokens_max = max(self.context_tokens_max, context_tokens(row))
        if row.provider:
            self.provider_least = min(self.provider_least or row.provider, row.provider)
            self.provider_greatest = max(self.provider_greatest, row.provider)


def context_tokens(row: Any) -> int:
    """The input of a call, cached or not."""
    return sum(getattr(row, name) or 0 for name in TOKENS)


class Differences:
    """What a chunk of changes adds up to. `service_accounts` are those of API keys, by the key's id."""

    def __init__(self, *, rules: Rules, service_accounts: Mapping[int | None, int | None]) -> None:
        self.rules = rules
        self.sessions: dict[str, SessionDifference] = {}
        self.labels: dict[tuple[str, str], tuple[int, datetime, datetime]] = {}
        self.authorizations: dict[tuple[UUID, datetime], Decimal] = {}
        self.recounted: set[str] = set()
        self.rehomed: set[str] = set()
        self.adjustments: dict[tuple[Any, ...], tuple[int, Decimal, Decimal]] = {}
        self._fine: dict[tuple[Any, ...], tuple[Sums, datetime]] = {}
        self._origins: dict[int | None, Origin] = {}
        self.keys_know({**service_accounts, None: None})

    def keys_know(self, service_accounts: Mapping[int | None, int | None]) -> None:
        """Notes the service accounts of further API keys."""
        self._origins |= {key: Origin(self.rules.looks, key, account) for key, account in service_accounts.items()}

    def change(self, old: Any, changes: Mapping[str, Any]) -> None:
        """One event (a row of usage_event) becomes what `changes` say, by column."""
        if changes.keys() <= MONEY:
            self._change_money(old, changes)
        else:
            new = old._replace(**changes)
            self._add(old, -1)
            self._add(new, 1)
            self._authorize(old, -1)
            self._authorize(new, 1)
            self._sessions_touch(old, new, changes.keys())
        if not LABELLED.isdisjoint(changes) and not _stays_priced(old, changes):
            self._label(old, -1)
            self._label(old._replace(**changes), 1)

    def change_alike(self, group: Any) -> None:
        """Events that are alike in all that anything is added up by, whose money alone changes: a row of `rerating.statements.GROUPS`."""
        labels = labels_of(self.rules.looks, task=group.task, environment=group.environment, tags=group.tags)
        quarter = int(group.quarter_at.timestamp()) // QUARTER_HOUR
        key = (group.api_key_id, quarter, group.session, group.member_id, *dimensions_of(group), labels)
        sums, _ = self._fine.setdefault(key, (Sums(), group.at))
        sums.counts[2] += group.unpriced_calls
        sums.cost += group.cost
        sums.notional_cost += group.notional_cost
        sums.list_cost += group.list_cost
        if group.unknown_calls:
            self._labels_add(("model", group.model_reported), group.unknown_calls, group.unknown_first_at, group.unknown_last_at)

    def remove(self, old: Any) -> None:
        """One event is no more."""
        self._add(old, -1)
        self._authorize(old, -1)
        self._label(old, -1)
        if old.session:
            self.sessions.setdefault(old.session, SessionDifference())
            self.recounted.add(old.session)
            self.rehomed.add(old.session)

    def post(self, old: Any, changes: Mapping[str, Any], *, now: datetime, month: date) -> None:
        """One event of a closed month would become something else: it stays, and the money that it comes to counts now, under the names it has and had."""
        self._post(old, -1, now, month)
        self._post(old._replace(**changes), 1, now, month)

    def _post(self, row: Any, sign: int, now: datetime, month: date) -> None:
        if row.cost is None:
            return
        # An adjustment is of no session and no task.
        self._sums(row._replace(counted_at=now, session="", task="")).add_cost(row.cost, row.list_cost, row.billing_mode, sign=sign)
        tags = None if row.tags is None else tuple(sorted(row.tags.items()))
        place = (month, tags, *(getattr(row, name) for name in ADJUSTED))
        calls, cost, list_cost = self.adjustments.get(place, (0, ZERO, ZERO))
        listed = row.cost if row.list_cost is None else row.list_cost
        self.adjustments[place] = calls + (sign > 0), cost + sign * row.cost, list_cost + sign * listed

    def batch(self) -> Batch:
        """The sums by hour and by day, and what budgets are charged; those of nothing are left out."""
        batch, zone = Batch(hours={}, days={}, sessions={}, spends=[]), self.rules.directory.zone.key
        for (api_key_id, *key), (sums, occurred_at) in self._fine.items():
            if sums.is_nothing:
                continue
            widen(batch, tuple(key), sums, occurred_at=occurred_at, zone=zone, origin=self._origins[api_key_id])
            if key[1]:
                self.sessions.setdefault(key[1], SessionDifference()).sums.add(sums)
        batch.hours = {key: sums for key, sums in batch.hours.items() if not sums.is_nothing}
        batch.days = {key: sums for key, sums in batch.days.items() if not sums.is_nothing}
        return batch

    def _change_money(self, row: Any, changes: Mapping[str, Any]) -> None:
        cost, list_cost = changes.get("cost", row.cost), changes.get("list_cost", row.list_cost)
        if (cost, list_cost) == (row.cost, row.list_cost):
            return
        sums = self._sums(row)
        sums.add_cost(row.cost, row.list_cost, row.billing_mode, sign=-1)
        sums.add_cost(cost, list_cost, row.billing_mode, sign=1)
        if row.authorization_id is not None:
            place = row.authorization_id, row.occurred_at
            self.authorizations[place] = self.authorizations.get(place, ZERO) + (cost or ZERO) - (row.cost or ZERO)

    def _add(self, row: Any, sign: int) -> None:
        self._sums(row).add_stored(row, sign)

    def _sums(self, row: Any) -> Sums:
        """The sums of the events that are like this one as far as anything is added up by."""
        looks, at = self.rules.looks, row.counted_at or row.occurred_at
        key = (
            row.api_key_id, int(at.timestamp()) // QUARTER_HOUR, row.session, row.member_id, row.team_id, row.project_id, row.harness,
            row.gateway, row.provider, row.model, row.maker, row.tier, row.role, row.task_class, row.billing_mode, row.currency,
            labels_of(looks, task=row.task, environment=row.environment, tags=row.tags),
        )
        found = self._fine.get(key)
        if found is None:
            found = self._fine[key] = (Sums(), at)
        return found[0]

    def _authorize(self, row: Any, sign: int) -> None:
        if row.authorization_id is not None and row.cost:
            place = row.authorization_id, row.occurred_at
            self.authorizations[place] = self.authorizations.get(place, ZERO) + sign * row.cost

    def _sessions_touch(self, old: Any, new: Any, names: AbstractSet[str]) -> None:
        is_recounted, is_rehomed = not COURSE.isdisjoint(names), not OWNERS.isdisjoint(names)
        if not is_recounted and not is_rehomed:
            return
        touched = {old.session, new.session} - {""}
        for key in touched:
            self.sessions.setdefault(key, SessionDifference())
        if new.session:
            self.sessions[new.session].add(new)
        if is_recounted:
            self.recounted |= touched
        if is_rehomed:
            self.rehomed |= touched

    def _label(self, row: Any, sign: int) -> None:
        names = unknown_names(
            named={"team": row.team_label, "project": row.project_label, "member": row.member_label}, known=(row.team_id, row.project_id, row.member_id),
            model="" if row.price_id is not None or row.term_id is not None else row.model_reported, harness=row.harness,
        )
        for name in names:
            self._labels_add(name, sign, row.occurred_at, row.occurred_at)

    def _labels_add(self, name: tuple[str, str], sign: int, first_at: datetime, last_at: datetime) -> None:
        calls, first, last = self.labels.get(name, (0, first_at, last_at))
        self.labels[name] = (calls + sign, min(first, first_at), max(last, last_at))


def _stays_priced(row: Any, changes: Mapping[str, Any]) -> bool:
    """Whether only the price of a call that had one becomes another, which leaves its names as known as they were."""
    return changes.keys() <= MONEY and changes.get("price_id", row.price_id) is not None and row.price_id is not None


def session_rows(sessions: Mapping[str, SessionDifference]) -> list[dict[str, Any]]:
    """The differences as rows of the storing statement, in the order of their keys. Where only sums move, nothing else of them counts."""
    return [_session_row(key, sessions[key]) for key in sorted(sessions)]


def _session_row(key: str, found: SessionDifference) -> dict[str, Any]:
    latest, counts = found.latest, found.sums.counts
    described: dict[str, Any] = dict.fromkeys(("parent_key", "harness", "gateway", "model", "task", "provider"), "")
    described |= dict.fromkeys(("team_id", "project_id", "member_id", "api_key_id"))
    if latest is not None:
        described = {name: getattr(latest, name) for name in described if name != "parent_key"} | {"parent_key": latest.parent_session}
    return {
        "key": key, **described, "first_at": found.first_at or LATER, "last_at": BEGINNING if latest is None else latest.occurred_at, "calls": counts[0],
        "errors": counts[1], "unpriced_calls": counts[2], "tokens": found.sums.tokens, "cost": found.sums.cost, "notional_cost": found.sums.notional_cost,
        "context_tokens": 0 if latest is None else context_tokens(latest), "context_tokens_max": found.context_tokens_max,
        "provider_least": found.provider_least, "provider_greatest": found.provider_greatest, "source_least": "", "source_greatest": "",
    }


# Later than any call, so that a row that only moves sums says nothing of when the session began.
LATER = datetime(9999, 1, 1, tzinfo=BEGINNING.tzinfo)


def label_rows(labels: Mapping[tuple[str, str], tuple[int, datetime, datetime]]) -> list[dict[str, Any]]:
    """The labels whose calls move, as rows of the storing statement, in the order of their keys."""
    return [
        {"kind": kind, "value": value, "calls": calls, "first_at": first, "last_at": last}
        for (kind, value), (calls, first, last) in sorted(labels.items()) if calls
    ]


def keys_losing(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of a rollup that lose calls, of which some may be left with none."""
    return [row for row in rows if row["calls"] < 0]
