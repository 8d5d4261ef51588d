-- Verifies that:
-- 1. estimates are the documents that are promised, with ceiling, expected and lines;
-- 2. whatever makes no sense is an error that names the key;
-- 3. all that a card can say about a line works: conditions, tiers, blocks, allowances,
--    caps, minimum charge, multipliers, defaults;
-- 4. costs are exact, whatever the price and the quantity, and credits are rounded up once;
-- 5. costs add up over lines, and rise with every quantity;
-- 6. an amount carries the measures that are registered as resources.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- Cards are never removed: everything happens in a transaction that is rolled back.
\set ON_ERROR_ROLLBACK on
BEGIN;
SET LOCAL xavier_quota.clock = '2026-08-01 00:00:00+00';

-- Sets a card of lines "meter price" and whatever else.
CREATE FUNCTION pg_temp.set_card(model text, lines text, rest jsonb DEFAULT '{}') RETURNS boolean LANGUAGE sql AS $$
    SELECT quota.set_rate_card('cost_estimate/' || model, rest || jsonb_build_object('lines', (
        SELECT jsonb_agg(jsonb_build_object('meter', split_part(l, ' ', 1), 'price', split_part(l, ' ', 2)))
        FROM regexp_split_to_table(lines, ', ') AS l))) > 0
$$;
CREATE FUNCTION pg_temp.cost(model text, usage jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    RETURN quota.price('cost_estimate/' || model, usage) ->> 'cost_usd';
EXCEPTION WHEN SQLSTATE 'XQ201' OR numeric_value_out_of_range THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN replace(SQLERRM, 'request cannot be priced: ', '') || ': ' || detail;
END
$$;
CREATE FUNCTION pg_temp.ceiling(model text, request jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    document jsonb;
BEGIN
    document := quota.estimate('cost_estimate/' || model, request);
    RETURN format('%s, expected %s credits; %s', document ->> 'cost_usd', document #>> '{expected, credit}', document ->> 'assumptions');
EXCEPTION WHEN SQLSTATE 'XQ201' THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN replace(SQLERRM, 'request cannot be priced: ', '') || ': ' || detail;
END
$$;

SELECT pg_temp.set_card('chat', 'input_tokens 0.0000025, cached_input_tokens 0.00000125, output_tokens 0.00001',
                        '{"mode": "chat", "max_output_tokens": 16384}') AS chat,
       pg_temp.set_card('thinking', 'input_tokens 0.0000003, output_tokens 0.0000006, reasoning_tokens 0.0000035') AS thinking,
       pg_temp.set_card('claude', 'input_tokens 0.000003, cached_input_tokens 0.0000003, cache_write_tokens 0.00000375, cache_write_1h_tokens 0.000006, output_tokens 0.000015, web_search_requests 0.01') AS claude,
       pg_temp.set_card('voice', 'input_tokens 0.000004, cached_input_tokens 0.0000004, cached_audio_input_tokens 0.0000005, audio_input_tokens 0.000032, output_tokens 0.000016, audio_output_tokens 0.000064') AS voice,
       pg_temp.set_card('video', 'video_seconds 0.1') AS video,
       pg_temp.set_card('speech', 'audio_seconds 0.0001') AS speech,
       pg_temp.set_card('free', 'input_tokens 0, output_tokens 0') AS free;

-- 1. Documents --------------------------------------------------------------------------

-- 1200 x 0.0000025 = 0.003 and 500 x 0.00001 = 0.005; expected 0.003 + 200 x 0.00001.
SELECT jsonb_pretty(quota.estimate('cost_estimate/chat', '{"input_tokens": 1200, "max_output_tokens": 500, "expected_output_tokens": 200}') - 'card');
-- 900 x 0.0000025 + 300 x 0.00000125 + 16384 x 0.00001 = 0.00225 + 0.000375 + 0.16384.
SELECT jsonb_pretty(quota.estimate('cost_estimate/chat', '{"input_tokens": 1200, "cached_input_tokens": 300, "metadata": {"trace": 7}}') - 'card');
-- Eight seconds, twice.
SELECT jsonb_pretty(quota.estimate('cost_estimate/video', '{"duration_seconds": 8, "n": 2, "resolution": "720p"}') - 'card');
SELECT jsonb_pretty(quota.price('cost_estimate/speech', '{"duration_seconds": "63.250001"}') - 'card');

-- Each of three answers may be that long. All output may be reasoning, which is dearer.
SELECT request, pg_temp.ceiling(model, request) AS ceiling
FROM (VALUES
    ('chat', '{"input_tokens": 100, "max_output_tokens": 10, "n": 3}'),
    ('chat', '{"input_tokens": 100, "max_tokens": 10}'),
    ('chat', '{"input_tokens": 100, "max_completion_tokens": 10, "max_tokens": 10}'),
    ('chat', '{"input_tokens": 100, "output_tokens": 10}'),
    ('chat', '{"input_tokens": 100, "max_output_tokens": 10, "output_tokens": 5}'),
    ('chat', '{"input_tokens": 100, "max_output_tokens": 0}'),
    ('chat', '{"input_tokens": 0, "max_output_tokens": 0}'),
    ('chat', '{"input_tokens": 100, "max_output_tokens": null, "service_tier": "flex", "pages": 2, "audio_input_tokens": 5}'),
    ('thinking', '{"input_tokens": 100, "max_output_tokens": 1000}'),
    ('thinking', '{"input_tokens": 100, "max_output_tokens": 1000, "expected_output_tokens": 100}'),
    ('thinking', '{"input_tokens": 100, "max_output_tokens": 1000, "reasoning_tokens": 400}'),
    ('thinking', '{"input_tokens": 100, "max_output_tokens": 1000, "reasoning_tokens": 400, "expected_output_tokens": 300}'),
    ('thinking', '{"input_tokens": 100}'),
    ('free', '{"input_tokens": 100}')
    ) AS r (model, text), LATERAL (SELECT text::jsonb AS request) AS j;

-- The ceiling covers whatever becomes of the output: where a kind of it is dearer, all that is open
-- is of the dearest; where a volume tier makes more cost less, the dearest quantity up to there.
SELECT quota.set_rate_card('cost_estimate/kinds', '{"max_output_tokens": 1000, "lines": [{"meter": "output_tokens", "price": "0.01"},
           {"meter": "reasoning_tokens", "price": "0.005"}, {"meter": "audio_output_tokens", "price": "0.08"}, {"meter": "image_output_tokens", "price": "0.04"}]}') > 0 AS kinds,
       quota.set_rate_card('cost_estimate/volume', '{"lines": [{"meter": "output_tokens", "tiering": "volume",
           "tiers": [{"up_to": 100, "price": "0.03"}, {"up_to": 1000, "price": "0.02"}, {"price": "0.01"}]}]}') > 0 AS volume;
SELECT model, request, pg_temp.ceiling(model, request) AS ceiling
FROM (VALUES
    ('kinds', '{}'),
    ('kinds', '{"max_output_tokens": 100, "audio_output_tokens": 0}'),
    ('kinds', '{"max_output_tokens": 100, "audio_output_tokens": 30, "image_output_tokens": 10, "reasoning_tokens": 10}'),
    ('volume', '{"max_output_tokens": 100}'),
    ('volume', '{"max_output_tokens": 101}'),
    ('volume', '{"max_output_tokens": 1001}'),
    ('volume', '{"max_output_tokens": 2001, "expected_output_tokens": 1001}')
    ) AS r (model, text), LATERAL (SELECT text::jsonb AS request) AS j;

-- 2. What makes no sense ----------------------------------------------------------------

SELECT text AS usage, pg_temp.cost('chat', usage) AS refused
FROM unnest(ARRAY[
    '{}', '[]', '1', 'null', '"x"', '{"input_tokens": 5}', '{"output_tokens": 5}',
    '{"input_tokens": null, "output_tokens": 5}',
    '{"input_tokens": -1, "output_tokens": 5}', '{"input_tokens": 1.5, "output_tokens": 5}',
    '{"input_tokens": "5", "output_tokens": 5}', '{"input_tokens": true, "output_tokens": 5}',
    '{"input_tokens": [5], "output_tokens": 5}', '{"input_tokens": {"n": 5}, "output_tokens": 5}',
    '{"input_tokens": 1e300, "output_tokens": 5}', '{"input_tokens": 1000000000001, "output_tokens": 5}',
    '{"input_tokens": 1e-300, "output_tokens": 5}',
    '{"input_tokens": 5, "output_tokens": 5, "cached_input_tokens": 6}',
    '{"input_tokens": 5, "output_tokens": 5, "cached_input_tokens": 3, "audio_input_tokens": 3}',
    '{"input_tokens": 5, "output_tokens": 5, "cached_audio_input_tokens": 3}',
    '{"input_tokens": 5, "output_tokens": 5, "reasoning_tokens": 6}',
    '{"input_tokens": 5, "output_tokens": 5, "reasoning_tokens": 3, "audio_output_tokens": 3}',
    '{"input_tokens": 5, "output_token": 5}', '{"Input_Tokens": 5, "output_tokens": 5}',
    '{"input_tokens": 5, "output_tokens": 5, "images": 5}', '{"input_tokens": 5, "output_tokens": 5, "": 5}',
    '{"input_tokens": 5, "output_tokens": 5, "size": {}}', '{"input_tokens": 5, "output_tokens": 5, "reasoning_is_additional": "nope"}',
    '{"input_tokens": 5, "output_tokens": 5, "image_count": 1, "input_images": 2}',
    '{"prompt_tokens": 5}', '{"prompt_tokens": "5", "completion_tokens": 5}',
    '{"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}}',
    '{"input_tokens": 5, "cache_read_input_tokens": -5, "output_tokens": 1}',
    '{"cache_creation": {"ephemeral_1h_input_tokens": 5}, "input_tokens": 5, "output_tokens": 5}',
    '{"promptTokenCount": 999999999999, "toolUsePromptTokenCount": 2, "candidatesTokenCount": 5}'
    ]) WITH ORDINALITY AS u (text, i), LATERAL (SELECT text::jsonb AS usage) AS j
ORDER BY i;
SELECT pg_temp.cost('chat', jsonb_build_object(repeat('kéy', 1000), 1)) AS long_key,
       pg_temp.cost('chat', (repeat('{"prompt_tokens":', 2000) || '5' || repeat('}', 2000))::jsonb) AS deep,
       pg_temp.cost('chat', (SELECT jsonb_object_agg('x' || g, g) FROM generate_series(1, 10000) g)) AS many_keys;
SELECT pg_temp.cost('video', '{}') AS no_duration, pg_temp.cost('video', '{"duration_seconds": 1.0000001}') AS decimals,
       pg_temp.cost('video', '{"duration_seconds": "1s"}') AS unit, pg_temp.cost('video', '{"duration_seconds": "NaN"}') AS nan,
       pg_temp.cost('video', '{"duration_seconds": 1000000000000, "n": 2}') AS product;
SELECT request, pg_temp.ceiling('chat', request) AS refused
FROM unnest(ARRAY[
    '{"prompt_tokens": 5, "completion_tokens": 5}', '{"input_tokens": 5, "max_ouput_tokens": 5}',
    '{"max_output_tokens": 5}', '{"input_tokens": 5, "max_output_tokens": 5, "expected_output_tokens": 6}',
    '{"input_tokens": 5, "max_output_tokens": 5, "max_tokens": 6}',
    '{"input_tokens": 5, "max_output_tokens": 5, "reasoning_tokens": 6}',
    '{"input_tokens": 5, "max_output_tokens": 1000000000000, "n": 2}'
    ]) WITH ORDINALITY AS r (text, i), LATERAL (SELECT text::jsonb AS request) AS j
ORDER BY i;
SELECT quota.estimate('cost_estimate/none', '{"input_tokens": 5}');  -- fails
SELECT quota.estimate(repeat('é', 1000), '{"input_tokens": 5}');  -- fails
SELECT quota.estimate(NULL, '{}');  -- fails
SELECT quota.price('cost_estimate/chat', NULL);  -- fails
SELECT quota.estimate('cost_estimate/chat', '{"input_tokens": 5}', NULL, '2026-07-31');  -- fails

-- 3. Lines ------------------------------------------------------------------------------

SELECT quota.set_rate_card('cost_estimate/images', '{"defaults": {"quality": "standard"}, "lines": [
    {"meter": "images", "price": "0.08", "when": {"size": "1024-x-1024", "quality": "hd"}},
    {"meter": "images", "price": "0.12", "when": {"size": ["1024x1792", "1792x1024"], "quality": "hd"}},
    {"meter": "images", "price": "0.04", "when": {"size": "1024x1024", "quality": "standard"}}]}') > 0 AS images;
SELECT usage, pg_temp.cost('images', usage) AS cost
FROM unnest(ARRAY[
    '{"size": "1024x1024"}', '{"size": "1024x1024", "quality": "HD"}', '{"size": "1792x1024", "quality": "hd", "n": 3}',
    '{"size": "1792x1024"}', '{"quality": "hd"}', '{"size": "640x480", "quality": "hd"}', '{"size": "1024x1024", "n": 0}'
    ]) WITH ORDINALITY AS u (text, i), LATERAL (SELECT text::jsonb AS usage) AS j
ORDER BY i;

SELECT pg_temp.set_card('pixels', 'pixels 0.00000002') AS pixels, pg_temp.set_card('megapixels', 'megapixels 0.02') AS megapixels;
SELECT usage, pg_temp.cost('pixels', usage) AS by_pixel, pg_temp.cost('megapixels', usage) AS by_megapixel
FROM unnest(ARRAY[
    '{"size": "1024x1024"}', '{"size": "512-x-768", "n": 2}', '{"size": "1024 * 1024"}', '{"size": "1024*512"}', '{}', '{"size": "large"}',
    '{"size": "1024"}', '{"size": "0x5"}', '{"size": "1024x1024x3"}', '{"size": "-5x5"}', '{"size": "99999999999999999999x1"}'
    ]) WITH ORDINALITY AS u (text, i), LATERAL (SELECT text::jsonb AS usage) AS j
ORDER BY i;

SELECT quota.set_rate_card('cost_estimate/lines', '{"minimum_charge": "0.0005", "lines": [
    {"meter": "pages", "tiers": [{"up_to": 10, "price": "0.01"}, {"up_to": 100, "price": "0.008"}, {"price": "0.005"}], "tiering": "graduated", "required": false},
    {"meter": "characters", "tiers": [{"up_to": 1000, "price": "0.00002"}, {"price": "0.00001"}], "tiering": "volume", "required": false},
    {"meter": "audio_input_seconds", "price": "0.006", "per": 60, "block": 60},
    {"meter": "video_input_seconds", "price": "0.01", "free": 5, "block": 0.5},
    {"meter": "web_search_requests", "price": "0.035", "at_most": 1},
    {"meter": "queries", "price": 4, "per": 1000, "required": false},
    {"meter": "sessions", "price": "0.03"}]}') > 0 AS lines;
-- graduated 10: 0.1; 11: + 0.008; 100: 0.1 + 0.72; 110: + 0.05. volume 1000: 0.02; 1001: 0.01001.
SELECT usage, pg_temp.cost('lines', usage) AS cost
FROM unnest(ARRAY[
    '{"pages": 10}', '{"pages": 11}', '{"pages": 100}', '{"pages": 110}', '{"characters": 1000}', '{"characters": 1001}',
    '{"audio_input_seconds": 60}', '{"audio_input_seconds": 60.000001}', '{"audio_input_seconds": 0}',
    '{"video_input_seconds": 5}', '{"video_input_seconds": 5.1}', '{"web_search_requests": 1}', '{"web_search_requests": 9}',
    '{"queries": 1}', '{"queries": 0}', '{"sessions": 1, "queries": 1, "pages": 1}', '{"input_tokens": 1}'
    ]) WITH ORDINALITY AS u (text, i), LATERAL (SELECT text::jsonb AS usage) AS j
ORDER BY i;
SELECT jsonb_pretty(quota.price('cost_estimate/lines', '{"pages": 110, "sessions": 1}') -> 'lines') AS graduated;
SELECT quota.price('cost_estimate/lines', '{"queries": 0}') -> 'lines' AS minimum;

SELECT quota.set_rate_card('cost_estimate/multipliers', '{"lines": [
    {"meter": "input_tokens", "price": "0.000005"}, {"meter": "cached_input_tokens", "price": "0.0000005"}, {"meter": "output_tokens", "price": "0.000025"}],
    "multipliers": [{"factor": "1.1", "when": {"inference_geo": "us"}, "meters": ["input_tokens", "output_tokens"]},
                    {"factor": 6, "when": {"speed": "fast"}, "meters": ["input_tokens", "output_tokens"]},
                    {"factor": "0.5", "when": {"service_tier": "batch"}}]}') > 0 AS multipliers;
SELECT usage, pg_temp.cost('multipliers', usage || '{"input_tokens": 1000, "cached_input_tokens": 400, "output_tokens": 100}') AS cost
FROM unnest(ARRAY['{}', '{"inference_geo": "us"}', '{"inference_geo": "eu"}', '{"inference_geo": "us", "speed": "fast"}', '{"service_tier": "batch"}', '{"service_tier": "batch", "speed": "fast"}'
    ]) WITH ORDINALITY AS u (text, i), LATERAL (SELECT text::jsonb AS usage) AS j
ORDER BY i;

-- A part may be all that has a price: the rest of its total has none.
SELECT pg_temp.set_card('part', 'cached_input_tokens 0.001') AS part;
SELECT pg_temp.cost('part', '{"input_tokens": 5, "cached_input_tokens": 5}') AS all_of_it, pg_temp.cost('part', '{"input_tokens": 6, "cached_input_tokens": 5}') AS rest;

-- A switch above a size moves the whole request, strictly above it.
SELECT quota.set_rate_card('cost_estimate/above', '{"lines": [
    {"meter": "input_tokens", "price": 5, "per": 1000000, "above": {"input_tokens": 200000}}, {"meter": "input_tokens", "price": "2.5", "per": 1000000},
    {"meter": "output_tokens", "price": 15, "per": 1000000, "above": {"input_tokens": 200000}}, {"meter": "output_tokens", "price": 10, "per": 1000000}]}') > 0 AS above;
SELECT pg_temp.cost('above', '{"input_tokens": 200000, "output_tokens": 100}') AS at_size,
       pg_temp.cost('above', '{"input_tokens": 200001, "output_tokens": 100}') AS above_size;

-- 4. Exact ------------------------------------------------------------------------------

-- Every price and quantity, against PostgreSQL's own exact arithmetic.
CREATE TEMP TABLE exact_price (price numeric) ON COMMIT DROP;
INSERT INTO exact_price
SELECT p::numeric FROM unnest(ARRAY['0', '1e-24', '9e-24', '1e-23', '2.9999900000000002e-06', '0.000000123456789012345678', '0.1', '1', '123.456789012345678901234567', '99.999999999999999999999999']) AS p;
CREATE TEMP TABLE exact_quantity (quantity numeric) ON COMMIT DROP;
INSERT INTO exact_quantity
SELECT q::numeric FROM unnest(ARRAY['0', '0.000001', '0.00001', '0.0001', '0.001', '0.01', '0.1', '1', '1.000001', '9.999999', '10', '99', '9999', '9999.9999', '10000', '10000.0001', '10001', '123456.789', '1000000', '1.5', '12.5000']) AS q;
SELECT pg_temp.set_card('exact' || row_number() OVER (ORDER BY price), 'duration_seconds ' || price) FROM exact_price \g /dev/null
SELECT count(*) AS products, count(*) FILTER (WHERE actual IS DISTINCT FROM trim_scale(price * quantity)::text) AS wrong
FROM (SELECT price, row_number() OVER (ORDER BY price) AS i FROM exact_price) AS p,
     exact_quantity,
     LATERAL (SELECT pg_temp.cost('exact' || i, jsonb_build_object('duration_seconds', quantity)) AS actual) AS a;
SELECT pg_temp.set_card('dear', 'duration_seconds 99999999.999999999999999999999999') AS dear;
SELECT pg_temp.cost('dear', '{"duration_seconds": 1}') AS one, pg_temp.cost('dear', '{"duration_seconds": 1.7}') AS most,
       pg_temp.cost('dear', '{"duration_seconds": 1.8}') AS too_much;

-- Credits: one rounding, up, of cost x rate x factor.
SELECT quota.put_account('company:cost_estimate') IS NOT NULL AS company;
SELECT quota.set_credit_rate(33.333333333) > 0 AS rate;
SELECT quota.set_price_adjustment('company:cost_estimate', 1.000000007);
SELECT count(*) AS amounts,
       count(*) FILTER (WHERE (document #>> '{amount, credit}')::numeric <> ceil((document ->> 'cost_usd')::numeric * 33.333333333 * 1.000000007 * 1000000) / 1000000) AS wrong
FROM (SELECT row_number() OVER (ORDER BY price) AS i FROM exact_price) AS p, exact_quantity,
     LATERAL (SELECT quota.price('cost_estimate/exact' || i, jsonb_build_object('duration_seconds', quantity), 'company:cost_estimate') AS document) AS d;
SELECT quota.price('cost_estimate/exact2', '{"duration_seconds": 0.000001}') #>> '{amount, credit}' AS "not free";
SELECT quota.set_credit_rate(999999999) > 0 AS rate;
SELECT quota.price('cost_estimate/dear', '{"duration_seconds": 1}');  -- fails
SELECT quota.set_credit_rate(100) > 0 AS rate;

-- 5. Additive and monotone --------------------------------------------------------------

CREATE TEMP TABLE usage_pair ON COMMIT DROP AS
SELECT row_number() OVER () AS i, m AS model,
       jsonb_build_object('input_tokens', 100 + a, 'cached_input_tokens', a, 'output_tokens', 100 + b, 'reasoning_tokens', b) AS less,
       jsonb_build_object('input_tokens', 101 + a, 'cached_input_tokens', a, 'output_tokens', 103 + b, 'reasoning_tokens', b + 2) AS more
FROM unnest(ARRAY['chat', 'thinking', 'claude', 'voice']) AS m, generate_series(0, 90, 9) AS a, generate_series(0, 90, 10) AS b;
SELECT count(*) AS pairs,
       count(*) FILTER (WHERE (more ->> 'cost_usd')::numeric < (less ->> 'cost_usd')::numeric) AS falling,
       count(*) FILTER (WHERE (more ->> 'cost_usd')::numeric <> (SELECT sum((l ->> 'cost_usd')::numeric) FROM jsonb_array_elements(more -> 'lines') AS l)) AS not_the_sum,
       count(*) FILTER (WHERE EXISTS (
           SELECT FROM jsonb_array_elements(more -> 'lines') AS l
           WHERE (l ->> 'cost_usd')::numeric <> (l ->> 'quantity')::numeric * (l ->> 'unit_price_usd')::numeric)) AS not_the_product
FROM (SELECT quota.price('cost_estimate/' || model, less) AS less, quota.price('cost_estimate/' || model, more) AS more FROM usage_pair) AS p;

-- 6. Measures ---------------------------------------------------------------------------

SELECT quota.put_resource('tokens', 'token', 'flow', NULL), quota.put_resource('video_seconds', 'second', 'flow', NULL),
       quota.put_resource('output_tokens', 'token', 'flow', NULL), quota.put_resource('pages', 'page', 'stock', NULL) \g /dev/null
SELECT quota.estimate('cost_estimate/chat', '{"input_tokens": 1200, "max_output_tokens": 500, "expected_output_tokens": 200}') AS e \gset
SELECT :'e'::jsonb -> 'amount' AS amount, :'e'::jsonb -> 'expected' AS expected;
SELECT quota.price('cost_estimate/video', '{"duration_seconds": 7.5, "n": 2}') -> 'amount' AS amount;

ROLLBACK;
\unset ON_ERROR_ROLLBACK
