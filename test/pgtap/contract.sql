-- The contract of schema quota: the public names with their arguments and defaults, and
-- the rules that every object keeps. Run by pg_prove as a superuser, in a database that has
-- the extensions pgtap and xavier_quota.
\set QUIET on
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only on
\pset pager off

BEGIN;
SET LOCAL search_path = public, pg_catalog;

CREATE TEMP VIEW member AS
    SELECT d.classid, d.objid
    FROM pg_depend d
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE e.extname = 'xavier_quota' AND d.deptype = 'e';
CREATE TEMP VIEW function AS
    SELECT p.*, p.proname AS name
    FROM pg_proc p
    JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;
CREATE TEMP VIEW relation AS
    SELECT c.*, c.relname AS name
    FROM pg_class c
    JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid;

-- What callers may rely on. Volatility: i immutable, s stable, v volatile. Definer: whether
-- it runs with the rights of its owner.
CREATE TEMP TABLE contract (name text, arguments text, result text, volatility "char", definer boolean);
INSERT INTO contract VALUES
    -- Values
    ('period_range', 'period quota.period, at timestamp with time zone', 'tstzrange', 'i', false),
    -- Cost
    ('estimate', 'model text, request jsonb, account quota.scope DEFAULT NULL::quota.scope, at timestamp with time zone DEFAULT NULL::timestamp with time zone', 'jsonb', 'v', true),
    ('price', 'model text, usage jsonb, account quota.scope DEFAULT NULL::quota.scope, at timestamp with time zone DEFAULT NULL::timestamp with time zone', 'jsonb', 'v', true),
    ('set_rate_card', 'model text, card jsonb, valid_from timestamp with time zone DEFAULT NULL::timestamp with time zone, valid_to timestamp with time zone DEFAULT NULL::timestamp with time zone', 'bigint', 'v', true),
    ('import_prices', 'document jsonb, source text DEFAULT NULL::text, valid_from timestamp with time zone DEFAULT NULL::timestamp with time zone', 'TABLE(model text, lines integer, skipped jsonb)', 'v', true),
    ('put_model_alias', 'alias text, model text', 'void', 'v', true),
    ('drop_model_alias', 'alias text', 'boolean', 'v', true),
    -- Requests
    ('can_execute_generation', 'user_id text, project_id text, model text, request jsonb', 'jsonb', 'v', true),
    ('check', 'user_id text, project_id text, model text, request jsonb', 'jsonb', 'v', true),
    ('reserve', 'user_id text, project_id text, model text, request jsonb, idempotency_key text DEFAULT NULL::text, ttl interval DEFAULT ''00:15:00''::interval', 'jsonb', 'v', true),
    ('settle', 'hold_id uuid, usage jsonb, outcome text DEFAULT ''succeeded''::text', 'jsonb', 'v', true),
    ('settle_amount', 'hold_id uuid, amount quota.amount, outcome text DEFAULT ''succeeded''::text', 'jsonb', 'v', true),
    ('release', 'hold_id uuid, reason text DEFAULT NULL::text', 'jsonb', 'v', true),
    ('extend', 'hold_id uuid, request jsonb DEFAULT NULL::jsonb, ttl interval DEFAULT NULL::interval', 'jsonb', 'v', true),
    ('charge', 'user_id text, project_id text, model text, usage jsonb, idempotency_key text DEFAULT NULL::text', 'jsonb', 'v', true),
    ('adjust', 'account quota.scope, amount quota.amount, reason text, idempotency_key text DEFAULT NULL::text', 'jsonb', 'v', true),
    ('check_amount', 'user_id text, project_id text, amount quota.amount', 'jsonb', 'v', true),
    ('reserve_amount', 'user_id text, project_id text, amount quota.amount, idempotency_key text DEFAULT NULL::text, ttl interval DEFAULT ''00:15:00''::interval', 'jsonb', 'v', true),
    ('hold', 'hold_id uuid', 'jsonb', 'v', true),
    ('remaining', 'user_id text, project_id text', 'quota.quota', 'v', true),
    -- Definitions
    ('put_account', 'scope quota.scope, active boolean DEFAULT true, plan text DEFAULT NULL::text, attributes jsonb DEFAULT NULL::jsonb', 'bigint', 'v', true),
    ('put_member', 'account quota.scope, user_id text, active boolean DEFAULT true', 'void', 'v', true),
    ('drop_member', 'account quota.scope, user_id text', 'boolean', 'v', true),
    ('allow_model', 'account quota.scope, pattern text', 'void', 'v', true),
    ('deny_model', 'account quota.scope, pattern text', 'void', 'v', true),
    ('drop_model_rule', 'account quota.scope, pattern text', 'boolean', 'v', true),
    ('set_limit', 'account quota.scope, resource text, amount numeric, period quota.period DEFAULT NULL::quota.period, policy text DEFAULT ''hard''::text, overdraft numeric DEFAULT 0, rollover numeric DEFAULT 0, carry_overage boolean DEFAULT false, model text DEFAULT ''*''::text, prorate boolean DEFAULT false, rollover_periods integer DEFAULT 1, force boolean DEFAULT false', 'bigint', 'v', true),
    ('preview_limit', 'account quota.scope, resource text, amount numeric, period quota.period DEFAULT NULL::quota.period, policy text DEFAULT ''hard''::text, overdraft numeric DEFAULT 0, rollover numeric DEFAULT 0, carry_overage boolean DEFAULT false, model text DEFAULT ''*''::text, prorate boolean DEFAULT false, rollover_periods integer DEFAULT 1', 'jsonb', 'v', true),
    ('drop_limit', 'limit_id bigint', 'void', 'v', true),
    ('put_plan', 'plan text, limits jsonb, force boolean DEFAULT false', 'void', 'v', true),
    ('preview_plan', 'plan text, limits jsonb', 'jsonb', 'v', true),
    ('grant_quota', 'account quota.scope, resource text, amount numeric, priority integer DEFAULT 100, effective_at timestamp with time zone DEFAULT NULL::timestamp with time zone, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, note text DEFAULT NULL::text, limit_id bigint DEFAULT NULL::bigint, rollover numeric DEFAULT NULL::numeric', 'bigint', 'v', true),
    ('void_grant', 'grant_id bigint, reason text', 'boolean', 'v', true),
    ('put_resource', 'resource text, unit text, kind text, description text', 'void', 'v', true),
    ('set_credit_rate', 'credits_per_usd numeric', 'numeric', 'v', true),
    ('set_price_adjustment', 'account quota.scope, factor numeric, valid_from timestamp with time zone DEFAULT NULL::timestamp with time zone, valid_to timestamp with time zone DEFAULT NULL::timestamp with time zone', 'void', 'v', true),
    ('grant_access', 'role regrole, bundle text, account quota.scope DEFAULT NULL::quota.scope', 'void', 'v', true),
    ('revoke_access', 'role regrole, bundle text, account quota.scope DEFAULT NULL::quota.scope', 'void', 'v', true),
    -- Time and upkeep
    ('now', '', 'timestamp with time zone', 'v', false),
    ('schedule_jobs', '', 'SETOF text', 'v', false),
    ('unschedule_jobs', '', 'SETOF text', 'v', false),
    ('run_maintenance', '', NULL, 'v', false),
    ('run_job', 'IN job text', NULL, 'v', false),
    ('verify', 'account quota.scope DEFAULT NULL::quota.scope', 'TABLE(scope quota.scope, limit_id bigint, resource text, model text, period_start timestamp with time zone, memory_used numeric, memory_held numeric, table_used numeric, table_held numeric)', 'v', true),
    ('verify_usage', 'account quota.scope DEFAULT NULL::quota.scope, since timestamp with time zone DEFAULT ''-infinity''::timestamp with time zone', 'TABLE(scope quota.scope, user_id text, model text, resource text, hour timestamp with time zone, leaf boolean, hourly_used numeric, hourly_events bigint, ledger_used numeric, ledger_events bigint)', 's', true),
    ('rebuild_usage', 'account quota.scope, since timestamp with time zone', 'bigint', 'v', true),
    ('adopt', 'account quota.scope DEFAULT NULL::quota.scope', 'bigint', 'v', true),
    ('reload', 'account quota.scope DEFAULT NULL::quota.scope', 'void', 'v', true);

CREATE TEMP TABLE columns (relation text, columns text);
INSERT INTO columns VALUES
    ('admin_accounts', 'root scope parent kind name active plan attributes members limits created_at account_id'),
    ('admin_limits', 'root scope user_id limit_id resource model period policy source limit overdraft used held remaining percent state period_start resets_at projected_exhaustion denied rolled_over granted carried_overage'),
    ('admin_grants', 'root scope user_id grant_id limit_id resource amount remaining burned priority effective_at expires_at voided_at rollover state note void_reason created_at'),
    ('admin_periods', 'root scope user_id limit_id resource model period_start period_end limit granted used overage rolled_over late recorded_at'),
    ('admin_denials', 'root scope user_id limit_id resource model period policy period_start denied last_denied_at'),
    ('admin_holds', 'hold_id root scope user_id model amount credit held_at age expires_at overdue'),
    ('admin_events', 'hold_id seq kind outcome root scope user_id model held charged credit calls cost_usd held_at recorded_at late overage card_id usage reason'),
    ('admin_usage_daily', 'day root scope company project user_id model resource used events'),
    ('engine_stats', 'counters max_counters pinned loads counters_loaded evictions load_waits claims refusals memory_bytes series max_series'),
    ('admin_jobs', 'job schedule description last_started last_finished last_rows last_error last_success overdue'),
    ('admin_audit', 'changed_at changed_by acting_as relation operation before after audit_id'),
    ('admin_estimate_accuracy', 'root model since generations ceiling expected charged charged_of_ceiling charged_of_expected of_ceiling_p10 of_ceiling_median of_ceiling_p90 of_expected_p10 of_expected_median of_expected_p90 output_tokens_median output_tokens_p90'),
    ('admin_rate_cards', 'model card_id valid_from valid_to in_force lines source created_at card'),
    ('admin_model_aliases', 'alias model card_id created_at');

SELECT plan((SELECT count(*) FROM contract)::integer + (SELECT count(*) FROM columns)::integer + 21);

-- Names, arguments, defaults ----------------------------------------------------

SELECT is(
        (SELECT row(pg_get_function_arguments(f.oid), pg_get_function_result(f.oid), f.provolatile, f.prosecdef)::text
         FROM function f WHERE f.name = c.name),
        row(c.arguments, c.result, c.volatility, c.definer)::text,
        format('quota.%s(%s) is as documented', c.name, c.arguments))
    FROM contract c;

SELECT is(
        (SELECT string_agg(a.attname, ' ' ORDER BY a.attnum)
         FROM pg_attribute a JOIN relation r ON a.attrelid = r.oid
         WHERE r.name = c.relation AND a.attnum > 0 AND NOT a.attisdropped),
        c.columns,
        format('view quota.%s has its columns', c.relation))
    FROM columns c;

SELECT set_has(
        'SELECT typname::text FROM pg_type JOIN member ON classid = ''pg_type''::regclass AND objid = pg_type.oid',
        'SELECT unnest(ARRAY[''scope'', ''amount'', ''quota'', ''period''])',
        'the four types are there');

-- Security ------------------------------------------------------------------------

SELECT is_empty(
        'SELECT oid::regprocedure FROM function WHERE has_function_privilege(''public'', oid, ''EXECUTE'')',
        'no function can be called by PUBLIC');
SELECT is_empty(
        $$SELECT r.oid::regclass, p FROM relation r, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p
          WHERE CASE WHEN r.relkind IN ('r', 'p', 'v', 'm') THEN has_table_privilege('public', r.oid, p) END$$,
        'no table or view is open to PUBLIC');
SELECT is_empty(
        $$SELECT r.oid::regclass FROM relation r
          WHERE CASE WHEN r.relkind = 'S' THEN has_sequence_privilege('public', r.oid, 'USAGE, SELECT, UPDATE') END$$,
        'no sequence is open to PUBLIC');
SELECT is_empty(
        $$SELECT t.oid::regtype FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
          WHERE t.typelem = 0 AND t.typrelid = 0 AND has_type_privilege('public', t.oid, 'USAGE')$$,
        'no type can be used by PUBLIC');
SELECT ok(NOT has_schema_privilege('public', 'quota', 'USAGE, CREATE'), 'the schema is closed to PUBLIC');
SELECT is_empty(
        $$SELECT f.oid::regprocedure FROM function f
          WHERE f.prosecdef AND 'search_path=pg_catalog, pg_temp' <> ALL (COALESCE(f.proconfig, '{}'))$$,
        'every SECURITY DEFINER function runs with the search path pg_catalog, pg_temp');
SELECT is_empty(
        $$SELECT f.oid::regprocedure FROM function f JOIN pg_language l ON l.oid = f.prolang
          WHERE l.lanname = 'plpgsql' AND 'search_path=pg_catalog, pg_temp' <> ALL (COALESCE(f.proconfig, '{}'))
            AND f.prokind <> 'p'$$,
        'every PL/pgSQL function runs with the search path pg_catalog, pg_temp');
SELECT is_empty(
        $$SELECT f.oid::regprocedure FROM function f
          WHERE f.prosecdef AND f.provolatile = 'v' AND f.proparallel <> 'u'$$,
        'no SECURITY DEFINER function that may write runs in parallel workers');
SELECT is_empty(
        $$SELECT f.oid::regprocedure FROM function f WHERE f.prosecdef AND f.provolatile = 'i'$$,
        'no SECURITY DEFINER function claims to be immutable');
SELECT is_empty(
        $$SELECT f.oid::regprocedure::text FROM function f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE n.nspname <> 'quota'
          UNION ALL
          SELECT r.oid::regclass::text FROM relation r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE n.nspname <> 'quota'$$,
        'everything is in schema quota');

-- Comments --------------------------------------------------------------------------

-- Functions behind a type, an operator, an operator class or a cast are described there.
SELECT is_empty(
        $$SELECT f.oid::regprocedure FROM function f
          WHERE f.name !~ '^_' AND obj_description(f.oid, 'pg_proc') IS NULL
            AND NOT EXISTS (SELECT FROM pg_depend d
                            WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = f.oid
                              AND d.classid IN ('pg_type'::regclass, 'pg_operator'::regclass, 'pg_cast'::regclass,
                                                'pg_opclass'::regclass, 'pg_amproc'::regclass, 'pg_proc'::regclass))$$,
        'every public function has a comment');
SELECT is_empty(
        $$SELECT r.oid::regclass FROM relation r
          WHERE r.relkind IN ('r', 'p', 'v', 'm', 'S') AND obj_description(r.oid, 'pg_class') IS NULL$$,
        'every table, view and sequence has a comment');
SELECT is_empty(
        $$SELECT r.oid::regclass, a.attname FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid
          WHERE r.relkind = 'v' AND a.attnum > 0 AND col_description(r.oid, a.attnum) IS NULL$$,
        'every column of a view has a comment');
SELECT is_empty(
        $$SELECT t.oid::regtype FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
          WHERE t.typelem = 0 AND t.typrelid = 0 AND obj_description(t.oid, 'pg_type') IS NULL$$,
        'every type has a comment');
SELECT is_empty(
        $$SELECT o.oid::regoperator FROM pg_operator o JOIN member m ON m.classid = 'pg_operator'::regclass AND m.objid = o.oid
          WHERE obj_description(o.oid, 'pg_operator') IS NULL$$,
        'every operator has a comment');

-- Dump ------------------------------------------------------------------------------

SELECT is_empty(
        $$SELECT r.oid::regclass FROM relation r, pg_extension e
          WHERE e.extname = 'xavier_quota' AND r.relkind IN ('r', 'p', 'S') AND r.oid <> ALL (e.extconfig)$$,
        'every table and sequence is dumped');
SELECT is_empty(
        $$SELECT i.indexrelid::regclass FROM relation r JOIN pg_index i ON i.indrelid = r.oid WHERE r.relkind = 'p'$$,
        'no partitioned table has an index of its own, which a restore could not attach partitions to');
SELECT is_empty(
        $$SELECT a.attrelid::regclass, a.attname FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid
          WHERE a.attidentity <> ''$$,
        'no column is an identity column, whose sequence would not be dumped');

SELECT is_empty(
        $$SELECT c.conrelid::regclass, c.conname FROM relation r JOIN pg_constraint c ON c.conrelid = r.oid
          WHERE c.contype = 'f'$$,
        'no table has a foreign key, which a parallel restore would trip over');

-- Audit -----------------------------------------------------------------------------

SELECT bag_eq(
        $$SELECT r.name::text FROM relation r
          WHERE EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = r.oid AND t.tgname = 'audit_row')
            AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = r.oid AND t.tgname = 'audit_truncate')$$,
        $$SELECT unnest('{resources,plans,plan_limits,accounts,members,model_rules,limits,grants,access,
                          rate_cards,model_aliases,credit_rates,price_adjustments}'::text[])$$,
        'every table of definitions is audited');

SELECT * FROM finish();
ROLLBACK;
