-- Verifies that:
-- 1. the examples of docs/reference.md print what the page shows (test/docs.sh compares them);
-- 2. the public functions are those that the page describes.
-- The database is the test's own, so that ids are the same in every run.
\set home :DBNAME
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS docs_reference;
CREATE DATABASE docs_reference;
\c docs_reference
SET client_min_messages = warning;
CREATE EXTENSION xavier_quota;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET xavier_quota.clock = '2026-03-10 12:00+00';

-- Whoever adds one writes it into the page as well.
SELECT format('%s(%s)', p.proname, array_to_string(p.proargnames[1:p.pronargs], ', ')) COLLATE "C" AS signature
FROM pg_proc p
WHERE p.pronamespace = 'quota'::regnamespace AND p.proname !~ '^_'
ORDER BY signature;

-- example: scope
SELECT quota.root(s), quota.parent(s), quota.kind(s), quota.name(s), quota.depth(s)
FROM (VALUES ('company:acme/team:research/project:"apollo 11"'::quota.scope)) AS v (s);
SET search_path = public, quota;
SELECT 'company:acme/project:apollo'::scope <@ 'company:acme' AS below,
       'company:acme'::scope || 'user:ann' AS share,
       scope('project', 'a/b') AS quoted;
-- example: amount
SELECT 'credit=1.5,calls=1'::amount + 'credit=0.25' AS plus,
       'credit=1.5'::amount * 1.1 AS times,
       'credit=3'::amount <= 'credit=5,calls=1' AS fits,
       'credit=1.5,calls=1'::amount -> 'credit' AS credit;
-- example: quota
SELECT q @> 'credit=10' AS allows, effective(q), q -> 'company:acme' AS company, q - 'credit=10' AS after
FROM (VALUES ('company:acme{credit=1000},company:acme/project:apollo{credit=20,calls=5}'::quota)) AS v (q);
SELECT * FROM shortfall('company:acme{credit=1000},company:acme/project:apollo{credit=20}'::quota, 'credit=25');
-- example: end

SELECT put_account('company:acme') = 1 AS company, put_account('company:acme/project:apollo') = 2 AS project;
SELECT put_member('company:acme', 'ann');
SELECT set_limit('company:acme', 'credit', 1000) = 3 AS company,
       set_limit('company:acme/project:apollo', 'calls', 2, 'day', overdraft => 1) = 5 AS project;
SELECT set_rate_card('writer-1', '{"max_output_tokens": 4096, "lines": [
    {"meter": "input_tokens",  "price": "0.00001"},
    {"meter": "output_tokens", "price": "0.00002"}]}') = 7 AS card;
SET search_path = public;
\pset format unaligned
\pset tuples_only on
-- example: verdict
SELECT jsonb_pretty(quota.check('ann', 'apollo', 'writer-1', '{"input_tokens": 2000, "max_output_tokens": 500}'));
-- example: end
SELECT quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 2000, "max_output_tokens": 500}') ->> 'hold_id' AS hold_id \gset
-- example: receipt
SELECT jsonb_pretty(quota.settle(:'hold_id', '{"input_tokens": 2000, "output_tokens": 600}') - 'hold_id');
-- example: end
\pset format aligned
\pset tuples_only off

\c :home
DROP DATABASE docs_reference;
