-- Verifies that what random input has found stays mended:
-- 1. names that nobody knows are not remembered, however many a caller makes up;
-- 2. a null job is refused like any other that does not exist.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
\set SHOW_CONTEXT never

SELECT count(quota.put_account(s::quota.scope)) AS accounts
FROM unnest(ARRAY['company:bad_input', 'company:bad_input/project:bad_input']) AS s;
SELECT quota.put_member('company:bad_input', 'bad_ann');

-- 1. Unknown names ------------------------------------------------------------------------

CREATE FUNCTION pg_temp.refused(user_id text, project_id text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM quota.remaining(user_id, project_id);
    RETURN 'known';
EXCEPTION WHEN SQLSTATE 'XQ001' OR SQLSTATE 'XQ002' THEN
    RETURN SQLSTATE;
END
$$;
SELECT pg_temp.refused('bad_ann', 'bad_input') AS a_name;
SELECT sum(total_bytes) AS before FROM pg_backend_memory_contexts WHERE name = 'xavier_quota payers' \gset
SELECT pg_temp.refused('nobody ' || i, 'bad_input') AS users, pg_temp.refused('bad_ann', 'nothing ' || i) AS projects, count(*)
FROM generate_series(1, 1000) AS i GROUP BY 1, 2;
SELECT sum(total_bytes) - :before AS growth FROM pg_backend_memory_contexts WHERE name = 'xavier_quota payers';

-- 2. A null job ---------------------------------------------------------------------------

CALL quota.run_job(NULL);  -- fails
