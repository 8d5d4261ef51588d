-- Verifies that:
-- 1. the examples of docs/time.md print what the page shows (test/docs.sh compares them).
-- The database is the test's own, so that the page need not tell its names from others'.
\set home :DBNAME
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS docs_time;
CREATE DATABASE docs_time;
\c docs_time
SET client_min_messages = warning;
CREATE EXTENSION xavier_quota;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT count(quota.put_account(s::quota.scope)) FROM unnest(ARRAY['company:acme', 'company:acme/project:apollo', 'company:tide', 'company:tide/project:surf',
    'company:mint', 'company:mint/project:coin', 'user:ann', 'user:ann/project:diary']) AS s;
SELECT quota.put_member(c::quota.scope, 'ann') FROM unnest(ARRAY['company:acme', 'company:tide', 'company:mint']) AS c;

-- example: periods
SELECT period, quota.period_range(period::quota.period, '2026-03-30 12:00+00')
FROM unnest(ARRAY['1 month from 2026-01-31', '1 week from 2026-01-07 09:00 in Europe/Berlin', '6 hours',
                  'rolling 24 hours', 'refill 100 per 1 minute up to 500', 'lifetime']) AS period;
SELECT at, quota.period_next('1 month from 2026-01-31', at::timestamptz) AS next
FROM unnest(ARRAY['2026-02-01 00:00+00', '2026-02-28 00:00+00', '2028-02-01 00:00+00']) AS at;

-- example: rolling
SELECT quota.set_limit('company:acme', 'credit', 10, 'rolling 24 hours') AS limit_id;
SELECT quota.reserve_amount('ann', 'apollo', 'credit=7', ttl => '2 days') ->> 'allowed' AS at_noon;
SET xavier_quota.clock = '2026-03-10 18:00+00';
SELECT v ->> 'allowed' AS allowed, v ->> 'message' AS message
FROM quota.check_amount('ann', 'apollo', 'credit=5') AS v;
SET xavier_quota.clock = '2026-03-11 12:23:59.999999+00';
SELECT quota.check_amount('ann', 'apollo', 'credit=5') ->> 'allowed' AS a_microsecond_before;
SET xavier_quota.clock = '2026-03-11 12:24+00';
SELECT quota.check_amount('ann', 'apollo', 'credit=5') ->> 'allowed' AS then;

-- example: refill
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT quota.set_limit('company:tide', 'calls', 500, 'refill 100 per 1 minute up to 500') AS limit_id;
SELECT quota.reserve_amount('ann', 'surf', 'calls=450') ->> 'allowed' AS a_burst;
SET xavier_quota.clock = '2026-03-10 12:00:30+00';
SELECT v ->> 'allowed' AS allowed, v ->> 'retry_at' AS retry_at, l ->> 'remaining' AS remaining
FROM quota.check_amount('ann', 'surf', 'calls=120') AS v, jsonb_array_elements(v -> 'levels') AS l;

-- example: rollover
SET xavier_quota.clock = '2026-01-01 00:00+00';
SELECT quota.set_limit('company:mint', 'credit', 100, 'month', rollover => 150, rollover_periods => 2) AS limit_id;
CREATE TEMP VIEW months AS
SELECT to_char(period_start AT TIME ZONE 'UTC', 'Mon') AS month, "limit", used, remaining, rolled_over
FROM quota.admin_limits WHERE scope = 'company:mint' AND resource = 'credit';
SET xavier_quota.clock = '2026-01-20 12:00+00';
SELECT quota.adjust('company:mint', 'credit=40', 'used in January') ->> 'state' AS state;
SELECT * FROM months;
SET xavier_quota.clock = '2026-02-20 12:00+00';
SELECT quota.adjust('company:mint', 'credit=30', 'used in February') ->> 'state' AS state;
SELECT * FROM months;
SET xavier_quota.clock = '2026-03-20 12:00+00';
SELECT * FROM months;
SET xavier_quota.clock = '2026-04-20 12:00+00';
SELECT * FROM months;

-- example: late
SET xavier_quota.clock = '2026-04-30 23:59+00';
SELECT quota.reserve_amount('ann', 'coin', 'credit=200', ttl => '1 hour') ->> 'hold_id' AS hold_id \gset
SET xavier_quota.clock = '2026-05-01 00:00+00';
SELECT * FROM months;
SELECT quota.settle_amount(:'hold_id', 'credit=80') -> 'charged' AS charged;
SELECT * FROM months;
CALL quota.run_job('periods');
SELECT to_char(period_start AT TIME ZONE 'UTC', 'Mon') AS month, "limit", used, overage, rolled_over
FROM quota.admin_periods WHERE scope = 'company:mint' ORDER BY period_start;

-- example: overage
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT quota.set_limit('user:ann', 'calls', 10, 'day', carry_overage => true) AS limit_id;
SELECT quota.adjust('user:ann', 'calls=25', 'a batch that was not asked for') ->> 'state' AS state;
CREATE TEMP VIEW days AS
SELECT period_start::date AS day, "limit", used, remaining, state, carried_overage
FROM quota.admin_limits WHERE scope = 'user:ann' AND resource = 'calls';
SELECT * FROM days;
SET xavier_quota.clock = '2026-03-11 12:00+00';
SELECT * FROM days;
SET xavier_quota.clock = '2026-03-12 12:00+00';
SELECT * FROM days;

-- example: grants
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT quota.set_limit('user:ann', 'credit', 20, 'month') AS limit_id;
SELECT quota.grant_quota('user:ann', 'credit', 50, note => 'pack of 50') AS pack,
       quota.grant_quota('user:ann', 'credit', 10, expires_at => '2026-03-15 00:00+00', note => 'bonus') AS bonus;
SELECT quota.reserve_amount('ann', 'diary', 'credit=35', ttl => '1 hour') ->> 'hold_id' AS hold_id \gset
SELECT note, amount, remaining, burned, expires_at FROM quota.admin_grants ORDER BY note;
SELECT quota.settle_amount(:'hold_id', 'credit=24') -> 'charged' AS charged;
SELECT note, amount, remaining, burned, expires_at FROM quota.admin_grants ORDER BY note;
SELECT "limit", used, held, remaining, granted FROM quota.admin_limits WHERE scope = 'user:ann' AND resource = 'credit';
SET xavier_quota.clock = '2026-04-01 00:00+00';
SELECT "limit", used, held, remaining, granted FROM quota.admin_limits WHERE scope = 'user:ann' AND resource = 'credit';

-- example: gaps
SET xavier_quota.clock = '2026-04-05 12:00+00';
SELECT quota.put_plan('pro', '[{"resource": "credit", "amount": 100, "period": "month"}]'),
       quota.put_plan('team', '[{"resource": "credit", "amount": 1000, "period": "month"}]');
SELECT quota.put_account('company:dune', plan => 'pro') AS company,
       quota.grant_quota('company:dune', 'credit', 50, note => 'pack of 50') AS pack;
SELECT quota.adjust('company:dune', 'credit=120', 'used of 100 and the pack') ->> 'state' AS state;
SET xavier_quota.clock = '2026-04-20 12:00+00';
SELECT quota.put_account('company:dune', plan => 'team') AS company;
SELECT quota.adjust('company:dune', 'credit=300', 'used of the 1000') ->> 'state' AS state;
SET xavier_quota.clock = '2026-06-20 12:00+00';
SELECT quota.put_account('company:dune', plan => 'pro') AS company;
SELECT "limit", used, remaining, granted FROM quota.admin_limits WHERE scope = 'company:dune' AND resource = 'credit';
-- end

\c :home
DROP DATABASE docs_time;
