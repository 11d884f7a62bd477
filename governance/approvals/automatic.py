"""Small grants that the policy gives at once, within what a person and a team may get a day that way."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Sum
from django.utils import timezone

from governance.approvals import closing
from governance.approvals.models import ApprovalRequest, Decision
from governance.approvals.policies import comparable
from governance.approvals.policy import Rules
from governance.periods import local_midnight
from governance.tenancy import access
from governance.tenancy.models import Member, Organization, Team

ZERO = Decimal(0)
NOTE = "Granted at once by the approval policy."


def grant_small(request: ApprovalRequest, rules: Rules) -> Decision | None:
    """Grants the request when the policy says so; None leaves it to people. In the transaction that files it.

    What was given today is counted under the locks of the person's and the team's row, so that requests that come at the same
    time, on whatever budgets, wait for each other and together stay within both caps. The day is the organization's.
    """
    automatic = rules.automatic
    amount = comparable(request.period.budget, request.organization, request.amount)
    if automatic is None or amount is None or amount > automatic.up_to:
        return None
    organization, now = request.organization, timezone.now()
    team_id = request.team_id or request.requester.team_id
    Member.objects.select_for_update(of=("self",), no_key=True).get(organization=organization, pk=request.requester_id)
    if team_id is not None:
        Team.objects.select_for_update(of=("self",), no_key=True).get(organization=organization, pk=team_id)
    since = day_start(organization, now)
    if granted_since(organization, since, requester_id=request.requester_id) + amount > automatic.person_daily:
        return None
    if team_id is not None and granted_since(organization, since, team_id=team_id) + amount > automatic.team_daily:
        return None
    actor = access.system_actor(organization)
    topup = closing.grant(actor, request, amount=amount, ends_at=None)
    return closing.decide(actor, request, topup=topup, kind=Decision.Kind.AUTOMATIC, cap_team_id=team_id, note=NOTE)


def day_start(organization: Organization, now: datetime) -> datetime:
    """When the organization's present day began."""
    return local_midnight(now.astimezone(organization.zone).date(), organization.zone)


def granted_since(organization: Organization, since: datetime, *, requester_id: int | None = None, team_id: int | None = None) -> Decimal:
    """What the policy gave a person, or a team, since an instant, in the organization's currency."""
    rows = Decision.objects.filter(organization=organization, kind=Decision.Kind.AUTOMATIC, at__gte=since, at__lt=since + timedelta(days=2))
    if requester_id is not None:
        rows = rows.filter(request__requester=requester_id)
    if team_id is not None:
        rows = rows.filter(cap_team=team_id)
    return rows.aggregate(total=Sum("amount"))["total"] or ZERO
