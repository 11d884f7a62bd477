"""Forms of channels and of one's own notifications."""

from collections.abc import Mapping
from datetime import time
from typing import Any

from django import forms

from dashboards.forms.accounts import zone_choices
from governance.notices.models import Endpoint, Notice, NoticePreference, Signal
from governance.notices.preferences import CHOSEN
from governance.tenancy.access import Actor, Right, scoped
from governance.tenancy.models import Team

Kind = Notice.Kind
FOR_DECIDERS = frozenset({Kind.REQUEST_FILED, Kind.FROZEN, Kind.FORECAST})
SECRET_PART = "hooks.slack.com"  # noqa: S105 - a host's name


class ChannelChangeForm(forms.Form):
    """What can be changed of a channel."""

    name = forms.CharField(max_length=120, help_text="What it is for, such as “#platform-spend”.")
    address = forms.CharField(max_length=2000, required=False, help_text="Empty: it stays as it is.", widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))
    team = forms.ModelChoiceField(Team.objects.none(), required=False, empty_label="The whole organization", label="Hears of", help_text="A team, with the teams below it.")
    kinds = forms.MultipleChoiceField(choices=Signal.Kind.choices, widget=forms.CheckboxSelectMultiple, error_messages={"required": "Choose at least one."})

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = scoped(actor, Team.objects.all()).order_by("name")  # type: ignore[attr-defined]


class ChannelForm(ChannelChangeForm):
    """A new channel."""

    channel = forms.ChoiceField(
        label="Kind of channel", choices=[("slack", "Slack (incoming webhook)"), ("webhook", "Webhook (signed JSON)")], initial="slack", widget=forms.RadioSelect
    )
    field_order = ("channel", "name", "address", "team", "kinds")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["address"].required = True
        self.fields["address"].help_text = f"Of Slack: the address that an incoming webhook got, https://{SECRET_PART}/services/…"
        self.fields["kinds"].initial = list(Signal.Kind.values)


class NotificationsForm(forms.Form):
    """How the person wants to be told."""

    time_zone = forms.ChoiceField(required=False, label="My clock")
    quiet_from = forms.TimeField(required=False, label="Quiet from", widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"))
    quiet_until = forms.TimeField(required=False, label="Quiet until", widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"))
    daily_at = forms.TimeField(label="Daily mail at", widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"))
    team_digest = forms.ChoiceField(required=False, label="Digest of what happened", choices=NoticePreference.TeamDigest.choices)

    def __init__(self, data: Any = None, *, actor: Actor, preference: NoticePreference) -> None:
        initial = {name: getattr(preference, name) for name in ("time_zone", "quiet_from", "quiet_until", "daily_at", "team_digest")}
        super().__init__(data, initial=initial)
        self.kinds = kinds_for(actor)
        self.kept: Mapping[str, str] = preference.ways
        for kind in self.kinds:
            self.fields[way_name(kind)] = forms.ChoiceField(label=kind.label, choices=NoticePreference.Way.choices, initial=preference.ways.get(kind.value, "now"))
        zones = [("", f"The organization's ({actor.organization.time_zone})"), *zone_choices()]
        if preference.time_zone and preference.time_zone not in dict(zones):
            zones.insert(1, (preference.time_zone, preference.time_zone))
        self.fields["time_zone"].choices = zones  # type: ignore[attr-defined]
        if not may_have_digest(actor):
            del self.fields["team_digest"]

    @property
    def way_fields(self) -> list[Any]:
        return [self[way_name(kind)] for kind in self.kinds]

    @property
    def values(self) -> dict[str, Any]:
        """The arguments for preference_change. What the form does not offer stays as it was."""
        given = self.cleaned_data
        daily_at: time = given["daily_at"]
        return {
            "ways": {**self.kept, **{kind.value: given[way_name(kind)] for kind in self.kinds}},
            "time_zone": given["time_zone"], "quiet_from": given["quiet_from"], "quiet_until": given["quiet_until"], "daily_at": daily_at,
            "team_digest": given.get("team_digest", ""),
        }  # fmt: skip


def kinds_for(actor: Actor) -> list[Notice.Kind]:
    """The kinds that the person is told of in their role."""
    found = []
    for kind in CHOSEN:
        if kind in FOR_DECIDERS and not actor.can(Right.DECIDE):
            continue
        if kind is Kind.CHANNEL and not actor.can(Right.MANAGE_ORGANIZATION) and not actor.can(Right.DECIDE):
            continue
        if kind is Kind.QUARANTINE and not actor.can(Right.MANAGE_ORGANIZATION):
            continue
        found.append(kind)
    return found


def may_have_digest(actor: Actor) -> bool:
    """Whether the person sees more than their own usage."""
    return actor.can(Right.VIEW_SPEND)


def way_name(kind: Notice.Kind) -> str:
    return "way_" + kind.value.replace(".", "_")


def endpoint_values(endpoint: Endpoint) -> dict[str, Any]:
    """What the form of a channel begins with."""
    return {"name": endpoint.name, "team": endpoint.team_id, "kinds": endpoint.kinds}
