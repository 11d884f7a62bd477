import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notices', '0001_initial'),
        ('tenancy', '0002_must_change_password'),
    ]

    operations = [
        migrations.CreateModel(
            name='Signal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('freeze.started', 'Freeze Started'), ('freeze.ended', 'Freeze Ended'), ('budget.threshold_passed', 'Threshold Passed'), ('budget.forecast_exceeds', 'Forecast'), ('request.filed', 'Request Filed'), ('request.closed', 'Request Closed'), ('guard.fired', 'Guard Fired')], max_length=40)),
                ('facts', models.JSONField()),
                ('at', models.DateTimeField(auto_now_add=True)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.organization')),
            ],
            options={
                'db_table': 'signal',
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['organization', 'id'], name='signal_in_order')],
            },
        ),
    ]
