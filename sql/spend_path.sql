-- Verifies that:
-- 1. a request touches every account of its project's path, root first, and the user's share in each;
-- 2. who pays is decided by the project: what is personal touches no company, and the other way round;
-- 3. the nearest limit wins, explicit before default before plan, for each resource, model and period;
-- 4. the nearest membership decides, and inactive accounts and shares are refused;
-- 5. every level of the path must let a model pass;
-- 6. a refusal of access is priced, shows all levels, and holds nothing;
-- 7. users and projects that nobody knows, and names that are not unique, are errors.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT pg_temp.card('pay-small'), pg_temp.card('pay-large'), pg_temp.card('pay-large-beta');

-- 1. Levels -------------------------------------------------------------------------------

SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY[
    'company:pay_acme', 'company:pay_acme/project:pay_apollo',
    'company:pay_acme/team:research', 'company:pay_acme/team:research/project:pay_hermes',
    'company:pay_deep', 'company:pay_deep/division:d', 'company:pay_deep/division:d/team:t',
    'company:pay_deep/division:d/team:t/project:pay_four', 'company:pay_deep/division:d/team:t/project:pay_four/project:pay_five',
    'user:pay_ann', 'user:pay_ann/project:pay_diary']) AS s;
SELECT quota.put_member('company:pay_acme', 'pay_ann'), quota.put_member('company:pay_deep', 'pay_ann');

-- Without a limit every level is unlimited, and none is listed.
SELECT pg_temp.brief(quota.check_amount('pay_ann', 'pay_apollo', 'credit=4611686018427.387903'));
SELECT * FROM pg_temp.levels(quota.check_amount('pay_ann', 'pay_apollo', 'credit=1'));

-- One limit for each account, and one for the share of ann and of somebody else in it.
SELECT count(quota.set_limit((a.scope::text || suffix)::quota.scope, 'calls', 10)) AS limits
    FROM quota.accounts a, unnest(ARRAY['', '/user:pay_ann', '/user:pay_bob']) AS suffix
    WHERE a.scope <@ 'company:pay_acme' OR a.scope <@ 'company:pay_deep';
SELECT count(quota.set_limit(a.scope, 'calls', 10)) AS limits FROM quota.accounts a WHERE a.scope <@ 'user:pay_ann';

SELECT scope FROM pg_temp.levels(quota.check_amount('pay_ann', 'company:pay_acme', 'calls=1'));
SELECT scope FROM pg_temp.levels(quota.check_amount('pay_ann', 'pay_apollo', 'calls=1'));
SELECT scope FROM pg_temp.levels(quota.check_amount('pay_ann', 'pay_hermes', 'calls=1'));
SELECT scope FROM pg_temp.levels(quota.check_amount('pay_ann', 'pay_four', 'calls=1'));
SELECT scope FROM pg_temp.levels(quota.check_amount('pay_ann', 'pay_five', 'calls=1'));

-- The same for a model; limits of what the request does not need are no part of it.
SELECT count(quota.set_limit('company:pay_acme', 'storage', 10)) AS limits;
SELECT scope, resource, requested FROM pg_temp.levels(quota.check('pay_ann', 'pay_apollo', 'pay-small', '{"input_tokens": 1000, "max_output_tokens": 0}'));

-- 2. Context, not person --------------------------------------------------------------------

-- In a personal project the user is the root: no share of ann in what is ann's.
SELECT scope FROM pg_temp.levels(quota.check_amount('pay_ann', 'pay_diary', 'calls=1'));
SELECT scope FROM pg_temp.levels(quota.check_amount('pay_ann', 'user:pay_ann', 'calls=1'));
SELECT pg_temp.keep('own', quota.reserve_amount('pay_ann', 'pay_diary', 'calls=4')),
       pg_temp.keep('work', quota.reserve_amount('pay_ann', 'pay_apollo', 'calls=3'));
SELECT scope, used, held FROM pg_temp.counters('user:pay_ann');
SELECT scope, used, held FROM pg_temp.counters('company:pay_acme') WHERE held > 0;
SELECT * FROM quota.remaining('pay_ann', 'pay_diary');
SELECT * FROM quota.remaining('pay_ann', 'pay_apollo');
SELECT document ->> 'root' AS root FROM pg_temp.kept ORDER BY root;

-- What ann does in another project counts in the company and in her share of it, not in this project.
SELECT pg_temp.keep('team', quota.reserve_amount('pay_ann', 'pay_hermes', 'calls=2'));
SELECT scope, used, held FROM pg_temp.counters('company:pay_acme') WHERE held > 0;
SELECT pg_temp.brief(quota.release(pg_temp.id(label))) FROM unnest(ARRAY['own', 'work', 'team']) AS label;

-- A guest in a personal project has a share in it, and needs to be a member.
SELECT pg_temp.brief(quota.check_amount('pay_bob', 'pay_diary', 'calls=1'));  -- fails
SELECT quota.put_member('user:pay_ann', 'pay_bob'), count(quota.set_limit('user:pay_ann/user:*', 'calls', 1)) AS limits;
SELECT pg_temp.brief(quota.check_amount('pay_bob', 'pay_diary', 'calls=1'));
SELECT scope, "limit" FROM pg_temp.levels(quota.check_amount('pay_bob', 'pay_diary', 'calls=1'));
SELECT scope, "limit" FROM pg_temp.levels(quota.check_amount('pay_ann', 'pay_diary', 'calls=1'));

-- 3. The nearest limit -----------------------------------------------------------------------

SELECT quota.put_plan('pay_plan', '[{"resource": "credit", "amount": 30}, {"resource": "credit", "amount": 31, "period": "day"},
                                    {"resource": "credit", "amount": 32, "model": "pay-*"}, {"resource": "calls", "amount": 33}]');
SELECT count(quota.put_account(s::quota.scope, plan => 'pay_plan')) AS accounts FROM unnest(ARRAY[
    'company:pay_near', 'company:pay_near/project:pay_near', 'company:pay_near/project:pay_other', 'company:pay_near/user:pay_ann']) AS s;
SELECT quota.put_member('company:pay_near', 'pay_ann'), quota.put_member('company:pay_near', 'pay_bob');

-- By the plan: the root, both projects, and ann's share, which has an account of its own.
SELECT scope, source, resource, model, "limit" FROM pg_temp.levels(quota.check('pay_ann', 'pay_near', 'pay-small', '{"input_tokens": 1000, "max_output_tokens": 0}'));
SELECT scope, source, resource, model, "limit" FROM pg_temp.levels(quota.check('pay_bob', 'pay_near', 'pay-small', '{"input_tokens": 1000, "max_output_tokens": 0}'));
-- A default for the children of a kind goes before the plan, for its resource, model and period only.
SELECT count(quota.set_limit('company:pay_near/project:*', 'credit', 20)) + count(quota.set_limit('company:pay_near/user:*', 'credit', 21, 'day')) AS limits;
SELECT scope, source, resource, model, "limit" FROM pg_temp.levels(quota.check('pay_ann', 'pay_near', 'pay-small', '{"input_tokens": 1000, "max_output_tokens": 0}'));
SELECT scope, source, resource, model, "limit" FROM pg_temp.levels(quota.check('pay_bob', 'pay_near', 'pay-small', '{"input_tokens": 1000, "max_output_tokens": 0}'));
-- An explicit limit goes before both, for what it is set on.
SELECT quota.set_limit('company:pay_near/project:pay_near', 'credit', 10) AS explicit \gset
SELECT count(quota.set_limit('company:pay_near/user:pay_ann', 'credit', 11, 'day')) AS limits;
SELECT scope, source, resource, model, "limit" FROM pg_temp.levels(quota.check('pay_ann', 'pay_near', 'pay-small', '{"input_tokens": 1000, "max_output_tokens": 0}'))
    WHERE source <> 'plan';
SELECT scope, source, resource, model, "limit" FROM pg_temp.levels(quota.check('pay_ann', 'pay_other', 'pay-small', '{"input_tokens": 1000, "max_output_tokens": 0}'))
    WHERE source <> 'plan';
-- One that is larger than the default is as good: the nearest wins, not the least.
SELECT quota.set_limit('company:pay_near/project:pay_near', 'credit', 40) = :explicit AS same;
SELECT scope, source, "limit" FROM pg_temp.levels(quota.check_amount('pay_ann', 'pay_near', 'credit=35')) WHERE scope = 'company:pay_near/project:pay_near';
-- Without it, the default applies again; without the plan, nothing takes its place.
SELECT quota.drop_limit(:explicit);
SELECT quota.put_plan('pay_plan', '[]');
SELECT scope, source, resource, model, "limit" FROM pg_temp.levels(quota.check('pay_ann', 'pay_near', 'pay-small', '{"input_tokens": 1000, "max_output_tokens": 0}'));
-- A default of the grandparent is none.
SELECT count(quota.set_limit('company:pay_deep/project:*', 'credit', 1)) AS limits;
SELECT count(*) FROM pg_temp.levels(quota.check_amount('pay_ann', 'pay_four', 'credit=1'));
-- Shares have the default of their own account, at each level.
SELECT count(quota.set_limit('company:pay_deep/division:d/user:*', 'credit', 2)) AS limits;
SELECT scope, source, "limit" FROM pg_temp.levels(quota.check_amount('pay_ann', 'pay_five', 'credit=1'));

-- 4. Members, and what is active ----------------------------------------------------------------

CREATE FUNCTION pg_temp.access(verdict jsonb) RETURNS TABLE (allowed boolean, reason text, message text, failed text)
LANGUAGE sql AS $$
    SELECT (verdict ->> 'allowed')::boolean, verdict ->> 'reason', verdict ->> 'message',
           (SELECT string_agg(concat_ws(' ', a ->> 'check', a ->> 'scope', a ->> 'reason'), ', ' ORDER BY n)
            FROM jsonb_array_elements(verdict -> 'access') WITH ORDINALITY AS e (a, n) WHERE NOT (a ->> 'passed')::boolean)
$$;

-- A member of the company is one of everything below; the nearest entry decides.
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_hermes', 'calls=1'));
SELECT quota.put_member('company:pay_acme/team:research', 'pay_ann', false);
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_hermes', 'calls=1'));
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_apollo', 'calls=1'));
SELECT quota.put_member('company:pay_acme/team:research/project:pay_hermes', 'pay_ann');
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_hermes', 'calls=1'));
SELECT quota.drop_member('company:pay_acme/team:research', 'pay_ann'), quota.drop_member('company:pay_acme', 'pay_ann');
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_hermes', 'calls=1'));
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_apollo', 'calls=1'));
SELECT quota.put_member('company:pay_acme', 'pay_ann');
-- Known elsewhere, but no member here: a refusal and not an error. The owner of a root needs no entry there only.
SELECT * FROM pg_temp.access(quota.check_amount('pay_bob', 'pay_apollo', 'calls=1'));
SELECT * FROM pg_temp.access(quota.reserve_amount('pay_bob', 'pay_apollo', 'calls=1'));

-- Every account of the path must be active, and the share, where it has an account.
SELECT quota.put_account('company:pay_acme/team:research', false) IS NOT NULL AS done;
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_hermes', 'calls=1'));
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_apollo', 'calls=1'));
SELECT quota.put_account('company:pay_acme', false) IS NOT NULL AS done;
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_hermes', 'calls=1'));
SELECT quota.put_account('company:pay_acme') IS NOT NULL AS done, quota.put_account('company:pay_acme/team:research') IS NOT NULL AS done;
SELECT quota.put_account('company:pay_acme/user:pay_ann', false) IS NOT NULL AS done;
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_apollo', 'calls=1'));
SELECT quota.put_account('company:pay_acme/user:pay_ann') IS NOT NULL AS done, quota.put_account('user:pay_ann', false) IS NOT NULL AS done;
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_apollo', 'calls=1'));
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_diary', 'calls=1'));
SELECT quota.put_account('user:pay_ann') IS NOT NULL AS done;

-- 5. Models -------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.models(user_id text, project_id text) RETURNS TABLE (model text, allowed boolean, refused_by text)
LANGUAGE sql AS $$
    SELECT m.model, (v.verdict ->> 'allowed')::boolean,
           (SELECT string_agg(a ->> 'scope', ', ' ORDER BY n)
            FROM jsonb_array_elements(v.verdict -> 'access') WITH ORDINALITY AS e (a, n) WHERE a ->> 'reason' = 'model_denied')
    FROM unnest(ARRAY['pay-large', 'pay-large-beta', 'pay-small']) WITH ORDINALITY AS m (model, n)
    CROSS JOIN LATERAL quota.check(user_id, project_id, m.model, '{"input_tokens": 1, "max_output_tokens": 1}') AS v (verdict)
    ORDER BY m.n
$$;
SELECT * FROM pg_temp.models('pay_ann', 'pay_hermes');
-- A level with allow rules allows only those; a deny denies what an allow of the same level lets pass.
SELECT quota.allow_model('company:pay_acme', 'pay-large*'), quota.deny_model('company:pay_acme', '*-beta');
SELECT * FROM pg_temp.models('pay_ann', 'pay_hermes');
-- What is below can only narrow.
SELECT quota.allow_model('company:pay_acme/team:research', '*');
SELECT * FROM pg_temp.models('pay_ann', 'pay_hermes');
SELECT quota.deny_model('company:pay_acme/team:research/project:pay_hermes', 'pay-large');
SELECT * FROM pg_temp.models('pay_ann', 'pay_hermes');
SELECT * FROM pg_temp.models('pay_ann', 'pay_apollo');
SELECT quota.drop_model_rule('company:pay_acme', 'pay-large*'), quota.drop_model_rule('company:pay_acme/team:research/project:pay_hermes', 'pay-large');
-- The share of a user has rules of its own.
SELECT quota.deny_model('company:pay_acme/user:pay_ann', 'pay-l*');
SELECT * FROM pg_temp.models('pay_ann', 'pay_hermes');
SELECT quota.put_member('company:pay_acme', 'pay_bob');
SELECT * FROM pg_temp.models('pay_bob', 'pay_hermes');
-- * is any text, and nothing else is special.
SELECT quota.deny_model('user:pay_ann', 'pay_small'), quota.deny_model('user:pay_ann', 'PAY-SMALL'), quota.deny_model('user:pay_ann', 'pay-sma');
SELECT * FROM pg_temp.models('pay_ann', 'pay_diary');
SELECT quota.deny_model('user:pay_ann', 'p*-*b*a');
SELECT * FROM pg_temp.models('pay_ann', 'pay_diary');
-- Rules are about models: an amount without one passes.
SELECT quota.deny_model('user:pay_ann', '*');
SELECT * FROM pg_temp.access(quota.check_amount('pay_ann', 'pay_diary', 'calls=1'));

-- 6. Refused, priced and shown in full ------------------------------------------------------------

SELECT pg_temp.keep('refused', quota.reserve('pay_ann', 'pay_diary', 'pay-small', '{"input_tokens": 1000, "max_output_tokens": 500}', 'pay-key'));
SELECT document ->> 'allowed' AS allowed, document ->> 'reason' AS reason, document ->> 'message' AS message, document -> 'hold_id' AS hold_id,
       document -> 'retry_at' AS retry_at, document -> 'estimate' -> 'amount' AS amount, document -> 'estimate' ->> 'cost_usd' AS cost_usd FROM pg_temp.kept WHERE label = 'refused';
SELECT scope, resource, "limit", used, held, requested, remaining, after, passed FROM pg_temp.kept, pg_temp.levels(document) WHERE label = 'refused';
SELECT held FROM pg_temp.counters('user:pay_ann');
-- Access comes before limits.
SELECT * FROM pg_temp.access(quota.check('pay_ann', 'pay_apollo', 'pay-large', '{"input_tokens": 100000, "max_output_tokens": 0}'));
SELECT count(quota.set_limit('company:pay_acme', 'credit', 0)) AS limits;
SELECT * FROM pg_temp.access(quota.check('pay_ann', 'pay_apollo', 'pay-large', '{"input_tokens": 100000, "max_output_tokens": 0}'));
SELECT scope, resource, passed, short FROM pg_temp.levels(quota.check('pay_ann', 'pay_apollo', 'pay-large', '{"input_tokens": 100000, "max_output_tokens": 0}')) WHERE NOT passed;

-- 7. What does not exist --------------------------------------------------------------------------

SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:pay_deep/project:pay_apollo', 'company:pay_acme/project:"a:b/c"']) AS s;
\x on
SELECT * FROM pg_temp.refused($$SELECT quota.check_amount('pay_nobody', 'company:pay_acme/project:pay_apollo', 'calls=1')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.check_amount('', 'company:pay_acme/project:pay_apollo', 'calls=1')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.check_amount(repeat('x', 128), 'company:pay_acme/project:pay_apollo', 'calls=1')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.check_amount('pay_ann', 'pay_none', 'calls=1')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.check_amount('pay_ann', 'company:pay_acme/project:pay_none', 'calls=1')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.check_amount('pay_ann', 'company:pay_acme/', 'calls=1')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.check_amount('pay_ann', '', 'calls=1')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.check_amount('pay_ann', 'pay_apollo', 'calls=1')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.check_amount('pay_ann', 'company:pay_acme/user:pay_ann', 'calls=1')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.remaining('pay_ann', 'pay_none')$$);  -- fails
SELECT * FROM pg_temp.refused($$SELECT quota.charge('pay_nobody', 'company:pay_acme/project:pay_apollo', 'pay-small', '{"input_tokens": 1, "output_tokens": 1}')$$);  -- fails
\x off
SELECT pg_temp.brief(quota.check_amount('pay_ann', 'company:pay_acme/project:pay_apollo', 'calls=1'));
-- A bare name may look like a scope.
SELECT pg_temp.brief(quota.check_amount('pay_ann', 'a:b/c', 'calls=1')), pg_temp.brief(quota.check_amount('pay_ann', 'company:pay_acme/project:"a:b/c"', 'calls=1'));

SELECT v.* FROM unnest(ARRAY['company:pay_acme', 'company:pay_deep', 'company:pay_near', 'user:pay_ann']) AS root, quota.verify(root::quota.scope) AS v;
