-- Verifies that:
-- 1. closed periods of limits that carry say what there was, with what was rolled over and granted,
--    and what went into the next one;
-- 2. a late charge changes those after it, too;
-- 3. a grant in the past changes what was recorded;
-- 4. quota.admin_limits and quota.admin_grants say the same of the running period.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT quota.put_account('company:car') AS root \gset
SELECT quota.put_account('company:car/project:car') IS NOT NULL AS project;
SELECT quota.put_member('company:car', 'car_ann');
SELECT quota.set_limit('company:car', 'credit', 100, '1 day', rollover => 30, rollover_periods => 2) AS company,
       quota.set_limit('company:car/user:*', 'credit', 50, '1 day', overdraft => 20, carry_overage => true) AS each \gset
CREATE TEMP VIEW closed AS
    SELECT scope, period_start::date AS day, "limit", granted, used, overage, rolled_over, late
    FROM quota.admin_periods WHERE root = 'company:car' ORDER BY scope, period_start;
CREATE TEMP VIEW running AS
    SELECT scope, "limit", used, held, remaining, rolled_over, granted, carried_overage, state
    FROM quota.admin_limits WHERE root = 'company:car' ORDER BY scope;
CREATE FUNCTION pg_temp.spend(charged numeric) RETURNS text
LANGUAGE sql AS $$
    SELECT quota.settle_amount((quota.reserve_amount('car_ann', 'car', 'credit=1') ->> 'hold_id')::uuid,
                               ('credit=' || charged)::quota.amount) ->> 'state'
$$;

-- 1. 100 - 60 leaves 40, of which 30 go over. Ann had 50 and used 60: she begins with 40.
SELECT pg_temp.spend(60);
SELECT pg_temp.keep('lost', quota.reserve_amount('car_ann', 'car', 'credit=1', ttl => '1 minute'));
SET xavier_quota.clock = '2026-03-11 09:00+00';
SELECT quota._expire_holds(:root, 'company:car', 10) AS expired;
SELECT * FROM running;
SELECT quota.grant_quota('company:car', 'credit', 25, expires_at => '2026-03-13 00:00+00') AS granted \gset
SELECT pg_temp.spend(10);
SELECT * FROM running;
SET xavier_quota.clock = '2026-03-12 09:00+00';
SELECT pg_temp.spend(145);
CALL quota.run_job('periods');
SELECT * FROM closed;

-- 2. The lost hold settles at last: 20 more on the 10th.
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('lost'), 'credit=20'));
CALL quota.run_job('periods');
SELECT * FROM closed;

-- 3.
SELECT quota.grant_quota('company:car', 'credit', 8, effective_at => '2026-03-10 00:00+00') AS past \gset
CALL quota.run_job('periods');
SELECT * FROM closed;

-- 4.
SELECT * FROM running;
SELECT amount, remaining, burned, state FROM quota.admin_grants WHERE root = 'company:car' ORDER BY grant_id;
SELECT quota.void_grant(:past, 'a mistake');
SET xavier_quota.clock = '2026-03-13 00:00+00';
CALL quota.run_job('periods');
SELECT * FROM closed;
SELECT * FROM running;
SELECT amount, remaining, burned, state FROM quota.admin_grants WHERE root = 'company:car' ORDER BY grant_id;
SELECT * FROM quota.verify('company:car');
