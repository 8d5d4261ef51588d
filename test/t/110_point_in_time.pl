
# A base backup taken under load, with the archived WAL that follows, is brought back to a
# named moment under load, to another at which all stood still, and to the end of the
# backup. Proved each time:
#   1. what clients had an answer to by then is there; what they asked for later is not
#   2. where all stood still, every table, sequence and balance is what it was
#   3. counters equal the tables, and what the ledger adds up to
#   4. the server goes on: keys, holds, limits and upkeep, beside the primary and without it

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $CLIENTS = 6;
my $primary = new_server('primary', init => { allows_streaming => 1, has_archiving => 1 });
install_checks($primary);
$primary->safe_psql(
	'postgres', qq{
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo');
SELECT quota.put_member('company:acme', i::text) FROM generate_series(1, $CLIENTS) i;
SELECT quota.set_limit('company:acme', 'credit', 1000000);
SELECT quota.set_limit('company:acme/project:apollo', 'calls', 1000000, 'lifetime');
SELECT quota.set_limit('company:acme/user:*', 'credit', 100000);
CREATE TABLE told (hold_id uuid, state text, before pg_lsn, after pg_lsn);
});

# A client writes down what it was told, and between which positions of the WAL: what it did
# was written after the first and before the second.
sub start_client
{
	my ($number) = @_;
	my $before = 'SELECT pg_current_wal_insert_lsn() AS before \gset';
	my $after = 'SELECT pg_current_wal_insert_lsn() AS after \gset';
	my $script = write_script("client_$number.sql",
		"\\set ON_ERROR_STOP 1\n" . (qq{
$before
SELECT quota.reserve_amount('$number', 'apollo', 'credit=3,calls=1') ->> 'hold_id' AS hold \\gset
$after
\\echo :hold open :before :after
$before
SELECT quota.settle_amount(:'hold', 'credit=1.25,calls=1') \\g /dev/null
$after
\\echo :hold settled :before :after
$before
SELECT quota.reserve_amount('$number', 'apollo', 'credit=1') ->> 'hold_id' AS hold \\gset
$after
\\echo :hold open :before :after
} x 5000));
	my $journal = write_script("journal_$number", '');
	my $handle = IPC::Run::start([ 'psql', '-XAtq', '-d', $primary->connstr('postgres'), '-f', $script ],
		'<', \undef, '>', $journal, '2>&1');

	return { handle => $handle, journal => $journal };
}

my @clients = map { start_client($_) } 1 .. $CLIENTS;

# answers(client): what it has been told; the last line may be cut off.
sub answers
{
	my ($client) = @_;
	my @answers = slurp_file($client->{journal}) =~ /^(.*\n)/mg;

	return @answers;
}

# wait_for_answers(count): until each client has had so many more.
sub wait_for_answers
{
	my ($count) = @_;

	for my $client (@clients)
	{
		my $wanted = answers($client) + $count;

		poll_until(
			sub {
				$client->{handle}->pumpable or die 'a client has ended: ' . (answers($client))[-1];
				return answers($client) >= $wanted;
			}, undef, 50) or die 'clients are not served';
	}
	return;
}

# mark(name): a named moment of the primary; returns its place in the WAL.
sub mark
{
	return $primary->safe_psql('postgres', "SELECT pg_create_restore_point('$_[0]')");
}

wait_for_answers(30);
$primary->backup('base', backup_options => [ '--checkpoint', 'fast' ]);
wait_for_answers(30);
$primary->safe_psql('postgres', 'CALL quota.run_maintenance()');
wait_for_answers(30);
my $busy = mark('busy');
wait_for_answers(30);
$_->{handle}->kill_kill for @clients;
$primary->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'})
  or die 'clients are still served';
my $key_hold = $primary->safe_psql('postgres',
	q{SELECT quota.reserve_amount('1', 'apollo', 'credit=5', 'a key') ->> 'hold_id'});
my ($contents, $balances) = (contents($primary), balances($primary));
mark('quiet');

# What comes later: of every kind.
$primary->safe_psql(
	'postgres', qq{
SELECT quota.settle_amount('$key_hold', 'credit=5') \\g /dev/null
SELECT quota.release(hold_id) FROM quota.holds LIMIT 20 \\g /dev/null
SELECT quota.set_limit('company:acme', 'credit', 1, force => true) \\g /dev/null
SELECT quota.put_account('company:later') \\g /dev/null
CALL quota.run_maintenance();
SELECT quota.reserve_amount('1', 'apollo', 'calls=1') \\g /dev/null
SELECT pg_switch_wal() \\g /dev/null
});
isnt(contents($primary), $contents, 'the primary has gone on');
my $primary_contents = contents($primary);

my $told = write_script('told', join '',
	map { tr/ /\t/r } map { answers($_) } @clients);

# recover(name, target): a server of its own from the backup, brought to a target.
sub recover
{
	my ($name, $target) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
	$node->append_conf('postgresql.conf', "$target\nrecovery_target_action = 'promote'\narchive_mode = off\n");
	$node->start;
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'the recovery does not end';
	return $node;
}

# check(node, when, position): that the server has what was told before this position of the
# WAL, and nothing else; and that it goes on.
sub check
{
	my ($node, $when, $position) = @_;

	is($node->safe_psql(
		'postgres', qq{
\\copy told FROM '$told'
WITH facts (hold_id, state) AS (
    SELECT hold_id, 'open' FROM quota.holds UNION ALL SELECT hold_id, 'open' FROM quota.events
    UNION ALL SELECT hold_id, kind FROM quota.events
)
SELECT CASE WHEN t.state IS NULL THEN 'not told' WHEN f.state IS NULL THEN 'missing' ELSE 'too much' END,
       hold_id, state, before, after
FROM told t FULL JOIN facts f USING (hold_id, state)
WHERE t.state IS NULL AND hold_id <> '$key_hold' OR f.state IS NULL AND t.after <= '$position'
   OR t.before >= '$position' AND f.state IS NOT NULL
}),
		'', "$when: it has what clients were told by then, and nothing else");
	my $counts = $node->safe_psql('postgres',
		"SELECT count(*) FILTER (WHERE after <= '$position'), count(*) FILTER (WHERE before >= '$position') FROM told");
	like($counts, qr/^[1-9]\d*\|[1-9]/, "$when: that is, of ($counts) answers, the first");
	is(mismatches($node), '', "$when: limits are what the rows of the ledger add up to");

	my $left = balances($node);
	my $hold = $node->safe_psql('postgres',
		q{SELECT quota.reserve_amount('1', 'apollo', 'credit=2,calls=1', 'new key') ->> 'hold_id'});
	isnt(balances($node), $left, "$when: a new hold counts");
	is($node->safe_psql('postgres', "SELECT quota.release('$hold') ->> 'state'"),
		'released', "$when: and is released");
	is(balances($node), $left, "$when: then everything is as before");
	$node->safe_psql('postgres', 'CALL quota.run_maintenance(); SELECT quota.reload()');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM quota.job_runs WHERE error IS NOT NULL'),
		0, "$when: upkeep runs");
	is(balances($node), $left, "$when: and changes no balance");
	is(mismatches($node), '', "$when: limits are still what the rows add up to");
	is(differences($node), '', "$when: counters equal the tables");
	is($node->safe_psql('postgres', q{
SELECT quota.settle_amount(hold_id, 'credit=1') ->> 'state' FROM quota.holds ORDER BY hold_id LIMIT 1}),
		'settled', "$when: a hold made before is settled");
	is(differences($node), '', "$when: counters equal the tables again");
	$node->stop;
	return;
}

my $clone = recover('clone', q{recovery_target = 'immediate'});
check($clone, 'a clone, at the end of the backup', $clone->safe_psql('postgres', 'SELECT pg_last_wal_replay_lsn()'));
check(recover('busy', q{recovery_target_name = 'busy'}), 'at a moment under load', $busy);

my $quiet = recover('quiet', q{recovery_target_name = 'quiet'});
is(contents($quiet), $contents, 'where all stood still: every table and sequence is as it was');
is(balances($quiet), $balances, 'where all stood still: every balance is');
is( $quiet->safe_psql(
		'postgres', q{SELECT v ->> 'hold_id', v ->> 'replayed' FROM quota.reserve_amount('1', 'apollo', 'credit=5', 'a key') v}),
	"$key_hold|true", 'where all stood still: a key gives the answer it gave then');
is($quiet->safe_psql('postgres', "SELECT quota.hold('$key_hold') ->> 'state'"),
	'open', 'where all stood still: what was settled later is open');
is(mismatches($quiet), '', 'where all stood still: limits are what the rows add up to');
is(differences($quiet), '', 'where all stood still: counters equal the tables');

is(contents($primary), $primary_contents, 'nothing of it has touched the primary');

done_testing();
