"""Calls that were refused, as they are counted."""

from django.db import models
from django.db.models import Q

from governance.budgets.models.columns import ORGANIZATION
from governance.budgets.models.freezes import Freeze
from governance.budgets.models.periods import BudgetPeriod


class Refusal(models.Model):
    """Calls that a period or a freeze refused: one row for each as it happens, added up by the hour soon afterwards.

    Nothing is locked for it: no constraint looks at the period's row, which is the one that calls queue for.
    """

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    period = models.ForeignKey(BudgetPeriod, on_delete=models.CASCADE, null=True, related_name="refusals", db_constraint=False, db_index=False)
    freeze = models.ForeignKey(Freeze, on_delete=models.CASCADE, null=True, related_name="refusals", db_constraint=False, db_index=False)
    session_key = models.CharField(max_length=200, default="", blank=True)
    calls = models.BigIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    hour = models.DateTimeField(null=True, help_text="of first_at, once it is added up")

    class Meta:
        db_table = "budget_refusal"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "period", "freeze", "session_key", "hour"], condition=Q(hour__isnull=False), nulls_distinct=False, name="refusal_hour_once"
            )
        ]
        indexes = [
            models.Index(fields=["organization", "session_key"], condition=~Q(session_key=""), name="refusal_session"),
            models.Index(fields=["organization", "freeze"], condition=Q(freeze__isnull=False), name="refusal_freeze"),
            models.Index(fields=["organization", "id"], condition=Q(hour=None), name="refusal_single"),
        ]

    def __str__(self) -> str:
        return f"{self.calls} refused since {self.first_at:%Y-%m-%d %H:%M}"
