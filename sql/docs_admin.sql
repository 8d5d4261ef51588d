-- Verifies that:
-- 1. the examples of docs/admin.md print what the page shows (test/docs.sh compares them).
-- The database is the test's own, so that the page need not tell its names from others'.
\set home :DBNAME
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS docs_admin;
CREATE DATABASE docs_admin;
\c docs_admin
SET client_min_messages = warning;
CREATE EXTENSION xavier_quota;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = postgres;
SET xavier_quota.clock = '2026-03-10 12:00+00';

-- example: accounts
SELECT quota.put_account('company:acme', attributes => '{"cost_center": 4711}') AS company;
SELECT quota.put_account('company:acme/team:research') AS team;
SELECT quota.put_account('company:acme/team:research/project:apollo') AS project;
SELECT quota.put_account('user:ann') AS person;
-- example: orphan
SELECT quota.put_account('company:globex/project:zeus');
-- example: members
SELECT quota.put_member('company:acme', 'ann');
SELECT quota.put_member('company:acme', 'bob');
SELECT quota.put_member('company:acme/team:research', 'bob', active => false);
-- example: member_check
SELECT u AS user_id, v ->> 'allowed' AS allowed, v ->> 'message' AS message
FROM unnest(ARRAY['ann', 'bob']) AS u, quota.check_amount(u, 'apollo', 'credit=1') AS v;
-- example: plan
SELECT quota.put_plan('team', '[
    {"resource": "credit", "amount": 5000},
    {"resource": "calls",  "amount": 20000},
    {"resource": "storage", "amount": 10000}]');
SELECT quota.put_account('company:acme', plan => 'team', attributes => '{"cost_center": 4711}') AS company;
-- example: limits
SELECT quota.set_limit('company:acme/user:*', 'credit', 100) AS each_user,
       quota.set_limit('company:acme/user:ann', 'credit', 400) AS ann,
       quota.set_limit('company:acme/team:research/project:apollo', 'credit', 50, '1 day from 2026-01-01 in Europe/Berlin') AS per_day,
       quota.set_limit('company:acme/team:research/project:apollo', 'credit', 600, policy => 'soft') AS per_month;
-- example: applied
SELECT scope, period, "limit", policy, source FROM quota.admin_limits
WHERE resource = 'credit' ORDER BY scope, period;
-- example: raise
SELECT quota.set_limit('company:acme/user:ann', 'credit', 500) AS ann;
-- example: prorate
SELECT quota.set_limit('company:acme/user:ann', 'credit', 810, prorate => true) AS ann;
SELECT "limit", resets_at FROM quota.admin_limits WHERE scope = 'company:acme/user:ann';
-- example: operators
SELECT count(*) FROM quota.admin_limits WHERE scope = 'company:acme/user:ann';
SELECT scope, resource, "limit" FROM quota.admin_limits
WHERE scope::quota.scope OPERATOR(quota.<@) 'company:acme/team:research' ORDER BY "limit";
-- example: drop
SELECT quota.drop_limit(limit_id) FROM quota.admin_limits WHERE scope = 'company:acme/user:ann';
-- example: models
SELECT quota.allow_model('company:acme', 'writer-*');
SELECT quota.deny_model('company:acme/team:research', 'writer-xl');
-- example: model_check
SELECT quota.set_rate_card(model, '{"max_output_tokens": 4096, "lines": [
           {"meter": "input_tokens",  "price": "0.00001"},
           {"meter": "output_tokens", "price": "0.00002"}]}') AS card_id, model
FROM unnest(ARRAY['writer-1', 'writer-xl', 'painter-1']) AS model;
SELECT model, v ->> 'allowed' AS allowed, v ->> 'message' AS message
FROM unnest(ARRAY['writer-1', 'writer-xl', 'painter-1']) AS model,
     quota.check('ann', 'apollo', model, '{"input_tokens": 10, "max_output_tokens": 10}') AS v;
-- example: card
SELECT quota.set_rate_card('writer-1', '{"max_output_tokens": 4096, "lines": [
    {"meter": "input_tokens",  "price": "0.000008"},
    {"meter": "output_tokens", "price": "0.000016"}]}', valid_from => '2026-04-01 00:00+00') AS card_id;
SELECT model, card_id, valid_from, valid_to, in_force, lines FROM quota.admin_rate_cards
WHERE model = 'writer-1' ORDER BY valid_from;
-- example: alias
SELECT quota.put_model_alias('fast', 'writer-1');
SELECT e ->> 'model' AS model, e -> 'assumptions' ->> 0 AS how
FROM quota.estimate('fast', '{"input_tokens": 2000, "max_output_tokens": 500}') AS e;
-- example: rate
SELECT quota.set_credit_rate(100) AS until_now;
SELECT quota.set_price_adjustment('company:acme', 0.9);
SELECT e ->> 'cost_usd' AS cost_usd, e -> 'amount' ->> 'credit' AS credit
FROM unnest(ARRAY['company:acme', 'user:ann']::quota.scope[]) AS payer,
     quota.estimate('writer-1', '{"input_tokens": 2000, "max_output_tokens": 500}', account => payer) AS e;
-- example: end

SELECT v ->> 'allowed' AS allowed FROM quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 2000, "max_output_tokens": 500}') AS v;
SELECT quota.charge('ann', 'apollo', 'writer-1', '{"input_tokens": 40000, "output_tokens": 2000}') ->> 'state' AS state;
SET xavier_quota.clock = '2026-03-10 12:05+00';

-- example: view_accounts
SELECT scope, plan, members, limits, active FROM quota.admin_accounts ORDER BY scope;
-- example: view_limits
SELECT scope, period, "limit", used, held, remaining, percent, state FROM quota.admin_limits
WHERE resource = 'credit' ORDER BY percent DESC;
-- example: view_projection
SELECT scope, period, resets_at, projected_exhaustion FROM quota.admin_limits
WHERE projected_exhaustion IS NOT NULL ORDER BY projected_exhaustion;
-- example: view_holds
SELECT scope, user_id, model, credit, age, overdue FROM quota.admin_holds ORDER BY held_at;
-- example: view_events
SELECT kind, scope, user_id, model, credit, cost_usd, late, overage FROM quota.admin_events ORDER BY recorded_at;
-- example: view_usage
SELECT day, company, project, user_id, model, resource, used, events FROM quota.admin_usage_daily
ORDER BY day, resource;
-- Two dozen generations, and what a job would do, as soon as nobody's transaction is in its way.
SELECT count(quota.settle((quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 20, "max_output_tokens": 50}') ->> 'hold_id')::uuid,
                          jsonb_build_object('input_tokens', 20, 'output_tokens', 2 * i))) AS settled
FROM generate_series(1, 24) AS i;
DO $$
BEGIN
    FOR try IN 1 .. 600 LOOP
        CALL quota.run_job('fold');
        EXIT WHEN EXISTS (SELECT FROM quota.estimates_weekly);
        PERFORM pg_sleep(0.05);
    END LOOP;
END
$$;
-- example: view_accuracy
SELECT root, model, generations, ceiling, charged, charged_of_ceiling, of_ceiling_median, of_ceiling_p90
FROM quota.admin_estimate_accuracy;
-- example: view_audit
SELECT operation, before ->> 'amount' AS before, after ->> 'amount' AS after
FROM quota.admin_audit
WHERE relation = 'limits' AND coalesce(after, before) ->> 'scope' = 'company:acme/user:ann'
ORDER BY changed_at;
-- example: view_denials
SELECT quota.set_limit('company:acme/user:ann', 'credit', 1, 'day', 'shadow') AS trial;
SELECT v ->> 'allowed' AS allowed, v ->> 'message' AS message
FROM unnest(ARRAY[6000, 600, 60]) AS tokens,
     quota.reserve('ann', 'apollo', 'writer-1',
                   jsonb_build_object('input_tokens', tokens, 'max_output_tokens', 500)) AS v;
SELECT scope, period, policy, period_start, denied, last_denied_at FROM quota.admin_denials
ORDER BY policy;
-- example: preview
SELECT p ->> 'change' AS change, p ->> 'over' AS over, p ->> 'holds' AS holds,
       p -> 'levels' -> 0 ->> 'scope' AS nearest, p -> 'levels' -> 0 ->> 'remaining' AS remaining,
       p ->> 'refused' AS refused, p ->> 'refused_seen' AS refused_seen
FROM quota.preview_limit('company:acme/team:research/project:apollo', 'credit', 30,
                         '1 day from 2026-01-01 in Europe/Berlin') AS p;
-- example: force
SELECT quota.set_limit('company:acme/team:research/project:apollo', 'credit', 30,
                       '1 day from 2026-01-01 in Europe/Berlin');
-- example: grant
SELECT quota.grant_quota('company:acme/user:bob', 'credit', 25, expires_at => '2026-03-20 00:00+00',
                         note => 'hackathon') AS hackathon \gset
SELECT scope, resource, amount, remaining, expires_at, state, note FROM quota.admin_grants;
-- example: grant_several
SELECT quota.grant_quota('company:acme/team:research/project:apollo', 'credit', 10);
-- example: void
SELECT quota.void_grant(:hackathon, 'it was cancelled') AS voided;
SELECT scope, amount, remaining, voided_at, state, void_reason FROM quota.admin_grants;
-- example: end

-- What jobs would do in the first minutes of the next month.
SET xavier_quota.clock = '2026-04-01 00:07+00';
CALL quota.run_job('expire');
CALL quota.run_job('periods');
-- example: view_periods
SELECT scope, resource, period_start, "limit", used, overage, rolled_over, late FROM quota.admin_periods
WHERE scope = 'company:acme' ORDER BY resource;
-- example: end

\c :home
DROP DATABASE docs_admin;
