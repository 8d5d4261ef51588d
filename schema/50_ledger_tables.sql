-- Ledger: what is held, what was used ------------------------------------------
--
-- Rows state facts, never counters. The extension writes these tables through
-- their indexes directly; nothing else is meant to write them.

CREATE TABLE quota.holds (
    hold_id    uuid PRIMARY KEY,
    root_id    bigint NOT NULL,
    levels     bigint[] NOT NULL,
    scope      quota.scope NOT NULL,
    user_id    text NOT NULL,
    model      text,
    amount     quota.amount NOT NULL,
    held_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    card_id    bigint,
    request    jsonb,
    seq        smallint NOT NULL,
    expected   numeric
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
COMMENT ON TABLE quota.holds IS
    'Open holds: reserved, not yet spent; the row goes when the hold is closed';
COMMENT ON COLUMN quota.holds.expected IS
    'Credits that the estimate expected; null if nothing was known but the ceiling';

-- A partitioned parent that belongs to an extension must have no index of its
-- own (a restore could not attach partitions to it): each partition has its own.
CREATE TABLE quota.events (
    hold_id     uuid NOT NULL,
    seq         smallint NOT NULL,
    kind        text NOT NULL,
    root_id     bigint NOT NULL,
    levels      bigint[] NOT NULL,
    scope       quota.scope NOT NULL,
    user_id     text,
    model       text,
    held        quota.amount NOT NULL,
    charged     quota.amount NOT NULL,
    cost_usd    numeric,
    outcome     text,
    held_at     timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    card_id     bigint,
    usage       jsonb,
    reason      text,
    origin      bigint NOT NULL,
    xid         xid8 NOT NULL,
    expected    numeric,
    input_bytes bigint
) PARTITION BY RANGE (held_at);
COMMENT ON TABLE quota.events IS
    'The ledger: one row per closing (settled, released, expired), late charge, charge and adjustment; append-only, partitioned by the time of the hold';
-- Without a key it needs another identity: a publication must neither stop upkeep from
-- moving rows to their partition, nor leave a subscriber in doubt which ones. Rows that
-- are never changed pay nothing for it. Each partition has its own, too.
ALTER TABLE quota.events REPLICA IDENTITY FULL;

CREATE TABLE quota.events_default PARTITION OF quota.events DEFAULT;
ALTER TABLE quota.events_default ADD CONSTRAINT events_default_pkey PRIMARY KEY (hold_id, seq);
ALTER TABLE quota.events_default REPLICA IDENTITY FULL;
-- What is not folded yet, and whose it is: see src/ledger/ledger_tail.c.
CREATE INDEX events_default_tail_idx ON quota.events_default (root_id, origin, xid, user_id);
-- What one user of a root has used lately: most limits that look back, such as rates, are of shares.
CREATE INDEX events_default_user_idx ON quota.events_default (root_id, user_id, held_at);
COMMENT ON TABLE quota.events_default IS
    'Events whose month has no partition of its own yet; maintenance creates partitions ahead of time';

CREATE TABLE quota.keys (
    root_id     bigint NOT NULL,
    key         text NOT NULL,
    fingerprint bigint NOT NULL,
    hold_id     uuid NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (root_id, key)
);
COMMENT ON TABLE quota.keys IS 'Accepted calls by idempotency key, with a fingerprint of their arguments';

-- Roll-up: events per hour of hold time, level, user, model and resource. A load
-- sums these instead of history. leaf marks the level the request was made in.
CREATE TABLE quota.usage_hourly (
    root_id    bigint NOT NULL,
    account_id bigint NOT NULL,
    resource   text NOT NULL,
    hour       timestamptz NOT NULL,
    user_id    text NOT NULL,
    model      text NOT NULL,
    leaf       boolean NOT NULL,
    used       numeric NOT NULL,
    events     bigint NOT NULL,
    PRIMARY KEY (root_id, account_id, resource, hour, user_id, model, leaf)
);
COMMENT ON TABLE quota.usage_hourly IS
    'Events folded per hour of hold time x level x user x model x resource; used in units of the resource';

-- What generations have used of what requests leave open, for expectations. Counts of
-- equal buckets (src/cost/histogram.c) add up, in any order. The order of columns is
-- known to src/cost/history.c.
CREATE TABLE quota.usage_histogram (
    root_id  bigint NOT NULL,
    model    text COLLATE "C" NOT NULL,
    quantity text COLLATE "C" NOT NULL,
    week     date NOT NULL,
    bucket   smallint NOT NULL,
    events   bigint NOT NULL,
    PRIMARY KEY (root_id, model, quantity, week, bucket)
) WITH (fillfactor = 70);
COMMENT ON TABLE quota.usage_histogram IS
    'Settled generations by root x model of the card x quantity x week (Monday, UTC) of the hold x bucket of quota._histogram_bucket()';

-- The same generations in sums: credits held, expected and charged.
CREATE TABLE quota.estimates_weekly (
    root_id  bigint NOT NULL,
    model    text COLLATE "C" NOT NULL,
    week     date NOT NULL,
    events   bigint NOT NULL,
    ceiling  numeric NOT NULL,
    expected numeric NOT NULL,
    charged  numeric NOT NULL,
    PRIMARY KEY (root_id, model, week)
) WITH (fillfactor = 70);
COMMENT ON TABLE quota.estimates_weekly IS
    'Credits that settled generations held, were expected to take and took, by root x model of the card x week (Monday, UTC) of the hold';

-- Events of a root and origin with an xid below the mark are in usage_hourly and the
-- tables of expectations.
CREATE TABLE quota.fold_marks (
    root_id bigint NOT NULL,
    origin  bigint NOT NULL,
    mark    xid8 NOT NULL,
    PRIMARY KEY (root_id, origin)
);
COMMENT ON TABLE quota.fold_marks IS
    'How far events are folded into usage_hourly, by root and by cluster of origin (system identifier)';

-- One empty relation: the global lock of definitions that belong to no root.
CREATE TABLE quota.global_lock ();
COMMENT ON TABLE quota.global_lock IS
    'Locked, never written: row exclusive by every operation, share row exclusive by a change of plans, resources or the credit rate';
