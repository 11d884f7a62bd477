"""Forms of the price book's tabs: terms, commitments and credits, markups, exchange rates."""

from datetime import date
from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import Q
from django.utils import timezone

from dashboards.forms.amounts import AmountField
from dashboards.forms.days import DayField
from governance.pricing.contracts import Balance, ExchangeRule, Term
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Team

METERS = (
    ("input_tokens", "Input"), ("output_tokens", "Output"), ("cache_read_tokens", "From cache"), ("cache_write_tokens", "Into cache"),
    ("output_reasoning_tokens", "Reasoning"), ("requests", "Per 1,000 requests"),
)  # fmt: skip
KINDS = [("percent", "Percent off the price"), ("own", "Own amounts of one model"), ("off", "Amounts off the price")]
MOST_FILE_BYTES = 16 * 1024 * 1024


class TeamField(forms.TypedChoiceField):
    """One of the organization's teams, or any."""

    def __init__(self, **options: Any) -> None:
        super().__init__(coerce=int, required=False, empty_value=None, label="Team", **options)


def team_choices(actor: Actor) -> list[tuple[str, str]]:
    rows = scoped(actor, Team.objects.all()).order_by("name", "pk").values_list("pk", "name")
    return [("", "Every team"), *((str(pk), name) for pk, name in rows)]


class TeamForm(forms.Form):
    """Something that is for one of the organization's teams, or for every one."""

    team = TeamField()

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actor = actor
        self.fields["team"].choices = team_choices(actor)  # type: ignore[attr-defined]

    def clean_team(self) -> Team | None:
        wanted = self.cleaned_data["team"]
        return None if wanted is None else scoped(self.actor, Team.objects.all()).get(pk=wanted)


class ScopedForm(TeamForm):
    """Something that is for a provider, a model and a team."""

    name = forms.CharField(max_length=120, label="Name", help_text="Such as the contract's number.")
    provider = forms.CharField(max_length=80, required=False, label="Provider", help_text="As the price book names it. Empty: every provider.")
    model = forms.CharField(max_length=200, required=False, label="Model", help_text="Empty: every model.")
    currency = forms.CharField(max_length=3, min_length=3, label="Currency")

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        kwargs["initial"] = {"currency": actor.organization.currency} | kwargs.get("initial", {})
        super().__init__(*args, actor=actor, **kwargs)


class TermForm(ScopedForm):
    """A new term, for whole local days."""

    kind = forms.ChoiceField(choices=KINDS, label="What it changes", initial="percent")
    percent_off = forms.DecimalField(required=False, min_value=0, max_value=100, max_digits=9, decimal_places=6, label="Percent off")
    first = DayField(label="From")
    last = DayField(label="To, that day included", required=False, help_text="Empty: until another follows.")
    field_order = ("name", "provider", "model", "team", "kind", "percent_off", *(key for key, _ in METERS), "currency", "first", "last")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for key, label in METERS:
            per = "" if key == "requests" else ", per million"
            self.fields[key] = AmountField(smallest=Decimal(0), required=False, label=f"{label}{per}")
        self.order_fields(self.field_order)

    @property
    def amounts(self) -> dict[str, str]:
        """The amounts that were typed in, by meter."""
        return {key: format(self.cleaned_data[key], "f") for key, _ in METERS if self.cleaned_data.get(key) is not None}


class BalanceForm(ScopedForm):
    """A new commitment or credit."""

    kind = forms.ChoiceField(choices=Balance.Kind.choices, label="Kind")
    amount = AmountField(smallest=Decimal("0.01"), required_message="Say how much it is.", label="Amount")
    first = DayField(label="From")
    last = DayField(label="To, that day included", required=False)
    field_order = ("kind", "name", "amount", "currency", "provider", "model", "team", "first", "last")


class MarkupForm(TeamForm):
    """What is added to a team's cost."""

    percent = forms.DecimalField(min_value=-100, max_value=1000, max_digits=10, decimal_places=6, label="Percent added")
    valid_from = DayField(label="From")


class EndForm(forms.Form):
    """Which term, commitment or credit ends now."""

    what = forms.ChoiceField(label="What ends", choices=())

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        now = timezone.now()
        terms = scoped(actor, Term.objects.filter(Q(valid_to=None) | Q(valid_to__gt=now))).order_by("name", "pk")
        balances = scoped(actor, Balance.objects.filter(Q(ends_on=None) | Q(ends_on__gt=now.date()))).order_by("name", "pk")
        self.fields["what"].choices = [  # type: ignore[attr-defined]
            *((f"term-{row.pk}", f"Term {row.name}, {row.model or row.provider or 'everything'}") for row in terms),
            *((f"balance-{row.pk}", f"{row.get_kind_display()} {row.name}") for row in balances),
        ]


class RateForm(forms.Form):
    """One exchange rate, typed in."""

    base = forms.CharField(max_length=3, min_length=3, label="One unit of")
    rate = forms.DecimalField(max_digits=28, decimal_places=15, label="is")
    quote = forms.CharField(max_length=3, min_length=3, label="units of")
    day = DayField(label="From", initial=date.today)


class RatesFileForm(forms.Form):
    """A file of exchange rates."""

    file = forms.FileField(label="File", help_text="The European Central Bank's CSV, XML or ZIP, or a CSV with the columns day, base, quote and rate.")

    def clean_file(self) -> bytes:
        given = self.cleaned_data["file"]
        if given.size > MOST_FILE_BYTES:
            raise forms.ValidationError("The file is larger than any list of exchange rates.")
        return bytes(given.read())


class RuleForm(forms.Form):
    """Which day's rate converts calls."""

    basis = forms.ChoiceField(choices=ExchangeRule.Basis.choices, label="Calls are converted at")
    days_good_for = forms.IntegerField(min_value=1, max_value=400, initial=7, label="A rate is good for so many days")
    valid_from = DayField(label="From")
