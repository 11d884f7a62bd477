"""One index of changes to calls instead of two: by the call, which begins with when it was made, as a run's own changes do within its days."""

from django.db import migrations, models

FORWARD = """
ALTER TABLE event_amendment DROP CONSTRAINT event_amendment_pkey;
ALTER TABLE event_amendment ADD PRIMARY KEY (organization_id, occurred_at, event_id, cause_id);
DROP INDEX event_amendment_event;
"""
BACK = """
CREATE INDEX event_amendment_event ON event_amendment (organization_id, occurred_at, event_id);
ALTER TABLE event_amendment DROP CONSTRAINT event_amendment_pkey;
ALTER TABLE event_amendment ADD PRIMARY KEY (organization_id, cause_id, occurred_at, event_id);
"""
KEY = models.CompositePrimaryKey("organization_id", "occurred_at", "event_id", "cause_id", blank=True, editable=False, primary_key=True, serialize=False)


class Migration(migrations.Migration):
    dependencies = [("ingest", "0017_quarantine")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(FORWARD, BACK)],
            state_operations=[
                migrations.RemoveIndex("eventamendment", "event_amendment_event"),
                migrations.RemoveField("eventamendment", "pk"),
                migrations.AddField("eventamendment", "pk", KEY),
            ],
        ),
    ]
