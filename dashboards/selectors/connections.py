"""How each client's connection does: when it last reported, how often, what of it was refused, which keys it uses, and what a gateway saw of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from dashboards.connecting.clients import BY_SLUG, CLIENTS, Client, called_by, clients_of, passed_on
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from governance.tenancy.models import ApiKey
from ingest.arrivals import DAY, HOURS, Arrived, Refused, arrivals, refusals
from ingest.once import selectors as sources
from ingest.once.selectors import Coverage, Shares, shares_of

State = Literal["never", "live", "quiet", "failing"]
QUIET_AFTER = DAY
OTLP = "otlp"
NO_KEY = 0


@dataclass(frozen=True, slots=True)
class KeyUsed:
    """A key that something came with, by its id and name."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Connection:
    """One client as it reported; calls, errors, repeats, refused and by_hour are of the last 24 hours. `names` are harnesses not known by name here."""

    client: Client
    state: State
    last_at: datetime | None
    calls: int
    errors: int
    repeats: int
    refused: int
    refused_at: datetime | None
    reason: str
    by_hour: tuple[int, ...]
    keys: tuple[KeyUsed, ...]
    names: tuple[str, ...]
    coverage: Shares | None

    @property
    def seen_by_both(self) -> Decimal | None:
        """What share of the calls a gateway and a harness told of."""
        return Decimal(self.coverage.both) / self.coverage.calls if self.coverage and self.coverage.calls else None

    @property
    def an_hour(self) -> Decimal:
        return Decimal(self.calls + self.repeats) / HOURS


def connections(actor: Actor, *, now: datetime) -> list[Connection]:
    """Every client, those that reported last first and those that never did at the end."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    came: dict[str, list[Arrived]] = defaultdict(list)
    for one in arrivals(actor, now=now):
        for slug in clients_of(one.source, harness=one.harness, gateway=one.gateway):
            came[slug].append(one)
    missed: dict[str, list[Refused]] = defaultdict(list)
    for refusal in refusals(actor, now=now):
        missed[sender(refusal)].append(refusal)
    names = dict(access.scoped(actor, ApiKey.objects.all()).values_list("pk", "name"))
    covered = coverage(actor, now=now)
    found = [connection(client, came[client.slug], missed[client.slug], names=names, covered=covered, now=now) for client in CLIENTS]
    order = [client.slug for client in CLIENTS]
    return sorted(
        found, key=lambda one: (one.last_at is None, -(one.last_at.timestamp() if one.last_at else 0), order.index(one.client.slug))
    )


def sender(refusal: Refused) -> str:
    """Whose refusal it is, one client's: as with what arrives, by its own door, else by the gateway or harness it names."""
    door = OTLP if refusal.source.startswith(OTLP) else refusal.source
    return clients_of(door, harness=refusal.harness, gateway=refusal.gateway)[0]


def connection(
    client: Client,
    came: Sequence[Arrived],
    missed: Sequence[Refused],
    *,
    names: Mapping[int, str],
    covered: Mapping[str, Shares],
    now: datetime,
) -> Connection:
    last_at = max((one.last_at for one in came), default=None)
    refused_at = max((one.last_at for one in missed), default=None)
    used = sorted(({one.api_key_id for one in came} | {one.api_key_id for one in missed}) - {NO_KEY}, key=lambda key: names.get(key, ""))
    return Connection(
        client=client,
        state=state(last_at, refused_at, now),
        last_at=last_at,
        calls=sum(one.calls for one in came),
        errors=sum(one.errors for one in came),
        repeats=sum(one.repeats for one in came),
        refused=sum(one.count for one in missed),
        refused_at=refused_at,
        reason=max(missed, key=lambda one: one.last_at).reason if missed else "",
        by_hour=tuple(sum(hours) for hours in zip(*(one.by_hour for one in came), strict=True)) if came else (0,) * HOURS,
        keys=tuple(KeyUsed(key, names[key]) for key in used if key in names),
        names=tuple(sorted({one.harness for one in came if one.harness and one.harness != client.harness})) if not client.harness else (),
        coverage=covered.get(client.slug),
    )


def state(last_at: datetime | None, refused_at: datetime | None, now: datetime) -> State:
    """Failing: the latest that came was refused. Quiet: nothing came for a day."""
    if refused_at is not None and (last_at is None or refused_at > last_at):
        return "failing"
    if last_at is None:
        return "never"
    return "live" if now - last_at < QUIET_AFTER else "quiet"


def coverage(actor: Actor, *, now: datetime) -> dict[str, Shares]:
    """By client: who told of its calls of the last day, gateways, harnesses or both. Its calls are those that name it."""
    found: dict[str, list[Coverage]] = defaultdict(list)
    for by, named in (("harness", called_by), ("gateway", passed_on)):
        for one in sources.coverage(actor, since=now - DAY, until=now, by=by):
            if (slug := named(one.group)) is not None:
                found[slug].append(one)
    return {slug: shares_of(rows) for slug, rows in found.items()}


@dataclass(frozen=True, slots=True)
class Waited:
    """What came with one key so far: whether it was used at all, the latest that was counted, and the latest refusal."""

    key: ApiKey
    arrived: Arrived | None
    refused: Refused | None

    @property
    def clients(self) -> tuple[str, ...]:
        one = self.arrived
        return tuple(BY_SLUG[slug].name for slug in clients_of(one.source, harness=one.harness, gateway=one.gateway)) if one else ()


def waited(actor: Actor, key: ApiKey, *, now: datetime) -> Waited:
    """Whether the first call of a key has come."""
    came, missed = arrivals(actor, now=now, api_key_id=key.pk), refusals(actor, now=now, api_key_id=key.pk)
    return Waited(key, next(iter(came), None), next(iter(missed), None))
