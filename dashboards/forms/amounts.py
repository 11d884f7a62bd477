"""The form field of an amount of money, as people type it."""

from decimal import Decimal
from typing import Any

from django import forms

LARGEST = Decimal(10) ** 9
DECIMAL_PLACES = 15


class AmountField(forms.DecimalField):
    """An amount from `smallest` to `largest`, a thousand million, with at most fifteen decimal places; whatever is wrong is said in one sentence."""

    def __init__(self, *, smallest: Decimal, largest: Decimal = LARGEST, required_message: str = "", **options: Any) -> None:
        too_large = f"The amount must be at most {largest:,.0f}.".replace(",", " ")
        super().__init__(
            min_value=smallest,
            max_value=largest,
            max_digits=28,
            decimal_places=DECIMAL_PLACES,
            widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
            error_messages={
                "required": required_message,
                "invalid": "Write an amount in digits with a point before the cents, such as 60 or 12.50.",
                "min_value": f"The amount must be at least {smallest}.",
                "max_value": too_large,
                "max_digits": too_large,
                "max_whole_digits": too_large,
                "max_decimal_places": f"An amount has at most {DECIMAL_PLACES} decimal places.",
            },
            **options,
        )

    def run_validators(self, value: Any) -> None:
        """Raises the first complaint only: they say the same in other words."""
        try:
            super().run_validators(value)
        except forms.ValidationError as error:
            raise error.error_list[0] from None
