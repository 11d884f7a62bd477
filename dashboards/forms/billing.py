"""Forms of plans, seats and own hardware."""

from datetime import date
from decimal import Decimal
from typing import Any

from django import forms

from dashboards.forms.amounts import AmountField
from dashboards.forms.days import DayField
from governance.billing.models import Fleet, Seat, SeatPlan, SeatTerms
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Member

LARGEST = Decimal(10) ** 9
LARGEST_INCLUDED = Decimal(10) ** 12


class TermsForm(forms.Form):
    """What a seat costs and includes from a day on."""

    fee = AmountField(smallest=Decimal(0), largest=LARGEST, required_message="Say what a seat costs.", label="Fee per seat")
    currency = forms.CharField(max_length=3, min_length=3, label="Currency")
    period = forms.ChoiceField(choices=SeatTerms.Period.choices, label="For")
    included_measure = forms.ChoiceField(choices=SeatTerms.Included.choices, required=False, label="Included use is counted in")
    included_amount = AmountField(smallest=Decimal(0), largest=LARGEST_INCLUDED, required=False, label="Included per seat and period")
    valid_from = DayField(label="From", help_text="The first day. Billing periods begin on it.")


class PlanForm(TermsForm):
    """A new plan."""

    name = forms.CharField(max_length=120, label="Plan")
    harness = forms.CharField(max_length=80, required=False, label="Harness", help_text="As usage names it, such as claude-code.", widget=forms.TextInput(attrs={"list": "known-harness"}))
    provider = forms.CharField(max_length=80, required=False, label="Provider", help_text="Where seats are for one provider's models only.")
    field_order = ("name", "harness", "provider", "fee", "currency", "period", "valid_from", "included_measure", "included_amount")


class EndForm(forms.Form):
    """The first day without it."""

    ends_on = DayField(label="First day without it")


class SeatForm(forms.Form):
    """A seat for a member."""

    plan = forms.ModelChoiceField(SeatPlan.objects.none())
    member = forms.ModelChoiceField(Member.objects.none())
    valid_from = DayField(label="From")
    valid_to = DayField(label="First day without it", required=False)

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choose(self, "plan", plans_sold(actor))
        _choose(self, "member", scoped(actor, Member.objects.filter(is_active=True)).select_related("user").order_by("user__name", "user__email"))


class SeatEndForm(EndForm):
    """The end of somebody's seat."""

    seat = forms.ModelChoiceField(Seat.objects.none())
    field_order = ("seat", "ends_on")

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = scoped(actor, Seat.objects.filter(valid_to=None)).select_related("plan", "member__user")
        _choose(self, "seat", rows.order_by("member__user__name", "member__user__email", "id"))
        self.fields["seat"].label_from_instance = lambda seat: f"{seat.member}, {seat.plan}"  # type: ignore[attr-defined]


class SeatFileForm(forms.Form):
    """Seats from a CSV."""

    plan = forms.ModelChoiceField(SeatPlan.objects.none())
    file = forms.FileField(label="CSV", help_text="Columns email, from and, where seats have an end, to. Read again, it changes nothing.")

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choose(self, "plan", plans_sold(actor))


class FleetChangeForm(forms.Form):
    """What a fleet is from a day on."""

    gpus = forms.IntegerField(min_value=1, max_value=1_000_000, label="GPUs")
    gpu_kind = forms.CharField(max_length=80, required=False, label="Kind of GPU")
    rate = AmountField(smallest=Decimal(0), largest=LARGEST, required_message="Say what a GPU costs an hour.", label="Rate per GPU and hour")
    currency = forms.CharField(max_length=3, min_length=3, label="Currency")
    basis = forms.ChoiceField(choices=Fleet.Basis.choices, label="Paid")
    schedule = forms.ChoiceField(choices=Fleet.Schedule.choices, label="Hours")
    tokens_per_hour = forms.IntegerField(min_value=1, max_value=10**12, required=False, label="Tokens an hour", help_text="What all of it can serve: utilisation is held against it.")
    hosted_provider = forms.CharField(max_length=80, required=False, label="Hosted by", help_text="Who sells the same by the token, such as openrouter.")
    hosted_model = forms.CharField(max_length=200, required=False, label="Hosted model", help_text="As the price book names it there.")
    valid_from = DayField(label="From")


class FleetForm(FleetChangeForm):
    """Own hardware that serves a model."""

    name = forms.CharField(max_length=120)
    model = forms.CharField(max_length=200, help_text="As usage names it.", widget=forms.TextInput(attrs={"list": "known-model"}))
    provider = forms.CharField(max_length=80, required=False, help_text="As usage names it; empty means any.")
    field_order = ("name", "model", "provider", "gpus", "gpu_kind", "rate", "currency", "valid_from")


class HoursForm(forms.Form):
    """The hours a fleet ran in a month."""

    month = forms.CharField(max_length=7, widget=forms.TextInput(attrs={"type": "month"}), help_text="Such as 2026-10.")
    hours = forms.DecimalField(min_value=0, max_value=745, max_digits=9, decimal_places=3, widget=forms.TextInput(attrs={"inputmode": "decimal"}))

    def clean_month(self) -> date:
        try:
            return date.fromisoformat(f"{self.cleaned_data['month']}-01")
        except ValueError:
            raise forms.ValidationError("Write a month as 2026-10.") from None


def plans_sold(actor: Actor) -> Any:
    """The plans that have not ended."""
    return scoped(actor, SeatPlan.objects.filter(terms__valid_to=None)).order_by("name")


def _choose(form: forms.Form, name: str, rows: Any) -> None:
    form.fields[name].queryset = rows  # type: ignore[attr-defined]
