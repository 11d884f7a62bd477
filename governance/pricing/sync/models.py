"""What is kept of reading price sources: each reading, what was found, what each source says now, and whom to believe. Shared by all organizations."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


class PriceRun(models.Model):
    """One reading of one source. A source that could not be read changed nothing; `problem` says why."""

    class State(models.TextChoices):
        DONE = "done", "Read"
        UNCHANGED = "unchanged", "Nothing new"
        FAILED = "failed", "Could not be read"

    source = models.CharField(max_length=100)
    state = models.CharField(max_length=9, choices=State.choices)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    by = models.CharField(max_length=200, blank=True, help_text="who asked for it; empty: the daily reading")
    problem = models.TextField(blank=True)
    digest = models.CharField(max_length=64, blank=True)
    size_bytes = models.PositiveBigIntegerField(default=0)
    models_read = models.PositiveIntegerField(default=0)
    left_out = models.JSONField(default=dict, help_text="why entries were left out → how many")
    counts = models.JSONField(default=dict, help_text="kind of finding → how many")
    failures = models.PositiveIntegerField(default=1, help_text="how often in a row it failed alike")
    told_at = models.DateTimeField(null=True, help_text="when the organizations were told; empty: not yet")

    class Meta:
        db_table = "price_run"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["source", "-id"], name="price_run_of_source"),
            models.Index(fields=["id"], condition=Q(told_at=None), name="price_run_untold"),
        ]

    def __str__(self) -> str:
        return f"{self.source}, {self.started_at:%Y-%m-%d %H:%M}"


class PriceFinding(models.Model):
    """What one reading found about one model: applied at once, or waiting for somebody to say that it is right."""

    class Kind(models.TextChoices):
        NEW_MODEL = "new_model", "New model"
        NEW_PRICE = "new_price", "New price"
        CHANGED = "changed", "Changed"
        ANNOUNCED = "announced", "Announced"
        VANISHED = "vanished", "No longer listed"

    class State(models.TextChoices):
        APPLIED = "applied", "Applied"
        WAITING = "waiting", "Waits for a decision"
        ACCEPTED = "accepted", "Accepted"
        REJECTED = "rejected", "Rejected"
        OVERTAKEN = "overtaken", "Overtaken"
        NOTED = "noted", "Noted"

    run = models.ForeignKey(PriceRun, on_delete=models.CASCADE, related_name="findings")
    kind = models.CharField(max_length=9, choices=Kind.choices)
    state = models.CharField(max_length=9, choices=State.choices)
    provider = models.CharField(max_length=80)
    slug = models.CharField(max_length=200)
    model = models.ForeignKey(
        "pricing.Model", on_delete=models.CASCADE, null=True, related_name="+", help_text="empty: not in the catalogue yet"
    )
    steps = models.JSONField(default=list, help_text="amounts that differ: {meter, per, old, new, currency, context, from, to}")
    change = models.DecimalField(
        max_digits=20, decimal_places=6, null=True, help_text="the main amount's change, 0.83 for +83 %; empty: nothing to compare"
    )
    suspicions = ArrayField(models.CharField(max_length=20), default=list)
    says = models.JSONField(null=True, help_text="what the source says of the model, to be applied when it is accepted")
    digest = models.CharField(max_length=64, blank=True, help_text="of what it says, so that the same is not asked twice")
    valid_from = models.DateTimeField(null=True, help_text="when the first difference begins")
    announced_at = models.DateTimeField(null=True)
    is_back_dated = models.BooleanField(
        default=False, help_text="whether a row begins before it was found: calls since then were rated otherwise"
    )
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=200, blank=True)
    note = models.TextField(blank=True)

    class Meta:
        db_table = "price_finding"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["run", "kind", "id"], name="price_finding_of_run"),
            models.Index(fields=["provider", "slug", "-id"], name="price_finding_of_model"),
            models.Index(fields=["id"], condition=Q(state="waiting"), name="price_finding_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.slug}: {self.kind}"


class SourceQuote(models.Model):
    """What a source says a model costs, from when it was first seen to when it said otherwise. Rates calls only through a price row."""

    source = models.CharField(max_length=100)
    model = models.ForeignKey("pricing.Model", on_delete=models.CASCADE, related_name="quotes")
    name = models.CharField(max_length=200, help_text="what the source calls the model")
    is_exact = models.BooleanField(default=True, help_text="whether it names exactly this model, so that it may rate it")
    rates = models.JSONField()
    currency = models.CharField(max_length=3)
    digest = models.CharField(max_length=64, help_text="of all that it says of the model")
    seen_from = models.DateTimeField()
    seen_to = models.DateTimeField(null=True)

    class Meta:
        db_table = "price_quote"
        ordering = ["model", "source", "-seen_from"]
        constraints = [models.UniqueConstraint(fields=["source", "model"], condition=Q(seen_to=None), name="price_quote_now")]
        indexes = [models.Index(fields=["model", "seen_to"], name="price_quote_of_model")]

    def __str__(self) -> str:
        return f"{self.source}: {self.model}"


class SourceSetting(models.Model):
    """Whether a source is read daily. Sources without a row are."""

    source = models.CharField(max_length=100, unique=True)
    is_on = models.BooleanField(default=True)

    class Meta:
        db_table = "price_source"

    def __str__(self) -> str:
        return self.source


class SourceTrust(models.Model):
    """In which order a provider's prices are believed; the provider "" stands for all that have no order of their own."""

    provider = models.CharField(max_length=80, unique=True, blank=True)
    sources = ArrayField(models.CharField(max_length=100))

    class Meta:
        db_table = "price_trust"

    def __str__(self) -> str:
        return f"{self.provider or 'every provider'}: {', '.join(self.sources)}"


class RatingProposal(models.Model):
    """Calls of one organization that were rated by a price that has turned out not to hold for them: an offer to rate them again."""

    class State(models.TextChoices):
        OPEN = "open", "Open"
        TAKEN = "taken", "Rated again"
        DISMISSED = "dismissed", "Left as it is"

    organization = models.ForeignKey("tenancy.Organization", on_delete=models.CASCADE, related_name="+")
    finding = models.ForeignKey(PriceFinding, null=True, on_delete=models.CASCADE, related_name="proposals", help_text="none: terms or rates of one's own")
    provider = models.CharField(max_length=80, blank=True)
    model = models.CharField(max_length=200, blank=True)
    model_names = ArrayField(models.CharField(max_length=200), default=list, blank=True, help_text="several models in the place of one; none at all: every one")
    team = models.ForeignKey("tenancy.Team", null=True, on_delete=models.CASCADE, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.TextField()
    calls = models.PositiveBigIntegerField(help_text="calls in that time, counted when it was proposed")
    difference = models.DecimalField(max_digits=28, decimal_places=15, null=True, help_text="the estimate then, in the organization's currency")
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    rerating = models.CharField(max_length=60, blank=True, help_text="the run that took it up")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "rating_proposal"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["organization", "finding", "provider", "model"], name="rating_proposal_once")]

    def __str__(self) -> str:
        return f"{self.provider} {self.model} from {self.starts_at:%Y-%m-%d}"
