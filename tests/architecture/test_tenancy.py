"""Every row of a tenant carries its organization, and every key of a growing table begins with it."""

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import Model

FLOORS = ("governance", "ingest", "dashboards")
# What all organizations share: people's accounts, the price book, the installation's own sign of life, and how far its events reach back.
SHARED = {"Organization", "User", "Provider", "Model", "PriceRow", "PriceBook", "PriceRun", "PriceFinding", "SourceQuote", "SourceSetting", "SourceTrust", "Heartbeat", "EventsKept", "ReferenceRate"}
GROWING = ("usage_event", "event_identity", "usage_rollup", "usage_rollup_day", "session", "event_amendment")
OWN = [model for model in apps.get_models() if model.__module__.partition(".")[0] in FLOORS]


@pytest.mark.parametrize("model", [model for model in OWN if model.__name__ not in SHARED], ids=lambda model: model.__name__)
def test_tenant_table_carries_its_organization(model: type[Model]) -> None:
    field = model._meta.get_field("organization")
    assert not field.null


def test_shared_tables_exist() -> None:
    assert {model.__name__ for model in OWN} >= SHARED


@pytest.mark.django_db
@pytest.mark.parametrize("table", GROWING)
def test_unique_keys_of_growing_tables_begin_with_the_organization(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT i.indexrelid::regclass::text, a.attname FROM pg_index i
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
               WHERE i.indrelid = %s::regclass AND i.indisunique""",
            [table],
        )
        found = cursor.fetchall()
    assert found
    assert {column for _, column in found} == {"organization_id"}
