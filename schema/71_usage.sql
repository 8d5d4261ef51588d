-- The roll-up against the ledger ----------------------------------------------------
--
-- quota.verify() asks whether memory is what the tables say. These ask whether the
-- tables agree among themselves: usage_hourly must be what the events below the marks
-- of the fold add up to.

CREATE FUNCTION quota._hourly_usage_of_root(root_id bigint, since timestamptz)
    RETURNS TABLE (
        account_id bigint, resource text, hour timestamptz, user_id text, model text, leaf boolean,
        used numeric, events bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $function$
-- What usage_hourly has to be from an hour on: the sum over all clusters of origin.
SELECT h.account_id, h.resource, h.hour, h.user_id, h.model, h.leaf,
       pg_catalog.sum(h.used), pg_catalog.sum(h.events)::pg_catalog.int8
FROM quota.fold_marks m
CROSS JOIN LATERAL quota._hourly_usage(m.root_id, m.origin, '0', m.mark, since) h
WHERE m.root_id OPERATOR(pg_catalog.=) _hourly_usage_of_root.root_id
GROUP BY 1, 2, 3, 4, 5, 6
$function$;
COMMENT ON FUNCTION quota._hourly_usage_of_root(bigint, timestamptz) IS
    'What the hourly usage of a root has to be, computed from its folded events';

CREATE FUNCTION quota.verify_usage(
    account quota.scope DEFAULT NULL, since timestamptz DEFAULT '-infinity')
    RETURNS TABLE (
        scope quota.scope, user_id text, model text, resource text, hour timestamptz, leaf boolean,
        hourly_used numeric, hourly_events bigint, ledger_used numeric, ledger_events bigint)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 10
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
-- Compares the hourly roll-up with the events that it was made of. Reads history, and
-- keeps nobody out.
-- since: from which hour on; events before it may have been removed.
-- Returns: the rows that differ; none when all is well.
#variable_conflict use_column
DECLARE
    first_hour timestamptz := date_bin('1 hour', coalesce(since, '-infinity'), '2000-01-01 00:00:00+00');
    root record;
BEGIN
    FOR root IN
        SELECT a.root_id FROM quota.accounts a
        WHERE a.parent_id IS NULL
          AND (verify_usage.account IS NULL OR a.scope OPERATOR(quota.=) quota.root(verify_usage.account))
        ORDER BY a.root_id
    LOOP
        RETURN QUERY
            SELECT a.scope, nullif(d.user_id, ''), nullif(d.model, ''), d.resource, d.hour, d.leaf,
                   coalesce(d.hourly_used, 0), coalesce(d.hourly_events, 0),
                   coalesce(d.ledger_used, 0), coalesce(d.ledger_events, 0)
            FROM (
                SELECT account_id, resource, hour, user_id, model, leaf,
                       u.used AS hourly_used, u.events AS hourly_events,
                       l.used AS ledger_used, l.events AS ledger_events
                FROM (SELECT * FROM quota.usage_hourly u
                      WHERE u.root_id = root.root_id AND u.hour >= first_hour) u
                FULL JOIN quota._hourly_usage_of_root(root.root_id, first_hour) l
                    USING (account_id, resource, hour, user_id, model, leaf)
                WHERE (u.used, u.events) IS DISTINCT FROM (l.used, l.events)
            ) d
            LEFT JOIN quota.accounts a ON a.root_id = root.root_id AND a.account_id = d.account_id
            WHERE verify_usage.account IS NULL OR a.scope OPERATOR(quota.<@) verify_usage.account
            ORDER BY d.hour, a.scope, d.user_id, d.model, d.resource, d.leaf;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION quota.verify_usage(quota.scope, timestamptz) IS
    'Compares the hourly roll-up with the events of the ledger; returns each difference, none when all is well';

CREATE FUNCTION quota.rebuild_usage(account quota.scope, since timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
-- Makes the hourly roll-up of an account's root, or of all roots, anew from the events of
-- the ledger; its counters then load afresh. So does what expectations are learned from,
-- of whole weeks. A mark of the fold that is ahead of its time is put back first.
-- since: from which hour on. What the roll-up says of earlier ones stays: of hours whose
--   events have been removed it is all that there is.
-- Returns: how many rows of the roll-up it has written.
-- Errors: 22004 without since; 55P03, at commit, if operations on a root do not end in time.
-- Tables written: usage_hourly, usage_histogram, estimates_weekly, fold_marks.
#variable_conflict use_column
DECLARE
    first_hour timestamptz := date_bin('1 hour', since, '2000-01-01 00:00:00+00');
    first_week date := date_trunc('week', since AT TIME ZONE 'UTC')::date;
    root record;
    written bigint;
    total bigint := 0;
BEGIN
    IF since IS NULL THEN
        RAISE EXCEPTION 'since must not be null'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Give the first hour whose events are all there; -infinity if none has ever been removed.';
    END IF;
    FOR root IN
        SELECT a.root_id FROM quota.accounts a
        WHERE a.parent_id IS NULL
          AND (rebuild_usage.account IS NULL OR a.scope OPERATOR(quota.=) quota.root(rebuild_usage.account))
        ORDER BY a.root_id
    LOOP
        -- No fold comes in between.
        PERFORM 1 FROM quota.fold_marks m WHERE m.root_id = root.root_id FOR UPDATE;
        UPDATE quota.fold_marks m SET mark = pg_snapshot_xmin(pg_current_snapshot())
        WHERE m.root_id = root.root_id AND m.origin = quota._system_identifier()
          AND m.mark > pg_snapshot_xmin(pg_current_snapshot());
        -- Not announced as the engine's own, so that the counters are computed afresh.
        DELETE FROM quota.usage_hourly u WHERE u.root_id = root.root_id AND u.hour >= first_hour;
        INSERT INTO quota.usage_hourly
            (root_id, account_id, resource, hour, user_id, model, leaf, used, events)
        SELECT root.root_id, h.account_id, h.resource, h.hour, h.user_id, h.model, h.leaf, h.used, h.events
        FROM quota._hourly_usage_of_root(root.root_id, first_hour) h;
        GET DIAGNOSTICS written = ROW_COUNT;
        total := total + written;
        DELETE FROM quota.usage_histogram u WHERE u.root_id = root.root_id AND u.week >= first_week;
        INSERT INTO quota.usage_histogram (root_id, model, quantity, week, bucket, events)
        SELECT root.root_id, l.model, l.quantity, l.week, l.bucket, sum(l.events)
        FROM quota.fold_marks m
        CROSS JOIN LATERAL quota._learned_usage(m.root_id, m.origin, '0', m.mark, first_week) l
        WHERE m.root_id = root.root_id
        GROUP BY l.model, l.quantity, l.week, l.bucket;
        DELETE FROM quota.estimates_weekly e WHERE e.root_id = root.root_id AND e.week >= first_week;
        INSERT INTO quota.estimates_weekly (root_id, model, week, events, ceiling, expected, charged)
        SELECT root.root_id, l.model, l.week, sum(l.events), sum(l.ceiling), sum(l.expected), sum(l.charged)
        FROM quota.fold_marks m
        CROSS JOIN LATERAL quota._weekly_estimates(m.root_id, m.origin, '0', m.mark, first_week) l
        WHERE m.root_id = root.root_id
        GROUP BY l.model, l.week;
    END LOOP;
    RETURN total;
END
$function$;
COMMENT ON FUNCTION quota.rebuild_usage(quota.scope, timestamptz) IS
    'Makes the hourly roll-up anew from the events of the ledger, from an hour on; returns how many rows it has written';
