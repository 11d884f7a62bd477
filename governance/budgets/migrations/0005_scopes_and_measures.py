import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('budgets', '0004_kept_amount'),
        ('tenancy', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='BudgetSlice',
            fields=[
                ('pk', models.CompositePrimaryKey('organization_id', 'period_id', 'slice_at', blank=True, editable=False, primary_key=True, serialize=False)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.organization')),
                ('period', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='slices', to='budgets.budgetperiod')),
                ('slice_at', models.DateTimeField()),
                ('spent', models.DecimalField(decimal_places=15, max_digits=28)),
                ('calls', models.BigIntegerField()),
            ],
            options={
                'db_table': 'budget_slice',
            },
        ),
        migrations.CreateModel(
            name='BudgetVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('facts', models.JSONField()),
                ('at', models.DateTimeField()),
            ],
            options={
                'db_table': 'budget_version',
                'ordering': ['budget', '-number'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='budget',
            name='budget_scope_fits',
        ),
        migrations.RemoveConstraint(
            model_name='budget',
            name='budget_session_period',
        ),
        migrations.RemoveConstraint(
            model_name='budgetperiod',
            name='budget_period_once',
        ),
        migrations.RemoveConstraint(
            model_name='budgetperiod',
            name='budget_period_topup_not_negative',
        ),
        migrations.RemoveConstraint(
            model_name='thresholdcrossing',
            name='threshold_once',
        ),
        migrations.RemoveConstraint(
            model_name='topup',
            name='topup_positive',
        ),
        migrations.AddField(
            model_name='authorization',
            name='amounts',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.DecimalField(decimal_places=15, max_digits=28), default=list, help_text='what is held in each of `periods`, in the measure of its budget, while it holds', size=None),
        ),
        migrations.AddField(
            model_name='budget',
            name='action',
            field=models.CharField(choices=[('freeze', 'Freeze: further calls are refused until somebody grants more'), ('ask', 'Refuse what does not fit: smaller calls go on'), ('downgrade', 'Refuse all but cheaper models'), ('notify', 'Tell only: calls go on')], default='freeze', max_length=9),
        ),
        migrations.AddField(
            model_name='budget',
            name='anchor_day',
            field=models.PositiveSmallIntegerField(default=1, help_text='the day of the month, or for weeks the weekday, that windows begin on'),
        ),
        migrations.AddField(
            model_name='budget',
            name='api_key',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='budgets', to='tenancy.apikey'),
        ),
        migrations.AddField(
            model_name='budget',
            name='downgrade_models',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), blank=True, default=list, help_text='models that go on at the limit', size=None),
        ),
        migrations.AddField(
            model_name='budget',
            name='fails_open',
            field=models.BooleanField(default=True, help_text='whether calls go on where Weighhouse cannot be reached: told to gateways'),
        ),
        migrations.AddField(
            model_name='budget',
            name='filters',
            field=models.JSONField(blank=True, default=dict, help_text='what a call must be besides in scope: label → the values that count'),
        ),
        migrations.AddField(
            model_name='budget',
            name='measure',
            field=models.CharField(choices=[('money', 'Money'), ('tokens', 'Tokens'), ('calls', 'Calls')], default='money', max_length=6),
        ),
        migrations.AddField(
            model_name='budget',
            name='rolling_hours',
            field=models.PositiveIntegerField(blank=True, help_text='the length of a rolling window', null=True),
        ),
        migrations.AddField(
            model_name='budget',
            name='rollover_cap',
            field=models.DecimalField(blank=True, decimal_places=15, help_text='the most that a window leaves to the next; empty: nothing', max_digits=28, null=True),
        ),
        migrations.AddField(
            model_name='budget',
            name='service_account',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='budgets', to='tenancy.serviceaccount'),
        ),
        migrations.AddField(
            model_name='budget',
            name='version',
            field=models.PositiveIntegerField(default=1),
        ),
        migrations.AddField(
            model_name='budget',
            name='warns_ahead',
            field=models.BooleanField(default=True, help_text='whether it is told when the limit will be reached before the window ends'),
        ),
        migrations.AddField(
            model_name='budgetperiod',
            name='freezes_at_limit',
            field=models.BooleanField(default=True),
        ),
        migrations.AddField(
            model_name='budgetperiod',
            name='slides_from',
            field=models.DateTimeField(help_text='of a rolling window: from when on events count; behind it they are taken off', null=True),
        ),
        migrations.AddField(
            model_name='budgetperiod',
            name='task_key',
            field=models.CharField(blank=True, default='', max_length=200),
        ),
        migrations.AddField(
            model_name='thresholdcrossing',
            name='ended_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='topup',
            name='kind',
            field=models.CharField(choices=[('grant', 'Granted'), ('carry', 'Carried over'), ('transfer', 'Moved')], default='grant', max_length=8),
        ),
        migrations.AddField(
            model_name='topup',
            name='other_period',
            field=models.ForeignKey(help_text='where it was carried or moved from or to', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='budgets.budgetperiod'),
        ),
        migrations.AlterField(
            model_name='budget',
            name='is_hard',
            field=models.BooleanField(default=True, help_text='whether authorized calls never pass it: actions freeze and ask'),
        ),
        migrations.AlterField(
            model_name='budget',
            name='period_kind',
            field=models.CharField(choices=[('session', 'Session'), ('task', 'Task'), ('rolling', 'Rolling'), ('day', 'Day'), ('week', 'Week'), ('month', 'Month'), ('quarter', 'Quarter'), ('year', 'Year'), ('lifetime', 'Lifetime')], max_length=8),
        ),
        migrations.AlterField(
            model_name='budget',
            name='scope_kind',
            field=models.CharField(choices=[('organization', 'Organization'), ('team', 'Team'), ('project', 'Project'), ('member', 'Member'), ('service_account', 'Service Account'), ('key', 'Key'), ('session', 'Session'), ('task', 'Task')], max_length=16),
        ),
        migrations.AlterField(
            model_name='budgetperiod',
            name='topup',
            field=models.DecimalField(decimal_places=15, default=0, help_text='the sum of what was granted, carried over and moved between budgets, in force now', max_digits=28),
        ),
        migrations.AddIndex(
            model_name='budgetperiod',
            index=models.Index(condition=models.Q(('task_key', ''), _negated=True), fields=['organization', 'task_key'], name='budget_period_task'),
        ),
        migrations.RunSQL("UPDATE budget SET action = 'notify' WHERE NOT is_hard", migrations.RunSQL.noop),
        migrations.RunSQL(
            "UPDATE budget_authorization SET amounts = array_fill(CASE state WHEN 'held' THEN amount ELSE kept_amount END, ARRAY[cardinality(periods)]) "
            "WHERE state IN ('held', 'settling') AND cardinality(periods) > 0",
            migrations.RunSQL.noop,
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('scope_kind__in', ['session', 'task']), models.Q(('api_key__isnull', True), ('member__isnull', True), ('project__isnull', True), ('scope_kind', 'organization'), ('service_account__isnull', True), ('team__isnull', True)), models.Q(('api_key__isnull', True), ('member__isnull', True), ('project__isnull', True), ('scope_kind', 'team'), ('service_account__isnull', True), ('team__isnull', False)), models.Q(('api_key__isnull', True), ('member__isnull', True), ('project__isnull', False), ('scope_kind', 'project'), ('service_account__isnull', True), ('team__isnull', True)), models.Q(('api_key__isnull', True), ('member__isnull', False), ('project__isnull', True), ('scope_kind', 'member'), ('service_account__isnull', True), ('team__isnull', True)), models.Q(('api_key__isnull', True), ('member__isnull', True), ('project__isnull', True), ('scope_kind', 'service_account'), ('service_account__isnull', False), ('team__isnull', True)), models.Q(('api_key__isnull', False), ('member__isnull', True), ('project__isnull', True), ('scope_kind', 'key'), ('service_account__isnull', True), ('team__isnull', True)), _connector='OR'), name='budget_scope_fits'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('period_kind', 'session'), ('scope_kind', 'session')), models.Q(('period_kind', 'task'), ('scope_kind', 'task')), models.Q(models.Q(('scope_kind__in', ['session', 'task']), _negated=True), models.Q(('period_kind__in', ['session', 'task']), _negated=True)), _connector='OR'), name='budget_period_fits'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('period_kind', 'rolling'), ('rolling_hours__gte', 1), ('rolling_hours__isnull', False), ('rolling_hours__lte', 2208)), models.Q(models.Q(('period_kind', 'rolling'), _negated=True), ('rolling_hours', None)), _connector='OR'), name='budget_rolling_fits'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('anchor_day', 1), models.Q(('anchor_day__lte', 7), ('period_kind', 'week')), models.Q(('anchor_day__lte', 28), ('period_kind__in', ['month', 'quarter', 'year'])), _connector='OR'), name='budget_anchor_fits'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('action__in', ['freeze', 'ask']), ('is_hard', True)), models.Q(('action__in', ['downgrade', 'notify']), ('is_hard', False)), _connector='OR'), name='budget_hard_fits'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('rollover_cap', None), ('rollover_cap__gte', 0), _connector='OR'), name='budget_rollover_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='budgetperiod',
            constraint=models.UniqueConstraint(fields=('organization', 'budget', 'starts_at', 'session_key', 'task_key'), name='budget_period_once'),
        ),
        migrations.AddConstraint(
            model_name='budgetperiod',
            constraint=models.CheckConstraint(condition=models.Q(('topup__gte', django.db.models.expressions.CombinedExpression(models.F('limit_amount'), '*', models.Value(-1)))), name='budget_period_allowance_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='thresholdcrossing',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at', None)), fields=('organization', 'period', 'percent'), name='threshold_once'),
        ),
        migrations.AddConstraint(
            model_name='topup',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gt', 0), models.Q(('kind', 'transfer'), models.Q(('amount', 0), _negated=True)), _connector='OR'), name='topup_positive'),
        ),
        migrations.AddField(
            model_name='budgetversion',
            name='budget',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='budgets.budget'),
        ),
        migrations.AddField(
            model_name='budgetversion',
            name='by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='tenancy.member'),
        ),
        migrations.AddField(
            model_name='budgetversion',
            name='organization',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenancy.organization'),
        ),
        migrations.AddConstraint(
            model_name='budgetversion',
            constraint=models.UniqueConstraint(fields=('organization', 'budget', 'number'), name='budget_version_once'),
        ),
    ]
