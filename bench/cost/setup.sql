-- The real price map for the extension, and the same prices for the rivals.
\set price_map `cat "$PRICE_MAP"`
SELECT count(*) FROM quota.import_prices(:'price_map');

CREATE SCHEMA bench;

CREATE FUNCTION bench.cost(model text, request jsonb) RETURNS numeric
    AS 'quota_bench', 'bench_cost' LANGUAGE C STRICT;
CREATE FUNCTION bench.time_cost(model text, request jsonb, calls bigint) RETURNS double precision
    AS 'quota_bench', 'bench_time_cost' LANGUAGE C STRICT;
CREATE FUNCTION bench.time_function(function regprocedure, model text, request jsonb, calls bigint) RETURNS double precision
    AS 'quota_bench', 'bench_time_function' LANGUAGE C STRICT;
CREATE FUNCTION bench.time_statement(statement text, model text, request jsonb, calls bigint) RETURNS double precision
    AS 'quota_bench', 'bench_time_statement' LANGUAGE C STRICT;

-- What is priced: chat, chat with a cache beyond the context switch, images by size and
-- quality, seconds of video, and chat by the prices of batches.
CREATE TABLE bench.requests (name text PRIMARY KEY, position serial, model text, request jsonb);
INSERT INTO bench.requests (name, model, request) VALUES
    ('chat', 'gpt-4o', '{"input_tokens": 1200, "max_output_tokens": 800}'),
    ('cache', 'gemini-2.5-pro', '{"input_tokens": 250000, "cached_input_tokens": 180000, "max_output_tokens": 4000, "expected_output_tokens": 900}'),
    ('image', 'dall-e-3', '{"n": 2, "size": "1024x1792", "quality": "hd"}'),
    ('video', 'sora-2', '{"duration_seconds": 8}'),
    ('batch', 'gpt-4o', '{"input_tokens": 1200, "max_output_tokens": 800, "service_tier": "batch"}');

-- The rival in PL/pgSQL: a table of rates made for the question. All prices of a model, at
-- one tier, size and quality, stand in one row, which one index scan finds.
CREATE TABLE bench.rates (
    model text COLLATE "C", tier text COLLATE "C", size text COLLATE "C", quality text COLLATE "C",
    card_id bigint NOT NULL, large_above numeric,
    input numeric, large_input numeric, cached numeric, large_cached numeric,
    output numeric, large_output numeric, image numeric, second numeric, max_output numeric,
    PRIMARY KEY (model, tier, size, quality)
);
INSERT INTO bench.rates
SELECT c.model, t.tier, t.size, t.quality, c.card_id, p.large_above,
       p.input, p.large_input, coalesce(p.cached, p.input), coalesce(p.large_cached, p.large_input),
       p.output, p.large_output, p.image, p.second, (c.card ->> 'max_output_tokens')::numeric
FROM quota.rate_cards c
CROSS JOIN LATERAL (
    SELECT DISTINCT coalesce(l -> 'when' ->> 'service_tier', '') AS tier,
           coalesce(l -> 'when' ->> 'size', '') AS size, coalesce(l -> 'when' ->> 'quality', '') AS quality
    FROM jsonb_array_elements(c.card -> 'lines') AS l) AS t
CROSS JOIN LATERAL (
    SELECT min(price) FILTER (WHERE meter = 'input_tokens' AND above IS NULL) AS input,
           min(price) FILTER (WHERE meter = 'input_tokens' AND above IS NOT NULL) AS large_input,
           min(price) FILTER (WHERE meter = 'cached_input_tokens' AND above IS NULL) AS cached,
           min(price) FILTER (WHERE meter = 'cached_input_tokens' AND above IS NOT NULL) AS large_cached,
           min(price) FILTER (WHERE meter = 'output_tokens' AND above IS NULL) AS output,
           min(price) FILTER (WHERE meter = 'output_tokens' AND above IS NOT NULL) AS large_output,
           min(price) FILTER (WHERE meter = 'images') AS image,
           min(price) FILTER (WHERE meter = 'video_seconds') AS second,
           min(above) AS large_above
    FROM jsonb_array_elements(c.card -> 'lines') AS l
    CROSS JOIN LATERAL (SELECT l ->> 'meter' AS meter, (l ->> 'price')::numeric AS price,
                               (l #>> '{above,input_tokens}')::numeric AS above) AS x
    WHERE (coalesce(l -> 'when' ->> 'service_tier', ''), coalesce(l -> 'when' ->> 'size', ''),
           coalesce(l -> 'when' ->> 'quality', '')) = (t.tier, t.size, t.quality)) AS p;
ANALYZE bench.rates;

-- The rival in SQL: cards as documents, each in one row.
CREATE TABLE bench.cards (model text COLLATE "C" PRIMARY KEY, card_id bigint NOT NULL, card jsonb NOT NULL);
INSERT INTO bench.cards SELECT c.model, c.card_id, c.card FROM quota.rate_cards c;
ANALYZE bench.cards;
