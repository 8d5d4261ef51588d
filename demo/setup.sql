-- Prices, and who may spend what: four companies and two people on their own account.

-- Prices: the community's price map, as it is.
\set prices `cat data/litellm_prices.json`
CREATE TABLE demo.imported AS
SELECT * FROM quota.import_prices(:'prices', 'litellm, snapshot of 2026-08-01');

-- Plans: named sets of limits.
SELECT quota.put_plan('business', '[
    {"resource": "credit", "amount": 3000, "period": "month"},
    {"resource": "calls",  "amount": 50000, "period": "1 day"}]');
SELECT quota.put_plan('starter', '[
    {"resource": "credit", "amount": 120, "period": "month"},
    {"resource": "calls",  "amount": 5000, "period": "1 day"}]');
SELECT quota.put_plan('personal', '[
    {"resource": "credit", "amount": 200, "period": "month"}]');

-- acme: a default for every member, and a limit of the compiler project for one family of models.
SELECT quota.put_account('company:acme', plan => 'business');
SELECT quota.put_account('company:acme/project:apollo');
SELECT quota.put_account('company:acme/project:hermes');
SELECT quota.put_account('company:acme/project:compiler');
SELECT quota.put_member('company:acme', user_id) FROM unnest('{ann,bob,carl,cleo}'::text[]) AS user_id;
SELECT quota.set_limit('company:acme/user:*', 'credit', 700, 'month');
SELECT quota.set_limit('company:acme/project:compiler', 'credit', 600, 'month', model => 'gpt-4*');

-- globex: may go above its limit, but somebody is told.
SELECT quota.put_account('company:globex', plan => 'business');
SELECT quota.put_account('company:globex/project:helpdesk');
SELECT quota.put_account('company:globex/project:ide');
SELECT quota.put_member('company:globex', user_id) FROM unnest('{gus,hana}'::text[]) AS user_id;
SELECT quota.set_limit('company:globex', 'credit', 1000, 'month', policy => 'soft');

-- initech: a small plan that runs out, and a model that it does not allow.
SELECT quota.put_account('company:initech', plan => 'starter');
SELECT quota.put_account('company:initech/project:tps');
SELECT quota.put_member('company:initech', user_id) FROM unnest('{milton,peter}'::text[]) AS user_id;
SELECT quota.deny_model('company:initech', 'claude-opus*');

-- umbrella: teams between company and project.
SELECT quota.put_account('company:umbrella', plan => 'business');
SELECT quota.put_account('company:umbrella/team:research');
SELECT quota.put_account('company:umbrella/team:research/project:genome');
SELECT quota.put_account('company:umbrella/team:tools');
SELECT quota.put_account('company:umbrella/team:tools/project:lint');
SELECT quota.put_member('company:umbrella', 'ivy');
SELECT quota.put_member('company:umbrella/team:research', 'jon');
SELECT quota.put_member('company:umbrella/team:tools', 'jon');
SELECT quota.set_limit('company:umbrella/team:research', 'credit', 1200, 'month');

-- Two people on their own account.
SELECT quota.put_account('user:dora', plan => 'personal');
SELECT quota.put_account('user:dora/project:diary');
SELECT quota.put_account('user:emil', plan => 'personal');
SELECT quota.put_account('user:emil/project:novel');

-- What the clients were answered, as they noted it themselves.
CREATE TABLE demo.answers (pass integer, n integer, allowed boolean);
