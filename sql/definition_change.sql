-- Verifies that, in one transaction that changes definitions and operates:
-- 1. an operation goes by the definitions as they are then, after a plan was changed too
-- 2. what a savepoint takes back, no operation goes by any more
-- 3. changes in subtransactions, one after the other, are those of one root
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;

-- Says whether ann gets so many credits in the project turn.
CREATE FUNCTION pg_temp.ask(credits numeric) RETURNS boolean LANGUAGE sql AS $$
    SELECT (quota.reserve_amount('ann', 'turn', format('credit=%s', credits)::quota.amount) -> 'allowed')::boolean
$$;
CREATE FUNCTION pg_temp.turn_limit() RETURNS bigint LANGUAGE sql AS $$
    SELECT limit_id FROM quota.limits WHERE scope::text = 'company:turn/project:turn'
$$;
DO $$
BEGIN
    PERFORM quota.put_account('company:turn');
    PERFORM quota.put_account('company:turn/project:turn');
    PERFORM quota.put_member('company:turn', 'ann');
    PERFORM quota.set_limit('company:turn/project:*', 'credit', 10);
END
$$;

-- 1. The default, a limit in its place, the default again
BEGIN;
SELECT quota.put_plan('turn_plan', '[{"resource": "credit", "amount": 1}]');
SELECT pg_temp.ask(5);
SELECT quota.set_limit('company:turn/project:turn', 'credit', 100) > 0 AS set;
SELECT pg_temp.ask(50);
SELECT quota.drop_limit(pg_temp.turn_limit());
SELECT pg_temp.ask(5); -- 55 of 10 are held
ROLLBACK;

BEGIN;
SELECT pg_temp.ask(5);
SELECT quota.set_limit('company:turn/project:turn', 'credit', 100) > 0 AS set;
SELECT pg_temp.ask(50);
SELECT quota.drop_limit(pg_temp.turn_limit());
SELECT pg_temp.ask(5); -- 55 of 10 are held
ROLLBACK;

-- 2. A limit that is taken back
BEGIN;
SELECT quota.put_plan('turn_plan', '[{"resource": "credit", "amount": 1}]');
SAVEPOINT limit_set;
SELECT quota.set_limit('company:turn/project:turn', 'credit', 100) > 0 AS set;
SELECT pg_temp.ask(60);
ROLLBACK TO limit_set;
SELECT pg_temp.ask(11); -- more than the default
SELECT pg_temp.ask(10);
ROLLBACK;

BEGIN;
SELECT pg_temp.ask(4);
SAVEPOINT limit_set;
SELECT quota.set_limit('company:turn/project:turn', 'credit', 100) > 0 AS set;
SELECT pg_temp.ask(60);
ROLLBACK TO limit_set;
SELECT pg_temp.ask(7); -- 4 of 10 are held
SELECT pg_temp.ask(6);
COMMIT;
SELECT quota.remaining('ann', 'turn');
SELECT * FROM quota.verify('company:turn');

-- 3. One root, a hundred subtransactions: nobody else has to wait
BEGIN;
DO $$
BEGIN
    FOR i IN 1 .. 100 LOOP
        BEGIN
            PERFORM quota.put_member('company:turn', 'user' || i);
        EXCEPTION WHEN division_by_zero THEN
            NULL;
        END;
    END LOOP;
END
$$;
SELECT pg_temp.ask(1);
SELECT mode FROM pg_locks
WHERE relation = 'quota.global_lock'::regclass AND pid = pg_backend_pid() ORDER BY mode;
ROLLBACK;
