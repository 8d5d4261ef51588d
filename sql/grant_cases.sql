-- Verifies that:
-- 1. grants, roll-over and carried overage leave the balances that the cases of OpenMeter in
--    data/openmeter_cases.json say, per grant and at every point; where they leave others,
--    which and why;
-- 2. its rules of order and of the time in which a grant is in effect hold;
-- 3. every case is asked, or is listed with why not; so is every expectation.
-- A test's own database, because every case has a company.
\set ECHO none
\set home :DBNAME
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_grant_cases;
CREATE DATABASE regress_grant_cases;
\c regress_grant_cases
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SET synchronous_commit = off; -- hundreds of small transactions, whose durability other tests are about
\set cases_file :abs_srcdir '/data/openmeter_cases.json'

CREATE TEMP TABLE balance_case AS
SELECT c.value ->> 'id' AS id, c.value AS facts
FROM jsonb_array_elements(pg_read_file(:'cases_file')::jsonb -> 'balance_cases') AS c;
CREATE TEMP TABLE rule_case AS
SELECT c.value ->> 'id' AS id, c.value ->> 'kind' AS kind, c.value AS facts
FROM jsonb_array_elements(pg_read_file(:'cases_file')::jsonb -> 'rule_cases') AS c;

-- What is not asked, and why.
CREATE TEMP TABLE not_asked (id text PRIMARY KEY, why text NOT NULL);
INSERT INTO not_asked VALUES
    ('om-020', 'the last value that was measured instead of a sum: here that is a stock, which no grant is burned for'),
    ('om-r02', 'no caller hands in a state to start from'),
    ('om-r03', 'no caller hands in a state to start from'),
    ('om-r05', 'periods end when the calendar says, never by hand'),
    ('om-r06', 'periods end when the calendar says, never by hand'),
    ('om-r07', 'periods end when the calendar says, never by hand'),
    ('om-r08', 'periods end when the calendar says, never by hand'),
    ('om-r10', 'periods end when the calendar says, never by hand'),
    ('om-r11', 'periods end when the calendar says, never by hand');
-- Expectations that no answer holds.
CREATE TEMP TABLE not_said (field text PRIMARY KEY, why text NOT NULL);
INSERT INTO not_said VALUES
    ('segment_count', 'nothing shows the phases that a period consists of'),
    ('terminated_by', 'nothing shows the phases that a period consists of'),
    ('rollover', 'nothing shows the phases that a period consists of');
-- Where the answer is another one, and why.
CREATE TEMP TABLE other_answer (id text, point text, field text, here text, why text NOT NULL);
INSERT INTO other_answer VALUES
    ('om-003', 'end', 'balances', '{"g1": 0}', 'it is asked at the instant at which the grant expires: it is over then (om-046 agrees)'),
    ('om-r01', 'to a microsecond', 'expected_order', '["cursor-a", "cursor-b", "created-first", "later-expiration", "no-expiration", "lower-priority"]',
     'ends are compared to the microsecond, not to the second');

-- What was answered: at the end, in the phases and at the hours of a case.
CREATE TEMP TABLE answer (id text, point text, field text, expected text, actual text, same boolean GENERATED ALWAYS AS (expected IS NOT DISTINCT FROM actual) STORED);

-- Driver --------------------------------------------------------------------------------
--
-- Every case has a company with a limit of 0, for life or for periods of which one starts at
-- each reset. What is used is adjusted, at its instant. A grant that recurs is a series of
-- grants, each until the next one; so is one of which a reset leaves a fixed amount (a
-- smallest roll-over that is the largest, too). A case that starts in the middle of something
-- starts earlier, with the use that led there:
-- - a balance that is not full: when its grant began;
-- - overage: an hour earlier, with that much use, in a period that carries it;
-- - usage of the period that no grant is burned for: the limit has that amount of its own;
-- - grants that were used up before: one more grant, used up at the start.

-- What is seen of a case now.
CREATE TEMP TABLE granted (id text, grant_id bigint, case_grant text, piece bigint, start timestamptz);
CREATE FUNCTION pg_temp.state(case_id text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object(
        'usage_since_reset', (l ->> 'used')::numeric,
        'overage', greatest(0, -(l ->> 'remaining')::numeric),
        'carried', coalesce((l ->> 'carried_overage')::numeric, 0),
        'total_balance', coalesce((l ->> 'granted')::numeric, 0),
        'available', (l ->> 'limit')::numeric,
        'last_reset', l ->> 'period_start',
        'balances', g.balances,
        'burned', g.burned)
    FROM quota.check_amount('ann', 'company:' || case_id || '/project:p', 'credit=0.000001') AS v, CAST(v #> '{levels, 0}' AS jsonb) AS l,
         LATERAL (
             SELECT coalesce(jsonb_object_agg(b.case_grant, b.remaining), '{}') AS balances, coalesce(jsonb_object_agg(b.case_grant, b.burned), '{}') AS burned
             FROM (SELECT t.case_grant, sum(CASE a.state WHEN 'scheduled' THEN 0 ELSE a.remaining END) AS remaining,
                          sum(a.burned) FILTER (WHERE a.state IN ('active', 'exhausted')) AS burned
                   FROM pg_temp.granted t JOIN quota.admin_grants a USING (grant_id)
                   WHERE t.id = case_id AND a.root = 'company:' || case_id GROUP BY t.case_grant) AS b) AS g
$$;

-- From when to when the pieces of a grant are in effect, with how much.
CREATE FUNCTION pg_temp.pieces(g jsonb, resets timestamptz[])
RETURNS TABLE (piece bigint, amount numeric, start timestamptz, "end" timestamptz) LANGUAGE sql AS $$
    SELECT row_number() OVER w, c.amount, c.at, coalesce(lead(c.at) OVER w, (g ->> 'expires_at')::timestamptz)
    FROM (
        SELECT DISTINCT ON (p.at) p.at, p.amount
        FROM (
            SELECT (g ->> 'effective_at')::timestamptz AS at, (g ->> 'amount')::numeric AS amount, 0 AS last
            UNION ALL
            -- A recurrence at the instant of a reset comes after it.
            SELECT (g #>> '{recurrence, anchor}')::timestamptz + i * (g #>> '{recurrence, interval}')::interval, (g ->> 'amount')::numeric, 1
            FROM generate_series(-10, 60) AS i WHERE g ? 'recurrence'
            UNION ALL
            SELECT r, (g ->> 'reset_max_rollover')::numeric, 0 FROM unnest(resets) AS r
            WHERE (g ->> 'reset_min_rollover')::numeric > 0 AND g -> 'reset_min_rollover' = g -> 'reset_max_rollover') AS p
        WHERE p.at >= (g ->> 'effective_at')::timestamptz AND (p.at < (g ->> 'expires_at')::timestamptz) IS NOT FALSE
        ORDER BY p.at, p.last DESC) AS c
    WINDOW w AS (ORDER BY c.at)
$$;

CREATE PROCEDURE pg_temp.run_case(case_id text) LANGUAGE plpgsql AS $$
DECLARE
    facts jsonb;
    root quota.scope := quota.scope('company', case_id);
    start timestamptz; until timestamptz; opened timestamptz;
    resets timestamptz[]; period text; own numeric := 0; carry boolean;
    g jsonb; p record; e record; new_id bigint;
    now_state jsonb; phase_start jsonb; phase_end jsonb; phases jsonb := '[]'; hours jsonb := '[]'; x jsonb; n int;
BEGIN
    SELECT c.facts INTO STRICT facts FROM pg_temp.balance_case c WHERE c.id = case_id;
    start := facts ->> 'start';
    until := facts ->> 'until';
    opened := start;
    carry := (facts ->> 'preserve_overage_on_reset')::boolean;
    resets := ARRAY(SELECT r.value::timestamptz FROM jsonb_array_elements_text(facts -> 'resets') AS r ORDER BY 1);
    -- Where it starts.
    SELECT least(start, min((i.value ->> 'effective_at')::timestamptz)) INTO opened
    FROM jsonb_array_elements(facts -> 'grants') AS i
    WHERE (i.value ->> 'effective_at')::timestamptz <= start AND (i.value ->> 'expires_at')::timestamptz > start
      AND (facts -> 'starting_balances' ->> (i.value ->> 'id'))::numeric < (i.value ->> 'amount')::numeric;
    IF (facts ->> 'starting_overage')::numeric > 0 THEN
        opened := start - interval '1 hour';
        resets := start || resets;
        carry := true;
    ELSIF opened = start THEN
        own := (facts ->> 'starting_usage_since_reset')::numeric;
    END IF;
    FOR n IN 3 .. cardinality(resets) LOOP
        IF resets[n] - resets[n - 1] <> resets[2] - resets[1] THEN
            RAISE EXCEPTION 'the resets of % have no period', case_id;
        END IF;
    END LOOP;
    period := CASE cardinality(resets)
                  WHEN 0 THEN 'lifetime'
                  WHEN 1 THEN format('8760 hours from %s', resets[1] AT TIME ZONE 'UTC')
                  ELSE format('%s seconds from %s', extract(epoch FROM resets[2] - resets[1])::bigint, resets[1] AT TIME ZONE 'UTC')
              END;
    PERFORM set_config('xavier_quota.clock', opened::text, false);
    PERFORM quota.put_account(root), quota.put_account(root OPERATOR(quota.||) 'project:p'), quota.put_member(root, 'ann'),
            quota.set_limit(root, 'credit', own, period::quota.period, carry_overage => carry);
    FOR g IN SELECT i.value FROM jsonb_array_elements(facts -> 'grants') WITH ORDINALITY AS i ORDER BY i.ordinality LOOP
        FOR p IN SELECT * FROM pg_temp.pieces(g, resets) LOOP
            new_id := quota.grant_quota(root, 'credit', p.amount, (g ->> 'priority')::int, p.start, p."end", rollover => (g ->> 'reset_max_rollover')::numeric);
            INSERT INTO pg_temp.granted VALUES (case_id, new_id, g ->> 'id', p.piece, p.start);
        END LOOP;
    END LOOP;
    IF opened = start AND (facts ->> 'starting_total_grant_usage')::numeric > 0 THEN
        new_id := quota.grant_quota(root, 'credit', (facts ->> 'starting_total_grant_usage')::numeric, 0);
        PERFORM quota.adjust(root, ('credit=' || (facts ->> 'starting_total_grant_usage'))::quota.amount, 'before');
    END IF;
    IF own + (facts ->> 'starting_overage')::numeric > 0 THEN
        PERFORM quota.adjust(root, ('credit=' || own + (facts ->> 'starting_overage')::numeric)::quota.amount, 'before');
    END IF;
    COMMIT;

    -- Everything that happens, and is looked at.
    FOR e IN
        WITH boundaries AS (
            SELECT start AS at, false AS resets
            UNION ALL SELECT r, unnest(ARRAY[true, false]) FROM unnest(resets) AS r WHERE r > start AND r < until
            UNION ALL
            SELECT DISTINCT b.at, false
            FROM jsonb_array_elements(facts -> 'grants') AS i,
                 LATERAL (SELECT q.start FROM pg_temp.pieces(i.value, resets) AS q
                          UNION ALL SELECT least((i.value ->> 'expires_at')::timestamptz, (i.value ->> 'deleted_at')::timestamptz, (i.value ->> 'voided_at')::timestamptz)) AS b (at)
            WHERE b.at > start AND b.at < until AND b.at <> ALL (resets)
        )
        SELECT v.at, 0 AS place, 'void' AS what, i.value ->> 'id' AS grant, NULL::numeric AS amount
        FROM jsonb_array_elements(facts -> 'grants') AS i, CAST(coalesce(i.value ->> 'deleted_at', i.value ->> 'voided_at') AS timestamptz) AS v (at)
        WHERE v.at IS NOT NULL
        UNION ALL SELECT b.at, CASE WHEN b.resets THEN 1 ELSE 2 END, CASE WHEN b.resets THEN 'reset' ELSE 'phase' END, NULL, NULL FROM boundaries b
        UNION ALL SELECT b.at - interval '1 us', 4, 'phase ends', NULL, NULL FROM (SELECT DISTINCT b.at FROM boundaries b WHERE b.at > start UNION SELECT until) AS b WHERE until > start
        UNION ALL SELECT start + h * interval '1 hour', 2, 'hour', NULL, NULL FROM generate_series(0, jsonb_array_length(facts #> '{expected, hourly_windows}')) AS h
        UNION ALL SELECT (u.value ->> 'at')::timestamptz, 3, 'use', NULL, (u.value ->> 'amount')::numeric FROM jsonb_array_elements(facts -> 'usage') AS u
        WHERE (u.value ->> 'at')::timestamptz >= opened AND (u.value ->> 'at')::timestamptz < until
        UNION ALL SELECT until, 5, 'until', NULL, NULL
        ORDER BY 1, 2
    LOOP
        PERFORM set_config('xavier_quota.clock', e.at::text, false);
        CASE e.what
            WHEN 'void' THEN
                PERFORM quota.void_grant(t.grant_id, 'case') FROM pg_temp.granted t WHERE t.id = case_id AND t.case_grant = e.grant;
            WHEN 'use' THEN
                PERFORM quota.adjust(root, ('credit=' || e.amount)::quota.amount, 'use');
            ELSE
                now_state := pg_temp.state(case_id);
        END CASE;
        COMMIT;
        CASE e.what
            WHEN 'reset' THEN
                phases := phases || jsonb_build_array(jsonb_build_object('start', now_state, 'end', now_state, 'before', phase_end, 'reset', true));
            WHEN 'phase' THEN
                phase_start := jsonb_build_object('start', now_state, 'before', phase_end);
            WHEN 'phase ends' THEN
                phase_end := now_state;
                phases := phases || jsonb_build_array(phase_start || jsonb_build_object('end', now_state));
            WHEN 'hour' THEN
                hours := hours || jsonb_build_array(now_state);
            ELSE
        END CASE;
    END LOOP;

    -- At the end.
    INSERT INTO pg_temp.answer (id, point, field, expected, actual)
    SELECT case_id, 'end', f.key, f.value::text,
           CASE f.key
               WHEN 'total_grant_usage' THEN to_jsonb((now_state ->> 'usage_since_reset')::numeric - own + (now_state ->> 'carried')::numeric - (now_state ->> 'overage')::numeric)
               WHEN 'total_available' THEN to_jsonb((now_state ->> 'available')::numeric + (now_state ->> 'carried')::numeric)
               WHEN 'last_reset' THEN to_jsonb(replace(now_state ->> 'last_reset', '+00:00', 'Z'))
               ELSE now_state -> f.key
           END::text
    FROM jsonb_each(facts -> 'expected') AS f
    WHERE f.key NOT IN ('segments', 'hourly_windows', 'segment_count');
    -- In its phases. Overage is burned as soon as there is something to burn it from, so that a balance is less by it.
    FOR x, n IN SELECT s.value, s.ordinality - 1 FROM jsonb_array_elements(facts #> '{expected, segments}') WITH ORDINALITY AS s LOOP
        now_state := phases -> n;
        INSERT INTO pg_temp.answer (id, point, field, expected, actual)
        SELECT case_id, 'phase ' || n, f.key,
               CASE WHEN f.key = 'balance_at_start' AND (x ->> 'overage_at_start')::numeric > 0
                    THEN (SELECT jsonb_object_agg(b.key, b.value::numeric - (x ->> 'overage_at_start')::numeric) FROM jsonb_each_text(f.value) AS b)
                    ELSE f.value END::text,
               CASE f.key
                   WHEN 'total_usage' THEN to_jsonb((now_state #>> '{end, usage_since_reset}')::numeric - (now_state #>> '{start, usage_since_reset}')::numeric)
                   WHEN 'overage' THEN now_state #> '{end, overage}'
                   WHEN 'balance_at_start' THEN (SELECT jsonb_object_agg(b.key, now_state #> ARRAY['start', 'balances', b.key]) FROM jsonb_each(f.value) AS b)
                   WHEN 'overage_at_start' THEN
                       CASE WHEN now_state ? 'reset' THEN now_state #> '{start, carried}'
                            WHEN n > 0 AND phases -> (n - 1) ? 'reset' THEN now_state #> '{start, overage}'
                            ELSE now_state #> '{before, overage}' END
                   WHEN 'grant_usage' THEN now_state #> '{end, burned}'
               END::text
        FROM jsonb_each(x) AS f
        WHERE f.key NOT IN ('terminated_by', 'rollover');
    END LOOP;
    -- At its hours.
    FOR x, n IN SELECT s.value, s.ordinality - 1 FROM jsonb_array_elements(facts #> '{expected, hourly_windows}') WITH ORDINALITY AS s LOOP
        INSERT INTO pg_temp.answer (id, point, field, expected, actual) VALUES
            (case_id, 'hour ' || n, 'usage', x ->> 'usage',
             (hours #>> ARRAY[(n + 1)::text, 'usage_since_reset'])::numeric - (hours #>> ARRAY[n::text, 'usage_since_reset'])::numeric),
            (case_id, 'hour ' || n, 'balance_at_start', x ->> 'balance_at_start', hours #>> ARRAY[n::text, 'total_balance']);
    END LOOP;
    COMMIT;
END
$$;

CREATE PROCEDURE pg_temp.run_cases() LANGUAGE plpgsql AS $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT b.id FROM pg_temp.balance_case b WHERE b.id NOT IN (SELECT n.id FROM pg_temp.not_asked n) LOOP
        CALL pg_temp.run_case(c.id);
    END LOOP;
END
$$;
CALL pg_temp.run_cases();

-- Rules ---------------------------------------------------------------------------------

-- The order in which grants of 1 are burned, one at a time. All are in effect before the first
-- ends: when they begin does not count. Asked twice: with the ends as they are, and to the second.
CREATE FUNCTION pg_temp.burn_order(facts jsonb, root quota.scope, unit text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    g record;
    used jsonb := '[]';
BEGIN
    PERFORM set_config('xavier_quota.clock', '2025-12-31 19:00+00', false);
    PERFORM quota.put_account(root), quota.set_limit(root, 'credit', 0, 'lifetime');
    FOR g IN SELECT i.* FROM jsonb_to_recordset(facts -> 'grants') AS i (id text, priority int, created_at timestamptz, expires_at timestamptz)
             ORDER BY i.created_at, i.id LOOP
        PERFORM set_config('xavier_quota.clock', g.created_at::text, false);
        PERFORM quota.grant_quota(root, 'credit', 1, g.priority, '2025-12-31 23:00+00', date_trunc(unit, g.expires_at), g.id);
    END LOOP;
    PERFORM set_config('xavier_quota.clock', '2025-12-31 23:30+00', false);
    FOR i IN 1 .. jsonb_array_length(facts -> 'grants') LOOP
        PERFORM quota.adjust(root, 'credit=1', 'use');
        used := used || (SELECT jsonb_agg(a.note) FROM quota.admin_grants a WHERE a.root = burn_order.root::text AND a.state = 'exhausted' AND NOT used ? a.note);
    END LOOP;
    RETURN used;
END
$$;
INSERT INTO answer (id, point, field, expected, actual)
SELECT r.id, 'to a ' || u.unit, 'expected_order', r.facts ->> 'expected_order', pg_temp.burn_order(r.facts, quota.scope('company', r.id || u.unit), u.unit)
FROM rule_case r, unnest(ARRAY['second', 'microsecond']) AS u (unit)
WHERE r.kind = 'priority_order';

-- When a grant of 1 is in effect: it is looked for at every instant at which it could begin or
-- end, and a microsecond before. It is granted two minutes before; what is deleted is voided.
CREATE FUNCTION pg_temp.in_effect(facts jsonb, root quota.scope) RETURNS TABLE (minute numeric, active boolean) LANGUAGE plpgsql AS $$
DECLARE
    base constant timestamptz := '2026-01-01 00:00+00';
    end_min numeric := least((facts ->> 'deleted_after_min')::numeric, (facts ->> 'voided_after_min')::numeric);
    id bigint;
    m numeric;
BEGIN
    PERFORM set_config('xavier_quota.clock', (base - interval '2 minutes')::text, false);
    PERFORM quota.put_account(root), quota.put_account(root OPERATOR(quota.||) 'project:p'), quota.put_member(root, 'ann'), quota.set_limit(root, 'credit', 0, 'lifetime');
    BEGIN
        id := quota.grant_quota(root, 'credit', 1, effective_at => base, expires_at => base + (facts ->> 'expires_after_min')::int * interval '1 minute');
    EXCEPTION WHEN invalid_parameter_value THEN
        -- A grant that ends when it begins cannot be made.
    END;
    FOREACH m IN ARRAY ARRAY[-1, 0, 1, 60, 1000000] LOOP
        IF m > -1 THEN
            PERFORM set_config('xavier_quota.clock', (base + m::int * interval '1 minute' - interval '1 us')::text, false);
            active := quota.check_amount('ann', root::text || '/project:p', 'credit=1') ->> 'allowed';
            minute := m - 0.5;
            RETURN NEXT;
        END IF;
        PERFORM set_config('xavier_quota.clock', (base + m::int * interval '1 minute')::text, false);
        IF m = end_min THEN
            PERFORM quota.void_grant(id, 'case');
        END IF;
        active := quota.check_amount('ann', root::text || '/project:p', 'credit=1') ->> 'allowed';
        minute := m;
        RETURN NEXT;
    END LOOP;
END
$$;
-- From the first instant at which it is, until the first after it at which it is not.
INSERT INTO answer (id, point, field, expected, actual)
SELECT r.id, 'minute', f.field, r.facts ->> f.field, CASE f.field WHEN 'expected_from_min' THEN e."from" ELSE e."to" END
FROM rule_case r
CROSS JOIN LATERAL (
    SELECT coalesce(b."from", 0) AS "from", CASE WHEN b."from" IS NULL THEN 0 ELSE min(i.minute) FILTER (WHERE NOT i.active AND i.minute > b."from") END AS "to"
    FROM (SELECT i.*, min(i.minute) FILTER (WHERE i.active) OVER () AS "from" FROM pg_temp.in_effect(r.facts, quota.scope('company', r.id)) AS i) AS i,
         LATERAL (SELECT i."from") AS b
    GROUP BY b."from") AS e
CROSS JOIN (VALUES ('expected_from_min'), ('expected_to_min')) AS f (field)
WHERE r.kind = 'effective_period';
INSERT INTO answer (id, point, field, expected, actual)
SELECT r.id, 'minute ' || (r.facts ->> 'at_min'), 'expected_active', r.facts ->> 'expected_active', i.active
FROM rule_case r, pg_temp.in_effect(r.facts, quota.scope('company', r.id)) AS i
WHERE r.kind = 'active_at' AND i.minute = (r.facts ->> 'at_min')::numeric;
RESET xavier_quota.clock;

-- Answers ---------------------------------------------------------------------------------

SELECT c.kind, count(DISTINCT c.id) AS cases, count(DISTINCT a.id) AS asked, count(a.id) AS answers, count(a.id) FILTER (WHERE a.same) AS same
FROM (SELECT id, 'balances' AS kind FROM balance_case UNION ALL SELECT id, kind FROM rule_case) AS c LEFT JOIN answer a USING (id)
GROUP BY ROLLUP (c.kind) ORDER BY c.kind COLLATE "C" NULLS LAST;
-- Other answers, with why.
SELECT id, point, field, a.expected, a.actual, o.why FROM answer a JOIN other_answer o USING (id, point, field) WHERE NOT a.same ORDER BY id COLLATE "C";
-- Those that nothing explains, and explanations of what is not so: none.
SELECT id, point, field, a.expected, a.actual, o.here
FROM (SELECT * FROM answer WHERE NOT same) AS a FULL JOIN other_answer o USING (id, point, field)
WHERE a.actual IS DISTINCT FROM o.here;

-- What is not asked, or not said ----------------------------------------------------------

SELECT n.why, string_agg(n.id, ', ' ORDER BY n.id COLLATE "C") AS cases, count(b.id) AS balances, count(r.id) AS rules
FROM not_asked n LEFT JOIN balance_case b USING (id) LEFT JOIN rule_case r USING (id) GROUP BY n.why ORDER BY n.why COLLATE "C";
CREATE TEMP VIEW expectation AS
    SELECT b.id, 'end' AS point, f.key AS field
    FROM balance_case b, jsonb_each(b.facts -> 'expected') AS f WHERE f.key NOT IN ('segments', 'hourly_windows')
    UNION ALL
    SELECT b.id, 'phase ' || s.ordinality - 1, f.key
    FROM balance_case b, jsonb_array_elements(b.facts #> '{expected, segments}') WITH ORDINALITY AS s, jsonb_each(s.value) AS f
    UNION ALL
    SELECT b.id, 'hour ' || s.ordinality - 1, f.key
    FROM balance_case b, jsonb_array_elements(b.facts #> '{expected, hourly_windows}') WITH ORDINALITY AS s, jsonb_each(s.value) AS f
    UNION ALL
    SELECT r.id, NULL, f.key FROM rule_case r, jsonb_each(r.facts) AS f WHERE f.key LIKE 'expected%';
SELECT n.field, count(e.id) AS expectations, n.why
FROM not_said n LEFT JOIN expectation e USING (field) GROUP BY n.field, n.why ORDER BY n.field COLLATE "C";
-- Nothing else is left out: none.
SELECT e.* FROM expectation e
WHERE e.id NOT IN (SELECT n.id FROM not_asked n) AND e.field NOT IN (SELECT n.field FROM not_said n)
  AND NOT EXISTS (SELECT FROM answer a WHERE a.id = e.id AND a.field = e.field AND a.point = coalesce(e.point, a.point));
-- What was counted is in the tables, too.
SELECT * FROM quota.verify();
\c :home
DROP DATABASE regress_grant_cases;
