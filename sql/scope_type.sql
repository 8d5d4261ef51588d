-- Verifies that:
-- 1. a scope has one text: quoted only where it must be, and read back as it was;
-- 2. malformed input is an ordinary error that says where, whatever its size;
-- 3. the order is that of components from the root, and a subtree is one range of it;
-- 4. operators and functions agree with paths taken apart in SQL;
-- 5. the wildcard is no star, no pattern, and has no children;
-- 6. searches below and above a scope go through a btree index, for constants,
--    parameters, stable expressions and joins;
-- 7. btree, hash, grouping and joins by hash agree on equality;
-- 8. casts and the binary form lose nothing, and binary input is validated;
-- 9. the hash of the root is FNV-1a of its text.
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

SELECT input, input::quota.scope AS scope
FROM unnest(ARRAY[
    'company:acme',
    'company:acme/project:apollo',
    'company:acme/user:*',
    'company:acme/user:"*"',
    'user:"ann"',
    'user:"a/b"',
    'user:"say ""hi"""',
    'user:""""',
    'user:" "',
    'user:ann.lee+test@example.com',
    '_:x/a1_:y',
    'model:"gpt:4"',
    $$user:_-.@+~'!#$%&=^$$
]) WITH ORDINALITY AS t (input, n)
ORDER BY n;

-- Of the printable ASCII characters, these need quotes; control characters never pass.
SELECT string_agg(chr(i), '' ORDER BY i) FILTER (WHERE s::text LIKE '%"%') AS quoted,
       string_agg(chr(i), '' ORDER BY i) FILTER (WHERE s::text NOT LIKE '%"%') AS unquoted,
       bool_and(quota.name(s) = 'a' || chr(i) || 'b') AS same_name,
       bool_and(s::text::quota.scope = s) AS same_scope
FROM generate_series(32, 126) AS i, quota.scope('user', 'a' || chr(i) || 'b') AS s;

SELECT count(*) AS control_characters, array_agg(DISTINCT r.code) AS codes,
       array_agg(DISTINCT r.detail) AS details
FROM unnest(ARRAY[127] || ARRAY(SELECT generate_series(1, 31))) AS i,
     pg_temp.refused(format('SELECT %L::quota.scope', 'user:"a' || chr(i) || 'b"')) AS r;

SELECT count(*) AS control_characters, array_agg(DISTINCT r.code) AS codes
FROM unnest(ARRAY[127] || ARRAY(SELECT generate_series(1, 31))) AS i,
     pg_temp.refused(format('SELECT quota.scope(%L, %L)', 'user', 'a' || chr(i) || 'b')) AS r;

-- Characters beyond ASCII need no quotes, and positions count characters, not bytes.
SELECT 'user:Żółć/project:"東京"'::quota.scope::text = 'user:Żółć/project:東京' AS unquoted;
SELECT substring(r.detail FROM '\d+')::integer - char_length('user:Żółć') AS next_character
FROM pg_temp.refused($$SELECT 'user:Żółć,'::quota.scope$$) AS r;

-- Malformed text
SELECT input, r.code, r.detail
FROM unnest(ARRAY[
    '',
    ' ',
    'company',
    'company:',
    ':acme',
    'company/acme',
    'Company:acme',
    '1company:acme',
    'com-pany:acme',
    'company :acme',
    ' company:acme',
    'company: acme',
    'company:acme ',
    'company:ac me',
    'company:acme/',
    '/company:acme',
    'company:acme//project:apollo',
    'company:acme/project',
    'company:acme:x',
    'company:acme,user:ann',
    'company:acme{}',
    'company:""',
    'company:"acme',
    'company:"acme""',
    'company:"acme"x',
    'company:ac"me"',
    'company:*/user:ann',
    'company:**',
    'company:*x',
    'company:x*',
    'company:a\b',
    'company:acme/...'
]) WITH ORDINALITY AS t (input, n),
     pg_temp.refused(format('SELECT %L::quota.scope', input)) AS r
ORDER BY n;

SELECT 'company:acme/project:a b'::quota.scope;  -- fails
SELECT 'company:acme/Project:apollo'::quota.scope;  -- fails
SELECT 'company:*/user:ann'::quota.scope;  -- fails

-- Limits: 63 bytes of a kind, 127 of a name (not of its quoted text), 32 components
SELECT what, r.code, r.detail
FROM (VALUES
    (1, 'kind of 63', repeat('k', 63) || ':x'),
    (2, 'kind of 64', repeat('k', 64) || ':x'),
    (3, 'name of 127', 'user:' || repeat('n', 127)),
    (4, 'name of 128', 'user:' || repeat('n', 128)),
    (5, 'name of 127 quotes', 'user:"' || repeat('""', 127) || '"'),
    (6, 'name of 128 quotes', 'user:"' || repeat('""', 128) || '"'),
    (7, 'depth of 32', 'a:b' || repeat('/c:d', 31)),
    (8, 'depth of 33', 'a:b' || repeat('/c:d', 32)),
    (9, 'the longest', repeat(repeat('k', 63) || ':' || repeat('n', 127) || '/', 31) || repeat('k', 63) || ':' || repeat('n', 127)),
    (10, 'depth of a million', 'a:b' || repeat('/c:d', 1000000)),
    (11, 'a million slashes', repeat('/', 1000000)),
    (12, 'a million quotes', 'a:' || repeat('"', 1000000)),
    (13, 'a name of a million', 'a:' || repeat('n', 1000000)),
    (14, 'a kind of a million', repeat('k', 1000000) || ':n')
) AS t (n, what, input),
     pg_temp.refused(format('SELECT %L::quota.scope', input)) AS r
ORDER BY n;

-- Messages show the beginning of a long input.
SELECT length(r.message) < 300 AS short, right(r.message, 8) AS ending
FROM pg_temp.refused(format('SELECT %L::quota.scope', repeat('/', 1000000))) AS r;

-- Order and containment -----------------------------------------------------------

-- Paths as arrays of kinds and names, and the scope of each, written by SQL. The
-- wildcard is below all names: as an element it is the empty text.
CREATE TEMP TABLE components AS
SELECT k.kind, n.name,
       k.kind || ':' || CASE n.name WHEN '' THEN '*' ELSE '"' || replace(n.name, '"', '""') || '"' END AS text
FROM unnest(ARRAY['a', 'ab', '_', 'a0']) AS k (kind),
     unnest(ARRAY['', '*', 'x', 'xy', 'x/y', 'x y', '"', '~']) AS n (name);

CREATE TEMP TABLE paths AS
WITH RECURSIVE tree (path, text) AS (
    SELECT ARRAY[kind, name], text FROM components
    UNION ALL
    SELECT t.path || c.kind || c.name, t.text || '/' || c.text
    FROM tree t, components c
    WHERE t.path[cardinality(t.path)] <> ''
      AND (cardinality(t.path) = 2 AND c.kind IN ('a', 'ab')
           OR cardinality(t.path) = 4 AND c.kind = 'a' AND c.name IN ('', 'x') AND t.path[3] = 'a' AND t.path[4] = 'x')
)
SELECT row_number() OVER () AS id, path, text::quota.scope AS scope FROM tree;
SELECT count(*), count(DISTINCT scope), max(cardinality(path)) / 2 AS depth FROM paths;

SELECT count(*) AS differences
FROM (SELECT row_number() OVER (ORDER BY scope) AS by_scope,
             row_number() OVER (ORDER BY path COLLATE "C") AS by_path
      FROM paths) AS o
WHERE by_scope <> by_path;

-- Every pair: each operator, against the arrays
SELECT count(*) AS pairs,
       count(*) FILTER (WHERE (a.scope = b.scope) <> (a.path = b.path)
                           OR (a.scope <> b.scope) <> (a.path <> b.path)
                           OR (a.scope < b.scope) <> (a.path < b.path COLLATE "C")
                           OR (a.scope <= b.scope) <> (a.path <= b.path COLLATE "C")
                           OR (a.scope > b.scope) <> (a.path > b.path COLLATE "C")
                           OR (a.scope >= b.scope) <> (a.path >= b.path COLLATE "C")) AS wrong_order,
       count(*) FILTER (WHERE (a.scope @> b.scope) <> (b.path[1 : cardinality(a.path)] = a.path)
                           OR (b.scope <@ a.scope) <> (a.scope @> b.scope)) AS wrong_containment,
       count(*) FILTER (WHERE (b.scope >= a.scope AND b.scope < quota._scope_subtree_end(a.scope)) <> (b.scope <@ a.scope)) AS wrong_range
FROM paths a, paths b;

-- Functions, against the arrays
SELECT count(*) FILTER (WHERE quota.depth(scope) <> cardinality(path) / 2) AS depth,
       count(*) FILTER (WHERE quota.kind(scope) <> path[cardinality(path) - 1]) AS kind,
       count(*) FILTER (WHERE quota.name(scope) <> CASE path[cardinality(path)] WHEN '' THEN '*' ELSE path[cardinality(path)] END) AS name,
       count(*) FILTER (WHERE quota.is_wildcard(scope) <> (path[cardinality(path)] = '')) AS is_wildcard,
       count(*) FILTER (WHERE scope::text::quota.scope <> scope) AS text
FROM paths;
SELECT count(*) FILTER (WHERE quota.parent(p.scope) IS DISTINCT FROM up.scope) AS parent,
       count(*) FILTER (WHERE quota.root(p.scope) <> top.scope) AS root,
       count(*) FILTER (WHERE quota.ancestors(p.scope) <> ARRAY(
           SELECT a.scope FROM paths a WHERE a.path = p.path[1 : cardinality(a.path)] ORDER BY cardinality(a.path))) AS ancestors
FROM paths p
LEFT JOIN paths up ON up.path = p.path[1 : cardinality(p.path) - 2]
JOIN paths top ON top.path = p.path[1 : 2];

SELECT quota.parent('company:acme'), quota.parent('company:acme/project:apollo'),
       quota.root('company:acme/project:apollo'), quota.depth('company:acme/project:apollo'),
       quota.kind('company:acme/project:"a b"'), quota.name('company:acme/project:"a b"');
SELECT quota.ancestors('company:acme/team:research/project:apollo');
SELECT quota.name('user:*'), quota.is_wildcard('user:*'), quota.name('user:"*"'), quota.is_wildcard('user:"*"'),
       'user:*'::quota.scope = 'user:"*"' AS same;
SELECT 'company:acme/user:ann'::quota.scope <@ 'company:acme/user:*' AS wildcard_is_no_pattern,
       'company:acme/user:*'::quota.scope <@ 'company:acme' AS but_a_child;
SELECT 'company:acme2'::quota.scope <@ 'company:acme' AS longer_name,
       'company:acme'::quota.scope <@ 'company:acme/user:ann' AS upwards;

-- Composition
SELECT quota.scope('user', 'a/b "c"'), quota.scope('user', '*'),
       'company:acme'::quota.scope || 'team:research/project:apollo',
       'company:acme'::quota.scope || quota.scope('user', '*');
SELECT statement, r.code, r.message, r.detail
FROM unnest(ARRAY[
    $$SELECT quota.scope('User', 'ann')$$,
    $$SELECT quota.scope('user:ann/project', 'x')$$,
    $$SELECT quota.scope('', 'ann')$$,
    $$SELECT quota.scope('user', '')$$,
    $$SELECT quota.scope('user', repeat('n', 128))$$,
    $$SELECT quota.scope(repeat('k', 64), 'n')$$,
    $$SELECT 'company:acme/user:*'::quota.scope || 'project:apollo'$$,
    $$SELECT ('a:b' || repeat('/c:d', 20))::quota.scope || ('a:b' || repeat('/c:d', 11))::quota.scope$$
]) WITH ORDINALITY AS t (statement, n),
     pg_temp.refused(statement) AS r
ORDER BY n;
SELECT quota.depth(('a:b' || repeat('/c:d', 20))::quota.scope || ('a:b' || repeat('/c:d', 10))::quota.scope);

-- Casts -----------------------------------------------------------------------

CREATE TEMP TABLE assigned (scope quota.scope, t text, v varchar, j jsonb);
INSERT INTO assigned (scope) SELECT 'user:from_text'::text;
INSERT INTO assigned (scope) SELECT 'user:from_varchar'::varchar;
INSERT INTO assigned (scope) SELECT '"user:\"from jsonb\""'::jsonb;
UPDATE assigned SET t = scope, v = scope, j = scope;
SELECT * FROM assigned ORDER BY scope;
SELECT to_jsonb('user:"a b"'::quota.scope) AS to_jsonb, '"user:\"a b\""'::jsonb::quota.scope AS from_jsonb;
SELECT input, r.code, r.message, r.detail
FROM unnest(ARRAY['1', 'null', 'true', '{}', '[]', '["user:ann"]', '"user"']) WITH ORDINALITY AS t (input, n),
     pg_temp.refused(format('SELECT %L::jsonb::quota.scope', input)) AS r
ORDER BY n;

-- Binary form -------------------------------------------------------------------

-- A version byte, then the text
SELECT quota._scope_send('user:"a b"') = '\x01'::bytea || convert_to('user:"a b"', 'SQL_ASCII') AS as_documented;

\getenv directory PG_ABS_BUILDDIR
\set file :directory '/results/scope_type.binary'
COPY (SELECT id, scope FROM paths) TO :'file' (FORMAT binary);
CREATE TEMP TABLE received (id bigint, scope quota.scope);
COPY received FROM :'file' (FORMAT binary);
SELECT count(*), count(*) FILTER (WHERE r.scope = p.scope) AS same FROM received r JOIN paths p USING (id);

-- Hands some bytes to the type's receive function: a COPY file of one row and column.
CREATE TEMP TABLE one (scope quota.scope);
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
SELECT what, r.code, r.detail
FROM (VALUES
    (1, 'good', '\x01757365723a616e6e'::bytea),
    (2, 'empty', ''),
    (3, 'version only', '\x01'),
    (4, 'another version', '\x02757365723a616e6e'),
    (5, 'malformed', '\x01757365723a'),
    (6, 'NUL', '\x01757365723a6100'),
    (7, 'control character', '\x01757365723a2261016222'),
    (8, 'end of a subtree', '\x01757365723a612f2e2e2e')
) AS t (n, what, bytes),
     pg_temp.receive(bytes, :'file') AS r
ORDER BY n;
SELECT * FROM one;

-- Index searches ------------------------------------------------------------------

-- The index condition of a query, where only its absence matters
CREATE FUNCTION pg_temp.index_condition(query text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
        IF line LIKE '%Index Cond:%' THEN
            RETURN substring(line FROM 'Index Cond: (.*)');
        END IF;
    END LOOP;
    RETURN 'none';
END
$$;

CREATE TABLE scope_type_tree (id integer, root_id integer, scope quota.scope);
INSERT INTO scope_type_tree
SELECT c * 1000 + p, c, ('company:c' || c || CASE WHEN p = 0 THEN '' ELSE '/project:p' || p END)::quota.scope
FROM generate_series(1, 30) AS c, generate_series(0, 99) AS p;
CREATE UNIQUE INDEX scope_type_tree_idx ON scope_type_tree (scope);
ANALYZE scope_type_tree;
SET enable_seqscan = off;
SET enable_bitmapscan = off;

EXPLAIN (COSTS off) SELECT id FROM scope_type_tree WHERE scope <@ 'company:c1';
EXPLAIN (COSTS off) SELECT id FROM scope_type_tree WHERE 'company:c1' @> scope;
EXPLAIN (COSTS off) SELECT id FROM scope_type_tree WHERE scope @> 'company:c1/project:p7/user:ann';
EXPLAIN (COSTS off) SELECT id FROM scope_type_tree WHERE 'company:c1/project:p7/user:ann' <@ scope;
EXPLAIN (COSTS off) SELECT id FROM scope_type_tree WHERE quota._scope_contained(scope, 'company:c1');

-- 100 of company:c1; none of company:c10 and its like
SELECT count(*), min(id), max(id) FROM scope_type_tree WHERE scope <@ 'company:c1';
SELECT count(*), min(id), max(id) FROM scope_type_tree WHERE 'company:c1' @> scope;
SELECT scope FROM scope_type_tree WHERE scope <@ 'company:c1/project:p7' ORDER BY scope;
SELECT scope FROM scope_type_tree WHERE scope @> 'company:c1/project:p7/user:ann' ORDER BY scope;
SELECT scope FROM scope_type_tree WHERE 'company:c1/project:p7/user:ann' <@ scope ORDER BY scope DESC;
SELECT count(*) FROM scope_type_tree WHERE scope <@ 'company:c1/project:*';
SELECT count(*) FROM scope_type_tree WHERE scope <@ NULL::quota.scope;
SELECT count(*) FROM scope_type_tree WHERE scope @> NULL::quota.scope;

-- Parameters and stable expressions: the end is computed when the scan starts
SET plan_cache_mode = force_generic_plan;
PREPARE below (quota.scope) AS SELECT count(*) FROM scope_type_tree WHERE scope <@ $1;
EXPLAIN (COSTS off) EXECUTE below ('company:c2');
EXECUTE below ('company:c2');
EXECUTE below (NULL);
PREPARE above (quota.scope) AS SELECT id FROM scope_type_tree WHERE scope @> $1 ORDER BY id;
EXPLAIN (COSTS off) EXECUTE above ('company:c2/project:p3');
EXECUTE above ('company:c2/project:p3');
SET regress.scope = 'company:c3';
EXPLAIN (COSTS off)
SELECT id FROM scope_type_tree WHERE scope <@ current_setting('regress.scope')::quota.scope;
SELECT count(*) FROM scope_type_tree WHERE scope <@ current_setting('regress.scope')::quota.scope;

-- A volatile value may change from row to row: no index condition
SELECT pg_temp.index_condition($$
    SELECT id FROM scope_type_tree WHERE scope <@ (CASE WHEN random() < 2 THEN 'company:c1' END)::quota.scope$$);

-- Joins: the value comes from another table
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
EXPLAIN (COSTS off)
SELECT count(*) FROM (VALUES ('company:c4'::quota.scope), ('company:c5/project:p5')) AS v (scope)
JOIN scope_type_tree t ON t.scope <@ v.scope;
SELECT count(*) FROM (VALUES ('company:c4'::quota.scope), ('company:c5/project:p5')) AS v (scope)
JOIN scope_type_tree t ON t.scope <@ v.scope;
SELECT count(*) FROM (VALUES ('company:c4/project:p1'::quota.scope), ('company:c5/project:p5')) AS v (scope)
JOIN scope_type_tree t ON t.scope @> v.scope;

-- As a later column: below is searched; above is not, it could spoil the order of the scan
DROP INDEX scope_type_tree_idx;
CREATE INDEX scope_type_tree_root_idx ON scope_type_tree (root_id, scope);
EXPLAIN (COSTS off) SELECT id FROM scope_type_tree WHERE root_id = 1 AND scope <@ 'company:c1/project:p7';
EXPLAIN (COSTS off) SELECT id FROM scope_type_tree WHERE root_id = 1 AND scope @> 'company:c1/project:p7';
SELECT id FROM scope_type_tree WHERE root_id BETWEEN 1 AND 2 AND scope @> 'company:c2/project:p7' ORDER BY root_id, scope;

-- A hash index has no ranges, in another order a subtree need not be one
DROP INDEX scope_type_tree_root_idx;
CREATE INDEX scope_type_tree_hash_idx ON scope_type_tree USING hash (scope);
SELECT pg_temp.index_condition($$SELECT id FROM scope_type_tree WHERE scope = 'company:c1'$$);
SELECT pg_temp.index_condition($$SELECT id FROM scope_type_tree WHERE scope <@ 'company:c1'$$);
SELECT id FROM scope_type_tree WHERE scope = 'company:c7/project:p7';
DROP INDEX scope_type_tree_hash_idx;
CREATE FUNCTION public.scope_type_backwards(quota.scope, quota.scope) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT AS 'SELECT quota._scope_cmp($2, $1)';
CREATE OPERATOR CLASS public.scope_type_backwards FOR TYPE quota.scope USING btree AS
    OPERATOR 1 quota.>, OPERATOR 2 quota.>=, OPERATOR 3 quota.=, OPERATOR 4 quota.<=, OPERATOR 5 quota.<,
    FUNCTION 1 public.scope_type_backwards(quota.scope, quota.scope);
CREATE INDEX scope_type_tree_backwards_idx ON scope_type_tree (scope public.scope_type_backwards);
SELECT pg_temp.index_condition($$SELECT id FROM scope_type_tree WHERE scope = 'company:c1'$$);
SELECT pg_temp.index_condition($$SELECT id FROM scope_type_tree WHERE scope <@ 'company:c1'$$);
DROP INDEX scope_type_tree_backwards_idx;
DROP OPERATOR FAMILY public.scope_type_backwards USING btree;
DROP FUNCTION public.scope_type_backwards(quota.scope, quota.scope);
RESET ALL;
SET search_path = public, quota;

-- Equality in hashing ---------------------------------------------------------------

SET enable_mergejoin = off;
SET enable_nestloop = off;
EXPLAIN (COSTS off) SELECT count(*) FROM scope_type_tree a JOIN scope_type_tree b USING (scope);
SELECT count(*) FROM scope_type_tree a JOIN scope_type_tree b USING (scope);
RESET enable_mergejoin;
RESET enable_nestloop;
SET enable_hashagg = on;
SET enable_sort = off;
SELECT count(*) FROM (SELECT DISTINCT scope FROM (SELECT scope FROM paths UNION ALL SELECT scope FROM paths) AS twice) AS d;
RESET enable_sort;
SELECT count(*) FROM (SELECT quota.root(scope), count(*) FROM scope_type_tree GROUP BY 1 HAVING count(*) = 100) AS g;
CREATE TABLE scope_type_parts (scope quota.scope) PARTITION BY HASH (scope);
CREATE TABLE scope_type_parts_0 PARTITION OF scope_type_parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE scope_type_parts_1 PARTITION OF scope_type_parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO scope_type_parts SELECT scope FROM scope_type_tree;
SELECT count(*), count(DISTINCT tableoid) AS parts FROM scope_type_parts;
DROP TABLE scope_type_parts;
DROP TABLE scope_type_tree;

-- Long scopes in a table: stored compressed and out of line, found by index
CREATE TEMP TABLE long (scope quota.scope);
INSERT INTO long SELECT (repeat(repeat('k', 63) || ':' || repeat(chr(96 + i), 127) || '/', 31) || 'x:y')::quota.scope FROM generate_series(1, 20) AS i;
CREATE UNIQUE INDEX ON long (scope);
SELECT count(*), min(quota.depth(scope)), max(octet_length(scope::text)) FROM long;
SELECT count(*) FROM long WHERE scope = (repeat(repeat('k', 63) || ':' || repeat('t', 127) || '/', 31) || 'x:y')::quota.scope;

-- Hash of the root --------------------------------------------------------------------

WITH RECURSIVE fnv (text, at, hash) AS (
    SELECT r, 0, 2166136261::numeric FROM unnest(ARRAY['company:acme', 'user:"a/b"', 'user:ann', 'a:b']) AS r
    UNION ALL
    SELECT text, at + 1, ((hash::bigint # get_byte(convert_to(text, 'SQL_ASCII'), at))::numeric * 16777619) % 4294967296
    FROM fnv WHERE at < octet_length(text)
)
SELECT text, hash, quota.root_hash(text::quota.scope) = hash AS same,
       quota.root_hash((text || '/project:apollo/user:ann')::quota.scope) = hash AS same_below
FROM fnv WHERE at = octet_length(text) ORDER BY text COLLATE "C";
