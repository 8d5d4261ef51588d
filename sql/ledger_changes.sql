-- Verifies that:
-- 1. a DBA may add columns and indexes to the ledger, on expressions and with a predicate
-- 2. a write to the ledger that is not the engine's is noticed, in a partition too
-- 3. without any partition an event is refused
-- 4. a definition can be changed and the extension dropped in one transaction, and
--    made afresh in one session
-- 5. calls that fail leave nothing behind in the memory of the session
SET client_min_messages = warning;
CREATE DATABASE regress_quota_ledger;
\c regress_quota_ledger
SET client_min_messages = warning;
CREATE EXTENSION xavier_quota;
RESET client_min_messages;
\set VERBOSITY terse

CREATE FUNCTION pg_temp.define(credits numeric) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM quota.put_account('company:ledger');
    PERFORM quota.put_account('company:ledger/project:apollo');
    PERFORM quota.put_member('company:ledger', 'ann');
    PERFORM quota.set_limit('company:ledger', 'credit', credits);
    RETURN quota.remaining('ann', 'apollo');
END
$$;
SELECT pg_temp.define(100);

-- 1. Columns and indexes of a DBA
ALTER TABLE quota.holds ADD COLUMN note text;
ALTER TABLE quota.events ADD COLUMN note text;
ALTER TABLE quota.keys ADD COLUMN note text;
CREATE INDEX holds_upper ON quota.holds (upper(user_id));
CREATE INDEX holds_again ON quota.holds (user_id) WHERE seq > 1;
CREATE INDEX events_released ON quota.events_default (root_id) WHERE kind = 'released';
SELECT v ->> 'hold_id' AS hold FROM quota.reserve_amount('ann', 'apollo', 'credit=10', 'key') v \gset
SELECT quota.extend(:'hold', ttl => '1 hour') -> 'allowed' AS allowed;
SELECT quota.reserve_amount('ann', 'apollo', 'credit=10', 'key') -> 'replayed' AS replayed;
SET enable_seqscan = off;
SELECT count(*) FROM quota.holds WHERE upper(user_id) = 'ANN';
SELECT count(*) FROM quota.holds WHERE user_id = 'ann' AND seq > 1;
SELECT quota.settle_amount(:'hold', 'credit=4') ->> 'state' AS state;
SELECT count(*) FROM quota.holds WHERE upper(user_id) = 'ANN';
SELECT count(*) FROM quota.events_default WHERE root_id > 0 AND kind = 'released';
SELECT quota.release((quota.reserve_amount('ann', 'apollo', 'credit=1') ->> 'hold_id')::uuid) ->> 'state' AS state;
SELECT count(*) FROM quota.events_default WHERE root_id > 0 AND kind = 'released';
RESET enable_seqscan;
DROP INDEX quota.holds_upper, quota.holds_again, quota.events_released;
ALTER TABLE quota.holds DROP COLUMN note;
SELECT quota.remaining('ann', 'apollo');
SELECT * FROM quota.verify();

-- 2. Writes that are not the engine's
INSERT INTO quota.events (hold_id, seq, kind, root_id, levels, scope, held, charged, held_at, recorded_at, origin, xid)
SELECT gen_random_uuid(), 1, 'charge', root_id, ARRAY[root_id], 'company:ledger', '', 'credit=20', quota.now(),
       quota.now(), quota._system_identifier(), pg_current_xact_id()
FROM quota.accounts WHERE parent_id IS NULL;
SELECT quota.remaining('ann', 'apollo');
TRUNCATE quota.events_default;
SELECT quota.remaining('ann', 'apollo');
SELECT quota._create_partition('2030-01-15');
SELECT tgname, tgenabled FROM pg_trigger
WHERE tgrelid = 'quota.events_2030_01'::regclass AND NOT tgisinternal ORDER BY tgname;

-- 3. No partition
BEGIN;
DROP TABLE quota.events_2030_01;
ALTER TABLE quota.events DETACH PARTITION quota.events_default;
SELECT quota.adjust('company:ledger', 'credit=1', 'nowhere to go'); -- fails
ROLLBACK;
SELECT quota.remaining('ann', 'apollo');

-- 4. Changed, dropped, made afresh
BEGIN;
SELECT quota.set_limit('company:ledger', 'calls', 5) > 0 AS set;
SET CONSTRAINTS ALL IMMEDIATE;
DROP TABLE quota.events_2030_01;
DROP EXTENSION xavier_quota;
COMMIT;
SET client_min_messages = warning;
CREATE EXTENSION xavier_quota;
RESET client_min_messages;
SELECT pg_temp.define(50);
BEGIN;
SELECT quota.reserve_amount('ann', 'apollo', 'credit=30') -> 'allowed' AS allowed;
DROP EXTENSION xavier_quota;
ROLLBACK;
SELECT quota.remaining('ann', 'apollo');
SELECT quota.reserve_amount('ann', 'apollo', 'credit=50') -> 'allowed' AS allowed;
SELECT * FROM quota.verify();

-- 5. Failures
CREATE FUNCTION pg_temp.fail(calls integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. calls LOOP
        BEGIN
            PERFORM quota.check_amount('nobody', 'apollo', 'credit=1');
        EXCEPTION WHEN SQLSTATE 'XQ001' THEN
            NULL;
        END;
    END LOOP;
END
$$;
SELECT pg_temp.fail(1);
SELECT sum(total_bytes) AS bytes FROM pg_backend_memory_contexts WHERE name LIKE 'xavier%' \gset
SELECT pg_temp.fail(100);
SELECT sum(total_bytes) - :bytes AS more FROM pg_backend_memory_contexts WHERE name LIKE 'xavier%';
SELECT * FROM quota._limit_levels(NULL, NULL); -- fails

\c contrib_regression
DROP DATABASE regress_quota_ledger;
