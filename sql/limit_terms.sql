-- Verifies that:
-- 1. a limit notes what it is from when on: when it is made and when its amount, its roll-over or
--    its carried overage changes, and not when something else does or nothing;
-- 2. changes in the same instant are one, and a clock that goes back adds nothing before the last;
-- 3. the amount of a prorated period is noted with it, as long as it holds;
-- 4. limits of plans note theirs without a root; what is noted goes with the limit;
-- 5. an account knows since when it is on its plan, and when it was made, by quota.now().
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
SET xavier_quota.clock = '2026-04-01 00:00+00';
SELECT quota.put_account('company:term') AS root \gset
CREATE TEMP VIEW terms AS
    SELECT t.set_at, t.amount, t.prorated_amount AS prorated, t.rollover, t.rollover_periods AS periods, t.carry_overage AS carry,
           t.root_id = 0 AS of_plan
    FROM quota.limit_terms t
    LEFT JOIN quota.limits l USING (root_id, limit_id)
    LEFT JOIN quota.plan_limits p ON p.limit_id = t.limit_id
    WHERE l.scope = 'company:term' OR p.plan = 'term' ORDER BY t.root_id, t.limit_id, t.set_at;

-- 1.
SELECT quota.set_limit('company:term', 'credit', 100) AS credit \gset
SET xavier_quota.clock = '2026-04-02 00:00+00';
SELECT quota.set_limit('company:term', 'credit', 100) = :credit AS same;
SELECT quota.set_limit('company:term', 'credit', 100, policy => 'soft', overdraft => 5) = :credit AS same;
SELECT * FROM terms;
SELECT quota.set_limit('company:term', 'credit', 110) = :credit AS same;
SET xavier_quota.clock = '2026-04-03 00:00+00';
SELECT quota.set_limit('company:term', 'credit', 110, rollover => 20) = :credit AS same;
SET xavier_quota.clock = '2026-04-04 00:00+00';
SELECT quota.set_limit('company:term', 'credit', 110, rollover => 20, rollover_periods => 3) = :credit AS same;
SET xavier_quota.clock = '2026-04-05 00:00+00';
SELECT quota.set_limit('company:term', 'credit', 110, rollover => 20, rollover_periods => 3, carry_overage => true) = :credit AS same;
SELECT * FROM terms;
SELECT amount, rollover, rollover_periods, carry_overage FROM quota.limits WHERE limit_id = :credit;

-- 2.
SELECT quota.set_limit('company:term', 'credit', 120, rollover => 20, carry_overage => true) = :credit AS same;
SET xavier_quota.clock = '2026-03-01 00:00+00';
SELECT quota.set_limit('company:term', 'credit', 130) = :credit AS same;
SELECT * FROM terms;

-- 3. Half of April is left: 130 + 20 / 2. Another roll-over leaves it, in May there is nothing of it.
SET xavier_quota.clock = '2026-04-16 00:00+00';
SELECT quota.set_limit('company:term', 'credit', 150, prorate => true) = :credit AS same;
SET xavier_quota.clock = '2026-04-17 00:00+00';
SELECT quota.set_limit('company:term', 'credit', 150, rollover => 1) = :credit AS same;
SET xavier_quota.clock = '2026-05-02 00:00+00';
SELECT quota.set_limit('company:term', 'credit', 150, rollover => 2) = :credit AS same;
SELECT * FROM terms WHERE set_at > '2026-04-10';
SELECT quota.set_limit('company:term', 'credit', 1, 'rolling 1 day', prorate => true);  -- fails
SELECT quota.set_limit('company:term', 'credit', 5, 'refill 1 per minute up to 5', prorate => true);  -- fails

-- 4.
SELECT quota.put_plan('term', '[{"resource": "calls", "amount": 7, "rollover": 3, "rollover_periods": 2}, {"resource": "credit", "amount": 2, "period": "rolling 1 day"}]');
SET xavier_quota.clock = '2026-05-03 00:00+00';
SELECT quota.put_plan('term', '[{"resource": "calls", "amount": 7, "rollover": 3, "rollover_periods": 2}, {"resource": "credit", "amount": 3, "period": "rolling 1 day"}]');
SELECT * FROM terms WHERE of_plan;
SELECT quota.put_plan('term', '[{"resource": "calls", "amount": 7}]');
SELECT * FROM terms WHERE of_plan;
SELECT resource, amount, rollover, rollover_periods, carry_overage FROM quota.plan_limits WHERE plan = 'term';
SELECT quota.set_limit('company:term', 'credit', 5, 'refill 1 per minute up to 5', 'soft') AS refill \gset
SELECT quota.drop_limit(id) FROM unnest(ARRAY[:credit, :refill]) AS id;
SELECT count(*) FROM quota.limit_terms WHERE root_id = :root OR limit_id IN (:credit, :refill);

-- 5.
CREATE TEMP VIEW account AS
    SELECT plan, plan_since, created_at FROM quota.accounts WHERE account_id = :root;
SELECT * FROM account;
SELECT quota.put_account('company:term', plan => 'term') = :root AS same;
SELECT * FROM account;
SET xavier_quota.clock = '2026-05-04 00:00+00';
SELECT quota.put_account('company:term', plan => 'term', attributes => '{"a": 1}') = :root AS same;
SELECT * FROM account;
SELECT quota.put_plan('term2', '[]');
SELECT quota.put_account('company:term', plan => 'term2') = :root AS same;
SELECT * FROM account;
SELECT quota.put_account('company:term') = :root AS same;
SELECT * FROM account;
