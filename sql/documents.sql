-- Verifies that:
-- 1. quota.to_verdict() and quota.to_receipt() give the fields of the documents as columns;
-- 2. a repeated reserve has the shape of the first answer, with the numbers of now;
-- 3. a settle with outcome unknown needs no usage, and every other does.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET xavier_quota.clock = '2026-03-10 12:00+00';

SELECT quota.put_account('company:documents') > 0 AND
       quota.put_account('company:documents/project:documents') > 0 AS created;
SELECT quota.put_member('company:documents', 'doc-ann');
SELECT quota.set_limit('company:documents', 'credit', 10) > 0 AND
       quota.set_limit('company:documents/project:documents', 'calls', 5) > 0 AS limited;
SELECT quota.set_rate_card('documents-1', '{"max_output_tokens": 1000, "lines": [
           {"meter": "input_tokens",  "price": "0.00001"},
           {"meter": "output_tokens", "price": "0.00002"}]}') > 0 AS priced;

-- 1. A request of 1000 + 500 tokens costs 0.02 dollars at most: 2 credits.
CREATE TEMPORARY TABLE first AS
SELECT quota.reserve('doc-ann', 'documents', 'documents-1',
                     '{"input_tokens": 1000, "max_output_tokens": 500}', 'doc-key') AS document;
SELECT v.allowed, v.state, v.replayed, v.reason, v.message, v.hold_id IS NOT NULL AS has_hold, v.expires_at,
       v.user_id, v.project_id, v.model, v.root, v.estimate -> 'amount' AS amount,
       jsonb_array_length(v.access) AS checks, jsonb_array_length(v.levels) AS levels, v.retry_at
FROM first, quota.to_verdict(document) AS v;

-- 2. What differs is what has changed since: the hold itself is held now.
CREATE TEMPORARY TABLE again AS
SELECT quota.reserve('doc-ann', 'documents', 'documents-1',
                     '{"input_tokens": 1000, "max_output_tokens": 500}', 'doc-key') AS document;
SELECT a.document - 'levels' - 'replayed' = f.document - 'levels' - 'replayed' AS same
FROM first AS f, again AS a;
SELECT f ->> 'scope' AS scope, f ->> 'requested' AS requested, a ->> 'requested' AS requested_again,
       f ->> 'held' AS held, a ->> 'held' AS held_again,
       f ->> 'remaining_after' AS remaining_after, a ->> 'remaining_after' AS remaining_after_again,
       (SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(f) AS k) =
       (SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(a) AS k) AS same_keys
FROM first, again, LATERAL jsonb_array_elements(first.document -> 'levels') WITH ORDINALITY AS l (f, n)
JOIN LATERAL jsonb_array_elements(again.document -> 'levels') WITH ORDINALITY AS m (a, n) USING (n);

-- 3. Nothing is charged, and the hold stays; with an outcome that is known, usage has to be given.
SELECT r.state, r.outcome, r.held, r.charged, r.late, r.ignored
FROM first, quota.to_receipt(quota.settle((document ->> 'hold_id')::uuid, NULL, 'unknown')) AS r;
SELECT quota.settle((document ->> 'hold_id')::uuid, NULL) FROM first;  -- fails
SELECT quota.settle_amount((document ->> 'hold_id')::uuid, NULL, 'failed') FROM first;  -- fails
SELECT r.state, r.outcome, r.held, r.charged, r.overage, r.cost_usd, jsonb_array_length(r.lines) AS lines, r.late,
       r.replayed, r.ignored
FROM first, quota.to_receipt(quota.settle((document ->> 'hold_id')::uuid, '{"input_tokens": 1000, "output_tokens": 700}')) AS r;

SELECT * FROM quota.verify('company:documents');
