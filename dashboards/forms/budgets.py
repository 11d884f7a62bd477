"""Forms of budgets: making one, changing one, and moving what one has left to another."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms

from dashboards.forms.amounts import AmountField
from dashboards.forms.budget_filters import FilterFields
from governance.budgets.models import LONGEST_ROLLING_HOURS, Budget
from governance.budgets.services import LARGEST_HOLD
from governance.budgets.services.drafts import CALENDAR

Choices = Sequence[tuple[int, str]]
SCOPES = [
    (Budget.ScopeKind.ORGANIZATION.value, "The whole organization"),
    (Budget.ScopeKind.TEAM.value, "A team and the teams below it"),
    (Budget.ScopeKind.PROJECT.value, "A project"),
    (Budget.ScopeKind.MEMBER.value, "A member"),
    (Budget.ScopeKind.SERVICE_ACCOUNT.value, "A service account"),
    (Budget.ScopeKind.KEY.value, "An API key"),
    (Budget.ScopeKind.SESSION.value, "Every session by itself"),
    (Budget.ScopeKind.TASK.value, "Every task by itself"),
]
TEMPLATES = ("session", "task")
# What is chosen with each scope, by the form's field, and the word for it.
OWNERS = {"team": "team", "project": "project", "member": "member", "service_account": "service account", "api_key": "key"}
OWNER_OF_SCOPE = {"team": "team", "project": "project", "member": "member", "service_account": "service_account", "key": "api_key"}
MEASURES = [("money", "Money"), ("tokens", "Tokens"), ("calls", "Calls")]
WINDOWS = [
    ("day", "Day"), ("week", "Week"), ("month", "Month"), ("quarter", "Quarter"), ("year", "Year"),
    ("rolling", "Rolling window"), ("lifetime", "All time"),
]  # fmt: skip
WEEKDAYS = list(enumerate(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), start=1))
ACTIONS = [
    ("freeze", "Freeze: further calls are refused until somebody grants more"),
    ("ask", "Refuse what does not fit: smaller calls go on"),
    ("downgrade", "Let only cheaper models on, which you name"),
    ("notify", "Tell only: calls go on"),
]
OPENNESS = [("open", "calls go on, and are counted afterwards"), ("closed", "calls are refused")]
MOST_PERCENT = 1000
QUIET = {"autocomplete": "off"}


class LimitForm(forms.Form):
    """What can be changed of a budget."""

    name = forms.CharField(max_length=120, label="Name")
    limit_amount = AmountField(smallest=Decimal(0), largest=Decimal(10) ** 12, required_message="Say what the limit is.", label="Limit")
    action = forms.ChoiceField(label="At the limit", choices=ACTIONS, widget=forms.RadioSelect, initial="freeze")
    downgrade_models = forms.CharField(
        required=False, max_length=2000, label="Models that go on", help_text="Separated by commas, as the price book names them.",
        widget=forms.TextInput(attrs={**QUIET, "list": "known-model"}),
    )  # fmt: skip
    thresholds = forms.CharField(
        required=False,
        max_length=100,
        label="Tell at (percent of the limit)",
        help_text="Told once each in a period, such as 50, 80, 100.",
        widget=forms.TextInput(attrs=QUIET),
    )
    warns_ahead = forms.BooleanField(required=False, label="Tell when the forecast reaches the limit before the window ends")
    rollover_cap = AmountField(
        smallest=Decimal(0), largest=Decimal(10) ** 12, required=False, label="Carry over what is unused, at most",
        help_text="What a window leaves goes on to the next, up to this much. Empty: nothing does.",
    )  # fmt: skip
    fails_open = forms.ChoiceField(
        label="Where gateways cannot reach Weighhouse", choices=OPENNESS, widget=forms.RadioSelect, initial="open", required=False
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["downgrade_models"].is_conditional = True  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        return str(self.cleaned_data["name"]).strip()

    def clean_thresholds(self) -> tuple[int, ...]:
        words = str(self.cleaned_data["thresholds"]).replace("%", " ").replace(",", " ").split()
        if any(not word.isascii() or not word.isdigit() or not 1 <= int(word) <= MOST_PERCENT for word in words):
            raise forms.ValidationError("Write whole percents from 1 to 1000, separated by commas.")
        return tuple(sorted({int(word) for word in words}))

    def clean_fails_open(self) -> bool:
        return bool(self.cleaned_data["fails_open"] != "closed")

    def clean_downgrade_models(self) -> list[str]:
        return [word.strip() for word in str(self.cleaned_data["downgrade_models"]).split(",") if word.strip()]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("action") != Budget.Action.DOWNGRADE:
            cleaned["downgrade_models"] = []
        elif not cleaned.get("downgrade_models"):
            self.add_error("downgrade_models", "Name the models that go on.")
        return cleaned


class ChangeForm(LimitForm):
    """What can be changed of one budget, in its own measure. `seen` is the version that was on the screen."""

    seen = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)

    def __init__(self, *args: Any, budget: Budget, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if budget.period_kind not in CALENDAR:
            del self.fields["rollover_cap"]
        if budget.is_template or budget.period_kind not in CALENDAR:
            del self.fields["warns_ahead"]


class BudgetForm(FilterFields, LimitForm):
    """A new budget."""

    scope_kind = forms.ChoiceField(label="What it limits", choices=SCOPES)
    team = forms.TypedChoiceField(coerce=int, required=False, empty_value=None, label="Team")
    project = forms.TypedChoiceField(coerce=int, required=False, empty_value=None, label="Project")
    member = forms.TypedChoiceField(coerce=int, required=False, empty_value=None, label="Member")
    service_account = forms.TypedChoiceField(coerce=int, required=False, empty_value=None, label="Service account")
    api_key = forms.TypedChoiceField(coerce=int, required=False, empty_value=None, label="Key")
    measure = forms.ChoiceField(label="Counted in", choices=MEASURES, initial="money", required=False)
    period_kind = forms.ChoiceField(label="Per", choices=WINDOWS, required=False, initial=Budget.Kind.MONTH.value)
    rolling_length = forms.IntegerField(required=False, min_value=1, max_value=LONGEST_ROLLING_HOURS, initial=24, label="The last")
    rolling_unit = forms.ChoiceField(required=False, choices=[("hours", "hours"), ("days", "days")], initial="hours", label="Hours or days")
    anchor_weekday = forms.TypedChoiceField(required=False, coerce=int, empty_value=None, choices=WEEKDAYS, initial=1, label="Weeks begin on")
    anchor_day = forms.IntegerField(required=False, min_value=1, max_value=28, initial=1, label="Begins on day", help_text="Of the month, 1 to 28.")
    counts_notional = forms.BooleanField(required=False, label="Count subscription usage at list price")
    unpriced_call_amount = AmountField(
        smallest=Decimal(0),
        largest=Decimal(LARGEST_HOLD),
        required=False,
        label="Charge for a call that has no price",
        help_text="A cautious amount for models whose price is not known yet. Empty: nothing is charged.",
    )
    currency = forms.ChoiceField(required=False, label="Currency", help_text="Another one is converted at the rate of each window's first day.")
    field_order = ("name", "scope_kind", *OWNERS, "measure", "period_kind", "limit_amount", "currency", "action", "thresholds")

    def __init__(self, *args: Any, owners: dict[str, Choices], currencies: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, owners=owners, **kwargs)
        self.currencies = currencies
        self.fields["currency"].choices = [(code, code) for code in currencies]  # type: ignore[attr-defined]
        for name in ("measure", "period_kind", "currency", "rolling_length", "rolling_unit", "anchor_weekday", "anchor_day"):
            self.fields[name].is_conditional = True  # type: ignore[attr-defined]
        scopes = {field: scope for scope, field in OWNER_OF_SCOPE.items()}
        for name, word in OWNERS.items():
            self.fields[name].is_conditional = True  # type: ignore[attr-defined]
            self.fields[name].choices = [("", f"Choose a {word}"), *owners[name]]  # type: ignore[attr-defined]
            self.fields[name].widget.attrs = {"data-needed-with": "scope_kind", "data-needed-value": scopes[name], "data-otherwise": f"Any {word}"}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean()
        cleaned["measure"] = cleaned.get("measure") or "money"
        if cleaned["measure"] != "money" or not cleaned.get("currency"):
            cleaned["currency"] = None
        if cleaned.get("scope_kind") in TEMPLATES:
            cleaned["period_kind"] = cleaned["scope_kind"]
        else:
            self._clean_owner(cleaned)
            if not cleaned.get("period_kind"):
                self.add_error("period_kind", "Say how long a period is.")
        self._clean_window(cleaned)
        return cleaned

    def _clean_owner(self, cleaned: dict[str, Any]) -> None:
        wanted = OWNER_OF_SCOPE.get(cleaned.get("scope_kind", ""))
        for name, word in OWNERS.items():
            if name != wanted:
                cleaned[name] = None
            elif cleaned.get(name) is None and name not in self.errors:
                self.add_error(name, f"Choose the {word}.")

    def _clean_window(self, cleaned: dict[str, Any]) -> None:
        kind, length = cleaned.get("period_kind"), cleaned.pop("rolling_length", None)
        hours = (length or 0) * (24 if cleaned.pop("rolling_unit", "") == "days" else 1)
        weekday, day = cleaned.pop("anchor_weekday", None), cleaned.pop("anchor_day", None)
        cleaned["rolling_hours"] = None
        if kind == Budget.Kind.ROLLING:
            cleaned["rolling_hours"] = hours
            if not 1 <= hours <= LONGEST_ROLLING_HOURS and "rolling_length" not in self.errors:
                self.add_error("rolling_length", f"A rolling window is 1 hour to {LONGEST_ROLLING_HOURS // 24} days long.")
        cleaned["anchor_day"] = weekday if kind == Budget.Kind.WEEK else day if kind in ("month", "quarter", "year") else 1
        cleaned["anchor_day"] = cleaned["anchor_day"] or 1
        if kind and kind not in CALENDAR:
            cleaned["rollover_cap"] = None


class TransferForm(forms.Form):
    """Moves what a budget has left to another one."""

    to_period = forms.TypedChoiceField(coerce=int, label="To", empty_value=None)
    amount = AmountField(smallest=Decimal(0), largest=Decimal(10) ** 12, required_message="Say how much to move.", label="How much")
    reason = forms.CharField(max_length=300, label="Why", widget=forms.TextInput(attrs=QUIET))
    # The form as it was shown: sent twice, it moves once.
    once = forms.CharField(max_length=40, required=False, widget=forms.HiddenInput, initial=lambda: uuid4().hex)

    def __init__(self, *args: Any, targets: Iterable[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["to_period"].choices = [("", "Choose a budget"), *targets]  # type: ignore[attr-defined]
