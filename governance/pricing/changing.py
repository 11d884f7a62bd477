"""What every change to the price book shares: its lock, its version, the record of it, and who may make it."""

from collections.abc import Mapping
from typing import Any

from governance.audit.services import audit_record
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


def may_change_prices(actor: Actor | None) -> None:
    """An operator (no actor) may; a person or key needs the right."""
    if actor is not None:
        require(actor, Right.MANAGE_PRICES)
