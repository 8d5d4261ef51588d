-- Verifies that:
-- 1. an amount has one text: sorted, without zeros, with the shortest decimals;
-- 2. malformed input is an ordinary error that says where, and nothing is rounded;
-- 3. arithmetic is that of numeric, component by component; what is beyond the range
--    is an error, and a product is rounded once, up;
-- 4. <= is the partial order of vectors, apart from the total order of indexes;
-- 5. sums are exact, also in parallel plans;
-- 6. btree, hash, grouping and joins by hash agree on equality;
-- 7. casts and the binary form lose nothing, and binary input is validated.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
SET search_path = public, quota;
\pset null '(null)'

-- An error with what a caller sees of it; code none if there is no error.
CREATE FUNCTION pg_temp.refused(statement text) RETURNS TABLE (code text, message text, detail text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN QUERY SELECT 'none', NULL, NULL;
EXCEPTION WHEN OTHERS THEN
    code := SQLSTATE;
    message := SQLERRM;
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    detail := NULLIF(detail, '');
    RETURN NEXT;
END
$$;

-- Text ------------------------------------------------------------------------

SELECT input::quota.amount AS amount
FROM unnest(ARRAY[
    'credit=12.5,calls=1',
    '',
    '   ',
    E' credit = 12.5 ,\n\tcalls\r=\f+1\x0b',
    'calls=0',
    'calls=-0.000000,credit=1',
    'calls=1.500000',
    'calls=1.5000000000000000000000000',
    'calls=000000000000000000000000000001',
    'calls=-1',
    'calls=0.000001',
    'calls=-0.000001',
    'calls=100',
    'calls=4611686018427.387903',
    'calls=-4611686018427.387903',
    'b=2,_=4,a_1=3,a=1,a1=5,a10=6'
]) WITH ORDINALITY AS t (input, n)
ORDER BY n;

SELECT input, r.code, r.detail
FROM unnest(ARRAY[
    'credit',
    'credit=',
    'credit=,',
    '=1',
    'credit=1,',
    ',credit=1',
    'credit=1,,calls=1',
    'credit=1 calls=1',
    'credit=1;calls=1',
    'credit=1x',
    'credit=one',
    'credit=1.',
    'credit=.5',
    'credit=1.5.5',
    'credit=1e3',
    'credit=1,000',
    'credit=--1',
    'credit=+-1',
    'credit=- 1',
    'credit=0x10',
    'credit=NaN',
    'credit=Infinity',
    'credit==1',
    'Credit=1',
    '1credit=1',
    'cre dit=1',
    'cre-dit=1',
    '"credit"=1',
    'credit=1,credit=2',
    'credit=1,calls=1,credit=1',
    'credit=1,credit=0',
    'credit=1.0000001',
    'credit=1.123456000001',
    'calls=1,credit=0.0000000000000000000000000000001',
    'credit=4611686018427.387904',
    'credit=-4611686018427.387904',
    'calls=1,credit=9223372036854.775808',
    'credit=18446744073709551616',
    'credit=18446744073709.551616',
    'credit=340282366920938463463374607431768211456'
]) WITH ORDINALITY AS t (input, n),
     pg_temp.refused(format('SELECT %L::quota.amount', input)) AS r
ORDER BY n;

SELECT 'credit=1.1234567'::quota.amount;  -- fails
SELECT 'calls=1,calls=2'::quota.amount;  -- fails
SELECT 'credit=5000000000000'::quota.amount;  -- fails

-- Limits: 63 bytes of a name, 64 resources
SELECT what, r.code, r.detail
FROM (VALUES
    (1, 'name of 63', repeat('r', 63) || '=1'),
    (2, 'name of 64', repeat('r', 64) || '=1'),
    (3, '64 resources', (SELECT string_agg('r' || i || '=1', ',') FROM generate_series(1, 64) AS i)),
    (4, '65 resources', (SELECT string_agg('r' || i || '=1', ',') FROM generate_series(1, 65) AS i)),
    (5, 'a million digits', 'credit=' || repeat('9', 1000000)),
    (6, 'a million zeros before', 'credit=' || repeat('0', 1000000) || '1'),
    (7, 'a million zeros after', 'credit=1.' || repeat('0', 1000000)),
    (8, 'a million zeros and one', 'credit=1.' || repeat('0', 1000000) || '1'),
    (9, 'a million commas', repeat(',', 1000000)),
    (10, 'a million spaces', repeat(' ', 1000000)),
    (11, 'a name of a million', repeat('r', 1000000) || '=1')
) AS t (n, what, input),
     pg_temp.refused(format('SELECT %L::quota.amount', input)) AS r
ORDER BY n;

-- The largest amount, in and out of a table (compressed and out of line)
CREATE TEMP TABLE largest AS
SELECT string_agg('r' || repeat('_', 60) || lpad(i::text, 2, '0') || '=' || i, ',' ORDER BY i)::quota.amount AS amount FROM generate_series(1, 64) AS i;
SELECT length(amount::text), amount -> ('r' || repeat('_', 60) || '64') AS last, amount - amount = '' AS nothing,
       amount + amount = amount * 2 AS twice, amount = amount::text::quota.amount AS same FROM largest;

-- Arithmetic ---------------------------------------------------------------------

SELECT quota.amount('credit', 12.5), quota.amount('credit', 12.500000000), quota.amount('calls', 0) = '' AS zero_is_empty,
       quota.amount('credit', -0.000001), quota.amount('credit', 4611686018427.387903);
SELECT statement, r.code, r.message, r.detail
FROM unnest(ARRAY[
    $$SELECT quota.amount('Credit', 1)$$,
    $$SELECT quota.amount('', 1)$$,
    $$SELECT quota.amount('a=1,b', 1)$$,
    $$SELECT quota.amount('credit', 0.0000001)$$,
    $$SELECT quota.amount('credit', 1e-16383)$$,
    $$SELECT quota.amount('credit', 4611686018427.387904)$$,
    $$SELECT quota.amount('credit', -4611686018427.387904)$$,
    $$SELECT quota.amount('credit', 1e131071)$$,
    $$SELECT quota.amount('credit', 'NaN')$$,
    $$SELECT quota.amount('credit', '-Infinity')$$
]) WITH ORDINALITY AS t (statement, n),
     pg_temp.refused(statement) AS r
ORDER BY n;

SELECT 'calls=1,credit=12.5'::quota.amount + 'credit=0.5,storage=2' AS sum,
       'calls=1,credit=12.5'::quota.amount - 'credit=0.5,storage=2' AS difference,
       'calls=1,credit=12.5'::quota.amount - 'credit=12.5' AS less,
       - 'calls=1,credit=-12.5'::quota.amount AS negative,
       'calls=1,credit=12.5'::quota.amount + '' AS same,
       'calls=1'::quota.amount - 'calls=1' = '' AS nothing;

-- Products are rounded up, toward positive infinity
SELECT 'calls=1,credit=12.5'::quota.amount * 1.1 AS exact,
       'credit=0.000001'::quota.amount * 0.5 AS up,
       'credit=-0.000001'::quota.amount * 0.5 = '' AS up_to_zero,
       'credit=0.000003'::quota.amount * -0.5 AS negative_up,
       1.5 * 'credit=0.000001'::quota.amount AS commuted,
       'credit=1'::quota.amount * 1e-16383 AS tiny,
       'credit=0.000001'::quota.amount * (1 + 1e-16383) AS just_above,
       'credit=3'::quota.amount * (1 / 3.0) AS third,
       'credit=12.5'::quota.amount * 0 = '' AS zero;

-- Values in units against numeric, over all pairs; a sum in range is never refused
CREATE TEMP TABLE vectors AS
SELECT row_number() OVER () AS id, c, s,
       (CASE WHEN c IS NULL THEN '' ELSE 'credit=' || c END || CASE WHEN c IS NULL OR s IS NULL THEN '' ELSE ',' END
           || CASE WHEN s IS NULL THEN '' ELSE 'storage=' || s END)::quota.amount AS amount
FROM unnest(ARRAY[NULL, -4611686018427.387903, -1000, -0.000001, 0.000001, 2305843009213.693951, 4611686018427.387903]) AS c,
     unnest(ARRAY[NULL, -7.25, -0.5, 0.5, 7.25]) AS s;
SELECT count(*) AS pairs,
       count(*) FILTER (WHERE (a.amount <= b.amount) <> (COALESCE(a.c, 0) <= COALESCE(b.c, 0) AND COALESCE(a.s, 0) <= COALESCE(b.s, 0))
                           OR (a.amount >= b.amount) <> (b.amount <= a.amount)) AS wrong_partial_order,
       count(*) FILTER (WHERE (a.amount = b.amount) <> ((a.c, a.s) IS NOT DISTINCT FROM (b.c, b.s))
                           OR (a.amount <> b.amount) = (a.amount = b.amount)) AS wrong_equality,
       count(*) FILTER (WHERE NOT (a.amount <= b.amount OR b.amount <= a.amount)) > 0 AS some_without_order
FROM vectors a, vectors b;
SELECT count(*) AS in_range,
       count(*) FILTER (WHERE (a.amount + b.amount) -> 'credit' <> COALESCE(a.c, 0) + COALESCE(b.c, 0)
                           OR (a.amount + b.amount) -> 'storage' <> COALESCE(a.s, 0) + COALESCE(b.s, 0)
                           OR (a.amount - (- b.amount)) <> (a.amount + b.amount)) AS wrong_sum
FROM vectors a, vectors b
WHERE abs(COALESCE(a.c, 0) + COALESCE(b.c, 0)) <= 4611686018427.387903;
SELECT count(*) > 0 AS some_beyond, array_agg(DISTINCT r.code) AS codes
FROM vectors a, vectors b, pg_temp.refused(format('SELECT %L::quota.amount + %L', a.amount, b.amount)) AS r
WHERE abs(COALESCE(a.c, 0) + COALESCE(b.c, 0)) > 4611686018427.387903;
SELECT count(*) AS products,
       count(*) FILTER (WHERE a.amount * f <> quota.amount('credit', ceil(COALESCE(a.c, 0) * f * 1000000) * 0.000001)
                                            + quota.amount('storage', ceil(COALESCE(a.s, 0) * f * 1000000) * 0.000001)
                           OR f * a.amount <> a.amount * f) AS wrong_product
FROM vectors a, unnest(ARRAY[-1, -0.3333333, -1e-12, 0, 1e-30, 0.000001, 0.5, 0.99999999999999999999, 1]) AS f;

SELECT statement, r.code, r.message, r.detail
FROM unnest(ARRAY[
    $$SELECT 'credit=4611686018427.387903'::quota.amount + 'credit=0.000001'$$,
    $$SELECT 'credit=-4611686018427.387903'::quota.amount - 'credit=0.000001'$$,
    $$SELECT 'credit=4611686018427.387903'::quota.amount * 1.0000000000000000001$$,
    $$SELECT 'credit=4611686018427.387903'::quota.amount * -2$$,
    $$SELECT 'credit=1'::quota.amount * 1e131071$$,
    $$SELECT 'credit=1'::quota.amount * 'NaN'::numeric$$,
    $$SELECT ''::quota.amount * 'Infinity'::numeric$$,
    $$SELECT (SELECT string_agg('r' || i || '=1', ',') FROM generate_series(1, 64) AS i)::quota.amount + 'one_more=1'$$
]) WITH ORDINALITY AS t (statement, n),
     pg_temp.refused(statement) AS r
ORDER BY n;
-- 64 resources are enough where some cancel out
SELECT 'r64=1,one_more=1' = (SELECT string_agg('r' || i || '=1', ',') FROM generate_series(1, 64) AS i)::quota.amount
                           - (SELECT string_agg('r' || i || '=1', ',') FROM generate_series(1, 63) AS i)::quota.amount + 'one_more=1' AS fits;

SELECT 'calls=1,credit=12.5'::quota.amount -> 'credit' AS credit, 'calls=1'::quota.amount -> 'credit' AS absent,
       'credit=4611686018427.387903'::quota.amount -> 'credit' AS most, ''::quota.amount -> 'no such name!' AS no_name;
SELECT * FROM quota.entries('storage=0.000001,calls=-1,credit=1000'::quota.amount);
SELECT count(*) FROM quota.entries(''::quota.amount);

-- Order -------------------------------------------------------------------------

-- The total order: by the list of (name, value), the name before the value
CREATE TYPE pg_temp.entry AS (resource text COLLATE "C", value numeric);
CREATE TEMP TABLE ordered AS
SELECT v.amount, ARRAY(SELECT (e.resource, e.value)::pg_temp.entry FROM quota.entries(v.amount) AS e) AS entries
FROM (SELECT amount FROM vectors
      UNION ALL SELECT amount + 'calls=1' FROM vectors
      UNION ALL SELECT amount + 'z=-1' FROM vectors WHERE s IS NULL) AS v;
SELECT count(*) AS differences
FROM (SELECT row_number() OVER (ORDER BY amount) AS by_amount, row_number() OVER (ORDER BY entries) AS by_entries FROM ordered) AS o
WHERE by_amount <> by_entries;
SELECT count(*) AS pairs,
       count(*) FILTER (WHERE (a.amount *< b.amount) <> (a.entries < b.entries)
                           OR (a.amount *<= b.amount) <> (a.entries <= b.entries)
                           OR (a.amount *> b.amount) <> (a.entries > b.entries)
                           OR (a.amount *>= b.amount) <> (a.entries >= b.entries)) AS wrong
FROM ordered a, ordered b;

CREATE TABLE amount_type_rows AS
SELECT i AS id, ('calls=1,credit=' || i % 100 || '.' || lpad((i % 7)::text, 6, '0'))::quota.amount AS amount
FROM generate_series(1, 7000) AS i;
CREATE INDEX amount_type_rows_idx ON amount_type_rows (amount);
ANALYZE amount_type_rows;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS off) SELECT id FROM amount_type_rows WHERE amount = 'calls=1,credit=5';
SELECT count(*), min(id) FROM amount_type_rows WHERE amount = 'credit=7.0,calls=1';
EXPLAIN (COSTS off) SELECT amount FROM amount_type_rows ORDER BY amount DESC LIMIT 1;
SELECT amount FROM amount_type_rows ORDER BY amount DESC LIMIT 1;
RESET enable_seqscan;
RESET enable_bitmapscan;

-- 100 x 7 values, each 10 times
SET enable_mergejoin = off;
SET enable_nestloop = off;
EXPLAIN (COSTS off) SELECT count(*) FROM amount_type_rows a JOIN amount_type_rows b USING (amount);
SELECT count(*) FROM amount_type_rows a JOIN amount_type_rows b USING (amount);
RESET enable_mergejoin;
RESET enable_nestloop;
SET enable_sort = off;
SELECT count(*) FROM (SELECT DISTINCT amount FROM amount_type_rows) AS d;
RESET enable_sort;
SET enable_hashagg = off;
SELECT count(*), min(n), max(n) FROM (SELECT count(*) AS n FROM amount_type_rows GROUP BY amount) AS g;
RESET enable_hashagg;
CREATE TABLE amount_type_parts (amount quota.amount) PARTITION BY HASH (amount);
CREATE TABLE amount_type_parts_0 PARTITION OF amount_type_parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE amount_type_parts_1 PARTITION OF amount_type_parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO amount_type_parts SELECT amount FROM amount_type_rows;
SELECT count(*), count(DISTINCT tableoid) AS parts FROM amount_type_parts;
DROP TABLE amount_type_parts;

-- Sums ---------------------------------------------------------------------------

SELECT quota.sum(amount) AS none FROM amount_type_rows WHERE false;
SELECT quota.sum(a) FROM (VALUES ('calls=1,credit=0.1'::quota.amount), (NULL), ('credit=0.2'), ('calls=-1'), ('')) AS t (a);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS off) SELECT quota.sum(amount) FROM amount_type_rows;
SELECT quota.sum(amount) -> 'credit' = (SELECT sum(i % 100 + (i % 7) * 0.000001) FROM generate_series(1, 7000) AS i) AS same_credit,
       quota.sum(amount) -> 'calls' AS calls
FROM amount_type_rows;
SELECT quota.sum(amount) FROM amount_type_rows;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;
SELECT id % 3 AS part, quota.sum(amount) FROM amount_type_rows WHERE id <= 6 GROUP BY 1 ORDER BY 1;
-- Moving frames take rows out again
SELECT count(*) AS frames,
       count(*) FILTER (WHERE moving IS DISTINCT FROM (
           SELECT quota.sum(r.amount) FROM amount_type_rows r WHERE r.id BETWEEN m.id - 3 AND m.id - 1)) AS wrong
FROM (SELECT id, quota.sum(amount) OVER (ORDER BY id ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING) AS moving
      FROM amount_type_rows WHERE id <= 50) AS m;
SELECT quota.sum(a) FROM (VALUES ('credit=4611686018427.387903'::quota.amount), ('credit=0.000001')) AS t (a);  -- fails
DROP TABLE amount_type_rows;

-- Casts -----------------------------------------------------------------------

CREATE TEMP TABLE assigned (id integer, amount quota.amount, t text, v varchar, j jsonb);
INSERT INTO assigned (id, amount) SELECT 1, 'credit=1.50'::text;
INSERT INTO assigned (id, amount) SELECT 2, 'credit=2.50'::varchar;
INSERT INTO assigned (id, amount) SELECT 3, '{"credit": 3.50}'::jsonb;
UPDATE assigned SET t = amount, v = amount, j = amount;
SELECT * FROM assigned ORDER BY id;
SELECT 'calls=1,credit=12.5'::quota.amount::jsonb AS jsonb, to_jsonb('calls=1'::quota.amount) AS to_jsonb,
       jsonb_build_object('held', 'calls=1,credit=-0.1'::quota.amount) AS built,
       to_jsonb(''::quota.amount) AS empty, 'calls=1'::quota.amount::json AS json;
SELECT input, input::jsonb::quota.amount AS amount
FROM unnest(ARRAY[
    '{}',
    '{"calls": 1, "credit": "12.5"}',
    '{"credit": 0.1, "calls": "0"}',
    '{"credit": 1.10e1}',
    '{"credit": 1e-6}',
    '{"credit": "4611686018427.387903", "calls": -4611686018427.387903}',
    '{"credit": 1.0000000000000}',
    '{"a": 1, "a": 2}'
]) WITH ORDINALITY AS t (input, n)
ORDER BY n;
SELECT input, r.code, r.message, r.detail
FROM unnest(ARRAY[
    '1', 'null', '"credit=1"', '[]', '[{"credit": 1}]',
    '{"credit": null}', '{"credit": true}', '{"credit": {}}', '{"credit": [1]}',
    '{"credit": ""}', '{"credit": " 1"}', '{"credit": "1 "}', '{"credit": "1,calls=2"}', '{"credit": "1e3"}', '{"credit": "NaN"}',
    '{"credit": 0.0000001}', '{"credit": 5e12}', '{"credit": 1e1000}',
    '{"": 1}', '{"Credit": 1}', '{"a=1,b": 1}', '{"calls": 1, "cre dit": 1}'
]) WITH ORDINALITY AS t (input, n),
     pg_temp.refused(format('SELECT %L::jsonb::quota.amount', input)) AS r
ORDER BY n;
SELECT r.code, r.detail
FROM pg_temp.refused(format('SELECT %L::jsonb::quota.amount', (SELECT jsonb_object_agg('r' || i, 1) FROM generate_series(1, 65) AS i))) AS r;
SELECT count(*) FILTER (WHERE amount::jsonb::quota.amount <> amount OR amount::text::quota.amount <> amount) AS changed FROM vectors;

-- Binary form -------------------------------------------------------------------

-- version int8, count int16; of each: length int8, name, millionths int64
SELECT quota._amount_send('credit=12.5,a=-0.000001')
     = '\x01'::bytea || '\x0002' || '\x01' || 'a'::bytea || int8send(-1) || '\x06' || 'credit'::bytea || int8send(12500000) AS as_documented;

\getenv directory PG_ABS_BUILDDIR
\set file :directory '/results/amount_type.binary'
COPY (SELECT id, amount FROM vectors) TO :'file' (FORMAT binary);
CREATE TEMP TABLE received (id bigint, amount quota.amount);
COPY received FROM :'file' (FORMAT binary);
SELECT count(*), count(*) FILTER (WHERE r.amount = v.amount) AS same FROM received r JOIN vectors v USING (id);

-- Hands some bytes to the type's receive function: a COPY file of one row and column.
CREATE TEMP TABLE one (amount quota.amount);
CREATE FUNCTION pg_temp.receive(bytes bytea, file text) RETURNS TABLE (code text, message text, detail text)
LANGUAGE plpgsql AS $$
DECLARE
    copy bytea := '\x5047434f50590aff0d0a00' || '\x0000000000000000'::bytea
        || int2send(1::smallint) || int4send(length(bytes)) || bytes || int2send((-1)::smallint);
    object oid := lo_from_bytea(0, copy);
BEGIN
    PERFORM lo_export(object, file), lo_unlink(object);
    RETURN QUERY SELECT r.* FROM pg_temp.refused(format('COPY one FROM %L (FORMAT binary)', file)) AS r;
END
$$;
SELECT what, r.code, r.message, r.detail
FROM (VALUES
    (1, 'good', '\x010002'::bytea || '\x0161' || int8send(1) || '\x0162' || int8send(-4611686018427387903)),
    (2, 'good and empty', '\x010000'),
    (3, 'empty', ''),
    (4, 'version only', '\x01'),
    (5, 'another version', '\x020000'),
    (6, 'too short', '\x010001'::bytea || '\x0161' || '\x00000000'),
    (7, 'too long', '\x010000ff'),
    (8, 'name too short', '\x010001ff61'),
    (9, 'negative count', '\xffff'),
    (10, 'negative count', '\x01ffff'),
    (11, 'descending', '\x010002'::bytea || '\x0162' || int8send(1) || '\x0161' || int8send(1)),
    (12, 'twice', '\x010002'::bytea || '\x0161' || int8send(1) || '\x0161' || int8send(1)),
    (13, 'zero', '\x010001'::bytea || '\x0161' || int8send(0)),
    (14, 'beyond the range', '\x010001'::bytea || '\x0161' || int8send(4611686018427387904)),
    (15, 'below the range', '\x010001'::bytea || '\x0161' || int8send(-4611686018427387904)),
    (16, 'least int64', '\x010001'::bytea || '\x0161' || int8send(-9223372036854775808)),
    (17, 'no name', '\x010001'::bytea || '\x00' || int8send(1)),
    (18, 'upper case', '\x010001'::bytea || '\x0141' || int8send(1)),
    (19, 'NUL', '\x010001'::bytea || '\x03610062' || int8send(1)),
    (20, 'long name', '\x010001'::bytea || '\x40' || decode(repeat('61', 64), 'hex') || int8send(1)),
    (21, '65 resources', '\x010041')
) AS t (n, what, bytes),
     pg_temp.receive(bytes, :'file') AS r
ORDER BY n;
SELECT * FROM one ORDER BY amount;
