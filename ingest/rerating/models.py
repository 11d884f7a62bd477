"""Tables of re-rating: the runs."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from governance.budgets.models import money_field
from ingest.amending.models import ORGANIZATION, AmendmentCause


class ReratingRun(models.Model):
    """One re-rating, or one attribution anew: which calls, why, how far it is, and what it has changed. (`position_at`, `position_id`) is the last call it

    has seen. One with a `draft` tries a rule that is not saved: it is worked out and never applied.
    """

    class Kind(models.TextChoices):
        RATING = "rating", "Prices"
        ATTRIBUTION = "attribution", "Attribution"

    class State(models.TextChoices):
        PREVIEWING = "previewing", "Working out"
        READY = "ready", "Waits for a decision"
        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        DONE = "done", "Done"
        CANCELLED = "cancelled", "Cancelled"
        FAILED = "failed", "Failed"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.RATING)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PREVIEWING)
    reason = models.CharField(max_length=300)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    providers = ArrayField(models.CharField(max_length=80), default=list, blank=True)
    model_names = ArrayField(models.CharField(max_length=200), default=list, blank=True, help_text="as the catalogue or as calls name them")
    team_ids = ArrayField(models.BigIntegerField(), default=list, blank=True, help_text="with those below")
    is_unpriced_only = models.BooleanField(default=False, help_text="whether only calls without a cost are rated")
    moves_owners = models.BooleanField(default=False, help_text="whether calls follow a member or project that is in another team now")
    draft = models.JSONField(null=True, help_text="a rule that is not saved")
    made_by = models.ForeignKey("tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+")
    maker_label = models.CharField(max_length=200)
    cause = models.ForeignKey(AmendmentCause, on_delete=models.PROTECT, null=True, related_name="runs")
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    worked_at = models.DateTimeField(null=True, help_text="when a worker last gave a sign of life")
    position_at = models.DateTimeField(null=True)
    position_id = models.UUIDField(null=True)
    events_total = models.BigIntegerField(null=True)
    events_seen = models.BigIntegerField(default=0)
    events_changed = models.BigIntegerField(default=0)
    cost_before = money_field(default=0, help_text="of the calls changed, as far as they had a cost")
    cost_after = money_field(default=0)
    preview = models.JSONField(null=True)
    failure = models.CharField(max_length=500, default="", blank=True)

    class Meta:
        db_table = "rerating_run"
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["organization", "-created_at"], name="rerating_run_recent"),
            models.Index(fields=["state"], condition=Q(state__in=["previewing", "running"]), name="rerating_run_working"),
        ]
        constraints = [models.CheckConstraint(condition=Q(starts_at__lt=models.F("ends_at")), name="rerating_run_range")]

    def __str__(self) -> str:
        return f"Run {self.pk}: {self.reason}"

    @property
    def is_ended(self) -> bool:
        return self.state in (self.State.DONE, self.State.CANCELLED, self.State.FAILED)


class ReratingLook(models.Model):
    """The prices that an organization's unpriced calls were last looked at with."""

    organization = models.OneToOneField(ORGANIZATION, on_delete=models.CASCADE, primary_key=True, related_name="+")
    stamp = models.CharField(max_length=80)
    at = models.DateTimeField()

    class Meta:
        db_table = "rerating_look"

    def __str__(self) -> str:
        return self.stamp
