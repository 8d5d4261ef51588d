-- Verifies that:
-- 1. every reference case of data/cost_cases.jsonl that has a counterpart here costs
--    exactly what the reference says, by cards imported from the whole price map;
-- 2. cases without a counterpart are few, and each says why.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;

\getenv abs_srcdir PG_ABS_SRCDIR
\set map_file :abs_srcdir '/data/litellm_prices.json'
\set cases_file :abs_srcdir '/data/cost_cases.jsonl'

-- Cards are never removed: everything happens in a transaction that is rolled back.
BEGIN;
SET LOCAL xavier_quota.clock = '2026-08-01 12:00:00+00';

CREATE TEMP TABLE cost_case ON COMMIT DROP AS
SELECT c ->> 'id' AS id, c ->> 'family' AS family, c ->> 'model' AS model,
       c -> 'request' ->> 'call' AS call, c -> 'request' AS request,
       c -> 'prices' AS prices, c ->> 'price_key' AS price_key, COALESCE(c ->> 'provider', split_part(c ->> 'model', '/', 1)) AS provider,
       (c ->> 'expected_usd')::numeric AS expected
FROM regexp_split_to_table(pg_read_file(:'cases_file'), E'\n') AS line,
     LATERAL (SELECT line::jsonb AS c) AS parsed
WHERE line <> '';

-- What has no counterpart, or where the reference is not followed, and why.
CREATE TEMP TABLE left_out (family text, id text, why text) ON COMMIT DROP;
INSERT INTO left_out VALUES
    ('chat_cached_no_cache_price', NULL, 'cached tokens without a price of their own: the reference gives them away, here they are input'),
    ('chat_cache_write_5m', 'cc-31e3ac8805', 'cached tokens without a price of their own: the reference gives them away, here they are input'),
    ('search_tiered', 'cc-20b3253d47', 'no results at all: the reference takes the dearest tier, here the cheapest'),
    ('built_in_tool', 'cc-37d48cb68f', 'not sold: the reference charges nothing, here it is an error'),
    ('built_in_tool', 'cc-bf08e0f3ca', 'not sold: the reference charges nothing, here it is an error'),
    ('built_in_tool', 'cc-12c35f4a9c', 'states no quantity: the reference charges nothing, here it is an error'),
    ('litellm_own_tests', 'cc-1804d0f35a', 'a fixed margin on each request is no price adjustment'),
    ('litellm_own_tests', 'cc-32f01d5ea1', 'a fixed margin on each request is no price adjustment'),
    ('litellm_own_tests', 'cc-c9b2b2f15b', 'a cost that the caller states is not taken'),
    ('litellm_own_tests', 'cc-86cc563b7a', 'xAI''s price per source is in no entry of the map'),
    ('litellm_own_tests', 'cc-e58ddaca30', 'xAI''s price per source is in no entry of the map'),
    ('litellm_own_tests', 'cc-ed292e551e', 'xAI''s price per source is in no entry of the map'),
    ('litellm_own_tests', 'cc-250f3b342a', 'a price that is in no entry of the map: here it is reported as not priced');

-- Cases of the built-in tools price by constants of LiteLLM's code, which are no entries
-- of the map; tests of LiteLLM state their own prices. Both are written as entries.
CREATE FUNCTION pg_temp.entry(c cost_case) RETURNS jsonb LANGUAGE sql AS $$
    SELECT CASE
        WHEN c.family = 'built_in_tool' AND c.provider = 'azure' THEN
            '{"mode": "chat", "vector_store_cost_per_gb_per_day": 0.1, "code_interpreter_cost_per_session": 0.03,
              "computer_use_input_cost_per_1k_tokens": 3, "computer_use_output_cost_per_1k_tokens": 12}'
        WHEN c.family = 'built_in_tool' THEN
            '{"mode": "chat", "file_search_cost_per_1k_calls": 0.0025, "code_interpreter_cost_per_session": 0.03}'
        ELSE jsonb_build_object('mode', CASE c.call WHEN 'tool' THEN 'chat' ELSE c.call END, 'litellm_provider', c.provider)
             || c.prices
    END
$$;

-- The usage of a case in the vocabulary: the reference names tools by another key, and
-- says by the provider what the vocabulary says by reasoning_is_additional.
CREATE FUNCTION pg_temp.usage(c cost_case) RETURNS jsonb LANGUAGE sql AS $$
    SELECT CASE
        WHEN c.call = 'batch' THEN r || '{"service_tier": "batch"}'
        WHEN c.family = 'reasoning_additional_xai' THEN r || '{"reasoning_is_additional": true}'

        -- The reference does not bill tokens beside images: they are the images'.
        WHEN c.call = 'embedding' AND r ? 'image_count' THEN r - 'input_tokens'
        WHEN c.call = 'tool' THEN
            CASE c.request ->> 'tool'
                WHEN 'web_search' THEN
                    jsonb_build_object('web_search_requests', COALESCE((r -> 'requests')::int, 1),
                                       'search_context_size', r -> 'context_size')
                WHEN 'maps_grounding' THEN jsonb_build_object('maps_requests', r -> 'requests')
                WHEN 'code_interpreter' THEN jsonb_build_object('sessions', r -> 'sessions')
                WHEN 'computer_use' THEN
                    jsonb_build_object('computer_use_input_tokens', r -> 'input_tokens',
                                       'computer_use_output_tokens', r -> 'output_tokens')
                WHEN 'combined' THEN
                    (r -> 'vector_store') || jsonb_build_object(
                        'computer_use_input_tokens', r #> '{computer_use, input_tokens}',
                        'computer_use_output_tokens', r #> '{computer_use, output_tokens}',
                        'sessions', r -> 'code_interpreter_sessions')
                ELSE CASE WHEN r ? 'storage_gb' THEN jsonb_build_object('storage_gb', r -> 'storage_gb', 'days', r -> 'days')
                          ELSE '{"file_search_calls": 1}' END
            END
            || CASE WHEN c.prices ? 'input_cost_per_token' THEN '{"input_tokens": 0, "output_tokens": 0}' ELSE '{}'::jsonb END
        ELSE r - '{discount_percent, margin_percent}'::text[]
    END
    FROM (SELECT c.request - 'call' AS r) AS request
$$;

CREATE FUNCTION pg_temp.cost(model text, usage jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    RETURN quota.price(model, usage) ->> 'cost_usd';
EXCEPTION WHEN SQLSTATE 'XQ201' OR SQLSTATE 'XQ003' THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN SQLERRM || ' ' || detail;
END
$$;

SELECT count(*) AS entries, count(*) FILTER (WHERE lines > 0) AS cards
FROM quota.import_prices(pg_read_file(:'map_file')::jsonb, 'cost_cases');

SELECT count(*) AS entries_of_cases, count(*) FILTER (WHERE lines > 0) AS cards
FROM quota.import_prices((
    SELECT jsonb_object_agg('case/' || id, pg_temp.entry(c)) FROM cost_case c
    WHERE price_key IS NULL OR family = 'built_in_tool'));

CREATE TEMP TABLE answer ON COMMIT DROP AS
SELECT c.id, c.family, pg_temp.usage(c) AS usage, trim_scale(c.expected)::text AS expected, l.why,
       c.request ->> 'discount_percent' AS discount, c.request ->> 'margin_percent' AS margin,
       CASE WHEN c.price_key IS NULL OR c.family = 'built_in_tool' THEN 'case/' || c.id ELSE c.model END AS model
FROM cost_case c
LEFT JOIN left_out l ON l.family = c.family AND (l.id IS NULL OR l.id = c.id);

-- 1. Every answer is exact: this is empty ----------------------------------------------
SELECT a.id, a.family, a.model, a.usage, a.expected, pg_temp.cost(a.model, a.usage) AS actual
FROM answer a
WHERE a.why IS NULL AND a.discount IS NULL AND a.margin IS NULL
  AND pg_temp.cost(a.model, a.usage) IS DISTINCT FROM a.expected
ORDER BY a.id;

-- Discounts and margins in percent are price adjustments, which credits show.
SELECT quota.put_account('company:cost_cases') IS NOT NULL AS put;
CREATE FUNCTION pg_temp.credit(a answer) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM quota.set_price_adjustment('company:cost_cases',
        (1 - COALESCE(a.discount::numeric, 0)) * (1 + COALESCE(a.margin::numeric, 0)));
    RETURN quota.price(a.model, a.usage, 'company:cost_cases') #>> '{amount, credit}';
END
$$;
SELECT a.id, a.discount, a.margin, trim_scale(a.expected::numeric * 100) AS expected, pg_temp.credit(a) AS actual
FROM answer a
WHERE a.why IS NULL AND (a.discount IS NOT NULL OR a.margin IS NOT NULL)
ORDER BY a.id;

SELECT family, count(*) AS cases, count(*) FILTER (WHERE why IS NULL) AS priced
FROM answer GROUP BY ROLLUP (family) ORDER BY family NULLS LAST;

-- 2. What is left out -------------------------------------------------------------------
SELECT family, count(*) AS cases, why, min(expected) AS reference, min(pg_temp.cost(model, usage)) AS here
FROM answer WHERE why IS NOT NULL GROUP BY family, why ORDER BY family, why;

ROLLBACK;
