-- Verifies that:
-- 1. a grant feeds the limit that applies at its level, explicit, default or of a plan: the one that
--    is named, or the only one; what cannot be fed is refused, with those that can;
-- 2. it begins when it is said to, in the past too, and ends; what makes no sense is refused;
-- 3. at most 64 that are in effect together feed one limit at one level;
-- 4. void_grant() takes it back once, with a reason; grants are audited;
-- 5. quota.admin_grants shows the state of each.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:gra', 'company:gra/project:p', 'company:gra/project:q', 'company:gra/user:ann', 'user:gra_bob']) AS s;
SELECT count(quota.put_member('company:gra', u)) AS members FROM unnest(ARRAY['ann', 'cid']) AS u;
SELECT quota.put_plan('gra', '[{"resource": "calls", "amount": 10, "period": "day"}]');
SELECT limit_id AS of_plan FROM quota.plan_limits WHERE plan = 'gra' \gset
SELECT count(quota.put_account(s::quota.scope, plan => 'gra')) AS on_plan FROM unnest(ARRAY['company:gra/project:p', 'company:gra/user:ann']) AS s;
SELECT quota.put_resource('gra_pages', 'page', 'flow', 'Pages');
SELECT quota.set_limit('company:gra', 'credit', 100) AS month,
       quota.set_limit('company:gra/project:*', 'credit', 10) AS of_projects,
       quota.set_limit('company:gra/user:*', 'credit', 20) AS of_users,
       quota.set_limit('company:gra/user:ann', 'credit', 25) AS of_ann,
       quota.set_limit('company:gra', 'gra_pages', 1000, 'lifetime') AS pages \gset
-- Ids are other ones in every run: they are told by what they are of.
CREATE FUNCTION pg_temp.named(message text) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(message, '\m\d+\M(?= \()|(?<=limit |limit_id => )\d+', '(id)', 'g')
$$;
CREATE FUNCTION pg_temp.denied(statement text) RETURNS TABLE (code text, message text, detail text, hint text) LANGUAGE sql AS $$
    SELECT r.code, pg_temp.named(r.message), pg_temp.named(r.detail), pg_temp.named(r.hint) FROM pg_temp.refused(statement) AS r
$$;

-- 1.
SELECT quota.grant_quota('company:gra', 'credit', 5) AS a,
       quota.grant_quota('company:gra/project:p', 'credit', 5) AS b,
       quota.grant_quota('company:gra/user:ann', 'credit', 5) AS c,
       quota.grant_quota('company:gra/user:cid', 'credit', 5) AS d,
       quota.grant_quota('company:gra/project:p', 'calls', 5) AS e,
       quota.grant_quota('company:gra/user:ann', 'calls', 5) AS f,
       quota.grant_quota('company:gra', 'gra_pages', 500.000001, note => 'until the archive is there') AS g \gset
SELECT a.scope, g.user_id, g.resource, g.amount, g.priority, g.effective_at, g.expires_at, g.rollover, g.note, g.created_at,
       CASE g.limit_id WHEN :month THEN 'month' WHEN :of_projects THEN 'projects' WHEN :of_users THEN 'users' WHEN :of_ann THEN 'ann'
                       WHEN :pages THEN 'pages' WHEN :of_plan THEN 'plan' END AS feeds
    FROM quota.grants g JOIN quota.accounts a USING (root_id, account_id) WHERE g.grant_id >= :a ORDER BY g.grant_id;
SELECT quota.set_limit('company:gra', 'credit', 7, 'day') AS day,
       quota.set_limit('company:gra', 'credit', 7, 'rolling 24 hours') AS rolling,
       quota.set_limit('company:gra', 'calls', 7, 'refill 1 per minute up to 7') AS refill \gset
SELECT quota.grant_quota('company:gra', 'credit', 1, limit_id => :day) AS h \gset
SELECT limit_id = :day AS named FROM quota.grants WHERE grant_id = :h;
\x on
SELECT r.* FROM unnest(ARRAY[
    $$quota.grant_quota('company:gra', 'credit', 1)$$,
    format($$quota.grant_quota('company:gra', 'credit', 1, limit_id => %s)$$, :rolling),
    format($$quota.grant_quota('company:gra', 'credit', 1, limit_id => %s)$$, :pages),
    $$quota.grant_quota('company:gra', 'credit', 1, limit_id => 0)$$,
    $$quota.grant_quota('company:gra', 'calls', 1)$$,
    $$quota.grant_quota('company:gra/project:p', 'gra_pages', 1)$$,
    $$quota.grant_quota('user:gra_bob', 'credit', 1)$$,
    $$quota.grant_quota('company:gra/project:none', 'credit', 1)$$,
    $$quota.grant_quota('company:gra/user:*', 'credit', 1)$$,
    $$quota.grant_quota('company:gra', 'gra_none', 1)$$,
    $$quota.grant_quota('company:gra', 'storage', 1)$$]) WITH ORDINALITY AS c (call, n),
    pg_temp.denied('SELECT ' || c.call) AS r ORDER BY c.n;  -- fails
\x off

-- 2.
SELECT quota.grant_quota('company:gra', 'credit', 1, 10, '2026-02-01 00:00+00', '2026-06-01 00:00+00', 'in the past', :month, 0.5) AS past,
       quota.grant_quota('company:gra', 'credit', 2, expires_at => '2026-03-10 12:00:00.000001+00', limit_id => :month) AS short,
       quota.grant_quota('company:gra', 'credit', 3, effective_at => '2026-03-20 00:00+00', expires_at => 'infinity', limit_id => :month) AS later,
       quota.grant_quota('company:gra', 'credit', 4, effective_at => '2026-01-01 00:00+00', expires_at => '2026-01-02 00:00+00', limit_id => :month) AS over \gset
SELECT amount, priority, effective_at, expires_at, rollover, note FROM quota.grants WHERE grant_id >= :past ORDER BY grant_id;
\x on
SELECT r.* FROM unnest(ARRAY[
    $$quota.grant_quota('company:gra', 'gra_pages', 0)$$,
    $$quota.grant_quota('company:gra', 'gra_pages', -1)$$,
    $$quota.grant_quota('company:gra', 'gra_pages', 0.0000001)$$,
    $$quota.grant_quota('company:gra', 'gra_pages', NULL)$$,
    $$quota.grant_quota('company:gra', NULL, 1)$$,
    $$quota.grant_quota(NULL, 'gra_pages', 1)$$,
    $$quota.grant_quota('company:gra', 'gra_pages', 1, NULL)$$,
    $$quota.grant_quota('company:gra', 'gra_pages', 1, rollover => -1)$$,
    $$quota.grant_quota('company:gra', 'gra_pages', 1, expires_at => '2026-03-10 12:00+00')$$,
    $$quota.grant_quota('company:gra', 'gra_pages', 1, effective_at => '2026-03-11 12:00+00', expires_at => '2026-03-11 11:00+00')$$,
    $$quota.grant_quota('company:gra', 'gra_pages', 1, effective_at => '-infinity')$$,
    $$quota.grant_quota('company:gra', 'gra_pages', 1, expires_at => '-infinity')$$]) WITH ORDINALITY AS c (call, n),
    pg_temp.denied('SELECT ' || c.call) AS r ORDER BY c.n;  -- fails
\x off

-- 3. One is there; those that are over do not count.
SELECT count(quota.grant_quota('company:gra', 'gra_pages', 1)) AS granted FROM generate_series(2, 64);
\x on
SELECT * FROM pg_temp.denied($$SELECT quota.grant_quota('company:gra', 'gra_pages', 1)$$);  -- fails
\x off
SELECT quota.void_grant(:g, 'the archive is there');
SELECT quota.grant_quota('company:gra', 'gra_pages', 1, expires_at => '2026-03-10 13:00+00') IS NOT NULL AS granted;
SET xavier_quota.clock = '2026-03-10 13:00+00';
SELECT quota.grant_quota('company:gra', 'gra_pages', 1) IS NOT NULL AS granted;
DELETE FROM quota.grants WHERE resource = 'gra_pages' AND grant_id <> :g;

-- 4.
SELECT quota.void_grant(:g, 'again'), quota.void_grant(:over, 'is over'), quota.void_grant(:later, 'not needed');
SELECT amount, voided_at, void_reason FROM quota.grants WHERE grant_id IN (:g, :over, :later) ORDER BY grant_id;
\x on
SELECT * FROM pg_temp.denied($$SELECT quota.void_grant(0, 'none')$$);  -- fails
SELECT * FROM pg_temp.denied($$SELECT quota.void_grant(NULL, 'none')$$);  -- fails
SELECT * FROM pg_temp.denied(format($$SELECT quota.void_grant(%s, NULL)$$, :a));  -- fails
\x off
SELECT operation, after ->> 'void_reason' AS void_reason FROM quota.admin_audit
    WHERE relation = 'grants' AND after ->> 'grant_id' = :'g' ORDER BY operation;

-- 5. Nothing was used.
SELECT scope, user_id, resource, amount, remaining, burned, priority, effective_at, expires_at, voided_at, rollover, state, note, void_reason
    FROM quota.admin_grants WHERE root = 'company:gra' ORDER BY grant_id;
-- Its limit is dropped, so that another one applies.
SELECT quota.drop_limit(:of_ann);
SELECT scope, remaining, burned, state FROM quota.admin_grants WHERE grant_id = :c;
SELECT * FROM quota.verify('company:gra');
