-- Cost: rate cards, the credit rate, price adjustments ---------------------------------
--
-- Versions of one card do not overlap in time, and their content never changes: a
-- hold is settled by the version it was made with. So do price adjustments and the
-- credit rate. The exclusion constraints compare equality as ranges of one point,
-- which GiST knows without a further extension.

-- The order of columns is known to src/cost/cache_cards.c.
CREATE TABLE quota.rate_cards (
    card_id    bigint PRIMARY KEY,
    model      text COLLATE "C" NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to   timestamptz,
    card       jsonb NOT NULL,
    source     text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT rate_cards_model_check CHECK (octet_length(model) BETWEEN 1 AND 255),
    CONSTRAINT rate_cards_valid_check CHECK (valid_to >= valid_from),
    CONSTRAINT rate_cards_overlap_excl EXCLUDE USING gist (
        int8range(hashtextextended(model, 0), hashtextextended(model, 0), '[]') WITH &&,
        tstzrange(valid_from, valid_to) WITH &&)
);
CREATE INDEX rate_cards_model_idx ON quota.rate_cards (model, valid_from);
COMMENT ON TABLE quota.rate_cards IS
    'Versions of rate cards: what a model costs from valid_from until before valid_to; a version valid from and to the same instant was replaced before it came into force';

-- The order of columns is known to src/cost/cache_names.c.
CREATE TABLE quota.model_aliases (
    alias      text COLLATE "C" PRIMARY KEY,
    model      text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT model_aliases_alias_check CHECK (octet_length(alias) BETWEEN 1 AND 255 AND alias <> model)
);
COMMENT ON TABLE quota.model_aliases IS
    'Other names of models: a request for alias is priced by the rate card of model, and counts as one for model';

CREATE TABLE quota.credit_rates (
    valid_from      timestamptz PRIMARY KEY,
    credits_per_usd numeric NOT NULL,
    CONSTRAINT credit_rates_check CHECK (
        credits_per_usd > 0 AND credits_per_usd < 1000000000
        AND credits_per_usd = round(credits_per_usd, 9))
);
COMMENT ON TABLE quota.credit_rates IS
    'How many credits a US dollar buys; each rate is valid until the next one';

INSERT INTO quota.credit_rates (valid_from, credits_per_usd) VALUES ('-infinity', 100);

CREATE TABLE quota.price_adjustments (
    root_id    bigint NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to   timestamptz,
    factor     numeric NOT NULL,
    PRIMARY KEY (root_id, valid_from),
    CONSTRAINT price_adjustments_factor_check CHECK (
        factor >= 0 AND factor < 1000000 AND factor = round(factor, 9)),
    CONSTRAINT price_adjustments_valid_check CHECK (valid_to > valid_from),
    CONSTRAINT price_adjustments_overlap_excl EXCLUDE USING gist (
        int8range(root_id, root_id, '[]') WITH &&,
        tstzrange(valid_from, valid_to) WITH &&)
);
COMMENT ON TABLE quota.price_adjustments IS
    'Markup (factor above 1) or discount (below 1) on everything that the accounts of a root spend';

-- A version stays as it was made, but for its end, which may come earlier.
CREATE FUNCTION quota._keep_rate_card() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Refuses to change or remove versions of rate cards: holds are settled by them.
-- Errors: XQ301 anything but an earlier end.
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF ROW(OLD.card_id, OLD.model, OLD.valid_from, OLD.card, OLD.source, OLD.created_at)
               IS NOT DISTINCT FROM
           ROW(NEW.card_id, NEW.model, NEW.valid_from, NEW.card, NEW.source, NEW.created_at)
           AND COALESCE(NEW.valid_to <= OLD.valid_to, OLD.valid_to IS NULL) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'a rate card cannot be changed or removed'
        USING ERRCODE = 'XQ301',
              DETAIL = 'Holds are settled by the version with which they were made.',
              HINT = 'Add a new version with quota.set_rate_card().';
END
$function$;

CREATE TRIGGER keep_row BEFORE UPDATE OR DELETE ON quota.rate_cards
    FOR EACH ROW EXECUTE FUNCTION quota._keep_rate_card();
CREATE TRIGGER keep_truncate BEFORE TRUNCATE ON quota.rate_cards
    FOR EACH STATEMENT EXECUTE FUNCTION quota._keep_rate_card();

-- Every backend compiles cards once; these triggers tell it to look again. They
-- fire ALWAYS, so that a logical apply worker tells it too.
CREATE FUNCTION quota._cost_changed() RETURNS trigger
    AS 'MODULE_PATHNAME', 'quota_cost_changed'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;

DO $do$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY '{quota.rate_cards, quota.model_aliases, quota.credit_rates,
        quota.price_adjustments, quota.resources}'::regclass[]
    LOOP
        EXECUTE format('CREATE TRIGGER cost_changed_row AFTER INSERT OR UPDATE OR DELETE ON %s
                            FOR EACH ROW EXECUTE FUNCTION quota._cost_changed()', relation);
        EXECUTE format('CREATE TRIGGER cost_changed_truncate AFTER TRUNCATE ON %s
                            FOR EACH STATEMENT EXECUTE FUNCTION quota._cost_changed()', relation);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER cost_changed_row', relation);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER cost_changed_truncate', relation);
    END LOOP;
END
$do$;
