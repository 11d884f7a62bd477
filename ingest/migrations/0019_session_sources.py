"""Fills who reports the calls of sessions stored before that was kept, some hundred sessions at a time."""

from django.apps.registry import Apps
from django.db import migrations, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from ingest.once.sources import reporter_of, source_of

STEP = 500
NEXT = "SELECT key FROM session WHERE organization_id = %s AND key > %s ORDER BY key LIMIT %s"
# In the order in which storing locks them.
LOCK = """SELECT key FROM session WHERE organization_id = %s AND key = ANY(%s) ORDER BY key COLLATE "C" FOR UPDATE"""
TOLD = """
SELECT s.key, coalesce(i.source, ''), e.source, CASE WHEN e.gateway = '' THEN '' ELSE 'yes' END
FROM session s
JOIN usage_event e ON e.organization_id = s.organization_id AND e.session = s.key AND e.session <> '' AND e.occurred_at BETWEEN s.first_at AND s.last_at
LEFT JOIN event_identity i ON i.organization_id = e.organization_id AND i.key = e.id
WHERE s.organization_id = %s AND s.key = ANY(%s) GROUP BY 1, 2, 3, 4
"""
# What events stored meanwhile have put there stays in the comparison, so that it may run beside them and again.
FILL = """
UPDATE session s SET source_least = coalesce(least(nullif(s.source_least, ''), x.least), ''), source_greatest = greatest(s.source_greatest, x.greatest)
FROM unnest(%s::text[], %s::text[], %s::text[]) AS x (key, least, greatest)
WHERE s.organization_id = %s AND s.key = x.key AND (s.source_greatest < x.greatest COLLATE "C" OR s.source_least = '' OR s.source_least > x.least COLLATE "C")
"""


def sources_fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Each step in a transaction of its own: no more rows are held than it has, and what is done stays when it is broken off."""
    for organization in list(apps.get_model("tenancy", "Organization").objects.order_by("pk").values_list("pk", flat=True)):
        after: str | None = ""
        while after is not None:
            after = step(schema_editor, organization, after)


def step(schema_editor: BaseDatabaseSchemaEditor, organization: int, after: str) -> str | None:
    """Fills the next sessions by name. Returns the last of them; None when there are no more."""
    with transaction.atomic(using=schema_editor.connection.alias), schema_editor.connection.cursor() as cursor:
        cursor.execute(NEXT, [organization, after, STEP])
        keys = [key for (key,) in cursor.fetchall()]
        cursor.execute(LOCK, [organization, keys])
        cursor.execute(TOLD, [organization, keys])
        reporters: dict[str, set[str]] = {}
        for key, told_by, door, gateway in cursor.fetchall():
            reporters.setdefault(key, set()).add(reporter_of(told_by or source_of(door, gateway=gateway, api_key_id=None)))
        found = sorted(reporters)
        cursor.execute(FILL, [found, [min(reporters[key]) for key in found], [max(reporters[key]) for key in found], organization])
    return keys[-1] if len(keys) == STEP else None


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("ingest", "0018_amendments_by_call"), ("budgets", "0012_session_sources"), ("tenancy", "0001_initial")]

    operations = [migrations.RunPython(sources_fill, migrations.RunPython.noop)]
