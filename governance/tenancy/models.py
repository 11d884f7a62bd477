"""Who: organizations, teams, projects, people with roles, service accounts and API keys."""

from datetime import datetime
from typing import ClassVar
from zoneinfo import ZoneInfo

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower


class UserManager(BaseUserManager["User"]):
    """Creates people by e-mail address."""

    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in by e-mail. What the person may do comes from `Member`, one per organization."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    must_change_password = models.BooleanField(default=False, help_text="somebody else chose the present one")
    created_at = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    class Meta:
        db_table = "user_account"
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_ci")]

    def __str__(self) -> str:
        return self.name or self.email


class Organization(models.Model):
    """The tenant. Every other tenant row carries its id; `config_version` moves with every change that the hot path caches."""

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    time_zone = models.CharField(max_length=60, default="UTC")
    currency = models.CharField(max_length=3, default="USD")
    year_starts_in = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(12)], help_text="month the fiscal year starts in"
    )
    flagship_token_share_target = models.DecimalField(
        max_digits=5, decimal_places=2, default=50, help_text="percent of tokens flagships may take at most"
    )
    retention_days = models.PositiveIntegerField(default=730, help_text="raw events older than this are dropped")
    is_demo = models.BooleanField(default=False)
    config_version = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "organization"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


class Team(models.Model):
    """A node of the organization's tree of teams; `slug` is what usage labels name it by."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="teams")
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")
    slug = models.SlugField(max_length=80)
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "team"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organization", "slug"], name="team_slug")]

    def __str__(self) -> str:
        return self.name


class Project(models.Model):
    """A piece of the organization's work that spend is allocated to, usually owned by a team."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="projects")
    team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, blank=True, related_name="projects")
    slug = models.SlugField(max_length=80)
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "project"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organization", "slug"], name="project_slug")]

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    FINANCE = "finance", "Finance"
    APPROVER = "approver", "Approver"
    ENGINEER = "engineer", "Engineer"
    AUDITOR = "auditor", "Auditor"


class Member(models.Model):
    """A person in an organization with one role; an approver decides for `team` and the teams below it."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role.choices, default=Role.ENGINEER)
    team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, blank=True, related_name="members")
    aliases = ArrayField(
        models.CharField(max_length=254), default=list, blank=True, help_text="other names usage labels know the person by"
    )
    approval_limit = models.DecimalField(
        max_digits=28, decimal_places=15, null=True, blank=True, help_text="largest grant; empty means no limit"
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "member"
        ordering = ["user__name", "user__email"]
        constraints = [models.UniqueConstraint(fields=["organization", "user"], name="member_once")]

    def __str__(self) -> str:
        return str(self.user)


class ServiceAccount(models.Model):
    """A program that acts in an organization: a gateway, a collector, a nightly job."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="service_accounts")
    team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, blank=True, related_name="service_accounts")
    name = models.CharField(max_length=120)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "service_account"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="service_account_name")]

    def __str__(self) -> str:
        return self.name


class Scope(models.TextChoices):
    INGEST = "ingest", "Post usage events"
    AUTHORIZE = "authorize", "Ask whether a call may go on"
    READ = "read", "Read figures"
    ADMIN = "admin", "Change budgets and members"


class ApiKey(models.Model):
    """A bearer credential: its prefix is shown, only its hash is stored."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=16)
    secret_hash = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=12, choices=Scope.choices))
    defaults = models.JSONField(default=dict, blank=True, help_text="labels for events that carry none: team, project, member, harness, …")
    member = models.ForeignKey(Member, on_delete=models.CASCADE, null=True, blank=True, related_name="api_keys")
    service_account = models.ForeignKey(ServiceAccount, on_delete=models.CASCADE, null=True, blank=True, related_name="api_keys")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "api_key"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], condition=models.Q(revoked_at__isnull=True), name="api_key_name"),
            models.CheckConstraint(
                condition=models.Q(member__isnull=True) | models.Q(service_account__isnull=True), name="api_key_one_holder"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def last_used_at(self) -> datetime | None:
        """When it was used last, to the minute. Comes with `select_related("use")`."""
        use: ApiKeyUse | None = getattr(self, "use", None)
        return None if use is None else use.last_used_at


class ApiKeyUse(models.Model):
    """When a key was used last. Apart from the key, so that its row stays as processes remember it."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    api_key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="use")
    last_used_at = models.DateTimeField()

    class Meta:
        db_table = "api_key_use"

    def __str__(self) -> str:
        return f"{self.api_key_id} at {self.last_used_at}"


class MonthClose(models.Model):
    """A local month whose figures stand: what would change them later is posted in an open one. Reopened, the row stays as the record of it."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    month = models.DateField(help_text="its first day")
    closed_at = models.DateTimeField()
    closed_by = models.ForeignKey(Member, on_delete=models.SET_NULL, null=True, related_name="+")
    reason = models.CharField(max_length=300)
    reopened_at = models.DateTimeField(null=True)
    reopened_by = models.ForeignKey(Member, on_delete=models.SET_NULL, null=True, related_name="+")
    reopen_reason = models.CharField(max_length=300, default="", blank=True)

    class Meta:
        db_table = "month_close"
        ordering = ["-month", "-closed_at"]
        constraints = [models.UniqueConstraint(fields=["organization", "month"], condition=models.Q(reopened_at=None), name="month_close_once")]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"
