"""Signed links that do one thing once: bound to organization, request, person and purpose, and good for a while only.

A link is no key: whoever opens it signs in as the person it was made for, and opening it changes nothing.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db import IntegrityError, transaction
from django.utils import timezone

from governance.errors import Conflict, NotFound
from governance.ids import hash16
from governance.notices.models import UsedLink
from governance.tenancy.access import Actor
from governance.tenancy.models import Member, Organization

SALT = "governance.notices.tokens"
DECIDE = "decide"
LASTS = timedelta(days=7)
WRONG = "This link is not for you, or it was cut: open it as it stands in the message, signed in as the person it was sent to."


@dataclass(frozen=True, slots=True)
class Link:
    """What a valid token says. `member_id` None: whoever may decide, for messages that many read."""

    organization_id: int
    request_id: UUID
    member_id: int | None
    purpose: str
    nonce: str
    expires_at: datetime

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()


def link_make(
    *,
    organization: Organization,
    request_id: UUID,
    member: Member | None,
    purpose: str = DECIDE,
    expires_at: datetime | None = None,
    seed: str = "",
) -> str:
    """The address of a one-use link. The same `seed` gives the same link's identity, so that a message sent twice holds one use."""
    nonce = hash16(str(organization.pk), purpose, seed).hex if seed else secrets.token_hex(16)
    ends_at = expires_at or timezone.now() + LASTS
    facts = [organization.pk, request_id.hex, member.pk if member else None, purpose, nonce, int(ends_at.timestamp())]
    return f"{settings.PUBLIC_URL}/o/{organization.slug}/approvals/link/{signing.dumps(facts, salt=SALT)}"


def link_read(actor: Actor, token: str, *, purpose: str = DECIDE) -> Link:
    """What the token says. Raises NotFound for one that is forged, of another organization or purpose, or made for somebody else."""
    link = _opened(token)
    if link is None or link.organization_id != actor.organization.pk or link.purpose != purpose:
        raise NotFound(WRONG)
    if link.member_id not in (None, _person(actor).pk):
        raise NotFound(WRONG)
    return link


def is_used(link: Link) -> bool:
    """Whether it has done what it is for."""
    return UsedLink.objects.filter(organization=link.organization_id, nonce=link.nonce).exists()


def link_use(*, actor: Actor, token: str, purpose: str = DECIDE) -> Link:
    """Uses the link up, in the caller's transaction: when that fails, the link stays good.

    Raises NotFound as `link_read`, Conflict when it was used before or its time is over.
    """
    link = link_read(actor, token, purpose=purpose)
    if link.is_expired:
        raise Conflict("The time of this link is over. The request itself is still where it was.", reason="expired")
    try:
        with transaction.atomic():
            UsedLink.objects.create(
                organization=actor.organization, nonce=link.nonce, purpose=purpose, member=_person(actor), expires_at=link.expires_at
            )
    except IntegrityError:
        raise Conflict("This link was used already. The request itself is still where it was.", reason="used") from None
    return link


def links_forget() -> int:
    """Forgets used links whose time is over: they are refused without being remembered. Returns how many."""
    return UsedLink.objects.filter(expires_at__lt=timezone.now() - timedelta(days=1)).delete()[0]


def _person(actor: Actor) -> Member:
    """The person who signed in. Keys and the product itself open no links."""
    if actor.member is None or actor.api_key is not None:
        raise NotFound(WRONG)
    return actor.member


def _opened(token: str) -> Link | None:
    try:
        facts: Any = signing.loads(token, salt=SALT)
        organization_id, request, member_id, purpose, nonce, ends_at = facts
        return Link(int(organization_id), UUID(request), member_id, str(purpose), str(nonce), datetime.fromtimestamp(ends_at, UTC))
    except (signing.BadSignature, ValueError, TypeError):
        return None
