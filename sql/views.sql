-- Verifies that:
-- 1. the views show what the tables hold, in numbers that an administrator can read;
-- 2. daily usage counts each event once, rolled up or not, whatever cluster it comes from;
-- 3. a day is a day in UTC, whatever the session's time zone;
-- 4. limits show the counters of the engine, and what follows from them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
SET search_path = public, quota;
SET TIME ZONE 'America/New_York';
SET datestyle = ISO;
SET intervalstyle = postgres;

BEGIN;
SET LOCAL xavier_quota.clock = '2026-03-10 12:00:00+00';

SELECT quota.put_plan('view_plan', '[{"resource": "credit", "amount": 100}]');
SELECT quota.put_account('company:view_acme', plan => 'view_plan') AS acme \gset
SELECT quota.put_account('company:view_acme/project:apollo', attributes => '{"cost_center": 7}') AS apollo \gset
SELECT quota.put_account('company:view_acme/project:old', active => false) AS old \gset
SELECT quota.put_account('user:view_ann') AS ann \gset
SELECT quota.put_member('company:view_acme', 'ann'), quota.put_member('company:view_acme', 'bob', false);
SELECT quota.set_limit('company:view_acme/user:*', 'credit', 5) IS NOT NULL AS set;

SELECT root, scope, parent, kind, name, active, plan, attributes, members, limits
    FROM quota.admin_accounts WHERE root::text LIKE '%:view\_%' ORDER BY scope;

-- The ledger is written by the engine; here rows of every sort are made up.
INSERT INTO quota.holds (hold_id, root_id, levels, scope, user_id, model, amount, held_at, expires_at, seq) VALUES
    ('00000000-0000-8000-8000-000000000001', :acme, ARRAY[:acme, :apollo]::bigint[], 'company:view_acme/project:apollo', 'ann', 'gpt',
     'credit=1.5,calls=1', '2026-03-10 11:50:00+00', '2026-03-10 12:05:00+00', 0),
    ('00000000-0000-8000-8000-000000000002', :ann, ARRAY[:ann]::bigint[], 'user:view_ann', 'view_ann', NULL,
     'storage=0.25', '2026-03-10 11:40:00+00', '2026-03-10 12:00:00+00', 0);
SELECT hold_id, root, scope, user_id, model, amount, credit, held_at AT TIME ZONE 'UTC' AS held_at, age,
       expires_at AT TIME ZONE 'UTC' AS expires_at, overdue
    FROM quota.admin_holds WHERE root::text LIKE '%:view\_%' ORDER BY hold_id;

-- Origin 1 is folded up to transaction 100, origin 2 has never been folded. The hours
-- stand on either side of midnight in UTC, which is 20:00 in New York.
INSERT INTO quota.fold_marks (root_id, origin, mark) VALUES (:acme, 1, '100');
INSERT INTO quota.usage_hourly (root_id, account_id, resource, hour, user_id, model, leaf, used, events) VALUES
    (:acme, :acme,   'credit', '2026-03-09 23:00+00', 'ann', 'gpt', false, 10.000001, 2),
    (:acme, :apollo, 'credit', '2026-03-09 23:00+00', 'ann', 'gpt', true,  10.000001, 2),
    (:acme, :acme,   'credit', '2026-03-10 00:00+00', '',    '',    true,  -3,        1);
INSERT INTO quota.events (hold_id, seq, kind, root_id, levels, scope, user_id, model, held, charged, cost_usd,
                          outcome, held_at, recorded_at, origin, xid) VALUES
    -- folded already
    ('00000000-0000-8000-8000-000000000011', 1, 'settled', :acme, ARRAY[:acme, :apollo]::bigint[], 'company:view_acme/project:apollo',
     'ann', 'gpt', 'credit=12,calls=1', 'credit=10.000001,calls=1', 0.10000001, 'succeeded',
     '2026-03-09 23:10+00', '2026-03-09 23:11+00', 1, '99'),
    -- not yet folded: at the mark, above it, and late
    ('00000000-0000-8000-8000-000000000012', 1, 'settled', :acme, ARRAY[:acme, :apollo]::bigint[], 'company:view_acme/project:apollo',
     'ann', 'gpt', 'credit=2,calls=1', 'credit=2.5,calls=1', 0.025, 'succeeded',
     '2026-03-09 23:59:59.999999+00', '2026-03-10 00:01+00', 1, '100'),
    ('00000000-0000-8000-8000-000000000013', 1, 'expired', :acme, ARRAY[:acme, :apollo]::bigint[], 'company:view_acme/project:apollo',
     'ann', 'gpt', 'credit=4,calls=1', '', NULL, NULL,
     '2026-03-10 00:00+00', '2026-03-10 00:15+00', 1, '101'),
    ('00000000-0000-8000-8000-000000000013', 2, 'late', :acme, ARRAY[:acme, :apollo]::bigint[], 'company:view_acme/project:apollo',
     'ann', 'gpt', '', 'credit=4,calls=1', 0.04, 'succeeded',
     '2026-03-10 00:00+00', '2026-03-10 00:20+00', 1, '102'),
    -- below the mark of another origin
    ('00000000-0000-8000-8000-000000000014', 1, 'adjustment', :acme, ARRAY[:acme]::bigint[], 'company:view_acme',
     NULL, NULL, '', 'credit=-0.5', NULL, NULL,
     '2026-03-10 09:00+00', '2026-03-10 09:00+00', 2, '50');

SELECT hold_id, seq, kind, outcome, root, scope, user_id, model, held, charged, credit, calls, cost_usd, late, overage
    FROM quota.admin_events WHERE root = 'company:view_acme' ORDER BY hold_id, seq;

-- 9 March: 10.000001 folded and 2.5 not; 10 March: 4 late, and an adjustment of -3 and -0.5.
-- calls were not folded by hand, so that the folded event is not counted: 1 and 1.
SELECT * FROM quota.admin_usage_daily WHERE root = 'company:view_acme'
    ORDER BY day, scope, resource COLLATE "C", user_id;

SELECT relation, operation, acting_as, changed_by = session_user AS mine, before IS NULL AS created
    FROM quota.admin_audit WHERE after ->> 'scope' = 'user:view_ann';

-- Jobs: one that never ran, one that goes well, one that fails now, one that has not come back.
INSERT INTO quota.jobs (job, schedule, description, max_lag) VALUES
    ('view_new', '* * * * *', 'Never ran', '1 hour'),
    ('view_good', '* * * * *', 'Goes well', '1 hour'),
    ('view_bad', '* * * * *', 'Fails', '1 hour'),
    ('view_slow', '* * * * *', 'Runs', '1 hour');
INSERT INTO quota.job_runs (job, started_at, finished_at, rows, error) VALUES
    ('view_good', '2026-03-10 11:00+00', '2026-03-10 11:01+00', 5, NULL),
    ('view_good', '2026-03-10 11:30+00', '2026-03-10 11:31+00', 0, NULL),
    ('view_bad', '2026-03-10 10:58+00', '2026-03-10 10:59+00', 7, NULL),
    ('view_bad', '2026-03-10 11:58+00', '2026-03-10 11:59+00', NULL, 'canceling statement due to lock timeout'),
    ('view_slow', '2026-03-10 11:00+00', '2026-03-10 11:00+00', 3, NULL),
    ('view_slow', '2026-03-10 11:59+00', NULL, NULL, NULL);
SELECT job, last_started AT TIME ZONE 'UTC' AS last_started, last_finished AT TIME ZONE 'UTC' AS last_finished,
       last_rows, last_error, last_success AT TIME ZONE 'UTC' AS last_success, overdue
    FROM quota.admin_jobs WHERE job LIKE 'view\_%' ORDER BY job COLLATE "C";

-- Rate cards: one that has ended, one in force, one to come.
SELECT quota.set_rate_card('view-model', '{"lines": [{"meter": "input_tokens", "price": "0.000003"}]}', '2026-01-01 00:00+00') AS card1 \gset
SELECT quota.set_rate_card('view-model', '{"lines": [{"meter": "input_tokens", "price": "0.000002"}, {"meter": "output_tokens", "price": "0.000009"}]}',
                           '2026-03-10 12:00+00') AS card2 \gset
SELECT quota.set_rate_card('view-model', '{"lines": [{"meter": "input_tokens", "price": "0.000001"}]}', '2026-03-10 12:00:00.000001+00') AS card3 \gset
SELECT model, valid_from AT TIME ZONE 'UTC' AS valid_from, valid_to AT TIME ZONE 'UTC' AS valid_to, in_force, lines, source,
       card -> 'lines' -> 0 ->> 'price' AS price, card_id = CASE lines WHEN 2 THEN :card2 ELSE card_id END AS card_ok
    FROM quota.admin_rate_cards WHERE model = 'view-model' ORDER BY valid_from;
SELECT operation, count(*) FROM quota.admin_audit
    WHERE relation = 'rate_cards' AND after ->> 'model' = 'view-model' GROUP BY operation ORDER BY operation COLLATE "C";

ROLLBACK;

-- Limits, with the engine. The decreases of a settlement take effect at its commit, so
-- these are transactions of their own. March has 31 days, of which 10 are over.
SET xavier_quota.clock = '2026-03-11 00:00:00+00';
SELECT quota.put_plan('view_limits', '[{"resource": "credit", "amount": 100},
                                       {"resource": "calls", "amount": 4, "period": "day", "overdraft": 1}]');
SELECT quota.put_account('company:view_limits', plan => 'view_limits') IS NOT NULL AS done;
SELECT quota.put_account('company:view_limits/project:apollo') IS NOT NULL AS done;
SELECT quota.put_member('company:view_limits', 'ann'), quota.put_member('company:view_limits', 'bob');
SELECT quota.set_limit('company:view_limits/user:*', 'credit', 50) AS of_users \gset
SELECT quota.set_limit('company:view_limits/user:bob', 'credit', 0) AS of_bob \gset
SELECT quota.set_limit('company:view_limits/project:apollo', 'credit', 36, policy => 'soft') AS of_apollo \gset
SELECT quota.set_limit('company:view_limits/project:apollo', 'storage', 2) AS of_storage \gset
SELECT limit_id AS of_plan_credit FROM quota.plan_limits WHERE plan = 'view_limits' AND resource = 'credit' \gset
SELECT limit_id AS of_plan_calls FROM quota.plan_limits WHERE plan = 'view_limits' AND resource = 'calls' \gset
SELECT quota.reserve_amount('ann', 'company:view_limits/project:apollo', 'credit=41,calls=1') ->> 'hold_id' AS hold_id \gset
SELECT quota.settle_amount(:'hold_id', 'credit=40,calls=1') ->> 'state' AS state;
SELECT quota.reserve_amount('ann', 'company:view_limits/project:apollo', 'credit=4.5,calls=3,storage=0.5') ->> 'allowed' AS allowed;
SELECT quota.reserve_amount('bob', 'company:view_limits/project:apollo', 'credit=0.000001,calls=1') ->> 'reason' AS reason;

SELECT scope, user_id, resource, period, policy, source,
       CASE limit_id WHEN :of_users THEN 'of users' WHEN :of_bob THEN 'of bob' WHEN :of_apollo THEN 'of apollo'
                     WHEN :of_storage THEN 'of storage' WHEN :of_plan_credit THEN 'of plan' WHEN :of_plan_calls THEN 'of plan' END AS id
    FROM quota.admin_limits WHERE root = 'company:view_limits' ORDER BY scope, resource COLLATE "C";
-- The company: 40 used in 10 days last for 25 days, until the end of 25 March; apollo
-- had its 36 after 9 days. A day that has just begun tells nothing.
SELECT scope, resource, "limit", overdraft AS over, used, held, remaining, percent, state,
       resets_at AT TIME ZONE 'UTC' AS resets_at, projected_exhaustion AT TIME ZONE 'UTC' AS projected_exhaustion
    FROM quota.admin_limits WHERE root = 'company:view_limits' ORDER BY scope, resource COLLATE "C";
-- Bob's request did not fit his own limit, and none of ann's fitted into the soft one.
SELECT scope, resource, denied FROM quota.admin_limits
    WHERE root = 'company:view_limits' AND denied > 0 ORDER BY scope, resource COLLATE "C";

-- On the 26th a correction takes what the company has left; at this pace the 50 of ann last
-- longer than the month.
SET xavier_quota.clock = '2026-03-26 00:00:00+00';
SELECT quota.adjust('company:view_limits', 'credit=55.5', 'a correction') ->> 'state' AS state;
SELECT scope, resource, "limit", used, held, remaining, percent, state, projected_exhaustion AT TIME ZONE 'UTC' AS projected_exhaustion
    FROM quota.admin_limits WHERE root = 'company:view_limits' AND resource = 'credit' ORDER BY scope;
-- What is used by whom, before and after it is rolled up.
SELECT day, scope, user_id, resource, used, events FROM quota.admin_usage_daily
    WHERE root = 'company:view_limits' ORDER BY day, scope, resource COLLATE "C";
RESET xavier_quota.clock;
CALL quota.run_job('fold');
SELECT count(*) > 0 AS rolled_up FROM quota.usage_hourly u JOIN quota.accounts a ON a.account_id = u.root_id
    WHERE a.scope = 'company:view_limits';
SELECT day, scope, user_id, resource, used, events FROM quota.admin_usage_daily
    WHERE root = 'company:view_limits' ORDER BY day, scope, resource COLLATE "C";
SELECT kind, scope, user_id, credit, calls, late, overage FROM quota.admin_events
    WHERE root = 'company:view_limits' ORDER BY held_at;
