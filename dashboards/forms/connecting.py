"""The form that makes a key for a harness, a proxy or a script on the spot."""

from datetime import datetime, timedelta
from typing import Any

from django import forms

from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Scope, Team

LASTING = (("", "Until it is revoked"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"))


class ConnectForm(forms.Form):
    """The key's name, how long it is good for, and which team the usage belongs to where it does not say so itself."""

    name = forms.CharField(max_length=120, label="The key's name")
    days = forms.ChoiceField(choices=LASTING, required=False, label="Good for")
    team = forms.ModelChoiceField(
        Team.objects.none(), required=False, label="Team, where usage names none", empty_label="None: usage says so itself"
    )

    def __init__(self, data: Any = None, *, actor: Actor, client: str = "Connected", now: datetime) -> None:
        self.now = now
        named = f"{client} {now.astimezone(actor.organization.zone):%Y-%m-%d %H:%M:%S}"
        super().__init__(data, initial={"name": named})
        self.fields["team"].queryset = scoped(actor, Team.objects.all()).order_by("name")  # type: ignore[attr-defined]

    @property
    def values(self) -> dict[str, Any]:
        """The arguments for api_key_create: a key that may post usage and ask for authorization, nothing else."""
        given = self.cleaned_data
        return {
            "name": given["name"],
            "scopes": [Scope.INGEST, Scope.AUTHORIZE],
            "defaults": {"team": given["team"].slug} if given["team"] else {},
            "expires_at": self.now + timedelta(days=int(given["days"])) if given["days"] else None,
        }
