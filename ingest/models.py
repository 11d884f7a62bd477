"""Events, their identities, and the rollups that pages read."""

from django.db import models
from django.db.models import Q

from governance.budgets.models import money_field
from ingest.amending.models import Adjustment, AmendmentCause, EventAmendment
from ingest.guard.models import GuardFinding, GuardRule, GuardRuleVersion, GuardTrial
from ingest.importing.models import ImportMeaning, ImportPart, ImportPiece, ImportRefusal, ImportRun
from ingest.once.models import EventSighting, OrderOfTrust, SightingPair
from ingest.quarantine.models import QuarantineAlarm, QuarantineRule
from ingest.rerating.models import ReratingLook, ReratingRun
from ingest.signals.models import MetricStream, SpanSeen

__all__ = [
    "Adjustment", "AmendmentCause", "ArrivalHour", "EventAmendment", "EventIdentity", "EventSighting", "GuardFinding", "GuardRule", "GuardRuleVersion", "GuardTrial",
    "IdempotencyKey", "ImportMeaning", "ImportPart", "ImportPiece", "ImportRefusal", "ImportRun", "MetricStream", "OrderOfTrust", "QuarantineAlarm", "QuarantineRule",
    "RejectedInput", "ReportedLabel", "ReratingLook", "ReratingRun", "SightingPair", "SpanSeen", "UsageEvent", "UsageRollup", "UsageRollupDay",
]  # fmt: skip
ORGANIZATION = "tenancy.Organization"


class UsageEvent(models.Model):
    """One model call, priced. The table is partitioned by month of `occurred_at`; its SQL is in the first migration.

    Token buckets are disjoint, except that reasoning is part of output; NULL means that the count is not known.
    `id` is the key of the event's identity. `counted_at` is when a call counts whose month was closed when it came: else `occurred_at`.
    `cost` is what the call costs the organization, in its `currency`; `list_cost` what it
    costs by the price book alone, in the same. The price is in `price_currency` (empty: no price); one unit of it was
    `exchange_rate` units of `currency` (NULL: they are the same). `term_id` is the organization's own term that made the cost.
    `ruled` has the attribution rules that said something of the call, by what they set (`rules`), and the labels they replaced (`was`); NULL: none did.
    """

    pk = models.CompositePrimaryKey("organization_id", "occurred_at", "id")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    occurred_at = models.DateTimeField()
    id = models.UUIDField()
    received_at = models.DateTimeField()
    source = models.CharField(max_length=40)
    api_key_id = models.BigIntegerField(null=True)
    external_id = models.CharField(max_length=200)
    request_id = models.CharField(max_length=200)
    provider = models.CharField(max_length=80)
    model = models.CharField(max_length=200)
    maker = models.CharField(max_length=80)
    tier = models.CharField(max_length=8)
    model_reported = models.CharField(max_length=200)
    harness = models.CharField(max_length=80)
    harness_version = models.CharField(max_length=80)
    gateway = models.CharField(max_length=80)
    team_id = models.BigIntegerField(null=True)
    project_id = models.BigIntegerField(null=True)
    member_id = models.BigIntegerField(null=True)
    team_label = models.CharField(max_length=200)
    project_label = models.CharField(max_length=200)
    member_label = models.CharField(max_length=254)
    session = models.CharField(max_length=200)
    parent_session = models.CharField(max_length=200)
    task = models.CharField(max_length=200)
    trace = models.CharField(max_length=200)
    parent = models.CharField(max_length=200)
    role = models.CharField(max_length=40)
    task_class = models.CharField(max_length=40)
    environment = models.CharField(max_length=80)
    input_tokens = models.BigIntegerField(null=True)
    cache_read_tokens = models.BigIntegerField(null=True)
    cache_write_5m_tokens = models.BigIntegerField(null=True)
    cache_write_1h_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    reasoning_tokens = models.BigIntegerField(null=True)
    units = models.JSONField(null=True)
    latency_ms = models.IntegerField(null=True)
    ttft_ms = models.IntegerField(null=True)
    status = models.CharField(max_length=40)
    reported_cost = money_field(null=True)
    reported_currency = models.CharField(max_length=3)
    billing_mode = models.CharField(max_length=12)
    cost = money_field(null=True)
    currency = models.CharField(max_length=3)
    price_id = models.BigIntegerField(null=True)
    authorization_id = models.UUIDField(null=True)
    is_after_freeze = models.BooleanField(default=False)
    tags = models.JSONField(null=True)
    list_cost = money_field(null=True)
    price_currency = models.CharField(max_length=3, default="")
    exchange_rate = models.DecimalField(max_digits=60, decimal_places=30, null=True)
    term_id = models.BigIntegerField(null=True)
    counted_at = models.DateTimeField(null=True)
    ruled = models.JSONField(null=True)

    class Meta:
        managed = False
        db_table = "usage_event"
        ordering = ["occurred_at", "id"]

    def __str__(self) -> str:
        return f"{self.model} at {self.occurred_at:%Y-%m-%d %H:%M:%S}"


class EventsKept(models.Model):
    """From when on every event is there: retention has dropped the months before. At most one row, which only moves forward."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    since = models.DateTimeField()

    class Meta:
        db_table = "events_kept"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="events_kept_once")]

    def __str__(self) -> str:
        return f"events since {self.since:%Y-%m-%d}"


class EventIdentity(models.Model):
    """Keeps each call counted once: the unique key decides inside the storing transaction."""

    pk = models.CompositePrimaryKey("organization_id", "key")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    key = models.UUIDField()
    body_hash = models.UUIDField()
    occurred_at = models.DateTimeField()
    sightings = models.PositiveIntegerField(default=1)
    source = models.CharField(max_length=80, default="", db_default="", help_text="who reported it")
    event_id = models.UUIDField(null=True, help_text="the event that this is one more key of, or another report of")

    class Meta:
        db_table = "event_identity"
        indexes = [models.Index(fields=["organization", "event_id"], condition=Q(event_id__isnull=False), name="event_identity_event")]

    def __str__(self) -> str:
        return str(self.key)


class IdempotencyKey(models.Model):
    """A key under which events were posted within the last day, with what says that a request is the same, and what it was answered."""

    pk = models.CompositePrimaryKey("organization_id", "key_hash")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, db_index=False, related_name="+")
    key_hash = models.UUIDField()
    request_hash = models.UUIDField()
    accepted = models.BinaryField(null=True, help_text="a byte for each event, 1 when it was accepted; compressed")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "idempotency_key"

    def __str__(self) -> str:
        return str(self.key_hash)


class Measures(models.Model):
    """Sums of events. `cost` is billed, `notional_cost` is subscription usage at list price; unknown counts add nothing.

    `list_cost` is what the billed calls come to at list price: less `cost`, it is what the organization's own terms saved. Calls that
    the price book has no price for count in it at their cost.
    """

    calls = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    unpriced_calls = models.BigIntegerField(default=0)
    unmeasured_calls = models.BigIntegerField(default=0, help_text="neither input nor output is known")
    input_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_5m_tokens = models.BigIntegerField(default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    latency_ms_sum = models.BigIntegerField(default=0)
    latency_calls = models.BigIntegerField(default=0)
    cost = money_field(default=0)
    notional_cost = money_field(default=0)
    list_cost = money_field(default=0)

    class Meta:
        abstract = True


class Dimensions(models.Model):
    """What sums are kept by. `dimensions_hash` is the 16-byte hash of them all and makes the key short."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    dimensions_hash = models.UUIDField()
    team_id = models.BigIntegerField(null=True)
    project_id = models.BigIntegerField(null=True)
    harness = models.CharField(max_length=80)
    gateway = models.CharField(max_length=80)
    provider = models.CharField(max_length=80)
    model = models.CharField(max_length=200)
    maker = models.CharField(max_length=80)
    tier = models.CharField(max_length=8)
    role = models.CharField(max_length=40)
    task_class = models.CharField(max_length=40)
    billing_mode = models.CharField(max_length=12)
    currency = models.CharField(max_length=3)

    class Meta:
        abstract = True


class UsageRollup(Dimensions, Measures):
    """Sums by local clock hour; `hour` is the instant at which it began in the organization's time zone."""

    pk = models.CompositePrimaryKey("organization_id", "hour", "dimensions_hash")
    hour = models.DateTimeField()

    class Meta:
        db_table = "usage_rollup"

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}"


class UsageRollupDay(Dimensions, Measures):
    """Sums by local day, with the member."""

    pk = models.CompositePrimaryKey("organization_id", "day", "dimensions_hash")
    day = models.DateField()
    member_id = models.BigIntegerField(null=True)

    class Meta:
        db_table = "usage_rollup_day"
        indexes = [models.Index(fields=["organization", "member_id", "day"], name="rollup_day_member")]

    def __str__(self) -> str:
        return str(self.day)


class ArrivalHour(models.Model):
    """What came in by which door, with which key, of which harness and gateway, by the hour (UTC) in which it was called. For how a connection does.

    Not a sum of events: what is changed or taken out later stays what came in. `repeats` were counted before. `last_at` is when the
    last of it came. Of a connection that went quiet the last row stays.
    """

    pk = models.CompositePrimaryKey("organization_id", "hour", "source", "api_key_id", "harness", "gateway")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, db_index=False, related_name="+")
    hour = models.DateTimeField()
    source = models.CharField(max_length=40)
    api_key_id = models.BigIntegerField(help_text="0: none, as for what is read on the server")
    harness = models.CharField(max_length=80)
    gateway = models.CharField(max_length=80)
    calls = models.BigIntegerField()
    errors = models.BigIntegerField()
    repeats = models.BigIntegerField()
    last_at = models.DateTimeField()

    class Meta:
        db_table = "arrival_hour"
        indexes = [models.Index(fields=["organization", "api_key_id"], name="arrival_key")]

    def __str__(self) -> str:
        return f"{self.source} {self.harness} {self.hour:%Y-%m-%d %H}"


class ReportedLabel(models.Model):
    """A team, project, member, harness or model that usage named and that is not (yet) known here."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=12)
    value = models.CharField(max_length=254)
    calls = models.BigIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        db_table = "reported_label"
        ordering = ["kind", "-last_at", "value"]
        constraints = [models.UniqueConstraint(fields=["organization", "kind", "value"], name="reported_label_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


class RejectedInput(models.Model):
    """Something that came in and was not counted, kept so that an admin can look at it and replay it."""

    class Kind(models.TextChoices):
        REJECTED = "rejected"
        CONFLICT = "conflict"
        ENVELOPE = "envelope"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    door = models.CharField(max_length=40)
    code = models.CharField(max_length=60)
    reason = models.TextField()
    field = models.CharField(max_length=120, default="", blank=True)
    payload = models.BinaryField(help_text="the event or body as it came, up to 64 KiB")
    is_whole = models.BooleanField(default=True, help_text="false when the payload was cut and cannot be replayed")
    api_key_id = models.BigIntegerField(null=True)
    harness = models.CharField(max_length=64, default="", blank=True, help_text="who it says made the call, where that is a name")
    gateway = models.CharField(max_length=64, default="", blank=True)
    received_at = models.DateTimeField()
    replayed_at = models.DateTimeField(null=True)
    replay_outcome = models.CharField(max_length=12, default="", blank=True)
    call_id = models.UUIDField(null=True, help_text="of a conflict, the call that was counted under its id")
    differs = models.JSONField(
        default=list, db_default=[], blank=True, help_text="of a conflict, in what it differs from that call: field, first, now"
    )

    class Meta:
        db_table = "rejected_input"
        ordering = ["-received_at", "-id"]
        indexes = [models.Index(fields=["organization", "-received_at"], name="rejected_recent")]
        constraints = [models.CheckConstraint(condition=~Q(code=""), name="rejected_has_code")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"
