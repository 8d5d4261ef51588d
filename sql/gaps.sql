-- Verifies that while a limit does not apply at a level
-- 1. its grants and what is owed wait, of a plan that the account leaves and joins again,
-- 2. of a default that a limit stands before for a while, of accounts and of shares,
-- 3. of a plan that a default stands before;
-- 4. nothing rolls over from a period that ends then, and one that goes on after it has what
--    was used meanwhile taken from its amount;
-- 5. periods in which it never applied are not among those that are over;
-- 6. memory and tables agree;
-- 7. corrections of what was used then give no more than there was, and no less.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
SET xavier_quota.clock = '2026-03-01 00:00+00';
SELECT quota.put_account('company:gap') AS root \gset
SELECT quota.put_account('company:gap/project:gap') IS NOT NULL AS project;
SELECT quota.put_member('company:gap', 'gap_ann');
CREATE TEMP VIEW running AS
    SELECT scope, resource, source, "limit", used, remaining, rolled_over, granted, carried_overage
    FROM quota.admin_limits WHERE root = 'company:gap' ORDER BY scope, resource;
CREATE TEMP VIEW given AS
    SELECT scope, amount, remaining, burned, state FROM quota.admin_grants WHERE root = 'company:gap' ORDER BY grant_id;
CREATE FUNCTION pg_temp.use(amount quota.amount) RETURNS text
LANGUAGE sql AS $$
    SELECT quota.settle_amount((quota.reserve_amount('gap_ann', 'gap', amount) ->> 'hold_id')::uuid, amount) ->> 'state'
$$;

-- 1. Of 100 and a pack of 50, 120 are used: 30 of the pack are left, whatever happens in between.
SELECT quota.put_plan('gap pro', '[{"resource": "credit", "amount": 100, "period": "month", "carry_overage": true}]');
SELECT quota.put_plan('gap free', '[{"resource": "credit", "amount": 1000, "period": "month"}]');
SELECT quota.put_account('company:gap', plan => 'gap pro') = :root AS joined;
SELECT quota.grant_quota('company:gap', 'credit', 50, note => 'a pack') IS NOT NULL AS granted;
SET xavier_quota.clock = '2026-03-05 00:00+00';
SELECT pg_temp.use('credit=120');
SELECT * FROM given;
SET xavier_quota.clock = '2026-03-10 00:00+00';
SELECT quota.put_account('company:gap', plan => 'gap free') = :root AS left_it;
SELECT pg_temp.use('credit=300');
SET xavier_quota.clock = '2026-04-10 00:00+00';
SELECT pg_temp.use('credit=7');
SET xavier_quota.clock = '2026-05-10 00:00+00';
SELECT quota.put_account('company:gap', plan => 'gap pro') = :root AS joined_again;
SELECT * FROM running;
SELECT * FROM given;
SELECT pg_temp.use('credit=120');
SELECT * FROM given;
-- 25 more are a fact: 10 of the pack, and 15 are owed, also after two months elsewhere.
SELECT quota.adjust('company:gap', 'credit=25', 'a batch') ->> 'state' AS state;
SET xavier_quota.clock = '2026-05-20 00:00+00';
SELECT quota.put_account('company:gap') = :root AS left_again;
SELECT pg_temp.use('credit=1000');
SET xavier_quota.clock = '2026-07-20 00:00+00';
SELECT quota.put_account('company:gap', plan => 'gap pro') = :root AS joined_once_more;
SELECT * FROM running;
SELECT since, until FROM quota.past_plans WHERE root_id = :root AND plan = 'gap pro' ORDER BY since;

-- 5. There is a row of each period in which the plan applied at some time.
CALL quota.run_job('periods');
SELECT period_start::date AS month, "limit", granted, used, overage, rolled_over
FROM quota.admin_periods
WHERE limit_id = (SELECT limit_id FROM quota.plan_limits WHERE plan = 'gap pro') ORDER BY period_start;

-- 6.
SELECT count(*) FROM quota.verify('company:gap');
SELECT quota.put_account('company:gap') = :root AS left_for_good;

-- 2. A default for all projects and one for all users, each with a grant.
SET xavier_quota.clock = '2027-01-01 00:00+00';
SELECT quota.set_limit('company:gap/project:*', 'credit', 10, 'month') AS each_project,
       quota.set_limit('company:gap/user:*', 'calls', 10, 'month') AS each_user \gset
SELECT quota.grant_quota('company:gap/project:gap', 'credit', 50, effective_at => '2027-01-01 00:00+00') IS NOT NULL AS granted,
       quota.grant_quota('company:gap/user:gap_ann', 'calls', 50, effective_at => '2027-01-01 00:00+00') IS NOT NULL AS granted_too;
SET xavier_quota.clock = '2027-01-05 00:00+00';
SELECT pg_temp.use('credit=12,calls=14');
SELECT pg_temp.keep('open', quota.reserve_amount('gap_ann', 'gap', 'calls=20', ttl => '1 day'));
SELECT * FROM running;
SET xavier_quota.clock = '2027-01-05 06:00+00';
SELECT quota.set_limit('company:gap/project:gap', 'credit', 500, 'month') AS own,
       quota.set_limit('company:gap/user:gap_ann', 'calls', 500, 'month') AS own_share \gset
SELECT pg_temp.use('credit=100,calls=100');
SELECT * FROM running;
SET xavier_quota.clock = '2027-01-05 18:00+00';
SELECT quota.drop_limit(:own), quota.drop_limit(:own_share);
SELECT * FROM running;
SELECT pg_temp.use('credit=5,calls=5');
SELECT * FROM given WHERE remaining IS NOT NULL;
-- A hold of before gives back to the grants that it drew on.
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('open'), 'calls=1'));
SELECT * FROM given WHERE remaining IS NOT NULL;
SELECT count(*) FROM quota.verify('company:gap');

-- 3. A plan of the share, a default before it for February.
SELECT quota.drop_limit(:each_project), quota.drop_limit(:each_user);
SELECT quota.put_plan('gap share', '[{"resource": "calls", "amount": 10, "period": "day"}]');
SET xavier_quota.clock = '2027-01-31 00:00+00';
SELECT quota.put_account('company:gap/user:gap_ann', plan => 'gap share') IS NOT NULL AS joined;
SELECT quota.grant_quota('company:gap/user:gap_ann', 'calls', 20) IS NOT NULL AS granted;
SET xavier_quota.clock = '2027-02-01 00:00+00';
SELECT quota.set_limit('company:gap/user:*', 'calls', 100, 'day') AS each_user \gset
SELECT pg_temp.use('calls=90');
SET xavier_quota.clock = '2027-03-01 00:00+00';
SELECT quota.drop_limit(:each_user);
SELECT pg_temp.use('calls=13');
SELECT * FROM running;
SELECT resource, model, child_kind, user_id, set_at, dropped_at FROM quota.past_limits WHERE root_id = :root ORDER BY limit_id;
SELECT quota.put_account('company:gap/user:gap_ann') IS NOT NULL AS left_it;

-- 4. 60 of January roll over; the limit that stood before the default in February ends in
-- March: of February nothing rolls over, and of March 30 are used.
SET xavier_quota.clock = '2028-01-01 00:00+00';
SELECT quota.set_limit('company:gap/project:*', 'credit', 100, 'month', rollover => 1000, rollover_periods => 12) AS each_project \gset
SELECT pg_temp.use('credit=40');
SET xavier_quota.clock = '2028-02-01 00:00+00';
SELECT * FROM running;
SET xavier_quota.clock = '2028-02-10 00:00+00';
SELECT quota.set_limit('company:gap/project:gap', 'credit', 500, 'month') AS own \gset
SET xavier_quota.clock = '2028-03-05 00:00+00';
SELECT pg_temp.use('credit=30');
SET xavier_quota.clock = '2028-03-10 00:00+00';
SELECT quota.drop_limit(:own);
SELECT * FROM running;
SET xavier_quota.clock = '2028-04-10 00:00+00';
SELECT * FROM running;
-- A limit that stands before it for days of one month changes nothing.
SELECT quota.set_limit('company:gap/project:gap', 'credit', 500, 'month') AS own \gset
SET xavier_quota.clock = '2028-04-11 00:00+00';
SELECT quota.drop_limit(:own);
SET xavier_quota.clock = '2028-05-01 00:00+00';
SELECT * FROM running;
SELECT count(*) FROM quota.verify('company:gap');

-- 7. What is given back of what was used meanwhile gives nothing that the limit would not have.
SELECT quota.put_account('company:gap2') AS root \gset
SELECT quota.put_plan('gap pro', '[{"resource": "credit", "amount": 100, "period": "month", "rollover": 1000, "carry_overage": true}]');
CREATE TEMP VIEW running2 AS
    SELECT "limit", used, remaining, rolled_over, granted, carried_overage FROM quota.admin_limits WHERE root = 'company:gap2' AND resource = 'credit' AND source = 'plan';
SET xavier_quota.clock = '2026-04-05 00:00+00';
SELECT quota.put_account('company:gap2', plan => 'gap pro') = :root AS joined;
SET xavier_quota.clock = '2026-04-10 00:00+00';
SELECT quota.put_account('company:gap2', plan => 'gap free') = :root AS left_it;
SELECT quota.adjust('company:gap2', 'credit=900', 'an import') ->> 'state' AS state;
SET xavier_quota.clock = '2026-04-20 00:00+00';
SELECT quota.put_account('company:gap2', plan => 'gap pro') = :root AS joined_again;
SELECT quota.adjust('company:gap2', 'credit=-850', 'that was wrong') ->> 'state' AS state;
SELECT * FROM running2;
-- And what was owed before is made up for by what is given back meanwhile.
SELECT quota.put_account('company:gap5', plan => 'gap pro') AS root5 \gset
SET xavier_quota.clock = '2026-04-21 00:00+00';
SELECT quota.adjust('company:gap5', 'credit=300', 'a batch') ->> 'state' AS state;
SET xavier_quota.clock = '2026-04-22 00:00+00';
SELECT quota.put_account('company:gap5', plan => 'gap free') = :root5 AS left_it;
SET xavier_quota.clock = '2026-04-25 00:00+00';
SELECT quota.adjust('company:gap5', 'credit=-120', 'of the batch') ->> 'state' AS state;
SET xavier_quota.clock = '2026-05-01 00:00+00';
SELECT quota.put_account('company:gap5', plan => 'gap pro') = :root5 AS joined_again;
SELECT "limit", used, remaining, carried_overage FROM quota.admin_limits WHERE root = 'company:gap5' AND resource = 'credit';
SELECT quota.reload('company:gap5');
SELECT "limit", used, remaining, carried_overage FROM quota.admin_limits WHERE root = 'company:gap5' AND resource = 'credit';

-- Before an account first comes to a plan that does not apply either.
SELECT quota.put_account('company:gap3', plan => 'gap free') AS root \gset
SELECT quota.adjust('company:gap3', 'credit=900', 'used of 1000') ->> 'state' AS state;
SET xavier_quota.clock = '2026-05-20 00:00+00';
SELECT quota.put_account('company:gap3', plan => 'gap pro') = :root AS joined;
SELECT quota.grant_quota('company:gap3', 'credit', 50) IS NOT NULL AS granted;
SELECT "limit", used, remaining, granted FROM quota.admin_limits WHERE root = 'company:gap3';
SET xavier_quota.clock = '2026-06-01 00:00+00';
SELECT "limit", used, remaining, granted, carried_overage FROM quota.admin_limits WHERE root = 'company:gap3';

-- Nor does one for life.
SELECT quota.put_plan('gap prepaid', '[{"resource": "calls", "amount": 5, "period": "lifetime"}]');
SELECT quota.put_account('company:gap6') AS root \gset
SELECT quota.adjust('company:gap6', 'calls=20', 'used without a limit') ->> 'state' AS state;
SET xavier_quota.clock = '2026-06-01 00:30+00';
SELECT quota.put_account('company:gap6', plan => 'gap prepaid') = :root AS joined;
SELECT quota.grant_quota('company:gap6', 'calls', 10) IS NOT NULL AS granted;
SELECT "limit", used, remaining, granted FROM quota.admin_limits WHERE root = 'company:gap6';
SELECT quota.reload('company:gap6');
SELECT "limit", used, remaining, granted FROM quota.admin_limits WHERE root = 'company:gap6';
SET xavier_quota.clock = '2026-06-01 00:00+00';

-- More periods than are told at once, none of which was one of the limit's; and who changes the table by hand.
SELECT quota.put_plan('gap hours', '[{"resource": "calls", "amount": 10, "period": "hour"}]');
SELECT quota.put_account('company:gap4', plan => 'gap hours') AS root \gset
SET xavier_quota.clock = '2026-06-01 02:00+00';
CALL quota.run_job('periods');
UPDATE quota.accounts SET plan = NULL WHERE account_id = :root;
SET xavier_quota.clock = '2026-09-01 00:00+00';
SELECT quota.put_account('company:gap4', plan => 'gap hours') = :root AS joined;
SET xavier_quota.clock = '2026-09-01 01:00+00';
CALL quota.run_job('periods');
SELECT period_start FROM quota.admin_periods WHERE root = 'company:gap4' ORDER BY period_start;
SELECT plan, since, until FROM quota.past_plans WHERE root_id = :root;
SELECT count(v.*) FROM unnest(ARRAY['company:gap2', 'company:gap3', 'company:gap4', 'company:gap5', 'company:gap6']::quota.scope[]) AS s, quota.verify(s) AS v;
