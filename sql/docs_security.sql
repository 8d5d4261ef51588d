-- Verifies that:
-- 1. the examples of docs/security.md print what the page shows (test/docs.sh compares them).
-- The database is the test's own, so that the page need not tell its names from others'.
\set home :DBNAME
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS docs_security;
CREATE DATABASE docs_security;
\c docs_security
SET client_min_messages = warning;
CREATE EXTENSION xavier_quota;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT count(quota.put_account(scope)) AS accounts
FROM unnest(ARRAY['company:acme', 'company:acme/project:apollo']::quota.scope[]) AS scope;
SELECT quota.put_member('company:acme', 'ann');
CREATE ROLE regress_docs_vault;
CREATE ROLE regress_docs_viewer;

-- example: nothing
SET ROLE regress_docs_vault;
SELECT quota.check_amount('ann', 'apollo', 'credit=1');
RESET ROLE;
-- example: grant
SELECT quota.grant_access('regress_docs_vault', 'service');
SELECT quota.grant_access('regress_docs_viewer', 'viewer');
-- example: service
SET ROLE regress_docs_vault;
SELECT quota.check_amount('ann', 'apollo', 'credit=1') ->> 'allowed' AS allowed;
SELECT quota.put_account('company:acme');
SELECT * FROM quota.accounts;
RESET ROLE;
-- example: scoped
SELECT quota.grant_access('regress_docs_viewer', 'viewer', 'company:acme');
-- example: revoke
SELECT quota.revoke_access('regress_docs_viewer', 'viewer');
-- example: who
SELECT role, bundle FROM quota.access ORDER BY role, bundle;
-- example: end
SELECT quota.revoke_access('regress_docs_vault', 'service');

\c :home
DROP DATABASE docs_security;
DROP ROLE regress_docs_vault, regress_docs_viewer;
