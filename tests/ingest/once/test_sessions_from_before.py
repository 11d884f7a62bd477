"""Sessions stored before it was kept who reports them are filled from their events, step by step, so that a second source is recognised."""

from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection

from governance.budgets.models import Session
from governance.tenancy.models import Organization
from ingest.models import EventIdentity
from tests.ingest.few_prices import few_prices
from tests.ingest.once.told import assert_true, gateway, harness, statuses, sums, told

__all__ = ["few_prices"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]


def kept(*organizations: Organization) -> dict[tuple[str, str], tuple[str, str]]:
    rows = Session.objects.filter(organization__in=organizations).values_list(
        "organization__slug", "key", "source_least", "source_greatest"
    )
    return {(slug, key): (least, greatest) for slug, key, least, greatest in rows}


def fill() -> None:
    with connection.schema_editor() as editor:
        import_module("ingest.migrations.0019_session_sources").sources_fill(apps, editor)


def test_what_was_not_kept_is_filled_step_by_step_and_again(
    organization: Organization, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("ingest.migrations.0019_session_sources"), "STEP", 2)
    for number in range(5):
        told(organization, "otlp", harness(number, session=f"s-{number}"))
    told(organization, "litellm", gateway(7, session="s-2", output_tokens=400))
    told(organization, "rest", harness(8, session="rest", gateway="portkey"))
    told(other_organization, "claude-code", harness(9, session="s-1"))
    before = kept(organization, other_organization)
    assert before["acme", "s-2"] == ("gateway:litellm", "harness:otlp")
    Session.objects.update(source_least="", source_greatest="")
    EventIdentity.objects.update(source="")
    for _ in range(2):
        fill()
        assert kept(organization, other_organization) == before


def test_a_session_from_before_is_matched_with_what_another_source_tells_now(organization: Organization) -> None:
    told(organization, "otlp", harness(1), harness(2, after=60))
    Session.objects.update(source_least="", source_greatest="")
    EventIdentity.objects.update(source="")
    fill()
    assert statuses(told(organization, "litellm", gateway(1, after=1), gateway(2, after=61))) == ["duplicate", "duplicate"]
    assert sums(organization)["calls"] == 2
    assert_true(organization)
