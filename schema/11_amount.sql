-- quota.amount: how much of each resource ------------------------------------------
--
-- 'calls=1,credit=12.5': a vector over all resources; what is not mentioned is zero.

CREATE TYPE quota.amount;

CREATE FUNCTION quota._amount_in(cstring) RETURNS quota.amount
    AS 'MODULE_PATHNAME', 'quota_amount_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._amount_out(quota.amount) RETURNS cstring
    AS 'MODULE_PATHNAME', 'quota_amount_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._amount_recv(internal) RETURNS quota.amount
    AS 'MODULE_PATHNAME', 'quota_amount_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._amount_send(quota.amount) RETURNS bytea
    AS 'MODULE_PATHNAME', 'quota_amount_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE quota.amount (
    INPUT = quota._amount_in,
    OUTPUT = quota._amount_out,
    RECEIVE = quota._amount_recv,
    SEND = quota._amount_send,
    INTERNALLENGTH = VARIABLE,
    STORAGE = extended
);
COMMENT ON TYPE quota.amount IS
    'How much of each resource: calls=1,credit=12.5; exact, at most six decimals each';

-- Casts

CREATE CAST (text AS quota.amount) WITH INOUT AS ASSIGNMENT;
CREATE CAST (varchar AS quota.amount) WITH INOUT AS ASSIGNMENT;
CREATE CAST (quota.amount AS text) WITH INOUT AS ASSIGNMENT;
CREATE CAST (quota.amount AS varchar) WITH INOUT AS ASSIGNMENT;

CREATE FUNCTION quota._amount_from_jsonb(jsonb) RETURNS quota.amount
    AS 'MODULE_PATHNAME', 'quota_amount_from_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._amount_to_jsonb(quota.amount) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_amount_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._amount_to_json(quota.amount) RETURNS json
    AS 'MODULE_PATHNAME', 'quota_amount_to_json' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE CAST (jsonb AS quota.amount) WITH FUNCTION quota._amount_from_jsonb(jsonb) AS ASSIGNMENT;
CREATE CAST (quota.amount AS jsonb) WITH FUNCTION quota._amount_to_jsonb(quota.amount) AS ASSIGNMENT;
CREATE CAST (quota.amount AS json) WITH FUNCTION quota._amount_to_json(quota.amount) AS ASSIGNMENT;

-- Total order, for indexes: it has no meaning, and its operators other names than <=

CREATE FUNCTION quota._amount_eq(quota.amount, quota.amount) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_amount_eq' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._amount_ne(quota.amount, quota.amount) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_amount_ne' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._amount_lt(quota.amount, quota.amount) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_amount_lt' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._amount_le(quota.amount, quota.amount) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_amount_le' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._amount_gt(quota.amount, quota.amount) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_amount_gt' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._amount_ge(quota.amount, quota.amount) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_amount_ge' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._amount_cmp(quota.amount, quota.amount) RETURNS integer
    AS 'MODULE_PATHNAME', 'quota_amount_cmp' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._amount_hash(quota.amount) RETURNS integer
    AS 'MODULE_PATHNAME', 'quota_amount_hash' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._amount_hash_extended(quota.amount, bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'quota_amount_hash_extended' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE OPERATOR quota.= (
    LEFTARG = quota.amount, RIGHTARG = quota.amount, FUNCTION = quota._amount_eq,
    COMMUTATOR = OPERATOR(quota.=), NEGATOR = OPERATOR(quota.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR quota.<> (
    LEFTARG = quota.amount, RIGHTARG = quota.amount, FUNCTION = quota._amount_ne,
    COMMUTATOR = OPERATOR(quota.<>), NEGATOR = OPERATOR(quota.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR quota.*< (
    LEFTARG = quota.amount, RIGHTARG = quota.amount, FUNCTION = quota._amount_lt,
    COMMUTATOR = OPERATOR(quota.*>), NEGATOR = OPERATOR(quota.*>=),
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR quota.*<= (
    LEFTARG = quota.amount, RIGHTARG = quota.amount, FUNCTION = quota._amount_le,
    COMMUTATOR = OPERATOR(quota.*>=), NEGATOR = OPERATOR(quota.*>),
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR quota.*> (
    LEFTARG = quota.amount, RIGHTARG = quota.amount, FUNCTION = quota._amount_gt,
    COMMUTATOR = OPERATOR(quota.*<), NEGATOR = OPERATOR(quota.*<=),
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
CREATE OPERATOR quota.*>= (
    LEFTARG = quota.amount, RIGHTARG = quota.amount, FUNCTION = quota._amount_ge,
    COMMUTATOR = OPERATOR(quota.*<=), NEGATOR = OPERATOR(quota.*<),
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR quota.= (quota.amount, quota.amount) IS 'Equal in every component';
COMMENT ON OPERATOR quota.<> (quota.amount, quota.amount) IS 'Different in some component';
COMMENT ON OPERATOR quota.*< (quota.amount, quota.amount) IS 'Before in the total order of indexes';
COMMENT ON OPERATOR quota.*<= (quota.amount, quota.amount) IS 'Before in the total order of indexes, or equal';
COMMENT ON OPERATOR quota.*> (quota.amount, quota.amount) IS 'After in the total order of indexes';
COMMENT ON OPERATOR quota.*>= (quota.amount, quota.amount) IS 'After in the total order of indexes, or equal';

CREATE OPERATOR CLASS quota.amount_ops DEFAULT FOR TYPE quota.amount USING btree AS
    OPERATOR 1 quota.*<,
    OPERATOR 2 quota.*<=,
    OPERATOR 3 quota.=,
    OPERATOR 4 quota.*>=,
    OPERATOR 5 quota.*>,
    FUNCTION 1 quota._amount_cmp(quota.amount, quota.amount),
    FUNCTION 4 btequalimage(oid);
COMMENT ON OPERATOR CLASS quota.amount_ops USING btree IS 'A total order without a meaning: for indexes, sorting and DISTINCT';

CREATE OPERATOR CLASS quota.amount_hash_ops DEFAULT FOR TYPE quota.amount USING hash AS
    OPERATOR 1 quota.=,
    FUNCTION 1 quota._amount_hash(quota.amount),
    FUNCTION 2 quota._amount_hash_extended(quota.amount, bigint);
COMMENT ON OPERATOR CLASS quota.amount_hash_ops USING hash IS 'Equality of amounts';

-- Partial order: what fits in what

CREATE FUNCTION quota._amount_fits_in(quota.amount, quota.amount) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_amount_fits_in' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._amount_has_room_for(quota.amount, quota.amount) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_amount_has_room_for' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE OPERATOR quota.<= (
    LEFTARG = quota.amount, RIGHTARG = quota.amount, FUNCTION = quota._amount_fits_in,
    COMMUTATOR = OPERATOR(quota.>=), RESTRICT = matchingsel, JOIN = matchingjoinsel
);
CREATE OPERATOR quota.>= (
    LEFTARG = quota.amount, RIGHTARG = quota.amount, FUNCTION = quota._amount_has_room_for,
    COMMUTATOR = OPERATOR(quota.<=), RESTRICT = matchingsel, JOIN = matchingjoinsel
);
COMMENT ON OPERATOR quota.<= (quota.amount, quota.amount) IS 'Fits in: not more in any component (a partial order)';
COMMENT ON OPERATOR quota.>= (quota.amount, quota.amount) IS 'Has room for: not less in any component (a partial order)';

-- Arithmetic

CREATE FUNCTION quota.amount(resource text, value numeric) RETURNS quota.amount
    AS 'MODULE_PATHNAME', 'quota_amount_make' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.amount(text, numeric) IS 'The amount of one resource';

CREATE FUNCTION quota._amount_add(quota.amount, quota.amount) RETURNS quota.amount
    AS 'MODULE_PATHNAME', 'quota_amount_add' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._amount_subtract(quota.amount, quota.amount) RETURNS quota.amount
    AS 'MODULE_PATHNAME', 'quota_amount_subtract' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._amount_negate(quota.amount) RETURNS quota.amount
    AS 'MODULE_PATHNAME', 'quota_amount_negate' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._amount_multiply(quota.amount, numeric) RETURNS quota.amount
    AS 'MODULE_PATHNAME', 'quota_amount_multiply' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._amount_multiply_by(numeric, quota.amount) RETURNS quota.amount
    AS 'MODULE_PATHNAME', 'quota_amount_multiply_by' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._amount_get(quota.amount, text) RETURNS numeric
    AS 'MODULE_PATHNAME', 'quota_amount_get' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR quota.+ (
    LEFTARG = quota.amount, RIGHTARG = quota.amount, FUNCTION = quota._amount_add,
    COMMUTATOR = OPERATOR(quota.+)
);
CREATE OPERATOR quota.- (
    LEFTARG = quota.amount, RIGHTARG = quota.amount, FUNCTION = quota._amount_subtract
);
CREATE OPERATOR quota.- (
    RIGHTARG = quota.amount, FUNCTION = quota._amount_negate
);
CREATE OPERATOR quota.* (
    LEFTARG = quota.amount, RIGHTARG = numeric, FUNCTION = quota._amount_multiply,
    COMMUTATOR = OPERATOR(quota.*)
);
CREATE OPERATOR quota.* (
    LEFTARG = numeric, RIGHTARG = quota.amount, FUNCTION = quota._amount_multiply_by,
    COMMUTATOR = OPERATOR(quota.*)
);
CREATE OPERATOR quota.-> (
    LEFTARG = quota.amount, RIGHTARG = text, FUNCTION = quota._amount_get
);
COMMENT ON OPERATOR quota.+ (quota.amount, quota.amount) IS 'Sum of each component';
COMMENT ON OPERATOR quota.- (quota.amount, quota.amount) IS 'Difference of each component';
COMMENT ON OPERATOR quota.- (NONE, quota.amount) IS 'Every component with the other sign';
COMMENT ON OPERATOR quota.* (quota.amount, numeric) IS 'Each component multiplied exactly and rounded up to a millionth';
COMMENT ON OPERATOR quota.* (numeric, quota.amount) IS 'Each component multiplied exactly and rounded up to a millionth';
COMMENT ON OPERATOR quota.-> (quota.amount, text) IS 'One component; 0 for a resource that is not mentioned';

CREATE AGGREGATE quota.sum(quota.amount) (
    SFUNC = quota._amount_add,
    STYPE = quota.amount,
    COMBINEFUNC = quota._amount_add,
    MSFUNC = quota._amount_add,
    MINVFUNC = quota._amount_subtract,
    MSTYPE = quota.amount,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE quota.sum(quota.amount) IS 'Sum of each component, exact; NULL of no rows, an error as soon as a partial sum is out of range';

CREATE FUNCTION quota.entries(amount quota.amount) RETURNS TABLE (resource text, value numeric)
    AS 'MODULE_PATHNAME', 'quota_amount_entries' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 3;
COMMENT ON FUNCTION quota.entries(quota.amount) IS 'One row for each component';
