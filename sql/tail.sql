-- Verifies that:
-- 1. events that are not folded are found, all and those of one user, whether or not a partition has an index of them;
-- 2. a partition may have been a table of its own, with its columns in another order;
-- 3. an index of other values than those of the columns, of some rows, or of another kind is not taken for one of them;
-- 4. what is folded is counted once.
\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/test/lib/calls.psql'
\i :helpers
\set ECHO all
SELECT quota.put_account('company:tail') IS NOT NULL AS company, quota.put_account('company:tail/project:tail_p') IS NOT NULL AS project;
SELECT quota.put_member('company:tail', u) FROM unnest(ARRAY['tail_ann', 'tail_bob']) AS u;
SELECT quota.set_limit('company:tail', 'credit', 100, 'lifetime') IS NOT NULL AS company,
       quota.set_limit('company:tail/user:*', 'credit', 50, 'lifetime') IS NOT NULL AS shares,
       quota.set_limit('company:tail/user:*', 'credit', 50, 'rolling 1 hour') IS NOT NULL AS windows;

-- A partition that was made as a table of its own: other columns come first, and some are gone.
DO $$
DECLARE
    columns text := (SELECT string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                                              CASE WHEN a.attnotnull THEN ' NOT NULL' END), ', ' ORDER BY a.attname DESC)
                     FROM pg_attribute a WHERE a.attrelid = 'quota.events'::regclass AND a.attnum > 0);
BEGIN
    EXECUTE 'CREATE TABLE tail_events (gone integer, ' || columns || ', PRIMARY KEY (hold_id, seq))';
    ALTER TABLE tail_events DROP COLUMN gone;
    ALTER TABLE quota.events ATTACH PARTITION tail_events FOR VALUES FROM ('2037-05-01 00:00+00') TO ('2037-06-01 00:00+00');
END
$$;
SET xavier_quota.clock = '2037-05-10 12:00+00';

SELECT quota.adjust('company:tail/user:tail_ann', 'credit=3', 'used') ->> 'state' AS ann,
       quota.adjust('company:tail/user:tail_bob', 'credit=4', 'used') ->> 'state' AS bob,
       quota.adjust('company:tail/project:tail_p', 'credit=5', 'used') ->> 'state' AS nobody;
CREATE VIEW tail_numbers AS
    SELECT u.user_id, l ->> 'scope' AS scope, l ->> 'used' AS used
    FROM unnest(ARRAY['tail_ann', 'tail_bob']) AS u (user_id),
         quota.check_amount(u.user_id, 'tail_p', 'credit=1') v, jsonb_array_elements(v -> 'levels') l
    ORDER BY 1, 2;

-- Without an index of this kind, and with one of each.
SELECT quota.reload('company:tail');
SELECT * FROM tail_numbers;
CREATE INDEX tail_three ON tail_events (root_id, origin, xid);
SELECT quota.reload('company:tail');
SELECT * FROM tail_numbers;
CREATE INDEX tail_four ON tail_events (root_id, origin, xid, user_id);
SELECT quota.reload('company:tail');
SELECT * FROM tail_numbers;
-- One that does not do is not taken for one that does.
DROP INDEX tail_three, tail_four;
CREATE INDEX tail_other ON tail_events (root_id, origin, xid, user_id COLLATE "C");
CREATE INDEX tail_some ON tail_events (root_id, origin, xid, user_id) WHERE user_id = 'tail_bob';
SELECT quota.reload('company:tail');
SELECT * FROM tail_numbers;
SELECT * FROM quota.verify('company:tail');

-- Folded, it is in the roll-up; the windows read it from the partition.
SELECT quota._fold_root(root_id, quota._system_identifier()) > 0 AS folded FROM quota.accounts WHERE scope OPERATOR(quota.=) 'company:tail';
SELECT quota.reload('company:tail');
SELECT * FROM tail_numbers;

DROP VIEW tail_numbers;
ALTER TABLE quota.events DETACH PARTITION tail_events;
DROP TABLE tail_events;
SELECT quota.rebuild_usage('company:tail', '2037-05-01 00:00+00') AS rows;
SELECT quota.reload('company:tail');
RESET xavier_quota.clock;
