-- Verifies that:
-- 1. a hold counts until it is closed: its time alone changes nothing;
-- 2. a reserve that would be refused for a limit closes the expired holds of its root first, and uses what they free;
-- 3. check says what reserve would say, and writes nothing;
-- 4. expired holds of other roots, and those that are not expired, stay;
-- 5. what is freed in a transaction is free for others only after its commit, and not after its rollback;
-- 6. the job closes what is past its time, and run_maintenance() runs it;
-- 7. use that comes after expiry is recorded once, also when the job or a reserve has closed the hold.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:exp_acme', 'company:exp_acme/project:exp_a', 'company:exp_acme/project:exp_b',
    'company:exp_other', 'company:exp_other/project:exp_other']) AS s;
SELECT quota.put_member('company:exp_acme', 'exp_ann'), quota.put_member('company:exp_other', 'exp_ann');
SELECT count(quota.set_limit(s::quota.scope, 'credit', 10)) AS limits FROM unnest(ARRAY['company:exp_acme', 'company:exp_other']) AS s;
SELECT count(quota.set_limit('company:exp_acme/project:exp_a', 'credit', 8)) AS limits;

CREATE FUNCTION pg_temp.reserve(label text, project_id text, credits numeric, ttl interval DEFAULT '15 minutes') RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.keep(label, quota.reserve_amount('exp_ann', project_id, ('credit=' || credits)::quota.amount, ttl => ttl)) $$;
CREATE FUNCTION pg_temp.states() RETURNS TABLE (label text, state text)
LANGUAGE sql AS $$
    SELECT k.label, quota.hold((k.document ->> 'hold_id')::uuid) ->> 'state' FROM pg_temp.kept k WHERE k.document ->> 'hold_id' IS NOT NULL ORDER BY k.label COLLATE "C"
$$;

-- 1. Past its time, and still held ------------------------------------------------------------------

SELECT pg_temp.reserve('a1', 'exp_a', 2, '1 minute'), pg_temp.reserve('a2', 'exp_a', 3, '2 minutes'), pg_temp.reserve('b1', 'exp_b', 4, '1 minute'), pg_temp.reserve('other', 'exp_other', 7, '1 minute');
SET xavier_quota.clock = '2026-03-10 12:01+00';
SELECT scope, used, held, remaining FROM pg_temp.counters('company:exp_acme');
-- What fits without them leaves them as they are.
SELECT pg_temp.reserve('b2', 'exp_b', 1);
SELECT * FROM pg_temp.states();

-- 3. Check ------------------------------------------------------------------------------------------

-- 10 of 10 are held, 6 of them past their time: 4 of project a's 8 and 6 of the company's 10 would be free.
SELECT pg_temp.brief(quota.check_amount('exp_ann', 'exp_b', 'credit=6'));
SELECT scope, used, held, requested, remaining, passed, short FROM pg_temp.levels(quota.check_amount('exp_ann', 'exp_b', 'credit=6.000001'));
SELECT scope, used, held, requested, remaining, passed, short FROM pg_temp.levels(quota.check_amount('exp_ann', 'exp_a', 'credit=5.5'));
SELECT scope, used, held, remaining FROM pg_temp.counters('company:exp_acme');
SELECT * FROM pg_temp.states();
-- In a read only transaction too.
BEGIN READ ONLY;
SELECT pg_temp.brief(quota.check_amount('exp_ann', 'exp_b', 'credit=6')), pg_temp.brief(quota.check_amount('exp_ann', 'exp_b', 'credit=6.000001'));
COMMIT;

-- 5. In a transaction --------------------------------------------------------------------------------

BEGIN;
SELECT pg_temp.reserve('b3', 'exp_b', 6);
SELECT * FROM pg_temp.states();
SELECT scope, used, held, passed FROM pg_temp.levels(quota.check_amount('exp_ann', 'exp_b', 'credit=1'));
ROLLBACK;
SELECT * FROM pg_temp.states();
SELECT scope, used, held, remaining FROM pg_temp.counters('company:exp_acme');
SELECT v.* FROM unnest(ARRAY['company:exp_acme', 'company:exp_other']) AS root, quota.verify(root::quota.scope) AS v;

-- 2. Reserve -----------------------------------------------------------------------------------------

-- What could not be granted even then closes them all the same, which is only what the job would do.
SELECT pg_temp.reserve('b3', 'exp_b', 6.000001);
SELECT * FROM pg_temp.states();
SELECT scope, used, held, remaining FROM pg_temp.counters('company:exp_acme');
SELECT pg_temp.reserve('b3', 'exp_b', 6);
-- 4. One root does not touch another.
SELECT used, held FROM pg_temp.counters('company:exp_other');
-- A refusal of access needs no room, and makes none.
SET xavier_quota.clock = '2026-03-10 12:02+00';
SELECT quota.put_member('company:exp_acme', 'exp_ann', false);
SELECT pg_temp.reserve('denied', 'exp_a', 8);
SELECT quota.put_member('company:exp_acme', 'exp_ann');
SELECT * FROM pg_temp.states();
-- The next reserve that needs room closes what is past its time by then: a2.
SELECT pg_temp.reserve('a3', 'exp_a', 3);
SELECT * FROM pg_temp.states();
SELECT scope, used, held, remaining FROM pg_temp.counters('company:exp_acme');

-- 7. Late use ----------------------------------------------------------------------------------------

SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('a1'), 'credit=1')), pg_temp.brief(quota.settle_amount(pg_temp.id('a1'), 'credit=1')), pg_temp.brief(quota.settle_amount(pg_temp.id('a1'), 'credit=2'));
-- A settlement before anybody has closed the hold is in time, whatever the clock says.
SET xavier_quota.clock = '2026-03-11 12:00+00';
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('b3'), 'credit=5'));
SELECT scope, used, held, remaining FROM pg_temp.counters('company:exp_acme');

-- 6. The job -----------------------------------------------------------------------------------------

CALL quota.run_job('expire');
SELECT * FROM pg_temp.states();
SELECT r.job, r.finished_at IS NOT NULL AS finished, r.error FROM quota.job_runs r WHERE r.job = 'expire' ORDER BY r.started_at DESC LIMIT 1;
SELECT scope, used, held FROM pg_temp.counters('company:exp_acme');
SELECT used, held FROM pg_temp.counters('company:exp_other');
-- Twice is once.
CALL quota.run_job('expire');
SELECT count(*) AS events FROM quota.events e JOIN pg_temp.kept k ON e.hold_id = (k.document ->> 'hold_id')::uuid WHERE e.kind = 'expired';
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('other'), 'credit=7.5'));
SELECT used, held, remaining FROM pg_temp.counters('company:exp_other');
-- By the job of everything, which cannot be part of a transaction.
SELECT pg_temp.reserve('last', 'exp_other', 1, '1 second');
SET xavier_quota.clock = '2026-03-11 12:00:01+00';
BEGIN;
CALL quota.run_maintenance();  -- fails
ROLLBACK;
CALL quota.run_job('no such job');  -- fails
CALL quota.run_job('expire');
SELECT quota.hold(pg_temp.id('last')) ->> 'state' AS state;

SELECT v.* FROM unnest(ARRAY['company:exp_acme', 'company:exp_other']) AS root, quota.verify(root::quota.scope) AS v;
