-- Upkeep of the engine: compare, reload, look -------------------------------------

CREATE FUNCTION quota._verify_root(root_id bigint, root quota.scope)
    RETURNS TABLE (
        scope text, limit_id bigint, resource text, model text, period_start timestamptz,
        memory_used numeric, memory_held numeric, table_used numeric, table_held numeric)
    AS 'MODULE_PATHNAME', 'quota_verify_root'
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION quota._verify_root(bigint, quota.scope) IS
    'Compares the counters of one root with the tables, with everybody else kept out';

CREATE FUNCTION quota._reload_root(root quota.scope) RETURNS void
    AS 'MODULE_PATHNAME', 'quota_reload_root'
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION quota._reload_root(quota.scope) IS
    'Makes the counters of one root load afresh, and its definitions be read again';

CREATE FUNCTION quota.verify(account quota.scope DEFAULT NULL)
    RETURNS TABLE (
        scope quota.scope, limit_id bigint, resource text, model text, period_start timestamptz,
        memory_used numeric, memory_held numeric, table_used numeric, table_held numeric)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
-- Compares counters in memory with the tables, one root at a time, each for a moment
-- with everybody else kept out.
-- Returns: the counters that differ; none when all is well.
-- Errors: 55P03 if operations on a root do not end in time; 25001 in a transaction
--   that has operated.
#variable_conflict use_column
DECLARE
    root record;
BEGIN
    FOR root IN
        SELECT a.root_id, a.scope FROM quota.accounts a
        WHERE a.parent_id IS NULL
          AND (verify.account IS NULL OR a.scope OPERATOR(quota.=) quota.root(verify.account))
        ORDER BY a.root_id
    LOOP
        RETURN QUERY
            SELECT v.scope::quota.scope, v.limit_id, v.resource, v.model, v.period_start,
                   v.memory_used, v.memory_held, v.table_used, v.table_held
            FROM quota._verify_root(root.root_id, root.scope) v
            WHERE verify.account IS NULL
               OR v.scope::quota.scope OPERATOR(quota.<@) verify.account;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION quota.verify(quota.scope) IS
    'Compares every counter in memory with the tables; returns each difference, none when all is well';

CREATE FUNCTION quota.reload(account quota.scope DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
-- Forgets the counters and definitions of one root, or of all, so that they are read
-- afresh.
-- Errors: as quota.verify().
DECLARE
    root record;
BEGIN
    FOR root IN
        SELECT a.scope FROM quota.accounts a
        WHERE a.parent_id IS NULL
          AND (reload.account IS NULL OR a.scope OPERATOR(quota.=) quota.root(reload.account))
        ORDER BY a.root_id
    LOOP
        PERFORM quota._reload_root(root.scope);
    END LOOP;
END
$function$;
COMMENT ON FUNCTION quota.reload(quota.scope) IS
    'Forgets the counters and definitions of an account''s root, or of all, and reads them from the tables at their next use';

CREATE FUNCTION quota._engine_stats(
    OUT counters bigint, OUT max_counters bigint, OUT pinned bigint, OUT loads bigint,
    OUT counters_loaded bigint, OUT evictions bigint, OUT load_waits bigint, OUT claims bigint,
    OUT refusals bigint, OUT memory_bytes bigint, OUT series bigint, OUT max_series bigint)
    AS 'MODULE_PATHNAME', 'quota_engine_stats'
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION quota._engine_stats() IS
    'Statistics of the escrow memory of this server';

CREATE VIEW quota.engine_stats AS SELECT * FROM quota._engine_stats();
COMMENT ON VIEW quota.engine_stats IS
    'The escrow memory of this server, over all databases: counters and how often they were loaded, evicted, claimed and refused since the server started';
COMMENT ON COLUMN quota.engine_stats.counters IS 'Counters in memory';
COMMENT ON COLUMN quota.engine_stats.max_counters IS 'Counters that memory has room for (xavier_quota.max_counters)';
COMMENT ON COLUMN quota.engine_stats.pinned IS 'Counters that transactions in progress have in use';
COMMENT ON COLUMN quota.engine_stats.loads IS 'Times that counters were computed from the tables';
COMMENT ON COLUMN quota.engine_stats.counters_loaded IS 'Counters so computed';
COMMENT ON COLUMN quota.engine_stats.evictions IS 'Idle counters that made room for others';
COMMENT ON COLUMN quota.engine_stats.load_waits IS 'Times that somebody waited for another''s load';
COMMENT ON COLUMN quota.engine_stats.claims IS 'Requests that were held';
COMMENT ON COLUMN quota.engine_stats.refusals IS 'Requests that a limit refused';
COMMENT ON COLUMN quota.engine_stats.memory_bytes IS 'Size of the shared memory';
COMMENT ON COLUMN quota.engine_stats.series IS 'Counters in memory that look back: of rolling and refill limits, and of those that carry something over';
COMMENT ON COLUMN quota.engine_stats.max_series IS 'Such counters that memory has room for (xavier_quota.max_series)';

-- The numbers behind quota.admin_limits and quota.admin_denials --------------------

CREATE FUNCTION quota._limit_levels(account quota.scope, user_id text)
    RETURNS TABLE (
        limit_id bigint, scope quota.scope, share_of text, resource text, model text,
        period quota.period, policy text, "limit" numeric, overdraft numeric,
        period_start timestamptz, period_end timestamptz, used numeric, held numeric,
        source text, denied bigint, rolled_over numeric, granted numeric, carried_overage numeric)
    AS 'MODULE_PATHNAME', 'quota_limit_levels'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 4;
COMMENT ON FUNCTION quota._limit_levels(quota.scope, text) IS
    'The limits of an account, or of the share of a user in it, with their counters now';

CREATE FUNCTION quota._levels(root_id bigint DEFAULT NULL)
    RETURNS TABLE (root_id bigint, account_id bigint, account quota.scope, user_id text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $function$
-- Every level that can have a limit now, under one root or all: the accounts themselves,
-- and the shares for which a limit is set, that are on a plan, or that a default gives to
-- members.
SELECT a.root_id, a.account_id, a.scope, NULL::text
FROM quota.accounts a
WHERE (a.parent_id IS NULL OR a.kind <> 'user')
  AND (_levels.root_id IS NULL OR a.root_id = _levels.root_id)
UNION
SELECT l.root_id, a.account_id, a.scope, l.user_id
FROM quota.limits l
JOIN quota.accounts a ON a.root_id = l.root_id AND a.account_id = l.account_id
WHERE l.user_id IS NOT NULL
  AND (_levels.root_id IS NULL OR l.root_id = _levels.root_id)
UNION
SELECT s.root_id, a.account_id, a.scope, s.name
FROM quota.accounts s
JOIN quota.accounts a ON a.root_id = s.root_id AND a.account_id = s.parent_id
WHERE s.kind = 'user' AND s.plan IS NOT NULL
  AND (_levels.root_id IS NULL OR s.root_id = _levels.root_id)
UNION
SELECT l.root_id, a.account_id, a.scope, m.user_id
FROM quota.limits l
JOIN quota.accounts a ON a.root_id = l.root_id AND a.account_id = l.account_id
JOIN quota.members m ON m.root_id = l.root_id
JOIN quota.accounts b ON b.root_id = m.root_id AND b.account_id = m.account_id
WHERE l.child_kind = 'user'
  AND (a.scope OPERATOR(quota.<@) b.scope OR b.scope OPERATOR(quota.<@) a.scope)
  AND (_levels.root_id IS NULL OR l.root_id = _levels.root_id)
$function$;
COMMENT ON FUNCTION quota._levels(bigint) IS
    'Every level that can have a limit now: accounts, and shares of users in them';

CREATE FUNCTION quota._limit_usage(account quota.scope DEFAULT NULL)
    RETURNS TABLE (
        root_id bigint, limit_id bigint, scope quota.scope, user_id text, resource text,
        model text, period quota.period, policy text, "limit" numeric, overdraft numeric,
        period_start timestamptz, period_end timestamptz, used numeric, held numeric,
        source text, denied bigint, rolled_over numeric, granted numeric, carried_overage numeric)
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 1000
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
-- Every limit at every level that has one now.
SELECT v.root_id, u.limit_id, u.scope, u.share_of, u.resource, u.model, u.period, u.policy,
       u."limit", u.overdraft, u.period_start, u.period_end, u.used, u.held, u.source, u.denied,
       u.rolled_over, u.granted, u.carried_overage
FROM quota._levels() v
CROSS JOIN LATERAL quota._limit_levels(v.account, v.user_id) u
WHERE _limit_usage.account IS NULL OR u.scope OPERATOR(quota.<@) _limit_usage.account
$function$;
COMMENT ON FUNCTION quota._limit_usage(quota.scope) IS
    'Every limit at every level where one applies, with what is used and held of it now';

CREATE FUNCTION quota._denials()
    RETURNS TABLE (
        root_id bigint, account_id bigint, user_id text, limit_id bigint, version bigint,
        period_start timestamptz, denied bigint, last_denied_at timestamptz)
    AS 'MODULE_PATHNAME', 'quota_denials'
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION quota._denials() IS
    'The counters in memory that a request did not fit, with how many and when the last';
