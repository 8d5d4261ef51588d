-- Verdicts and receipts as rows ------------------------------------------------------
--
-- For SQL users: SELECT v.* FROM quota.to_verdict(quota.check(...)) AS v. The columns are
-- the keys of the documents; what is a list or an object there stays jsonb.

CREATE TYPE quota.verdict AS (
    allowed    boolean,
    state      text,
    replayed   boolean,
    reason     text,
    message    text,
    hold_id    uuid,
    expires_at timestamptz,
    user_id    text,
    project_id text,
    model      text,
    root       quota.scope,
    estimate   jsonb,
    access     jsonb,
    levels     jsonb,
    retry_at   timestamptz,
    fits       jsonb
);
COMMENT ON TYPE quota.verdict IS 'A verdict as a row; see quota.to_verdict()';

CREATE TYPE quota.receipt AS (
    hold_id  uuid,
    state    text,
    outcome  text,
    reason   text,
    replayed boolean,
    ignored  boolean,
    late     boolean,
    held     quota.amount,
    charged  quota.amount,
    overage  quota.amount,
    cost_usd numeric,
    lines    jsonb,
    levels   jsonb
);
COMMENT ON TYPE quota.receipt IS 'A receipt as a row; see quota.to_receipt()';

CREATE FUNCTION quota.to_verdict(document jsonb) RETURNS quota.verdict
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
SELECT pg_catalog.jsonb_populate_record(NULL::quota.verdict, document)
$function$;
COMMENT ON FUNCTION quota.to_verdict(jsonb) IS
    'A verdict, the document of check, reserve and extend, as a row';

CREATE FUNCTION quota.to_receipt(document jsonb) RETURNS quota.receipt
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
SELECT (d.document ->> 'hold_id')::uuid, d.document ->> 'state', d.document ->> 'outcome',
       d.document ->> 'reason', (d.document ->> 'replayed')::boolean,
       coalesce((d.document ->> 'ignored')::boolean, false), (d.document ->> 'late')::boolean,
       (d.document -> 'held')::quota.amount, (d.document -> 'charged')::quota.amount,
       (d.document -> 'overage')::quota.amount, (d.document ->> 'cost_usd')::numeric,
       d.document -> 'lines', d.document -> 'levels'
FROM (SELECT to_receipt.document) AS d
$function$;
COMMENT ON FUNCTION quota.to_receipt(jsonb) IS
    'A receipt, the document of settle, release, charge and adjust, as a row';
