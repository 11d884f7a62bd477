"""What pages share that let an admin decide about calls told of twice: a report split off, two calls joined or kept apart."""

from uuid import UUID

from django.contrib import messages

from dashboards.access import PageRequest
from governance.errors import Conflict, DomainError, Invalid, NotFound
from governance.ids import row_id
from governance.tenancy import access
from governance.tenancy.access import Right
from ingest.once.selectors import pairs_undecided
from ingest.once.services import call_split, pair_join_by_hand, pair_keep_apart

# What may be decided, and what is said when it is done.
DECISIONS = {"split": "The report is a call of its own now.", "join": "The two are one call now.", "apart": "The two stay two calls."}


def decided(request: PageRequest, *, call_id: UUID | None = None, session: str | None = None) -> None:
    """Does what the form asks about a report of the call or a pair (of the session) and says what came of it on the page that follows.

    Raises Forbidden, and NotFound for a report that is not there (any more).
    """
    access.require(request.actor, Right.MANAGE_ORGANIZATION)
    action, number = request.POST.get("action", ""), row_id(request.POST.get("number", "")) or 0
    if action in DECISIONS and not number:
        raise NotFound("There is no such report.")
    try:
        if action == "split" and call_id is not None:
            call_split(actor=request.actor, event_id=call_id, sighting_id=number)
        elif action in ("join", "apart"):
            _pair_decide(request, number, action, session)
        else:
            raise Invalid("Say what is to be done.")
        messages.success(request, DECISIONS[action])
    except DomainError as refusal:
        if refusal.status in (403, 404):
            raise
        messages.error(request, refusal.detail)


def _pair_decide(request: PageRequest, number: int, action: str, session: str | None) -> None:
    pair = pairs_undecided(request.actor, session=session).filter(pk=number).first()
    if pair is None:
        # The pass decides as well, every half minute, and a page may stand open for long.
        raise Conflict("This pair does not wait any more: it was decided meanwhile, or what came since has told.")
    decide = pair_join_by_hand if action == "join" else pair_keep_apart
    decide(actor=request.actor, pair_id=pair.pk)
