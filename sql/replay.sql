-- Verifies that:
-- 1. a reserve repeated with its key is answered by the rate card of its hold, whatever
--    has been said of that time since: the hold open, and closed
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
DO $$
BEGIN
    PERFORM quota.put_account('company:replay');
    PERFORM quota.put_account('company:replay/project:replay');
    PERFORM quota.put_member('company:replay', 'ann');
    PERFORM quota.set_rate_card('replay-model', '{"lines": [{"meter": "input_tokens", "price": "0.01"}]}', '2020-01-01');
END
$$;
CREATE FUNCTION pg_temp.again() RETURNS TABLE (replayed boolean, state text, cost_usd text, amount jsonb)
LANGUAGE sql AS $$
    SELECT (v ->> 'replayed')::boolean, v ->> 'state', v #>> '{estimate,cost_usd}', v #> '{estimate,amount}'
    FROM quota.reserve('ann', 'replay', 'replay-model', '{"input_tokens": 7}', 'key') v
$$;
SELECT * FROM pg_temp.again();
SELECT quota.set_rate_card('replay-model', '{"lines": [{"meter": "input_tokens", "price": "5"}]}', '2021-01-01') > 0 AS set;
SELECT * FROM pg_temp.again();
SELECT quota.settle(hold_id, '{"input_tokens": 6}') ->> 'cost_usd' AS cost_usd
FROM quota.keys WHERE key = 'key' AND hold_id IN (SELECT hold_id FROM quota.holds WHERE model = 'replay-model');
SELECT * FROM pg_temp.again();
