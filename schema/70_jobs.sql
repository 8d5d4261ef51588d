-- Jobs: what keeps the tables small and tidy ---------------------------------------
--
-- No answer waits for a job. Every step is idempotent and may run late, twice or
-- concurrently; each is a transaction of its own, so that a failure undoes little.

CREATE TABLE quota.jobs (
    job         text PRIMARY KEY,
    schedule    text NOT NULL,
    max_lag     interval NOT NULL,
    description text NOT NULL
);
COMMENT ON TABLE quota.jobs IS 'What upkeep does, how often, and how late it may be';

INSERT INTO quota.jobs (job, schedule, max_lag, description) VALUES
    ('expire',     '* * * * *',  '5 minutes', 'Closes holds that are past their time'),
    ('fold',       '* * * * *',  '5 minutes', 'Rolls events up per hour'),
    ('partitions', '17 * * * *', '3 hours',   'Creates the partitions of the coming months'),
    ('periods',    '7 * * * *',  '3 hours',   'Records the periods of limits that are over'),
    ('purge',      '37 * * * *', '3 hours',   'Forgets keys, job runs and weeks of expectations past their retention');

CREATE TABLE quota.job_runs (
    run_id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job         text NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    rows        bigint,
    error       text
);
CREATE INDEX job_runs_job_idx ON quota.job_runs (job, started_at);
COMMENT ON TABLE quota.job_runs IS 'When jobs ran, and how it went';

-- Expire ----------------------------------------------------------------------

CREATE FUNCTION quota._expire_holds(root_id bigint, root quota.scope, max_holds integer)
    RETURNS integer
    AS 'MODULE_PATHNAME', 'quota_expire_holds'
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota._expire_holds(bigint, quota.scope, integer) IS
    'Closes holds of one root that are past their time, at most so many; returns how many';

-- Fold ------------------------------------------------------------------------

CREATE FUNCTION quota._begin_own_write() RETURNS void
    AS 'MODULE_PATHNAME', 'quota_begin_own_write'
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION quota._begin_own_write() IS
    'Says that what is written to the ledger from now on changes no counter';

CREATE FUNCTION quota._end_own_write() RETURNS void
    AS 'MODULE_PATHNAME', 'quota_end_own_write'
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION quota._end_own_write() IS
    'Ends what quota._begin_own_write() began';

CREATE FUNCTION quota._system_identifier() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
SELECT c.system_identifier FROM pg_catalog.pg_control_system() c
$function$;
COMMENT ON FUNCTION quota._system_identifier() IS 'The cluster that events written here come from';

CREATE FUNCTION quota._hourly_usage(
    root_id bigint, origin bigint, from_xid xid8, until_xid xid8, since timestamptz)
    RETURNS TABLE (
        account_id bigint, resource text, hour timestamptz, user_id text, model text, leaf boolean,
        used numeric, events bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $function$
-- What the events of one root and origin add up to, as usage_hourly has it.
SELECT l.account_id, c.resource,
       pg_catalog.date_bin('1 hour', e.held_at, '2000-01-01 00:00:00+00'),
       coalesce(e.user_id, ''), coalesce(e.model, ''),
       l.position OPERATOR(pg_catalog.=) pg_catalog.cardinality(e.levels),
       pg_catalog.sum(c.value), pg_catalog.count(*)
FROM quota.events e
CROSS JOIN LATERAL pg_catalog.unnest(e.levels) WITH ORDINALITY l (account_id, position)
CROSS JOIN LATERAL quota.entries(e.charged) c
WHERE e.root_id OPERATOR(pg_catalog.=) _hourly_usage.root_id
  AND e.origin OPERATOR(pg_catalog.=) _hourly_usage.origin
  AND e.xid OPERATOR(pg_catalog.>=) from_xid AND e.xid OPERATOR(pg_catalog.<) until_xid
  AND e.held_at OPERATOR(pg_catalog.>=) since
GROUP BY 1, 2, 3, 4, 5, 6
$function$;
COMMENT ON FUNCTION quota._hourly_usage(bigint, bigint, xid8, xid8, timestamptz) IS
    'What the events of one root and origin add up to per hour, level, user, model and resource';

CREATE FUNCTION quota._succeeded_usage(
    root_id bigint, origin bigint, from_xid xid8, until_xid xid8, since date)
    RETURNS TABLE (
        model text, week date, card_id bigint, usage jsonb, input_bytes bigint,
        ceiling numeric, expected numeric, charged numeric)
LANGUAGE sql STABLE PARALLEL UNSAFE
AS $function$
-- The events of one root and origin that tell what to expect: usage that was priced, of
-- generations that succeeded. Those that were settled in time also tell how much of their
-- hold they took.
SELECT r.model, w.week, e.card_id, e.usage, e.input_bytes, h.ceiling, coalesce(h.expected, h.ceiling),
       e.charged OPERATOR(quota.->) 'credit'
FROM quota.events e
JOIN quota.rate_cards r ON r.card_id OPERATOR(pg_catalog.=) e.card_id
CROSS JOIN LATERAL (
    SELECT pg_catalog.date_trunc('week', e.held_at AT TIME ZONE 'UTC')::pg_catalog.date) w (week)
LEFT JOIN LATERAL (
    SELECT e.held OPERATOR(quota.->) 'credit', e.expected
    WHERE e.kind OPERATOR(pg_catalog.=) 'settled') h (ceiling, expected) ON true
WHERE e.root_id OPERATOR(pg_catalog.=) _succeeded_usage.root_id
  AND e.origin OPERATOR(pg_catalog.=) _succeeded_usage.origin
  AND e.xid OPERATOR(pg_catalog.>=) from_xid AND e.xid OPERATOR(pg_catalog.<) until_xid
  AND e.usage IS NOT NULL
  AND coalesce(e.outcome, 'succeeded') OPERATOR(pg_catalog.=) 'succeeded'
  AND w.week OPERATOR(pg_catalog.>=) since
$function$;
COMMENT ON FUNCTION quota._succeeded_usage(bigint, bigint, xid8, xid8, date) IS
    'The events of one root and origin that tell what to expect, from the week of a Monday on';

CREATE FUNCTION quota._learned_usage(
    root_id bigint, origin bigint, from_xid xid8, until_xid xid8, since date)
    RETURNS TABLE (model text, quantity text, week date, bucket smallint, events bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE
AS $function$
-- What the events of one root and origin add up to, as usage_histogram has it.
SELECT o.model, o.quantity, s.week, o.bucket, pg_catalog.count(*)
FROM quota._succeeded_usage(root_id, origin, from_xid, until_xid, since) s
CROSS JOIN LATERAL quota._observations(s.card_id, s.usage, s.input_bytes, s.ceiling, s.expected, s.charged) o
GROUP BY 1, 2, 3, 4
$function$;
COMMENT ON FUNCTION quota._learned_usage(bigint, bigint, xid8, xid8, date) IS
    'What generations of one root and origin have used, per model, quantity, week and bucket';

CREATE FUNCTION quota._weekly_estimates(
    root_id bigint, origin bigint, from_xid xid8, until_xid xid8, since date)
    RETURNS TABLE (model text, week date, events bigint, ceiling numeric, expected numeric, charged numeric)
LANGUAGE sql STABLE PARALLEL UNSAFE
AS $function$
-- What the events of one root and origin add up to, as estimates_weekly has it.
SELECT s.model, s.week, pg_catalog.count(*), pg_catalog.sum(s.ceiling), pg_catalog.sum(s.expected),
       pg_catalog.sum(s.charged)
FROM quota._succeeded_usage(root_id, origin, from_xid, until_xid, since) s
WHERE s.ceiling IS NOT NULL
GROUP BY 1, 2
$function$;
COMMENT ON FUNCTION quota._weekly_estimates(bigint, bigint, xid8, xid8, date) IS
    'What generations of one root and origin were estimated at and took, per model and week';

CREATE FUNCTION quota._fold_root(root_id bigint, origin bigint, whole boolean DEFAULT false)
    RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $function$
-- Rolls up the events of one root and origin that are not rolled up yet and whose
-- transactions have ended for every snapshot: their xid is below the xmin of the
-- snapshot that reads them. The mark moves in the same statement and snapshot.
-- whole: all of them, for an origin from which no more can come; see quota.adopt().
-- Returns: how many events it folded.
-- Tables written: usage_hourly, fold_marks.
#variable_conflict use_column
DECLARE
    old_mark xid8;
    folded bigint;
BEGIN
    PERFORM 1 FROM quota.events e
    WHERE e.root_id = _fold_root.root_id AND e.origin = _fold_root.origin
      AND e.xid >= coalesce((SELECT m.mark FROM quota.fold_marks m
                             WHERE m.root_id = _fold_root.root_id AND m.origin = _fold_root.origin), '0'::xid8)
      AND (whole OR e.xid < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))
    LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;

    PERFORM quota._begin_own_write();
    INSERT INTO quota.fold_marks AS m (root_id, origin, mark)
    VALUES (_fold_root.root_id, _fold_root.origin, '0')
    ON CONFLICT DO NOTHING;
    -- Two folds of one root come one after the other.
    SELECT m.mark INTO old_mark FROM quota.fold_marks m
    WHERE m.root_id = _fold_root.root_id AND m.origin = _fold_root.origin
    FOR UPDATE;

    WITH horizon (xid) AS MATERIALIZED (
        SELECT CASE WHEN whole THEN '18446744073709551615'::xid8
                    ELSE pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) END
    ), written AS (
        INSERT INTO quota.usage_hourly AS u
            (root_id, account_id, resource, hour, user_id, model, leaf, used, events)
        SELECT _fold_root.root_id, s.account_id, s.resource, s.hour, s.user_id, s.model, s.leaf,
               s.used, s.events
        FROM horizon h,
             quota._hourly_usage(_fold_root.root_id, _fold_root.origin, old_mark, h.xid, '-infinity') s
        ON CONFLICT (root_id, account_id, resource, hour, user_id, model, leaf)
        DO UPDATE SET used = u.used + excluded.used, events = u.events + excluded.events
    ), learned AS (
        INSERT INTO quota.usage_histogram AS u (root_id, model, quantity, week, bucket, events)
        SELECT _fold_root.root_id, s.model, s.quantity, s.week, s.bucket, s.events
        FROM horizon h,
             quota._learned_usage(_fold_root.root_id, _fold_root.origin, old_mark, h.xid, '-infinity') s
        ON CONFLICT (root_id, model, quantity, week, bucket)
        DO UPDATE SET events = u.events + excluded.events
    ), compared AS (
        INSERT INTO quota.estimates_weekly AS w (root_id, model, week, events, ceiling, expected, charged)
        SELECT _fold_root.root_id, s.model, s.week, s.events, s.ceiling, s.expected, s.charged
        FROM horizon h,
             quota._weekly_estimates(_fold_root.root_id, _fold_root.origin, old_mark, h.xid, '-infinity') s
        ON CONFLICT (root_id, model, week)
        DO UPDATE SET events = w.events + excluded.events, ceiling = w.ceiling + excluded.ceiling,
                      expected = w.expected + excluded.expected, charged = w.charged + excluded.charged
    ), moved AS (
        UPDATE quota.fold_marks m SET mark = h.xid
        FROM horizon h
        WHERE m.root_id = _fold_root.root_id AND m.origin = _fold_root.origin AND m.mark < h.xid
    )
    SELECT pg_catalog.count(*) INTO folded
    FROM quota.events e, horizon h
    WHERE e.root_id = _fold_root.root_id AND e.origin = _fold_root.origin
      AND e.xid >= old_mark AND e.xid < h.xid;
    PERFORM quota._end_own_write();
    RETURN folded;
END
$function$;
COMMENT ON FUNCTION quota._fold_root(bigint, bigint, boolean) IS
    'Rolls up the finished events of one root and origin; returns how many';

CREATE FUNCTION quota.adopt(account quota.scope DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $function$
-- After a restore, or when a replication source is gone for good: rolls up events that
-- come from other clusters, of the root of an account or of all. Until then they count
-- as they are.
-- Returns: how many events it folded.
DECLARE
    own bigint := quota._system_identifier();
    root record;
    foreign_origin bigint;
    folded bigint := 0;
BEGIN
    FOR root IN
        SELECT a.root_id FROM quota.accounts a
        WHERE a.parent_id IS NULL
          AND (adopt.account IS NULL OR a.scope OPERATOR(quota.=) quota.root(adopt.account))
        ORDER BY a.root_id
    LOOP
        FOR foreign_origin IN
            SELECT DISTINCT e.origin FROM quota.events e
            WHERE e.root_id = root.root_id AND e.origin <> own
        LOOP
            folded := folded + quota._fold_root(root.root_id, foreign_origin, true);
        END LOOP;
    END LOOP;
    RETURN folded;
END
$function$;
COMMENT ON FUNCTION quota.adopt(quota.scope) IS
    'Rolls up events that come from other clusters, once no more can come from there: after a restore';

-- Closed periods --------------------------------------------------------------

CREATE FUNCTION quota._level_limits(root_id bigint)
    RETURNS TABLE (
        account_id bigint, account quota.scope, user_id text, limit_id bigint, resource text,
        model text, period quota.period, since timestamptz)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $function$
-- The calendar limits of an hour or longer that apply at each level under a root, the nearest definition of each,
-- and since when they can: since the limit was made, and the account that a default or a
-- plan gives it to.
WITH levels AS (
    SELECT v.account_id, v.account, v.user_id, a.parent_id, a.kind,
           CASE WHEN v.user_id IS NULL THEN a.created_at ELSE s.created_at END AS created_at,
           CASE WHEN v.user_id IS NULL THEN a.plan ELSE s.plan END AS plan,
           CASE WHEN v.user_id IS NULL THEN a.plan_since ELSE s.plan_since END AS plan_since,
           CASE WHEN v.user_id IS NULL THEN a.account_id ELSE s.account_id END AS plan_account_id
    FROM quota._levels(_level_limits.root_id) v
    JOIN quota.accounts a ON a.root_id = v.root_id AND a.account_id = v.account_id
    LEFT JOIN quota.accounts s ON s.root_id = v.root_id AND s.parent_id = v.account_id
                              AND s.kind = 'user' AND s.name = v.user_id
), candidates AS (
    SELECT v.account_id, v.account, v.user_id, 1 AS rank, l.limit_id, l.resource, l.model, l.period,
           l.root_id, l.created_at, NULL::timestamptz AS applies_at
    FROM levels v
    JOIN quota.limits l ON l.root_id = _level_limits.root_id AND l.account_id = v.account_id
                       AND l.child_kind IS NULL AND l.user_id IS NOT DISTINCT FROM v.user_id
    UNION ALL
    SELECT v.account_id, v.account, v.user_id, 2, l.limit_id, l.resource, l.model, l.period,
           l.root_id, l.created_at, v.created_at
    FROM levels v
    JOIN quota.limits l ON l.root_id = _level_limits.root_id
                       AND l.account_id = CASE WHEN v.user_id IS NULL THEN v.parent_id ELSE v.account_id END
                       AND l.child_kind = CASE WHEN v.user_id IS NULL THEN v.kind ELSE 'user' END
    UNION ALL
    SELECT v.account_id, v.account, v.user_id, 3, p.limit_id, p.resource, p.model, p.period,
           0, n.created_at,
           LEAST(v.plan_since,
                 (SELECT min(o.since) FROM quota.past_plans o
                  WHERE o.root_id = _level_limits.root_id AND o.account_id = v.plan_account_id AND o.plan = v.plan))
    FROM levels v
    JOIN quota.plan_limits p ON p.plan = v.plan
    JOIN quota.plans n ON n.plan = p.plan
), nearest AS (
    SELECT DISTINCT ON (c.account_id, c.user_id, c.resource, c.model, c.period) c.*
    FROM candidates c
    WHERE quota._limit_period_kind(c.period) = 'calendar'
      -- Shorter ones limit how fast something goes: there would be more rows of them than of events.
      AND (SELECT upper(r) - lower(r) >= interval '1 hour' FROM quota.period_range(c.period, quota.now()) AS r)
    ORDER BY c.account_id, c.user_id, c.resource, c.model, c.period USING OPERATOR(quota.<), c.rank
)
SELECT c.account_id, c.account, c.user_id, c.limit_id, c.resource, c.model, c.period,
       -- An instant that this transaction has not set yet is now.
       LEAST(GREATEST(COALESCE((SELECT min(t.set_at) FROM quota.limit_terms t
                                WHERE t.root_id = c.root_id AND t.limit_id = c.limit_id), c.created_at), c.applies_at),
             quota.now())
FROM nearest c
$function$;
COMMENT ON FUNCTION quota._level_limits(bigint) IS
    'The calendar limits that apply at each level under a root, and since when';

CREATE FUNCTION quota._lock_periods(root_id bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Who records periods of a root does so alone until the transaction ends: the job, and
-- administrators in whatever order they change limits, would wait for each other's rows.
-- Returns: whether the job has been there.
BEGIN
    PERFORM FROM quota.period_marks m
        WHERE m.root_id = _lock_periods.root_id
        ORDER BY m.origin FOR NO KEY UPDATE;
    RETURN FOUND;
END
$function$;
COMMENT ON FUNCTION quota._lock_periods(bigint) IS
    'Takes turns in recording periods of a root; returns whether the job has been there';

CREATE FUNCTION quota._record_periods(root_id bigint, max_periods integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $function$
-- Records the periods of a root's limits that are over and were not recorded, level by level
-- in the order of time, up to the first that has an open hold: so the last one that is
-- recorded says where to go on. Records those anew of which late charges have changed the
-- numbers: where to look for them is told by the events since the mark of the last time.
-- Returns: how many it has recorded; fewer than max_periods if these were all.
-- Tables written: periods, period_marks.
DECLARE
    now timestamptz := quota.now();
    own bigint := quota._system_identifier();
    horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
    last_end timestamptz;
    old_mark xid8;
    recorded bigint;
BEGIN
    PERFORM quota._lock_periods(root_id);
    -- Without a mark nothing was recorded here; what a restore has brought is as it was.
    SELECT m.mark INTO old_mark
        FROM quota.period_marks m
        WHERE m.root_id = _record_periods.root_id AND m.origin = own;
    SELECT max(p.period_end) INTO last_end FROM quota.periods p WHERE p.root_id = _record_periods.root_id;

    WITH touched AS MATERIALIZED (
        SELECT l.account_id, s.user_id, min(e.held_at) AS held_at
        FROM quota.events e
        CROSS JOIN LATERAL unnest(e.levels) AS l (account_id)
        CROSS JOIN LATERAL (VALUES (''), (e.user_id)) AS s (user_id)
        WHERE e.root_id = _record_periods.root_id AND e.origin = own
          AND e.xid >= COALESCE(old_mark, '0') AND e.held_at < last_end
        GROUP BY l.account_id, s.user_id
    ), due AS MATERIALIZED (
        SELECT d.*, lower(quota.period_range(d.period, LEAST(d.next_start, d.held_at))) AS from_start
        FROM (SELECT c.account_id, c.account, c.user_id, c.limit_id, c.resource, c.model, c.period,
                     COALESCE(p.period_end, lower(quota.period_range(c.period, c.since))) AS next_start,
                     CASE WHEN t.held_at < p.period_end THEN t.held_at END AS held_at
              FROM quota._level_limits(_record_periods.root_id) c
              LEFT JOIN LATERAL (
                  SELECT r.period_end FROM quota.periods r
                  WHERE r.root_id = _record_periods.root_id AND r.account_id = c.account_id
                    AND r.user_id = COALESCE(c.user_id, '') AND r.limit_id = c.limit_id
                  ORDER BY r.period_start DESC LIMIT 1) p ON true
              LEFT JOIN touched t ON t.account_id = c.account_id AND t.user_id = COALESCE(c.user_id, '')) d
        WHERE upper(quota.period_range(d.period, d.next_start)) <= now OR d.held_at IS NOT NULL
        ORDER BY d.account_id, d.user_id, d.limit_id
    )
    -- Not sorted: so that no more is computed than is recorded.
    INSERT INTO quota.periods AS p
            (root_id, account_id, user_id, limit_id, period_start, period_end, resource, model,
             "limit", granted, used, overage, rolled_over, recorded_at)
        SELECT _record_periods.root_id, d.account_id, COALESCE(d.user_id, ''), d.limit_id, c.period_start,
               c.period_end, d.resource, d.model, c."limit", c.granted, c.used, c.overage, c.rolled_over, now
        FROM due d
        CROSS JOIN LATERAL (
            SELECT e.*, bool_or(e.held <> 0) OVER (ORDER BY e.period_start) AS has_holds
            FROM quota._closed_periods(d.account, d.user_id, d.from_start) e
            WHERE e.limit_id = d.limit_id AND e.period_start >= d.from_start AND e.period_end <= now
            ORDER BY e.period_start) c
        LEFT JOIN LATERAL (
            SELECT true AS found, q."limit", q.granted, q.used, q.overage, q.rolled_over
            FROM quota.periods q
            WHERE q.root_id = _record_periods.root_id AND q.account_id = d.account_id
              AND q.user_id = COALESCE(d.user_id, '') AND q.limit_id = d.limit_id
              AND q.period_start = c.period_start) r ON true
        WHERE NOT c.has_holds
          AND (c.period_start >= d.next_start OR r.found)
          AND (r."limit", r.granted, r.used, r.overage, r.rolled_over)
                  IS DISTINCT FROM (c."limit", c.granted, c.used, c.overage, c.rolled_over)
        LIMIT max_periods
        ON CONFLICT ON CONSTRAINT periods_pkey DO UPDATE
            SET "limit" = EXCLUDED."limit", granted = EXCLUDED.granted, used = EXCLUDED.used,
                overage = EXCLUDED.overage, rolled_over = EXCLUDED.rolled_over,
                late = p.late + EXCLUDED.used - p.used, recorded_at = EXCLUDED.recorded_at;
    GET DIAGNOSTICS recorded = ROW_COUNT;
    IF recorded < max_periods THEN
        INSERT INTO quota.period_marks AS m (root_id, origin, mark)
            SELECT a.root_id, own, horizon FROM quota.accounts a
            WHERE a.root_id = _record_periods.root_id AND a.account_id = _record_periods.root_id
            ON CONFLICT ON CONSTRAINT period_marks_pkey DO UPDATE
                SET mark = EXCLUDED.mark WHERE m.mark < EXCLUDED.mark;
    END IF;
    RETURN recorded;
END
$function$;
COMMENT ON FUNCTION quota._record_periods(bigint, integer) IS
    'Records periods of one root that are over, at most so many; returns how many';

CREATE FUNCTION quota._record_last_periods(account quota.scope, user_id text, limits bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $function$
-- Records the periods of limits that are over at one level, before they cease to apply there and
-- with them what these were: without those from the first on that has an open hold.
-- Tables written: periods.
DECLARE
    now timestamptz := quota.now();
BEGIN
    -- Where the job has not been nothing is recorded, and all the past would be due.
    IF NOT quota._lock_periods((SELECT a.root_id FROM quota.accounts a WHERE a.scope OPERATOR(quota.=) account)) THEN
        RETURN;
    END IF;
    WITH due AS MATERIALIZED (
        SELECT a.root_id, a.account_id, l.limit_id, l.resource, l.model, last.period_end
        FROM quota.accounts a
        CROSS JOIN LATERAL (
            SELECT s.limit_id, s.resource, s.model, s.period, s.root_id, s.created_at FROM quota.limits s
            WHERE s.root_id = a.root_id AND s.limit_id = ANY (limits)
            UNION ALL
            SELECT p.limit_id, p.resource, p.model, p.period, 0, NULL FROM quota.plan_limits p
            WHERE p.limit_id = ANY (limits)) l
        LEFT JOIN LATERAL (
            SELECT r.period_end FROM quota.periods r
            WHERE r.root_id = a.root_id AND r.account_id = a.account_id
              AND r.user_id = COALESCE(_record_last_periods.user_id, '') AND r.limit_id = l.limit_id
            ORDER BY r.period_start DESC LIMIT 1) last ON true
        WHERE a.scope OPERATOR(quota.=) account
          AND quota._limit_period_kind(l.period) = 'calendar'
          AND upper(quota.period_range(l.period, LEAST(COALESCE(
                  last.period_end,
                  (SELECT min(t.set_at) FROM quota.limit_terms t
                   WHERE t.root_id = l.root_id AND t.limit_id = l.limit_id),
                  l.created_at, now), now))) <= now
    )
    INSERT INTO quota.periods AS p
            (root_id, account_id, user_id, limit_id, period_start, period_end, resource, model,
             "limit", granted, used, overage, rolled_over, recorded_at)
        SELECT d.root_id, d.account_id, COALESCE(_record_last_periods.user_id, ''), d.limit_id, c.period_start,
               c.period_end, d.resource, d.model, c."limit", c.granted, c.used, c.overage, c.rolled_over, now
        FROM due d
        JOIN (SELECT e.*, bool_or(e.held <> 0) OVER (PARTITION BY e.limit_id ORDER BY e.period_start) AS has_holds
              FROM (SELECT min(COALESCE(u.period_end, '-infinity')) AS since FROM due u HAVING count(*) > 0) f
              CROSS JOIN LATERAL quota._closed_periods(account, _record_last_periods.user_id, f.since) e) c
            ON c.limit_id = d.limit_id
        WHERE NOT c.has_holds AND c.period_end - c.period_start >= interval '1 hour'
          AND (d.period_end IS NULL OR c.period_start >= d.period_end)
        -- As the job does, so that they wait for each other.
        ORDER BY d.limit_id, c.period_start
        ON CONFLICT ON CONSTRAINT periods_pkey DO NOTHING;
END
$function$;
COMMENT ON FUNCTION quota._record_last_periods(quota.scope, text, bigint[]) IS
    'Records the periods of limits that are over at one level, before they cease to apply there';

CREATE FUNCTION quota._record_last_periods_of(limits bigint[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Does that at all levels that the limits are for, in the order in which the job goes.
SELECT quota._record_last_periods(v.account, v.user_id, limits)
FROM (SELECT DISTINCT w.root_id, w.account_id, w.account, w.user_id
      FROM unnest(limits) AS l (limit_id)
      CROSS JOIN LATERAL quota._levels_of_limit(l.limit_id) AS w
      ORDER BY w.root_id, w.account_id, w.user_id, w.account) AS v
$function$;
COMMENT ON FUNCTION quota._record_last_periods_of(bigint[]) IS
    'Records the periods of limits that are over, before they cease to apply anywhere';

CREATE FUNCTION quota._record_replaced_periods(
    root_id bigint, account_id bigint, user_id text, child_kind text,
    resource text, model text, period quota.period) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Does that for the limits that a new one, set for an account, a share (user_id) or all children
-- of a kind, stands before: at its own level the default, or else what the plan has; at those of
-- the children what their plans have.
WITH levels AS (
    SELECT a.scope AS account, NULL AS user_id, a.parent_id AS default_of, a.kind AS default_kind, a.plan
    FROM quota.accounts a
    WHERE a.root_id = _record_replaced_periods.root_id AND a.account_id = _record_replaced_periods.account_id
      AND _record_replaced_periods.user_id IS NULL AND child_kind IS NULL
    UNION ALL
    SELECT a.scope, _record_replaced_periods.user_id, a.account_id, 'user', s.plan
    FROM quota.accounts a
    LEFT JOIN quota.accounts s ON s.root_id = a.root_id AND s.parent_id = a.account_id AND s.kind = 'user'
                              AND s.name = _record_replaced_periods.user_id
    WHERE a.root_id = _record_replaced_periods.root_id AND a.account_id = _record_replaced_periods.account_id
      AND _record_replaced_periods.user_id IS NOT NULL
    UNION ALL
    SELECT CASE WHEN child_kind = 'user' THEN a.scope ELSE c.scope END, CASE WHEN child_kind = 'user' THEN c.name END,
           NULL, NULL, c.plan
    FROM quota.accounts a
    JOIN quota.accounts c ON c.root_id = a.root_id AND c.parent_id = a.account_id AND c.kind = child_kind
    WHERE a.root_id = _record_replaced_periods.root_id AND a.account_id = _record_replaced_periods.account_id
)
SELECT quota._record_last_periods(v.account, v.user_id, ARRAY[n.limit_id])
FROM levels v
CROSS JOIN LATERAL (
    SELECT l.limit_id, 1 AS rank
    FROM quota.limits l
    WHERE l.root_id = _record_replaced_periods.root_id AND l.account_id = v.default_of AND l.child_kind = v.default_kind
      AND l.resource = _record_replaced_periods.resource AND l.model = _record_replaced_periods.model
      AND l.period OPERATOR(quota.=) _record_replaced_periods.period
    UNION ALL
    SELECT p.limit_id, 2
    FROM quota.plan_limits p
    WHERE p.plan = v.plan
      AND p.resource = _record_replaced_periods.resource AND p.model = _record_replaced_periods.model
      AND p.period OPERATOR(quota.=) _record_replaced_periods.period
    ORDER BY rank LIMIT 1) n
$function$;
COMMENT ON FUNCTION quota._record_replaced_periods(bigint, bigint, text, text, text, text, quota.period) IS
    'Records the periods of limits that are over, before a new one takes their place';

CREATE FUNCTION quota._record_periods_anew(
    root_id bigint, account_id bigint, user_id text, limit_id bigint, since timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $function$
-- Brings what was recorded of a limit at one level, of periods that ended after an instant, up
-- to date with a definition that has changed since; not from the first on that has an open
-- hold: that is done when its event comes.
-- Tables written: periods.
DECLARE
    account constant quota.scope := (SELECT a.scope FROM quota.accounts a
                                     WHERE a.root_id = _record_periods_anew.root_id
                                       AND a.account_id = _record_periods_anew.account_id);
    held boolean;
BEGIN
    WHILE EXISTS (SELECT FROM quota.periods r
                  WHERE r.root_id = _record_periods_anew.root_id AND r.account_id = _record_periods_anew.account_id
                    AND r.user_id = COALESCE(_record_periods_anew.user_id, '')
                    AND r.limit_id = _record_periods_anew.limit_id AND r.period_end > since) LOOP
        PERFORM quota._lock_periods(root_id);
        -- So many at a time as are told at once.
        WITH closed AS MATERIALIZED (
            SELECT e.*, bool_or(e.held <> 0) OVER (ORDER BY e.period_start) AS has_holds
            FROM quota._closed_periods(account, _record_periods_anew.user_id, _record_periods_anew.since) e
            WHERE e.limit_id = _record_periods_anew.limit_id
        ), written AS (
            UPDATE quota.periods p
                SET "limit" = c."limit", granted = c.granted, used = c.used, overage = c.overage,
                    rolled_over = c.rolled_over, late = p.late + c.used - p.used, recorded_at = quota.now()
                FROM closed c
                WHERE p.root_id = _record_periods_anew.root_id
                  AND p.account_id = _record_periods_anew.account_id
                  AND p.user_id = COALESCE(_record_periods_anew.user_id, '')
                  AND p.limit_id = c.limit_id AND p.period_start = c.period_start AND NOT c.has_holds
                  AND (p."limit", p.granted, p.used, p.overage, p.rolled_over)
                          IS DISTINCT FROM (c."limit", c.granted, c.used, c.overage, c.rolled_over)
        )
        SELECT max(c.period_end), bool_or(c.has_holds) INTO since, held FROM closed c;
        EXIT WHEN held;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION quota._record_periods_anew(bigint, bigint, text, bigint, timestamptz) IS
    'Brings the records of closed periods of a limit up to date with a definition that has changed';

-- Partitions ------------------------------------------------------------------

CREATE FUNCTION quota._create_partition(month timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $function$
-- Creates the partition of quota.events for a month (UTC), moving there what the
-- default partition has of it.
-- Returns: whether there was none before.
DECLARE
    lower_bound timestamptz := date_trunc('month', month);
    upper_bound timestamptz := lower_bound + interval '1 month';
    partition_name text := 'events_' || to_char(lower_bound, 'YYYY_MM');
BEGIN
    IF to_regclass('quota.' || partition_name) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- One at a time, and nobody writes to the default partition meanwhile.
    LOCK TABLE quota.events_default IN ACCESS EXCLUSIVE MODE;
    IF to_regclass('quota.' || partition_name) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- The rows leave through quota.events and come back through it: what replicates it
    -- logically, under whatever name, sees both or none.
    EXECUTE format('CREATE TEMP TABLE events_to_move ON COMMIT DROP AS '
                   'SELECT * FROM quota.events_default WHERE held_at >= %L AND held_at < %L',
                   lower_bound, upper_bound);
    PERFORM quota._begin_own_write();
    EXECUTE format('DELETE FROM quota.events_default WHERE held_at >= %L AND held_at < %L',
                   lower_bound, upper_bound);
    EXECUTE format('CREATE TABLE quota.%I (LIKE quota.events)', partition_name);
    EXECUTE format('ALTER TABLE quota.%I ADD PRIMARY KEY (hold_id, seq)', partition_name);
    EXECUTE format('ALTER TABLE quota.%I REPLICA IDENTITY FULL', partition_name);
    EXECUTE format('CREATE INDEX ON quota.%I (root_id, origin, xid, user_id)', partition_name);
    EXECUTE format('CREATE INDEX ON quota.%I (root_id, user_id, held_at)', partition_name);
    EXECUTE format('CREATE TRIGGER ledger_truncated AFTER TRUNCATE ON quota.%I '
                   'FOR EACH STATEMENT EXECUTE FUNCTION quota._ledger_changed()', partition_name);
    EXECUTE format('ALTER TABLE quota.%I ENABLE ALWAYS TRIGGER ledger_truncated', partition_name);
    EXECUTE format('COMMENT ON TABLE quota.%I IS %L', partition_name,
                   'Events of holds of ' || to_char(lower_bound, 'FMMonth YYYY') || ' (UTC)');
    EXECUTE format('ALTER TABLE quota.events ATTACH PARTITION quota.%I FOR VALUES FROM (%L) TO (%L)',
                   partition_name, lower_bound, upper_bound);
    INSERT INTO quota.events SELECT * FROM pg_temp.events_to_move;
    DROP TABLE pg_temp.events_to_move;
    PERFORM quota._end_own_write();
    RETURN true;
END
$function$;
COMMENT ON FUNCTION quota._create_partition(timestamptz) IS
    'Creates the partition of the ledger for a month, unless there is one';

-- Purge -----------------------------------------------------------------------

CREATE FUNCTION quota._purge() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
-- Forgets idempotency keys that nobody repeats any more, old runs of jobs, and what
-- generations used in weeks that no longer count.
-- Returns: how many keys it forgot.
DECLARE
    retention interval := greatest(
        current_setting('xavier_quota.key_retention')::interval,
        current_setting('xavier_quota.max_ttl')::interval);
    -- Expectations are of the running week and the four before it.
    first_week date := date_trunc('week', quota.now() AT TIME ZONE 'UTC')::date - 28;
    purged bigint;
BEGIN
    DELETE FROM quota.keys k WHERE k.created_at < quota.now() - retention;
    GET DIAGNOSTICS purged = ROW_COUNT;
    DELETE FROM quota.job_runs r WHERE r.started_at < clock_timestamp() - interval '7 days';
    DELETE FROM quota.usage_histogram u WHERE u.week < first_week;
    DELETE FROM quota.estimates_weekly w WHERE w.week < first_week;
    RETURN purged;
END
$function$;
COMMENT ON FUNCTION quota._purge() IS 'Forgets what is past its retention';

-- Runs ------------------------------------------------------------------------

CREATE FUNCTION quota._begin_run(job text) RETURNS uuid
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
INSERT INTO quota.job_runs (job, started_at) VALUES (job, pg_catalog.clock_timestamp())
RETURNING run_id
$function$;
COMMENT ON FUNCTION quota._begin_run(text) IS 'Records that a job has begun';

CREATE FUNCTION quota._end_run(run_id uuid, row_count bigint, message text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
UPDATE quota.job_runs r
SET finished_at = pg_catalog.clock_timestamp(), rows = row_count, error = message
WHERE r.run_id = _end_run.run_id
$function$;
COMMENT ON FUNCTION quota._end_run(uuid, bigint, text) IS 'Records how a job went';

CREATE FUNCTION quota._job_steps(job text) RETURNS TABLE (root_id bigint, root quota.scope)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
-- The steps of a job: the roots for which it has something to do, or one step without.
-- Errors: 22023 no such job.
#variable_conflict use_column
BEGIN
    IF job = 'expire' THEN
        RETURN QUERY SELECT DISTINCT h.root_id, quota.root(h.scope) FROM quota.holds h
                     WHERE h.expires_at <= quota.now();
    ELSIF job IN ('fold', 'periods') THEN
        RETURN QUERY SELECT a.root_id, a.scope FROM quota.accounts a
                     WHERE a.parent_id IS NULL ORDER BY a.root_id;
    ELSIF job IN ('partitions', 'purge') THEN
        RETURN QUERY SELECT NULL::bigint, NULL::quota.scope;
    ELSE
        RAISE EXCEPTION 'job "%" does not exist', job
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'See quota.admin_jobs.';
    END IF;
END
$function$;
COMMENT ON FUNCTION quota._job_steps(text) IS 'The steps of a job, each a transaction';

CREATE FUNCTION quota._run_step(job text, root_id bigint, root quota.scope) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
-- Runs one step of a job.
-- Returns: how many rows it has dealt with.
DECLARE
    month timestamptz;
    created bigint := 0;
BEGIN
    IF job = 'expire' THEN
        RETURN quota._expire_holds(root_id, root, 1000);
    ELSIF job = 'fold' THEN
        RETURN quota._fold_root(root_id, quota._system_identifier());
    ELSIF job = 'periods' THEN
        RETURN quota._record_periods(root_id, 5000);
    ELSIF job = 'purge' THEN
        RETURN quota._purge();
    END IF;
    -- This month and the next two, and those of which the default partition has events
    -- because the job was late. Two jobs come one after the other: having read the table,
    -- both would wait for each other to write it.
    LOCK TABLE quota.events_default IN SHARE UPDATE EXCLUSIVE MODE;
    FOREACH month IN ARRAY ARRAY(
        SELECT quota.now() + make_interval(months => ahead) FROM generate_series(0, 2) ahead
        UNION ALL
        SELECT DISTINCT date_trunc('month', e.held_at, 'UTC') FROM quota.events_default e)
    LOOP
        IF quota._create_partition(month) THEN
            created := created + 1;
        END IF;
    END LOOP;
    RETURN created;
END
$function$;
COMMENT ON FUNCTION quota._run_step(text, bigint, quota.scope) IS 'Runs one step of a job; returns how many rows it has dealt with';

-- A procedure that ends transactions can neither be SECURITY DEFINER nor have settings
-- of its own: every name in it is qualified, and what it calls has the rights.
CREATE PROCEDURE quota.run_job(job text)
LANGUAGE plpgsql
AS $procedure$
-- Runs one job of upkeep, each step a transaction of its own. What fails in one step is
-- recorded and does not stop the others.
-- Errors: 22023 no such job; 2D000 inside a transaction block.
DECLARE
    run_id pg_catalog.uuid;
    step record;
    done pg_catalog.int8;
    total pg_catalog.int8 := 0;
    failure pg_catalog.text;
BEGIN
    run_id := quota._begin_run(job);
    FOR step IN SELECT s.root_id, s.root FROM quota._job_steps(job) s LOOP
        LOOP
            BEGIN
                done := quota._run_step(job, step.root_id, step.root);
            EXCEPTION WHEN OTHERS THEN
                done := 0;
                failure := SQLERRM;
                RAISE WARNING 'job "%" failed: %', job, failure
                    USING DETAIL = pg_catalog.concat('Root: ', step.root, '.'),
                          HINT = 'It is tried again at the next run.';
            END;
            COMMIT;
            total := total OPERATOR(pg_catalog.+) done;
            -- These take some at a time, so that no transaction grows long: as many holds as
            -- there is room for, and so many periods.
            EXIT WHEN done OPERATOR(pg_catalog.<)
                CASE job WHEN 'expire' THEN 1 WHEN 'periods' THEN 5000 ELSE 9223372036854775807 END;
        END LOOP;
    END LOOP;
    PERFORM quota._end_run(run_id, total, failure);
    COMMIT;
END
$procedure$;
COMMENT ON PROCEDURE quota.run_job(text) IS
    'Runs one job of upkeep: expire, fold, partitions, periods or purge';

CREATE PROCEDURE quota.run_maintenance()
LANGUAGE plpgsql
AS $procedure$
-- Runs all upkeep, as pg_cron would.
-- Errors: 2D000 inside a transaction block.
BEGIN
    CALL quota.run_job('partitions');
    CALL quota.run_job('expire');
    CALL quota.run_job('fold');
    CALL quota.run_job('periods');
    CALL quota.run_job('purge');
END
$procedure$;
COMMENT ON PROCEDURE quota.run_maintenance() IS
    'Runs all upkeep now: creates partitions, expires holds, folds events, records closed periods, forgets what is past its retention';

-- pg_cron ---------------------------------------------------------------------

CREATE FUNCTION quota.schedule_jobs() RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Has pg_cron run the jobs in this database, as the caller. Can be repeated: a job that
-- is scheduled already is scheduled anew under its name.
-- Returns: the names of the jobs in pg_cron.
-- Errors: 55000 if pg_cron is not installed in this database.
DECLARE
    job record;
    cron_name text;
BEGIN
    IF to_regprocedure('cron.schedule(text,text,text)') IS NULL THEN
        RAISE EXCEPTION 'pg_cron is not installed in this database'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Create the extension pg_cron here, or have any scheduler CALL quota.run_maintenance() each minute.';
    END IF;
    FOR job IN SELECT j.job, j.schedule FROM quota.jobs j ORDER BY j.job LOOP
        cron_name := 'xavier_quota ' || job.job;
        EXECUTE 'SELECT cron.schedule($1, $2, $3)'
            USING cron_name, job.schedule, format('CALL quota.run_job(%L)', job.job);
        RETURN NEXT cron_name;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION quota.schedule_jobs() IS
    'Has pg_cron run all upkeep in this database; returns the names of its jobs';

CREATE FUNCTION quota.unschedule_jobs() RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Takes the jobs out of pg_cron again.
-- Returns: the names of those that were there.
DECLARE
    scheduled record;
BEGIN
    IF to_regclass('cron.job') IS NULL THEN
        RETURN;
    END IF;
    FOR scheduled IN EXECUTE
        'SELECT j.jobid, j.jobname::text FROM cron.job j '
        'WHERE j.jobname LIKE ''xavier\_quota %'' AND j.database = current_database() ORDER BY j.jobname'
    LOOP
        EXECUTE 'SELECT cron.unschedule($1)' USING scheduled.jobid;
        RETURN NEXT scheduled.jobname;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION quota.unschedule_jobs() IS 'Takes all upkeep out of pg_cron; returns the names of its jobs';
