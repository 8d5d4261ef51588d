-- Definitions stand still under an operation ------------------------------------
--
-- ENABLE ALWAYS: whoever writes is noticed, a logical apply worker too.

CREATE FUNCTION quota._definition_changed() RETURNS trigger
    AS 'MODULE_PATHNAME', 'quota_definition_changed'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION quota._definition_changed() IS
    'Trigger: notes a change of definitions, so that operations see it and what they count stays exact';

CREATE FUNCTION quota._ledger_changed() RETURNS trigger
    AS 'MODULE_PATHNAME', 'quota_ledger_changed'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION quota._ledger_changed() IS
    'Trigger: notes a write to the ledger that is not the engine''s, so that counters are computed afresh';

CREATE FUNCTION quota._event_refuses_change() RETURNS trigger
    AS 'MODULE_PATHNAME', 'quota_event_refuses_change'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION quota._event_refuses_change() IS
    'Trigger: the ledger is append-only';

DO $block$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['accounts', 'members', 'model_rules', 'limits', 'limit_terms', 'grants', 'plans', 'plan_limits', 'resources', 'credit_rates']
    LOOP
        EXECUTE format('CREATE TRIGGER definition_changed AFTER INSERT OR UPDATE OR DELETE ON quota.%I '
                       'FOR EACH ROW EXECUTE FUNCTION quota._definition_changed()', table_name);
        EXECUTE format('CREATE TRIGGER definition_truncated AFTER TRUNCATE ON quota.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION quota._definition_changed()', table_name);
        EXECUTE format('ALTER TABLE quota.%I ENABLE ALWAYS TRIGGER definition_changed, '
                       'ENABLE ALWAYS TRIGGER definition_truncated', table_name);
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY['holds', 'events', 'usage_hourly', 'fold_marks']
    LOOP
        EXECUTE format('CREATE TRIGGER ledger_changed AFTER INSERT OR UPDATE OR DELETE ON quota.%I '
                       'FOR EACH ROW EXECUTE FUNCTION quota._ledger_changed()', table_name);
        EXECUTE format('CREATE TRIGGER ledger_truncated AFTER TRUNCATE ON quota.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION quota._ledger_changed()', table_name);
        EXECUTE format('ALTER TABLE quota.%I ENABLE ALWAYS TRIGGER ledger_changed, '
                       'ENABLE ALWAYS TRIGGER ledger_truncated', table_name);
    END LOOP;
END
$block$;

-- What was learned has changed: every backend reads it again when it next needs it.
-- Row by row, because a logical apply worker fires no triggers of statements; a
-- transaction tells it once.
CREATE TRIGGER cost_changed_row AFTER INSERT OR UPDATE OR DELETE ON quota.usage_histogram
    FOR EACH ROW EXECUTE FUNCTION quota._cost_changed();
CREATE TRIGGER cost_changed_truncate AFTER TRUNCATE ON quota.usage_histogram
    FOR EACH STATEMENT EXECUTE FUNCTION quota._cost_changed();
ALTER TABLE quota.usage_histogram ENABLE ALWAYS TRIGGER cost_changed_row, ENABLE ALWAYS TRIGGER cost_changed_truncate;

-- Partitions have the row triggers of their parent, but not those of statements.
CREATE TRIGGER ledger_truncated AFTER TRUNCATE ON quota.events_default
    FOR EACH STATEMENT EXECUTE FUNCTION quota._ledger_changed();
ALTER TABLE quota.events_default ENABLE ALWAYS TRIGGER ledger_truncated;

CREATE TRIGGER event_refuses_change BEFORE UPDATE OR DELETE ON quota.events
    FOR EACH ROW EXECUTE FUNCTION quota._event_refuses_change();
ALTER TABLE quota.events ENABLE ALWAYS TRIGGER event_refuses_change;
