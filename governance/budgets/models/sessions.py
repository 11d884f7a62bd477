"""Sessions: one agent run each, with its running totals."""

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q

from governance.budgets.models.columns import ORGANIZATION, money_field

RUNNING_WITHIN = timedelta(minutes=5)
CLOSED_AFTER = timedelta(hours=24)


class Session(models.Model):
    """One agent run as its harness names it: who it belongs to and the running totals of its events."""

    pk = models.CompositePrimaryKey("organization_id", "key")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    parent_key = models.CharField(max_length=200, default="", blank=True)
    team_id = models.BigIntegerField(null=True)
    project_id = models.BigIntegerField(null=True)
    member_id = models.BigIntegerField(null=True)
    harness = models.CharField(max_length=80, default="", blank=True)
    gateway = models.CharField(max_length=80, default="", blank=True)
    model = models.CharField(max_length=200, default="", blank=True, help_text="of the latest call")
    provider = models.CharField(max_length=200, default="", blank=True, help_text="of the latest call")
    provider_least = models.CharField(max_length=200, default="", blank=True, db_collation="C", help_text="the first of its calls' providers by name")
    provider_greatest = models.CharField(max_length=200, default="", blank=True, db_collation="C", help_text="the last of them: another, if several")
    source_least = models.CharField(max_length=80, default="", db_default="", blank=True, db_collation="C", help_text="the first of those who report its calls, by name")
    source_greatest = models.CharField(max_length=80, default="", db_default="", blank=True, db_collation="C", help_text="the last of them: another, if several")
    api_key_id = models.BigIntegerField(null=True, help_text="the key that the latest call was reported with")
    task = models.CharField(max_length=200, default="", blank=True)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    calls = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    unpriced_calls = models.BigIntegerField(default=0)
    tokens = models.BigIntegerField(default=0)
    cost = money_field(default=0)
    notional_cost = money_field(default=0)
    context_tokens = models.BigIntegerField(default=0, help_text="input of the latest call, cached or not")
    context_tokens_max = models.BigIntegerField(default=0)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "session"
        indexes = [
            models.Index(fields=["organization", "-last_at"], name="session_recent"),
            models.Index(fields=["organization", "team_id", "-last_at"], name="session_team"),
            models.Index(fields=["organization", "member_id", "-last_at"], name="session_member"),
            models.Index(fields=["organization", "parent_key"], condition=~Q(parent_key=""), name="session_children"),
        ]

    def __str__(self) -> str:
        return self.key

    def stands_at(self, now: datetime) -> str:
        """How it stands where nothing refuses its calls: running, idle or closed."""
        if self.closed_at is not None or self.last_at < now - CLOSED_AFTER:
            return "closed"
        return "running" if self.last_at >= now - RUNNING_WITHIN else "idle"


class SessionLink(models.Model):
    """A session said to be above another by an authorization, before any event of it said so."""

    pk = models.CompositePrimaryKey("organization_id", "key", "parent_key")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    parent_key = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta:
        db_table = "session_link"
        indexes = [models.Index(fields=["organization", "parent_key"], name="session_link_children")]

    def __str__(self) -> str:
        return f"{self.key} below {self.parent_key}"
