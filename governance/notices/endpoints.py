"""Changes of channels: webhooks and Slack addresses are added, changed, tested, given a new secret, switched off and removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from governance.audit.services import audit_record
from governance.errors import Conflict, Invalid
from governance.notices import addresses, nudge, parcels, sealing, signing
from governance.notices.addresses import Unreachable
from governance.notices.models import Delivery, Endpoint, Signal
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from governance.tenancy.models import Team

# Both secrets sign for so long after a change, so that the receiver may change over when it likes.
OVERLAP = timedelta(hours=24)
MOST = 50
Channel, Off = Endpoint.Channel, Endpoint.Off


@dataclass(frozen=True, slots=True)
class Made:
    """An endpoint and the secret that is shown this once ("" for Slack, whose address is the secret)."""

    endpoint: Endpoint
    secret: str


def endpoint_create(*, actor: Actor, channel: str, name: str, address: str, kinds: Sequence[str], team: Team | None = None) -> Made:
    """Adds a webhook or a Slack channel. Raises Invalid for an address that may not be called, and Conflict for a name that is taken."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    address = address.strip()
    address_check(address)
    secret = signing.new_secret() if channel == Channel.WEBHOOK else ""
    with transaction.atomic():
        if _present(actor).count() >= MOST:
            raise Conflict(f"There are {MOST} channels already. Remove one first.")
        endpoint = Endpoint(
            organization=actor.organization,
            channel=channel,
            name=_name_stored(name),
            team=team,
            kinds=_kinds_stored(kinds),
            address=sealing.sealed(address),
            shown_address=address_shown(channel, address),
            secret=sealing.sealed(secret) if secret else "",
        )
        _save(endpoint)
        facts = {
            "channel": channel,
            "name": endpoint.name,
            "address": endpoint.shown_address,
            "kinds": endpoint.kinds,
            "team": team.slug if team else None,
        }
        audit_record(actor=actor, action="channel.added", target=("channel", endpoint.pk), new=facts)
    return Made(endpoint, secret)


def endpoint_change(
    *, actor: Actor, endpoint_id: int, name: str, kinds: Sequence[str], team: Team | None = None, address: str = ""
) -> Endpoint:
    """Changes name, kinds and team, and the address when one is given. Raises NotFound, Invalid and Conflict."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    address = address.strip()
    if address:
        address_check(address)
    with transaction.atomic():
        endpoint = _locked(actor, endpoint_id)
        old = {"name": endpoint.name, "kinds": endpoint.kinds, "team": endpoint.team_id, "address": endpoint.shown_address}
        endpoint.name, endpoint.kinds, endpoint.team = _name_stored(name), _kinds_stored(kinds), team
        if address:
            endpoint.address, endpoint.shown_address = sealing.sealed(address), address_shown(endpoint.channel, address)
        new = {"name": endpoint.name, "kinds": endpoint.kinds, "team": endpoint.team_id, "address": endpoint.shown_address}
        if old == new and not address:
            return endpoint
        _save(endpoint)
        audit_record(actor=actor, action="channel.changed", target=("channel", endpoint.pk), old=old, new=new)
    return endpoint


@transaction.atomic
def secret_rotate(*, actor: Actor, endpoint_id: int) -> Made:
    """Gives a webhook a new secret. The present one signs as well for OVERLAP. Raises Conflict for Slack, which has none."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    endpoint = _locked(actor, endpoint_id)
    if endpoint.channel != Channel.WEBHOOK:
        raise Conflict("Only webhooks are signed. The address of a Slack channel is its secret: enter another one.")
    secret = signing.new_secret()
    endpoint.old_secret, endpoint.old_secret_ends_at = endpoint.secret, timezone.now() + OVERLAP
    endpoint.secret = sealing.sealed(secret)
    endpoint.save(update_fields=["secret", "old_secret", "old_secret_ends_at"])
    audit_record(
        actor=actor,
        action="channel.secret_changed",
        target=("channel", endpoint.pk),
        new={"old_one_signs_until": endpoint.old_secret_ends_at},
    )
    return Made(endpoint, secret)


@transaction.atomic
def endpoint_switch(*, actor: Actor, endpoint_id: int, is_on: bool) -> Endpoint:
    """Switches a channel off or on. What waits for one that is switched off is kept as not delivered, to be sent again on demand."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    endpoint = _locked(actor, endpoint_id)
    if (endpoint.off == Off.NOT) == is_on:
        return endpoint
    switch(actor, endpoint, Off.NOT if is_on else Off.HAND)
    return endpoint


@transaction.atomic
def endpoint_remove(*, actor: Actor, endpoint_id: int) -> None:
    """Takes a channel away. Its deliveries stay on the record until they are forgotten."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    endpoint = _locked(actor, endpoint_id)
    endpoint.is_removed = True
    endpoint.address = endpoint.secret = endpoint.old_secret = ""
    endpoint.save(update_fields=["is_removed", "address", "secret", "old_secret"])
    _give_up_waiting(endpoint, "The channel was removed.")
    audit_record(
        actor=actor,
        action="channel.removed",
        target=("channel", endpoint.pk),
        old={"name": endpoint.name, "address": endpoint.shown_address},
    )


def endpoint_test(*, actor: Actor, endpoint_id: int) -> Delivery:
    """Sends a test message now and keeps how it went. Not in a transaction: the answer may take seconds."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    endpoint = access.get_scoped(actor, Endpoint.objects.select_related("organization"), pk=endpoint_id, is_removed=False)
    # Nobody but this call sends it: to the workers it is over before it begins.
    delivery = Delivery.objects.create(
        organization=actor.organization, endpoint=endpoint, attempts=1, next_attempt_at=timezone.now(), state=Delivery.State.DEAD, last_error="It was not answered yet."
    )
    outcome = parcels.attempt(endpoint, [delivery])
    delivery.state = Delivery.State.SENT if outcome.is_taken else Delivery.State.DEAD
    delivery.sent_at = timezone.now() if outcome.is_taken else None
    outcome.note_on(delivery)
    delivery.save()
    return delivery


@transaction.atomic
def delivery_retry(*, actor: Actor, delivery_id: int) -> Delivery:
    """Sends a delivery again under the same message id, with a fresh round of attempts. Raises Conflict while it waits, or its channel is off."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    delivery = access.get_scoped(
        actor, Delivery.objects.select_related("endpoint").select_for_update(of=("self",), no_key=True), pk=delivery_id
    )
    if delivery.state == Delivery.State.WAITING:
        raise Conflict("It waits for its next attempt already.")
    if delivery.signal_id is None:
        raise Conflict("A test is not sent again: send another one.")
    if delivery.endpoint.is_removed or delivery.endpoint.off:
        raise Conflict("The channel is switched off. Switch it on first.")
    _again(Delivery.objects.filter(pk=delivery.pk))
    audit_record(
        actor=actor, action="delivery.sent_again", target=("delivery", delivery.pk), old={"state": delivery.state}, new={"state": "waiting"}
    )
    delivery.refresh_from_db()
    return delivery


@transaction.atomic
def deliveries_retry(*, actor: Actor, endpoint_id: int) -> int:
    """Sends everything again that a channel did not take. Returns how many there are."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    endpoint = _locked(actor, endpoint_id)
    if endpoint.off:
        raise Conflict("The channel is switched off. Switch it on first.")
    found = _again(
        Delivery.objects.filter(organization=actor.organization, endpoint=endpoint, state=Delivery.State.DEAD, signal__isnull=False)
    )
    if found:
        audit_record(actor=actor, action="delivery.sent_again", target=("channel", endpoint.pk), new={"deliveries": found})
    return found


def switch(actor: Actor, endpoint: Endpoint, off: str) -> None:
    """Sets why the endpoint is off, or on; the caller holds its row."""
    old = endpoint.off
    endpoint.off, endpoint.failing_since = off, None
    endpoint.save(update_fields=["off", "failing_since"])
    if off:
        _give_up_waiting(endpoint, f"The channel was switched off: {Off(off).label}.")
    audit_record(
        actor=actor,
        action="channel.switched_off" if off else "channel.switched_on",
        target=("channel", endpoint.pk),
        old={"off": old},
        new={"off": off},
    )


def address_check(address: str) -> None:
    """Raises Invalid unless the address may be called as its name resolves now. It is checked again at each delivery."""
    allows_private = settings.WEBHOOKS_ALLOW_PRIVATE
    target = addresses.target_of(address, allows_private=allows_private)
    try:
        addresses.checked(target, allows_private=allows_private)
    except Unreachable as error:
        raise Invalid(str(error), field="address") from None


def address_shown(channel: str, address: str) -> str:
    """What pages show of an address: of Slack's, whose path is a secret, the host and the end; of others all but the query."""
    parts = urlsplit(address)
    start = f"{parts.scheme}://{parts.netloc}"
    if channel == Channel.SLACK:
        return f"{start}/…{address[-4:]}"[:300]
    return f"{start}{parts.path}{'?…' if parts.query else ''}"[:300]


def _present(actor: Actor) -> Any:
    return access.scoped(actor, Endpoint.objects.filter(is_removed=False))


def _locked(actor: Actor, endpoint_id: int) -> Endpoint:
    rows = Endpoint.objects.select_related("organization", "team").select_for_update(of=("self",), no_key=True)
    return access.get_scoped(actor, rows, pk=endpoint_id, is_removed=False)


def _name_stored(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > 120:
        raise Invalid("Give it a name of at most 120 characters.", field="name")
    return name


def _kinds_stored(kinds: Sequence[str]) -> list[str]:
    chosen = [kind for kind in Signal.Kind.values if kind in set(kinds)]
    if not chosen or set(kinds) - set(chosen):
        raise Invalid("Choose at least one kind.", field="kinds")
    return chosen


def _save(endpoint: Endpoint) -> None:
    try:
        with transaction.atomic():
            endpoint.save()
    except IntegrityError:
        raise Conflict("There is a channel of this name already.", field="name") from None


def _give_up_waiting(endpoint: Endpoint, why: str) -> None:
    waiting = Delivery.objects.filter(organization=endpoint.organization_id, endpoint=endpoint, state=Delivery.State.WAITING)
    waiting.update(state=Delivery.State.DEAD, last_error=why)


def _again(rows: Any) -> int:
    found: int = rows.update(state=Delivery.State.WAITING, attempts=0, is_aside=True, next_attempt_at=timezone.now(), sent_at=None)
    if found:
        nudge.after_commit(nudge.wake_deliveries)
    return found
