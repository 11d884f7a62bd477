import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('budgets', '0006_rollover_and_commands'),
        ('tenancy', '0002_must_change_password'),
    ]

    operations = [
        migrations.AddField(
            model_name='authorization',
            name='is_lease',
            field=models.BooleanField(db_default=False, default=False, help_text='whether many calls draw on it, so that `amounts` falls as they are counted'),
        ),
        migrations.CreateModel(
            name='AuthorizationExtension',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('idempotency_key', models.CharField(blank=True, max_length=200, null=True)),
                ('request_hash', models.UUIDField()),
                ('amount', models.DecimalField(decimal_places=15, max_digits=28)),
                ('expires_at', models.DateTimeField()),
                ('created_at', models.DateTimeField()),
                ('authorization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='extensions', to='budgets.authorization')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.organization')),
            ],
            options={
                'db_table': 'budget_authorization_extension',
                'ordering': ['created_at', 'id'],
                'constraints': [models.UniqueConstraint(fields=('organization', 'authorization', 'idempotency_key'), name='authorization_extension_idempotent'), models.CheckConstraint(condition=models.Q(('amount__gte', 0)), name='authorization_extension_not_negative')],
            },
        ),
    ]
