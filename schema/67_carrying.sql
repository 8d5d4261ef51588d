-- What limits carry from period to period, as the engine computes it --------------------

CREATE FUNCTION quota._grant_balances(account quota.scope, user_id text)
    RETURNS TABLE (limit_id bigint, grant_id bigint, remaining numeric)
    AS 'MODULE_PATHNAME', 'quota_grant_balances'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 4
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota._grant_balances(quota.scope, text) IS
    'The grants in effect at an account, or at the share of a user in it, with what is left of each now';

CREATE FUNCTION quota._closed_periods(account quota.scope, user_id text, since timestamptz)
    RETURNS TABLE (
        limit_id bigint, period_start timestamptz, period_end timestamptz, "limit" numeric,
        granted numeric, used numeric, held numeric, overage numeric, rolled_over numeric)
    AS 'MODULE_PATHNAME', 'quota_closed_periods'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000 ROWS 10;
COMMENT ON FUNCTION quota._closed_periods(quota.scope, text, timestamptz) IS
    'The periods of the calendar limits of an account, or of the share of a user in it, that end after an instant and not after now; of each limit the first 1000 at most';
