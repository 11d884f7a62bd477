"""Fills what sessions keep of the providers they ran on from the events that are there, an organization at a time."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# What events stored meanwhile have put there stays in the comparison, so that it may run beside them and again.
FILL = """
UPDATE session s SET
    provider_least = coalesce(least(nullif(s.provider_least, ''), t.first_provider), ''),
    provider_greatest = greatest(s.provider_greatest, t.last_provider)
FROM (
    SELECT session, min(provider COLLATE "C") AS first_provider, max(provider COLLATE "C") AS last_provider
    FROM usage_event WHERE organization_id = %(organization)s AND session <> '' AND provider <> '' GROUP BY session
) t
WHERE s.organization_id = %(organization)s AND s.key = t.session
"""


def sessions_fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Each organization in a transaction of its own: the rows of one are not held while the next is read."""
    organizations = apps.get_model("tenancy", "Organization").objects.order_by("pk").values_list("pk", flat=True)
    for organization in list(organizations):
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(FILL, {"organization": organization})


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("ingest", "0005_guard"), ("budgets", "0009_session_providers"), ("tenancy", "0001_initial")]

    operations = [migrations.RunPython(sessions_fill, migrations.RunPython.noop)]
