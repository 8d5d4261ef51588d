-- Verifies that:
-- 1. quota.preview_limit() says who would be over a limit at once, what would remain, and how many
--    open holds count, for accounts and for defaults, prorated or not;
-- 2. it changes nothing, and writes no audit; its errors are those of quota.set_limit();
-- 3. it says how many requests of the last period would not have fit, in their order: of months,
--    of models that match, of windows that roll, of refills and of a lifetime.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET xavier_quota.clock = '2026-04-16 00:00+00';
SELECT quota.put_account('company:pre') IS NOT NULL AS root,
       quota.put_account('company:pre/project:pre') IS NOT NULL AS project;
SELECT quota.put_member('company:pre', user_id) FROM unnest('{pre-ann,pre-bob}'::text[]) AS user_id;
SELECT quota.set_limit('company:pre', 'credit', 40) AS id, quota.set_limit('company:pre/user:*', 'credit', 50) AS each \gset
SELECT quota.reserve_amount('pre-ann', 'pre', 'credit=30,calls=5') ->> 'allowed' AS allowed;
SELECT quota.adjust('company:pre/user:pre-bob', 'credit=10', 'before') ->> 'state' AS state;
CREATE TEMP TABLE before AS SELECT to_jsonb(l) AS row FROM quota.limits l;
SELECT count(*) AS entries FROM quota.audit \gset

-- 1.
SELECT jsonb_pretty(quota.preview_limit('company:pre/user:*', 'credit', 20));
SELECT quota.preview_limit('company:pre', 'credit', 40) - 'levels' AS none;
SELECT quota.preview_limit('company:pre', 'calls', 4);
-- 40 until now and 60 for half of the month: 50.
SELECT p ->> 'change' AS change, p -> 'levels' -> 0 ->> 'limit' AS "limit"
FROM quota.preview_limit('company:pre', 'credit', 60, prorate => true) AS p;

-- 2.
SELECT quota.preview_limit('company:nobody', 'credit', 60);  -- fails
SELECT (SELECT array_agg(row ORDER BY row) FROM before) = (SELECT array_agg(to_jsonb(l) ORDER BY to_jsonb(l)) FROM quota.limits l) AS unchanged,
       (SELECT count(*) FROM quota.audit) = :entries AS unaudited;
SELECT quota.reserve_amount('pre-ann', 'pre', 'credit=10') ->> 'allowed' AS allowed;
SELECT * FROM quota.verify('company:pre');

-- 3. In March, ten requests of 10 that took 8, an hour apart: under 50 the sixth is the first that
-- does not fit, and nothing that takes so much fits after it. A charge of 3 comes first.
SELECT quota.set_rate_card('pre-model', '{"lines": [{"meter": "requests", "price": "0.03"}]}', '2026-03-01') IS NOT NULL AS card;
SET xavier_quota.clock = '2026-03-20 00:00+00';
SELECT quota.charge('pre-ann', 'pre', 'pre-model', '{"requests": 1}') ->> 'state' AS state;
SELECT quota.drop_limit(:id), quota.drop_limit(:each);
DO $$
DECLARE
    hold jsonb;
BEGIN
    FOR i IN 1 .. 10 LOOP
        PERFORM set_config('xavier_quota.clock', ('2026-03-20 00:00+00'::timestamptz + make_interval(hours => i))::text, false);
        hold := quota.reserve_amount(CASE WHEN i % 2 = 0 THEN 'pre-ann' ELSE 'pre-bob' END, 'pre', 'credit=10,calls=1');
        PERFORM quota.settle_amount((hold ->> 'hold_id')::uuid, 'credit=8,calls=1');
    END LOOP;
END
$$;
SET xavier_quota.clock = '2026-04-17 00:00+00';
CREATE FUNCTION pg_temp.refusals(account quota.scope, amount numeric, period quota.period, overdraft numeric DEFAULT 0, model text DEFAULT '*')
RETURNS text LANGUAGE sql AS $$
    SELECT format('%s of %s', p -> 'refused', p -> 'refused_seen')
    FROM quota.preview_limit(account, 'credit', amount, period, overdraft => overdraft, model => model) AS p
$$;
SELECT a.amount, pg_temp.refusals('company:pre', a.amount, 'month') AS month
FROM unnest(ARRAY[0, 9, 50, 52, 53, 84, 85, 100]) AS a (amount);
SELECT pg_temp.refusals('company:pre', 40, 'month', 13) AS overdraft,
       pg_temp.refusals('company:pre', 1, 'month', model => 'pre-*') AS of_model,
       pg_temp.refusals('company:pre/user:pre-ann', 30, 'month') AS of_ann,
       pg_temp.refusals('company:pre/user:*', 30, 'month') AS of_each,
       pg_temp.refusals('company:pre', 1, '1 day') AS yesterday;
-- Six hours hold three requests of 8, before a fourth of 10: those that were held six hours before
-- still count. A refill of 4 an hour up to 20 is empty after the second.
SELECT pg_temp.refusals('company:pre', 34, 'rolling 6 hours') AS rolling, pg_temp.refusals('company:pre', 58, 'rolling 6 hours') AS wider,
       pg_temp.refusals('company:pre', 20, 'refill 4 per 1 hour up to 20') AS refill, pg_temp.refusals('company:pre', 20, 'refill 8 per 1 hour up to 20') AS faster;
-- Of a lifetime 30 days are judged, and what was used before counts first.
SELECT pg_temp.refusals('company:pre', 100, 'lifetime') AS lifetime, pg_temp.refusals('company:pre', 84, 'lifetime') AS less;
SET xavier_quota.clock = '2026-04-19 05:30+00';
SELECT pg_temp.refusals('company:pre', 84, 'lifetime') AS half;
SELECT p -> 'refused' AS refused, p -> 'refused_seen' AS refused_seen FROM quota.preview_limit('company:pre', 'in_flight', 0) AS p;
SELECT * FROM quota.verify('company:pre');
