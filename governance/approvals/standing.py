"""How a request stands: which votes count, whose turn it is, and in whose place somebody may decide. Read afresh each time.

Whether a vote counts is asked again whenever the request is looked at: the vote of somebody who left, or who lost the role
it was cast by, does not. The policy is not asked again: the chain is the one from when the request was filed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property

from django.db.models import Case, Q, When
from django.utils import timezone

from governance.approvals import delegations, policy
from governance.approvals.models import ApprovalRequest, Vote
from governance.approvals.policy import ADMINS, APPROVERS, FINANCE, MEMBER, OWNERS, Chain, Progress
from governance.tenancy import access
from governance.tenancy.models import Member, Role

BY_ROLE = {Role.OWNER: (ADMINS, OWNERS), Role.ADMIN: (ADMINS,), Role.FINANCE: (FINANCE,)}


@dataclass(frozen=True, slots=True)
class Seat:
    """A person who may decide now, and whose place that takes: the person's own, or that of whom they stand in for."""

    person: Member
    of: Member

    @property
    def in_stead_of(self) -> Member | None:
        return self.of if self.of.pk != self.person.pk else None


class Standing:
    """One request, its chain and its votes, as the database has them. Make a new one after a change."""

    def __init__(self, request: ApprovalRequest, *, now: datetime | None = None) -> None:
        self.request = request
        self.now = now or timezone.now()
        self.chain: Chain = policy.chain_of(request.chain)

    @cached_property
    def lineage(self) -> list[int]:
        """The deciding team and those above it."""
        return access.team_lineage(self.request.organization_id, self.request.team_id)

    @cached_property
    def votes(self) -> list[Vote]:
        """All that were cast, in order."""
        rows = Vote.objects.filter(organization=self.request.organization_id, request=self.request)
        return list(rows.select_related("decider__user", "decider__team", "seat__user", "seat__team").order_by("at", "id"))

    @cached_property
    def counting(self) -> list[Vote]:
        """The votes that count: of people who are still here, in the place of somebody who still may decide a step."""
        return [vote for vote in self.votes if _is_here(vote.decider) and self.fits(vote.seat)]

    @property
    def grants(self) -> list[Vote]:
        return [vote for vote in self.counting if vote.is_grant]

    @property
    def denials(self) -> list[Vote]:
        return [vote for vote in self.counting if not vote.is_grant]

    @cached_property
    def progress(self) -> Progress:
        return policy.progress(self.chain, [self.fits(vote.seat) for vote in self.grants], self.request.escalated)

    @property
    def is_denied(self) -> bool:
        return len(self.denials) >= self.chain.denials

    @property
    def open_parties(self) -> frozenset[str]:
        """Whose vote would bring the request further."""
        return frozenset().union(*(policy.parties_at(self.chain, place, self.request.escalated) for place in self.progress.open_steps))

    @cached_property
    def barred(self) -> frozenset[int]:
        """Who never decides: the requester, and whose spend the money is for."""
        return frozenset(one for one in (self.request.requester_id, self.request.spender_id) if one is not None)

    def parties(self, member: Member) -> frozenset[str]:
        """What the member counts as for this request. Nothing once the member has left."""
        if not _is_here(member):
            return frozenset()
        found = {f"{MEMBER}{member.pk}", *BY_ROLE.get(Role(member.role), ())}
        if member.role == Role.APPROVER and member.team_id is not None and member.team_id in self.lineage:
            found.add(APPROVERS)
        return frozenset(found)

    def fits(self, member: Member) -> frozenset[int]:
        """The steps that the member counts for; none for whom the money is for."""
        return frozenset() if member.pk in self.barred else policy.fits(self.chain, self.parties(member), self.request.escalated)

    def is_open_to(self, member: Member) -> bool:
        """Whether a vote in the member's place would bring the request further."""
        return bool(self.fits(member) & self.progress.open_steps) and member.pk not in {vote.seat_id for vote in self.votes}

    @cached_property
    def delegations(self) -> tuple[delegations.Standing, ...]:
        return delegations.standings(self.request.organization, is_fresh=True)

    def seats_for(self, person: Member) -> list[Seat]:
        """The places the person may take now, the own one first. None for whom the money is for, nor for who has decided."""
        if person.pk in self.barred or person.pk in {vote.decider_id for vote in self.votes} or not _is_here(person):
            return []
        own = [Seat(person, person)] if self.is_open_to(person) else []
        others = delegations.stood_in_for(person.pk, self.delegations, now=self.now, barred=self.barred)
        members = (
            Member.objects.filter(organization=self.request.organization_id, pk__in=others).select_related("user", "team") if others else ()
        )
        return own + [Seat(person, of) for of in members if self.is_open_to(of)]

    @cached_property
    def seats(self) -> list[Seat]:
        """Everybody who may decide now, approvers first, and after them who stands in for one of them."""
        return self.seats_among(self.open_parties)

    def seats_among(self, parties: Iterable[str]) -> list[Seat]:
        voted = {vote.decider_id for vote in self.votes}
        own = [member for member in self.members(parties) if self.is_open_to(member)]
        found = [Seat(member, member) for member in own if member.pk not in voted]
        substitutes = {member.pk: delegations.delegates_of(member.pk, self.delegations, now=self.now, barred=self.barred) for member in own}
        ids = frozenset().union(*substitutes.values()) - voted - {seat.person.pk for seat in found}
        people = Member.objects.filter(organization=self.request.organization_id, pk__in=ids).select_related("user", "team") if ids else ()
        return found + [Seat(person, next(of for of in own if person.pk in substitutes[of.pk])) for person in people]

    def members(self, parties: Iterable[str]) -> list[Member]:
        """The active members who belong to one of the parties, approvers first."""
        wanted = set(parties)
        may = Q(pk__in=policy.named_members(wanted))
        may |= Q(role__in=[role for role, counts in BY_ROLE.items() if wanted & set(counts)])
        if APPROVERS in wanted:
            may |= Q(role=Role.APPROVER, team_id__in=self.lineage)
        rows = Member.objects.filter(may, organization=self.request.organization_id, is_active=True, user__is_active=True)
        return list(
            rows.select_related("user", "team").order_by(
                Case(When(role=Role.APPROVER, then=0), default=1), "user__name", "user__email", "id"
            )
        )

    def remaining(self, place: int) -> int:
        """How many votes a step still takes."""
        return self.chain.steps[place].needed - self.progress.filled[place] if not self.progress.done[place] else 0

    def opened(self) -> list[datetime]:
        """When each step that was reached began; those reached just now begin now."""
        reached = self.progress.reached
        return [*self.request.opened[:reached], *[self.now] * (reached - len(self.request.opened))]

    def escalates_at(self, opened: Sequence[datetime]) -> datetime | None:
        """When the next step that is not over counts as left lying; None when that does not happen."""
        if self.chain.escalate_minutes is None:
            return None
        wait = timedelta(minutes=self.chain.escalate_minutes)
        due = [at + wait for place, at in enumerate(opened) if not self.progress.done[place] and place not in self.request.escalated]
        return min(due, default=None)

    def left_lying(self) -> list[int]:
        """The steps whose time to escalate has come."""
        if self.chain.escalate_minutes is None:
            return []
        wait = timedelta(minutes=self.chain.escalate_minutes)
        return [
            place for place, at in enumerate(self.opened())
            if at + wait <= self.now and not self.progress.done[place] and place not in self.request.escalated
        ]  # fmt: skip

    @property
    def most_open(self) -> Decimal:
        """The most that can come of the request: of several grants the smallest counts."""
        granted: list[Decimal] = [vote.amount for vote in self.grants if vote.amount is not None]
        most: Decimal = min([self.request.amount, *granted])
        return most

    def terms(self) -> tuple[Decimal, datetime | None, bool]:
        """What the grants agree on: the smallest amount, the earliest end (None: none was set), whether for the session only."""
        amount = min(vote.amount for vote in self.grants if vote.amount is not None)
        ends = [vote.ends_at for vote in self.grants if vote.ends_at is not None]
        return amount, min(ends, default=None), any(vote.is_session_only for vote in self.grants)


def _is_here(member: Member) -> bool:
    return member.is_active and member.user.is_active
