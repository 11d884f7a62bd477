"""Writes the record: one row for every state change, in the transaction that makes it."""

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from governance.audit.models import AuditRecord
from governance.money import digits
from governance.tenancy.access import Actor


def audit_record(
    *, actor: Actor, action: str, target: tuple[str, object], old: Mapping[str, Any] | None = None, new: Mapping[str, Any] | None = None
) -> AuditRecord:
    """Adds the row for a change to target (kind, id), with the values before and after. Returns the row."""
    kind, identifier = target
    return AuditRecord.objects.create(
        organization=actor.organization,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=actor.label[:200],
        action=action,
        target_kind=kind,
        target_id=str(identifier)[:200],
        old=None if old is None else plain(old),
        new=None if new is None else plain(new),
        address=actor.address,
    )


def plain(value: Any) -> Any:
    """The value as JSON can hold it without losing a digit: amounts and instants become text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Decimal):
        return digits(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value
