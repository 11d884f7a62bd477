"""Forms of attribution: a rule with its conditions line by line, a run over history, an event to test on, a name given to a member."""

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from dashboards.forms.days import DayField
from dashboards.forms.rerating import DaysForm
from governance.attribution.matching import FIELDS, LABELS, OPERATORS, TAG, WITHOUT_VALUES
from governance.attribution.models import AttributionRule
from governance.periods import local_midnight
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import ApiKey, Member, Project, Team

FEWEST_LINES = 3
SPARE_LINES = 1
MOST_LINES = 20
TAGGED = "tag"
MODES = (("", "Leave it"), ("metered", "Metered"), ("subscription", "Subscription"), ("self-hosted", "Self-hosted"))


class ConditionForm(forms.Form):
    """One condition: what is looked at, how, and for which values. Empty lines are passed over."""

    field = forms.ChoiceField(required=False, label="Look at", choices=[("", "nothing"), *FIELDS.items(), (TAGGED, "Tag named …")])
    tag = forms.CharField(required=False, max_length=200, label="Tag's name")
    op = forms.ChoiceField(required=False, label="How", choices=list(OPERATORS.items()), initial="is")
    values = forms.CharField(
        required=False,
        max_length=4000,
        label="Values",
        help_text="Separated by commas; one is enough. Like: * and ? stand for any letters.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.is_conditional = True  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        field = given.get("field", "")
        if field == TAGGED and not given.get("tag", "").strip():
            self.add_error("tag", "Name the tag.")
        if field and given.get("op") not in WITHOUT_VALUES and not given.get("values", "").strip():
            self.add_error("values", "Say which.")
        if not field and given.get("values", "").strip():
            self.add_error("field", "Say what is looked at.")
        return given

    @property
    def kept(self) -> dict[str, Any] | None:
        """The condition as services take it; None: the line is empty."""
        given = self.cleaned_data
        if not given.get("field"):
            return None
        name = f"{TAG}{given['tag'].strip()}" if given["field"] == TAGGED else given["field"]
        return {
            "field": name,
            "op": given.get("op") or "is",
            "values": [value.strip() for value in given.get("values", "").split(",") if value.strip()],
        }


Conditions = forms.formset_factory(ConditionForm, extra=0, max_num=MOST_LINES, absolute_max=MOST_LINES, validate_max=True)


class AttributionRuleForm(forms.Form):
    """A rule's name, what it sets and when it holds; its conditions are beside it."""

    name = forms.CharField(max_length=120, help_text="Shown with the calls it decides, such as “Shop's repository”.")
    team = forms.ModelChoiceField(Team.objects.none(), required=False, empty_label="Leave it")
    project = forms.ModelChoiceField(Project.objects.none(), required=False, empty_label="Leave it")
    role = forms.CharField(required=False, max_length=40, help_text="planner, worker, judge, retriever …")
    task_class = forms.CharField(required=False, max_length=40, label="Task class", help_text="code, research, extract, translate …")
    environment = forms.CharField(required=False, max_length=80)
    billing_mode = forms.ChoiceField(required=False, label="Billing mode", choices=MODES)
    is_overriding = forms.BooleanField(
        required=False, label="Also where the call or its key says otherwise", help_text="Without it a rule only fills in what nobody said."
    )
    starts_on = DayField(
        required=False,
        label="From",
        help_text="For calls made from that day on; empty: any.",
    )
    ends_on = DayField(required=False, label="Last day", help_text="Empty: without an end.")

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = actor.organization.zone
        for name, model in (("team", Team), ("project", Project)):
            self.fields[name].queryset = scoped(actor, model.objects.order_by("name", "id"))  # type: ignore[attr-defined]

    @property
    def asked(self) -> dict[str, Any]:
        """The fields as services take them."""
        given = self.cleaned_data
        found = {name: given[name] for name in ("name", "team", "project", *LABELS, "is_overriding")}
        first, last = given["starts_on"], given["ends_on"]
        return found | {
            "starts_at": first and local_midnight(first, self.zone), "ends_at": last and local_midnight(last + timedelta(days=1), self.zone),
        }  # fmt: skip


def rule_initial(rule: AttributionRule, zone: Any) -> dict[str, Any]:
    """What the form of a rule begins with."""
    found = {name: getattr(rule, name) for name in ("name", *LABELS, "is_overriding")}
    first, last = (
        rule.starts_at and rule.starts_at.astimezone(zone).date(),
        rule.ends_at and (rule.ends_at - timedelta(seconds=1)).astimezone(zone).date(),
    )
    return {**found, "team": rule.team_id, "project": rule.project_id, "starts_on": first, "ends_on": last}


def conditions_initial(rule: AttributionRule | None) -> list[dict[str, Any]]:
    """The lines that the form begins with: the rule's, and some empty ones."""
    lines = []
    for one in rule.conditions if rule else []:
        is_tag = one["field"].startswith(TAG)
        lines.append({
            "field": TAGGED if is_tag else one["field"], "tag": one["field"].removeprefix(TAG) if is_tag else "", "op": one["op"], "values": ", ".join(one["values"]),
        })  # fmt: skip
    empty = max(FEWEST_LINES - len(lines), min(SPARE_LINES, MOST_LINES - len(lines)))
    return [*lines, *({"op": "is"} for _ in range(empty))]


class HistoryForm(DaysForm):
    """Which calls are attributed anew, and why."""

    moves_owners = forms.BooleanField(
        required=False,
        label="Follow people and projects to the team they are in now",
        help_text="Without it a call that a member or project brought to its team stays there.",
    )

    @property
    def asked(self) -> dict[str, Any]:
        return super().asked | {"moves_owners": self.cleaned_data["moves_owners"]}


class EventForm(forms.Form):
    """An event that is pasted, with the key that it is taken to come with."""

    event = forms.CharField(
        label="An event as the door takes it", widget=forms.Textarea(attrs={"rows": 9, "spellcheck": "false", "class": "mono"}), max_length=65536,
        help_text="JSON; id, time and model may be left out. Nothing is stored.",
    )  # fmt: skip
    key = forms.ModelChoiceField(
        ApiKey.objects.none(), required=False, empty_label="No key", label="Came with", help_text="Its defaults and its member count."
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["key"].queryset = scoped(actor, ApiKey.objects.filter(revoked_at=None).order_by("name", "id"))  # type: ignore[attr-defined]


class StrangerForm(forms.Form):
    """A name in usage, and the member whose it is."""

    name = forms.CharField(max_length=254, widget=forms.HiddenInput)
    member = forms.ModelChoiceField(Member.objects.none(), empty_label="Choose a member")

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["member"].queryset = scoped(actor, Member.objects.select_related("user").order_by("user__name", "user__email", "id"))  # type: ignore[attr-defined]


def last_days(days: int) -> dict[str, Any]:
    """The days that a run begins with."""
    today = timezone.localdate()
    return {"first": today - timedelta(days=days - 1), "last": today}
