-- quota.scope: the path of an account -------------------------------------------------
--
-- 'company:acme/project:apollo'. In its order a subtree is one contiguous range.

CREATE TYPE quota.scope;

CREATE FUNCTION quota._scope_in(cstring) RETURNS quota.scope
    AS 'MODULE_PATHNAME', 'quota_scope_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._scope_out(quota.scope) RETURNS cstring
    AS 'MODULE_PATHNAME', 'quota_scope_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._scope_recv(internal) RETURNS quota.scope
    AS 'MODULE_PATHNAME', 'quota_scope_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._scope_send(quota.scope) RETURNS bytea
    AS 'MODULE_PATHNAME', 'quota_scope_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE quota.scope (
    INPUT = quota._scope_in,
    OUTPUT = quota._scope_out,
    RECEIVE = quota._scope_recv,
    SEND = quota._scope_send,
    INTERNALLENGTH = VARIABLE,
    STORAGE = extended
);
COMMENT ON TYPE quota.scope IS
    'Path of an account: company:acme/project:apollo; names with special characters are double-quoted, * as the last name is the wildcard';

-- Casts

CREATE CAST (text AS quota.scope) WITH INOUT AS ASSIGNMENT;
CREATE CAST (varchar AS quota.scope) WITH INOUT AS ASSIGNMENT;
CREATE CAST (quota.scope AS text) WITH INOUT AS ASSIGNMENT;
CREATE CAST (quota.scope AS varchar) WITH INOUT AS ASSIGNMENT;

CREATE FUNCTION quota._scope_from_jsonb(jsonb) RETURNS quota.scope
    AS 'MODULE_PATHNAME', 'quota_scope_from_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._scope_to_jsonb(quota.scope) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_scope_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE CAST (jsonb AS quota.scope) WITH FUNCTION quota._scope_from_jsonb(jsonb) AS ASSIGNMENT;
CREATE CAST (quota.scope AS jsonb) WITH FUNCTION quota._scope_to_jsonb(quota.scope) AS ASSIGNMENT;

-- Order

CREATE FUNCTION quota._scope_eq(quota.scope, quota.scope) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_scope_eq' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._scope_ne(quota.scope, quota.scope) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_scope_ne' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._scope_lt(quota.scope, quota.scope) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_scope_lt' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._scope_le(quota.scope, quota.scope) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_scope_le' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._scope_gt(quota.scope, quota.scope) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_scope_gt' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._scope_ge(quota.scope, quota.scope) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_scope_ge' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._scope_cmp(quota.scope, quota.scope) RETURNS integer
    AS 'MODULE_PATHNAME', 'quota_scope_cmp' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._scope_hash(quota.scope) RETURNS integer
    AS 'MODULE_PATHNAME', 'quota_scope_hash' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._scope_hash_extended(quota.scope, bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'quota_scope_hash_extended' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE OPERATOR quota.= (
    LEFTARG = quota.scope, RIGHTARG = quota.scope, FUNCTION = quota._scope_eq,
    COMMUTATOR = OPERATOR(quota.=), NEGATOR = OPERATOR(quota.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR quota.<> (
    LEFTARG = quota.scope, RIGHTARG = quota.scope, FUNCTION = quota._scope_ne,
    COMMUTATOR = OPERATOR(quota.<>), NEGATOR = OPERATOR(quota.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR quota.< (
    LEFTARG = quota.scope, RIGHTARG = quota.scope, FUNCTION = quota._scope_lt,
    COMMUTATOR = OPERATOR(quota.>), NEGATOR = OPERATOR(quota.>=),
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR quota.<= (
    LEFTARG = quota.scope, RIGHTARG = quota.scope, FUNCTION = quota._scope_le,
    COMMUTATOR = OPERATOR(quota.>=), NEGATOR = OPERATOR(quota.>),
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR quota.> (
    LEFTARG = quota.scope, RIGHTARG = quota.scope, FUNCTION = quota._scope_gt,
    COMMUTATOR = OPERATOR(quota.<), NEGATOR = OPERATOR(quota.<=),
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
CREATE OPERATOR quota.>= (
    LEFTARG = quota.scope, RIGHTARG = quota.scope, FUNCTION = quota._scope_ge,
    COMMUTATOR = OPERATOR(quota.<=), NEGATOR = OPERATOR(quota.<),
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR quota.= (quota.scope, quota.scope) IS 'The same path';
COMMENT ON OPERATOR quota.<> (quota.scope, quota.scope) IS 'Not the same path';
COMMENT ON OPERATOR quota.< (quota.scope, quota.scope) IS 'Before in the order of paths: a scope comes right before what is below it';
COMMENT ON OPERATOR quota.<= (quota.scope, quota.scope) IS 'Before in the order of paths, or the same';
COMMENT ON OPERATOR quota.> (quota.scope, quota.scope) IS 'After in the order of paths';
COMMENT ON OPERATOR quota.>= (quota.scope, quota.scope) IS 'After in the order of paths, or the same';

CREATE OPERATOR CLASS quota.scope_ops DEFAULT FOR TYPE quota.scope USING btree AS
    OPERATOR 1 quota.<,
    OPERATOR 2 quota.<=,
    OPERATOR 3 quota.=,
    OPERATOR 4 quota.>=,
    OPERATOR 5 quota.>,
    FUNCTION 1 quota._scope_cmp(quota.scope, quota.scope),
    FUNCTION 4 btequalimage(oid);
COMMENT ON OPERATOR CLASS quota.scope_ops USING btree IS 'Order of paths; also serves <@ and @>';

CREATE OPERATOR CLASS quota.scope_hash_ops DEFAULT FOR TYPE quota.scope USING hash AS
    OPERATOR 1 quota.=,
    FUNCTION 1 quota._scope_hash(quota.scope),
    FUNCTION 2 quota._scope_hash_extended(quota.scope, bigint);
COMMENT ON OPERATOR CLASS quota.scope_hash_ops USING hash IS 'Equality of paths';

-- Subtrees: searched through the btree by planner support

CREATE FUNCTION quota._scope_contains_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'quota_scope_contains_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._scope_contained_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'quota_scope_contained_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION quota._scope_contains(quota.scope, quota.scope) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_scope_contains' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
    SUPPORT quota._scope_contains_support;
CREATE FUNCTION quota._scope_contained(quota.scope, quota.scope) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_scope_contained' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
    SUPPORT quota._scope_contained_support;
-- The end (exclusive) of the range of a subtree. It is no scope: EXPLAIN shows it as
-- 'company:acme/...', and no input accepts it.
CREATE FUNCTION quota._scope_subtree_end(quota.scope) RETURNS quota.scope
    AS 'MODULE_PATHNAME', 'quota_scope_subtree_end' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR quota.@> (
    LEFTARG = quota.scope, RIGHTARG = quota.scope, FUNCTION = quota._scope_contains,
    COMMUTATOR = OPERATOR(quota.<@), RESTRICT = matchingsel, JOIN = matchingjoinsel
);
CREATE OPERATOR quota.<@ (
    LEFTARG = quota.scope, RIGHTARG = quota.scope, FUNCTION = quota._scope_contained,
    COMMUTATOR = OPERATOR(quota.@>), RESTRICT = matchingsel, JOIN = matchingjoinsel
);
COMMENT ON OPERATOR quota.@> (quota.scope, quota.scope) IS 'Contains: the right path is the left one or below it';
COMMENT ON OPERATOR quota.<@ (quota.scope, quota.scope) IS 'Contained: the left path is the right one or below it';

-- Functions

CREATE FUNCTION quota.scope(kind text, name text) RETURNS quota.scope
    AS 'MODULE_PATHNAME', 'quota_scope_make' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.scope(text, text) IS
    'The path of one component; the name is taken literally, whatever characters it has';

CREATE FUNCTION quota._scope_concat(quota.scope, quota.scope) RETURNS quota.scope
    AS 'MODULE_PATHNAME', 'quota_scope_concat' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE OPERATOR quota.|| (
    LEFTARG = quota.scope, RIGHTARG = quota.scope, FUNCTION = quota._scope_concat
);
COMMENT ON OPERATOR quota.|| (quota.scope, quota.scope) IS 'The right path below the left one';

CREATE FUNCTION quota.parent(scope quota.scope) RETURNS quota.scope
    AS 'MODULE_PATHNAME', 'quota_scope_parent' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.parent(quota.scope) IS 'The path without its last component; NULL for a root';

CREATE FUNCTION quota.root(scope quota.scope) RETURNS quota.scope
    AS 'MODULE_PATHNAME', 'quota_scope_root' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.root(quota.scope) IS 'The first account of a path: who pays';

CREATE FUNCTION quota.ancestors(scope quota.scope) RETURNS quota.scope[]
    AS 'MODULE_PATHNAME', 'quota_scope_ancestors' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.ancestors(quota.scope) IS 'Every path that contains this one: the root first, itself last';

CREATE FUNCTION quota.kind(scope quota.scope) RETURNS text
    AS 'MODULE_PATHNAME', 'quota_scope_kind' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.kind(quota.scope) IS 'The kind of the last component';

CREATE FUNCTION quota.name(scope quota.scope) RETURNS text
    AS 'MODULE_PATHNAME', 'quota_scope_name' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.name(quota.scope) IS 'The name of the last component, without quotes; * for the wildcard';

CREATE FUNCTION quota.is_wildcard(scope quota.scope) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_scope_is_wildcard' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.is_wildcard(quota.scope) IS 'Whether the last name is the wildcard, which stands for all children of its kind';

CREATE FUNCTION quota.depth(scope quota.scope) RETURNS integer
    AS 'MODULE_PATHNAME', 'quota_scope_depth' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.depth(quota.scope) IS 'The number of components; 1 for a root';

CREATE FUNCTION quota.root_hash(scope quota.scope) RETURNS bigint
    AS 'MODULE_PATHNAME', 'quota_scope_root_hash' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.root_hash(quota.scope) IS
    'FNV-1a, 32 bits, of the text of the root: leads every hold id, and routes requests to servers';
