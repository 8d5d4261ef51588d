-- The design that a good application developer would write first: a row of a table
-- for each counter, checked and updated under its row lock, in PL/pgSQL. Prices are
-- exact, no limit is overshot, every statement goes through an index, and locks are
-- taken in one order, the busiest row last.

CREATE SCHEMA naive;

CREATE TABLE naive.projects (
    project_id text PRIMARY KEY,
    company    text NOT NULL
);
CREATE TABLE naive.members (
    company text,
    user_id text,
    PRIMARY KEY (company, user_id)
);
CREATE TABLE naive.rates (
    model      text,
    valid_from timestamptz,
    input_usd  numeric NOT NULL,
    output_usd numeric NOT NULL,
    PRIMARY KEY (model, valid_from)
);
CREATE TABLE naive.limits (
    scope    text,
    resource text,
    amount   numeric NOT NULL,
    PRIMARY KEY (scope, resource)
);
CREATE TABLE naive.counters (
    scope        text,
    resource     text,
    period_start timestamptz,
    used         numeric NOT NULL DEFAULT 0,
    held         numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, resource, period_start)
) WITH (fillfactor = 50);
CREATE TABLE naive.holds (
    hold_id    uuid PRIMARY KEY,
    company    text NOT NULL,
    project_id text NOT NULL,
    user_id    text NOT NULL,
    model      text NOT NULL,
    credit     numeric NOT NULL,
    held_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    request    jsonb NOT NULL
);
CREATE TABLE naive.events (
    hold_id    uuid PRIMARY KEY,
    company    text NOT NULL,
    project_id text NOT NULL,
    user_id    text NOT NULL,
    model      text NOT NULL,
    held       numeric NOT NULL,
    charged    numeric NOT NULL,
    cost_usd   numeric NOT NULL,
    held_at    timestamptz NOT NULL,
    settled_at timestamptz NOT NULL,
    usage      jsonb NOT NULL
);
CREATE INDEX ON naive.events (company, held_at);

INSERT INTO naive.projects SELECT 'p' || i, 'c' || i FROM generate_series(1, 1000) AS i;
INSERT INTO naive.members SELECT 'c' || i, 'u' || i FROM generate_series(1, 1000) AS i;
INSERT INTO naive.rates VALUES ('bench-model', '2020-01-01', 0.0000025, 0.00001);
INSERT INTO naive.limits
    SELECT scope, resource, 1000000000
    FROM generate_series(1, 1000) AS i,
         (VALUES ('c%s', 'credit'), ('c%s', 'calls'), ('c%s/p%s', 'credit'), ('c%s/u%s', 'credit')) AS l(pattern, resource),
         format(pattern, i, i) AS scope;

-- The scopes of a request and what it asks of each, in the order of locking.
CREATE FUNCTION naive.levels(company text, project_id text, user_id text, credit numeric)
RETURNS TABLE (place integer, scope text, resource text, amount numeric)
LANGUAGE sql IMMUTABLE
AS $$
    VALUES (1, company || '/' || user_id, 'credit', credit),
           (2, company || '/' || project_id, 'credit', credit),
           (3, company, 'calls', 1),
           (4, company, 'credit', credit);
$$;

-- Price in US dollars, by the rate that was valid at an instant.
CREATE FUNCTION naive.price(model text, input_tokens bigint, output_tokens bigint, at timestamptz)
RETURNS numeric
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    rate naive.rates;
BEGIN
    SELECT r.* INTO rate
        FROM naive.rates AS r
        WHERE r.model = price.model AND r.valid_from <= at
        ORDER BY r.valid_from DESC
        LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown model "%"', model;
    END IF;
    RETURN input_tokens * rate.input_usd + output_tokens * rate.output_usd;
END
$$;

CREATE FUNCTION naive.reserve(user_id text, project_id text, model text, request jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    moment constant timestamptz := clock_timestamp();
    month constant timestamptz := date_trunc('month', moment);
    id constant uuid := gen_random_uuid();
    payer text;
    cost_usd numeric;
    credit numeric;
    level record;
    counter naive.counters;
    allowed boolean := true;
    levels jsonb := '[]';
BEGIN
    SELECT p.company INTO payer FROM naive.projects AS p WHERE p.project_id = reserve.project_id;
    PERFORM FROM naive.members AS m WHERE m.company = payer AND m.user_id = reserve.user_id;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('allowed', false, 'reason', 'not_a_member');
    END IF;
    cost_usd := naive.price(model, (request ->> 'input_tokens')::bigint,
                            (request ->> 'max_output_tokens')::bigint, moment);
    credit := round(ceil(cost_usd * 100 * 1000000) / 1000000, 6);

    FOR level IN
        SELECT l.*, m.amount AS most
            FROM naive.levels(payer, project_id, user_id, credit) AS l
            JOIN naive.limits AS m USING (scope, resource)
            ORDER BY l.place
    LOOP
        INSERT INTO naive.counters AS c (scope, resource, period_start, held)
            VALUES (level.scope, level.resource, month, level.amount)
            ON CONFLICT ON CONSTRAINT counters_pkey DO UPDATE
                SET held = c.held + excluded.held
            RETURNING c.* INTO counter;
        allowed := allowed AND counter.used + counter.held <= level.most;
        levels := levels || jsonb_build_object(
            'scope', level.scope, 'resource', level.resource, 'limit', level.most::text,
            'used', counter.used::text, 'held', (counter.held - level.amount)::text,
            'requested', level.amount::text, 'passed', counter.used + counter.held <= level.most);
    END LOOP;
    IF NOT allowed THEN
        UPDATE naive.counters AS c
            SET held = c.held - l.amount
            FROM naive.levels(payer, project_id, user_id, credit) AS l
            WHERE c.scope = l.scope AND c.resource = l.resource AND c.period_start = month;
        RETURN jsonb_build_object('allowed', false, 'reason', 'limit_exceeded', 'levels', levels);
    END IF;

    INSERT INTO naive.holds
        VALUES (id, payer, project_id, user_id, model, credit, moment, moment + '15 minutes', request);
    RETURN jsonb_build_object('allowed', true, 'hold_id', id, 'expires_at', moment + '15 minutes',
                              'cost_usd', cost_usd::text, 'credit', credit::text, 'levels', levels);
END
$$;

CREATE FUNCTION naive.settle(hold_id uuid, usage jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    moment constant timestamptz := clock_timestamp();
    hold naive.holds;
    cost_usd numeric;
    credit numeric;
    level record;
BEGIN
    DELETE FROM naive.holds AS h WHERE h.hold_id = settle.hold_id RETURNING h.* INTO hold;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no open hold "%"', hold_id;
    END IF;
    cost_usd := naive.price(hold.model, (usage ->> 'input_tokens')::bigint,
                            (usage ->> 'output_tokens')::bigint, hold.held_at);
    credit := round(ceil(cost_usd * 100 * 1000000) / 1000000, 6);

    FOR level IN
        SELECT l.*, CASE l.resource WHEN 'credit' THEN hold.credit ELSE l.amount END AS held
            FROM naive.levels(hold.company, hold.project_id, hold.user_id, credit) AS l
            ORDER BY l.place
    LOOP
        UPDATE naive.counters AS c
            SET used = c.used + level.amount, held = c.held - level.held
            WHERE c.scope = level.scope AND c.resource = level.resource
              AND c.period_start = date_trunc('month', hold.held_at);
    END LOOP;

    INSERT INTO naive.events
        VALUES (hold.hold_id, hold.company, hold.project_id, hold.user_id, hold.model, hold.credit,
                credit, cost_usd, hold.held_at, moment, usage);
    RETURN jsonb_build_object('hold_id', hold.hold_id, 'state', 'settled', 'held', hold.credit::text,
                              'charged', credit::text, 'cost_usd', cost_usd::text);
END
$$;
