-- Verifies that:
-- 1. what is unused rolls over, up to a cap, through so many periods; what rolled over is used first;
-- 2. overage is owed in the next period, or forgiven, as the limit says;
-- 3. a hold of the period before counts there as used, and gives back when it is settled below, released or late;
-- 4. grants burn by priority, then soonest end, then age, after the amount of the period; a smaller settlement gives
--    back to the very grants; what is left of one ends with it, or is capped at a reset;
-- 5. prepaid packs feed a limit for life;
-- 6. a refusal says when the same request fits; nothing is held in a period whose use would make a later one owe;
-- 7. defaults and plans carry from when they apply; a change of terms holds from its period on;
-- 8. reload, verify(), the fold and a clock that goes back agree, over more phases than memory keeps;
-- 9. what was held under a clock that was far ahead is no obstacle to those before it.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null ''
SET xavier_quota.clock = '2026-03-01 00:00+00';
SELECT count(quota.put_account(('company:car' || n)::quota.scope)) + count(quota.put_account(('company:car' || n || '/project:car' || n)::quota.scope)) AS accounts FROM generate_series(1, 14) AS n;
SELECT count(quota.put_member(('company:car' || n)::quota.scope, 'car_ann')) AS members FROM generate_series(1, 14) AS n;
CREATE FUNCTION pg_temp.reserve(label text, credits numeric, company int, ttl interval DEFAULT '7 days') RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.keep(label, quota.reserve_amount('car_ann', 'car' || company, ('credit=' || credits)::quota.amount, ttl => ttl)) $$;
CREATE FUNCTION pg_temp.settle(label text, credits numeric) RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.brief(quota.settle_amount(pg_temp.id(label), ('credit=' || credits)::quota.amount)) $$;
CREATE FUNCTION pg_temp.used(company int, credits numeric, clock text) RETURNS text
LANGUAGE sql AS $$ SELECT set_config('xavier_quota.clock', clock, false); SELECT quota.adjust(('company:car' || company)::quota.scope, ('credit=' || credits)::quota.amount, 'used') ->> 'state' $$;
CREATE FUNCTION pg_temp.at(company int, clock text, credits numeric DEFAULT 0.000001)
RETURNS TABLE (allowed boolean, retry_at timestamp, "limit" numeric, used numeric, held numeric, remaining numeric, rolled_over numeric, granted numeric, carried numeric)
LANGUAGE sql AS $$
    SELECT set_config('xavier_quota.clock', clock, false);
    SELECT (v ->> 'allowed')::boolean, (v ->> 'retry_at')::timestamptz AT TIME ZONE 'UTC', (l ->> 'limit')::numeric, (l ->> 'used')::numeric, (l ->> 'held')::numeric,
           (l ->> 'remaining')::numeric, (l ->> 'rolled_over')::numeric, (l ->> 'granted')::numeric, (l ->> 'carried_overage')::numeric
    FROM quota.check_amount('car_ann', 'car' || company, ('credit=' || credits)::quota.amount) AS v, jsonb_array_elements(v -> 'levels') WITH ORDINALITY AS e (l, n) ORDER BY e.n
$$;
CREATE TEMP VIEW grants AS SELECT root, note, amount, remaining, burned, state FROM quota.admin_grants ORDER BY root, grant_id;

-- 1. 100 a day, of which at most 150 roll over, through two days. 40, 30, 250, 10 and 10 are used.
SELECT quota.set_limit('company:car1', 'credit', 100, 'day', rollover => 150, rollover_periods => 2) IS NOT NULL AS set;
SELECT * FROM pg_temp.at(1, '2026-03-01 12:00+00');
SELECT pg_temp.used(1, 40, '2026-03-01 12:00+00');
SELECT * FROM pg_temp.at(1, '2026-03-02 00:00+00');
-- 30 of the 60 of the first are used on the second, whose 100 stay whole: 30 and 100 roll over.
SELECT pg_temp.used(1, 30, '2026-03-02 12:00+00');
SELECT * FROM pg_temp.at(1, '2026-03-03 00:00+00');
-- 250 are 20 more than the 230 of the third: overage that is forgiven.
SELECT pg_temp.used(1, 250, '2026-03-03 12:00+00');
SELECT * FROM pg_temp.at(1, '2026-03-03 13:00+00');
SELECT * FROM pg_temp.at(1, '2026-03-04 00:00+00');
SELECT pg_temp.used(1, 10, '2026-03-04 12:00+00');
SELECT * FROM pg_temp.at(1, '2026-03-05 00:00+00');
SELECT pg_temp.used(1, 10, '2026-03-05 12:00+00');
-- 80 of the 4th and 100 of the 5th: 180, of which 150 roll over, those of the 4th cut to 50.
SELECT * FROM pg_temp.at(1, '2026-03-06 00:00+00');
-- Then those 50 are two days old and gone: 100 of the 5th and 100 of the 6th, cut to 150.
SELECT * FROM pg_temp.at(1, '2026-03-07 00:00+00');
SELECT scope, "limit", used, remaining, state, rolled_over, granted, carried_overage, resets_at FROM quota.admin_limits WHERE root = 'company:car1';

-- 2. The same use, of a limit that owes and of one that forgives.
SET xavier_quota.clock = '2026-03-01 00:00+00';
SELECT quota.set_limit('company:car2', 'credit', 10, 'day', overdraft => 5, carry_overage => true) IS NOT NULL AS owed,
       quota.set_limit('company:car2', 'credit', 10, '24 hours', policy => 'soft') IS NOT NULL AS forgiven;
SELECT pg_temp.used(2, 33, '2026-03-01 12:00+00');
SELECT * FROM pg_temp.at(2, '2026-03-01 13:00+00');
SELECT * FROM pg_temp.at(2, '2026-03-02 00:00+00');
SELECT * FROM pg_temp.at(2, '2026-03-03 00:00+00', 12);
SELECT * FROM pg_temp.at(2, '2026-03-04 00:00+00', 12);
SELECT * FROM pg_temp.at(2, '2026-03-05 00:00+00', 12);

-- 3. 10 a day, all of which may roll over. 8 are held late on the first: 2 roll over until that is settled for 3.
SET xavier_quota.clock = '2026-03-01 23:59:59.999999+00';
SELECT quota.set_limit('company:car3', 'credit', 10, 'day', rollover => 10) IS NOT NULL AS set;
SELECT pg_temp.reserve('a', 8, 3), pg_temp.reserve('b', 1, 3, '1 second');
SELECT * FROM pg_temp.at(3, '2026-03-02 00:00+00');
SET xavier_quota.clock = '2026-03-02 00:00+00';
SELECT pg_temp.reserve('c', 11.5, 3);
SELECT pg_temp.settle('a', 3);
SELECT * FROM pg_temp.at(3, '2026-03-02 00:00:01+00');
-- b expires: one more. It is charged late: one less, and what the second has was never more than it was.
SET xavier_quota.clock = '2026-03-02 00:00:01+00';
SELECT pg_temp.reserve('c', 17, 3);
SELECT pg_temp.settle('b', 1);
SELECT * FROM pg_temp.at(3, '2026-03-02 00:00:01+00');
SELECT pg_temp.brief(quota.release(pg_temp.id('c')));
SELECT * FROM pg_temp.at(3, '2026-03-03 00:00+00');
SELECT * FROM quota.verify('company:car3');

-- 4. 10 a day. Of the grants, soon ends first, first is of the highest priority, and of two alike the older one burns first.
SELECT quota.set_limit('company:car4', 'credit', 10, 'day') AS day \gset
SET xavier_quota.clock = '2026-03-03 06:00+00';
SELECT quota.grant_quota('company:car4', 'credit', 20, note => 'old') IS NOT NULL AS old,
       quota.grant_quota('company:car4', 'credit', 20, note => 'young', effective_at => '2026-03-03 08:00+00') IS NOT NULL AS young,
       quota.grant_quota('company:car4', 'credit', 5, note => 'soon', expires_at => '2026-03-05 12:00+00') IS NOT NULL AS soon,
       quota.grant_quota('company:car4', 'credit', 3, 1, note => 'first') IS NOT NULL AS first,
       quota.grant_quota('company:car4', 'credit', 9, note => 'capped', priority => 200, rollover => 4) AS capped \gset
SET xavier_quota.clock = '2026-03-03 07:00+00';
SELECT * FROM pg_temp.at(4, '2026-03-03 07:00+00', 50);
SELECT pg_temp.reserve('d', 12, 4);
SELECT * FROM grants WHERE root = 'company:car4';
SELECT pg_temp.reserve('e', 20, 4);
SELECT * FROM grants WHERE root = 'company:car4';
-- d gives 11 back: then 9 of e are what the day has, and 3, 5 and 4 come from first, soon and old.
SELECT pg_temp.settle('d', 1);
SELECT * FROM grants WHERE root = 'company:car4';
SELECT * FROM pg_temp.at(4, '2026-03-03 09:00+00');
SELECT pg_temp.settle('e', 12.5);
SELECT * FROM grants WHERE root = 'company:car4';
-- The next day capped has 4, and on the 5th at noon soon is gone.
SELECT * FROM pg_temp.at(4, '2026-03-04 00:00+00');
SELECT * FROM grants WHERE root = 'company:car4';
SELECT * FROM pg_temp.at(4, '2026-03-05 12:00+00');
SELECT quota.void_grant(:capped, 'by mistake');
SELECT * FROM grants WHERE root = 'company:car4';
SELECT * FROM quota.verify('company:car4');

-- 5. Nothing for life, and two packs, the second to be there on the 10th.
SELECT quota.set_limit('company:car5', 'credit', 0, 'lifetime') AS life \gset
SELECT * FROM pg_temp.at(5, '2026-03-01 12:00+00');
SELECT quota.grant_quota('company:car5', 'credit', 50, note => 'pack 1', expires_at => '2026-03-20 00:00+00') IS NOT NULL AS granted,
       quota.grant_quota('company:car5', 'credit', 50, note => 'pack 2', effective_at => '2026-03-10 00:00+00') IS NOT NULL AS scheduled;
SET xavier_quota.clock = '2026-03-02 12:00+00';
SELECT pg_temp.reserve('f', 30, 5), pg_temp.settle('f', 25), pg_temp.reserve('g', 26, 5);
SELECT * FROM pg_temp.at(5, '2026-03-02 12:00+00', 60);
SELECT * FROM pg_temp.at(5, '2026-03-09 23:59:59.999999+00', 60);
SELECT * FROM pg_temp.at(5, '2026-03-10 00:00+00', 60);
SELECT * FROM pg_temp.at(5, '2026-03-20 00:00+00', 60);
SELECT * FROM grants WHERE root = 'company:car5';
-- What is taken back was not burned before: the one that burned stays burned.
SELECT quota.set_limit('company:car10', 'credit', 0, 'lifetime') IS NOT NULL AS set FROM set_config('xavier_quota.clock', '2026-03-01 00:00+00', false);
SELECT quota.grant_quota('company:car10', 'credit', 10, note => 'first') AS first, quota.grant_quota('company:car10', 'credit', 10, note => 'second') AS second \gset
SELECT pg_temp.used(10, 10, '2026-03-02 00:00+00');
SET xavier_quota.clock = '2026-03-03 00:00+00';
SELECT quota.void_grant(:second, 'a mistake');
SELECT * FROM grants WHERE root = 'company:car10';
SELECT * FROM pg_temp.at(10, '2026-03-03 00:00+00', 10);
-- Grants that are over, and new ones of that time: no more than can be kept are in effect together.
SELECT quota.set_limit('company:car11', 'credit', 10, 'day') IS NOT NULL AS set FROM set_config('xavier_quota.clock', '2026-03-01 00:00+00', false);
SELECT count(quota.grant_quota('company:car11', 'credit', 1, expires_at => '2026-03-03 00:00+00')) AS granted FROM generate_series(1, 64);
SET xavier_quota.clock = '2026-03-05 00:00+00';
SELECT r.code, r.detail FROM pg_temp.refused($$SELECT quota.grant_quota('company:car11', 'credit', 1, effective_at => '2026-03-02 00:00+00')$$) AS r;
SELECT count(quota.grant_quota('company:car11', 'credit', 1, effective_at => '2026-03-03 00:00+00')) AS granted FROM generate_series(1, 64);
SELECT * FROM pg_temp.at(11, '2026-03-05 00:00+00', 74);

-- 6. 10 a day that roll over. Who holds on the second, and comes back to the first, may not use there what the second has used up.
SELECT quota.set_limit('company:car6', 'credit', 10, 'day', rollover => 10) IS NOT NULL AS set FROM set_config('xavier_quota.clock', '2026-03-01 00:00+00', false);
SET xavier_quota.clock = '2026-03-02 00:00+00';
SELECT pg_temp.reserve('h', 18, 6);
SELECT * FROM pg_temp.at(6, '2026-03-01 12:00+00', 2);
SELECT * FROM pg_temp.at(6, '2026-03-01 12:00+00', 2.000001);
SET xavier_quota.clock = '2026-03-01 12:00+00';
SELECT pg_temp.reserve('i', 2, 6), pg_temp.reserve('j', 0.000001, 6);
SELECT * FROM pg_temp.at(6, '2026-03-02 00:00+00', 20);
SELECT * FROM pg_temp.at(6, '2026-03-04 00:00+00', 20);
SELECT * FROM pg_temp.at(6, '2026-03-04 00:00+00', 20.000001);
-- All that the third can have is used: 11 are too much for the first; on the second they would make the third owe 1; the fourth has 10.
SELECT quota.set_limit('company:car9', 'credit', 10, 'day', rollover => 10) IS NOT NULL AS set FROM set_config('xavier_quota.clock', '2026-03-01 00:00+00', false);
SET xavier_quota.clock = '2026-03-03 12:00+00';
SELECT pg_temp.reserve('k', 20, 9);
SELECT n, a.allowed, a.retry_at FROM unnest(ARRAY[10, 11]) AS n, pg_temp.at(9, '2026-03-01 12:00+00', n) AS a ORDER BY n;
SELECT c, a.allowed FROM unnest(ARRAY['2026-03-02 12:00+00', '2026-03-03 23:59:59.999999+00', '2026-03-04 23:59:59.999999+00', '2026-03-05 00:00+00']) AS c, pg_temp.at(9, c, 11) AS a ORDER BY c;

-- 700 are owed at 10 a day: that takes 70 days; more than there ever is never fits.
SELECT quota.set_limit('company:car12', 'credit', 10, 'day', carry_overage => true) IS NOT NULL AS set FROM set_config('xavier_quota.clock', '2026-03-01 00:00+00', false);
SELECT pg_temp.used(12, 700, '2026-03-01 00:00+00');
SELECT n, a.allowed, a.retry_at FROM unnest(ARRAY[0.000001, 10, 10.000001]) AS n, pg_temp.at(12, '2026-03-01 12:00+00', n) AS a ORDER BY n;
SELECT c, a.allowed FROM unnest(ARRAY['2026-05-09 23:59:59.999999+00', '2026-05-10 00:00+00']) AS c, pg_temp.at(12, c) AS a;
-- Of several limits: when the day has room, what was granted to the month is over.
SET xavier_quota.clock = '2026-03-01 00:00+00';
SELECT quota.set_limit('company:car13', 'credit', 20, 'month') AS month,
       quota.set_limit('company:car13/project:car13', 'credit', 40, 'day') AS day \gset
SELECT quota.grant_quota('company:car13', 'credit', 50, limit_id => :month, effective_at => '2026-03-10 10:00+00', expires_at => '2026-03-10 11:00+00') IS NOT NULL AS granted;
SET xavier_quota.clock = '2026-03-10 00:00+00';
SELECT pg_temp.reserve('l', 20, 13);
SET xavier_quota.clock = '2026-03-10 09:00+00';
SELECT n, v ->> 'allowed' AS allowed, (v ->> 'retry_at')::timestamptz AT TIME ZONE 'UTC' AS retry_at
    FROM unnest(ARRAY[15, 30]) AS n, quota.check_amount('car_ann', 'car13', ('credit=' || n)::quota.amount) AS v ORDER BY n;

-- 7. A default rolls over from when the account is there, a plan from when the account is on it.
SET xavier_quota.clock = '2026-03-01 00:00+00';
SELECT quota.set_limit('company:car7/project:*', 'credit', 10, 'day', rollover => 100, rollover_periods => 12) IS NOT NULL AS set,
       quota.put_plan('car', '[{"resource": "credit", "amount": 7, "period": "1 day", "rollover": 70, "rollover_periods": 10}]');
SET xavier_quota.clock = '2026-03-05 12:00+00';
SELECT quota.put_account('company:car7/project:new') IS NOT NULL AS created, quota.put_account('company:car7', plan => 'car') IS NOT NULL AS planned;
SET xavier_quota.clock = '2026-03-07 12:00+00';
SELECT scope, source, "limit", rolled_over FROM quota.admin_limits WHERE root = 'company:car7' ORDER BY scope;
-- From the 8th on it is 20 a day, of which 5 roll over; what was before stays.
SET xavier_quota.clock = '2026-03-08 06:00+00';
SELECT quota.set_limit('company:car7/project:*', 'credit', 20, 'day', rollover => 5) IS NOT NULL AS changed;
SELECT scope, source, "limit", rolled_over FROM quota.admin_limits WHERE root = 'company:car7' ORDER BY scope;
SET xavier_quota.clock = '2026-03-09 06:00+00';
SELECT scope, source, "limit", rolled_over FROM quota.admin_limits WHERE root = 'company:car7' ORDER BY scope;

-- 8. 10 an hour through 200 hours, in each of which n % 13 are used; what is asked about twice has to be the same.
SELECT quota.set_limit('company:car8', 'credit', 10, 'hour', rollover => 25, rollover_periods => 3, carry_overage => true) IS NOT NULL AS set,
       quota.grant_quota('company:car8', 'credit', 12, note => 'hourly', expires_at => '2026-03-09 13:30+00') IS NOT NULL AS granted
    FROM set_config('xavier_quota.clock', '2026-03-01 00:00+00', false);
SELECT pg_temp.used(8, n % 13 + 4, (timestamptz '2026-03-01 00:20+00' + n * interval '1 hour')::text) FROM generate_series(0, 200) AS n ORDER BY n OFFSET 200;
CREATE FUNCTION pg_temp.all_at() RETURNS TABLE (clock timestamptz, "limit" numeric, used numeric, remaining numeric, rolled_over numeric, granted numeric, carried numeric)
LANGUAGE sql AS $$ SELECT c, a."limit", a.used, a.remaining, a.rolled_over, a.granted, a.carried FROM generate_series(timestamptz '2026-03-09 08:30+00', '2026-03-09 15:30+00', '1 hour') AS c, pg_temp.at(8, c::text) AS a $$;
CREATE TEMP TABLE seen AS SELECT * FROM pg_temp.all_at();
SELECT * FROM seen;
SELECT * FROM quota.verify('company:car8');
SELECT quota.reload('company:car8');
SELECT count(*) AS same FROM (SELECT * FROM pg_temp.all_at() INTERSECT SELECT * FROM seen) AS s;
SELECT quota._fold_root(a.root_id, quota._system_identifier()) > 0 AS folded FROM quota.accounts a WHERE a.scope = 'company:car8';
SELECT quota.reload('company:car8');
SELECT count(*) AS same FROM (SELECT * FROM pg_temp.all_at() INTERSECT SELECT * FROM seen) AS s;
SELECT * FROM quota.verify('company:car8');
-- More hours than memory keeps, and the same again.
SELECT pg_temp.used(8, n % 17, (timestamptz '2026-03-09 20:20+00' + n * interval '1 hour')::text) FROM generate_series(0, 140) AS n ORDER BY n OFFSET 140;
SELECT * FROM pg_temp.at(8, '2026-03-15 17:00+00');
SELECT * FROM quota.verify('company:car8');
SELECT quota.reload('company:car8');
SELECT * FROM pg_temp.at(8, '2026-03-15 17:00+00');
-- A clock that goes back further than memory keeps, while what came after counts, finds nothing to hold; forward again all is as it was.
SELECT * FROM pg_temp.at(8, '2026-03-01 01:30+00');
SELECT * FROM pg_temp.at(8, '2026-03-15 17:00+00');

-- 9. 10 a day. A clock that is 300 days ahead, and then right again: as if there were no such hold, but that
-- nobody may use what it has.
SELECT quota.set_limit('company:car14', 'credit', 10, 'day', rollover => 5, carry_overage => true) IS NOT NULL AS set
    FROM set_config('xavier_quota.clock', '2026-03-01 00:00+00', false);
SELECT * FROM pg_temp.at(14, '2026-03-02 12:00+00', 15);
SELECT pg_temp.reserve('ahead', 12, 14) FROM set_config('xavier_quota.clock', '2026-12-27 12:00+00', false);
SELECT * FROM pg_temp.at(14, '2026-12-27 12:00+00', 3);
SELECT * FROM pg_temp.at(14, '2026-03-02 12:00+00', 15);
SELECT pg_temp.reserve('behind', 14, 14);
SELECT * FROM pg_temp.at(14, '2026-03-02 12:00+00');
SELECT * FROM quota.verify('company:car14');
SELECT pg_temp.settle('ahead', 12);
SELECT pg_temp.settle('behind', 13);
SELECT * FROM pg_temp.at(14, '2026-03-03 12:00+00');
SELECT * FROM quota.verify('company:car14');
SELECT quota.reload('company:car14');
SELECT * FROM pg_temp.at(14, '2026-03-03 12:00+00');
SELECT * FROM pg_temp.at(14, '2026-12-27 12:00+00');
SELECT v.* FROM generate_series(1, 14) AS n, quota.verify(('company:car' || n)::quota.scope) AS v;
