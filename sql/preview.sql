-- Verifies that:
-- 1. quota.preview_limit() says who would be over a limit at once, what would remain, and how many
--    open holds count, for accounts and for defaults, prorated or not;
-- 2. it changes nothing, and writes no audit; its errors are those of quota.set_limit().
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET xavier_quota.clock = '2026-04-16 00:00+00';
SELECT quota.put_account('company:pre') IS NOT NULL AS root,
       quota.put_account('company:pre/project:pre') IS NOT NULL AS project;
SELECT quota.put_member('company:pre', user_id) FROM unnest('{pre-ann,pre-bob}'::text[]) AS user_id;
SELECT quota.set_limit('company:pre', 'credit', 40) AS id, quota.set_limit('company:pre/user:*', 'credit', 50) AS each \gset
SELECT quota.reserve_amount('pre-ann', 'pre', 'credit=30,calls=5') ->> 'allowed' AS allowed;
SELECT quota.adjust('company:pre/user:pre-bob', 'credit=10', 'before') ->> 'state' AS state;
CREATE TEMP TABLE before AS SELECT to_jsonb(l) AS row FROM quota.limits l;
SELECT count(*) AS entries FROM quota.audit \gset

-- 1.
SELECT jsonb_pretty(quota.preview_limit('company:pre/user:*', 'credit', 20));
SELECT quota.preview_limit('company:pre', 'credit', 40) - 'levels' AS none;
SELECT quota.preview_limit('company:pre', 'calls', 4);
-- 40 until now and 60 for half of the month: 50.
SELECT p ->> 'change' AS change, p -> 'levels' -> 0 ->> 'limit' AS "limit"
FROM quota.preview_limit('company:pre', 'credit', 60, prorate => true) AS p;

-- 2.
SELECT quota.preview_limit('company:nobody', 'credit', 60);  -- fails
SELECT (SELECT array_agg(row ORDER BY row) FROM before) = (SELECT array_agg(to_jsonb(l) ORDER BY to_jsonb(l)) FROM quota.limits l) AS unchanged,
       (SELECT count(*) FROM quota.audit) = :entries AS unaudited;
SELECT quota.reserve_amount('pre-ann', 'pre', 'credit=10') ->> 'allowed' AS allowed;
SELECT * FROM quota.verify('company:pre');
