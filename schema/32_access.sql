-- Access: which roles may call and see what -----------------------------------------
--
-- Rights come in three bundles. service: the calls around a request. admin: the
-- definitions and the views. viewer: the views. They are handed out by whoever
-- owns the extension; nobody can pass on what was given to him.

CREATE TABLE quota.access (
    role       regrole NOT NULL,
    bundle     text NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (role, bundle),
    CONSTRAINT access_bundle_check CHECK (bundle IN ('service', 'admin', 'viewer'))
);
COMMENT ON TABLE quota.access IS 'The bundles of privileges that roles were given';

CREATE FUNCTION quota._bundle_privileges(bundle text) RETURNS TABLE (privilege text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: what a bundle grants, each as GRANT takes it. Whatever is not named here
-- stays with the owner, but for immutable functions, which read nothing: the public
-- ones, and those behind the operators and casts of a type, which begin with its name.
WITH member AS (
    SELECT d.classid, d.objid
    FROM pg_depend d
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE e.extname = 'xavier_quota' AND d.deptype = 'e'
), named (bundles, name) AS (
    VALUES
        ('{service,admin,viewer}'::text[], 'now'),
        ('{service,admin,viewer}', 'estimate'),
        ('{service,admin,viewer}', 'price'),
        ('{service,admin}', 'can_execute_generation'),
        ('{service,admin}', 'check'),
        ('{service,admin}', 'check_amount'),
        ('{service,admin}', 'hold'),
        ('{service,admin}', 'remaining'),
        ('{service}', 'reserve'),
        ('{service}', 'reserve_amount'),
        ('{service}', 'settle'),
        ('{service}', 'settle_amount'),
        ('{service}', 'extend'),
        ('{service}', 'charge'),
        ('{service,admin}', 'release'),
        ('{service,admin,viewer}', 'to_verdict'),
        ('{service,admin,viewer}', 'to_receipt'),
        ('{service,admin}', 'adjust'),
        ('{admin}', 'put_account'),
        ('{admin}', 'put_member'),
        ('{admin}', 'drop_member'),
        ('{admin}', 'allow_model'),
        ('{admin}', 'deny_model'),
        ('{admin}', 'drop_model_rule'),
        ('{admin}', 'set_limit'),
        ('{admin}', 'preview_limit'),
        ('{admin}', 'drop_limit'),
        ('{admin}', 'put_plan'),
        ('{admin}', 'preview_plan'),
        ('{admin}', 'grant_quota'),
        ('{admin}', 'void_grant'),
        ('{admin}', 'put_resource'),
        ('{admin}', 'set_credit_rate'),
        ('{admin}', 'set_rate_card'),
        ('{admin}', 'import_prices'),
        ('{admin}', 'put_model_alias'),
        ('{admin}', 'drop_model_alias'),
        ('{admin}', 'set_price_adjustment'),
        ('{admin}', 'verify'),
        ('{admin}', 'verify_usage'),
        ('{admin}', 'reload'),
        ('{admin}', 'adopt'),
        ('{admin}', 'run_maintenance'),
        ('{admin}', 'run_job'),
        -- A procedure that ends transactions runs with the rights of its caller.
        ('{admin}', '_begin_run'),
        ('{admin}', '_job_steps'),
        ('{admin}', '_run_step'),
        ('{admin}', '_end_run'),
        -- So do the functions in a view.
        ('{admin,viewer}', 'engine_stats'),
        ('{admin,viewer}', '_engine_stats'),
        ('{admin,viewer}', '_denials'),
        ('{admin,viewer}', '_limit_usage'),
        ('{admin,viewer}', '_grant_balances'),
        ('{admin,viewer}', '_histogram_value')
)
SELECT 'USAGE ON SCHEMA quota'
UNION ALL
SELECT format('USAGE ON TYPE %s', t.oid::regtype)
FROM member m
JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
WHERE t.typtype = 'b' AND t.typcategory <> 'A' OR t.typtype = 'c'
UNION ALL
SELECT format('EXECUTE ON ROUTINE %s', p.oid::regprocedure)
FROM member m
JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
WHERE p.provolatile = 'i' AND p.proname ~ '^([^_]|_(scope|amount|quota|period)_)'
   OR p.proname IN (SELECT n.name FROM named n WHERE _bundle_privileges.bundle = ANY (n.bundles))
UNION ALL
SELECT format('SELECT ON %s', c.oid::regclass)
FROM member m
JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
WHERE c.relkind = 'v'
  AND (c.relname ~ '^admin_' OR c.relname IN (SELECT n.name FROM named n))
  AND _bundle_privileges.bundle IN ('admin', 'viewer')
$function$;

CREATE FUNCTION quota._check_access(role regrole, bundle text, account quota.scope) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Checks the arguments of grant_access() and revoke_access().
-- Errors: 0A000 rights in one account only; 42704 no such role; 22004, 22023 malformed.
BEGIN
    IF role IS NULL OR bundle IS NULL THEN
        RAISE EXCEPTION 'role and bundle must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = role::oid) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object';
    END IF;
    IF bundle NOT IN ('service', 'admin', 'viewer') THEN
        RAISE EXCEPTION 'unknown bundle of privileges: "%"', bundle
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'A bundle is service, admin or viewer.';
    END IF;
    IF account IS NOT NULL THEN
        RAISE EXCEPTION 'privileges in one account only are not supported'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Leave the account out; the privileges are then those in all accounts.';
    END IF;
END
$function$;

CREATE FUNCTION quota.grant_access(role regrole, bundle text, account quota.scope DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Grants a role the privileges of a bundle; again after an update, what is new in it.
-- Errors: those of quota._check_access().
DECLARE
    wanted text;
BEGIN
    PERFORM quota._check_access(role, bundle, account);
    INSERT INTO quota.access AS a (role, bundle)
        VALUES (grant_access.role, grant_access.bundle)
        ON CONFLICT ON CONSTRAINT access_pkey DO NOTHING;
    FOR wanted IN SELECT b.privilege FROM quota._bundle_privileges(bundle) AS b LOOP
        EXECUTE format('GRANT %s TO %s', wanted, role);
    END LOOP;
END
$function$;
COMMENT ON FUNCTION quota.grant_access(regrole, text, quota.scope) IS
    'Grants a role a bundle of privileges: service (the calls around a request), admin (definitions and views) or viewer (views)';

CREATE FUNCTION quota.revoke_access(role regrole, bundle text, account quota.scope DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Revokes the privileges of a bundle, but for those that another bundle of the role
-- has too. Does nothing if the role does not have the bundle.
-- Errors: those of quota._check_access().
DECLARE
    unwanted text;
BEGIN
    PERFORM quota._check_access(role, bundle, account);
    DELETE FROM quota.access a
        WHERE a.role = revoke_access.role AND a.bundle = revoke_access.bundle;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR unwanted IN
        SELECT b.privilege FROM quota._bundle_privileges(bundle) AS b
        EXCEPT
        SELECT b.privilege
        FROM quota.access a
        CROSS JOIN LATERAL quota._bundle_privileges(a.bundle) AS b
        WHERE a.role = revoke_access.role
    LOOP
        EXECUTE format('REVOKE %s FROM %s', unwanted, role);
    END LOOP;
END
$function$;
COMMENT ON FUNCTION quota.revoke_access(regrole, text, quota.scope) IS
    'Revokes a bundle of privileges; what another bundle of the role grants too stays';
