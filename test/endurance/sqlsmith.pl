
# sqlsmith, from Debian's package, makes up queries from the catalog: our functions,
# operators, views and types in joins, subqueries, windows and samples, in updates and
# inserts. Two of them do so for AMOUNT seconds (30) as a role with all bundles of
# privileges; each query is rolled back. No query crashes the server or ends in an internal
# error of ours, and counters, which every rollback has gone through, equal the tables.
#
# SEED repeats a run, as far as the catalog is the same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use File::Basename;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $SECONDS = $ENV{AMOUNT} // 30;
my $SEED = $ENV{SEED} // time;
my $SMITHS = 2;

plan skip_all => 'this system has no sqlsmith' unless grep { -x "$_/sqlsmith" } split /:/, $ENV{PATH};
note "SEED=$SEED";

# Verbose: an error in the log says by SQLSTATE and file where it comes from.
my $node = new_server(
	'sqlsmith', settings => q{
fsync = off
restart_after_crash = on
log_error_verbosity = verbose
track_functions = all
});
install_checks($node);
system_or_bail('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', "data=$FindBin::RealBin/../../data", '-o', '/dev/null',
	'-d', $node->connstr('postgres'), '-f', "$FindBin::RealBin/../lib/bad_input_values.sql");

# What sqlsmith takes arguments from: columns of every type that our functions take.
$node->safe_psql('postgres', q{
CREATE ROLE smith LOGIN;
ALTER ROLE smith SET search_path = public, quota;
ALTER ROLE smith SET statement_timeout = '2s';
SELECT quota.grant_access('smith', bundle) FROM unnest('{service,admin,viewer}'::text[]) bundle;

CREATE FUNCTION pg_temp.one(wanted text, n int) RETURNS text LANGUAGE sql AS $$
    SELECT value FROM bad.valid WHERE pool = wanted ORDER BY (i + n) % 100 LIMIT 1
$$;
CREATE TABLE request AS
SELECT pg_temp.one('user_id', n) AS user_id, pg_temp.one('project_id', n) AS project_id, pg_temp.one('model', n) AS model,
       pg_temp.one('request', n)::jsonb AS request, pg_temp.one('card', n)::jsonb AS card,
       pg_temp.one('account', n)::quota.scope AS account, 'key ' || n AS idempotency_key, interval '1 minute' * n AS ttl,
       pg_temp.one('quota.amount', n)::quota.amount AS amount, now() AS made_at
FROM generate_series(1, 10) n;
CREATE TABLE thing AS
SELECT pg_temp.one('quota.scope', n)::quota.scope AS scope, pg_temp.one('quota.amount', n)::quota.amount AS amount,
       pg_temp.one('quota.quota', n)::quota.quota AS quota, pg_temp.one('quota.period', n)::quota.period AS period,
       pg_temp.one('limits', n)::jsonb AS limits, pg_temp.one('numeric', n)::numeric AS number, n::bigint AS id, n % 2 = 0 AS flag,
       pg_temp.one('resource', n) AS resource, 'smith'::regrole AS role
FROM generate_series(1, 10) n;
CREATE TABLE hold AS
SELECT (quota.reserve(user_id, project_id, 'chat', '{"input_tokens": 5, "output_tokens": 7}') ->> 'hold_id')::uuid AS hold_id, 'succeeded' AS outcome,
       '{"input_tokens": 5, "output_tokens": 7}'::jsonb AS usage
FROM request;
-- pg_catalog has so many functions that ours come up too seldom: views call them.
CREATE VIEW reserved AS SELECT quota.reserve(user_id, project_id, model, request, idempotency_key, ttl) AS verdict, made_at FROM request;
CREATE VIEW reserved_amount AS SELECT quota.reserve_amount(user_id, project_id, amount) AS verdict, ttl FROM request;
CREATE VIEW checked AS SELECT quota.check(user_id, project_id, model, request) AS verdict, quota.remaining(user_id, project_id) FROM request;
CREATE VIEW priced AS SELECT quota.estimate(model, request, account, made_at) AS estimate, quota.price(model, request) FROM request;
CREATE VIEW charged AS SELECT quota.charge(user_id, project_id, model, request) AS receipt, amount FROM request;
CREATE VIEW adjusted AS SELECT quota.adjust(account, amount, user_id, idempotency_key) AS receipt, account FROM request;
CREATE VIEW closed AS SELECT hold_id, quota.settle(hold_id, usage, outcome) AS receipt, quota.hold(hold_id) FROM hold;
CREATE VIEW released AS SELECT (quota.to_receipt(quota.release(hold_id, outcome))).* FROM hold LIMIT 5;
CREATE VIEW extended AS SELECT hold_id, quota.extend(hold_id, ttl => '1 day') AS verdict FROM hold;
CREATE VIEW defined AS SELECT quota.set_limit(account, 'credit', n, 'day') AS limit_id, quota.put_account(account)
    FROM request, generate_series(100000, 100001) n;
GRANT ALL ON ALL TABLES IN SCHEMA public TO smith;
SELECT pg_stat_reset();
});

my @smiths;
for my $i (1 .. $SMITHS)
{
	my $output = '';
	my $smith = IPC::Run::start(
		[   'sqlsmith', '--verbose', '--exclude-catalog', '--seed=' . ($SEED + $i),
			'--target=' . $node->connstr('postgres') . ' user=smith' ],
		'<', \undef, '>', \$output, '2>&1');
	push @smiths, [ $smith, \$output ];
}
for my $past (1 .. $SECONDS)
{
	sleep 1;
	is_running($_->[0]) for @smiths;
	diag "$past of $SECONDS seconds" if $past % 60 == 0;
}
my $queries = 0;
for my $run (@smiths)
{
	my ($smith, $output) = @$run;

	ok(is_running($smith), 'sqlsmith was at work to the end') or diag $$output;
	$smith->signal('INT');
	eval { $smith->finish };
	$queries += ($$output =~ /^queries: (\d+)/mg)[-1] // 0;
}
cmp_ok($queries, '>', $SECONDS, "$queries queries were made");

my %called = map { split /\|/ } split /\n/, $node->safe_psql('postgres', q{
SELECT quote_ident(funcname), sum(calls) FROM pg_stat_user_functions WHERE schemaname = 'quota' GROUP BY 1 HAVING sum(calls) > 0});
note join ' ', map { "$_ $called{$_}" } sort keys %called;
cmp_ok(scalar keys %called, '>', 20, scalar(keys %called) . ' functions of ours were called');

# Internal errors that were raised in our files or below our functions, once each.
my %ours = map { basename($_) => 1 } glob "$FindBin::RealBin/../../src/*.c $FindBin::RealBin/../../src/*/*.c";
my (%findings, $entry, $crashes);
open my $log, '<', $node->logfile or die "could not read the log: $!";
while (my $line = <$log>)
{
	$crashes .= $line if $line =~ /PANIC|TRAP:|was terminated by signal/;
	if ($line =~ /ERROR:  (XX...|P0001): (.*)/)
	{
		$entry = "$1: $2";
	}
	elsif ($line =~ /LOCATION:  \S+ (\w+\.c):/)
	{
		$findings{$entry} //= $entry if defined $entry and $ours{$1};
	}
	elsif ($line =~ /CONTEXT:.*function quota\./)
	{
		$findings{$entry} //= $entry if defined $entry;
	}
	elsif ($line =~ /STATEMENT:/)
	{
		$findings{$entry} .= "\n$line" if defined $entry and ($findings{$entry} // '') eq $entry;
		$entry = undef;
	}
}
is(join("\n", values %findings), '', 'no query ended in an internal error of ours');
is($crashes // '', '', 'the server did not crash');
is(differences($node), '', 'counters equal the tables');
is(mismatches($node), '', 'and what the rows of the ledger add up to');
is($node->safe_psql('postgres', 'SELECT pinned FROM quota.engine_stats'), '0', 'nothing is pinned');

done_testing();
