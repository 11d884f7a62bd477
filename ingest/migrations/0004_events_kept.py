"""Notes what retention has dropped. Where it ran before, that is at most what the longest retention of now does not keep."""

from django.db import migrations, models

NOTED = """
INSERT INTO events_kept (id, since)
SELECT 1, date_trunc('month', (now() AT TIME ZONE 'UTC') - max(retention_days) * interval '1 day') AT TIME ZONE 'UTC'
FROM organization HAVING max(retention_days) > 0
"""


class Migration(migrations.Migration):
    dependencies = [("ingest", "0003_idempotency_key"), ("tenancy", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="EventsKept",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("since", models.DateTimeField()),
            ],
            options={"db_table": "events_kept"},
        ),
        migrations.AddConstraint(
            model_name="eventskept", constraint=models.CheckConstraint(condition=models.Q(("id", 1)), name="events_kept_once")
        ),
        migrations.RunSQL(NOTED, migrations.RunSQL.noop),
    ]
