"""Who told of the calls, for people: coverage with names, a call's reports in words, pairs that wait."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from dashboards.components.figures import duration_text
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Project, Team
from ingest.models import EventSighting, UsageEvent
from ingest.once import selectors as once
from ingest.once.fingerprint import total
from ingest.once.merging import INPUTS
from ingest.once.selectors import Coverage, Described, Shares, shares_of, source_name

# What coverage is told apart by on pages, and how a call is called that says none.
BY = {"harness": "no harness", "gateway": "no gateway", "team": "Unallocated", "project": "no project"}


@dataclass(frozen=True, slots=True)
class Group:
    """The calls of one harness, gateway, team or project by who told of them."""

    key: str
    name: str
    shares: Shares

    @property
    def seen_by_both(self) -> Decimal | None:
        return share_of_both(self.shares)


def share_of_both(shares: Shares) -> Decimal | None:
    """What share of the calls a gateway and a harness told of; None without calls."""
    return Decimal(shares.both) / shares.calls if shares.calls else None


def coverage_of(actor: Actor, *, since: datetime, until: datetime, by: str) -> tuple[Shares, list[Group]]:
    """All calls of the window by who told of them, and each group's, the most calls first. `by` is one of BY."""
    found = once.coverage(actor, since=since, until=until, by=by)
    groups: dict[str, list[Coverage]] = {}
    for one in found:
        groups.setdefault(one.group, []).append(one)
    names = _names(actor, by)
    listed = [Group(key, names.get(key, key) if key else BY[by], shares_of(rows)) for key, rows in groups.items()]
    return shares_of(found), sorted(listed, key=lambda one: (-one.shares.calls, one.name))


def _names(actor: Actor, by: str) -> Mapping[str, str]:
    if by not in ("team", "project"):
        return {}
    rows = scoped(actor, Team.objects.all()) if by == "team" else scoped(actor, Project.objects.all())
    return {str(pk): name for pk, name in rows.order_by("pk").values_list("pk", "name")}


@dataclass(frozen=True, slots=True)
class Told:
    """One report of a call: its source in words, and in what it differs from the call as it counts (name, reported, counted)."""

    row: EventSighting
    source: str
    differs: Sequence[tuple[str, Any, Any]]


def reports_of(actor: Actor, call: UsageEvent) -> list[Told]:
    """Every report of a call that several told of. Empty for one that was told of once."""
    return [
        Told(
            one,
            source_name(one.source),
            [(name.replace("_", " "), _written(said), _written(counted)) for name, said, counted in once.differences(one, call)],
        )
        for one in once.sightings_of_call(actor, call.id)
    ]


def _written(value: Any) -> Any:
    return f"{value:,}" if isinstance(value, int) else value


@dataclass(frozen=True, slots=True)
class Pair:
    """An undecided pair as pages list it: its calls, each with who told of it in words."""

    described: Described

    @property
    def row(self) -> Any:
        return self.described.pair

    @property
    def calls(self) -> list[tuple[Any, str]]:
        return [
            (call, "; ".join(source_name(one) for one in told))
            for call, told in zip(self.described.calls, self.described.sources, strict=True)
        ]

    @property
    def differs(self) -> str:
        """In what the two differ, in words."""
        first, second = self.described.calls
        counts = [(total([getattr(call, name) for name in INPUTS]) or 0, call.output_tokens or 0) for call in (first, second)]
        found = [
            f"{one:,} and {other:,} tokens of {name}" for one, other, name in zip(*counts, ("input", "output"), strict=True) if one != other
        ]
        found += [f"{first.model} and {second.model}"] if first.model != second.model else []
        apart = (second.occurred_at - first.occurred_at).total_seconds()
        return ", ".join([*found, f"{duration_text(apart)} apart"])


def pairs_listed(actor: Actor, *, most: int, session: str | None = None, before: int | None = None) -> tuple[list[Pair], int | None]:
    """Undecided pairs, the latest noted first, and what comes into `before` for older ones (None: there are none)."""
    rows = once.pairs_undecided(actor, session=session).order_by("-id")
    found = list((rows if before is None else rows.filter(pk__lt=before))[: most + 1])
    listed = [Pair(one) for one in once.pairs_described(actor, found[:most])]
    return listed, found[most - 1].pk if len(found) > most else None
