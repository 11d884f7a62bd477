"""Forms of budgets: making one, and changing one."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms

from dashboards.forms.amounts import AmountField
from governance.budgets.models import Budget
from governance.budgets.services import LARGEST_HOLD

Choices = Sequence[tuple[int, str]]
SCOPES = [
    (Budget.ScopeKind.ORGANIZATION.value, "The whole organization"),
    (Budget.ScopeKind.TEAM.value, "A team and the teams below it"),
    (Budget.ScopeKind.PROJECT.value, "A project"),
    (Budget.ScopeKind.MEMBER.value, "A member"),
    (Budget.ScopeKind.SESSION.value, "Every session by itself"),
]
WINDOWS = [(kind.value, kind.label) for kind in Budget.Kind if kind is not Budget.Kind.SESSION]
MOST_PERCENT = 1000


class LimitForm(forms.Form):
    """What can be changed of a budget."""

    name = forms.CharField(max_length=120, label="Name")
    limit_amount = AmountField(smallest=Decimal(0), required_message="Say what the limit is.", label="Limit")
    is_hard = forms.TypedChoiceField(
        label="At the limit",
        coerce=lambda value: value == "hard",
        choices=[("hard", "Freeze: further calls are refused until somebody grants more"), ("soft", "Tell only: calls go on")],
        widget=forms.RadioSelect,
        initial="hard",
    )
    thresholds = forms.CharField(
        required=False,
        max_length=100,
        label="Tell at (percent of the limit)",
        help_text="Told once each in a period, such as 50, 80, 100.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def clean_name(self) -> str:
        return str(self.cleaned_data["name"]).strip()

    def clean_thresholds(self) -> tuple[int, ...]:
        words = str(self.cleaned_data["thresholds"]).replace("%", " ").replace(",", " ").split()
        if any(not word.isascii() or not word.isdigit() or not 1 <= int(word) <= MOST_PERCENT for word in words):
            raise forms.ValidationError("Write whole percents from 1 to 1000, separated by commas.")
        return tuple(sorted({int(word) for word in words}))


class BudgetForm(LimitForm):
    """A new budget."""

    scope_kind = forms.ChoiceField(label="What it limits", choices=SCOPES)
    team = forms.TypedChoiceField(coerce=int, required=False, empty_value=None, label="Team")
    project = forms.TypedChoiceField(coerce=int, required=False, empty_value=None, label="Project")
    member = forms.TypedChoiceField(coerce=int, required=False, empty_value=None, label="Member")
    period_kind = forms.ChoiceField(label="Per", choices=WINDOWS, required=False, initial=Budget.Kind.MONTH.value)
    counts_notional = forms.BooleanField(required=False, label="Count subscription usage at list price")
    unpriced_call_amount = AmountField(
        smallest=Decimal(0),
        largest=Decimal(LARGEST_HOLD),
        required=False,
        label="Charge for a call that has no price",
        help_text="A cautious amount for models whose price is not known yet. Empty: nothing is charged.",
    )
    field_order = ("name", "scope_kind", "team", "project", "member", "period_kind", "limit_amount", "is_hard", "thresholds")

    def __init__(self, *args: Any, teams: Choices, projects: Choices, members: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["period_kind"].is_conditional = True  # type: ignore[attr-defined]
        for name, choices in (("team", teams), ("project", projects), ("member", members)):
            self.fields[name].is_conditional = True  # type: ignore[attr-defined]
            self.fields[name].choices = [("", f"Choose a {name}"), *choices]  # type: ignore[attr-defined]
            self.fields[name].widget.attrs = {"data-needed-with": "scope_kind", "data-needed-value": name, "data-otherwise": f"Any {name}"}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        scope = cleaned.get("scope_kind")
        if scope == Budget.ScopeKind.SESSION:
            cleaned["period_kind"] = Budget.Kind.SESSION.value
            return cleaned
        if not cleaned.get("period_kind"):
            self.add_error("period_kind", "Say how long a period is.")
        for name in ("team", "project", "member"):
            if name != scope:
                cleaned[name] = None
            elif cleaned.get(name) is None and name not in self.errors:
                self.add_error(name, f"Choose the {name}.")
        return cleaned
