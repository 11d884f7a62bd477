"""Honours Idempotency-Key where programs change budgets: the same request under the same key gets the first answer and changes nothing more."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from governance import sql
from governance.budgets.models import BudgetCommand
from governance.errors import Conflict, Invalid
from governance.ids import hash16
from governance.tenancy.access import Actor
from governance.tenancy.rendering import encoder

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
LONGEST_KEY = 200
REMEMBERED = timedelta(days=1)
# A second request under the key waits here until the first is committed.
CLAIM = """
INSERT INTO budget_command (organization_id, key_hash, request_hash, status, answer, at) VALUES (%s, %s, %s, 0, '{}', %s)
ON CONFLICT (organization_id, key_hash) DO NOTHING
"""


@transaction.atomic
def answered_once(*, actor: Actor, key: str | None, request: tuple[str, bytes], act: Callable[[], tuple[int, Any]]) -> tuple[int, Any, bool]:
    """(status, answer, whether it was given before) of `act`, which runs once for each key in a day. `request` is the address and the body.

    A refusal is not kept: the key may be used again. Raises Invalid for a key that is none, and Conflict for one used for another request.
    """
    if key is None:
        return *act(), False
    if not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise Invalid(f"An {HEADER} has 1 to {LONGEST_KEY} printable characters.", field=HEADER)
    now, address, body = timezone.now(), *request
    key_hash, request_hash = hash16("budgets", str(actor.id), key), hash16(address, body.hex())
    commands = BudgetCommand.objects.filter(organization=actor.organization)
    commands.filter(at__lt=now - REMEMBERED).delete()
    if not sql.execute(CLAIM, [actor.organization.pk, key_hash, request_hash, now]):
        first = commands.get(key_hash=key_hash)
        if first.request_hash != request_hash:
            raise Conflict(f"This {HEADER} was used for another request; nothing of this one was done.", field=HEADER)
        return first.status, first.answer, True
    status, answer = act()
    commands.filter(key_hash=key_hash).update(status=status, answer=json.loads(encoder.encode(answer)))
    return status, answer, False
