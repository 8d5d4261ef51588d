-- What the trace must have cost, from the trace and the price map alone. Runs in a
-- database without the extension, over the answers that the clients were given.

\ir traffic.sql

\set prices `cat data/litellm_prices.json`
CREATE TABLE demo.prices AS
SELECT key AS model,
       (value ->> 'input_cost_per_token')::numeric AS input_usd,
       (value ->> 'output_cost_per_token')::numeric AS output_usd
FROM jsonb_each(:'prices');

CREATE TABLE demo.answers (pass integer, n integer, allowed boolean);
\copy demo.answers FROM pstdin

-- A credit is one US cent; each settlement is rounded up to a millionth of a credit.
CREATE TABLE demo.recount AS
SELECT r.root, r.user_id, count(*) AS calls,
       sum(ceil((r.context_tokens * p.input_usd + r.generated_tokens * p.output_usd) * 100 * 1000000)
           / 1000000)::numeric(20, 6) AS credits
FROM demo.answers AS a
JOIN demo.requests AS r USING (n)
JOIN demo.prices AS p USING (model)
WHERE a.allowed AND r.fate = 'settled'
GROUP BY r.root, r.user_id;

\copy (SELECT COALESCE(root, 'total'), COALESCE(user_id, '*'), sum(calls), sum(credits) FROM demo.recount GROUP BY ROLLUP (root, user_id) ORDER BY 1, 2) TO pstdout
