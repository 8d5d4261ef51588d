-- A thousand companies, each with a project and a member, and four limits that a
-- request meets: two of the company, one of the project, one of the user.

SELECT quota.set_rate_card('bench-model', '{"lines": [
    {"meter": "input_tokens", "price": "0.0000025"},
    {"meter": "output_tokens", "price": "0.00001"}]}');

SELECT quota.put_account(format('company:c%s', i)::quota.scope),
       quota.put_account(format('company:c%s/project:p%s', i, i)::quota.scope),
       quota.put_member(format('company:c%s', i)::quota.scope, format('u%s', i)),
       quota.set_limit(format('company:c%s', i)::quota.scope, 'credit', 1000000000, 'month'),
       quota.set_limit(format('company:c%s', i)::quota.scope, 'calls', 1000000000, 'month'),
       quota.set_limit(format('company:c%s/project:p%s', i, i)::quota.scope, 'credit', 1000000000, 'month'),
       quota.set_limit(format('company:c%s/user:*', i)::quota.scope, 'credit', 1000000000, 'month')
FROM generate_series(1, 1000) AS i;
