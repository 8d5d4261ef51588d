-- Verifies that:
-- 1. usage objects of every provider, as their documentation shows them, are what they say
--    in the vocabulary, whatever is inside of which total there;
-- 2. what an object does not say is the dearest that its numbers allow, and is listed, up to
--    a number of entries that is itself listed;
-- 3. an object that contradicts itself is an error that names the key.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
\set SHOW_CONTEXT never

-- Cards are never removed: everything happens in a transaction that is rolled back.
\set ON_ERROR_ROLLBACK on
BEGIN;
SET LOCAL xavier_quota.clock = '2026-08-01 00:00:00+00';

-- Every kind of token has a price of its own, so that the lines show what was counted as what.
SELECT quota.set_rate_card('cost_usage/all', '{"lines": [
    {"meter": "input_tokens", "price": "1"},              {"meter": "cached_input_tokens", "price": "1e-4"},
    {"meter": "cache_write_tokens", "price": "1e-8"},     {"meter": "cache_write_1h_tokens", "price": "1e-12"},
    {"meter": "output_tokens", "price": "1e-16"},         {"meter": "reasoning_tokens", "price": "1e-20"}]}') > 0 AS all;
SELECT quota.set_rate_card('cost_usage/modal', '{"lines": [
    {"meter": "input_tokens", "price": "1"},              {"meter": "cached_input_tokens", "price": "1e-4"},
    {"meter": "audio_input_tokens", "price": "1e-8"},     {"meter": "cached_audio_input_tokens", "price": "1e-12"},
    {"meter": "output_tokens", "price": "1e-16"},         {"meter": "audio_output_tokens", "price": "1e-20"},
    {"meter": "image_output_tokens", "price": "1e-24"}]}') > 0 AS modal;
SELECT quota.set_rate_card('cost_usage/beside', '{"reasoning_is_additional": true, "lines": [
    {"meter": "input_tokens", "price": "1"}, {"meter": "output_tokens", "price": "1e-16"}]}') > 0 AS beside,
       quota.set_rate_card('cost_usage/seconds', '{"lines": [{"meter": "audio_seconds", "price": "0.0001"}]}') > 0 AS seconds,
       quota.set_rate_card('cost_usage/tier', '{"lines": [{"meter": "input_tokens", "price": "3", "when": {"service_tier": "priority"}},
           {"meter": "input_tokens", "price": "1"}, {"meter": "output_tokens", "price": "0"}]}') > 0 AS tier,
       quota.set_rate_card('cost_usage/search', '{"lines": [{"meter": "input_tokens", "price": "1"}, {"meter": "output_tokens", "price": "1e-16"},
           {"meter": "web_search_requests", "price": "1e-20"}]}') > 0 AS search;

-- What each meter was charged for: "meter quantity, ...".
CREATE FUNCTION pg_temp.charged(card text, usage jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    RETURN (SELECT string_agg(format('%s %s', replace(replace(l ->> 'meter', '_tokens', ''), '_input', ''), l ->> 'quantity')
                              || CASE WHEN card = 'tier' THEN ' at ' || (l ->> 'unit_price_usd') ELSE '' END, ', ' ORDER BY i)
            FROM jsonb_array_elements(quota.price('cost_usage/' || card, usage) -> 'lines') WITH ORDINALITY AS x (l, i));
EXCEPTION WHEN SQLSTATE 'XQ201' THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN replace(SQLERRM, 'request cannot be priced: ', '') || ': ' || detail;
END
$$;
CREATE FUNCTION pg_temp.assumed(card text, usage jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULLIF(quota.price('cost_usage/' || card, usage) -> 'assumptions', '[]');
EXCEPTION WHEN SQLSTATE 'XQ201' THEN
    RETURN NULL;
END
$$;

-- 1. As the providers document them -----------------------------------------------------

CREATE TEMP TABLE example (i serial, name text, card text, usage jsonb) ON COMMIT DROP;
INSERT INTO example (name, card, usage) VALUES
    -- OpenAI: everything is inside. 2006 - 1920 = 86 plain; 300 of 300 reasoning.
    ('OpenAI chat', 'all', '{"prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306, "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 128, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}'),
    -- 1117 - 900 audio, of which none need be cached: 217 text, of which 100 are cached.
    ('OpenAI chat, audio', 'modal', '{"prompt_tokens": 1117, "completion_tokens": 146, "total_tokens": 1263, "prompt_tokens_details": {"cached_tokens": 100, "audio_tokens": 900},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 110, "text_tokens": 36}}'),
    ('OpenAI responses', 'all', '{"input_tokens": 36, "input_tokens_details": {"cached_tokens": 6}, "output_tokens": 87, "output_tokens_details": {"reasoning_tokens": 64}, "total_tokens": 123}'),
    ('OpenAI responses, no details', 'all', '{"input_tokens": 36, "output_tokens": 87, "total_tokens": 123}'),
    ('OpenAI realtime', 'modal', '{"total_tokens": 253, "input_tokens": 132, "output_tokens": 121, "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "image_tokens": 0,
        "cached_tokens": 64, "cached_tokens_details": {"text_tokens": 61, "audio_tokens": 3, "image_tokens": 0}}, "output_token_details": {"text_tokens": 30, "audio_tokens": 91}}'),
    ('OpenAI images', 'modal', '{"total_tokens": 4210, "input_tokens": 50, "output_tokens": 4160, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        "output_tokens_details": {"image_tokens": 4160, "text_tokens": 0}}'),
    ('OpenAI embeddings', 'tier', '{"prompt_tokens": 8, "total_tokens": 8, "output_tokens": 0}'),
    ('OpenAI transcription, tokens', 'modal', '{"type": "tokens", "input_tokens": 14, "input_token_details": {"text_tokens": 0, "audio_tokens": 14}, "output_tokens": 45, "total_tokens": 59}'),
    ('OpenAI transcription, time', 'seconds', '{"type": "duration", "seconds": 27}'),
    -- Reports the cache twice.
    ('DeepSeek', 'all', '{"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 4}, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}'),
    -- Reasoning is beside the completion, as the total says.
    ('xAI', 'all', '{"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135, "prompt_tokens_details": {"text_tokens": 32, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 6},
        "completion_tokens_details": {"reasoning_tokens": 94, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}, "num_sources_used": 0}'),
    ('xAI, as its card says', 'beside', '{"prompt_tokens": 32, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 94}}'),
    -- Anthropic: the cache is beside the input: 21 + 188086 + 456 in all.
    ('Anthropic', 'all', '{"input_tokens": 21, "cache_creation_input_tokens": 456, "cache_read_input_tokens": 188086, "output_tokens": 393,
        "cache_creation": {"ephemeral_5m_input_tokens": 356, "ephemeral_1h_input_tokens": 100}, "service_tier": "standard", "inference_geo": "global"}'),
    ('Anthropic, one time to live', 'all', '{"input_tokens": 2095, "cache_creation_input_tokens": 2051, "cache_read_input_tokens": 0, "output_tokens": 503}'),
    ('Anthropic, breakdown alone', 'all', '{"input_tokens": 21, "cache_creation": {"ephemeral_5m_input_tokens": 356, "ephemeral_1h_input_tokens": 100}, "output_tokens": 393}'),
    ('Anthropic, searches', 'search', '{"input_tokens": 105, "output_tokens": 6039, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}}'),
    -- The same by way of LiteLLM, where everything is inside.
    ('LiteLLM of Anthropic', 'all', '{"prompt_tokens": 188563, "completion_tokens": 393, "total_tokens": 188956, "cache_creation_input_tokens": 456, "cache_read_input_tokens": 188086,
        "prompt_tokens_details": {"cached_tokens": 188086, "cache_creation_tokens": 456, "cache_creation_token_details": {"ephemeral_5m_input_tokens": 356, "ephemeral_1h_input_tokens": 100}}}'),
    -- LiteLLM counts searches that the provider made, under either name.
    ('LiteLLM, searches', 'search', '{"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "server_tool_use": {"web_search_requests": 2}}'),
    ('LiteLLM, searches', 'search', '{"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "prompt_tokens_details": {"cached_tokens": 0, "web_search_requests": 3}, "server_tool_use": null}'),
    -- Alibaba: all is inside, the cache written too.
    ('DashScope', 'all', '{"prompt_tokens": 29719, "completion_tokens": 435, "total_tokens": 30154, "prompt_tokens_details": {"text_tokens": 29719, "cache_creation": {"ephemeral_5m_input_tokens": 29713},
        "cache_creation_input_tokens": 29713, "cache_type": "ephemeral", "cached_tokens": 0}}'),
    -- The cache is beside the input, though the output has details as in OpenAI's responses.
    ('Anthropic, details', 'all', '{"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 1000, "output_tokens_details": {"reasoning_tokens": 2}}'),
    -- Gemini: thoughts and the results of tools are beside; cached content is inside.
    ('Gemini', 'all', '{"promptTokenCount": 1000, "cachedContentTokenCount": 600, "candidatesTokenCount": 20, "thoughtsTokenCount": 300, "toolUsePromptTokenCount": 55, "totalTokenCount": 1375}'),
    -- Where the total says so, thoughts are inside: 57 + 74 = 131.
    ('Gemini, thoughts inside', 'all', '{"promptTokenCount": 57, "candidatesTokenCount": 74, "thoughtsTokenCount": 50, "totalTokenCount": 131}'),
    ('Gemini, tool and thoughts', 'all', '{"promptTokenCount": 57, "candidatesTokenCount": 74, "thoughtsTokenCount": 50, "toolUsePromptTokenCount": 9, "totalTokenCount": 140}'),
    ('Gemini, modalities', 'modal', '{"promptTokenCount": 1200, "candidatesTokenCount": 1300, "totalTokenCount": 2500, "cachedContentTokenCount": 800,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 200}, {"modality": "AUDIO", "tokenCount": 1000}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 700}, {"modality": "TEXT", "tokenCount": 100}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}, {"modality": "TEXT", "tokenCount": 10}]}'),
    ('Gemini, cached video', 'modal', '{"promptTokenCount": 1000, "candidatesTokenCount": 5, "totalTokenCount": 1005, "cachedContentTokenCount": 800,
        "promptTokensDetails": [{"modality": "VIDEO", "tokenCount": 900}, {"modality": "TEXT", "tokenCount": 100}], "cacheTokensDetails": [{"modality": "VIDEO", "tokenCount": 800}]}'),
    ('Gemini live', 'modal', '{"promptTokenCount": 30, "responseTokenCount": 250, "totalTokenCount": 280, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 30}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 250}]}'),
    ('Vertex AI, priority', 'tier', '{"promptTokenCount": 7, "candidatesTokenCount": 1, "totalTokenCount": 8, "trafficType": "ON_DEMAND_PRIORITY"}'),
    -- Bedrock: the cache is beside the input, and the total does not count it.
    ('Bedrock', 'all', '{"inputTokens": 30, "outputTokens": 628, "totalTokens": 658, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 100,
        "cacheReadInputTokenCount": 1000, "cacheWriteInputTokenCount": 100, "cacheDetails": [{"ttl": "1h", "inputTokens": 60}, {"ttl": "5m", "inputTokens": 40}]}'),
    ('Bedrock, total with cache', 'all', '{"inputTokens": 30, "outputTokens": 628, "totalTokens": 1658, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 0}'),
    -- OpenTelemetry: everything is inside; attributes of older and newer conventions side by side.
    ('OpenTelemetry', 'all', '{"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 180, "gen_ai.usage.cache_read.input_tokens": 50, "gen_ai.usage.cache_creation.input_tokens": 25,
        "gen_ai.usage.reasoning.output_tokens": 80}'),
    ('OpenTelemetry, old and new', 'all', '{"gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.input_tokens": 100, "gen_ai.usage.completion_tokens": 180, "gen_ai.usage.output_tokens": 180}');
SELECT name, pg_temp.charged(card, usage) AS charged, pg_temp.assumed(card, usage) AS assumed FROM example ORDER BY i;

-- 2. What is not said -------------------------------------------------------------------

SELECT usage, pg_temp.charged('modal', usage) AS charged, pg_temp.assumed('modal', usage) AS assumed
FROM unnest(ARRAY[
    -- 1024 + 1100 of 1117: at least 1007 are cached and audio.
    '{"prompt_tokens": 1117, "completion_tokens": 46, "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 1100}}',
    '{"prompt_tokens": 1117, "completion_tokens": 46, "prompt_tokens_details": {"cached_tokens": 1117, "audio_tokens": 1117}}',
    '{"promptTokenCount": 10, "candidatesTokenCount": 1, "totalTokenCount": 11, "cachedContentTokenCount": 9, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}, {"modality": "IMAGE", "tokenCount": 5}]}',
    '{"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 99}',
    '{"prompt_tokens": 10, "completion_tokens": 2, "queue_time": 0.05, "x_groq": {"id": "r"}, "iterations": [{"input_tokens": 5}], "a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}'
    ]) WITH ORDINALITY AS u (text, i), LATERAL (SELECT text::jsonb AS usage) AS j
ORDER BY i;

SELECT pg_temp.assumed('modal', ('{"prompt_tokens": 10, "completion_tokens": 1, "x' || repeat('é', 200) || '": 1}')::jsonb) AS long_key;

-- In the vocabulary: reasoning beside the output, and inside it.
SELECT pg_temp.charged('all', '{"input_tokens": 10, "output_tokens": 5, "reasoning_tokens": 100, "reasoning_is_additional": true}') AS additional,
       pg_temp.charged('all', '{"input_tokens": 10, "output_tokens": 105, "reasoning_tokens": 100}') AS included;

-- Whoever says that it is beside, it is added once.
SELECT usage, pg_temp.charged('all', usage) AS charged
FROM unnest(ARRAY[
    '{"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115, "completion_tokens_details": {"reasoning_tokens": 100}, "reasoning_is_additional": true}',
    '{"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 100}, "reasoning_is_additional": true}',
    '{"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 100, "reasoning_is_additional": true}',
    '{"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 100, "totalTokenCount": 115, "reasoning_is_additional": true}'
    ]) WITH ORDINALITY AS u (text, i), LATERAL (SELECT text::jsonb AS usage) AS j
ORDER BY i;

-- More than 32 entries: the last one says how many more. What comes first stays first.
SELECT quota.put_model_alias('cost_usage/another', 'cost_usage/all');
SELECT n, model, jsonb_array_length(assumptions) AS entries, assumptions ->> 0 AS first, assumptions ->> 30 AS last_but_one, assumptions ->> 31 AS last
FROM unnest(ARRAY[31, 32, 33, 40]) AS n
CROSS JOIN unnest(ARRAY['all', 'another']) AS model
CROSS JOIN LATERAL (SELECT quota.price('cost_usage/' || model, jsonb_object_agg(format('key_%s', i), i) || '{"prompt_tokens": 1, "completion_tokens": 1}') -> 'assumptions'
                    FROM generate_series(101, 100 + n) AS i) AS p (assumptions)
ORDER BY model, n;

-- 3. Contradictions ---------------------------------------------------------------------

SELECT usage, pg_temp.charged('all', usage) AS refused
FROM unnest(ARRAY[
    '{"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}}',
    '{"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}, "prompt_cache_hit_tokens": 4}',
    '{"prompt_tokens": 5, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 6}}',
    '{"prompt_tokens": 5, "input_tokens": 4, "completion_tokens": 5}',
    '{"input_tokens": 5, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 6}}',
    '{"input_tokens": 5, "output_tokens": 5, "cache_creation_input_tokens": 10, "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5}}',
    '{"input_tokens": 5, "output_tokens": 5, "cache_creation_input_tokens": 10, "cache_creation": {"ephemeral_1h_input_tokens": 11}}',
    '{"inputTokens": 5, "outputTokens": 5, "cacheWriteInputTokens": 7, "cacheDetails": [{"ttl": "1h", "inputTokens": 6}, {"ttl": "5m", "inputTokens": 6}]}',
    '{"promptTokenCount": 5, "candidatesTokenCount": 5, "cachedContentTokenCount": 6}',
    '{"promptTokenCount": 5, "candidatesTokenCount": 5, "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}, {"modality": "AUDIO", "tokenCount": 3}]}',
    '{"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 5, "gen_ai.usage.cache_read.input_tokens": 6}',
    '{"gen_ai.usage.input_tokens": 5, "gen_ai.usage.prompt_tokens": 6, "gen_ai.usage.output_tokens": 5}',
    '{"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": -10}',
    '{"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": "ten"}',
    '{"prompt_tokens": 5, "completion_tokens": 1.5}',
    '{"promptTokenCount": 5, "candidatesTokenCount": 5, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": -3}]}'
    ]) WITH ORDINALITY AS u (text, i), LATERAL (SELECT text::jsonb AS usage) AS j
ORDER BY i;

ROLLBACK;
\unset ON_ERROR_ROLLBACK
