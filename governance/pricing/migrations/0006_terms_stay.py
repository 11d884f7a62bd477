"""The database itself refuses to change or delete what was agreed; only an end may be set, or set earlier."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION agreed_row_is_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- Who typed it in may be forgotten with the person; the column that holds the end is named by the trigger.
    free text[] := ARRAY['created_by_id'] || TG_ARGV;
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - free = to_jsonb(OLD) - free AND (TG_NARGS = 0 OR to_jsonb(OLD) -> TG_ARGV[0] = 'null'
        OR to_jsonb(NEW) -> TG_ARGV[0] = to_jsonb(OLD) -> TG_ARGV[0]
        OR (to_jsonb(NEW) ->> TG_ARGV[0])::timestamptz < (to_jsonb(OLD) ->> TG_ARGV[0])::timestamptz) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what was agreed is never changed or deleted: add a row that begins later' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER price_term_immutable BEFORE UPDATE OR DELETE ON price_term
    FOR EACH ROW EXECUTE FUNCTION agreed_row_is_immutable('valid_to');
CREATE TRIGGER price_balance_immutable BEFORE UPDATE OR DELETE ON price_balance
    FOR EACH ROW EXECUTE FUNCTION agreed_row_is_immutable('ends_on');
CREATE TRIGGER price_markup_immutable BEFORE UPDATE OR DELETE ON price_markup
    FOR EACH ROW EXECUTE FUNCTION agreed_row_is_immutable();
CREATE TRIGGER exchange_rate_immutable BEFORE UPDATE OR DELETE ON exchange_rate
    FOR EACH ROW EXECUTE FUNCTION agreed_row_is_immutable();
CREATE TRIGGER reference_rate_immutable BEFORE UPDATE OR DELETE ON reference_rate
    FOR EACH ROW EXECUTE FUNCTION agreed_row_is_immutable();
CREATE TRIGGER exchange_rule_immutable BEFORE UPDATE OR DELETE ON exchange_rule
    FOR EACH ROW EXECUTE FUNCTION agreed_row_is_immutable();
"""
BACKWARD = """
DROP TRIGGER exchange_rule_immutable ON exchange_rule;
DROP TRIGGER reference_rate_immutable ON reference_rate;
DROP TRIGGER exchange_rate_immutable ON exchange_rate;
DROP TRIGGER price_markup_immutable ON price_markup;
DROP TRIGGER price_balance_immutable ON price_balance;
DROP TRIGGER price_term_immutable ON price_term;
DROP FUNCTION agreed_row_is_immutable();
"""


class Migration(migrations.Migration):
    dependencies = [("pricing", "0005_own_terms")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
