"""The form of a guard rule: what all rules have, and the parameters of its kind."""

from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import forms

from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Project
from ingest.guard.models import GuardRule
from ingest.guard.parameters import DAYS, KINDS, FanOut

DAYS_BACK = [(1, "the last day"), (7, "the last 7 days"), (30, "the last 30 days"), (90, "the last 90 days")]
EXEMPT = ("exempt_projects", "exempt_tags")


class RuleForm(forms.Form):
    """Every parameter of the kind is a field named as the parameter is."""

    name = forms.CharField(max_length=120)
    action = forms.ChoiceField(label="When it finds a session", choices=GuardRule.Action.choices, widget=forms.RadioSelect, initial=GuardRule.Action.NOTIFY)
    is_inline = forms.BooleanField(
        required=False, label="Look as soon as calls are stored", help_text="Otherwise every minute. Costs each post with calls of a suspect session some milliseconds."
    )
    cooldown_minutes = forms.IntegerField(label="Not again for, minutes", min_value=1, max_value=44_640, initial=720, help_text="How long a session that was found is left alone by this rule.")
    exempt_projects = forms.ModelMultipleChoiceField(Project.objects.none(), required=False, label="Calls of projects", widget=forms.CheckboxSelectMultiple)
    exempt_tags = forms.CharField(
        required=False, max_length=4000, label="Calls with tags", widget=forms.Textarea(attrs={"rows": 2}), help_text="One name=value a line, such as processing=batch."
    )

    def __init__(self, *args: Any, actor: Actor, kind: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind
        self.parameters = {one.name: _field(one) for one in fields(KINDS[kind])}
        self.fields.update(self.parameters)
        projects = scoped(actor, Project.objects.order_by("name", "id"))
        self.fields["exempt_projects"].queryset = projects  # type: ignore[attr-defined]
        if not projects:
            del self.fields["exempt_projects"]
        if kind == FanOut.kind:
            # It looks at sessions, not at calls.
            for name in EXEMPT:
                self.fields.pop(name, None)

    @property
    def of_kind(self) -> list[forms.BoundField]:
        """The parameters as bound fields."""
        return [self[name] for name in self.parameters]

    @property
    def of_all(self) -> list[forms.BoundField]:
        """What all rules have."""
        return [self[name] for name in self.fields if name not in self.parameters and name not in EXEMPT]

    @property
    def of_exempt(self) -> list[forms.BoundField]:
        """What is passed over."""
        return [self[name] for name in EXEMPT if name in self.fields]

    @property
    def values(self) -> dict[str, Any]:
        """The arguments for rule_create and rule_change."""
        given = self.cleaned_data
        return {
            "name": given["name"], "action": given["action"], "is_inline": given["is_inline"], "cooldown_minutes": given["cooldown_minutes"],
            "parameters": {name: given[name] for name in self.parameters}, "exempt_projects": [project.pk for project in given.get("exempt_projects") or ()],
            "exempt_tags": given.get("exempt_tags", "").splitlines(),
        }  # fmt: skip


class RangeForm(forms.Form):
    """How far back a trial looks."""

    days = forms.TypedChoiceField(label="Try it on", choices=DAYS_BACK, coerce=int, initial=7)

    @property
    def span(self) -> timedelta:
        return timedelta(days=self.cleaned_data["days"])


def _field(parameter: Any) -> forms.Field:
    """The form's field for a parameter; its bounds are those of the parameter."""
    default, about = parameter.default, parameter.metadata
    common = {"label": about["label"], "help_text": about["hint"], "initial": default}
    if isinstance(default, bool):
        return forms.BooleanField(required=False, **common)
    if isinstance(default, tuple):
        return forms.TypedMultipleChoiceField(coerce=int, choices=list(enumerate(DAYS, 1)), widget=forms.CheckboxSelectMultiple, required=False, **common)
    if isinstance(default, Decimal):
        return forms.DecimalField(min_value=about["least"], max_value=about["most"], max_digits=20, decimal_places=6, **common)
    return forms.IntegerField(min_value=about["least"], max_value=about["most"], **common)
