-- Verifies that:
-- 1. a request refused for a limit says what of it would fit: so much passes, one more does not,
--    whatever the card and the limits are made of;
-- 2. what does not fit at all, or would contradict the request, is left out;
-- 3. reserve, check and extend say the same; other refusals and allowed requests say nothing;
-- 4. random cards, requests and limits: the same.
-- The database is the test's own, because it registers resources, which stay.
\set ECHO none
\set home :DBNAME
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_fits;
CREATE DATABASE regress_fits;
\c regress_fits
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SET xavier_quota.clock = '2026-03-10 12:00+00';

-- What a refusal says, and what is wrong with it: nothing, if each quantity is allowed with
-- the rest of the request, and a millionth or a whole one more is refused.
CREATE FUNCTION pg_temp.fits(project text, model text, request jsonb, OUT fits jsonb, OUT wrong text) LANGUAGE plpgsql AS $$
DECLARE
    verdict jsonb := quota.check('fit_ann', project, model, request);
    fit record;
BEGIN
    IF (verdict ->> 'allowed')::boolean THEN
        wrong := CASE WHEN verdict ? 'fits' THEN 'an allowed request says what fits' END;
        RETURN;
    END IF;
    fits := verdict -> 'fits';
    FOR fit IN SELECT key, value, (value #>> '{}')::numeric + CASE key WHEN 'duration_seconds' THEN 0.000001 ELSE 1 END AS more
               FROM jsonb_each(fits) LOOP
        IF NOT (quota.check('fit_ann', project, model, request || jsonb_build_object(fit.key, fit.value)) ->> 'allowed')::boolean THEN
            wrong := concat_ws(', ', wrong, fit.key || ' does not fit');
        END IF;
        IF (quota.check('fit_ann', project, model, request || jsonb_build_object(fit.key, fit.more)) ->> 'allowed')::boolean THEN
            wrong := concat_ws(', ', wrong, fit.key || ' may be more');
        END IF;
    END LOOP;
END
$$;
CREATE FUNCTION pg_temp.set_card(model text, card jsonb) RETURNS boolean LANGUAGE sql AS $$
    SELECT quota.set_rate_card('fit-' || model, card, '2026-01-01') > 0
$$;

SELECT count(quota.put_account(s::quota.scope)) AS accounts
FROM unnest(ARRAY['company:fit', 'company:fit/project:fit', 'company:fit/project:fit_seconds', 'company:fit/project:fit_calls']) AS s;
SELECT quota.put_member('company:fit', 'fit_ann');
SELECT quota.put_resource('tokens', 'token', 'flow', NULL), quota.put_resource('video_seconds', 'second', 'flow', NULL), quota.put_resource('images', 'image', 'flow', NULL);
SELECT pg_temp.set_card('chat', '{"max_output_tokens": 16384, "lines": [{"meter": "input_tokens", "price": "0.00001"}, {"meter": "output_tokens", "price": "0.00003"}]}') AS chat,
       pg_temp.set_card('think', '{"lines": [{"meter": "input_tokens", "price": "0.00001"}, {"meter": "output_tokens", "price": "0.00003"}, {"meter": "reasoning_tokens", "price": "0.00007"}]}') AS think,
       pg_temp.set_card('image', '{"lines": [{"meter": "images", "price": "0.04", "when": {"size": "1024x1024"}}, {"meter": "images", "price": "0.07"}]}') AS image,
       pg_temp.set_card('pixel', '{"lines": [{"meter": "pixels", "price": "0.00000002"}]}') AS pixel,
       pg_temp.set_card('video', '{"lines": [{"meter": "video_seconds", "price": "0.3", "when": {"audio": true}}, {"meter": "video_seconds", "price": "0.1"}]}') AS video,
       pg_temp.set_card('voice', '{"lines": [{"meter": "audio_seconds", "price": "0.006", "per": 60, "block": 60, "free": 30}]}') AS voice,
       pg_temp.set_card('tiers', '{"max_output_tokens": 100000, "minimum_charge": "0.1", "lines": [{"meter": "output_tokens", "tiering": "volume",
           "tiers": [{"up_to": 1000, "price": "0.0003"}, {"up_to": 5000, "price": "0.0002"}, {"price": "0.0001"}]}]}') AS tiers,
       pg_temp.set_card('steps', '{"lines": [{"meter": "images", "tiering": "graduated", "tiers": [{"up_to": 3, "price": "0.1"}, {"up_to": 10, "price": "0.05"}, {"price": "0.033"}]}]}') AS steps;

-- 1. ------------------------------------------------------------------------------------

-- Ten dollars for the company, five for its project, which has two.
SELECT quota.set_limit('company:fit', 'credit', 1000) > 0 AS company, quota.set_limit('company:fit/project:fit', 'credit', 500) > 0 AS project,
       quota.set_price_adjustment('company:fit', 1.1) IS NOT NULL AS adjusted;
SELECT pg_temp.keep('held', quota.reserve_amount('fit_ann', 'fit', 'credit=300')) AS held;
SELECT request, model, f.*
FROM (VALUES
    -- (200 / 110 - 1000 x 0.00001) / 0.00003 = 60272.7
    ('chat', '{"input_tokens": 1000, "max_output_tokens": 100000}'),
    ('chat', '{"input_tokens": 1000, "max_output_tokens": 100000, "n": 3}'),
    ('chat', '{"input_tokens": 150000}'),
    ('chat', '{"input_tokens": 150000, "max_output_tokens": 100000, "expected_output_tokens": 10000}'),
    ('chat', '{"input_tokens": 150000, "output_tokens": 100000}'),
    ('think', '{"input_tokens": 1000, "max_output_tokens": 100000}'),
    ('think', '{"input_tokens": 1000, "max_output_tokens": 100000, "reasoning_tokens": 5000}'),
    ('image', '{"size": "1024x1024", "n": 100}'), ('image', '{"n": 100}'),
    ('pixel', '{"size": "2000x3000", "n": 100}'),
    ('video', '{"duration_seconds": 60}'), ('video', '{"duration_seconds": 8, "n": 5}'), ('video', '{"duration_seconds": 8, "n": 5, "audio": true}'),
    -- 200 / 110 / 0.006 = 303 minutes, and half a minute that is free.
    ('voice', '{"duration_seconds": 100000}'),
    -- 200 / 110 / 0.0001, in the last tier; the dearest of the others is 5000 x 0.0002.
    ('tiers', '{"max_output_tokens": 100000}'), ('tiers', '{}'),
    -- 3 x 0.1 + 7 x 0.05 + 35 x 0.033 = 1.805
    ('steps', '{"n": 1000}')
    ) AS r (model, text), LATERAL (SELECT text::jsonb AS request) AS j, pg_temp.fits('fit', 'fit-' || model, request) AS f;

-- Of several resources, the scarcest decides; soft limits do not, overdrafts do.
SELECT quota.set_limit('company:fit/project:fit_seconds', 'video_seconds', 12, overdraft => 0.5) > 0 AS seconds,
       quota.set_limit('company:fit/project:fit_seconds', 'tokens', 5000, 'day') > 0 AS tokens,
       quota.set_limit('company:fit/project:fit_seconds', 'images', 3, policy => 'soft') > 0 AS images;
SELECT model, request, f.*
FROM (VALUES ('video', '{"duration_seconds": 60}'), ('video', '{"duration_seconds": 1.7, "n": 10}'), ('chat', '{"input_tokens": 1000, "max_output_tokens": 100000, "n": 3}'),
             ('image', '{"n": 5}'), ('image', '{"n": 1000}')) AS r (model, text), LATERAL (SELECT text::jsonb AS request) AS j, pg_temp.fits('fit_seconds', 'fit-' || model, request) AS f;

-- 2. What is left out --------------------------------------------------------------------

SELECT quota.set_limit('company:fit/project:fit_calls', 'calls', 0) > 0 AS calls;
SELECT project, request, f.*
FROM (VALUES
    -- The input alone is too much; not even 0; more is expected than would fit, or its parts are more.
    ('fit', '{"input_tokens": 190000}'),
    ('fit_calls', '{"input_tokens": 1}'),
    ('fit', '{"input_tokens": 150000, "max_output_tokens": 100000, "expected_output_tokens": 20000}'),
    ('fit', '{"input_tokens": 150000, "max_output_tokens": 100000, "reasoning_tokens": 20000}'),
    -- Nothing but the input fits: 200 / 110 / 0.00001
    ('fit', '{"input_tokens": 181818, "max_output_tokens": 10}')
    ) AS r (project, text), LATERAL (SELECT text::jsonb AS request) AS j, pg_temp.fits(project, 'fit-chat', request) AS f;

-- 3. Who says it -------------------------------------------------------------------------

SELECT quota.reserve('fit_ann', 'fit', 'fit-chat', '{"input_tokens": 1000, "max_output_tokens": 100000}') -> 'fits' AS reserve,
       quota.can_execute_generation('fit_ann', 'fit', 'fit-chat', '{"input_tokens": 1000, "max_output_tokens": 100000}') -> 'fits' AS can_execute,
       (quota.to_verdict(quota.check('fit_ann', 'fit', 'fit-chat', '{"input_tokens": 1000, "max_output_tokens": 100000}'))).fits AS row;
SELECT pg_temp.keep('first', quota.reserve('fit_ann', 'fit', 'fit-chat', '{"input_tokens": 1000, "max_output_tokens": 1000}')) AS first;
SELECT quota.extend(pg_temp.id('first'), '{"input_tokens": 1000, "max_output_tokens": 100000}') -> 'fits' AS extend \gset
SELECT :'extend' AS extend,
       (quota.extend(pg_temp.id('first'), '{"input_tokens": 1000, "max_output_tokens": 60273}') ->> 'allowed')::boolean AS one_more,
       (quota.extend(pg_temp.id('first'), '{"input_tokens": 1000}'::jsonb || :'extend') ->> 'allowed')::boolean AS so_much;
SELECT pg_temp.brief(quota.release(pg_temp.id('first'))) AS released;
SELECT quota.deny_model('company:fit', 'fit-video');
SELECT v ->> 'reason' AS reason, v ? 'fits' AS says FROM unnest(ARRAY[
    quota.check('fit_ann', 'fit', 'fit-video', '{"duration_seconds": 60}'), quota.check_amount('fit_ann', 'fit', 'credit=1000')]) AS v;
SELECT quota.drop_model_rule('company:fit', 'fit-video') AS dropped;
-- What somebody else's hold leaves; what an expired one leaves.
SELECT pg_temp.keep('other', quota.reserve_amount('fit_ann', 'fit', 'credit=150')) AS other;
SELECT * FROM pg_temp.fits('fit', 'fit-chat', '{"input_tokens": 1000, "max_output_tokens": 100000}');
SET xavier_quota.clock = '2026-03-10 13:00+00';
SELECT * FROM pg_temp.fits('fit', 'fit-chat', '{"input_tokens": 1000, "max_output_tokens": 200000}');
SET xavier_quota.clock = '2026-03-10 12:00+00';

-- 4. Random ------------------------------------------------------------------------------

SELECT setseed(0.4);
CREATE FUNCTION pg_temp.random_tiers() RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('tiering', CASE WHEN random() < 0.5 THEN 'volume' ELSE 'graduated' END, 'tiers', (
        SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('up_to', CASE WHEN i < 4 THEN power(10, i)::int END, 'price', round(random()::numeric / 100, 6)))) FROM generate_series(1, 4) AS i))
$$;
CREATE FUNCTION pg_temp.random_fit(i integer) RETURNS TABLE (card jsonb, request jsonb, fits jsonb, wrong text) LANGUAGE plpgsql AS $$
BEGIN
    card := jsonb_build_object('max_output_tokens', 1 + (random() * 20000)::int, 'minimum_charge', round(random()::numeric / 10, 3), 'lines', jsonb_build_array(
        jsonb_build_object('meter', CASE i % 4 WHEN 0 THEN 'output_tokens' WHEN 1 THEN 'images' WHEN 2 THEN 'video_seconds' ELSE 'audio_seconds' END)
            || pg_temp.random_tiers() || CASE WHEN random() < 0.3 THEN jsonb_build_object('block', 1 + (random() * 60)::int) ELSE '{}' END
            || CASE WHEN random() < 0.3 THEN jsonb_build_object('free', (random() * 100)::int) ELSE '{}' END,
        jsonb_build_object('meter', 'reasoning_tokens', 'price', round(random()::numeric / 100, 6)),
        jsonb_build_object('meter', 'input_tokens', 'price', round(random()::numeric / 100, 6), 'required', false)));
    PERFORM pg_temp.set_card('random', card);
    request := jsonb_build_object('n', 1 + (random() * 50)::int) || CASE i % 4 WHEN 0 THEN jsonb_build_object('max_output_tokens', (random() * 100000)::int)
        WHEN 1 THEN '{}'::jsonb ELSE jsonb_build_object('duration_seconds', round((random() * 5000)::numeric, 4)) END
        || CASE WHEN random() < 0.3 THEN jsonb_build_object('input_tokens', (random() * 1000)::int) ELSE '{}' END;
    SELECT f.fits, f.wrong INTO fits, wrong FROM pg_temp.fits('fit', 'fit-random', request) AS f;
    RETURN NEXT;
END
$$;
CREATE TEMP TABLE random_fit AS SELECT f.* FROM generate_series(1, 400) AS i, pg_temp.random_fit(i) AS f;
SELECT count(*) AS cards, count(fits) > 100 AS refused, count(*) FILTER (WHERE fits <> '{}') > 100 AS something_fits, count(wrong) AS wrong FROM random_fit;
SELECT * FROM random_fit WHERE wrong IS NOT NULL LIMIT 5;
SELECT count(DISTINCT key) AS kinds, bool_and(value #>> '{}' ~ '^\d+(\.\d{1,6})?$') AS numbers FROM random_fit, jsonb_each(fits);

\c :home
DROP DATABASE regress_fits;
