-- Each engine in turn prices each request so many times, in every round; who begins
-- changes from round to round, so that whatever else the machine does meets all alike.
CREATE TABLE bench.measured (round integer, task text, request text, engine text, nanoseconds double precision);

CREATE PROCEDURE bench.measure(round integer, scale bigint)
LANGUAGE plpgsql
AS $procedure$
DECLARE
    turn record;
    taken double precision;
BEGIN
    FOR turn IN
        SELECT r.name, r.model, r.request, e.task, e.engine, e.calls * scale AS calls, s.statement
        FROM bench.requests r
        CROSS JOIN (VALUES (0, 'cost', 'quota', 50000), (1, 'cost', 'plpgsql', 1000), (2, 'cost', 'sql', 600),
                           (3, 'estimate', 'quota', 6000), (4, 'estimate', 'plpgsql', 600), (5, 'estimate', 'sql', 300))
                   AS e (position, task, engine, calls)
        LEFT JOIN bench.statements s ON e.engine = 'sql' AND s.name = e.task
        ORDER BY r.position, (e.position + round) % 6
    LOOP
        taken := CASE
            WHEN turn.statement IS NOT NULL THEN bench.time_statement(turn.statement, turn.model, turn.request, turn.calls)
            WHEN turn.engine = 'quota' AND turn.task = 'cost' THEN bench.time_cost(turn.model, turn.request, turn.calls)
            ELSE bench.time_function(
                CASE WHEN turn.engine = 'quota' THEN 'quota.estimate(text,jsonb,quota.scope,timestamptz)'::regprocedure
                     WHEN turn.task = 'cost' THEN 'bench.plpgsql_cost(text,jsonb)'::regprocedure
                     ELSE 'bench.plpgsql_estimate(text,jsonb)'::regprocedure
                END, turn.model, turn.request, turn.calls)
        END;
        INSERT INTO bench.measured VALUES (round, turn.task, turn.name, turn.engine, taken);
    END LOOP;
END
$procedure$;

-- Medians with the least and the greatest; ratios are those of each round.
CREATE VIEW bench.report AS
WITH rounds AS (
    SELECT m.task, m.request,
           max(m.nanoseconds) FILTER (WHERE m.engine = 'quota') AS quota,
           max(m.nanoseconds) FILTER (WHERE m.engine = 'plpgsql') AS plpgsql,
           max(m.nanoseconds) FILTER (WHERE m.engine = 'sql') AS sql
    FROM bench.measured m
    GROUP BY m.task, m.request, m.round
), numbers AS (
    SELECT r.task, r.request, n.position, n.decimals, n.value
    FROM rounds r
    CROSS JOIN LATERAL (VALUES (1, 0, r.quota), (2, 0, r.plpgsql), (3, 0, r.sql), (4, 1, r.plpgsql / r.quota), (5, 1, r.sql / r.quota))
        AS n (position, decimals, value)
), texts AS (
    SELECT n.task, n.request, n.position,
           format('%s (%s..%s)', round(percentile_cont(0.5) WITHIN GROUP (ORDER BY n.value)::numeric, n.decimals),
                  round(min(n.value)::numeric, n.decimals), round(max(n.value)::numeric, n.decimals)) AS text
    FROM numbers n
    GROUP BY n.task, n.request, n.position, n.decimals
)
SELECT t.task, t.request,
       min(t.text) FILTER (WHERE t.position = 1) AS "xavier_quota, ns",
       min(t.text) FILTER (WHERE t.position = 2) AS "PL/pgSQL, ns",
       min(t.text) FILTER (WHERE t.position = 3) AS "SQL over jsonb, ns",
       min(t.text) FILTER (WHERE t.position = 4) AS "PL/pgSQL / quota",
       min(t.text) FILTER (WHERE t.position = 5) AS "SQL / quota"
FROM texts t
JOIN bench.requests r ON r.name = t.request
GROUP BY t.task, t.request, r.position
ORDER BY t.task, r.position;
