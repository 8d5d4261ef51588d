-- Verifies that:
-- 1. what a transaction does goes with it: ROLLBACK, savepoints, failed blocks in PL/pgSQL leave nothing;
-- 2. a transaction may use at once what it gives back, and others only after its commit;
-- 3. a loop with a block for each turn ends with exactly what its turns have done;
-- 4. callers may be READ COMMITTED, REPEATABLE READ or SERIALIZABLE; a snapshot that is old does not make answers old;
-- 5. definitions can be made, changed and used in one transaction, and go with it, or with a savepoint;
-- 6. PREPARE TRANSACTION and writes in READ ONLY are refused, upkeep after an operation too;
-- 7. a statement that fails leaves no hold: constraint, deferred constraint, timeout.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT pg_temp.card('tra-a');
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:tra_acme', 'company:tra_acme/project:tra_p', 'company:tra_b', 'company:tra_b/project:tra_b']) AS s;
SELECT quota.put_member('company:tra_acme', 'tra_ann'), quota.put_member('company:tra_b', 'tra_ann');
SELECT quota.set_limit('company:tra_acme', 'credit', 10) AS tra_limit \gset
SELECT count(quota.set_limit('company:tra_b', 'credit', 10)) AS limits;

CREATE FUNCTION pg_temp.reserve(label text, credits numeric, project_id text DEFAULT 'tra_p', idempotency_key text DEFAULT NULL) RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.keep(label, quota.reserve_amount('tra_ann', project_id, ('credit=' || credits)::quota.amount, idempotency_key)) $$;
CREATE FUNCTION pg_temp.settle(label text, credits numeric) RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.brief(quota.settle_amount(pg_temp.id(label), ('credit=' || credits)::quota.amount)) $$;
-- Credits of a root as this transaction sees them, as everybody sees them, and the rows.
CREATE FUNCTION pg_temp.see(root text DEFAULT 'company:tra_acme') RETURNS TABLE (used numeric, held numeric, used_by_all numeric, held_by_all numeric, holds bigint, events bigint)
LANGUAGE sql AS $$
    SELECT (l ->> 'used')::numeric, (l ->> 'held')::numeric, c.used, c.held,
           (SELECT count(*) FROM quota.holds h WHERE h.scope <@ root::quota.scope),
           (SELECT count(*) FROM quota.events e WHERE e.scope <@ root::quota.scope)
    FROM quota.check_amount('tra_ann', root, 'credit=0.000001') AS v, jsonb_array_elements(v -> 'levels') AS l, pg_temp.counters(root::quota.scope) AS c
    WHERE l ->> 'scope' = root AND c.scope::text = root AND c.resource = 'credit'
$$;

-- 1. Rollback ---------------------------------------------------------------------------------------

BEGIN;
SELECT pg_temp.reserve('a', 4, idempotency_key => 'tra-1'), pg_temp.brief(quota.charge('tra_ann', 'tra_p', 'tra-a', '{"input_tokens": 1000, "output_tokens": 0}')),
       pg_temp.brief(quota.adjust('company:tra_acme', 'credit=2', 'to be undone'));
-- Increases count for everybody at once.
SELECT * FROM pg_temp.see();
ROLLBACK;
SELECT * FROM pg_temp.see();
-- Neither the key is remembered: it can be used for something else.
SELECT pg_temp.reserve('a', 6, idempotency_key => 'tra-1');

-- Settled, released, extended, and all undone: the hold is open again.
SELECT pg_temp.reserve('b', 3);
BEGIN;
SELECT pg_temp.settle('a', 7), pg_temp.brief(quota.release(pg_temp.id('b')));
-- Above the hold counts at once, what is given back does not count yet for others.
SELECT * FROM pg_temp.see();
ROLLBACK;
SELECT * FROM pg_temp.see();
BEGIN;
SELECT pg_temp.brief(quota.extend(pg_temp.id('a'), ttl => '1 day'));
ROLLBACK;
SELECT quota.hold(pg_temp.id('a')) ->> 'state' AS state, quota.hold(pg_temp.id('a')) ->> 'expires_at' AS expires_at;

-- Savepoints: each takes back its own.
BEGIN;
SELECT pg_temp.brief(quota.release(pg_temp.id('b')));
SAVEPOINT one;
SELECT pg_temp.reserve('c', 2);
SAVEPOINT two;
SELECT pg_temp.reserve('d', 2), pg_temp.reserve('e', 0.000001);
SELECT * FROM pg_temp.see();
ROLLBACK TO two;
SELECT * FROM pg_temp.see();
SELECT pg_temp.reserve('d', 1);
RELEASE two;
SELECT * FROM pg_temp.see();
ROLLBACK TO one;
SELECT * FROM pg_temp.see();
SELECT pg_temp.reserve('f', 4);
COMMIT;
SELECT * FROM pg_temp.see();

-- A hold released in a savepoint that is rolled back is open, and can be released again.
BEGIN;
SAVEPOINT one;
SELECT pg_temp.brief(quota.release(pg_temp.id('f')));
ROLLBACK TO one;
SELECT quota.hold(pg_temp.id('f')) ->> 'state' AS state;
SELECT pg_temp.settle('f', 1);
SELECT pg_temp.settle('f', 1);
COMMIT;
SELECT * FROM pg_temp.see();

-- 2. Own room ----------------------------------------------------------------------------------------

-- 6 held, 1 used, 3 left: settling a for 2 frees 4, which this transaction may take at once, exactly.
BEGIN;
SELECT pg_temp.settle('a', 2), pg_temp.reserve('g', 7.000001), pg_temp.reserve('g', 7);
SELECT * FROM pg_temp.see();
COMMIT;
SELECT * FROM pg_temp.see();
-- Reserve and settle, several times over the limit in sum, in one transaction.
SELECT pg_temp.brief(quota.release(pg_temp.id('g')));
BEGIN;
SELECT pg_temp.reserve('h', 7), pg_temp.settle('h', 0), pg_temp.reserve('h', 7), pg_temp.settle('h', 0.5), pg_temp.reserve('h', 7), pg_temp.reserve('h', 6.5), pg_temp.settle('h', 1.5);
SELECT * FROM pg_temp.see();
COMMIT;
SELECT * FROM pg_temp.see();
-- A refund is room for this transaction now, for others after the commit; taken back, it is room for nobody.
BEGIN;
SAVEPOINT one;
SELECT pg_temp.brief(quota.adjust('company:tra_acme', 'credit=-5', 'refund')), pg_temp.reserve('i', 10);
SELECT * FROM pg_temp.see();
ROLLBACK TO one;
SELECT pg_temp.reserve('i', 10), pg_temp.reserve('i', 5);
SELECT * FROM pg_temp.see();
ROLLBACK;
SELECT * FROM pg_temp.see();
SELECT v.* FROM quota.verify('company:tra_acme') AS v;

-- 3. Loops ---------------------------------------------------------------------------------------------

-- A thousand turns; each holds and settles 0.001, every third fails after that.
DO $$
DECLARE
    verdict jsonb;
BEGIN
    FOR turn IN 1 .. 999 LOOP
        BEGIN
            verdict := quota.reserve_amount('tra_ann', 'tra_p', 'credit=1');
            PERFORM quota.settle_amount((verdict ->> 'hold_id')::uuid, 'credit=0.001');
            IF turn % 3 = 0 THEN
                RAISE EXCEPTION 'turn % fails', turn;
            END IF;
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END LOOP;
END
$$;
SELECT used, held, used_by_all, held_by_all FROM pg_temp.see();
-- Twenty of 1 where 4.334 are left: four are granted.
SELECT count(*) FILTER (WHERE said LIKE 'open%') AS granted, count(*) FILTER (WHERE said LIKE 'refused%') AS refused FROM generate_series(1, 20) AS n, pg_temp.reserve('loop ' || n, 1) AS said;
SELECT used, held, used_by_all, held_by_all FROM pg_temp.see();
SELECT count(pg_temp.brief(quota.release((document ->> 'hold_id')::uuid))) AS released FROM pg_temp.kept WHERE label LIKE 'loop %' AND document ->> 'state' = 'open';
SELECT v.* FROM quota.verify('company:tra_acme') AS v;

-- 4. Isolation levels ------------------------------------------------------------------------------------

BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.reserve('r', 1), pg_temp.settle('r', 0.5);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pg_temp.reserve('r', 1), pg_temp.settle('r', 0.5), pg_temp.settle('r', 0.5);
COMMIT;
SELECT used, held FROM pg_temp.see();

-- 5. Definitions -------------------------------------------------------------------------------------------

-- A limit that is created, used and rolled back leaves neither itself nor what was used of it.
BEGIN;
SELECT quota.set_limit('company:tra_acme/project:tra_p', 'credit', 8.666) IS NOT NULL AS done;
SELECT pg_temp.reserve('x', 2.000001), pg_temp.reserve('x', 2), pg_temp.settle('x', 1);
SELECT scope, "limit", used, held FROM pg_temp.levels(quota.check_amount('tra_ann', 'tra_p', 'credit=1'));
ROLLBACK;
SELECT scope, "limit", used, held FROM pg_temp.levels(quota.check_amount('tra_ann', 'tra_p', 'credit=1'));
-- The same in a savepoint; what was done before it and after it stays, and is counted once.
BEGIN;
SELECT pg_temp.reserve('before', 1);
SAVEPOINT one;
SELECT quota.set_limit('company:tra_acme/project:tra_p', 'credit', 20) IS NOT NULL AS done;
SELECT pg_temp.reserve('within', 1);
SELECT scope, "limit", used, held FROM pg_temp.levels(quota.check_amount('tra_ann', 'tra_p', 'credit=1'));
ROLLBACK TO one;
SELECT pg_temp.reserve('after', 1.25);
SELECT scope, "limit", used, held FROM pg_temp.levels(quota.check_amount('tra_ann', 'tra_p', 'credit=1'));
COMMIT;
SELECT * FROM pg_temp.see();
SELECT v.* FROM quota.verify('company:tra_acme') AS v;
-- Created before, between and after operations, dropped again, and committed: 9 of the share are enough for 0.25 only
-- when 1.25 have been given back.
BEGIN;
SELECT quota.set_limit('company:tra_acme/project:tra_p', 'credit', 9, 'day') AS day_limit \gset
SELECT pg_temp.settle('before', 0.5);
SELECT quota.set_limit('company:tra_acme/user:tra_ann', 'credit', 9) IS NOT NULL AS done;
SELECT pg_temp.reserve('between', 0.5);
SELECT quota.drop_limit(:day_limit), quota.set_limit('company:tra_acme/project:tra_p', 'calls', 5) IS NOT NULL AS done;
SELECT pg_temp.brief(quota.reserve('tra_ann', 'tra_p', 'tra-a', '{"input_tokens": 250, "max_output_tokens": 0}'));
SELECT pg_temp.brief(quota.release(pg_temp.id('after')));
SELECT pg_temp.keep('model', quota.reserve('tra_ann', 'tra_p', 'tra-a', '{"input_tokens": 250, "max_output_tokens": 0}'));
SELECT scope, resource, "limit", used, held FROM pg_temp.levels(quota.check('tra_ann', 'tra_p', 'tra-a', '{"input_tokens": 250, "max_output_tokens": 0}'));
COMMIT;
SELECT scope, resource, "limit", used, held FROM pg_temp.counters('company:tra_acme');
SELECT v.* FROM quota.verify('company:tra_acme') AS v;
-- An amount that is changed, and taken back.
BEGIN;
SELECT quota.set_limit('company:tra_acme', 'credit', 4, force => true) = :tra_limit AS same;
SELECT pg_temp.reserve('y', 1);
ROLLBACK;
SELECT pg_temp.reserve('y', 1), pg_temp.brief(quota.release(pg_temp.id('y')));
-- A company and all that belongs to it, made, used and thrown away.
BEGIN;
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:tra_new', 'company:tra_new/project:tra_new']) AS s;
SELECT quota.put_member('company:tra_new', 'tra_new'), quota.set_limit('company:tra_new', 'credit', 1) IS NOT NULL AS done;
SELECT pg_temp.brief(quota.reserve_amount('tra_new', 'tra_new', 'credit=1')), pg_temp.brief(quota.reserve_amount('tra_new', 'tra_new', 'credit=1'));
ROLLBACK;
SELECT pg_temp.brief(quota.reserve_amount('tra_new', 'tra_new', 'credit=1'));  -- fails
SELECT pg_temp.brief(quota.reserve_amount('tra_new', 'tra_p', 'credit=1'));  -- fails
-- A plan changes in the transaction that uses it.
SELECT quota.put_plan('tra_plan', '[{"resource": "storage", "amount": 5}]'), quota.put_account('company:tra_b', plan => 'tra_plan') IS NOT NULL AS done;
BEGIN;
SELECT pg_temp.brief(quota.reserve_amount('tra_ann', 'tra_b', 'storage=4'));
SELECT quota.put_plan('tra_plan', '[{"resource": "storage", "amount": 7}]');
SELECT pg_temp.brief(quota.reserve_amount('tra_ann', 'tra_b', 'storage=4')), pg_temp.brief(quota.reserve_amount('tra_ann', 'tra_b', 'storage=3'));
SELECT quota.put_plan('tra_plan', '[{"resource": "storage", "amount": 9}, {"resource": "storage", "amount": 8, "model": "tra-*"}]');
SELECT pg_temp.brief(quota.reserve_amount('tra_ann', 'tra_b', 'storage=2.5')), pg_temp.brief(quota.reserve_amount('tra_ann', 'tra_b', 'storage=2'));
COMMIT;
SELECT resource, model, "limit", used, held FROM pg_temp.counters('company:tra_b');
SELECT v.* FROM quota.verify('company:tra_b') AS v;
-- An account that is locked out and let in again.
BEGIN;
SELECT quota.put_account('company:tra_acme', false) IS NOT NULL AS done;
SELECT pg_temp.reserve('z', 1);
ROLLBACK;
SELECT pg_temp.reserve('z', 1), pg_temp.brief(quota.release(pg_temp.id('z')));

-- 6. What cannot be ------------------------------------------------------------------------------------------

BEGIN;
SELECT quota.reserve_amount('tra_ann', 'tra_p', 'credit=1') ->> 'allowed' AS allowed;
PREPARE TRANSACTION 'tra';  -- fails
BEGIN;
SELECT quota.check_amount('tra_ann', 'tra_p', 'credit=1') ->> 'allowed' AS allowed;
PREPARE TRANSACTION 'tra';  -- fails
BEGIN;
SELECT quota.put_member('company:tra_acme', 'tra_bob');
PREPARE TRANSACTION 'tra';  -- fails
BEGIN;
SELECT quota.adjust('company:tra_b', 'storage=1', 'no limit counts it') ->> 'state' AS state;
PREPARE TRANSACTION 'tra';  -- fails
SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'tra';
BEGIN READ ONLY;
SELECT quota.check_amount('tra_ann', 'tra_p', 'credit=1') ->> 'allowed' AS allowed, quota.remaining('tra_ann', 'tra_p'), quota.hold(pg_temp.id('a')) ->> 'state' AS state;
SAVEPOINT one;
SELECT quota.reserve_amount('tra_ann', 'tra_p', 'credit=1');  -- fails
ROLLBACK TO one;
SELECT quota.settle_amount(pg_temp.id('a'), 'credit=1');  -- fails
ROLLBACK TO one;
SELECT quota.release(pg_temp.id('a'));  -- fails
ROLLBACK TO one;
SELECT quota.extend(pg_temp.id('a'), ttl => '1 hour');  -- fails
ROLLBACK TO one;
SELECT quota.charge('tra_ann', 'tra_p', 'tra-a', '{"input_tokens": 1000, "output_tokens": 0}');  -- fails
ROLLBACK TO one;
SELECT quota.adjust('company:tra_acme', 'credit=2', 'read only');  -- fails
ROLLBACK;
BEGIN;
SELECT quota.check_amount('tra_ann', 'tra_p', 'credit=1') ->> 'allowed' AS allowed;
SAVEPOINT one;
SELECT * FROM quota.verify('company:tra_acme');  -- fails
ROLLBACK TO one;
SELECT quota.reload('company:tra_acme');  -- fails
ROLLBACK;

-- 7. Statements that fail --------------------------------------------------------------------------------------

\set VERBOSITY terse
-- The hold and the job's row together, or neither.
CREATE TEMP TABLE jobs (hold_id uuid, name text PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, size int CHECK (size > 0));
INSERT INTO jobs SELECT (quota.reserve_amount('tra_ann', 'tra_p', 'credit=1') ->> 'hold_id')::uuid, 'one', 0;  -- fails
SELECT * FROM pg_temp.see();
BEGIN;
INSERT INTO jobs SELECT (quota.reserve_amount('tra_ann', 'tra_p', 'credit=1') ->> 'hold_id')::uuid, 'one', 1 FROM generate_series(1, 2);
COMMIT;  -- fails
SELECT * FROM pg_temp.see();
SET statement_timeout = '50ms';
SELECT quota.reserve_amount('tra_ann', 'tra_p', 'credit=1') IS NOT NULL, pg_sleep(10);  -- fails
RESET statement_timeout;
SELECT * FROM pg_temp.see();
INSERT INTO jobs SELECT (quota.reserve_amount('tra_ann', 'tra_p', 'credit=1') ->> 'hold_id')::uuid, 'one', 1;
SELECT used, held, used_by_all, held_by_all FROM pg_temp.see();

-- Two roots in one transaction, in both orders.
BEGIN;
SELECT pg_temp.reserve('b1', 1, 'tra_b'), pg_temp.reserve('p1', 0.084, 'tra_p'), pg_temp.brief(quota.release(pg_temp.id('b1'))), pg_temp.reserve('b2', 1, 'tra_b');
COMMIT;
SELECT used, held, used_by_all, held_by_all FROM pg_temp.see('company:tra_b');

SELECT v.* FROM unnest(ARRAY['company:tra_acme', 'company:tra_b']) AS root, quota.verify(root::quota.scope) AS v;
SELECT pinned FROM quota.engine_stats;
