-- Verifies that:
-- 1. quota.now() is the wall clock, and not the start of the transaction, until a clock is set;
-- 2. it follows xavier_quota.clock, forth and back, and the setting follows its transaction;
-- 3. what the clock says does not depend on the session's TimeZone and DateStyle;
-- 4. a value that is no instant is an ordinary error, whatever it is, and changes nothing;
-- 5. only a superuser sets the clock.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';

-- 1. The wall clock --------------------------------------------------------------------

SHOW xavier_quota.clock;
SELECT quota.now() BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp() AS wall_clock;
BEGIN;
SELECT pg_sleep(0.01);
SELECT quota.now() >= now() + interval '0.01 s' AS moves_within_transaction;
COMMIT;
SELECT provolatile FROM pg_proc WHERE oid = 'quota.now()'::regprocedure;

-- 2. A clock that is set ---------------------------------------------------------------

SET xavier_quota.clock = '2026-01-31 15:00:00+00';
SELECT quota.now(), quota.now() = quota.now() AS stands_still;
SET xavier_quota.clock = '2031-12-31 23:59:59.999999+00';
SELECT quota.now();
SET xavier_quota.clock = '2026-01-31 14:59:59.999999+00';
SELECT quota.now();
SELECT quota.period_range('1 month from 2026-01-31 15:00', quota.now());

-- set_config takes what an instant is written as.
SELECT set_config('xavier_quota.clock', (quota.now() + interval '1 us')::text, false);
SELECT quota.period_range('1 month from 2026-01-31 15:00', quota.now());

-- It is a setting like any other: taken back with the transaction, the savepoint or SET LOCAL.
BEGIN;
SET LOCAL xavier_quota.clock = '2027-01-01 00:00+00';
SELECT quota.now();
SAVEPOINT before;
SET xavier_quota.clock = '2028-01-01 00:00+00';
SELECT quota.now();
ROLLBACK TO before;
SELECT quota.now();
COMMIT;
SELECT quota.now();
BEGIN;
SET xavier_quota.clock = '2029-01-01 00:00+00';
ROLLBACK;
SELECT quota.now();
CREATE FUNCTION pg_temp.then() RETURNS timestamptz SET xavier_quota.clock = '1999-12-31 00:00+00' LANGUAGE sql AS 'SELECT quota.now()';
SELECT pg_temp.then(), quota.now();

-- Empty, reset, or never set: the wall clock again.
SET xavier_quota.clock = '';
SELECT quota.now() BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp() AS wall_clock;
SET xavier_quota.clock = '2026-01-31 15:00+00';
RESET xavier_quota.clock;
SELECT quota.now() BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp() AS wall_clock;

-- A parallel worker has the same clock.
SET xavier_quota.clock = '2026-01-31 15:00';
SET timezone = 'Asia/Tokyo';
-- The setting has another name since PostgreSQL 16.
SELECT set_config(name, 'on', false) AS forced FROM pg_settings
    WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT quota.now() AT TIME ZONE 'UTC';
SELECT set_config(name, 'off', false) AS forced FROM pg_settings
    WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
RESET xavier_quota.clock;

-- 3. Forms -------------------------------------------------------------------------------

SET timezone = 'America/St_Johns';
SET datestyle = 'SQL, DMY';
SELECT written, quota.now() AT TIME ZONE 'UTC' = utc AS right
FROM (VALUES
    ('2026-01-31', timestamp '2026-01-31 00:00'), ('2026-01-31 15:00', '2026-01-31 15:00'), ('2026-01-31T15:00:00', '2026-01-31 15:00'),
    ('2026-01-31 15:00Z', '2026-01-31 15:00'), ('2026-01-31 15:00 UTC', '2026-01-31 15:00'), ('2026-01-31t15:00z', '2026-01-31 15:00'),
    ('2026-01-31 15:00+01', '2026-01-31 14:00'), ('2026-01-31 15:00 +05:30', '2026-01-31 09:30'), ('2026-01-31 15:00-03:30', '2026-01-31 18:30'),
    ('2026-01-31 15:00:00.5+00:53:28', '2026-01-31 14:06:32.5'), ('2026-01-31 23:59:59.999999-15:59:59', '2026-02-01 15:59:58.999999'),
    ('0001-01-01+00', '0001-01-01 00:00'), ('9999-12-31 23:59:59.999999+00', '9999-12-31 23:59:59.999999')) AS v (written, utc)
WHERE set_config('xavier_quota.clock', written, false) = written;
RESET xavier_quota.clock;
SET datestyle = 'ISO';
SET timezone = 'UTC';

-- 4. What is no instant ---------------------------------------------------------------------

SET xavier_quota.clock = '2026-01-31 15:00:00+00';
SET xavier_quota.clock = 'noon'; -- fails
SET xavier_quota.clock = '2026-02-30 15:00:00+00'; -- fails
SET xavier_quota.clock = 5; -- fails
CREATE FUNCTION pg_temp.refused(value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM set_config('xavier_quota.clock', value, true);
    RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || ' ' || detail;
END
$$;
SELECT v.value, pg_temp.refused(v.value) AS outcome
FROM unnest(ARRAY[
    ' ', 'now', 'infinity', '-infinity', 'epoch', 'tomorrow', '2026', '2026-01', '31.01.2026', '01/31/2026', '20260131', '2026-1-31', '12026-01-31', '2026-01-31 BC', ' 2026-01-31',
    '2026-00-31', '2026-13-01', '2026-02-29', '0000-01-01', '2026-01-31 24:00', '2026-01-31 23:60', '2026-01-31 23:59:60', '2026-01-31 15', '2026-01-31 15:0', '2026-01-31 15:00:00.',
    '2026-01-31 15:00:00.1234567', '2026-01-31T', '2026-01-31 15:00+', '2026-01-31 15:00+1', '2026-01-31 15:00+0100', '2026-01-31 15:00+01:60', '2026-01-31 15:00+16',
    '2026-01-31 15:00+01:', '2026-01-31 15:00 CET', '2026-01-31 15:00 Europe/Berlin', '2026-01-31 15:00Z Z']) WITH ORDINALITY AS v (value, n)
ORDER BY v.n;
SELECT pg_temp.refused(repeat('9', 100000)), pg_temp.refused('2026-01-31' || repeat(' ', 100000) || '?');
SELECT quota.now();
RESET xavier_quota.clock;

-- 5. Privilege -----------------------------------------------------------------------------

CREATE ROLE regress_xavier_quota_clock;
SET ROLE regress_xavier_quota_clock;
SET xavier_quota.clock = '2026-01-31 15:00:00+00'; -- fails
SELECT set_config('xavier_quota.clock', '2026-01-31 15:00:00+00', true); -- fails
RESET xavier_quota.clock; -- fails
CREATE FUNCTION pg_temp.later() RETURNS int SET xavier_quota.clock = '2099-01-01' LANGUAGE sql AS 'SELECT 1'; -- fails
RESET ROLE;
ALTER ROLE regress_xavier_quota_clock SET xavier_quota.clock = 'never'; -- fails
SELECT context FROM pg_settings WHERE name = 'xavier_quota.clock';
DROP ROLE regress_xavier_quota_clock;
SELECT quota.now() BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp() AS wall_clock;
