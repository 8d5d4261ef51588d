-- Grants: more of a limit, for a while ---------------------------------------------
--
-- A grant feeds one limit at one level. What is used is burned from it after the limit's
-- own amount, as far as it goes; the limit itself stays as it is.

CREATE FUNCTION quota._granted_limit(
    account quota.scope, parent quota.scope, user_id text, resource text, limit_id bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: the limit that a grant of a resource feeds: the one that is named, or the only
-- one, of those that apply at the level now and can be fed.
-- account: the level as it was given; parent, user_id: the account, and whose share of it.
-- Errors: XQ008 none; XQ301 several, or one that cannot be fed.
DECLARE
    candidates record;
BEGIN
    SELECT count(*) AS count, min(u.limit_id) AS first,
           string_agg(format('%s (%s%s, %s)', u.limit_id, u.period,
                             CASE WHEN u.model <> '*' THEN ', model ' || u.model END, u.source),
                      '; ' ORDER BY u.limit_id) AS list,
           count(*) FILTER (WHERE u.feedable) AS feedable,
           min(u.limit_id) FILTER (WHERE u.feedable) AS only_one,
           bool_or(u.limit_id = _granted_limit.limit_id) AS named,
           bool_or(u.feedable) FILTER (WHERE u.limit_id = _granted_limit.limit_id) AS named_feedable
        INTO candidates
        FROM (SELECT l.limit_id, l.period, l.model, l.source,
                     quota._limit_period_kind(l.period) IN ('calendar', 'lifetime') AS feedable
              FROM quota._limit_levels(parent, _granted_limit.user_id) AS l
              WHERE l.resource = _granted_limit.resource) AS u;
    IF candidates.count = 0 THEN
        RAISE EXCEPTION 'no limit of "%" applies at "%"', resource, account
            USING ERRCODE = 'XQ008',
                  DETAIL = 'Without a limit there is as much as one likes: there is nothing that a grant could feed.',
                  HINT = 'Set a limit with quota.set_limit() first.';
    END IF;
    IF limit_id IS NOT NULL AND candidates.named IS NOT TRUE THEN
        RAISE EXCEPTION 'limit % is no limit of "%" that applies at "%"', limit_id, resource, account
            USING ERRCODE = 'XQ008',
                  DETAIL = format('Those that apply: %s.', candidates.list),
                  HINT = format('Name one of them: limit_id => %s.', COALESCE(candidates.only_one, candidates.first));
    END IF;
    IF candidates.feedable = 0 OR limit_id IS NOT NULL AND NOT candidates.named_feedable THEN
        RAISE EXCEPTION 'a limit that rolls or refills takes no grants'
            USING ERRCODE = 'XQ301',
                  DETAIL = format('Those that apply: %s.', candidates.list),
                  HINT = 'Grant to a limit with a calendar period or for life, or raise the limit itself with quota.set_limit().';
    END IF;
    IF limit_id IS NULL AND candidates.feedable > 1 THEN
        RAISE EXCEPTION 'several limits of "%" apply at "%"', resource, account
            USING ERRCODE = 'XQ301',
                  DETAIL = format('Those that apply: %s.', candidates.list),
                  HINT = format('Name one of them: limit_id => %s.', candidates.only_one);
    END IF;
    RETURN COALESCE(limit_id, candidates.only_one);
END
$function$;
COMMENT ON FUNCTION quota._granted_limit(quota.scope, quota.scope, text, text, bigint) IS
    'The limit that a grant of a resource feeds at a level';

CREATE FUNCTION quota.grant_quota(
    account quota.scope,
    resource text,
    amount numeric,
    priority integer DEFAULT 100,
    effective_at timestamptz DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    note text DEFAULT NULL,
    limit_id bigint DEFAULT NULL,
    rollover numeric DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Gives an account, or the share of a user in it, more of a limit: from effective_at (null:
-- now; it may be in the past) until expires_at (null: until it is used up or voided). It is
-- burned after the limit's own amount, grants with a smaller priority first. At the end of
-- each period of the limit at most rollover of it stays, all of it if null.
-- Not a state but an event: each call grants again.
-- Returns: the id of the grant.
-- Errors: XQ005 no such account; XQ006 no such resource; XQ008 no limit that it could feed;
--   XQ301 several, or one that takes no grants; 22003, 22004, 22023 malformed.
-- Tables written: grants; periods, which a grant in the past makes anew.
DECLARE
    max_grants constant integer := 64;
    now timestamptz := quota.now();
    target record;
    owner quota.accounts;
    fed bigint;
    new_id bigint;
BEGIN
    IF resource IS NULL OR priority IS NULL THEN
        RAISE EXCEPTION 'resource and priority must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM quota._check_quantity('amount', amount);
    IF amount = 0 THEN
        RAISE EXCEPTION 'amount must be more than 0'
            USING ERRCODE = 'numeric_value_out_of_range',
                  HINT = 'Take a grant back with quota.void_grant().';
    END IF;
    IF rollover IS NOT NULL THEN
        PERFORM quota._check_quantity('rollover', rollover);
    END IF;
    effective_at := COALESCE(effective_at, now);
    expires_at := NULLIF(expires_at, 'infinity');
    IF NOT isfinite(effective_at) OR NOT isfinite(expires_at) THEN
        RAISE EXCEPTION 'effective_at and expires_at must be instants'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Leave effective_at out for now, and expires_at for a grant that does not expire.';
    END IF;
    IF expires_at <= effective_at THEN
        RAISE EXCEPTION 'expires_at must be after effective_at'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('The grant would be in effect from %s until %s.', effective_at, expires_at);
    END IF;
    PERFORM quota._check_account(account);
    IF NOT EXISTS (SELECT FROM quota.resources r WHERE r.resource = grant_quota.resource) THEN
        RAISE EXCEPTION 'resource "%" does not exist', resource
            USING ERRCODE = 'XQ006',
                  HINT = 'Define it with quota.put_resource().';
    END IF;
    IF (SELECT r.kind FROM quota.resources r WHERE r.resource = grant_quota.resource) <> 'flow' THEN
        RAISE EXCEPTION 'resource "%" takes no grants', resource
            USING ERRCODE = 'XQ301',
                  DETAIL = 'What is used of it is given back: a grant would be burned, and never be there again.',
                  HINT = 'Raise the limit itself with quota.set_limit().';
    END IF;
    SELECT * INTO target FROM quota._limit_target(account);

    IF effective_at < now THEN
        PERFORM quota._lock_periods(target.root_id);
    END IF;
    -- One grant at a time per account, so that they can be counted.
    SELECT a.* INTO owner
        FROM quota.accounts a
        WHERE a.root_id = target.root_id AND a.account_id = target.account_id
        FOR NO KEY UPDATE;
    fed := quota._granted_limit(account, owner.scope, target.user_id, resource, limit_id);
    IF (SELECT count(*) FROM quota.grants g
        WHERE g.root_id = target.root_id AND g.account_id = target.account_id
          AND g.user_id IS NOT DISTINCT FROM target.user_id AND g.limit_id = fed
          AND COALESCE(LEAST(g.expires_at, g.voided_at) > grant_quota.effective_at, true)
          AND COALESCE(g.effective_at < grant_quota.expires_at, true)) >= max_grants THEN
        RAISE EXCEPTION 'there are too many grants of limit % at "%"', fed, account
            USING ERRCODE = 'XQ301',
                  DETAIL = format('At most %s grants can feed one limit at one level while this one is in effect.', max_grants),
                  HINT = 'Void those that are used up with quota.void_grant(): see state in quota.admin_grants.';
    END IF;
    new_id := nextval('quota.definition_id_seq');
    INSERT INTO quota.grants
            (root_id, grant_id, account_id, user_id, limit_id, resource, amount, priority,
             effective_at, expires_at, rollover, note, created_at)
        VALUES (target.root_id, new_id, target.account_id, target.user_id, fed, grant_quota.resource,
                grant_quota.amount, grant_quota.priority, grant_quota.effective_at,
                grant_quota.expires_at, grant_quota.rollover, grant_quota.note, now);
    PERFORM quota._record_periods_anew(target.root_id, target.account_id, target.user_id, fed, effective_at);
    RETURN new_id;
END
$function$;
COMMENT ON FUNCTION quota.grant_quota(quota.scope, text, numeric, integer, timestamptz, timestamptz, text, bigint, numeric) IS
    'Gives an account, or the share of a user in it, more of a limit that applies there, for a while or until it is used up; returns the id of the grant';

CREATE FUNCTION quota.void_grant(grant_id bigint, reason text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Takes back what is left of a grant. What was burned of it stays so.
-- Returns: whether it did; false if the grant was over already.
-- Errors: XQ010 no such grant; 22004 null.
DECLARE
    existing quota.grants;
    now timestamptz := quota.now();
BEGIN
    IF grant_id IS NULL OR reason IS NULL THEN
        RAISE EXCEPTION 'grant_id and reason must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT g.* INTO existing FROM quota.grants g WHERE g.grant_id = void_grant.grant_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'grant % does not exist', grant_id
            USING ERRCODE = 'XQ010',
                  HINT = 'See grant_id in quota.admin_grants.';
    END IF;
    IF existing.voided_at IS NOT NULL OR existing.expires_at <= now THEN
        RETURN false;
    END IF;
    UPDATE quota.grants g
        SET voided_at = now, void_reason = void_grant.reason
        WHERE g.root_id = existing.root_id AND g.grant_id = existing.grant_id;
    RETURN true;
END
$function$;
COMMENT ON FUNCTION quota.void_grant(bigint, text) IS
    'Takes back what is left of a grant; returns whether it did: false if it was over already';
