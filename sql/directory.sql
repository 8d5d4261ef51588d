-- Verifies that:
-- 1. accounts form a tree: parents first, nothing below the share of a user;
-- 2. a put or set that is repeated writes nothing, one that differs writes just the change;
-- 3. limits find their target: an account, the share of a user, all children of a kind;
-- 4. a limit keeps its id and version while its identity stays, and gets new ones after a drop;
-- 5. a plan has exactly the limits that were put last, and those that stay keep their ids;
-- 6. every refusal is an ordinary error with a stable code, and leaves nothing behind;
-- 7. every change of a definition, and nothing else, is audited.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
SET search_path = public, quota;

BEGIN;

-- What has been written to definitions since the last look: nothing means nothing.
CREATE TEMP TABLE seen AS SELECT audit_id FROM quota.audit;
CREATE FUNCTION pg_temp.changes() RETURNS TABLE (relation text, operation text, changed text)
LANGUAGE sql AS $$
    WITH fresh AS (
        INSERT INTO pg_temp.seen
        SELECT a.audit_id FROM quota.audit a WHERE a.audit_id NOT IN (SELECT s.audit_id FROM pg_temp.seen s)
        RETURNING audit_id
    ), change AS (
        SELECT a.relation, a.operation,
               string_agg(k.key || '=' || COALESCE(k.value, 'null'), ' ' ORDER BY k.key COLLATE "C") AS changed
        FROM quota.audit a
        JOIN fresh USING (audit_id)
        CROSS JOIN LATERAL jsonb_each_text(COALESCE(a.after, a.before)) AS k
        WHERE k.key NOT IN ('created_at', 'plan_since', 'version', 'root_id', 'account_id', 'parent_id', 'limit_id')
          AND (a.before IS NULL OR a.after IS NULL OR a.before -> k.key <> a.after -> k.key)
        GROUP BY a.audit_id
    )
    SELECT c.* FROM change c
    ORDER BY c.relation COLLATE "C", c.operation COLLATE "C", c.changed COLLATE "C"
$$;

-- An error with everything that a caller sees of it.
CREATE FUNCTION pg_temp.refused(statement text) RETURNS TABLE (code text, message text, detail text, hint text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN QUERY SELECT 'none', NULL, NULL, NULL;
EXCEPTION WHEN OTHERS THEN
    code := SQLSTATE;
    message := SQLERRM;
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    detail := NULLIF(detail, '');
    hint := NULLIF(hint, '');
    RETURN NEXT;
END
$$;

\pset null '(null)'

-- Accounts --------------------------------------------------------------------

SELECT quota.put_account('company:dir_acme') AS acme \gset
SELECT quota.put_account('company:dir_acme/team:research') AS team \gset
SELECT quota.put_account('company:dir_acme/team:research/project:apollo', attributes => '{"cost_center": 7}') AS apollo \gset
SELECT quota.put_account(scope => 'company:dir_acme/user:ann') AS share \gset
SELECT quota.put_account('user:dir_ann') AS ann \gset
SELECT quota.put_account('user:dir_ann/project:diary', false) AS diary \gset

SELECT scope, kind, name, active, plan, attributes,
       root_id = CASE WHEN scope <@ 'company:dir_acme' THEN :acme ELSE :ann END AS root_ok,
       parent_id = CASE account_id WHEN :team THEN :acme WHEN :apollo THEN :team
                                   WHEN :share THEN :acme WHEN :diary THEN :ann END AS parent_ok
    FROM quota.accounts
    WHERE account_id IN (:acme, :team, :apollo, :share, :ann, :diary)
    ORDER BY scope;
SELECT * FROM pg_temp.changes();

-- Again the same: the same id, and nothing is written.
SELECT quota.put_account('company:dir_acme') = :acme AS same,
       quota.put_account('company:dir_acme/team:research/project:apollo', true, NULL, '{"cost_center": 7.0}') = :apollo AS same,
       quota.put_account('user:dir_ann/project:diary', active => false) = :diary AS same;
SELECT * FROM pg_temp.changes();

-- Another state: what is not given is not kept.
SELECT quota.put_account('company:dir_acme/team:research/project:apollo', false) = :apollo AS same;
SELECT * FROM pg_temp.changes();

\x on
SELECT * FROM pg_temp.refused($$SELECT quota.put_account('company:dir_none/project:apollo')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_account('company:dir_acme/user:ann/project:diary')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_account('company:dir_acme/user:*')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_account('company:dir_acme/project:*/user:ann')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_account('company:dir_acme', plan => 'dir_none')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_account('company:dir_acme', attributes => '[1]')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_account(NULL)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_account('company:dir_acme', NULL)$$);  -- fails
SELECT * FROM pg_temp.refused(format('SELECT quota.put_account(%L)', 'user:' || repeat('x', 128)));  -- fails
\x off
SELECT quota.put_account(('user:' || repeat('x', 127))::quota.scope) IS NOT NULL AS longest_user;
SELECT count(*) FROM pg_temp.changes();

-- Members ---------------------------------------------------------------------

SELECT quota.put_member('company:dir_acme', 'ann'), quota.put_member('company:dir_acme', 'bob', false),
       quota.put_member('company:dir_acme/team:research/project:apollo', 'ann', active => true);
SELECT * FROM pg_temp.changes();
SELECT quota.put_member('company:dir_acme', 'ann'), quota.put_member('company:dir_acme', 'bob', false);
SELECT * FROM pg_temp.changes();
SELECT quota.put_member('company:dir_acme', 'bob');
SELECT * FROM pg_temp.changes();
SELECT quota.drop_member('company:dir_acme', 'bob') AS dropped, quota.drop_member('company:dir_acme', 'eve') AS dropped;
SELECT * FROM pg_temp.changes();
SELECT a.scope, m.user_id, m.active
    FROM quota.members m JOIN quota.accounts a USING (root_id, account_id)
    WHERE m.root_id = :acme ORDER BY a.scope, m.user_id COLLATE "C";

\x on
SELECT * FROM pg_temp.refused($$SELECT quota.put_member('company:dir_none', 'ann')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_member('company:dir_acme/user:ann', 'ann')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_member('company:dir_acme', '')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_member('company:dir_acme', NULL)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_member('company:dir_acme', 'ann', NULL)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_member('company:dir_acme', repeat('x', 128))$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_member('company:dir_acme', E'a\tb')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.drop_member('company:dir_none', 'ann')$$);  -- fails
\x off

-- Model rules -----------------------------------------------------------------

SELECT quota.allow_model('company:dir_acme', 'openai/*'), quota.deny_model('company:dir_acme', 'openai/*-pro'),
       quota.deny_model('company:dir_acme/user:ann', 'sora-2');
SELECT * FROM pg_temp.changes();
SELECT quota.allow_model('company:dir_acme', 'openai/*'), quota.deny_model('company:dir_acme', 'openai/*-pro');
SELECT * FROM pg_temp.changes();
SELECT quota.allow_model('company:dir_acme', 'openai/*-pro');
SELECT * FROM pg_temp.changes();
SELECT quota.drop_model_rule('company:dir_acme', 'openai/*-pro') AS dropped, quota.drop_model_rule('company:dir_acme', 'gemini*') AS dropped;
SELECT * FROM pg_temp.changes();

\x on
SELECT * FROM pg_temp.refused($$SELECT quota.allow_model('company:dir_none', '*')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.deny_model('company:dir_acme', '')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.deny_model('company:dir_acme', NULL)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.deny_model('company:dir_acme', repeat('x', 256))$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.drop_model_rule('company:dir_none', '*')$$);  -- fails
\x off

-- Resources -------------------------------------------------------------------

SELECT quota.put_resource('dir_images', 'image', 'flow', 'Generated images'),
       quota.put_resource('dir_running', 'generation', 'concurrency', NULL);
SELECT * FROM pg_temp.changes();
SELECT quota.put_resource('dir_images', 'image', 'flow', 'Generated images'),
       quota.put_resource('calls', 'call', 'flow', 'Accepted generation requests');
SELECT * FROM pg_temp.changes();
SELECT quota.put_resource('dir_images', 'picture', 'flow', 'Generated images');
SELECT * FROM pg_temp.changes();

\x on
SELECT * FROM pg_temp.refused($$SELECT quota.put_resource('dir_images', 'image', 'stock', 'Generated images')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_resource('credit', 'cent', 'flow', 'Cents')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_resource('Credit', 'cent', 'flow', 'Cents')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_resource(repeat('x', 64), 'cent', 'flow', 'Cents')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_resource('dir_x', 'cent', 'gauge', 'Cents')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_resource('dir_x', NULL, 'flow', 'Cents')$$);  -- fails
\x off

-- Limits ----------------------------------------------------------------------

SELECT quota.set_limit('company:dir_acme', 'credit', 1000) AS credit \gset
SELECT quota.set_limit('company:dir_acme', 'credit', 100, 'day', 'soft', model => 'openai/*') AS credit_day \gset
SELECT quota.set_limit('company:dir_acme', 'storage', 0.000001) AS storage \gset
SELECT quota.set_limit('company:dir_acme', 'dir_running', 4, 'lifetime') AS running \gset
SELECT quota.set_limit('company:dir_acme/user:ann', 'credit', 10) AS of_ann \gset
SELECT quota.set_limit('company:dir_acme/team:research/user:bob', 'credit', 20, overdraft => 5) AS of_bob \gset
SELECT quota.set_limit('company:dir_acme/user:*', 'calls', 50, policy => 'shadow') AS of_users \gset
SELECT quota.set_limit('company:dir_acme/team:*', 'calls', 0) AS of_teams \gset
SELECT quota.set_limit('user:dir_ann', 'credit', 4611686018427.387903) AS of_root_user \gset
SELECT l.scope, l.resource, l.model, l.period, l.amount, l.policy, l.overdraft, l.rollover, l.carry_overage,
       a.scope AS account, l.user_id, l.child_kind
    FROM quota.limits l JOIN quota.accounts a USING (root_id, account_id)
    WHERE l.root_id IN (:acme, :ann)
    ORDER BY l.scope, l.resource COLLATE "C", l.model COLLATE "C", l.period;
SELECT * FROM pg_temp.changes();

-- The same again, also in other words, is nothing.
SELECT quota.set_limit('company:dir_acme', 'credit', 1000.00, 'month') = :credit AS same,
       quota.set_limit('company:dir_acme', 'credit', 1000, '1 month') = :credit AS same,
       quota.set_limit('company:dir_acme', 'storage', 0.000001, NULL) = :storage AS same,
       quota.set_limit('company:dir_acme/team:research/user:bob', 'credit', 20, overdraft => 5) = :of_bob AS same;
SELECT * FROM pg_temp.changes();

-- How much, how and with what overdraft changes under the same id and version.
SELECT limit_id AS id, version AS before FROM quota.limits WHERE limit_id = :of_bob \gset
SELECT quota.set_limit('company:dir_acme/team:research/user:bob', 'credit', 21, policy => 'soft') = :of_bob AS same;
SELECT version = :before AS same_version FROM quota.limits WHERE limit_id = :of_bob;
SELECT * FROM pg_temp.changes();

-- Another model or period is another limit.
SELECT count(DISTINCT id) AS limits FROM unnest(ARRAY[
    :credit, :credit_day,
    quota.set_limit('company:dir_acme', 'credit', 1000, 'day'),
    quota.set_limit('company:dir_acme', 'credit', 1000, model => 'openai/*')]) AS id;
SELECT * FROM pg_temp.changes();

-- A limit that is dropped and set again is a new one.
SELECT quota.drop_limit(:of_bob);
SELECT quota.set_limit('company:dir_acme/team:research/user:bob', 'credit', 21, policy => 'soft') > :of_bob AS new_id;
SELECT version > :before AS new_version FROM quota.limits
    WHERE root_id = :acme AND scope = 'company:dir_acme/team:research/user:bob';
SELECT * FROM pg_temp.changes();

\x on
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_none', 'credit', 1)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme/project:none', 'credit', 1)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_none/user:ann', 'credit', 1)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_none/user:*', 'credit', 1)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme/user:ann/project:*', 'credit', 1)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:*', 'credit', 1)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'dir_none', 1)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', -1)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 0.0000001)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 4611686018427.387904)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 'NaN')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 'Infinity')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', '-Infinity')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', NULL)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 1, overdraft => -1)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 1, policy => 'strict')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 1, model => '')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 1, rollover => 0.0000001)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'storage', 1, rollover => 1)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 1, 'refill 1 per hour up to 1', carry_overage => true)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 1, rollover_periods => 0)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 1, rollover_periods => 13)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 1, rollover_periods => NULL)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 1, force => NULL)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 1, 'rolling 24 hours', prorate => true)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'credit', 1, 'refill 100 per 1 minute up to 500')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'storage', 1, 'month')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', 'dir_running', 1, 'day')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit(NULL, 'credit', 1)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.set_limit('company:dir_acme', NULL, 1)$$);  -- fails
SELECT * FROM pg_temp.refused(format('SELECT quota.set_limit(%L, %L, 1)', 'company:dir_acme/user:' || repeat('x', 128), 'credit'));  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.drop_limit(0)$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.drop_limit(NULL)$$);  -- fails
\x off

-- Plans -----------------------------------------------------------------------

SELECT quota.put_plan('dir_team', '[
    {"resource": "credit", "amount": "1000.5"},
    {"resource": "calls", "amount": 500, "period": "day", "policy": "soft", "overdraft": "10", "model": "gpt-*"},
    {"resource": "storage", "amount": 1e3, "model": null}]');
SELECT resource, model, period, amount, policy, overdraft FROM quota.plan_limits
    WHERE plan = 'dir_team' ORDER BY resource COLLATE "C";
SELECT * FROM pg_temp.changes();
CREATE TEMP TABLE before AS SELECT resource, limit_id, version FROM quota.plan_limits WHERE plan = 'dir_team';

-- The same again is nothing; order and notation do not matter.
SELECT quota.put_plan('dir_team', '[
    {"resource": "storage", "amount": 1000, "period": "lifetime"},
    {"resource": "calls", "amount": "500.0", "period": "1 day", "policy": "soft", "overdraft": 10, "model": "gpt-*"},
    {"resource": "credit", "amount": 1000.50, "model": "*", "period": "month"}]');
SELECT * FROM pg_temp.changes();

-- One is changed, one leaves, one comes: the changed one keeps its id.
SELECT quota.put_plan('dir_team', '[
    {"resource": "credit", "amount": 2000},
    {"resource": "calls", "amount": 500, "policy": "soft", "overdraft": 10, "model": "gpt-*"},
    {"resource": "storage", "amount": 1000}]');
SELECT p.resource, p.limit_id = b.limit_id AS same_id, p.version = b.version AS same_version
    FROM quota.plan_limits p JOIN before b USING (resource)
    WHERE p.plan = 'dir_team' ORDER BY p.resource COLLATE "C";
SELECT * FROM pg_temp.changes();

-- Accounts are on a plan until they are put without.
SELECT quota.put_account('company:dir_acme', plan => 'dir_team') = :acme AS same;
SELECT * FROM pg_temp.changes();
SELECT quota.put_account('company:dir_acme') = :acme AS same;
SELECT after -> 'plan' AS plan_after, before -> 'plan' AS plan_before
    FROM quota.audit WHERE audit_id NOT IN (SELECT audit_id FROM seen);

SELECT quota.put_plan('dir_empty', '[]');
SELECT plan, (SELECT count(*) FROM quota.plan_limits l WHERE l.plan = p.plan) AS limits
    FROM quota.plans p WHERE plan LIKE 'dir\_%' ORDER BY plan COLLATE "C";
SELECT count(*) FROM pg_temp.changes();

SELECT limit_id AS plan_limit FROM quota.plan_limits WHERE plan = 'dir_team' AND resource = 'credit' \gset
\x on
SELECT code, detail, hint FROM pg_temp.refused(format('SELECT quota.drop_limit(%s)', :plan_limit));  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('dir_bad', '[{"resource": "credit", "amount": 1}, {"resource": "none", "amount": 1}]')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('dir_bad', '[{"resource": "credit", "amount": "ten"}]')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('dir_bad', '[{"resource": "credit"}]')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('dir_bad', '[{"resource": "credit", "amount": -1}]')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('dir_bad', '[{"resource": "credit", "amount": 1, "periode": "day"}]')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('dir_bad', '[{"resource": "credit", "amount": 1, "period": "lifetime", "rollover": 1}]')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('dir_bad', '[{"resource": "storage", "amount": 1, "period": "month"}]')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('dir_bad', '[{"resource": "credit", "amount": 1}, {"resource": "credit", "amount": 2, "period": "month"}]')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('dir_bad', '[7]')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('dir_bad', '{"resource": "credit", "amount": 1}')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('', '[]')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.put_plan('dir_bad', NULL)$$);  -- fails
\x off

-- No refusal left a trace.
SELECT * FROM pg_temp.changes();

-- Audit -----------------------------------------------------------------------

-- Who: the one who logged in, and the role that was set.
CREATE ROLE regress_quota_directory_clerk;
SELECT quota.grant_access('regress_quota_directory_clerk', 'admin');
SELECT count(*) FROM pg_temp.changes() WHERE relation = 'access';
SET LOCAL ROLE regress_quota_directory_clerk;
SELECT quota.put_member('company:dir_acme', 'zoe');
RESET ROLE;
SELECT changed_by = session_user AS by_session_user, acting_as, relation, operation, before, after ->> 'user_id' AS user_id
    FROM quota.audit WHERE audit_id NOT IN (SELECT audit_id FROM seen);

-- Direct changes by a superuser are audited too, an update that changes nothing is none.
SELECT count(*) FROM pg_temp.changes();
UPDATE quota.members SET active = active WHERE root_id = :acme;
UPDATE quota.members SET active = false WHERE root_id = :acme AND user_id = 'zoe';
DELETE FROM quota.members WHERE root_id = :acme AND user_id = 'zoe';
SELECT * FROM pg_temp.changes();
TRUNCATE quota.model_rules;
SELECT relation, operation, before, after FROM quota.audit WHERE audit_id NOT IN (SELECT audit_id FROM seen);

ROLLBACK;
