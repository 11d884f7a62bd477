"""Sessions keep the first and the last provider by name of their calls, whatever comes in which order and how often."""

from collections.abc import Sequence
from importlib import import_module
from uuid import uuid4

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.budgets.models import Session
from governance.tenancy.access import system_actor
from governance.tenancy.models import Organization
from ingest.formats.event import UsageEvent
from ingest.services import events_store
from tests.ingest.test_store import event

# In most languages' orders "azure" comes before "Bedrock" and "ä" before "z"; byte by byte they do not.
PROVIDERS = ("", "azure", "Bedrock", "ä", "z", "anthropic", "z.ai", "\U0001f600", "\uffee")
DEALT = st.lists(
    st.tuples(st.sampled_from(("s1", "s2", "")), st.sampled_from(PROVIDERS), st.integers(0, 3), st.booleans()), min_size=1, max_size=12
)


def kept(organization: Organization) -> dict[str, tuple[str, str]]:
    rows = Session.objects.filter(organization=organization).values_list("key", "provider_least", "provider_greatest")
    return {key: (least, greatest) for key, least, greatest in rows}


def stored(organization: Organization, *batches: Sequence[UsageEvent]) -> None:
    for batch in batches:
        events_store(actor=system_actor(organization), api_key=None, source="rest", events=batch)


@pytest.mark.django_db
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dealt=DEALT)
def test_neither_order_nor_batches_nor_duplicates_matter(organization: Organization, dealt: list[tuple[str, str, int, bool]]) -> None:
    Session.objects.filter(organization=organization).delete()
    run = uuid4().hex
    calls = [
        (place, again, event(id=f"{run}-{number}", session=session, provider=provider, model="a-model", team=""))
        for number, (session, provider, place, again) in enumerate(dealt)
    ]
    batches = [[call for place, _, call in calls if place == at] for at in range(4)]
    stored(organization, *batches, [call for _, again, call in calls if again])
    expected: dict[str, list[str]] = {session: [] for session, *_ in dealt if session}
    for session, provider, *_ in dealt:
        if session and provider:
            expected[session].append(provider)
    assert kept(organization) == {key: (min(names, default=""), max(names, default="")) for key, names in expected.items()}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("transactional_db")
def test_what_is_wrong_is_found_and_mended(organization: Organization) -> None:
    events = [event(number, session="s1", provider=name) for number, name in enumerate(("Bedrock", "", "azure"))]
    stored(organization, events, [event(9, session="s2", provider="", model="nobody-knows")])
    true = {"s1": ("Bedrock", "azure"), "s2": ("", "")}
    assert kept(organization) == true
    call_command("verify")
    for wrong in ({"provider_least": "azure"}, {"provider_greatest": "z"}, {"provider_least": ""}):
        Session.objects.filter(key="s1").update(**wrong)
        with pytest.raises(CommandError):
            call_command("verify")
        call_command("verify", repair=True)
        assert kept(organization) == true
        call_command("verify")


@pytest.mark.django_db
def test_rows_from_before_are_filled_from_the_events(organization: Organization, other_organization: Organization) -> None:
    stored(organization, [event(number, session="s1", provider=name) for number, name in enumerate(("Bedrock", "", "azure"))])
    stored(organization, [event(8, session="s2", provider="", model="nobody-knows")])
    stored(other_organization, [event(1, session="s1", provider="z")])
    before = kept(organization), kept(other_organization)
    assert before == ({"s1": ("Bedrock", "azure"), "s2": ("", "")}, {"s1": ("z", "z")})
    Session.objects.update(provider_least="", provider_greatest="")
    fill = import_module("ingest.migrations.0006_session_providers").sessions_fill
    for _ in range(2):
        with connection.schema_editor() as editor:
            fill(apps, editor)
        assert (kept(organization), kept(other_organization)) == before
