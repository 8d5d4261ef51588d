-- Verifies that:
-- 1. the examples of docs/concepts.md print what the page shows (test/docs.sh compares them).
-- The database is the test's own, so that the page need not tell its names from others'.
\set home :DBNAME
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS docs_concepts;
CREATE DATABASE docs_concepts;
\c docs_concepts
SET client_min_messages = warning;
CREATE EXTENSION xavier_quota;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET xavier_quota.clock = '2026-03-10 12:00+00';

-- example: tree
SELECT quota.put_account(scope) AS account_id, scope
FROM unnest(ARRAY['company:acme', 'company:acme/project:apollo',
                  'user:ann', 'user:ann/project:diary']::quota.scope[]) AS scope;
SELECT quota.put_member('company:acme', 'ann');
-- example: limits
SELECT quota.set_limit('company:acme', 'credit', 1000) AS company,
       quota.set_limit('company:acme/user:*', 'credit', 100) AS each_user,
       quota.set_limit('company:acme/project:apollo', 'credit', 20, 'day') AS project,
       quota.set_limit('user:ann', 'credit', 50) AS personal;
-- example: card
SELECT quota.set_rate_card('writer-1', '{"max_output_tokens": 4096, "lines": [
    {"meter": "input_tokens",  "price": "0.00001"},
    {"meter": "output_tokens", "price": "0.00002"}]}') AS card_id;
-- example: reserve
SELECT quota.reserve('ann', 'apollo', 'writer-1',
                     '{"input_tokens": 2000, "max_output_tokens": 500}') AS verdict \gset
SELECT l ->> 'scope' AS scope, l ->> 'limit' AS "limit", l ->> 'used' AS used, l ->> 'held' AS held,
       l ->> 'requested' AS requested, l ->> 'remaining_after' AS remaining_after
FROM jsonb_array_elements(:'verdict'::jsonb -> 'levels') AS l;
-- example: held
SELECT scope, used, held, remaining FROM quota.admin_limits ORDER BY scope;
-- example: settle
SELECT :'verdict'::jsonb ->> 'hold_id' AS hold_id \gset
SELECT r -> 'held' AS held, r -> 'charged' AS charged, r ->> 'cost_usd' AS cost_usd
FROM quota.settle(:'hold_id', '{"input_tokens": 2000, "output_tokens": 312}') AS r;
SELECT scope, used, held, remaining FROM quota.admin_limits ORDER BY scope;
-- example: personal
SELECT quota.remaining('ann', 'diary'), quota.remaining('ann', 'apollo');
-- example: periods
SELECT period, quota.period_range(period::quota.period, '2026-03-10 12:00+00')
FROM unnest(ARRAY['month', 'day', '6 hours', '1 month from 2026-01-31',
                  '1 day from 2026-01-01 in America/New_York', 'lifetime']) AS period;
-- end

\c :home
DROP DATABASE docs_concepts;
