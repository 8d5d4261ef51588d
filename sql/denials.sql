-- Verifies that:
-- 1. a hard limit refuses, a soft one allows and flags, a shadow one only counts what it would
--    have refused; an overdraft lets through up to its bound and not a millionth more;
-- 2. quota.admin_denials counts each request that did not fit once at each such limit, says when
--    the last one was, and writes nothing;
-- 3. what was granted after expired holds had given way counts nowhere, neither do checks, requests
--    without access, or facts that are recorded above a limit;
-- 4. an extension that does not fit counts;
-- 5. a new period has a row of its own, and the one before stays;
-- 6. limits of shares, of plans, for models and the one on open holds are told apart;
-- 7. the row of a limit that is dropped goes.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET xavier_quota.clock = '2026-03-10 12:00+00';

SELECT quota.put_plan('den-plan', '[{"resource": "calls", "amount": 1000}]');
SELECT quota.put_account('company:den', plan => 'den-plan') IS NOT NULL AS root,
       quota.put_account('company:den/project:den') IS NOT NULL AS project;
SELECT quota.put_member('company:den', 'den-ann'), quota.put_member('company:den', 'den-bob');
SELECT quota.set_rate_card('den-1', '{"max_output_tokens": 1000, "lines": [
    {"meter": "output_tokens", "price": "0.01"}]}') IS NOT NULL AS card;

CREATE TEMP VIEW denials AS
    SELECT scope, user_id AS "user", resource, model, policy, period_start, denied,
           to_char(last_denied_at, 'DD HH24:MI') AS last
    FROM quota.admin_denials WHERE root = 'company:den' ORDER BY scope, resource, model, period_start;
CREATE FUNCTION pg_temp.hold(amount quota.amount, ttl interval DEFAULT '15 minutes') RETURNS jsonb
LANGUAGE sql AS $$ SELECT quota.reserve_amount('den-ann', 'den', amount, ttl => ttl) $$;
CREATE FUNCTION pg_temp.flags(verdict jsonb, OUT allowed text, OUT policy text, OUT passed text, OUT exceeded text,
                              OUT short text, OUT remaining_after text)
RETURNS SETOF record LANGUAGE sql AS $$
    SELECT verdict ->> 'allowed', l ->> 'policy', l ->> 'passed', l ->> 'exceeded', l ->> 'short', l ->> 'remaining_after'
    FROM jsonb_array_elements(verdict -> 'levels') AS l WHERE l ->> 'resource' <> 'calls' $$;

-- 1, 2. A soft limit of 10, a shadow of 5, a hard one of 20 with an overdraft of 2.5.
SELECT quota.set_limit('company:den', 'credit', 20, 'day', overdraft => 2.5) AS hard,
       quota.set_limit('company:den/project:den', 'credit', 10, 'day', 'soft') AS soft,
       quota.set_limit('company:den/user:den-ann', 'credit', 5, 'day', 'shadow') AS shadow \gset
SELECT count(*) AS rows FROM denials;
SELECT * FROM pg_temp.flags(pg_temp.hold('credit=5'));
SELECT * FROM pg_temp.flags(pg_temp.hold('credit=5'));
SET xavier_quota.clock = '2026-03-10 12:01+00';
SELECT * FROM pg_temp.flags(pg_temp.hold('credit=11'));
SELECT * FROM pg_temp.flags(pg_temp.hold('credit=1.500001'));
SELECT * FROM pg_temp.flags(pg_temp.hold('credit=1.5'));
SELECT * FROM denials;
SELECT count(*) AS holds FROM quota.holds WHERE scope::text = 'company:den/project:den';

-- 3. The third would not fit but for the first, which has expired by then.
SELECT count(quota.release(hold_id)) AS released FROM quota.holds WHERE scope::text = 'company:den/project:den';
SELECT pg_temp.hold('storage=1') ->> 'allowed' AS allowed;
SELECT quota.set_limit('company:den', 'storage', 3) AS storage \gset
SELECT pg_temp.hold('storage=2', '1 minute') ->> 'allowed' AS allowed;
SELECT quota.check_amount('den-ann', 'den', 'storage=2') ->> 'allowed' AS allowed;
SET xavier_quota.clock = '2026-03-10 12:03+00';
SELECT pg_temp.hold('storage=2') ->> 'allowed' AS allowed;
SELECT quota.put_member('company:den', 'den-bob', false);
SELECT quota.reserve_amount('den-bob', 'den', 'storage=9') ->> 'reason' AS reason;
SELECT quota.put_member('company:den', 'den-bob');
SELECT quota.adjust('company:den', 'storage=10', 'more than there is') ->> 'state' AS state;
SELECT count(*) AS of_storage FROM denials WHERE resource = 'storage';
SELECT quota.adjust('company:den', 'storage=-10', 'given back') ->> 'state' AS state;

-- 4.
SELECT quota.reserve('den-ann', 'den', 'den-1', '{"max_output_tokens": 1}') ->> 'hold_id' AS hold \gset
SET xavier_quota.clock = '2026-03-10 12:05+00';
SELECT quota.extend(:'hold', '{"max_output_tokens": 23}') ->> 'allowed' AS allowed;
SELECT quota.extend(:'hold', '{"max_output_tokens": 8}') ->> 'allowed' AS allowed;
SELECT * FROM denials;
SELECT quota.release(:'hold') ->> 'state' AS state;

-- 5.
SET xavier_quota.clock = '2026-03-11 09:00+00';
SELECT pg_temp.hold('credit=23') ->> 'reason' AS reason;
SELECT * FROM denials;

-- 6.
SELECT quota.put_plan('den-plan', '[{"resource": "calls", "amount": 0, "policy": "soft", "period": "day"}]');
SELECT quota.set_limit('company:den', 'calls', 0, 'month', 'shadow', model => 'den-*') AS of_model \gset
SELECT quota.reserve('den-bob', 'den', 'den-1', '{"max_output_tokens": 1}') ->> 'allowed' AS allowed;
SET xavier_quota.max_open_holds = 1;
SELECT quota.reserve_amount('den-bob', 'den', 'storage=1') ->> 'reason' AS reason;
RESET xavier_quota.max_open_holds;
SELECT * FROM denials WHERE last LIKE '11 %' AND resource <> 'credit';
SELECT limit_id = 0 AS is_setting, period FROM quota.admin_denials WHERE root = 'company:den' AND resource = 'open holds';

-- 7. Also what has been dropped and set again is another limit.
SELECT quota.drop_limit(:soft), quota.drop_limit(:hard);
SELECT scope, policy, denied FROM denials WHERE resource = 'credit';
SELECT quota.set_limit('company:den/project:den', 'credit', 10, 'day', 'soft') <> :soft AS another;
SELECT scope, policy, denied FROM denials WHERE resource = 'credit';
SELECT * FROM quota.verify('company:den');
