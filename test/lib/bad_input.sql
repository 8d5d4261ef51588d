-- The generator of test/endurance/bad_input.pl: calls everything in schema quota with
-- values that are valid, mutated or hostile. Needs what bad_input_values.sql has made.
--
-- What there is to call comes from the catalog: functions, operators, casts and types. Each
-- becomes a target: a function bad.drive_N(calls) with the call written out in it, so that
-- a session plans it once. bad.batch() drives a random choice of targets. Everything random
-- comes from random(), which each call begins by seeding: the same batch makes the same
-- calls again, but for the holds that it has been given.

-- Mutation ----------------------------------------------------------------------------------

CREATE FUNCTION bad.pick(from_pool text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    size int;
BEGIN
    SELECT s.size INTO size FROM bad.size s WHERE s.list = 'hostile' AND s.pool = from_pool;
    size := 1 + floor(random() * size);
    RETURN (SELECT h.value FROM bad.hostile h WHERE h.pool = from_pool AND h.i = size);
END
$$;

-- A text that differs from a given one in a place or two.
CREATE FUNCTION bad.mutate_text(v text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    place int;
    length int;
BEGIN
    v := coalesce(v, '');
    LOOP
        place := 1 + floor(random() * (char_length(v) + 1))::int;
        length := 1 + floor(random() * random() * 20)::int;
        v := CASE floor(random() * 12)::int
            WHEN 0 THEN overlay(v PLACING '' FROM place FOR length)
            WHEN 1 THEN overlay(v PLACING bad.pick('fragment') FROM place FOR 0)
            WHEN 2 THEN overlay(v PLACING bad.pick('fragment') FROM place FOR length)
            WHEN 3 THEN overlay(v PLACING substr(v, place, length) FROM place FOR 0)
            WHEN 4 THEN left(v, place - 1)
            WHEN 5 THEN substr(v, place)
            WHEN 6 THEN regexp_replace(v, '-?\d+(\.\d+)?', bad.pick('numeric'))
            WHEN 7 THEN repeat(v || (ARRAY[',', '/', '', ' '])[1 + floor(random() * 4)::int], 2 + floor(random() * 40)::int)
            WHEN 8 THEN overlay(v PLACING repeat(bad.pick('fragment'), (random() * random() * 3000)::int) FROM place FOR 0)
            WHEN 9 THEN upper(v)
            WHEN 10 THEN ' ' || v || E'\n'
            ELSE overlay(v PLACING chr(1 + floor(random() * 55000)::int) FROM place FOR 1)
        END;
        EXIT WHEN random() < 0.7 OR char_length(v) > 100000;
    END LOOP;
    RETURN v;
END
$$;

-- A document that differs from a given one in one place: a key or an element is dropped,
-- added, renamed, or has another value, type or size.
CREATE FUNCTION bad.mutate_json(v jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    dice float := random();
    key text;
    place int;
    other jsonb := '0';
BEGIN
    IF dice < 0.55 THEN
        other := bad.pick('json')::jsonb;
    END IF;
    IF jsonb_typeof(v) = 'object' THEN
        SELECT k INTO key FROM jsonb_object_keys(v) AS k ORDER BY random() LIMIT 1;
        RETURN CASE
            WHEN key IS NULL OR dice < 0.15 THEN v || jsonb_build_object(bad.pick('key'), other)
            WHEN dice < 0.25 THEN v || jsonb_build_object(bad.pick('key'), v -> key)
            WHEN dice < 0.35 THEN v - key
            WHEN dice < 0.45 THEN v - key || jsonb_build_object(bad.pick('key'), v -> key)
            WHEN dice < 0.55 THEN v || jsonb_build_object(key, other)
            ELSE v || jsonb_build_object(key, bad.mutate_json(v -> key))
        END;
    ELSIF jsonb_typeof(v) = 'array' THEN
        place := floor(random() * jsonb_array_length(v));
        RETURN CASE
            WHEN jsonb_array_length(v) = 0 OR dice < 0.15 THEN jsonb_insert(v, ARRAY[place::text], other)
            WHEN dice < 0.25 THEN jsonb_insert(v, ARRAY[place::text], v -> place)
            WHEN dice < 0.35 THEN v - place
            WHEN dice < 0.45 THEN jsonb_set(v, ARRAY[place::text], other)
            ELSE jsonb_set(v, ARRAY[place::text], bad.mutate_json(v -> place))
        END;
    END IF;
    RETURN CASE
        WHEN dice < 0.55 OR v = 'null' THEN other
        WHEN dice < 0.6 THEN jsonb_build_array(v)
        WHEN dice < 0.65 THEN jsonb_build_object(bad.pick('key'), v)
        WHEN jsonb_typeof(v) = 'string' THEN to_jsonb(bad.mutate_text(v #>> '{}'))
        WHEN dice < 0.8 OR jsonb_typeof(v) = 'boolean' THEN to_jsonb(v #>> '{}')
        ELSE to_jsonb(v::numeric % 1e100 * (ARRAY[10, 1e6, 0.1, 1e-6, -1, 1e12, 1.000001])[1 + floor(random() * 7)::int])
    END;
END
$$;

-- Arguments ---------------------------------------------------------------------------------

-- The last holds and ids that were returned stand in settings of the session, which roll
-- back with the call; a hold with the number of the values that go with it.
CREATE FUNCTION bad.remember(answer text, type text, theme int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    slot int := floor(random() * 8);
BEGIN
    IF type = 'jsonb' AND answer LIKE '%"hold_id": "%' THEN
        PERFORM set_config('bad.hold_' || slot, (answer::jsonb ->> 'hold_id') || ' ' || theme, false);
    ELSIF type = 'bigint' THEN
        PERFORM set_config('bad.id_' || slot, answer, false);
    END IF;
END
$$;

-- One value: mood 0 valid, 1 mutated, 2 hostile.
CREATE FUNCTION bad.value(from_pool text, type text, theme int, mood int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    size int;
    result text;
BEGIN
    IF mood = 2 THEN
        RETURN CASE
            WHEN random() < 0.15 THEN NULL
            WHEN type IN ('jsonb', 'json') THEN bad.pick('json')
            WHEN random() < 0.8 AND EXISTS (SELECT FROM bad.size s WHERE s.list = 'hostile' AND s.pool = type)
                THEN bad.pick(type)
            ELSE bad.pick('text')
        END;
    END IF;

    IF type = 'uuid' AND random() < 0.95 THEN
        result := nullif(split_part(current_setting('bad.hold_' || theme % 8, true), ' ', 1), '');
    ELSIF type = 'bigint' AND random() < 0.5 THEN
        result := nullif(current_setting('bad.id_' || theme % 8, true), '');
    END IF;
    IF result IS NULL THEN
        SELECT s.size INTO size FROM bad.size s WHERE s.list = 'valid' AND s.pool = from_pool;
        IF random() < 0.1 THEN
            theme := floor(random() * size);
        END IF;
        theme := 1 + theme % size;
        SELECT v.value INTO result FROM bad.valid v WHERE v.pool = from_pool AND v.i = theme;
        -- Who uses another's key waits for its transaction to end.
        IF from_pool = 'idempotency_key' THEN
            result := result || current_setting('bad.connection', true);
        END IF;
    END IF;
    IF mood = 1 AND type = 'jsonb' AND random() < 0.95 THEN
        FOR i IN 1 .. CASE WHEN random() < 0.7 THEN 1 ELSE 4 END LOOP
            result := bad.mutate_json(coalesce(result, '{}')::jsonb)::text;
        END LOOP;
    ELSIF mood = 1 THEN
        result := bad.mutate_text(result);
    END IF;
    RETURN result;
END
$$;

-- The arguments of one call. Most calls are valid, or not in one place.
CREATE FUNCTION bad.arguments(pools text[], types text[], theme int) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    dice float := random();
    odd int := CASE WHEN dice < 0.3 THEN 0 ELSE 1 + floor(random() * cardinality(pools)) END;
    result text[] := '{}';
BEGIN
    FOR i IN 1 .. cardinality(pools) LOOP
        result[i] := bad.value(pools[i], types[i], theme,
            CASE WHEN i = odd OR dice > 0.9 THEN 1 + floor(random() * 1.6)::int ELSE 0 END);
    END LOOP;
    RETURN result;
END
$$;

-- Which values go together in this call: those written by hand, which come first, as often
-- as all others.
CREATE FUNCTION bad.theme() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    RETURN floor(random() * CASE WHEN random() < 0.5 THEN 11 ELSE 1000 END);
END
$$;

-- The same for a call about a hold: that of the hold, with the number of its slot.
CREATE FUNCTION bad.theme_of_hold() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    slot int := floor(random() * 8);
    theme int := nullif(split_part(current_setting('bad.hold_' || slot, true), ' ', 2), '');
BEGIN
    RETURN theme - theme % 8 + slot;
END
$$;

-- Judgement ---------------------------------------------------------------------------------

-- Errors that a call may end with: those that docs/reference.md lists, those of PostgreSQL's
-- own types, and what comes of other sessions. Everything else is a finding.
CREATE FUNCTION bad.is_ordinary(state text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT state ~ '^(XQ[0-3]..|0A000|22003|22023|22004|22P02|25001|25006|2D000|42501|53200|54000|54001|55000|55006|55P03)$'
        OR state ~ '^(22007|22008|22009|22015|22021|22P05|40001|40P01|42602|42704)$'
$$;

-- What is wrong with an answer: null if nothing.
CREATE FUNCTION bad.judge(answer jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    level jsonb;
BEGIN
    IF (answer ->> 'cost_usd')::numeric < 0 OR (answer #>> '{estimate,cost_usd}')::numeric < 0 THEN
        RETURN 'a negative cost';
    ELSIF NOT answer ? 'allowed' THEN
        RETURN NULL;
    ELSIF NOT (answer ->> 'allowed')::boolean THEN
        RETURN CASE WHEN answer ->> 'reason' IS NULL THEN 'refused without a reason' END;
    ELSIF (answer ->> 'replayed')::boolean THEN
        RETURN NULL;
    END IF;
    FOR level IN SELECT * FROM jsonb_array_elements(answer -> 'levels') LOOP
        IF (level ->> 'requested')::numeric < 0 THEN
            RETURN 'less than nothing is requested';
        ELSIF level ->> 'policy' = 'hard' AND (level ->> 'requested')::numeric > 0
           AND (level ->> 'used')::numeric + (level ->> 'held')::numeric + (level ->> 'requested')::numeric
               > (level ->> 'limit')::numeric + coalesce((level ->> 'overdraft')::numeric, 0) THEN
            RETURN 'allowed above a hard limit: ' || level;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- Targets -----------------------------------------------------------------------------------

CREATE TABLE bad.target (
    n int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label text NOT NULL UNIQUE,
    calls text[] NOT NULL,              -- ways to write the call; $1 and so on are texts
    pools text[] NOT NULL,
    types text[] NOT NULL,
    result text NOT NULL,               -- type, or finding: a text that says what is wrong
    is_definition boolean NOT NULL,     -- changes what others look at
    weight int NOT NULL
);

CREATE FUNCTION bad.pool(function text, argument text, type text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce((SELECT s.pool FROM bad.size s, unnest(ARRAY[function || '.' || argument, argument, type]) WITH ORDINALITY AS u (pool, i)
                     WHERE s.list = 'valid' AND s.pool = u.pool ORDER BY i LIMIT 1), 'text')
$$;

-- Functions: all that are public, and private ones that a role may call or that only
-- look, if not behind an operator. In full, with one default after the other left out, and
-- by name.
INSERT INTO bad.target (label, calls, pools, types, result, is_definition, weight)
SELECT p.oid::regprocedure, c.calls, a.pools, a.types, format_type(p.prorettype, NULL),
       p.provolatile = 'v' AND NOT has_function_privilege('bad_service', p.oid, 'EXECUTE'),
       CASE WHEN l.lanname = 'c' AND p.provolatile = 'v' OR 'card' = ANY (a.pools) THEN 8
            WHEN 'jsonb' = ANY (a.types) THEN 4 ELSE 1 END
FROM pg_proc p
JOIN pg_language l ON l.oid = p.prolang
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(t.type ORDER BY t.i), '{}') AS types,
           coalesce(array_agg(bad.pool(p.proname, t.name, t.type) ORDER BY t.i), '{}') AS pools,
           array_agg(format('$%s::%s', t.i, t.type) ORDER BY t.i) AS positional,
           array_agg(format('%I => $%s::%s', t.name, t.i, t.type) ORDER BY t.i) AS named
    FROM (SELECT i, coalesce(p.proargnames[i], '') AS name, format_type(oid, NULL) AS type
          FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS u (oid, i)) AS t
    ) AS a
CROSS JOIN LATERAL (
    SELECT array_agg(format('quota.%I(%s)', p.proname, w.arguments)) AS calls
    FROM (SELECT array_to_string(a.positional[:given], ', ') AS arguments
          FROM generate_series(p.pronargs - p.pronargdefaults, p.pronargs::int) AS given
          UNION ALL
          SELECT array_to_string(a.named[p.pronargs:] || a.named[:p.pronargs - p.pronargdefaults], ', ')
          WHERE p.pronargdefaults > 0) AS w
    ) AS c
WHERE p.pronamespace = 'quota'::regnamespace AND p.prokind IN ('f', 'a')
  AND p.prorettype <> 'trigger'::regtype AND NOT 'internal' = ANY (a.types)
  AND (p.proname !~ '^_' OR p.provolatile = 'i' OR has_function_privilege('bad_all', p.oid, 'EXECUTE'))
  AND NOT EXISTS (SELECT FROM pg_operator o WHERE o.oprcode = p.oid);

INSERT INTO bad.target (label, calls, pools, types, result, is_definition, weight)
SELECT 'operator ' || o.oid::regoperator,
       ARRAY[CASE WHEN cardinality(t.types) = 1 THEN format('OPERATOR(quota.%s) $1::%s', o.oprname, t.types[1])
                  ELSE format('$1::%s OPERATOR(quota.%s) $2::%s', t.types[1], o.oprname, t.types[2]) END],
       t.types, t.types, format_type(o.oprresult, NULL), false, 1
FROM pg_operator o
CROSS JOIN LATERAL (
    SELECT array_agg(format_type(oid, NULL) ORDER BY i) AS types
    FROM unnest(ARRAY[o.oprleft, o.oprright]) WITH ORDINALITY u (oid, i) WHERE oid <> 0) AS t
WHERE o.oprnamespace = 'quota'::regnamespace;

INSERT INTO bad.target (label, calls, pools, types, result, is_definition, weight)
SELECT format('cast of %s to %s', s, t), ARRAY[format('$1::%s::%s', s, t)],
       ARRAY[CASE WHEN s IN ('text', 'character varying') THEN t ELSE s END], ARRAY[s], t, false, 2
FROM (SELECT format_type(castsource, NULL) AS s, format_type(casttarget, NULL) AS t FROM pg_cast) AS c
WHERE s ~ '^quota\.' OR t ~ '^quota\.';

-- Types: three values, most of which can be read, obey the laws of values: what is written
-- is read again as the same, and order, equality and hash agree.
CREATE FUNCTION bad.create_laws(type regtype) RETURNS void LANGUAGE plpgsql AS $function$
DECLARE
    compare regproc;
    hash regproc;
    equal name;
    is_json boolean := EXISTS (SELECT FROM pg_cast WHERE castsource = 'jsonb'::regtype AND casttarget = type);
BEGIN
    SELECT p.amproc, o.oprname INTO STRICT compare, equal
    FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
    JOIN pg_amproc p ON p.amprocfamily = c.opcfamily AND p.amproclefttype = type AND p.amprocnum = 1
    JOIN pg_amop a ON a.amopfamily = c.opcfamily AND a.amoplefttype = type AND a.amopstrategy = 3
    JOIN pg_operator o ON o.oid = a.amopopr
    WHERE c.opcintype = type AND c.opcdefault;
    SELECT p.amproc INTO STRICT hash
    FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'hash'
    JOIN pg_amproc p ON p.amprocfamily = c.opcfamily AND p.amproclefttype = type AND p.amprocnum = 1
    WHERE c.opcintype = type AND c.opcdefault;

    EXECUTE format($template$
CREATE FUNCTION bad.laws_of_%1$s(x %2$s, y %2$s, z %2$s) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    xy int := sign(%3$s(x, y));
BEGIN
    IF x::text::%2$s::text <> x::text OR NOT x::text::%2$s OPERATOR(quota.%4$s) x THEN
        RETURN 'text is not read as it was written';
    ELSIF %5$s THEN
        RETURN 'jsonb is not read as it was written';
    ELSIF xy <> -sign(%3$s(y, x)) OR %3$s(x, x) <> 0 THEN
        RETURN 'the order is not antisymmetric';
    ELSIF (xy = 0) IS DISTINCT FROM (x OPERATOR(quota.%4$s) y) OR xy = 0 AND %6$s(x) <> %6$s(y) THEN
        RETURN 'order, equality and hash differ';
    ELSIF xy <= 0 AND %3$s(y, z) <= 0 AND %3$s(x, z) > 0
       OR xy >= 0 AND %3$s(y, z) >= 0 AND %3$s(x, z) < 0 THEN
        RETURN 'the order is not transitive';
    END IF;
    RETURN NULL;
END
$$$template$, type::oid, type, compare, equal,
        CASE WHEN is_json THEN format('NOT x::jsonb::text::jsonb::%s OPERATOR(quota.%s) x', type, equal) ELSE 'false' END, hash);
END
$function$;

INSERT INTO bad.target (label, calls, pools, types, result, is_definition, weight)
SELECT 'type ' || t, ARRAY[format('bad.laws_of_%s($1::%s, $2::%s, $3::%s)', oid, t, t, t)],
       ARRAY[t, t, t], ARRAY[t, t, t], 'finding', false, 12
FROM (SELECT oid, format_type(oid, NULL) AS t, bad.create_laws(oid::regtype) FROM pg_type
      WHERE typnamespace = 'quota'::regnamespace AND typtype = 'b' AND typcategory <> 'A') AS types;

-- The life of a hold in company:exact, where nothing ever costs more than was held, so that
-- no limit may ever be exceeded.
CREATE FUNCTION bad.exact(amount quota.amount, usage quota.amount, ttl interval) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    dice float := random();
    hold uuid := nullif(current_setting('bad.exact', true), '');
    answer jsonb;
BEGIN
    IF hold IS NULL OR dice < 0.3 THEN
        answer := quota.reserve_amount('tom', 'exact', amount, NULL, ttl);
        PERFORM set_config('bad.exact', answer ->> 'hold_id', false);
        RETURN bad.judge(answer);
    ELSIF dice < 0.4 THEN
        RETURN bad.judge(quota.extend(hold, NULL, ttl));
    END IF;
    PERFORM set_config('bad.exact', '', false);
    answer := quota.hold(hold);
    IF dice < 0.8 AND answer ->> 'state' = 'open' AND usage OPERATOR(quota.<=) (answer -> 'held')::quota.amount THEN
        PERFORM quota.settle_amount(hold, usage);
    ELSE
        PERFORM quota.release(hold);
    END IF;
    RETURN NULL;
END
$$;
INSERT INTO bad.target (label, calls, pools, types, result, is_definition, weight)
VALUES ('a life in company:exact', ARRAY['bad.exact($1::quota.amount, $2::quota.amount, $3::interval)'],
        ARRAY['reserve_amount.amount', 'reserve_amount.amount', 'ttl'], ARRAY['quota.amount', 'quota.amount', 'interval'],
        'finding', false, 10);

-- Drivers -----------------------------------------------------------------------------------

CREATE TYPE bad.outcome AS (label text, state text, count bigint, example text);

CREATE FUNCTION bad.create_driver(t bad.target) RETURNS void LANGUAGE plpgsql AS $function$
DECLARE
    ways text;
BEGIN
    SELECT string_agg(format('WHEN %s THEN SELECT (%s)::text INTO answer;', i, regexp_replace(c, '\$(\d+)', 'a[\1]', 'g')), E'\n' ORDER BY i)
        INTO ways FROM unnest(t.calls) WITH ORDINALITY AS u (c, i);
    EXECUTE format($template$
CREATE FUNCTION bad.drive_%1$s(calls int, seed bigint) RETURNS SETOF bad.outcome LANGUAGE plpgsql AS $$
DECLARE
    label constant text := %2$L;
    trace constant boolean := coalesce(current_setting('bad.trace', true), '') = 'on';
    theme int;
    a text[];
    way int;
    answer text;
    state text;
    message text;
    states text[] := '{}';
BEGIN
    FOR i IN 1 .. calls LOOP
        PERFORM setseed(hashint8extended(i, seed) %% 1000000000 / 1e9);
        theme := coalesce(%3$s, bad.theme());
        a := bad.arguments(%4$L, %5$L, theme);
        way := 1 + floor(random() * %6$s)::int;
        IF trace THEN
            RAISE LOG 'call %%, way %%: %%', label, way, a;
        END IF;
        BEGIN
            CASE way
                %7$s
            END CASE;
            message := %8$s;
            PERFORM bad.remember(answer, %9$L, theme);
            state := CASE WHEN message IS NULL THEN 'success' ELSE 'wrong' END;
        EXCEPTION WHEN OTHERS THEN
            state := SQLSTATE;
            message := SQLERRM;
        END;
        states := states || state;
        IF state <> 'success' AND NOT bad.is_ordinary(state) THEN
            RETURN NEXT (label, state, 1, left(format('way %%s: %%s: %%s', way, message, a), 3000))::bad.outcome;
        END IF;
    END LOOP;
    RETURN QUERY SELECT label, s, count(*), NULL::text FROM unnest(states) s GROUP BY s;
END
$$$template$, t.n, t.label,
        CASE WHEN 'uuid' = ANY (t.types) THEN 'bad.theme_of_hold()' ELSE 'NULL' END,
        t.pools, t.types, cardinality(t.calls), ways,
        CASE t.result WHEN 'finding' THEN 'answer' WHEN 'jsonb' THEN $$CASE WHEN answer LIKE '{%' THEN bad.judge(answer::jsonb) END$$ ELSE 'NULL' END,
        t.result);
END
$function$;

SELECT count(bad.create_driver(t)) FROM bad.target t;

-- Drives random targets until so many calls are made; with definitions, or without.
CREATE FUNCTION bad.batch(seed bigint, number int, calls int, definitions boolean) RETURNS SETOF bad.outcome
LANGUAGE plpgsql AS $$
DECLARE
    targets int[] := ARRAY(SELECT t.n FROM bad.target t, generate_series(1, t.weight)
                           WHERE definitions OR NOT t.is_definition ORDER BY t.n);
    made int := 0;
    now int;
    dice bigint;
BEGIN
    WHILE made < calls LOOP
        dice := hashint8extended(number::bigint << 32 | made, seed);
        now := least(calls - made, 1 + abs(dice % 40));
        RETURN QUERY EXECUTE format('SELECT * FROM bad.drive_%s($1, $2)',
            targets[1 + abs(dice / 40 % cardinality(targets))]) USING now, dice;
        made := made + now;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA bad TO bad_all, bad_service, bad_viewer;
GRANT SELECT ON ALL TABLES IN SCHEMA bad TO bad_all, bad_service, bad_viewer;
