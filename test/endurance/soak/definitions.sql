-- Who makes requests in the soak: company 0 is hot and has 64 users, the others, as many as
-- soak.companies says, are small and have two. A company with storage for 30 at a time
-- refuses all the time.

CREATE EXTENSION pgstattuple;

SELECT quota.set_rate_card(m, '{"mode": "chat", "max_output_tokens": 4000, "lines": [
    {"meter": "input_tokens", "price": "0.0000025"},
    {"meter": "output_tokens", "price": "0.00001"}]}')
FROM unnest(ARRAY['m1', 'm2']) AS m;
SELECT quota.put_plan('small', '[{"resource": "calls", "amount": 1000000, "period": "hour"}]');

SELECT quota.put_account(format('company:c%s', i)::quota.scope, plan => CASE WHEN i > 0 THEN 'small' END),
       quota.put_account(format('company:c%s/project:p%s', i, i)::quota.scope),
       quota.set_limit(format('company:c%s', i)::quota.scope, 'credit', 1000000000),
       quota.set_limit(format('company:c%s/project:p%s', i, i)::quota.scope, 'credit', 1000000000, '1 hour'),
       quota.set_limit(format('company:c%s/user:*', i)::quota.scope, 'credit', 1000000000, '1 day'),
       -- Those that look back, and have another table in memory. What carries something in
       -- periods of minutes is computed from all its events: too many in an hour.
       quota.set_limit(format('company:c%s', i)::quota.scope, 'credit', 1000000000, 'rolling 5 minutes'),
       quota.set_limit(format('company:c%s/project:p%s', i, i)::quota.scope, 'calls', 1000000, CASE WHEN current_setting('soak.companies')::int > 100 THEN '1 hour' ELSE '1 minute' END::quota.period,
                       rollover => 1000000, rollover_periods => 3),
       quota.set_limit(format('company:c%s/project:p%s/user:*', i, i)::quota.scope, 'calls', 1000000, 'refill 100000 per 1 second up to 1000000')
FROM generate_series(0, current_setting('soak.companies')::int) AS i;
SELECT quota.put_member(format('company:c%s', i)::quota.scope, format('u%s', u))
FROM generate_series(0, current_setting('soak.companies')::int) AS i,
     generate_series(0, CASE i WHEN 0 THEN 63 ELSE 1 END) AS u;

SELECT quota.put_account('company:tight'), quota.put_account('company:tight/project:tight'),
       quota.put_member('company:tight', 'u0'),
       quota.set_limit('company:tight', 'storage', 30, 'lifetime');

-- Names, for scripts in which a colon is the beginning of a variable.
CREATE FUNCTION test.company(company text) RETURNS quota.scope
LANGUAGE sql IMMUTABLE RETURN ('company:c' || company)::quota.scope;
CREATE FUNCTION test.share(company text, user_number text) RETURNS quota.scope
LANGUAGE sql IMMUTABLE RETURN ('company:c' || company || '/project:p' || company || '/user:u' || user_number)::quota.scope;

-- What each backend says of its own memory.
CREATE TABLE contexts (pid integer NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(), bytes bigint NOT NULL);

-- How many events are not folded yet.
CREATE VIEW unfolded AS
SELECT count(*) AS events
FROM quota.accounts a
LEFT JOIN quota.fold_marks m ON m.root_id = a.root_id,
LATERAL (SELECT FROM quota.events e
         WHERE e.root_id = a.root_id AND e.origin = quota._system_identifier()
           AND e.xid >= coalesce(m.mark, '0')) AS t
WHERE a.parent_id IS NULL;
