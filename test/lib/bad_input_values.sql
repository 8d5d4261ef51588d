-- The values that test/endurance/bad_input.pl starts from, and the accounts and cards they
-- name. Needs the psql variable data: the directory of the price map and the cost cases.

CREATE SCHEMA bad;

-- What is valid, by pool. A pool is named after an argument and its type, an argument, or a
-- type; the first of these that there is serves an argument. Values with the same number go
-- together: that user is a member of that project, that usage can be priced for that model.
CREATE TABLE bad.valid (pool text, i int, value text, PRIMARY KEY (pool, i));

-- What is not, or hardly, by type; fragments go into the middle of texts.
CREATE TABLE bad.hostile (pool text, i int, value text, PRIMARY KEY (pool, i));

-- Who spends what ---------------------------------------------------------------------------

CREATE TEMP TABLE spender (i serial, user_id text, project_id text, account text);
INSERT INTO spender (user_id, project_id, account) VALUES
    ('ann', 'apollo', 'company:wide/project:apollo'),
    ('bob', 'apollo', 'company:wide'),
    ('ann', 'company:wide/team:research/project:deep', 'company:wide/team:research'),
    ('ann', 'narrow', 'company:narrow/project:narrow'),
    ('bob', 'narrow', 'company:narrow'),
    ('müller @ "x"', 'narrow', 'company:narrow/user:"müller @ ""x"""'),
    ('ann', 'diary', 'user:ann'),
    ('ann', 'user:ann/project:diary', 'user:ann/project:diary'),
    ('eve', 'odd', 'company:"Ǆ/🜁 \ %_"'),
    ('eve', 'company:"Ǆ/🜁 \ %_"/project:odd', 'company:"Ǆ/🜁 \ %_"/project:odd');

SELECT quota.put_plan('basic', '[{"resource": "calls", "amount": "100000", "period": "1 day"},
                                 {"resource": "credit", "amount": 5000, "policy": "soft"}]');
SELECT quota.put_resource('tokens', 'token', 'flow', 'all tokens');
SELECT quota.put_resource('images', 'image', 'flow', 'images');
SELECT quota.put_account(a::quota.scope, plan => p)
FROM (VALUES ('company:wide', NULL), ('company:wide/project:apollo', 'basic'), ('company:wide/team:research', NULL),
             ('company:wide/team:research/project:deep', 'basic'), ('company:narrow', NULL),
             ('company:narrow/project:narrow', NULL), ('user:ann', NULL), ('user:ann/project:diary', NULL),
             ('company:"Ǆ/🜁 \ %_"', 'basic'), ('company:"Ǆ/🜁 \ %_"/project:odd', NULL),
             ('company:exact', NULL), ('company:exact/project:exact', NULL)) AS v (a, p);
SELECT quota.put_member(quota.root(account::quota.scope), user_id) FROM spender WHERE account NOT LIKE 'user:%';
SELECT quota.put_member('company:exact', 'tom');
SELECT quota.set_limit('company:wide', 'credit', 4000000000000, 'lifetime');
SELECT quota.set_limit('company:wide', 'tokens', 4000000000000, 'month', 'shadow');
SELECT quota.set_limit('company:wide/project:apollo', 'credit', 1000000, model => 'gpt-*');
SELECT quota.set_limit('company:wide/user:*', 'credit', 100000, '1 month from 2026-01-31 in Europe/Berlin');
SELECT quota.set_limit('company:narrow', 'credit', 3, '6 hours', overdraft => 0.5);
SELECT quota.set_limit('company:narrow', 'storage', 1000);
SELECT quota.set_limit('company:narrow/user:*', 'calls', 20, 'minute');
SELECT quota.set_limit('company:narrow/project:narrow/user:ann', 'credit', 1, 'hour', 'soft');
SELECT quota.set_limit('user:ann', 'credit', 500);
SELECT quota.set_limit('user:ann/project:diary', 'calls', 50, 'day', 'soft');
SELECT quota.set_limit('company:exact', 'credit', 1000, 'lifetime');
SELECT quota.set_limit('company:exact/project:exact', 'credit', 900.000001, 'lifetime', overdraft => 0.5);
SELECT quota.set_limit('company:exact/user:*', 'calls', 777, 'lifetime');
SELECT quota.deny_model('company:narrow', 'azure/*');

-- What it costs -----------------------------------------------------------------------------

CREATE TEMP TABLE priced (i serial, model text, card jsonb, usage jsonb);
INSERT INTO priced (model, card, usage) VALUES
    ('all', '{
        "mode": "chat", "provider": "any", "metadata": {"contract": 17}, "max_input_tokens": 200000, "max_output_tokens": 8000.0,
        "reasoning_is_additional": false, "minimum_charge": "0.01", "defaults": {"service_tier": "standard", "max_results": 10},
        "lines": [
            {"meter": "input_tokens", "price": 3, "per": 1000000, "above": {"input_tokens": 200000}, "note": "large context"},
            {"meter": "input_tokens", "price": "1.5", "per": "1e6", "when": {"service_tier": ["flex", "batch"], "n": [1, 2], "audio": true, "output_images": null, "style": null}},
            {"meter": "input_tokens", "price": "0.0000015"},
            {"meter": "output_tokens", "tiers": [{"up_to": 1000, "price": "0.000006"}, {"price": "0.000005"}], "tiering": "volume", "required": true},
            {"meter": "audio_input_seconds", "price": "0.0001", "block": 60, "free": 10, "at_most": 3600}],
        "multipliers": [{"factor": "1.1", "when": {"data_residency": "eu"}, "above": {"input_tokens": 0}, "meters": ["input_tokens", "output_tokens"]}]}',
     '{"input_tokens": 250000, "output_tokens": 100, "audio_input_seconds": "61.5", "data_residency": "eu"}'),
    ('chat', '{"mode": "chat", "max_output_tokens": 4096, "lines": [
            {"meter": "input_tokens", "price": "0.0000025"}, {"meter": "cached_input_tokens", "price": "0.00000125"},
            {"meter": "cache_write_tokens", "price": "0.000003"}, {"meter": "cache_write_1h_tokens", "price": "0.000005"},
            {"meter": "reasoning_tokens", "price": "0.00003"}, {"meter": "output_tokens", "price": "0.00001"},
            {"meter": "web_search_requests", "price": "0.01"}]}',
     '{"input_tokens": 100, "cached_input_tokens": 20, "output_tokens": 50, "reasoning_tokens": 10, "max_output_tokens": 60}'),
    ('chat', '{"max_output_tokens": 1000, "reasoning_is_additional": true, "lines": [{"meter": "input_tokens", "price": "1e-24"}, {"meter": "output_tokens", "price": "99999999"}]}',
     '{"prompt_tokens": 1117, "completion_tokens": 46, "total_tokens": 1163, "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 12, "audio_tokens": 3, "accepted_prediction_tokens": 0}, "service_tier": "default"}'),
    ('chat', '{"max_output_tokens": 4096, "lines": [{"meter": "input_tokens", "price": 1}, {"meter": "output_tokens", "price": 0}]}',
     '{"input_tokens": 21, "cache_creation_input_tokens": 456, "cache_read_input_tokens": 1800, "cache_creation": {"ephemeral_5m_input_tokens": 356, "ephemeral_1h_input_tokens": 100}, "server_tool_use": {"web_search_requests": 2}, "output_tokens": 99}'),
    ('chat', '{"max_output_tokens": 4096, "lines": [{"meter": "input_tokens", "price": "0.00015", "multiplier": 1}, {"meter": "output_tokens", "price": ".5"}]}',
     '{"promptTokenCount": 264, "candidatesTokenCount": 80, "thoughtsTokenCount": 20, "totalTokenCount": 364, "cachedContentTokenCount": 10, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 200}, {"modality": "AUDIO", "tokenCount": 64}], "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 80}]}'),
    ('chat', '{"max_output_tokens": 10, "lines": [{"meter": "input_tokens", "price": "1", "free": 5}, {"meter": "output_tokens", "price": "1", "block": 7}]}',
     '{"inputTokens": 10, "outputTokens": 7, "totalTokens": 17, "cacheReadInputTokens": 3, "cacheWriteInputTokens": 2}'),
    ('chat', '{"max_output_tokens": 10, "lines": [{"meter": "input_tokens", "price": "1"}, {"meter": "output_tokens", "price": "1"}]}',
     '{"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 9, "gen_ai.usage.cache_read.input_tokens": 1}'),
    ('chat', '{"max_output_tokens": 10, "lines": [{"meter": "input_tokens", "price": "1"}, {"meter": "output_tokens", "price": "1"}]}',
     '{"input_tokens": 70, "input_tokens_details": {"cached_tokens": 30, "text_tokens": 40}, "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 90}'),
    ('pictures', '{"defaults": {"quality": "standard", "size": "1024x1024"}, "lines": [
            {"meter": "images", "price": "0.08", "when": {"size": "1024-x-1024", "quality": "hd"}},
            {"meter": "images", "price": "0.12", "when": {"size": ["1024x1792", "1792x1024"], "quality": "hd"}},
            {"meter": "images", "price": "0.04"}, {"meter": "pixels", "price": "1e-9"}]}',
     '{"n": 3, "size": "1792x1024", "quality": "HD", "steps": 50}'),
    ('film', '{"lines": [{"meter": "video_seconds", "price": "0.15", "when": {"resolution": "1080p", "audio": "true"}},
                         {"meter": "video_seconds", "price": "0.10"}, {"meter": "megapixels", "price": "0.002"}]}',
     '{"duration_seconds": 8.25, "n": 2, "resolution": "1080P", "audio": true, "size": "1920x1080"}'),
    ('steps', '{"minimum_charge": "0.0005", "lines": [
            {"meter": "pages", "tiers": [{"up_to": 10, "price": "0.01"}, {"up_to": 100, "price": "0.008"}, {"price": "0.005"}], "tiering": "graduated", "required": false},
            {"meter": "audio_seconds", "price": "0.0001", "block": 60, "required": false},
            {"meter": "characters", "price": "15", "per": "1e6", "free": 1000, "at_most": 50000, "required": false},
            {"meter": "storage_gb_days", "price": "0.1"}, {"meter": "queries", "price": 0.002, "when": {"max_results": [1, 10]}, "required": false},
            {"meter": "sessions", "price": "0.03"}, {"meter": "requests", "price": "0.00001"}]}',
     '{"pages": 111, "duration_seconds": 61, "characters": 70000, "storage_gb": "1.5", "days": 2, "queries": 3, "max_results": 10}');

-- Every twentieth entry of the price map, and those of the cost cases.
CREATE TEMP TABLE cases AS
SELECT c ->> 'model' AS model, c -> 'request' AS request
FROM regexp_split_to_table(pg_read_file(:'data' || '/cost_cases.jsonl'), E'\n') AS line,
     LATERAL (SELECT line::jsonb AS c) AS parsed
WHERE line <> '';
CREATE TEMP TABLE map AS
SELECT key AS model, value AS entry, row_number() OVER (ORDER BY key COLLATE "C") AS n
FROM jsonb_each(pg_read_file(:'data' || '/litellm_prices.json')::jsonb);
SELECT count(*) FROM quota.import_prices((
    SELECT jsonb_object_agg(model, entry) FROM map
    WHERE n % 20 = 0 OR model IN (SELECT model FROM cases)), valid_from => '-infinity');
SELECT quota.set_rate_card(model, card - 'multiplier', '-infinity')
FROM (SELECT DISTINCT ON (model) * FROM priced ORDER BY model, i) AS p;
INSERT INTO priced (model, card, usage)
SELECT model, (SELECT r.card FROM quota.rate_cards r WHERE r.model = c.model), request - 'call'
FROM cases c
WHERE EXISTS (SELECT FROM quota.rate_cards r WHERE r.model = c.model);

-- Pools -------------------------------------------------------------------------------------

INSERT INTO bad.valid
SELECT 'user_id', i, user_id FROM spender UNION ALL
SELECT 'project_id', i, project_id FROM spender UNION ALL
SELECT 'account', i, account FROM spender UNION ALL
SELECT '_run_step.root', i, quota.root(account::quota.scope)::text FROM spender UNION ALL
SELECT 'root_id', i, a.root_id::text FROM spender s
    JOIN quota.accounts a ON a.scope OPERATOR(quota.=) quota.root(s.account::quota.scope) UNION ALL
SELECT 'limit_id', row_number() OVER (ORDER BY limit_id), limit_id::text FROM quota.limits UNION ALL
SELECT 'model', i, model FROM priced UNION ALL
SELECT 'card', i, card::text FROM priced UNION ALL
SELECT 'request', i, usage::text FROM priced UNION ALL
SELECT 'usage', i, usage::text FROM priced UNION ALL
SELECT 'document', n / 40 + 1, jsonb_object_agg(model, entry)::text FROM map
WHERE n % 5 = 0 GROUP BY n / 40;

CREATE FUNCTION pg_temp.pool(name text, VARIADIC list text[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO bad.valid SELECT name, i, v FROM unnest(list) WITH ORDINALITY AS u (v, i)
$$;
SELECT pg_temp.pool('idempotency_key', 'k1', 'k2', 'k3', 'k4', NULL, NULL, NULL, NULL, NULL),
    pg_temp.pool('outcome', 'succeeded', 'failed', 'cancelled', 'unknown', NULL),
    pg_temp.pool('reason', 'because', '', 'refund'),
    pg_temp.pool('ttl', '15 minutes', '1 second', '1 day', '00:00:01.5', '7 days'),
    pg_temp.pool('at', '2026-03-29 01:30+00', 'now', '2100-02-28', 'epoch', NULL),
    pg_temp.pool('valid_from', '2100-01-01', NULL, '2101-06-01'),
    pg_temp.pool('valid_to', NULL, '2200-01-01', '2101-01-01'),
    pg_temp.pool('resource', 'credit', 'calls', 'storage', 'tokens', 'images'),
    pg_temp.pool('policy', 'hard', 'soft', 'shadow'),
    pg_temp.pool('overdraft', '0', '10', '0.000001'),
    pg_temp.pool('rollover', '0', '0.0', '5'), pg_temp.pool('rollover_periods', '1', '12', '2'),
    pg_temp.pool('carry_overage', 'false', 'true'),
    pg_temp.pool('pattern', '*', 'gpt-*', 'chat', '*/*-x?'),
    pg_temp.pool('set_limit.model', '*', '*', 'gpt-*', 'chat'),
    pg_temp.pool('plan', 'basic', NULL, 'other'),
    pg_temp.pool('limits', '[]', '[{"resource": "calls", "amount": "100000", "period": "1 day"}]',
        '[{"resource": "credit", "amount": 5.000001, "period": "rolling 24 hours", "policy": "hard", "overdraft": 1, "rollover": 0, "carry_overage": false, "model": "x*"},
          {"resource": "storage", "amount": 0, "policy": "shadow", "period": "lifetime"}]',
        '[{"resource": "tokens", "amount": 7, "policy": "soft", "period": "2 weeks from 2026-01-05 in America/New_York"}]'),
    pg_temp.pool('attributes', NULL, '{}', '{"tier": 1}'),
    pg_temp.pool('unit', 'token', 'credit'), pg_temp.pool('kind', 'flow', 'stock', 'concurrency'),
    pg_temp.pool('put_resource.resource', 'tokens', 'video_seconds', 'in_flight', 'pages'),
    pg_temp.pool('credits_per_usd', '100', '1', '0.000000001', '999999999.999999999'),
    pg_temp.pool('factor', '1', '1.2', '0', '0.000000001', '999999.999999999'),
    pg_temp.pool('role', 'bad_all', 'bad_viewer'), pg_temp.pool('bundle', 'service', 'admin', 'viewer'),
    pg_temp.pool('job', 'expire', 'fold', 'partitions', 'periods', 'purge'),
    pg_temp.pool('scope.kind', 'company', 'user', 'project'), pg_temp.pool('scope.name', 'acme', 'a/b', '"', '*'),
    pg_temp.pool('boolean', 'true', 'false'),
    pg_temp.pool('text', 'ann', 'credit', 'x'),
    pg_temp.pool('numeric', '1', '0.000001', '12.5', '100', '4611686018427.387903', '0'),
    pg_temp.pool('bigint', '1', '2', '3', '10'), pg_temp.pool('integer', '1', '100', '7'),
    pg_temp.pool('smallint', '1'), pg_temp.pool('double precision', '1.5'),
    pg_temp.pool('uuid', '11111111-2222-8333-8444-555555555555'),
    pg_temp.pool('timestamp with time zone', '2026-01-31 00:00+00', 'now', '2026-03-29 02:30 Europe/Berlin', '2024-02-29'),
    pg_temp.pool('interval', '1 hour', '1 month'),
    pg_temp.pool('quota.scope', 'company:acme', 'company:acme/project:apollo', 'user:*', 'company:wide/user:"a b"',
        'c:a/c:a-/c:a!/c:"a "/c:ä', 'a:' || repeat('n', 127), repeat('kind:name/', 31) || 'kind:name'),
    pg_temp.pool('quota.amount', 'credit=12.5,calls=1', 'credit=0.000001', 'credit=-3', '', 'calls=1', 'storage=-2.5,credit=4',
        'tokens=4611686018427.387903', 'credit=-4611686018427.387903', 'a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=8'),
    pg_temp.pool('reserve_amount.amount', 'credit=1.5', 'calls=1,credit=0.1', 'storage=5', 'credit=500,tokens=10'),
    pg_temp.pool('quota.quota', 'company:acme{credit=1000,calls=5000},company:acme/project:apollo{credit=200}', 'user:ann{}', '',
        'user:ann{credit=-1},user:ann/project:diary{calls=0},user:ann/project:diary/user:ann{storage=4611686018427.387903}'),
    pg_temp.pool('quota.period', 'minute', 'hour', 'day', 'week', 'month', 'quarter', 'year', 'lifetime', '6 hours', '13 months',
        '1 month from 2026-01-31 in Europe/Berlin', 'rolling 24 hours', 'refill 100 per 1 minute up to 500',
        '2 weeks from 2026-01-05 in America/New_York', '1 day from 2024-02-29 00:30:00 in Australia/Lord_Howe'),
    pg_temp.pool('set_limit.period', 'month', NULL, 'day', 'lifetime', '6 hours', '1 month from 2026-01-31 in Europe/Berlin', 'rolling 24 hours', 'refill 100 per 1 minute up to 500'),
    pg_temp.pool('effective_at', NULL, '2026-01-31 00:00+00', '2100-01-01'), pg_temp.pool('expires_at', NULL, '2101-01-01'),
    pg_temp.pool('grant_quota.limit_id', NULL, '1', '10'),
    pg_temp.pool('jsonb', '"company:acme/user:ann"', '{"credit": "1.5", "calls": 1}', '"6 hours"',
        '{"company:acme": {"credit": "1000"}, "company:acme/user:ann": {"calls": "5"}}', '{"a": [1, {"b": null}]}');

-- What the documents of answers look like is taken from answers.
INSERT INTO bad.valid VALUES
    ('to_verdict.document', 1, quota.check('ann', 'apollo', 'chat', '{"input_tokens": 5, "output_tokens": 3}')::text),
    ('to_receipt.document', 1, quota.charge('ann', 'apollo', 'chat', '{"input_tokens": 5, "output_tokens": 3}')::text);

-- Few random grants are right in everything: some are there to be voided.
INSERT INTO bad.valid
SELECT 'void_grant.grant_id', i, quota.grant_quota('company:wide', 'credit', i)::text FROM generate_series(1, 30) AS i;

CREATE FUNCTION pg_temp.hostile(name text, VARIADIC list text[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO bad.hostile SELECT name, i, v FROM unnest(list) WITH ORDINALITY AS u (v, i)
$$;
SELECT pg_temp.hostile('text', '', ' ', '*', E'\x01', E'a\tb\r\n', E'\u202Eabc\uFEFF', 'e' || repeat(U&'\0301', 200), '𝟙١', E'\U0010FFFF',
        repeat('x', 127), repeat('x', 128), repeat('ä', 64), repeat('x', 255), repeat('x', 256), repeat('y', 5000), 'NULL', '%s%n', '\', '''', '"',
        'company:wide', 'a/b', '..', '-1', 'nan', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i)),
    pg_temp.hostile('numeric', 'NaN', 'Infinity', '-Infinity', '-0', '-1', '0.0000001', '1e300', '1e-300', '1e131071', '9223372036854775807', '9223372036854775808',
        '-9223372036854775808', '-9223372036854775809', '4611686018427387904', '4611686018427.387904', '-4611686018427.387904', '170141183460469231731687303715884105728',
        '1e18', '1e38', repeat('9', 1000), '0.' || repeat('3', 1000), '999999999999.9999999', '1e-1000'),
    pg_temp.hostile('bigint', '-1', '0', '9223372036854775807', '-9223372036854775808', '4611686018427387904', '4294967296', '2147483648'),
    pg_temp.hostile('integer', '-1', '0', '2147483647', '-2147483648', '1000000'),
    pg_temp.hostile('smallint', '-1', '0', '32767', '-32768'),
    pg_temp.hostile('double precision', 'NaN', 'Infinity', '-0', '1e308', '5e-324'),
    pg_temp.hostile('boolean', NULL, 'maybe'),
    pg_temp.hostile('uuid', '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '{a0eebc999c0b4ef8bb6d6bb9bd380a11}', 'x',
        '11111111-ffff-8fff-bfff-ffffffffffff', '11111111-7fff-8fff-8fff-ffffffffffff', '11111111-8000-8000-8000-000000000000'),
    pg_temp.hostile('timestamp with time zone', 'infinity', '-infinity', '294276-12-31 23:59:59.999999+00', '4714-11-24 00:00:00+00 BC', '4713-01-01 BC',
        '1900-01-01 00:00 Europe/Amsterdam', '2262-04-11', '1582-10-10', '0001-01-01', '9999-12-31 24:00'),
    pg_temp.hostile('interval', '0', '-1 second', '178000000 years', '-178000000 years', '1 month -30 days', '2147483647 months', '106751991 days', '1 microsecond', '9223372036854775807 us'),
    pg_temp.hostile('regrole', 'postgres', '0', '4294967295', 'nobody', '"', '-'),
    pg_temp.hostile('quota.scope', '', ':', 'a', 'a:', 'a:b/', '/a:b', 'a:*', 'a:*/b:c', 'a:"', 'a:"\', 'a:"*"', 'A:b', '1:b', 'a:' || repeat('x', 128), repeat('k', 64) || ':x',
        repeat('a:b/', 32) || 'a:b', 'a:"' || repeat('\\', 127) || '"', E'a:"\u0085"', 'a:b:c', '_:_', E'a:\U0010FFFF'),
    pg_temp.hostile('quota.amount', 'credit', 'credit=', '=1', 'credit=1e5', 'credit=NaN', 'credit=0.0000001', 'credit=4611686018427.387904', 'credit=-4611686018427.387904', 'credit=1,credit=2',
        'credit=' || repeat('9', 1000), 'credit=--1', 'credit=+1', 'credit=.', 'credit=1.', 'credit=-0', repeat('r', 64) || '=1',
        (SELECT string_agg('r' || i || '=1', ',') FROM generate_series(1, 2000) i), 'x=-0.000000,y=0'),
    pg_temp.hostile('quota.quota', 'a:b', 'a:b{', 'a:b}', 'a:b{}{}', 'a:b{c=1},b:b{c=1}', 'a:b{c=1},a:b{d=1}', 'a:b/c:d{e=1},a:b{e=1}', 'a:b{c=1,c=1}', 'a:b{c=1},', 'a:*{x=1}',
        (SELECT string_agg('a:b/c:x' || i || '{r=1}', ',') FROM generate_series(1, 1000) i)),
    pg_temp.hostile('quota.period', '', '0 hours', '-1 day', '2147483648 days', '9223372036854775807 years', '1 fortnight', 'month from', 'month in', 'month from 2026-13-01', 'month in Nowhere',
        'day from infinity', 'day from -infinity', 'day from 294276-12-31', 'day from 4714-01-01 BC', 'year from 2024-02-29 in Pacific/Apia', 'rolling', 'rolling 0 hours', 'rolling 1 month',
        'rolling 100000000 hours', 'refill 0 per 1 minute up to 1', 'refill 1 per 0 minutes up to 1', 'refill 1e9 per 1 second up to 4611686018427.387903',
        'refill 4611686018427.387904 per 1 year up to 1', '178956970 years', '1 month from 0001-01-31', 'hour in Europe/Berlin', 'day in ' || repeat('x', 300), 'day in ../../etc/passwd'),
    -- Fragments.
    pg_temp.hostile('fragment', '/', ':', ',', '{', '}', '[', ']', '"', '\', '*', '=', '-', '.', 'e9', '0', '9', ' ', E'\n', E'\x01', E'\x7f', 'é', E'\u0301', '🜁', E'\uFEFF', '\u0000',
        '\ud800', '%', '''', 'null', '-0', '1e400', '99999999999999999999', 'a:', '<', ';', '1e-25', 'Infinity', '_'),
    -- Values and keys of documents.
    pg_temp.hostile('json', '0', '-0', '-1', '1', '1.5', '0.0000001', '1e300', '1e-300', '1e131071', '1e-16383', '9223372036854775807', '9223372036854775808', '-9223372036854775808',
        '-9223372036854775809', '4611686018427387903', '4611686018427387904', '4611686018427387905', '999999999999', '1000000000000', '1000000000001', '1e12', '1e-6', '1e-7', '1e-24', '1e-25',
        '99999999.999999999999999999999999', '100000000', repeat('7', 1000), '0.' || repeat('1', 1000), 'null', 'true', 'false', '""', '"NaN"', '"Infinity"', '"-Infinity"', '"1e5"', '" 1"', '"1 "',
        '"0x10"', '"1_000"', '"١"', '"\u0001"', '"\ud83d\ude00"', '"-0"', '"--"', '"' || repeat('9', 1000) || '"', '"' || repeat('x', 10000) || '"', '"1024x1024"', '"99999999999x99999999999"',
        '"1x"', '"0x0"', '"HD"', '[]', '{}', '[[]]', '[1, "1", null]', '{"": null}', '{"a": {"a": {"a": 1}}}', repeat('[', 3000) || repeat(']', 3000),
        repeat('{"input_tokens":', 1500) || '1' || repeat('}', 1500), (SELECT jsonb_agg(i)::text FROM generate_series(1, 2000) i),
        (SELECT jsonb_object_agg('k' || i, i)::text FROM generate_series(1, 1000) i)),
    pg_temp.hostile('key', '', ' ', 'x', repeat('k', 300), 'ключ', E'\u0001', 'Input_Tokens', 'input_tokens ', 'a.b');

-- Every key of any document in the pools may come up in any other.
INSERT INTO bad.hostile
SELECT 'key', 100 + row_number() OVER (ORDER BY key), key
FROM (WITH RECURSIVE node (value) AS (
          SELECT v.value::jsonb FROM bad.valid v WHERE v.value LIKE '{%"%'
              AND v.pool IN ('card', 'request', 'limits', 'document', 'to_verdict.document', 'to_receipt.document')
          UNION ALL
          SELECT c.value FROM node n, LATERAL (
              SELECT e.value FROM jsonb_each(CASE jsonb_typeof(n.value) WHEN 'object' THEN n.value ELSE '{}' END) e
              UNION ALL
              SELECT e.value FROM jsonb_array_elements(CASE jsonb_typeof(n.value) WHEN 'array' THEN n.value ELSE '[]' END) e) AS c
          WHERE jsonb_typeof(n.value) IN ('object', 'array'))
      SELECT DISTINCT jsonb_object_keys(value) COLLATE "C" AS key FROM node WHERE jsonb_typeof(value) = 'object') AS k;
-- Numbered without gaps, so that one is found by its number.
UPDATE bad.hostile h SET i = -n.n FROM (SELECT pool, i, row_number() OVER (PARTITION BY pool ORDER BY i) AS n FROM bad.hostile) n
WHERE (h.pool, h.i) = (n.pool, n.i);
UPDATE bad.hostile SET i = -i;
UPDATE bad.valid v SET i = -n.n FROM (SELECT pool, i, row_number() OVER (PARTITION BY pool ORDER BY i) AS n FROM bad.valid) n
WHERE (v.pool, v.i) = (n.pool, n.i);
UPDATE bad.valid SET i = -i;
CREATE TABLE bad.size AS
    SELECT 'valid' AS list, pool, count(*)::int AS size FROM bad.valid GROUP BY pool
    UNION ALL SELECT 'hostile', pool, count(*)::int FROM bad.hostile GROUP BY pool;
ANALYZE bad.valid, bad.hostile;
