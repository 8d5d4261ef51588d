-- Verifies that:
-- 1. a verdict tells all that was looked at, allowed or not;
-- 2. reasons come in the order account_inactive, not_a_member, model_denied, limit_exceeded;
-- 3. a hold is made at every level or at none, up to the last millionth of a hard limit and its overdraft;
-- 4. soft and shadow limits count and let pass, 0 blocks, no limit does not limit;
-- 5. several periods, models and resources are limits of their own, and all must pass;
-- 6. retry_at is when waiting helps, if it does;
-- 7. stocks go up and down and never start afresh, concurrency is held and never used;
-- 8. a call with a key is made once, and only if it was granted; other arguments are an error;
-- 9. the life of a hold has bounds.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT pg_temp.card('res-a'), pg_temp.card('res-b');
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY[
    'company:res_acme', 'company:res_acme/project:res_apollo']) AS s;
SELECT quota.put_member('company:res_acme', 'res_ann');

-- 1. The verdict -----------------------------------------------------------------------------

SELECT quota.set_limit('company:res_acme', 'credit', 100) AS credit \gset
SELECT quota.set_limit('company:res_acme/project:res_apollo', 'calls', 3, 'day', 'soft', overdraft => 1) AS calls \gset
SELECT pg_temp.masked(quota.reserve('res_ann', 'res_apollo', 'res-a', '{"input_tokens": 1000, "max_output_tokens": 500, "expected_output_tokens": 100}', ttl => '5 minutes'));
-- 98 are left; input 100000 and output 500 tokens cost 101 credits.
SELECT pg_temp.masked(quota.can_execute_generation('res_ann', 'res_apollo', 'res-a', '{"input_tokens": 100000, "max_output_tokens": 500}'));
-- An amount has no estimate but itself.
SELECT pg_temp.masked(quota.reserve_amount('res_ann', 'res_apollo', 'credit=98.000001'));
-- Check says what reserve would say, and holds nothing.
SELECT quota.check('res_ann', 'res_apollo', 'res-a', '{"input_tokens": 100000, "max_output_tokens": 500}')
     = quota.can_execute_generation(user_id => 'res_ann', project_id => 'res_apollo', model => 'res-a', request => '{"input_tokens": 100000, "max_output_tokens": 500}') AS same;
SELECT quota.check_amount('res_ann', 'res_apollo', 'credit=98.000001') - 'state'
     = quota.reserve_amount('res_ann', 'res_apollo', 'credit=98.000001') - 'state' AS same;
SELECT pg_temp.brief(quota.check_amount('res_ann', 'res_apollo', 'credit=98'));
SELECT scope, resource, used, held, remaining FROM pg_temp.counters('company:res_acme');
SELECT count(*) AS holds FROM quota.holds WHERE scope = 'company:res_acme/project:res_apollo';

-- 2. Reasons ---------------------------------------------------------------------------------

-- Four reasons at once, taken away one by one.
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:res_why', 'company:res_why/project:res_why']) AS s;
SELECT quota.set_limit('company:res_why', 'calls', 0) AS calls \gset
SELECT quota.deny_model('company:res_why', 'res-a'), quota.put_account('company:res_why/project:res_why', false) IS NOT NULL AS done;
CREATE FUNCTION pg_temp.why() RETURNS TABLE (reason text, message text)
LANGUAGE sql AS $$
    SELECT v ->> 'reason', v ->> 'message' FROM quota.reserve('res_ann', 'res_why', 'res-a', '{"input_tokens": 1000, "max_output_tokens": 0}') v
$$;
SELECT * FROM pg_temp.why();
SELECT quota.put_account('company:res_why/project:res_why') IS NOT NULL AS done;
SELECT * FROM pg_temp.why();
SELECT quota.put_member('company:res_why', 'res_ann');
SELECT * FROM pg_temp.why();
SELECT quota.drop_model_rule('company:res_why', 'res-a') AS dropped;
SELECT * FROM pg_temp.why();
SELECT quota.drop_limit(:calls);
SELECT * FROM pg_temp.why();

-- 3. All or nothing, and exactly ----------------------------------------------------------------

SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:res_exact', 'company:res_exact/project:res_exact']) AS s;
SELECT quota.put_member('company:res_exact', 'res_ann');
SELECT count(quota.set_limit('company:res_exact', 'credit', 100)) + count(quota.set_limit('company:res_exact/user:res_ann', 'credit', 50))
     + count(quota.set_limit('company:res_exact/project:res_exact', 'credit', 10, overdraft => 2.5)) AS limits;
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_exact', 'credit=12.500001'));
SELECT scope, used, held FROM pg_temp.counters('company:res_exact');
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_exact', 'credit=10.000001'));
SELECT scope, "limit", held, remaining, after, passed, short FROM pg_temp.levels(quota.check_amount('res_ann', 'res_exact', 'credit=3'));
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_exact', 'credit=2.5'));
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_exact', 'credit=2.499999'));
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_exact', 'credit=0.000001'));
SELECT scope, "limit", used, held, remaining FROM pg_temp.counters('company:res_exact');
-- Nothing asked, nothing refused.
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_exact', ''));
-- What is left: the overdraft is not.
SELECT quota.remaining('res_ann', 'res_exact');
-- A limit that is lowered below what is held refuses, and takes nothing back.
SELECT count(quota.set_limit('company:res_exact', 'credit', 5, force => true)) AS limits;
SELECT scope, held, remaining FROM pg_temp.counters('company:res_exact') WHERE scope = 'company:res_exact';
SELECT scope, remaining, short FROM pg_temp.levels(quota.check_amount('res_ann', 'res_exact', 'credit=1')) WHERE NOT passed;

-- The largest numbers: no sum of them wraps.
SELECT count(quota.set_limit('company:res_exact', 'storage', 4611686018427.387903, overdraft => 4611686018427.387903)) AS limits;
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_exact', 'storage=4611686018427.387903'));
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_exact', 'storage=4611686018427.387903'));
SELECT resource, "limit", held, remaining FROM pg_temp.counters('company:res_exact') WHERE resource = 'storage';
SELECT resource, remaining, short FROM pg_temp.levels(quota.check_amount('res_ann', 'res_exact', 'storage=4611686018427.387903'));
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_exact', 'storage=0.000001'));

-- 4. Policies ------------------------------------------------------------------------------------

SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:res_policy', 'company:res_policy/project:res_policy']) AS s;
SELECT quota.put_member('company:res_policy', 'res_ann');
SELECT count(quota.set_limit('company:res_policy', 'credit', 10, policy => 'soft')) + count(quota.set_limit('company:res_policy/project:res_policy', 'credit', 1, policy => 'shadow')) AS limits;
SELECT pg_temp.keep('v', quota.reserve_amount('res_ann', 'res_policy', 'credit=11'));
SELECT scope, policy, "limit", held, remaining, after, passed, short, exceeded FROM pg_temp.kept, pg_temp.levels(document) WHERE label = 'v';
SELECT scope, "limit", held, remaining FROM pg_temp.counters('company:res_policy');
SELECT quota.remaining('res_ann', 'res_policy');
-- Both limits are hard from now on, and what has been held counts.
SELECT count(quota.set_limit('company:res_policy', 'credit', 12)) + count(quota.set_limit('company:res_policy/project:res_policy', 'credit', 20)) AS limits;
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_policy', 'credit=1.000001')), pg_temp.brief(quota.reserve_amount('res_ann', 'res_policy', 'credit=1'));
-- 0 blocks what needs it, and only that; soft 0 does not.
SELECT count(quota.set_limit('company:res_policy', 'calls', 0)) AS limits;
SELECT pg_temp.brief(quota.check_amount('res_ann', 'res_policy', 'calls=0.000001')), pg_temp.brief(quota.check_amount('res_ann', 'res_policy', 'storage=1000000'));
SELECT count(quota.set_limit('company:res_policy', 'calls', 0, policy => 'soft')) AS limits;
SELECT pg_temp.brief(quota.check_amount('res_ann', 'res_policy', 'calls=1'));

-- 5. Each limit by itself ------------------------------------------------------------------------

SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:res_each', 'company:res_each/project:res_each']) AS s;
SELECT quota.put_member('company:res_each', 'res_ann');
SELECT count(quota.set_limit('company:res_each', 'credit', 10, 'month')) + count(quota.set_limit('company:res_each', 'credit', 4, 'day'))
     + count(quota.set_limit('company:res_each', 'credit', 3, 'month', model => '*-b')) + count(quota.set_limit('company:res_each', 'calls', 5, 'lifetime')) AS limits;
-- Held for a week: one credit of model a, of model b, and of no model: patterns count what they match.
SELECT pg_temp.brief(quota.reserve('res_ann', 'res_each', 'res-a', '{"input_tokens": 1000, "max_output_tokens": 0}', ttl => '7 days')),
       pg_temp.brief(quota.reserve('res_ann', 'res_each', 'res-b', '{"input_tokens": 1000, "max_output_tokens": 0}', ttl => '7 days')),
       pg_temp.brief(quota.reserve_amount('res_ann', 'res_each', 'credit=1', ttl => '7 days'));
SELECT resource, model, period_start, "limit", held, remaining FROM pg_temp.counters('company:res_each');
-- 1 is left of the day, 7 of the month, 2 of model b, 3 calls: the day refuses 2, model b refuses 3 tomorrow.
SELECT resource, model, "limit", short FROM pg_temp.levels(quota.reserve('res_ann', 'res_each', 'res-b', '{"input_tokens": 2000, "max_output_tokens": 0}', ttl => '7 days')) WHERE NOT passed;
SET xavier_quota.clock = '2026-03-11 00:00+00';
SELECT resource, model, "limit", short FROM pg_temp.levels(quota.reserve('res_ann', 'res_each', 'res-b', '{"input_tokens": 3000, "max_output_tokens": 0}', ttl => '7 days')) WHERE NOT passed;
SELECT pg_temp.brief(quota.reserve('res_ann', 'res_each', 'res-b', '{"input_tokens": 2000, "max_output_tokens": 0}', ttl => '7 days')),
       pg_temp.brief(quota.reserve('res_ann', 'res_each', 'res-a', '{"input_tokens": 2000, "max_output_tokens": 0}', ttl => '7 days')),
       pg_temp.brief(quota.reserve('res_ann', 'res_each', 'res-a', '{"input_tokens": 1, "max_output_tokens": 0}', ttl => '7 days'));
-- 10 - 3 - 4 are left of the month, and a call: the fifth is made of what costs little, the sixth is refused.
SET xavier_quota.clock = '2026-03-12 00:00+00';
SELECT pg_temp.brief(quota.reserve('res_ann', 'res_each', 'res-a', '{"input_tokens": 3001, "max_output_tokens": 0}', ttl => '7 days')),
       pg_temp.brief(quota.reserve('res_ann', 'res_each', 'res-a', '{"input_tokens": 1, "max_output_tokens": 0}', ttl => '7 days')),
       pg_temp.brief(quota.reserve('res_ann', 'res_each', 'res-a', '{"input_tokens": 1, "max_output_tokens": 0}', ttl => '7 days'));
SELECT resource, model, period_start, "limit", held, remaining FROM pg_temp.counters('company:res_each');
SET xavier_quota.clock = '2026-03-10 12:00+00';

-- 6. When to try again -----------------------------------------------------------------------------

SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:res_retry', 'company:res_retry/project:res_retry']) AS s;
SELECT quota.put_member('company:res_retry', 'res_ann');
SELECT count(quota.set_limit('company:res_retry', 'credit', 10, '1 month from 2026-01-31 09:00')) + count(quota.set_limit('company:res_retry', 'credit', 8, 'day', overdraft => 1))
     + count(quota.set_limit('company:res_retry', 'calls', 5, 'lifetime')) AS limits;
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_retry', 'credit=8,calls=4'));
CREATE FUNCTION pg_temp.retry(amount quota.amount) RETURNS TABLE (retry_at text, message text)
LANGUAGE sql AS $$
    SELECT v ->> 'retry_at', v ->> 'message' FROM quota.check_amount('res_ann', 'res_retry', amount) v
$$;
-- Fits; refused by the day; by the day and the month; never: too much for an empty day; a lifetime does not end.
SELECT a.amount, r.* FROM unnest(ARRAY['credit=1', 'credit=1.5', 'credit=2.000001', 'credit=9', 'credit=9.000001', 'calls=2', 'calls=2,credit=2', 'calls=6']) WITH ORDINALITY AS a (amount, n),
    pg_temp.retry(a.amount::quota.amount) AS r ORDER BY a.n;
-- It is an instant, whatever the session's time zone.
SET timezone = 'Asia/Tokyo';
SELECT r.* FROM pg_temp.retry('credit=1.5') AS r;
SET timezone = 'UTC';

-- 7. Kinds of resources ------------------------------------------------------------------------------

SELECT quota.put_resource('res_running', 'generation', 'concurrency', 'Generations running now');
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:res_kind', 'company:res_kind/project:res_kind']) AS s;
SELECT quota.put_member('company:res_kind', 'res_ann');
SELECT count(quota.set_limit('company:res_kind', 'storage', 10)) + count(quota.set_limit('company:res_kind/project:res_kind', 'res_running', 2)) AS limits;
-- A stock: 6 MB come, 4 go, and the next year changes nothing.
SELECT pg_temp.keep('s', quota.reserve_amount('res_ann', 'res_kind', 'storage=6'));
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('s'), 'storage=6'));
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_kind', 'storage=4.000001'));
SELECT pg_temp.brief(quota.adjust('company:res_kind/project:res_kind', 'storage=-4.000001', 'two files deleted'));
SET xavier_quota.clock = '2027-03-10 12:00+00';
SELECT resource, used, held, remaining FROM pg_temp.counters('company:res_kind') WHERE resource = 'storage';
SELECT pg_temp.keep('s', quota.reserve_amount('res_ann', 'res_kind', 'storage=8.000001'));
SELECT pg_temp.brief(quota.release(pg_temp.id('s'), 'upload failed'));
-- Concurrency: two run, a third waits until one has ended, however it ends.
SELECT pg_temp.keep('1', quota.reserve_amount('res_ann', 'res_kind', 'res_running=1')), pg_temp.keep('2', quota.reserve_amount('res_ann', 'res_kind', 'res_running=1')),
       pg_temp.keep('3', quota.reserve_amount('res_ann', 'res_kind', 'res_running=1'));
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('1'), 'res_running=1'));  -- fails
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('1'), ''));
SELECT pg_temp.keep('3', quota.reserve_amount('res_ann', 'res_kind', 'res_running=1'));
SELECT pg_temp.brief(quota.release(pg_temp.id('2')));
SELECT pg_temp.brief(quota.check_amount('res_ann', 'res_kind', 'res_running=1')), pg_temp.brief(quota.check_amount('res_ann', 'res_kind', 'res_running=2'));
SELECT resource, used, held, remaining FROM pg_temp.counters('company:res_kind') WHERE resource = 'res_running';
SELECT pg_temp.brief(quota.check_amount('res_ann', 'res_kind', 'storage=-1'));  -- fails
SELECT pg_temp.brief(quota.check_amount('res_ann', 'res_kind', 'res_none=1'));  -- fails
SET xavier_quota.clock = '2026-03-10 12:00+00';

-- 8. Keys ----------------------------------------------------------------------------------------------

SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:res_key', 'company:res_key/project:res_key', 'company:res_key/project:res_lock',
    'user:res_bob', 'user:res_bob/project:res_bob']) AS s;
SELECT quota.put_member('company:res_key', 'res_ann'), quota.put_member('company:res_key', 'res_bob');
SELECT count(quota.set_limit('company:res_key', 'credit', 10)) AS limits;
-- A refusal is not remembered, neither its arguments.
SELECT pg_temp.keep('k1', quota.reserve_amount('res_ann', 'res_key', 'credit=11', 'k1'));
SELECT pg_temp.keep('k1', quota.reserve_amount('res_ann', 'res_key', 'credit=2', 'k1'));
-- The same again, also by the full name, is the same hold.
SELECT pg_temp.keep('k1 again', quota.reserve_amount('res_ann', 'company:res_key/project:res_key', 'credit=2.0', idempotency_key => 'k1'));
SELECT pg_temp.id('k1') = pg_temp.id('k1 again') AS same_hold;
SELECT document ->> 'allowed' AS allowed, document ->> 'state' AS state, document ->> 'replayed' AS replayed, document ->> 'expires_at' AS expires_at FROM pg_temp.kept WHERE label = 'k1 again';
SELECT held FROM pg_temp.counters('company:res_key');
-- Other arguments: amount, user, project, a model, another call.
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_key', 'credit=2.000001', 'k1'));  -- fails
SELECT pg_temp.brief(quota.reserve_amount('res_bob', 'res_key', 'credit=2', 'k1'));  -- fails
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_lock', 'credit=2', 'k1'));  -- fails
SELECT pg_temp.brief(quota.reserve('res_ann', 'res_key', 'res-a', '{"input_tokens": 2000, "max_output_tokens": 0}', 'k1'));  -- fails
SELECT pg_temp.brief(quota.charge('res_ann', 'res_key', 'res-a', '{"input_tokens": 2000, "output_tokens": 0}', 'k1'));  -- fails
SELECT pg_temp.brief(quota.adjust('company:res_key/project:res_key', 'credit=2', 'refund', 'k1'));  -- fails
-- With a model, the request and the model are arguments; the order of its keys is not.
SELECT pg_temp.keep('k2', quota.reserve('res_ann', 'res_key', 'res-a', '{"input_tokens": 1000, "max_output_tokens": 0}', 'k2'));
SELECT pg_temp.keep('k2 again', quota.reserve('res_ann', 'res_key', 'res-a', '{"max_output_tokens": 0, "input_tokens": 1000}', 'k2'));
SELECT pg_temp.id('k2') = pg_temp.id('k2 again') AS same_hold;
SELECT pg_temp.brief(quota.reserve('res_ann', 'res_key', 'res-b', '{"input_tokens": 1000, "max_output_tokens": 0}', 'k2'));  -- fails
SELECT pg_temp.brief(quota.reserve('res_ann', 'res_key', 'res-a', '{"input_tokens": 1001, "max_output_tokens": 0}', 'k2'));  -- fails
-- Another root has keys of its own.
SELECT pg_temp.brief(quota.reserve_amount('res_bob', 'res_bob', 'credit=1', 'k1'));
-- The first answer stays, whatever the limits and the access say now, and says what has become of the hold.
SELECT count(quota.set_limit('company:res_key', 'credit', 0, force => true)) AS limits, quota.put_member('company:res_key', 'res_ann', false);
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_key', 'credit=2', 'k1')), pg_temp.brief(quota.reserve_amount('res_ann', 'res_key', 'credit=2', 'k3'));
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('k1'), 'credit=1.5')), pg_temp.brief(quota.release(pg_temp.id('k2')));
SELECT pg_temp.brief(quota.reserve_amount('res_ann', 'res_key', 'credit=2', 'k1')), pg_temp.brief(quota.reserve('res_ann', 'res_key', 'res-a', '{"input_tokens": 1000, "max_output_tokens": 0}', 'k2'));
SELECT used, held FROM pg_temp.counters('company:res_key');
-- A key is a text of 1 to 255 bytes.
SELECT pg_temp.brief(quota.reserve_amount('res_bob', 'res_bob', 'credit=1', ''));  -- fails
SELECT pg_temp.brief(quota.reserve_amount('res_bob', 'res_bob', 'credit=1', repeat('k', 256)));  -- fails
SELECT pg_temp.brief(quota.reserve_amount('res_bob', 'res_bob', 'credit=1', repeat('k', 255)));
SELECT pg_temp.brief(quota.reserve_amount('res_bob', 'res_bob', 'credit=1', repeat('k', 255)));

-- 9. Life ------------------------------------------------------------------------------------------------

SELECT quota.reserve_amount('res_bob', 'res_bob', 'credit=1', ttl => t.ttl) ->> 'expires_at' AS expires_at
    FROM unnest(ARRAY['1 second', '7 days', '2 days -1 second']::interval[]) WITH ORDINALITY AS t (ttl, n) ORDER BY t.n;
SELECT quota.reserve_amount('res_bob', 'res_bob', 'credit=1') ->> 'expires_at' AS default_ttl;
SELECT t.ttl, r.code, r.message, r.detail FROM unnest(ARRAY['0', '0.999999 second', '7 days 0.000001 second', '1 month', '-1 hour', '178000000 years']) WITH ORDINALITY AS t (ttl, n),
    pg_temp.refused(format('SELECT quota.reserve_amount(%L, %L, %L, ttl => %L)', 'res_bob', 'res_bob', 'credit=1', t.ttl)) AS r ORDER BY t.n;
SET xavier_quota.min_ttl = '1min';
SET xavier_quota.max_ttl = '10min';
SELECT t.ttl, r.code, r.detail, r.hint FROM unnest(ARRAY['59 seconds', '1 minute', '10 minutes', '11 minutes']) WITH ORDINALITY AS t (ttl, n),
    pg_temp.refused(format('SELECT quota.reserve_amount(%L, %L, %L, ttl => %L)', 'res_bob', 'res_bob', 'credit=1', t.ttl)) AS r ORDER BY t.n;
RESET xavier_quota.min_ttl;
RESET xavier_quota.max_ttl;
-- A ttl that is refused holds nothing.
SELECT count(*) AS holds FROM quota.holds WHERE scope = 'user:res_bob/project:res_bob';

SELECT v.* FROM unnest(ARRAY['company:res_acme', 'company:res_why', 'company:res_exact', 'company:res_policy', 'company:res_each', 'company:res_retry',
    'company:res_kind', 'company:res_key', 'user:res_bob']) AS root, quota.verify(root::quota.scope) AS v;
