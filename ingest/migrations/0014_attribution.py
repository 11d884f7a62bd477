"""Calls keep which attribution rules said something of them, and what they said themselves; runs attribute calls anew."""

from django.db import migrations, models

FORWARD = "ALTER TABLE usage_event ADD COLUMN ruled jsonb;"
BACKWARD = "ALTER TABLE usage_event DROP COLUMN ruled;"


class Migration(migrations.Migration):
    dependencies = [("ingest", "0013_arrivals")]
    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.AddField(model_name="reratingrun", name="draft", field=models.JSONField(help_text="a rule that is not saved", null=True)),
        migrations.AddField(
            model_name="reratingrun", name="kind",
            field=models.CharField(choices=[("rating", "Prices"), ("attribution", "Attribution")], default="rating", max_length=12),
        ),
        migrations.AddField(
            model_name="reratingrun", name="moves_owners",
            field=models.BooleanField(default=False, help_text="whether calls follow a member or project that is in another team now"),
        ),
    ]
