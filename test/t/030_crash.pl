
# Crashes under load: every answer that a client was given is in the tables, every hold
# is there once, counters equal the tables, and what was not committed leaves nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $CLIENTS = 6;
my $node = new_server('crash', settings => "restart_after_crash = on\n");
install_checks($node);
$node->safe_psql(
	'postgres', qq{
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo');
SELECT quota.put_member('company:acme', 'u' || i) FROM generate_series(1, $CLIENTS) i;
SELECT quota.set_limit('company:acme', 'credit', 1000000);
SELECT quota.set_limit('company:acme', 'calls', 1000000, 'lifetime');
SELECT quota.set_limit('company:acme/project:apollo', 'credit', 900000);
SELECT quota.set_limit('company:acme/user:*', 'credit', 500000);
});

# A client writes down each answer that it is given: psql prints it once the transaction
# has committed. Of three holds it settles one, releases one and leaves one open.
sub start_client
{
	my ($number) = @_;
	my $reserve = "SELECT quota.reserve_amount('u$number', 'apollo', 'credit=3,calls=1') ->> 'hold_id' AS hold";
	my $script = write_script("client_$number.sql",
		"\\set ON_ERROR_STOP 1\n" . (qq{
$reserve \\gset
\\echo open :hold
SELECT quota.settle_amount(:'hold', 'credit=1.25,calls=1') \\g /dev/null
\\echo settled :hold
BEGIN;
$reserve \\gset
COMMIT;
\\echo open :hold
SELECT quota.release(:'hold') \\g /dev/null
\\echo released :hold
$reserve \\gset
\\echo open :hold
BEGIN;
$reserve \\g /dev/null
SAVEPOINT one;
$reserve \\g /dev/null
ROLLBACK;
} x 3000));
	my $output = '';
	my $handle = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', $script ],
		'<', \undef, '>', \$output, '2>', \my $errors);

	return { handle => $handle, output => \$output };
}

my %told;

# under_load(crash): has clients work until each has been told something, crashes the
# server and collects what the clients were told.
sub under_load
{
	my ($crash) = @_;
	my @clients = map { start_client($_) } 1 .. $CLIENTS;

	poll_until(
		sub {
			is_running($_->{handle}) or die 'a client has ended' for @clients;
			return !grep { (${ $_->{output} } =~ tr/\n//) < 40 } @clients;
		}) or die 'clients are not served';
	$crash->();
	for my $client (@clients)
	{
		$client->{handle}->finish;
		# The last line may be cut off.
		for my $line (${ $client->{output} } =~ /^(.*)\n/mg)
		{
			my ($state, $hold) = split / /, $line;
			$told{$hold} = $state;
		}
	}
	return;
}

# check(what): compares what clients were told with what is there.
sub check
{
	my ($what) = @_;
	my $told = write_script('told', join '', map { "$_\t$told{$_}\n" } sort keys %told);

	cmp_ok(scalar keys %told, '>', 0, "$what: clients were told of " . keys(%told) . ' holds');
	$node->safe_psql(
		'postgres', qq{
DROP TABLE IF EXISTS told;
CREATE TABLE told (hold_id uuid PRIMARY KEY, state text);
\\copy told FROM '$told'
});

	# What was asked for last may have been done without an answer.
	is( $node->safe_psql(
			'postgres', q{
SELECT t.hold_id, t.state, f.states FROM told t,
LATERAL (SELECT string_agg(s, ' ') AS states FROM (
    SELECT 'open' AS s FROM quota.holds h WHERE h.hold_id = t.hold_id
    UNION ALL SELECT e.kind FROM quota.events e WHERE e.hold_id = t.hold_id) AS s) AS f
WHERE f.states IS DISTINCT FROM t.state
  AND NOT (t.state = 'open' AND f.states IN ('settled', 'released'))}),
		'', "$what: every hold is there once, in the state that was told");
	is( $node->safe_psql(
			'postgres', q{SELECT count(*) <= 6 * (SELECT count(*) FROM crashes) FROM (
SELECT hold_id FROM quota.holds UNION SELECT hold_id FROM quota.events
EXCEPT SELECT hold_id FROM told) untold}),
		't', "$what: of what was not told, there is at most what was being answered");
	is(mismatches($node), '', "$what: limits say what the rows of the ledger add up to");
	is( $node->safe_psql(
			'postgres', q{
SELECT DISTINCT quota.check_amount('u' || i, 'apollo', 'credit=1,calls=1') ->> 'allowed'
FROM generate_series(1, 6) i}),
		'true', "$what: requests are served");
	is( $node->safe_psql('postgres', 'SELECT counters > 0 AND pinned = 0 FROM quota.engine_stats'),
		't', "$what: counters are loaded, none is pinned");
	is(differences($node), '', "$what: they equal the tables");
	is(mismatches($node), '', "$what: and what the rows of the ledger add up to");
	return;
}

# Processes, by /proc: the state of one, and the children of one.
sub process_status
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/stat" or return ('gone', 0);
	my $line = <$file> // '';
	return $line =~ /^\d+ \(.*\) (\S) (\d+)/s ? ($1, $2) : ('gone', 0);
}

sub is_dead
{
	return (process_status($_[0]))[0] =~ /^(gone|Z|X)$/;
}

# kill_server: kills the postmaster and waits until it and all its children are gone. In a
# container where nobody buries the dead, its lock files would stand for a server that runs.
sub kill_server
{
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @processes = ($postmaster,
		grep { (process_status($_))[1] == $postmaster } map { m{/(\d+)$} } glob '/proc/[0-9]*');

	$node->kill9;
	poll_until(sub { !grep { !is_dead($_) } @processes }) or die 'the server does not die';
	poll_until(sub { !kill 0, $postmaster }, 10)
	  or unlink $node->data_dir . '/postmaster.pid', glob $node->host . '/.s.PGSQL.*.lock';
	return;
}

$node->safe_psql('postgres', 'CREATE TABLE crashes (what text)');
sub crashed
{
	my ($what) = @_;
	$node->poll_query_until('postgres', 'SELECT true');
	$node->safe_psql('postgres', "INSERT INTO crashes VALUES ('$what')");
	check($what);
	return;
}

# An open transaction, to be killed with what it has claimed.
sub open_transaction
{
	my $session = open_session($node);
	my $answer = $session->query(
		q{BEGIN; SELECT quota.reserve_amount('u1', 'apollo', 'credit=12345') ->> 'hold_id'});

	return ($session, $answer);
}

sub count_holds
{
	my ($hold) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM quota.holds WHERE hold_id = '$hold'");
}

my $remaining = q{SELECT quota.remaining('u1', 'apollo')};
my $before = $node->safe_psql('postgres', $remaining);

# Ends of a transaction that are no crash.
{
	my ($session, $hold) = open_transaction();
	isnt($node->safe_psql('postgres', $remaining), $before, 'what a transaction holds counts at once');
	$session->query('ROLLBACK');
	is($node->safe_psql('postgres', $remaining), $before, 'a rollback leaves nothing');
	$session->close;

	($session, $hold) = open_transaction();
	$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . $session->backend . ')');
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ' . $session->backend),
		'a backend is terminated in a transaction');
	is($node->safe_psql('postgres', $remaining), $before, 'which leaves nothing');
	is(count_holds($hold), 0, 'in the tables neither');

	($session, $hold) = open_transaction();
	$session->{psql}->kill_kill;
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ' . $session->backend),
		'a client dies in a transaction');
	is($node->safe_psql('postgres', $remaining), $before, 'which leaves nothing');
	is(differences($node), '', 'counters equal the tables');
}

# kill -9 of one backend: the server ends all others and starts again by itself.
my ($session, $hold) = open_transaction();
under_load(sub { kill 'KILL', $session->backend });
ok($node->poll_query_until('postgres', 'SELECT true'), 'kill -9 of a backend: the server comes back');
crashed('kill -9 of a backend');
is(count_holds($hold), 0, 'kill -9 of a backend: what it had not committed is not there');

# kill -9 of the postmaster.
($session, $hold) = open_transaction();
under_load(\&kill_server);
$node->start;
crashed('kill -9 of the server');
is(count_holds($hold), 0, 'kill -9 of the server: what was not committed is not there');

# Shutdowns under load.
for my $mode ('immediate', 'fast')
{
	($session, $hold) = open_transaction();
	under_load(sub { $node->stop($mode) });
	$node->start;
	crashed("$mode shutdown");
	is(count_holds($hold), 0, "$mode shutdown: what was not committed is not there");
}

# A fold, then a crash in the next one: no event is counted twice.
$node->safe_psql('postgres', 'CALL quota.run_maintenance()');
$session = open_session($node);
$session->query(
	q{SELECT quota.settle_amount(hold_id, 'credit=0.5,calls=1') FROM quota.holds LIMIT 20});
$session->query(
	q{BEGIN; SELECT sum(quota._fold_root(a.root_id, quota._system_identifier()))
      FROM quota.accounts a WHERE a.parent_id IS NULL});
$node->stop('immediate');
$node->start;
crashed('crash during a fold');
$node->safe_psql('postgres', 'CALL quota.run_maintenance(); SELECT quota.reload()');
is(mismatches($node), '', 'after a fold, limits say what the rows of the ledger add up to');

done_testing();
