"""The outbox: notices to people and signals to programs, written in the transaction that causes them and delivered afterwards."""

from datetime import time
from uuid import uuid4

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

ORGANIZATION = "tenancy.Organization"
MEMBER = "tenancy.Member"
TEAM = "tenancy.Team"


class Notice(models.Model):
    """One message to one recipient. Delivered at least once; `key` keeps the same cause from being told twice."""

    class State(models.TextChoices):
        WAITING = "waiting"
        HELD = "held"  # is gathered with others when it is due
        GATHERED = "gathered"  # was told in another notice
        SENT = "sent"
        DEAD = "dead"

    class Kind(models.TextChoices):
        """What a person can choose to be told, and how."""

        OWN_FROZEN = "own.frozen", "My session or my budget is frozen"
        REQUEST_FILED = "request.filed", "A request waits for my decision"
        REQUEST_CLOSED = "request.closed", "My request is decided or closed"
        FROZEN = "budget.frozen", "A budget or session I answer for is frozen"
        THRESHOLD = "budget.threshold", "A budget passes a threshold"
        FORECAST = "budget.forecast", "A budget will run out before its period ends"
        GUARD = "guard.fired", "The guard catches a session that runs away"
        PRICES = "prices.changed", "Prices of models we use change, or wait for a decision"
        QUARANTINE = "quarantine.grows", "What comes in is refused, much of it within an hour"
        CHANNEL = "channel.failing", "A channel is switched off because it fails"
        DIGEST = "digest", "A digest"
        OTHER = "other", "Anything else"

    class Gather(models.TextChoices):
        """Why a notice is held and told together with others."""

        NOT = "", "not"
        STORM = "storm"
        QUIET = "quiet"
        DAILY = "daily"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    member = models.ForeignKey(MEMBER, on_delete=models.CASCADE, null=True, related_name="+")
    kind = models.CharField(max_length=20, choices=Kind.choices, default=Kind.OTHER)
    channel = models.CharField(max_length=12, default="email")
    recipient = models.CharField(max_length=254)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    key = models.CharField(max_length=200, help_text="cause and recipient; unique in the organization")
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    gather = models.CharField(max_length=8, choices=Gather.choices, blank=True, default=Gather.NOT)
    gathered_in = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="parts")
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "notice"
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["organization", "key"], name="notice_once")]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(state="waiting"), name="notice_waiting"),
            models.Index(fields=["next_attempt_at"], condition=Q(state="held"), name="notice_held"),
            models.Index(fields=["organization", "member", "kind", "created_at"], name="notice_recent"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} → {self.recipient}"


class TransactionId(models.Func):
    """The present transaction's number, which never comes again in a database."""

    template = "(pg_current_xact_id()::text::bigint)"
    output_field = models.BigIntegerField()


class Signal(models.Model):
    """Something that happened and that programs want to know: what streams and webhooks send, in the order of `id`.

    Written in the transaction of what it tells of. Ids of transactions that overlap may be seen in another order than they commit.
    """

    class Kind(models.TextChoices):
        FREEZE_STARTED = "freeze.started", "Freeze started"
        FREEZE_ENDED = "freeze.ended", "Freeze ended"
        THRESHOLD_PASSED = "budget.threshold_passed", "Budget passed a threshold"
        FORECAST = "budget.forecast_exceeds", "Budget will run out by forecast"
        REQUEST_FILED = "request.filed", "Request filed"
        REQUEST_CLOSED = "request.closed", "Request closed"
        GUARD_FIRED = "guard.fired", "Guard fired"
        PRICES_CHANGED = "prices.changed", "Prices changed"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    team = models.ForeignKey(
        TEAM, on_delete=models.SET_NULL, null=True, related_name="+", help_text="whose channels hear of it, with those above"
    )
    kind = models.CharField(max_length=40, choices=Kind.choices)
    facts = models.JSONField()
    xid = models.BigIntegerField(db_default=TransactionId(), help_text="the transaction that wrote it: which snapshots see it")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "signal"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["organization", "id"], name="signal_in_order"),
            models.Index(fields=["xid"], name="signal_transaction"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class Endpoint(models.Model):
    """Where signals are sent: a webhook of the organization, or a Slack channel of it or of one team."""

    class Channel(models.TextChoices):
        WEBHOOK = "webhook", "Webhook"
        SLACK = "slack", "Slack"

    class Off(models.TextChoices):
        """Why an endpoint is switched off."""

        NOT = "", "not"
        HAND = "hand", "switched off"
        GONE = "gone", "it answered that it is gone (410)"
        FAILING = "failing", "it failed for days"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    channel = models.CharField(max_length=8, choices=Channel.choices)
    name = models.CharField(max_length=120)
    team = models.ForeignKey(
        TEAM, on_delete=models.CASCADE, null=True, blank=True, related_name="+", help_text="hears of this team and those below only"
    )
    kinds = ArrayField(models.CharField(max_length=40, choices=Signal.Kind.choices))
    address = models.TextField(help_text="sealed; a Slack address is a secret by itself")
    shown_address = models.CharField(max_length=300, help_text="the part that may be seen")
    secret = models.TextField(blank=True, help_text="sealed; signs what is sent")
    old_secret = models.TextField(blank=True, help_text="sealed; signs as well until old_secret_ends_at")
    old_secret_ends_at = models.DateTimeField(null=True)
    off = models.CharField(max_length=8, choices=Off.choices, blank=True, default=Off.NOT)
    failing_since = models.DateTimeField(null=True)
    held_until = models.DateTimeField(null=True, help_text="a worker is sending to it, until then at most")
    hold = models.BigIntegerField(default=0, help_text="counts the workers that had it; an outdated one notes nothing")
    is_removed = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "notice_endpoint"
        ordering = ["name", "id"]
        constraints = [models.UniqueConstraint(fields=["organization", "name"], condition=Q(is_removed=False), name="endpoint_name")]

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One signal on its way to one endpoint. `message_id` stays the same over attempts and when it is sent again by hand."""

    class State(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        DEAD = "dead"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="deliveries")
    signal = models.ForeignKey(Signal, on_delete=models.CASCADE, null=True, related_name="+", help_text="empty: a test")
    message_id = models.UUIDField(default=uuid4)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    is_aside = models.BooleanField(default=False, help_text="was refused so often that those behind it need not wait")
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    last_status = models.PositiveSmallIntegerField(null=True)
    last_error = models.TextField(blank=True)
    last_answer = models.TextField(blank=True, help_text="how the answer's body begins")
    last_ms = models.PositiveIntegerField(null=True, help_text="how long the last attempt took")
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "notice_delivery"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["endpoint", "id"], condition=Q(state="waiting"), name="delivery_waiting"),
            models.Index(fields=["organization", "endpoint", "-id"], name="delivery_of_endpoint"),
        ]

    def __str__(self) -> str:
        return f"{self.message_id} → {self.endpoint}"


class NoticePreference(models.Model):
    """How one member wants to be told: kinds by way, quiet hours on the person's own clock, the team's digest."""

    class Way(models.TextChoices):
        NOW = "now", "At once"
        DAILY = "daily", "In my daily mail"
        OFF = "off", "Not at all"

    class TeamDigest(models.TextChoices):
        NONE = "", "None"
        DAILY = "daily", "Every day"
        WEEKLY = "weekly", "Every Monday"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    member = models.OneToOneField(MEMBER, on_delete=models.CASCADE, related_name="notice_preference")
    ways = models.JSONField(default=dict, help_text="kind → way, where it is not at once")
    time_zone = models.CharField(max_length=60, blank=True, help_text="empty: the organization's")
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)
    daily_at = models.TimeField(default=time(8))
    team_digest = models.CharField(max_length=6, choices=TeamDigest.choices, blank=True, default=TeamDigest.NONE)
    team_digest_next_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "notice_preference"
        constraints = [
            models.CheckConstraint(
                condition=Q(quiet_from=None, quiet_until=None)
                | (Q(quiet_from__isnull=False, quiet_until__isnull=False) & ~Q(quiet_from=models.F("quiet_until"))),
                name="quiet_hours_have_two_ends",
            )
        ]

    def __str__(self) -> str:
        return f"how {self.member} is told"


class UsedLink(models.Model):
    """A signed link that has done what it is for, and does it no second time."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    nonce = models.CharField(max_length=40)
    purpose = models.CharField(max_length=20)
    member = models.ForeignKey(MEMBER, on_delete=models.CASCADE, related_name="+")
    used_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(help_text="after this the link is refused anyway")

    class Meta:
        db_table = "used_link"
        constraints = [models.UniqueConstraint(fields=["organization", "nonce"], name="link_once")]

    def __str__(self) -> str:
        return f"{self.purpose} {self.nonce}"
