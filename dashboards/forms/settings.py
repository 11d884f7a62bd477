"""Forms of the settings pages."""

import re
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.text import slugify

from dashboards.forms.accounts import zone_choices
from dashboards.forms.days import DayField
from governance.periods import local_midnight
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Member, Project, Role, Scope, ServiceAccount, Team

MONTHS = [(number, datetime(2000, number, 1).strftime("%B")) for number in range(1, 13)]  # noqa: DTZ001 - a month's name has no zone
LARGEST_AMOUNT = Decimal(10) ** 12
ROLES_TOLD = (
    "Engineers see their own usage and ask for more; approvers see and decide for their team and those below it; finance sees everything and keeps "
    "budgets and prices; auditors read everything; admins do all of it; owners also make owners."
)


class ProfileForm(forms.Form):
    """The organization's profile."""

    name = forms.CharField(max_length=120)
    time_zone = forms.ChoiceField(choices=zone_choices, help_text="Days, months and budget periods begin and end by this clock.")
    currency = forms.CharField(
        min_length=3, max_length=3, help_text="Costs, budgets and reports are in it. It can be changed until usage is counted or a budget is set."
    )
    year_starts_in = forms.TypedChoiceField(label="Fiscal year starts in", choices=MONTHS, coerce=int)
    flagship_token_share_target = forms.DecimalField(
        label="Flagship share of tokens, at most", min_value=0, max_value=100, max_digits=5, decimal_places=2, help_text="Percent. The routing page holds the mix against it."
    )
    retention_days = forms.IntegerField(label="Keep raw events for", min_value=1, max_value=3650, help_text="Days. Sums and the record are kept.")

    def __init__(self, *args: Any, currency_is_fixed: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if currency_is_fixed:
            self.fields["currency"].disabled = True
            self.fields["currency"].help_text = (
                "Costs, budgets and reports are in it. Usage was counted, or budgets were set, in it, so it stays; prices, fees and limits may be in any currency."
            )
        zone = self.fields["time_zone"]
        current = self.initial.get("time_zone")
        if current and current not in dict(zone_choices()):
            zone.choices = [(current, current), *zone_choices()]  # type: ignore[attr-defined]


class NamedForm(forms.Form):
    """Something with a name and the slug that usage labels name it by; an empty slug follows the name."""

    name = forms.CharField(max_length=120)
    slug = forms.CharField(max_length=80, required=False, label="Label in usage", help_text="Lower-case letters, digits, hyphens. Left empty it follows the name.")

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"] or slugify(self.cleaned_data.get("name", ""))[:80]
        if not re.fullmatch(r"[a-z0-9]+(?:[-_][a-z0-9]+)*", slug):
            raise forms.ValidationError("Write lower-case letters, digits and hyphens, such as data-platform.")
        return slug


class TeamForm(NamedForm):
    """A team in the tree."""

    parent = forms.ModelChoiceField(Team.objects.none(), required=False, label="Below", empty_label="The organization itself")

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choose(self, "parent", scoped(actor, Team.objects.all()).order_by("name"))


class TeamChangeForm(forms.Form):
    """A team's name and place. The label stays: usage names the team by it."""

    name = forms.CharField(max_length=120)
    parent = forms.ModelChoiceField(Team.objects.none(), required=False, label="Below", empty_label="The organization itself")

    def __init__(self, *args: Any, actor: Actor, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choose(self, "parent", scoped(actor, Team.objects.exclude(pk=team.pk)).order_by("name"))


class ProjectForm(NamedForm):
    """A project and the team it belongs to."""

    team = forms.ModelChoiceField(Team.objects.none(), required=False, empty_label="No team")

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choose(self, "team", scoped(actor, Team.objects.all()).order_by("name"))


class MemberForm(forms.Form):
    """What a member may do and where; also the part that can be changed later."""

    role = forms.ChoiceField(choices=Role.choices, initial=Role.ENGINEER, help_text=ROLES_TOLD)
    team = forms.ModelChoiceField(Team.objects.none(), required=False, empty_label="No team")
    approval_limit = forms.DecimalField(
        required=False, min_value=0, max_value=LARGEST_AMOUNT, max_digits=28, decimal_places=15, label="May grant at most",
        widget=forms.TextInput(attrs={"inputmode": "decimal"}), help_text="Per request, for roles that decide. Empty: no limit.",
    )  # fmt: skip
    aliases = forms.CharField(required=False, max_length=2000, label="Other names in usage", help_text="Separated by commas, such as a user name in a gateway.")

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choose(self, "team", scoped(actor, Team.objects.all()).order_by("name"))
        if actor.member is None or actor.member.role != Role.OWNER:
            held = self.initial.get("role")
            self.fields["role"].choices = [choice for choice in Role.choices if choice[0] != Role.OWNER or held == Role.OWNER]  # type: ignore[attr-defined]

    def clean_aliases(self) -> list[str]:
        names = [name.strip() for name in self.cleaned_data["aliases"].split(",") if name.strip()]
        if any(len(name) > 254 for name in names):
            raise forms.ValidationError("A name has at most 254 characters.")
        return list(dict.fromkeys(names))


class MemberAddForm(MemberForm):
    """A new member."""

    name = forms.CharField(max_length=120, required=False)
    email = forms.EmailField(max_length=254, label="E-mail")
    field_order = ("email", "name", "role", "team", "approval_limit", "aliases")


class ServiceAccountForm(forms.Form):
    """A program that acts in the organization."""

    name = forms.CharField(max_length=120)
    team = forms.ModelChoiceField(Team.objects.none(), required=False, empty_label="No team")

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choose(self, "team", scoped(actor, Team.objects.all()).order_by("name"))


class KeyForm(forms.Form):
    """A new API key."""

    name = forms.CharField(max_length=120, help_text="What it is for, such as “LiteLLM in production”.")
    scopes = forms.MultipleChoiceField(choices=Scope.choices, initial=[Scope.INGEST], widget=forms.CheckboxSelectMultiple, error_messages={"required": "Choose at least one."})
    holder = forms.ChoiceField(required=False, label="Belongs to", help_text="A key of a member sees what the member sees.")
    team = forms.ModelChoiceField(Team.objects.none(), required=False, label="Team, where usage names none", empty_label="None")
    project = forms.ModelChoiceField(Project.objects.none(), required=False, label="Project, where usage names none", empty_label="None")
    harness = forms.CharField(required=False, max_length=80, label="Harness, where usage names none")
    expires_on = DayField(required=False, label="Last day", help_text="Empty: until it is revoked.")

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = actor.organization.zone
        _choose(self, "team", scoped(actor, Team.objects.all()).order_by("name"))
        _choose(self, "project", scoped(actor, Project.objects.all()).order_by("name"))
        self.holders = _holders(actor)
        self.fields["holder"].choices = [("", "The organization"), *((key, label) for key, (label, _) in self.holders.items())]  # type: ignore[attr-defined]

    @property
    def values(self) -> dict[str, Any]:
        """The arguments for api_key_create."""
        given = self.cleaned_data
        labels = {"team": given["team"] and given["team"].slug, "project": given["project"] and given["project"].slug, "harness": given["harness"]}
        expires_at = local_midnight(given["expires_on"] + timedelta(days=1), self.zone) if given["expires_on"] else None
        holder = self.holders[given["holder"]][1] if given["holder"] else {}
        return {"name": given["name"], "scopes": given["scopes"], "defaults": {key: value for key, value in labels.items() if value}, "expires_at": expires_at, **holder}

    def clean_expires_on(self) -> Any:
        day = self.cleaned_data["expires_on"]
        if day is not None and day.year > LAST_YEAR:
            raise forms.ValidationError(f"A key lasts until {LAST_YEAR} at most; leave it empty for one without an end.")
        if day is not None and datetime.combine(day, time.max, tzinfo=self.zone) < timezone.now():
            raise forms.ValidationError("This day is over.")
        return day


LAST_YEAR = 9000


def _holders(actor: Actor) -> dict[str, tuple[str, dict[str, Any]]]:
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for account in scoped(actor, ServiceAccount.objects.filter(is_active=True)).order_by("name"):
        found[f"account-{account.pk}"] = (f"Service account {account.name}", {"service_account": account})
    for member in scoped(actor, Member.objects.filter(is_active=True)).select_related("user").order_by("user__name", "user__email"):
        found[f"member-{member.pk}"] = (str(member), {"member": member})
    return found


def _choose(form: forms.Form, name: str, rows: Any) -> None:
    form.fields[name].queryset = rows  # type: ignore[attr-defined]
