"""What calls cost at list price, the exchange rate and the own term that made their cost; and sums of the list prices."""

from django.db import migrations, models

# What was counted before there were own terms was counted at list price. The default is for the rows that are there already.
FORWARD = """
ALTER TABLE usage_event
    ADD COLUMN list_cost numeric(28,15),
    ADD COLUMN price_currency text NOT NULL DEFAULT '',
    ADD COLUMN exchange_rate numeric CHECK (exchange_rate > 0),
    ADD COLUMN term_id bigint;
ALTER TABLE usage_event ADD CHECK (list_cost >= 0);
UPDATE usage_event SET list_cost = cost, price_currency = CASE WHEN price_id IS NULL THEN '' ELSE currency END;
"""
BACKWARD = """
ALTER TABLE usage_event DROP COLUMN list_cost, DROP COLUMN price_currency, DROP COLUMN exchange_rate, DROP COLUMN term_id;
"""
SUMS = """
UPDATE usage_rollup SET list_cost = cost;
UPDATE usage_rollup_day SET list_cost = cost;
"""


class Migration(migrations.Migration):
    dependencies = [("ingest", "0008_rerating_runs")]
    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        *(
            migrations.AddField(
                model_name=name, name="list_cost", field=models.DecimalField(decimal_places=15, default=0, max_digits=28),
            )
            for name in ("usagerollup", "usagerollupday")
        ),
        migrations.RunSQL(SUMS, migrations.RunSQL.noop),
    ]
