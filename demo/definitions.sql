-- What setup.sql has set up, as an administrator sees it.
\pset footer off

\echo
\echo 'The price map: models imported, their price lines, and what is not priced, and why'
SELECT count(*) AS models, count(*) FILTER (WHERE lines > 0) AS priced, sum(lines) AS price_lines
FROM demo.imported;

SELECT s.key, s.value AS why, count(*) AS models, min(i.model) AS for_example
FROM demo.imported AS i, jsonb_each_text(i.skipped) AS s
GROUP BY s.key, s.value
ORDER BY count(*) DESC, s.key;

\echo 'Accounts'
SELECT scope, plan, members, limits, active
FROM quota.admin_accounts
ORDER BY scope;
