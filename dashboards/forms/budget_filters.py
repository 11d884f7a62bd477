"""The part of a budget's form that narrows it to some calls: by what they are labelled with, and to several owners that share it."""

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms

from governance.budgets.calls import LABELS, LONGEST_VALUE, MOST_VALUES, TAG

TIERS = [("flagship", "flagship"), ("standard", "standard"), ("economy", "economy")]
BILLING_MODES = [("metered", "metered"), ("subscription", "subscription"), ("self-hosted", "self-hosted")]
CHOSEN = {"tier": TIERS, "billing_mode": BILLING_MODES}
WORDS = {"task_class": "Task class", "billing_mode": "Billing"}
POOLS = {"team": "Teams that share it", "project": "Projects that share it", "member": "Members who share it"}


def field_of(name: str) -> str:
    """The form's field for a label or a pool."""
    return f"only_{name}"


class FilterFields(forms.Form):
    """A field for each label; `filters` in the cleaned answers is what the budget keeps."""

    tags = forms.CharField(
        required=False, max_length=4000, label="Tags", help_text="One on each line, such as repo = api, web.",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "placeholder": "repo = api, web"}),
    )  # fmt: skip

    def __init__(self, *args: Any, owners: dict[str, Sequence[tuple[int, str]]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in LABELS:
            self.fields[field_of(name)] = self._label_field(name)
        for name, label in POOLS.items():
            self.fields[field_of(name)] = forms.TypedMultipleChoiceField(
                coerce=int, required=False, label=label, choices=owners[name], widget=forms.SelectMultiple(attrs={"size": min(max(len(owners[name]), 2), 5)})
            )
        for name in (*LABELS, *POOLS):
            self.fields[field_of(name)].is_conditional = True  # type: ignore[attr-defined]

    def _label_field(self, name: str) -> forms.Field:
        label = WORDS.get(name, name.capitalize())
        if name in CHOSEN:
            return forms.MultipleChoiceField(required=False, label=label, choices=CHOSEN[name], widget=forms.CheckboxSelectMultiple)
        attrs = {"autocomplete": "off", "spellcheck": "false", "list": f"known-{name}", "placeholder": "any"}
        return forms.CharField(required=False, label=label, max_length=(LONGEST_VALUE + 2) * MOST_VALUES, widget=forms.TextInput(attrs=attrs))

    @property
    def label_fields(self) -> list[forms.BoundField]:
        return [self[field_of(name)] for name in LABELS if name not in CHOSEN]

    @property
    def choice_fields(self) -> list[forms.BoundField]:
        return [self[field_of(name)] for name in CHOSEN]

    @property
    def pool_fields(self) -> list[forms.BoundField]:
        return [self[field_of(name)] for name in POOLS]

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is filled in, so that the panel stands open."""
        return any(self[name].value() for name in ("tags", *(field_of(name) for name in (*LABELS, *POOLS))))

    def clean_tags(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in str(self.cleaned_data["tags"]).splitlines():
            name, equals, values = (part.strip() for part in line.partition("="))
            if not line.strip():
                continue
            if not (equals and name and split(values)):
                raise forms.ValidationError("Write each tag with its values, such as repo = api, web.")
            found.setdefault(TAG + name, []).extend(split(values))
        return found

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        filters: dict[str, list[Any]] = dict(cleaned.pop("tags", {}))
        for name in (*LABELS, *POOLS):
            given = cleaned.pop(field_of(name), None) or []
            values = split(given) if isinstance(given, str) else list(given)
            if values:
                filters[name] = values
        cleaned["filters"] = filters
        return cleaned


def split(text: str) -> list[str]:
    """The words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def known_values(rows: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """What the form suggests, by label."""
    found: dict[str, list[str]] = {}
    for name, value in rows:
        found.setdefault(name, []).append(value)
    return found
