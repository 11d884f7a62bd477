"""Tables of changes to stored events: why they were made, and what each event was before and after."""

from django.db import models

from governance.budgets.models import money_field

ORGANIZATION = "tenancy.Organization"


class AmendmentCause(models.Model):
    """Why some stored events were changed, and by whom. `reference` is the run, import or rule that asked for it, where one did."""

    class Kind(models.TextChoices):
        RERATING = "rerating", "Re-rated"
        CORRECTION = "correction", "Corrected"
        ATTRIBUTION = "attribution", "Attributed anew"
        UNDO = "undo", "Import undone"
        IDENTITY = "identity", "Found to be one call, or several"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    reason = models.CharField(max_length=300)
    reference = models.CharField(max_length=80, default="", blank=True)
    actor_kind = models.CharField(max_length=10)
    actor_id = models.BigIntegerField(null=True)
    actor_label = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta:
        db_table = "amendment_cause"
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["organization", "-at"], name="amendment_cause_recent")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.reason}"


class EventAmendment(models.Model):
    """One event's old and new. `old` and `new` hold the other columns that changed; of a removed event `old` holds all of them."""

    pk = models.CompositePrimaryKey("organization_id", "occurred_at", "event_id", "cause_id")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    cause = models.ForeignKey(AmendmentCause, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="events")
    occurred_at = models.DateTimeField()
    event_id = models.UUIDField()
    at = models.DateTimeField()
    old_cost = money_field(null=True)
    new_cost = money_field(null=True)
    old_price_id = models.BigIntegerField(null=True)
    new_price_id = models.BigIntegerField(null=True)
    old = models.JSONField(null=True)
    new = models.JSONField(null=True)
    is_removed = models.BooleanField(default=False)
    is_posted = models.BooleanField(
        default=False, db_default=False, help_text="whether the event stayed as it was, its month being closed, and the difference was posted in another"
    )

    class Meta:
        db_table = "event_amendment"
        ordering = ["occurred_at", "event_id", "at"]

    def __str__(self) -> str:
        return f"{self.event_id}: {self.old_cost} to {self.new_cost}"


class Adjustment(models.Model):
    """Money that a change of calls in a closed month comes to, counted at `at` in an open one under the names it belongs to.

    `month` is the closed month that it is about; `calls` how many of its calls. Only money is adjusted: the counts of the month stand.
    """

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    month = models.DateField()
    cause = models.ForeignKey(AmendmentCause, on_delete=models.PROTECT, related_name="adjustments")
    calls = models.BigIntegerField()
    cost = money_field()
    list_cost = money_field()
    team_id = models.BigIntegerField(null=True)
    project_id = models.BigIntegerField(null=True)
    member_id = models.BigIntegerField(null=True)
    api_key_id = models.BigIntegerField(null=True)
    harness = models.CharField(max_length=80)
    gateway = models.CharField(max_length=80)
    provider = models.CharField(max_length=80)
    model = models.CharField(max_length=200)
    maker = models.CharField(max_length=80)
    tier = models.CharField(max_length=8)
    role = models.CharField(max_length=40)
    task_class = models.CharField(max_length=40)
    environment = models.CharField(max_length=80)
    billing_mode = models.CharField(max_length=12)
    currency = models.CharField(max_length=3)
    tags = models.JSONField(null=True)

    class Meta:
        db_table = "adjustment"
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["organization", "at"], name="adjustment_at"), models.Index(fields=["organization", "month"], name="adjustment_month")]

    def __str__(self) -> str:
        return f"{self.cost} {self.currency} for {self.month:%Y-%m}"
