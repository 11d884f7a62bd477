import django.db.models.deletion
from django.db import migrations, models

KEEP = """
INSERT INTO api_key_use (api_key_id, organization_id, last_used_at)
SELECT id, organization_id, last_used_at FROM api_key WHERE last_used_at IS NOT NULL
"""
BACK = "UPDATE api_key SET last_used_at = noted.last_used_at FROM api_key_use noted WHERE noted.api_key_id = api_key.id"


class Migration(migrations.Migration):

    dependencies = [
        ('tenancy', '0003_months'),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiKeyUse',
            fields=[
                ('api_key', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='use', serialize=False, to='tenancy.apikey')),
                ('last_used_at', models.DateTimeField()),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.organization')),
            ],
            options={
                'db_table': 'api_key_use',
            },
        ),
        migrations.RunSQL(KEEP, BACK),
        migrations.RemoveField(
            model_name='apikey',
            name='last_used_at',
        ),
    ]
