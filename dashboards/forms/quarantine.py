"""The form of a rule that mends refused events."""

from typing import Any

from django import forms

from dashboards.forms.importing import WORDS
from ingest.importing.mapping import FIELDS
from ingest.quarantine.mending import Fix
from ingest.quarantine.models import QuarantineRule


class MendingForm(forms.Form):
    """What a rule does. Which fields it needs depends on what it does."""

    action = forms.ChoiceField(choices=QuarantineRule.Action.choices, label="What it does")
    field = forms.CharField(max_length=120, help_text="As the sender writes it, such as user_name.")
    target = forms.CharField(
        max_length=120, required=False, label="Read it as", help_text="For another name: an event's field, or tags. and a name.",
        widget=forms.TextInput(attrs={"list": "event-fields"}),
    )  # fmt: skip
    was = forms.CharField(
        max_length=254, required=False, label="Value to replace", help_text="For a value that is replaced: exactly as it comes."
    )
    value = forms.CharField(max_length=254, required=False, help_text="What is set where the field is missing, or takes the other's place.")
    door = forms.CharField(max_length=40, required=False, help_text="Such as rest, otlp or litellm; empty: every door.")

    fields_known = [(name, WORDS.get(name, name)) for name in FIELDS]

    @property
    def asked(self) -> dict[str, str]:
        """What the service is asked for."""
        return {name: str(self.cleaned_data[name]).strip() for name in ("action", "field", "target", "was", "value", "door")}

    @property
    def fix(self) -> Fix:
        """The rule as it would be applied."""
        given: dict[str, Any] = self.asked
        return Fix(0, **given)
