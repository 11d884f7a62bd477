"""The table of Django's database cache: what all web processes count together, such as attempts to sign in."""

from django.db import migrations

CREATE = """
CREATE TABLE shared_cache (cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL);
CREATE INDEX shared_cache_expires ON shared_cache (expires);
"""


class Migration(migrations.Migration):

    dependencies = [("conf", "0001_heartbeat")]

    operations = [migrations.RunSQL(CREATE, "DROP TABLE shared_cache")]
