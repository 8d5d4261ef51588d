-- A thousand companies, each with a project and a member, and four limits that a
-- request meets: two of the company, one of the project, one of the user.

SELECT quota.import_prices('{"bench-model": {"mode": "chat", "litellm_provider": "bench",
    "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "max_output_tokens": 4096}}');

SELECT quota.put_account(format('company:c%s', i)::quota.scope),
       quota.put_account(format('company:c%s/project:p%s', i, i)::quota.scope),
       quota.put_member(format('company:c%s', i)::quota.scope, format('u%s', i)),
       quota.set_limit(format('company:c%s', i)::quota.scope, 'credit', 1000000000, 'month'),
       quota.set_limit(format('company:c%s', i)::quota.scope, 'calls', 1000000000, 'month'),
       quota.set_limit(format('company:c%s/project:p%s', i, i)::quota.scope, 'credit', 1000000000, 'month'),
       quota.set_limit(format('company:c%s/user:*', i)::quota.scope, 'credit', 1000000000, 'month')
FROM generate_series(1, 1000) AS i;
