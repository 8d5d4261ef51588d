-- Audit: who changed which definition, when, from what to what ------------------------

-- The key is no sequence: a restore writes definitions, and with them new audit rows,
-- before it restores the sequences.
CREATE TABLE quota.audit (
    audit_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by text NOT NULL DEFAULT session_user,
    acting_as  text,
    relation   text NOT NULL,
    operation  text NOT NULL,
    before     jsonb,
    after      jsonb,
    CONSTRAINT audit_operation_check CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'))
);
CREATE INDEX audit_changed_at_idx ON quota.audit (changed_at);
COMMENT ON TABLE quota.audit IS
    'Every change of a definition: who (changed_by logged in, acting_as is the role set, if another), when, before and after';

CREATE FUNCTION quota._audit() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Writes what a statement did to one row of a definition table, or that it emptied
-- the table. An update that leaves the row as it was is none.
DECLARE
    before jsonb;
    after jsonb;
    acting_as text := NULLIF(NULLIF(current_setting('role'), 'none'), session_user);
BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        before := to_jsonb(OLD);
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        after := to_jsonb(NEW);
    END IF;
    -- An instant that is set at commit is that of this row of the audit.
    IF before ->> 'plan_since' = 'infinity' THEN
        before := before - 'plan_since';
        after := after - 'plan_since';
    ELSIF after ->> 'plan_since' = 'infinity' THEN
        after := after - 'plan_since';
    END IF;
    IF TG_OP = 'UPDATE' AND before = after THEN
        RETURN NULL;
    END IF;
    INSERT INTO quota.audit (acting_as, relation, operation, before, after)
        VALUES (acting_as, TG_TABLE_NAME, TG_OP, before, after);
    RETURN NULL;
END
$function$;

DO $do$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY '{quota.resources, quota.plans, quota.plan_limits, quota.accounts,
        quota.members, quota.model_rules, quota.limits, quota.grants, quota.access, quota.rate_cards,
        quota.model_aliases, quota.credit_rates, quota.price_adjustments}'::regclass[]
    LOOP
        EXECUTE format('CREATE TRIGGER audit_row AFTER INSERT OR UPDATE OR DELETE ON %s
                            FOR EACH ROW EXECUTE FUNCTION quota._audit()', relation);
        EXECUTE format('CREATE TRIGGER audit_truncate AFTER TRUNCATE ON %s
                            FOR EACH STATEMENT EXECUTE FUNCTION quota._audit()', relation);
    END LOOP;
END
$do$;
