"""Offers to rate calls again that were made since terms, prices or exchange rates began that were made known later."""

from datetime import timedelta

from django.db.models import Min, Sum

from governance.periods import local_midnight
from governance.pricing.late import Late
from governance.pricing.models import RatingProposal
from governance.tenancy.directory import directory_at
from ingest.ledger import teams_below
from ingest.models import UsageRollupDay
from ingest.rerating.services import LONGEST


def proposal_offer(late: Late) -> RatingProposal | None:
    """The offer for the calls of that time, or the open one for the same, widened. None where no call was made."""
    organization, zone = late.organization, late.organization.zone
    last = late.ends_at.astimezone(zone).date()
    rows = UsageRollupDay.objects.filter(
        organization=organization, billing_mode="metered", day__gte=late.starts_at.astimezone(zone).date(), day__lte=last
    )
    if late.provider:
        rows = rows.filter(provider=late.provider)
    if late.models:
        rows = rows.filter(model__in=late.models)
    if late.team is not None:
        rows = rows.filter(team_id__in=teams_below(directory_at(organization), late.team.pk))
    found = rows.aggregate(calls=Sum("calls"), first=Min("day"))
    if not found["calls"]:
        return None
    # No run goes further back than so far, and before the first call there is nothing to rate.
    starts_at = max(late.starts_at, local_midnight(found["first"], zone), late.ends_at - LONGEST + timedelta(seconds=1))
    one = late.models[0] if len(late.models) == 1 else ""
    scope = {"provider": late.provider, "model": one, "model_names": [] if one else list(late.models), "team": late.team}
    facts = {"starts_at": starts_at, "ends_at": late.ends_at, "reason": late.reason[:300], "calls": found["calls"], "currency": organization.currency}
    standing = RatingProposal.objects.filter(organization=organization, finding=None, state=RatingProposal.State.OPEN, **scope).first()
    if standing is None:
        return RatingProposal.objects.create(organization=organization, **scope, **facts)
    facts["starts_at"] = max(min(starts_at, standing.starts_at), late.ends_at - LONGEST + timedelta(seconds=1))
    for name, value in facts.items():
        setattr(standing, name, value)
    standing.save(update_fields=list(facts))
    return standing
