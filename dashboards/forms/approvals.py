"""Forms of approvals: asking for more, and deciding."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from zoneinfo import ZoneInfo

from django import forms

from dashboards.forms.amounts import AmountField
from governance.periods import local_midnight

SMALLEST = Decimal("0.01")


class EndField(forms.Form):
    """A day until which the money counts, included, in the organization's time zone; empty means to the end of the period."""

    until = forms.DateField(required=False, label="Until", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, *args: Any, zone: ZoneInfo, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = zone
        self.now = now
        self.fields["until"].widget.attrs["min"] = now.astimezone(zone).date().isoformat()

    def clean_until(self) -> date | None:
        until: date | None = self.cleaned_data["until"]
        if until is not None and until < self.now.astimezone(self.zone).date():
            raise forms.ValidationError("This day is over already.")
        if until is not None and until.year > self.now.year + 10:
            raise forms.ValidationError("This is more than ten years away.")
        return until

    @property
    def ends_at(self) -> datetime | None:
        """The instant at which the chosen day is over; None when none was chosen."""
        until: date | None = self.cleaned_data.get("until")
        return local_midnight(until + timedelta(days=1), self.zone).astimezone(UTC) if until else None


class RequestForm(EndField):
    """Asks for more on one of the budgets that cover the requester's work."""

    period = forms.TypedChoiceField(coerce=int, label="Budget")
    amount = AmountField(smallest=SMALLEST, required_message="Say how much.", label="How much more")
    reason = forms.CharField(
        max_length=2000,
        label="Why",
        widget=forms.Textarea(attrs={"rows": 4}),
        error_messages={"required": "Say what the money is for: it is what the approver decides by."},
    )
    session_only = forms.BooleanField(required=False, label="For this session only")
    field_order = ("period", "amount", "until", "session_only", "reason")

    def __init__(self, *args: Any, periods: Sequence[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice = cast("forms.TypedChoiceField", self.fields["period"])
        choice.choices = list(periods)
        choice.error_messages |= {
            "required": "Choose the budget to raise.",
            "invalid_choice": "This budget does not cover your work (any more).",
        }


class DecisionForm(EndField):
    """Grants in full or part, or denies; a denial needs its reason."""

    decision = forms.ChoiceField(choices=[("grant", "Grant"), ("deny", "Deny")])
    amount = AmountField(smallest=SMALLEST, required_message="Say how much.", label="Grant")
    session_only = forms.BooleanField(required=False, label="For this session only")
    note = forms.CharField(
        max_length=2000, required=False, label="Note", widget=forms.Textarea(attrs={"rows": 2, "placeholder": "optional"})
    )
    reason = forms.CharField(max_length=2000, required=False, label="Why not", widget=forms.Textarea(attrs={"rows": 3}))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "decision" in self.errors:
            self.add_error(None, "Say whether to grant or to deny.")
        if cleaned.get("decision") != "deny":
            return cleaned
        self.errors.pop("amount", None)
        self.errors.pop("until", None)
        if not cleaned.get("reason", "").strip():
            self.add_error("reason", "Say why: the requester reads it, and can ask again knowing it.")
        return cleaned


class OverrideForm(forms.Form):
    """Grants at once in an emergency."""

    amount = AmountField(smallest=SMALLEST, required_message="Say how much.", label="Grant")
    reason = forms.CharField(
        max_length=2000, label="Why it cannot wait", widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": "Say why: everybody who may review it reads this."},
    )  # fmt: skip


class ReviewForm(forms.Form):
    """Whether an override was right."""

    upheld = forms.ChoiceField(
        choices=[("yes", "It was right"), ("no", "It was not right")], widget=forms.RadioSelect, label="Looking back"
    )
    note = forms.CharField(max_length=2000, required=False, label="Note", widget=forms.Textarea(attrs={"rows": 2}))


class DelegateForm(forms.Form):
    """Who decides in one's stead, and on which days, both included."""

    delegate = forms.TypedChoiceField(coerce=int, label="Who decides in your stead")
    first = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label="Until, included", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, *args: Any, people: Sequence[tuple[int, str]], zone: ZoneInfo, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone, self.now = zone, now
        cast("forms.TypedChoiceField", self.fields["delegate"]).choices = [("", "Choose somebody"), *people]
        for name in ("first", "last"):
            self.fields[name].widget.attrs["min"] = now.astimezone(zone).date().isoformat()

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        first, last = cleaned.get("first"), cleaned.get("last")
        if first and first < self.now.astimezone(self.zone).date() - timedelta(days=1):
            self.add_error("first", "This day is over already.")
        if first and last and (last < first or last.year > self.now.year + 10):
            self.add_error("last", "The last day comes after the first, and within ten years.")
        return cleaned

    @property
    def starts_at(self) -> datetime:
        """The beginning of the first day; now, where it is today."""
        return max(local_midnight(self.cleaned_data["first"], self.zone).astimezone(UTC), self.now)

    @property
    def ends_at(self) -> datetime:
        """The end of the last day."""
        return local_midnight(self.cleaned_data["last"] + timedelta(days=1), self.zone).astimezone(UTC)
