"""Forms for signing in and for the first admin."""

from typing import Any
from zoneinfo import available_timezones

from allauth.account.forms import LoginForm
from django import forms
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from governance.tenancy.models import User

PLACES = ("Africa/", "America/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")


def zone_choices() -> list[tuple[str, str]]:
    """Every time zone that is a place, UTC first."""
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in sorted(available_timezones()) if name.startswith(PLACES))]


class SignInForm(LoginForm):  # type: ignore[misc]
    """allauth's sign-in form in plain dress."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "E-mail"
        self.fields["password"].help_text = ""
        for name in ("login", "password"):
            self.fields[name].widget.attrs.pop("placeholder", None)
        if "remember" in self.fields:
            self.fields["remember"].label = "Stay signed in on this device"


class PasswordForm(PasswordChangeForm):
    """Django's form for one's own password, which has to be another one."""

    def clean_new_password1(self) -> str:
        password: str = self.cleaned_data["new_password1"]
        if self.user.check_password(password):
            raise ValidationError("Choose another one than the present one.")
        return password


class SetUpForm(forms.Form):
    """The first organization and its owner."""

    organization_name = forms.CharField(label="Organization", max_length=120, widget=forms.TextInput(attrs={"autocomplete": "organization"}))
    time_zone = forms.ChoiceField(label="Time zone", choices=zone_choices, initial="UTC", help_text="Days and months of budgets begin and end by this clock.")
    email = forms.EmailField(label="Your e-mail", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "username"}))
    password = forms.CharField(label="Password", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}), help_text="At least 10 characters.")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("password"):
            try:
                validate_password(values["password"], User(email=values.get("email", "")))
            except ValidationError as error:
                self.add_error("password", error)
        return values
