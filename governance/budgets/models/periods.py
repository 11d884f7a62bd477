"""The windows of budgets: their balances, what was added to them, and what they passed."""

from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from governance.budgets.models.budgets import Budget
from governance.budgets.models.columns import ORGANIZATION, money_field


class BudgetPeriod(models.Model):
    """One window of one budget (and one session or task, for templates): the balance that the ledger adds up to.

    A rolling budget has one period; what it has spent is the sum since `slides_from`, which moves on with time.
    """

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="periods")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    session_key = models.CharField(max_length=200, default="", blank=True)
    task_key = models.CharField(max_length=200, default="", blank=True)
    slides_from = models.DateTimeField(null=True, help_text="of a rolling window: from when on events count; behind it they are taken off")
    limit_amount = money_field()
    quoted_limit = money_field(null=True, help_text="the limit as it was given in another currency")
    exchange_rate = models.DecimalField(max_digits=40, decimal_places=20, null=True, help_text="what made the limit of the one in another currency")
    is_hard = models.BooleanField()
    freezes_at_limit = models.BooleanField(default=True)
    topup = money_field(default=0, help_text="the sum of what was granted, carried over and moved between budgets, in force now")
    spent = money_field(default=0)
    held = money_field(default=0)
    calls = models.BigIntegerField(default=0)
    frozen_at = models.DateTimeField(null=True, help_text="since when a hard limit stands reached; the row's own lock guards it")
    refused_at = models.DateTimeField(null=True, help_text="when a hold last did not fit; cleared by the next that does, and by a top-up")
    refused_amount = money_field(null=True)
    closed_at = models.DateTimeField(null=True, help_text="when the window, being over, left to the next what its budget lets it leave")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "budget_period"
        ordering = ["-starts_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "budget", "starts_at", "session_key", "task_key"], name="budget_period_once"),
            models.CheckConstraint(condition=Q(held__gte=0), name="budget_period_held_not_negative"),
            models.CheckConstraint(condition=Q(topup__gte=-F("limit_amount")), name="budget_period_allowance_not_negative"),
        ]
        indexes = [
            models.Index(fields=["organization", "session_key"], condition=~Q(session_key=""), name="budget_period_session"),
            models.Index(fields=["organization", "task_key"], condition=~Q(task_key=""), name="budget_period_task"),
            models.Index(fields=["organization", "session_key"], condition=Q(frozen_at__isnull=False), name="budget_period_frozen"),
            models.Index(fields=["organization", "ends_at"], condition=Q(closed_at=None, ends_at__isnull=False), name="budget_period_open"),
        ]

    def __str__(self) -> str:
        return f"{self.budget} from {self.starts_at:%Y-%m-%d}"

    @property
    def allowance(self) -> Decimal:
        """The limit with its top-ups."""
        allowance: Decimal = self.limit_amount + self.topup
        return allowance

    @property
    def left(self) -> Decimal:
        """What neither spend nor holds have taken; negative after an excess."""
        left: Decimal = self.allowance - self.spent - self.held
        return left


class BudgetSlice(models.Model):
    """What a rolling period counted in one quarter hour, so that it can be taken off when the window has moved past it."""

    pk = models.CompositePrimaryKey("organization_id", "period_id", "slice_at")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    period = models.ForeignKey(BudgetPeriod, on_delete=models.CASCADE, related_name="slices")
    slice_at = models.DateTimeField()
    spent = money_field()
    calls = models.BigIntegerField()

    class Meta:
        db_table = "budget_slice"

    def __str__(self) -> str:
        return f"{self.slice_at:%Y-%m-%d %H:%M}: {self.spent}"


class ThresholdCrossing(models.Model):
    """A period passed a percentage of its limit, or is forecast to reach it (percent 0).

    One is in force at a time, so that it is told once; it ends when the spend has fallen well below, and may then come again.
    """

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    period = models.ForeignKey(BudgetPeriod, on_delete=models.CASCADE, related_name="crossings")
    percent = models.PositiveSmallIntegerField()
    spent = money_field()
    at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "threshold_crossing"
        constraints = [
            models.UniqueConstraint(fields=["organization", "period", "percent"], condition=Q(ended_at=None), name="threshold_once")
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.period}"


class TopUp(models.Model):
    """What is added to one period's limit; it counts from when it is granted until it ends. A transfer takes off its source what it gives."""

    class Kind(models.TextChoices):
        GRANT = "grant", "Granted"
        CARRY = "carry", "Carried over"
        TRANSFER = "transfer", "Moved"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    period = models.ForeignKey(BudgetPeriod, on_delete=models.CASCADE, related_name="topups")
    amount = money_field()
    granted_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    granted_by = models.ForeignKey("tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.GRANT)
    other_period = models.ForeignKey(
        BudgetPeriod, on_delete=models.SET_NULL, null=True, related_name="+", help_text="where it was carried or moved from or to"
    )

    class Meta:
        db_table = "topup"
        ordering = ["-granted_at", "-id"]
        constraints = [models.CheckConstraint(condition=Q(amount__gt=0) | Q(kind="transfer") & ~Q(amount=0), name="topup_positive")]
        indexes = [models.Index(fields=["ends_at"], condition=Q(ended_at=None, ends_at__isnull=False), name="topup_ending")]

    def __str__(self) -> str:
        return f"{self.amount} on {self.period}"
