-- Verifies that:
-- 1. the views show what the tables hold, in numbers that an administrator can read;
-- 2. daily usage counts each event once, rolled up or not, whatever cluster it comes from;
-- 3. a day is a day in UTC, whatever the session's time zone.
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
INSERT INTO quota.holds (hold_id, root_id, levels, scope, user_id, model, amount, held_at, expires_at) VALUES
    ('00000000-0000-8000-8000-000000000001', :acme, ARRAY[:acme, :apollo]::bigint[], 'company:view_acme/project:apollo', 'ann', 'gpt',
     'credit=1.5,calls=1', '2026-03-10 11:50:00+00', '2026-03-10 12:05:00+00'),
    ('00000000-0000-8000-8000-000000000002', :ann, ARRAY[:ann]::bigint[], 'user:view_ann', 'view_ann', NULL,
     'storage=0.25', '2026-03-10 11:40:00+00', '2026-03-10 12:00:00+00');
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
    ('00000000-0000-8000-8000-000000000014', 1, 'adjusted', :acme, ARRAY[:acme]::bigint[], 'company:view_acme',
     NULL, NULL, '', 'credit=-0.5', NULL, NULL,
     '2026-03-10 09:00+00', '2026-03-10 09:00+00', 2, '50');

SELECT hold_id, seq, kind, outcome, root, scope, user_id, model, held, charged, credit, calls, cost_usd, late
    FROM quota.admin_events WHERE root = 'company:view_acme' ORDER BY hold_id, seq;

-- 9 March: 10.000001 folded and 2.5 not; 10 March: 4 late, and an adjustment of -3 and -0.5.
-- calls were not folded by hand, so that the folded event is not counted: 1 and 1.
SELECT * FROM quota.admin_usage_daily WHERE root = 'company:view_acme'
    ORDER BY day, scope, resource COLLATE "C", user_id;

SELECT relation, operation, acting_as, changed_by = session_user AS mine, before IS NULL AS created
    FROM quota.admin_audit WHERE after ->> 'scope' = 'user:view_ann';

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
