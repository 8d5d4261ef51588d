
# Every end of a transaction that has held something, one at a time: afterwards what was
# committed is there, what was not is neither in the tables nor in memory. (The rounds of
# test/endurance/crash_loop.pl do it at random, under load.)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $node = new_server('crash',
	preload  => 'inject_commit,xavier_quota',
	settings => "restart_after_crash = on\n");
install_checks($node);
$node->safe_psql(
	'postgres', q{
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo');
SELECT quota.put_member('company:acme', 'ann');
SELECT quota.set_limit('company:acme', 'credit', 1000);
SELECT quota.set_limit('company:acme', 'calls', 1000, 'lifetime');
SELECT quota.set_limit('company:acme/user:*', 'credit', 500);
});

my $RESERVE = q{SELECT quota.reserve_amount('ann', 'apollo', 'credit=1,calls=1') ->> 'hold_id'};
my $REMAINING = q{SELECT quota.remaining('ann', 'apollo')};

# open_transaction: a session with a hold that is not committed; one of its own before that,
# in a savepoint that it has gone back to.
sub open_transaction
{
	my $session = open_session($node);

	$session->query("BEGIN; SAVEPOINT one; $RESERVE; ROLLBACK TO one");
	return ($session, $session->query($RESERVE));
}

# A backend that dies takes the server down with it, but not at once: a new session may still
# come in before. Only the next checkpointer says that the server has been away.
my $checkpointer;

sub note_checkpointer
{
	$checkpointer = $node->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'});
	return;
}

sub wait_for_restart
{
	$node->poll_query_until('postgres', qq{SELECT count(*) = 1 FROM pg_stat_activity
		WHERE backend_type = 'checkpointer' AND pid <> $checkpointer})
	  or die 'the server does not come back';
	return;
}

# expect(what, hold, count, remaining): looks at all that must be as it is said.
sub expect
{
	my ($what, $hold, $count, $remaining) = @_;

	is($node->safe_psql('postgres', "SELECT count(*) FROM quota.holds WHERE hold_id = '$hold'"),
		$count, "$what: the hold is " . ($count ? 'there' : 'not there'));
	is($node->safe_psql('postgres', $REMAINING), $remaining, "$what: that is what is left");
	is(differences($node), '', "$what: counters equal the tables");
	is(mismatches($node), '', "$what: and what the ledger adds up to");
	return;
}

sub wait_for_end
{
	my ($session) = @_;
	$node->poll_query_until('postgres',
		'SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ' . $session->backend)
	  or die 'the backend does not end';
	return;
}

# Ends from outside.
my $before = $node->safe_psql('postgres', $REMAINING);
my @ends = (
	[ 'rollback', sub { $_[0]->query('ROLLBACK') } ],
	[ 'terminated', sub { $node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . $_[0]->backend . ')'); wait_for_end($_[0]) } ],
	[ 'the client dies', sub { $_[0]{psql}->kill_kill; wait_for_end($_[0]) } ],
	[ 'kill -9 of the backend', sub { note_checkpointer(); kill 'KILL', $_[0]->backend; wait_for_restart() } ],
	[ 'kill -9 of the server', sub { kill_server($node); $node->start } ],
	[ 'immediate shutdown', sub { $node->stop('immediate'); $node->start } ],
	[ 'fast shutdown', sub { $node->stop('fast'); $node->start } ]);
for my $end (@ends)
{
	my ($what, $code) = @$end;
	my ($session, $hold) = open_transaction();

	isnt($node->safe_psql('postgres', $REMAINING), $before, "$what: what a transaction holds counts at once");
	$code->($session);
	expect($what, $hold, 0, $before);
}

# Deaths at a point of its own end; a client that asks again with its key gets one answer.
for my $point (qw(pre_commit pre_commit_end commit commit_end abort abort_end subabort subabort_end))
{
	my $committed = $point =~ /^commit/ ? 1 : 0;
	my ($session, $hold) = open_transaction();
	my $key = "SELECT quota.reserve_amount('ann', 'apollo', 'credit=1,calls=1', 'death at $point')";

	note_checkpointer();
	$session->query($key);
	$session->query("SAVEPOINT two; $RESERVE; SET inject_commit.crash_at = '$point'");
	# A savepoint that is rolled back takes the setting with it: it must belong to the transaction.
	$session->query('RELEASE one') if $point !~ /^subabort/;
	$session->attempt($point =~ /^subabort/ ? 'ROLLBACK TO one' : $point =~ /^abort/ ? 'ROLLBACK' : 'COMMIT');

	# Three of one credit each if all was committed.
	wait_for_restart();
	is($node->safe_psql('postgres', 'SELECT count(*) FROM quota.holds'),
		$committed ? 3 : 0, "death at $point: of three holds that many are there");
	is($node->safe_psql('postgres', "$key ->> 'replayed'"),
		$committed ? 'true' : 'false', "death at $point: a repetition knows");
	$node->safe_psql('postgres', 'SELECT count(quota.release(hold_id)) FROM quota.holds');
	expect("death at $point, all released", $hold, 0, $before);
}

# A fold, then a crash in the next one: no event is counted twice.
my $session = open_session($node);
my $charge = q{SELECT count(quota.settle_amount((quota.reserve_amount('ann', 'apollo', 'credit=1,calls=1')
    ->> 'hold_id')::uuid, 'credit=0.5,calls=1')) FROM generate_series(1, 10)};
$session->query($charge);
$node->safe_psql('postgres', 'CALL quota.run_maintenance()');
$session->query($charge);
my $folding = open_session($node);
is( $folding->query(
		q{BEGIN; SELECT sum(quota._fold_root(a.root_id, quota._system_identifier()))
      FROM quota.accounts a WHERE a.parent_id IS NULL}),
	'10', 'a fold is under way');
$node->stop('immediate');
$node->start;
is( $node->safe_psql('postgres', $REMAINING),
	'company:acme{calls=980,credit=990},company:acme/user:ann{credit=490}',
	'after a crash in a fold every event counts once');
$node->safe_psql('postgres', 'CALL quota.run_maintenance(); SELECT quota.reload()');
is(differences($node), '', 'and after the next fold: counters equal the tables');
is(mismatches($node), '', 'and what the ledger adds up to');

$node->stop;
done_testing();
