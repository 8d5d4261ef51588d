-- Verifies that the job periods:
-- 1. records each period of a calendar limit that is over, once, at every level where the limit
--    counts, from the period in which the limit was made; not those of a lifetime, of limits that
--    roll or refill or are shorter than an hour, and not what is not over;
-- 2. waits for holds that are open: nothing from their period on is recorded, of that level and limit;
-- 3. adds late charges to what was recorded, and says how much came late;
-- 4. goes on where it was after a change of the limit, under other defaults and after a drop;
-- 5. needs not record what a grant in the past has changed: that is done with the grant;
-- and that what is over is recorded before its limit goes: is dropped, leaves its plan, or the
-- account leaves it.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT quota.put_account('company:per') AS root \gset
SELECT quota.put_account('company:per/project:per') IS NOT NULL AS project;
SELECT count(quota.put_member('company:per', u)) AS members FROM unnest(ARRAY['per_ann', 'per_bob']) AS u;
SELECT quota.set_limit('company:per', 'credit', 100, '1 day') AS day,
       quota.set_limit('company:per', 'credit', 1000) AS month,
       quota.set_limit('company:per/user:*', 'credit', 60, '1 day') AS each \gset
SELECT count(quota.set_limit('company:per', 'credit', 1000, p::quota.period)) AS others
FROM unnest(ARRAY['lifetime', 'rolling 1 hour', 'refill 1 per second up to 1000', '10 minutes']) AS p;
CREATE TEMP VIEW closed AS
    SELECT scope, user_id, period_start::date AS starts, period_end::date AS ends, "limit", granted, used, overage, rolled_over, late, recorded_at
    FROM quota.admin_periods WHERE root = 'company:per' ORDER BY scope, period_end - period_start, period_start;
CREATE FUNCTION pg_temp.spend(user_id text, held numeric, charged numeric) RETURNS text
LANGUAGE sql AS $$
    SELECT quota.settle_amount((quota.reserve_amount(spend.user_id, 'per', ('credit=' || held)::quota.amount) ->> 'hold_id')::uuid,
                               ('credit=' || charged)::quota.amount) ->> 'state'
$$;

-- 1.
SELECT pg_temp.spend('per_ann', 50, 40), pg_temp.spend('per_bob', 20, 20);
CALL quota.run_job('periods');
SELECT * FROM closed;
SET xavier_quota.clock = '2026-03-11 00:00+00';
CALL quota.run_job('periods');
SELECT * FROM closed;
SELECT l.period, count(*) FROM quota.admin_periods p JOIN quota.limits l USING (limit_id) WHERE p.root = 'company:per' GROUP BY l.period;
SET xavier_quota.clock = '2026-03-13 01:00+00';
CALL quota.run_job('periods');
CALL quota.run_job('periods');
SELECT * FROM closed;
SELECT last_rows, last_error FROM quota.admin_jobs WHERE job = 'periods';

-- 2.
SELECT pg_temp.keep('ann', quota.reserve_amount('per_ann', 'per', 'credit=30', ttl => '10 minutes'));
SET xavier_quota.clock = '2026-03-13 01:05+00';
SELECT pg_temp.keep('bob', quota.reserve_amount('per_bob', 'per', 'credit=5', ttl => '1 hour'));
SET xavier_quota.clock = '2026-03-15 01:00+00';
CALL quota.run_job('periods');
SELECT * FROM closed WHERE recorded_at = quota.now();
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('bob'), 'credit=4'));
SELECT quota._expire_holds(:root, 'company:per', 100) AS expired;
CALL quota.run_job('periods');
SELECT * FROM closed WHERE recorded_at = quota.now();

-- 3. It had expired, so that nothing was charged on the 13th.
SET xavier_quota.clock = '2026-03-15 02:00+00';
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('ann'), 'credit=31'));
CALL quota.run_job('periods');
SELECT * FROM closed WHERE recorded_at = quota.now();
SET xavier_quota.clock = '2026-03-15 03:00+00';
CALL quota.run_job('periods');
SELECT count(*) FROM closed WHERE recorded_at = quota.now();

-- 4.
SELECT quota.set_limit('company:per', 'credit', 200, '1 day') = :day AS same,
       quota.set_limit('company:per/user:per_ann', 'credit', 70, '1 day') AS of_ann \gset
SELECT quota.drop_limit(:month);
SELECT pg_temp.spend('per_ann', 10, 65), pg_temp.spend('per_bob', 10, 61);
SET xavier_quota.clock = '2026-03-17 00:30+00';
CALL quota.run_job('periods');
SELECT * FROM closed WHERE recorded_at = quota.now();

-- 5.
SELECT count(*) FROM closed WHERE scope = 'company:per';
SELECT quota.grant_quota('company:per', 'credit', 10, effective_at => '2026-03-14 12:00+00', limit_id => :day) IS NOT NULL AS granted;
SELECT * FROM closed WHERE scope = 'company:per';
SET xavier_quota.clock = '2026-03-17 00:40+00';
CALL quota.run_job('periods');
SELECT count(*) FROM closed WHERE recorded_at = quota.now();
SELECT * FROM quota.verify('company:per');

-- 6. After the job has last run.
SELECT quota.put_account('company:last') AS last_root \gset
SELECT quota.put_account('company:last/project:last') IS NOT NULL AS project;
SELECT quota.put_member('company:last', 'last_ann');
SET xavier_quota.clock = '2027-03-01 12:00+00';
SELECT quota.set_limit('company:last', 'credit', 100, '1 day') AS day,
       quota.set_limit('company:last/user:*', 'credit', 60, '1 day') AS each,
       quota.set_limit('company:last', 'credit', 9, '1 minute') AS minute \gset
SELECT quota.put_plan('last', '[{"resource": "calls", "amount": 7, "period": "day"}, {"resource": "calls", "amount": 70, "period": "week"}]');
SELECT count(quota.put_account(s::quota.scope, plan => 'last')) FROM unnest(ARRAY['company:last/project:last', 'company:last/user:last_ann']) AS s;
SELECT pg_temp.keep('last', quota.reserve_amount('last_ann', 'last', 'credit=3,calls=1'));
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('last'), 'credit=5,calls=1'));
CALL quota.run_job('periods');
CREATE TEMP VIEW last AS
    SELECT scope, user_id, resource, period_start::date AS starts, period_end::date AS ends, "limit", used
    FROM quota.admin_periods WHERE root = 'company:last' ORDER BY scope, resource, starts, ends;
SET xavier_quota.clock = '2027-03-03 12:00+00';
SELECT quota.drop_limit(:day);
SELECT * FROM last;
SELECT quota.drop_limit(:each), quota.drop_limit(:minute);
SELECT * FROM last WHERE user_id IS NOT NULL;
SET xavier_quota.clock = '2027-03-09 12:00+00';
SELECT quota.put_plan('last', '[{"resource": "calls", "amount": 7, "period": "day"}]');
SELECT * FROM last WHERE resource = 'calls' AND (used > 0 OR ends - starts > 1);
SET xavier_quota.clock = '2027-03-11 12:00+00';
SELECT quota.put_account('company:last/user:last_ann') IS NOT NULL AS left_it;
SELECT user_id, min(starts), max(ends), count(*), sum(used) FROM last WHERE resource = 'calls' AND ends - starts = 1 GROUP BY user_id;
-- A limit that was made for the level takes the place of the one of the plan.
SET xavier_quota.clock = '2027-03-14 12:00+00';
SELECT quota.set_limit('company:last/project:last', 'calls', 8, 'day') AS own \gset
SELECT max(ends), count(*) FROM last WHERE resource = 'calls' AND ends - starts = 1 AND user_id IS NULL;
SET xavier_quota.clock = '2027-03-11 12:00+00';
SELECT quota.drop_limit(:own);
-- So does a default, for each of the children.
SET xavier_quota.clock = '2027-03-17 12:00+00';
SELECT quota.set_limit('company:last/project:*', 'calls', 8, 'day') AS own \gset
SELECT max(ends), count(*) FROM last WHERE resource = 'calls' AND ends - starts = 1 AND user_id IS NULL;
SELECT quota.drop_limit(:own);
SET xavier_quota.clock = '2027-03-11 12:00+00';
-- A hold that is open is of a period that is not recorded; it goes with its limit.
SELECT quota.set_limit('company:last', 'storage', 100) AS stock, quota.set_limit('company:last', 'calls', 100, '1 day') AS again \gset
SELECT pg_temp.keep('held', quota.reserve_amount('last_ann', 'last', 'calls=1', ttl => '1 day'));
SET xavier_quota.clock = '2027-03-12 00:00+00';
SELECT quota.drop_limit(:again), quota.drop_limit(:stock);
SELECT * FROM last WHERE starts >= '2027-03-11' AND scope = 'company:last';
