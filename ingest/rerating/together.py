"""Rates the plain calls of a page by one statement: Python says what each kind of call costs by token, the database does the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from governance import sql
from governance.budgets.rules import Rules
from governance.periods import add_months, local_midnight
from governance.pricing.linear import Amounts, Band, Linear, in_units
from governance.tenancy.directory import Directory
from ingest.rerating import statements
from ingest.rerating.rating import Rerater
from ingest.rerating.revising import Reviser
from ingest.services.amend import Amended, Chunk
from ingest.services.amend_statements import HAS_POSTED

ENDLESS = 2**62
NO_BANDS: Sequence[Band | None] = (None,)
Parameters = dict[str, Any]


class Moved(Exception):
    """Calls of the page changed between being looked at and being locked. Nothing is wrong: it is done again, call by call."""


@dataclass(frozen=True, slots=True)
class Page:
    """The next calls of a scope: how many, the last one, and how many are rated by their kind or one by one. `is_whole`: the kinds' amounts are."""

    seen: int
    by_kind: int
    authorized: int
    last_at: datetime
    last_id: UUID
    is_whole: bool
    parameters: Parameters

    @property
    def one_by_one(self) -> int:
        return self.seen - self.by_kind


def looking(reviser: Reviser, rules: Rules, *, starts_at: datetime, ends_at: datetime) -> Parameters:
    """What tells kinds of calls in a range apart, as the statements take it."""
    looks = rules.looks
    return {
        **(_told_apart(reviser, starts_at, ends_at) if isinstance(reviser, Rerater) else {"by_team": False, "said_keys": [], "turns": []}), "turned_at": starts_at,
        "closed": _closed(rules.directory), "zone": rules.directory.zone.key,
        "looks_task": looks.task, "looks_environment": looks.environment, "looks_tags": sorted(looks.tags),
    }


def _told_apart(rerater: Rerater, starts_at: datetime, ends_at: datetime) -> Parameters:
    return {"by_team": bool(rerater.terms.terms), "said_keys": rerater.said_keys(), "turns": rerater.turns(starts_at, ends_at)}


def _closed(directory: Directory) -> list[datetime]:
    """When closed months begin and end, in turns."""
    return [local_midnight(edge, directory.zone) for month in sorted(directory.closed_months) for edge in (month, add_months(month, 1))]


def page_read(reviser: Reviser, parameters: Parameters, *, is_by_one: bool = False) -> Page | None:
    """The page after the position that the parameters name (those of the scope, and `looking`). None: there is no further call.

    What changes more than prices do is looked at one by one.
    """
    kinds = rows(statements.KINDS, parameters)
    if not kinds:
        return None
    first = kinds[0]
    within = {"first_at": min(kind.first_at for kind in kinds), "last_at": first.last_at, "last_id": first.last_id}
    found: list[tuple[Any, Linear]] = []
    if isinstance(reviser, Rerater) and not is_by_one and not _is_posted(parameters | within):
        found = [(kind, linear) for kind in kinds if kind.is_plain and (linear := reviser.linear(kind, _told_at(kind, parameters)))]
    seen = sum(kind.calls for kind in kinds)
    is_whole, chosen = _chosen(found)
    return Page(
        seen, sum(kind.calls for kind, _ in found), sum(kind.authorized for kind, _ in found), first.last_at, first.last_id, is_whole,
        parameters | within | chosen | {"limit": seen},
    )


def _is_posted(parameters: Parameters) -> bool:
    """Whether something was posted for a call of the page, which then is what its next change is compared with."""
    return bool(sql.rows(HAS_POSTED, parameters)[0].has_posted and sql.rows(statements.POSTED_WITHIN, parameters)[0].is_posted)


def page_rate(chunk: Chunk, page: Page, reviser: Reviser) -> Amended:
    """Re-rates the page's calls within the chunk's transaction; what they are part of moves when the chunk is told to. Raises Moved."""
    done = Amended(chunk.cause.pk)
    given = page.parameters | {"cause": chunk.cause.pk, "at": chunk.now}
    if page.by_kind:
        groups = rows(statements.GROUPS[page.is_whole], given)
        if (groups[0].seen, groups[0].rated) != (page.seen, page.by_kind):
            raise Moved
        _take(chunk, [group for group in groups if group.calls], done)
        if page.authorized:
            chunk.differences.authorizations |= {(row.authorization_id, row.occurred_at): row.amount for row in sql.rows(statements.AUTHORIZED, given)}
    if page.one_by_one:
        done.add(chunk.take(rows(statements.rest(reviser.also, is_locked=True), given), reviser.changes))
    return done


def _take(chunk: Chunk, groups: Sequence[Any], done: Amended) -> None:
    chunk.keys_know({group.api_key_id for group in groups})
    for group in groups:
        chunk.differences.change_alike(group)
        done.changed += group.calls
        done.cost_before += group.cost_before
        done.cost_after += group.cost_after


def _told_at(kind: Any, parameters: Mapping[str, Any]) -> datetime:
    """An instant at which the kind's calls cost what they do at all of theirs."""
    at: datetime = parameters["turns"][kind.span - 1] if kind.span else parameters["turned_at"]
    return at


def _chosen(found: Sequence[tuple[Any, Linear]]) -> tuple[bool, Parameters]:
    """Whether all amounts are whole, and the rows of the kinds, one for each band, as the arrays that the statements unnest."""
    lines = [(kind, linear, band) for kind, linear in found for band in linear.bands or NO_BANDS]
    units = {amounts: in_units(amounts) for _, _, band in lines if band is not None for amounts in (band.charged, band.listed) if amounts is not None}
    is_whole = None not in units.values()
    given = [_line(*line, units if is_whole else {}) for line in lines]
    names = (*statements.KIND_COLUMNS, *statements.RATED_COLUMNS, *statements.AMOUNTS)
    return is_whole, {name: [line[index] for line in given] for index, name in enumerate(names)}


def _line(kind: Any, linear: Linear, band: Band | None, units: Mapping[Amounts, tuple[Decimal, tuple[int, ...]] | None]) -> tuple[Any, ...]:
    told = (
        kind.provider, kind.model_reported, kind.model, kind.maker, kind.tier, kind.currency, kind.team, kind.is_metered, msgspec.json.encode(kind.said).decode(),
        kind.span,
    )  # fmt: skip
    if band is None:
        return (*told, 0, ENDLESS, *[None] * 4, False, None, None, *[None] * len(statements.AMOUNTS))
    nothing = None, (None,) * len(band.charged)
    (unit, charged), (list_unit, listed) = (nothing if amounts is None else units.get(amounts) or (None, amounts) for amounts in (band.charged, band.listed))
    rated = (linear.price_id, linear.term_id, linear.price_currency, linear.exchange_rate, band.listed == band.charged)
    return (*told, band.least, ENDLESS if band.most is None else band.most, *rated, unit, list_unit, *charged, *listed)


def rows(statement: str, parameters: Mapping[str, Any]) -> list[Any]:
    """The statement's rows, planned for these very parameters: how many kinds and calls there are decides how they are joined."""
    with sql.cursor() as running:
        running.execute(statement, parameters, prepare=False)
        return running.fetchall()
