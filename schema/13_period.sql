-- Periods: when a limit starts afresh --------------------------------------------

CREATE TYPE quota.period;

CREATE FUNCTION quota._period_in(cstring) RETURNS quota.period
    AS 'MODULE_PATHNAME', 'quota_period_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._period_out(quota.period) RETURNS cstring
    AS 'MODULE_PATHNAME', 'quota_period_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._period_recv(internal) RETURNS quota.period
    AS 'MODULE_PATHNAME', 'quota_period_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._period_send(quota.period) RETURNS bytea
    AS 'MODULE_PATHNAME', 'quota_period_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE quota.period (
    INPUT = quota._period_in,
    OUTPUT = quota._period_out,
    RECEIVE = quota._period_recv,
    SEND = quota._period_send,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = main
);
COMMENT ON TYPE quota.period IS
    'When a limit starts afresh: month, 1 month from 2026-01-31 in Europe/Berlin, 6 hours, rolling 24 hours, refill 100 per 1 minute up to 500, lifetime';

-- Order, equality, hash.
CREATE FUNCTION quota._period_eq(quota.period, quota.period) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_period_eq' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._period_ne(quota.period, quota.period) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_period_ne' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._period_lt(quota.period, quota.period) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_period_lt' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._period_le(quota.period, quota.period) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_period_le' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._period_gt(quota.period, quota.period) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_period_gt' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._period_ge(quota.period, quota.period) RETURNS boolean
    AS 'MODULE_PATHNAME', 'quota_period_ge' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._period_cmp(quota.period, quota.period) RETURNS integer
    AS 'MODULE_PATHNAME', 'quota_period_cmp' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._period_hash(quota.period) RETURNS integer
    AS 'MODULE_PATHNAME', 'quota_period_hash' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION quota._period_hash_extended(quota.period, bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'quota_period_hash_extended' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE OPERATOR quota.= (
    LEFTARG = quota.period, RIGHTARG = quota.period, FUNCTION = quota._period_eq,
    COMMUTATOR = OPERATOR(quota.=), NEGATOR = OPERATOR(quota.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR quota.<> (
    LEFTARG = quota.period, RIGHTARG = quota.period, FUNCTION = quota._period_ne,
    COMMUTATOR = OPERATOR(quota.<>), NEGATOR = OPERATOR(quota.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR quota.< (
    LEFTARG = quota.period, RIGHTARG = quota.period, FUNCTION = quota._period_lt,
    COMMUTATOR = OPERATOR(quota.>), NEGATOR = OPERATOR(quota.>=),
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR quota.<= (
    LEFTARG = quota.period, RIGHTARG = quota.period, FUNCTION = quota._period_le,
    COMMUTATOR = OPERATOR(quota.>=), NEGATOR = OPERATOR(quota.>),
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR quota.> (
    LEFTARG = quota.period, RIGHTARG = quota.period, FUNCTION = quota._period_gt,
    COMMUTATOR = OPERATOR(quota.<), NEGATOR = OPERATOR(quota.<=),
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
CREATE OPERATOR quota.>= (
    LEFTARG = quota.period, RIGHTARG = quota.period, FUNCTION = quota._period_ge,
    COMMUTATOR = OPERATOR(quota.<=), NEGATOR = OPERATOR(quota.<),
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR quota.=  (quota.period, quota.period) IS 'written the same in canonical form';
COMMENT ON OPERATOR quota.<> (quota.period, quota.period) IS 'written differently in canonical form';
COMMENT ON OPERATOR quota.<  (quota.period, quota.period) IS 'before, in the order of kind, unit, length, anchor and zone';
COMMENT ON OPERATOR quota.<= (quota.period, quota.period) IS 'before or equal, in the order of kind, unit, length, anchor and zone';
COMMENT ON OPERATOR quota.>  (quota.period, quota.period) IS 'after, in the order of kind, unit, length, anchor and zone';
COMMENT ON OPERATOR quota.>= (quota.period, quota.period) IS 'after or equal, in the order of kind, unit, length, anchor and zone';

CREATE OPERATOR CLASS quota.period_ops DEFAULT FOR TYPE quota.period USING btree AS
    OPERATOR 1 quota.<,
    OPERATOR 2 quota.<=,
    OPERATOR 3 quota.=,
    OPERATOR 4 quota.>=,
    OPERATOR 5 quota.>,
    FUNCTION 1 quota._period_cmp(quota.period, quota.period);
CREATE OPERATOR CLASS quota.period_ops DEFAULT FOR TYPE quota.period USING hash AS
    OPERATOR 1 quota.=,
    FUNCTION 1 quota._period_hash(quota.period),
    FUNCTION 2 quota._period_hash_extended(quota.period, bigint);

-- Casts.
CREATE FUNCTION quota._period_to_jsonb(quota.period) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_period_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION quota._period_from_jsonb(jsonb) RETURNS quota.period
    AS 'MODULE_PATHNAME', 'quota_period_from_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE CAST (text AS quota.period) WITH INOUT AS ASSIGNMENT;
CREATE CAST (varchar AS quota.period) WITH INOUT AS ASSIGNMENT;
CREATE CAST (quota.period AS text) WITH INOUT AS ASSIGNMENT;
CREATE CAST (quota.period AS varchar) WITH INOUT AS ASSIGNMENT;
CREATE CAST (quota.period AS jsonb) WITH FUNCTION quota._period_to_jsonb(quota.period) AS ASSIGNMENT;
CREATE CAST (jsonb AS quota.period) WITH FUNCTION quota._period_from_jsonb(jsonb) AS ASSIGNMENT;

-- Boundaries. Immutable as timezone(text, timestamptz) is: the time zone database
-- changes only with an update of the server's system.
CREATE FUNCTION quota.period_range(period quota.period, at timestamptz) RETURNS tstzrange
    AS 'MODULE_PATHNAME', 'quota_period_range' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.period_range(quota.period, timestamptz) IS
    'The instants whose amounts count together with those of an instant: [start, end) of its calendar period; (at - window, at] of a rolling one; (at - burst / rate, at] of a refill; all time for lifetime';

CREATE FUNCTION quota.period_next(period quota.period, at timestamptz) RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'quota_period_next' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.period_next(quota.period, timestamptz) IS
    'The next boundary strictly after an instant: infinity for lifetime, null for rolling and refill, which have none';
