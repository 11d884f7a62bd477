"""Money that is not metered by the call: plans with seats, and hardware of one's own. Rows are dated and never changed; only an end may be set, or set earlier."""

from django.db import models
from django.db.models import F, Q

from governance.pricing.contracts import CURRENCY_LENGTH, ORGANIZATION, Agreed, amount_field

MEMBER = "tenancy.Member"


class SeatPlan(Agreed):
    """Something sold by the seat, such as a vendor's coding plan. A call is covered when harness and provider are those of the plan; empty means any."""

    name = models.CharField(max_length=120)
    provider = models.CharField(max_length=80, default="", blank=True)
    harness = models.CharField(max_length=80, default="", blank=True)

    class Meta:
        db_table = "seat_plan"
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="seat_plan_name"),
            models.CheckConstraint(condition=~Q(provider="", harness=""), name="seat_plan_covers_something"),
        ]

    def __str__(self) -> str:
        return self.name


class SeatTerms(Agreed):
    """What a seat of a plan costs and includes in the local days [valid_from, valid_to)."""

    class Period(models.TextChoices):
        MONTH = "month", "A month"
        YEAR = "year", "A year"

    class Included(models.TextChoices):
        NOTHING = "", "Nothing that is counted"
        TOKENS = "tokens", "Tokens"
        CALLS = "calls", "Calls"
        NOTIONAL = "notional", "Usage at list price"

    plan = models.ForeignKey(SeatPlan, on_delete=models.CASCADE, related_name="terms")
    fee = amount_field(help_text="per seat and period")
    currency = models.CharField(max_length=CURRENCY_LENGTH)
    period = models.CharField(max_length=5, choices=Period.choices, default=Period.MONTH)
    anchor = models.DateField(help_text="the first day of a billing period")
    included_measure = models.CharField(max_length=8, choices=Included.choices, default=Included.NOTHING, blank=True)
    included_amount = amount_field(null=True, blank=True, help_text="per seat and period")
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    class Meta:
        db_table = "seat_terms"
        ordering = ["valid_from", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(valid_to=None) | Q(valid_to__gte=F("valid_from")), name="seat_terms_window"),
            models.CheckConstraint(condition=Q(fee__gte=0), name="seat_terms_fee"),
            models.CheckConstraint(
                condition=Q(included_amount=None, included_measure="") | (Q(included_amount__gt=0) & ~Q(included_measure="")),
                name="seat_terms_included",
            ),
            models.UniqueConstraint(fields=["plan"], condition=Q(valid_to=None), name="seat_terms_one_open"),
        ]

    def __str__(self) -> str:
        return f"{self.plan} from {self.valid_from}"


class Seat(Agreed):
    """A member's seat of a plan in the local days [valid_from, valid_to)."""

    plan = models.ForeignKey(SeatPlan, on_delete=models.CASCADE, related_name="seats")
    member = models.ForeignKey(MEMBER, on_delete=models.RESTRICT, related_name="seats")
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    class Meta:
        db_table = "seat"
        ordering = ["valid_from", "id"]
        indexes = [models.Index(fields=["organization", "member"], name="seat_of_member")]
        constraints = [
            models.CheckConstraint(condition=Q(valid_to=None) | Q(valid_to__gte=F("valid_from")), name="seat_window"),
            models.UniqueConstraint(fields=["plan", "member"], condition=Q(valid_to=None), name="seat_one_open"),
        ]

    def __str__(self) -> str:
        return f"{self.member} from {self.valid_from}"


class Fleet(Agreed):
    """Hardware of one's own that serves a model in the local days [valid_from, valid_to). Rows of one name follow each other.

    What it costs is `gpus` x `rate` x hours where it is paid by the hour; where it is paid by work, the hours that the tokens take
    at `tokens_per_hour` (of the whole fleet).
    """

    class Basis(models.TextChoices):
        HOURS = "hours", "Paid for every hour it is there"
        WORK = "work", "Paid for the hours its tokens take"

    class Schedule(models.TextChoices):
        ALWAYS = "always", "Around the clock"
        ENTERED = "entered", "Hours are entered month by month"

    name = models.CharField(max_length=120)
    model = models.CharField(max_length=200, help_text="as usage names it")
    provider = models.CharField(max_length=80, default="", blank=True, help_text="as usage names it; empty means any")
    gpus = models.PositiveIntegerField()
    gpu_kind = models.CharField(max_length=80, default="", blank=True)
    rate = amount_field(help_text="per GPU and hour")
    currency = models.CharField(max_length=CURRENCY_LENGTH)
    basis = models.CharField(max_length=5, choices=Basis.choices, default=Basis.HOURS)
    schedule = models.CharField(max_length=7, choices=Schedule.choices, default=Schedule.ALWAYS)
    tokens_per_hour = models.BigIntegerField(null=True, blank=True)
    hosted_provider = models.CharField(max_length=80, default="", blank=True, help_text="who sells the same by the token")
    hosted_model = models.CharField(max_length=200, default="", blank=True)
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    class Meta:
        db_table = "fleet"
        ordering = ["name", "valid_from", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(valid_to=None) | Q(valid_to__gte=F("valid_from")), name="fleet_window"),
            models.CheckConstraint(condition=Q(gpus__gte=1, rate__gte=0), name="fleet_amounts"),
            models.CheckConstraint(condition=Q(tokens_per_hour=None, basis="hours") | Q(tokens_per_hour__gte=1), name="fleet_throughput"),
            models.UniqueConstraint(fields=["organization", "name"], condition=Q(valid_to=None), name="fleet_one_open"),
        ]

    def __str__(self) -> str:
        return f"{self.name} from {self.valid_from}"


class FleetHours(Agreed):
    """The hours a fleet ran in a local month. Of two rows of a month the later one counts; the earlier stays."""

    fleet = models.ForeignKey(Fleet, on_delete=models.CASCADE, related_name="hours")
    month = models.DateField(help_text="its first day")
    hours = models.DecimalField(max_digits=9, decimal_places=3)

    class Meta:
        db_table = "fleet_hours"
        ordering = ["fleet", "month", "id"]
        constraints = [models.CheckConstraint(condition=Q(hours__gte=0, hours__lte=745), name="fleet_hours_of_a_month")]

    def __str__(self) -> str:
        return f"{self.hours} h in {self.month:%Y-%m}"


class FleetMonth(models.Model):
    """What a model on own hardware came to in a local month that is over, as it was known then. Never changed.

    `amount` and `per_mtok` are in the organization's currency; None where hours or an exchange rate were not known, or nothing ran.
    """

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    model = models.CharField(max_length=200)
    month = models.DateField(help_text="its first day")
    gpu_hours = models.DecimalField(max_digits=18, decimal_places=3, null=True)
    amount = amount_field(null=True)
    tokens = models.BigIntegerField()
    calls = models.BigIntegerField()
    per_mtok = amount_field(null=True)
    capacity_tokens = models.BigIntegerField(null=True, help_text="what it could have served in the hours it ran")
    hosted_per_mtok = amount_field(null=True, help_text="the same tokens at the list price of the hosted alternative")
    hosted_name = models.CharField(max_length=300, default="")
    parts = models.JSONField(help_text="what each fleet row was")
    fixed_at = models.DateTimeField()

    class Meta:
        db_table = "fleet_month"
        ordering = ["-month", "model"]
        constraints = [models.UniqueConstraint(fields=["organization", "model", "month"], name="fleet_month_once")]

    def __str__(self) -> str:
        return f"{self.model} in {self.month:%Y-%m}"
