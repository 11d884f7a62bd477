"""The price book's tables: providers, models, dated immutable price rows. The book is the same for every organization."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from governance.pricing.contracts import Balance, ExchangeRate, ExchangeRule, Markup, ReferenceRate, Term
from governance.pricing.sync.models import PriceFinding, PriceRun, RatingProposal, SourceQuote, SourceSetting, SourceTrust

__all__ = [
    "Balance", "ExchangeRate", "ExchangeRule", "Markup", "Model", "PriceBook", "PriceFinding", "PriceRow", "PriceRun", "Provider", "RatingProposal",
    "ReferenceRate", "SourceQuote", "SourceSetting", "SourceTrust", "Term", "Tier",
]  # fmt: skip


class Provider(models.Model):
    """Who bills for a call. `match` and `model_match` are match rules that recognise it by its own name and by model names."""

    slug = models.CharField(max_length=80, unique=True)
    name = models.CharField(max_length=120)
    position = models.PositiveIntegerField(default=0, help_text="order in which providers are tried for a bare model name")
    match = models.JSONField(null=True, blank=True)
    model_match = models.JSONField(null=True, blank=True)
    fallbacks = ArrayField(models.CharField(max_length=80), default=list, blank=True, help_text="providers whose models this one resells")

    class Meta:
        db_table = "provider"
        ordering = ["position", "slug"]

    def __str__(self) -> str:
        return self.name


class Tier(models.TextChoices):
    FLAGSHIP = "flagship", "Flagship"
    STANDARD = "standard", "Standard"
    ECONOMY = "economy", "Economy"
    UNKNOWN = "unknown", "Unknown"


class Model(models.Model):
    """A model as one provider sells it. `match` recognises every name the model goes by there."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="models")
    slug = models.CharField(max_length=200)
    name = models.CharField(max_length=200, blank=True)
    maker = models.CharField(max_length=80, default="", blank=True)
    country = models.CharField(max_length=2, default="", blank=True, help_text="of the maker, ISO 3166")
    tier = models.CharField(max_length=8, choices=Tier.choices, default=Tier.UNKNOWN)
    has_open_weights = models.BooleanField(null=True)
    context_window = models.PositiveBigIntegerField(null=True)
    position = models.PositiveIntegerField(default=0, help_text="order in which a provider's models are tried")
    match = models.JSONField()
    is_deprecated = models.BooleanField(default=False)
    first_seen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "model"
        ordering = ["provider", "position", "slug"]
        constraints = [models.UniqueConstraint(fields=["provider", "slug"], name="model_slug")]

    def __str__(self) -> str:
        return self.name or self.slug


class PriceRow(models.Model):
    """What a model costs in [valid_from, valid_to). Never changed and never deleted; only an open end may be closed, once.

    `rates` maps a meter (`input_tokens`, `cache_read_tokens`, `web_searches`, …) to
    `{"per": 1000000, "base": "3", "tiers": [[200000, "6"]]}`: the amount for so many units, and above how many
    input tokens of the call another amount applies to all of them; with `"marginal": true`, above how many units of its own
    another amount applies to those beyond. `"least"` is the smallest quantity the vendor bills. A row with a context may say
    `{"factor": "1.1"}` of a meter, or of `"*"` for every meter: the amounts that the call has otherwise, times that.

    Rows without context and daily hours follow each other in time. A row with daily hours goes before them while its
    hours last. A row with a context names only the meters whose amount it replaces for calls of that kind. Where several
    such rows fit, the lower precedence goes first.
    """

    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="prices")
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)
    daily_from = models.TimeField(null=True, blank=True, help_text="UTC time of day the row begins to apply")
    daily_to = models.TimeField(null=True, blank=True, help_text="UTC time of day the row ceases to apply")
    context = models.JSONField(default=dict, blank=True, help_text="request attributes the row is for, such as batch processing")
    precedence = models.PositiveSmallIntegerField(default=0, help_text="order among rows with daily hours or a context")
    currency = models.CharField(max_length=3, default="USD")
    rates = models.JSONField()
    source = models.CharField(max_length=80)
    announced_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "price_row"
        ordering = ["model", "valid_from", "id"]
        indexes = [models.Index(fields=["model", "valid_from"], name="price_row_history")]

    def __str__(self) -> str:
        return f"{self.model} from {self.valid_from:%Y-%m-%d}"


class PriceBook(models.Model):
    """One row: the version that moves with every change to providers, models or prices, so that workers know when to reload."""

    version = models.BigIntegerField(default=0)
    source_digest = models.CharField(max_length=64, default="", blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "price_book"

    def __str__(self) -> str:
        return f"version {self.version}"


class NameMapping(models.Model):
    """What an organization means by a model's name that price lists do not know, such as a deployment's, in [valid_from, valid_to).

    It is only for that organization, and goes before whatever the name means to everybody. `provider` and `name` are as calls
    report them, in lower case; an empty provider stands for every one.
    """

    organization = models.ForeignKey("tenancy.Organization", on_delete=models.CASCADE, related_name="+")
    provider = models.CharField(max_length=80, blank=True)
    name = models.CharField(max_length=200)
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="+")
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)
    made_by = models.ForeignKey("tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+")
    maker_label = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "name_mapping"
        ordering = ["name", "provider", "valid_from", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "provider", "name"], condition=models.Q(valid_to=None), name="name_mapping_open"),
            models.CheckConstraint(condition=models.Q(valid_to=None) | models.Q(valid_to__gt=models.F("valid_from")), name="name_mapping_span"),
        ]

    def __str__(self) -> str:
        return f"{self.name} is {self.model}"
