-- Verifies that:
-- 1. quota.period agrees with the facts collected from other systems in data/period_cases.json;
-- 2. periods are those of PostgreSQL's own arithmetic, anchor + k * interval in a zone: for many
--    zones, anchors, lengths and instants, over daylight saving and at every edge;
-- 3. windows, lifetimes and the ends of time have the values that the reference promises;
-- 4. nothing depends on the TimeZone or the DateStyle of the session.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';

-- 1. Facts ------------------------------------------------------------------------

\getenv abs_srcdir PG_ABS_SRCDIR
\set cases_file :abs_srcdir '/data/period_cases.json'

CREATE TEMP TABLE period_case AS
SELECT c.value ->> 'id' AS id, c.value ->> 'kind' AS kind, c.value AS facts
FROM jsonb_array_elements(pg_read_file(:'cases_file')::jsonb -> 'cases') AS c;

-- What has no counterpart here, and why.
CREATE TEMP TABLE not_applicable (id text, kind text, why text);
INSERT INTO not_applicable VALUES
    (NULL, 'divisible', 'no operation asks whether one period divides another'),
    ('per-035', NULL, 'a period has one unit: P1Y2M10DT5H30M45S is none'),
    ('per-121', NULL, 'an unknown zone is an error here, not UTC (period_type tests it)'),
    ('per-137', NULL, 'a period of no length is an error here, not a reset at once (period_type tests it)'),
    ('per-138', NULL, 'a malformed period is an error here, not a day (period_type tests it)');

CREATE TEMP VIEW applicable AS
SELECT c.* FROM period_case c
WHERE NOT EXISTS (SELECT FROM not_applicable n WHERE n.id = c.id OR n.kind = c.kind);

-- 'P3M' as '3 months'; '3 months' stays.
CREATE FUNCTION pg_temp.length(iso text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT COALESCE(
        substring(iso FROM '^P-?(\d+)[DWMY]$') || ' '
            || CASE right(iso, 1) WHEN 'D' THEN 'days' WHEN 'W' THEN 'weeks' WHEN 'M' THEN 'months' ELSE 'years' END,
        iso)
$$;

-- A calendar period anchored at an instant that is given in UTC.
CREATE FUNCTION pg_temp.anchored(length text, anchor text, zone text DEFAULT 'UTC') RETURNS quota.period
LANGUAGE sql IMMUTABLE AS $$
    SELECT (pg_temp.length(length) || ' from ' || rtrim(anchor, 'Z') || ' in ' || zone)::quota.period
$$;

-- count boundaries from a first one on, each found from the one before.
CREATE FUNCTION pg_temp.boundaries(period quota.period, first timestamptz, count int) RETURNS timestamptz[]
LANGUAGE sql IMMUTABLE AS $$
    WITH RECURSIVE b (n, boundary) AS (
        SELECT 1, lower(quota.period_range(period, first))
        UNION ALL
        SELECT n + 1, quota.period_next(period, boundary) FROM b WHERE n < count
    )
    SELECT array_agg(boundary ORDER BY n) FROM b
$$;

CREATE TEMP TABLE period_answer (id text, actual text, expected text);

-- OpenMeter: the next boundary, at or after an instant (inclusive) or after it.
INSERT INTO period_answer
SELECT id,
       CASE WHEN facts ->> 'boundary' = 'inclusive' AND lower(quota.period_range(p, at)) = at THEN at
            ELSE quota.period_next(p, at) END,
       (facts ->> 'expected')::timestamptz
FROM applicable, pg_temp.anchored(facts ->> 'interval', facts ->> 'anchor') AS p,
     CAST(facts ->> 'at' AS timestamptz) AS at
WHERE kind = 'next_boundary';

-- The previous one, at or before an instant (inclusive) or before it.
INSERT INTO period_answer
SELECT id,
       lower(quota.period_range(p, CASE facts ->> 'boundary' WHEN 'inclusive' THEN at ELSE at - interval '1 us' END)),
       (facts ->> 'expected')::timestamptz
FROM applicable, pg_temp.anchored(facts ->> 'interval', facts ->> 'anchor') AS p,
     CAST(facts ->> 'at' AS timestamptz) AS at
WHERE kind = 'prev_boundary';

INSERT INTO period_answer
SELECT id, quota.period_range(pg_temp.anchored(facts ->> 'interval', facts ->> 'anchor'), (facts ->> 'at')::timestamptz),
       tstzrange((facts #>> '{expected,from}')::timestamptz, (facts #>> '{expected,to}')::timestamptz)
FROM applicable
WHERE kind = 'period_at';

-- The boundary next to the anchor: after it, or before it if the interval is negative.
INSERT INTO period_answer
SELECT id,
       CASE WHEN facts ->> 'interval' LIKE 'P-%' THEN lower(quota.period_range(p, at - interval '1 us'))
            ELSE quota.period_next(p, at) END,
       (facts ->> 'expected')::timestamptz
FROM applicable, pg_temp.anchored(facts ->> 'interval', facts ->> 'start') AS p,
     CAST(facts ->> 'start' AS timestamptz) AS at
WHERE kind = 'add_interval';

-- Stripe: days on which a subscription bills.
INSERT INTO period_answer
SELECT id,
       pg_temp.boundaries(pg_temp.anchored(facts ->> 'interval', facts ->> 'anchor'), (facts ->> 'anchor')::timestamptz,
                          jsonb_array_length(facts -> 'expected')),
       ARRAY(SELECT e.value::timestamptz FROM jsonb_array_elements_text(facts -> 'expected') WITH ORDINALITY AS e ORDER BY e.ordinality)
FROM applicable
WHERE kind = 'sequence';

-- Lago: a billing run in arrears closes the period before the one that it falls in,
-- one in advance opens the one that it falls in. Calendar periods have no anchor.
INSERT INTO period_answer
SELECT id,
       concat_ws(' to ',
                 CASE WHEN facts #> '{expected_utc,from}' IS NOT NULL THEN lower(billed) END,
                 CASE WHEN facts #> '{expected_utc,to_exclusive}' IS NOT NULL THEN upper(billed) END),
       concat_ws(' to ',
                 (facts #>> '{expected_utc,from}')::timestamptz,
                 (facts #>> '{expected_utc,to_exclusive}')::timestamptz)
FROM applicable,
     CAST(CASE facts ->> 'mode'
              WHEN 'anniversary' THEN pg_temp.anchored(facts ->> 'interval', facts ->> 'anchor_date', facts ->> 'timezone')::text
              ELSE CASE facts ->> 'interval' WHEN 'P7D' THEN 'week' WHEN 'P1M' THEN 'month' WHEN 'P3M' THEN 'quarter' WHEN 'P1Y' THEN 'year' END
                   || ' in ' || (facts ->> 'timezone')
          END AS quota.period) AS p,
     quota.period_range(p, (facts ->> 'billing_at')::timestamptz) AS current,
     quota.period_range(p, CASE WHEN (facts ->> 'in_advance')::boolean THEN lower(current) ELSE lower(current) - interval '1 us' END) AS billed
WHERE kind = 'billed_period';

-- PostgreSQL 15: boundaries over changes of daylight saving.
INSERT INTO period_answer
SELECT id,
       pg_temp.boundaries(p, (facts #>> '{expected_utc,0}')::timestamptz, jsonb_array_length(facts -> 'n')),
       ARRAY(SELECT e.value::timestamptz FROM jsonb_array_elements_text(facts -> 'expected_utc') WITH ORDINALITY AS e ORDER BY e.ordinality)
FROM applicable,
     pg_temp.anchored(facts ->> 'interval', substring(facts ->> 'anchor' FROM '^\S+ \S+'), facts ->> 'timezone') AS p
WHERE kind = 'boundaries_local';

-- The month in New York that contains an instant of 1 March in UTC is February.
INSERT INTO period_answer
SELECT id, lower(quota.period_range(('month in ' || (facts ->> 'timezone'))::quota.period, (facts ->> 'at')::timestamptz)),
       (facts #>> '{expected_utc,0}')::timestamptz
FROM applicable
WHERE kind = 'trap';

-- LiteLLM: there 7d means until Monday and 30d until the first of the month; hours
-- count from local midnight, minutes from the hour, seconds from the minute. The names
-- of zones that not every installation has are replaced.
INSERT INTO period_answer
SELECT id,
       quota.period_next(
           (CASE
                WHEN unit IN ('h', 'm', 's') THEN format('%s from %s', length, date_trunc(base, (facts ->> 'at')::timestamptz AT TIME ZONE zone))
                ELSE length
            END || ' in ' || zone)::quota.period,
           (facts ->> 'at')::timestamptz),
       (facts ->> 'expected_utc')::timestamptz
FROM applicable,
     substring(facts ->> 'duration' FROM '\D+') AS unit,
     COALESCE(('{"7d": "week", "30d": "month"}'::jsonb) ->> (facts ->> 'duration'),
              substring(facts ->> 'duration' FROM '\d+') || ' '
                  || (('{"d": "days", "mo": "months", "h": "hours", "m": "minutes", "s": "seconds"}'::jsonb) ->> unit)) AS length,
     CAST('{"h": "day", "m": "hour", "s": "minute"}'::jsonb ->> unit AS text) AS base,
     COALESCE('{"US/Eastern": "America/New_York", "US/Pacific": "America/Los_Angeles"}'::jsonb ->> (facts ->> 'timezone'),
              facts ->> 'timezone') AS zone
WHERE kind = 'budget_next_reset';

-- Durations are elapsed time: those of a rolling window.
INSERT INTO period_answer
SELECT id, extract(epoch FROM upper(window_at) - lower(window_at))::bigint, facts ->> 'expected'
FROM applicable,
     quota.period_range(
         ('rolling ' || substring(facts ->> 'duration' FROM '\d+') || ' '
          || (('{"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}'::jsonb) ->> substring(facts ->> 'duration' FROM '\D+')))::quota.period,
         '2026-01-01') AS window_at
WHERE kind = 'duration_seconds';

-- Every case is answered or not applicable; what is answered wrongly is listed.
SELECT c.kind, count(*) AS cases, count(a.id) AS answered, count(*) FILTER (WHERE a.actual = a.expected) AS right
FROM period_case c LEFT JOIN period_answer a USING (id)
GROUP BY c.kind ORDER BY c.kind COLLATE "C";
SELECT c.id FROM period_case c
WHERE NOT EXISTS (SELECT FROM period_answer a WHERE a.id = c.id)
  AND NOT EXISTS (SELECT FROM not_applicable n WHERE n.id = c.id OR n.kind = c.kind);
SELECT a.* FROM period_answer a WHERE a.actual IS DISTINCT FROM a.expected ORDER BY a.id;
SELECT n.why, count(c.id) AS cases FROM not_applicable n LEFT JOIN period_case c ON n.id = c.id OR n.kind = c.kind GROUP BY n.why ORDER BY n.why COLLATE "C";

-- 2. PostgreSQL's own arithmetic ------------------------------------------------------

-- The oracle: from k lengths on, count boundaries, as timestamp + interval and AT TIME
-- ZONE compute them. Hours and minutes are elapsed time: there the interval is added
-- to the instant of the anchor (in days of 24 hours, as this session lives in UTC).
CREATE FUNCTION pg_temp.oracle(anchor timestamp, zone text, n int, unit text, k bigint, count int)
RETURNS SETOF timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE unit
               WHEN 'minute' THEN (anchor AT TIME ZONE zone) + make_interval(days => (i * n / 1440)::int, mins => (i * n % 1440)::int)
               WHEN 'hour' THEN (anchor AT TIME ZONE zone) + make_interval(days => (i * n / 24)::int, hours => (i * n % 24)::int)
               WHEN 'day' THEN (anchor + make_interval(days => (i * n)::int)) AT TIME ZONE zone
               WHEN 'week' THEN (anchor + make_interval(weeks => (i * n)::int)) AT TIME ZONE zone
               WHEN 'month' THEN (anchor + make_interval(months => (i * n)::int)) AT TIME ZONE zone
               WHEN 'year' THEN (anchor + make_interval(years => (i * n)::int)) AT TIME ZONE zone
           END
    FROM generate_series(k, k + count - 1) AS i
$$;

-- How many lengths an instant is away from the anchor, roughly.
CREATE FUNCTION pg_temp.distance(anchor timestamp, at timestamptz, n int, unit text) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT floor((extract(epoch FROM at) - extract(epoch FROM anchor))
                 / (n * CASE unit WHEN 'minute' THEN 60 WHEN 'hour' THEN 3600 WHEN 'day' THEN 86400 WHEN 'week' THEN 604800
                                  WHEN 'month' THEN 2629746 ELSE 31556952 END))::bigint
$$;

-- Compares each period between two neighbouring boundaries, at its first instant, its
-- last and one inside, and the boundary after each. Boundaries that coincide are one.
CREATE FUNCTION pg_temp.compare(rule quota.period, boundaries timestamptz[], OUT checks bigint, OUT wrong bigint)
LANGUAGE sql STABLE AS $$
    WITH neighbours AS (
        SELECT b AS "start", lead(b) OVER (ORDER BY b) AS "end" FROM (SELECT DISTINCT unnest(boundaries) AS b) AS d
    )
    SELECT count(*),
           count(*) FILTER (WHERE quota.period_range(rule, i.at) IS DISTINCT FROM tstzrange(p."start", p."end")
                               OR quota.period_next(rule, i.at) IS DISTINCT FROM p."end")
    FROM neighbours AS p
    CROSS JOIN LATERAL (VALUES (p."start"), (p."end" - interval '1 us'), (p."start" + (p."end" - p."start") * 0.37)) AS i (at)
    WHERE p."end" IS NOT NULL
$$;

CREATE FUNCTION pg_temp.rule(anchor timestamp, zone text, n int, unit text) RETURNS quota.period
LANGUAGE sql STABLE AS $$
    SELECT format('%s %s from %s in %s', n, unit, anchor, zone)::quota.period
$$;

CREATE TEMP TABLE hard_zone (zone text);
INSERT INTO hard_zone VALUES
    ('UTC'),
    ('Europe/Berlin'), ('Europe/London'), ('Europe/Dublin'), -- its winter time counts as daylight saving
    ('Europe/Moscow'),                                       -- standard time itself has moved
    ('America/New_York'), ('America/St_Johns'),              -- -3:30; once changed at 00:01
    ('America/Santiago'), ('America/Sao_Paulo'), ('Asia/Beirut'), ('Africa/Cairo'), -- daylight saving begins at midnight
    ('Asia/Kolkata'), ('Asia/Kathmandu'), ('Asia/Pyongyang'), -- +5:30, +5:45, moved by half an hour
    ('Australia/Lord_Howe'),                                 -- daylight saving of half an hour
    ('Antarctica/Troll'),                                    -- daylight saving of two hours
    ('Africa/Casablanca'), ('Africa/Monrovia'),              -- negative daylight saving; -0:44:30 until 1972
    ('Pacific/Apia'), ('Pacific/Kwajalein'), ('Pacific/Kiritimati'), -- each skipped a day
    ('Asia/Manila'), ('America/Juneau'),                     -- skipped one in 1844, had one twice in 1867
    ('Etc/GMT+12'), ('Pacific/Auckland');

-- Every day of years in which something happened, at times of day that changes hit.
SELECT count(*) AS rules, sum(c.checks) AS checks, sum(c.wrong) AS wrong
FROM hard_zone
CROSS JOIN (VALUES (time '00:00'), ('00:30'), ('01:30'), ('02:30'), ('23:59:59.999999')) AS t (time_of_day)
CROSS JOIN (VALUES (date '2025-01-01'), ('2011-06-01'), ('1993-01-01'), ('1994-06-01'), ('1972-01-01'), ('1867-06-01'), ('1844-06-01')) AS y (first_day)
CROSS JOIN LATERAL (SELECT y.first_day + t.time_of_day AS anchor) AS a
CROSS JOIN LATERAL pg_temp.compare(
    pg_temp.rule(a.anchor, zone, 1, 'day'), ARRAY(SELECT pg_temp.oracle(a.anchor, zone, 1, 'day', 0, 366))) AS c;

-- Every unit, awkward anchors, from antiquity to the far future.
SELECT count(*) AS rules, sum(c.checks) AS checks, sum(c.wrong) AS wrong
FROM (VALUES ('UTC'), ('Europe/Berlin'), ('America/New_York'), ('Australia/Lord_Howe'), ('Pacific/Apia'), ('Asia/Manila')) AS z (zone)
CROSS JOIN (VALUES (1, 'minute'), (45, 'minute'), (1, 'hour'), (7, 'hour'), (1, 'day'), (10, 'day'), (1, 'week'), (3, 'week'),
                   (1, 'month'), (5, 'month'), (18, 'month'), (1, 'year'), (4, 'year')) AS l (n, unit)
CROSS JOIN (VALUES (timestamp '2025-01-31'), ('2024-02-29 12:00'), ('2025-03-30 02:30'), ('2025-11-02 01:30'),
                   ('2000-12-31 23:59:59.999999'), ('1970-01-01'), ('0001-01-01'), ('9999-12-31')) AS a (anchor)
CROSS JOIN (VALUES (timestamptz '4700-03-01 00:00+00 BC'), ('0001-01-01 00:00+00 BC'), ('1582-10-15 00:00+00'), ('1844-12-30 00:00+00'),
                   ('1945-05-08 00:00+00'), ('2011-12-28 00:00+00'), ('2025-03-28 00:00+00'), ('2100-02-27 00:00+00'),
                   ('20000-01-01 00:00+00'), ('294200-01-01 00:00+00')) AS i (instant)
CROSS JOIN LATERAL pg_temp.compare(
    pg_temp.rule(anchor, zone, n, unit),
    ARRAY(SELECT pg_temp.oracle(anchor, zone, n, unit, pg_temp.distance(anchor, instant, n, unit), 12))) AS c;

-- Every zone that the server knows: months from the 31st at midnight and days at 02:30.
-- Left out: names with a digit (Etc/GMT+5 and the like never change), copies, and names
-- that AT TIME ZONE takes for an abbreviation: EET is a zone here, there it is UTC+2.
SELECT count(DISTINCT zone) > 300 AS many_zones, sum(c.wrong) AS wrong
FROM (SELECT name FROM pg_timezone_names WHERE name !~ '\d|^posix'
        AND upper(name) NOT IN (SELECT abbrev FROM pg_timezone_abbrevs)) AS z (zone)
CROSS JOIN (VALUES (timestamp '2024-01-31', 'month', 24), ('2024-12-31 02:30', 'day', 366), ('1940-03-31', 'month', 60)) AS a (anchor, unit, count)
CROSS JOIN LATERAL pg_temp.compare(
    pg_temp.rule(anchor, zone, 1, unit), ARRAY(SELECT pg_temp.oracle(anchor, zone, 1, unit, 0, a.count))) AS c;

-- 3. Edges ------------------------------------------------------------------------------

-- The 31st, where a month has none; and before the anchor as well.
SELECT at, quota.period_range('1 month from 2026-01-31 in Europe/Berlin', at)
FROM unnest(ARRAY['2026-02-27 22:59:59.999999+00', '2026-02-27 23:00+00', '2026-03-30 22:00+00', '2025-02-15 00:00+00']::timestamptz[]) AS at;

-- A day of 23 hours, one of 25, and one that never was.
SELECT zone, at, r AS period_range, upper(r) - lower(r) AS lasts
FROM (VALUES ('Europe/Berlin', timestamptz '2025-03-30 12:00+00'), ('Europe/Berlin', '2025-10-26 12:00+00'),
             ('Pacific/Apia', '2011-12-30 09:59:59.999999+00'), ('Pacific/Apia', '2011-12-30 10:00+00')) AS v (zone, at),
     quota.period_range(('1 day in ' || zone)::quota.period, at) AS r;

-- 02:30 does not exist on 30 March and is 03:30; on 26 October it comes twice and the
-- second begins the day.
SELECT at, quota.period_range('1 day from 2025-01-01 02:30 in Europe/Berlin', at)
FROM unnest(ARRAY['2025-03-30 01:29+00', '2025-03-30 01:30+00', '2025-10-26 00:30+00', '2025-10-26 01:30+00']::timestamptz[]) AS at;

-- Hours are elapsed time: after the change they begin at other local times.
SELECT n, timezone('Europe/Berlin', lower(r)) AS local_start, upper(r) - lower(r) AS lasts
FROM generate_series(0, 3) AS n,
     quota.period_range('6 hours from 2025-03-29 18:00 in Europe/Berlin', timestamptz '2025-03-29 17:00+00' + n * interval '6 hours') AS r;

-- Windows: without the far end, with the near one, and elapsed time even where days are shorter.
SELECT p, quota.period_range(p::quota.period, '2025-03-30 12:00+00'), quota.period_next(p::quota.period, '2025-03-30 12:00+00')
FROM unnest(ARRAY['rolling 24 hours', 'rolling 7 days', 'rolling 90 seconds', 'refill 100 per 1 minute up to 500',
                  'refill 3 per 1 second up to 1', 'refill 0.5 per 1 hour up to 12', 'lifetime']) AS p;

-- The ends of time: a boundary beyond them is infinity.
SELECT p, quota.period_range(p::quota.period, '4714-11-24 00:00+00 BC') AS first,
       quota.period_range(p::quota.period, '294276-12-31 23:59:59.999999+00') AS last
FROM unnest(ARRAY['7 hours', 'day', '1 day in Asia/Tokyo', '1 day in America/New_York', 'week', 'month', '1 month in Europe/Berlin', 'year',
                  '1000 years', '1000 years from 9999-12-31', 'rolling 24 hours', 'refill 1 per 1 day up to 1', 'lifetime']) AS p;

-- Whatever the unit, anchor and zone: an instant near the ends lies in its period.
SELECT count(*) AS checks, count(*) FILTER (WHERE NOT r @> at OR NOT lower_inc(r) OR upper_inc(r)) AS wrong
FROM unnest(ARRAY['second', '7 minutes', 'hour', '999 hours', '8784000 hours', 'day', '366000 days', 'week', 'month', '7 months', '1000 years']) AS unit
CROSS JOIN unnest(ARRAY['', ' from 0001-01-01', ' from 9999-12-31 23:59:59.999999', ' from 2024-02-29']) AS anchor
CROSS JOIN unnest(ARRAY['', ' in Asia/Manila', ' in America/Juneau', ' in Pacific/Kiritimati', ' in Etc/GMT-14']) AS zone
CROSS JOIN unnest(ARRAY['4714-11-24 00:00+00 BC', '4714-11-24 00:00:00.000001+00 BC', '4714-11-25 12:00+00 BC', '4713-01-01 00:00+00 BC',
                        '290000-01-01 00:00+00', '294276-01-01 00:00+00', '294276-12-30 10:00+00', '294276-12-31 23:59:59.999999+00']::timestamptz[]) AS at,
     quota.period_range((unit || anchor || zone)::quota.period, at) AS r;

-- No period but a lifetime contains what is not a time.
SELECT quota.period_range('lifetime', 'infinity'), quota.period_next('lifetime', '-infinity');
SELECT quota.period_range('month', 'infinity'); -- fails
SELECT quota.period_range('6 hours', '-infinity'); -- fails
SELECT quota.period_range('rolling 24 hours', 'infinity'); -- fails
SELECT quota.period_next('month', 'infinity'); -- fails
SELECT quota.period_range(NULL, '2026-01-01') IS NULL AND quota.period_range('month', NULL) IS NULL AS strict;

-- 4. Nothing of the session -----------------------------------------------------------------

CREATE FUNCTION pg_temp.digest() RETURNS text LANGUAGE sql AS $$
    SELECT md5(string_agg(concat_ws(' ', p, p::quota.period, extract(epoch FROM lower(r)), extract(epoch FROM upper(r))), ',' ORDER BY p COLLATE "C", i))
    FROM unnest(ARRAY['day', 'month', '1 month from 2026-01-31 15:00 in Asia/Kolkata', '1 week in America/New_York', '5 hours from 2025-07-01 in Asia/Tokyo']) AS p,
         generate_series(0, 400) AS i,
         quota.period_range(p::quota.period, to_timestamp(1740000000 + i * 86413)) AS r
$$;
SELECT pg_temp.digest() AS digest \gset
SET timezone = 'Pacific/Auckland';
SET datestyle = 'SQL, DMY';
SELECT pg_temp.digest() = :'digest' AS same;
SET timezone = 'America/St_Johns';
SET datestyle = 'Postgres, MDY';
SELECT pg_temp.digest() = :'digest' AS same;
