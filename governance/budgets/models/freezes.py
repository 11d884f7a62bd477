"""Freezes: what is refused until they end."""

from django.db import models
from django.db.models import Q

from governance.budgets.models.columns import ORGANIZATION
from governance.budgets.models.periods import BudgetPeriod


def _reach_fits() -> Q:
    """A freeze names what it reaches in the one column that is meant for it."""
    named = {"team": "team", "member": "member", "key": "api_key"}
    fits = Q(scope_kind="period", period__isnull=False) | Q(scope_kind="session") & ~Q(session_key="")
    for kind, own in {"organization": "", "provider": "", "model": "", **named}.items():
        fits |= Q(scope_kind=kind, session_key="", period=None, **{f"{column}__isnull": column != own for column in named.values()})
    return fits


class Freeze(models.Model):
    """Calls in its reach are refused until it ends: what a budget period covers, a session with all below it, or a wider scope."""

    class Cause(models.TextChoices):
        BUDGET = "budget", "Budget reached"
        HAND = "hand", "Frozen by hand"
        GUARD = "guard", "Runaway guard"
        KEY = "key", "Key revoked"

    class ScopeKind(models.TextChoices):
        PERIOD = "period", "What a budget covers"
        SESSION = "session", "Session"
        TEAM = "team", "Team"
        MEMBER = "member", "Member"
        PROVIDER = "provider", "Provider"
        MODEL = "model", "Model"
        KEY = "key", "API key"
        ORGANIZATION = "organization", "Everything"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="freezes")
    cause = models.CharField(max_length=8, choices=Cause.choices)
    scope_kind = models.CharField(max_length=12, choices=ScopeKind.choices, default=ScopeKind.PERIOD)
    scope_key = models.CharField(max_length=200, default="", blank=True, help_text="session, provider or model by name, other scopes by id")
    period = models.ForeignKey(BudgetPeriod, on_delete=models.CASCADE, null=True, related_name="freezes")
    session_key = models.CharField(max_length=200, default="", blank=True)
    team = models.ForeignKey("tenancy.Team", on_delete=models.CASCADE, null=True, related_name="+")
    member = models.ForeignKey("tenancy.Member", on_delete=models.CASCADE, null=True, related_name="+")
    api_key = models.ForeignKey("tenancy.ApiKey", on_delete=models.CASCADE, null=True, related_name="+")
    reason = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField()
    started_by = models.ForeignKey("tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+")
    started_label = models.CharField(max_length=200, default="", blank=True, help_text="the key's name where no member started it")
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey("tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+")
    end_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "freeze"
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "period"], condition=Q(ended_at=None, cause="budget"), name="freeze_period_once"),
            models.UniqueConstraint(fields=["organization", "scope_kind", "scope_key"], condition=Q(ended_at=None, period=None), name="freeze_scope_once"),
            models.CheckConstraint(name="freeze_reach_fits", condition=_reach_fits()),
        ]
        indexes = [
            models.Index(fields=["organization", "session_key"], condition=Q(ended_at=None), name="freeze_active"),
        ]

    def __str__(self) -> str:
        return f"{self.get_cause_display()}: {self.subject}"

    @property
    def starter(self) -> str:
        """Whose hand it was, a member's or a key's; empty where a budget or a guard froze."""
        return str(self.started_by) if self.started_by else self.started_label

    @property
    def subject(self) -> str:
        """What is frozen, in words: "session s-1", "team Platform", "every call"."""
        if self.period is not None and not self.session_key:
            return f"what budget {self.period.budget.name} covers"
        if self.scope_kind == Freeze.ScopeKind.ORGANIZATION:
            return "every call"
        return f"{'API key' if self.scope_kind == Freeze.ScopeKind.KEY else self.scope_kind} {self.name}"

    @property
    def label(self) -> str:
        """The scope's name as usage carries it: a team's slug, a member's address, a key's prefix; else as `name`."""
        if self.team is not None:
            return self.team.slug
        if self.member is not None:
            return self.member.user.email
        return self.api_key.prefix if self.api_key is not None else self.name

    @property
    def name(self) -> str:
        """What the scope is called: the session's, provider's or model's own name, and the name of a team, member or key."""
        return str(self.team or self.member or self.api_key or self.scope_key)
