"""Emergency overrides: one person grants at once and above limits, everybody is told, and somebody else reviews it."""

from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from governance.approvals import checks, closing, policy, selectors, tell
from governance.approvals.deciding import actor_now
from governance.approvals.models import ApprovalRequest, Decision, Review
from governance.approvals.standing import Standing
from governance.audit.services import audit_record
from governance.errors import Conflict, Forbidden, NotFound
from governance.tenancy import access
from governance.tenancy.access import Actor
from governance.tenancy.models import Member, Role

REVIEWING = (Role.OWNER, Role.ADMIN, Role.FINANCE)
REMIND_BEFORE = timedelta(days=1)
REMIND_EVERY = timedelta(days=1)


@transaction.atomic
def request_override(
    *,
    actor: Actor,
    request_id: UUID,
    reason: str,
    amount: Decimal | None = None,
    ends_at: datetime | None = None,
    session_only: bool = False,
    idempotency_key: str | None = None,
) -> Decision:
    """Grants a pending request past its chain and above the actor's limit, because it cannot wait. A review is due from then on.

    Raises Forbidden unless the policy the request was filed under names the actor, and for whom the money is for; Invalid
    without a reason; Conflict when the request is no longer pending or its period is over.
    """
    selectors.request_get(actor, request_id)
    request = closing.request_locked(actor, request_id)
    actor = actor_now(actor, request)
    member = actor.member
    verdict = checks.facts_hash({"override": True, "amount": amount, "reason": reason, "ends_at": ends_at, "session_only": session_only})
    decision = Decision.objects.select_related("decider__user", "topup").filter(organization=actor.organization, request=request).first()
    if decision and member and idempotency_key and (decision.decider_id, decision.idempotency_key) == (member.pk, idempotency_key):
        if decision.request_hash != verdict:
            raise checks.key_reused()
        return decision
    closing.check_pending(request)
    standing = Standing(request)
    if refusal := override_refusal(actor, standing):
        raise Forbidden(refusal)
    reason = checks.text_stored(reason, field="reason", is_required=True)
    granted = closing.amount_checked(request, amount)
    topup = closing.grant(actor, request, amount=granted, ends_at=ends_at, is_session_only=session_only)
    waiting_for = sorted(standing.open_parties)
    decision = closing.decide(
        actor, request, topup=topup, facts={"override": True, "passed_over": waiting_for}, kind=Decision.Kind.OVERRIDE, decider=member, note=reason,
        idempotency_key=idempotency_key, request_hash=verdict,
    )  # fmt: skip
    override = standing.chain.override or policy.Override(())
    review = Review.objects.create(
        organization=actor.organization, decision=decision, due_at=standing.now + timedelta(days=override.review_days)
    )
    tell.overridden(request, review, reviewers(review))
    return decision


@transaction.atomic
def review_record(*, actor: Actor, request_id: UUID, is_upheld: bool, note: str = "") -> Review:
    """Says whether an override was right. Somebody else's to say than who overrode or asked; finding it wrong needs a note.

    The money stays as it is: it may be spent already. Raises NotFound, Forbidden, Invalid, and Conflict when it was reviewed.
    """
    selectors.request_get(actor, request_id)
    rows = Review.objects.select_for_update(of=("self",)).select_related("decision__request", "decision__decider__user", "reviewer__user")
    review = access.scoped(actor, rows).filter(decision__request=request_id).first()
    if review is None:
        raise NotFound("There is no override to review here.")
    actor = actor_now(actor, review.decision.request)
    if refusal := review_refusal(actor, review):
        raise Forbidden(refusal)
    if review.reviewed_at is not None:
        raise Conflict(f"{review.reviewer} has reviewed this already.", reviewed_at=review.reviewed_at)
    review.note = checks.text_stored(note, field="note", is_required=not is_upheld)
    review.is_upheld, review.reviewer, review.reviewed_at = is_upheld, actor.member, timezone.now()
    review.save(update_fields=["note", "is_upheld", "reviewer", "reviewed_at"])
    facts = {"request": review.decision.request_id, "is_upheld": is_upheld, "note": review.note}
    audit_record(actor=actor, action="override.reviewed", target=("override_review", review.pk), new=facts)
    tell.reviewed(review.decision.request, review)
    return review


def reviews_due(actor: Actor) -> QuerySet[Review]:
    """The overrides that nobody has reviewed, as far as the actor sees them; longest due first."""
    rows = access.scoped(actor, Review.objects.filter(reviewed_at=None))
    seen = selectors.requests_visible(actor).order_by().values("pk")
    return rows.filter(decision__request__in=seen).select_related(
        "decision__decider__user", "decision__request__requester__user", "decision__request__period__budget", "decision__request__organization"
    ).order_by("due_at", "id")  # fmt: skip


def reviews_remind(*, now: datetime | None = None) -> int:
    """Reminds of the reviews that are due within a day or late, once a day each. Returns how many."""
    now = now or timezone.now()
    due = Review.objects.filter(reviewed_at=None, due_at__lte=now + REMIND_BEFORE).exclude(reminded_at__gt=now - REMIND_EVERY)
    return sum(
        _remind(organization_id, review_id, now)
        for organization_id, review_id in list(due.order_by("id").values_list("organization_id", "id")[:1000])
    )


def override_refusal(actor: Actor, standing: Standing) -> str:
    """Why the actor may not override, as a sentence; "" when it may."""
    member, override = actor.member, standing.chain.override
    if refusal := selectors.person_refusal(actor, standing.request):
        return refusal
    if override is None:
        return "The approval policy lets nobody override."
    if member is None or not standing.parties(member) & frozenset(override.who):
        return "The approval policy does not let you override."
    return ""


def review_refusal(actor: Actor, review: Review) -> str:
    """Why the actor may not review, as a sentence; "" when it may."""
    member, request = actor.member, review.decision.request
    refusal = selectors.person_refusal(actor, request)
    if member is not None and member.pk == review.decision.decider_id:
        refusal = "Somebody else than who overrode reviews it."
    elif not refusal and member is not None and member.role not in REVIEWING:
        refusal = "Overrides are reviewed by owners, admins and finance."
    return refusal


def reviewers(review: Review) -> list[Member]:
    """The active people who may review."""
    request = review.decision.request
    barred = [one for one in (review.decision.decider_id, request.requester_id, request.spender_id) if one is not None]
    rows = Member.objects.filter(organization=review.organization_id, role__in=REVIEWING, is_active=True, user__is_active=True)
    return list(rows.exclude(pk__in=barred).select_related("user").order_by("user__name", "user__email", "id"))


def review_of(request: ApprovalRequest) -> Review | None:
    """The review of the request's decision; None where there was no override."""
    rows = Review.objects.filter(organization=request.organization_id, decision__request=request)
    return rows.select_related("decision__decider__user", "decision__request", "reviewer__user").first()


@transaction.atomic
def _remind(organization_id: int, review_id: int, now: datetime) -> int:
    rows = Review.objects.select_for_update(of=("self",), skip_locked=True).select_related(
        "decision__decider__user",
        "decision__request__period__budget",
        "decision__request__organization",
        "decision__request__requester__user",
    )
    review = rows.filter(organization=organization_id, pk=review_id, reviewed_at=None).first()
    if review is None or (review.reminded_at is not None and review.reminded_at > now - REMIND_EVERY):
        return 0
    review.reminded_at = now
    review.save(update_fields=["reminded_at"])
    tell.review_due(review.decision.request, review, reviewers(review), now=now)
    return 1
