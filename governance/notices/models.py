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
