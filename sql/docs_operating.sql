-- Verifies that:
-- 1. the examples of docs/operating.md print what the page shows (test/docs.sh compares them);
-- 2. the page's table of settings is what the server has.
-- The database is the test's own, so that the page need not tell its names from others'.
\set home :DBNAME
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS docs_operating;
CREATE DATABASE docs_operating;
\c docs_operating
SET client_min_messages = warning;
CREATE EXTENSION xavier_quota;
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- example: settings
SELECT name, boot_val AS "default", unit, context FROM pg_settings
WHERE name LIKE 'xavier\_quota.%' ORDER BY name COLLATE "C";
-- example: maintenance
CALL quota.run_maintenance();
SELECT job, schedule, last_error, overdue FROM quota.admin_jobs ORDER BY job;
-- example: verify
SELECT * FROM quota.verify();
-- example: verify_usage
SELECT * FROM quota.verify_usage();
-- example: reload
SELECT quota.reload('company:acme');
SELECT quota.rebuild_usage('company:acme', '2031-03-01') AS rows_written;
-- example: adopt
SELECT quota.adopt() AS events_folded;
-- example: prepare
BEGIN;
SELECT quota.put_plan('trial', '[]');
PREPARE TRANSACTION 'two-phase';
-- example: end

-- Without a request there is nothing to refuse; a row shows that the ledger does.
SELECT quota.put_account('company:acme') IS NOT NULL AS account;
SELECT quota.adjust('company:acme', 'credit=1', 'a row') ->> 'state' AS state;
SELECT quota.set_rate_card('writer-1', '{"lines": [{"meter": "requests", "price": "0.01"}]}') IS NOT NULL AS card;
-- example: ledger
DELETE FROM quota.events;
UPDATE quota.rate_cards SET card = '{}';
-- example: end

\c :home
DROP DATABASE docs_operating;

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS xavier_quota;
BEGIN;
CREATE EXTENSION IF NOT EXISTS pg_cron;
-- example: schedule
SELECT quota.schedule_jobs();
-- example: end
ROLLBACK;
