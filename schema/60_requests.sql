-- Requests: before, during and after a generation --------------------------------

CREATE FUNCTION quota.check(user_id text, project_id text, model text, request jsonb)
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_check'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.check(text, text, text, jsonb) IS
    'The verdict that quota.reserve() would give now: access, estimate and every limit on the way; holds nothing';

CREATE FUNCTION quota.can_execute_generation(user_id text, project_id text, model text, request jsonb)
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_check'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.can_execute_generation(text, text, text, jsonb) IS
    'The same as quota.check(), under the name that Policy Vault calls';

CREATE FUNCTION quota.check_amount(user_id text, project_id text, amount quota.amount)
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_check_amount'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.check_amount(text, text, quota.amount) IS
    'The verdict on an amount without a model: storage, or anything that the caller measures';

CREATE FUNCTION quota.reserve(
    user_id text, project_id text, model text, request jsonb,
    idempotency_key text DEFAULT NULL, ttl interval DEFAULT '15 minutes')
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_reserve'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.reserve(text, text, text, jsonb, text, interval) IS
    'Holds the most that a request may cost, at every level or not at all; a refusal is an answer with the reason';

CREATE FUNCTION quota.reserve_amount(
    user_id text, project_id text, amount quota.amount,
    idempotency_key text DEFAULT NULL, ttl interval DEFAULT '15 minutes')
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_reserve_amount'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.reserve_amount(text, text, quota.amount, text, interval) IS
    'Holds an amount without a model';

CREATE FUNCTION quota.settle(hold_id uuid, usage jsonb, outcome text DEFAULT 'succeeded')
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_settle'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.settle(uuid, jsonb, text) IS
    'Replaces a hold by what was really used, priced by the rate card of the hold; outcome succeeded, failed, cancelled, or unknown, which keeps the hold';

CREATE FUNCTION quota.settle_amount(hold_id uuid, amount quota.amount, outcome text DEFAULT 'succeeded')
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_settle_amount'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.settle_amount(uuid, quota.amount, text) IS
    'Replaces a hold by an amount that the caller has measured';

CREATE FUNCTION quota.release(hold_id uuid, reason text DEFAULT NULL)
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_release'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.release(uuid, text) IS
    'Gives a hold back: nothing was used';

CREATE FUNCTION quota.extend(hold_id uuid, request jsonb DEFAULT NULL, ttl interval DEFAULT NULL)
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_extend'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.extend(uuid, jsonb, interval) IS
    'Holds more, or longer; a hold that has expired is held anew under its id if it still fits';

CREATE FUNCTION quota.charge(
    user_id text, project_id text, model text, usage jsonb, idempotency_key text DEFAULT NULL)
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_charge'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.charge(text, text, text, jsonb, text) IS
    'Records use that was never held, whatever the limits say';

CREATE FUNCTION quota.adjust(
    account quota.scope, amount quota.amount, reason text, idempotency_key text DEFAULT NULL)
    RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_adjust'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.adjust(quota.scope, quota.amount, text, text) IS
    'Corrects what an account has used, up or down: refunds, corrections, storage that comes and goes';

CREATE FUNCTION quota.hold(hold_id uuid) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'quota_hold'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.hold(uuid) IS
    'The state of a hold, what it holds, and its receipt if it is closed: for a worker that lost an answer';

CREATE FUNCTION quota.remaining(user_id text, project_id text) RETURNS quota.quota
    AS 'MODULE_PATHNAME', 'quota_remaining'
    LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION quota.remaining(text, text) IS
    'What is left now at every level that a request of the user in the project would spend';
