-- Verifies that:
-- 1. the examples of docs/cost.md print what the page shows (test/docs.sh compares them).
-- The database is the test's own, so that ids are the same in every run.
\set home :DBNAME
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS docs_cost;
CREATE DATABASE docs_cost;
\c docs_cost
SET client_min_messages = warning;
CREATE EXTENSION xavier_quota;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET xavier_quota.clock = '2026-03-10 12:00+00';

-- example: document
SELECT quota.set_rate_card('writer-1', '{"mode": "chat", "provider": "acme", "max_output_tokens": 16384, "lines": [
    {"meter": "input_tokens",        "price": "0.0000025"},
    {"meter": "cached_input_tokens", "price": "0.00000125"},
    {"meter": "output_tokens",       "price": "0.00001"}]}') AS card_id;
SELECT jsonb_pretty(quota.estimate('writer-1',
    '{"input_tokens": 1200, "max_output_tokens": 500, "expected_output_tokens": 200}')) AS estimate;
-- example: words
SELECT quota.price('writer-1', usage) ->> 'cost_usd' AS cost_usd, usage
FROM unnest('{"{\"input_tokens\": 1200, \"output_tokens\": 300}",
              "{\"input_tokens\": 1200, \"cached_input_tokens\": 1000, \"output_tokens\": 300}"}'::jsonb[]) AS usage;
SELECT quota.estimate('writer-1', '{"input_tokens": 1200, "cached_input_tokens": 1300}');
SELECT quota.estimate('writer-1', '{"input_tokens": 1200, "max_ouput_tokens": 500}');
-- example: provider
SELECT p ->> 'cost_usd' AS cost_usd, l ->> 'meter' AS meter, l ->> 'quantity' AS quantity, p -> 'assumptions' AS assumptions
FROM quota.price('writer-1', '{"input_tokens": 200, "cache_read_input_tokens": 1000, "output_tokens": 300, "new_key": 1}') AS p,
     jsonb_array_elements(p -> 'lines') AS l;
-- example: versions
SELECT quota.set_rate_card('writer-1', '{"mode": "chat", "provider": "acme", "max_output_tokens": 16384, "lines": [
    {"meter": "input_tokens",  "price": "0.000002"},
    {"meter": "output_tokens", "price": "0.000008"}]}', valid_from => '2026-04-01 00:00+00') AS card_id;
SELECT at, quota.price('writer-1', '{"input_tokens": 1200, "output_tokens": 300}', at => at) ->> 'cost_usd' AS cost_usd
FROM unnest('{2026-03-10 12:00+00, 2026-03-31 23:59:59+00, 2026-04-01 00:00+00}'::timestamptz[]) AS at;
SELECT quota.set_rate_card('writer-1', '{"lines": [{"meter": "input_tokens", "price": "0.000002"},
                                           {"meter": "tokens",       "price": "0.000008"}]}');
-- example: images
SELECT quota.set_rate_card('painter-1', '{"defaults": {"quality": "standard"}, "lines": [
    {"meter": "images", "price": "0.08", "when": {"size": "1024x1024", "quality": "hd"}},
    {"meter": "images", "price": "0.12", "when": {"size": ["1024x1792", "1792x1024"], "quality": "hd"}},
    {"meter": "images", "price": "0.04", "when": {"size": "1024x1024", "quality": "standard"}}]}') AS card_id;
SELECT quota.price('painter-1', usage) ->> 'cost_usd' AS cost_usd, usage
FROM unnest('{"{\"size\": \"1024x1024\"}", "{\"size\": \"1024-x-1024\", \"quality\": \"HD\"}",
              "{\"size\": \"1792x1024\", \"quality\": \"hd\", \"n\": 3}"}'::jsonb[]) AS usage;
SELECT quota.price('painter-1', '{"size": "1792x1024"}');
SELECT quota.price('painter-1', '{"quality": "hd"}');
-- example: lines
SELECT quota.set_rate_card('anything-1', '{"minimum_charge": "0.0005", "lines": [
    {"meter": "pages", "required": false, "tiering": "graduated",
     "tiers": [{"up_to": 10, "price": "0.01"}, {"up_to": 100, "price": "0.008"}, {"price": "0.005"}]},
    {"meter": "characters", "required": false, "tiering": "volume",
     "tiers": [{"up_to": 1000, "price": "0.00002"}, {"price": "0.00001"}]},
    {"meter": "audio_input_seconds", "price": "0.006", "per": 60, "block": 60},
    {"meter": "video_input_seconds", "price": "0.01", "free": 5, "block": 0.5},
    {"meter": "web_search_requests", "price": "0.035", "at_most": 1},
    {"meter": "queries", "price": 4, "per": 1000, "required": false}]}') AS card_id;
SELECT usage, quota.price('anything-1', usage) ->> 'cost_usd' AS cost_usd, because
FROM (VALUES ('{"pages": 110}',                    '10 x 0.01 + 90 x 0.008 + 10 x 0.005'),
             ('{"characters": 1000}',              '1000 x 0.00002'),
             ('{"characters": 1001}',              '1001 x 0.00001: a volume tier may cost less for more'),
             ('{"audio_input_seconds": 60.000001}', 'two started minutes'),
             ('{"video_input_seconds": 5.1}',      '0.1 beyond what is free, half a second begun'),
             ('{"web_search_requests": 9}',        'at most one is charged'),
             ('{"queries": 0}',                    'the minimum charge')) AS v (text, because),
     LATERAL (SELECT text::jsonb AS usage) AS u;
-- example: multipliers
SELECT quota.set_rate_card('writer-2', '{"lines": [
    {"meter": "input_tokens", "price": 5, "per": 1000000}, {"meter": "output_tokens", "price": 25, "per": 1000000}],
    "multipliers": [{"factor": "1.1", "when": {"inference_geo": "us"}},
                    {"factor": "0.5", "when": {"service_tier": "batch"}, "meters": ["output_tokens"]}]}') AS card_id;
SELECT l ->> 'meter' AS meter, l ->> 'quantity' AS quantity, l ->> 'unit_price_usd' AS unit_price_usd, l ->> 'cost_usd' AS cost_usd
FROM quota.price('writer-2', '{"input_tokens": 1000, "output_tokens": 100, "inference_geo": "us", "service_tier": "batch"}') AS p,
     jsonb_array_elements(p -> 'lines') AS l;
-- example: names
SELECT quota.put_model_alias('fast', 'writer-1');
SELECT name, e -> 'card' AS card, e -> 'assumptions' ->> 0 AS how
FROM unnest('{fast, acme/writer-1, writer-1-2031-05-13}'::text[]) AS name,
     quota.estimate(name, '{"input_tokens": 1200, "max_output_tokens": 500, "expected_output_tokens": 200}') AS e;
SELECT quota.estimate('other/writer-1', '{"input_tokens": 1200}');
-- example: import
SELECT * FROM quota.import_prices('{
    "gpt-9":      {"mode": "chat", "litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06,
                   "input_cost_per_token_above_200k_tokens": 2e-06, "cache_read_input_token_cost": 1e-07},
    "dbrx-9":     {"mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, "input_dbu_cost_per_token": 1.5e-05},
    "gpt-broken": {"mode": "chat", "input_cost_per_token": "cheap", "output_cost_per_token": 1e-06}}');
SELECT jsonb_array_elements(card -> 'lines') AS lines FROM quota.admin_rate_cards WHERE model = 'gpt-9';
-- example: rounding
SELECT quota.set_rate_card('speaker-1', '{"lines": [{"meter": "audio_seconds", "price": "0.0001"}]}') AS card_id;
SELECT p ->> 'cost_usd' AS cost_usd, p -> 'amount' ->> 'credit' AS credit
FROM unnest('{63.25, 63.250001, 0.000001}'::numeric[]) AS seconds,
     quota.price('speaker-1', jsonb_build_object('duration_seconds', seconds)) AS p;
-- example: end

\c :home
DROP DATABASE docs_cost;
