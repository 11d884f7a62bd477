"""The database itself refuses to change or delete what plans, seats and hardware were; only an end may be set, or set earlier."""

from django.db import migrations

ENDED = ("seat_terms", "seat", "fleet")
UNCHANGED = ("seat_plan", "fleet_hours")
MADE = "CREATE TRIGGER {name}_immutable BEFORE UPDATE OR DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION agreed_row_is_immutable({column});"
FORWARD = "\n".join(
    [
        *(MADE.format(name=name, column="'valid_to'") for name in ENDED),
        *(MADE.format(name=name, column="") for name in UNCHANGED),
        # Nobody typed it in, so that no column of it is free.
        "CREATE TRIGGER fleet_month_immutable BEFORE UPDATE OR DELETE ON fleet_month FOR EACH ROW EXECUTE FUNCTION agreed_row_is_immutable();",
    ]
)
BACKWARD = "\n".join(f"DROP TRIGGER {name}_immutable ON {name};" for name in (*ENDED, *UNCHANGED, "fleet_month"))


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("pricing", "0006_terms_stay")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
