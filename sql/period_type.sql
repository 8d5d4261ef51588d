-- Verifies that:
-- 1. quota.period reads every form in any case and spacing, and writes one canonical form;
-- 2. what is written reads back as the same value, and only the same value is equal;
-- 3. malformed text of any kind is an ordinary error that says where;
-- 4. order, hash and indexes agree with each other;
-- 5. casts to and from text and jsonb keep the value;
-- 6. binary output reads back, and no binary input whatever gets in that is not a period.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
SET search_path = public, quota;

-- 1. Canonical form -----------------------------------------------------------------

CREATE TEMP TABLE form (n int GENERATED ALWAYS AS IDENTITY, written text, canonical text);
INSERT INTO form (written, canonical) VALUES
    -- the forms of the reference
    ('month', 'month'),
    ('1 month from 2026-01-31 in Europe/Berlin', '1 month from 2026-01-31 in Europe/Berlin'),
    ('6 hours', '6 hours'),
    ('rolling 24 hours', 'rolling 24 hours'),
    ('refill 100 per 1 minute up to 500', 'refill 100 per 1 minute up to 500'),
    ('lifetime', 'lifetime'),
    -- every unit, alone and counted, singular and plural
    ('second', 'second'), ('10 seconds', '10 seconds'),
    ('minute', 'minute'), ('5 minute', '5 minutes'),
    ('hour', 'hour'), ('1 hours', 'hour'),
    ('day', 'day'), ('2 days', '2 days'),
    ('week', 'week'), ('3 weeks', '3 weeks'),
    ('months', 'month'), ('1 month', 'month'),
    ('quarter', '3 months'), ('2 quarters', '6 months'),
    ('year', 'year'), ('5 years', '5 years'), ('0005 years', '5 years'),
    -- case and blanks
    ('  MONTH  ', 'month'), (E'\t6\n Hours\r', '6 hours'), ('6hours', '6 hours'),
    ('1 Month From 2026-01-31 In europe/BERLIN', '1 month from 2026-01-31 in Europe/Berlin'),
    ('ROLLING 24HOURS', 'rolling 24 hours'), ('Refill 100 Per minute Up To 500', 'refill 100 per 1 minute up to 500'),
    (' LifeTime', 'lifetime'),
    -- the largest unit that gives a whole count
    ('60 seconds', 'minute'), ('3600 seconds', 'hour'), ('90 seconds', '90 seconds'), ('120 minutes', '2 hours'),
    ('24 hours', '24 hours'), ('48 hours', '48 hours'),
    ('12 months', 'year'), ('18 months', '18 months'), ('4 quarters', 'year'), ('24 months', '2 years'),
    ('14 days from 2026-03-06', '2 weeks from 2026-03-06'), ('10 days from 2026-03-06', '10 days from 2026-03-06'),
    ('rolling 60 minutes', 'rolling 1 hour'), ('rolling day', 'rolling 24 hours'), ('rolling 48 hours', 'rolling 2 days'),
    ('rolling week', 'rolling 7 days'), ('rolling 36 hours', 'rolling 36 hours'), ('rolling second', 'rolling 1 second'),
    ('refill 1 per 60 seconds up to 1', 'refill 1 per 1 minute up to 1'), ('refill 1 per day up to 1', 'refill 1 per 24 hours up to 1'),
    -- anchors: the natural one is left out, midnight needs no time
    ('month from 1970-01-01', 'month'), ('week from 1970-01-05', 'week'), ('week from 1970-01-01', '7 days'),
    ('7 days', '7 days'), ('7 days from 1970-01-05', 'week'), ('14 days from 1970-01-05', '2 weeks'), ('2 weeks from 1970-01-01', '14 days'),
    ('month from 2026-01-31 00:00', '1 month from 2026-01-31'), ('month from 2026-01-31T00:00:00.000000', '1 month from 2026-01-31'),
    ('month from 2026-01-31 15:00', '1 month from 2026-01-31 15:00'), ('month from 2026-01-31t15:00:00', '1 month from 2026-01-31 15:00'),
    ('month from 2026-01-31 15:00:07', '1 month from 2026-01-31 15:00:07'), ('month from 2026-01-31  23:59:59.999999', '1 month from 2026-01-31 23:59:59.999999'),
    ('month from 2026-01-31 00:00:00.120', '1 month from 2026-01-31 00:00:00.12'), ('day from 0001-01-01', '1 day from 0001-01-01'),
    ('year from 2024-02-29', '1 year from 2024-02-29'), ('second from 9999-12-31 23:59:59', '1 second from 9999-12-31 23:59:59'),
    -- zones: UTC is left out, the others are spelt as the time zone database does
    ('month in UTC', 'month'), ('month in utc', 'month'), ('month from 2026-01-31 in Utc', '1 month from 2026-01-31'),
    ('month in Etc/UTC', '1 month in Etc/UTC'), ('day in america/new_york', '1 day in America/New_York'), ('week in Etc/GMT+5', '1 week in Etc/GMT+5'),
    -- amounts
    ('refill 12.50 per hour up to 0.000001', 'refill 12.5 per 1 hour up to 0.000001'),
    ('refill 4611686018427.387903 per 1 second up to 4611686018427.387903', 'refill 4611686018427.387903 per 1 second up to 4611686018427.387903'),
    -- the longest
    ('1000 years', '1000 years'), ('12000 months', '1000 years'), ('366000 days', '366000 days'), ('8784000 hours', '8784000 hours'),
    ('rolling 366000 days', 'rolling 366000 days');

SELECT count(*) AS forms FROM form;
SELECT written, written::quota.period AS actual, canonical FROM form WHERE written::quota.period::text <> canonical ORDER BY n;

-- 2. What is written reads back; equal exactly when written the same -------------------

SELECT count(*) AS pairs,
       count(*) FILTER (WHERE (a.written::quota.period = b.written::quota.period) <> (a.canonical = b.canonical)) AS wrong,
       count(*) FILTER (WHERE (a.written::quota.period <> b.written::quota.period) <> (a.canonical <> b.canonical)) AS wrong_negation
FROM form a CROSS JOIN form b;
SELECT canonical FROM form WHERE canonical::quota.period <> written::quota.period OR canonical::quota.period::text <> canonical;

-- 3. Malformed text ----------------------------------------------------------------------

CREATE FUNCTION pg_temp.refused(input text) RETURNS TABLE (code text, message text, detail text, hint text)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM input::quota.period;
    RETURN QUERY SELECT 'none', input::quota.period::text, NULL, NULL;
EXCEPTION WHEN OTHERS THEN
    code := SQLSTATE;
    message := SQLERRM;
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN NEXT;
END
$$;

-- Two in full.
\x on
SELECT r.* FROM pg_temp.refused('fortnight') AS r;
SELECT r.* FROM pg_temp.refused('month from 2026-02-30') AS r;
\x off

-- The others: code and detail.
SELECT i.input, r.code, r.detail
FROM unnest(ARRAY[
    '', '  ', 'fortnight', '1', '-1 month', '+1 month', '1.5 months', '1e3 days', 'monthss', 'mo', 's', 'every month',
    'month month', 'months from', 'month from now', 'month from 2026', 'month from 2026-1-31', 'month from 26-01-31', 'month from 31.01.2026',
    'month from 2026-01-31 10', 'month from 2026-01-31 10:0', 'month from 2026-01-31T', 'month from 2026-01-31 10:00:00.', 'month from 2026-01-31 10:00:00.1234567',
    'month from 2026-01-31 10:00+01', 'month from 2026-01-31 10:00Z', 'month from 2026-01-31 Europe/Berlin', 'month from 12026-01-31', 'month from 2026-01-31 BC',
    'month in', 'month in Europe/Berlin from 2026-01-31', 'month in Europe/Berlin DST',
    'rolling', 'rolling 24', 'rolling month', 'rolling 2 years', 'rolling 24 hours from 2026-01-01', 'rolling 24 hours in UTC', 'rolling rolling 1 hour',
    'refill', 'refill 100', 'refill per minute up to 5', 'refill 100 per minute', 'refill 100 per minute up 500', 'refill 100 per minute up to', 'refill 100 per month up to 5',
    'refill 1. per minute up to 5', 'refill .5 per minute up to 5', 'refill 1.0000001 per minute up to 5', 'refill 1e3 per minute up to 5', 'refill NaN per minute up to 5',
    'lifetime 1', 'lifetimes', 'lifetime from 2026-01-01', 'rolling lifetime']) WITH ORDINALITY AS i (input, n),
    pg_temp.refused(i.input) AS r
ORDER BY i.n;

-- Well formed, but there is no such thing.
SELECT i.input, r.code, r.message, r.detail
FROM unnest(ARRAY[
    '0 days', '0 seconds', '1001 years', '12001 months', '366001 days', '31622400001 seconds', '99999999999999999999999999999 weeks', 'rolling 0 hours', 'rolling 9999999 days',
    'month from 0000-01-01', 'month from 2026-13-01', 'month from 2026-02-29', 'month from 2026-04-31', 'month from 2100-02-29', 'month from 2026-01-00',
    'month from 2026-01-31 24:00', 'month from 2026-01-31 10:60', 'month from 2026-01-31 10:00:60',
    'refill 0 per minute up to 5', 'refill 5 per minute up to 0', 'refill -1 per minute up to 5', 'refill 1 per 0 minutes up to 5', 'refill 4611686018427.387904 per minute up to 5',
    'refill 5 per minute up to 99999999999999999999999999999', 'refill 0.000001 per 1000 days up to 1', 'refill 0.000001 per 366000 days up to 4611686018427.387903',
    'month in Mars/Phobos', 'month in Europe', 'month in FOO5', 'month in Berlin1', 'month in CEST', 'month in +01', 'month in UTC+1', 'month in ../../../etc/passwd', 'month in right/Europe/Berlin',
    'month in Europe/Berlin;']) WITH ORDINALITY AS i (input, n),
    pg_temp.refused(i.input) AS r
ORDER BY i.n;
SELECT r.hint FROM pg_temp.refused('month in Mars/Phobos') AS r;

-- Anything at all: every form cut off at every place, with every character left out, doubled or
-- replaced (of a zone only the first letters); and texts of great length. A value, or an error of
-- class 22 (data exception).
SELECT count(*) > 8000 AS many,
       count(*) FILTER (WHERE r.code <> 'none' AND r.code NOT LIKE '22%') AS wrong_errors,
       count(*) FILTER (WHERE r.code = 'none' AND r.message::quota.period::text <> r.message) AS wrong_values
FROM form f
CROSS JOIN LATERAL generate_series(1, length(regexp_replace(f.written, '(?<= in ..).*', '', 'i'))) AS i
CROSS JOIN LATERAL (
    SELECT left(f.written, i - 1)
    UNION SELECT overlay(f.written PLACING '' FROM i FOR 1)
    UNION SELECT overlay(f.written PLACING substr(f.written, i, 1) FROM i FOR 0)
    UNION SELECT overlay(f.written PLACING c FROM i FOR 1) FROM unnest(ARRAY['9', '-', '.', ':', ' ', 'x', '/', 'ß', '%', '"', '\']) AS c
) AS m (input)
CROSS JOIN LATERAL pg_temp.refused(m.input) AS r;
SELECT r.code, length(r.message) FROM unnest(ARRAY[repeat('x', 1000000), repeat('9', 1000000) || ' days', 'month in ' || repeat('x', 1000000),
                                                  'month' || repeat(' ', 1000000), repeat(' ', 1000000) || '?', 'month from ' || repeat('0', 1000000)])
    WITH ORDINALITY AS i (input, n), pg_temp.refused(i.input) AS r ORDER BY i.n;

-- 4. Order -----------------------------------------------------------------------------------

SELECT string_agg(p::text, ' < ' ORDER BY p) AS ordered
FROM (SELECT DISTINCT v::quota.period AS p
      FROM unnest(ARRAY['lifetime', 'year', 'rolling 24 hours', 'month', '6 hours', 'refill 100 per 1 minute up to 500', 'day', 'week', 'hour', 'rolling 60 minutes',
                        '1 month in Europe/Berlin', '1 month from 2026-01-31', '1 month from 1969-12-31', '300 hours', 'rolling 1 hour',
                        'refill 100 per 1 minute up to 50', 'refill 99 per 1 minute up to 500', '1 month in Asia/Tokyo', '1 month']) AS v) AS s;

-- The six operators and the comparison function agree for every pair, and equal means equal hash.
SELECT count(*) AS pairs, count(*) FILTER (WHERE NOT (
           (a < b) = (c < 0) AND (a <= b) = (c <= 0) AND (a = b) = (c = 0) AND (a <> b) = (c <> 0) AND (a >= b) = (c >= 0) AND (a > b) = (c > 0)
           AND c = -quota._period_cmp(b, a)
           AND (c <> 0 OR quota._period_hash(a) = quota._period_hash(b) AND quota._period_hash_extended(a, 7) = quota._period_hash_extended(b, 7)))) AS wrong
FROM (SELECT written::quota.period AS a FROM form) AS x CROSS JOIN (SELECT written::quota.period AS b FROM form) AS y, LATERAL quota._period_cmp(a, b) AS c;
SELECT count(DISTINCT quota._period_hash(canonical::quota.period)) > 50 AS hashes_differ FROM form;

CREATE TEMP TABLE indexed (p quota.period PRIMARY KEY);
INSERT INTO indexed SELECT DISTINCT written::quota.period FROM form;
CREATE INDEX indexed_hash_idx ON indexed USING hash (p);
INSERT INTO indexed VALUES ('12 months'); -- fails
ANALYZE indexed;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT p FROM indexed ORDER BY p;
SELECT (SELECT array_agg(p ORDER BY p) FROM indexed) = ARRAY(SELECT DISTINCT canonical::quota.period FROM form ORDER BY 1) AS same;
SELECT p FROM indexed WHERE p = '12 MONTHS';
SELECT count(*) = (SELECT count(*) FROM indexed WHERE p::text ~ '^rolling') AS same FROM indexed WHERE p >= 'rolling 1 second' AND p < 'refill 0.000001 per 1 second up to 0.000001';
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT opcname, amname, amvalidate(c.oid) AS valid
FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod WHERE opcintype = 'quota.period'::regtype ORDER BY amname;

-- 5. Casts -------------------------------------------------------------------------------------

CREATE TEMP TABLE assigned (p quota.period, t text, j jsonb);
INSERT INTO assigned SELECT '6 HOURS'::text, '6 HOURS'::quota.period, '6 HOURS'::quota.period;
INSERT INTO assigned SELECT '"6 HOURS"'::jsonb, NULL, NULL;
SELECT * FROM assigned;
SELECT count(*) AS wrong FROM form, CAST(written AS quota.period) AS p
WHERE p::text::quota.period <> p OR p::jsonb::quota.period <> p OR p::jsonb #>> '{}' <> canonical;
SELECT '5'::jsonb::quota.period; -- fails
SELECT 'null'::jsonb::quota.period; -- fails
SELECT '{"period": "month"}'::jsonb::quota.period; -- fails
SELECT '["month"]'::jsonb::quota.period; -- fails
SELECT '"mouth"'::jsonb::quota.period; -- fails

-- 6. Binary ------------------------------------------------------------------------------------

-- Gives bytes to the input function of a binary COPY, and writes back what it made of them.
CREATE TEMP TABLE received (p quota.period);
CREATE FUNCTION pg_temp.receive(bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    stream bytea := '\x5047434f50590aff0d0a00' || '\x0000000000000000'::bytea
        || '\x0001' || int4send(length(bytes)) || bytes || '\xffff';
    octal text := (SELECT string_agg('\' || (b >> 6) || (b >> 3 & 7) || (b & 7), '' ORDER BY i)
                   FROM generate_series(0, length(stream) - 1) AS i, get_byte(stream, i) AS b);
BEGIN
    TRUNCATE pg_temp.received;
    EXECUTE format('COPY pg_temp.received FROM PROGRAM %L (FORMAT binary)', 'printf ''' || octal || '''');
    RETURN (SELECT p::text FROM pg_temp.received);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

SELECT p, quota._period_send(p)
FROM unnest(ARRAY['month', '1 month from 2026-01-31 in Europe/Berlin', 'rolling 24 hours', 'refill 100 per 1 minute up to 500', 'lifetime']::quota.period[]) AS p;
SELECT canonical FROM form WHERE pg_temp.receive(quota._period_send(written::quota.period)) <> canonical;

-- What is not a period stays out, and what is written differently becomes canonical.
SELECT what, left(pg_temp.receive(bytes), 70) AS received
FROM (VALUES
    ('no byte', ''::bytea), ('an unknown kind', '\x04'), ('a lifetime and more', '\x0300'),
    ('a rolling window of days', '\x01010000000000000001'), ('an unknown unit', '\x00030000000000000001' || '\x8000000000000000'::bytea),
    ('a length of 0', '\x01000000000000000000'), ('a negative length', '\x0100ffffffffffffffff'), ('too long', '\x01000fffffffffffffff'),
    ('a rate of 0', '\x0200' || int8send(1) || int8send(0) || int8send(1)), ('a negative burst', '\x0200' || int8send(1) || int8send(1) || int8send(-1)),
    ('too large a rate', '\x0200' || int8send(1) || '\x7fffffffffffffff' || int8send(1)),
    ('refilled in ages', '\x0200' || int8send(31622400000) || int8send(1) || int8send(2)),
    ('an anchor at infinity', '\x0002' || int8send(1) || '\xffffffffffffffff'), ('an anchor before the year 1', '\x0002' || int8send(1) || '\x0000000000000000'),
    ('a zone in small letters', quota._period_send('month') || 'europe/berlin'), ('UTC by name', quota._period_send('month') || 'UTC'),
    ('an unknown zone', quota._period_send('month') || 'Mars/Phobos'), ('a zone with a zero byte', quota._period_send('month') || '\x5554430041'),
    ('a zone that is not text', quota._period_send('month') || '\xc328'), ('too long a zone', quota._period_send('month') || convert_to(repeat('x', 300), 'UTF8'))
) AS v (what, bytes);

-- A value that is cut off is none, unless all that is lost is the zone.
CREATE TEMP TABLE sent AS
SELECT quota._period_send(p) AS bytes FROM unnest(ARRAY['1 month from 2026-01-31 in Asia/Tokyo', 'rolling 24 hours', 'refill 100 per 1 minute up to 500']::quota.period[]) AS p;
SELECT left(r, 5) = '22P03' AS wrong_form, left(r, 5) = '22023' AS wrong_zone, count(*), min(r) FILTER (WHERE r !~ '^22') AS accepted
FROM sent CROSS JOIN LATERAL generate_series(0, length(bytes) - 1) AS i, pg_temp.receive(substring(bytes FOR i)) AS r
GROUP BY 1, 2 ORDER BY 1, 2;

-- A value with any of its bytes changed is another value or an error.
SELECT count(*) AS tried, count(*) FILTER (WHERE r !~ '^22' AND r::quota.period::text <> r) AS wrong,
       array_agg(DISTINCT left(r, 5)) FILTER (WHERE r ~ '^[0-9A-Z]{5} ') AS errors
FROM sent CROSS JOIN LATERAL generate_series(0, length(bytes) - 1) AS i CROSS JOIN unnest(ARRAY[1, 128, 255]) AS d,
     pg_temp.receive(set_byte(bytes, i, (get_byte(bytes, i) + d) % 256)) AS r;
