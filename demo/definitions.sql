-- What setup.sql has set up, as an administrator sees it.
\pset footer off

\echo
\echo 'The price map: models imported, their price lines, and what is not priced'
SELECT count(*) AS models,
       count(*) FILTER (WHERE lines > 0) AS priced,
       sum(lines) AS price_lines,
       count(*) FILTER (WHERE skipped IS NOT NULL AND skipped NOT IN ('[]', '{}')) AS with_something_skipped
FROM demo.imported;

\echo 'Accounts'
SELECT scope, plan, members, limits, active
FROM quota.admin_accounts
ORDER BY scope;
