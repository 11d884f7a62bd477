"""Approval policies: written as versions, one in force for the organization and for each team that has its own."""

from collections.abc import Iterable
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from governance.approvals import policy
from governance.approvals.models import ApprovalPolicy
from governance.approvals.policy import Chain, Rules
from governance.audit.services import audit_record
from governance.budgets.models import Budget
from governance.errors import Conflict, Invalid
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from governance.tenancy.models import Member, Organization, Team


@transaction.atomic
def policy_set(*, actor: Actor, team: Team | None, rules: Rules, seen: int | None = None) -> ApprovalPolicy:
    """Writes the next version of the policy of a team, or of the organization. Requests that wait keep the version they were filed under.

    `seen` is the version number that was on the screen (0: none). Raises Forbidden, Invalid with what is wrong, NotFound for
    another organization's team, and Conflict when somebody has written a version since `seen`. The same rules again change nothing.
    """
    access.require(actor, Right.MANAGE_BUDGETS)
    Organization.objects.select_for_update(no_key=True).get(pk=actor.organization.pk)
    if team is not None:
        team = access.get_scoped(actor, Team.objects.all(), pk=team.pk)
    if fault := policy.fault_of(rules):
        raise Invalid(fault)
    _check_named(actor, rules)
    before = _in_force(actor.organization, team)
    _check_seen(before, seen)
    facts = policy.to_facts(rules)
    if before is not None and policy.rules_of(before.rules) == rules:
        return before
    now = timezone.now()
    numbers = access.scoped(actor, ApprovalPolicy.objects.filter(team=team)).order_by("-number").values_list("number", flat=True)
    if before is not None:
        before.ended_at = now
        before.save(update_fields=["ended_at"])
    made = ApprovalPolicy.objects.create(
        organization=actor.organization, team=team, number=(numbers.first() or 0) + 1, rules=facts, at=now, by=actor.member
    )
    audit_record(
        actor=actor, action="approval_policy.changed" if before else "approval_policy.created", target=("approval_policy", made.pk),
        old={"number": before.number, "rules": before.rules} if before else None, new={"team": team and team.pk, "number": made.number, "rules": facts},
    )  # fmt: skip
    return made


@transaction.atomic
def policy_end(*, actor: Actor, team: Team | None, seen: int | None = None) -> None:
    """Takes a policy out of force: the organization's, or the built-in one, applies from now on. None in force changes nothing."""
    access.require(actor, Right.MANAGE_BUDGETS)
    Organization.objects.select_for_update(no_key=True).get(pk=actor.organization.pk)
    before = _in_force(actor.organization, team)
    _check_seen(before, seen)
    if before is None:
        return
    before.ended_at = timezone.now()
    before.save(update_fields=["ended_at"])
    audit_record(
        actor=actor,
        action="approval_policy.ended",
        target=("approval_policy", before.pk),
        old={"number": before.number, "rules": before.rules},
    )


def policy_for(organization: Organization, team_id: int | None) -> ApprovalPolicy | None:
    """The policy that a request about the team falls under: the nearest team's, else the organization's; None for the built-in one."""
    rows = ApprovalPolicy.objects.filter(organization=organization, ended_at=None).select_related("team")
    by_team = {row.team_id: row for row in rows}
    lineage = access.team_lineage(organization.pk, team_id) if len(by_team) > (None in by_team) else []
    return next((by_team[team] for team in lineage if team in by_team), by_team.get(None))


def policies(actor: Actor) -> list[ApprovalPolicy]:
    """The policies in force, the organization's first."""
    rows = access.scoped(actor, ApprovalPolicy.objects.filter(ended_at=None).select_related("team", "by__user"))
    return sorted(rows, key=lambda row: (row.team is not None, row.team.name if row.team else ""))


def policy_versions(actor: Actor, team: Team | None) -> list[ApprovalPolicy]:
    """All versions, latest first."""
    rows = access.scoped(actor, ApprovalPolicy.objects.filter(team=team).select_related("by__user"))
    return list(rows.order_by("-number"))


def rules_in(found: ApprovalPolicy | None) -> Rules:
    """What the policy says, or the built-in one."""
    return policy.rules_of(found.rules) if found is not None else policy.BUILT_IN


def comparable(budget: Budget, organization: Organization, amount: Decimal) -> Decimal | None:
    """The amount where it is in the money that policies are written in; None for tokens, calls and other currencies."""
    is_same = budget.measure == Budget.Measure.MONEY and budget.currency == organization.currency
    return amount if is_same else None


def chain_of_request(found: ApprovalPolicy | None, *, budget: Budget, amount: Decimal, organization: Organization) -> Chain:
    """The chain a request on the budget falls under. An amount that cannot be compared falls under that of the largest ones."""
    return policy.chain_for(rules_in(found), comparable(budget, organization, amount))


def names_of(organization: Organization, parties: Iterable[str]) -> dict[str, str]:
    """The named members among parties, as they are called."""
    ids = policy.named_members(parties)
    rows = Member.objects.filter(organization=organization, pk__in=ids).select_related("user") if ids else ()
    return {f"{policy.MEMBER}{member.pk}": str(member) for member in rows}


def parties_of(rules: Rules | Chain) -> set[str]:
    """Everybody a policy or a chain names."""
    steps = rules.steps if isinstance(rules, Chain) else tuple(step for band in rules.bands for step in band.steps)
    found = {party for step in steps for party in step.who}
    return found | set(rules.override.who if rules.override else ())


def _check_named(actor: Actor, rules: Rules) -> None:
    ids = set(policy.named_members(parties_of(rules)))
    here = access.scoped(actor, Member.objects.filter(pk__in=ids, is_active=True)).count()
    if here != len(ids):
        raise Invalid("The policy names somebody who is not an active member here.")


def _check_seen(before: ApprovalPolicy | None, seen: int | None) -> None:
    number = before.number if before is not None else 0
    if seen is not None and seen != number:
        raise Conflict(
            "Somebody else has changed this policy since you opened it. Look at what it says now and change that.", version=number
        )


def _in_force(organization: Organization, team: Team | None) -> ApprovalPolicy | None:
    return ApprovalPolicy.objects.filter(organization=organization, team=team, ended_at=None).first()
