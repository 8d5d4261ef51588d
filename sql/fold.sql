-- Verifies that:
-- 1. a fold rolls events up per hour of hold time, level, user, model and resource, each once, and changes no counter;
-- 2. a period that does not begin on the hour has exactly its part of the hours at its edges;
-- 3. a fold that is rolled back has folded nothing; what comes after a fold is counted beside it;
-- 4. events of another cluster count as they are until they are adopted;
-- 5. the ledger refuses UPDATE and DELETE, whoever asks, in every partition;
-- 6. writes by a superuser are counted, and what goes past the triggers is found by verify() and mended by reload();
-- 7. a new partition takes its events over, and changes no counter.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SET xavier_quota.clock = '2031-03-10 00:00+00';
SELECT pg_temp.card('fol-a'), pg_temp.card('fol-b');
SELECT quota.put_account('company:fol_acme') AS root_id \gset
SELECT quota.put_account('company:fol_acme/project:fol_p') IS NOT NULL AS done;
SELECT quota.put_member('company:fol_acme', 'fol_ann'), quota.put_member('company:fol_acme', 'fol_bob');
SELECT count(quota.set_limit('company:fol_acme', 'credit', 100, '1 hour from 2031-03-01 00:15:30')) + count(quota.set_limit('company:fol_acme', 'credit', 100, '1 day from 2031-03-01 00:30'))
     + count(quota.set_limit('company:fol_acme', 'credit', 100, 'month', model => '*-a')) + count(quota.set_limit('company:fol_acme', 'credit', 100, 'lifetime'))
     + count(quota.set_limit('company:fol_acme/user:fol_ann', 'credit', 100, 'month')) + count(quota.set_limit('company:fol_acme/project:fol_p', 'calls', 100, 'day')) AS limits;

CREATE FUNCTION pg_temp.use(clock text, user_id text, model text, credits numeric) RETURNS text
LANGUAGE sql AS $$
    SELECT set_config('xavier_quota.clock', clock, false);
    SELECT pg_temp.keep('use', CASE WHEN model IS NULL THEN quota.reserve_amount(user_id, 'fol_p', ('credit=' || credits)::quota.amount)
                               ELSE quota.reserve(user_id, 'fol_p', model, jsonb_build_object('input_tokens', 1000 * credits, 'max_output_tokens', 0)) END);
    SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('use'), (CASE WHEN model IS NULL THEN '' ELSE 'calls=1,' END || 'credit=' || credits)::quota.amount))
$$;
-- Every limit of ann at some instants, in columns: hour and day with an anchor, month of models *-a, lifetime, month of ann, calls of the project.
CREATE FUNCTION pg_temp.counts() RETURNS TABLE (clock text, hour text, day text, models text, lifetime text, ann text, calls text)
LANGUAGE plpgsql AS $$
DECLARE
    levels jsonb;
BEGIN
    FOREACH clock IN ARRAY ARRAY['2031-03-10 00:15+00', '2031-03-10 00:15:30+00', '2031-03-10 00:30+00', '2031-03-10 02:15:29+00', '2031-03-10 02:15:30+00', '2031-03-10 04:00+00', '2031-03-11 12:00+00'] LOOP
        PERFORM set_config('xavier_quota.clock', clock, false);
        SELECT jsonb_object_agg(l ->> 'scope' || ' ' || (l ->> 'resource') || ' ' || (l ->> 'model') || ' ' || coalesce(((l ->> 'period_end')::timestamptz - (l ->> 'period_start')::timestamptz)::text, 'ever'),
                                concat_ws('+', l ->> 'used', nullif(l ->> 'held', '0')))
            INTO levels
            FROM quota.check('fol_ann', 'fol_p', 'fol-a', '{"input_tokens": 1, "max_output_tokens": 0}') AS v, jsonb_array_elements(v -> 'levels') AS l;
        hour := levels ->> 'company:fol_acme credit * 01:00:00';
        day := levels ->> 'company:fol_acme credit * 1 day';
        models := levels ->> 'company:fol_acme credit *-a 31 days';
        lifetime := levels ->> 'company:fol_acme credit * ever';
        ann := levels ->> 'company:fol_acme/user:fol_ann credit * 31 days';
        calls := levels ->> 'company:fol_acme/project:fol_p calls * 1 day';
        RETURN NEXT;
    END LOOP;
END
$$;
CREATE FUNCTION pg_temp.rolled_up(root_id bigint) RETURNS TABLE (hour time, scope quota.scope, leaf boolean, user_id text, model text, resource text, used numeric, events bigint)
LANGUAGE sql AS $$
    SELECT (u.hour AT TIME ZONE 'UTC')::time, a.scope, u.leaf, u.user_id, u.model, u.resource, trim_scale(u.used), u.events
    FROM quota.usage_hourly u JOIN quota.accounts a USING (root_id, account_id)
    WHERE u.root_id = rolled_up.root_id
    ORDER BY u.hour, a.scope, u.user_id COLLATE "C", u.model COLLATE "C", u.resource COLLATE "C"
$$;

-- What happens: 2 before every anchor, 3 in the last microsecond before the day's, 1 at it, 4 of bob in the last second of an hour,
-- nothing, 1.25 late, a correction at the hour's anchor, 0.75 of bob that was never held.
SELECT pg_temp.use('2031-03-10 00:10+00', 'fol_ann', 'fol-a', 2);
SELECT pg_temp.use('2031-03-10 00:29:59.999999+00', 'fol_ann', NULL, 3);
SELECT pg_temp.use('2031-03-10 00:30+00', 'fol_ann', 'fol-a', 1);
SELECT pg_temp.use('2031-03-10 01:59:59+00', 'fol_bob', 'fol-b', 4);
SET xavier_quota.clock = '2031-03-10 02:00+00';
SELECT pg_temp.keep('released', quota.reserve_amount('fol_ann', 'fol_p', 'credit=9'));
SELECT pg_temp.brief(quota.release(pg_temp.id('released')));
SET xavier_quota.clock = '2031-03-10 02:15:30+00';
SELECT pg_temp.brief(quota.adjust('company:fol_acme', 'credit=-0.5', 'goodwill'));
SET xavier_quota.clock = '2031-03-10 02:40+00';
SELECT pg_temp.keep('late', quota.reserve_amount('fol_ann', 'fol_p', 'credit=2', ttl => '1 minute'));
SET xavier_quota.clock = '2031-03-10 03:00+00';
SELECT quota._run_step('expire', :root_id, 'company:fol_acme') AS expired;
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('late'), 'credit=1.25'));
SELECT pg_temp.brief(quota.charge('fol_bob', 'fol_p', 'fol-a', '{"input_tokens": 750, "output_tokens": 0}'));

-- 1. By hand: the hours from 00:15:30 have 2, 3 + 1, 4, -0.5 + 1.25 + 0.75; the days from 00:30 have 2 + 3 and the rest;
--    models *-a 2 + 1 + 0.75; all 11.5; ann 2 + 3 + 1 + 1.25; calls 4.
CREATE TEMP TABLE before AS SELECT * FROM pg_temp.counts();
SELECT * FROM before;
CALL pg_temp.fold(:root_id);
SELECT * FROM pg_temp.rolled_up(:root_id);
SELECT v.* FROM quota.verify('company:fol_acme') AS v;
SELECT quota.reload('company:fol_acme');
SELECT count(*) AS same FROM (SELECT * FROM pg_temp.counts() INTERSECT SELECT * FROM before) AS s;
SELECT v.* FROM quota.verify('company:fol_acme') AS v;
-- Again is nothing.
SELECT quota._fold_root(:root_id, quota._system_identifier()) AS folded;

-- 3. After the fold: a late charge and an expiry in hours that are folded.
SET xavier_quota.clock = '2031-03-10 01:30+00';
SELECT pg_temp.keep('again', quota.reserve_amount('fol_ann', 'fol_p', 'credit=5', ttl => '1 second'));
SET xavier_quota.clock = '2031-03-11 00:00+00';
SELECT * FROM pg_temp.counts();
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('again'), 'credit=0.25'));
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('released'), 'credit=0.125'));
SELECT * FROM pg_temp.counts();
BEGIN;
SELECT quota._fold_root(:root_id, quota._system_identifier()) <= 2 AS some_folded;
ROLLBACK;
SELECT v.* FROM quota.verify('company:fol_acme') AS v;
SELECT quota.reload('company:fol_acme');
DROP TABLE before;
CREATE TEMP TABLE before AS SELECT * FROM pg_temp.counts();
SELECT * FROM before;
CREATE TEMP TABLE daily AS SELECT * FROM quota.admin_usage_daily WHERE root = 'company:fol_acme';
CALL pg_temp.fold(:root_id);
SELECT * FROM pg_temp.rolled_up(:root_id) WHERE user_id = 'fol_ann' AND model = '' AND leaf;
SELECT v.* FROM quota.verify('company:fol_acme') AS v;
SELECT quota.reload('company:fol_acme');
SELECT count(*) AS same FROM (SELECT * FROM pg_temp.counts() INTERSECT SELECT * FROM before) AS s;
-- Folded or not, an administrator sees the same.
SELECT count(*) AS rows, bool_and(d IS NOT DISTINCT FROM t) AS same
    FROM (SELECT * FROM quota.admin_usage_daily WHERE root = 'company:fol_acme') AS d
    FULL JOIN daily AS t ON (t.scope, coalesce(t.user_id, ''), coalesce(t.model, ''), t.resource) = (d.scope, coalesce(d.user_id, ''), coalesce(d.model, ''), d.resource);
SELECT day, scope, user_id, model, resource, trim_scale(used) AS used, events FROM quota.admin_usage_daily WHERE root = 'company:fol_acme'
    ORDER BY scope, user_id COLLATE "C", model COLLATE "C", resource COLLATE "C";

-- 4. Another cluster ------------------------------------------------------------------------------------

-- Two events as a restore or a subscription brings them: 10 and 20 credits of ann, with numbers of transactions that mean nothing here.
INSERT INTO quota.events (hold_id, seq, kind, root_id, levels, scope, user_id, model, held, charged, outcome, held_at, recorded_at, origin, xid)
    SELECT overlay(e.hold_id::text PLACING lpad(n::text, 4, '0') FROM 33 FOR 4)::uuid, 1, 'settled', e.root_id, e.levels, e.scope, 'fol_ann', 'fol-a', '', ('credit=' || 10 * n)::quota.amount, 'succeeded',
           e.held_at, e.recorded_at, 1, n::text::xid8
    FROM quota.events e CROSS JOIN generate_series(1, 2) AS n WHERE e.root_id = :root_id AND e.held_at = '2031-03-10 00:10+00';
SELECT * FROM pg_temp.counts();
SELECT v.* FROM quota.verify('company:fol_acme') AS v;
SELECT quota._fold_root(:root_id, quota._system_identifier()) AS folded;
DROP TABLE before;
CREATE TEMP TABLE before AS SELECT * FROM pg_temp.counts();
SELECT quota.adopt('company:fol_acme') AS adopted;
SELECT quota.adopt('company:fol_acme') AS adopted;
SELECT * FROM pg_temp.rolled_up(:root_id) WHERE user_id = 'fol_ann' AND model = 'fol-a' AND resource = 'credit';
SELECT v.* FROM quota.verify('company:fol_acme') AS v;
SELECT quota.reload('company:fol_acme');
SELECT count(*) AS same FROM (SELECT * FROM pg_temp.counts() INTERSECT SELECT * FROM before) AS s;

-- 5. Append-only ------------------------------------------------------------------------------------------

SELECT r.* FROM pg_temp.refused(format('UPDATE quota.events SET charged = %L WHERE root_id = %s', 'credit=1', :root_id)) AS r;  -- fails
SELECT r.* FROM pg_temp.refused(format('DELETE FROM quota.events WHERE root_id = %s', :root_id)) AS r;  -- fails
SET session_replication_role = replica;
SELECT r.code FROM pg_temp.refused(format('DELETE FROM quota.events WHERE root_id = %s', :root_id)) AS r;  -- fails
SELECT r.code FROM unnest(ARRAY['UPDATE %s SET seq = 9 WHERE root_id = %s', 'DELETE FROM %s WHERE root_id = %s']) AS command,
    (SELECT DISTINCT tableoid::regclass::text AS partition FROM quota.events WHERE root_id = :root_id) AS p, pg_temp.refused(format(command, p.partition, :root_id)) AS r;  -- fails
RESET session_replication_role;

-- 6. Other hands -------------------------------------------------------------------------------------------

SET xavier_quota.clock = '2031-03-11 12:00+00';
SELECT pg_temp.keep('hand', quota.reserve_amount('fol_ann', 'fol_p', 'credit=6', ttl => '7 days'));
SELECT lifetime FROM pg_temp.counts() LIMIT 1;
-- A repair by hand is counted from its commit on, and by itself at once.
BEGIN;
UPDATE quota.holds SET amount = 'credit=7' WHERE root_id = :root_id;
SELECT lifetime FROM pg_temp.counts() LIMIT 1;
ROLLBACK;
SELECT lifetime FROM pg_temp.counts() LIMIT 1;
UPDATE quota.holds SET amount = 'credit=7' WHERE root_id = :root_id;
SELECT lifetime FROM pg_temp.counts() LIMIT 1;
SET session_replication_role = replica;
UPDATE quota.holds SET amount = 'credit=8' WHERE root_id = :root_id;
RESET session_replication_role;
SELECT lifetime FROM pg_temp.counts() LIMIT 1;
SELECT v.* FROM quota.verify('company:fol_acme') AS v;
-- What nobody notices is found: 8 in memory, 9 in the tables.
BEGIN;
ALTER TABLE quota.holds DISABLE TRIGGER ledger_changed;
UPDATE quota.holds SET amount = 'credit=9' WHERE root_id = :root_id;
ALTER TABLE quota.holds ENABLE ALWAYS TRIGGER ledger_changed;
COMMIT;
SELECT lifetime FROM pg_temp.counts() LIMIT 1;
SELECT scope, resource, model, period_start, memory_used = table_used AS used_same, memory_held, table_held FROM quota.verify('company:fol_acme') ORDER BY scope, model COLLATE "C", period_start;
SELECT scope, memory_held, table_held FROM quota.verify('company:fol_acme/user:fol_ann');
SELECT quota.reload('company:fol_acme/project:fol_p');
SELECT v.* FROM quota.verify('company:fol_acme') AS v;
SELECT lifetime FROM pg_temp.counts() LIMIT 1;
SET xavier_quota.clock = '2031-03-11 12:00+00';
SELECT pg_temp.brief(quota.release(pg_temp.id('hand')));
-- A roll-up that is lost is found as well.
BEGIN;
ALTER TABLE quota.usage_hourly DISABLE TRIGGER ledger_changed;
DELETE FROM quota.usage_hourly WHERE root_id = :root_id AND model = 'fol-b';
ALTER TABLE quota.usage_hourly ENABLE ALWAYS TRIGGER ledger_changed;
COMMIT;
SELECT lifetime FROM pg_temp.counts() LIMIT 1;
SELECT scope, resource, model, period_start, memory_used - table_used AS lost FROM quota.verify('company:fol_acme') WHERE period_start = '-infinity' OR resource = 'calls' ORDER BY scope, resource COLLATE "C", period_start;
-- Folded from the beginning, all is there again.
BEGIN;
DELETE FROM quota.usage_hourly WHERE root_id = :root_id;
DELETE FROM quota.fold_marks WHERE root_id = :root_id;
COMMIT;
SELECT v.* FROM quota.verify('company:fol_acme') AS v;
CALL pg_temp.fold(:root_id);
SELECT quota.adopt('company:fol_acme') AS adopted;
SELECT quota.reload('company:fol_acme');
SELECT count(*) AS same FROM (SELECT * FROM pg_temp.counts() INTERSECT SELECT * FROM before) AS s;

-- 7. Partitions ----------------------------------------------------------------------------------------------

BEGIN;
SELECT quota._create_partition('2031-03-10') AS created, quota._create_partition('2031-03-31 23:59:59+00') AS created;
SELECT tableoid::regclass AS partition, count(*) FROM quota.events WHERE root_id = :root_id GROUP BY 1;
SELECT count(*) AS same FROM (SELECT * FROM pg_temp.counts() INTERSECT SELECT * FROM before) AS s;
SELECT pg_temp.brief(quota.settle_amount(pg_temp.id('late'), 'credit=1.25'));
SELECT count(DISTINCT g.tgrelid) > 1 AS several, bool_and(g.tgenabled = 'A') AS always
    FROM pg_inherits i JOIN pg_trigger g ON g.tgrelid = i.inhrelid
    WHERE i.inhparent = 'quota.events'::regclass AND g.tgname IN ('event_refuses_change', 'ledger_changed');
ROLLBACK;
SELECT count(*) AS same FROM (SELECT * FROM pg_temp.counts() INTERSECT SELECT * FROM before) AS s;
SELECT v.* FROM quota.verify('company:fol_acme') AS v;
