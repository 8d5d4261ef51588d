-- Views for Xavier Admin -----------------------------------------------------------
--
-- Plain views with the rights of their owner: whoever may read a view needs no right
-- on the tables below it. Amounts are numeric, in units of the resource. Scopes are text, so
-- that they compare with a literal whatever the search path; cast them to quota.scope for
-- its operators. Column names are a contract: columns are added, never renamed.

-- Accounts --------------------------------------------------------------------

CREATE VIEW quota.admin_accounts AS
SELECT r.scope::text AS root,
       a.scope::text AS scope,
       p.scope::text AS parent,
       a.kind,
       a.name,
       a.active,
       a.plan,
       a.attributes,
       (SELECT count(*) FROM quota.members m
        WHERE m.root_id = a.root_id AND m.account_id = a.account_id AND m.active) AS members,
       (SELECT count(*) FROM quota.limits l
        WHERE l.root_id = a.root_id AND l.account_id = a.account_id) AS limits,
       a.created_at,
       a.account_id
FROM quota.accounts a
JOIN quota.accounts r ON r.root_id = a.root_id AND r.account_id = a.root_id
LEFT JOIN quota.accounts p ON p.root_id = a.root_id AND p.account_id = a.parent_id;

COMMENT ON VIEW quota.admin_accounts IS 'Every account: companies, projects, users and what is between them';
COMMENT ON COLUMN quota.admin_accounts.root IS 'First account of the path: who pays in the end';
COMMENT ON COLUMN quota.admin_accounts.scope IS 'Path of the account';
COMMENT ON COLUMN quota.admin_accounts.parent IS 'Account above it; null for a root';
COMMENT ON COLUMN quota.admin_accounts.kind IS 'Kind of the account, the last one of its path';
COMMENT ON COLUMN quota.admin_accounts.name IS 'Name of the account, the last one of its path';
COMMENT ON COLUMN quota.admin_accounts.active IS 'Whether requests may spend here; an inactive account also stops everything below it';
COMMENT ON COLUMN quota.admin_accounts.plan IS 'Plan whose limits apply where the account has none of its own';
COMMENT ON COLUMN quota.admin_accounts.attributes IS 'What the administrator attached to the account';
COMMENT ON COLUMN quota.admin_accounts.members IS 'Active members of this very account, without those of accounts above';
COMMENT ON COLUMN quota.admin_accounts.limits IS 'Limits set at this account, for shares of users in it, or as defaults for its children';
COMMENT ON COLUMN quota.admin_accounts.created_at IS 'When the account was created';
COMMENT ON COLUMN quota.admin_accounts.account_id IS 'Id of the account, as returned by quota.put_account()';

-- Limits ----------------------------------------------------------------------

-- How long the limit lasts is told from the first part of the period: used : elapsed =
-- limit : lasting. It is compared before it is divided, so that no interval overflows.
CREATE VIEW quota.admin_limits AS
SELECT r.scope::text AS root,
       u.scope::text AS scope,
       u.user_id,
       u.limit_id,
       u.resource,
       u.model,
       u.period,
       u.policy,
       u.source,
       trim_scale(u."limit") AS "limit",
       trim_scale(u.overdraft) AS overdraft,
       trim_scale(u.used) AS used,
       trim_scale(u.held) AS held,
       trim_scale(u."limit" - u.used - u.held) AS remaining,
       CASE
           WHEN u."limit" > 0 THEN trunc(100 * (u.used + u.held) / u."limit", 2)
           WHEN u.used + u.held > 0 THEN 100.00
       END AS percent,
       CASE
           WHEN u."limit" + u.overdraft = 0 AND u.policy = 'hard' THEN 'blocked'
           WHEN u.used + u.held > u."limit" THEN 'over'
           WHEN u.used + u.held = u."limit" THEN 'exhausted'
           WHEN u.used + u.held >= 0.8 * u."limit" THEN 'warning'
           ELSE 'ok'
       END AS state,
       NULLIF(u.period_start, '-infinity') AS period_start,
       NULLIF(u.period_end, 'infinity') AS resets_at,
       CASE
           WHEN NOT isfinite(u.period_end) THEN NULL
           WHEN u.used > 0 AND u."limit" > 0 AND isfinite(u.period_start) AND u.period_start < t.now
                AND u."limit" * extract(epoch FROM t.now - u.period_start)
                    < u.used * extract(epoch FROM u.period_end - u.period_start)
           THEN u.period_start
                + make_interval(secs => (u."limit" * extract(epoch FROM t.now - u.period_start) / u.used)::double precision)
       END AS projected_exhaustion,
       u.denied,
       trim_scale(COALESCE(u.rolled_over, 0)) AS rolled_over,
       trim_scale(COALESCE(u.granted, 0)) AS granted,
       trim_scale(COALESCE(u.carried_overage, 0)) AS carried_overage
FROM quota._limit_usage() AS u
JOIN quota.accounts r ON r.root_id = u.root_id AND r.account_id = u.root_id
CROSS JOIN (SELECT quota.now()) AS t (now);

COMMENT ON VIEW quota.admin_limits IS 'Every limit at every level where it counts, with what is used and held in the current period';
COMMENT ON COLUMN quota.admin_limits.root IS 'First account of the path: who pays in the end';
COMMENT ON COLUMN quota.admin_limits.scope IS 'Level at which the limit counts: an account, or the share of a user in it';
COMMENT ON COLUMN quota.admin_limits.user_id IS 'User whose share the level is; null for an account';
COMMENT ON COLUMN quota.admin_limits.limit_id IS 'Id of the limit; one default or limit of a plan counts at many levels';
COMMENT ON COLUMN quota.admin_limits.resource IS 'What is limited';
COMMENT ON COLUMN quota.admin_limits.model IS 'Pattern of the models that count; * stands for any characters';
COMMENT ON COLUMN quota.admin_limits.period IS 'When the limit starts afresh';
COMMENT ON COLUMN quota.admin_limits.policy IS 'hard (refused), soft (allowed and flagged) or shadow (only counted)';
COMMENT ON COLUMN quota.admin_limits.source IS 'Where the limit comes from: explicit, default (of the parent) or plan';
COMMENT ON COLUMN quota.admin_limits."limit" IS 'How much may be used in the current period, with what was carried into it and is granted';
COMMENT ON COLUMN quota.admin_limits.overdraft IS 'How much more is let through above the limit';
COMMENT ON COLUMN quota.admin_limits.used IS 'Used in the current period, by settlements, charges and adjustments that are committed';
COMMENT ON COLUMN quota.admin_limits.held IS 'Reserved by open holds of the current period, not yet used';
COMMENT ON COLUMN quota.admin_limits.remaining IS 'limit - used - held; negative when over the limit';
COMMENT ON COLUMN quota.admin_limits.percent IS 'Used and held in percent of the limit, rounded down; for a limit of 0, 100 once anything is used, else null';
COMMENT ON COLUMN quota.admin_limits.state IS 'ok, warning (from 80 percent), exhausted (nothing remains), over (more than the limit) or blocked (a hard limit of 0)';
COMMENT ON COLUMN quota.admin_limits.period_start IS 'Start of the current period, or of the window of a rolling limit; null for a lifetime';
COMMENT ON COLUMN quota.admin_limits.resets_at IS 'End of the current period; null for a lifetime and for limits that roll or refill';
COMMENT ON COLUMN quota.admin_limits.projected_exhaustion IS 'When the limit is used up if use goes on as since the start of the period; null when it lasts until the reset, nothing is used or there is no period';
COMMENT ON COLUMN quota.admin_limits.denied IS 'Requests that did not fit since the counter was loaded: refused, or let through by a soft or shadow limit';
COMMENT ON COLUMN quota.admin_limits.rolled_over IS 'What earlier periods had left for the current one, as it began';
COMMENT ON COLUMN quota.admin_limits.granted IS 'What is left of the grants in effect';
COMMENT ON COLUMN quota.admin_limits.carried_overage IS 'What had been used beyond the limit in earlier periods, and was paid off in the current one first';

-- Grants ----------------------------------------------------------------------

-- The engine knows what is left only of grants in effect: of the others it is all or nothing.
CREATE VIEW quota.admin_grants AS
SELECT r.scope::text AS root,
       (CASE WHEN g.user_id IS NULL THEN a.scope
             ELSE a.scope OPERATOR(quota.||) quota.scope('user', g.user_id) END)::text AS scope,
       g.user_id,
       g.grant_id,
       g.limit_id,
       g.resource,
       trim_scale(g.amount) AS amount,
       trim_scale(g.remaining) AS remaining,
       trim_scale(CASE WHEN NOT g.is_over THEN g.amount - g.remaining END) AS burned,
       g.priority,
       g.effective_at,
       g.expires_at,
       g.voided_at,
       trim_scale(g.rollover) AS rollover,
       CASE
           WHEN g.voided_at IS NOT NULL THEN 'voided'
           WHEN g.is_over THEN 'expired'
           WHEN g.is_scheduled THEN 'scheduled'
           WHEN g.remaining = 0 THEN 'exhausted'
           ELSE 'active'
       END AS state,
       g.note,
       g.void_reason,
       g.created_at
FROM (
    SELECT e.*,
           CASE WHEN e.is_over THEN 0 WHEN e.is_scheduled THEN e.amount ELSE b.remaining END AS remaining
    FROM (
        SELECT f.*,
               f.voided_at IS NOT NULL OR COALESCE(f.expires_at <= quota.now(), false) AS is_over,
               f.effective_at > quota.now() AS is_scheduled
        FROM quota.grants f) AS e
    LEFT JOIN (
        SELECT l.root_id, c.grant_id, c.remaining
        FROM (SELECT DISTINCT h.root_id, h.account_id, h.user_id
              FROM quota.grants h
              WHERE h.voided_at IS NULL AND h.effective_at <= quota.now()
                AND COALESCE(h.expires_at > quota.now(), true)) AS l
        JOIN quota.accounts o ON o.root_id = l.root_id AND o.account_id = l.account_id
        CROSS JOIN LATERAL quota._grant_balances(o.scope, l.user_id) AS c) AS b
        ON b.root_id = e.root_id AND b.grant_id = e.grant_id) AS g
JOIN quota.accounts r ON r.root_id = g.root_id AND r.account_id = g.root_id
JOIN quota.accounts a ON a.root_id = g.root_id AND a.account_id = g.account_id;

COMMENT ON VIEW quota.admin_grants IS 'Every grant, with what is left of it';
COMMENT ON COLUMN quota.admin_grants.root IS 'First account of the path: who pays in the end';
COMMENT ON COLUMN quota.admin_grants.scope IS 'Level that it was granted to: an account, or the share of a user in it';
COMMENT ON COLUMN quota.admin_grants.user_id IS 'User whose share the level is; null for an account';
COMMENT ON COLUMN quota.admin_grants.grant_id IS 'Id of the grant, as returned by quota.grant_quota()';
COMMENT ON COLUMN quota.admin_grants.limit_id IS 'Limit that it feeds at this level';
COMMENT ON COLUMN quota.admin_grants.resource IS 'What is granted';
COMMENT ON COLUMN quota.admin_grants.amount IS 'How much was granted';
COMMENT ON COLUMN quota.admin_grants.remaining IS 'What is left of it; 0 once it is over; null while its limit does not apply at the level';
COMMENT ON COLUMN quota.admin_grants.burned IS 'What is not left of it any more; null once it is over';
COMMENT ON COLUMN quota.admin_grants.priority IS 'Grants with a smaller one are burned first';
COMMENT ON COLUMN quota.admin_grants.effective_at IS 'From when on it is in effect';
COMMENT ON COLUMN quota.admin_grants.expires_at IS 'Until before when it is; null for until it is used up or voided';
COMMENT ON COLUMN quota.admin_grants.voided_at IS 'When it was voided; null if it was not';
COMMENT ON COLUMN quota.admin_grants.rollover IS 'How much of what is left stays at the end of each period of the limit; null for all';
COMMENT ON COLUMN quota.admin_grants.state IS 'scheduled (not in effect yet), active, exhausted (nothing is left), expired or voided';
COMMENT ON COLUMN quota.admin_grants.note IS 'What the administrator said of it';
COMMENT ON COLUMN quota.admin_grants.void_reason IS 'Why it was voided';
COMMENT ON COLUMN quota.admin_grants.created_at IS 'When it was granted';

-- Closed periods --------------------------------------------------------------

CREATE VIEW quota.admin_periods AS
SELECT r.scope::text AS root,
       (CASE WHEN p.user_id = '' THEN a.scope
             ELSE a.scope OPERATOR(quota.||) quota.scope('user', p.user_id) END)::text AS scope,
       NULLIF(p.user_id, '') AS user_id,
       p.limit_id,
       p.resource,
       p.model,
       p.period_start,
       p.period_end,
       trim_scale(p."limit") AS "limit",
       trim_scale(p.granted) AS granted,
       trim_scale(p.used) AS used,
       trim_scale(p.overage) AS overage,
       trim_scale(p.rolled_over) AS rolled_over,
       trim_scale(p.late) AS late,
       p.recorded_at
FROM quota.periods p
JOIN quota.accounts r ON r.root_id = p.root_id AND r.account_id = p.root_id
JOIN quota.accounts a ON a.root_id = p.root_id AND a.account_id = p.account_id;

COMMENT ON VIEW quota.admin_periods IS 'Periods of limits that are over, by level, as the job periods has recorded them';
COMMENT ON COLUMN quota.admin_periods.root IS 'First account of the path: who pays in the end';
COMMENT ON COLUMN quota.admin_periods.scope IS 'Level at which the limit counted: an account, or the share of a user in it';
COMMENT ON COLUMN quota.admin_periods.user_id IS 'User whose share the level is; null for an account';
COMMENT ON COLUMN quota.admin_periods.limit_id IS 'Id of the limit; it may have been dropped since';
COMMENT ON COLUMN quota.admin_periods.resource IS 'What was limited';
COMMENT ON COLUMN quota.admin_periods.model IS 'Pattern of the models that counted';
COMMENT ON COLUMN quota.admin_periods.period_start IS 'Start of the period';
COMMENT ON COLUMN quota.admin_periods.period_end IS 'End of the period';
COMMENT ON COLUMN quota.admin_periods."limit" IS 'How much could be used in it, with what was carried into it and granted';
COMMENT ON COLUMN quota.admin_periods.granted IS 'How much of that was granted';
COMMENT ON COLUMN quota.admin_periods.used IS 'What was used';
COMMENT ON COLUMN quota.admin_periods.overage IS 'What was used beyond the limit';
COMMENT ON COLUMN quota.admin_periods.rolled_over IS 'What was left for the next period';
COMMENT ON COLUMN quota.admin_periods.late IS 'How much of what is used came after the period was first recorded';
COMMENT ON COLUMN quota.admin_periods.recorded_at IS 'When it was recorded, last';

-- Denials ---------------------------------------------------------------------

-- The limit on open holds is a setting: it has no row, and its id is 0.
CREATE VIEW quota.admin_denials AS
SELECT r.scope::text AS root,
       (CASE WHEN d.user_id IS NULL THEN a.scope
             ELSE a.scope OPERATOR(quota.||) quota.scope('user', d.user_id) END)::text AS scope,
       d.user_id,
       d.limit_id,
       l.resource,
       l.model,
       l.period,
       l.policy,
       NULLIF(d.period_start, '-infinity') AS period_start,
       d.denied,
       d.last_denied_at
FROM quota._denials() AS d
CROSS JOIN LATERAL (
    SELECT e.resource, e.model, e.period, e.policy FROM quota.limits e
    WHERE e.root_id = d.root_id AND e.limit_id = d.limit_id AND e.version = d.version
    UNION ALL
    SELECT p.resource, p.model, p.period, p.policy FROM quota.plan_limits p
    WHERE p.limit_id = d.limit_id AND p.version = d.version
    UNION ALL
    SELECT 'open holds', '*', 'lifetime'::quota.period, 'hard' WHERE d.limit_id = 0) AS l
JOIN quota.accounts r ON r.root_id = d.root_id AND r.account_id = d.root_id
JOIN quota.accounts a ON a.root_id = d.root_id AND a.account_id = d.account_id;

COMMENT ON VIEW quota.admin_denials IS
    'Requests that did not fit a limit: refused by a hard one, let through and flagged by a soft one, only counted by a shadow one. Counted in memory: lost at a restart, and when a counter makes room for others';
COMMENT ON COLUMN quota.admin_denials.root IS 'First account of the path: who pays in the end';
COMMENT ON COLUMN quota.admin_denials.scope IS 'Level whose limit the requests did not fit';
COMMENT ON COLUMN quota.admin_denials.user_id IS 'User whose share the level is; null for an account';
COMMENT ON COLUMN quota.admin_denials.limit_id IS 'Id of the limit; 0 for the number of open holds, which is a setting';
COMMENT ON COLUMN quota.admin_denials.resource IS 'What is limited';
COMMENT ON COLUMN quota.admin_denials.model IS 'Pattern of the models that count; * stands for any characters';
COMMENT ON COLUMN quota.admin_denials.period IS 'When the limit starts afresh';
COMMENT ON COLUMN quota.admin_denials.policy IS 'What the limit does now: hard (refuses), soft (allows and flags) or shadow (only counts what it would have refused)';
COMMENT ON COLUMN quota.admin_denials.period_start IS 'Start of the period that the requests did not fit; null for a lifetime';
COMMENT ON COLUMN quota.admin_denials.denied IS 'How many requests did not fit';
COMMENT ON COLUMN quota.admin_denials.last_denied_at IS 'When the last of them was made';

-- Holds -----------------------------------------------------------------------

CREATE VIEW quota.admin_holds AS
SELECT h.hold_id,
       r.scope::text AS root,
       h.scope::text AS scope,
       h.user_id,
       h.model,
       h.amount,
       h.amount OPERATOR(quota.->) 'credit' AS credit,
       h.held_at,
       t.now - h.held_at AS age,
       h.expires_at,
       h.expires_at <= t.now AS overdue
FROM quota.holds h
LEFT JOIN quota.accounts r ON r.root_id = h.root_id AND r.account_id = h.root_id
CROSS JOIN (SELECT quota.now()) AS t (now);

COMMENT ON VIEW quota.admin_holds IS 'Open holds: reserved for generations that run now, not yet settled or released';
COMMENT ON COLUMN quota.admin_holds.hold_id IS 'Id of the hold';
COMMENT ON COLUMN quota.admin_holds.root IS 'First account of the path: who pays in the end';
COMMENT ON COLUMN quota.admin_holds.scope IS 'Project, or other account, in which the request was made';
COMMENT ON COLUMN quota.admin_holds.user_id IS 'User who made the request';
COMMENT ON COLUMN quota.admin_holds.model IS 'Model that was asked for; null for an amount without a model';
COMMENT ON COLUMN quota.admin_holds.amount IS 'What is held of each resource';
COMMENT ON COLUMN quota.admin_holds.credit IS 'Credits held';
COMMENT ON COLUMN quota.admin_holds.held_at IS 'When the hold was made; it counts in the periods of this instant';
COMMENT ON COLUMN quota.admin_holds.age IS 'How long ago the hold was made';
COMMENT ON COLUMN quota.admin_holds.expires_at IS 'From when on the hold may be expired';
COMMENT ON COLUMN quota.admin_holds.overdue IS 'Whether the hold is past that time and waits for expiry';

-- Events ----------------------------------------------------------------------

CREATE VIEW quota.admin_events AS
SELECT e.hold_id,
       e.seq,
       e.kind,
       e.outcome,
       r.scope::text AS root,
       e.scope::text AS scope,
       e.user_id,
       e.model,
       e.held,
       e.charged,
       e.charged OPERATOR(quota.->) 'credit' AS credit,
       e.charged OPERATOR(quota.->) 'calls' AS calls,
       e.cost_usd,
       e.held_at,
       e.recorded_at,
       e.kind = 'late' AS late,
       e.kind = 'settled' AND NOT e.charged OPERATOR(quota.<=) e.held AS overage,
       e.card_id,
       e.usage,
       e.reason
FROM quota.events e
LEFT JOIN quota.accounts r ON r.root_id = e.root_id AND r.account_id = e.root_id;

COMMENT ON VIEW quota.admin_events IS 'The ledger: every settlement, release, expiry, charge and adjustment';
COMMENT ON COLUMN quota.admin_events.hold_id IS 'Id of the hold that was closed, or of the charge or adjustment';
COMMENT ON COLUMN quota.admin_events.seq IS 'Number of the event of this hold';
COMMENT ON COLUMN quota.admin_events.kind IS 'What happened: settled, released, expired, late, charge or adjustment';
COMMENT ON COLUMN quota.admin_events.outcome IS 'How the generation ended, as told by the worker';
COMMENT ON COLUMN quota.admin_events.root IS 'First account of the path: who pays in the end';
COMMENT ON COLUMN quota.admin_events.scope IS 'Project, or other account, in which the request was made';
COMMENT ON COLUMN quota.admin_events.user_id IS 'User who made the request; null for an adjustment of an account';
COMMENT ON COLUMN quota.admin_events.model IS 'Model that was used; null for an amount without a model';
COMMENT ON COLUMN quota.admin_events.held IS 'What had been held of each resource';
COMMENT ON COLUMN quota.admin_events.charged IS 'What was used of each resource';
COMMENT ON COLUMN quota.admin_events.credit IS 'Credits used';
COMMENT ON COLUMN quota.admin_events.calls IS 'Calls used';
COMMENT ON COLUMN quota.admin_events.cost_usd IS 'Cost in US dollars, exact, before rounding to credits';
COMMENT ON COLUMN quota.admin_events.held_at IS 'When the hold, charge or adjustment was made; it counts in the periods of this instant';
COMMENT ON COLUMN quota.admin_events.recorded_at IS 'When the event was recorded';
COMMENT ON COLUMN quota.admin_events.late IS 'Whether the generation was settled when its hold had expired or been released already';
COMMENT ON COLUMN quota.admin_events.overage IS 'Whether more was used than had been held';
COMMENT ON COLUMN quota.admin_events.card_id IS 'Version of the rate card that priced it';
COMMENT ON COLUMN quota.admin_events.usage IS 'Usage as told by the worker';
COMMENT ON COLUMN quota.admin_events.reason IS 'Reason as told by the caller';

-- Usage -----------------------------------------------------------------------

-- Roll-up and marks move together in one transaction, so that in any snapshot an event
-- is either rolled up or not below the mark. What is not rolled up is found without
-- reading the history: from one pair of root and origin to the next by the index, and
-- for each pair by the index again. OFFSET 0 keeps the planner from a join that reads all.
CREATE VIEW quota.admin_usage_daily AS
WITH RECURSIVE ledger (root_id, origin) AS (
    (SELECT e.root_id, e.origin FROM quota.events e ORDER BY e.root_id, e.origin LIMIT 1)
    UNION ALL
    SELECT n.root_id, n.origin
    FROM ledger p
    CROSS JOIN LATERAL (
        SELECT e.root_id, e.origin FROM quota.events e
        WHERE (e.root_id, e.origin) > (p.root_id, p.origin)
        ORDER BY e.root_id, e.origin LIMIT 1) AS n
), usage AS (
    SELECT u.root_id, u.account_id, u.hour AS held_at, u.user_id, u.model, u.resource, u.used, u.events
    FROM quota.usage_hourly u
    WHERE u.leaf
    UNION ALL
    SELECT e.root_id, e.levels[cardinality(e.levels)], e.held_at, COALESCE(e.user_id, ''),
           COALESCE(e.model, ''), c.resource, c.value, 1
    FROM ledger p
    LEFT JOIN quota.fold_marks f ON f.root_id = p.root_id AND f.origin = p.origin
    CROSS JOIN LATERAL (
        SELECT t.root_id, t.levels, t.held_at, t.user_id, t.model, t.charged FROM quota.events t
        WHERE t.root_id = p.root_id AND t.origin = p.origin AND t.xid >= COALESCE(f.mark, '0')
        OFFSET 0) AS e
    CROSS JOIN LATERAL quota.entries(e.charged) AS c
)
SELECT (u.held_at AT TIME ZONE 'UTC')::date AS day,
       r.scope::text AS root,
       a.scope::text AS scope,
       CASE WHEN r.kind = 'company' THEN r.name END AS company,
       CASE WHEN a.kind = 'project' THEN a.name END AS project,
       NULLIF(u.user_id, '') AS user_id,
       NULLIF(u.model, '') AS model,
       u.resource,
       trim_scale(sum(u.used)) AS used,
       sum(u.events)::bigint AS events
FROM usage u
LEFT JOIN quota.accounts r ON r.root_id = u.root_id AND r.account_id = u.root_id
LEFT JOIN quota.accounts a ON a.root_id = u.root_id AND a.account_id = u.account_id
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;

COMMENT ON VIEW quota.admin_usage_daily IS 'What was used, by day, account, user, model and resource';
COMMENT ON COLUMN quota.admin_usage_daily.day IS 'Day, in UTC, on which the hold or charge was made';
COMMENT ON COLUMN quota.admin_usage_daily.root IS 'First account of the path: who pays in the end';
COMMENT ON COLUMN quota.admin_usage_daily.scope IS 'Project, or other account, in which the requests were made';
COMMENT ON COLUMN quota.admin_usage_daily.company IS 'Name of the root if it is a company';
COMMENT ON COLUMN quota.admin_usage_daily.project IS 'Name of the account if it is a project';
COMMENT ON COLUMN quota.admin_usage_daily.user_id IS 'User who made the requests; null for adjustments of an account';
COMMENT ON COLUMN quota.admin_usage_daily.model IS 'Model that was used; null for amounts without a model';
COMMENT ON COLUMN quota.admin_usage_daily.resource IS 'What was used';
COMMENT ON COLUMN quota.admin_usage_daily.used IS 'How much was used, in units of the resource';
COMMENT ON COLUMN quota.admin_usage_daily.events IS 'Events that used it';

-- Estimates -------------------------------------------------------------------

-- Of the weeks that expectations are learned from. A quantile is the middle of the bucket
-- in which percentile_disc() would be.
CREATE VIEW quota.admin_estimate_accuracy AS
WITH weeks (first) AS (
    SELECT date_trunc('week', quota.now() AT TIME ZONE 'UTC')::date - 28
), sums AS (
    SELECT e.root_id, e.model, min(e.week) AS since, sum(e.events) AS generations, sum(e.ceiling) AS ceiling,
           sum(e.expected) AS expected, sum(e.charged) AS charged
    FROM quota.estimates_weekly e
    JOIN weeks w ON e.week >= w.first
    GROUP BY e.root_id, e.model
), counts AS (
    SELECT h.root_id, h.model, h.quantity, h.bucket, sum(h.events) AS events
    FROM quota.usage_histogram h
    JOIN weeks w ON h.week >= w.first
    WHERE h.quantity IN ('charged_of_ceiling', 'charged_of_expected', 'output_tokens')
    GROUP BY h.root_id, h.model, h.quantity, h.bucket
), ranks AS (
    SELECT c.root_id, c.model, c.quantity, c.bucket,
           sum(c.events) OVER (PARTITION BY c.root_id, c.model, c.quantity ORDER BY c.bucket)
           / sum(c.events) OVER (PARTITION BY c.root_id, c.model, c.quantity) AS up_to
    FROM counts c
), quantiles AS (
    SELECT r.root_id, r.model, r.quantity, q.share, quota._histogram_value(min(r.bucket)) AS value
    FROM ranks r
    JOIN (VALUES (0.1), (0.5), (0.9)) AS q (share) ON r.up_to >= q.share
    GROUP BY r.root_id, r.model, r.quantity, q.share
), spread AS (
    SELECT q.root_id, q.model,
           round(max(q.value) FILTER (WHERE q.quantity = 'charged_of_ceiling' AND q.share = 0.1), 6) AS of_ceiling_p10,
           round(max(q.value) FILTER (WHERE q.quantity = 'charged_of_ceiling' AND q.share = 0.5), 6) AS of_ceiling_median,
           round(max(q.value) FILTER (WHERE q.quantity = 'charged_of_ceiling' AND q.share = 0.9), 6) AS of_ceiling_p90,
           round(max(q.value) FILTER (WHERE q.quantity = 'charged_of_expected' AND q.share = 0.1), 6) AS of_expected_p10,
           round(max(q.value) FILTER (WHERE q.quantity = 'charged_of_expected' AND q.share = 0.5), 6) AS of_expected_median,
           round(max(q.value) FILTER (WHERE q.quantity = 'charged_of_expected' AND q.share = 0.9), 6) AS of_expected_p90,
           round(max(q.value) FILTER (WHERE q.quantity = 'output_tokens' AND q.share = 0.5)) AS output_tokens_median,
           round(max(q.value) FILTER (WHERE q.quantity = 'output_tokens' AND q.share = 0.9)) AS output_tokens_p90
    FROM quantiles q
    GROUP BY q.root_id, q.model
)
SELECT r.scope::text AS root,
       s.model,
       s.since,
       s.generations::bigint AS generations,
       trim_scale(s.ceiling) AS ceiling,
       trim_scale(s.expected) AS expected,
       trim_scale(s.charged) AS charged,
       round(s.charged / NULLIF(s.ceiling, 0), 6) AS charged_of_ceiling,
       round(s.charged / NULLIF(s.expected, 0), 6) AS charged_of_expected,
       p.of_ceiling_p10, p.of_ceiling_median, p.of_ceiling_p90,
       p.of_expected_p10, p.of_expected_median, p.of_expected_p90,
       p.output_tokens_median, p.output_tokens_p90
FROM sums s
LEFT JOIN spread p ON p.root_id = s.root_id AND p.model = s.model
LEFT JOIN quota.accounts r ON r.root_id = s.root_id AND r.account_id = s.root_id;

COMMENT ON VIEW quota.admin_estimate_accuracy IS 'What settled generations were estimated at and what they took, over the running week and the four before it, by root and model';
COMMENT ON COLUMN quota.admin_estimate_accuracy.root IS 'First account of the path: who pays in the end';
COMMENT ON COLUMN quota.admin_estimate_accuracy.model IS 'Model whose rate card priced them';
COMMENT ON COLUMN quota.admin_estimate_accuracy.since IS 'Monday of the first week that is counted';
COMMENT ON COLUMN quota.admin_estimate_accuracy.generations IS 'Generations that were held, succeeded and are rolled up';
COMMENT ON COLUMN quota.admin_estimate_accuracy.ceiling IS 'Credits held for them';
COMMENT ON COLUMN quota.admin_estimate_accuracy.expected IS 'Credits expected of them: the ceiling where nothing else was known';
COMMENT ON COLUMN quota.admin_estimate_accuracy.charged IS 'Credits they took';
COMMENT ON COLUMN quota.admin_estimate_accuracy.charged_of_ceiling IS 'Credits taken for each that was held, over all';
COMMENT ON COLUMN quota.admin_estimate_accuracy.charged_of_expected IS 'Credits taken for each that was expected, over all';
COMMENT ON COLUMN quota.admin_estimate_accuracy.of_ceiling_p10 IS 'One in ten took at most so much of its ceiling, within 1/32';
COMMENT ON COLUMN quota.admin_estimate_accuracy.of_ceiling_median IS 'Half took at most so much of its ceiling, within 1/32';
COMMENT ON COLUMN quota.admin_estimate_accuracy.of_ceiling_p90 IS 'Nine in ten took at most so much of their ceiling, within 1/32';
COMMENT ON COLUMN quota.admin_estimate_accuracy.of_expected_p10 IS 'One in ten took at most so much of what was expected, within 1/32';
COMMENT ON COLUMN quota.admin_estimate_accuracy.of_expected_median IS 'Half took at most so much of what was expected, within 1/32';
COMMENT ON COLUMN quota.admin_estimate_accuracy.of_expected_p90 IS 'Nine in ten took at most so much of what was expected, within 1/32';
COMMENT ON COLUMN quota.admin_estimate_accuracy.output_tokens_median IS 'Half had at most so many output tokens, within 1/32; null if none had any';
COMMENT ON COLUMN quota.admin_estimate_accuracy.output_tokens_p90 IS 'Nine in ten had at most so many output tokens, within 1/32';

-- Jobs ------------------------------------------------------------------------

CREATE VIEW quota.admin_jobs AS
SELECT j.job,
       j.schedule,
       j.description,
       l.started_at AS last_started,
       l.finished_at AS last_finished,
       l.rows AS last_rows,
       l.error AS last_error,
       s.finished_at AS last_success,
       s.finished_at IS NULL OR s.finished_at < quota.now() - j.max_lag AS overdue
FROM quota.jobs j
LEFT JOIN LATERAL (
    SELECT r.* FROM quota.job_runs r
    WHERE r.job = j.job
    ORDER BY r.started_at DESC LIMIT 1) AS l ON true
LEFT JOIN LATERAL (
    SELECT r.finished_at FROM quota.job_runs r
    WHERE r.job = j.job AND r.finished_at IS NOT NULL AND r.error IS NULL
    ORDER BY r.started_at DESC LIMIT 1) AS s ON true;

COMMENT ON VIEW quota.admin_jobs IS 'The jobs that keep the extension up, and how they went';
COMMENT ON COLUMN quota.admin_jobs.job IS 'Name of the job';
COMMENT ON COLUMN quota.admin_jobs.schedule IS 'When pg_cron runs it, once quota.schedule_jobs() was called';
COMMENT ON COLUMN quota.admin_jobs.description IS 'What the job does';
COMMENT ON COLUMN quota.admin_jobs.last_started IS 'When the last run started; null if it never ran';
COMMENT ON COLUMN quota.admin_jobs.last_finished IS 'When the last run finished; null while it runs';
COMMENT ON COLUMN quota.admin_jobs.last_rows IS 'How much the last run had to do';
COMMENT ON COLUMN quota.admin_jobs.last_error IS 'Why the last run failed; null if it did not';
COMMENT ON COLUMN quota.admin_jobs.last_success IS 'When a run last finished without error';
COMMENT ON COLUMN quota.admin_jobs.overdue IS 'Whether that is longer ago than the job allows';

-- Audit -----------------------------------------------------------------------

CREATE VIEW quota.admin_audit AS
SELECT a.changed_at, a.changed_by, a.acting_as, a.relation, a.operation, a.before, a.after, a.audit_id
FROM quota.audit a;

COMMENT ON VIEW quota.admin_audit IS 'Every change of a definition';
COMMENT ON COLUMN quota.admin_audit.changed_at IS 'When it was changed';
COMMENT ON COLUMN quota.admin_audit.changed_by IS 'Role that had logged in';
COMMENT ON COLUMN quota.admin_audit.acting_as IS 'Role it had set, if another';
COMMENT ON COLUMN quota.admin_audit.relation IS 'Table of schema quota in which the definition is';
COMMENT ON COLUMN quota.admin_audit.operation IS 'INSERT, UPDATE, DELETE or TRUNCATE';
COMMENT ON COLUMN quota.admin_audit.before IS 'The definition before; null if it was created';
COMMENT ON COLUMN quota.admin_audit.after IS 'The definition after; null if it was removed';
COMMENT ON COLUMN quota.admin_audit.audit_id IS 'Id of the entry';

-- Rate cards ------------------------------------------------------------------

CREATE VIEW quota.admin_rate_cards AS
SELECT c.model,
       c.card_id,
       c.valid_from,
       c.valid_to,
       c.valid_from <= t.now AND COALESCE(c.valid_to > t.now, true) AS in_force,
       jsonb_array_length(c.card -> 'lines') AS lines,
       c.source,
       c.created_at,
       c.card
FROM quota.rate_cards c
CROSS JOIN (SELECT quota.now()) AS t (now);

COMMENT ON VIEW quota.admin_rate_cards IS 'Every version of every rate card: what the models have cost, cost now and will cost';
COMMENT ON COLUMN quota.admin_rate_cards.model IS 'Name of the model';
COMMENT ON COLUMN quota.admin_rate_cards.card_id IS 'Id of the version, as in holds and events';
COMMENT ON COLUMN quota.admin_rate_cards.valid_from IS 'From when on it prices requests';
COMMENT ON COLUMN quota.admin_rate_cards.valid_to IS 'Until before when it does; null for until further notice';
COMMENT ON COLUMN quota.admin_rate_cards.in_force IS 'Whether it prices requests now';
COMMENT ON COLUMN quota.admin_rate_cards.lines IS 'How many lines of prices it has';
COMMENT ON COLUMN quota.admin_rate_cards.source IS 'Where it was imported from; null if it was set';
COMMENT ON COLUMN quota.admin_rate_cards.created_at IS 'When it was set or imported';
COMMENT ON COLUMN quota.admin_rate_cards.card IS 'The card itself';

CREATE VIEW quota.admin_model_aliases AS
SELECT a.alias,
       a.model,
       c.card_id,
       a.created_at
FROM quota.model_aliases a
LEFT JOIN quota.admin_rate_cards c ON c.model = a.model AND c.in_force;

COMMENT ON VIEW quota.admin_model_aliases IS 'Other names of models that administrators have given';
COMMENT ON COLUMN quota.admin_model_aliases.alias IS 'The name as requests give it';
COMMENT ON COLUMN quota.admin_model_aliases.model IS 'The model that it stands for';
COMMENT ON COLUMN quota.admin_model_aliases.card_id IS 'Id of the version of its rate card that prices requests now; null if none is valid';
COMMENT ON COLUMN quota.admin_model_aliases.created_at IS 'When the alias was first made';
