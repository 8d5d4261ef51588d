-- Preview: what limits would do, before they are set -----------------------------------

CREATE FUNCTION quota._levels_of_limit(limit_id bigint)
RETURNS TABLE (root_id bigint, account_id bigint, account quota.scope, user_id text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: the levels that a limit is for: the account or share it was set for, the children
-- of a kind, the members, or the accounts on a plan. At some a nearer limit may apply.
SELECT a.root_id, a.account_id, a.scope, l.user_id
FROM quota.limits l
JOIN quota.accounts a ON a.root_id = l.root_id AND a.account_id = l.account_id
WHERE l.limit_id = _levels_of_limit.limit_id AND l.child_kind IS NULL
UNION ALL
SELECT a.root_id, a.account_id, a.scope, NULL
FROM quota.limits l
JOIN quota.accounts a ON a.root_id = l.root_id AND a.parent_id = l.account_id AND a.kind = l.child_kind
WHERE l.limit_id = _levels_of_limit.limit_id AND l.child_kind <> 'user'
UNION ALL
SELECT a.root_id, a.account_id, a.scope, m.user_id
FROM quota.limits l
JOIN quota.accounts a ON a.root_id = l.root_id AND a.account_id = l.account_id
CROSS JOIN LATERAL (SELECT DISTINCT n.user_id FROM quota.members n WHERE n.root_id = l.root_id) AS m
WHERE l.limit_id = _levels_of_limit.limit_id AND l.child_kind = 'user'
UNION ALL
SELECT a.root_id, COALESCE(b.account_id, a.account_id), COALESCE(b.scope, a.scope),
       CASE WHEN b.scope IS NOT NULL THEN a.name END
FROM quota.plan_limits p
JOIN quota.accounts a ON a.plan = p.plan
LEFT JOIN quota.accounts b ON a.kind = 'user' AND b.root_id = a.root_id AND b.account_id = a.parent_id
WHERE p.limit_id = _levels_of_limit.limit_id
$function$;
COMMENT ON FUNCTION quota._levels_of_limit(bigint) IS 'The levels that a limit is for';

CREATE FUNCTION quota._limit_uses(limit_id bigint, max_levels integer DEFAULT 1000)
RETURNS TABLE (root_id bigint, account_id bigint, scope quota.scope, user_id text, period_start timestamptz,
               period_end timestamptz, "limit" numeric, overdraft numeric, used numeric, held numeric)
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: the levels at which a limit counts now, with their counters. It looks at so many
-- levels at most, at all if null.
WITH levels AS (
    SELECT w.* FROM quota._levels_of_limit(_limit_uses.limit_id) AS w LIMIT max_levels
)
SELECT v.root_id, v.account_id, u.scope, u.share_of, u.period_start, u.period_end, u."limit", u.overdraft, u.used, u.held
FROM levels v
CROSS JOIN LATERAL quota._limit_levels(v.account, v.user_id) AS u
WHERE u.limit_id = _limit_uses.limit_id
$function$;
COMMENT ON FUNCTION quota._limit_uses(bigint, integer) IS
    'The levels at which a limit counts, with what is used and held there now';

CREATE FUNCTION quota._like_pattern(pattern text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: a pattern of models, as LIKE takes it.
SELECT replace(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')
$function$;
COMMENT ON FUNCTION quota._like_pattern(text) IS 'A pattern of models, as LIKE takes it';

CREATE FUNCTION quota._replay_limit(
    levels jsonb, resource text, model text, period quota.period, amount numeric, overdraft numeric,
    OUT refused bigint, OUT refused_seen bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $function$
-- Judges the requests of the last period by a limit that there was not: those that were
-- held in the period before the running one and have ended, or in the last 30 days if the
-- limit has no such periods; of the first 10000 events. They come in the order in which they
-- were held, each with what it held; those before count with what they were charged. A
-- charge or an adjustment only counts. Nothing is carried over. What is held while it runs
-- and never used, a concurrency, has left nothing to judge.
-- levels: [{"root_id","account_id","user_id","used"}...]
-- Returns: how many would not have fit at one of the levels, of how many.
DECLARE
    now constant timestamptz := quota.now();
    kind_of_period constant text := quota._limit_period_kind(period);
    running constant tstzrange := quota.period_range(period, now);
    first_at timestamptz := now - interval '30 days';
    last_at timestamptz := now + interval '1 microsecond';
    -- Of a rolling window or a refill, in microseconds: its length; of a window also the
    -- width of the buckets that the engine counts in, and how many of them it has.
    length numeric;
    width numeric;
    buckets numeric;
    -- One level after the other: its number; what counts at an instant; what can still roll
    -- out of the window, by bucket; the hold that was refused last.
    level bigint := 0;
    counted numeric;
    at numeric;
    counted_at numeric;
    in_bucket numeric[];
    in_amount numeric[];
    head integer;
    refused_hold uuid;
    seen_ids bigint[] := '{}';
    refused_ids bigint[] := '{}';
    event record;
BEGIN
    refused := 0;
    refused_seen := 0;
    IF EXISTS (SELECT FROM quota.resources r
               WHERE r.resource = _replay_limit.resource AND r.kind = 'concurrency') THEN
        RETURN;
    END IF;
    IF kind_of_period = 'calendar' THEN
        last_at := lower(running);
        first_at := lower(quota.period_range(period, last_at - interval '1 microsecond'));
    ELSIF kind_of_period <> 'lifetime' THEN
        length := 1000000 * extract(epoch FROM upper(running) - lower(running));
        width := CASE WHEN length >= 60 * 3600000000.0 THEN 3600000000 * div(length, 60 * 3600000000.0)
                      ELSE ceil(length / 60) END;
        buckets := ceil(length / width);
    END IF;

    FOR event IN
        WITH level (n, root_id, account_id, user_id, used) AS (
            SELECT v.n, (v.value ->> 'root_id')::bigint, (v.value ->> 'account_id')::bigint,
                   COALESCE(v.value ->> 'user_id', ''), (v.value ->> 'used')::numeric
            FROM jsonb_array_elements(levels) WITH ORDINALITY AS v (value, n)
        ), at_level AS (
            SELECT v.n, v.used, e.hold_id, e.seq, e.kind, e.held_at,
                   e.held OPERATOR(quota.->) _replay_limit.resource AS held,
                   e.charged OPERATOR(quota.->) _replay_limit.resource AS charged
            FROM quota.events e
            CROSS JOIN LATERAL unnest(e.levels) AS p (account_id)
            CROSS JOIN LATERAL (VALUES (''), (e.user_id)) AS s (user_id)
            JOIN level v ON v.root_id = e.root_id AND v.account_id = p.account_id AND v.user_id = s.user_id
            WHERE e.root_id IN (SELECT w.root_id FROM level w)
              AND e.held_at >= first_at AND e.held_at < last_at
              AND (_replay_limit.model = '*' OR e.model LIKE quota._like_pattern(_replay_limit.model))
              AND ((e.held OPERATOR(quota.->) _replay_limit.resource) <> 0
                   OR (e.charged OPERATOR(quota.->) _replay_limit.resource) <> 0)
        ), first AS (
            SELECT d.hold_id, d.seq, row_number() OVER (ORDER BY d.held_at, d.hold_id, d.seq) AS id
            FROM (SELECT DISTINCT a.held_at, a.hold_id, a.seq
                  FROM at_level a ORDER BY a.held_at, a.hold_id, a.seq LIMIT 10000) AS d
        ), total (n, used) AS (
            SELECT a.n, sum(a.charged) FROM at_level a WHERE kind_of_period = 'lifetime' GROUP BY a.n
        )
        SELECT a.n, a.hold_id, a.held_at, a.held, a.charged, f.id, COALESCE(a.used - t.used, 0) AS used_before,
               a.held > 0 AND a.kind IN ('settled', 'released', 'expired') AS is_request
        FROM first f
        JOIN at_level a ON a.hold_id = f.hold_id AND a.seq = f.seq
        LEFT JOIN total t ON t.n = a.n
        ORDER BY a.n, f.id
    LOOP
        at := 1000000 * extract(epoch FROM event.held_at - '2000-01-01 00:00+00'::timestamptz);
        IF event.n <> level THEN
            level := event.n;
            counted := event.used_before;
            counted_at := at;
            in_bucket := '{}';
            in_amount := '{}';
            head := 1;
            refused_hold := NULL;
        END IF;
        IF kind_of_period = 'rolling' THEN
            WHILE head <= cardinality(in_bucket) AND in_bucket[head] + buckets < div(at, width) LOOP
                counted := counted - in_amount[head];
                head := head + 1;
            END LOOP;
        ELSIF kind_of_period = 'refill' THEN
            counted := GREATEST(0, counted - amount * (at - counted_at) / length);
            counted_at := at;
        END IF;
        IF event.is_request THEN
            seen_ids := seen_ids || event.id;
        END IF;
        -- What follows from a hold goes with it.
        CONTINUE WHEN event.hold_id = refused_hold;
        IF event.is_request AND counted + event.held > amount + overdraft THEN
            refused_hold := event.hold_id;
            refused_ids := refused_ids || event.id;
            CONTINUE;
        END IF;
        counted := counted + event.charged;
        IF kind_of_period = 'rolling' THEN
            in_bucket := in_bucket || div(at, width);
            in_amount := in_amount || event.charged;
        END IF;
    END LOOP;
    SELECT count(DISTINCT i) INTO refused FROM unnest(refused_ids) AS i;
    SELECT count(DISTINCT i) INTO refused_seen FROM unnest(seen_ids) AS i;
END
$function$;
COMMENT ON FUNCTION quota._replay_limit(jsonb, text, text, quota.period, numeric, numeric) IS
    'How many requests of the last period would not have fit, had a limit been so';

CREATE FUNCTION quota._preview_levels(
    limit_id bigint, resource text, model text, period quota.period, amount numeric, overdraft numeric)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: what a limit, as it has just been written, does at the levels where it counts:
-- {"over","levels_seen","holds","levels":[...],"refused","refused_seen"}. It looks at 1000
-- levels and lists 100, those nearest to the limit first.
DECLARE
    result jsonb;
    looked_at jsonb;
BEGIN
    SELECT jsonb_build_object(
               'over', count(*) FILTER (WHERE u.over),
               'levels_seen', count(*),
               'holds', COALESCE(sum(u.holds), 0),
               'levels', COALESCE(jsonb_agg(jsonb_build_object('scope', u.scope, 'limit', u."limit", 'used', u.used,
                                                              'held', u.held, 'remaining', u.remaining,
                                                              'over', u.over, 'holds', u.holds) ORDER BY u.rank)
                                  FILTER (WHERE u.rank <= 100), '[]')),
           COALESCE(jsonb_agg(jsonb_build_object('root_id', u.root_id, 'account_id', u.account_id,
                                                 'user_id', u.user_id, 'used', u.used)), '[]')
        INTO result, looked_at
        FROM (
            SELECT v.root_id, v.account_id, v.user_id, v.scope::text AS scope,
                   trim_scale(v."limit")::text AS "limit",
                   trim_scale(v.used)::text AS used, trim_scale(v.held)::text AS held,
                   trim_scale(v."limit" - v.used - v.held)::text AS remaining,
                   v.used + v.held > v."limit" + v.overdraft AS over,
                   (SELECT count(*) FROM quota.holds h
                    WHERE h.root_id = v.root_id AND v.account_id = ANY (h.levels)
                      AND (v.user_id IS NULL OR h.user_id = v.user_id)
                      AND h.held_at >= v.period_start AND h.held_at < v.period_end
                      AND (_preview_levels.model = '*' OR h.model LIKE quota._like_pattern(_preview_levels.model))
                      AND ((h.amount OPERATOR(quota.->) _preview_levels.resource) > 0
                           OR _preview_levels.resource = 'in_flight' AND h.model IS NOT NULL)) AS holds,
                   row_number() OVER (ORDER BY v."limit" + v.overdraft - v.used - v.held, v.scope) AS rank
            FROM quota._limit_uses(_preview_levels.limit_id) AS v) AS u;
    RETURN result || (SELECT to_jsonb(r) FROM quota._replay_limit(looked_at, resource, model, period, amount,
                                                                  overdraft) AS r);
END
$function$;
COMMENT ON FUNCTION quota._preview_levels(bigint, text, text, quota.period, numeric, numeric) IS
    'What a limit, as it has just been written, does at the levels where it counts';

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
    prorate boolean DEFAULT false,
    rollover_periods integer DEFAULT 1)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Says what quota.set_limit() would do with these arguments, forced, by doing it and taking
-- it back: so it is judged by the same rules and numbers. It looks at 1000 levels and lists
-- 100, those nearest to the limit first, and judges the requests of the last period.
-- Returns: {"change","over","levels_seen","holds","levels":[...],"refused","refused_seen"}.
-- Errors: those of quota.set_limit() but XQ302; 25006 in a read-only transaction.
DECLARE
    old quota.limits;
    new quota.limits;
    id bigint;
    result jsonb;
BEGIN
    BEGIN
        period := quota._check_limit(resource, amount, period, policy, overdraft, rollover, carry_overage, model,
                                     rollover_periods);
        SELECT l.* INTO old
            FROM quota.limits l
            WHERE l.scope OPERATOR(quota.=) account
              AND l.resource = preview_limit.resource
              AND l.model = preview_limit.model
              AND l.period OPERATOR(quota.=) preview_limit.period;
        id := quota.set_limit(account, resource, amount, period, policy, overdraft, rollover, carry_overage,
                              model, prorate, rollover_periods, force => true);
        SELECT l.* INTO STRICT new FROM quota.limits l WHERE l.limit_id = id;
        result := jsonb_build_object(
                      'change', CASE WHEN old.limit_id IS NULL THEN 'create'
                                     WHEN to_jsonb(old) = to_jsonb(new) THEN 'none' ELSE 'change' END)
                  || quota._preview_levels(id, resource, model, period, amount, overdraft);
        RAISE EXCEPTION 'the preview is taken back' USING ERRCODE = 'XQ999';
    EXCEPTION
        WHEN SQLSTATE 'XQ999' THEN
            NULL;
    END;
    RETURN result;
END
$function$;
COMMENT ON FUNCTION quota.preview_limit(quota.scope, text, numeric, quota.period, text, numeric, numeric, boolean, text, boolean, integer) IS
    'What set_limit() would do with these arguments: who would be over at once, what would remain, how many open holds count, how many requests of the last period would not have fit; changes nothing';

CREATE FUNCTION quota.preview_plan(plan text, limits jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Says what quota.put_plan() would do with these arguments, forced, by doing it and taking
-- it back.
-- Returns: {"limits":[{"resource","model","period", and as of quota.preview_limit()}...],
--   "dropped":[{"resource","model","period","limit_id"}...]}.
-- Errors: those of quota.put_plan() but XQ302; 25006 in a read-only transaction.
DECLARE
    old jsonb;
    result jsonb;
BEGIN
    BEGIN
        SELECT COALESCE(jsonb_object_agg(p.limit_id, to_jsonb(p)), '{}') INTO old
            FROM quota.plan_limits p WHERE p.plan = preview_plan.plan;
        PERFORM quota.put_plan(plan, limits, force => true);
        SELECT jsonb_build_object(
                   'limits', COALESCE(jsonb_agg(
                       jsonb_build_object(
                           'resource', p.resource, 'model', p.model, 'period', p.period::text,
                           'change', CASE WHEN old -> p.limit_id::text IS NULL THEN 'create'
                                          WHEN old -> p.limit_id::text = to_jsonb(p) THEN 'none' ELSE 'change' END)
                       || quota._preview_levels(p.limit_id, p.resource, p.model, p.period, p.amount, p.overdraft)
                       ORDER BY p.resource, p.model, p.period USING OPERATOR(quota.<)), '[]'),
                   'dropped', (SELECT COALESCE(jsonb_agg(jsonb_build_object(
                                          'resource', o.value ->> 'resource', 'model', o.value ->> 'model',
                                          'period', o.value ->> 'period', 'limit_id', o.value -> 'limit_id')
                                          ORDER BY o.key::bigint), '[]')
                               FROM jsonb_each(old) AS o
                               WHERE NOT EXISTS (SELECT FROM quota.plan_limits q WHERE q.limit_id = o.key::bigint)))
            INTO result
            FROM quota.plan_limits p WHERE p.plan = preview_plan.plan;
        RAISE EXCEPTION 'the preview is taken back' USING ERRCODE = 'XQ999';
    EXCEPTION
        WHEN SQLSTATE 'XQ999' THEN
            NULL;
    END;
    RETURN result;
END
$function$;
COMMENT ON FUNCTION quota.preview_plan(text, jsonb) IS
    'What put_plan() would do with these arguments, limit by limit as preview_limit() says it, and which limits it would drop; changes nothing';
