"""Forms of re-rating runs and of closed months."""

from datetime import date, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from dashboards.forms.days import DayField
from governance.periods import add_months, local_midnight
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Team

LONGEST_NAMES = 2000
MONTHS_OFFERED = 13


class DaysForm(forms.Form):
    """Which stored calls are worked out anew, and why."""

    reason = forms.CharField(max_length=300, label="Why", help_text="Kept with every call that changes.")
    first = DayField(label="From")
    last = DayField(label="To", help_text="Both days included, in the organization's time zone.")
    team_ids = forms.ModelMultipleChoiceField(
        Team.objects.none(),
        required=False,
        label="Only calls of",
        widget=forms.CheckboxSelectMultiple,
        help_text="With the teams below; none: every call.",
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = actor.organization.zone
        teams = scoped(actor, Team.objects.order_by("name", "id"))
        self.fields["team_ids"].queryset = teams  # type: ignore[attr-defined]
        if not teams:
            del self.fields["team_ids"]

    @property
    def asked(self) -> dict[str, Any]:
        """What the service is asked for."""
        given = self.cleaned_data
        return {
            "reason": given["reason"],
            "starts_at": local_midnight(given["first"], self.zone),
            "ends_at": local_midnight(given["last"] + timedelta(days=1), self.zone),
            "team_ids": [team.pk for team in given.get("team_ids", ())],
        }


class RunForm(DaysForm):
    """Which calls are priced anew, and why."""

    providers = forms.CharField(required=False, max_length=LONGEST_NAMES, help_text="Separated by commas; empty: all of them.")
    models = forms.CharField(
        required=False, max_length=LONGEST_NAMES, help_text="As the price book or as calls name them; empty: all of them."
    )
    is_unpriced_only = forms.BooleanField(required=False, label="Only calls without a price")
    field_order = ("reason", "first", "last", "providers", "models", "team_ids", "is_unpriced_only")

    @property
    def asked(self) -> dict[str, Any]:
        given = self.cleaned_data
        names = {"providers": _split(given["providers"]), "models": _split(given["models"])}
        return super().asked | names | {"is_unpriced_only": given["is_unpriced_only"]}


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


class CloseForm(forms.Form):
    """The month that is closed, and why."""

    month = forms.ChoiceField()
    reason = forms.CharField(max_length=300, label="Why", help_text="Such as: reported to finance.")

    def __init__(self, *args: Any, today: date | None = None, closed: frozenset[date] = frozenset(), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        first = (today or timezone.localdate()).replace(day=1)
        offered = [add_months(first, -back) for back in range(1, MONTHS_OFFERED)]
        self.fields["month"].choices = [(f"{month:%Y-%m}", f"{month:%B %Y}") for month in offered if month not in closed]  # type: ignore[attr-defined]


class ReopenForm(forms.Form):
    """Why a closed month may move again."""

    month = forms.CharField(max_length=7, widget=forms.HiddenInput)
    reason = forms.CharField(max_length=300, label="Why")
