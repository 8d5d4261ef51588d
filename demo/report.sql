-- What an administrator sees after the replay.
\pset footer off

\echo
\echo 'One request that is allowed, as the service gets it'
\pset tuples_only on
\pset format unaligned
SELECT jsonb_pretty(quota.reserve('bob', 'apollo', 'gpt-4o-mini',
                                  '{"input_tokens": 1200, "max_output_tokens": 800}')) AS verdict;
SELECT hold_id FROM quota.admin_holds WHERE user_id = 'bob' ORDER BY held_at DESC LIMIT 1 \gset
\echo
\echo 'Given back:'
SELECT jsonb_pretty(quota.release(:'hold_id', 'only to show'));

\echo
\echo 'One request that is refused: the plan of the company has run out'
SELECT jsonb_pretty(quota.reserve('peter', 'tps', 'gemini-2.5-flash',
                                  '{"input_tokens": 14000, "max_output_tokens": 64000}'));
\pset tuples_only off
\pset format aligned

\echo
\echo 'Holds of which nobody has heard again'
SELECT root, count(*) AS open, count(*) FILTER (WHERE overdue) AS overdue, sum(credit) AS credits
FROM quota.admin_holds
GROUP BY root
ORDER BY root;

\echo 'CALL quota.run_maintenance()'
CALL quota.run_maintenance();
SELECT job, schedule, last_rows, last_error, overdue
FROM quota.admin_jobs
ORDER BY job;

\echo 'Limits'
SELECT scope, resource, model, period, policy, "limit", used, held, remaining, percent, state, denied
FROM quota.admin_limits
ORDER BY scope, resource, model, period;

\echo 'How the requests ended'
SELECT root, kind, count(*) AS events, sum(credit) AS credits
FROM quota.admin_events
GROUP BY root, kind
ORDER BY root, kind;

\echo 'Usage by company, project and user'
SELECT root, company, project, user_id, sum(used) AS credits
FROM quota.admin_usage_daily
WHERE resource = 'credit'
GROUP BY root, company, project, user_id
ORDER BY root, company, project, user_id;

\echo 'The last events'
SELECT kind, scope, user_id, model, held, charged, cost_usd
FROM quota.admin_events
ORDER BY recorded_at DESC, hold_id
LIMIT 5;

\echo 'The engine'
SELECT * FROM quota.engine_stats;

\echo 'SELECT * FROM quota.verify(): memory against tables, every difference (none)'
SELECT * FROM quota.verify();
SELECT count(*) = 0 AS verified FROM quota.verify() \gset
\if :verified
\else
\warn 'quota.verify() found differences'
SELECT 1 / 0 AS differences;
\endif
