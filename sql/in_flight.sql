-- Verifies that:
-- 1. in_flight is there from the start, and its name cannot mean anything else;
-- 2. a reserve of a model holds one of it by itself where a limit is, the next one is refused,
--    waiting for a reset does not help, and a check says so, too;
-- 3. a hold without a model holds what it says;
-- 4. settle, release, expiry and rollback give it back, and it never counts as used;
-- 5. extend keeps it, holds it anew with a hold that has expired, and may be refused;
-- 6. charges, late settlements and repeated calls do not take any;
-- 7. a limit that is set later counts what runs by then, of the models that it is for;
-- 8. what would fit is no advice where the slots are the reason;
-- 9. memory and tables agree, and a reload changes nothing.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET xavier_quota.clock = '2026-03-10 12:00+00';

-- 1.
SELECT resource, unit, kind FROM quota.resources WHERE resource = 'in_flight';
SELECT quota.put_resource('in_flight', 'generation', 'flow', NULL);  -- fails
SELECT quota.put_account('company:fly') IS NOT NULL AS root,
       quota.put_account('company:fly/project:fly') IS NOT NULL AS project,
       quota.put_account('company:fly/project:ground') IS NOT NULL AS other;
SELECT quota.put_member('company:fly', 'fly-ann'), quota.put_member('company:fly', 'fly-bob');
SELECT quota.set_limit('company:fly', 'in_flight', 2, 'day');  -- fails
SELECT quota.set_rate_card('fly-1', '{"max_output_tokens": 1000, "lines": [
    {"meter": "output_tokens", "price": "0.01"}]}') IS NOT NULL
   AND quota.set_rate_card('walk-1', '{"max_output_tokens": 1000, "lines": [
    {"meter": "output_tokens", "price": "0.01"}]}') IS NOT NULL AS cards;

CREATE FUNCTION pg_temp.start(user_id text, project text DEFAULT 'fly', model text DEFAULT 'fly-1',
                              key text DEFAULT NULL, ttl interval DEFAULT '15 minutes') RETURNS jsonb
LANGUAGE sql AS $$ SELECT quota.reserve(user_id, project, model, '{"max_output_tokens": 1}', key, ttl) $$;
CREATE TEMP VIEW slots AS
    SELECT scope, model, "limit", used, held, remaining, resets_at
    FROM quota.admin_limits WHERE root = 'company:fly' AND resource = 'in_flight' ORDER BY scope, model;

-- 2.
SELECT quota.set_limit('company:fly/user:*', 'in_flight', 2) AS each \gset
SELECT pg_temp.start('fly-ann') AS v \gset
SELECT :'v'::jsonb ->> 'hold_id' AS first, :'v'::jsonb -> 'estimate' -> 'amount' AS amount \gset
SELECT :'amount' AS amount, l ->> 'scope' AS scope, l ->> 'held' AS held, l ->> 'requested' AS requested,
       l ->> 'remaining_after' AS remaining_after, l ->> 'period_end' AS period_end
FROM jsonb_array_elements(:'v'::jsonb -> 'levels') AS l;
SELECT pg_temp.start('fly-ann', 'ground') ->> 'hold_id' AS second \gset
SELECT v ->> 'allowed' AS allowed, v ->> 'reason' AS reason, v ->> 'message' AS message,
       v -> 'retry_at' AS retry_at
FROM pg_temp.start('fly-ann') AS v;
SELECT v ->> 'reason' AS reason, v -> 'retry_at' AS retry_at
FROM quota.check('fly-ann', 'fly', 'fly-1', '{"max_output_tokens": 1}') AS v;
SELECT pg_temp.start('fly-bob') ->> 'hold_id' AS bobs \gset
SELECT * FROM slots;
SELECT quota.remaining('fly-ann', 'fly');

-- 3. One more of her own accord is one too many; a hold of something else takes no slot.
SELECT quota.check_amount('fly-ann', 'fly', 'in_flight=1') ->> 'reason' AS reason,
       quota.reserve_amount('fly-ann', 'fly', 'credit=1') ->> 'hold_id' AS other \gset
\echo :reason
SELECT quota.release(:'other') ->> 'state' AS state;
SELECT quota.reserve_amount('fly-bob', 'fly', 'in_flight=1') ->> 'hold_id' AS bobs_own \gset
SELECT pg_temp.start('fly-bob') ->> 'reason' AS reason;
SELECT quota.release(:'bobs_own') ->> 'state' AS state;

-- 4. However it ends, there is room for one more.
SELECT r -> 'charged' AS charged, l ->> 'resource' AS resource, l ->> 'used' AS used, l ->> 'held' AS held
FROM quota.settle(:'first', '{"output_tokens": 1}') AS r, jsonb_array_elements(r -> 'levels') AS l;
SELECT r ->> 'replayed' AS replayed, l ->> 'resource' AS resource, l ->> 'used' AS used, l ->> 'held' AS held
FROM quota.settle(:'first', '{"output_tokens": 1}') AS r, jsonb_array_elements(r -> 'levels') AS l;
SELECT pg_temp.start('fly-ann') ->> 'hold_id' AS first \gset
SELECT pg_temp.start('fly-ann') ->> 'allowed' AS allowed;
SELECT quota.release(:'first') ->> 'state' AS state;
BEGIN;
SELECT pg_temp.start('fly-ann') ->> 'allowed' AS allowed;
SELECT pg_temp.start('fly-ann') ->> 'allowed' AS allowed;
ROLLBACK;
SELECT pg_temp.start('fly-ann', ttl => '1 minute') ->> 'hold_id' AS short \gset
SELECT pg_temp.start('fly-ann') ->> 'allowed' AS allowed;
SET xavier_quota.clock = '2026-03-10 12:02+00';
SELECT quota.check('fly-ann', 'fly', 'fly-1', '{"max_output_tokens": 1}') ->> 'allowed' AS allowed;
SELECT pg_temp.start('fly-ann') ->> 'hold_id' AS first \gset
SELECT quota.hold(:'short') ->> 'state' AS state;
SELECT * FROM slots;

-- 5. More time and more to hold take no other slot; unknown keeps it.
SELECT quota.extend(:'first', '{"max_output_tokens": 5}', '20 minutes') ->> 'allowed' AS allowed;
SELECT r ->> 'state' AS state, l ->> 'held' AS held
FROM quota.settle(:'first', NULL, 'unknown') AS r, jsonb_array_elements(r -> 'levels') AS l;
SELECT v ->> 'allowed' AS allowed, v ->> 'reason' AS reason FROM quota.extend(:'short', NULL, '5 minutes') AS v;
SELECT quota.release(:'second') ->> 'state' AS state;
SELECT v ->> 'allowed' AS allowed, v ->> 'state' AS state FROM quota.extend(:'short', NULL, '5 minutes') AS v;
SELECT * FROM slots;

-- 6.
SELECT quota.charge('fly-ann', 'fly', 'fly-1', '{"output_tokens": 1}') ->> 'state' AS state;
SELECT quota.release(:'short') ->> 'state' AS state;
SELECT r ->> 'late' AS late FROM quota.settle(:'short', '{"output_tokens": 1}') AS r;
SELECT quota.adjust('company:fly', 'in_flight=-1', 'give one back');  -- fails
SELECT pg_temp.start('fly-ann', key => 'fly-7') ->> 'hold_id' AS keyed \gset
SELECT v ->> 'replayed' AS replayed, v ->> 'hold_id' = :'keyed' AS same, l ->> 'held' AS held
FROM pg_temp.start('fly-ann', key => 'fly-7') AS v, jsonb_array_elements(v -> 'levels') AS l;
SELECT * FROM slots;

-- 7. Four run: of fly-1 two of ann's and one of bob's, and one of walk-1.
SELECT pg_temp.start('fly-bob', model => 'walk-1') ->> 'hold_id' AS walks \gset
SELECT quota.set_limit('company:fly', 'in_flight', 10) AS company,
       quota.set_limit('company:fly/project:fly', 'in_flight', 3, model => 'fly-*') AS project \gset
SELECT * FROM slots;
SELECT quota.put_member('company:fly', 'fly-dan');
SELECT v ->> 'allowed' AS allowed, v ->> 'message' AS message FROM pg_temp.start('fly-dan') AS v;
SELECT pg_temp.start('fly-dan', model => 'walk-1') ->> 'allowed' AS allowed;

-- 8.
SELECT quota.check('fly-dan', 'fly', 'fly-1', '{"max_output_tokens": 1}') -> 'fits' AS fits;

-- 9.
SELECT * FROM quota.verify('company:fly');
SELECT quota.reload('company:fly');
SELECT * FROM slots;
SELECT count(quota.release(hold_id)) AS released FROM quota.holds WHERE scope::text LIKE 'company:fly%';
SELECT * FROM slots;
SELECT * FROM quota.verify('company:fly');
