from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('budgets', '0003_settle'),
    ]

    operations = [
        migrations.AddField(
            model_name='authorization',
            name='kept_amount',
            field=models.DecimalField(
                decimal_places=15, max_digits=28, null=True,
                help_text='what stays held while it is settling: the reported cost as far as there was room',
            ),
        ),
        # Those that are settling hold what was reported, all of it.
        migrations.RunSQL("UPDATE budget_authorization SET kept_amount = reported_cost WHERE state = 'settling'", migrations.RunSQL.noop),
    ]
