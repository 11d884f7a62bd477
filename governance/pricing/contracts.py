"""What an organization agreed with its sellers, and what it makes of money: its own terms, balances, markups and exchange rates.

Rows are dated and never changed: another row follows, and an end that is open, or lies later, may be set earlier.
"""

from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import F, Q

ORGANIZATION = "tenancy.Organization"
TEAM = "tenancy.Team"
MEMBER = "tenancy.Member"
CURRENCY_LENGTH = 3


def amount_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """An amount or a rate as every money column stores it: numeric(28,15)."""
    return models.DecimalField(max_digits=28, decimal_places=15, **options)


class Agreed(models.Model):
    """Whose it is, who typed it in and when."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(MEMBER, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        abstract = True


class Term(Agreed):
    """What calls cost the organization in [valid_from, valid_to) instead of the list price: own amounts, amounts off, percent off.

    An empty provider, model or team means any. `rates` and `amounts_off` map a meter to an amount as PriceRow stores it.
    """

    name = models.CharField(max_length=120, help_text="what people call it, such as the contract's number")
    provider = models.CharField(max_length=80, default="", blank=True)
    model = models.CharField(max_length=200, default="", blank=True)
    team = models.ForeignKey(TEAM, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    context = models.JSONField(default=dict, blank=True, help_text="request attributes the term is for, such as batch processing")
    rates = models.JSONField(default=dict, blank=True)
    amounts_off = models.JSONField(default=dict, blank=True)
    percent_off = models.DecimalField(max_digits=9, decimal_places=6, default=Decimal(0))
    currency = models.CharField(max_length=CURRENCY_LENGTH, default="USD", help_text="of `rates` and `amounts_off`")
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "price_term"
        ordering = ["-valid_from", "-id"]
        indexes = [models.Index(fields=["organization", "-valid_from"], name="price_term_recent")]
        constraints = [
            models.CheckConstraint(condition=Q(valid_to=None) | Q(valid_to__gte=F("valid_from")), name="price_term_window"),
            models.CheckConstraint(condition=Q(percent_off__gte=0, percent_off__lte=100), name="price_term_percent"),
            models.CheckConstraint(condition=Q(rates={}) | Q(amounts_off={}), name="price_term_one_kind"),
            models.CheckConstraint(condition=~Q(rates={}, amounts_off={}, percent_off=0), name="price_term_says_something"),
            models.CheckConstraint(condition=Q(rates={}) | ~Q(model=""), name="price_term_rates_of_a_model"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def kind(self) -> str:
        """Its kind in a word: own price, amounts off or percent off."""
        if self.rates:
            return "own price"
        return "amounts off" if self.amounts_off else "percent off"


class Balance(Agreed):
    """A commitment to spend so much, or a credit to spend from, within [starts_on, ends_on): local days of the organization.

    What is left of it is never stored: it is the amount less what its scope was billed, by the daily sums.
    """

    class Kind(models.TextChoices):
        COMMITMENT = "commitment", "Commitment"
        CREDIT = "credit", "Credit"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    name = models.CharField(max_length=120)
    provider = models.CharField(max_length=80, default="", blank=True)
    model = models.CharField(max_length=200, default="", blank=True)
    team = models.ForeignKey(TEAM, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    amount = amount_field()
    currency = models.CharField(max_length=CURRENCY_LENGTH)
    exchange_rate = models.DecimalField(
        max_digits=40, decimal_places=20, null=True, help_text="its currency → the organization's on the first day; empty: the same"
    )
    starts_on = models.DateField()
    ends_on = models.DateField(null=True, blank=True, help_text="the first day that does not count any more")

    class Meta:
        db_table = "price_balance"
        ordering = ["-starts_on", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="price_balance_amount"),
            models.CheckConstraint(condition=Q(ends_on=None) | Q(ends_on__gte=F("starts_on")), name="price_balance_window"),
        ]

    def __str__(self) -> str:
        return self.name


class Markup(Agreed):
    """What is added to a team's effective cost, from a local day on, when it is charged on inside the organization. Empty team: any."""

    team = models.ForeignKey(TEAM, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    percent = models.DecimalField(max_digits=9, decimal_places=6)
    valid_from = models.DateField()

    class Meta:
        db_table = "price_markup"
        ordering = ["-valid_from", "-id"]
        constraints = [models.CheckConstraint(condition=Q(percent__gte=-100, percent__lte=1000), name="price_markup_percent")]

    def __str__(self) -> str:
        return f"{self.percent} % from {self.valid_from}"


class Rate(models.Model):
    """One unit of `base` is `rate` units of `quote` from the day on. Of two rows of a pair and a day the later one counts; the earlier stays."""

    base = models.CharField(max_length=CURRENCY_LENGTH)
    quote = models.CharField(max_length=CURRENCY_LENGTH)
    day = models.DateField(help_text="the first local day it holds on")
    rate = amount_field()
    source = models.CharField(max_length=40)

    class Meta:
        abstract = True
        ordering = ["-day", "base", "quote", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(rate__gt=0), name="%(class)s_positive"),
            models.CheckConstraint(condition=~Q(base=F("quote")), name="%(class)s_of_two"),
        ]

    def __str__(self) -> str:
        return f"1 {self.base} = {self.rate.normalize():f} {self.quote} from {self.day}"


class ReferenceRate(Rate):
    """An exchange rate of the installation, for every organization that has none of its own."""

    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(Rate.Meta):
        db_table = "reference_rate"
        indexes = [models.Index(fields=["base", "quote", "-day"], name="reference_rate_pair")]


class ExchangeRate(Agreed, Rate):
    """An exchange rate of one organization's own."""

    class Meta(Rate.Meta):
        db_table = "exchange_rate"
        indexes = [models.Index(fields=["organization", "base", "quote", "-day"], name="exchange_rate_pair")]


class ExchangeRule(Agreed):
    """Which day's rate converts a call, from a local day on, and for how many days a rate is good."""

    class Basis(models.TextChoices):
        DAY = "day", "The rate of the call's day"
        MONTH = "month", "One rate for a month: that of its first day"

    basis = models.CharField(max_length=5, choices=Basis.choices, default=Basis.DAY)
    days_good_for = models.PositiveSmallIntegerField(default=7)
    valid_from = models.DateField()

    class Meta:
        db_table = "exchange_rule"
        ordering = ["-valid_from", "-id"]
        constraints = [models.CheckConstraint(condition=Q(days_good_for__gte=1, days_good_for__lte=400), name="exchange_rule_days")]

    def __str__(self) -> str:
        return f"{self.get_basis_display()} from {self.valid_from}"
