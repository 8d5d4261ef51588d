
# Dump and restore, by each way there is, into another cluster; and DROP and CREATE
# EXTENSION under sessions that stay open.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;

use MovedLedger;
use XavierQuota;

my $settings = "xavier_quota.clock = '$NOW'\n";
my $source = new_server('source', settings => $settings);
my $target = new_server('target', settings => $settings, create => 0);
my $dumps = $PostgreSQL::Test::Utils::tmp_check;

my $ledger = fill_ledger($source);

is(differences($source), '', 'source: counters equal the tables');
is(mismatches($source), '', 'source: and what the rows of the ledger add up to');
cmp_ok($ledger->{unfolded}, '>', 0, 'source: some events are not folded');
is( $source->safe_psql(
		'postgres', q{SELECT string_agg(partition || ' ' || n, ', ' ORDER BY partition) FROM (
        SELECT tableoid::regclass::text AS partition, count(*) AS n FROM quota.events GROUP BY 1) e}),
	'quota.events_2025_11 6, quota.events_2026_01 6, quota.events_2026_02 6, quota.events_2026_03 13, quota.events_default 6',
	'source: the ledger is in several partitions');

$source->command_ok([ 'pg_dump', '-f', "$dumps/plain.sql", 'postgres' ], 'pg_dump, plain');
$source->command_ok([ 'pg_dump', '-Fc', '-f', "$dumps/custom", 'postgres' ], 'pg_dump, custom format');
$source->command_ok([ 'pg_dump', '-Fd', '-j', 4, '-f', "$dumps/directory", 'postgres' ],
	'pg_dump, directory, parallel');

# A restore is itself a change of definitions.
sub check_restored
{
	my ($node, $database, $way) = @_;

	check_ledger($node, $database, $way, $ledger,
		changes => 'INSERT', own => $node->data_dir eq $source->data_dir);
	return;
}

my %ways = (
	plain => [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dumps/plain.sql", '-d' ],
	plain_single => [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-1', '-f', "$dumps/plain.sql", '-d' ],
	custom => [ 'pg_restore', '-e', "$dumps/custom", '-d' ],
	custom_single => [ 'pg_restore', '-1', "$dumps/custom", '-d' ],
	custom_parallel => [ 'pg_restore', '-e', '-j', 4, "$dumps/custom", '-d' ],
	directory => [ 'pg_restore', '-e', '-j', 4, "$dumps/directory", '-d' ]);

for my $way (sort keys %ways)
{
	$target->safe_psql('postgres', "CREATE DATABASE $way");
	$target->command_ok([ @{ $ways{$way} }, $way ], "$way: restored without an error");
	check_restored($target, $way, $way);
}

# A copy in the same cluster: what comes from there is our own.
$source->safe_psql('postgres', 'CREATE DATABASE copy');
$source->command_ok([ @{ $ways{custom} }, 'copy' ], 'copy in one cluster: restored without an error');
check_restored($source, 'copy', 'copy in one cluster');
is(balances($source, 'postgres'), $ledger->{balances}, 'copy in one cluster: the original stays as it was');
is(contents($source, 'postgres', $ledger->{last_change}), $ledger->{contents}, 'copy in one cluster: in memory and in its tables');

# A server that has not preloaded the library takes a restore as well.
$target->safe_psql('postgres', 'CREATE DATABASE later');
$target->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$target->restart;
$target->command_ok([ @{ $ways{custom_single} }, 'later' ], 'not preloaded: restored without an error');
is(contents($target, 'later', $ledger->{last_change}), $ledger->{contents}, 'not preloaded: every table and sequence is the same');
$target->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'xavier_quota'");
$target->restart;
check_restored($target, 'later', 'preloaded afterwards');

# Dropped and created again in one database, while sessions that know the old one stay
# open. The sequence starts afresh, so accounts and limits get the ids that others had.
my $definitions = q{
SELECT quota.put_account('company:twice'), quota.put_account('company:twice/project:twice');
SELECT quota.put_member('company:twice', 'ann');
SELECT quota.set_limit('company:twice', 'credit', 100);
};
my $reserve = q{SELECT quota.reserve_amount('ann', 'twice', 'credit=60') ->> 'allowed'};
my $remaining = q{SELECT quota.remaining('ann', 'twice')};

$target->safe_psql('postgres', 'CREATE DATABASE twice');
$target->safe_psql('twice', 'CREATE EXTENSION xavier_quota');
my ($writer, $reader) = map { open_session($target, 'twice') } 1 .. 2;
my $limit = $writer->query($definitions) =~ s/.*\n//sr;
$writer->query("PREPARE reserve AS $reserve");
is($writer->query('EXECUTE reserve'), 'true', 'first life: held');
is($writer->query('EXECUTE reserve'), 'false', 'first life: the rest is not enough');
is($reader->query($remaining), 'company:twice{credit=40}', 'first life: another session sees it');
$target->safe_psql('twice', 'CALL quota.run_maintenance()');
is($target->psql('twice', 'DROP EXTENSION xavier_quota'), 0, 'DROP EXTENSION takes partitions along');
like($writer->attempt('EXECUTE reserve'), qr/^ERROR:  /, 'a call in between is an ordinary error');
$target->safe_psql('twice', "CREATE EXTENSION xavier_quota; $definitions");
is( $target->safe_psql('twice', q{SELECT limit_id FROM quota.limits WHERE resource = 'credit'}),
	$limit, 'second life: the limit has the id that the old one had');
is($reader->query($remaining), 'company:twice{credit=100}', 'second life: nothing is used');
is($writer->query($reserve), 'true', 'second life: an old session holds');
is($writer->query($reserve), 'false', 'second life: and is refused');
is($reader->query($remaining), 'company:twice{credit=40}', 'second life: another old session sees it');
is(differences($target, 'twice'), '', 'second life: counters equal the tables');

# The same in one transaction, in a session that has the old counters in its caches.
$writer->query("BEGIN; DROP EXTENSION xavier_quota; CREATE EXTENSION xavier_quota; $definitions; $reserve; COMMIT");
is($reader->query($remaining), 'company:twice{credit=40}', 'third life: what its first transaction held counts');
is($writer->query($remaining), 'company:twice{credit=40}', 'third life: for both sessions');
$writer->query("BEGIN; DROP EXTENSION xavier_quota; ROLLBACK");
is($writer->query($remaining), 'company:twice{credit=40}', 'a DROP that is rolled back takes nothing away');
is(differences($target, 'twice'), '', 'third life: counters equal the tables');
$_->close for $writer, $reader;

done_testing();
