-- Verifies that:
-- 1. the validator names the line and the key of what is wrong with a card;
-- 2. versions of a card follow each other in time without overlap, and a repeated call
--    changes nothing;
-- 3. nothing but an earlier end of a version can be changed;
-- 4. the credit rate and price adjustments follow the same rules;
-- 5. a backend that has a card compiled sees every change, also one that is rolled back;
-- 6. prices that have changed since do not change what an old version costs.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never

-- Cards are never removed: everything happens in a transaction that is rolled back.
\set ON_ERROR_ROLLBACK on
BEGIN;
SET LOCAL xavier_quota.clock = '2026-03-01 00:00:00+00';

-- 1. The validator ----------------------------------------------------------------------

CREATE FUNCTION pg_temp.refused(card text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM quota.set_rate_card('cost_card/refused', card::jsonb);
    RETURN 'accepted';
EXCEPTION WHEN SQLSTATE 'XQ202' THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN replace(SQLERRM, 'invalid rate card: ', '') || ': ' || detail;
END
$$;

SELECT card, pg_temp.refused(card) AS refused
FROM unnest(ARRAY[
    '[]', '1', '{}',
    '{"lines": {}}', '{"lines": []}', '{"lines": [1]}', '{"lines": [[]]}',
    '{"lines": [{"meter": "input_tokens"}]}',
    '{"lines": [{"price": "1"}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1"}, {"meter": "tokens", "price": "1"}]}',
    '{"lines": [{"meter": 7, "price": "1"}]}',
    '{"lines": [{"meter": "n", "price": "1"}]}',
    '{"lines": [{"meter": "input_tokens", "price": "free"}]}',
    '{"lines": [{"meter": "input_tokens", "price": "NaN"}]}',
    '{"lines": [{"meter": "input_tokens", "price": ""}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1e"}]}',
    '{"lines": [{"meter": "input_tokens", "price": ".e5"}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1e99999"}]}',
    '{"lines": [{"meter": "input_tokens", "price": null}]}',
    '{"lines": [{"meter": "input_tokens", "price": -0.001}]}',
    '{"lines": [{"meter": "input_tokens", "price": 1e300}]}',
    '{"lines": [{"meter": "input_tokens", "price": 100000000}]}',
    '{"lines": [{"meter": "input_tokens", "price": 1e-25}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "per": 0}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "per": 3}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "prize": "1"}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "when": []}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "when": {"tier": "flex"}}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "when": {"service_tier": {}}}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "when": {"service_tier": []}}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "when": {"service_tier": "-"}}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "when": {"n": "many"}}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "above": {"service_tier": 1}}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "above": {"input_tokens": "x"}}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1"}, {"meter": "output_tokens", "price": "1"}, {"meter": "input_tokens", "price": "2", "above": {"input_tokens": 1}}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "tiers": []}]}',
    '{"lines": [{"meter": "input_tokens", "tiers": [{"price": "1"}, {"price": "2"}]}]}',
    '{"lines": [{"meter": "input_tokens", "tiers": [{"price": "1", "up_to": 5}]}]}',
    '{"lines": [{"meter": "input_tokens", "tiers": [{"price": "1", "up_to": 5}, {"price": "1", "up_to": 5}, {"price": "2"}], "tiering": "graduated"}]}',
    '{"lines": [{"meter": "input_tokens", "tiers": [{"price": "1", "up_to": 5}, {"price": "2"}]}]}',
    '{"lines": [{"meter": "input_tokens", "tiers": [{"price": "1", "up_to": 5}, {"price": "2"}], "tiering": "rising"}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "required": "no"}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1", "block": -1}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1"}], "multipliers": [{"when": {"speed": "fast"}}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1"}], "multipliers": [{"factor": 2}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1"}], "multipliers": [{"factor": 2, "when": {"speed": "fast"}, "meters": ["n"]}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1e-20"}], "multipliers": [{"factor": "1.12345", "when": {"speed": "fast"}}]}',
    '{"lines": [{"meter": "input_tokens", "price": "1"}], "defaults": {"quality": 5}}',
    '{"lines": [{"meter": "input_tokens", "price": "1"}], "max_output_tokens": "many"}',
    '{"lines": [{"meter": "input_tokens", "price": "1"}], "minimum_charge": "none"}',
    '{"lines": [{"meter": "input_tokens", "price": "1"}], "mode": 5}',
    '{"lines": [{"meter": "input_tokens", "price": "1"}], "line": []}'
    ]) WITH ORDINALITY AS c (card, i)
ORDER BY i;

-- As deep or long as jsonb can be, it is read or refused.
SELECT pg_temp.refused('{"lines": ' || repeat('[', 5000) || repeat(']', 5000) || '}') AS deep,
       pg_temp.refused('{"lines": [' || repeat('{"meter": "n"},', 1000) || '{"meter": "n"}]}') AS "1001 lines",
       pg_temp.refused('{"' || repeat('x', 100) || '": 1, "lines": [{"meter": "input_tokens", "price": "1"}]}') AS long_key;

-- All that a card can have.
SELECT pg_temp.refused('{
    "mode": "chat", "provider": "any", "metadata": {"contract": 17}, "max_input_tokens": 200000, "max_output_tokens": 8000.0,
    "reasoning_is_additional": false, "minimum_charge": "0.01", "defaults": {"service_tier": "standard", "max_results": 10},
    "lines": [
        {"meter": "input_tokens", "price": 3, "per": 1000000, "above": {"input_tokens": 200000}, "note": "large context"},
        {"meter": "input_tokens", "price": "1.5", "per": "1e6", "when": {"service_tier": ["flex", "batch"], "n": [1, 2], "audio": true, "output_images": null, "style": null}},
        {"meter": "input_tokens", "price": "0.0000015"},
        {"meter": "output_tokens", "tiers": [{"up_to": 1000, "price": "0.000006"}, {"price": "0.000005"}], "tiering": "volume", "required": true},
        {"meter": "audio_input_seconds", "price": "0.0001", "block": 60, "free": 10, "at_most": 3600}],
    "multipliers": [{"factor": "1.1", "when": {"data_residency": "eu"}, "above": {"input_tokens": 0}, "meters": ["input_tokens", "output_tokens"]}]}') AS everything;

SELECT quota.set_rate_card(NULL, '{}');  -- fails
SELECT quota.set_rate_card('cost_card/x', NULL);  -- fails
SELECT quota.set_rate_card('', '{}');  -- fails
SELECT quota.set_rate_card(repeat('x', 256), '{}');  -- fails
SELECT quota.set_rate_card('cost_card/x', '{"lines": [{"meter": "pages", "price": "1"}]}', '2026-01-01', '2026-01-01');  -- fails
SELECT quota.set_rate_card('cost_card/x', '{"lines": [{"meter": "pages", "price": "1"}]}', 'infinity');  -- fails
SELECT quota.set_rate_card('cost_card/x', '{"lines": [{"meter": "pages", "price": "1"}]}', 'infinity', 'infinity');  -- fails
SELECT quota.set_rate_card('cost_card/x', '{"lines": [{"meter": "pages", "price": "1"}]}', valid_to => '-infinity');  -- fails
SELECT quota.import_prices('{"cost_card/x": {"mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}}', valid_from => 'infinity');  -- fails

-- 2. Versions ---------------------------------------------------------------------------

CREATE FUNCTION pg_temp.card(price text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('lines', jsonb_build_array(jsonb_build_object('meter', 'pages', 'price', price)))
$$;
CREATE FUNCTION pg_temp.cost(at timestamptz DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN quota.price('cost_card/pages', '{"pages": 1}', NULL, at) ->> 'cost_usd';
EXCEPTION WHEN SQLSTATE 'XQ003' THEN
    RETURN 'unknown model';
END
$$;
CREATE TEMP VIEW versions AS
SELECT valid_from, valid_to, card #>> '{lines, 0, price}' AS price
FROM quota.rate_cards WHERE model = 'cost_card/pages' ORDER BY valid_from, card_id;

SELECT pg_temp.cost() AS before_the_first;
SELECT quota.set_rate_card('cost_card/pages', pg_temp.card('1')) AS first \gset
SELECT quota.set_rate_card('cost_card/pages', pg_temp.card('1')) = :first AS unchanged,
       quota.set_rate_card('cost_card/pages', pg_temp.card('1'), '2026-06-01') = :first AS unchanged_later;
TABLE versions;

-- Another price from April on, one that is known to come in July, and one until then.
SELECT quota.set_rate_card('cost_card/pages', pg_temp.card('2'), '2026-04-01') AS second \gset
SELECT quota.set_rate_card('cost_card/pages', pg_temp.card('4'), '2026-07-01') AS fourth \gset
SELECT quota.set_rate_card('cost_card/pages', pg_temp.card('3'), '2026-05-01') AS third \gset
TABLE versions;
SELECT pg_temp.cost('2026-02-28 23:59:59.999999') AS before, pg_temp.cost('2026-03-01') AS march,
       pg_temp.cost('2026-03-31 23:59:59.999999') AS end_of_march, pg_temp.cost('2026-04-01') AS april,
       pg_temp.cost('2026-06-30 23:59:59.999999') AS june, pg_temp.cost('2026-07-01') AS july,
       pg_temp.cost('infinity') AS ever;

-- A version replaced at the instant it begins is valid at no time, and can still settle a hold.
SELECT quota.set_rate_card('cost_card/pages', pg_temp.card('5'), '2026-07-01') > :fourth AS replaced;
SELECT pg_temp.cost('2026-07-01') AS july;

-- Until an end: there is no price afterwards.
SELECT quota.set_rate_card('cost_card/pages', pg_temp.card('6'), '2026-08-01', '2026-09-01') > :fourth AS ends;
SELECT pg_temp.cost('2026-08-15') AS august, pg_temp.cost('2026-09-01') AS september;
TABLE versions;

-- The same card for longer is a new version, for the old one cannot be prolonged.
SELECT quota.set_rate_card('cost_card/pages', pg_temp.card('6'), '2026-08-01', '2026-10-01') > :fourth AS longer;
SELECT quota.set_rate_card('cost_card/pages', pg_temp.card('6'), '2026-09-15') > :fourth AS without_end;
SELECT pg_temp.cost('2026-08-15') AS august, pg_temp.cost('2026-09-01') AS september, pg_temp.cost('2026-12-01') AS december;
SELECT valid_from, valid_to, price FROM versions WHERE price = '6';

-- From the beginning of time, and until its end, which is until further notice.
SELECT quota.set_rate_card('cost_card/ever', pg_temp.card('1'), '-infinity', 'infinity') AS ever \gset
SELECT quota.set_rate_card('cost_card/ever', pg_temp.card('1')) = :ever AS unchanged, valid_from, valid_to
FROM quota.rate_cards WHERE model = 'cost_card/ever';

-- 3. What is written stays --------------------------------------------------------------

UPDATE quota.rate_cards SET card = pg_temp.card('0') WHERE card_id = :first;  -- fails
UPDATE quota.rate_cards SET valid_to = NULL WHERE card_id = :first;  -- fails
UPDATE quota.rate_cards SET valid_to = valid_to + interval '1 day' WHERE card_id = :first;  -- fails
UPDATE quota.rate_cards SET valid_from = valid_from - interval '1 day' WHERE card_id = :first;  -- fails
DELETE FROM quota.rate_cards WHERE card_id = :first;  -- fails
TRUNCATE quota.rate_cards;  -- fails
UPDATE quota.rate_cards SET valid_to = valid_to - interval '1 day' WHERE card_id = :first;
SELECT pg_temp.cost('2026-03-30 23:59:59') AS before_the_end, pg_temp.cost('2026-03-31') AS after_the_end;
\set VERBOSITY sqlstate
INSERT INTO quota.rate_cards (card_id, model, valid_from, card)
    VALUES (-1, 'cost_card/pages', '2026-03-15', pg_temp.card('7'));  -- fails
\set VERBOSITY default

-- 4. The credit rate and price adjustments ----------------------------------------------

CREATE FUNCTION pg_temp.credits(account quota.scope DEFAULT NULL, at timestamptz DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT quota.price('cost_card/pages', '{"pages": 1}', account, COALESCE(at, quota.now())) #>> '{amount, credit}'
$$;
SELECT pg_temp.credits() AS credits, quota.set_credit_rate(100) AS unchanged, (SELECT count(*) FROM quota.credit_rates) AS rates;
SELECT quota.set_credit_rate(1000) AS until_now;
SELECT pg_temp.credits() AS credits, pg_temp.credits(at => '2026-03-01') AS same_instant,
       quota.set_credit_rate(0.5) AS until_now;
SELECT pg_temp.credits() AS credits, (SELECT count(*) FROM quota.credit_rates) AS rates;
SET LOCAL xavier_quota.clock = '2026-03-02 00:00:00+00';
SELECT quota.set_credit_rate(200) AS until_now;
SELECT pg_temp.credits() AS second_of_march, pg_temp.credits(at => '2026-03-01 12:00') AS first_of_march;
SELECT quota.set_credit_rate(NULL);  -- fails
SELECT quota.set_credit_rate(0);  -- fails
SELECT quota.set_credit_rate('NaN');  -- fails
SELECT quota.set_credit_rate(1.0000000001);  -- fails

SELECT quota.put_account('company:cost_card') IS NOT NULL AS company,
       quota.put_account('company:cost_card/project:p') IS NOT NULL AS project,
       quota.put_account('company:cost_card_2') IS NOT NULL AS other;
SELECT quota.set_price_adjustment('company:cost_card', 1.2);
SELECT pg_temp.credits('company:cost_card') AS root, pg_temp.credits('company:cost_card/project:p') AS below,
       pg_temp.credits('company:cost_card/user:nobody') AS share, pg_temp.credits('company:cost_card_2') AS other,
       pg_temp.credits('company:cost_card', '2026-03-01 23:00') AS earlier;
SELECT quota.set_price_adjustment('company:cost_card', 1.2);
SELECT quota.set_price_adjustment('company:cost_card', 0.75, '2026-03-10', '2026-03-20');
SELECT quota.set_price_adjustment('company:cost_card', 0.5, '2026-03-15');
SELECT valid_from, valid_to, factor
FROM quota.price_adjustments p JOIN quota.accounts a USING (root_id)
WHERE a.scope::text = 'company:cost_card' ORDER BY valid_from;
SELECT at, pg_temp.credits('company:cost_card', at::timestamptz) AS credits
FROM unnest(ARRAY['2026-03-09', '2026-03-10', '2026-03-14', '2026-03-15', '2026-03-25']) AS at;
SELECT quota.price('cost_card/pages', '{"pages": 1}', 'company:cost_card') - 'card' AS adjusted;
SELECT quota.set_price_adjustment(NULL, 1);  -- fails
SELECT quota.set_price_adjustment('company:cost_card', -1);  -- fails
SELECT quota.set_price_adjustment('company:cost_card', 'NaN');  -- fails
SELECT quota.set_price_adjustment('company:cost_card', 1, '2026-01-02', '2026-01-01');  -- fails
SELECT quota.set_price_adjustment('company:cost_card', 1, 'infinity');  -- fails
SELECT quota.set_price_adjustment('company:cost_card', 1, valid_to => '-infinity');  -- fails
SELECT quota.set_price_adjustment('company:cost_card_2', 1, '-infinity', 'infinity');
SELECT p.valid_from, p.valid_to FROM quota.price_adjustments p JOIN quota.accounts a USING (root_id) WHERE a.scope::text = 'company:cost_card_2';
SELECT quota.set_price_adjustment('company:cost_card/project:p', 1);  -- fails
SELECT quota.set_price_adjustment('company:cost_card_3', 1);  -- fails
SELECT quota.price('cost_card/pages', '{"pages": 1}', 'company:cost_card_3/project:p');  -- fails

-- 5. What is compiled follows the tables ------------------------------------------------

SAVEPOINT s;
SELECT quota.set_rate_card('cost_card/pages', pg_temp.card('9')) > 0 AS changed;
SELECT pg_temp.cost() AS in_savepoint;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.cost() AS after_rollback;

-- 6. Old versions -----------------------------------------------------------------------

SELECT quota.price('cost_card/pages', '{"pages": 1}', NULL, '2026-03-01') -> 'card' = to_jsonb(:first) AS march_has_the_first,
       quota.price('cost_card/pages', '{"pages": 1}', NULL, '2026-04-01') -> 'card' = to_jsonb(:second) AS april_has_the_second;

ROLLBACK;
\unset ON_ERROR_ROLLBACK
SELECT quota.price('cost_card/pages', '{"pages": 1}');  -- fails
