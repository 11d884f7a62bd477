"""The form that makes a key for a harness, a proxy or a script on the spot."""

from typing import Any

from django import forms

from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Team


class ConnectForm(forms.Form):
    """Which team the usage belongs to where it does not say so itself."""

    team = forms.ModelChoiceField(
        Team.objects.none(), required=False, label="Team, where usage names none", empty_label="None: usage says so itself"
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = scoped(actor, Team.objects.all()).order_by("name")  # type: ignore[attr-defined]
