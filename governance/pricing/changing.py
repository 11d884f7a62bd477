"""What every change to the price book shares: its lock, its version, the record of it, and who may make it."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from governance.audit.services import audit_record
from governance.errors import Forbidden
from governance.pricing.models import PriceBook
from governance.tenancy.access import Actor, Right, require, system_actor
from governance.tenancy.models import Organization


def book_lock() -> PriceBook:
    """The book's one row, held until the transaction ends, so that changes follow one another."""
    book = PriceBook.objects.select_for_update().order_by("pk").first()
    return book if book is not None else PriceBook.objects.create()


def book_advance(book: PriceBook, *, source_digest: str | None = None) -> None:
    """Moves the version, which tells every process to read the book again."""
    book.version += 1
    if source_digest is not None:
        book.source_digest = source_digest
    book.save(update_fields=["version", "source_digest", "changed_at"])


def book_audit(
    *, actor: Actor | None, action: str, target: tuple[str, object], old: Mapping[str, Any] | None, new: Mapping[str, Any]
) -> None:
    """The book belongs to every organization, so each one's record tells of the change; who made it is named in the maker's own."""
    for organization in Organization.objects.order_by("pk"):
        is_own = actor is not None and actor.organization.pk == organization.pk
        audit_record(
            actor=actor if actor is not None and is_own else system_actor(organization), action=action, target=target, old=old, new=new
        )


def keeps_book(organization: Organization) -> bool:
    """Whether the organization's people decide about the book that every organization of the installation is rated by.

    The operator names those that do (PRICE_KEEPERS). Where none is named, an organization that has the installation to itself does.
    """
    if settings.PRICE_KEEPERS:
        return organization.slug in settings.PRICE_KEEPERS
    return not Organization.objects.exclude(pk=organization.pk).filter(is_demo=False).exists()


def is_book_keeper(actor: Actor) -> bool:
    """Whether the actor may change the shared book: a person of an organization that keeps it, or a key of that person."""
    return actor.member is not None and actor.can(Right.MANAGE_PRICES) and keeps_book(actor.organization)


def may_change_prices(actor: Actor | None) -> None:
    """An operator (no actor) may change the shared book, and who `is_book_keeper`. Raises Forbidden for everybody else."""
    if actor is None:
        return
    require(actor, Right.MANAGE_PRICES)
    if actor.kind == "api_key" and actor.member is None:
        raise Forbidden("The price book is shared, so a person decides about it; use a key that belongs to a member.")
    if not is_book_keeper(actor):
        raise Forbidden(
            "Other organizations are rated by this price book too, so its keepers decide. Terms and names of your own hold for you alone."
        )
