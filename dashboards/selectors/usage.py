"""Rollup queries: sums of usage by one dimension, over time, and by several columns, in one aggregated query each.

All but the hourly series read `usage_rollup_day`, which knows the member, so that people who see only some teams get the
same sums on every page; hours leave out what they used outside those teams. Money in other currencies than the one asked for is kept apart, never added.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Case, CharField, F, Max, Min, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Greatest, TruncWeek

from dashboards.insights.figures import SUMMED, Figures
from dashboards.selectors.dimensions import DIMENSIONS, Dimension, Filters, filters_q, names_of, value_text
from governance.periods import Window, local_midnight
from governance.tenancy.access import Actor, scoped, visible
from ingest.models import UsageRollup, UsageRollupDay

NO_FILTERS: Filters = {}
TOKENS = F("input_tokens") + F("cache_read_tokens") + F("cache_write_5m_tokens") + F("cache_write_1h_tokens") + F("output_tokens")
IS_WEIGHED = Q(billing_mode="metered", unpriced_calls=0, unmeasured_calls=0)
# Rows with calls that lack a price they should have: billed by the call, of known size, and without a cost. The one definition of all pages.
LACKS = Q(billing_mode="metered", unpriced_calls__gt=F("unmeasured_calls"))
LACKING = Sum(Greatest(F("unpriced_calls") - F("unmeasured_calls"), 0), filter=LACKS, default=0)
SUMS: dict[str, Sum] = {
    **{name: Sum(name) for name in SUMMED if not name.startswith(("weighed_", "lacking_"))},
    "lacking_calls": LACKING,
    "weighed_calls": Sum("calls", filter=IS_WEIGHED, default=0),
    "weighed_tokens": Sum(TOKENS, filter=IS_WEIGHED, default=0),
    "weighed_cost": Sum("cost", filter=IS_WEIGHED, default=Decimal(0)),
}
HOUR = timedelta(hours=1)
MONEY = ("cost", "notional_cost", "list_cost", "weighed_cost")


@dataclass(frozen=True, slots=True)
class Row:
    """One value of a dimension. `key` is "" where it was not reported."""

    key: str
    name: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a dimension in one step of time; `key` None is everything not asked for by key."""

    at: date | datetime
    key: str | None
    figures: Figures


@dataclass(frozen=True, slots=True)
class Combination:
    """The sums of one combination of values, in the order of the columns asked for; the week only when asked for."""

    keys: tuple[str, ...]
    figures: Figures
    week: date | None = None


def sums_of(names: Iterable[str] = SUMMED) -> dict[str, Sum]:
    """The sums of these fields of Figures, to annotate a query with. Each costs time: a caller that shows three should ask for three."""
    return {f"sum_{name}": SUMS[name] for name in dict.fromkeys(names)}


def local_days(actor: Actor, window: Window) -> tuple[date, date | None]:
    """The local days [first, until) that the window touches, in the organization's time zone."""
    zone = actor.organization.zone
    first = window.starts_at.astimezone(zone).date()
    if window.ends_at is None:
        return first, None
    last = window.ends_at.astimezone(zone).date()
    return first, last if local_midnight(last, zone) == window.ends_at else last + timedelta(days=1)


def days(actor: Actor, window: Window, filters: Filters = NO_FILTERS) -> QuerySet[UsageRollupDay]:
    """The day rollups the actor may see in the window, unordered."""
    first, until = local_days(actor, window)
    rows = visible(actor, UsageRollupDay.objects.all()).filter(filters_q(filters), day__gte=first)
    return rows if until is None else rows.filter(day__lt=until)


def hours(actor: Actor, window: Window, filters: Filters = NO_FILTERS) -> QuerySet[UsageRollup]:
    """The hour rollups in the window, unordered. They know no member: who sees some teams gets those, without the own usage elsewhere."""
    if "member" in filters:
        raise ValueError("hour rollups know no member")
    rows = scoped(actor, UsageRollup.objects.all()).filter(filters_q(filters), hour__gte=window.starts_at)
    if actor.team_ids is not None:
        rows = rows.filter(team_id__in=actor.team_ids)
    return rows if window.ends_at is None else rows.filter(hour__lt=window.ends_at)


def hours_fit(filters: Filters, dimension: str) -> bool:
    """Whether hour rollups know what is asked for."""
    return "member" not in filters and dimension != "member"


def currency_used(actor: Actor, *, window: Window) -> str:
    """The currency to show amounts in: the organization's when anything is billed in it, else the one most is billed in."""
    own = actor.organization.currency
    rows = days(actor, window).filter(Q(cost__gt=0) | Q(notional_cost__gt=0))
    if rows.filter(currency=own).exists():
        return own
    spent = rows.values_list("currency").annotate(sum_calls=Sum("calls")).order_by("-sum_calls", "currency")
    return next((currency for currency, _ in spent), own)


def totals(
    actor: Actor, *, window: Window, filters: Filters = NO_FILTERS, currency: str | None = None, sums: Sequence[str] = SUMMED
) -> Figures:
    """The sums over everything in the window that passes the filters. Figures not named in `sums` stay zero."""
    wanted = currency or actor.organization.currency
    rows = days(actor, window, filters).values("currency").annotate(**sums_of(sums)).order_by()
    return folded(rows, (), wanted).get((), Figures(currency=wanted))


def spend_by(
    actor: Actor,
    dimension: str,
    *,
    window: Window,
    filters: Filters = NO_FILTERS,
    currency: str | None = None,
    sums: Sequence[str] = SUMMED,
    is_to_the_minute: bool = False,
) -> list[Row]:
    """The sums by each value of a dimension, those not reported included, in the order of `ranked`. Figures not named in `sums` stay zero.

    Whole days are counted, also the one that the window ends in; `is_to_the_minute` sums it from hours instead, which have to know
    the dimension and the filters.
    """
    column = DIMENSIONS[dimension].column
    wanted = currency or actor.organization.currency
    if is_to_the_minute:
        return ranked(actor, dimension, by_hours(actor, column, window=window, filters=filters, currency=wanted, sums=sums))
    rows = days(actor, window, filters).values(column, "currency").annotate(**sums_of(sums)).order_by()
    found = folded(rows, (column,), wanted)
    return ranked(actor, dimension, {key: figures for (key,), figures in found.items()})


def by_hours(actor: Actor, column: str, *, window: Window, filters: Filters, currency: str, sums: Sequence[str]) -> dict[str, Figures]:
    """The sums by value over the hours of the window; the last one counts in part, as if its calls had come evenly."""
    rows = hours(actor, window, filters).values(column, "hour", "currency").annotate(**sums_of(sums)).order_by()
    found: dict[str, Figures] = {}
    for (hour, key), figures in folded(rows, ("hour", column), currency).items():
        part = min((window.ends_at - hour) / HOUR, 1) if window.ends_at else 1
        counted = figures if part == 1 else figures.part(Decimal(str(part)))
        found[key] = found[key] + counted if key in found else counted
    return found


def ranked(actor: Actor, dimension: str, figures: Mapping[str, Figures]) -> list[Row]:
    """Sums by value of a dimension as named rows: most expensive first, then by list price, then most tokens, then by key."""
    names = names_of(actor, DIMENSIONS[dimension], figures)
    rows = [Row(key, names[key], found) for key, found in figures.items()]
    return sorted(rows, key=lambda row: (-row.figures.cost, -row.figures.notional_cost, -row.figures.tokens, row.key))


def by_day(actor: Actor, dimension: str, *, window: Window, sums: Sequence[str] = SUMMED) -> list[Point]:
    """The sums by local day and each value of a dimension, unordered; days without usage are absent."""
    column = DIMENSIONS[dimension].column
    rows = days(actor, window).values(column, "day", "currency").annotate(**sums_of(sums)).order_by()
    found = folded(rows, ("day", column), actor.organization.currency)
    return [Point(day, key, figures) for (day, key), figures in found.items()]


def series_by(
    actor: Actor,
    dimension: str,
    *,
    window: Window,
    keys: Sequence[str],
    step: str = "day",
    filters: Filters = NO_FILTERS,
    currency: str | None = None,
    sums: Sequence[str] = SUMMED,
) -> list[Point]:
    """The sums by step (`hour`, `day` or `week`) and value, for the keys given and, as key None, all others together.

    Figures not named in `sums` stay zero. Ordered by time, then key, the others last. Steps without usage are absent. At most steps x (keys + 1) points.
    """
    rows: QuerySet[Any] = hours(actor, window, filters) if step == "hour" else days(actor, window, filters)
    at = TruncWeek("day") if step == "week" else F(step)
    group = _group(DIMENSIONS[dimension], keys)
    found = folded(
        rows.values(at=at, key=group, money=F("currency")).annotate(**sums_of(sums)).order_by(),
        ("at", "key"),
        currency or actor.organization.currency,
        currency_column="money",
    )
    points = [Point(at_value, None if key == OTHERS else key[1:], figures) for (at_value, key), figures in found.items()]
    return sorted(points, key=lambda point: (point.at, point.key is None, point.key or ""))


# Kept keys are marked with a first letter, so that no reported value can be taken for "all others".
OTHERS = "-"


def _group(dimension: Dimension, keys: Sequence[str]) -> Case:
    cases = [When(filters_q({dimension.slug: (key,)}), then=Value("=" + key)) for key in keys]
    return Case(*cases, default=Value(OTHERS), output_field=CharField())


def combinations(
    actor: Actor,
    columns: Sequence[str],
    *,
    window: Window,
    filters: Filters = NO_FILTERS,
    currency: str | None = None,
    by_week: bool = False,
    sums: Sequence[str] = SUMMED,
) -> list[Combination]:
    """The sums by each combination of several dimensions, and by week (its Monday) when asked for.

    Figures not named in `sums` stay zero. Ordered by week, then most expensive, then keys.
    """
    names = [DIMENSIONS[slug].column for slug in columns]
    rows = days(actor, window, filters)
    grouped = rows.values(*names, "currency", week=TruncWeek("day")) if by_week else rows.values(*names, "currency")
    by = ("week", *names) if by_week else tuple(names)
    rated = folded(grouped.annotate(**sums_of(sums)).order_by(), by, currency or actor.organization.currency)
    found = [Combination(keys[1:], figures, keys[0]) if by_week else Combination(keys, figures) for keys, figures in rated.items()]
    return sorted(found, key=lambda row: (row.week or date.min, -row.figures.cost, -row.figures.tokens, row.keys))


def first_and_last_day(actor: Actor, *, window: Window) -> tuple[date | None, date | None]:
    """The first and last local day in the window on which anything was used."""
    ends = days(actor, window).aggregate(first=Min("day"), last=Max("day"))
    return ends["first"], ends["last"]


def folded(
    rows: Iterable[Mapping[str, Any]], by: tuple[str, ...], currency: str, *, currency_column: str = "currency"
) -> dict[tuple[Any, ...], Figures]:
    """Query rows, one per key and currency, as one Figures per key; time keys stay as they are, others become text."""
    found: dict[tuple[Any, ...], Figures] = {}
    for row in rows:
        key = tuple(row[name] if isinstance(row[name], date) else value_text(row[name]) for name in by)
        figures = _figures(row, currency, is_foreign=row[currency_column] != currency, of=row[currency_column])
        found[key] = found[key] + figures if key in found else figures
    return found


def _figures(row: Mapping[str, Any], currency: str, *, is_foreign: bool, of: str) -> Figures:
    sums = {name: row[f"sum_{name}"] for name in SUMMED if f"sum_{name}" in row}
    if not is_foreign:
        return Figures(currency=currency, **sums)
    foreign = ((of, sums["cost"]),) if sums.get("cost") else ()
    # Without their amounts these calls and tokens must not weigh on averages either.
    sums |= dict.fromkeys(MONEY, Decimal(0)) | {"weighed_calls": 0, "weighed_tokens": 0}
    return Figures(currency=currency, foreign=foreign, **sums)
