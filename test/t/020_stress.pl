
# Sixteen clients do everything at random, while definitions change, usage is folded and
# memory is too small for all counters. No hard limit is ever above its bound, and in the
# end counters, ledger and what the clients were told agree.
#
# STRESS_SECONDS says for how long (20).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $SECONDS = $ENV{STRESS_SECONDS} // 20;
my $USERS = 96;

# 2 companies x 96 users x 4 counters do not fit into 256.
my $node = new_server('stress', settings => "xavier_quota.max_counters = 256\n");
install_checks($node);

# In company:exact nothing ever costs more than was held, so that no counter may ever
# stand above its limit. In company:any everything happens.
$node->safe_psql(
	'postgres', qq{
SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [
    {"meter": "input_tokens", "price": "0.000001"},
    {"meter": "output_tokens", "price": "0.0001"}]}');
DO \$\$
DECLARE
    c text;
BEGIN
    FOREACH c IN ARRAY '{exact,any}'::text[] LOOP
        PERFORM quota.put_account(('company:' || c)::quota.scope);
        PERFORM quota.put_account(('company:' || c || '/project:' || c)::quota.scope);
        PERFORM quota.put_member(('company:' || c)::quota.scope, 'u' || i) FROM generate_series(0, $USERS - 1) i;
        PERFORM quota.set_limit(('company:' || c)::quota.scope, 'credit', 500);
        PERFORM quota.set_limit(('company:' || c)::quota.scope, 'credit', 480, 'lifetime');
        PERFORM quota.set_limit(('company:' || c || '/project:' || c)::quota.scope, 'calls', 30);
        PERFORM quota.set_limit(('company:' || c || '/user:*')::quota.scope, 'credit', 120);
        PERFORM quota.set_limit(('company:' || c || '/user:*')::quota.scope, 'calls', 1000000);
        PERFORM quota.set_limit(('company:' || c || '/project:' || c || '/user:*')::quota.scope, 'credit', 100);
    END LOOP;
END \$\$;
});

$node->safe_psql(
	'postgres', q{
-- What the clients were told, in the transaction in which they were told it.
CREATE TABLE told (hold_id uuid, seq int, what text, charged numeric);
CREATE TABLE violations (scope text, bound numeric, seen numeric);
CREATE TABLE highest (scope text PRIMARY KEY, seen numeric);

-- One step of one client: holds something for a user, or closes, prolongs or grows a
-- hold, in company:exact one of the twelve users from low on. Business as usual (a hold that is closed already) is undone
-- by the savepoint that the handler makes; all else fails the test.
CREATE FUNCTION step(company text, user_number int, low int) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    exact boolean := company = 'exact';
    user_id text := 'u' || user_number;
    dice float := random();
    picked uuid;
    answer jsonb;
    amount numeric;
BEGIN
    IF NOT exact AND dice < 0.05 THEN
        answer := quota.charge(user_id, company, 'm1', '{"input_tokens": 100, "output_tokens": 1}');
        INSERT INTO told VALUES ((answer ->> 'hold_id')::uuid, 1, 'charge', (answer -> 'charged' ->> 'credit')::numeric);
        RETURN 'charge';
    ELSIF NOT exact AND dice < 0.1 THEN
        answer := quota.adjust(format('company:%s/project:%s/user:%s', company, company, user_id)::quota.scope,
                               ('credit=' || round((random() * 30 - 28)::numeric, 6))::quota.amount, 'stress');
        INSERT INTO told VALUES ((answer ->> 'hold_id')::uuid, 1, 'adjust', coalesce((answer -> 'charged' ->> 'credit')::numeric, 0));
        RETURN 'adjust';
    END IF;

    SELECT h.hold_id, (h.amount::jsonb ->> 'credit')::numeric INTO picked, amount
    FROM quota.holds h
    WHERE h.scope::text = format('company:%s/project:%s', company, company)
      AND (NOT exact OR substr(h.user_id, 2)::int BETWEEN low AND low + 11)
    ORDER BY random() LIMIT 1;
    IF picked IS NULL OR dice < 0.4 THEN
        IF dice < 0.25 THEN
            answer := quota.reserve_amount(user_id, company,
                ('calls=1,credit=' || round((5 + 30 * random())::numeric, 6))::quota.amount,
                ttl => CASE WHEN exact OR random() < 0.9 THEN '15 minutes' ELSE '1 second' END::interval);
        ELSE
            answer := quota.reserve(user_id, company, 'm1', '{"input_tokens": 100}',
                                    md5(random()::text));
        END IF;
        IF (answer ->> 'allowed')::boolean THEN
            INSERT INTO told VALUES ((answer ->> 'hold_id')::uuid, 0, 'reserve', NULL);
        END IF;
        RETURN 'reserve';
    END IF;

    IF dice < 0.7 THEN
        answer := quota.settle_amount(picked, (CASE
            WHEN exact OR dice < 0.65 THEN 'calls=0.000001,credit=' || round(random()::numeric / 100, 6)
            ELSE 'calls=1,credit=' || round(amount + random()::numeric, 6) END)::quota.amount);
    ELSIF dice < 0.9 THEN
        answer := quota.release(picked, 'stress');
    ELSIF dice < 0.95 THEN
        PERFORM quota.extend(picked, ttl => '20 minutes');
        RETURN 'extend';
    ELSE
        PERFORM quota.extend(picked, '{"input_tokens": 100, "max_output_tokens": 1200}');
        RETURN 'extend';
    END IF;
    IF NOT (answer ->> 'replayed')::boolean THEN
        INSERT INTO told VALUES (picked, CASE WHEN (answer ->> 'late')::boolean THEN 2 ELSE 1 END,
                                 answer ->> 'state', coalesce((answer -> 'charged' ->> 'credit')::numeric, 0));
    END IF;
    RETURN 'close';
EXCEPTION
    -- Settled or released by somebody else just now; an amount has no model to extend by.
    WHEN SQLSTATE 'XQ101' OR SQLSTATE 'XQ102' OR SQLSTATE 'XQ104' OR SQLSTATE 'XQ201' THEN
        RETURN SQLSTATE;
END
$$;

-- Looks at counters of company:exact, again and again, until the clients are done.
CREATE PROCEDURE watch()
LANGUAGE plpgsql
AS $$
BEGIN
    WHILE NOT pg_try_advisory_lock(1) LOOP
        FOR i IN 1 .. 20 LOOP
            WITH seen AS MATERIALIZED (
                SELECT l.scope::text || ' ' || l.resource || ' ' || l.period::text AS scope,
                       l."limit" AS bound, l.used + l.held AS total
                FROM (VALUES ('company:exact', NULL), ('company:exact/project:exact', NULL),
                             ('company:exact', 'u1'), ('company:exact/project:exact', 'u1')) AS a (scope, share),
                     LATERAL quota._limit_levels(a.scope::quota.scope, a.share) l
            ), wrong AS (
                INSERT INTO violations SELECT s.scope, s.bound, s.total FROM seen s WHERE s.total > s.bound
            )
            INSERT INTO highest AS h SELECT s.scope, s.total FROM seen s
            ON CONFLICT (scope) DO UPDATE SET seen = excluded.seen WHERE h.seen < excluded.seen;
            COMMIT;
        END LOOP;
    END LOOP;
END
$$;
});

# Each client of company:exact has users of its own, so that nobody else closes their
# holds: a hold that is released and then settled would cost what is not held any more.
my %users = (
	exact => q{\set low :client_id * 12
\set user random(:low, :low + 11)
\set other random(:low, :low + 11)},
	any => q{\set low 0
\set user random_exponential(0, 95, 20)
\set other random(0, 95)});
my $several = q{
%2$s
\set end random(1, 10)
BEGIN ISOLATION LEVEL %3$s;
SELECT step('%1$s', :user, :low);
SAVEPOINT one;
SELECT step('%1$s', :other, :low);
\if :end <= 3
ROLLBACK TO SAVEPOINT one;
SELECT step('%1$s', :user, :low);
\endif
\if :end = 2 or :end = 10
ROLLBACK;
\else
COMMIT;
\endif
};
my $single = q{
%2$s
SELECT step('%1$s', :user, :low);
};

my $gate = open_session($node);
$gate->query('SELECT pg_advisory_lock(1)');
my $watcher_output = '';
my $watcher = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL watch()' ],
	'<', \undef, '>', \$watcher_output, '2>&1');

my @clients;
for my $company ('exact', 'any')
{
	my @arguments = ($company, $users{$company});
	my @files;

	for my $level ('READ COMMITTED', 'REPEATABLE READ')
	{
		my $file = write_script("$company $level.pgbench" =~ s/ /_/gr, sprintf $several, @arguments, $level);
		push @files, '-f', $file . ($level eq 'READ COMMITTED' ? '@4' : '@1');
	}
	push @files, '-f', write_script("$company.pgbench", sprintf $single, @arguments) . '@4';
	push @clients, [ start_pgbench($node, 'postgres', @files, '-c', 8, '-j', 1, '-T', $SECONDS, '--max-tries', 0) ];
}

# Meanwhile: upkeep, and every kind of change of definitions. A change may give up where
# it would have to wait too long; the limits of company:exact are never above their bound.
my @changes = (
	q{SELECT quota.set_limit('company:exact', 'credit', 500); SELECT quota.set_limit('company:any', 'credit', 400, force => true)},
	q{SELECT quota.set_limit('company:exact/project:exact', 'calls', 500, '1 day', model => 'm1')},
	q{BEGIN; SELECT quota.drop_limit(limit_id) FROM quota.limits WHERE scope OPERATOR(quota.=) 'company:exact/user:*';
      SELECT quota.set_limit('company:exact/user:*', 'credit', 120);
      SELECT quota.set_limit('company:exact/user:*', 'calls', 1000000); COMMIT},
	q{CALL quota.run_job('fold')},
	q{SELECT quota.set_limit('company:any/user:u5', 'credit', 50, force => true); SELECT quota.set_limit('company:any', 'credit', 600)},
	q{SELECT quota.put_member('company:any', 'u' || i, i % 2 = 0) FROM generate_series(200, 210) i},
	q{SELECT quota.drop_limit(limit_id) FROM quota.limits WHERE scope OPERATOR(quota.=) 'company:any/user:u5'},
	q{SELECT quota.reload('company:exact')},
	q{SELECT quota.drop_limit(limit_id) FROM quota.limits
      WHERE scope OPERATOR(quota.=) 'company:exact/project:exact' AND model = 'm1'},
	q{CALL quota.run_job('expire')},
	q{SELECT quota.put_plan('p', jsonb_build_array(jsonb_build_object('resource', 'calls', 'amount', (random() * 100)::int)), force => true)},
	q{SELECT quota.verify()},
	q{SELECT quota.put_account(('company:any/project:p' || (random() * 1000000)::int)::quota.scope)});
my ($changed, @failed, @found) = 0;
while (grep { is_running($_->[0]) } @clients)
{
	my $change = $changes[ $changed++ % @changes ];
	my ($status, $stdout, $stderr) = $node->psql('postgres', $change, on_error_stop => 1);

	push @failed, "$change: $stderr" if $status and $stderr !~ /canceling|could not obtain|55P03/;
	push @found, $stdout if $change =~ /verify/ and $stdout ne '';
}
for my $run (@clients)
{
	ok($run->[0]->finish, 'clients ended without an error') or diag ${ $run->[1] };
	note ${ $run->[1] };
}
$gate->query('SELECT pg_advisory_unlock(1)');
ok($watcher->finish, 'so did the watcher') or diag $watcher_output;
$gate->close;

is("@failed", '', 'and the changes of definitions');
cmp_ok($changed, '>', @changes, 'each of which was made more than once');
is("@found", '', 'counters equalled the tables at any time');

is($node->safe_psql('postgres', 'SELECT DISTINCT * FROM violations'),
	'', 'no limit was ever above its bound');
is( $node->safe_psql('postgres', q{SELECT scope || ' ' || seen FROM highest
    WHERE scope IN ('company:exact credit lifetime', 'company:exact/project:exact calls month')
      AND seen < CASE WHEN scope ~ 'calls' THEN 25 ELSE 400 END}),
	'', 'though the limits were almost used up');
note $node->safe_psql('postgres', 'SELECT * FROM highest');

my $stats = $node->safe_psql('postgres',
	'SELECT evictions > 100, loads > 100, refusals > 100, pinned FROM quota.engine_stats');
is($stats, 't|t|t|0', 'counters were evicted and loaded all the time, many requests refused; none is pinned now');
note $node->safe_psql('postgres', 'SELECT * FROM quota.engine_stats \gx');

is(differences($node), '', 'counters equal the tables');
is(mismatches($node), '', 'and what the rows of the ledger add up to');
is( $node->safe_psql(
		'postgres', q{
SELECT t.hold_id, t.what FROM told t WHERE t.seq = 0
  AND 1 <> (SELECT count(*) FROM quota.holds h WHERE h.hold_id = t.hold_id)
         + (SELECT count(*) FROM quota.events e WHERE e.hold_id = t.hold_id AND e.seq = 1)}),
	'', 'every hold that a client was given is open, or closed once');
is( $node->safe_psql(
		'postgres', q{
SELECT hold_id, seq, t.charged, e.charged FROM (
    SELECT hold_id, seq, charged FROM told WHERE seq > 0) t
FULL JOIN (SELECT hold_id, seq, coalesce((charged::jsonb ->> 'credit')::numeric, 0) AS charged
           FROM quota.events WHERE kind <> 'expired') e USING (hold_id, seq)
WHERE t.charged IS DISTINCT FROM e.charged LIMIT 10}),
	'', 'every closing that a client was told of is in the ledger, with that amount, and nothing else is');
$node->safe_psql('postgres', 'CALL quota.run_maintenance(); SELECT quota.reload()');
is(mismatches($node), '', 'counters loaded from the roll-up say the same');

done_testing();
