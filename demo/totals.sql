-- Credits settled by root and user, as the ledger has them, in the form of recount.sql;
-- the daily usage and the counters must say the same.

CREATE TEMPORARY TABLE ledger AS
SELECT root, user_id, count(*) AS calls, sum(credit)::numeric(20, 6) AS credits
FROM quota.admin_events
WHERE kind = 'settled'
GROUP BY root, user_id;

\copy (SELECT COALESCE(root, 'total'), COALESCE(user_id, '*'), sum(calls), sum(credits) FROM ledger GROUP BY ROLLUP (root, user_id) ORDER BY 1, 2) TO pstdout

-- Whatever is found here is printed too, and so differs from the recount.
\copy (SELECT 'usage differs', root, user_id, l.credits, u.credits FROM ledger AS l FULL JOIN (SELECT root, user_id, sum(used) AS credits FROM quota.admin_usage_daily WHERE resource = 'credit' GROUP BY root, user_id) AS u USING (root, user_id) WHERE l.credits IS DISTINCT FROM u.credits) TO pstdout
\copy (SELECT 'counter differs', a.root, a.used, l.credits FROM quota.admin_limits AS a JOIN (SELECT root, sum(credits) AS credits FROM ledger GROUP BY root) AS l ON l.root = a.root WHERE a.scope = l.root AND a.resource = 'credit' AND a.model = '*' AND a.used <> l.credits) TO pstdout
