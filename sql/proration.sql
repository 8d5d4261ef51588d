-- Verifies that:
-- 1. a limit that is set prorated gets of the running period the part that is left, rounded up to
--    a millionth, and from the next period on all of it;
-- 2. a change that is prorated counts the amount before for the part of the period that is over,
--    however often it changes, up and down; the overdraft is not prorated;
-- 3. the same call again changes nothing, prorated or not; another amount that is not prorated
--    holds for the whole period at once;
-- 4. holds of the period before are judged by its own amount, and nothing is reset: a reload, a
--    standby, a restored dump and verify() compute the same from the row;
-- 5. defaults and shares are prorated, too; a lifetime cannot be;
-- 6. what is committed after the period in which it was said has the whole amount.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO';
-- April has 30 days: at noon on the 11th 19.5 of them are left, that is 13/20.
SET xavier_quota.clock = '2026-04-11 12:00+00';

SELECT quota.put_account('company:pro') IS NOT NULL AS root,
       quota.put_account('company:pro/project:pro') IS NOT NULL AS project;
SELECT quota.put_member('company:pro', 'pro-ann');
CREATE TEMP VIEW limits AS
    SELECT scope, period, "limit", overdraft, used, held, remaining, state, resets_at::date
    FROM quota.admin_limits WHERE root = 'company:pro' ORDER BY scope, period::text;
CREATE FUNCTION pg_temp.hold(amount quota.amount) RETURNS text
LANGUAGE sql AS $$ SELECT coalesce(v ->> 'hold_id', v ->> 'message') FROM quota.reserve_amount('pro-ann', 'pro', amount) AS v $$;

-- 1. 100 * 13 / 20 = 65. Of a week from Monday the 6th 1.5 of 7 days are left: 10 * 3 / 14 = 2.142857.1.
SELECT quota.set_limit('company:pro', 'credit', 100, prorate => true, overdraft => 5) AS month,
       quota.set_limit('company:pro', 'credit', 10, '1 week', prorate => true) AS week \gset
SELECT * FROM limits;
SELECT pg_temp.hold('credit=2.142858') ~ '^[0-9a-f-]{36}$' AS fits;
SELECT pg_temp.hold('credit=0.000001');
-- More than the running week has, and less than a week has: it waits. More than both never fits.
SELECT v ->> 'message' AS message, v ->> 'retry_at' AS retry_at
FROM unnest('{credit=10,credit=10.000001}'::quota.amount[]) AS amount, quota.check_amount('pro-ann', 'pro', amount) AS v;
SELECT amount, prorated_at, prorated_amount FROM quota.limits WHERE limit_id IN (:month, :week) ORDER BY amount;
SELECT quota.drop_limit(:week);
SET xavier_quota.clock = '2026-05-01 00:00+00';
SELECT * FROM limits;
SET xavier_quota.clock = '2026-04-30 23:59:59.999999+00';
SELECT * FROM limits;

-- 2. On the 16th half is left: 65 + (300 - 100) / 2 = 165; on the 21st a third: 165 + (30 - 300) / 3 = 75.
SET xavier_quota.clock = '2026-04-16 00:00+00';
SELECT quota.set_limit('company:pro', 'credit', 300, prorate => true, overdraft => 5) = :month AS same;
SELECT * FROM limits;
SET xavier_quota.clock = '2026-04-21 00:00+00';
SELECT quota.set_limit('company:pro', 'credit', 30, prorate => true, overdraft => 5) = :month AS same;
SELECT * FROM limits;
SELECT pg_temp.hold('credit=80.000001');
SELECT pg_temp.hold('credit=80') AS hold \gset

-- 3.
SELECT quota.set_limit('company:pro', 'credit', 30, prorate => true, overdraft => 5) = :month AS same;
SELECT quota.set_limit('company:pro', 'credit', 30, overdraft => 5) = :month AS same;
SELECT quota.set_limit('company:pro', 'credit', 30, policy => 'soft', force => true) = :month AS same;
SELECT * FROM limits;

-- 4. The hold of April is extended in May: by what April had.
SELECT quota.reload('company:pro');
SELECT * FROM limits;
SET xavier_quota.clock = '2026-05-16 12:00+00';
SELECT * FROM limits;
SELECT l ->> 'limit' AS "limit", l ->> 'period_start' AS period_start
FROM quota.extend(:'hold', ttl => '1 hour') AS v, jsonb_array_elements(v -> 'levels') AS l;
-- May has 31 days, half of which are left; April is forgotten: 30 + (31 - 30) / 2 = 30.5.
SELECT quota.set_limit('company:pro', 'credit', 31, prorate => true) = :month AS same;
SELECT * FROM limits;
SELECT quota.set_limit('company:pro', 'credit', 40) = :month AS same;
SELECT * FROM limits;
SELECT prorated_at, prorated_amount FROM quota.limits WHERE limit_id = :month;
SELECT * FROM quota.verify('company:pro');

-- 5.
SELECT quota.drop_limit(:month);
SELECT quota.set_limit('company:pro/user:*', 'credit', 31, prorate => true) AS each,
       quota.set_limit('company:pro/project:pro/user:pro-ann', 'credit', 62, prorate => true) AS share \gset
SELECT * FROM limits;
SELECT quota.remaining('pro-ann', 'pro');
SELECT quota.set_limit('company:pro', 'storage', 10, prorate => true);  -- fails
SELECT quota.set_limit('company:pro', 'credit', 10, prorate => NULL);  -- fails
SELECT after ->> 'amount' AS amount, after ->> 'prorated_amount' AS prorated
FROM quota.admin_audit WHERE relation = 'limits' AND (after ->> 'limit_id')::bigint = :month ORDER BY changed_at;

-- 6. Said in May, and committed in June.
SET xavier_quota.clock = '2026-05-31 23:59+00';
BEGIN;
SELECT quota.set_limit('company:pro', 'calls', 100, rollover => 50, prorate => true) > 0 AS set;
SET LOCAL xavier_quota.clock = '2026-06-01 00:01+00';
COMMIT;
SET xavier_quota.clock = '2026-06-02 12:00+00';
SELECT resource, "limit", rolled_over FROM quota.admin_limits WHERE root = 'company:pro' AND resource = 'calls';
