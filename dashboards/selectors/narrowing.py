"""What a list of sessions is narrowed to: every dimension of usage, and a span of time, with the choices for each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.http import QueryDict

from dashboards.components.ranges import Range
from dashboards.selectors import usage
from dashboards.selectors.dimensions import DIMENSIONS, NOTHING, Filters, filters_q, names_of
from governance.budgets.models import Session
from governance.periods import Window
from governance.tenancy.access import Actor, visible
from ingest.models import UsageEvent

CHOSEN_WITHIN = timedelta(days=30)
# A session knows these of itself. Of the others each call has its own: there a session passes when one of its calls does.
OF_SESSIONS = frozenset({"team", "project", "member", "harness", "gateway"})
# Offered as pills; the remaining dimensions are narrowed to by following a figure, and can be lifted again.
OFFERED = {
    "team": "teams",
    "member": "members",
    "project": "projects",
    "harness": "harnesses",
    "provider": "providers",
    "model": "models",
    "tier": "tiers",
}
FROM_CALLS = ("provider", "model", "tier")
# The calls of such a session were billed by two providers or more.
ON_SEVERAL = Q(provider_least__lt=F("provider_greatest"))
Choices = Mapping[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What the address asks for: {dimension: values}, "" for what was not reported, the days of a call, if any are named.

    And whether only sessions on more than one provider are: `?providers=several`.
    """

    filters: Filters
    range: Range | None = None
    is_on_several: bool = False

    @classmethod
    def from_query(cls, actor: Actor, query: QueryDict, now: datetime) -> "Narrowing":
        """Reads an address of this list, or one that a figure of Spend leads to."""
        found = {slug: tuple(_value_of(text) for text in query.getlist(slug) if text and "\x00" not in text) for slug in DIMENSIONS}
        span = None
        if query.get("range") or query.get("from"):
            organization = actor.organization
            span = Range.from_query(query, organization.zone, now, default="30d", year_starts_in=organization.year_starts_in)
        return cls({slug: values for slug, values in found.items() if values}, span, query.get("providers") == "several")

    @property
    def is_any(self) -> bool:
        return bool(self.filters) or self.range is not None or self.is_on_several


def narrowed(rows: QuerySet[Any], wanted: Narrowing) -> QuerySet[Any]:
    """The sessions of these teams, members and so on, with one call that has all the values asked of calls, within the days asked for."""
    rows = rows.filter(filters_q({slug: values for slug, values in wanted.filters.items() if slug in OF_SESSIONS}))
    if wanted.is_on_several:
        rows = rows.filter(ON_SEVERAL)
    window = wanted.range.window if wanted.range is not None else None
    if window is not None and window.ends_at is not None:
        rows = rows.filter(last_at__gte=window.starts_at, first_at__lt=window.ends_at)
    of_calls = {slug: values for slug, values in wanted.filters.items() if slug not in OF_SESSIONS}
    if of_calls:
        return rows.filter(Exists(_calls(of_calls, window)))
    return rows if window is None else rows.filter(_within(window))


def _within(window: Window) -> Q:
    """A call in the window. The first and the last are known; others are looked for only where both lie outside of it."""
    first = Q(first_at__gte=window.starts_at) & (Q(first_at__lt=window.ends_at) if window.ends_at else Q())
    last = Q(last_at__gte=window.starts_at) & (Q(last_at__lt=window.ends_at) if window.ends_at else Q())
    return first | last | Q(Exists(_calls({}, window)))


def _calls(filters: Filters, window: Window | None) -> QuerySet[UsageEvent]:
    """The calls of the session at hand that pass. Its first and last instant keep the search to the partitions it lies in."""
    of_session = UsageEvent.objects.filter(
        organization=OuterRef("organization"),
        session=OuterRef("key"),
        occurred_at__gte=OuterRef("first_at"),
        occurred_at__lte=OuterRef("last_at"),
    ).exclude(session="")
    if window is not None:
        of_session = of_session.filter(occurred_at__gte=window.starts_at, occurred_at__lt=window.ends_at)
    return of_session.filter(filters_q(filters)).order_by()


def choices(actor: Actor, wanted: Narrowing, *, now: datetime) -> dict[str, list[tuple[str, str]]]:
    """{dimension: [(value, name)]} for the pills: what occurred in the last 30 days, and whatever the address names."""
    values = _of_sessions(actor, now=now) | _of_calls(actor, now=now)
    found = {}
    for slug in OFFERED:
        known = values[slug] | {_text(value) for value in wanted.filters.get(slug, ())}
        names = names_of(actor, DIMENSIONS[slug], (_value_of(value) for value in known))
        found[slug] = sorted(((value, names[_value_of(value)]) for value in known), key=lambda pair: (pair[0] == NOTHING, pair[1].lower()))
    return found


def _of_sessions(actor: Actor, *, now: datetime) -> dict[str, set[str]]:
    slugs = [slug for slug in OFFERED if slug not in FROM_CALLS]
    recent = visible(actor, Session.objects.filter(last_at__gte=now - CHOSEN_WITHIN)).order_by()
    return _columns(slugs, recent.values_list(*(DIMENSIONS[slug].column for slug in slugs)).distinct())


def _of_calls(actor: Actor, *, now: datetime) -> dict[str, set[str]]:
    days = usage.days(actor, Window(now - CHOSEN_WITHIN, None)).order_by()
    return _columns(FROM_CALLS, days.values_list(*(DIMENSIONS[slug].column for slug in FROM_CALLS)).distinct())


def _columns(slugs: Sequence[str], rows: Iterable[tuple[object, ...]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {slug: set() for slug in slugs}
    for row in rows:
        for slug, value in zip(slugs, row, strict=True):
            found[slug].add(_text(value))
    return found


def chips(actor: Actor, wanted: Narrowing) -> list[tuple[str, str, str, str]]:
    """(dimension, value, its label, its name) of what is narrowed to and has no pill of its own."""
    found = []
    for slug, values in wanted.filters.items():
        if slug in OFFERED:
            continue
        names = names_of(actor, DIMENSIONS[slug], values)
        found += [(slug, _text(value), DIMENSIONS[slug].label, names[value]) for value in values]
    return found


def _value_of(text: str) -> str:
    return "" if text == NOTHING else text


def _text(value: object) -> str:
    return NOTHING if value is None or value == "" else str(value)
