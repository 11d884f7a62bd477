"""Forms of the price pages: what a reported name means, and the price of a model that no list has."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django import forms

from dashboards.forms.days import DayField
from governance.errors import Invalid
from governance.periods import local_midnight
from governance.pricing.book import Book, CatalogueModel
from governance.tenancy.models import Organization

AMOUNTS = (
    ("input_tokens", "Input", True),
    ("output_tokens", "Output", False),
    ("cache_read_tokens", "Read from cache", False),
    ("cache_write_5m_tokens", "Written to cache, 5 minutes", False),
    ("cache_write_1h_tokens", "Written to cache, 1 hour", False),
    ("output_reasoning_tokens", "Reasoning", False),
)
HOLDS_FOR = (("all", "Every organization of this installation"), ("own", "This organization only, as a term of its own"))


class NameForm(forms.Form):
    """A reported name, and the model of the catalogue that it means from a day on."""

    name = forms.CharField(label="Name in usage", max_length=200, help_text="as calls report it, such as the name of a deployment")
    provider = forms.CharField(label="Provider in usage", max_length=80, required=False, help_text="as calls report it; empty: whoever bills")
    model = forms.CharField(label="Is this model", max_length=300, help_text="its provider and its name, such as azure/gpt-4o")
    valid_from = DayField(label="From", help_text="unpriced calls from then on are rated again")

    def meant(self, book: Book) -> CatalogueModel:
        """The model that was written. Raises Invalid when it is not certain which."""
        text = self.cleaned_data["model"].strip()
        provider, slash, slug = text.partition("/")
        exact = next((model for model in book.models() if slash and (model.provider, model.slug.lower()) == (provider.lower(), slug.lower())), None)
        found = exact or book.resolve(self.cleaned_data["provider"] if not slash else "", text).entry
        if found is None:
            raise Invalid("The catalogue has no model of this name. Write its provider and its name, as on the page Models.", field="model")
        return found


class PriceForm(forms.Form):
    """A model and its amounts per million tokens, from a day on."""

    provider = forms.CharField(label="Provider", max_length=80, help_text="who bills, as calls report it")
    model = forms.CharField(label="Model", max_length=200, help_text="as calls report it")
    valid_from = DayField(label="Price holds from", help_text="unpriced calls from then on are rated again")
    currency = forms.CharField(label="Currency", min_length=3, max_length=3, initial="USD")
    per_request = forms.DecimalField(label="Each request", min_value=0, required=False, max_digits=20, decimal_places=12)
    holds_for = forms.ChoiceField(label="Holds for", choices=HOLDS_FOR, initial="all", widget=forms.RadioSelect)

    def __init__(self, *args: Any, is_book_keeper: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not is_book_keeper:
            del self.fields["holds_for"]
        for meter, label, is_required in AMOUNTS:
            self.fields[meter] = forms.DecimalField(label=label, min_value=Decimal(0), required=is_required, max_digits=20, decimal_places=12)

    def clean_currency(self) -> str:
        currency = str(self.cleaned_data["currency"]).upper()
        if not (currency.isascii() and currency.isalpha()):
            raise forms.ValidationError("A currency is three letters, such as USD.")
        return currency

    @property
    def is_shared(self) -> bool:
        """Whether the price goes into the book of every organization, and not among this one's terms."""
        return self.cleaned_data.get("holds_for") == "all"

    @property
    def amounts(self) -> list[forms.BoundField]:
        return [self[meter] for meter, _, _ in AMOUNTS]

    @property
    def rates(self) -> dict[str, Any]:
        """The amounts that were given, by meter."""
        found: dict[str, Any] = {meter: self.cleaned_data[meter] for meter, _, _ in AMOUNTS if self.cleaned_data.get(meter) is not None}
        if self.cleaned_data.get("per_request") is not None:
            found["requests"] = {"base": self.cleaned_data["per_request"], "per": 1}
        return found


def starts(organization: Organization, day: date) -> datetime:
    """The first instant of a day in the organization's time zone."""
    return local_midnight(day, organization.zone)
