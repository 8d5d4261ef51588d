-- The floor's tables: like the extension's, with its indexes and settings, but without
-- its triggers; the events go straight into a partition.

CREATE SCHEMA floor;
CREATE TABLE floor.holds (LIKE quota.holds INCLUDING ALL);
CREATE TABLE floor.events (LIKE quota.events_default INCLUDING ALL);
SELECT format('ALTER TABLE floor.holds SET (%s)', array_to_string(reloptions, ', '))
FROM pg_class
WHERE oid = 'quota.holds'::regclass AND reloptions IS NOT NULL
\gexec
