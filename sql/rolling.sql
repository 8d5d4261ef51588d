-- Verifies that:
-- 1. a rolling limit counts what was used in its window, to a bucket of a 60th of it, never less: no window
--    of its length ever contains more than the limit;
-- 2. a refusal says when the same request fits: not a microsecond before;
-- 3. what falls out is what was held or used then: open holds too; a smaller settlement gives back where it was held;
-- 4. a reload, verify(), the roll-up and the fold agree with memory, of windows of minutes and of months;
-- 5. a clock that goes back frees nothing, and what was then is found as it was;
-- 6. shares, models, overdraft, soft limits, extend and several limits of one resource work as elsewhere;
-- 7. what cannot roll is refused.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:rol', 'company:rol/project:rol', 'company:rol_long', 'company:rol_long/project:rol_long']) AS s;
SELECT quota.put_member('company:rol', 'rol_ann'), quota.put_member('company:rol_long', 'rol_ann');
SELECT quota.set_limit('company:rol', 'credit', 10, 'rolling 1 hour') AS hour \gset
CREATE FUNCTION pg_temp.reserve(label text, credits numeric, ttl interval DEFAULT '7 days', project text DEFAULT 'rol') RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.keep(label, quota.reserve_amount('rol_ann', project, ('credit=' || credits)::quota.amount, ttl => ttl)) $$;
CREATE FUNCTION pg_temp.settle(label text, credits numeric) RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.brief(quota.settle_amount(pg_temp.id(label), ('credit=' || credits)::quota.amount)) $$;
-- What a check says at an instant.
CREATE FUNCTION pg_temp.at(clock text, credits numeric DEFAULT 0.000001, project text DEFAULT 'rol')
RETURNS TABLE (allowed boolean, retry_at timestamp, period_start timestamp, period_end timestamp, "limit" numeric, used numeric, held numeric, remaining numeric)
LANGUAGE sql AS $$
    SELECT set_config('xavier_quota.clock', clock, false);
    SELECT (v ->> 'allowed')::boolean, (v ->> 'retry_at')::timestamptz AT TIME ZONE 'UTC', (l ->> 'period_start')::timestamptz AT TIME ZONE 'UTC',
           (l ->> 'period_end')::timestamptz AT TIME ZONE 'UTC', (l ->> 'limit')::numeric, (l ->> 'used')::numeric, (l ->> 'held')::numeric, (l ->> 'remaining')::numeric
    FROM quota.check_amount('rol_ann', project, ('credit=' || credits)::quota.amount) AS v, jsonb_array_elements(v -> 'levels') WITH ORDINALITY AS e (l, n) ORDER BY e.n
$$;

-- 1. 6 at 12:00:30 and 4 at 12:30: nothing until the minute of 12:00 is an hour ago as a whole.
SET xavier_quota.clock = '2026-03-10 12:00:30+00';
SELECT pg_temp.reserve('a', 6), pg_temp.settle('a', 6);
SET xavier_quota.clock = '2026-03-10 12:30+00';
SELECT pg_temp.reserve('b', 4);
SELECT * FROM pg_temp.at('2026-03-10 12:30+00');
SELECT * FROM pg_temp.at('2026-03-10 13:00:29.999999+00');
-- An hour later the row may count for one minute more, not longer.
SELECT * FROM pg_temp.at('2026-03-10 13:00:59.999999+00');
SELECT * FROM pg_temp.at('2026-03-10 13:01+00');

-- 2. 7 need the 6 gone, 10 also the 4 of 12:30; more than 10 never fits.
SELECT * FROM pg_temp.at('2026-03-10 12:40+00', 7);
SELECT * FROM pg_temp.at('2026-03-10 12:40+00', 10);
SELECT * FROM pg_temp.at('2026-03-10 13:30:59.999999+00', 10);
SELECT * FROM pg_temp.at('2026-03-10 13:31+00', 10);
SELECT * FROM pg_temp.at('2026-03-10 12:40+00', 10.000001);
SET xavier_quota.clock = '2026-03-10 12:40+00';
SELECT v ->> 'message' AS message FROM unnest('{credit=7,credit=11}'::quota.amount[]) AS a, quota.check_amount('rol_ann', 'rol', a) AS v;

-- 3. b was held at 12:30 and is settled at 13:20 for less: that counts until 13:31.
SET xavier_quota.clock = '2026-03-10 13:20+00';
SELECT pg_temp.reserve('c', 6), pg_temp.reserve('d', 0.000001);
SELECT pg_temp.settle('b', 1);
SELECT pg_temp.reserve('d', 3);
SELECT * FROM pg_temp.at('2026-03-10 13:30:59+00');
SELECT * FROM pg_temp.at('2026-03-10 13:31+00');
-- An open hold that is older than the window no longer counts; what is settled above it does not either.
SELECT * FROM pg_temp.at('2026-03-10 14:21+00');
SELECT pg_temp.settle('c', 9);
SELECT * FROM pg_temp.at('2026-03-10 14:21+00');
SELECT * FROM pg_temp.at('2026-03-10 14:00+00');
SELECT pg_temp.brief(quota.release(pg_temp.id('d')));

-- 4. and 5.
SELECT * FROM quota.verify('company:rol');
SELECT * FROM pg_temp.at('2026-03-10 13:30:59+00');
SELECT quota.reload('company:rol');
SELECT * FROM pg_temp.at('2026-03-10 13:30:59+00');
SELECT * FROM pg_temp.at('2026-03-10 12:59+00');
SELECT * FROM quota.verify('company:rol');
-- At 13:25 9 + 1 of the hour were used; at 14:30 nothing is. Who comes back to 13:25 finds it full.
SELECT * FROM pg_temp.at('2026-03-10 14:30+00', 10);
SET xavier_quota.clock = '2026-03-10 14:30+00';
SELECT pg_temp.reserve('e', 2);
SELECT * FROM pg_temp.at('2026-03-10 13:25+00');
-- The fold moves rows to the roll-up, whose hours are in several buckets here.
SELECT quota._fold_root(a.root_id, quota._system_identifier()) > 0 AS folded FROM quota.accounts a WHERE a.scope = 'company:rol';
SELECT quota.reload('company:rol');
SELECT * FROM pg_temp.at('2026-03-10 13:25+00');
SELECT * FROM pg_temp.at('2026-03-10 14:30+00');
SELECT * FROM quota.verify('company:rol');
-- 10 days are cut into buckets of 4 hours: so many come from the roll-up whole.
SELECT quota.set_limit('company:rol_long', 'credit', 100, 'rolling 240 hours') AS long \gset
SELECT set_config('xavier_quota.clock', (timestamptz '2026-03-01 00:30+00' + n * interval '5 hours')::text, false) IS NOT NULL AS set,
       pg_temp.reserve('l' || n, 1, '7 days', 'rol_long'), pg_temp.settle('l' || n, 1)
FROM generate_series(0, 60) AS n ORDER BY n OFFSET 59;
SELECT * FROM pg_temp.at('2026-03-13 13:00+00', 1, 'rol_long');
CREATE TEMP TABLE seen AS SELECT c.clock, a.* FROM unnest(ARRAY['2026-03-13 13:00+00', '2026-03-15 00:00+00', '2026-03-20 03:59:59.999999+00', '2026-03-20 04:00+00', '2026-03-23 16:00+00']) AS c (clock), pg_temp.at(c.clock, 100, 'rol_long') AS a;
SELECT * FROM seen;
SELECT quota._fold_root(a.root_id, quota._system_identifier()) > 0 AS folded FROM quota.accounts a WHERE a.scope = 'company:rol_long';
SELECT quota.reload('company:rol_long');
SELECT count(*) AS same FROM (SELECT s.clock, a.* FROM (SELECT DISTINCT clock FROM seen) AS s, pg_temp.at(s.clock, 100, 'rol_long') AS a INTERSECT SELECT * FROM seen) AS i;
SELECT * FROM quota.verify('company:rol_long');

-- 6. A day and an hour: both must pass; the share of a user; overdraft; soft; a model.
SET xavier_quota.clock = '2026-03-12 12:00+00';
SELECT quota.set_limit('company:rol', 'credit', 10, 'rolling 1 hour', overdraft => 2) = :hour AS same,
       quota.set_limit('company:rol/user:*', 'credit', 11, 'rolling 24 hours') AS share,
       quota.set_limit('company:rol', 'credit', 1, 'rolling 60 seconds', policy => 'soft') AS soft \gset
SELECT pg_temp.reserve('f', 11);
SELECT pg_temp.reserve('g', 1);
SELECT scope, period, "limit", overdraft, used, held, remaining, state, period_start, resets_at, projected_exhaustion FROM quota.admin_limits WHERE root = 'company:rol' ORDER BY scope, period::text;
SET xavier_quota.clock = '2026-03-12 14:00+00';
SELECT pg_temp.reserve('g', 1), v ->> 'retry_at' AS retry_at FROM quota.check_amount('rol_ann', 'rol', 'credit=1') AS v;
-- More for a hold that is older than now: as much as the windows around it leave.
SELECT quota.drop_limit(:share), quota.drop_limit(:soft);
SELECT pg_temp.reserve('h', 8);
SET xavier_quota.clock = '2026-03-12 14:30+00';
SELECT pg_temp.reserve('i', 2);
SELECT pg_temp.brief(quota.extend(pg_temp.id('h'), ttl => '1 hour'));
SELECT quota.remaining('rol_ann', 'rol');

-- 7.
SELECT r.code, r.message, r.hint FROM unnest(ARRAY[
    $$SELECT quota.set_limit('company:rol', 'storage', 10, 'rolling 1 hour')$$,
    $$SELECT quota.set_limit('company:rol', 'credit', 10, 'rolling 1 hour', prorate => true)$$,
    $$SELECT quota.set_limit('company:rol', 'credit', 10, 'rolling 1 hour', rollover => 1)$$,
    $$SELECT quota.set_limit('company:rol', 'credit', 10, 'rolling 1 hour', carry_overage => true)$$]) WITH ORDINALITY AS c (call, n),
    pg_temp.refused(c.call) AS r ORDER BY c.n;
