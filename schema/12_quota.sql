-- quota.quota: amounts by level under one root -----------------------------------------
--
-- 'company:acme{calls=5000,credit=1000},company:acme/project:apollo{credit=200}'. A
-- resource that a level does not mention is unlimited there; zero means blocked.

CREATE TYPE quota.quota;

CREATE FUNCTION quota._quota_in(cstring) RETURNS quota.quota
    AS 'MODULE_PATHNAME', 'quota_quota_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._quota_out(quota.quota) RETURNS cstring
    AS 'MODULE_PATHNAME', 'quota_quota_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._quota_recv(internal) RETURNS quota.quota
    AS 'MODULE_PATHNAME', 'quota_quota_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._quota_send(quota.quota) RETURNS bytea
    AS 'MODULE_PATHNAME', 'quota_quota_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE quota.quota (
    INPUT = quota._quota_in,
    OUTPUT = quota._quota_out,
    RECEIVE = quota._quota_recv,
    SEND = quota._quota_send,
    INTERNALLENGTH = VARIABLE,
    STORAGE = extended
);
COMMENT ON TYPE quota.quota IS
    'Amounts by level under one root: company:acme{credit=1000},company:acme/project:apollo{credit=200}; not mentioned is unlimited, zero is blocked';

-- Casts

CREATE CAST (text AS quota.quota) WITH INOUT AS ASSIGNMENT;
CREATE CAST (varchar AS quota.quota) WITH INOUT AS ASSIGNMENT;
CREATE CAST (quota.quota AS text) WITH INOUT AS ASSIGNMENT;
CREATE CAST (quota.quota AS varchar) WITH INOUT AS ASSIGNMENT;

CREATE FUNCTION quota._quota_from_jsonb(jsonb) RETURNS quota.quota
    AS 'MODULE_PATHNAME', 'quota_quota_from_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._quota_to_jsonb(quota.quota) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_quota_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._quota_to_json(quota.quota) RETURNS json
    AS 'MODULE_PATHNAME', 'quota_quota_to_json' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE CAST (jsonb AS quota.quota) WITH FUNCTION quota._quota_from_jsonb(jsonb) AS ASSIGNMENT;
CREATE CAST (quota.quota AS jsonb) WITH FUNCTION quota._quota_to_jsonb(quota.quota) AS ASSIGNMENT;
CREATE CAST (quota.quota AS json) WITH FUNCTION quota._quota_to_json(quota.quota) AS ASSIGNMENT;

-- Total order, for indexes: it has no meaning

CREATE FUNCTION quota._quota_eq(quota.quota, quota.quota) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_quota_eq' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._quota_ne(quota.quota, quota.quota) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_quota_ne' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._quota_lt(quota.quota, quota.quota) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_quota_lt' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._quota_le(quota.quota, quota.quota) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_quota_le' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._quota_gt(quota.quota, quota.quota) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_quota_gt' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._quota_ge(quota.quota, quota.quota) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_quota_ge' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._quota_cmp(quota.quota, quota.quota) RETURNS integer
    AS 'MODULE_PATHNAME', 'quota_quota_cmp' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._quota_hash(quota.quota) RETURNS integer
    AS 'MODULE_PATHNAME', 'quota_quota_hash' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._quota_hash_extended(quota.quota, bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'quota_quota_hash_extended' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE OPERATOR quota.= (
    LEFTARG = quota.quota, RIGHTARG = quota.quota, FUNCTION = quota._quota_eq,
    COMMUTATOR = OPERATOR(quota.=), NEGATOR = OPERATOR(quota.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR quota.<> (
    LEFTARG = quota.quota, RIGHTARG = quota.quota, FUNCTION = quota._quota_ne,
    COMMUTATOR = OPERATOR(quota.<>), NEGATOR = OPERATOR(quota.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR quota.*< (
    LEFTARG = quota.quota, RIGHTARG = quota.quota, FUNCTION = quota._quota_lt,
    COMMUTATOR = OPERATOR(quota.*>), NEGATOR = OPERATOR(quota.*>=),
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR quota.*<= (
    LEFTARG = quota.quota, RIGHTARG = quota.quota, FUNCTION = quota._quota_le,
    COMMUTATOR = OPERATOR(quota.*>=), NEGATOR = OPERATOR(quota.*>),
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR quota.*> (
    LEFTARG = quota.quota, RIGHTARG = quota.quota, FUNCTION = quota._quota_gt,
    COMMUTATOR = OPERATOR(quota.*<), NEGATOR = OPERATOR(quota.*<=),
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
CREATE OPERATOR quota.*>= (
    LEFTARG = quota.quota, RIGHTARG = quota.quota, FUNCTION = quota._quota_ge,
    COMMUTATOR = OPERATOR(quota.*<=), NEGATOR = OPERATOR(quota.*<),
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR quota.= (quota.quota, quota.quota) IS 'The same levels, resources and values';
COMMENT ON OPERATOR quota.<> (quota.quota, quota.quota) IS 'Not the same levels, resources and values';
COMMENT ON OPERATOR quota.*< (quota.quota, quota.quota) IS 'Before in the total order of indexes';
COMMENT ON OPERATOR quota.*<= (quota.quota, quota.quota) IS 'Before in the total order of indexes, or equal';
COMMENT ON OPERATOR quota.*> (quota.quota, quota.quota) IS 'After in the total order of indexes';
COMMENT ON OPERATOR quota.*>= (quota.quota, quota.quota) IS 'After in the total order of indexes, or equal';

CREATE OPERATOR CLASS quota.quota_ops DEFAULT FOR TYPE quota.quota USING btree AS
    OPERATOR 1 quota.*<,
    OPERATOR 2 quota.*<=,
    OPERATOR 3 quota.=,
    OPERATOR 4 quota.*>=,
    OPERATOR 5 quota.*>,
    FUNCTION 1 quota._quota_cmp(quota.quota, quota.quota),
    FUNCTION 4 btequalimage(oid);
COMMENT ON OPERATOR CLASS quota.quota_ops USING btree IS 'A total order without a meaning: for indexes, sorting and DISTINCT';

CREATE OPERATOR CLASS quota.quota_hash_ops DEFAULT FOR TYPE quota.quota USING hash AS
    OPERATOR 1 quota.=,
    FUNCTION 1 quota._quota_hash(quota.quota),
    FUNCTION 2 quota._quota_hash_extended(quota.quota, bigint);
COMMENT ON OPERATOR CLASS quota.quota_hash_ops USING hash IS 'Equality of quotas';

-- What fits, and what is left

CREATE FUNCTION quota._quota_allows(quota.quota, quota.amount) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_quota_allows' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._quota_allows_commuted(quota.amount, quota.quota) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_quota_allows_commuted' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._quota_add(quota.quota, quota.amount) RETURNS quota.quota
    AS 'MODULE_PATHNAME', 'quota_quota_add' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._quota_subtract(quota.quota, quota.amount) RETURNS quota.quota
    AS 'MODULE_PATHNAME', 'quota_quota_subtract' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._quota_get(quota.quota, quota.scope) RETURNS quota.amount
    AS 'MODULE_PATHNAME', 'quota_quota_get' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR quota.@> (
    LEFTARG = quota.quota, RIGHTARG = quota.amount, FUNCTION = quota._quota_allows,
    COMMUTATOR = OPERATOR(quota.<@), RESTRICT = matchingsel, JOIN = matchingjoinsel
);
CREATE OPERATOR quota.<@ (
    LEFTARG = quota.amount, RIGHTARG = quota.quota, FUNCTION = quota._quota_allows_commuted,
    COMMUTATOR = OPERATOR(quota.@>), RESTRICT = matchingsel, JOIN = matchingjoinsel
);
CREATE OPERATOR quota.+ (
    LEFTARG = quota.quota, RIGHTARG = quota.amount, FUNCTION = quota._quota_add
);
CREATE OPERATOR quota.- (
    LEFTARG = quota.quota, RIGHTARG = quota.amount, FUNCTION = quota._quota_subtract
);
CREATE OPERATOR quota.-> (
    LEFTARG = quota.quota, RIGHTARG = quota.scope, FUNCTION = quota._quota_get
);
COMMENT ON OPERATOR quota.@> (quota.quota, quota.amount) IS 'Allows: the amount fits at every level';
COMMENT ON OPERATOR quota.<@ (quota.amount, quota.quota) IS 'Is allowed: the amount fits at every level';
COMMENT ON OPERATOR quota.+ (quota.quota, quota.amount) IS 'More at every level, of the resources that the level mentions';
COMMENT ON OPERATOR quota.- (quota.quota, quota.amount) IS 'Less at every level, of the resources that the level mentions';
COMMENT ON OPERATOR quota.-> (quota.quota, quota.scope) IS
    'The amounts of one level; quota.entries() also shows zeros, which an amount does not keep';

CREATE FUNCTION quota.effective(quota quota.quota) RETURNS quota.quota
    AS 'MODULE_PATHNAME', 'quota_quota_effective' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.effective(quota.quota) IS
    'The least of all levels for each resource, as a quota of the root alone: it allows what the whole quota allows';

CREATE FUNCTION quota.entries(quota quota.quota)
    RETURNS TABLE (scope quota.scope, resource text, value numeric)
    AS 'MODULE_PATHNAME', 'quota_quota_entries' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION quota.entries(quota.quota) IS 'One row for each level and resource';

CREATE FUNCTION quota.shortfall(quota quota.quota, amount quota.amount)
    RETURNS TABLE (scope quota.scope, resource text, missing numeric)
    AS 'MODULE_PATHNAME', 'quota_quota_shortfall' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION quota.shortfall(quota.quota, quota.amount) IS
    'Which levels lack which resource for an amount, and how much; no rows if it fits';
