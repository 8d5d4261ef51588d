-- Cost: pricing and what it is priced by -------------------------------------------------

-- Pricing --------------------------------------------------------------------------------

CREATE FUNCTION quota.estimate(model text, request jsonb, account quota.scope DEFAULT NULL, at timestamptz DEFAULT NULL)
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_estimate'
    LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 10
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.estimate(text, jsonb, quota.scope, timestamptz) IS
    'What a request will cost: the ceiling, which a hold takes, and the expected, with the lines of the ceiling';

CREATE FUNCTION quota.price(model text, usage jsonb, account quota.scope DEFAULT NULL, at timestamptz DEFAULT NULL)
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_price'
    LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 10
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.price(text, jsonb, quota.scope, timestamptz) IS
    'What actual usage costs, in the vocabulary of requests or as the large providers report it';

-- Rate cards -----------------------------------------------------------------------------

CREATE FUNCTION quota._check_rate_card(model text, card jsonb) RETURNS void
    AS 'MODULE_PATHNAME', 'quota_check_rate_card'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION quota._rate_cards_compiled() RETURNS bigint
    AS 'MODULE_PATHNAME', 'quota_rate_cards_compiled'
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION quota._rate_cards_compiled() IS
    'How many rate cards this session has compiled: once each, and again only when one has changed';

CREATE FUNCTION quota._put_rate_card(model text, card jsonb, source text, valid_from timestamptz, valid_to timestamptz)
    RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Makes a card valid from an instant until another (NULL: until further notice), or
-- until a version that is already there begins. A version that is valid at the
-- instant ends there. The caller has locked the table.
-- Returns: the id of the version; of the one that was there if nothing changes.
-- Errors: XQ202 malformed card.
#variable_conflict use_variable
DECLARE
    existing quota.rate_cards;
    new_id bigint;
BEGIN
    SELECT c.* INTO existing
        FROM quota.rate_cards c
        WHERE c.model = model
          AND c.valid_from <= valid_from AND COALESCE(c.valid_to > valid_from, true);
    SELECT LEAST(valid_to, min(c.valid_from)) INTO valid_to
        FROM quota.rate_cards c
        WHERE c.model = model
          AND c.valid_from > valid_from AND COALESCE(c.valid_to > c.valid_from, true);
    IF existing.card = card AND existing.valid_to IS NOT DISTINCT FROM valid_to THEN
        RETURN existing.card_id;
    END IF;
    PERFORM quota._check_rate_card(model, card);
    UPDATE quota.rate_cards c SET valid_to = valid_from WHERE c.card_id = existing.card_id;
    INSERT INTO quota.rate_cards (card_id, model, valid_from, valid_to, card, source)
        VALUES (nextval('quota.definition_id_seq'), model, valid_from, valid_to, card, source)
        RETURNING card_id INTO new_id;
    RETURN new_id;
END
$function$;

CREATE FUNCTION quota.set_rate_card(model text, card jsonb, valid_from timestamptz DEFAULT NULL, valid_to timestamptz DEFAULT NULL)
    RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Sets what a model costs from an instant (now) until another (further notice).
-- Returns: the id of the version.
-- Errors: 22004 null; 22023 no time between the instants; XQ202 malformed card.
-- Tables written: rate_cards.
BEGIN
    IF model IS NULL OR card IS NULL THEN
        RAISE EXCEPTION '% must not be null', CASE WHEN model IS NULL THEN 'model' ELSE 'card' END
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF octet_length(model) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'the name of a model has between 1 and 255 bytes'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    valid_from := COALESCE(valid_from, quota.now());
    valid_to := COALESCE(valid_to, 'infinity');
    IF valid_to <= valid_from THEN
        RAISE EXCEPTION 'a rate card must be valid for some time'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('It would be valid from %s to %s.', valid_from, valid_to);
    END IF;
    valid_to := NULLIF(valid_to, 'infinity');
    LOCK TABLE quota.rate_cards IN SHARE ROW EXCLUSIVE MODE;
    RETURN quota._put_rate_card(model, card, NULL, valid_from, valid_to);
END
$function$;
COMMENT ON FUNCTION quota.set_rate_card(text, jsonb, timestamptz, timestamptz) IS
    'Sets what a model costs from valid_from (now) to valid_to (further notice); returns the id of the version';

-- Names of models ------------------------------------------------------------------------

CREATE FUNCTION quota.put_model_alias(alias text, model text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Makes a name another name of a model that has a rate card. The same alias again
-- speaks of the new model from then on; holds keep the card that they were made with.
-- Errors: 22004 null; 22023 malformed, or an alias of itself; XQ003 no rate card.
-- Tables written: model_aliases.
#variable_conflict use_variable
BEGIN
    IF alias IS NULL OR model IS NULL THEN
        RAISE EXCEPTION '% must not be null', CASE WHEN alias IS NULL THEN 'alias' ELSE 'model' END
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF octet_length(alias) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'the name of a model has between 1 and 255 bytes'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF alias = model THEN
        RAISE EXCEPTION 'a model cannot be an alias of itself'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT EXISTS (SELECT FROM quota.rate_cards c WHERE c.model = model) THEN
        RAISE EXCEPTION 'model "%" has no rate card', left(model, 64)
            USING ERRCODE = 'XQ003',
                  HINT = 'An alias is of a model with a rate card of its own, not of another alias.';
    END IF;
    INSERT INTO quota.model_aliases AS a (alias, model)
        VALUES (alias, model)
        ON CONFLICT ON CONSTRAINT model_aliases_pkey
        DO UPDATE SET model = EXCLUDED.model WHERE a.model <> EXCLUDED.model;
END
$function$;
COMMENT ON FUNCTION quota.put_model_alias(text, text) IS
    'Makes a name another name of a model that has a rate card';

CREATE FUNCTION quota.drop_model_alias(alias text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Takes an alias back.
-- Returns: whether there was such an alias.
-- Errors: 22004 null.
-- Tables written: model_aliases.
#variable_conflict use_variable
BEGIN
    IF alias IS NULL THEN
        RAISE EXCEPTION 'alias must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    DELETE FROM quota.model_aliases a WHERE a.alias = alias;
    RETURN FOUND;
END
$function$;
COMMENT ON FUNCTION quota.drop_model_alias(text) IS
    'Takes an alias of a model back; returns whether there was one';

-- The credit rate and price adjustments --------------------------------------------------

CREATE FUNCTION quota.set_credit_rate(credits_per_usd numeric) RETURNS numeric
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Sets how many credits a US dollar buys from now on.
-- Returns: the rate that was valid until now.
-- Errors: 22004 null; 22003 not between 0 and 10^9, or more than nine decimals.
-- Tables written: credit_rates.
#variable_conflict use_variable
DECLARE
    valid_from timestamptz := quota.now();
    previous numeric;
BEGIN
    IF credits_per_usd IS NULL THEN
        RAISE EXCEPTION 'credits_per_usd must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF NOT (credits_per_usd > 0 AND credits_per_usd < 1000000000) OR credits_per_usd <> round(credits_per_usd, 9) THEN
        RAISE EXCEPTION 'credits_per_usd is out of range: %', credits_per_usd
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'It is above 0, below 1000000000, and has at most nine decimals.';
    END IF;
    LOCK TABLE quota.credit_rates IN SHARE ROW EXCLUSIVE MODE;
    SELECT r.credits_per_usd INTO previous
        FROM quota.credit_rates r WHERE r.valid_from <= valid_from
        ORDER BY r.valid_from DESC LIMIT 1;
    IF previous IS DISTINCT FROM credits_per_usd THEN
        INSERT INTO quota.credit_rates (valid_from, credits_per_usd) VALUES (valid_from, credits_per_usd)
            ON CONFLICT ON CONSTRAINT credit_rates_pkey DO UPDATE SET credits_per_usd = EXCLUDED.credits_per_usd;
    END IF;
    RETURN previous;
END
$function$;
COMMENT ON FUNCTION quota.set_credit_rate(numeric) IS
    'Sets how many credits a US dollar buys from now on (100 at first); returns the rate until now';

CREATE FUNCTION quota.set_price_adjustment(account quota.scope, factor numeric, valid_from timestamptz DEFAULT NULL, valid_to timestamptz DEFAULT NULL)
    RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Sets the factor by which everything that a root account spends is multiplied, from
-- an instant (now) until another (further notice), or until an adjustment that is
-- already there begins. An adjustment that is valid at the instant ends there.
-- Errors: 22004 null; 22003 factor out of range; 22023 no time between the instants;
-- XQ005 unknown account; XQ301 not a root.
-- Tables written: price_adjustments.
#variable_conflict use_variable
DECLARE
    root_id bigint;
    existing quota.price_adjustments;
    next_from timestamptz;
BEGIN
    IF account IS NULL OR factor IS NULL THEN
        RAISE EXCEPTION '% must not be null', CASE WHEN account IS NULL THEN 'account' ELSE 'factor' END
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF NOT (factor >= 0 AND factor < 1000000) OR factor <> round(factor, 9) THEN
        RAISE EXCEPTION 'factor is out of range: %', factor
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'It is at least 0, below 1000000, and has at most nine decimals.';
    END IF;
    valid_from := COALESCE(valid_from, quota.now());
    valid_to := COALESCE(valid_to, 'infinity');
    IF valid_to <= valid_from THEN
        RAISE EXCEPTION 'a price adjustment must be valid for some time'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('It would be valid from %s to %s.', valid_from, valid_to);
    END IF;
    valid_to := NULLIF(valid_to, 'infinity');
    SELECT a.root_id INTO root_id
        FROM quota.accounts a WHERE a.scope OPERATOR(quota.=) account AND a.parent_id IS NULL;
    IF NOT FOUND THEN
        IF EXISTS (SELECT FROM quota.accounts a WHERE a.scope OPERATOR(quota.=) account) THEN
            RAISE EXCEPTION '"%" is not a root account', account
                USING ERRCODE = 'XQ301',
                      HINT = 'Prices are adjusted for a whole company, or for a user''s own projects.';
        END IF;
        RAISE EXCEPTION 'account "%" does not exist', account
            USING ERRCODE = 'XQ005',
                  HINT = format('Create it with quota.put_account(%L).', account);
    END IF;

    LOCK TABLE quota.price_adjustments IN SHARE ROW EXCLUSIVE MODE;
    SELECT p.* INTO existing
        FROM quota.price_adjustments p
        WHERE p.root_id = root_id
          AND p.valid_from <= valid_from AND COALESCE(p.valid_to > valid_from, true);
    SELECT LEAST(valid_to, min(p.valid_from)) INTO valid_to
        FROM quota.price_adjustments p WHERE p.root_id = root_id AND p.valid_from > valid_from;
    IF existing.factor = factor AND existing.valid_to IS NOT DISTINCT FROM valid_to THEN
        RETURN;
    END IF;
    IF existing.valid_from = valid_from THEN
        UPDATE quota.price_adjustments p SET factor = factor, valid_to = valid_to
            WHERE p.root_id = root_id AND p.valid_from = valid_from;
        RETURN;
    END IF;
    UPDATE quota.price_adjustments p SET valid_to = valid_from
        WHERE p.root_id = root_id AND p.valid_from = existing.valid_from;
    INSERT INTO quota.price_adjustments (root_id, valid_from, valid_to, factor)
        VALUES (root_id, valid_from, valid_to, factor);
END
$function$;
COMMENT ON FUNCTION quota.set_price_adjustment(quota.scope, numeric, timestamptz, timestamptz) IS
    'Multiplies all prices of a root account by a factor: 1.2 is a markup of 20 %, 0.9 a discount of 10 %';

-- The price map --------------------------------------------------------------------------

CREATE FUNCTION quota._price_map_cards(document jsonb, OUT model text, OUT card jsonb, OUT lines integer, OUT skipped jsonb)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'quota_price_map_cards'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 3000;

CREATE FUNCTION quota.import_prices(document jsonb, source text DEFAULT NULL, valid_from timestamptz DEFAULT NULL)
    RETURNS TABLE (model text, lines integer, skipped jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 3000
SET search_path = pg_catalog, pg_temp
AS $function$
-- Sets the rate cards of all models of the community price map from an instant (now)
-- on. Models that the map does not have keep the cards they have.
-- Returns: each entry with the number of lines of its card, 0 for none, and what of it
-- is not in the card, as {"key": "reason"}.
-- Errors: 22004 null; 22023 no price map, or from the end of time.
-- Tables written: rate_cards.
#variable_conflict use_variable
DECLARE
    entry record;
BEGIN
    IF document IS NULL THEN
        RAISE EXCEPTION 'document must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    valid_from := COALESCE(valid_from, quota.now());
    IF valid_from = 'infinity' THEN
        RAISE EXCEPTION 'a rate card must be valid for some time'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It would be valid from infinity to infinity.';
    END IF;
    LOCK TABLE quota.rate_cards IN SHARE ROW EXCLUSIVE MODE;
    FOR entry IN SELECT m.model, m.card, m.lines, m.skipped FROM quota._price_map_cards(document) m
    LOOP
        IF entry.card IS NOT NULL THEN
            PERFORM quota._put_rate_card(entry.model, entry.card, source, valid_from, NULL);
        END IF;
        model := entry.model;
        lines := entry.lines;
        skipped := entry.skipped;
        RETURN NEXT;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION quota.import_prices(jsonb, text, timestamptz) IS
    'Sets rate cards from the community price map model_prices_and_context_window.json; what of it cannot be priced is reported';

-- History --------------------------------------------------------------------------------

CREATE FUNCTION quota._observations(card_id bigint, usage jsonb, input_bytes bigint, ceiling numeric, expected numeric, charged numeric)
    RETURNS TABLE (model text, quantity text, bucket smallint)
    AS 'MODULE_PATHNAME', 'quota_observations'
    LANGUAGE C STABLE PARALLEL UNSAFE ROWS 4;
COMMENT ON FUNCTION quota._observations(bigint, jsonb, bigint, numeric, numeric, numeric) IS
    'What one settled generation teaches: a bucket of each quantity';

CREATE FUNCTION quota._histogram_bucket(value numeric) RETURNS smallint
    AS 'MODULE_PATHNAME', 'quota_histogram_bucket'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota._histogram_bucket(numeric) IS
    'The bucket that counts a quantity';

CREATE FUNCTION quota._histogram_value(bucket smallint) RETURNS numeric
    AS 'MODULE_PATHNAME', 'quota_histogram_value'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quota._histogram_value(smallint) IS
    'The middle of a bucket: within 1/32 of all that it counts';
