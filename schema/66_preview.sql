-- Preview: what a limit would do, before it is set ------------------------------------

CREATE FUNCTION quota._limit_uses(limit_id bigint, max_levels integer DEFAULT 1000)
RETURNS TABLE (account_id bigint, scope quota.scope, user_id text, period_start timestamptz,
               period_end timestamptz, "limit" numeric, overdraft numeric, used numeric, held numeric)
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: the levels at which a limit counts now, with their counters: the account or share
-- it was set for, the children of a kind, the members, or the accounts on a plan. It looks
-- at so many levels at most.
WITH levels (account_id, account, user_id) AS (
    SELECT a.account_id, a.scope, l.user_id
    FROM quota.limits l
    JOIN quota.accounts a ON a.root_id = l.root_id AND a.account_id = l.account_id
    WHERE l.limit_id = _limit_uses.limit_id AND l.child_kind IS NULL
    UNION ALL
    SELECT a.account_id, a.scope, NULL
    FROM quota.limits l
    JOIN quota.accounts a ON a.root_id = l.root_id AND a.parent_id = l.account_id AND a.kind = l.child_kind
    WHERE l.limit_id = _limit_uses.limit_id AND l.child_kind <> 'user'
    UNION ALL
    SELECT a.account_id, a.scope, m.user_id
    FROM quota.limits l
    JOIN quota.accounts a ON a.root_id = l.root_id AND a.account_id = l.account_id
    CROSS JOIN LATERAL (SELECT DISTINCT n.user_id FROM quota.members n WHERE n.root_id = l.root_id) AS m
    WHERE l.limit_id = _limit_uses.limit_id AND l.child_kind = 'user'
    UNION ALL
    SELECT COALESCE(b.account_id, a.account_id), COALESCE(b.scope, a.scope),
           CASE WHEN b.scope IS NOT NULL THEN a.name END
    FROM quota.plan_limits p
    JOIN quota.accounts a ON a.plan = p.plan
    LEFT JOIN quota.accounts b ON a.kind = 'user' AND b.root_id = a.root_id AND b.account_id = a.parent_id
    WHERE p.limit_id = _limit_uses.limit_id
    LIMIT max_levels
)
SELECT v.account_id, u.scope, u.share_of, u.period_start, u.period_end, u."limit", u.overdraft, u.used, u.held
FROM levels v
CROSS JOIN LATERAL quota._limit_levels(v.account, v.user_id) AS u
WHERE u.limit_id = _limit_uses.limit_id
$function$;
COMMENT ON FUNCTION quota._limit_uses(bigint, integer) IS
    'The levels at which a limit counts, with what is used and held there now';

CREATE FUNCTION quota.preview_limit(
    account quota.scope,
    resource text,
    amount numeric,
    period quota.period DEFAULT NULL,
    policy text DEFAULT 'hard',
    overdraft numeric DEFAULT 0,
    rollover numeric DEFAULT 0,
    carry_overage boolean DEFAULT false,
    model text DEFAULT '*',
    prorate boolean DEFAULT false)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Says what quota.set_limit() would do with these arguments, by doing it and taking it back:
-- so it is judged by the same rules and numbers. It looks at 1000 levels and lists 100, those
-- nearest to the limit first.
-- Returns: {"change","over","levels_seen","holds","levels":[...]}.
-- Errors: those of quota.set_limit(); 25006 in a read-only transaction.
DECLARE
    old quota.limits;
    new quota.limits;
    id bigint;
    result jsonb;
BEGIN
    BEGIN
        period := quota._check_limit(resource, amount, period, policy, overdraft, rollover, carry_overage, model);
        SELECT l.* INTO old
            FROM quota.limits l
            WHERE l.scope OPERATOR(quota.=) account
              AND l.resource = preview_limit.resource
              AND l.model = preview_limit.model
              AND l.period OPERATOR(quota.=) preview_limit.period;
        id := quota.set_limit(account, resource, amount, period, policy, overdraft, rollover, carry_overage,
                              model, prorate);
        SELECT l.* INTO STRICT new FROM quota.limits l WHERE l.limit_id = id;
        SELECT jsonb_build_object(
                   'change', CASE WHEN old.limit_id IS NULL THEN 'create'
                                  WHEN to_jsonb(old) = to_jsonb(new) THEN 'none' ELSE 'change' END,
                   'over', count(*) FILTER (WHERE u.over),
                   'levels_seen', count(*),
                   'holds', COALESCE(sum(u.holds), 0),
                   'levels', COALESCE(jsonb_agg(to_jsonb(u) - 'rank' ORDER BY u.rank) FILTER (WHERE u.rank <= 100), '[]'))
            INTO result
            FROM (
                SELECT v.scope::text AS scope, trim_scale(v."limit")::text AS "limit",
                       trim_scale(v.used)::text AS used, trim_scale(v.held)::text AS held,
                       trim_scale(v."limit" - v.used - v.held)::text AS remaining,
                       v.used + v.held > v."limit" + v.overdraft AS over,
                       (SELECT count(*) FROM quota.holds h
                        WHERE h.root_id = new.root_id AND v.account_id = ANY (h.levels)
                          AND (v.user_id IS NULL OR h.user_id = v.user_id)
                          AND h.held_at >= v.period_start AND h.held_at < v.period_end
                          AND (new.model = '*' OR h.model LIKE replace(replace(replace(replace(
                                  new.model, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'))
                          AND ((h.amount OPERATOR(quota.->) new.resource) > 0
                               OR new.resource = 'in_flight' AND h.model IS NOT NULL)) AS holds,
                       row_number() OVER (ORDER BY v."limit" + v.overdraft - v.used - v.held, v.scope) AS rank
                FROM quota._limit_uses(new.limit_id) AS v) AS u;
        RAISE EXCEPTION 'the preview is taken back' USING ERRCODE = 'XQ999';
    EXCEPTION
        WHEN SQLSTATE 'XQ999' THEN
            NULL;
    END;
    RETURN result;
END
$function$;
COMMENT ON FUNCTION quota.preview_limit(quota.scope, text, numeric, quota.period, text, numeric, numeric, boolean, text, boolean) IS
    'What set_limit() would do with these arguments: who would be over at once, what would remain, how many open holds count; changes nothing';
