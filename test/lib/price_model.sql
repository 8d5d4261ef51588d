-- What a request costs by docs/cost.md, in numeric: a second opinion that shares nothing
-- with the first, and random cards and usages to ask both about.
CREATE SCHEMA price_model;
SET search_path = price_model, pg_catalog;

-- Meters of tokens, and of what they are a part.
CREATE TABLE part (meter text PRIMARY KEY, total text);
INSERT INTO part VALUES
    ('input_tokens', NULL), ('cached_input_tokens', 'input_tokens'), ('cached_audio_input_tokens', 'cached_input_tokens'),
    ('cache_write_tokens', 'input_tokens'), ('cache_write_audio_tokens', 'cache_write_tokens'), ('cache_write_1h_tokens', 'input_tokens'),
    ('audio_input_tokens', 'input_tokens'), ('image_input_tokens', 'input_tokens'),
    ('output_tokens', NULL), ('reasoning_tokens', 'output_tokens'), ('audio_output_tokens', 'output_tokens'), ('image_output_tokens', 'output_tokens'),
    ('images', NULL), ('video_seconds', NULL), ('characters', NULL), ('pages', NULL), ('web_search_requests', NULL), ('requests', NULL);

-- The model ------------------------------------------------------------------------------

CREATE FUNCTION normal(value jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lower(regexp_replace(value #>> '{}', '[^A-Za-z0-9.]', '', 'g'))
$$;

-- Whether the conditions of a line or multiplier hold.
CREATE FUNCTION applies(conditional jsonb, usage jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT COALESCE((SELECT bool_and(CASE
                         WHEN w.value = 'null' THEN NOT usage ? w.key
                         WHEN NOT usage ? w.key THEN false
                         WHEN jsonb_typeof(w.value) = 'array' THEN (SELECT bool_or(price_model.normal(v) = price_model.normal(usage -> w.key)) FROM jsonb_array_elements(w.value) v)
                         ELSE price_model.normal(w.value) = price_model.normal(usage -> w.key) END)
                     FROM jsonb_each(conditional -> 'when') AS w), true)
       AND COALESCE((SELECT bool_and(COALESCE((usage ->> a.key)::numeric, 0) > (a.value #>> '{}')::numeric) FROM jsonb_each(conditional -> 'above') AS a), true)
$$;

-- The first line of a meter that applies.
CREATE FUNCTION line(card jsonb, meter text, usage jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT l FROM jsonb_array_elements(card -> 'lines') WITH ORDINALITY AS x (l, i)
    WHERE l ->> 'meter' = meter AND price_model.applies(l, usage) ORDER BY i LIMIT 1
$$;

-- What a line charges for a quantity: capped, less what is free, in started blocks, in tiers.
CREATE FUNCTION charge(line jsonb, quantity numeric) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    rest numeric := greatest(least(quantity, COALESCE((line ->> 'at_most')::numeric, quantity)) - COALESCE((line ->> 'free')::numeric, 0), 0);
    block numeric := COALESCE((line ->> 'block')::numeric, 0);
    per numeric := CASE line ->> 'per' WHEN '1000' THEN 0.001 WHEN '1000000' THEN 0.000001 ELSE 1 END;
    charged numeric := 0;
    start numeric := 0;
    tier jsonb;
BEGIN
    IF block > 0 THEN
        rest := ceil(rest / block) * block;
    END IF;
    IF line ? 'price' THEN
        RETURN rest * (line ->> 'price')::numeric * per;
    END IF;
    FOR tier IN SELECT t FROM jsonb_array_elements(line -> 'tiers') WITH ORDINALITY AS x (t, i) ORDER BY i LOOP
        IF line ->> 'tiering' = 'volume' AND rest <= COALESCE((tier ->> 'up_to')::numeric, rest) THEN
            RETURN rest * (tier ->> 'price')::numeric * per;
        END IF;
        charged := charged + greatest(least(rest, COALESCE((tier ->> 'up_to')::numeric, rest)) - start, 0) * (tier ->> 'price')::numeric * per;
        start := (tier ->> 'up_to')::numeric;
    END LOOP;
    RETURN charged;
END
$$;

-- What a meter and its parts cost, and how much of it they take out of its total. Null: no price.
CREATE FUNCTION meter_cost(card jsonb, meter text, usage jsonb, OUT cost numeric, OUT taken numeric) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    quantity numeric := COALESCE((usage ->> meter)::numeric, 0);
    applied jsonb;
BEGIN
    IF meter = 'audio_input_tokens' THEN
        quantity := quantity - COALESCE((usage ->> 'cached_audio_input_tokens')::numeric, 0) - COALESCE((usage ->> 'cache_write_audio_tokens')::numeric, 0);
    END IF;
    SELECT COALESCE(sum(m.cost), 0), COALESCE(sum(m.taken), 0) INTO cost, taken
        FROM price_model.part p, price_model.meter_cost(card, p.meter, usage) m WHERE p.total = meter_cost.meter;
    IF quantity = 0 THEN
        RETURN;
    END IF;
    applied := price_model.line(card, meter, usage);
    IF applied IS NOT NULL THEN
        cost := cost + price_model.charge(applied, quantity - taken)
            * COALESCE((SELECT CASE count(*) WHEN 0 THEN 1 WHEN 1 THEN min(f) ELSE min(f) * max(f) END
                        FROM (SELECT (m ->> 'factor')::numeric AS f FROM jsonb_array_elements(card -> 'multipliers') m
                              WHERE price_model.applies(m, usage) AND COALESCE(m -> 'meters' ? meter, true)) AS x), 1);
        taken := quantity;
    ELSIF quantity > taken AND (SELECT p.total IS NULL FROM price_model.part p WHERE p.meter = meter_cost.meter)
          AND EXISTS (SELECT FROM jsonb_array_elements(card -> 'lines') l JOIN price_model.part p ON p.meter = l ->> 'meter'
                      WHERE meter_cost.meter IN (p.meter, p.total, (SELECT t.total FROM price_model.part t WHERE t.meter = p.total))) THEN
        cost := NULL;
    END IF;
END
$$;

-- What a usage costs by a card, in dollars; null if it has no price.
CREATE FUNCTION cost(card jsonb, given jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN bool_and(m.cost IS NOT NULL) THEN greatest(sum(m.cost), COALESCE((card ->> 'minimum_charge')::numeric, 0)) END
    FROM (SELECT COALESCE(card -> 'defaults', '{}') || given AS u) AS d,
         LATERAL (SELECT u || jsonb_build_object('images', COALESCE(u -> 'n', '1'), 'requests', COALESCE(u -> 'requests', '1'),
                                                 'video_seconds', (u ->> 'duration_seconds')::numeric * COALESCE((u ->> 'n')::numeric, 1)) AS usage) AS c,
         price_model.part p, price_model.meter_cost(card, p.meter, usage) m
    WHERE p.total IS NULL
$$;

-- Random cards and usages ------------------------------------------------------------------

CREATE FUNCTION chance(probability double precision) RETURNS boolean LANGUAGE sql VOLATILE AS $$ SELECT random() < probability $$;

CREATE FUNCTION random_price(decimals integer) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN r < 0.05 THEN 0 WHEN r < 0.06 THEN 99999999 ELSE round((random() * power(10, -floor(random() * 9)))::numeric, decimals) END::text
    FROM (SELECT random() AS r) AS x
$$;

CREATE FUNCTION random_quantity() RETURNS numeric LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN r < 0.2 THEN 0 WHEN r < 0.205 THEN 90000000000 ELSE floor((random() * power(10, floor(random() * 7)))::numeric) END
    FROM (SELECT random() AS r) AS x
$$;

CREATE FUNCTION random_conditions(rising boolean) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT CASE floor(random() * CASE WHEN rising THEN 3 ELSE 5 END)
        WHEN 0 THEN '{"when": {"service_tier": "flex"}}'::jsonb WHEN 1 THEN '{"when": {"service_tier": ["batch", "PRIORITY"], "quality": null}}'
        WHEN 2 THEN '{"when": {"size": "1024x1024"}}' WHEN 3 THEN jsonb_build_object('above', jsonb_build_object('input_tokens', floor(random() * 100000)))
        ELSE jsonb_build_object('above', jsonb_build_object('output_tokens', floor(random() * 1000)), 'when', '{"quality": "hd"}'::jsonb) END
$$;

CREATE FUNCTION random_line(meter text, decimals integer, plain boolean, rising boolean) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_build_object('meter', meter)
        || CASE WHEN plain OR price_model.chance(0.7) THEN jsonb_build_object('price', price_model.random_price(decimals))
                ELSE jsonb_build_object('tiering', CASE WHEN rising OR price_model.chance(0.5) THEN 'graduated' ELSE 'volume' END, 'tiers',
                    (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('up_to', CASE WHEN i < 3 THEN power(10, i)::integer + 3 END, 'price', price_model.random_price(decimals)))) FROM generate_series(1, 3) i)) END
        || CASE WHEN price_model.chance(0.3) THEN jsonb_build_object('per', CASE WHEN price_model.chance(0.5) THEN 1000 ELSE 1000000 END) ELSE '{}' END
        || CASE WHEN NOT plain AND price_model.chance(0.15) THEN jsonb_build_object('free', floor(random() * 100)) ELSE '{}' END
        || CASE WHEN NOT plain AND price_model.chance(0.15) THEN jsonb_build_object('block', 1 + floor(random() * 60)) ELSE '{}' END
        || CASE WHEN NOT plain AND price_model.chance(0.1) THEN jsonb_build_object('at_most', floor(random() * 1000)) ELSE '{}' END
        || CASE WHEN price_model.chance(0.1) THEN '{"required": false}'::jsonb ELSE '{}' END
$$;

-- A card of random lines. plain: one price for each kind of output, whatever the request;
-- rising: no volume tiers, and nothing that depends on a quantity.
CREATE FUNCTION random_card(plain boolean, rising boolean) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    scales boolean := price_model.chance(0.3);
    decimals integer := CASE WHEN scales THEN 12 ELSE 18 END;
    lines jsonb := '[]';
    of record;
BEGIN
    FOR of IN SELECT p.meter, COALESCE(p.total, p.meter) = 'output_tokens' AS is_output FROM price_model.part p ORDER BY p.meter COLLATE "C" LOOP
        CONTINUE WHEN NOT price_model.chance(CASE WHEN of.meter IN ('input_tokens', 'output_tokens') THEN 0.95 ELSE 0.4 END);
        FOR i IN 1 .. 2 LOOP
            IF price_model.chance(0.25) AND NOT (plain AND of.is_output) THEN
                lines := lines || (price_model.random_line(of.meter, decimals, false, rising) || price_model.random_conditions(rising));
            END IF;
        END LOOP;
        IF price_model.chance(0.9) OR plain AND of.is_output THEN
            lines := lines || price_model.random_line(of.meter, decimals, plain AND of.is_output, rising);
        END IF;
    END LOOP;
    IF lines = '[]' THEN
        lines := '[{"meter": "requests", "price": "0.1"}]';
    END IF;
    RETURN jsonb_build_object('lines', lines)
        || CASE WHEN price_model.chance(0.3) THEN jsonb_build_object('minimum_charge', round((random() * 10)::numeric, 5)) ELSE '{}' END
        || CASE WHEN price_model.chance(0.3) THEN '{"defaults": {"service_tier": "flex", "n": 2}}'::jsonb ELSE '{}' END
        || CASE WHEN scales THEN jsonb_build_object('multipliers', jsonb_build_array(
               jsonb_build_object('factor', round((random() * 3)::numeric, 3), 'when', '{"speed": "fast"}'::jsonb),
               jsonb_build_object('factor', round((random() * 3)::numeric, 3), 'when', '{"data_residency": ["eu", "us"]}'::jsonb,
                                  'meters', '["input_tokens", "output_tokens", "images"]'::jsonb))) ELSE '{}' END;
END
$$;

-- What a usage is made of, with nothing counted twice: text, and parts without their parts.
CREATE FUNCTION random_leaves() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_object_agg(leaf, price_model.random_quantity()) FROM unnest('{input_text,cached_text,cached_audio,write_text,write_audio,write_1h,audio,image,
        output_text,reasoning,audio_out,image_out,characters,pages,web_search_requests,requests}'::text[]) AS leaf
$$;

-- The usage in the vocabulary, where totals include their parts.
CREATE FUNCTION usage(leaves jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object(
        'input_tokens', q.input_text + cached_text + cached_audio + write_text + write_audio + write_1h + audio + image,
        'cached_input_tokens', cached_text + cached_audio, 'cached_audio_input_tokens', cached_audio,
        'cache_write_tokens', write_text + write_audio, 'cache_write_audio_tokens', write_audio, 'cache_write_1h_tokens', write_1h,
        'audio_input_tokens', audio + cached_audio + write_audio, 'image_input_tokens', image,
        'output_tokens', output_text + reasoning + audio_out + image_out, 'reasoning_tokens', reasoning, 'audio_output_tokens', audio_out, 'image_output_tokens', image_out,
        'characters', characters, 'pages', pages, 'web_search_requests', web_search_requests, 'requests', requests)
        || jsonb_strip_nulls(jsonb_build_object('n', n, 'duration_seconds', duration_seconds))
    FROM jsonb_to_record(leaves) AS q (input_text numeric, cached_text numeric, cached_audio numeric, write_text numeric, write_audio numeric, write_1h numeric,
        audio numeric, image numeric, output_text numeric, reasoning numeric, audio_out numeric, image_out numeric,
        characters numeric, pages numeric, web_search_requests numeric, requests numeric, n numeric, duration_seconds numeric)
$$;

CREATE FUNCTION random_parameters() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'service_tier', (ARRAY['flex', 'Priority', 'batch', 'standard', NULL])[1 + floor(random() * 5)], 'size', (ARRAY['1024-x-1024', '512x512', NULL])[1 + floor(random() * 3)],
        'quality', (ARRAY['HD', 'low', NULL])[1 + floor(random() * 3)], 'speed', (ARRAY['fast', NULL])[1 + floor(random() * 2)],
        'data_residency', (ARRAY['EU', 'ch', NULL])[1 + floor(random() * 3)]))
$$;

-- The comparison -------------------------------------------------------------------------

-- The engine's answer: its document, or what it refused the usage with.
CREATE FUNCTION answer(usage jsonb, OUT document jsonb, OUT refusal text) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    document := quota.price('price_model', usage);
EXCEPTION WHEN SQLSTATE 'XQ201' OR numeric_value_out_of_range THEN
    refusal := SQLSTATE;
END
$$;

-- Asks about one usage by the card in force. Returns which law is broken, or null.
CREATE FUNCTION broken_law(card jsonb, usage jsonb) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    expected numeric := trim_scale(price_model.cost(card, usage));
    -- The largest whole number of 10^-30 dollars that 128 bits hold.
    most constant numeric := 170141183.460469231731687303715884105727;
    actual record;
BEGIN
    SELECT * INTO actual FROM price_model.answer(usage);
    IF actual.refusal = '22003' THEN
        RETURN CASE WHEN expected <= most THEN format('%s is out of range', expected) END;
    ELSIF actual.refusal IS NOT NULL THEN
        RETURN CASE WHEN expected IS NOT NULL THEN format('%s is refused', expected) END;
    ELSIF expected IS NULL OR expected > most THEN
        RETURN format('%s is priced at %s', expected, actual.document ->> 'cost_usd');
    ELSIF actual.document ->> 'cost_usd' <> expected::text THEN
        RETURN format('%s is priced at %s', expected, actual.document ->> 'cost_usd');
    END IF;
    RETURN (SELECT CASE
                WHEN sum((l ->> 'cost_usd')::numeric) <> expected THEN 'the lines do not add up'
                WHEN bool_or((l ->> 'quantity')::numeric <= 0 OR (l ->> 'cost_usd')::numeric < 0) THEN 'a line is negative'
                WHEN bool_or((l ->> 'quantity')::numeric * (l ->> 'unit_price_usd')::numeric <> (l ->> 'cost_usd')::numeric) THEN 'a line is not its product'
            END
            FROM jsonb_array_elements(actual.document -> 'lines') AS l);
END
$$;

-- Checks one card: what was asked, and each law that was broken, with the usage.
CREATE FUNCTION check_card(number integer, OUT asked jsonb, OUT broken jsonb) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    plain boolean := number % 2 = 0;
    rising boolean := number % 4 < 2;
    card jsonb;
    leaves jsonb;
    more jsonb;
    parameters jsonb;
    usage jsonb;
    law text;
    less_cost numeric;
    answered record;
    ceiling numeric;
BEGIN
    PERFORM setseed(((number::bigint * 7919) % 1000003) / 1000003.0);
    card := price_model.random_card(plain, rising);
    PERFORM quota.set_rate_card('price_model', card);
    asked := '{"exact": 0, "refused": 0, "out of range": 0, "monotone": 0, "ceiling": 0}';
    broken := '[]';
    FOR i IN 1 .. 6 LOOP
        leaves := price_model.random_leaves() || jsonb_build_object('n', 1 + floor(random() * 9), 'duration_seconds', round((random() * 1000)::numeric, 6));
        parameters := price_model.random_parameters();
        usage := price_model.usage(leaves) || parameters;
        law := price_model.broken_law(card, usage);
        SELECT * INTO answered FROM price_model.answer(usage);
        asked := jsonb_set(asked, ARRAY[k], to_jsonb((asked ->> k)::integer + 1))
            FROM (SELECT CASE answered.refusal WHEN '22003' THEN 'out of range' WHEN 'XQ201' THEN 'refused' ELSE 'exact' END AS k) AS x;
        IF law IS NOT NULL THEN
            broken := broken || jsonb_build_object('law', law, 'usage', usage, 'card', card);
        END IF;
        CONTINUE WHEN answered.document IS NULL;
        less_cost := (answered.document ->> 'cost_usd')::numeric;

        -- More of one thing. It may cost less in a volume tier, and above a size.
        IF rising THEN
            SELECT leaves || jsonb_build_object(l.key, l.value::numeric + 1 + floor(random() * 1000)) INTO more
                FROM jsonb_each_text(leaves) AS l ORDER BY random() LIMIT 1;
            SELECT * INTO answered FROM price_model.answer(price_model.usage(more) || parameters);
            IF answered.document IS NOT NULL THEN
                asked := jsonb_set(asked, '{monotone}', to_jsonb((asked ->> 'monotone')::integer + 1));
                IF (answered.document ->> 'cost_usd')::numeric < less_cost THEN
                    broken := broken || jsonb_build_object('law', 'more costs less', 'usage', usage, 'more', more, 'card', card);
                END IF;
            END IF;
        END IF;

        -- The ceiling of a request that may use so much output, of whatever kind, or more.
        IF plain AND rising THEN
            BEGIN
                ceiling := quota.estimate('price_model', (usage - '{output_tokens,reasoning_tokens,audio_output_tokens,image_output_tokens}'::text[])
                    || jsonb_build_object('n', 1, 'max_output_tokens', (usage ->> 'output_tokens')::numeric + floor(random() * 10))) ->> 'cost_usd';
                SELECT * INTO answered FROM price_model.answer(usage || '{"n": 1}');
                asked := jsonb_set(asked, '{ceiling}', to_jsonb((asked ->> 'ceiling')::integer + 1));
                IF (answered.document ->> 'cost_usd')::numeric > ceiling THEN
                    broken := broken || jsonb_build_object('law', format('the ceiling is %s', ceiling), 'usage', usage, 'card', card);
                END IF;
            EXCEPTION WHEN numeric_value_out_of_range OR SQLSTATE 'XQ201' THEN
                NULL;
            END;
        END IF;
    END LOOP;
END
$$;
