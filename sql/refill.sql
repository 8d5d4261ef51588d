-- Verifies that:
-- 1. a refill limit has a burst that flows back at its rate, exactly, in fractions of a millionth too;
-- 2. a refusal says when the same request fits: not a microsecond before; more than the burst never does;
-- 3. after a correction what is owed is never taken for less than it is, nor for more than a 60th of the burst above;
-- 4. facts may owe more than the burst: that flows back at the same rate;
-- 5. a reload, the fold and verify() agree with memory; rows later than a clock that went back count, too;
-- 6. years of it do not drift; the amount of such a limit is its burst.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:ref', 'company:ref/project:ref', 'company:ref_day', 'company:ref_day/project:ref_day', 'company:ref_back', 'company:ref_back/project:ref_back', 'company:ref_both', 'company:ref_both/project:ref_both', 'company:ref_long', 'company:ref_long/project:ref_long']) AS s;
SELECT quota.put_member('company:ref', 'ref_ann'), quota.put_member('company:ref_day', 'ref_ann'), quota.put_member('company:ref_back', 'ref_ann'), quota.put_member('company:ref_both', 'ref_ann'), quota.put_member('company:ref_long', 'ref_ann');
SELECT quota.set_limit('company:ref', 'calls', 11, 'refill 7 per 3 seconds up to 11') AS refill \gset
CREATE FUNCTION pg_temp.reserve(label text, calls numeric, project text DEFAULT 'ref') RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.keep(label, quota.reserve_amount('ref_ann', project, ('calls=' || calls)::quota.amount, ttl => '7 days')) $$;
CREATE FUNCTION pg_temp.settle(label text, calls numeric) RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.brief(quota.settle_amount(pg_temp.id(label), ('calls=' || calls)::quota.amount)) $$;
CREATE FUNCTION pg_temp.at(clock text, calls numeric DEFAULT 0.000001, project text DEFAULT 'ref')
RETURNS TABLE (allowed boolean, retry_at timestamp, "limit" numeric, owed numeric, remaining numeric)
LANGUAGE sql AS $$
    SELECT set_config('xavier_quota.clock', clock, false);
    SELECT (v ->> 'allowed')::boolean, (v ->> 'retry_at')::timestamptz AT TIME ZONE 'UTC', (l ->> 'limit')::numeric,
           (l ->> 'used')::numeric + (l ->> 'held')::numeric, (l ->> 'remaining')::numeric
    FROM quota.check_amount('ref_ann', project, ('calls=' || calls)::quota.amount) AS v, jsonb_array_elements(v -> 'levels') WITH ORDINALITY AS e (l, n) ORDER BY e.n
$$;

-- 1. 11 at once; a microsecond later 7/3 millionths have flowed back, of which a millionth that is not whole is not there yet.
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT pg_temp.reserve('a', 11), pg_temp.reserve('b', 0.000001);
SELECT * FROM pg_temp.at('2026-03-10 12:00:00.000001+00', 0.000002);
SELECT * FROM pg_temp.at('2026-03-10 12:00:00.000001+00', 0.000003);
SELECT * FROM pg_temp.at('2026-03-10 12:00:00.000003+00', 0.000007);
SELECT * FROM pg_temp.at('2026-03-10 12:00:03+00', 7);
SELECT * FROM pg_temp.at('2026-03-10 12:00:04.714285+00');
SELECT * FROM pg_temp.at('2026-03-10 12:00:04.714286+00');

-- 2. 5 of 11 are owed for 15/7 seconds.
SELECT * FROM pg_temp.at('2026-03-10 12:00:01+00', 5);
SELECT * FROM pg_temp.at('2026-03-10 12:00:02.142857+00', 5);
SELECT * FROM pg_temp.at('2026-03-10 12:00:02.142858+00', 5);
SELECT * FROM pg_temp.at('2026-03-10 12:00:01+00', 11.000001);
SET xavier_quota.clock = '2026-03-10 12:00:01+00';
SELECT v ->> 'message' AS message FROM unnest('{calls=5,calls=12}'::quota.amount[]) AS a, quota.check_amount('ref_ann', 'ref', a) AS v;

-- 3. Two buckets later, 3 of 11 turn out to be used: at least 3 less what has flowed back are owed, and at most 11/60 more.
SET xavier_quota.clock = '2026-03-10 12:00:00.2+00';
SELECT pg_temp.settle('a', 3);
SELECT clock, owed, round(greatest(3 - 7 / 3.0 * seconds, 0), 6) AS least, owed BETWEEN greatest(3 - 7 / 3.0 * seconds, 0) AND greatest(3 - 7 / 3.0 * seconds, 0) + 11 / 60.0 AS sound
FROM unnest(ARRAY[0.2, 0.5, 1, 1.285715, 1.4]) AS seconds, to_char(timestamp '2026-03-10 12:00' + seconds * interval '1 second', 'YYYY-MM-DD HH24:MI:SS.US') AS clock, pg_temp.at(clock || '+00');
SELECT * FROM quota.verify('company:ref');
-- What is loaded knows each row for itself, and so does a check of the same instant.
SELECT quota.reload('company:ref');
SELECT * FROM pg_temp.at('2026-03-10 12:00:00.5+00');
SELECT * FROM pg_temp.at('2026-03-10 12:00:01.285715+00');

-- 4. 30 more as a fact: 19 above the burst.
SET xavier_quota.clock = '2026-03-10 13:00+00';
SELECT pg_temp.brief(quota.adjust('company:ref', 'calls=30', 'a batch'));
SELECT * FROM pg_temp.at('2026-03-10 13:00+00', 11);
SELECT * FROM pg_temp.at('2026-03-10 13:00:12.857142+00', 11);
SELECT * FROM pg_temp.at('2026-03-10 13:00:12.857143+00', 11);
SELECT scope, "limit", used, held, remaining, percent, state, period_start, resets_at FROM quota.admin_limits WHERE root = 'company:ref';
SET xavier_quota.clock = '2026-03-10 13:00:03+00';
SELECT scope, "limit", used, held, remaining, percent, state, period_start, resets_at FROM quota.admin_limits WHERE root = 'company:ref';
SELECT quota.reload('company:ref');
SELECT * FROM pg_temp.at('2026-03-10 13:00:03+00', 11);

-- 5. A refill of a day has buckets of whole minutes, one of a month of whole hours.
SELECT quota.set_limit('company:ref_day', 'calls', 1000, 'refill 1000 per 24 hours up to 1000') AS day,
       quota.set_limit('company:ref_day', 'calls', 3000, 'refill 100 per 24 hours up to 3000') AS month \gset
SELECT set_config('xavier_quota.clock', (timestamptz '2026-03-01 00:10+00' + n * interval '3 hours')::text, false) IS NOT NULL AS set, pg_temp.reserve('l' || n, 125, 'ref_day')
FROM generate_series(0, 19) AS n ORDER BY n OFFSET 18;
SELECT * FROM pg_temp.at('2026-03-03 12:00+00', 500, 'ref_day');
SELECT pg_temp.settle('l' || n, 125 - n) FROM generate_series(0, 19) AS n ORDER BY n OFFSET 19;
CREATE TEMP TABLE seen AS SELECT c.clock, a.* FROM unnest(ARRAY['2026-03-03 12:00+00', '2026-03-03 20:00+00', '2026-03-04 12:00+00']) AS c (clock), pg_temp.at(c.clock, 1000, 'ref_day') AS a;
SELECT * FROM seen;
-- Whoever computes it afresh may know it better, not worse; what is in buckets of hours is the same.
SELECT quota._fold_root(a.root_id, quota._system_identifier()) > 0 AS folded FROM quota.accounts a WHERE a.scope = 'company:ref_day';
SELECT quota.reload('company:ref_day');
SELECT s.clock, a."limit", a.owed, a.owed <= s.owed AS not_more FROM seen AS s, pg_temp.at(s.clock, 1000, 'ref_day') AS a WHERE a."limit" = s."limit" ORDER BY s.clock, a."limit";
SELECT * FROM quota.verify('company:ref_day');

-- The fold knows hours; since when something is owed is looked up, so that a reload is exact, whether the
-- debt began before other hours or after a pause.
SELECT quota.set_limit('company:ref_long', 'calls', 100, 'refill 1 per 6 hours up to 100') IS NOT NULL AS set FROM set_config('xavier_quota.clock', '2026-03-01 00:00+00', false);
SELECT pg_temp.brief(quota.adjust('company:ref_long', 'calls=3', 'used')) FROM set_config('xavier_quota.clock', '2026-03-10 12:17:08+00', false);
SELECT pg_temp.brief(quota.adjust('company:ref_long', 'calls=2', 'used')) FROM set_config('xavier_quota.clock', '2026-03-10 12:40+00', false);
SELECT pg_temp.brief(quota.adjust('company:ref_long', 'calls=7', 'used')) FROM set_config('xavier_quota.clock', '2026-03-11 03:03:03+00', false);
SELECT owed FROM pg_temp.at('2026-03-11 11:00+00', 1, 'ref_long');
SELECT quota._fold_root(a.root_id, quota._system_identifier()) AS folded FROM quota.accounts a WHERE a.scope = 'company:ref_long';
SELECT quota.reload('company:ref_long');
SELECT owed FROM pg_temp.at('2026-03-11 11:00+00', 1, 'ref_long');
-- All of that has flowed back for 5 minutes: a debt that begins in the hour in which the other one ends.
SET xavier_quota.clock = '2026-03-13 12:22:08+00';
SELECT pg_temp.brief(quota.adjust('company:ref_long', 'calls=1', 'used'));
SET xavier_quota.clock = '2026-03-13 12:59+00';
SELECT pg_temp.brief(quota.adjust('company:ref_long', 'calls=2', 'used'));
SELECT owed FROM pg_temp.at('2026-03-13 15:00+00', 1, 'ref_long');
SELECT quota._fold_root(a.root_id, quota._system_identifier()) AS folded FROM quota.accounts a WHERE a.scope = 'company:ref_long';
SELECT quota.reload('company:ref_long');
SELECT owed FROM pg_temp.at('2026-03-13 15:00+00', 1, 'ref_long');

-- Where the events are gone, the sum of the hour is all that there is.
SELECT pg_temp.brief(quota.adjust('company:ref_long', 'calls=90', 'used')) FROM set_config('xavier_quota.clock', '2041-01-10 12:17+00', false);
SELECT quota._create_partition('2041-01-01') AS created;
SELECT quota._fold_root(a.root_id, quota._system_identifier()) AS folded FROM quota.accounts a WHERE a.scope = 'company:ref_long';
SELECT quota.reload('company:ref_long');
SELECT owed FROM pg_temp.at('2041-01-10 18:00+00', 1, 'ref_long');
DROP TABLE quota.events_2041_01;
SELECT quota.reload('company:ref_long');
SELECT owed FROM pg_temp.at('2041-01-10 18:00+00', 1, 'ref_long');

-- 6.
SET xavier_quota.clock = '2036-03-10 12:00+00';
SELECT pg_temp.reserve('z', 11), pg_temp.reserve('y', 0.000001);
SET xavier_quota.clock = '2036-03-10 12:00:03+00';
SELECT pg_temp.reserve('y', 7), pg_temp.reserve('x', 0.000001);
-- Who goes ten years back finds nothing refilled: what was used since counts.
SELECT * FROM pg_temp.at('2026-03-10 13:00+00', 11);
-- A correction of later pays off nothing before it; a clock of before 2000 gets an answer, too.
SELECT quota.set_limit('company:ref_back', 'calls', 10, 'refill 1 per 1 hour up to 10') IS NOT NULL AS set FROM set_config('xavier_quota.clock', '2026-03-10 00:00+00', false);
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT pg_temp.reserve('p', 10, 'ref_back');
SET xavier_quota.clock = '2026-03-10 13:00+00';
SELECT pg_temp.brief(quota.adjust('company:ref_back', 'calls=-9', 'refund'));
SELECT c, a.allowed, a.retry_at, a.owed FROM unnest(ARRAY['2026-03-10 12:30+00', '2026-03-10 13:00+00', '1970-01-01 00:00+00']) AS c, pg_temp.at(c, 8, 'ref_back') AS a;
-- So is one that is followed by more, in one transaction.
SELECT quota.set_limit('company:ref_both', 'calls', 10, 'refill 1 per 1 hour up to 10') IS NOT NULL AS set FROM set_config('xavier_quota.clock', '2026-03-10 00:00+00', false);
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT pg_temp.reserve('q', 10, 'ref_both');
SET xavier_quota.clock = '2026-03-10 12:00:10+00';
BEGIN;
SELECT pg_temp.brief(quota.adjust('company:ref_both', 'calls=-10', 'refund'));
SAVEPOINT one;
SELECT pg_temp.brief(quota.adjust('company:ref_both', 'calls=0.000001', 'again'));
RELEASE SAVEPOINT one;
COMMIT;
SELECT c, a.allowed, a.retry_at FROM unnest(ARRAY['2026-03-10 12:00:05+00', '2026-03-10 12:00:10+00']) AS c, pg_temp.at(c, 9, 'ref_both') AS a;
SELECT quota.reload('company:ref_both');
SELECT c, a.allowed, a.retry_at FROM unnest(ARRAY['2026-03-10 12:00:05+00', '2026-03-10 12:00:10+00']) AS c, pg_temp.at(c, 9, 'ref_both') AS a;
SELECT r.code, r.message, r.detail, r.hint FROM unnest(ARRAY[
    $$SELECT quota.set_limit('company:ref', 'calls', 10, 'refill 7 per 3 seconds up to 11')$$,
    $$SELECT quota.set_limit('company:ref', 'calls', 11, 'refill 7 per 3 seconds up to 11', rollover => 1)$$]) WITH ORDINALITY AS c (call, n),
    pg_temp.refused(c.call) AS r ORDER BY c.n;
