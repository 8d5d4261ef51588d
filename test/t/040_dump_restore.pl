
# Dump and restore, by each way there is, into another cluster; and DROP and CREATE
# EXTENSION under sessions that stay open.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $NOW = "2026-03-20 12:34:56";
my $settings = "xavier_quota.clock = '$NOW'\n";
my $source = new_server('source', settings => $settings);
my $target = new_server('target', settings => $settings, create => 0);
my $dumps = $PostgreSQL::Test::Utils::tmp_check;

install_checks($source);

# Everything there is to restore: definitions of every kind, five months of usage of
# which one has no partition of its own, a tail that is not folded, open holds, keys.
my $session = open_session($source);
$session->query(
	q{
SELECT quota.set_credit_rate(200);
SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [
    {"meter": "input_tokens", "price": "0.000001"},
    {"meter": "output_tokens", "price": "0.000002"}]}', '2025-01-01');
SELECT quota.put_model_alias('other-m1', 'm1');
SELECT quota.put_resource('tokens', 'token', 'flow', 'Tokens');
SELECT quota.put_plan('team', '[{"resource": "credit", "amount": 70}]');
SELECT quota.put_account('company:acme', attributes => '{"tier": 1}');
SELECT quota.put_account('company:acme/project:apollo', plan => 'team');
SELECT quota.put_account('company:acme/project:zeus', active => false);
SELECT quota.put_account('user:ann');
SELECT quota.put_account('user:ann/project:diary');
SELECT quota.put_member('company:acme', u) FROM unnest('{ann,bob}'::text[]) u;
SELECT quota.deny_model('company:acme', 'secret-*');
SELECT quota.set_limit('company:acme', 'credit', 1000, 'lifetime');
SELECT quota.set_limit('company:acme', 'credit', 100);
SELECT quota.set_limit('company:acme', 'calls', 50, '1 month from 2026-01-31 10:30:00 in Europe/Berlin');
SELECT quota.set_limit('company:acme/user:*', 'credit', 60, policy => 'soft');
SELECT quota.set_limit('company:acme/project:apollo/user:ann', 'credit', 55, overdraft => 5);
SELECT quota.set_limit('user:ann', 'credit', 9);
});
for my $time ('2025-11-02 08:00:00', '2026-01-15 23:59:59.999999', '2026-02-28 12:00:01',
	'2026-03-01 00:00:00', '2026-03-20 12:00:00', '2025-12-24 18:00:00')
{
	$session->query(
		qq{
SET xavier_quota.clock = '$time';
SELECT quota.settle_amount((quota.reserve_amount(u, 'apollo', 'credit=3.25,calls=1',
    ttl => '7 days') ->> 'hold_id')::uuid, 'credit=2.000001,calls=1')
FROM unnest('{ann,bob,ann}'::text[]) u;
SELECT quota.release((quota.reserve('bob', 'apollo', 'm1', '{"input_tokens": 1000}') ->> 'hold_id')::uuid);
SELECT quota.charge('ann', 'diary', 'm1', '{"input_tokens": 2000, "output_tokens": 10}', 'charge at $time');
SELECT quota.adjust('company:acme/user:ann', 'credit=-0.5', 'refund');
});
	$session->query('CALL quota.run_maintenance()') if $time gt '2026-01' and $time lt '2026-03-20';
}
my $key_hold = $session->query(
	q{
RESET xavier_quota.clock;
SELECT quota.settle_amount((quota.reserve_amount('bob', 'apollo', 'credit=5') ->> 'hold_id')::uuid,
    'credit=6') \g /dev/null
SELECT quota.reserve_amount('ann', 'apollo', 'credit=7') \g /dev/null
SELECT quota.reserve('ann', 'diary', 'm1', '{"input_tokens": 500}', ttl => '1 day') \g /dev/null
SELECT quota.reserve_amount('bob', 'apollo', 'credit=4', 'key of bob', '2 days') ->> 'hold_id'
});

my $last_change = $source->safe_psql('postgres', 'SELECT max(changed_at) FROM quota.audit');

sub highest_id
{
	my ($node, $database) = @_;

	return $node->safe_psql(
		$database, q{
SELECT max(id) FROM (
    SELECT account_id FROM quota.accounts UNION ALL SELECT limit_id FROM quota.limits
    UNION ALL SELECT version FROM quota.limits UNION ALL SELECT limit_id FROM quota.plan_limits
    UNION ALL SELECT version FROM quota.plan_limits UNION ALL SELECT card_id FROM quota.rate_cards) AS i (id)});
}

# A restore is itself a change of definitions, which the audit records: those entries are
# left out here.
my $contents = contents($source, 'postgres', $last_change);
my $balances = balances($source, 'postgres');
my $foreign = $source->safe_psql(
	'postgres', q{
SELECT count(*) FROM quota.events e
LEFT JOIN quota.fold_marks m ON (m.root_id, m.origin) = (e.root_id, e.origin)
WHERE e.xid >= coalesce(m.mark, '0')});

is(differences($source), '', 'source: counters equal the tables');
is(mismatches($source), '', 'source: and what the rows of the ledger add up to');
cmp_ok($foreign, '>', 0, 'source: some events are not folded');
is( $source->safe_psql(
		'postgres', q{SELECT string_agg(partition || ' ' || n, ', ' ORDER BY partition) FROM (
        SELECT tableoid::regclass::text AS partition, count(*) AS n FROM quota.events GROUP BY 1) e}),
	'quota.events_2025_11 6, quota.events_2026_01 6, quota.events_2026_02 6, quota.events_2026_03 13, quota.events_default 6',
	'source: the ledger is in several partitions');

$source->command_ok([ 'pg_dump', '-f', "$dumps/plain.sql", 'postgres' ], 'pg_dump, plain');
$source->command_ok([ 'pg_dump', '-Fc', '-f', "$dumps/custom", 'postgres' ], 'pg_dump, custom format');
$source->command_ok([ 'pg_dump', '-Fd', '-j', 4, '-f', "$dumps/directory", 'postgres' ],
	'pg_dump, directory, parallel');

# check_restored(node, database, way): that everything is there and works.
sub check_restored
{
	my ($node, $database, $way) = @_;
	my $own = $node->data_dir eq $source->data_dir;

	is(contents($node, $database, $last_change), $contents, "$way: every table and sequence is the same");
	is( $node->safe_psql(
			$database,
			"SELECT DISTINCT operation FROM quota.audit WHERE changed_at > '$last_change'"),
		'INSERT', "$way: the audit records what was restored");
	is(balances($node, $database), $balances, "$way: balances are the same");
	is(differences($node, $database), '', "$way: counters equal the tables");
	is(mismatches($node, $database), '', "$way: and what the rows of the ledger add up to");

	my $restored = open_session($node, $database);
	my $highest = highest_id($node, $database);

	is( $restored->query(
			q{SELECT v ->> 'hold_id', v ->> 'replayed'
              FROM quota.reserve_amount('bob', 'apollo', 'credit=4', 'key of bob', '2 days') v}),
		"$key_hold|true", "$way: a key gives the answer it gave before");
	is($restored->query(qq{SELECT quota.settle_amount('$key_hold', 'credit=1') ->> 'state'}),
		'settled', "$way: a hold made before is settled after");
	is( $restored->query(
			q{SELECT quota.settle_amount((quota.reserve_amount('ann', 'apollo', 'credit=2,calls=1') ->> 'hold_id')::uuid,
              'credit=1.5,calls=1') ->> 'state'}),
		'settled', "$way: new usage is taken");
	is( $restored->query(
			q{SELECT u.used FROM quota._limit_usage('company:acme') u
              WHERE u.period OPERATOR(quota.=) 'lifetime'})
		  - ($balances =~ /^company:acme\|\|credit\|-infinity\|([\d.]+)\|/m)[0],
		2.5, "$way: and counts with what was there");
	is( $restored->query(
			qq{SELECT bool_and(id > $highest) FROM (
               SELECT quota.put_account('company:new') UNION ALL SELECT quota.set_limit('company:new', 'credit', 1)
               UNION ALL SELECT quota.set_rate_card('m2', '{"lines": [{"meter": "input_tokens", "price": "1"}]}')) i (id)}),
		't', "$way: new ids are beyond those there are");

	my $before = balances($node, $database);
	$restored->query('CALL quota.run_maintenance()');
	is($restored->query('SELECT quota.adopt()'),
		$own ? 0 : $foreign, "$way: adopt() folds what came from the other cluster");
	is($restored->query('SELECT quota.adopt()'), 0, "$way: and does so once");
	is(balances($node, $database), $before, "$way: maintenance and adopt() change no balance");
	is(differences($node, $database), '', "$way: counters still equal the tables");
	$restored->query('SELECT quota.reload()');
	is(balances($node, $database), $before, "$way: nor does a load that reads the roll-up");
	is(mismatches($node, $database), '', "$way: which adds up to the rows of the ledger");
	is( $restored->query(q{SELECT count(*) FROM quota.job_runs WHERE error IS NOT NULL}),
		0, "$way: no job failed");
	$restored->close;
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
is(balances($source, 'postgres'), $balances, 'copy in one cluster: the original stays as it was');
is(contents($source, 'postgres', $last_change), $contents, 'copy in one cluster: in memory and in its tables');

# A server that has not preloaded the library takes a restore as well.
$target->safe_psql('postgres', 'CREATE DATABASE later');
$target->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$target->restart;
$target->command_ok([ @{ $ways{custom_single} }, 'later' ], 'not preloaded: restored without an error');
is(contents($target, 'later', $last_change), $contents, 'not preloaded: every table and sequence is the same');
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
$_->close for $session, $writer, $reader;

done_testing();
