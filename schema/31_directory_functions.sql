-- Directory: the calls by which administrators define it -------------------------
--
-- put_* and set_* describe a state: what is already so is not written again, so
-- they can be repeated, and scripts of definitions can be run again as a whole.
-- A private function (its name begins with _) checks what several calls share.

-- Checks ----------------------------------------------------------------------

CREATE FUNCTION quota._check_quantity(argument text, quantity numeric) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Checks that a quantity can be counted exactly: whole millionths, less than 2^62.
-- Errors: 22004 null; 22003 out of range.
BEGIN
    IF quantity IS NULL THEN
        RAISE EXCEPTION '% must not be null', argument
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF quantity < 0 THEN
        RAISE EXCEPTION '% must not be negative: %', argument, quantity
            USING ERRCODE = 'numeric_value_out_of_range';
    END IF;
    IF quantity >= 4611686018427.387904 THEN
        RAISE EXCEPTION '% is too large: %', argument, quantity
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'The largest is 4611686018427.387903.';
    END IF;
    IF quantity <> round(quantity, 6) THEN
        RAISE EXCEPTION '% has more than six decimals: %', argument, quantity
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'Quantities are counted in millionths of their unit.';
    END IF;
END
$function$;

CREATE FUNCTION quota._check_user_id(user_id text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Checks the identifier of a user.
-- Errors: 22004 null; 22023 empty, too long, or with control characters.
BEGIN
    IF user_id IS NULL THEN
        RAISE EXCEPTION 'user_id must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF user_id = '' THEN
        RAISE EXCEPTION 'user_id must not be empty'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(user_id) > 127 THEN
        RAISE EXCEPTION 'user_id is too long: % bytes', octet_length(user_id)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The identifier of a user has at most 127 bytes.';
    END IF;
    -- It is the name of the user's share in a scope, which allows none of them.
    IF user_id ~ '[\x01-\x1f\x7f]' THEN
        RAISE EXCEPTION 'user_id has control characters: %', pg_catalog.quote_literal(user_id)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$function$;

CREATE FUNCTION quota._check_pattern(pattern text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Checks a pattern of models.
-- Errors: 22004 null; 22023 empty or too long.
BEGIN
    IF pattern IS NULL THEN
        RAISE EXCEPTION 'pattern of models must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF pattern = '' THEN
        RAISE EXCEPTION 'pattern of models must not be empty'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The pattern * matches every model.';
    END IF;
    IF octet_length(pattern) > 255 THEN
        RAISE EXCEPTION 'pattern of models is too long: % bytes', octet_length(pattern)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A pattern has at most 255 bytes.';
    END IF;
END
$function$;

CREATE FUNCTION quota._limit_period_kind(period quota.period) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: calendar, rolling, refill or lifetime, as the canonical form begins.
SELECT COALESCE(substring(period::text FROM '^(rolling|refill|lifetime)'), 'calendar')
$function$;
COMMENT ON FUNCTION quota._limit_period_kind(quota.period) IS
    'Whether a period is calendar, rolling, refill or lifetime';

CREATE FUNCTION quota._limit_period_burst(period quota.period) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: how much a refill fills up to; null for other periods.
SELECT substring(period::text FROM '^refill .* up to ([0-9.]+)$')::numeric
$function$;
COMMENT ON FUNCTION quota._limit_period_burst(quota.period) IS
    'How much a refill fills up to; null for other periods';

CREATE FUNCTION quota._check_limit(
    resource text, amount numeric, period quota.period, policy text, overdraft numeric,
    rollover numeric, carry_overage boolean, model text, rollover_periods integer)
RETURNS quota.period
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Checks what the limits of accounts and of plans have in common.
-- Returns: the period, or what stands for null: a month for a flow, else a lifetime.
-- Errors: XQ006 no such resource; XQ301 a period that the resource cannot have, or that
--   carries nothing; 22003, 22004, 22023 malformed.
DECLARE
    resource_kind text;
    period_kind text;
BEGIN
    IF resource IS NULL OR policy IS NULL OR rollover IS NULL OR carry_overage IS NULL
            OR rollover_periods IS NULL THEN
        RAISE EXCEPTION 'resource, policy, rollover, carry_overage and rollover_periods must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT r.kind INTO resource_kind FROM quota.resources r WHERE r.resource = _check_limit.resource;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'resource "%" does not exist', resource
            USING ERRCODE = 'XQ006',
                  HINT = 'Define it with quota.put_resource().';
    END IF;
    PERFORM quota._check_quantity('amount', amount);
    PERFORM quota._check_quantity('overdraft', overdraft);
    PERFORM quota._check_quantity('rollover', rollover);
    PERFORM quota._check_pattern(model);
    IF policy NOT IN ('hard', 'soft', 'shadow') THEN
        RAISE EXCEPTION 'unknown policy: "%"', policy
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'A policy is hard (refused), soft (allowed and flagged) or shadow (only counted).';
    END IF;
    IF rollover_periods NOT BETWEEN 1 AND 12 THEN
        RAISE EXCEPTION 'rollover_periods is out of range: %', rollover_periods
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'What is rolled over lasts for 1 to 12 periods.';
    END IF;
    IF period IS NULL THEN
        period := CASE WHEN resource_kind = 'flow' THEN 'month' ELSE 'lifetime' END;
    END IF;
    IF resource_kind <> 'flow' AND period OPERATOR(quota.<>) 'lifetime' THEN
        RAISE EXCEPTION 'a limit of "%" cannot have the period "%"', resource, period
            USING ERRCODE = 'XQ301',
                  DETAIL = format('The resource is a %s, which never resets.', resource_kind),
                  HINT = 'Leave the period out, or give ''lifetime''.';
    END IF;
    period_kind := quota._limit_period_kind(period);
    IF period_kind = 'refill' AND amount <> quota._limit_period_burst(period) THEN
        RAISE EXCEPTION 'the amount of a limit must be the burst of its period'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('The amount is %s, and the period "%s" fills up to %s.',
                                  amount, period, quota._limit_period_burst(period)),
                  HINT = format('Give %s as the amount, or another period.', quota._limit_period_burst(period));
    END IF;
    IF period_kind <> 'calendar' AND (rollover <> 0 OR carry_overage) THEN
        RAISE EXCEPTION 'a limit with the period "%" carries nothing over', period
            USING ERRCODE = 'XQ301',
                  DETAIL = CASE period_kind
                      WHEN 'lifetime' THEN 'A lifetime never resets.'
                      ELSE format('A %s period has no end at which something could be left.', period_kind) END,
                  HINT = 'Use a calendar period, such as ''month'', or leave rollover at 0 and carry_overage at false.';
    END IF;
    RETURN period;
END
$function$;

CREATE FUNCTION quota._check_account(account quota.scope) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Checks that a scope can be the name of one account.
-- Errors: 22004 null; XQ301 it stands for many.
BEGIN
    IF account IS NULL THEN
        RAISE EXCEPTION 'account must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF quota.is_wildcard(account) THEN
        RAISE EXCEPTION '"%" is not one account', account
            USING ERRCODE = 'XQ301',
                  DETAIL = 'The name * stands for every account of its kind.',
                  HINT = 'Only quota.set_limit() takes it, as a default for all of them.';
    END IF;
END
$function$;

CREATE FUNCTION quota._account(account quota.scope) RETURNS quota.accounts
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: the account of a scope.
-- Errors: XQ005 no such account; those of quota._check_account().
DECLARE
    found_account quota.accounts;
BEGIN
    PERFORM quota._check_account(account);
    SELECT a.* INTO found_account
        FROM quota.accounts a
        WHERE a.scope OPERATOR(quota.=) account;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'account "%" does not exist', account
            USING ERRCODE = 'XQ005',
                  HINT = format('Create it with quota.put_account(%L).', account);
    END IF;
    RETURN found_account;
END
$function$;

CREATE FUNCTION quota._owner(account quota.scope) RETURNS quota.accounts
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: the account of a scope that can have members and accounts below it.
-- Errors: those of quota._account(); XQ301 the share of a user.
BEGIN
    IF quota.kind(account) = 'user' AND quota.parent(account) IS NOT NULL THEN
        RAISE EXCEPTION '"%" is the share of a user in its parent', account
            USING ERRCODE = 'XQ301',
                  DETAIL = 'A share has no members and no accounts below it.',
                  HINT = 'Personal projects live under the root account of the user.';
    END IF;
    RETURN quota._account(account);
END
$function$;

-- Resources -------------------------------------------------------------------

CREATE FUNCTION quota.put_resource(resource text, unit text, kind text, description text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Defines a resource, or gives an existing one another unit or description.
-- Errors: XQ301 the kind would change, or the resource is built in; 22004, 22023 malformed.
DECLARE
    existing quota.resources;
BEGIN
    IF resource IS NULL OR unit IS NULL OR kind IS NULL THEN
        RAISE EXCEPTION 'resource, unit and kind must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF resource !~ '^[a-z_][a-z0-9_]{0,62}$' THEN
        RAISE EXCEPTION 'invalid name of a resource: "%"', resource
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A name has at most 63 characters a to z, 0 to 9 and _, and does not begin with a digit.';
    END IF;
    IF kind NOT IN ('flow', 'stock', 'concurrency') THEN
        RAISE EXCEPTION 'unknown kind of resource: "%"', kind
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'A kind is flow (counted per period), stock (up and down, never resets) or concurrency (held while running).';
    END IF;
    INSERT INTO quota.resources AS r (resource, unit, kind, description)
        VALUES (put_resource.resource, put_resource.unit, put_resource.kind, put_resource.description)
        ON CONFLICT ON CONSTRAINT resources_pkey DO NOTHING;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT r.* INTO STRICT existing
        FROM quota.resources r
        WHERE r.resource = put_resource.resource
        FOR NO KEY UPDATE;
    IF (existing.unit, existing.kind, existing.description)
            IS NOT DISTINCT FROM (unit, kind, description) THEN
        RETURN;
    END IF;
    IF resource IN ('credit', 'calls', 'storage', 'in_flight') THEN
        RAISE EXCEPTION 'resource "%" is built in and cannot be changed', resource
            USING ERRCODE = 'XQ301';
    END IF;
    IF existing.kind <> kind THEN
        RAISE EXCEPTION 'the kind of resource "%" cannot change from % to %', resource, existing.kind, kind
            USING ERRCODE = 'XQ301',
                  HINT = 'Define another resource.';
    END IF;
    UPDATE quota.resources r
        SET unit = put_resource.unit, description = put_resource.description
        WHERE r.resource = put_resource.resource;
END
$function$;
COMMENT ON FUNCTION quota.put_resource(text, text, text, text) IS
    'Defines what can be measured and limited: a flow, a stock or a concurrency; the kind is for life';

-- Accounts --------------------------------------------------------------------

CREATE FUNCTION quota.put_account(
    scope quota.scope,
    active boolean DEFAULT true,
    plan text DEFAULT NULL,
    attributes jsonb DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Creates an account, or brings an existing one into the state described. What is
-- not given is not kept: no plan given means no plan.
-- Returns: the id of the account.
-- Errors: XQ005 no parent; XQ007 no such plan; XQ301 nothing that can be an account.
DECLARE
    existing quota.accounts;
    parent quota.accounts;
    share boolean := quota.kind(scope) = 'user' AND quota.parent(scope) IS NOT NULL;
    new_id bigint;
    result bigint;
BEGIN
    PERFORM quota._check_account(scope);
    IF active IS NULL THEN
        RAISE EXCEPTION 'active must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT a.* INTO existing FROM quota.accounts a WHERE a.scope OPERATOR(quota.=) put_account.scope;
    IF FOUND AND (existing.active, existing.plan, existing.attributes)
            IS NOT DISTINCT FROM (active, plan, attributes) THEN
        RETURN existing.account_id;
    END IF;
    -- What it leaves is what it is on when nobody else changes it any more. Who records periods
    -- of a root locks them before any account, as all do.
    IF existing.plan IS DISTINCT FROM plan AND existing.plan IS NOT NULL THEN
        PERFORM quota._lock_periods(existing.root_id);
    END IF;
    SELECT a.* INTO existing FROM quota.accounts a WHERE a.scope OPERATOR(quota.=) put_account.scope FOR NO KEY UPDATE;

    IF quota.parent(scope) IS NOT NULL THEN
        parent := quota._owner(quota.parent(scope));
    END IF;
    IF quota.kind(scope) = 'user' THEN
        PERFORM quota._check_user_id(quota.name(scope));
    END IF;
    IF plan IS NOT NULL AND NOT EXISTS (SELECT FROM quota.plans p WHERE p.plan = put_account.plan) THEN
        RAISE EXCEPTION 'plan "%" does not exist', plan
            USING ERRCODE = 'XQ007',
                  HINT = 'Create it with quota.put_plan().';
    END IF;
    IF jsonb_typeof(attributes) <> 'object' THEN
        RAISE EXCEPTION 'attributes must be a JSON object'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF existing.plan IS DISTINCT FROM plan AND existing.plan IS NOT NULL THEN
        PERFORM quota._record_last_periods(
            CASE WHEN share THEN quota.parent(scope) ELSE scope END,
            CASE WHEN share THEN existing.name END,
            ARRAY(SELECT p.limit_id FROM quota.plan_limits p WHERE p.plan = existing.plan));
    END IF;

    new_id := nextval('quota.definition_id_seq');
    INSERT INTO quota.accounts AS a
            (root_id, account_id, parent_id, scope, kind, name, active, plan, attributes, created_at,
             plan_since)
        VALUES (COALESCE(parent.root_id, new_id), new_id, parent.account_id, put_account.scope,
                quota.kind(put_account.scope), quota.name(put_account.scope),
                put_account.active, put_account.plan, put_account.attributes, quota.now(),
                CASE WHEN put_account.plan IS NOT NULL THEN timestamptz 'infinity' END)
        ON CONFLICT ON CONSTRAINT accounts_scope_key DO UPDATE
            SET active = EXCLUDED.active, plan = EXCLUDED.plan, attributes = EXCLUDED.attributes,
                plan_since = CASE WHEN a.plan IS NOT DISTINCT FROM EXCLUDED.plan THEN a.plan_since
                                  ELSE EXCLUDED.plan_since END
        RETURNING a.account_id INTO result;
    RETURN result;
END
$function$;
COMMENT ON FUNCTION quota.put_account(quota.scope, boolean, text, jsonb) IS
    'Creates an account, or brings an existing one into the state described: what is not given gets its default, no plan given means no plan';

CREATE FUNCTION quota.put_member(account quota.scope, user_id text, active boolean DEFAULT true)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Makes a user a member of an account and of everything below it.
-- Errors: XQ005 no such account; XQ301 the share of a user; 22004, 22023 malformed.
DECLARE
    owner quota.accounts := quota._owner(account);
BEGIN
    PERFORM quota._check_user_id(user_id);
    IF active IS NULL THEN
        RAISE EXCEPTION 'active must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    INSERT INTO quota.members AS m (root_id, account_id, user_id, active)
        VALUES (owner.root_id, owner.account_id, put_member.user_id, put_member.active)
        ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE
            SET active = EXCLUDED.active
            WHERE m.active <> EXCLUDED.active;
END
$function$;
COMMENT ON FUNCTION quota.put_member(quota.scope, text, boolean) IS
    'Makes a user a member of an account and of everything below it; an inactive member is refused there, whatever is said above';

CREATE FUNCTION quota.drop_member(account quota.scope, user_id text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Takes back what quota.put_member() said at this account.
-- Returns: whether there was such a member.
-- Errors: XQ005 no such account; 22004, 22023 malformed.
DECLARE
    target quota.accounts := quota._account(account);
BEGIN
    PERFORM quota._check_user_id(user_id);
    DELETE FROM quota.members m
        WHERE m.root_id = target.root_id
          AND m.account_id = target.account_id
          AND m.user_id = drop_member.user_id;
    RETURN FOUND;
END
$function$;
COMMENT ON FUNCTION quota.drop_member(quota.scope, text) IS
    'Takes back what put_member() said at this account; returns whether there was such a member';

-- Models ----------------------------------------------------------------------

CREATE FUNCTION quota._put_model_rule(account quota.scope, pattern text, allow boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Writes the rule of an account about a pattern of models.
-- Errors: XQ005 no such account; 22004, 22023 malformed.
DECLARE
    target quota.accounts := quota._account(account);
BEGIN
    PERFORM quota._check_pattern(pattern);
    INSERT INTO quota.model_rules AS r (root_id, account_id, pattern, allow)
        VALUES (target.root_id, target.account_id, _put_model_rule.pattern, _put_model_rule.allow)
        ON CONFLICT ON CONSTRAINT model_rules_pkey DO UPDATE
            SET allow = EXCLUDED.allow
            WHERE r.allow <> EXCLUDED.allow;
END
$function$;

CREATE FUNCTION quota.allow_model(account quota.scope, pattern text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Allows the models that match the pattern; * stands for any characters.
-- Errors: XQ005 no such account; 22004, 22023 malformed.
BEGIN
    PERFORM quota._put_model_rule(account, pattern, true);
END
$function$;
COMMENT ON FUNCTION quota.allow_model(quota.scope, text) IS
    'Allows an account the models that match a pattern; an account with such rules may use no others';

CREATE FUNCTION quota.deny_model(account quota.scope, pattern text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Denies the models that match the pattern; * stands for any characters.
-- Errors: XQ005 no such account; 22004, 22023 malformed.
BEGIN
    PERFORM quota._put_model_rule(account, pattern, false);
END
$function$;
COMMENT ON FUNCTION quota.deny_model(quota.scope, text) IS
    'Denies an account and everything below it the models that match a pattern';

CREATE FUNCTION quota.drop_model_rule(account quota.scope, pattern text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Takes back what allow_model() or deny_model() said about exactly this pattern.
-- Returns: whether there was such a rule.
-- Errors: XQ005 no such account; 22004, 22023 malformed.
DECLARE
    target quota.accounts := quota._account(account);
BEGIN
    PERFORM quota._check_pattern(pattern);
    DELETE FROM quota.model_rules r
        WHERE r.root_id = target.root_id
          AND r.account_id = target.account_id
          AND r.pattern = drop_model_rule.pattern;
    RETURN FOUND;
END
$function$;
COMMENT ON FUNCTION quota.drop_model_rule(quota.scope, text) IS
    'Takes back the rule of an account about exactly this pattern; returns whether there was one';

-- Limits ----------------------------------------------------------------------

CREATE FUNCTION quota._limit_target(
    account quota.scope,
    OUT root_id bigint, OUT account_id bigint, OUT user_id text, OUT child_kind text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Says where a limit counts: at an account, at the share of a user in it, or at
-- each of its children of a kind.
-- Errors: XQ005 no such account; XQ301 nothing that can have a limit; 22004, 22023 malformed.
DECLARE
    parent quota.scope := quota.parent(account);
    owner quota.accounts;
BEGIN
    IF quota.is_wildcard(account) THEN
        IF parent IS NULL THEN
            RAISE EXCEPTION '"%" cannot have a limit', account
                USING ERRCODE = 'XQ301',
                      DETAIL = 'There is no account above a root that could give a default.',
                      HINT = 'Put the accounts on a plan.';
        END IF;
        owner := quota._owner(parent);
        child_kind := quota.kind(account);
    ELSIF parent IS NOT NULL AND quota.kind(account) = 'user' THEN
        PERFORM quota._check_user_id(quota.name(account));
        owner := quota._owner(parent);
        user_id := quota.name(account);
    ELSE
        owner := quota._account(account);
    END IF;
    root_id := owner.root_id;
    account_id := owner.account_id;
END
$function$;

CREATE FUNCTION quota._prorate(
    period quota.period, at timestamptz, running numeric, before numeric, after numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: the amount of the period that contains at, when the amount of a limit changes
-- from before to after at that instant and its share of the period that is left changes
-- with it; running is the amount of this period until now. Rounded up to a millionth.
-- All in whole millionths and microseconds; div() cuts towards zero, which is up where
-- the change is downwards.
SELECT GREATEST(0, running + trim_scale(0.000001 * div(
           c.change * c.remaining + CASE WHEN c.change > 0 THEN c.whole - 1 ELSE 0 END, c.whole)))
FROM quota.period_range(period, at) AS r
CROSS JOIN LATERAL (SELECT 1000000 * (after - before),
                           1000000 * extract(epoch FROM upper(r) - at),
                           1000000 * extract(epoch FROM upper(r) - lower(r))) AS c (change, remaining, whole)
$function$;
COMMENT ON FUNCTION quota._prorate(quota.period, timestamptz, numeric, numeric, numeric) IS
    'The amount of the running period when the amount of a limit changes within it';

CREATE FUNCTION quota._running_amount(
    period quota.period, amount numeric, prorated_at timestamptz, prorated_amount numeric)
RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Returns: how much a limit is in the running period, which may be prorated.
SELECT CASE WHEN prorated_amount IS NOT NULL AND quota.period_range(period, quota.now()) @> prorated_at
            THEN prorated_amount ELSE amount END
$function$;
COMMENT ON FUNCTION quota._running_amount(quota.period, numeric, timestamptz, numeric) IS
    'How much a limit is in the running period';

CREATE FUNCTION quota._put_limit_terms(
    root_id bigint, limit_id bigint, period quota.period, amount numeric, rollover numeric,
    rollover_periods integer, carry_overage boolean,
    prorated_at timestamptz DEFAULT NULL, prorated_amount numeric DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Notes what a limit is from now on, unless it is so already; a new one of an account, from the
-- commit on. A clock that has gone back does not change what holds until then: the last row
-- is written over.
DECLARE
    last quota.limit_terms;
    now timestamptz := quota.now();
    set_at timestamptz;
BEGIN
    SELECT t.* INTO last
        FROM quota.limit_terms t
        WHERE t.root_id = _put_limit_terms.root_id AND t.limit_id = _put_limit_terms.limit_id
        ORDER BY t.set_at DESC LIMIT 1;
    IF FOUND AND (last.amount, last.rollover, last.rollover_periods, last.carry_overage)
            IS NOT DISTINCT FROM (amount, rollover, rollover_periods::smallint, carry_overage) THEN
        RETURN;
    END IF;
    set_at := CASE WHEN last.limit_id IS NULL AND root_id <> 0 THEN 'infinity' ELSE GREATEST(now, last.set_at) END;
    INSERT INTO quota.limit_terms AS t
            (root_id, limit_id, set_at, amount, prorated_amount, rollover, rollover_periods, carry_overage)
        VALUES (_put_limit_terms.root_id, _put_limit_terms.limit_id, set_at, _put_limit_terms.amount,
                CASE WHEN quota.period_range(_put_limit_terms.period, CASE WHEN set_at = 'infinity' THEN now ELSE set_at END)
                          @> _put_limit_terms.prorated_at
                     THEN _put_limit_terms.prorated_amount END,
                _put_limit_terms.rollover, _put_limit_terms.rollover_periods, _put_limit_terms.carry_overage)
        ON CONFLICT ON CONSTRAINT limit_terms_pkey DO UPDATE
            SET amount = EXCLUDED.amount, prorated_amount = EXCLUDED.prorated_amount,
                rollover = EXCLUDED.rollover, rollover_periods = EXCLUDED.rollover_periods,
                carry_overage = EXCLUDED.carry_overage;
END
$function$;
COMMENT ON FUNCTION quota._put_limit_terms(bigint, bigint, quota.period, numeric, numeric, integer, boolean, timestamptz, numeric) IS
    'Notes what a limit is from now on';

CREATE FUNCTION quota._refuse_lowering(limit_id bigint, instead text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Refuses a limit, as it has just been written, if more than it lets through is used and
-- held already at any level where it counts.
-- instead: what says before what a change would do.
-- Errors: XQ302.
DECLARE
    worst record;
BEGIN
    SELECT u.scope, trim_scale(u."limit") AS "limit", trim_scale(u.overdraft) AS overdraft,
           trim_scale(u.used) AS used, trim_scale(u.held) AS held, count(*) OVER () AS levels
        INTO worst
        FROM quota._limit_uses(_refuse_lowering.limit_id, NULL) AS u
        WHERE u.used + u.held > u."limit" + u.overdraft
        ORDER BY u."limit" + u.overdraft - u.used - u.held, u.scope
        LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the limit would be below what is used and held already'
            USING ERRCODE = 'XQ302',
                  DETAIL = format('It would be over at %s; most at "%s": limit %s, overdraft %s, used %s, held %s.',
                                  CASE worst.levels WHEN 1 THEN '1 level' ELSE format('%s levels', worst.levels) END,
                                  worst.scope, worst."limit", worst.overdraft, worst.used, worst.held),
                  HINT = format('See what would change with %s, or set it all the same with force => true.', instead);
    END IF;
END
$function$;
COMMENT ON FUNCTION quota._refuse_lowering(bigint, text) IS
    'Refuses a limit that more is used and held of than it lets through';

CREATE FUNCTION quota.set_limit(
    account quota.scope,
    resource text,
    amount numeric,
    period quota.period DEFAULT NULL,
    policy text DEFAULT 'hard',
    overdraft numeric DEFAULT 0,
    rollover numeric DEFAULT 0,
    carry_overage boolean DEFAULT false,
    model text DEFAULT '*',
    prorate boolean DEFAULT false,
    rollover_periods integer DEFAULT 1,
    force boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Creates the limit of (account, resource, model, period), or changes how much it is.
-- The account may also be the share of a user (company:acme/user:ann) or the default
-- for all children of a kind (company:acme/user:*).
-- With prorate the running period gets the new amount for the part of it that is left, and
-- what it had for the part that is over: nothing, if there was no limit.
-- Without force a limit is not lowered below what is used and held of it.
-- Returns: the id of the limit, which stays until it is dropped.
-- Errors: XQ005 no such account; XQ006 no such resource; XQ301 nothing that can have
--   such a limit; XQ302 below what is used; 22003, 22004, 22023 malformed.
DECLARE
    target record;
    existing quota.limits;
    written quota.limits;
    now timestamptz;
BEGIN
    period := quota._check_limit(resource, amount, period, policy, overdraft, rollover,
                                 carry_overage, model, rollover_periods);
    IF prorate IS NULL OR force IS NULL THEN
        RAISE EXCEPTION 'prorate and force must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF prorate THEN
        IF period OPERATOR(quota.=) 'lifetime' THEN
            RAISE EXCEPTION 'a limit for life cannot be prorated'
                USING ERRCODE = 'XQ301',
                      DETAIL = 'It has no period of which a part could be left.';
        END IF;
        IF quota._limit_period_kind(period) <> 'calendar' THEN
            RAISE EXCEPTION 'a limit with the period "%" cannot be prorated', period
                USING ERRCODE = 'XQ301',
                      DETAIL = 'It does not start afresh, so that no part of a period could be left.';
        END IF;
        now := quota.now();
    END IF;
    SELECT * INTO target FROM quota._limit_target(account);
    SELECT l.* INTO existing
        FROM quota.limits l
        WHERE l.root_id = target.root_id
          AND l.scope OPERATOR(quota.=) account
          AND l.resource = set_limit.resource
          AND l.model = set_limit.model
          AND l.period OPERATOR(quota.=) set_limit.period;
    IF FOUND AND (existing.amount, existing.policy, existing.overdraft,
                  existing.rollover, existing.rollover_periods, existing.carry_overage)
            IS NOT DISTINCT FROM (amount, policy, overdraft, rollover, rollover_periods::smallint, carry_overage) THEN
        RETURN existing.limit_id;
    END IF;

    IF existing.limit_id IS NULL THEN
        PERFORM quota._record_replaced_periods(target.root_id, target.account_id, target.user_id, target.child_kind,
                                               resource, model, period);
    END IF;
    -- The id and the version of an existing limit stay: what it counts is its identity.
    INSERT INTO quota.limits AS l
            (root_id, limit_id, version, account_id, user_id, child_kind, scope, resource, model,
             period, amount, policy, overdraft, rollover, carry_overage, prorated_at, prorated_amount,
             rollover_periods)
        VALUES (target.root_id, nextval('quota.definition_id_seq'), nextval('quota.definition_id_seq'),
                target.account_id, target.user_id, target.child_kind, account, set_limit.resource,
                set_limit.model, set_limit.period, set_limit.amount, set_limit.policy,
                set_limit.overdraft, set_limit.rollover, set_limit.carry_overage,
                now, quota._prorate(set_limit.period, now, 0, 0, set_limit.amount), set_limit.rollover_periods)
        ON CONFLICT ON CONSTRAINT limits_identity_key DO UPDATE
            SET amount = EXCLUDED.amount, policy = EXCLUDED.policy, overdraft = EXCLUDED.overdraft,
                rollover = EXCLUDED.rollover, carry_overage = EXCLUDED.carry_overage,
                rollover_periods = EXCLUDED.rollover_periods,
                -- What is prorated is the change of the amount. A period that is over is forgotten.
                prorated_at = CASE WHEN l.amount <> EXCLUDED.amount THEN now ELSE l.prorated_at END,
                prorated_amount = CASE
                    WHEN l.amount = EXCLUDED.amount THEN l.prorated_amount
                    ELSE quota._prorate(
                        l.period, now,
                        CASE WHEN quota.period_range(l.period, now) @> l.prorated_at THEN l.prorated_amount
                             ELSE l.amount END,
                        l.amount, EXCLUDED.amount)
                END
        RETURNING l.* INTO written;
    PERFORM quota._put_limit_terms(written.root_id, written.limit_id, written.period, written.amount,
                                   written.rollover, written.rollover_periods, written.carry_overage,
                                   written.prorated_at, written.prorated_amount);
    IF NOT force AND written.overdraft
                     + quota._running_amount(written.period, written.amount, written.prorated_at, written.prorated_amount)
                   < existing.overdraft
                     + quota._running_amount(existing.period, existing.amount, existing.prorated_at, existing.prorated_amount)
    THEN
        PERFORM quota._refuse_lowering(written.limit_id, 'quota.preview_limit()');
    END IF;
    RETURN written.limit_id;
END
$function$;
COMMENT ON FUNCTION quota.set_limit(quota.scope, text, numeric, quota.period, text, numeric, numeric, boolean, text, boolean, integer, boolean) IS
    'Sets how much of a resource an account, the share of a user or all children of a kind may use per period; a null period is a month for a flow and a lifetime for everything else; prorate scales the change to what is left of the running period; force lowers it even below what is used';

CREATE FUNCTION quota.drop_limit(limit_id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Drops a limit; without one, a level is unlimited, or a default or a plan applies.
-- Errors: XQ008 no such limit; XQ301 a limit of a plan; 22004 null.
DECLARE
    plan_name text;
BEGIN
    IF limit_id IS NULL THEN
        RAISE EXCEPTION 'limit_id must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF EXISTS (SELECT FROM quota.limits l WHERE l.limit_id = drop_limit.limit_id) THEN
        PERFORM quota._record_last_periods_of(ARRAY[drop_limit.limit_id]);
        DELETE FROM quota.limits l WHERE l.limit_id = drop_limit.limit_id;
        RETURN;
    END IF;
    SELECT p.plan INTO plan_name FROM quota.plan_limits p WHERE p.limit_id = drop_limit.limit_id;
    IF FOUND THEN
        RAISE EXCEPTION 'limit % belongs to plan "%"', limit_id, plan_name
            USING ERRCODE = 'XQ301',
                  HINT = 'Call quota.put_plan() with the limits that shall remain.';
    END IF;
    RAISE EXCEPTION 'limit % does not exist', limit_id
        USING ERRCODE = 'XQ008',
              HINT = 'See limit_id in quota.admin_limits.';
END
$function$;
COMMENT ON FUNCTION quota.drop_limit(bigint) IS
    'Drops a limit; without one a level is unlimited, or a default of the parent or a plan applies';

-- Plans -----------------------------------------------------------------------

CREATE FUNCTION quota._put_plan_limit(plan text, definition jsonb, force boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
-- Creates one limit of a plan, or changes how much it is.
-- Returns: the id of the limit.
-- Errors: those of quota._check_limit(); XQ301 not an object, or an unknown key; XQ302
--   below what is used.
DECLARE
    keys constant text[] := ARRAY['resource', 'amount', 'period', 'policy', 'overdraft',
                                  'rollover', 'carry_overage', 'model', 'rollover_periods'];
    unknown_key text;
    wanted record;
    existing quota.plan_limits;
    written quota.plan_limits;
BEGIN
    IF jsonb_typeof(definition) <> 'object' THEN
        RAISE EXCEPTION 'a limit must be a JSON object, not %', definition
            USING ERRCODE = 'XQ301';
    END IF;
    SELECT k.name INTO unknown_key
        FROM jsonb_object_keys(definition) AS k(name)
        WHERE k.name <> ALL (keys)
        ORDER BY k.name;
    IF FOUND THEN
        RAISE EXCEPTION 'a limit has no "%"', unknown_key
            USING ERRCODE = 'XQ301',
                  HINT = format('The keys of a limit are %s.', array_to_string(keys, ', '));
    END IF;

    SELECT d.resource, d.amount, d.period,
           COALESCE(d.policy, 'hard') AS policy,
           COALESCE(d.overdraft, 0) AS overdraft,
           COALESCE(d.rollover, 0) AS rollover,
           COALESCE(d.carry_overage, false) AS carry_overage,
           COALESCE(d.model, '*') AS model,
           COALESCE(d.rollover_periods, 1) AS rollover_periods
        INTO wanted
        FROM jsonb_to_record(definition)
            AS d(resource text, amount numeric, period quota.period, policy text,
                 overdraft numeric, rollover numeric, carry_overage boolean, model text,
                 rollover_periods integer);
    wanted.period := quota._check_limit(wanted.resource, wanted.amount, wanted.period, wanted.policy,
                                        wanted.overdraft, wanted.rollover, wanted.carry_overage,
                                        wanted.model, wanted.rollover_periods);
    SELECT p.* INTO existing
        FROM quota.plan_limits p
        WHERE p.plan = _put_plan_limit.plan
          AND p.resource = wanted.resource
          AND p.model = wanted.model
          AND p.period OPERATOR(quota.=) wanted.period;
    IF FOUND AND (existing.amount, existing.policy, existing.overdraft,
                  existing.rollover, existing.rollover_periods, existing.carry_overage)
            IS NOT DISTINCT FROM (wanted.amount, wanted.policy, wanted.overdraft,
                                  wanted.rollover, wanted.rollover_periods::smallint, wanted.carry_overage) THEN
        RETURN existing.limit_id;
    END IF;
    INSERT INTO quota.plan_limits AS p
            (limit_id, version, plan, resource, model, period, amount, policy, overdraft,
             rollover, carry_overage, rollover_periods)
        VALUES (nextval('quota.definition_id_seq'), nextval('quota.definition_id_seq'),
                _put_plan_limit.plan, wanted.resource, wanted.model, wanted.period, wanted.amount,
                wanted.policy, wanted.overdraft, wanted.rollover, wanted.carry_overage,
                wanted.rollover_periods)
        ON CONFLICT ON CONSTRAINT plan_limits_identity_key DO UPDATE
            SET amount = EXCLUDED.amount, policy = EXCLUDED.policy, overdraft = EXCLUDED.overdraft,
                rollover = EXCLUDED.rollover, carry_overage = EXCLUDED.carry_overage,
                rollover_periods = EXCLUDED.rollover_periods
        RETURNING p.* INTO written;
    PERFORM quota._put_limit_terms(0, written.limit_id, written.period, written.amount, written.rollover,
                                   written.rollover_periods, written.carry_overage);
    IF NOT force AND written.amount + written.overdraft < existing.amount + existing.overdraft THEN
        PERFORM quota._refuse_lowering(written.limit_id, 'quota.preview_plan()');
    END IF;
    RETURN written.limit_id;
END
$function$;

CREATE FUNCTION quota.put_plan(plan text, limits jsonb, force boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
-- Creates a plan, or gives an existing one exactly these limits. limits is an array of
-- {"resource","amount","period","policy","overdraft","rollover","carry_overage","model",
-- "rollover_periods"}, of which resource and amount are required. A limit that was there
-- before (the same resource, model and period) keeps its id, and with it what has been
-- counted. Without force none is lowered below what is used and held of it anywhere.
-- Errors: XQ006 no such resource; XQ301 malformed plan; XQ302 below what is used; 22xxx
--   malformed values; DETAIL says in which of the limits.
DECLARE
    definition jsonb;
    ordinal bigint;
    id bigint;
    ids bigint[] := ARRAY[]::bigint[];
    why text;
    how text;
BEGIN
    IF plan IS NULL OR limits IS NULL OR force IS NULL THEN
        RAISE EXCEPTION 'plan, limits and force must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF plan = '' OR octet_length(plan) > 255 THEN
        RAISE EXCEPTION 'invalid name of a plan: "%"', left(plan, 60)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A name has 1 to 255 bytes.';
    END IF;
    IF jsonb_typeof(limits) <> 'array' THEN
        RAISE EXCEPTION 'limits must be a JSON array of objects'
            USING ERRCODE = 'XQ301';
    END IF;

    -- One call at a time per plan.
    INSERT INTO quota.plans AS p (plan) VALUES (put_plan.plan)
        ON CONFLICT ON CONSTRAINT plans_pkey DO NOTHING;
    PERFORM FROM quota.plans p WHERE p.plan = put_plan.plan FOR NO KEY UPDATE;

    FOR definition, ordinal IN
        SELECT e.value, e.ordinality FROM jsonb_array_elements(limits) WITH ORDINALITY AS e
    LOOP
        BEGIN
            id := quota._put_plan_limit(plan, definition, force);
            IF id = ANY (ids) THEN
                RAISE EXCEPTION 'a limit of this resource, model and period is there twice'
                    USING ERRCODE = 'XQ301';
            END IF;
        EXCEPTION
            WHEN data_exception OR SQLSTATE 'XQ006' OR SQLSTATE 'XQ301' OR SQLSTATE 'XQ302' THEN
                GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL, how = PG_EXCEPTION_HINT;
                RAISE EXCEPTION '%', SQLERRM
                    USING ERRCODE = SQLSTATE,
                          DETAIL = concat_ws(' ', NULLIF(why, ''),
                                             format('This is limit %s of plan "%s".', ordinal, plan)),
                          HINT = COALESCE(NULLIF(how, ''), 'See quota.set_limit() for what a limit is made of.');
        END;
        ids := ids || id;
    END LOOP;
    PERFORM quota._record_last_periods_of(
        ARRAY(SELECT p.limit_id FROM quota.plan_limits p WHERE p.plan = put_plan.plan AND p.limit_id <> ALL (ids)));
    WITH dropped AS (
        DELETE FROM quota.plan_limits p WHERE p.plan = put_plan.plan AND p.limit_id <> ALL (ids)
        RETURNING p.limit_id
    )
    DELETE FROM quota.limit_terms t USING dropped d WHERE t.root_id = 0 AND t.limit_id = d.limit_id;
END
$function$;
COMMENT ON FUNCTION quota.put_plan(text, jsonb, boolean) IS
    'Gives a plan exactly these limits: an array of objects with resource, amount, period, policy, overdraft, rollover, carry_overage, model and rollover_periods, as in set_limit(); force lowers them even below what is used';
