-- Verifies that:
-- 1. a limit is not lowered below what is used and held of it at any level where it counts, but with
--    force => true: neither its amount nor its overdraft; what is refused leaves no trace;
-- 2. what is not lowered, or not below, needs no force; neither does a new limit;
-- 3. the same of plans, whose error says which limit;
-- 4. preview_limit() and preview_plan() show what needs force, too.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
SET xavier_quota.clock = '2026-03-16 12:00+00';
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:low', 'company:low/project:low']) AS s;
SELECT count(quota.put_member('company:low', u)) AS members FROM unnest(ARRAY['low_ann', 'low_bob', 'low_cid']) AS u;
SELECT quota.set_limit('company:low', 'credit', 100, overdraft => 5) AS company,
       quota.set_limit('company:low/user:*', 'credit', 50) AS each \gset
SELECT quota.adjust('company:low/user:low_ann', 'credit=30', 'before') ->> 'state' AS state;
SELECT quota.reserve_amount('low_bob', 'low', 'credit=40.5') ->> 'allowed' AS allowed;
SELECT count(*) AS entries FROM quota.audit \gset

-- 1.
\x on
SELECT r.* FROM unnest(ARRAY[
    $$quota.set_limit('company:low', 'credit', 65.499999, overdraft => 5)$$,
    $$quota.set_limit('company:low', 'credit', 70)$$,
    $$quota.set_limit('company:low', 'credit', 0, policy => 'shadow')$$,
    $$quota.set_limit('company:low/user:*', 'credit', 20)$$,
    $$quota.set_limit('company:low/user:*', 'credit', 40)$$,
    $$quota.set_limit('company:low/user:*', 'credit', 10, prorate => true)$$]) WITH ORDINALITY AS c (call, n),
    pg_temp.refused('SELECT ' || c.call) AS r ORDER BY c.n;  -- fails
\x off
SELECT count(*) = :entries AS unaudited FROM quota.audit;
SELECT scope, "limit", used, held FROM quota.admin_limits WHERE root = 'company:low' ORDER BY scope;

-- 2. Exactly what is used and held is not below it.
SELECT quota.set_limit('company:low', 'credit', 65.5, overdraft => 5) = :company AS same,
       quota.set_limit('company:low', 'credit', 70.5) = :company AS same,
       quota.set_limit('company:low/user:*', 'credit', 40.5) = :each AS same,
       quota.set_limit('company:low', 'credit', 1, 'day') IS NOT NULL AS new;
SELECT quota.set_limit('company:low', 'credit', 2, force => true) = :company AS same;
-- What is over already may be raised, or changed in something else.
SELECT quota.set_limit('company:low', 'credit', 3) = :company AS same,
       quota.set_limit('company:low', 'credit', 3, policy => 'soft') = :company AS same;
SELECT scope, period, "limit", used, held, state FROM quota.admin_limits WHERE root = 'company:low' ORDER BY scope, period;
-- What the running period has counts, where it is prorated: 150 of which 140 are used.
SELECT quota.put_account('user:low_own') IS NOT NULL AS made, quota.set_limit('user:low_own', 'credit', 200) IS NOT NULL AS set FROM set_config('xavier_quota.clock', '2026-03-01 00:00+00', false);
SET xavier_quota.clock = '2026-03-16 12:00+00';
SELECT quota.set_limit('user:low_own', 'credit', 100, prorate => true) IS NOT NULL AS set, quota.adjust('user:low_own', 'credit=140', 'used') ->> 'state' AS state;
SELECT r.code, r.message, r.detail FROM pg_temp.refused($$SELECT quota.set_limit('user:low_own', 'credit', 110)$$) AS r;  -- fails
SELECT quota.set_limit('user:low_own', 'credit', 140) IS NOT NULL AS set;
SELECT "limit", used, state FROM quota.admin_limits WHERE root = 'user:low_own';

-- 3.
SELECT quota.put_plan('low', '[{"resource": "calls", "amount": 10}, {"resource": "credit", "amount": 80, "overdraft": 10}]');
SELECT count(quota.put_account(s::quota.scope, plan => 'low')) AS on_plan FROM unnest(ARRAY['company:low/project:low', 'company:low/user:low_ann']) AS s;
\x on
SELECT r.* FROM unnest(ARRAY[
    $$quota.put_plan('low', '[{"resource": "calls", "amount": 9}, {"resource": "credit", "amount": 30, "overdraft": 10.4}]')$$,
    $$quota.put_plan('low', '[]', NULL)$$]) WITH ORDINALITY AS c (call, n),
    pg_temp.refused('SELECT ' || c.call) AS r ORDER BY c.n;  -- fails
\x off
SELECT resource, amount, overdraft FROM quota.plan_limits WHERE plan = 'low' ORDER BY resource COLLATE "C";

-- 4.
SELECT p ->> 'change' AS change, p ->> 'over' AS over, p -> 'levels' -> 0 ->> 'remaining' AS remaining
FROM quota.preview_limit('company:low', 'credit', 1) AS p;
SELECT l ->> 'resource' AS resource, l ->> 'period' AS period, l ->> 'change' AS change, l ->> 'over' AS over, l ->> 'levels_seen' AS levels_seen,
       l -> 'levels' -> 0 ->> 'scope' AS nearest, l -> 'levels' -> 0 ->> 'remaining' AS remaining
FROM quota.preview_plan('low', '[{"resource": "storage", "amount": 9}, {"resource": "credit", "amount": 30, "overdraft": 10.4}]') AS p,
     jsonb_array_elements(p -> 'limits') AS l;
SELECT jsonb_agg(d - 'limit_id') AS dropped
FROM quota.preview_plan('low', '[{"resource": "credit", "amount": 30}]') AS p, jsonb_array_elements(p -> 'dropped') AS d;
SELECT quota.preview_plan('low_new', '[]');
SELECT code, message, detail FROM pg_temp.refused($$SELECT quota.preview_plan('low', '[7]')$$);  -- fails
SELECT plan FROM quota.plans WHERE plan LIKE 'low%';
SELECT quota.put_plan('low', '[{"resource": "credit", "amount": 30, "overdraft": 10.4}]', force => true);
SELECT resource, amount, overdraft FROM quota.plan_limits WHERE plan = 'low' ORDER BY resource COLLATE "C";
SELECT * FROM quota.verify('company:low');
