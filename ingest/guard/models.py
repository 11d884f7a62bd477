"""Tables of the runaway guard: rules with their versions, what they found, and what they would have found."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from governance.budgets.models import money_field

ORGANIZATION = "tenancy.Organization"


class GuardRule(models.Model):
    """What counts as a runaway session, and what is done about one. `parameters` are those of `ingest.guard.parameters` for the kind."""

    class Kind(models.TextChoices):
        BURN = "burn", "Burn rate"
        REPEAT = "repeat", "Repeated calls"
        GROWTH = "growth", "Growing context"
        FAN_OUT = "fan_out", "Fan-out"
        ERRORS = "errors", "Retry storm"
        OFF_HOURS = "off_hours", "Off-hours automation"

    class Action(models.TextChoices):
        NOTIFY = "notify", "Tell only: the session goes on"
        ASK = "ask", "Ask: refused until its member, or somebody who may resume sessions, says go on"
        FREEZE = "freeze", "Freeze: refused until somebody who may resume sessions does"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    name = models.CharField(max_length=120)
    parameters = models.JSONField(default=dict)
    action = models.CharField(max_length=8, choices=Action.choices, default=Action.NOTIFY)
    cooldown_minutes = models.PositiveIntegerField(default=720, help_text="how long a session that was found is not found again by the rule")
    exempt_projects = ArrayField(models.BigIntegerField(), default=list, blank=True, help_text="projects whose calls are passed over")
    exempt_tags = ArrayField(models.CharField(max_length=400), default=list, blank=True, help_text="name=value of calls that are passed over")
    is_inline = models.BooleanField(default=False, help_text="whether it looks as soon as calls are stored, not only every minute")
    is_active = models.BooleanField(default=True)
    is_default = models.BooleanField(default=False, help_text="made with the organization")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "guard_rule"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "kind"], condition=Q(is_default=True), name="guard_rule_default_once"),
            models.CheckConstraint(condition=Q(cooldown_minutes__gte=1), name="guard_rule_cools_down"),
        ]

    def __str__(self) -> str:
        return self.name


class GuardRuleVersion(models.Model):
    """A rule as it stood from `at` on, kept when it is made and at each change. Never changed."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    rule = models.ForeignKey(GuardRule, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    facts = models.JSONField()
    at = models.DateTimeField()
    by = models.ForeignKey("tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        db_table = "guard_rule_version"
        ordering = ["rule", "-number"]
        constraints = [models.UniqueConstraint(fields=["organization", "rule", "number"], name="guard_rule_version_once")]

    def __str__(self) -> str:
        return f"{self.rule}, version {self.number}"


class GuardFinding(models.Model):
    """A session that a rule found, once for a cooldown. `number` counts the rule's findings in the session."""

    class State(models.TextChoices):
        TOLD = "told", "Told"
        STOPPED = "stopped", "Stopped"
        WENT_ON = "went_on", "Went on"
        PAST = "past", "Found looking back"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    rule = models.ForeignKey(GuardRule, on_delete=models.CASCADE, related_name="findings")
    rule_version = models.PositiveIntegerField()
    session_key = models.CharField(max_length=200)
    number = models.PositiveIntegerField()
    team_id = models.BigIntegerField(null=True)
    member_id = models.BigIntegerField(null=True)
    at = models.DateTimeField(help_text="the call with which the rule held")
    found_at = models.DateTimeField()
    evidence = models.JSONField()
    action = models.CharField(max_length=8, choices=GuardRule.Action.choices)
    state = models.CharField(max_length=8, choices=State.choices)
    freeze_id = models.BigIntegerField(null=True)
    ended_at = models.DateTimeField(null=True, help_text="when somebody said go on")
    ended_by = models.ForeignKey("tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        db_table = "guard_finding"
        ordering = ["-at", "-id"]
        constraints = [models.UniqueConstraint(fields=["organization", "rule", "session_key", "number"], name="guard_finding_once")]
        indexes = [
            models.Index(fields=["organization", "-at"], name="guard_finding_recent"),
            models.Index(fields=["organization", "session_key"], name="guard_finding_session"),
        ]

    def __str__(self) -> str:
        return f"{self.rule} in {self.session_key}"


class GuardTrial(models.Model):
    """What a rule would have caught in a range of history: asked for on the page, worked out by a task."""

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=12, choices=GuardRule.Kind.choices)
    parameters = models.JSONField(default=dict)
    exempt_projects = ArrayField(models.BigIntegerField(), default=list, blank=True)
    exempt_tags = ArrayField(models.CharField(max_length=400), default=list, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    sessions = models.PositiveIntegerField(default=0, help_text="in the range that could be caught at all")
    looked_at = models.PositiveIntegerField(default=0)
    caught = models.PositiveIntegerField(default=0)
    spent_after = money_field(default=0, help_text="what the sessions caught spent after the moment")
    results = models.JSONField(default=list, help_text="the costliest sessions caught")
    is_cut = models.BooleanField(default=False, help_text="the time was over before all sessions were looked at")
    by = models.ForeignKey("tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "guard_trial"
        ordering = ["-id"]
        indexes = [models.Index(fields=["organization", "-id"], name="guard_trial_recent")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} on history"


class GuardLate(models.Model):
    """A session of which calls were reported late, until it has been looked at."""

    pk = models.CompositePrimaryKey("organization_id", "session_key")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    session_key = models.CharField(max_length=200)
    begins_at = models.DateTimeField(help_text="of the earliest late call")
    noted_at = models.DateTimeField()

    class Meta:
        db_table = "guard_late"
        indexes = [models.Index(fields=["organization", "noted_at"], name="guard_late_noted")]

    def __str__(self) -> str:
        return self.session_key
