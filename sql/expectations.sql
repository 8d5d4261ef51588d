-- Verifies that:
-- 1. without history, or with too little, an estimate expects the ceiling, and says so;
-- 2. with history it expects the median of what the root's generations of the model had, within 1/32;
-- 3. another root, another model and an estimate without an account know nothing of it; a new version of the card does;
-- 4. every settled generation that succeeded counts once, whatever the fold meets, and nothing else counts;
-- 5. what is expected is never more than the ceiling, and what the request says goes before what was learned;
-- 6. the running week and the four before it count, from Monday on in UTC, and purging takes what is older;
-- 7. reasoning, and what a default of the card stands for, are learned in the same way;
-- 8. text bounds the input tokens by its bytes, its tokens are expected as those of texts before, and it is not kept;
-- 9. admin_estimate_accuracy says what the rows of the ledger say, and rebuild_usage() makes what it reads anew from them;
-- 10. buckets are within 1/32 of what they count, from end to end;
-- 11. usage that cannot be read, which only a superuser can write, teaches nothing and stops nothing.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
SET xavier_quota.clock = '2032-03-10 12:00+00'; -- a Wednesday
SELECT pg_temp.card('exp-a'), pg_temp.card('exp-b');
SELECT quota.put_account('company:exp') AS root_id \gset
SELECT quota.put_account('company:exp_other') AS other_id \gset
SELECT count(quota.put_account(s)) AS projects FROM unnest('{company:exp/project:exp_p,company:exp_other/project:exp_o}'::quota.scope[]) AS s;
SELECT quota.put_member('company:exp', 'exp_ann'), quota.put_member('company:exp_other', 'exp_bob');

-- What is expected, and why.
CREATE FUNCTION pg_temp.expected(model text, request jsonb, account quota.scope DEFAULT 'company:exp', at timestamptz DEFAULT NULL)
RETURNS TABLE (ceiling text, expected text, assumed text)
LANGUAGE sql AS $$
    SELECT e #>> '{amount,credit}', e #>> '{expected,credit}', array_to_string(ARRAY(SELECT jsonb_array_elements_text(e -> 'assumptions')), '; ')
    FROM quota.estimate(model, request, account, at) AS e
$$;
-- Holds and settles.
CREATE FUNCTION pg_temp.generate(user_id text, project_id text, model text, request jsonb, usage jsonb, outcome text DEFAULT 'succeeded') RETURNS text
LANGUAGE sql AS $$
    SELECT quota.settle((quota.reserve(user_id, project_id, model, request) ->> 'hold_id')::uuid, usage, outcome) ->> 'state'
$$;
CREATE FUNCTION pg_temp.learned(root_id bigint) RETURNS TABLE (model text, quantity text, week date, events bigint)
LANGUAGE sql AS $$
    SELECT h.model, h.quantity, h.week, sum(h.events)::bigint FROM quota.usage_histogram h WHERE h.root_id = learned.root_id
    GROUP BY h.model, h.quantity, h.week ORDER BY h.model, h.quantity, h.week
$$;

-- 1.
SELECT * FROM pg_temp.expected('exp-a', '{"input_tokens": 1000}');
SELECT count(pg_temp.generate('exp_ann', 'exp_p', 'exp-a', '{"input_tokens": 1000}', jsonb_build_object('input_tokens', 1000, 'output_tokens', i * i)))
    FROM generate_series(1, 19) AS i;
CALL pg_temp.fold(:root_id);
SELECT * FROM pg_temp.expected('exp-a', '{"input_tokens": 1000}');

-- 2. Squares: the median of those of 1 to 40 is that of 20, 400. Its bucket goes from 23 x 2^24 millionths to before 24 x 2^24, and its middle is 394.264576.
SELECT count(pg_temp.generate('exp_ann', 'exp_p', 'exp-a', '{"input_tokens": 1000}', jsonb_build_object('input_tokens', 1000, 'output_tokens', i * i)))
    FROM generate_series(20, 40) AS i;
SELECT * FROM pg_temp.expected('exp-a', '{"input_tokens": 1000}');
CALL pg_temp.fold(:root_id);
SELECT * FROM pg_temp.expected('exp-a', '{"input_tokens": 1000}');
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY (usage ->> 'output_tokens')::integer) AS median FROM quota.events WHERE root_id = :root_id;
SELECT v #>> '{estimate,expected,credit}' AS expected FROM quota.reserve('exp_ann', 'exp_p', 'exp-a', '{"input_tokens": 1000}') AS v;
SELECT quota.release(hold_id) ->> 'state' AS state, expected FROM quota.holds WHERE root_id = :root_id;

-- 3.
SELECT * FROM pg_temp.expected('exp-b', '{"input_tokens": 1000}');
SELECT * FROM pg_temp.expected('exp-a', '{"input_tokens": 1000}', 'company:exp_other');
SELECT * FROM pg_temp.expected('exp-a', '{"input_tokens": 1000}', NULL);
BEGIN;
SELECT quota.set_rate_card('exp-a', '{"max_output_tokens": 10000, "lines": [{"meter": "output_tokens", "price": "0.0001"}]}') > 0 AS set;
SELECT * FROM pg_temp.expected('exp-a', '{}');
ROLLBACK;

-- 4.
SELECT * FROM pg_temp.learned(:root_id);
CALL pg_temp.fold(:root_id);
BEGIN;
SELECT pg_temp.generate('exp_ann', 'exp_p', 'exp-a', '{"input_tokens": 1000}', '{"input_tokens": 1000, "output_tokens": 9}');
ROLLBACK;
SELECT pg_temp.generate('exp_ann', 'exp_p', 'exp-a', '{"input_tokens": 1000}', '{"input_tokens": 1000, "output_tokens": 0}', 'failed') AS failed,
       pg_temp.generate('exp_ann', 'exp_p', 'exp-a', '{"input_tokens": 1000}', '{"input_tokens": 1000, "output_tokens": 0}', 'cancelled') AS cancelled;
SELECT quota.settle_amount((quota.reserve('exp_ann', 'exp_p', 'exp-a', '{"input_tokens": 1000}') ->> 'hold_id')::uuid, 'credit=1') ->> 'state' AS measured_otherwise;
SELECT quota.adjust('company:exp', 'credit=1', 'test') ->> 'state' AS adjusted;
SELECT quota.charge('exp_ann', 'exp_p', 'exp-a', '{"prompt_tokens": 1000, "completion_tokens": 400}') ->> 'state' AS charged;
SELECT pg_temp.keep('late', quota.reserve('exp_ann', 'exp_p', 'exp-a', '{"input_tokens": 1000}')) AS held;
SELECT quota.release(pg_temp.id('late')) ->> 'state' AS released;
SELECT quota.settle(pg_temp.id('late'), '{"input_tokens": 1000, "output_tokens": 400}') ->> 'late' AS late;
SELECT quota.settle(pg_temp.id('late'), '{"input_tokens": 1000, "output_tokens": 400}') ->> 'replayed' AS again;
BEGIN;
SELECT quota._fold_root(:root_id, quota._system_identifier()) > 0 AS folded;
ROLLBACK;
CALL pg_temp.fold(:root_id);
CALL pg_temp.fold(:root_id);
SELECT * FROM pg_temp.learned(:root_id);

-- 5.
SELECT * FROM pg_temp.expected('exp-a', '{"input_tokens": 1000, "max_output_tokens": 300}');
SELECT * FROM pg_temp.expected('exp-a', '{"input_tokens": 1000, "max_output_tokens": 0}');
SELECT * FROM pg_temp.expected('exp-a', '{"input_tokens": 1000, "expected_output_tokens": 50}');
SELECT * FROM pg_temp.expected('exp-a', '{"input_tokens": 1000, "output_tokens": 50}');
SELECT quota.set_rate_card('exp-c', '{"defaults": {"expected_output_tokens": 250}, "max_output_tokens": 1000, "lines": [{"meter": "output_tokens", "price": "0.0001"}]}', '2026-01-01') > 0 AS set;
SELECT * FROM pg_temp.expected('exp-c', '{}');
SELECT * FROM pg_temp.expected('exp-c', '{"max_output_tokens": 100}');
-- In a volume tier 20 tokens are dearer than 21.
SELECT quota.set_rate_card('exp-v', '{"lines": [{"meter": "output_tokens", "tiers": [{"up_to": 20, "price": "0.01"}, {"price": "0.001"}], "tiering": "volume"}]}', '2026-01-01') > 0 AS set;
SELECT * FROM pg_temp.expected('exp-v', '{"max_output_tokens": 21, "expected_output_tokens": 20}');

-- 6. Another model, in the last moment of one week and the first of the next: Monday, 8 March.
SET xavier_quota.clock = '2032-03-07 23:59:59.999999+00';
SELECT count(pg_temp.generate('exp_ann', 'exp_p', 'exp-b', '{"input_tokens": 1}', '{"input_tokens": 1, "output_tokens": 10}')) FROM generate_series(1, 21);
SET xavier_quota.clock = '2032-03-08 00:00:00+00';
SELECT count(pg_temp.generate('exp_ann', 'exp_p', 'exp-b', '{"input_tokens": 1}', '{"input_tokens": 1, "output_tokens": 15}')) FROM generate_series(1, 20);
CALL pg_temp.fold(:root_id);
SELECT week, quantity, events FROM pg_temp.learned(:root_id) WHERE model = 'exp-b' AND quantity = 'output_tokens';
SELECT t.at, e.assumed FROM unnest(ARRAY['2032-03-07 23:59:59.999999+00', '2032-03-08 00:00+00', '2032-04-04 23:59:59.999999+00', '2032-04-05 00:00+00', '2032-04-11 23:59:59+00', '2032-04-12 00:00+00']::timestamptz[]) AS t (at)
    CROSS JOIN LATERAL pg_temp.expected('exp-b', '{"input_tokens": 1}', at => t.at) AS e;
BEGIN;
SET LOCAL xavier_quota.clock = '2032-04-05 00:00+00';
SELECT quota._purge() >= 0 AS purged;
SELECT week, quantity, events FROM pg_temp.learned(:root_id) WHERE model = 'exp-b';
SELECT model, since, generations FROM quota.admin_estimate_accuracy WHERE root = 'company:exp' ORDER BY model;
ROLLBACK;
SET xavier_quota.clock = '2032-03-10 12:00+00';

-- 7. Of 25 generations half of the output is reasoning, which is dearer; a video lasts 10 seconds unless the request says.
SELECT quota.set_rate_card('exp-r', '{"max_output_tokens": 1000, "lines": [{"meter": "output_tokens", "price": "0.0001"}, {"meter": "reasoning_tokens", "price": "0.0002"}]}', '2026-01-01') > 0 AS set;
SELECT quota.set_rate_card('exp-s', '{"defaults": {"duration_seconds": 10, "n": 4}, "lines": [{"meter": "video_seconds", "price": "0.1"}]}', '2026-01-01') > 0 AS set;
SELECT * FROM pg_temp.expected('exp-r', '{}') UNION ALL SELECT * FROM pg_temp.expected('exp-s', '{}');
SELECT count(pg_temp.generate('exp_ann', 'exp_p', 'exp-r', '{}', '{"output_tokens": 12, "reasoning_tokens": 6}')),
       count(pg_temp.generate('exp_ann', 'exp_p', 'exp-s', '{}', '{"duration_seconds": 5.5, "n": 2}')) FROM generate_series(1, 25);
CALL pg_temp.fold(:root_id);
SELECT * FROM pg_temp.expected('exp-r', '{}') UNION ALL SELECT * FROM pg_temp.expected('exp-s', '{}') UNION ALL SELECT * FROM pg_temp.expected('exp-s', '{"n": 1}');
SELECT * FROM pg_temp.expected('exp-r', '{"max_output_tokens": 5}') UNION ALL SELECT * FROM pg_temp.expected('exp-r', '{"max_output_tokens": 9, "reasoning_tokens": 1}');
-- Who reports no reasoning had none: of 55 the median is now 0.
SELECT count(pg_temp.generate('exp_ann', 'exp_p', 'exp-r', '{}', '{"output_tokens": 12}')) FROM generate_series(1, 30);
CALL pg_temp.fold(:root_id);
SELECT * FROM pg_temp.expected('exp-r', '{}');

-- 8. "Grüße" has five letters and seven bytes.
SELECT * FROM pg_temp.expected('exp-a', '{"input_text": "Grüße", "max_output_tokens": 0}');
SELECT * FROM pg_temp.expected('exp-a', '{"input_bytes": 400, "max_output_tokens": 0}');
SELECT * FROM pg_temp.expected('exp-a', '{"input_bytes": 400, "cached_input_tokens": 300, "max_output_tokens": 0}');
SELECT * FROM pg_temp.expected('exp-a', '{"input_bytes": 400, "input_tokens": 90, "max_output_tokens": 0}');
SELECT * FROM pg_temp.expected('exp-a', '{"input_text": "", "max_output_tokens": 0}');
SELECT r.* FROM unnest(ARRAY['{"input_text": 5}', '{"input_text": "abc", "input_bytes": 4}', '{"input_text": ["abc"]}', '{"input_bytes": 1, "cached_input_tokens": 20, "max_output_tokens": 0}', '{"input_bytes": 1000000000001}']) AS q,
    pg_temp.refused(format('SELECT quota.estimate(%L, %L)', 'exp-a', q)) AS r;
SELECT message FROM pg_temp.refused($$SELECT quota.price('exp-a', '{"input_text": "abc", "output_tokens": 1}')$$);
SELECT pg_temp.keep('text', quota.reserve('exp_ann', 'exp_p', 'exp-a', '{"input_text": "A secret of the user", "max_output_tokens": 10}')) AS held;
SELECT request, expected FROM quota.holds WHERE hold_id = pg_temp.id('text');
SELECT quota.extend(pg_temp.id('text'), '{"input_text": "A longer secret of the user", "max_output_tokens": 10}') ->> 'allowed' AS extended;
SELECT request, expected FROM quota.holds WHERE hold_id = pg_temp.id('text');
SELECT quota.settle(pg_temp.id('text'), '{"input_tokens": 9, "output_tokens": 1}') ->> 'state' AS state;
SELECT input_bytes, expected FROM quota.events WHERE hold_id = pg_temp.id('text');
-- Two bytes for a token.
SELECT count(pg_temp.generate('exp_ann', 'exp_p', 'exp-a', '{"input_bytes": 600, "max_output_tokens": 400}', '{"input_tokens": 300, "output_tokens": 400}')) FROM generate_series(1, 25);
CALL pg_temp.fold(:root_id);
SELECT * FROM pg_temp.expected('exp-a', '{"input_bytes": 400, "max_output_tokens": 0}');

-- 9.
SELECT model, since, generations, ceiling, expected, charged, charged_of_ceiling, charged_of_expected FROM quota.admin_estimate_accuracy WHERE root = 'company:exp' ORDER BY model;
WITH settled AS (
    SELECT e.model, e.held OPERATOR(quota.->) 'credit' AS ceiling, coalesce(e.expected, e.held OPERATOR(quota.->) 'credit') AS expected,
           e.charged OPERATOR(quota.->) 'credit' AS charged, (e.usage ->> 'output_tokens')::integer AS output_tokens
    FROM quota.events e WHERE e.root_id = :root_id AND e.kind = 'settled' AND e.outcome = 'succeeded' AND e.usage IS NOT NULL
), truth AS (
    SELECT model, count(*) AS generations, sum(ceiling) AS ceiling, sum(expected) AS expected, sum(charged) AS charged,
           percentile_disc(ARRAY[0.1, 0.5, 0.9]) WITHIN GROUP (ORDER BY charged / ceiling) AS of_ceiling,
           percentile_disc(ARRAY[0.1, 0.5, 0.9]) WITHIN GROUP (ORDER BY charged / expected) AS of_expected
    FROM settled GROUP BY model
)
SELECT v.model, (v.generations, v.ceiling, v.expected, v.charged) = (t.generations, t.ceiling, t.expected, t.charged) AS sums,
       abs(v.of_ceiling_p10 / t.of_ceiling[1] - 1) <= 0.032 AND abs(v.of_ceiling_median / t.of_ceiling[2] - 1) <= 0.032 AND abs(v.of_ceiling_p90 / t.of_ceiling[3] - 1) <= 0.032 AS of_ceiling,
       abs(v.of_expected_p10 / t.of_expected[1] - 1) <= 0.032 AND abs(v.of_expected_median / t.of_expected[2] - 1) <= 0.032 AND abs(v.of_expected_p90 / t.of_expected[3] - 1) <= 0.032 AS of_expected,
       v.output_tokens_median, v.output_tokens_p90
FROM quota.admin_estimate_accuracy v JOIN truth t USING (model) WHERE v.root = 'company:exp' ORDER BY model;

-- And what was learned can be made anew from the ledger.
SELECT sum(hashtext(h::text)) AS histogram FROM quota.usage_histogram h WHERE h.root_id = :root_id \gset
SELECT sum(hashtext(e::text)) AS estimates FROM quota.estimates_weekly e WHERE e.root_id = :root_id \gset
BEGIN;
DELETE FROM quota.usage_histogram WHERE root_id = :root_id AND bucket % 2 = 0;
UPDATE quota.estimates_weekly SET charged = charged + 1 WHERE root_id = :root_id;
SELECT quota.rebuild_usage('company:exp', '-infinity') > 0 AS rebuilt;
SELECT sum(hashtext(h::text)) = :histogram AS same FROM quota.usage_histogram h WHERE h.root_id = :root_id;
SELECT sum(hashtext(e::text)) = :estimates AS same FROM quota.estimates_weekly e WHERE e.root_id = :root_id;
ROLLBACK;

-- 10. Every value of a bucket is within 1/32 of its middle; the next bucket begins where one ends.
WITH value (v) AS (
    SELECT i * 0.000001 FROM generate_series(0, 3000) AS i UNION ALL
    SELECT 2::numeric ^ i + d * 0.000001 FROM generate_series(-14, 39) AS i, generate_series(-1, 1) AS d UNION ALL
    SELECT 10::numeric ^ i FROM generate_series(-6, 12) AS i)
SELECT count(*) AS values, count(*) FILTER (WHERE abs(quota._histogram_value(quota._histogram_bucket(trunc(v, 6))) - trunc(v, 6)) > trunc(v, 6) / 32) AS beyond,
       min(quota._histogram_bucket(trunc(v, 6))) AS first, max(quota._histogram_bucket(trunc(v, 6))) AS last
FROM value WHERE v BETWEEN 0 AND 1000000000000;
SELECT count(*) FILTER (WHERE quota._histogram_bucket(quota._histogram_value(b::smallint)) = b) AS same,
       bool_and(quota._histogram_value(b::smallint) > quota._histogram_value((b - 1)::smallint)) FILTER (WHERE b > 0) AS ascending FROM generate_series(0, 907) AS b;
SELECT r.* FROM unnest(ARRAY['_histogram_bucket(-1)', '_histogram_bucket(1000000000000.000001)', '_histogram_bucket(''NaN'')', '_histogram_value(-1::smallint)', '_histogram_value(912::smallint)']) AS c,
    pg_temp.refused('SELECT quota.' || c) AS r;

-- 11. Of another cluster, so that adopting them is enough.
BEGIN;
INSERT INTO quota.events (hold_id, seq, kind, root_id, levels, scope, user_id, model, held, charged, held_at, recorded_at, card_id, usage, origin, xid, outcome)
    SELECT gen_random_uuid(), 1, 'settled', e.root_id, e.levels, e.scope, e.user_id, e.model, e.held, e.charged, e.held_at, e.recorded_at,
           coalesce(w.card_id, e.card_id), w.usage::jsonb, 42, '3', 'succeeded'
    FROM quota.events e,
         (VALUES (NULL, '{"output_tokens": -5}'), (NULL, '"text"'), (NULL, '{"output_tokens": "1e9999"}'), (NULL, '{}'), (-1, '{"output_tokens": 5}'),
                 (NULL, '{"output_tokens": 1000000000000, "reasoning_tokens": 1000000000000, "reasoning_is_additional": true}')) AS w (card_id, usage)
    WHERE e.hold_id = pg_temp.id('text');
SELECT sum(events) AS before FROM quota.usage_histogram WHERE root_id = :root_id AND quantity = 'output_tokens' \gset
SELECT quota.adopt('company:exp') AS adopted;
SELECT sum(events) - :before AS learned FROM quota.usage_histogram WHERE root_id = :root_id AND quantity = 'output_tokens';
ROLLBACK;
