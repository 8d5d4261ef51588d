-- Verifies that:
-- 1. a card is compiled once by a session, and again only when it has changed;
-- 2. what else changes, another card, an alias, the credit rate, a price adjustment, a resource, is seen at once and makes no card be compiled;
-- 3. a row that was changed although its table forbids it is compiled as it is now;
-- 4. a card of another CREATE EXTENSION with the id of one before is another card.
SET xavier_quota.clock = '2031-05-01 00:00+00';
CREATE FUNCTION pg_temp.card(model text, price text, valid_from timestamptz) RETURNS bigint
LANGUAGE sql AS $$
    SELECT quota.set_rate_card('cost_cache/' || model, jsonb_build_object('lines', jsonb_build_array(jsonb_build_object('meter', 'pages', 'price', price))), valid_from)
$$;
-- What two pages cost, and how many cards this call compiled.
CREATE FUNCTION pg_temp.price(model text, account quota.scope DEFAULT NULL, at timestamptz DEFAULT NULL) RETURNS TABLE (usd text, amount jsonb, compiled bigint)
LANGUAGE plpgsql AS $$
DECLARE
    before bigint := quota._rate_cards_compiled();
    document jsonb := quota.price('cost_cache/' || model, '{"pages": 2}', account, at);
BEGIN
    RETURN QUERY SELECT document ->> 'cost_usd', document -> 'amount', quota._rate_cards_compiled() - before;
END
$$;
SELECT pg_temp.card('a', '0.1', '2000-01-01') < pg_temp.card('b', '0.2', '2000-01-01') AS set;

-- 1.
SELECT * FROM pg_temp.price('a');
SELECT * FROM pg_temp.price('a');
SELECT * FROM pg_temp.price('b');
SELECT pg_temp.card('a', '0.3', '2031-05-01 00:00+00') > 0 AS set;
SELECT * FROM pg_temp.price('a');
SELECT * FROM pg_temp.price('a', at => '2031-04-30');
SELECT * FROM pg_temp.price('b');
SELECT * FROM pg_temp.price('a');

-- 2.
BEGIN;
SELECT pg_temp.card('c', '0.4', '2000-01-01') > 0 AS set;
SELECT * FROM pg_temp.price('a');
SELECT quota.put_model_alias('cost_cache/other', 'cost_cache/a');
SELECT * FROM pg_temp.price('other');
SELECT quota.put_model_alias('cost_cache/other', 'cost_cache/b');
SELECT * FROM pg_temp.price('other');
SELECT quota.set_credit_rate(50);
SELECT * FROM pg_temp.price('a');
SELECT quota.put_account('company:cca') > 0 AS put;
SELECT quota.set_price_adjustment('company:cca', 1.5);
SELECT * FROM pg_temp.price('a', 'company:cca');
SELECT quota.set_price_adjustment('company:cca', 3, '2031-05-02 00:00+00');
SELECT * FROM pg_temp.price('a', 'company:cca', '2031-05-03');
SELECT quota.put_resource('pages', 'page', 'flow', 'Pages');
SELECT * FROM pg_temp.price('a');
ROLLBACK;
SELECT * FROM pg_temp.price('a');

-- 3.
BEGIN;
ALTER TABLE quota.rate_cards DISABLE TRIGGER keep_row;
UPDATE quota.rate_cards SET card = jsonb_set(card, '{lines,0,price}', '"0.5"') WHERE model = 'cost_cache/a' AND valid_from = '2031-05-01 00:00+00';
SELECT * FROM pg_temp.price('a');
SELECT * FROM pg_temp.price('b');
ROLLBACK;
SELECT * FROM pg_temp.price('a');

-- 4. The first card of each life of the extension has the same id. (In a database of its own: others may use this one's.)
SELECT current_database() AS home \gset
CREATE DATABASE regress_cost_cache;
\c regress_cost_cache
SET client_min_messages = warning;
CREATE EXTENSION xavier_quota;
SELECT quota.set_rate_card('x', '{"lines": [{"meter": "pages", "price": "1"}]}', '2000-01-01') AS first \gset
SELECT quota.price('x', '{"pages": 1}') ->> 'cost_usd' AS first_life;
DROP EXTENSION xavier_quota;
CREATE EXTENSION xavier_quota;
SELECT quota.set_rate_card('x', '{"lines": [{"meter": "pages", "price": "2"}]}', '2000-01-01') = :first AS same_id;
SELECT quota.price('x', '{"pages": 1}') ->> 'cost_usd' AS second_life, quota._rate_cards_compiled() AS compiled;
\c :home
DROP DATABASE regress_cost_cache;
