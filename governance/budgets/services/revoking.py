"""Revoking an API key: for good, and with a freeze of what the key ran, so that whoever watches freezes hears of it."""

from django.db import transaction
from django.utils import timezone

from governance.budgets.models import Freeze
from governance.budgets.services.freezes import freeze_end, freeze_record
from governance.tenancy import services as tenancy
from governance.tenancy.access import Actor, Right, require, scoped
from governance.tenancy.models import ApiKey

LONGEST_REASON = 300


@transaction.atomic
def key_revoke(*, actor: Actor, key: ApiKey, reason: str = "") -> ApiKey:
    """Ends a key at once and for good, and freezes it with the cause `key`, which nobody ends. Revoking it again changes nothing.

    A freeze of the key by hand or by a guard ends with it. Raises Forbidden.
    """
    require(actor, Right.MANAGE_ORGANIZATION)
    # Alone before the key's row is locked: whoever stores holds the configuration and then looks at the key.
    tenancy.organization_touch(actor.organization)
    was_revoked = scoped(actor, ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=False)).exists()
    revoked = tenancy.api_key_revoke(actor=actor, key=key)
    if not was_revoked:
        _freeze(actor, revoked, reason.strip() or "The key was revoked.")
    return revoked


def _freeze(actor: Actor, key: ApiKey, reason: str) -> None:
    standing = scoped(actor, Freeze.objects.select_for_update(of=("self",)).select_related("period", "api_key__member__user", "member", "team"))
    for freeze in standing.filter(scope_kind=Freeze.ScopeKind.KEY, scope_key=str(key.pk), ended_at=None):
        freeze_end(actor=actor, freeze=freeze, reason="the key was revoked")
    freeze = Freeze.objects.create(
        organization=actor.organization, cause=Freeze.Cause.KEY, scope_kind=Freeze.ScopeKind.KEY, scope_key=str(key.pk), api_key=key,
        reason=reason[:LONGEST_REASON], started_at=key.revoked_at or timezone.now(), started_by=actor.member,
    )
    facts = {"scope_kind": freeze.scope_kind, "scope": key.prefix, "cause": freeze.cause, "session": "", "reason": freeze.reason}
    freeze_record(actor=actor, freeze=freeze, facts=facts)
