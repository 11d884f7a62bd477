"""Holds before calls, what was added to them, and the changes that programs asked for once."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from governance.budgets.models.columns import ORGANIZATION, money_field


class Authorization(models.Model):
    """A hold on money before a call. `periods` are the budget periods it is held against, all or none."""

    class State(models.TextChoices):
        HELD = "held"
        SETTLING = "settling"  # the caller said what the call cost; that much stays held until its event is counted
        SETTLED = "settled"
        VOIDED = "voided"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - null keeps the unique index sparse
    request_hash = models.UUIDField(null=True)
    session_key = models.CharField(max_length=200, default="", blank=True)
    model = models.CharField(max_length=200, default="", blank=True)
    amount = money_field()
    currency = models.CharField(max_length=3, default="USD")
    periods = ArrayField(models.BigIntegerField(), default=list)
    amounts = ArrayField(money_field(), default=list, help_text="what is held in each of `periods`, in the measure of its budget, while it holds")
    state = models.CharField(max_length=8, choices=State.choices, default=State.HELD)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    reported_cost = money_field(null=True, help_text="what the caller said the call cost; never counted as spend")
    is_lease = models.BooleanField(default=False, db_default=False, help_text="whether many calls draw on it, so that `amounts` falls as they are counted")
    kept_amount = money_field(null=True, help_text="what stays held while it is settling: the reported cost as far as there was room")
    settled_cost = money_field(null=True, help_text="what the events that name it cost")

    class Meta:
        db_table = "budget_authorization"
        constraints = [
            models.UniqueConstraint(fields=["organization", "idempotency_key"], name="authorization_idempotent"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="authorization_not_negative"),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state__in=["held", "settling"]), name="authorization_open"),
            models.Index(fields=["organization", "session_key", "-created_at"], name="authorization_session"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} {self.state}"


class AuthorizationExtension(models.Model):
    """Time or money that an authorization was given besides. Never changed."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    authorization = models.ForeignKey(Authorization, on_delete=models.CASCADE, related_name="extensions")
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - null keeps the unique index sparse
    request_hash = models.UUIDField()
    amount = money_field()
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "budget_authorization_extension"
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "authorization", "idempotency_key"], name="authorization_extension_idempotent"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="authorization_extension_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} until {self.expires_at:%Y-%m-%d %H:%M}"


class BudgetCommand(models.Model):
    """A change that a program asked for under an Idempotency-Key, with the answer it got; kept for a day."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    key_hash = models.UUIDField(help_text="of the API key and the Idempotency-Key")
    request_hash = models.UUIDField()
    status = models.PositiveSmallIntegerField()
    answer = models.JSONField()
    at = models.DateTimeField()

    class Meta:
        db_table = "budget_command"
        constraints = [models.UniqueConstraint(fields=["organization", "key_hash"], name="budget_command_once")]

    def __str__(self) -> str:
        return str(self.key_hash)
