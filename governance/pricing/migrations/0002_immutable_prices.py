"""The database itself refuses to change or delete price rows; only an open end may be closed, once."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION price_row_is_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.valid_to IS NULL AND NEW.valid_to > OLD.valid_from
        AND to_jsonb(NEW) - 'valid_to' = to_jsonb(OLD) - 'valid_to' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'price rows are never changed or deleted: add a row that begins later'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER price_row_immutable BEFORE UPDATE OR DELETE ON price_row
    FOR EACH ROW EXECUTE FUNCTION price_row_is_immutable();
INSERT INTO price_book (version, source_digest, changed_at) VALUES (0, '', now());
"""
BACKWARD = """
DELETE FROM price_book;
DROP TRIGGER price_row_immutable ON price_row;
DROP FUNCTION price_row_is_immutable();
"""


class Migration(migrations.Migration):
    dependencies = [("pricing", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
