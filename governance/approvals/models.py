"""Requests for more budget and the one decision each of them gets."""

from django.db import models
from django.db.models import Q

from governance.budgets.models import money_field

ORGANIZATION = "tenancy.Organization"


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
    requester = models.ForeignKey("tenancy.Member", on_delete=models.PROTECT, related_name="requests")
    period = models.ForeignKey("budgets.BudgetPeriod", on_delete=models.CASCADE, related_name="requests")
    team = models.ForeignKey(
        "tenancy.Team",
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        help_text="whose approvers decide; empty: owners and admins only",
    )
    spender = models.ForeignKey(
        "tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+", help_text="whose session or own budget the money is for"
    )
    session_key = models.CharField(max_length=200, default="", blank=True)
    amount = money_field()
    currency = models.CharField(max_length=3, default="USD")
    reason = models.CharField(max_length=2000)
    ends_at = models.DateTimeField(null=True, blank=True, help_text="until when the money is wanted; empty: to the end of the period")
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - null keeps the unique index sparse
    request_hash = models.UUIDField(null=True)

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


class Decision(models.Model):
    """The one decision on a request: granted in full, in part, or denied."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    request = models.OneToOneField(ApprovalRequest, on_delete=models.CASCADE, related_name="decision")
    decider = models.ForeignKey("tenancy.Member", on_delete=models.PROTECT, related_name="decisions")
    is_grant = models.BooleanField()
    amount = money_field(null=True)
    note = models.CharField(max_length=2000, blank=True)
    topup = models.OneToOneField("budgets.TopUp", on_delete=models.SET_NULL, null=True, related_name="decision")
    at = models.DateTimeField()
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - absent is not an empty key
    request_hash = models.UUIDField(null=True)

    class Meta:
        db_table = "decision"
        constraints = [
            models.CheckConstraint(condition=Q(is_grant=True, amount__gt=0) | Q(is_grant=False, amount=None), name="decision_amount_fits"),
        ]

    def __str__(self) -> str:
        return f"{'granted' if self.is_grant else 'denied'} {self.request}"
