"""Budgets, their periods, holds on them, sessions and freezes."""

from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

ORGANIZATION = "tenancy.Organization"


def money_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """An amount as every money column stores it: numeric(28,15)."""
    return models.DecimalField(max_digits=28, decimal_places=15, **options)


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
    currency = models.CharField(max_length=3, default="USD")
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


class BudgetPeriod(models.Model):
    """One window of one budget (and one session or task, for templates): the balance that the ledger adds up to.

    A rolling budget has one period; what it has spent is the sum since `slides_from`, which moves on with time.
    """

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="periods")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    session_key = models.CharField(max_length=200, default="", blank=True)
    task_key = models.CharField(max_length=200, default="", blank=True)
    slides_from = models.DateTimeField(null=True, help_text="of a rolling window: from when on events count; behind it they are taken off")
    limit_amount = money_field()
    is_hard = models.BooleanField()
    freezes_at_limit = models.BooleanField(default=True)
    topup = money_field(default=0, help_text="the sum of what was granted, carried over and moved between budgets, in force now")
    spent = money_field(default=0)
    held = money_field(default=0)
    calls = models.BigIntegerField(default=0)
    frozen_at = models.DateTimeField(null=True, help_text="since when a hard limit stands reached; the row's own lock guards it")
    refused_at = models.DateTimeField(null=True, help_text="when a hold last did not fit; cleared by the next that does, and by a top-up")
    refused_amount = money_field(null=True)
    closed_at = models.DateTimeField(null=True, help_text="when the window, being over, left to the next what its budget lets it leave")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "budget_period"
        ordering = ["-starts_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "budget", "starts_at", "session_key", "task_key"], name="budget_period_once"),
            models.CheckConstraint(condition=Q(held__gte=0), name="budget_period_held_not_negative"),
            models.CheckConstraint(condition=Q(topup__gte=-F("limit_amount")), name="budget_period_allowance_not_negative"),
        ]
        indexes = [
            models.Index(fields=["organization", "session_key"], condition=~Q(session_key=""), name="budget_period_session"),
            models.Index(fields=["organization", "task_key"], condition=~Q(task_key=""), name="budget_period_task"),
            models.Index(fields=["organization", "session_key"], condition=Q(frozen_at__isnull=False), name="budget_period_frozen"),
            models.Index(fields=["organization", "ends_at"], condition=Q(closed_at=None, ends_at__isnull=False), name="budget_period_open"),
        ]

    def __str__(self) -> str:
        return f"{self.budget} from {self.starts_at:%Y-%m-%d}"

    @property
    def allowance(self) -> Decimal:
        """The limit with its top-ups."""
        allowance: Decimal = self.limit_amount + self.topup
        return allowance

    @property
    def left(self) -> Decimal:
        """What neither spend nor holds have taken; negative after an excess."""
        left: Decimal = self.allowance - self.spent - self.held
        return left


class BudgetSlice(models.Model):
    """What a rolling period counted in one quarter hour, so that it can be taken off when the window has moved past it."""

    pk = models.CompositePrimaryKey("organization_id", "period_id", "slice_at")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    period = models.ForeignKey(BudgetPeriod, on_delete=models.CASCADE, related_name="slices")
    slice_at = models.DateTimeField()
    spent = money_field()
    calls = models.BigIntegerField()

    class Meta:
        db_table = "budget_slice"

    def __str__(self) -> str:
        return f"{self.slice_at:%Y-%m-%d %H:%M}: {self.spent}"


class ThresholdCrossing(models.Model):
    """A period passed a percentage of its limit, or is forecast to reach it (percent 0).

    One is in force at a time, so that it is told once; it ends when the spend has fallen well below, and may then come again.
    """

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    period = models.ForeignKey(BudgetPeriod, on_delete=models.CASCADE, related_name="crossings")
    percent = models.PositiveSmallIntegerField()
    spent = money_field()
    at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "threshold_crossing"
        constraints = [
            models.UniqueConstraint(fields=["organization", "period", "percent"], condition=Q(ended_at=None), name="threshold_once")
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.period}"


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


class Authorization(models.Model):
    """A hold on money before a call. `periods` are the budget periods it is held against, all or none."""

    class State(models.TextChoices):
        HELD = "held"
        SETTLING = "settling"  # the caller said what the call cost; that much stays held until its event is counted
        SETTLED = "settled"
        VOIDED = "voided"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - null keeps the unique index sparse
    request_hash = models.UUIDField(null=True)
    session_key = models.CharField(max_length=200, default="", blank=True)
    model = models.CharField(max_length=200, default="", blank=True)
    amount = money_field()
    currency = models.CharField(max_length=3, default="USD")
    periods = ArrayField(models.BigIntegerField(), default=list)
    amounts = ArrayField(money_field(), default=list, help_text="what is held in each of `periods`, in the measure of its budget, while it holds")
    state = models.CharField(max_length=8, choices=State.choices, default=State.HELD)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    reported_cost = money_field(null=True, help_text="what the caller said the call cost; never counted as spend")
    is_lease = models.BooleanField(default=False, db_default=False, help_text="whether many calls draw on it, so that `amounts` falls as they are counted")
    kept_amount = money_field(null=True, help_text="what stays held while it is settling: the reported cost as far as there was room")
    settled_cost = money_field(null=True, help_text="what the events that name it cost")

    class Meta:
        db_table = "budget_authorization"
        constraints = [
            models.UniqueConstraint(fields=["organization", "idempotency_key"], name="authorization_idempotent"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="authorization_not_negative"),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state__in=["held", "settling"]), name="authorization_open"),
            models.Index(fields=["organization", "session_key", "-created_at"], name="authorization_session"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} {self.state}"


class AuthorizationExtension(models.Model):
    """Time or money that an authorization was given besides. Never changed."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    authorization = models.ForeignKey(Authorization, on_delete=models.CASCADE, related_name="extensions")
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - null keeps the unique index sparse
    request_hash = models.UUIDField()
    amount = money_field()
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "budget_authorization_extension"
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "authorization", "idempotency_key"], name="authorization_extension_idempotent"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="authorization_extension_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} until {self.expires_at:%Y-%m-%d %H:%M}"


class TopUp(models.Model):
    """What is added to one period's limit; it counts from when it is granted until it ends. A transfer takes off its source what it gives."""

    class Kind(models.TextChoices):
        GRANT = "grant", "Granted"
        CARRY = "carry", "Carried over"
        TRANSFER = "transfer", "Moved"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    period = models.ForeignKey(BudgetPeriod, on_delete=models.CASCADE, related_name="topups")
    amount = money_field()
    granted_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    granted_by = models.ForeignKey("tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.GRANT)
    other_period = models.ForeignKey(
        BudgetPeriod, on_delete=models.SET_NULL, null=True, related_name="+", help_text="where it was carried or moved from or to"
    )

    class Meta:
        db_table = "topup"
        ordering = ["-granted_at", "-id"]
        constraints = [models.CheckConstraint(condition=Q(amount__gt=0) | Q(kind="transfer") & ~Q(amount=0), name="topup_positive")]
        indexes = [models.Index(fields=["ends_at"], condition=Q(ended_at=None, ends_at__isnull=False), name="topup_ending")]

    def __str__(self) -> str:
        return f"{self.amount} on {self.period}"


class BudgetCommand(models.Model):
    """A change that a program asked for under an Idempotency-Key, with the answer it got; kept for a day."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    key_hash = models.UUIDField(help_text="of the API key and the Idempotency-Key")
    request_hash = models.UUIDField()
    status = models.PositiveSmallIntegerField()
    answer = models.JSONField()
    at = models.DateTimeField()

    class Meta:
        db_table = "budget_command"
        constraints = [models.UniqueConstraint(fields=["organization", "key_hash"], name="budget_command_once")]

    def __str__(self) -> str:
        return str(self.key_hash)
