-- Verifies that:
-- 1. a root cannot have more holds open than xavier_quota.max_open_holds;
-- 2. closing one, in whatever way, makes room, and so does rolling back;
-- 3. the number survives a reload, and memory and tables agree on it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;

SELECT quota.put_account('company:openholds') IS NOT NULL AS root,
       quota.put_account('company:openholds/project:openholds') IS NOT NULL AS project;
SELECT quota.put_member('company:openholds', 'oh-ann');
SET xavier_quota.max_open_holds = 2;

CREATE TEMPORARY VIEW attempt AS
    SELECT v ->> 'allowed' AS allowed, v ->> 'reason' AS reason, v ->> 'message' AS message,
           v -> 'levels' AS levels
    FROM quota.reserve_amount('oh-ann', 'openholds', 'storage=1') AS v;

-- 1. Two fit, the third does not; a check says so too.
SELECT allowed, reason, levels FROM attempt;
SELECT allowed, reason FROM attempt;
SELECT allowed, reason, message FROM attempt;
SELECT l ->> 'resource' AS resource, l ->> 'limit' AS "limit", l ->> 'held' AS held, l ->> 'passed' AS passed
FROM attempt, jsonb_array_elements(levels) AS l;
SELECT quota.check_amount('oh-ann', 'openholds', 'storage=1') ->> 'reason' AS reason;

-- 2. Each way of closing makes room for one.
SELECT quota.release(hold_id) ->> 'state' AS state
FROM (SELECT hold_id FROM quota.holds WHERE user_id = 'oh-ann' ORDER BY hold_id LIMIT 1) AS h;
SELECT allowed FROM attempt;
SELECT allowed FROM attempt;
SELECT quota.settle_amount(hold_id, 'storage=1') ->> 'state' AS state
FROM (SELECT hold_id FROM quota.holds WHERE user_id = 'oh-ann' ORDER BY hold_id LIMIT 1) AS h;
BEGIN;
SELECT allowed FROM attempt;
SELECT allowed FROM attempt;
ROLLBACK;
SELECT allowed FROM attempt;
SELECT allowed FROM attempt;

-- 3.
SELECT * FROM quota.verify('company:openholds');
SELECT quota.reload('company:openholds');
SELECT allowed FROM attempt;
SELECT count(quota.release(hold_id)) FROM quota.holds WHERE user_id = 'oh-ann';
SELECT allowed FROM attempt;
SELECT * FROM quota.verify('company:openholds');
