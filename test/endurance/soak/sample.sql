-- One row: what a sample of the soak reads from the server, in the order of @SAMPLE in soak.pl.
SELECT (SELECT count(*) FROM quota.holds) AS open_holds,
       h.table_len, h.dead_tuple_count, pg_relation_size('quota.holds_pkey'),
       k.table_len, k.dead_tuple_count, pg_relation_size('quota.keys_pkey'),
       (SELECT sum(pg_total_relation_size(i.inhrelid)) FROM pg_inherits i WHERE i.inhparent = 'quota.events'::regclass),
       (SELECT events FROM unfolded),
       s.counters, s.pinned, s.memory_bytes, s.loads, s.evictions, s.claims, s.refusals,
       pg_current_wal_insert_lsn() - '0/0'::pg_lsn,
       (SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE schemaname = 'quota' AND relname ~ '^(holds|events_.*)$'),
       (SELECT coalesce(round(avg(c.bytes)), 0) FROM (
            SELECT DISTINCT ON (c.pid) c.bytes
            FROM contexts c JOIN pg_stat_activity a ON a.pid = c.pid AND a.application_name = 'service'
            ORDER BY c.pid, c.at DESC) AS c)
FROM pgstattuple('quota.holds') AS h, pgstattuple('quota.keys') AS k, quota.engine_stats AS s
