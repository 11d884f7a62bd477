"""What the operators' commands have in common: rows by their names, and refusals as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.core.management.base import CommandError
from django.db.models import Model, QuerySet

from governance.errors import DomainError
from governance.tenancy.access import Actor, get_scoped, system_actor
from governance.tenancy.models import Organization

Row = TypeVar("Row", bound=Model)


@contextmanager
def refusals_told() -> Iterator[None]:
    """Turns a service's refusal into a sentence on standard error and exit code 1."""
    try:
        yield
    except DomainError as error:
        raise CommandError(error.detail) from None


def operator_in(slug: str) -> Actor:
    """The operator at the machine, acting in an organization. Raises CommandError when there is none of that name."""
    organization = Organization.objects.filter(slug=slug).first()
    if organization is None:
        raise CommandError(f"There is no organization named {slug}.")
    return system_actor(organization)


def named(actor: Actor, rows: QuerySet[Row], **lookup: object) -> Row:
    """The organization's row with this name. Raises CommandError when there is none."""
    try:
        return get_scoped(actor, rows, **lookup)
    except DomainError:
        what = rows.model._meta.verbose_name
        raise CommandError(f"{actor.organization.slug} has no {what} named {' '.join(map(str, lookup.values()))}.") from None
