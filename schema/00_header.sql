-- xavier_quota: price, hold, settle and explain what generative-AI requests may spend.
\echo Use "CREATE EXTENSION xavier_quota" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;
SET LOCAL check_function_bodies TO off;

-- The one source of time ------------------------------------------------------

CREATE FUNCTION quota.now() RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'quota_now'
    LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota.now() IS
    'The instant that quotas take for the current time: the wall clock, or xavier_quota.clock where a test has set it';
