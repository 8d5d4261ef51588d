-- Verifies that:
-- 1. a period turns by the clock alone, at its very instant, however late any job is;
-- 2. a hold, and all that follows it, counts in the period in which it was made;
-- 3. charges and adjustments count in the period of now;
-- 4. a lifetime never ends; what one limit starts afresh another goes on counting;
-- 5. anchors keep their day at month ends, and zones their hours over daylight saving;
-- 6. periods that are past can be computed again: after a reload, and after the clock has moved on and back.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:per_acme', 'company:per_acme/project:per_apollo',
    'company:per_zone', 'company:per_zone/project:per_end', 'company:per_zone/project:per_zone', 'company:per_zone/project:per_hours']) AS s;
SELECT quota.put_member('company:per_acme', 'per_ann'), quota.put_member('company:per_zone', 'per_ann');
SELECT count(quota.set_limit('company:per_acme', 'credit', 10, 'day')) + count(quota.set_limit('company:per_acme', 'credit', 25, 'month')) + count(quota.set_limit('company:per_acme', 'credit', 35, 'lifetime')) AS limits;

-- What a check says of the limits at an instant.
CREATE FUNCTION pg_temp.at(clock text, project_id text DEFAULT 'per_apollo')
RETURNS TABLE (period_start timestamp, period_end timestamp, "limit" numeric, used numeric, held numeric, remaining numeric)
LANGUAGE sql AS $$
    SELECT set_config('xavier_quota.clock', clock, false);
    SELECT (l ->> 'period_start')::timestamptz AT TIME ZONE 'UTC', (l ->> 'period_end')::timestamptz AT TIME ZONE 'UTC', (l ->> 'limit')::numeric,
           (l ->> 'used')::numeric, (l ->> 'held')::numeric, (l ->> 'remaining')::numeric
    FROM quota.check_amount('per_ann', project_id, 'credit=0.000001') AS v, jsonb_array_elements(v -> 'levels') WITH ORDINALITY AS e (l, n) ORDER BY e.n
$$;
CREATE FUNCTION pg_temp.reserve(label text, credits numeric, ttl interval DEFAULT '15 minutes') RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.keep(label, quota.reserve_amount('per_ann', 'per_apollo', ('credit=' || credits)::quota.amount, ttl => ttl)) $$;
CREATE FUNCTION pg_temp.settle(label text, credits numeric) RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.brief(quota.settle_amount(pg_temp.id(label), ('credit=' || credits)::quota.amount)) $$;

-- 1. The turn -----------------------------------------------------------------------------------

SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT pg_temp.reserve('a', 10), pg_temp.settle('a', 10), pg_temp.reserve('b', 0.000001);
SET xavier_quota.clock = '2026-03-10 23:59:59.999999+00';
SELECT pg_temp.reserve('b', 0.000001);
SET xavier_quota.clock = '2026-03-11 00:00:00+00';
SELECT pg_temp.reserve('b', 10);
SELECT * FROM pg_temp.at('2026-03-11 00:00:00+00');
-- The day before is as it was, seen from there.
SELECT * FROM pg_temp.at('2026-03-10 23:59:59.999999+00');
-- The session's time zone has no part in it.
SET timezone = 'Pacific/Auckland';
SELECT * FROM pg_temp.at('2026-03-10 23:59:59.999999+00');
SELECT * FROM pg_temp.at('2026-03-11 00:00:00+00');
SET timezone = 'UTC';

-- 2. Holds over the turn ------------------------------------------------------------------------

-- b was held on the 11th, at 00:00. c is held in the last instant of the 12th, and settled on the 13th, above its hold.
SELECT pg_temp.settle('b', 3);
SET xavier_quota.clock = '2026-03-12 23:59:59.999999+00';
SELECT pg_temp.reserve('c', 4), pg_temp.reserve('d', 2, '1 second'), pg_temp.reserve('e', 1);
SET xavier_quota.clock = '2026-03-13 00:00:00+00';
SELECT pg_temp.settle('c', 4.5);
-- What e holds for longer, it holds of the 12th: there 4.5 are used and 3 held.
SELECT pg_temp.keep('v', quota.extend(pg_temp.id('e'), ttl => '1 hour'));
SELECT (l ->> 'period_start')::timestamptz AS period_start, (l ->> 'limit')::numeric AS "limit", (l ->> 'used')::numeric AS used, (l ->> 'held')::numeric AS held
    FROM pg_temp.kept, jsonb_array_elements(document -> 'levels') AS l WHERE label = 'v';
SELECT * FROM pg_temp.at('2026-03-13 00:00:00+00');
-- d expires, is charged late, and that is of the 12th too.
SET xavier_quota.clock = '2026-03-13 00:00:01+00';
SELECT quota._run_step('expire', a.root_id, a.scope) AS expired FROM quota.accounts a WHERE a.scope = 'company:per_acme';
SELECT pg_temp.settle('d', 1.5);
SELECT pg_temp.brief(quota.release(pg_temp.id('e')));
SELECT * FROM pg_temp.at('2026-03-13 00:00:01+00');
SELECT * FROM pg_temp.at('2026-03-12 12:00:00+00');
-- One that expires is held anew in its own period: on the 12th 6 are used, so 4 fit, although nobody has used the 13th.
SET xavier_quota.clock = '2026-03-12 23:59:59+00';
SELECT pg_temp.reserve('f', 4, '1 second');
SET xavier_quota.clock = '2026-03-13 01:00:00+00';
SELECT quota._run_step('expire', a.root_id, a.scope) AS expired FROM quota.accounts a WHERE a.scope = 'company:per_acme';
SELECT pg_temp.brief(quota.extend(pg_temp.id('f'), ttl => '1 hour'));
SELECT * FROM pg_temp.at('2026-03-12 12:00:00+00');
SELECT * FROM pg_temp.at('2026-03-13 01:00:00+00');
SELECT pg_temp.brief(quota.release(pg_temp.id('f')));

-- 3. Facts of now -------------------------------------------------------------------------------

-- 10 + 3 + 6 - 2 + 1 = 18 of March are used after a refund of what was used on the 10th and one more credit.
SELECT pg_temp.brief(quota.adjust('company:per_acme', 'credit=-2', 'refund of the 10th')), pg_temp.brief(quota.adjust('company:per_acme', 'credit=1', 'forgotten'));
SELECT * FROM pg_temp.at('2026-03-13 01:00:00+00');
SELECT * FROM pg_temp.at('2026-03-10 12:00:00+00');

-- 4. The month refuses what the day allows, the next month gives it again; the lifetime goes on -------

SET xavier_quota.clock = '2026-03-31 23:59:59.999999+00';
SELECT pg_temp.reserve('g', 7.000001);
SET xavier_quota.clock = '2026-04-01 00:00:00+00';
SELECT pg_temp.reserve('g', 7.000001), pg_temp.settle('g', 10);
-- Ten years without any job: 18 + 10 of the lifetime are used.
SET xavier_quota.clock = '2036-02-29 00:00:00+00';
SELECT pg_temp.reserve('h', 7.000001), pg_temp.reserve('i', 7);
SELECT * FROM pg_temp.at('2036-02-29 00:00:00+00');
SELECT pg_temp.brief(quota.release(pg_temp.id('i')));

-- 5. Month ends, daylight saving, hours -----------------------------------------------------------

SELECT count(quota.set_limit('company:per_zone/project:per_end', 'credit', 5, '1 month from 2026-01-31 09:00')) AS limits;
SELECT a.clock, b.period_start, b.period_end FROM unnest(ARRAY['2026-01-31 08:59:59.999999+00', '2026-01-31 09:00+00', '2026-02-28 08:59+00', '2026-02-28 09:00+00', '2026-03-28 09:00+00',
    '2026-03-31 08:59+00', '2026-03-31 09:00+00', '2026-04-30 09:00+00', '2026-05-31 08:59+00', '2026-05-31 09:00+00', '2028-02-29 09:00+00', '2025-12-31 09:00+00']) WITH ORDINALITY AS a (clock, n),
    pg_temp.at(a.clock, 'per_end') AS b ORDER BY a.n;
SELECT count(quota.set_limit('company:per_zone/project:per_zone', 'credit', 5, '1 day from 2026-01-01 in Europe/Berlin')) AS limits;
SELECT a.clock, b.period_start, b.period_end, b.period_end - b.period_start AS length
    FROM unnest(ARRAY['2026-03-28 22:59+00', '2026-03-28 23:00+00', '2026-03-29 21:59+00', '2026-03-29 22:00+00', '2026-10-24 22:00+00', '2026-10-25 22:59+00', '2026-10-25 23:00+00']) WITH ORDINALITY AS a (clock, n),
    pg_temp.at(a.clock, 'per_zone') AS b ORDER BY a.n;
SELECT count(quota.set_limit('company:per_zone/project:per_hours', 'credit', 5, '6 hours')) AS limits;
SELECT a.clock, b.period_start, b.period_end FROM unnest(ARRAY['2026-03-10 05:59+00', '2026-03-10 06:00+00', '2026-03-10 17:59+00', '2026-03-10 18:00+00']) WITH ORDINALITY AS a (clock, n),
    pg_temp.at(a.clock, 'per_hours') AS b ORDER BY a.n;
-- A limit counts each of them apart: 5 before the 28th of February at 9, and 5 after.
SET xavier_quota.clock = '2026-02-28 08:59:59.999999+00';
SELECT pg_temp.brief(quota.reserve_amount('per_ann', 'per_end', 'credit=5', ttl => '7 days'));
SET xavier_quota.clock = '2026-02-28 09:00+00';
SELECT pg_temp.brief(quota.reserve_amount('per_ann', 'per_end', 'credit=5', ttl => '7 days')), pg_temp.brief(quota.reserve_amount('per_ann', 'per_end', 'credit=1', ttl => '7 days'));

-- 6. Computed again -------------------------------------------------------------------------------

CREATE TEMP TABLE seen AS SELECT c.clock, a.* FROM unnest(ARRAY['2026-03-10 12:00+00', '2026-03-11 12:00+00', '2026-03-12 12:00+00', '2026-03-13 12:00+00', '2026-04-01 12:00+00', '2036-02-29 12:00+00']) AS c (clock), pg_temp.at(c.clock) AS a;
SELECT v.* FROM unnest(ARRAY['company:per_acme', 'company:per_zone']) AS root, quota.verify(root::quota.scope) AS v;
SELECT quota.reload('company:per_acme');
SELECT clock, "limit", used, held FROM seen ORDER BY clock, "limit";
SELECT count(*) AS same FROM (SELECT c.clock, a.* FROM (SELECT DISTINCT clock FROM seen) AS c, pg_temp.at(c.clock) AS a INTERSECT SELECT * FROM seen) AS s;
SELECT v.* FROM unnest(ARRAY['company:per_acme', 'company:per_zone']) AS root, quota.verify(root::quota.scope) AS v;
