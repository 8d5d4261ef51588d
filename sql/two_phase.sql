-- Verifies that:
-- 1. holds behave as two-phase transfers do, wherever this design agrees: the cases are facts about
--    TigerBeetle (tigerbeetle/tigerbeetle at 52ad553f, docs/coding/two-phase-transfers.md and
--    src/state_machine_tests.zig) in the words of this extension: limit = credits posted,
--    used = debits posted, held = debits pending;
-- 2. where the design has a rule of its own, that rule holds: use above the hold and late use are
--    recorded, what is repeated is answered again, and a refusal is not remembered.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'

-- The cases: what is there before, the steps, what each is answered, and what is there afterwards.
--     hold ID AMOUNT [TTL]   reserve_amount() with a key made of the ID
--     settle ID AMOUNT       settle_amount()
--     charge AMOUNT ID       adjust() with the key of the ID
--     release ID             release()
--     wait SECONDS, expire   moves the clock, runs the job
CREATE TEMP TABLE cases (
    id text PRIMARY KEY, name text, "limit" numeric, used_before numeric, held_before numeric, steps text[], answers text,
    used numeric, held numeric, available numeric);

-- What TigerBeetle does, and so does this: answers translated, numbers as they are.
INSERT INTO cases VALUES
    ('tb-h01', 'settle the full hold', 1000, 0, 0, '{hold 1 123, settle 1 123}', 'held, settled', 123, 0, 877),
    ('tb-h02', 'settle less than the hold: the rest is given back', 1000, 0, 0, '{hold 1 123, settle 1 100}', 'held, settled', 100, 0, 900),
    ('tb-h03', 'release: nothing is used', 1000, 0, 0, '{hold 1 123, release 1}', 'held, released', 0, 0, 1000),
    ('tb-h05', 'used 70 of 100: 50 does not fit', 100, 70, 0, '{hold 1 50}', 'refused', 70, 0, 30),
    ('tb-h06', 'exactly what is available', 100, 70, 0, '{hold 1 30}', 'held', 70, 30, 0),
    ('tb-h07', 'one above what is available', 100, 70, 0, '{hold 1 31}', 'refused', 70, 0, 30),
    ('tb-h08', 'what is held counts', 100, 30, 60, '{hold 1 11, hold 2 10}', 'refused, held', 30, 70, 0),
    ('tb-h12', 'settle 0: all is given back, and the hold is settled', 100, 0, 0, '{hold 1 1, settle 1 0, release 1}', 'held, settled, XQ101', 0, 0, 100),
    ('tb-h20', 'still valid before its time', 100, 0, 0, '{hold 1 15 50s, wait 1, expire, settle 1 13}', 'held, expired 0, settled', 13, 0, 87),
    ('tb-h21', 'staggered expiry after 1 s', 100, 0, 0, '{hold 1 10, hold 2 11 1s, hold 3 12 2s, hold 4 13 3s, wait 1, expire}', 'held, held, held, held, expired 1', 0, 35, 65),
    ('tb-h22', 'staggered expiry after 2 s', 100, 0, 0, '{hold 1 10, hold 2 11 1s, hold 3 12 2s, hold 4 13 3s, wait 2, expire}', 'held, held, held, held, expired 2', 0, 23, 77),
    ('tb-h23', 'staggered expiry after 3 s', 100, 0, 0, '{hold 1 10, hold 2 11 1s, hold 3 12 2s, hold 4 13 3s, wait 3, expire}', 'held, held, held, held, expired 3', 0, 10, 90),
    ('tb-h25', 'what expired holds free is there for a new one', 10, 0, 0, '{hold 1 10 1s, hold 2 1, wait 1, hold 3 10}', 'held, refused, held', 0, 10, 0),
    ('tb-h26', 'the same key and content', 1000, 0, 0, '{hold 5 123, hold 5 123}', 'held, exists', 0, 123, 877),
    ('tb-h27', 'the same key, another amount', 1000, 0, 0, '{hold 5 123, hold 5 124}', 'held, XQ103', 0, 123, 877),
    ('tb-h28', 'the same key, another call', 1000, 0, 0, '{hold 5 123, charge 123 5}', 'held, XQ103', 0, 123, 877),
    ('tb-h33', 'settle an unknown hold', 10, 0, 0, '{settle 77 5}', 'XQ004', 0, 0, 10),
    ('tb-h38', 'settle two holds that fill the limit', 10, 0, 0, '{hold 1 3, hold 2 7, settle 1 3, settle 2 5}', 'held, held, settled, settled', 8, 0, 2),
    ('tb-h41', 'use of 0 is allowed at a limit of 0', 0, 0, 0, '{charge 0 8}', 'charged', 0, 0, 0),
    ('tb-h42', 'a settlement within its hold never breaks the limit', 100, 0, 0, '{hold 1 60, hold 2 40, settle 1 60, settle 2 40}', 'held, held, settled, settled', 100, 0, 0);

-- Where TigerBeetle refuses, this has rules of its own: what was used is recorded, a call that is repeated gets
-- its first answer.
INSERT INTO cases VALUES
    ('tb-h10', 'settle above the hold: recorded in full, and flagged', 100, 0, 0, '{hold 1 7, settle 1 8, settle 1 7}', 'held, settled above, settled before ignored above', 8, 0, 92),
    ('tb-h13', 'settled twice: the first receipt', 100, 0, 0, '{hold 1 15, settle 1 13, settle 1 2}', 'held, settled, settled before ignored', 13, 0, 87),
    ('tb-h15', 'settle after release: late', 100, 0, 0, '{hold 1 15, release 1, settle 1 13}', 'held, released, settled late', 13, 0, 87),
    ('tb-h16', 'released twice', 100, 0, 0, '{hold 1 15, release 1, release 1}', 'held, released, released before', 0, 0, 100),
    ('tb-h17', 'release after expiry', 100, 0, 0, '{hold 1 15 1s, wait 1, expire, release 1}', 'held, expired 1, expired before', 0, 0, 100),
    ('tb-h18', 'settle after expiry: late', 100, 0, 0, '{hold 1 11 1s, wait 1, expire, settle 1 11}', 'held, expired 1, settled late', 11, 0, 89),
    ('tb-h30', 'settle again with another amount', 1000, 0, 0, '{hold 2 15, settle 2 13, settle 2 14}', 'held, settled, settled before ignored', 13, 0, 987),
    ('tb-h32', 'a key that was refused can be tried again', 10, 0, 0, '{hold 1 11, hold 1 5}', 'refused, held', 0, 5, 5);

-- Takes one step, and says what it was answered.
CREATE FUNCTION pg_temp.take(root quota.scope, step text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    project text := root::text || '/project:p';
    word text[] := string_to_array(step, ' ');
    answer jsonb;
BEGIN
    CASE word[1]
        WHEN 'hold' THEN
            answer := quota.reserve_amount('tb_user', project, ('credit=' || word[3])::quota.amount, 'key ' || word[2],
                                           coalesce(word[4], '15 minutes')::interval);
            PERFORM pg_temp.keep(word[2], answer);
            RETURN CASE WHEN NOT (answer ->> 'allowed')::boolean THEN 'refused' WHEN (answer ->> 'replayed')::boolean THEN 'exists' ELSE 'held' END;
        WHEN 'settle' THEN
            answer := quota.settle_amount(coalesce(pg_temp.id(word[2]), '00000000-0000-8000-8000-000000000077'), ('credit=' || word[3])::quota.amount);
            RETURN concat_ws(' ', answer ->> 'state', CASE WHEN (answer ->> 'replayed')::boolean THEN 'before' END,
                             CASE WHEN (answer ->> 'late')::boolean THEN 'late' END, CASE WHEN answer ? 'ignored' THEN 'ignored' END,
                             CASE WHEN answer -> 'overage' ? 'credit' THEN 'above' END);
        WHEN 'release' THEN
            answer := quota.release(pg_temp.id(word[2]));
            RETURN concat_ws(' ', answer ->> 'state', CASE WHEN (answer ->> 'replayed')::boolean THEN 'before' END);
        WHEN 'charge' THEN
            answer := quota.adjust(root, ('credit=' || word[2])::quota.amount, 'direct', 'key ' || word[3]);
            RETURN 'charged';
        WHEN 'wait' THEN
            PERFORM set_config('xavier_quota.clock', (quota.now() + make_interval(secs => word[2]::int))::text, false);
            RETURN NULL;
        WHEN 'expire' THEN
            RETURN 'expired ' || (SELECT quota._run_step('expire', a.root_id, a.scope) FROM quota.accounts a WHERE a.scope = root);
    END CASE;
EXCEPTION WHEN SQLSTATE 'XQ004' OR SQLSTATE 'XQ101' OR SQLSTATE 'XQ102' OR SQLSTATE 'XQ103' THEN
    RETURN SQLSTATE;
END
$$;

-- Plays all cases, each on a root of its own: every step a transaction, or all of them one.
CREATE TEMP TABLE played (id text, apart boolean, answers text, used numeric, held numeric, available numeric);
CREATE PROCEDURE pg_temp.play(apart boolean)
LANGUAGE plpgsql AS $$
DECLARE
    played_case record;
    root quota.scope;
    step text;
    answers text[];
    level jsonb;
BEGIN
    FOR played_case IN SELECT * FROM pg_temp.cases ORDER BY id LOOP
        root := format('company:%s_%s', replace(played_case.id, '-', '_'), CASE WHEN apart THEN 'apart' ELSE 'together' END);
        answers := '{}';
        PERFORM set_config('xavier_quota.clock', '2026-03-10 12:00+00', false);
        DELETE FROM pg_temp.kept;
        PERFORM quota.put_account(root), quota.put_account((root::text || '/project:p')::quota.scope);
        PERFORM quota.put_member(root, 'tb_user'), quota.set_limit(root, 'credit', played_case."limit");
        PERFORM quota.adjust(root, ('credit=' || played_case.used_before)::quota.amount, 'used before');
        PERFORM quota.reserve_amount('tb_user', root::text || '/project:p', ('credit=' || played_case.held_before)::quota.amount);
        FOREACH step IN ARRAY played_case.steps LOOP
            IF apart THEN
                COMMIT;
            END IF;
            answers := array_remove(answers || pg_temp.take(root, step), NULL);
        END LOOP;
        IF apart THEN
            COMMIT;
        END IF;
        level := quota.check_amount('tb_user', root::text || '/project:p', 'credit=0.000001') -> 'levels' -> 0;
        INSERT INTO pg_temp.played VALUES (played_case.id, apart, array_to_string(answers, ', '),
            (level ->> 'used')::numeric, (level ->> 'held')::numeric, (level ->> 'remaining')::numeric);
    END LOOP;
END
$$;
CALL pg_temp.play(apart => true);
CALL pg_temp.play(apart => false);
SELECT c.id, c.name, p.answers, bool_and(p.answers = c.answers AND (p.used, p.held, p.available) = (c.used, c.held, c.available)) AS as_expected, count(*) AS times
FROM pg_temp.cases c JOIN pg_temp.played p USING (id)
GROUP BY c.id, c.name, p.answers ORDER BY c.id;

-- One transaction, all or nothing (tb-h40): both, or neither.
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT quota.put_account('company:tb_h40') IS NOT NULL AS done, quota.put_account('company:tb_h40/project:p') IS NOT NULL AS done,
       quota.set_limit('company:tb_h40', 'credit', 40) IS NOT NULL AS done, quota.put_member('company:tb_h40', 'tb_user');
BEGIN;
SELECT pg_temp.brief(quota.reserve_amount('tb_user', 'company:tb_h40/project:p', 'credit=15'));
SELECT pg_temp.brief(quota.reserve_amount('tb_user', 'company:tb_h40/project:p', 'credit=15'));
COMMIT;
SELECT used, held, remaining FROM pg_temp.counters('company:tb_h40');
BEGIN;
SELECT pg_temp.brief(quota.reserve_amount('tb_user', 'company:tb_h40/project:p', 'credit=10'));
SELECT pg_temp.brief(quota.reserve_amount('tb_user', 'company:tb_h40/project:p', 'credit=15'));
ROLLBACK;
SELECT used, held, remaining FROM pg_temp.counters('company:tb_h40');

SELECT v.* FROM quota.accounts a, quota.verify(a.scope) AS v WHERE a.parent_id IS NULL AND a.name LIKE 'tb\_h%';
