"""What usage can be split and filtered by, and the names people know those values by."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db.models import Q

from dashboards.insights.market import BRANDS, HARNESSES, NEUTRAL_GATEWAYS
from governance.ids import row_id
from governance.pricing.models import Provider, Tier
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Member, Project, Team

# In an address a value that was not reported is written so; no reported label is.
NOTHING = "~"


@dataclass(frozen=True, slots=True)
class Dimension:
    """A column of the rollups. Values are text; ids of our own rows are written as digits, "" is not reported."""

    slug: str
    column: str
    label: str
    unnamed: str
    is_id: bool = False


DIMENSIONS: dict[str, Dimension] = {
    dimension.slug: dimension
    for dimension in (
        Dimension("provider", "provider", "Provider", "Provider not known"),
        Dimension("maker", "maker", "Maker", "Maker not known"),
        Dimension("model", "model", "Model", "Model not known"),
        Dimension("tier", "tier", "Tier", "Tier not known"),
        Dimension("harness", "harness", "Harness", "Harness not reported"),
        Dimension("gateway", "gateway", "Gateway", "No gateway"),
        Dimension("team", "team_id", "Team", "Unallocated", is_id=True),
        Dimension("project", "project_id", "Project", "No project", is_id=True),
        Dimension("member", "member_id", "Member", "No member", is_id=True),
        Dimension("role", "role", "Role", "Role not reported"),
        Dimension("task-class", "task_class", "Task class", "Task class not reported"),
        Dimension("billing-mode", "billing_mode", "Billing mode", "Billing mode not known"),
    )
}

Filters = Mapping[str, tuple[str, ...]]


def value_text(value: object) -> str:
    """A column's value as text; NULL is ""."""
    return "" if value is None else str(value)


def filters_q(filters: Filters) -> Q:
    """Rows that have one of the values given in every dimension given. A value that cannot occur matches nothing."""
    condition = Q()
    for slug, values in filters.items():
        condition &= _one_of(DIMENSIONS[slug], values)
    return condition


def _one_of(dimension: Dimension, values: tuple[str, ...]) -> Q:
    if not dimension.is_id:
        return Q(**{f"{dimension.column}__in": values})
    ids = [number for value in values if (number := row_id(value)) is not None]
    condition = Q(**{f"{dimension.column}__in": ids})
    return condition | Q(**{f"{dimension.column}__isnull": True}) if "" in values else condition


def names_of(actor: Actor, dimension: Dimension, values: Iterable[str]) -> dict[str, str]:
    """What to call each value. Ids of rows outside the actor's organization keep their number."""
    wanted = set(values)
    known = {value: value or dimension.unnamed for value in wanted}
    ids = [number for value in wanted if (number := row_id(value)) is not None] if dimension.is_id else []
    if dimension.is_id:
        known = {value: f"{dimension.label} {value}" if value else dimension.unnamed for value in wanted}
    if ids and dimension.slug == "team":
        known |= {str(team.pk): team.name for team in scoped(actor, Team.objects.filter(pk__in=ids))}
    elif ids and dimension.slug == "project":
        known |= {str(project.pk): project.name for project in scoped(actor, Project.objects.filter(pk__in=ids))}
    elif ids and dimension.slug == "member":
        known |= {str(member.pk): str(member) for member in scoped(actor, Member.objects.filter(pk__in=ids).select_related("user"))}
    elif dimension.slug == "provider" and wanted - BRANDS.keys() - {""}:
        known |= dict(Provider.objects.filter(slug__in=wanted).values_list("slug", "name"))
    elif dimension.slug == "tier":
        known |= {value: str(Tier(value).label) for value in wanted if value in Tier.values}
    return known | {value: name for value, name in _written(dimension.slug).items() if value in wanted}


def _written(dimension: str) -> Mapping[str, str]:
    """How names of the market are written."""
    if dimension in ("provider", "maker"):
        return BRANDS
    if dimension == "harness":
        return {slug: harness.name for slug, harness in HARNESSES.items()}
    return NEUTRAL_GATEWAYS if dimension == "gateway" else {}
