-- Verifies that:
-- 1. the examples of docs/guide.md print what the page shows (test/docs.sh compares them).
-- The database is the test's own, so that the page need not tell its names from others'.
\set home :DBNAME
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS docs_guide;
CREATE DATABASE docs_guide;
\c docs_guide
SET client_min_messages = warning;
CREATE EXTENSION xavier_quota;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET xavier_quota.clock = '2026-03-10 12:00+00';

SELECT count(quota.put_account(scope)) AS accounts
FROM unnest(ARRAY['company:acme', 'company:acme/project:apollo']::quota.scope[]) AS scope;
SELECT quota.put_member('company:acme', 'ann');
SELECT quota.set_rate_card('writer-1', '{"max_output_tokens": 4096, "lines": [
    {"meter": "input_tokens",  "price": "0.00001"},
    {"meter": "output_tokens", "price": "0.00002"}]}') IS NOT NULL AS card;
SELECT quota.set_limit('company:acme', 'credit', 1000) IS NOT NULL AS company,
       quota.set_limit('company:acme/user:*', 'credit', 100) IS NOT NULL AS each_user,
       quota.set_limit('company:acme/project:apollo', 'credit', 20, 'day') IS NOT NULL AS project;

-- example: estimate
SELECT e ->> 'cost_usd' AS cost_usd, e -> 'amount' AS at_most, e -> 'expected' AS expected
FROM quota.estimate('writer-1',
        '{"input_tokens": 2000, "max_output_tokens": 500, "expected_output_tokens": 200}') AS e;
-- example: check
SELECT v ->> 'allowed' AS allowed, v ->> 'state' AS state, v ->> 'message' AS message
FROM quota.can_execute_generation('ann', 'apollo', 'writer-1',
        '{"input_tokens": 2000, "max_output_tokens": 500}') AS v;
-- example: reserve
SELECT quota.reserve('ann', 'apollo', 'writer-1',
                     '{"input_tokens": 2000, "max_output_tokens": 500}',
                     idempotency_key => 'generation-1001', ttl => '10 minutes') AS verdict \gset
SELECT v ->> 'allowed' AS allowed, v ->> 'state' AS state, v ->> 'expires_at' AS expires_at,
       v -> 'estimate' -> 'amount' AS held
FROM (SELECT :'verdict'::jsonb) AS answer (v);
-- example: again
SELECT :'verdict'::jsonb ->> 'hold_id' AS hold_id \gset
SELECT v ->> 'allowed' AS allowed, v ->> 'state' AS state, v ->> 'replayed' AS replayed,
       v ->> 'hold_id' = :'hold_id' AS same_hold
FROM quota.reserve('ann', 'apollo', 'writer-1',
                   '{"input_tokens": 2000, "max_output_tokens": 500}',
                   idempotency_key => 'generation-1001', ttl => '10 minutes') AS v;
-- example: reused
SELECT quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 9000}',
                     idempotency_key => 'generation-1001');
-- example: extend
SELECT v ->> 'allowed' AS allowed, v ->> 'expires_at' AS expires_at,
       v -> 'estimate' -> 'amount' AS held
FROM quota.extend(:'hold_id', '{"input_tokens": 2000, "max_output_tokens": 800}',
                  ttl => '20 minutes') AS v;
-- example: settle
SELECT r ->> 'state' AS state, r -> 'charged' AS charged, r ->> 'cost_usd' AS cost_usd
FROM quota.settle(:'hold_id', '{"input_tokens": 2000, "output_tokens": 312}') AS r;
-- example: settle_again
SELECT r ->> 'replayed' AS replayed, r ->> 'ignored' AS ignored, r -> 'charged' AS charged
FROM quota.settle(:'hold_id', '{"input_tokens": 2000, "output_tokens": 312}') AS r;
SELECT r ->> 'replayed' AS replayed, r ->> 'ignored' AS ignored, r -> 'charged' AS charged
FROM quota.settle(:'hold_id', '{"input_tokens": 2000, "output_tokens": 999}') AS r;
-- example: again_settled
SELECT v ->> 'allowed' AS allowed, v ->> 'state' AS state, v ->> 'replayed' AS replayed
FROM quota.reserve('ann', 'apollo', 'writer-1',
                   '{"input_tokens": 2000, "max_output_tokens": 500}',
                   idempotency_key => 'generation-1001') AS v;
-- example: provider
SELECT quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 1000, "max_output_tokens": 100}')
       ->> 'hold_id' AS hold_id \gset
SELECT r -> 'charged' AS charged
FROM quota.settle(:'hold_id', '{"prompt_tokens": 1000, "completion_tokens": 60, "total_tokens": 1060}') AS r;
-- example: release
SELECT quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 1000, "max_output_tokens": 100}')
       ->> 'hold_id' AS hold_id \gset
SELECT r ->> 'state' AS state, r ->> 'reason' AS reason, r -> 'charged' AS charged
FROM quota.release(:'hold_id', 'the provider answered 503') AS r;
-- example: overage
SELECT quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 1000, "max_output_tokens": 100}')
       ->> 'hold_id' AS hold_id \gset
SELECT r -> 'held' AS held, r -> 'charged' AS charged, r -> 'overage' AS overage
FROM quota.settle(:'hold_id', '{"input_tokens": 1000, "output_tokens": 250}') AS r;
-- example: lost
SELECT quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 1000, "max_output_tokens": 100}')
       ->> 'hold_id' AS hold_id \gset
SELECT h ->> 'state' AS state, h -> 'held' AS held, h ->> 'expires_at' AS expires_at, h -> 'receipt' AS receipt
FROM quota.hold(:'hold_id') AS h;
-- example: unknown
SELECT r ->> 'state' AS state, r ->> 'outcome' AS outcome
FROM quota.settle(:'hold_id', '{}', outcome => 'unknown') AS r;
SELECT quota.hold(:'hold_id') ->> 'expires_at' AS expires_at;
-- example: late
SET xavier_quota.clock = '2026-03-10 14:00+00';
CALL quota.run_job('expire');
SELECT quota.hold(:'hold_id') ->> 'state' AS state;
SELECT r ->> 'state' AS state, r ->> 'late' AS late, r -> 'charged' AS charged
FROM quota.settle(:'hold_id', '{"input_tokens": 1000, "output_tokens": 80}') AS r;
-- example: charge
SELECT r ->> 'state' AS state, r -> 'held' AS held, r -> 'charged' AS charged
FROM quota.charge('ann', 'apollo', 'writer-1', '{"input_tokens": 500, "output_tokens": 50}',
                  idempotency_key => 'import-7') AS r;
-- example: adjust
SELECT r -> 'charged' AS charged, r ->> 'reason' AS reason
FROM quota.adjust('company:acme/project:apollo', 'credit=-1', 'goodwill refund, ticket 4711') AS r;
-- example: storage
SELECT quota.set_limit('company:acme', 'storage', 500) IS NOT NULL AS limited;
SELECT quota.reserve_amount('ann', 'apollo', 'storage=120.5') ->> 'hold_id' AS hold_id \gset
SELECT r -> 'charged' AS charged FROM quota.settle_amount(:'hold_id', 'storage=118.25') AS r;
SELECT r -> 'charged' AS charged FROM quota.adjust('company:acme/project:apollo', 'storage=-20', 'files deleted') AS r;
-- example: in_flight
SELECT quota.set_limit('company:acme/user:*', 'in_flight', 2) IS NOT NULL AS limited;
SELECT quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 100, "max_output_tokens": 10}')
       ->> 'hold_id' AS first \gset
SELECT quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 100, "max_output_tokens": 10}')
       ->> 'hold_id' AS second \gset
SELECT v ->> 'allowed' AS allowed, v ->> 'reason' AS reason, v ->> 'message' AS message,
       v ->> 'retry_at' AS retry_at
FROM quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 100, "max_output_tokens": 10}') AS v;
SELECT quota.release(:'first') ->> 'state' AS state;
SELECT l ->> 'scope' AS scope, l ->> 'limit' AS "limit", l ->> 'used' AS used, l ->> 'held' AS held
FROM quota.release(:'second') AS r, jsonb_array_elements(r -> 'levels') AS l
WHERE l ->> 'resource' = 'in_flight';
-- example: refused
SELECT v ->> 'allowed' AS allowed, v ->> 'reason' AS reason, v ->> 'message' AS message,
       v ->> 'retry_at' AS retry_at
FROM quota.reserve('ann', 'apollo', 'writer-1', '{"input_tokens": 12000, "max_output_tokens": 1500}') AS v;
-- example: refused_levels
SELECT l ->> 'scope' AS scope, l ->> 'remaining' AS remaining, l ->> 'requested' AS requested,
       l ->> 'passed' AS passed, l ->> 'short' AS short
FROM quota.check('ann', 'apollo', 'writer-1', '{"input_tokens": 12000, "max_output_tokens": 1500}') AS v,
     jsonb_array_elements(v -> 'levels') AS l
WHERE l ->> 'resource' = 'credit';
-- example: fits
SELECT v -> 'fits' AS fits, '{"input_tokens": 12000}' || (v -> 'fits') AS "a request that fits"
FROM quota.check('ann', 'apollo', 'writer-1', '{"input_tokens": 12000, "max_output_tokens": 1500}') AS v;
-- example: never
SELECT v ->> 'message' AS message, v ->> 'retry_at' AS retry_at
FROM quota.check('ann', 'apollo', 'writer-1', '{"input_tokens": 50000, "max_output_tokens": 700}') AS v;
-- example: access
SELECT quota.deny_model('company:acme', 'writer-*');
SELECT v ->> 'reason' AS reason, v ->> 'message' AS message, v -> 'estimate' -> 'amount' AS estimate
FROM quota.check('ann', 'apollo', 'writer-1', '{"input_tokens": 100, "max_output_tokens": 10}') AS v;
-- example: undeny
SELECT quota.drop_model_rule('company:acme', 'writer-*');
-- example: errors
SELECT quota.check('bob', 'apollo', 'writer-1', '{"input_tokens": 100}');
SELECT quota.check('ann', 'zeus', 'writer-1', '{"input_tokens": 100}');
SELECT quota.check('ann', 'apollo', 'writer-9', '{"input_tokens": 100}');
SELECT quota.check('ann', 'apollo', 'writer-1', '{"input_token": 100}');
-- example: remaining
SELECT quota.remaining('ann', 'apollo');
-- end
SELECT * FROM quota.verify();

\c :home
DROP DATABASE docs_guide;
