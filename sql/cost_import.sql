-- Verifies that:
-- 1. the whole price map is imported as it is, and all that is not in a card is reported;
-- 2. a second import changes nothing, a newer map only what it changes;
-- 3. entries become the lines that the documentation promises;
-- 4. a malformed price makes no card rather than a card that is too cheap;
-- 5. the price of nothing and no price are different things.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never

\getenv abs_srcdir PG_ABS_SRCDIR
\set map_file :abs_srcdir '/data/litellm_prices.json'

-- Cards are never removed: everything happens in a transaction that is rolled back.
\set ON_ERROR_ROLLBACK on
BEGIN;
SET LOCAL xavier_quota.clock = '2026-08-01 00:00:00+00';
CREATE TEMP TABLE before_import ON COMMIT DROP AS SELECT card_id FROM quota.rate_cards;
CREATE TEMP VIEW cards AS
SELECT * FROM quota.rate_cards WHERE card_id NOT IN (SELECT card_id FROM before_import);

-- 1. The whole map ----------------------------------------------------------------------

CREATE TEMP TABLE price_map ON COMMIT DROP AS SELECT pg_read_file(:'map_file')::jsonb AS document;
CREATE TEMP TABLE imported ON COMMIT DROP AS
SELECT i.* FROM price_map, quota.import_prices(document, 'litellm 2026-08-01') i;

SELECT count(*) AS rows, count(*) FILTER (WHERE lines > 0) AS cards,
       (SELECT count(*) FROM price_map, jsonb_object_keys(document)) AS entries,
       count(*) FILTER (WHERE model NOT IN (SELECT jsonb_object_keys(document) FROM price_map)) AS of_sized_entries_only
FROM imported;
SELECT count(*) AS cards, count(DISTINCT model) AS models, min(source) AS source, min(valid_from) AS valid_from, max(valid_to) AS valid_to
FROM cards;
SELECT s.key, s.value AS reason, count(*) AS entries
FROM imported, jsonb_each_text(skipped) AS s GROUP BY s.key, s.value ORDER BY s.key, s.value;

-- Entries without a card are those without a price.
SELECT count(*) AS without_a_price, count(*) FILTER (WHERE i.lines = 0) AS without_a_card
FROM price_map, jsonb_each(document) AS e
JOIN imported i ON i.model = e.key
WHERE NOT EXISTS (SELECT FROM jsonb_object_keys(e.value) k WHERE k ~ '_cost|^tiered_pricing$')
  AND e.key NOT IN ('sample_spec', 'fallback_generalizations');

-- Every price of the map, to its last digit, is the price of some line of its model, or
-- noted there as the same price in another form (but for what is reported as skipped).
SELECT e.key AS model, p.key AS price_key, p.value AS price
FROM price_map, jsonb_each(document) AS e, jsonb_each(e.value) AS p
JOIN imported i ON true
WHERE i.model = e.key AND p.key ~ '_cost'
  AND CASE WHEN jsonb_typeof(p.value) = 'number' THEN p.value::numeric > 0 END
  AND NOT i.skipped ? p.key
  AND NOT EXISTS (
      SELECT FROM cards c, jsonb_array_elements(c.card -> 'lines') AS l
      WHERE c.model = e.key AND ((l ->> 'price')::numeric = (e.value ->> p.key)::numeric
            OR l ->> 'note' = format('the map also says %s per pixel', (e.value ->> p.key)::numeric)))
ORDER BY 1, 2;

-- 2. Again, and newer -------------------------------------------------------------------

SET LOCAL xavier_quota.clock = '2026-09-01 00:00:00+00';
SELECT count(*) AS audited FROM quota.audit \gset
SELECT count(*) AS rows, sum(lines) = (SELECT sum(lines) FROM imported) AS same_lines
FROM price_map, quota.import_prices(document, 'again') i;
SELECT count(*) AS cards, max(valid_from) AS latest FROM cards;
SELECT count(*) - :audited AS rows_written FROM quota.audit;

-- One price changes, one model is gone, one is new, and one only has another description.
UPDATE price_map SET document = jsonb_set(document, '{gpt-4o, input_cost_per_token}', '0.000002')
    - 'gpt-4' || '{"cost_import/new": {"mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}}';
UPDATE price_map SET document = jsonb_set(document, '{gpt-4o-mini, source}', '"elsewhere"');
SELECT count(*) AS rows FROM price_map, quota.import_prices(document, 'newer') i;
SELECT model, valid_from, valid_to, source FROM cards
WHERE model IN (SELECT model FROM cards WHERE valid_from > '2026-08-01')
   OR model IN ('gpt-4', 'gpt-4o-mini') ORDER BY model COLLATE "C", valid_from;

-- 3. What entries become ----------------------------------------------------------------

CREATE FUNCTION pg_temp.lines(of_model text) RETURNS TABLE (meter text, price text, per text, conditions text, other text)
LANGUAGE sql AS $$
    SELECT l ->> 'meter', l ->> 'price', l ->> 'per', concat_ws(' ', l -> 'when', 'above ' || (l -> 'above')::text),
           NULLIF(l - '{meter,price,per,when,above}'::text[], '{}')::text
    FROM cards, jsonb_array_elements(card -> 'lines') WITH ORDINALITY AS x (l, i)
    WHERE model = of_model AND valid_to IS NULL ORDER BY i
$$;

SELECT * FROM pg_temp.lines('gemini-3-pro-preview');
SELECT * FROM pg_temp.lines('gpt-image-1-mini');
SELECT * FROM pg_temp.lines('dall-e-2');
SELECT * FROM pg_temp.lines('1024-x-1024/dall-e-2');
SELECT * FROM pg_temp.lines('stability.stable-diffusion-xl-v0');
SELECT * FROM pg_temp.lines('gpt-4o-search-preview');
SELECT * FROM pg_temp.lines('gemini/gemini-2.5-flash');
SELECT * FROM pg_temp.lines('perplexity/sonar-deep-research');
SELECT * FROM pg_temp.lines('exa_ai/search');
SELECT * FROM pg_temp.lines('dashscope/qwen-flash');
SELECT * FROM pg_temp.lines('gemini/veo-3.1-lite-generate-preview');
SELECT * FROM pg_temp.lines('azure/gpt-4o-mini-tts');
SELECT * FROM pg_temp.lines('whisper-1');
SELECT * FROM pg_temp.lines('assemblyai/best');
SELECT * FROM pg_temp.lines('multimodalembedding');
-- Ten seconds of video: 10 x 0.0005, 10 x 0.0005, 10 x 0.001, 10 x 0.002.
SELECT usage, quota.price('multimodalembedding', '{"video_input_seconds": 10}'::jsonb || usage) ->> 'cost_usd' AS cost
FROM unnest('{"{}", "{\"interval_seconds\": 8}", "{\"interval_seconds\": 8.5}", "{\"interval_seconds\": 16}"}'::jsonb[]) AS usage;
SELECT * FROM pg_temp.lines('high/1024-x-1024/gpt-image-1');
SELECT * FROM pg_temp.lines('gpt-realtime-2.1');
SELECT model, jsonb_pretty(card - 'lines') AS rest FROM cards
WHERE model IN ('claude-opus-4-8', 'exa_ai/search', 'gpt-5.5', 'xai/grok-4', 'stability.stable-diffusion-xl-v0')
ORDER BY model COLLATE "C";

-- Models with only a size in common with no other entry have no card under the plain name.
SELECT count(*) AS plain_dall_e_3 FROM cards WHERE model = 'azure/dall-e-3';

-- 4. Malformed and unknown --------------------------------------------------------------

SELECT model, lines, skipped
FROM quota.import_prices('{
    "cost_import/text": {"mode": "chat", "input_cost_per_token": "3e-7", "output_cost_per_token": "0.0000006"},
    "cost_import/word": {"mode": "chat", "input_cost_per_token": "cheap", "output_cost_per_token": 1e-6},
    "cost_import/null": {"mode": "chat", "input_cost_per_token": null, "output_cost_per_token": 1e-6},
    "cost_import/negative": {"mode": "chat", "input_cost_per_token": -1e-6, "output_cost_per_token": 1e-6},
    "cost_import/tiny": {"mode": "chat", "input_cost_per_token": 1e-25, "output_cost_per_token": 1e-6},
    "cost_import/tiny_and_half": {"mode": "chat", "input_cost_per_token": 1e-24, "output_cost_per_token": 1e-6},
    "cost_import/huge": {"mode": "chat", "input_cost_per_token": 1e300, "output_cost_per_token": 1e-6},
    "cost_import/unknown": {"mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "off_peak_pricing": {}, "guardrail_cost_per_unit": 1, "supports_dreams": true},
    "cost_import/context": {"mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "search_context_cost_per_query": 0.01},
    "cost_import/tiers": {"mode": "chat", "tiered_pricing": [{"input_cost_per_token": 1}]},
    "low/1000-x-1000/cost_import/pixels": {"mode": "image_generation", "input_cost_per_image": 0.01, "input_cost_per_pixel": 0.0000000101},
    "cost_import/maximum": {"mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "max_output_tokens": "8192", "max_tokens": 4096.0, "max_input_tokens": -1},
    "cost_import/no_maximum": {"mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "max_output_tokens": null, "max_tokens": 0},
    "cost_import/empty": {},
    "cost_import/array": [],
    "": {"input_cost_per_token": 1}}')
ORDER BY model COLLATE "C";
SELECT octet_length(model) AS bytes, lines, skipped FROM quota.import_prices(jsonb_build_object(repeat('ä', 128), '{"input_cost_per_token": 1}'::jsonb));
SELECT quota.import_prices('[]');  -- fails
SELECT quota.import_prices(NULL);  -- fails
SELECT count(*) AS of_nothing FROM quota.import_prices('{}');

-- Suffixes that the map does not use yet are understood.
SELECT lines, skipped FROM quota.import_prices('{"cost_import/suffixes": {"mode": "chat", "max_output_tokens": 10,
    "input_cost_per_token": 1, "output_cost_per_token": 1, "input_cost_per_token_above_32k_tokens_ultrafast": 9,
    "cache_read_input_token_cost_batches": 0.25, "input_cost_per_token_batches": 0.5, "cache_read_input_token_cost": 0.75}}');
SELECT * FROM pg_temp.lines('cost_import/suffixes');

-- 5. Free and unpriced ------------------------------------------------------------------

SELECT count(*) AS free_models
FROM imported i
WHERE i.lines > 0 AND NOT EXISTS (
    SELECT FROM cards c, jsonb_array_elements(c.card -> 'lines') AS l
    WHERE c.model = i.model AND (l ->> 'price')::numeric > 0);
SELECT quota.estimate('omni-moderation-latest', '{"input_tokens": 512}') - 'card' AS free;
SELECT quota.estimate('chatgpt/gpt-5.1-codex-max', '{"input_tokens": 512}');  -- fails

ROLLBACK;
\unset ON_ERROR_ROLLBACK
