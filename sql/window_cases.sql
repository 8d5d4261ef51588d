-- Verifies that:
-- 1. buckets, windows and periods do what the cases of other systems in data/window_cases.json
--    say, to the microsecond and the millionth; where they do something else, what and why;
-- 2. every case is asked, or is listed with why not; every expectation of a case that is asked
--    is compared, or is of a kind that is listed with why not.
-- A test's own database, because the cases need hundreds of accounts.
\set ECHO none
\set home :DBNAME
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_window_cases;
CREATE DATABASE regress_window_cases;
\c regress_window_cases
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SET synchronous_commit = off; -- hundreds of small transactions, whose durability other tests are about
\set cases_file :abs_srcdir '/data/window_cases.json'

CREATE TEMP TABLE window_case AS
SELECT c.value ->> 'id' AS id, c.value ->> 'algorithm' AS algorithm, c.value AS facts
FROM jsonb_array_elements(pg_read_file(:'cases_file')::jsonb -> 'cases') AS c;

-- What is not asked, and why.
CREATE TEMP TABLE not_asked (id text PRIMARY KEY, why text NOT NULL);
INSERT INTO not_asked VALUES
    ('sw-limits-prev', 'estimates a window from the counts of two fixed ones; windows are exact here'),
    ('fw-guber-zero-duration', 'a period has a length'),
    ('b4-prorate-8', 'what is refilled is more than the capacity: a period has one amount');
-- Expectations that no answer holds.
CREATE TEMP TABLE not_said (field text PRIMARY KEY, why text NOT NULL);
INSERT INTO not_said VALUES
    ('hits_near_limit', 'how many hits of one request lie below and above a threshold is not counted'),
    ('hits_within_limit', 'a request is allowed or refused as a whole'),
    ('hits_over_limit', 'a request is allowed or refused as a whole');
-- Where the answer is another one, and why. Steps count from 0.
CREATE TEMP TABLE other_answer (id text, step int, field text, here text, why text NOT NULL);
INSERT INTO other_answer
SELECT o.id, o.step, o.field, o.here, w.why
FROM (VALUES
    ('never', 'what is more than the limit never fits'),
    ('refused', 'a refused request changes nothing'),
    ('burst', 'a bucket never holds more than its burst; grants to a period give more'),
    ('clock', 'a clock that goes back frees nothing; there the time that it went back refills again'),
    ('calendar', 'months and years are those of the calendar; 30 days are written as such')) AS w (reason, why)
JOIN (VALUES
    ('never', 'gcra-redisrate-allow', 3, 'retry_after', '-1'),
    ('never', 'gcra-redisrate-atmost', 6, 'retry_after', '-1'),
    ('never', 'b4-wait-5', 0, 'wait', 'never'),
    ('refused', 'fw-guber-drain', 2, 'remaining', '9'),
    ('refused', 'fw-guber-drain', 3, 'remaining', '9'),
    ('refused', 'lb-guber-drain', 2, 'remaining', '9'),
    ('refused', 'lb-guber-drain', 3, 'remaining', '9'),
    ('refused', 'fw-envoy-2', 0, 'counter_after', '10'),
    ('refused', 'fw-envoy-4', 0, 'counter_after', '12'),
    ('refused', 'fw-envoy-7', 0, 'counter_after', '15'),
    ('refused', 'fw-envoy-11', 0, 'counter_after', '19'),
    ('refused', 'fw-envoy-11', 0, 'remaining', '1'),
    ('refused', 'fw-envoy-12', 0, 'counter_after', '15'),
    ('refused', 'fw-envoy-12', 0, 'remaining', '5'),
    ('burst', 'b4-force-5', 2, 'available', '100'),
    ('burst', 'b4-force-keep', 1, 'available', '100'),
    ('burst', 'b4-force-keep', 3, 'available', '98'),
    ('burst', 'b4-force-keep', 5, 'available', '97'),
    ('burst', 'b4-replace-prop-over', 1, 'available', '3'),
    ('clock', 'tb-gorate-backwards', 5, 'tokens_before', '0'),
    ('clock', 'tb-gorate-backwards', 5, 'allowed', 'false'),
    ('clock', 'tb-gorate-jumpback-cancel', 4, 'act_at', '5.01618'), -- 5, to a bucket
    ('clock', 'tb-gorate-setburst', 3, 'act_at', '12'),
    ('calendar', 'fw-envoy-units', 0, 'month', '2678400'),
    ('calendar', 'fw-limits-units', 0, 'month', '2678400'),
    ('calendar', 'fw-limits-units', 0, 'year', '31536000')) AS o (reason, id, step, field, here) USING (reason);

-- What was answered. precision: exact, or to a bucket of the window or the burst.
CREATE TEMP TABLE answer (id text, step int, op text, field text, expected text, actual text, same boolean, precision text);

-- Driver --------------------------------------------------------------------------------
--
-- Every case has a company of its own. A tick is a second; where a period of the calendar is
-- no whole number of seconds, a millisecond is one, too. Consumption is a hold that is
-- settled at once; a reservation is one that stays open, as the clients of a soft limit get it;
-- consumption that asks nobody, and a starting balance, are adjustments. Interval
-- refills are periods of the calendar that carry what is left and what was too much.

-- The length of a unit of time of a case in microseconds.
CREATE FUNCTION pg_temp.unit_us(facts jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE facts ->> 'time_unit'
               WHEN 'ms' THEN CASE WHEN facts ->> 'algorithm' LIKE 'fixed_window%' AND (facts #>> '{params, duration}')::bigint % 1000 <> 0
                                     OR facts #>> '{params, refill_kind}' LIKE 'interval%' AND (facts #>> '{params, period}')::bigint % 1000 <> 0
                                   THEN 1000000 ELSE 1000 END
               WHEN 'tick (100 ms)' THEN 100000
               ELSE 1000000
           END
$$;

-- The instant of a step.
CREATE FUNCTION pg_temp.instant(facts jsonb, at numeric) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE facts ->> 'algorithm' WHEN 'fixed_window_epoch' THEN timestamptz '1970-01-01 00:00+00' ELSE '2026-01-01 00:00+00' END
           + make_interval(secs => (at * pg_temp.unit_us(facts) / 1000000)::float8)
$$;

-- A bucket that refills n in so many microseconds: in whole seconds and millionths.
CREATE FUNCTION pg_temp.bucket(n numeric, per_us numeric, capacity numeric) RETURNS quota.period LANGUAGE sql IMMUTABLE AS $$
    SELECT format('refill %s per %s seconds up to %s', trim_scale(n * m * k), trunc(per_us * m * k / 1000000), trim_scale(capacity))::quota.period
    FROM trunc(10::numeric ^ greatest(0, min_scale(n) - 6)) AS m, trunc(1000000 / gcd(per_us * m, 1000000::numeric)) AS k
$$;

-- A bucket of the window or the burst: how far answers may be off where buckets matter.
CREATE FUNCTION pg_temp.slot_us(window_us numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN window_us >= 60 * 3600000000::numeric THEN floor(window_us / 60 / 3600000000) * 3600000000 ELSE ceil(window_us / 60) END
$$;

-- One limit of a case: a bucket, a window or a period.
CREATE TYPE pg_temp.case_limit AS (
    resource text, limit_id bigint, period quota.period, amount numeric, capacity numeric, rollover numeric, slot_us numeric, rate numeric);

CREATE FUNCTION pg_temp.case_limit(facts jsonb, params jsonb, resource text) RETURNS pg_temp.case_limit LANGUAGE plpgsql AS $$
DECLARE
    l pg_temp.case_limit;
    unit_us numeric := pg_temp.unit_us(facts);
    first numeric := (facts #>> '{steps, 0, at}')::numeric;
    capacity numeric := coalesce(params ->> 'capacity', params ->> 'burst', params ->> 'limit')::numeric;
    refill numeric := coalesce(params ->> 'refill', '1')::numeric;
    per numeric := coalesce(params ->> 'period', params ->> 'emission_interval', params ->> 'window', params ->> 'duration')::numeric * unit_us;
    anchor numeric := coalesce((params ->> 'first_refill_at')::numeric, (params ->> 'created_at')::numeric, first);
BEGIN
    l.resource := resource;
    l.capacity := capacity;
    l.rollover := 0;
    l.amount := capacity;
    CASE
        WHEN facts ->> 'algorithm' IN ('rolling_window', 'sliding_window_counter') THEN
            l.period := format('rolling %s seconds', trunc(per / 1000000));
            l.slot_us := pg_temp.slot_us(per);
        WHEN facts ->> 'algorithm' IN ('fixed_window_epoch', 'fixed_window_calendar') THEN
            l.period := params ->> 'unit';
        WHEN facts ->> 'algorithm' = 'fixed_window_from_first_hit' OR params ->> 'refill_kind' LIKE 'interval%'
             OR facts ->> 'algorithm' = 'prorated_first_period' THEN
            l.period := format('%s seconds from %s', trunc(per / 1000000), pg_temp.instant(facts, anchor) AT TIME ZONE 'UTC');
            IF facts ->> 'algorithm' <> 'fixed_window_from_first_hit' THEN
                l.amount := refill;
                l.rollover := capacity - refill;
            END IF;
        WHEN refill = 0 THEN
            l.period := 'lifetime';
        ELSE
            IF facts ->> 'algorithm' = 'leaky_bucket' THEN
                refill := (params ->> 'limit')::numeric;
            END IF;
            l.period := pg_temp.bucket(refill, per, capacity);
            l.rate := refill / per;
            l.slot_us := pg_temp.slot_us(ceil(capacity * per / refill));
    END CASE;
    RETURN l;
END
$$;

-- Creates it.
CREATE FUNCTION pg_temp.create_limit(root quota.scope, l pg_temp.case_limit, prorate boolean DEFAULT false) RETURNS bigint LANGUAGE sql AS $$
    SELECT quota.set_limit(root, l.resource, l.amount, l.period, rollover => l.rollover, rollover_periods => 12,
                           carry_overage => l.rollover > 0, prorate => prorate)
$$;

-- n of every limited resource.
CREATE FUNCTION pg_temp.n(limits pg_temp.case_limit[], n numeric) RETURNS quota.amount LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg(l.resource || '=' || n, ',')::quota.amount FROM unnest(limits) AS l
$$;

-- What is left now, of the limit with the least.
CREATE FUNCTION pg_temp.left_of(document jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT min((l ->> 'remaining')::numeric) FROM jsonb_array_elements(document -> 'levels') AS l
$$;

CREATE PROCEDURE pg_temp.run_case(case_id text) LANGUAGE plpgsql AS $$
DECLARE
    facts jsonb;
    unit_us numeric;
    params jsonb;
    root quota.scope;
    project text;
    limits pg_temp.case_limit[] := '{}';
    l pg_temp.case_limit;
    corrected boolean := false;   -- something became less: answers are right to a bucket
    slack numeric := 0;           -- what a bucket refills
    later boolean;                -- asked a bucket later
    step jsonb; step_no bigint; at timestamptz; last_key text := ''; key text;
    op text; n numeric; v jsonb; asked jsonb; peek jsonb; before numeric; after numeric; taken numeric; balance numeric; wanted numeric; given numeric;
    holds uuid[] := '{}'; amounts numeric[] := '{}'; hold uuid;
    field text; expected text; actual text; ok boolean; precise boolean; wait numeric;
    i int;
BEGIN
    SELECT c.facts, c.facts -> 'params' INTO STRICT facts, params FROM pg_temp.window_case c WHERE c.id = case_id;
    unit_us := pg_temp.unit_us(facts);
    FOR step, step_no IN SELECT s.value, s.ordinality - 1 FROM jsonb_array_elements(facts -> 'steps') WITH ORDINALITY AS s LOOP
        -- Its own company for every key, with what it starts with.
        key := coalesce(step ->> 'key', '');
        IF step_no = 0 OR key <> last_key THEN
            last_key := key;
            root := quota.scope('company', case_id || key);
            project := root::text || '/project:p';
            at := pg_temp.instant(facts, coalesce((params ->> 'created_at')::numeric, 0));
            PERFORM set_config('xavier_quota.clock', at::text, false);
            PERFORM quota.put_account(root), quota.put_account(project::quota.scope), quota.put_member(root, 'ann');
            limits := '{}';
            FOR i IN 1 .. coalesce(jsonb_array_length(params -> 'limits'), 1) LOOP
                l := pg_temp.case_limit(facts, coalesce(params -> 'limits' -> (i - 1), params), CASE i WHEN 1 THEN 'credit' ELSE 'calls' END);
                l.limit_id := pg_temp.create_limit(root, l,
                    facts ->> 'algorithm' = 'prorated_first_period'
                    AND (params ->> 'first_refill_at')::numeric - (params ->> 'created_at')::numeric BETWEEN 1 AND (params ->> 'period')::numeric);
                limits := limits || l;
                -- It starts full, or with the initial balance. What of the capacity no period gives has been kept.
                balance := coalesce(coalesce(params -> 'limits' -> (i - 1), params) ->> 'initial', l.capacity::text)::numeric;
                IF l.capacity - balance - l.rollover <> 0 THEN
                    PERFORM quota.adjust(root, (l.resource || '=' || l.capacity - l.rollover - balance)::quota.amount, 'start');
                END IF;
            END LOOP;
            IF step ? 'counter_before' THEN
                PERFORM set_config('xavier_quota.clock', pg_temp.instant(facts, (step ->> 'at')::numeric)::text, false);
                PERFORM quota.adjust(root, pg_temp.n(limits, (step ->> 'counter_before')::numeric), 'counted before');
            END IF;
            COMMIT;
        END IF;
        op := step ->> 'op';
        n := (step ->> 'n')::numeric;
        at := pg_temp.instant(facts, (step ->> 'at')::numeric);
        later := false;
        v := NULL; taken := NULL;
        LOOP
            PERFORM set_config('xavier_quota.clock', at::text, false);
            before := pg_temp.left_of(quota.check_amount('ann', project, pg_temp.n(limits, 0.000001)));
            CASE
                WHEN (step ->> 'reset')::boolean THEN
                    PERFORM quota.adjust(root, pg_temp.n(limits, before - l.capacity), 'reset');
                    v := '{"allowed": true}';
                WHEN op IN ('consume', 'hit') AND n >= 0 THEN
                    v := quota.reserve_amount('ann', project, pg_temp.n(limits, n));
                WHEN op IN ('consume_all', 'consume_up_to') THEN
                    taken := greatest(0, least(n, floor(before)));
                    v := quota.reserve_amount('ann', project, pg_temp.n(limits, CASE taken WHEN 0 THEN 1 ELSE taken END));
                WHEN op IN ('estimate', 'test', 'wait_ignoring_capacity', 'reserve') THEN
                    v := quota.check_amount('ann', project, pg_temp.n(limits, n));
                ELSE
                    v := '{"allowed": true}'; -- nobody is asked
            END CASE;
            -- What is refused, but should not be, is asked once more a bucket later. Never the other way round.
            EXIT WHEN later OR NOT (corrected OR facts ->> 'algorithm' = 'rolling_window') OR (v ->> 'allowed')::boolean
                      OR coalesce((step #>> '{expect, allowed}')::boolean, NOT (step #>> '{expect, over_limit}')::boolean) IS NOT TRUE;
            later := true;
            at := at + limits[1].slot_us * interval '1 us';
        END LOOP;
        -- What is taken for good, kept open or given back.
        IF op IN ('consume', 'hit', 'consume_all', 'consume_up_to') AND v ->> 'hold_id' IS NOT NULL THEN
            IF facts ->> 'algorithm' IN ('rolling_window', 'sliding_window_counter') THEN
                hold := v ->> 'hold_id';
            ELSE
                PERFORM quota.settle_amount((v ->> 'hold_id')::uuid, (v #> '{estimate, amount}')::quota.amount);
            END IF;
        ELSIF op = 'hit' AND n < 0 OR op IN ('add', 'force_add') THEN
            PERFORM quota.adjust(root, pg_temp.n(limits, CASE op WHEN 'hit' THEN n ELSE -n END), op);
            corrected := corrected OR limits[1].rate IS NOT NULL;
        ELSIF op = 'consume_ignoring' THEN
            PERFORM quota.adjust(root, pg_temp.n(limits, n), op);
        ELSIF op = 'clear' THEN
            PERFORM quota.release(h) FROM unnest(holds) AS h WHERE h IS NOT NULL;
            holds := '{}';
        ELSIF op = 'reserve' THEN
            -- More than there is can be held while the limit is soft.
            IF n <= limits[1].capacity THEN
                PERFORM quota.set_limit(root, 'credit', limits[1].amount, limits[1].period, 'soft');
                hold := quota.reserve_amount('ann', project, pg_temp.n(limits, n)) ->> 'hold_id';
                PERFORM quota.set_limit(root, 'credit', limits[1].amount, limits[1].period, 'hard');
            END IF;
        ELSIF op = 'cancel' THEN
            -- What later reservations wait for is not given back, nor what was due already.
            i := (step ->> 'step')::int + 1;
            IF holds[i] IS NOT NULL AND (facts #>> ARRAY['steps', (i - 1)::text, 'expect', 'act_at'])::numeric >= (step ->> 'at')::numeric THEN
                given := greatest(0, amounts[i] - (SELECT coalesce(sum(amounts[j]), 0) FROM generate_subscripts(amounts, 1) AS j WHERE j > i));
                IF given = amounts[i] THEN
                    PERFORM quota.release(holds[i]);
                ELSE
                    PERFORM quota.settle_amount(holds[i], pg_temp.n(limits, amounts[i] - given));
                END IF;
                corrected := corrected OR given > 0;
                amounts[i] := amounts[i] - given;
            END IF;
        ELSIF op IN ('replace', 'set_refill', 'set_capacity') THEN
            -- A limit reads the ledger by its own terms. What it shall start with is adjusted.
            PERFORM quota.drop_limit(limits[1].limit_id);
            l := pg_temp.case_limit(facts || jsonb_build_object('steps', jsonb_build_array(step)),
                                    params || coalesce(step -> 'limit', step - '{at, op, n, expect}'::text[]), 'credit');
            params := params || coalesce(step -> 'limit', step - '{at, op, n, expect}'::text[]);
            wanted := least(l.capacity, CASE step ->> 'mode' WHEN 'reset' THEN l.capacity
                                                             WHEN 'additive' THEN before + l.capacity - limits[1].capacity
                                                             WHEN 'proportional' THEN before * l.capacity / limits[1].capacity
                                                             ELSE before END);
            IF l.rate IS NULL THEN
                wanted := floor(wanted);
            END IF;
            l.limit_id := pg_temp.create_limit(root, l);
            balance := pg_temp.left_of(quota.check_amount('ann', project, 'credit=0.000001')) - wanted;
            IF balance <> 0 THEN
                PERFORM quota.adjust(root, ('credit=' || round(balance, 6))::quota.amount, op);
            END IF;
            corrected := corrected OR balance < 0;
            limits[1] := l;
        END IF;
        holds[step_no + 1] := coalesce(hold, holds[step_no + 1]);
        amounts[step_no + 1] := CASE WHEN hold IS NOT NULL THEN n ELSE 0 END;
        hold := NULL;
        COMMIT;

        -- What is seen after it.
        slack := CASE WHEN corrected THEN limits[1].slot_us * limits[1].rate ELSE 0 END;
        peek := quota.check_amount('ann', project, pg_temp.n(limits, 0.000001));
        after := pg_temp.left_of(peek);
        FOR field, expected IN SELECT e.key, e.value FROM jsonb_each_text(step -> 'expect') AS e
                               WHERE e.key NOT IN (SELECT s.field FROM pg_temp.not_said s) LOOP
            actual := NULL;
            precise := NOT later;
            CASE
                WHEN field = 'allowed' THEN
                    actual := v ->> 'allowed';
                WHEN field = 'over_limit' THEN
                    actual := NOT (v ->> 'allowed')::boolean;
                WHEN field = 'ok' THEN
                    actual := coalesce((v ->> 'allowed')::boolean OR v ->> 'retry_at' IS NOT NULL, false);
                WHEN field = 'consumed' THEN
                    actual := CASE WHEN (v ->> 'allowed')::boolean THEN taken ELSE 0 END;
                WHEN field = 'act_at' THEN
                    actual := (extract(epoch FROM coalesce((v ->> 'retry_at')::timestamptz, at) - pg_temp.instant(facts, 0)) * 1000000 / unit_us);
                WHEN field IN ('available', 'remaining', 'tokens_before') THEN
                    balance := CASE field WHEN 'tokens_before' THEN before ELSE after END;
                    actual := CASE WHEN facts ->> 'algorithm' LIKE 'fixed_window%' AND (v ->> 'allowed')::boolean IS FALSE
                                   THEN greatest(0, floor(balance)) ELSE floor(balance) END;
                    IF actual <> expected AND floor(balance) <= expected::numeric AND floor(least(balance + slack, limits[1].capacity)) >= expected::numeric THEN
                        actual := expected;
                        precise := false;
                    ELSIF actual::numeric < expected::numeric AND facts ->> 'algorithm' = 'rolling_window' THEN
                        PERFORM set_config('xavier_quota.clock', (at + limits[1].slot_us * interval '1 us')::text, false);
                        actual := floor(pg_temp.left_of(quota.check_amount('ann', project, pg_temp.n(limits, 0.000001))));
                        PERFORM set_config('xavier_quota.clock', at::text, false);
                        precise := false;
                    END IF;
                WHEN field = 'fraction' THEN
                    -- To a millionth, rounded down.
                    expected := trim_scale(trunc(split_part(expected, '/', 1)::numeric / coalesce(nullif(split_part(expected, '/', 2), ''), '1')::numeric, 6));
                    actual := trim_scale(after - floor(after));
                WHEN field = 'counter_after' THEN
                    actual := (peek #>> '{levels, 0, used}')::numeric + (peek #>> '{levels, 0, held}')::numeric;
                WHEN field = 'window_start' THEN
                    actual := extract(epoch FROM (peek #>> '{levels, 0, period_start}')::timestamptz)::bigint;
                WHEN field IN ('wait', 'retry_after', 'reset_after') THEN
                    IF field = 'reset_after' AND facts ->> 'algorithm' LIKE 'fixed_window%' THEN
                        actual := extract(epoch FROM (peek #>> '{levels, 0, period_end}')::timestamptz - at)::bigint * 1000000 / unit_us::bigint;
                    ELSIF field = 'reset_after' AND facts ->> 'algorithm' = 'leaky_bucket' THEN
                        -- The peer's: that of whole tokens.
                        actual := trim_scale(round((limits[1].capacity - floor(after + slack)) / limits[1].rate / unit_us, 6));
                    ELSE
                        -- How long a request waits: of everything for when it is full, of the least for when there is no debt.
                        asked := v;
                        IF op = 'time_to_full' OR field = 'reset_after' AND facts ->> 'algorithm' = 'gcra' THEN
                            asked := quota.check_amount('ann', project, (SELECT string_agg(m.resource || '=' || m.capacity, ',')::quota.amount FROM unnest(limits) AS m));
                        ELSIF op = 'consume_ignoring' OR field = 'reset_after' THEN
                            asked := quota.check_amount('ann', project, pg_temp.n(limits, CASE op WHEN 'consume_ignoring' THEN 0.000001 ELSE 1 END));
                            IF after >= 0 AND op = 'consume_ignoring' THEN
                                asked := '{"allowed": true}';
                            END IF;
                        END IF;
                        wait := CASE WHEN (asked ->> 'allowed')::boolean THEN 0 ELSE extract(epoch FROM (asked ->> 'retry_at')::timestamptz - at) * 1000000 END;
                        IF op = 'consume_ignoring' AND wait > 0 THEN
                            wait := wait - coalesce(ceil(0.000001 / limits[1].rate), 0);
                        END IF;
                        IF wait IS NULL OR wait = 0 AND field = 'retry_after' THEN
                            actual := CASE field WHEN 'retry_after' THEN '-1' ELSE 'never' END;
                        ELSE
                            actual := trim_scale(wait / unit_us);
                        END IF;
                    END IF;
                ELSE
                    RAISE EXCEPTION 'case % expects %', case_id, field;
            END CASE;
            -- Instants, to a bucket.
            IF field IN ('act_at', 'wait', 'retry_after', 'reset_after') AND actual ~ '^\d' AND expected ~ '^\d' THEN
                actual := trim_scale(actual::numeric);
                IF actual <> expected AND (corrected OR facts ->> 'algorithm' = 'rolling_window')
                   AND actual::numeric BETWEEN expected::numeric AND expected::numeric + (limits[1].slot_us + 1) / unit_us THEN
                    actual := expected;
                    precise := false;
                END IF;
            END IF;
            INSERT INTO pg_temp.answer VALUES (case_id, step_no, op, field, expected, actual, expected IS NOT DISTINCT FROM actual,
                                               CASE WHEN precise THEN 'exact' ELSE 'to a bucket' END);
        END LOOP;
    END LOOP;
    COMMIT;
END
$$;

CREATE PROCEDURE pg_temp.run_cases() LANGUAGE plpgsql AS $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT w.id FROM pg_temp.window_case w
             WHERE w.algorithm NOT IN ('calendar_window_end', 'unit_seconds', 'rate_interval', 'concurrency')
               AND w.id NOT IN (SELECT n.id FROM pg_temp.not_asked n) LOOP
        CALL pg_temp.run_case(c.id);
    END LOOP;
END
$$;
CALL pg_temp.run_cases();

-- Ends of windows, to the millisecond.
INSERT INTO answer
SELECT c.id, s.ordinality - 1, s.value ->> 'op', 'last_instant_ms', e.expected, a.actual, e.expected = a.actual, 'exact'
FROM window_case c, jsonb_array_elements(c.facts -> 'steps') WITH ORDINALITY AS s,
     CAST((s.value #>> '{expect, last_instant_ms}')::timestamptz AS text) AS e (expected),
     CAST(upper(quota.period_range((c.facts #>> '{params, unit}')::quota.period, (s.value ->> 'at')::timestamptz)) - interval '1 ms' AS text) AS a (actual)
WHERE c.algorithm = 'calendar_window_end';

-- Units of time, in January.
INSERT INTO answer
SELECT c.id, 0, 'units', e.key, e.value, a.actual, e.value = a.actual, 'exact'
FROM window_case c, jsonb_each_text(c.facts #> '{steps, 0, expect}') AS e,
     quota.period_range(e.key::quota.period, '2026-01-20') AS r,
     CAST(extract(epoch FROM upper(r) - lower(r))::bigint AS text) AS a (actual)
WHERE c.algorithm = 'unit_seconds';

-- How far apart requests are at a rate, for which nothing is saved up.
CREATE FUNCTION pg_temp.interval_ms(n text, per text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    root quota.scope := quota.scope('company', format('%s in %s', n, per));
    period quota.period;
BEGIN
    period := format('refill %s per %s up to 1', n, replace(per, ' s', ' seconds'));
    PERFORM set_config('xavier_quota.clock', '2026-01-01 00:00+00', false);
    PERFORM quota.put_account(root), quota.put_account(root OPERATOR(quota.||) 'project:p'), quota.put_member(root, 'ann'), quota.set_limit(root, 'credit', 1, period);
    PERFORM quota.reserve_amount('ann', root::text || '/project:p', 'credit=1');
    RETURN extract(epoch FROM (quota.check_amount('ann', root::text || '/project:p', 'credit=1') ->> 'retry_at')::timestamptz - quota.now()) * 1000;
EXCEPTION WHEN data_exception THEN
    RETURN 'error';
END
$$;
INSERT INTO answer
SELECT c.id, s.ordinality - 1, s.value ->> 'op', e.key, e.value, a.actual, e.value = a.actual, 'exact'
FROM window_case c, jsonb_array_elements(c.facts -> 'steps') WITH ORDINALITY AS s, jsonb_each_text(s.value -> 'expect') AS e,
     pg_temp.interval_ms(s.value ->> 'n', s.value ->> 'per') AS i,
     CAST(CASE WHEN e.key = 'error' THEN (i = 'error')::text ELSE trim_scale(i::numeric)::text END AS text) AS a (actual)
WHERE c.algorithm = 'rate_interval';

CREATE FUNCTION pg_temp.allowed_count(facts jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    l pg_temp.case_limit := pg_temp.case_limit(facts, facts -> 'params', 'credit');
BEGIN
    PERFORM quota.put_account('company:parallel'), quota.put_account('company:parallel/project:parallel'), quota.put_member('company:parallel', 'ann'),
            pg_temp.create_limit('company:parallel', l);
    RETURN count(*) FILTER (WHERE (quota.reserve_amount('ann', 'parallel', ('credit=' || (facts #>> '{steps, 0, n}'))::quota.amount) ->> 'allowed')::boolean)
        FROM generate_series(1, (facts #>> '{params, parallel_requests}')::int);
END
$$;
-- Requests at once are holds that are open at once, one after the other here: specs/ has real ones.
INSERT INTO answer
SELECT c.id, 0, 'parallel_consume', 'allowed_count', c.facts #>> '{steps, 0, expect, allowed_count}', a.actual, c.facts #>> '{steps, 0, expect, allowed_count}' = a.actual, 'exact'
FROM window_case c, pg_temp.allowed_count(c.facts) AS a (actual)
WHERE c.algorithm = 'concurrency';
RESET xavier_quota.clock;

-- 1. Answers ---------------------------------------------------------------------------

SELECT c.algorithm, count(DISTINCT c.id) AS cases, count(DISTINCT a.id) AS asked, count(a.id) AS answers,
       count(a.id) FILTER (WHERE a.same) AS same, count(a.id) FILTER (WHERE a.same AND a.precision <> 'exact') AS to_a_bucket
FROM window_case c LEFT JOIN answer a USING (id)
GROUP BY ROLLUP (c.algorithm) ORDER BY c.algorithm COLLATE "C" NULLS LAST;
-- Other answers, with why.
SELECT o.why, a.id, a.step, a.op, a.field, a.expected, a.actual
FROM answer a JOIN other_answer o USING (id, step, field)
WHERE NOT a.same ORDER BY o.why COLLATE "C", a.id COLLATE "C", a.step, a.field COLLATE "C";
-- Those that nothing explains, and explanations of what is not so: none.
SELECT id, step, a.op, field, a.expected, a.actual, o.here
FROM (SELECT * FROM answer WHERE same IS NOT TRUE) AS a FULL JOIN other_answer o USING (id, step, field)
WHERE a.actual IS DISTINCT FROM o.here;
-- After something became less, a bucket is right to what flows back in a 60th of the burst;
-- rows leave a window in 60ths of it.
SELECT id, step, op, field, expected, actual FROM answer WHERE precision <> 'exact' ORDER BY id COLLATE "C", step, field COLLATE "C";

-- 2. What is not asked, or not said -------------------------------------------------------

SELECT n.id, c.algorithm, n.why FROM not_asked n LEFT JOIN window_case c USING (id) ORDER BY n.id COLLATE "C";
SELECT n.field, count(e.key) AS expectations, n.why
FROM not_said n
LEFT JOIN (window_case c CROSS JOIN jsonb_array_elements(c.facts -> 'steps') AS s CROSS JOIN jsonb_each(s.value -> 'expect') AS e) ON e.key = n.field
GROUP BY n.field, n.why ORDER BY n.field COLLATE "C";
-- Nothing else is left out: none.
SELECT c.id, s.ordinality - 1 AS step, e.key AS field
FROM window_case c, jsonb_array_elements(c.facts -> 'steps') WITH ORDINALITY AS s, jsonb_each(s.value -> 'expect') AS e
WHERE c.id NOT IN (SELECT n.id FROM not_asked n) AND e.key NOT IN (SELECT n.field FROM not_said n)
  AND NOT EXISTS (SELECT FROM answer a WHERE a.id = c.id AND a.step = s.ordinality - 1 AND a.field = e.key);
-- What was counted is in the tables, too.
SELECT * FROM quota.verify();
\c :home
DROP DATABASE regress_window_cases;
