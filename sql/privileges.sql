-- Verifies that:
-- 1. PUBLIC may do nothing with any object of the extension;
-- 2. each bundle of privileges allows exactly what is listed here: a new function, table or
--    view appears in these lists, and somebody has to say that this is right;
-- 3. views show what their reader may not read below them;
-- 4. a caller's temporary objects do not get in the way of a SECURITY DEFINER function;
-- 5. the extension does not go into a schema that somebody else has prepared;
-- 6. an admin can run the upkeep;
-- 7. granting and revoking a bundle can be repeated, and bundles of one role do not disturb
--    each other.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
\set VERBOSITY terse

BEGIN;
CREATE ROLE regress_quota_service;
CREATE ROLE regress_quota_admin;
CREATE ROLE regress_quota_viewer;
SELECT quota.grant_access('regress_quota_service', 'service'),
       quota.grant_access('regress_quota_admin', 'admin'),
       quota.grant_access('regress_quota_viewer', 'viewer');

CREATE TEMP VIEW member AS
    SELECT d.classid, d.objid
    FROM pg_depend d
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE e.extname = 'xavier_quota' AND d.deptype = 'e';
CREATE TEMP VIEW grantee AS
    SELECT * FROM (VALUES (1, 'public', 'PUBLIC'),
                          (2, 'regress_quota_service', 'service'),
                          (3, 'regress_quota_admin', 'admin'),
                          (4, 'regress_quota_viewer', 'viewer')) AS g (ordinal, role, bundle);

-- Every function, and who may call it.
SELECT replace(p.oid::regprocedure::text, 'quota.', '') AS function,
       COALESCE(string_agg(g.bundle, ' ' ORDER BY g.ordinal)
                FILTER (WHERE has_function_privilege(g.role, p.oid, 'EXECUTE')), '-') AS callers
    FROM pg_proc p
    JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
    CROSS JOIN grantee g
    GROUP BY p.oid
    ORDER BY replace(p.oid::regprocedure::text, 'quota.', '') COLLATE "C";

-- Every table, view and sequence, and who may do what.
SELECT c.relname AS relation, c.relkind AS kind,
       COALESCE(string_agg(g.bundle || ': ' || a.privileges, '; ' ORDER BY g.ordinal), '-') AS privileges
    FROM pg_class c
    JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
    CROSS JOIN grantee g
    LEFT JOIN LATERAL (
        SELECT string_agg(p.privilege, ', ')
        FROM unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p (privilege)
        WHERE c.relkind <> 'S' AND has_table_privilege(g.role, c.oid, p.privilege)
           OR c.relkind = 'S' AND p.privilege IN ('SELECT', 'UPDATE')
              AND has_sequence_privilege(g.role, c.oid, p.privilege)) AS a (privileges) ON true
    WHERE c.relkind <> 'i'
    GROUP BY c.oid
    ORDER BY c.relname COLLATE "C";

-- Types and the schema.
SELECT 'type ' || format_type(t.oid, NULL) AS object, string_agg(g.bundle, ' ' ORDER BY g.ordinal) AS users
    FROM pg_type t
    JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
    CROSS JOIN grantee g
    WHERE t.typtype = 'b' AND t.typelem = 0 AND has_type_privilege(g.role, t.oid, 'USAGE')
    GROUP BY t.oid
UNION ALL
SELECT 'schema quota', string_agg(g.bundle, ' ' ORDER BY g.ordinal)
    FROM grantee g
    WHERE has_schema_privilege(g.role, 'quota', 'USAGE')
UNION ALL
SELECT 'schema quota, to create', string_agg(g.bundle, ' ' ORDER BY g.ordinal)
    FROM grantee g
    WHERE has_schema_privilege(g.role, 'quota', 'CREATE')
ORDER BY 1;

-- Nobody without a bundle gets even to the names.
CREATE ROLE regress_quota_nobody;
SET LOCAL ROLE regress_quota_nobody;
SELECT quota.now();  -- fails
SELECT 'company:acme'::quota.scope;  -- fails
SELECT * FROM quota.admin_accounts;  -- fails
RESET ROLE;

-- A service makes requests, and nothing else.
SELECT quota.put_account('company:priv_acme') IS NOT NULL AS created;
SELECT quota.put_member('company:priv_acme', 'ann');
SET LOCAL ROLE regress_quota_service;
SELECT quota.now() IS NOT NULL AS can_tell_time;
SELECT 'company:acme/project:apollo'::quota.scope OPERATOR(quota.<@) 'company:acme' AS can_compare;
SELECT quota.check_amount('ann', 'company:priv_acme', 'credit=1') ->> 'allowed' AS can_spend;
SELECT quota.put_account('company:priv_evil');  -- fails
SELECT quota.set_limit('company:priv_acme', 'credit', 1000000);  -- fails
SELECT quota.grant_access('regress_quota_service', 'admin');  -- fails
SELECT * FROM quota.admin_accounts;  -- fails
SELECT * FROM quota.holds;  -- fails
INSERT INTO quota.events SELECT;  -- fails
RESET ROLE;

-- A viewer sees, through the views only.
SET LOCAL ROLE regress_quota_viewer;
SELECT scope, plan FROM quota.admin_accounts WHERE name = 'priv_acme';
SELECT format('SELECT count(v) >= 0 AS %I FROM quota.%I AS v', c.relname || '_is_readable', c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'quota' AND c.relkind = 'v' ORDER BY c.relname COLLATE "C" \gexec
SELECT * FROM quota.accounts;  -- fails
SELECT quota.check('ann', 'company:priv_acme', 'gpt', '{}');  -- fails
SELECT * FROM quota.verify();  -- fails
SELECT * FROM quota._account('company:priv_acme');  -- fails
SELECT quota.put_member('company:priv_acme', 'eve');  -- fails
SELECT quota.drop_limit(1);  -- fails
RESET ROLE;

-- An admin defines, but hands out nothing and writes no table.
SET LOCAL ROLE regress_quota_admin;
SELECT quota.put_account('company:priv_acme', attributes => '{"tier": "gold"}') IS NOT NULL AS changed;
SELECT attributes FROM quota.admin_accounts WHERE name = 'priv_acme';
SELECT acting_as, operation FROM quota.admin_audit WHERE after ->> 'name' = 'priv_acme' ORDER BY changed_at;
SELECT quota.grant_access('regress_quota_nobody', 'viewer');  -- fails
SELECT nextval('quota.definition_id_seq');  -- fails
DELETE FROM quota.audit;  -- fails
UPDATE quota.accounts SET active = false;  -- fails
CREATE TABLE quota.mine ();  -- fails

-- Objects of the caller that have the names of ours, or of PostgreSQL's.
CREATE TEMP TABLE accounts (scope text);
CREATE TEMP TABLE pg_roles (oid oid);
CREATE FUNCTION pg_temp.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS $$ SELECT 'hijacked' $$;
CREATE FUNCTION pg_temp.hijacked(text, text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'hijacked by %', current_user;
END
$$;
CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.hijacked);
SET LOCAL search_path = pg_temp, quota, pg_catalog;
SELECT quota.put_account('company:priv_acme/project:apollo', attributes => '{}') IS NOT NULL AS created;
SELECT quota.put_plan('priv_plan', '[{"resource": "credit", "amount": 1}]');
RESET search_path;
RESET ROLE;
SELECT count(*) AS hijacked FROM pg_temp.accounts;
DROP TABLE pg_temp.accounts, pg_temp.pg_roles;

-- Bundles can be granted and revoked again and again.
SELECT quota.grant_access('regress_quota_viewer', 'viewer');
SELECT quota.grant_access('regress_quota_viewer', 'service');
SELECT quota.revoke_access('regress_quota_viewer', 'viewer');
SELECT quota.revoke_access('regress_quota_viewer', 'viewer');
SELECT has_function_privilege('regress_quota_viewer', 'quota.now()', 'EXECUTE') AS service_calls,
       has_table_privilege('regress_quota_viewer', 'quota.admin_accounts', 'SELECT') AS views;
SELECT role, bundle FROM quota.access WHERE role::text LIKE 'regress_quota_%' ORDER BY role::text COLLATE "C", bundle COLLATE "C";
SELECT quota.revoke_access('regress_quota_viewer', 'service');
SELECT quota.revoke_access('regress_quota_admin', 'admin');
SELECT quota.revoke_access('regress_quota_service', 'service');
-- Nothing is left: the roles can go.
DROP OPERATOR pg_temp.= (text, text);
DROP FUNCTION pg_temp.hijacked, pg_temp.jsonb_typeof;
DROP ROLE regress_quota_service, regress_quota_admin, regress_quota_viewer;

SELECT quota.grant_access('regress_quota_nobody', 'owner');  -- fails
SELECT quota.grant_access('regress_quota_nobody', 'viewer', 'company:priv_acme');  -- fails
SELECT quota.grant_access('regress_quota_none', 'viewer');  -- fails
SELECT quota.grant_access('-', 'viewer');  -- fails
SELECT quota.grant_access(NULL, 'viewer');  -- fails
SELECT quota.revoke_access('regress_quota_nobody', NULL);  -- fails
ROLLBACK;

-- A schema that was there before.
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION xavier_quota CASCADE;
DROP SCHEMA quota CASCADE;
CREATE ROLE regress_quota_squatter;
CREATE SCHEMA quota AUTHORIZATION regress_quota_squatter;
CREATE EXTENSION xavier_quota;  -- fails
CREATE FUNCTION quota.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$;
CREATE EXTENSION xavier_quota;  -- fails
DROP SCHEMA quota CASCADE;
CREATE EXTENSION xavier_quota;
ROLLBACK;

-- Upkeep ends transactions, so that it runs with the rights of its caller: an admin's do.
CREATE ROLE regress_quota_admin;
SELECT quota.grant_access('regress_quota_admin', 'admin');
SET ROLE regress_quota_admin;
CALL quota.run_maintenance();
SELECT count(*) >= 0 AS can_verify FROM quota.verify();
SELECT quota.reload();
SELECT quota._purge();  -- fails
RESET ROLE;
SELECT quota.revoke_access('regress_quota_admin', 'admin');
DROP ROLE regress_quota_admin;
