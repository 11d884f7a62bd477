"""The form field of a local day, as people type it."""

from datetime import date
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

# Nothing that is kept here began earlier or lasts longer, and each of these days has a midnight before and after it in every time zone.
FIRST, LAST = date(1970, 1, 2), date(2999, 12, 31)


class DayField(forms.DateField):
    """A local day from 1970 on; one that lies out of all time is refused in a sentence."""

    def __init__(self, **options: Any) -> None:
        sentence = f"Write a day from {FIRST.year} to {LAST.year}."
        super().__init__(
            widget=forms.DateInput(attrs={"type": "date"}),
            validators=[MinValueValidator(FIRST, sentence), MaxValueValidator(LAST, sentence)],
            **options,
        )
