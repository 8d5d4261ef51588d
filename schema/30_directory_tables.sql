-- Directory: who there is, what may be spent, and by which models ---------------
--
-- The root (the first account of a path) leads every key: it is the shard key.
-- Ids come from one sequence and are never reused. An amount is less than 2^62
-- millionths of its unit, which is where 4611686018427.387904 comes from.
--
-- There are no foreign keys: a parallel restore loads the tables of an extension in
-- any order. What is referenced is checked by the functions that define it, and never
-- deleted: there is no call that removes an account, a plan or a resource.

CREATE SEQUENCE quota.definition_id_seq;
COMMENT ON SEQUENCE quota.definition_id_seq IS
    'Ids of accounts, limits, grants and rate cards, and versions of limits';

-- Resources: what is measured.
CREATE TABLE quota.resources (
    resource    text PRIMARY KEY,
    unit        text NOT NULL,
    kind        text NOT NULL,
    description text,
    CONSTRAINT resources_name_check CHECK (resource ~ '^[a-z_][a-z0-9_]{0,62}$'),
    CONSTRAINT resources_kind_check CHECK (kind IN ('flow', 'stock', 'concurrency'))
);
COMMENT ON TABLE quota.resources IS
    'What is measured: a flow is counted per period, a stock goes up and down and never resets, a concurrency is held while running and never used';

INSERT INTO quota.resources (resource, unit, kind, description) VALUES
    ('credit',  'credit',   'flow',  'Internal currency; quota.set_credit_rate() says how many a US dollar buys'),
    ('calls',   'call',     'flow',  'Accepted generation requests'),
    ('storage', 'megabyte', 'stock', 'Megabytes of 10^6 bytes, exact to the byte'),
    -- What every hold of a model counts one of by itself: its name cannot mean anything else.
    ('in_flight', 'generation', 'concurrency', 'Generations that run now');

-- Plans: named sets of limits.
CREATE TABLE quota.plans (
    plan       text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT plans_name_check CHECK (plan <> '')
);
COMMENT ON TABLE quota.plans IS 'Named sets of limits that accounts are on';

CREATE TABLE quota.plan_limits (
    limit_id      bigint PRIMARY KEY,
    version       bigint NOT NULL,
    plan          text NOT NULL,
    resource      text NOT NULL,
    model         text NOT NULL DEFAULT '*',
    period        quota.period NOT NULL,
    amount        numeric NOT NULL,
    policy        text NOT NULL DEFAULT 'hard',
    overdraft     numeric NOT NULL DEFAULT 0,
    rollover      numeric NOT NULL DEFAULT 0,
    carry_overage boolean NOT NULL DEFAULT false,
    rollover_periods smallint NOT NULL DEFAULT 1,
    CONSTRAINT plan_limits_identity_key UNIQUE (plan, resource, model, period),
    CONSTRAINT plan_limits_amount_check CHECK (amount >= 0 AND amount = round(amount, 6) AND amount < 4611686018427.387904),
    CONSTRAINT plan_limits_overdraft_check CHECK (overdraft >= 0 AND overdraft = round(overdraft, 6) AND overdraft < 4611686018427.387904),
    CONSTRAINT plan_limits_rollover_check CHECK (rollover >= 0 AND rollover = round(rollover, 6) AND rollover < 4611686018427.387904),
    CONSTRAINT plan_limits_rollover_periods_check CHECK (rollover_periods BETWEEN 1 AND 12),
    CONSTRAINT plan_limits_policy_check CHECK (policy IN ('hard', 'soft', 'shadow'))
);
COMMENT ON TABLE quota.plan_limits IS 'The limits of each plan; every account on the plan has counters of its own';

-- Accounts: the tree.
CREATE TABLE quota.accounts (
    root_id    bigint NOT NULL,
    account_id bigint NOT NULL,
    parent_id  bigint,
    scope      quota.scope NOT NULL,
    kind       text NOT NULL,
    name       text NOT NULL,
    active     boolean NOT NULL DEFAULT true,
    plan       text,
    attributes jsonb,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Since when it is on the plan, by quota.now(); quota.past_plans has when it was before.
    plan_since timestamptz,
    PRIMARY KEY (root_id, account_id),
    CONSTRAINT accounts_scope_key UNIQUE (scope),
    CONSTRAINT accounts_root_check CHECK ((parent_id IS NULL) = (root_id = account_id))
);
CREATE INDEX accounts_kind_name_idx ON quota.accounts (kind, name);
COMMENT ON TABLE quota.accounts IS
    'Nodes that can carry limits; the first account of a path is its root. An account kind user below a root is the share of that user in its parent';

CREATE TABLE quota.members (
    root_id    bigint NOT NULL,
    account_id bigint NOT NULL,
    user_id    text NOT NULL,
    active     boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (root_id, account_id, user_id),
    CONSTRAINT members_user_id_check CHECK (user_id <> '' AND octet_length(user_id) < 128 AND user_id !~ '[\x01-\x1f\x7f]')
);
CREATE INDEX members_user_id_idx ON quota.members (user_id);
COMMENT ON TABLE quota.members IS
    'Users that belong to an account and to everything below it; the nearest entry on the path of a project decides';

CREATE TABLE quota.model_rules (
    root_id    bigint NOT NULL,
    account_id bigint NOT NULL,
    pattern    text NOT NULL,
    allow      boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (root_id, account_id, pattern),
    CONSTRAINT model_rules_pattern_check CHECK (pattern <> '')
);
COMMENT ON TABLE quota.model_rules IS
    'Which models a scope may use: * stands for any characters; a deny denies, a level with allow rules allows only those';

-- Limits. scope = the account, or the share of a user in it (user_id), or the
-- default for each child of a kind (child_kind; scope ends in kind:*).
CREATE TABLE quota.limits (
    root_id       bigint NOT NULL,
    limit_id      bigint NOT NULL,
    version       bigint NOT NULL,
    account_id    bigint NOT NULL,
    user_id       text,
    child_kind    text,
    scope         quota.scope NOT NULL,
    resource      text NOT NULL,
    model         text NOT NULL DEFAULT '*',
    period        quota.period NOT NULL,
    amount        numeric NOT NULL,
    policy        text NOT NULL DEFAULT 'hard',
    overdraft     numeric NOT NULL DEFAULT 0,
    rollover      numeric NOT NULL DEFAULT 0,
    carry_overage boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The amount of one period: of that in which it was prorated.
    prorated_at     timestamptz,
    prorated_amount numeric,
    rollover_periods smallint NOT NULL DEFAULT 1,
    PRIMARY KEY (root_id, limit_id),
    CONSTRAINT limits_identity_key UNIQUE (root_id, scope, resource, model, period),
    CONSTRAINT limits_target_check CHECK (user_id IS NULL OR child_kind IS NULL),
    CONSTRAINT limits_amount_check CHECK (amount >= 0 AND amount = round(amount, 6) AND amount < 4611686018427.387904),
    CONSTRAINT limits_overdraft_check CHECK (overdraft >= 0 AND overdraft = round(overdraft, 6) AND overdraft < 4611686018427.387904),
    CONSTRAINT limits_prorated_check CHECK ((prorated_at IS NULL) = (prorated_amount IS NULL) AND prorated_amount >= 0
        AND prorated_amount = round(prorated_amount, 6) AND prorated_amount < 4611686018427.387904),
    CONSTRAINT limits_rollover_check CHECK (rollover >= 0 AND rollover = round(rollover, 6) AND rollover < 4611686018427.387904),
    CONSTRAINT limits_rollover_periods_check CHECK (rollover_periods BETWEEN 1 AND 12),
    CONSTRAINT limits_policy_check CHECK (policy IN ('hard', 'soft', 'shadow'))
);
COMMENT ON TABLE quota.limits IS
    'How much of a resource a scope may use per period, for models that match; limit_id stays for life, version changes with what is counted';

-- What a limit was when: a period that is over is computed by the terms it had, so that
-- what it left for the next one does not change with the limit. Rows are only added, in
-- the order of time, or written over within the same instant.
CREATE TABLE quota.limit_terms (
    root_id          bigint NOT NULL,
    limit_id         bigint NOT NULL,
    set_at           timestamptz NOT NULL,
    amount           numeric NOT NULL,
    prorated_amount  numeric,
    rollover         numeric NOT NULL,
    rollover_periods smallint NOT NULL,
    carry_overage    boolean NOT NULL,
    PRIMARY KEY (root_id, limit_id, set_at),
    CONSTRAINT limit_terms_amount_check CHECK (amount >= 0 AND amount = round(amount, 6) AND amount < 4611686018427.387904),
    CONSTRAINT limit_terms_prorated_check CHECK (prorated_amount >= 0 AND prorated_amount = round(prorated_amount, 6)
        AND prorated_amount < 4611686018427.387904),
    CONSTRAINT limit_terms_rollover_check CHECK (rollover >= 0 AND rollover = round(rollover, 6) AND rollover < 4611686018427.387904),
    CONSTRAINT limit_terms_rollover_periods_check CHECK (rollover_periods BETWEEN 1 AND 12)
);
COMMENT ON TABLE quota.limit_terms IS
    'The amounts and roll-over of each limit over time; the last row that was set before the end of a period holds for it. root_id is 0 for limits of plans';
COMMENT ON COLUMN quota.limit_terms.prorated_amount IS
    'The amount of the period that contains set_at, if it is another';

-- What a level had before: a limit that was dropped stood before farther ones (the default
-- for children, that of a plan), and those of a plan did not apply while the account was on
-- another. What a limit carries has to know: nothing of it was used then.
CREATE TABLE quota.past_limits (
    root_id    bigint NOT NULL,
    limit_id   bigint NOT NULL,
    account_id bigint NOT NULL,
    user_id    text,
    child_kind text,
    resource   text NOT NULL,
    model      text NOT NULL,
    period     quota.period NOT NULL,
    set_at     timestamptz NOT NULL,
    dropped_at timestamptz NOT NULL,
    PRIMARY KEY (root_id, limit_id),
    CONSTRAINT past_limits_time_check CHECK (dropped_at > set_at)
);
CREATE INDEX past_limits_level_idx ON quota.past_limits (root_id, account_id, user_id, resource);
COMMENT ON TABLE quota.past_limits IS
    'Limits that were dropped, and when they applied: a limit that they stood before was not used then';

CREATE TABLE quota.past_plans (
    root_id    bigint NOT NULL,
    account_id bigint NOT NULL,
    plan       text NOT NULL,
    since      timestamptz NOT NULL,
    until      timestamptz NOT NULL,
    PRIMARY KEY (root_id, account_id, plan, since),
    CONSTRAINT past_plans_time_check CHECK (until > since)
);
COMMENT ON TABLE quota.past_plans IS
    'When accounts were on plans that they left: in between, the limits of a plan that they are on again were not used';

-- Grants: more of a limit, for a while. Like a limit, a grant is of an account or of the
-- share of a user in it.
CREATE TABLE quota.grants (
    root_id      bigint NOT NULL,
    grant_id     bigint NOT NULL,
    account_id   bigint NOT NULL,
    user_id      text,
    limit_id     bigint NOT NULL,
    resource     text NOT NULL,
    amount       numeric NOT NULL,
    priority     integer NOT NULL DEFAULT 100,
    effective_at timestamptz NOT NULL,
    expires_at   timestamptz,
    voided_at    timestamptz,
    rollover     numeric,
    note         text,
    void_reason  text,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (root_id, grant_id),
    CONSTRAINT grants_amount_check CHECK (amount > 0 AND amount = round(amount, 6) AND amount < 4611686018427.387904),
    CONSTRAINT grants_rollover_check CHECK (rollover >= 0 AND rollover = round(rollover, 6) AND rollover < 4611686018427.387904),
    CONSTRAINT grants_time_check CHECK (isfinite(effective_at) AND isfinite(expires_at) AND expires_at > effective_at),
    CONSTRAINT grants_void_check CHECK (voided_at IS NOT NULL OR void_reason IS NULL)
);
CREATE INDEX grants_level_idx ON quota.grants (root_id, account_id, limit_id);
COMMENT ON TABLE quota.grants IS
    'Top-ups: how much more of a limit there is at one level, in effect from effective_at until it expires or is voided';
COMMENT ON COLUMN quota.grants.rollover IS
    'How much of what is left stays at the end of each period of the limit; null for all';

-- Closed periods: what was, as it was recorded. Derived, and never read to decide.
CREATE TABLE quota.periods (
    root_id      bigint NOT NULL,
    account_id   bigint NOT NULL,
    user_id      text NOT NULL DEFAULT '',
    limit_id     bigint NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    resource     text NOT NULL,
    model        text NOT NULL,
    "limit"      numeric NOT NULL,
    granted      numeric NOT NULL,
    used         numeric NOT NULL,
    overage      numeric NOT NULL,
    rolled_over  numeric NOT NULL,
    late         numeric NOT NULL DEFAULT 0,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (root_id, account_id, user_id, limit_id, period_start)
);
COMMENT ON TABLE quota.periods IS
    'Periods of limits that are over, by level: what there was, what was used of it and what went into the next one';
COMMENT ON COLUMN quota.periods.late IS
    'How much of what is used came after the period was first recorded';

-- Which events the recording of closed periods has looked at, as the fold has its marks.
CREATE TABLE quota.period_marks (
    root_id bigint NOT NULL,
    origin  bigint NOT NULL,
    mark    xid8 NOT NULL,
    PRIMARY KEY (root_id, origin)
);
COMMENT ON TABLE quota.period_marks IS
    'Events of a root and origin with an xid below the mark are in the closed periods that they belong to';
