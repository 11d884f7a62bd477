"""Decides offers to rate calls again: taken up as a re-rating run, or left."""

from django.db import transaction

from governance.audit.services import audit_record
from governance.errors import Conflict
from governance.pricing.models import RatingProposal
from governance.tenancy.access import Actor, Right, get_scoped, require
from ingest.rerating.models import ReratingRun
from ingest.rerating.services import run_create

State = RatingProposal.State


@transaction.atomic
def proposal_take(*, actor: Actor, proposal_id: int) -> ReratingRun:
    """Makes a re-rating run of the offer; it works out what it would change before anything is changed. Raises Conflict when it was decided."""
    proposal = _open(actor, proposal_id)
    run = run_create(
        actor=actor, reason=proposal.reason, starts_at=proposal.starts_at, ends_at=proposal.ends_at,
        providers=[proposal.provider] if proposal.provider else [], models=[proposal.model] if proposal.model else proposal.model_names,
        team_ids=[proposal.team_id] if proposal.team_id else [],
    )  # fmt: skip
    _become(actor, proposal, State.TAKEN, rerating=str(run.pk))
    return run


@transaction.atomic
def proposal_dismiss(*, actor: Actor, proposal_id: int) -> RatingProposal:
    """Leaves the calls as they were rated. Raises Conflict when it was decided."""
    proposal = _open(actor, proposal_id)
    _become(actor, proposal, State.DISMISSED)
    return proposal


def _open(actor: Actor, proposal_id: int) -> RatingProposal:
    require(actor, Right.MANAGE_PRICES)
    proposal = get_scoped(actor, RatingProposal.objects.select_for_update(), pk=proposal_id)
    if proposal.state != State.OPEN:
        raise Conflict(f"This was decided already: {proposal.get_state_display().lower()}.")
    return proposal


def _become(actor: Actor, proposal: RatingProposal, state: State, *, rerating: str = "") -> None:
    proposal.state, proposal.rerating = state, rerating
    proposal.save(update_fields=["state", "rerating"])
    audit_record(
        actor=actor, action=f"rating_proposal.{state.value}", target=("rating_proposal", proposal.pk), old={"state": State.OPEN.value},
        new={"state": state.value, "rerating": rerating},
    )  # fmt: skip
