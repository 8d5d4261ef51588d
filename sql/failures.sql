-- Verifies that, whatever goes wrong in the middle of a transaction, afterwards the counters are what the rows
-- of the ledger add up to, nothing is pinned or locked, and the next call works:
-- 1. a statement that is cancelled, runs out of time, or out of space for temporary files, after a call;
-- 2. blocks of PL/pgSQL within blocks, each of which may fail after its calls, in loops and in recursion;
-- 3. more subtransactions than PostgreSQL keeps in memory, rolled back from within and from without;
-- 4. cursors that are left open, fail, or are held over the end of their transaction;
-- 5. calls in triggers, also in deferred ones, of which some fail;
-- 6. calls in parallel plans are refused, in workers and beside them;
-- 7. a transaction that becomes read only, a role that may not call, a role that changes in between;
-- 8. procedures and DO blocks that commit and roll back in loops;
-- 9. definitions that are changed and used in what fails.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
\set VERBOSITY terse
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:fail', 'company:fail/project:fail_p']) AS s;
SELECT quota.put_member('company:fail', 'fail_ann');
SELECT count(quota.set_limit(s::quota.scope, 'credit', 1000)) AS limits FROM unnest(ARRAY['company:fail', 'company:fail/project:fail_p', 'company:fail/user:*']) AS s;

-- Holds so many credits.
CREATE FUNCTION pg_temp.hold(credits numeric) RETURNS uuid
LANGUAGE sql AS $$ SELECT (quota.reserve_amount('fail_ann', 'fail_p', ('credit=' || credits)::quota.amount) ->> 'hold_id')::uuid $$;
-- Holds them, and settles a tenth; returns what that charged.
CREATE FUNCTION pg_temp.spend(credits numeric) RETURNS numeric
LANGUAGE sql AS $$ SELECT (quota.settle_amount(pg_temp.hold(credits), ('credit=' || credits / 10)::quota.amount) -> 'charged' ->> 'credit')::numeric $$;
-- Divides by zero.
CREATE FUNCTION pg_temp.fail() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1 / 0; END $$;
-- How things stand: locks of this session, counters in use, counters that differ from the tables; what is used and
-- held, by the counters of every level and by the rows.
CREATE FUNCTION pg_temp.state(OUT locks bigint, OUT pinned bigint, OUT differences bigint, OUT used numeric, OUT held numeric, OUT levels_differ bigint, OUT rows_used numeric, OUT rows_held numeric)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT count(*) INTO locks FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation
    WHERE l.pid = pg_backend_pid() AND (l.locktype = 'object' OR c.relnamespace = 'quota'::regnamespace);
    SELECT s.pinned INTO pinned FROM quota.engine_stats s;
    SELECT count(*) INTO differences FROM quota.verify('company:fail');
    SELECT c.used, c.held INTO used, held FROM pg_temp.counters('company:fail') c WHERE c.scope = 'company:fail';
    SELECT count(*) INTO levels_differ FROM pg_temp.counters('company:fail') c WHERE (c.used, c.held) IS DISTINCT FROM (state.used, state.held);
    SELECT coalesce(sum((e.charged::jsonb ->> 'credit')::numeric), 0) INTO rows_used FROM quota.events e WHERE e.scope <@ 'company:fail';
    SELECT coalesce(sum((h.amount::jsonb ->> 'credit')::numeric), 0) INTO rows_held FROM quota.holds h WHERE h.scope <@ 'company:fail';
END
$$;
SELECT pg_temp.hold(1) AS kept_hold \gset
SELECT * FROM pg_temp.state();

-- 1. Interrupted ---------------------------------------------------------------------------------------

-- After it has held, settled, released and prolonged, each above what was there.
CREATE FUNCTION pg_temp.everything() RETURNS bigint
LANGUAGE sql AS $$
    SELECT count(*) FROM (SELECT pg_temp.hold(2)) a, (SELECT pg_temp.spend(30)) b, (SELECT quota.release(pg_temp.hold(3))) c,
        (SELECT quota.adjust('company:fail', 'credit=-0.5', 'refund')) d,
        (SELECT quota.extend(h.hold_id, ttl => '1 hour') FROM quota.holds h WHERE h.scope <@ 'company:fail' LIMIT 1) e
$$;
SELECT pg_temp.everything(), pg_cancel_backend(pg_backend_pid()), pg_sleep(60);  -- fails
SELECT * FROM pg_temp.state();
SET statement_timeout = '100ms';
SELECT pg_temp.everything(), pg_sleep(60);  -- fails
RESET statement_timeout;
SELECT * FROM pg_temp.state();
SET temp_file_limit = '64kB';
SET work_mem = '64kB';
\set VERBOSITY sqlstate
SELECT pg_temp.everything(), (SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) n ORDER BY n DESC OFFSET 1) s);  -- fails
\set VERBOSITY terse
SELECT * FROM pg_temp.state();
-- A load needs no such space, here of two thousand holds.
SET temp_file_limit = 0;
DO $$ BEGIN FOR turn IN 1 .. 2000 LOOP PERFORM quota.reserve_amount('fail_ann', 'fail_p', 'credit=0.001', ttl => '1 minute'); END LOOP; END $$;
SELECT quota.reload('company:fail');
SELECT * FROM pg_temp.state();
RESET temp_file_limit;
RESET work_mem;
SET xavier_quota.clock = '2026-03-10 12:02+00';
SELECT quota._expire_holds(a.root_id, a.scope, 10000) FROM quota.accounts a WHERE a.scope = 'company:fail';
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT * FROM pg_temp.state();

-- 2. Blocks within blocks --------------------------------------------------------------------------------

-- At every depth: hold 1, go deeper, spend 1; a depth that divides the mark fails after that.
CREATE FUNCTION pg_temp.descend(depth int, mark int) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF depth = 0 THEN
        RETURN;
    END IF;
    PERFORM pg_temp.hold(1);
    BEGIN
        PERFORM pg_temp.descend(depth - 1, mark);
        PERFORM pg_temp.spend(1);
        IF mark % depth = 0 THEN
            RAISE EXCEPTION 'depth % fails', depth;
        END IF;
    EXCEPTION WHEN raise_exception THEN
        NULL;
    END;
END
$$;
-- Depth 7 is called first. It holds 1 and calls 6, and so on: what survives is above the highest that fails, and its own hold.
BEGIN;
SELECT mark, pg_temp.descend(7, mark), (SELECT count(*) FROM quota.holds h WHERE h.scope <@ 'company:fail') AS holds_so_far FROM unnest(ARRAY[7, 6, 5, 11]) AS mark;
COMMIT;
-- Holds: 1, then 1 for mark 7, 2 for 6, 3 for 5, and 7 for 11, whose depth 1 fails. Spent: 0, 1, 2 and 6 times a tenth.
SELECT * FROM pg_temp.state();
SELECT count(quota.release(h.hold_id)) AS released FROM quota.holds h WHERE h.scope <@ 'company:fail' AND h.hold_id <> :'kept_hold';

-- A thousand turns: each holds; within it a block that spends and fails in one of five ways, or does not; in every
-- third turn a block around both fails.
DO $$
DECLARE
    survived int := 0;
BEGIN
    FOR turn IN 1 .. 1000 LOOP
        BEGIN
            PERFORM quota.release(pg_temp.hold(1));
            BEGIN
                PERFORM pg_temp.spend(0.1);
                CASE turn % 6
                    WHEN 0 THEN PERFORM 1 / 0;
                    WHEN 1 THEN PERFORM quota.reserve_amount('fail_ann', 'no such project', 'credit=1');
                    WHEN 2 THEN PERFORM quota.settle_amount('00000000-0000-8000-8000-000000000001', 'credit=1');
                    WHEN 3 THEN PERFORM quota.reserve_amount('fail_ann', 'fail_p', 'credit=1', ttl => '100 years');
                    WHEN 4 THEN PERFORM quota.release(e.hold_id) FROM quota.events e WHERE e.scope <@ 'company:fail' AND e.kind = 'settled' LIMIT 1;
                    ELSE survived := survived + 1;
                END CASE;
            EXCEPTION WHEN OTHERS THEN
                NULL;
            END;
            IF turn % 3 = 0 THEN
                RAISE EXCEPTION 'turn % fails', turn;
            END IF;
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END LOOP;
    RAISE NOTICE '% turns have spent 0.01', survived;
END
$$;
SELECT * FROM pg_temp.state();

-- 3. Many subtransactions ----------------------------------------------------------------------------------

-- 200 within each other: the deepest 100 are rolled back at once; then a hundred side by side, each second of which fails.
CREATE FUNCTION pg_temp.nest(depth int, fails_at int) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM quota.release(pg_temp.hold(0.01));
    PERFORM pg_temp.hold(0.01);
    IF depth > 1 THEN
        BEGIN
            PERFORM pg_temp.nest(depth - 1, fails_at);
            IF depth = fails_at THEN
                RAISE EXCEPTION 'depth % fails', depth;
            END IF;
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END IF;
END
$$;
BEGIN;
SELECT pg_temp.nest(200, 101);
SELECT locks > 0 AS locked, pinned > 0 AS pinned FROM (SELECT count(*) AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'object') l, quota.engine_stats;
DO $$
BEGIN
    FOR turn IN 1 .. 100 LOOP
        BEGIN
            PERFORM pg_temp.hold(0.01);
            IF turn % 2 = 0 THEN
                RAISE EXCEPTION 'turn % fails', turn;
            END IF;
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END LOOP;
END
$$;
COMMIT;
-- 1 and 150 times 0.01 are held.
SELECT * FROM pg_temp.state();
BEGIN;
SELECT pg_temp.nest(200, 0);
ROLLBACK;
SELECT * FROM pg_temp.state();
SELECT count(quota.release(h.hold_id)) AS released FROM quota.holds h WHERE h.scope <@ 'company:fail' AND h.hold_id <> :'kept_hold';

-- 4. Cursors --------------------------------------------------------------------------------------------------

-- Left open at the end: what was fetched was held.
BEGIN;
DECLARE five CURSOR FOR SELECT pg_temp.hold(n) IS NOT NULL AS held FROM generate_series(1, 5) n;
FETCH 2 FROM five;
COMMIT;
SELECT * FROM pg_temp.state();
BEGIN;
DECLARE five CURSOR FOR SELECT pg_temp.hold(n) IS NOT NULL AS held FROM generate_series(1, 5) n;
FETCH 2 FROM five;
ROLLBACK;
SELECT * FROM pg_temp.state();
-- Held over the end: the commit fetches the rest. (If it could scroll, it would begin anew.)
BEGIN;
DECLARE five NO SCROLL CURSOR WITH HOLD FOR SELECT pg_temp.hold(n) IS NOT NULL AS held FROM generate_series(1, 5) n;
FETCH 2 FROM five;
COMMIT;
SELECT * FROM pg_temp.state();
FETCH ALL FROM five;
CLOSE five;
SELECT * FROM pg_temp.state();
-- The rest fails: so does the commit.
BEGIN;
SELECT pg_temp.hold(9) IS NOT NULL AS held;
DECLARE five NO SCROLL CURSOR WITH HOLD FOR SELECT CASE WHEN n < 4 THEN pg_temp.hold(n) IS NOT NULL ELSE pg_temp.fail() IS NOT NULL END AS held FROM generate_series(1, 5) n;
FETCH 2 FROM five;
COMMIT;  -- fails
SELECT * FROM pg_temp.state();
-- It fails in a savepoint, and in a loop over it.
BEGIN;
DECLARE five CURSOR FOR SELECT CASE WHEN n < 4 THEN pg_temp.hold(n) IS NOT NULL ELSE pg_temp.fail() IS NOT NULL END AS held FROM generate_series(1, 5) n;
FETCH 2 FROM five;
SAVEPOINT one;
FETCH 2 FROM five;  -- fails
ROLLBACK TO one;
SELECT pg_temp.spend(1);
COMMIT;
SELECT * FROM pg_temp.state();
DO $$
DECLARE
    turn text;
BEGIN
    FOR turn IN SELECT CASE WHEN n < 4 THEN pg_temp.hold(n) IS NOT NULL ELSE pg_temp.fail() IS NOT NULL END FROM generate_series(1, 5) n LOOP
        PERFORM pg_temp.spend(1);
    END LOOP;
EXCEPTION WHEN division_by_zero THEN
    PERFORM pg_temp.spend(1);
END
$$;
SELECT * FROM pg_temp.state();
SELECT count(quota.release(h.hold_id)) AS released FROM quota.holds h WHERE h.scope <@ 'company:fail' AND h.hold_id <> :'kept_hold';

-- 5. Triggers ---------------------------------------------------------------------------------------------------

CREATE TEMP TABLE jobs (name text PRIMARY KEY, credits numeric CHECK (credits < 100), hold_id uuid);
CREATE FUNCTION pg_temp.before_job() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM quota.release(OLD.hold_id);
        RETURN OLD;
    END IF;
    NEW.hold_id := pg_temp.hold(NEW.credits);
    RETURN NEW;
END
$$;
CREATE FUNCTION pg_temp.at_commit() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_temp.spend(NEW.credits);
    IF NEW.name LIKE 'bad%' THEN
        RAISE EXCEPTION 'job % is bad', NEW.name;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER before_job BEFORE INSERT OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION pg_temp.before_job();
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.at_commit();
INSERT INTO jobs VALUES ('a', 1), ('b', 2);
SELECT * FROM pg_temp.state();
INSERT INTO jobs VALUES ('c', 3), ('d', 100);  -- fails
SELECT * FROM pg_temp.state();
INSERT INTO jobs VALUES ('c', 3), ('a', 1);  -- fails
SELECT * FROM pg_temp.state();
-- Fails at the commit, after the second of three has spent.
BEGIN;
INSERT INTO jobs VALUES ('e', 5), ('bad f', 6), ('g', 7);
SELECT count(*) FROM jobs;
COMMIT;  -- fails
SELECT * FROM pg_temp.state();
-- In a savepoint that is rolled back, its deferred trigger does not fire; made immediate, it fails there.
BEGIN;
SAVEPOINT one;
INSERT INTO jobs VALUES ('bad h', 8);
ROLLBACK TO one;
INSERT INTO jobs VALUES ('bad i', 9);
SAVEPOINT two;
SET CONSTRAINTS ALL IMMEDIATE;  -- fails
ROLLBACK TO two;
DELETE FROM jobs WHERE name IN ('a', 'bad i');
COMMIT;  -- fails
SELECT * FROM pg_temp.state();
DELETE FROM jobs;
SELECT * FROM pg_temp.state();

-- 6. Parallel plans ----------------------------------------------------------------------------------------------

-- Calls are PARALLEL UNSAFE; a function of somebody's own may claim otherwise, and must not get anywhere.
CREATE FUNCTION public.fail_parallel(how text) RETURNS text
LANGUAGE plpgsql PARALLEL SAFE AS $$
BEGIN
    CASE how
        WHEN 'check' THEN RETURN quota.check_amount('fail_ann', 'fail_p', 'credit=1') ->> 'state';
        WHEN 'reserve' THEN RETURN quota.reserve_amount('fail_ann', 'fail_p', 'credit=1') ->> 'state';
        WHEN 'remaining' THEN RETURN quota.remaining('fail_ann', 'fail_p');
        WHEN 'verify' THEN RETURN count(*) FROM quota.verify('company:fail');
        WHEN 'adjust' THEN RETURN quota.adjust('company:fail', 'credit=1', 'parallel') ->> 'state';
    END CASE;
END
$$;
CREATE FUNCTION public.fail_beside(how text) RETURNS text
LANGUAGE sql PARALLEL RESTRICTED VOLATILE AS 'SELECT public.fail_parallel(how)';
-- Of different names in 15 and 16.
SELECT set_config(name, 'on', false) AS parallel FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT fail_parallel('check');  -- fails
SELECT fail_parallel('reserve');  -- fails
SELECT fail_parallel('remaining');  -- fails
SELECT fail_parallel('verify');  -- fails
SELECT fail_parallel('adjust');  -- fails
-- In the leader, while workers may run.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT count(fail_beside('check')) FROM pg_class;  -- fails
SELECT count(fail_beside('reserve')) FROM pg_class;  -- fails
-- A plan that calls the functions themselves is not made parallel.
SELECT count(quota.release(pg_temp.hold(1))) FROM (SELECT FROM pg_class LIMIT 10) c;
SELECT set_config(name, 'off', false) AS parallel FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
SELECT * FROM pg_temp.state();
DROP FUNCTION public.fail_beside(text), public.fail_parallel(text);

-- 7. Read only, and other roles ----------------------------------------------------------------------------------

BEGIN;
SELECT pg_temp.spend(1);
SET TRANSACTION READ ONLY;
SAVEPOINT one;
SELECT pg_temp.spend(1);  -- fails
ROLLBACK TO one;
COMMIT;
SELECT * FROM pg_temp.state();
SET default_transaction_read_only = on;
SELECT pg_temp.hold(1);  -- fails
SET default_transaction_read_only = off;

CREATE ROLE regress_fail_nobody;
CREATE ROLE regress_fail_service;
SELECT quota.grant_access('regress_fail_service', 'service');
SET ROLE regress_fail_nobody;
SELECT quota.reserve_amount('fail_ann', 'fail_p', 'credit=1');  -- fails
BEGIN;
SET LOCAL ROLE regress_fail_service;
SELECT quota.reserve_amount('fail_ann', 'fail_p', 'credit=5') ->> 'allowed' AS allowed;
SAVEPOINT one;
SET LOCAL ROLE regress_fail_nobody;
SELECT quota.reserve_amount('fail_ann', 'fail_p', 'credit=6');  -- fails
ROLLBACK TO one;
SELECT current_user, quota.reserve_amount('fail_ann', 'fail_p', 'credit=7') ->> 'allowed' AS allowed;
SAVEPOINT two;
SELECT quota.reserve_amount('fail_ann', 'no such project', 'credit=1');  -- fails
ROLLBACK TO two;
SELECT current_user;
COMMIT;
SELECT current_user;
RESET ROLE;
SELECT * FROM pg_temp.state();
SELECT count(quota.release(h.hold_id)) AS released FROM quota.holds h WHERE h.scope <@ 'company:fail' AND h.hold_id <> :'kept_hold';
SELECT quota.revoke_access('regress_fail_service', 'service');
DROP ROLE regress_fail_nobody, regress_fail_service;

-- 8. Transactions within procedures --------------------------------------------------------------------------------

-- Of three turns one is committed, one rolled back, one is committed after a block of it has failed.
CREATE PROCEDURE public.fail_turns(turns int)
LANGUAGE plpgsql AS $$
BEGIN
    FOR turn IN 1 .. turns LOOP
        PERFORM pg_temp.spend(1), pg_temp.hold(0.01);
        IF turn % 3 = 0 THEN
            COMMIT;
        ELSIF turn % 3 = 1 THEN
            ROLLBACK;
        ELSE
            BEGIN
                PERFORM pg_temp.spend(1), pg_temp.fail();
            EXCEPTION WHEN division_by_zero THEN
                PERFORM pg_temp.spend(1);
            END;
            COMMIT;
        END IF;
    END LOOP;
END
$$;
CALL public.fail_turns(60);
-- 20 times 0.1 and 20 times 0.2 more are used, 40 times 0.01 more are held.
SELECT * FROM pg_temp.state();
DO $$
BEGIN
    PERFORM pg_temp.spend(1);
    COMMIT;
    PERFORM pg_temp.spend(1);
    ROLLBACK;
    PERFORM pg_temp.spend(1);
    COMMIT AND CHAIN;
    PERFORM pg_temp.spend(1), pg_temp.fail();
END
$$;  -- fails
SELECT * FROM pg_temp.state();
-- A loop over a query that holds, committed in every turn: the first commit runs the query to its end.
DO $$
DECLARE
    turn text;
BEGIN
    FOR turn IN SELECT CASE WHEN pg_temp.hold(0.01) IS NOT NULL THEN n END FROM generate_series(1, 5) n LOOP
        COMMIT;
    END LOOP;
END
$$;
SELECT * FROM pg_temp.state();
-- In a transaction block, and in one of PL/pgSQL, there is none to commit.
BEGIN;
CALL public.fail_turns(3);  -- fails
ROLLBACK;
DO $$ BEGIN PERFORM pg_temp.spend(1); COMMIT; PERFORM pg_temp.spend(1); BEGIN PERFORM pg_temp.spend(1); COMMIT; EXCEPTION WHEN division_by_zero THEN NULL; END; END $$;  -- fails
SELECT * FROM pg_temp.state();
DROP PROCEDURE public.fail_turns(int);
SELECT count(quota.release(h.hold_id)) AS released FROM quota.holds h WHERE h.scope <@ 'company:fail' AND h.hold_id <> :'kept_hold';

-- 9. Definitions ------------------------------------------------------------------------------------------------------

-- Made, used and undone, in blocks, in a function, at the commit.
BEGIN;
SELECT pg_temp.hold(2) IS NOT NULL AS held;
DO $$
BEGIN
    FOR turn IN 1 .. 20 LOOP
        BEGIN
            PERFORM quota.set_limit('company:fail/project:fail_p', 'credit', 900 + turn, 'day');
            PERFORM pg_temp.spend(1);
            RAISE EXCEPTION 'turn % fails', turn;
        EXCEPTION WHEN raise_exception THEN
            PERFORM pg_temp.spend(0.1);
        END;
    END LOOP;
END
$$;
COMMIT;
SELECT * FROM pg_temp.state();
BEGIN;
SELECT quota.set_limit('company:fail/project:fail_p', 'credit', 900, 'day') IS NOT NULL AS done, pg_temp.spend(1);
INSERT INTO jobs VALUES ('bad j', 1);
COMMIT;  -- fails
SELECT * FROM pg_temp.state();
SELECT quota.set_limit('company:fail/project:fail_p', 'credit', 900, 'day') IS NOT NULL AS done, pg_temp.spend(1), pg_temp.fail();  -- fails
SELECT * FROM pg_temp.state();
SELECT quota.remaining('fail_ann', 'fail_p');

SELECT count(quota.release(h.hold_id)) AS released FROM quota.holds h WHERE h.scope <@ 'company:fail';
SELECT * FROM pg_temp.state();
