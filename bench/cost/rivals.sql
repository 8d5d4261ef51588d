-- The same cost, and the same document, in PL/pgSQL over bench.rates and in SQL over
-- bench.cards. Both are spared what the extension does besides: they check nothing
-- that the request says, take 100 credits for a dollar as given, and know no account.

CREATE FUNCTION bench.plpgsql_cost(model text, request jsonb) RETURNS numeric
LANGUAGE plpgsql STABLE
AS $function$
DECLARE
    input_tokens numeric := COALESCE((request -> 'input_tokens')::numeric, 0);
    usd numeric;
BEGIN
    -- One lookup, and the arithmetic in the same query: each statement of PL/pgSQL costs as
    -- much as several prices.
    SELECT CASE
               WHEN r.image IS NOT NULL THEN r.image * COALESCE((request -> 'n')::numeric, 1)
               WHEN r.second IS NOT NULL THEN r.second * (request -> 'duration_seconds')::numeric * COALESCE((request -> 'n')::numeric, 1)
               WHEN input_tokens > r.large_above THEN
                   (input_tokens - COALESCE((request -> 'cached_input_tokens')::numeric, 0)) * r.large_input
                   + COALESCE((request -> 'cached_input_tokens')::numeric, 0) * r.large_cached
                   + COALESCE((request -> 'max_output_tokens')::numeric, r.max_output) * r.large_output
               ELSE
                   (input_tokens - COALESCE((request -> 'cached_input_tokens')::numeric, 0)) * r.input
                   + COALESCE((request -> 'cached_input_tokens')::numeric, 0) * r.cached
                   + COALESCE((request -> 'max_output_tokens')::numeric, r.max_output) * r.output
           END
        INTO usd
        FROM bench.rates r
        WHERE r.model = plpgsql_cost.model
          AND r.tier = COALESCE(request ->> 'service_tier', '')
          AND r.size = COALESCE(request ->> 'size', '')
          AND r.quality = COALESCE(request ->> 'quality', '');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no price';
    END IF;
    RETURN ceil(usd * 100000000) / 1000000;
END
$function$;

CREATE FUNCTION bench.decimal(value numeric) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT trim_scale(value)::text $$;

CREATE FUNCTION bench.line(meter text, quantity numeric, price numeric) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
SELECT jsonb_build_object('meter', meter, 'quantity', quantity::text, 'unit_price_usd', bench.decimal(price),
                          'cost_usd', bench.decimal(quantity * price))
$$;

CREATE FUNCTION bench.plpgsql_estimate(model text, request jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $function$
DECLARE
    input_tokens numeric;
    cached numeric;
    output numeric;
    expected_output numeric;
    count numeric;
    card bigint;
    input_price numeric;
    cached_price numeric;
    output_price numeric;
    image_price numeric;
    second_price numeric;
    most numeric;
    usd numeric;
    expected numeric;
    lines jsonb;
    assumptions jsonb := '[]';
    amount jsonb;
BEGIN
    input_tokens := (request -> 'input_tokens')::numeric;
    SELECT r.card_id, r.image, r.second, r.max_output,
           CASE WHEN input_tokens > r.large_above THEN r.large_input ELSE r.input END,
           CASE WHEN input_tokens > r.large_above THEN r.large_cached ELSE r.cached END,
           CASE WHEN input_tokens > r.large_above THEN r.large_output ELSE r.output END
        INTO card, image_price, second_price, most, input_price, cached_price, output_price
        FROM bench.rates r
        WHERE r.model = plpgsql_estimate.model
          AND r.tier = COALESCE(request ->> 'service_tier', '')
          AND r.size = COALESCE(request ->> 'size', '')
          AND r.quality = COALESCE(request ->> 'quality', '');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no price';
    END IF;
    IF input_price IS NOT NULL THEN
        cached := COALESCE((request -> 'cached_input_tokens')::numeric, 0);
        output := (request -> 'max_output_tokens')::numeric;
        IF output IS NULL THEN
            output := most;
            assumptions := jsonb_build_array(format('max_output_tokens: %s, the maximum of the model', most));
        END IF;
        lines := jsonb_build_array(bench.line('input_tokens', input_tokens - cached, input_price));
        IF cached > 0 THEN
            lines := lines || bench.line('cached_input_tokens', cached, cached_price);
        END IF;
        lines := lines || bench.line('output_tokens', output, output_price);
        usd := (input_tokens - cached) * input_price + cached * cached_price + output * output_price;
        expected_output := (request -> 'expected_output_tokens')::numeric;
        IF expected_output IS NULL THEN
            assumptions := assumptions || '"expected: the ceiling, for want of expected_output_tokens"'::jsonb;
            expected := usd;
        ELSE
            expected := usd - (output - expected_output) * output_price;
        END IF;
    ELSE
        count := (request -> 'n')::numeric;
        IF count IS NULL THEN
            count := 1;
            assumptions := '["n: 1"]';
        END IF;
        IF image_price IS NOT NULL THEN
            lines := jsonb_build_array(bench.line('images', count, image_price));
            usd := count * image_price;
        ELSE
            lines := jsonb_build_array(bench.line('video_seconds', (request -> 'duration_seconds')::numeric * count, second_price));
            usd := (request -> 'duration_seconds')::numeric * count * second_price;
        END IF;
        expected := usd;
    END IF;
    RETURN jsonb_build_object(
        'card', card, 'model', model, 'lines', lines, 'assumptions', assumptions,
        'cost_usd', bench.decimal(usd), 'credits_per_usd', '100',
        'amount', jsonb_build_object('calls', '1', 'credit', bench.decimal(ceil(usd * 100000000) / 1000000)),
        'expected', jsonb_build_object('calls', '1', 'credit', bench.decimal(ceil(expected * 100000000) / 1000000)));
END
$function$;

-- Statements of the rival in SQL, to be prepared with the model as $1 and the request as $2.
CREATE TABLE bench.statements (name text PRIMARY KEY, statement text);
INSERT INTO bench.statements VALUES ('cost', $sql$
SELECT ceil(sum(p.price * p.quantity) * 100000000) / 1000000
FROM (
    SELECT DISTINCT ON (l.line -> 'meter')
           (l.line ->> 'price')::numeric AS price,
           CASE l.line ->> 'meter'
               WHEN 'input_tokens' THEN ($2 -> 'input_tokens')::numeric - COALESCE(($2 -> 'cached_input_tokens')::numeric, 0)
               WHEN 'cached_input_tokens' THEN ($2 -> 'cached_input_tokens')::numeric
               WHEN 'output_tokens' THEN COALESCE(($2 -> 'max_output_tokens')::numeric, (c.card -> 'max_output_tokens')::numeric)
               WHEN 'images' THEN COALESCE(($2 -> 'n')::numeric, 1)
               WHEN 'video_seconds' THEN ($2 -> 'duration_seconds')::numeric * COALESCE(($2 -> 'n')::numeric, 1)
           END AS quantity
    FROM bench.cards c
    CROSS JOIN LATERAL jsonb_array_elements(c.card -> 'lines') WITH ORDINALITY AS l (line, position)
    WHERE c.model = $1
      AND $2 @> COALESCE(l.line -> 'when', '{}')
      AND COALESCE(($2 -> 'input_tokens')::numeric > (l.line #> '{above,input_tokens}')::numeric, true)
    ORDER BY l.line -> 'meter', l.position) AS p
$sql$), ('estimate', $sql$
SELECT jsonb_build_object(
    'card', s.card_id, 'model', $1, 'lines', s.lines, 'assumptions', s.assumptions,
    'cost_usd', bench.decimal(s.usd), 'credits_per_usd', '100',
    'amount', jsonb_build_object('calls', '1', 'credit', bench.decimal(ceil(s.usd * 100000000) / 1000000)),
    'expected', jsonb_build_object('calls', '1', 'credit', bench.decimal(ceil(s.expected * 100000000) / 1000000)))
FROM (
    SELECT p.card_id, sum(p.price * p.quantity) AS usd,
           sum(p.price * COALESCE(CASE WHEN p.meter = 'output_tokens' THEN ($2 -> 'expected_output_tokens')::numeric END, p.quantity)) AS expected,
           jsonb_agg(bench.line(p.meter, p.quantity, p.price)
                     ORDER BY array_position('{input_tokens,cached_input_tokens,output_tokens}', p.meter)) AS lines,
           CASE WHEN p.card ->> 'mode' = 'chat' THEN
                    CASE WHEN $2 ? 'max_output_tokens' THEN '[]'
                         ELSE jsonb_build_array(format('max_output_tokens: %s, the maximum of the model', p.card ->> 'max_output_tokens')) END
                    || CASE WHEN $2 ? 'expected_output_tokens' THEN '[]'
                            ELSE '["expected: the ceiling, for want of expected_output_tokens"]'::jsonb END
                WHEN $2 ? 'n' THEN '[]'::jsonb
                ELSE '["n: 1"]' END AS assumptions
    FROM (
        SELECT DISTINCT ON (l.line -> 'meter')
               c.card_id, c.card, l.line ->> 'meter' AS meter, (l.line ->> 'price')::numeric AS price,
               CASE l.line ->> 'meter'
                   WHEN 'input_tokens' THEN ($2 -> 'input_tokens')::numeric - COALESCE(($2 -> 'cached_input_tokens')::numeric, 0)
                   WHEN 'cached_input_tokens' THEN ($2 -> 'cached_input_tokens')::numeric
                   WHEN 'output_tokens' THEN COALESCE(($2 -> 'max_output_tokens')::numeric, (c.card -> 'max_output_tokens')::numeric)
                   WHEN 'images' THEN COALESCE(($2 -> 'n')::numeric, 1)
                   WHEN 'video_seconds' THEN ($2 -> 'duration_seconds')::numeric * COALESCE(($2 -> 'n')::numeric, 1)
               END AS quantity
        FROM bench.cards c
        CROSS JOIN LATERAL jsonb_array_elements(c.card -> 'lines') WITH ORDINALITY AS l (line, position)
        WHERE c.model = $1
          AND $2 @> COALESCE(l.line -> 'when', '{}')
          AND COALESCE(($2 -> 'input_tokens')::numeric > (l.line #> '{above,input_tokens}')::numeric, true)
        ORDER BY l.line -> 'meter', l.position) AS p
    WHERE p.quantity > 0
    GROUP BY p.card_id, p.card) AS s
$sql$);

-- Nothing is timed before all three agree.
CREATE FUNCTION bench.answer(statement text, model text, request jsonb) RETURNS text
LANGUAGE plpgsql
AS $function$
DECLARE
    answer text;
BEGIN
    EXECUTE statement INTO STRICT answer USING model, request;
    RETURN answer;
END
$function$;

DO $do$
DECLARE
    r record;
BEGIN
    FOR r IN
        SELECT q.name, ours.cost, ours.document, bench.plpgsql_cost(q.model, q.request) AS plpgsql_cost,
               bench.plpgsql_estimate(q.model, q.request) AS plpgsql_document,
               bench.answer(c.statement, q.model, q.request)::numeric AS sql_cost,
               bench.answer(e.statement, q.model, q.request)::jsonb AS sql_document
        FROM bench.requests q
        CROSS JOIN LATERAL (SELECT bench.cost(q.model, q.request), quota.estimate(q.model, q.request)) AS ours (cost, document)
        JOIN bench.statements c ON c.name = 'cost'
        JOIN bench.statements e ON e.name = 'estimate'
    LOOP
        IF (r.cost, r.cost, r.document, r.document, r.document #>> '{amount,credit}')
               IS DISTINCT FROM (r.plpgsql_cost, r.sql_cost, r.plpgsql_document, r.sql_document, trim_scale(r.cost)::text) THEN
            RAISE EXCEPTION 'answers differ on %', r.name
                USING DETAIL = format(E'%s\n%s\n%s', to_json(r.document), to_json(r.plpgsql_document), to_json(r.sql_document))
                      || format(E'\n%s %s %s', r.cost, r.plpgsql_cost, r.sql_cost);
        END IF;
    END LOOP;
END
$do$;
