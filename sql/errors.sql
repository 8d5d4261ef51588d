-- Verifies that:
-- 1. every code of src/errors.h is raised, and is told with what to do about it;
-- 2. no call takes a null for an argument that it needs, and none fails otherwise for one it does not need;
-- 3. malformed requests, amounts and scopes have PostgreSQL's own codes, and say where they are wrong;
-- 4. an error of any call leaves the counters, and the session, as they were.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
\pset null '(null)'
SET xavier_quota.clock = '2026-03-10 12:00+00';
SELECT pg_temp.card('err-a');
SELECT count(quota.put_account(s::quota.scope)) AS accounts FROM unnest(ARRAY['company:err_acme', 'company:err_acme/project:err_p', 'company:err_acme/project:err_twice',
    'company:err_acme/team:t', 'company:err_acme/team:t/project:err_twice']) AS s;
SELECT quota.put_member('company:err_acme', 'err_ann');
SELECT count(quota.set_limit('company:err_acme', 'credit', 10)) AS limits;
SELECT pg_temp.keep('settled', quota.reserve('err_ann', 'err_p', 'err-a', '{"input_tokens": 1000, "max_output_tokens": 0}', 'err-key'));
SELECT pg_temp.keep('open', quota.reserve('err_ann', 'err_p', 'err-a', '{"input_tokens": 1000, "max_output_tokens": 0}'));
SELECT pg_temp.keep('released', quota.reserve('err_ann', 'err_p', 'err-a', '{"input_tokens": 1000, "max_output_tokens": 0}'));
SELECT pg_temp.brief(quota.settle(pg_temp.id('settled'), '{"input_tokens": 1000, "output_tokens": 0}')), pg_temp.brief(quota.release(pg_temp.id('released')));

-- 1. Codes ------------------------------------------------------------------------------------------

\x on
SELECT r.* FROM unnest(ARRAY[
    $$quota.check('err_nobody', 'err_p', 'err-a', '{"input_tokens": 1, "max_output_tokens": 0}')$$,
    $$quota.reserve('err_ann', 'err_none', 'err-a', '{"input_tokens": 1, "max_output_tokens": 0}')$$,
    $$quota.reserve('err_ann', 'err_p', 'err-none', '{"input_tokens": 1, "max_output_tokens": 0}')$$,
    $$quota.settle('00000000-0000-8000-8000-000000000001', '{"input_tokens": 1, "output_tokens": 0}')$$,
    $$quota.adjust('company:err_none', 'credit=1', 'refund')$$,
    $$quota.reserve_amount('err_ann', 'err_p', 'err_none=1')$$,
    $$quota.put_account('company:err_acme', plan => 'err_none')$$,
    $$quota.drop_limit(0)$$,
    $$quota.remaining('err_ann', 'err_twice')$$,
    $$quota.release(pg_temp.id('settled'))$$,
    $$quota.extend(pg_temp.id('released'), ttl => '1 hour')$$,
    $$quota.reserve('err_ann', 'err_p', 'err-a', '{"input_tokens": 1, "max_output_tokens": 0}', 'err-key')$$,
    $$quota.reserve('err_ann', 'err_p', 'err-a', '{"max_output_tokens": 0}')$$,
    $$quota.set_rate_card('err-a', '{"lines": []}')$$,
    $$quota.set_limit('company:*', 'credit', 1)$$,
    $$quota.set_limit('company:err_acme', 'credit', 0)$$,
    $$quota.void_grant(0, 'none')$$]) WITH ORDINALITY AS c (call, n),
    pg_temp.refused('SELECT ' || c.call) AS r ORDER BY c.n;  -- fails
\x off

-- 2. Nulls --------------------------------------------------------------------------------------------

-- Every call with each of its arguments null in turn.
CREATE TEMP TABLE calls (n serial, name text, arguments text[]);
INSERT INTO calls (name, arguments) VALUES
    ('can_execute_generation', ARRAY['''err_ann''', '''err_p''', '''err-a''', '''{"input_tokens": 1, "max_output_tokens": 0}''']),
    ('check', ARRAY['''err_ann''', '''err_p''', '''err-a''', '''{"input_tokens": 1, "max_output_tokens": 0}''']),
    ('reserve', ARRAY['''err_ann''', '''err_p''', '''err-a''', '''{"input_tokens": 1, "max_output_tokens": 0}''', '''err-null''', '''1 minute''']),
    ('check_amount', ARRAY['''err_ann''', '''err_p''', '''credit=1''']),
    ('reserve_amount', ARRAY['''err_ann''', '''err_p''', '''credit=1''', '''err-null''', '''1 minute''']),
    ('settle', ARRAY['pg_temp.id(''open'')', '''{"input_tokens": 1, "output_tokens": 0}''', '''failed''']),
    ('settle_amount', ARRAY['pg_temp.id(''open'')', '''credit=1''', '''failed''']),
    ('release', ARRAY['pg_temp.id(''open'')', '''because''']),
    ('extend', ARRAY['pg_temp.id(''open'')', '''{"input_tokens": 1, "max_output_tokens": 0}''', '''1 minute''']),
    ('charge', ARRAY['''err_ann''', '''err_p''', '''err-a''', '''{"input_tokens": 1, "output_tokens": 0}''', '''err-null''']),
    ('adjust', ARRAY['''company:err_acme''', '''credit=1''', '''because''', '''err-null''']),
    ('hold', ARRAY['pg_temp.id(''open'')']),
    ('remaining', ARRAY['''err_ann''', '''err_p''']),
    ('estimate', ARRAY['''err-a''', '''{"input_tokens": 1, "max_output_tokens": 0}''', '''company:err_acme''', '''2026-03-10 12:00+00''']),
    ('price', ARRAY['''err-a''', '''{"input_tokens": 1, "output_tokens": 0}''', '''company:err_acme''', '''2026-03-10 12:00+00''']);
-- All calls of the way of a request are here.
SELECT p.proname FROM pg_proc p
    WHERE p.pronamespace = 'quota'::regnamespace AND p.prosrc ~ '^quota_(check|reserve|settle|release|extend|charge|adjust|hold|remaining)' AND p.proname NOT LIKE '\_%'
      AND p.prokind = 'f' AND p.proname NOT IN (SELECT name FROM calls) AND p.prorettype = 'jsonb'::regtype ORDER BY 1;
-- Undone after each, so that all start from the same.
CREATE FUNCTION pg_temp.with_null(name text, arguments text[], place int) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    list text[] := arguments;
    dummy record;
BEGIN
    IF place IS NOT NULL THEN
        list[place] := 'NULL';
    END IF;
    BEGIN
        EXECUTE format('SELECT quota.%I(%s)', name, array_to_string(list, ', ')) INTO dummy;
        RAISE EXCEPTION USING ERRCODE = 'ZZZZZ', MESSAGE = 'is taken';
    EXCEPTION WHEN OTHERS THEN
        RETURN CASE WHEN SQLSTATE = 'ZZZZZ' THEN SQLERRM ELSE SQLSTATE || ': ' || SQLERRM END;
    END;
END
$$;
SELECT c.name, p.place, pg_temp.with_null(c.name, c.arguments, p.place) AS answer
    FROM calls c, generate_subscripts(c.arguments, 1) AS p (place) ORDER BY c.n, p.place;
SELECT r.code, r.message, r.hint FROM pg_temp.refused($$SELECT quota.extend(pg_temp.id('open'))$$) AS r;  -- fails
-- With no argument null, all are taken.
SELECT name, pg_temp.with_null(name, arguments, NULL) AS answer FROM calls ORDER BY n;

-- 3. Malformed ------------------------------------------------------------------------------------------

\x on
SELECT r.* FROM unnest(ARRAY[
    $$quota.reserve('err_ann', 'err_p', 'err-a', '{"input_tokens": ')$$,
    $$quota.reserve('err_ann', 'err_p', 'err-a', '[]')$$,
    $$quota.reserve('err_ann', 'err_p', 'err-a', '{"input_tokens": 1e400, "max_output_tokens": 0}')$$,
    $$quota.reserve('err_ann', 'err_p', 'err-a', '{"input_tokens": 1000000000000000000, "max_output_tokens": 0}')$$,
    $$quota.reserve('err_ann', 'err_p', 'err-a', '{"input_tokens": "many", "max_output_tokens": 0}')$$,
    $$quota.reserve('err_ann', 'err_p', '', '{"input_tokens": 1, "max_output_tokens": 0}')$$,
    $$quota.reserve_amount('err_ann', 'err_p', 'credit=1,credit=2')$$,
    $$quota.reserve_amount('err_ann', 'err_p', 'credit=0.0000001')$$,
    $$quota.reserve_amount('err_ann', 'err_p', 'credit=-1')$$,
    $$quota.reserve_amount('err_ann', 'err_p', 'credit=4611686018427.387904')$$,
    $$quota.settle_amount(pg_temp.id('open'), 'credit=-1')$$,
    $$quota.settle_amount(pg_temp.id('open'), 'credit=1', 'done')$$,
    $$quota.settle('not-a-uuid', '{}')$$,
    $$quota.adjust('company', 'credit=1', 'because')$$,
    $$quota.adjust('company:*', 'credit=1', 'because')$$]) WITH ORDINALITY AS c (call, n),
    pg_temp.refused('SELECT ' || c.call) AS r ORDER BY c.n;  -- fails
\x off

-- 4. Nothing has happened -----------------------------------------------------------------------------------

SELECT used, held FROM pg_temp.counters('company:err_acme');
SELECT quota.hold(pg_temp.id('open')) ->> 'state' AS state;
SELECT count(*) AS holds FROM quota.holds WHERE scope <@ 'company:err_acme';
SELECT count(*) AS events FROM quota.events WHERE scope <@ 'company:err_acme';
SELECT count(*) AS keys FROM quota.keys WHERE key = 'err-null';
SELECT v.* FROM quota.verify('company:err_acme') AS v;
