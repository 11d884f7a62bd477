"""The outbox: notices written in the transaction that causes them, delivered afterwards, retried until they arrive."""

from django.db import models


class Notice(models.Model):
    """One message to one recipient. Delivered at least once; `key` keeps the same cause from being told twice."""

    class State(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        DEAD = "dead"

    organization = models.ForeignKey("tenancy.Organization", on_delete=models.CASCADE, related_name="+")
    channel = models.CharField(max_length=12, default="email")
    recipient = models.CharField(max_length=254)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    key = models.CharField(max_length=200, help_text="cause and recipient; unique in the organization")
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "notice"
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["organization", "key"], name="notice_once")]
        indexes = [models.Index(fields=["next_attempt_at"], condition=models.Q(state="waiting"), name="notice_waiting")]

    def __str__(self) -> str:
        return f"{self.subject} → {self.recipient}"


class Signal(models.Model):
    """Something that happened and that programs want to know: what streams and webhooks send, in the order of `id`.

    Written in the transaction of what it tells of. Ids of transactions that overlap may be seen in another order than they commit.
    """

    class Kind(models.TextChoices):
        FREEZE_STARTED = "freeze.started"
        FREEZE_ENDED = "freeze.ended"
        THRESHOLD_PASSED = "budget.threshold_passed"
        FORECAST = "budget.forecast_exceeds"
        REQUEST_FILED = "request.filed"
        REQUEST_CLOSED = "request.closed"
        GUARD_FIRED = "guard.fired"

    organization = models.ForeignKey("tenancy.Organization", on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=40, choices=Kind.choices)
    facts = models.JSONField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "signal"
        ordering = ["-id"]
        indexes = [models.Index(fields=["organization", "id"], name="signal_in_order")]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
