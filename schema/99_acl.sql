-- Privileges: nothing for PUBLIC -------------------------------------------------------
--
-- What a role may do it is given by quota.grant_access().

-- A schema that was there before belongs to whoever made it, who could replace what is
-- put into it. (Who restores a dump may be another superuser than the one who dumped it.)
DO $do$
DECLARE
    owner name;
BEGIN
    SELECT r.rolname INTO owner
        FROM pg_namespace n
        JOIN pg_roles r ON r.oid = n.nspowner
        WHERE n.nspname = 'quota' AND NOT r.rolsuper;
    IF FOUND THEN
        RAISE EXCEPTION 'schema "quota" belongs to "%", who is not a superuser', owner
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Drop or rename the schema; CREATE EXTENSION makes one of its own.';
    END IF;
END
$do$;

REVOKE ALL ON SCHEMA quota FROM PUBLIC;

DO $do$
DECLARE
    object text;
BEGIN
    FOR object IN
        SELECT CASE d.classid
                   WHEN 'pg_proc'::regclass THEN format('ROUTINE %s', d.objid::regprocedure)
                   WHEN 'pg_type'::regclass THEN format('TYPE %s', d.objid::regtype)
                   ELSE format('%s %s', CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass)
               END
        FROM pg_depend d
        JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
        LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
        LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND d.objid = t.oid
        WHERE e.extname = 'xavier_quota' AND d.deptype = 'e'
          AND (d.classid = 'pg_proc'::regclass
               OR t.typcategory <> 'A'      -- arrays, members since 16, have the rights of their elements
               OR c.relkind IN ('r', 'p', 'v', 'm', 'S'))
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', object);
    END LOOP;
END
$do$;
