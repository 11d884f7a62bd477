"""What happened on the way: freezes, decisions and price changes, as marks for a time axis."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlencode

from django.db.models import Q
from django.urls import NoReverseMatch, reverse

from dashboards.charts.base import DANGER, ICE, INK_3, Mark
from dashboards.components.figures import money_text, percent_text
from dashboards.components.ranges import Range
from dashboards.selectors.dimensions import Filters
from dashboards.selectors.usage import NO_FILTERS, days
from governance.approvals.models import ApprovalRequest
from governance.approvals.selectors import requests_visible
from governance.budgets.models import Freeze
from governance.ids import row_id
from governance.pricing.models import PriceRow
from governance.tenancy.access import Actor, scoped

MOST_OF_A_KIND = 3
SMALLEST_PRICE_MOVE = Decimal("0.05")
METERS = ("output_tokens", "input_tokens")


def marks_in(actor: Actor, span: Range, *, models: Collection[str] | None = None, filters: Filters = NO_FILTERS) -> list[Mark]:
    """The latest freezes of whole budgets, the largest grants, and the largest price changes of the models in use, oldest first.

    `models` are those in use, where the caller knows them already. With filters only what concerns the usage that passes them:
    prices of models in it, and budgets of the teams and projects chosen or of the whole organization.
    """
    marks = [*_freezes(actor, span, filters), *_grants(actor, span, filters), *_price_changes(actor, span, models, filters)]
    return sorted(marks, key=lambda mark: str(mark.at))


def _freezes(actor: Actor, span: Range, filters: Filters) -> list[Mark]:
    rows = scoped(actor, Freeze.objects.filter(started_at__gte=span.starts_at, started_at__lt=span.ends_at, period__isnull=False, session_key=""))
    if actor.team_ids is not None:
        rows = rows.filter(period__budget__team_id__in=actor.team_ids)
    rows = rows.filter(_concerned(filters)).select_related("period__budget").order_by("-started_at", "-id")[:MOST_OF_A_KIND]
    return [
        Mark(row.started_at.astimezone(span.zone).date(), f"{row.period.budget.name} froze", address("budget", actor, row.period.budget_id), DANGER)
        for row in rows
        if row.period is not None
    ]


def _grants(actor: Actor, span: Range, filters: Filters) -> list[Mark]:
    rows = requests_visible(actor).filter(state=ApprovalRequest.State.APPROVED, decision__at__gte=span.starts_at, decision__at__lt=span.ends_at)
    rows = rows.filter(_concerned(filters)).order_by("-decision__amount", "-id")[:MOST_OF_A_KIND]
    return [
        Mark(row.decision.at.astimezone(span.zone).date(), f"{money_text(row.decision.amount, row.currency)} granted", address("request", actor, row.pk), ICE)
        for row in rows
    ]


def _price_changes(actor: Actor, span: Range, models: Collection[str] | None, filters: Filters) -> list[Mark]:
    started = PriceRow.objects.filter(valid_from__gte=span.starts_at, valid_from__lt=span.ends_at, context={}, daily_from=None)
    rows = list(started.select_related("model__provider").order_by("-valid_from", "model__slug"))
    used = _used(actor, span, {row.model.slug for row in rows}, filters) if models is None and rows else set(models or ())
    rows = [row for row in rows if row.model.slug in used]
    before = _prices_before(rows)
    moves = [(price_move(before.get((row.model_id, row.valid_from)), row), row) for row in rows]
    marks: dict[str, Mark] = {}
    for move, row in sorted(((move, row) for move, row in moves if move is not None), key=lambda found: -abs(found[0])):
        if abs(move) < SMALLEST_PRICE_MOVE or row.model.slug in marks:
            continue
        label = f"{str(row.model).split(' (')[0]} price {'+' if move > 0 else ''}{percent_text(move, 0)}"
        href = f"{reverse('spend', args=[actor.organization.slug])}?{urlencode({**span.params, 'by': 'model', 'model': row.model.slug})}"
        marks[row.model.slug] = Mark(row.valid_from.astimezone(span.zone).date(), label, href, INK_3)
    return list(marks.values())[:MOST_OF_A_KIND]


def _concerned(filters: Filters) -> Q:
    """Budgets that cover usage which passes the filters: those of another team, project or member do not."""
    condition = Q()
    for slug in ("team", "project", "member"):
        if slug in filters:
            ids = [number for value in filters[slug] if (number := row_id(value)) is not None]
            condition &= Q(**{f"period__budget__{slug}__in": ids}) | Q(**{f"period__budget__{slug}": None})
    return condition


def _used(actor: Actor, span: Range, models: set[str], filters: Filters) -> set[str]:
    return set(days(actor, span.window, filters).filter(model__in=models).order_by().values_list("model", flat=True).distinct())


def _prices_before(rows: Sequence[PriceRow]) -> dict[tuple[int, datetime | None], PriceRow]:
    """The price that each of the rows followed, by model and the instant it ended."""
    ended = PriceRow.objects.filter(model__in={row.model_id for row in rows}, valid_to__in={row.valid_from for row in rows}, context={}, daily_from=None)
    return {(row.model_id, row.valid_to): row for row in ended.order_by("id")}


def price_move(before: PriceRow | None, after: PriceRow) -> Decimal | None:
    """The change of the output price (input, where there is none) as a fraction; None where it cannot be told."""
    for meter in METERS:
        old = (before.rates if before else {}).get(meter)
        new = after.rates.get(meter)
        if old and new and Decimal(old["base"]) > 0:
            return (Decimal(new["base"]) / int(new["per"])) / (Decimal(old["base"]) / int(old["per"])) - 1
    return None


def address(name: str, actor: Actor, *args: object) -> str:
    """The address of a page of the organization; empty where there is none."""
    try:
        return reverse(name, args=[actor.organization.slug, *args])
    except NoReverseMatch:
        return ""


