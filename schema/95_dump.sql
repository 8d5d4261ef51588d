-- Dump: what belongs to the users of the extension ------------------------------------
--
-- pg_dump leaves out the objects of an extension, but for the rows of the tables and
-- the state of the sequences named here: all of them. Rows that this script inserts
-- itself are excluded, or a restore would meet them twice.

DO $do$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN
        SELECT c.oid
        FROM pg_depend d
        JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
        JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
        WHERE e.extname = 'xavier_quota' AND d.deptype = 'e' AND c.relkind IN ('r', 'p', 'S')
        ORDER BY c.oid
    LOOP
        PERFORM pg_extension_config_dump(
            relation,
            CASE relation
                WHEN 'quota.credit_rates'::regclass
                    THEN $$WHERE valid_from > '-infinity'$$
                WHEN 'quota.jobs'::regclass
                    THEN 'WHERE false'
                WHEN 'quota.resources'::regclass
                    THEN $$WHERE resource NOT IN ('credit', 'calls', 'storage', 'in_flight')$$
                ELSE ''
            END);
    END LOOP;
END
$do$;
