"""Budgets and their versions."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from governance.budgets.models.columns import ORGANIZATION, money_field

SCOPE_COLUMNS = ("team", "project", "member", "service_account", "api_key")
LONGEST_ROLLING_HOURS = 24 * 92


def _scope_fits() -> Q:
    """The one column that a scope names is set and the others are not; templates may be narrowed by any."""
    named = {"organization": "", "team": "team", "project": "project", "member": "member", "service_account": "service_account", "key": "api_key"}
    fits = Q(scope_kind__in=["session", "task"])
    for kind, own in named.items():
        fits |= Q(scope_kind=kind, **{f"{column}__isnull": column != own for column in SCOPE_COLUMNS})
    return fits


class Budget(models.Model):
    """A limit per period on what one scope uses: money, tokens or calls.

    Session and task budgets are templates: every session (task) in their scope has a period of its own. `filters` narrow the
    scope further, see `governance.budgets.filters`.
    """

    class ScopeKind(models.TextChoices):
        ORGANIZATION = "organization"
        TEAM = "team"
        PROJECT = "project"
        MEMBER = "member"
        SERVICE_ACCOUNT = "service_account"
        KEY = "key"
        SESSION = "session"
        TASK = "task"

    class Kind(models.TextChoices):
        SESSION = "session"
        TASK = "task"
        ROLLING = "rolling"
        DAY = "day"
        WEEK = "week"
        MONTH = "month"
        QUARTER = "quarter"
        YEAR = "year"
        LIFETIME = "lifetime"

    class Measure(models.TextChoices):
        MONEY = "money"
        TOKENS = "tokens"
        CALLS = "calls"

    class Action(models.TextChoices):
        FREEZE = "freeze", "Freeze: further calls are refused until somebody grants more"
        ASK = "ask", "Refuse what does not fit: smaller calls go on"
        DOWNGRADE = "downgrade", "Refuse all but cheaper models"
        NOTIFY = "notify", "Tell only: calls go on"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="budgets")
    name = models.CharField(max_length=120)
    scope_kind = models.CharField(max_length=16, choices=ScopeKind.choices)
    team = models.ForeignKey("tenancy.Team", on_delete=models.CASCADE, null=True, blank=True, related_name="budgets")
    project = models.ForeignKey("tenancy.Project", on_delete=models.CASCADE, null=True, blank=True, related_name="budgets")
    member = models.ForeignKey("tenancy.Member", on_delete=models.CASCADE, null=True, blank=True, related_name="budgets")
    service_account = models.ForeignKey("tenancy.ServiceAccount", on_delete=models.CASCADE, null=True, blank=True, related_name="budgets")
    api_key = models.ForeignKey("tenancy.ApiKey", on_delete=models.CASCADE, null=True, blank=True, related_name="budgets")
    filters = models.JSONField(default=dict, blank=True, help_text="what a call must be besides in scope: label → the values that count")
    period_kind = models.CharField(max_length=8, choices=Kind.choices)
    rolling_hours = models.PositiveIntegerField(null=True, blank=True, help_text="the length of a rolling window")
    anchor_day = models.PositiveSmallIntegerField(default=1, help_text="the day of the month, or for weeks the weekday, that windows begin on")
    measure = models.CharField(max_length=6, choices=Measure.choices, default=Measure.MONEY)
    limit_amount = money_field()
    currency = models.CharField(max_length=3, default="USD", help_text="the organization's, which everything of the budget is counted in")
    quoted_limit = money_field(null=True, blank=True, help_text="the limit as it was given, where that was in another currency")
    quoted_currency = models.CharField(max_length=3, default="", blank=True)
    is_hard = models.BooleanField(default=True, help_text="whether authorized calls never pass it: actions freeze and ask")
    action = models.CharField(max_length=9, choices=Action.choices, default=Action.FREEZE)
    downgrade_models = ArrayField(models.CharField(max_length=200), default=list, blank=True, help_text="models that go on at the limit")
    fails_open = models.BooleanField(default=True, help_text="whether calls go on where Weighhouse cannot be reached: told to gateways")
    rollover_cap = money_field(null=True, blank=True, help_text="the most that a window leaves to the next; empty: nothing")
    warns_ahead = models.BooleanField(default=True, help_text="whether it is told when the limit will be reached before the window ends")
    thresholds = ArrayField(models.PositiveSmallIntegerField(), default=list, blank=True, help_text="percents of the limit that are told, once each and period")
    unpriced_call_amount = money_field(null=True, blank=True, help_text="charged for a call that has no price; empty: nothing")
    counts_notional = models.BooleanField(default=False, help_text="whether subscription usage at list price counts")
    counts_from = models.DateTimeField(help_text="usage before this instant is not counted: the first window the budget has")
    version = models.PositiveIntegerField(default=1)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "budget"
        ordering = ["name", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(limit_amount__gte=0), name="budget_limit_not_negative"),
            models.CheckConstraint(name="budget_scope_fits", condition=_scope_fits()),
            models.CheckConstraint(
                name="budget_period_fits",
                condition=Q(scope_kind="session", period_kind="session")
                | Q(scope_kind="task", period_kind="task")
                | ~Q(scope_kind__in=["session", "task"]) & ~Q(period_kind__in=["session", "task"]),
            ),
            models.CheckConstraint(
                name="budget_rolling_fits",
                condition=Q(period_kind="rolling", rolling_hours__isnull=False, rolling_hours__gte=1, rolling_hours__lte=LONGEST_ROLLING_HOURS)
                | ~Q(period_kind="rolling") & Q(rolling_hours=None),
            ),
            models.CheckConstraint(
                name="budget_anchor_fits",
                condition=Q(anchor_day=1) | Q(period_kind="week", anchor_day__lte=7) | Q(period_kind__in=["month", "quarter", "year"], anchor_day__lte=28),
            ),
            models.CheckConstraint(
                name="budget_hard_fits",
                condition=Q(is_hard=True, action__in=["freeze", "ask"]) | Q(is_hard=False, action__in=["downgrade", "notify"]),
            ),
            models.CheckConstraint(name="budget_rollover_not_negative", condition=Q(rollover_cap=None) | Q(rollover_cap__gte=0)),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def unit(self) -> str:
        """What its amounts count: the currency, or `tokens` or `calls`."""
        return self.currency if self.measure == self.Measure.MONEY else self.measure

    @property
    def is_template(self) -> bool:
        """Whether every session (task) in its scope has a period of its own."""
        return self.scope_kind in (self.ScopeKind.SESSION, self.ScopeKind.TASK)


class BudgetVersion(models.Model):
    """A budget as it stood from `at` on, kept when it is made and at each change. Never changed."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    facts = models.JSONField()
    at = models.DateTimeField()
    by = models.ForeignKey("tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        db_table = "budget_version"
        ordering = ["budget", "-number"]
        constraints = [models.UniqueConstraint(fields=["organization", "budget", "number"], name="budget_version_once")]

    def __str__(self) -> str:
        return f"{self.budget}, version {self.number}"
