-- Verifies that:
-- 1. a quota has one text: levels and resources sorted, zeros kept, all under one root;
-- 2. malformed input is an ordinary error that says where, whatever its size;
-- 3. q @> amount, q - amount, q + amount, effective, shortfall and -> agree with each
--    other and with the same taken apart in SQL; unlimited is not zero;
-- 4. the total order, btree and hash agree on equality;
-- 5. casts and the binary form lose nothing, and binary input is validated.
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

SELECT input::quota.quota AS quota
FROM unnest(ARRAY[
    'company:acme{credit=1000,calls=5000},company:acme/project:apollo{credit=200}',
    'company:acme/project:apollo{credit=200},company:acme{calls=5000,credit=1000}',
    E' company:acme\t{ credit = 1000.500 ,\ncalls = -1 } , company:acme/user:"a{b},c" { storage=0 } ',
    'company:acme{credit=0}',
    'company:acme{},company:acme/project:apollo{credit=200}',
    'company:acme/user:*{credit=1},company:acme/user:"*"{credit=2},company:acme/user:ann{credit=3}',
    'user:ann{credit=4611686018427.387903,debt=-4611686018427.387903}'
]) WITH ORDINALITY AS t (input, n)
ORDER BY n;
SELECT ''::quota.quota = ' ' AS empty, 'company:acme{}'::quota.quota = '' AS nothing_said,
       'company:acme{credit=0}'::quota.quota = '' AS blocked_is_not_unlimited;

SELECT input, r.code, r.detail
FROM unnest(ARRAY[
    'company:acme',
    'company:acme{',
    'company:acme}',
    'company:acme{credit=1',
    'company:acme{credit=1}}',
    'company:acme{credit=1},',
    'company:acme{credit=1} company:acme/project:x{credit=1}',
    'company:acme{credit=1};',
    ',company:acme{credit=1}',
    '{credit=1}',
    '{"company:acme": {"credit": "1"}}',
    'company:acme{credit}',
    'company:acme{credit=}',
    'company:acme{credit=1,}',
    'company:acme{,credit=1}',
    'company:acme{credit=1 calls=1}',
    'company:acme{credit=1,credit=2}',
    'company:acme{credit=0.0000001}',
    'company:acme{credit=4611686018427.387904}',
    'company:acme{{credit=1}}',
    'company:acme{credit=1},company:acme{calls=1}',
    'company:acme{credit=1},company:"acme"{calls=1}',
    'company:acme{credit=1},company:acme{}',
    'company:acme{credit=1},user:ann{credit=1}',
    'company:acme/project:x{credit=1},company:acme2{credit=1}',
    'company:acme{},user:ann{credit=1}',
    'company{credit=1}',
    'company:{credit=1}',
    'company:acme/{credit=1}',
    'company:acme/project:a b{credit=1}',
    'company:*/user:ann{credit=1}',
    'credit=1'
]) WITH ORDINALITY AS t (input, n),
     pg_temp.refused(format('SELECT %L::quota.quota', input)) AS r
ORDER BY n;

SELECT 'company:acme{credit=1000},user:ann{credit=1}'::quota.quota;  -- fails
SELECT 'company:acme{credit=1000},company:acme{calls=1}'::quota.quota;  -- fails

-- Limits: 1024 levels, 64 resources at each
SELECT what, r.code, r.message, r.detail
FROM (VALUES
    (1, '1024 levels', (SELECT string_agg('a:b/c:d' || i || '{credit=1}', ',') FROM generate_series(1, 1024) AS i)),
    (2, '1025 levels', (SELECT string_agg('a:b/c:d' || i || '{credit=1}', ',') FROM generate_series(1, 1025) AS i)),
    (3, '64 resources', 'a:b{' || (SELECT string_agg('r' || i || '=0', ',') FROM generate_series(1, 64) AS i) || '}'),
    (4, '65 resources', 'a:b{' || (SELECT string_agg('r' || i || '=0', ',') FROM generate_series(1, 65) AS i) || '}')
) AS t (n, what, input),
     pg_temp.refused(format('SELECT %L::quota.quota', input)) AS r
ORDER BY n;
SELECT what, r.code, r.detail
FROM (VALUES
    (1, 'a million open braces', 'a:b' || repeat('{', 1000000)),
    (2, 'a million levels without end', repeat('a:b{', 1000000)),
    (3, 'a million spaces', repeat(' ', 1000000) || 'a:b{' || repeat(' ', 1000000) || '}')
) AS t (n, what, input),
     pg_temp.refused(format('SELECT %L::quota.quota', input)) AS r
ORDER BY n;

-- What fits ---------------------------------------------------------------------

\set q '''company:acme{calls=5000,credit=1000},company:acme/project:apollo{credit=200,storage=0}''::quota.quota'
SELECT a AS amount, :q @> a AS allowed, a <@ :q AS commuted, quota.effective(:q) @> a AS effectively
FROM (VALUES
    (1, 'credit=200'::quota.amount),
    (2, 'credit=200.000001'),
    (3, 'credit=200,calls=5000,anything=1000000'),
    (4, 'calls=5001'),
    (5, 'storage=0.000001'),
    (6, 'storage=-1'),
    (7, '')
) AS t (n, a)
ORDER BY n;
SELECT ''::quota.quota @> 'credit=1' AS no_limits, 'a:b{credit=-1}'::quota.quota @> '' AS nothing_asked,
       'a:b{credit=-1}'::quota.quota @> 'credit=-1' AS given_back;

SELECT quota.effective(:q) AS effective;
SELECT quota.effective('') = '' AS empty, quota.effective('company:acme/project:apollo{credit=1}') AS at_the_root;
SELECT :q - 'credit=150.5,calls=1,anything=7' AS less;
SELECT :q + 'credit=0.5,storage=3,anything=7' AS more;
SELECT :q - 'credit=200' AS zero_stays;
SELECT :q -> 'company:acme' AS company, :q -> 'company:acme/project:apollo' AS project, (:q -> 'company:acme/project:x') = '' AS no_such_level;
SELECT * FROM quota.entries(:q);
SELECT * FROM quota.shortfall(:q, 'credit=1200.000001,calls=5000,storage=2,anything=1');
SELECT count(*) FROM quota.shortfall(:q, 'credit=200,calls=1');
SELECT * FROM quota.shortfall('a:b{credit=-4611686018427.387903}', 'credit=4611686018427.387903');

SELECT statement, r.code, r.message, r.detail
FROM unnest(ARRAY[
    $$SELECT 'a:b{credit=-4611686018427.387903}'::quota.quota - 'credit=0.000001'$$,
    $$SELECT 'a:b{credit=4611686018427.387903}'::quota.quota + 'credit=0.000001'$$,
    $$SELECT quota.effective(('a:b{' || string_agg('r' || i || '=0', ',') || '},a:b/c:d{one_more=1}')::quota.quota) FROM generate_series(1, 64) AS i$$
]) WITH ORDINALITY AS t (statement, n),
     pg_temp.refused(statement) AS r
ORDER BY n;

-- The same over many quotas and amounts, against their entries
CREATE TEMP TABLE quotas AS
SELECT row_number() OVER () AS id,
       concat_ws(',', 'company:acme{' || a || '}', 'company:acme/user:ann{' || b || '}', 'company:acme/project:apollo{' || c || '}')::quota.quota AS quota
FROM unnest(ARRAY[NULL, 'credit=0', 'credit=10,calls=3']) AS a,
     unnest(ARRAY[NULL, 'credit=-1', 'calls=2', 'credit=5.5,calls=0']) AS b,
     unnest(ARRAY[NULL, 'credit=7,calls=1', 'storage=1']) AS c;
CREATE TEMP TABLE amounts AS
SELECT a::quota.amount AS amount
FROM unnest(ARRAY['', 'credit=0.000001', 'credit=-1', 'credit=5.5,calls=2', 'calls=3,storage=1', 'credit=7,calls=1,storage=2', 'other=1']) AS a;
CREATE TYPE pg_temp.shortage AS (scope quota.scope, resource text COLLATE "C", missing numeric);
CREATE TEMP TABLE pairs AS
SELECT q.quota, a.amount,
       ARRAY(SELECT (e.scope, e.resource, (a.amount -> e.resource) - e.value)::pg_temp.shortage
             FROM quota.entries(q.quota) AS e JOIN quota.entries(a.amount) AS w USING (resource)
             WHERE w.value > e.value ORDER BY 1) AS missing
FROM quotas q, amounts a;
SELECT count(*) AS pairs, count(*) FILTER (WHERE missing = '{}') AS fitting,
       count(*) FILTER (WHERE (quota @> amount) <> (missing = '{}')) AS wrong_verdict,
       count(*) FILTER (WHERE (amount <@ quota) <> (quota @> amount)) AS wrong_commuted,
       count(*) FILTER (WHERE (quota.effective(quota) @> amount) <> (quota @> amount)) AS wrong_effective,
       count(*) FILTER (WHERE ARRAY(SELECT (s.scope, s.resource, s.missing)::pg_temp.shortage FROM quota.shortfall(quota, amount) AS s) <> missing) AS wrong_shortfall,
       count(*) FILTER (WHERE (quota - amount) + amount <> quota) AS wrong_return,
       count(*) FILTER (WHERE EXISTS (
           SELECT FROM quota.entries(quota) AS e FULL JOIN quota.entries(quota - amount) AS l USING (scope, resource)
           WHERE l.value IS DISTINCT FROM e.value - (amount -> resource))) AS wrong_difference,
       count(*) FILTER (WHERE EXISTS (
           SELECT FROM (SELECT resource, min(value) AS least FROM quota.entries(quota) GROUP BY resource) AS e
           FULL JOIN quota.entries(quota.effective(quota)) AS l USING (resource)
           WHERE l.value IS DISTINCT FROM e.least)) AS wrong_least
FROM pairs;

-- Order and equality ---------------------------------------------------------------

SELECT count(*) AS quotas, count(DISTINCT quota) AS distinct_quotas FROM quotas;
-- The total order: level by level, each by scope and then its list of (name, value)
CREATE TYPE pg_temp.entry AS (resource text COLLATE "C", value numeric);
CREATE TYPE pg_temp.level AS (scope quota.scope, entries pg_temp.entry[]);
CREATE TEMP TABLE ordered AS
SELECT q.quota,
       ARRAY(SELECT (e.scope, array_agg((e.resource, e.value)::pg_temp.entry ORDER BY e.resource COLLATE "C"))::pg_temp.level
             FROM quota.entries(q.quota) AS e GROUP BY e.scope ORDER BY e.scope) AS levels
FROM quotas q;
SELECT count(*) AS differences
FROM (SELECT row_number() OVER (ORDER BY quota) AS by_quota, row_number() OVER (ORDER BY levels) AS by_levels FROM ordered) AS o
WHERE by_quota <> by_levels;
SELECT count(*) AS pairs,
       count(*) FILTER (WHERE (a.quota = b.quota) <> (a.levels = b.levels)
                           OR (a.quota <> b.quota) <> (a.levels <> b.levels)
                           OR (a.quota *< b.quota) <> (a.levels < b.levels)
                           OR (a.quota *<= b.quota) <> (a.levels <= b.levels)
                           OR (a.quota *> b.quota) <> (a.levels > b.levels)
                           OR (a.quota *>= b.quota) <> (a.levels >= b.levels)) AS wrong
FROM ordered a, ordered b;
CREATE UNIQUE INDEX ON quotas (quota);
SET enable_seqscan = off;
SELECT count(*) FROM quotas q WHERE quota = 'company:acme/user:ann{calls=2},company:acme{credit=0}';
RESET enable_seqscan;
SET enable_mergejoin = off;
SET enable_nestloop = off;
SELECT count(*) FROM quotas a JOIN quotas b USING (quota);
RESET enable_mergejoin;
RESET enable_nestloop;
SET enable_sort = off;
SELECT count(*) FROM (SELECT quota FROM quotas UNION SELECT quota FROM quotas) AS u;
RESET enable_sort;
CREATE TABLE quota_type_parts (quota quota.quota) PARTITION BY HASH (quota);
CREATE TABLE quota_type_parts_0 PARTITION OF quota_type_parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE quota_type_parts_1 PARTITION OF quota_type_parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO quota_type_parts SELECT quota FROM quotas;
SELECT count(*), count(DISTINCT tableoid) AS parts FROM quota_type_parts;
DROP TABLE quota_type_parts;

-- Casts -----------------------------------------------------------------------

CREATE TEMP TABLE assigned (id integer, quota quota.quota, t text, v varchar, j jsonb);
INSERT INTO assigned (id, quota) SELECT 1, 'user:ann{credit=1.50}'::text;
INSERT INTO assigned (id, quota) SELECT 2, 'user:ann{credit=2.50}'::varchar;
INSERT INTO assigned (id, quota) SELECT 3, '{"user:\"a b\"": {"credit": 3.50}}'::jsonb;
UPDATE assigned SET t = quota, v = quota, j = quota;
SELECT * FROM assigned ORDER BY id;
SELECT :q::jsonb = '{"company:acme": {"calls": "5000", "credit": "1000"}, "company:acme/project:apollo": {"credit": "200", "storage": "0"}}' AS jsonb,
       to_jsonb(:q) = :q::jsonb AS to_jsonb, jsonb_build_object('left', :q) -> 'left' = :q::jsonb AS built,
       to_jsonb(''::quota.quota) AS empty;
SELECT count(*) FILTER (WHERE quota::jsonb::quota.quota <> quota OR quota::text::quota.quota <> quota) AS changed FROM quotas;
SELECT input, r.code, r.message, r.detail
FROM unnest(ARRAY[
    '1', 'null', '[]', '"a:b{credit=1}"',
    '{"a:b": 1}', '{"a:b": null}', '{"a:b": "credit=1"}', '{"a:b": [1]}', '{"a:b": {"credit": {}}}',
    '{"a": {"credit": 1}}', '{"": {"credit": 1}}', '{"a:b": {"Credit": 1}}', '{"a:b": {"credit": "x"}}', '{"a:b": {"credit": 1e-7}}', '{"a:b": {"credit": 1e13}}',
    '{"a:b": {"credit": 1}, "a:\"b\"": {"credit": 1}}', '{"a:b": {"credit": 1}, "a:c": {"credit": 1}}',
    '{"a:b": {"credit": 0}, "a:b/c:d": {}}'
]) WITH ORDINALITY AS t (input, n),
     pg_temp.refused(format('SELECT %L::jsonb::quota.quota', input)) AS r
ORDER BY n;

-- Binary form -------------------------------------------------------------------

-- version int8, levels int16; of each: length int32, scope, components as in an amount
SELECT quota._quota_send('a:b/c:d{x=0},a:b{y=-1}')
     = '\x01'::bytea || '\x0002'
       || int4send(3) || 'a:b'::bytea || '\x0001' || '\x01' || 'y'::bytea || int8send(-1000000)
       || int4send(7) || 'a:b/c:d'::bytea || '\x0001' || '\x01' || 'x'::bytea || int8send(0) AS as_documented;

\getenv directory PG_ABS_BUILDDIR
\set file :directory '/results/quota_type.binary'
COPY (SELECT id, quota FROM quotas) TO :'file' (FORMAT binary);
CREATE TEMP TABLE received (id bigint, quota quota.quota);
COPY received FROM :'file' (FORMAT binary);
SELECT count(*), count(*) FILTER (WHERE r.quota = q.quota) AS same FROM received r JOIN quotas q USING (id);

-- Hands some bytes to the type's receive function: a COPY file of one row and column.
CREATE TEMP TABLE one (quota quota.quota);
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
    (1, 'good', '\x010001'::bytea || int4send(3) || 'a:b'::bytea || '\x0001' || '\x0178' || int8send(0)),
    (2, 'good and empty', '\x010000'),
    (3, 'empty', ''),
    (4, 'another version', '\x020000'),
    (5, 'too short', '\x010001'),
    (6, 'too long', '\x01000000'),
    (7, 'length beyond the end', '\x010001'::bytea || int4send(100) || 'a:b'::bytea),
    (8, 'negative length', '\x010001'::bytea || int4send(-1) || 'a:b'::bytea),
    (9, 'malformed scope', '\x010001'::bytea || int4send(1) || 'a'::bytea || '\x0001' || '\x0178' || int8send(0)),
    (10, 'no resources', '\x010001'::bytea || int4send(3) || 'a:b'::bytea || '\x0000'),
    (11, 'malformed resource', '\x010001'::bytea || int4send(3) || 'a:b'::bytea || '\x0001' || '\x0158' || int8send(0)),
    (12, 'beyond the range', '\x010001'::bytea || int4send(3) || 'a:b'::bytea || '\x0001' || '\x0178' || int8send(4611686018427387904)),
    (13, 'scope twice', '\x010002'::bytea || int4send(3) || 'a:b'::bytea || '\x0001' || '\x0178' || int8send(0) || int4send(3) || 'a:b'::bytea || '\x0001' || '\x0178' || int8send(0)),
    (14, 'descending', '\x010002'::bytea || int4send(7) || 'a:b/c:d'::bytea || '\x0001' || '\x0178' || int8send(0) || int4send(3) || 'a:b'::bytea || '\x0001' || '\x0178' || int8send(0)),
    (15, 'two roots', '\x010002'::bytea || int4send(3) || 'a:b'::bytea || '\x0001' || '\x0178' || int8send(0) || int4send(3) || 'a:c'::bytea || '\x0001' || '\x0178' || int8send(0))
) AS t (n, what, bytes),
     pg_temp.receive(bytes, :'file') AS r
ORDER BY n;
SELECT quota, quota = '' AS empty FROM one ORDER BY quota;
