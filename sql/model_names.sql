-- Verifies that:
-- 1. a name leads to a card by alias, as the card's own, without its provider, without its
--    date or the owner of a fine-tuned model, in this order, and the estimate says by what;
-- 2. nothing is guessed: another provider's card, a region, a name with less than it takes;
-- 3. an unknown model is refused, or priced by the card of xavier_quota.default_model;
-- 4. aliases are put and dropped, audited, and seen at once, also when that is rolled back;
-- 5. whatever the name, the request counts for the card's model, and its rules and limits hold;
-- 6. a hold is settled by its card, although its name leads elsewhere by then.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SET xavier_quota.clock = '2026-03-10 12:00+00';

-- One page costs what tells the card.
CREATE FUNCTION pg_temp.page_card(model text, price text, provider text DEFAULT NULL, valid_from timestamptz DEFAULT '2026-01-01')
RETURNS boolean LANGUAGE sql AS $$
    SELECT quota.set_rate_card(model, jsonb_strip_nulls(jsonb_build_object('provider', provider))
        || jsonb_build_object('lines', jsonb_build_array(jsonb_build_object('meter', 'pages', 'price', price))), valid_from) > 0
$$;
CREATE FUNCTION pg_temp.by(model text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    document jsonb;
BEGIN
    document := quota.estimate(model, '{"pages": 1}');
    RETURN concat_ws('; ', document ->> 'cost_usd', document #>> '{assumptions, 0}');
EXCEPTION WHEN SQLSTATE 'XQ003' THEN
    RETURN SQLERRM;
END
$$;

-- 1. The order ---------------------------------------------------------------------------

SELECT pg_temp.page_card('mn-1', '1', 'mnp') AS plain, pg_temp.page_card('mn-1-2026-01-31', '2', 'mnp') AS dated,
       pg_temp.page_card('mnp/mn-2', '3', 'mnp') AS prefixed, pg_temp.page_card('ft:mn-1', '4', 'mnp') AS tuned,
       pg_temp.page_card('mn-3', '5', 'mnp-language-models') AS family, pg_temp.page_card('mnp/mn-1-20260606', '6', 'mnp') AS both,
       pg_temp.page_card('mn-none', '7') AS of_nobody, pg_temp.page_card('eu.mn-1', '8', 'mnp_converse') AS region;
SELECT name, pg_temp.by(name)
FROM unnest('{mn-1, mnp/mn-1, mn-1-2026-01-31, mnp/mn-1-2026-01-31, mn-1-2031-05-13, mn-1-20310513, mn-1@20310513, mnp/mn-1-2031-05-13,
              mnp/mn-2, mnp/mn-2-20310101, mnp/mn-3, mnp/mn-1-20260606, ft:mn-1, ft:mn-1:acme::id7, mnp/ft:mn-1:acme::id7, mnp/eu.mn-1}'::text[]) AS name;

-- The card of an alias is before the name's own.
SELECT quota.put_model_alias('mn-alias', 'mn-1'), quota.put_model_alias('mn-2', 'mnp/mn-2'), quota.put_model_alias('mn-3', 'mn-1');
SELECT name, pg_temp.by(name) FROM unnest('{mn-alias, mn-2, mn-3, mnp/mn-3}'::text[]) AS name;
SELECT quota.drop_model_alias('mn-3') AS dropped, quota.drop_model_alias('mn-3') AS again;
SELECT pg_temp.by('mn-3') AS its_own_again;

-- 2. What is not guessed -----------------------------------------------------------------

-- Other providers; no provider in the card; the provider of another; too little or too much of a
-- name; other letters; parts of dates; an alias of a name that only follows.
SELECT name, pg_temp.by(name)
FROM unnest('{other/mn-1, mnp/mn-none, mn/mn-1, mnpx/mn-1, mn, mn-, MN-1, mn-1-2026-01, mn-1-202601, mn-1-2031-05-13-x, -2031-05-13, mnp/, /mn-1,
              mnp/mnp/mn-1, eu.mn-1-v2, us.mn-1, ft:mn-9:acme::id7, mnp/mn-alias, mn-alias-2031-05-13, " mn-1"}'::text[]) AS name;
SELECT pg_temp.by(repeat('mn-1/', 1000)) AS long_name;

-- A card decides when there is one, though it is not valid yet.
SELECT pg_temp.page_card('mnp/mn-3', '9', 'mnp', '2026-04-01') AS from_april;
SELECT * FROM pg_temp.refused($$SELECT quota.estimate('mnp/mn-3', '{"pages": 1}')$$);
SELECT quota.estimate('mnp/mn-3', '{"pages": 1}', NULL, '2026-04-01') ->> 'cost_usd' AS in_april;

-- 3. Unknown models ----------------------------------------------------------------------

SELECT * FROM pg_temp.refused($$SELECT quota.estimate('mn-unknown', '{"pages": 1}')$$);
SET xavier_quota.default_model = 'mnp/mn-3';
SELECT * FROM pg_temp.refused($$SELECT quota.estimate('mn-unknown', '{"pages": 1}')$$);
SET xavier_quota.default_model = 'mn-2';
SELECT name, pg_temp.by(name) FROM unnest('{mn-unknown, other/mn-1, mn-1, mn-alias, mnp/mn-3}'::text[]) AS name;
-- The name counts as it is, so it must be one.
SELECT * FROM pg_temp.refused($$SELECT quota.estimate('', '{"pages": 1}')$$);
SELECT left(pg_temp.by(repeat('x', 255)), 30) AS longest, pg_temp.by(repeat('x', 256)) AS too_long, pg_temp.by(repeat('ü', 128)) AS in_bytes;
-- Never free by accident: the card must price the request.
SELECT * FROM pg_temp.refused($$SELECT quota.estimate('mn-unknown', '{"input_tokens": 1000}')$$);
SET ROLE pg_read_all_data;
SET xavier_quota.default_model = 'free-for-me';  -- fails
RESET ROLE;
RESET xavier_quota.default_model;
SELECT pg_temp.by('mn-unknown');

-- 4. Aliases -----------------------------------------------------------------------------

SELECT a.* FROM unnest(ARRAY[
    $$SELECT quota.put_model_alias(NULL, 'mn-1')$$, $$SELECT quota.put_model_alias('x', NULL)$$, $$SELECT quota.put_model_alias('', 'mn-1')$$,
    $$SELECT quota.put_model_alias(repeat('x', 256), 'mn-1')$$, $$SELECT quota.put_model_alias('mn-1', 'mn-1')$$,
    $$SELECT quota.put_model_alias('x', 'mn-alias')$$, $$SELECT quota.put_model_alias('x', 'mn-unknown')$$, $$SELECT quota.drop_model_alias(NULL)$$
    ]) AS s, pg_temp.refused(s) AS a;
BEGIN;
SELECT quota.put_model_alias('mn-alias', 'mnp/mn-2');
SELECT pg_temp.by('mn-alias');
ROLLBACK;
SELECT pg_temp.by('mn-alias');
SELECT quota.put_model_alias('mn-alias', 'mn-1');
SELECT quota.put_model_alias('mn-alias', 'ft:mn-1');
SELECT pg_temp.by('mn-alias');
SELECT operation, before ->> 'model' AS before, after ->> 'model' AS after
FROM quota.admin_audit WHERE relation = 'model_aliases' AND COALESCE(after, before) ->> 'alias' IN ('mn-alias', 'mn-3') ORDER BY changed_at;
SELECT a.alias, a.model, c.card #>> '{lines, 0, price}' AS price
FROM quota.admin_model_aliases a JOIN quota.admin_rate_cards c USING (card_id) WHERE a.alias LIKE 'mn-%' ORDER BY 1;

-- 5. What a request counts for -----------------------------------------------------------

SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:mn_acme', 'company:mn_acme/project:mn_p']) AS s;
SELECT quota.put_member('company:mn_acme', 'mn_ann');
SELECT quota.set_limit('company:mn_acme', 'credit', 250, model => 'mn-1') > 0 AS of_model;
SELECT pg_temp.keep('exact', quota.reserve('mn_ann', 'mn_p', 'mn-1', '{"pages": 1}'));
SELECT pg_temp.keep('prefixed', quota.reserve('mn_ann', 'mn_p', 'mnp/mn-1', '{"pages": 1}', 'mn-key'));
SELECT document ->> 'model' AS model, document #>> '{estimate, model}' AS of_card, document #>> '{estimate, assumptions, 0}' AS how,
       (document #>> '{estimate, card}')::bigint = (SELECT card_id FROM quota.rate_cards c WHERE c.model = 'mn-1') AS card FROM kept WHERE label = 'prefixed';
SELECT pg_temp.brief(quota.reserve('mn_ann', 'mn_p', name, '{"pages": 1}')) AS answer, name
FROM unnest('{mn-1, mnp/mn-1, mn-1-2031-05-13, mn-1@20310513}'::text[]) AS name;
SELECT pg_temp.brief(quota.reserve('mn_ann', 'mn_p', 'mnp/mn-1', '{"pages": 1}', 'mn-key')) AS replayed;
SELECT model, count(*) AS holds FROM quota.admin_holds WHERE root = 'company:mn_acme' GROUP BY model;
-- A charge counts there too. An unknown model counts for itself.
SELECT pg_temp.brief(quota.charge('mn_ann', 'mn_p', 'mn-1-2031-05-13', '{"pages": 1}')) AS charged;
SET xavier_quota.default_model = 'mn-1';
SELECT pg_temp.brief(quota.charge('mn_ann', 'mn_p', 'mn-unknown', '{"pages": 1}')) AS charged;
RESET xavier_quota.default_model;
SELECT model, charged FROM quota.admin_events WHERE root = 'company:mn_acme' ORDER BY model;
SELECT used, held FROM quota.admin_limits WHERE root = 'company:mn_acme';

-- A rule speaks of either name.
CREATE FUNCTION pg_temp.why(name text) RETURNS text LANGUAGE sql AS $$
    SELECT COALESCE(v ->> 'reason', 'allowed') FROM quota.check('mn_ann', 'mn_rules', name, '{"pages": 1}') AS v
$$;
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:mn_rules', 'company:mn_rules/project:mn_rules']) AS s;
SELECT quota.put_member('company:mn_rules', 'mn_ann'), quota.deny_model('company:mn_rules', 'mn-1');
SELECT name, pg_temp.why(name) FROM unnest('{mn-1, mnp/mn-1, mn-1-2031-05-13, mnp/mn-2}'::text[]) AS name;
SELECT quota.drop_model_rule('company:mn_rules', 'mn-1') AS dropped, quota.deny_model('company:mn_rules', 'mnp/*');
SELECT name, pg_temp.why(name) FROM unnest('{mn-1, mnp/mn-1, mn-2}'::text[]) AS name;
SELECT quota.drop_model_rule('company:mn_rules', 'mnp/*') AS dropped, quota.allow_model('company:mn_rules', 'mn-1');
SELECT name, pg_temp.why(name) FROM unnest('{mn-1, mnp/mn-1, mn-2}'::text[]) AS name;

-- 6. The price of the hold stays ---------------------------------------------------------

SELECT pg_temp.keep('alias', quota.reserve('mn_ann', 'mn_p', 'mn-alias', '{"pages": 2}'));
SELECT quota.put_model_alias('mn-alias', 'mnp/mn-2');
SELECT pg_temp.page_card('ft:mn-1', '40', 'mnp', '2026-03-10 12:00+00') AS dearer;
SELECT pg_temp.by('mn-alias') AS alias_now, pg_temp.by('ft:mn-1') AS card_now;
SELECT pg_temp.brief(quota.extend(pg_temp.id('alias'), '{"pages": 3}')) AS extended, pg_temp.brief(quota.settle(pg_temp.id('alias'), '{"pages": 3}')) AS settled;
SELECT quota.drop_model_alias('mn-alias') AS dropped, pg_temp.by('mn-alias') AS unknown_now;
