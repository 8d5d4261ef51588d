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
    FOREACH table_name IN ARRAY ARRAY['accounts', 'members', 'model_rules', 'limits', 'limit_terms', 'past_limits', 'past_plans', 'grants', 'plans', 'plan_limits', 'resources', 'credit_rates']
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

-- What is over is noted, whoever ends it. Not ENABLE ALWAYS: a replica gets the rows themselves.
CREATE FUNCTION quota._limit_dropped() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Notes when a limit applied that is no more, if it stood before one that may come back, and
-- forgets its terms.
DECLARE
    set_at timestamptz;
BEGIN
    SELECT min(t.set_at) INTO set_at
        FROM quota.limit_terms t WHERE t.root_id = OLD.root_id AND t.limit_id = OLD.limit_id;
    set_at := COALESCE(set_at, OLD.created_at);
    IF set_at < 'infinity'
        AND (EXISTS (SELECT FROM quota.plan_limits p
                     WHERE p.resource = OLD.resource AND p.model = OLD.model AND p.period OPERATOR(quota.=) OLD.period)
             OR OLD.child_kind IS NULL
                AND EXISTS (SELECT FROM quota.limits l
                            WHERE l.root_id = OLD.root_id AND l.child_kind IS NOT NULL AND l.resource = OLD.resource
                              AND l.model = OLD.model AND l.period OPERATOR(quota.=) OLD.period))
    THEN
        INSERT INTO quota.past_limits
                (root_id, limit_id, account_id, user_id, child_kind, resource, model, period, set_at, dropped_at)
            VALUES (OLD.root_id, OLD.limit_id, OLD.account_id, OLD.user_id, OLD.child_kind, OLD.resource,
                    OLD.model, OLD.period, set_at, 'infinity')
            ON CONFLICT ON CONSTRAINT past_limits_pkey DO UPDATE SET dropped_at = EXCLUDED.dropped_at;
    END IF;
    DELETE FROM quota.limit_terms t WHERE t.root_id = OLD.root_id AND t.limit_id = OLD.limit_id;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION quota._limit_dropped() IS 'Trigger: notes when a limit applied that is no more';

CREATE TRIGGER limit_dropped AFTER DELETE ON quota.limits
    FOR EACH ROW EXECUTE FUNCTION quota._limit_dropped();

CREATE FUNCTION quota._plan_left() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Notes when an account was on the plan that it has left.
DECLARE
    -- Who writes the table need not set it.
    left_at timestamptz := CASE WHEN NEW.plan_since > OLD.plan_since THEN NEW.plan_since ELSE 'infinity' END;
BEGIN
    INSERT INTO quota.past_plans AS p (root_id, account_id, plan, since, until)
        SELECT OLD.root_id, OLD.account_id, OLD.plan, OLD.plan_since, left_at
        WHERE OLD.plan_since < left_at
        ON CONFLICT ON CONSTRAINT past_plans_pkey DO UPDATE SET until = GREATEST(p.until, EXCLUDED.until);
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION quota._plan_left() IS 'Trigger: notes when an account was on a plan that it has left';

CREATE TRIGGER plan_left AFTER UPDATE OF plan ON quota.accounts
    FOR EACH ROW WHEN (OLD.plan <> NEW.plan OR OLD.plan IS NOT NULL AND NEW.plan IS NULL)
    EXECUTE FUNCTION quota._plan_left();

-- The instant of a change -------------------------------------------------------------
--
-- Others go on by what is committed. Which grants have been burned, and what is owed, follows
-- from when limits applied: so one ceases to apply, and applies again, when nobody is using it
-- any more, and not when somebody said so. Until then the instant is 'infinity', which only
-- this transaction sees, and takes for now.

CREATE INDEX accounts_pending_idx ON quota.accounts (account_id) WHERE plan_since = 'infinity';
CREATE INDEX limit_terms_pending_idx ON quota.limit_terms (limit_id) WHERE set_at = 'infinity';
CREATE INDEX past_limits_pending_idx ON quota.past_limits (limit_id) WHERE dropped_at = 'infinity';
CREATE INDEX past_plans_pending_idx ON quota.past_plans (account_id) WHERE until = 'infinity';

CREATE FUNCTION quota._set_instants(at timestamptz) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
-- Gives this transaction's changes their instant. What a clock that has gone back makes end
-- before it began has not been.
UPDATE quota.accounts SET plan_since = at WHERE plan_since = 'infinity';
UPDATE quota.limit_terms t
    SET set_at = at,
        -- The period of the call may be over.
        prorated_amount = CASE WHEN t.prorated_amount IS NOT NULL
                                    AND quota.period_range(l.period, at) @> l.prorated_at THEN t.prorated_amount END
    FROM quota.limits l
    WHERE t.set_at = 'infinity' AND l.root_id = t.root_id AND l.limit_id = t.limit_id;
DELETE FROM quota.past_limits WHERE dropped_at = 'infinity' AND set_at >= at;
UPDATE quota.past_limits SET dropped_at = at WHERE dropped_at = 'infinity';
DELETE FROM quota.past_plans WHERE until = 'infinity' AND since >= at;
UPDATE quota.past_plans SET until = at WHERE until = 'infinity';
$function$;
COMMENT ON FUNCTION quota._set_instants(timestamptz) IS
    'Gives changes of which limits apply, not committed yet, their instant';

CREATE FUNCTION quota._instant_of_commit() RETURNS trigger
    AS 'MODULE_PATHNAME', 'quota_instant_of_commit'
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota._instant_of_commit() IS
    'Trigger, deferred: locks what this transaction has changed, and gives it its instant';

CREATE CONSTRAINT TRIGGER instant_of_commit AFTER INSERT OR UPDATE ON quota.accounts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.plan_since = 'infinity')
    EXECUTE FUNCTION quota._instant_of_commit();
CREATE CONSTRAINT TRIGGER instant_of_commit AFTER INSERT OR UPDATE ON quota.limit_terms
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.set_at = 'infinity')
    EXECUTE FUNCTION quota._instant_of_commit();
CREATE CONSTRAINT TRIGGER instant_of_commit AFTER INSERT OR UPDATE ON quota.past_limits
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.dropped_at = 'infinity')
    EXECUTE FUNCTION quota._instant_of_commit();
CREATE CONSTRAINT TRIGGER instant_of_commit AFTER INSERT OR UPDATE ON quota.past_plans
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.until = 'infinity')
    EXECUTE FUNCTION quota._instant_of_commit();
-- Whoever writes: what is applied from a publisher has its instants by then.
ALTER TABLE quota.accounts ENABLE ALWAYS TRIGGER instant_of_commit;
ALTER TABLE quota.limit_terms ENABLE ALWAYS TRIGGER instant_of_commit;
ALTER TABLE quota.past_limits ENABLE ALWAYS TRIGGER instant_of_commit;
ALTER TABLE quota.past_plans ENABLE ALWAYS TRIGGER instant_of_commit;
