"""Policies, requests for more budget, the votes on them, the one decision each gets, and its review where it was an emergency."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from governance.budgets.models import money_field

ORGANIZATION = "tenancy.Organization"
MEMBER = "tenancy.Member"


def open_to_default() -> list[str]:
    """Who decides where no policy says otherwise."""
    return ["approvers", "admins"]


class ApprovalPolicy(models.Model):
    """One version of the policy of a team, or of the whole organization (team empty). Never changed but for its end."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="approval_policies")
    team = models.ForeignKey("tenancy.Team", on_delete=models.CASCADE, null=True, blank=True, related_name="approval_policies")
    number = models.PositiveIntegerField()
    rules = models.JSONField(help_text="as governance.approvals.policy reads it")
    at = models.DateTimeField()
    by = models.ForeignKey(MEMBER, on_delete=models.SET_NULL, null=True, related_name="+")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "approval_policy"
        ordering = ["team", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "team", "number"], name="policy_version_once", nulls_distinct=False),
            models.UniqueConstraint(
                fields=["organization", "team"], condition=Q(ended_at=None), name="policy_one_in_force", nulls_distinct=False
            ),
        ]

    def __str__(self) -> str:
        return f"{self.team or 'the organization'}, version {self.number}"


class ApprovalRequest(models.Model):
    """A member asks for an amount on one budget period, usually because a session froze on it."""

    class State(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        DENIED = "denied"
        WITHDRAWN = "withdrawn"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="approval_requests")
    requester = models.ForeignKey(MEMBER, on_delete=models.PROTECT, related_name="requests")
    period = models.ForeignKey("budgets.BudgetPeriod", on_delete=models.CASCADE, related_name="requests")
    team = models.ForeignKey(
        "tenancy.Team",
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        help_text="whose approvers decide; empty: owners and admins only",
    )
    spender = models.ForeignKey(
        MEMBER, on_delete=models.SET_NULL, null=True, related_name="+", help_text="whose session or own budget the money is for"
    )
    session_key = models.CharField(max_length=200, default="", blank=True)
    amount = money_field()
    currency = models.CharField(max_length=6, default="USD", help_text="what the amount counts: the budget's currency, or `tokens` or `calls`")
    reason = models.CharField(max_length=2000)
    ends_at = models.DateTimeField(null=True, blank=True, help_text="until when the money is wanted; empty: to the end of the period")
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - null keeps the unique index sparse
    request_hash = models.UUIDField(null=True)
    policy = models.ForeignKey(
        ApprovalPolicy,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        help_text="in force when it was filed; empty: the built-in one",
    )
    chain = models.JSONField(
        default=dict, blank=True, help_text="the steps it is held to, kept from when it was filed; empty: the built-in one"
    )
    open_to = ArrayField(models.CharField(max_length=40), default=open_to_default, help_text="whose vote would bring it further now")
    opened = ArrayField(models.DateTimeField(), default=list, blank=True, help_text="when each step that was reached began")
    escalated = ArrayField(models.PositiveSmallIntegerField(), default=list, blank=True, help_text="the steps that were left lying")
    escalates_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="when it closes by itself if nobody decided; empty: by its end or its period's only"
    )

    class Meta:
        db_table = "approval_request"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="request_positive"),
            models.UniqueConstraint(
                fields=["organization", "requester", "period"], condition=Q(state="pending"), name="request_once_pending"
            ),
            models.UniqueConstraint(fields=["organization", "requester", "idempotency_key"], name="request_idempotent"),
        ]
        indexes = [
            models.Index(fields=["organization", "state", "-created_at"], name="request_queue"),
            models.Index(fields=["id"], condition=Q(state="pending"), name="request_open"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} for {self.session_key or self.period}"


class Vote(models.Model):
    """What one person said to a request. `seat` is whose place it takes: the person's own, or that of whom they stand in for."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    request = models.ForeignKey(ApprovalRequest, on_delete=models.CASCADE, related_name="votes")
    decider = models.ForeignKey(MEMBER, on_delete=models.PROTECT, related_name="votes")
    seat = models.ForeignKey(MEMBER, on_delete=models.PROTECT, related_name="+")
    is_grant = models.BooleanField()
    amount = money_field(null=True)
    ends_at = models.DateTimeField(null=True)
    is_session_only = models.BooleanField(default=False)
    note = models.CharField(max_length=2000, blank=True)
    at = models.DateTimeField()
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - absent is not an empty key
    request_hash = models.UUIDField(null=True)

    class Meta:
        db_table = "approval_vote"
        ordering = ["at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "request", "decider"], name="vote_once_a_person"),
            models.UniqueConstraint(fields=["organization", "request", "seat"], name="vote_once_a_seat"),
            models.CheckConstraint(condition=Q(is_grant=True, amount__gt=0) | Q(is_grant=False, amount=None), name="vote_amount_fits"),
        ]

    # What a vote that did not yet decide has in common with a decision.
    is_final = False
    topup = None

    def __str__(self) -> str:
        return f"{self.decider}: {'grant' if self.is_grant else 'deny'} {self.request}"

    @property
    def in_stead_of(self) -> Any:
        """Whom the decider stood in for; None for a vote of one's own."""
        return self.seat if self.seat_id != self.decider_id else None


class Decision(models.Model):
    """The one decision on a request: granted in full, in part, or denied."""

    class Kind(models.TextChoices):
        VOTES = "votes", "Decided"
        AUTOMATIC = "automatic", "Granted by the policy"
        OVERRIDE = "override", "Emergency override"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    request = models.OneToOneField(ApprovalRequest, on_delete=models.CASCADE, related_name="decision")
    kind = models.CharField(max_length=9, choices=Kind.choices, default=Kind.VOTES)
    decider = models.ForeignKey(
        MEMBER, on_delete=models.PROTECT, null=True, related_name="decisions", help_text="the last to decide; empty: the policy"
    )
    is_grant = models.BooleanField()
    amount = money_field(null=True)
    note = models.CharField(max_length=2000, blank=True)
    topup = models.OneToOneField("budgets.TopUp", on_delete=models.SET_NULL, null=True, related_name="decision")
    at = models.DateTimeField()
    cap_team = models.ForeignKey(
        "tenancy.Team",
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        help_text="the team whose daily cap an automatic grant counts against",
    )
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - absent is not an empty key
    request_hash = models.UUIDField(null=True)

    class Meta:
        db_table = "decision"
        constraints = [
            models.CheckConstraint(condition=Q(is_grant=True, amount__gt=0) | Q(is_grant=False, amount=None), name="decision_amount_fits"),
            models.CheckConstraint(
                condition=Q(kind="automatic", decider=None) | ~Q(kind="automatic") & Q(decider__isnull=False), name="decision_decider_fits"
            ),
        ]
        indexes = [models.Index(fields=["organization", "at"], condition=Q(kind="automatic"), name="decision_automatic")]

    is_final = True

    def __str__(self) -> str:
        return f"{'granted' if self.is_grant else 'denied'} {self.request}"

    @property
    def by(self) -> str:
        """Who decided, as a word."""
        return str(self.decider) if self.decider is not None else "The policy"


class Review(models.Model):
    """An emergency override that somebody else has to look at."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    decision = models.OneToOneField(Decision, on_delete=models.CASCADE, related_name="review")
    due_at = models.DateTimeField()
    reminded_at = models.DateTimeField(null=True)
    reviewer = models.ForeignKey(MEMBER, on_delete=models.PROTECT, null=True, related_name="+")
    is_upheld = models.BooleanField(null=True, help_text="whether the reviewer finds that it was right")
    note = models.CharField(max_length=2000, blank=True)
    reviewed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "override_review"
        ordering = ["due_at", "id"]
        indexes = [models.Index(fields=["due_at"], condition=Q(reviewed_at=None), name="review_due")]

    def __str__(self) -> str:
        return f"review of {self.decision}"


class Delegation(models.Model):
    """A member lets another decide in their stead for a time."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    delegator = models.ForeignKey(MEMBER, on_delete=models.CASCADE, related_name="delegations")
    delegate = models.ForeignKey(MEMBER, on_delete=models.CASCADE, related_name="stands_in")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, help_text="when it was taken back before its time")

    class Meta:
        db_table = "approval_delegation"
        ordering = ["-starts_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="delegation_ends_after_it_starts"),
            models.CheckConstraint(condition=~Q(delegator=F("delegate")), name="delegation_to_another"),
        ]

    def __str__(self) -> str:
        return f"{self.delegate} for {self.delegator}"
