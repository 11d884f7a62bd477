"""The form of an approval policy: rows of amounts with up to three steps each, times, automatic grants, the override."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms

from dashboards.components.figures import plain_decimal
from dashboards.forms.amounts import AmountField
from governance.approvals import policy
from governance.approvals.policy import GROUPS, MEMBER, Automatic, Band, Override, Rules, Step

STEPS_SHOWN = 3
SMALLEST = Decimal("0.01")
ORDERS = [("order", "one after another"), ("parallel", "at the same time")]
GROUP_CHOICES = [(name, text.capitalize()) for name, text in GROUPS.items()]
People = Sequence[tuple[str, str]]


def optional_amount(label: str, hint: str = "") -> AmountField:
    return AmountField(smallest=SMALLEST, required=False, label=label, help_text=hint)


class WhoForm(forms.Form):
    """Who: groups, and people by name."""

    groups = forms.MultipleChoiceField(choices=GROUP_CHOICES, required=False, label="Who", widget=forms.CheckboxSelectMultiple)
    people = forms.MultipleChoiceField(required=False, label="People by name", widget=forms.SelectMultiple(attrs={"size": 4, "data-search": "Find a person"}))

    def __init__(self, *args: Any, people: People, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["people"].choices = list(people)  # type: ignore[attr-defined]

    @property
    def parties(self) -> tuple[str, ...]:
        return (*self.cleaned_data.get("groups", ()), *self.cleaned_data.get("people", ()))


class StepForm(WhoForm):
    """One step; without anybody it is not there."""

    needed = forms.IntegerField(min_value=1, max_value=policy.MOST_NEEDED, initial=1, required=False, label="How many of them")

    @property
    def step(self) -> Step | None:
        return Step(self.parties, self.cleaned_data.get("needed") or 1) if self.parties else None


class BandForm(forms.Form):
    """One row of amounts and its steps."""

    up_to = optional_amount("Requests up to", "Empty: everything above.")
    order = forms.ChoiceField(choices=ORDERS, required=False, label="Steps go")

    def __init__(self, data: Any = None, *, prefix: str, people: People, band: Band | None = None) -> None:
        initial = {"up_to": plain_decimal(band.up_to) if band and band.up_to else None, "order": ORDERS[bool(band and band.in_parallel)][0]}
        super().__init__(data, prefix=prefix, initial=initial)
        known = band.steps if band else ()
        count = max(STEPS_SHOWN, len(known))
        self.steps = [
            StepForm(data, prefix=f"{prefix}-{place}", people=people, initial=who_initial(known[place].who) | {"needed": known[place].needed} if place < len(known) else {})
            for place in range(count)
        ]  # fmt: skip

    def is_valid(self) -> bool:
        return all([super().is_valid(), *(step.is_valid() for step in self.steps)])

    @property
    def band(self) -> Band:
        steps = tuple(step.step for step in self.steps if step.step is not None)
        return Band(steps, self.cleaned_data["up_to"], in_parallel=self.cleaned_data["order"] == "parallel")


class PolicyForm(forms.Form):
    """What holds for all amounts."""

    escalate_minutes = forms.IntegerField(
        required=False, min_value=1, max_value=policy.LONGEST_ESCALATION_MINUTES, label="Goes on to the next step after",
        help_text="Minutes without an answer. Empty: it waits.",
    )  # fmt: skip
    expire_hours = forms.IntegerField(
        required=False, min_value=1, max_value=policy.LONGEST_EXPIRY_HOURS, label="Closes by itself after", help_text="Hours. Empty: with the budget's period.",
    )  # fmt: skip
    denials = forms.IntegerField(min_value=1, max_value=policy.MOST_DENIALS, initial=1, label="Denials that end it")
    up_to = optional_amount("Grant at once up to", "Empty: people decide everything.")
    person_daily = optional_amount("For one person a day at most")
    team_daily = optional_amount("For one team a day at most")
    review_days = forms.IntegerField(required=False, min_value=1, max_value=policy.LONGEST_REVIEW_DAYS, initial=7, label="Reviewed within", help_text="Days, by somebody else.")

    def __init__(self, data: Any = None, *, people: People, rules: Rules, count: int | None = None) -> None:
        super().__init__(data, initial=initial_of(rules))
        number = len(rules.bands) if count is None else count
        self.bands = [
            BandForm(data, prefix=f"band-{place}", people=people, band=rules.bands[place] if place < len(rules.bands) else None) for place in range(number)
        ]
        self.override = WhoForm(data, prefix="override", people=people, initial=who_initial(rules.override.who if rules.override else ()))

    def is_valid(self) -> bool:
        return all([super().is_valid(), *(band.is_valid() for band in self.bands), self.override.is_valid()])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        amounts = [cleaned.get(name) for name in ("up_to", "person_daily", "team_daily")]
        if any(amounts) and not all(amounts) and not self.errors:
            self.add_error("up_to", "Give all three amounts, or none.")
        return cleaned

    @property
    def rules(self) -> Rules:
        """The policy as it is on the screen. Only when the form is valid."""
        said = self.cleaned_data
        automatic = Automatic(said["up_to"], said["person_daily"], said["team_daily"]) if said["up_to"] else None
        override = Override(self.override.parties, said["review_days"] or 7) if self.override.parties else None
        return Rules(tuple(band.band for band in self.bands), said["escalate_minutes"], said["expire_hours"], said["denials"], automatic, override)


class PreviewForm(forms.Form):
    """A made-up request to try the policy on."""

    amount = AmountField(smallest=SMALLEST, required_message="Say how much.", label="A request of")
    team = forms.ChoiceField(required=False, label="by team")

    def __init__(self, data: Any = None, *, teams: Sequence[tuple[str, str]]) -> None:
        super().__init__(data, prefix="try", initial={"amount": "500"})
        self.fields["team"].choices = list(teams)  # type: ignore[attr-defined]


def who_initial(who: Sequence[str]) -> dict[str, list[str]]:
    return {"groups": [party for party in who if party in GROUPS], "people": [party for party in who if party.startswith(MEMBER)]}


def initial_of(rules: Rules) -> dict[str, Any]:
    found: dict[str, Any] = {"escalate_minutes": rules.escalate_minutes, "expire_hours": rules.expire_hours, "denials": rules.denials}
    if rules.automatic:
        amounts = {"up_to": rules.automatic.up_to, "person_daily": rules.automatic.person_daily, "team_daily": rules.automatic.team_daily}
        found |= {name: plain_decimal(amount) for name, amount in amounts.items()}
    return found | {"review_days": rules.override.review_days if rules.override else 7}
