"""What a finished run makes of open offers to rate calls again: those that it has rated all calls of are over."""

from governance.audit.services import audit_record
from governance.pricing.models import RatingProposal
from governance.tenancy.access import Actor
from ingest.rerating.models import ReratingRun

State = RatingProposal.State


def proposals_settle(*, actor: Actor, run: ReratingRun) -> None:
    """Marks the offers as taken whose calls the run, which is done, has rated since they were made. Within the caller's transaction."""
    if run.kind != ReratingRun.Kind.RATING or run.is_unpriced_only or run.started_at is None:
        return
    rows = RatingProposal.objects.select_for_update(of=("self",)).filter(
        organization=run.organization_id, state=State.OPEN, created_at__lte=run.started_at, starts_at__gte=run.starts_at, ends_at__lte=run.ends_at
    )
    for proposal in rows.order_by("id"):
        if _has_rated(run, proposal):
            proposal.state, proposal.rerating = State.TAKEN, str(run.pk)
            proposal.save(update_fields=["state", "rerating"])
            new = {"state": State.TAKEN.value, "rerating": proposal.rerating}
            audit_record(actor=actor, action="rating_proposal.taken", target=("rating_proposal", proposal.pk), old={"state": State.OPEN.value}, new=new)


def _has_rated(run: ReratingRun, proposal: RatingProposal) -> bool:
    """Whether the run was for all that the offer names; no name stands for every one."""
    offered = {proposal.model} if proposal.model else set(proposal.model_names)
    is_for_models = not run.model_names or (bool(offered) and offered <= set(run.model_names))
    is_for_teams = not run.team_ids or proposal.team_id in run.team_ids
    return is_for_models and is_for_teams and (not run.providers or proposal.provider in run.providers)
