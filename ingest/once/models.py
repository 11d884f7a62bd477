"""Tables of calls that were reported more than once: each report, pairs that may be one call, and whose figures an organization trusts."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

ORGANIZATION = "tenancy.Organization"


class EventSighting(models.Model):
    """One report of a call that has at least two. `reported` is what it said, as a usage event with its key's defaults.

    `own_key` is the identity it was reported under, `keys` are all that it is known by. A sighting is settled once its
    figures and labels are in the event, as far as its source is trusted.
    """

    class How(models.TextChoices):
        FIRST = "first", "Reported first"
        SAME_ID = "same-id", "The same id"
        MATCHED = "matched", "Session, tokens and time, when it came"
        SETTLED = "pass", "The whole session, by the later pass"
        BY_HAND = "by-hand", "By hand"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, db_index=False, related_name="+")
    event_id = models.UUIDField()
    event_at = models.DateTimeField()
    source = models.CharField(max_length=80)
    own_key = models.UUIDField()
    keys = ArrayField(models.UUIDField())
    own_id = models.CharField(max_length=200)
    body_hash = models.UUIDField()
    reported = models.JSONField()
    reported_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    api_key_id = models.BigIntegerField(null=True)
    key_member_id = models.BigIntegerField(null=True)
    how = models.CharField(max_length=8, choices=How.choices)
    is_settled = models.BooleanField(default=False)

    class Meta:
        db_table = "event_sighting"
        ordering = ["event_at", "event_id", "id"]
        constraints = [models.UniqueConstraint(fields=["organization", "event_id", "own_key", "body_hash"], name="event_sighting_once")]
        indexes = [
            models.Index(fields=["organization", "own_key"], name="event_sighting_own"),
            models.Index(fields=["organization", "event_at"], name="event_sighting_at"),
            models.Index(fields=["organization", "seen_at"], condition=models.Q(is_settled=False), name="event_sighting_unsettled"),
        ]

    def __str__(self) -> str:
        return f"{self.source}: {self.own_id}"


class SightingPair(models.Model):
    """Two calls, as they were reported, that may be one. Those that a person has parted stay apart whatever the pass thinks.

    The keys are those the reports came under, the lesser first, so that a pair is found whatever became of its events.
    """

    class State(models.TextChoices):
        UNDECIDED = "undecided", "Undecided"
        LINKED = "linked", "Known to be one by a report with both ids"
        JOINED = "joined", "Joined"
        APART = "apart", "Kept apart"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, db_index=False, related_name="+")
    first_key = models.UUIDField()
    second_key = models.UUIDField()
    session = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=State.choices)
    noted_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=200, default="", blank=True)

    class Meta:
        db_table = "sighting_pair"
        ordering = ["-noted_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "first_key", "second_key"], name="sighting_pair_once"),
            models.CheckConstraint(condition=models.Q(first_key__lt=models.F("second_key")), name="sighting_pair_ordered"),
        ]
        indexes = [models.Index(fields=["organization", "state", "-noted_at"], name="sighting_pair_state")]

    def __str__(self) -> str:
        return f"{self.first_key} and {self.second_key}: {self.state}"


class OrderOfTrust(models.Model):
    """Whose figures stand when reports of a call differ, the most trusted kind first. Without a row: as `sources.TRUST` has it."""

    organization = models.OneToOneField(ORGANIZATION, on_delete=models.CASCADE, primary_key=True, related_name="+")
    kinds = ArrayField(models.CharField(max_length=10))
    changed_at = models.DateTimeField()

    class Meta:
        db_table = "order_of_trust"

    def __str__(self) -> str:
        return " > ".join(self.kinds)
