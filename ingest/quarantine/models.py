"""Tables of quarantine: rules that mend refused events, and whether somebody was told that it grows."""

from django.db import models
from django.db.models import Q

from ingest.amending.models import ORGANIZATION


class QuarantineRule(models.Model):
    """One change to the fields of refused events. All rules in force are applied to a refused event, in their order, and it is read again."""

    class Action(models.TextChoices):
        RENAME = "rename", "Read a field under another name"
        DEFAULT = "default", "Set a field that is missing"
        MAP = "map", "Replace a value"
        NUMBER = "number", "Read text as a number"
        DROP = "drop", "Leave a field out"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    door = models.CharField(max_length=40, default="", blank=True, help_text="empty: every door")
    action = models.CharField(max_length=8, choices=Action.choices)
    field = models.CharField(max_length=120)
    target = models.CharField(max_length=120, default="", blank=True, help_text="the name it is read under; tags.<name> makes it a tag")
    value = models.CharField(max_length=254, default="", blank=True, help_text="what is set, or what takes the place of `was`")
    was = models.CharField(max_length=254, default="", blank=True)
    is_active = models.BooleanField(default=True)
    maker_label = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    mended = models.BigIntegerField(default=0, help_text="events that are counted because of the rules it stood among")
    mended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "quarantine_rule"
        ordering = ["id"]
        indexes = [models.Index(fields=["organization"], condition=Q(is_active=True), name="quarantine_rule_active")]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.field}"


class QuarantineAlarm(models.Model):
    """Whether an organization's quarantine grows, and since when: its people are told once until it has been quiet in between."""

    organization = models.OneToOneField(ORGANIZATION, on_delete=models.CASCADE, primary_key=True, related_name="+")
    is_raised = models.BooleanField(default=False)
    number = models.PositiveIntegerField(default=0, help_text="how often it was raised")
    changed_at = models.DateTimeField()

    class Meta:
        db_table = "quarantine_alarm"

    def __str__(self) -> str:
        return f"{self.organization_id}: {'raised' if self.is_raised else 'quiet'}"
