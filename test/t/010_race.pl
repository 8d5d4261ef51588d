
# Many sessions reserve at one instant: as many are granted as fit, in every repetition.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $CLIENTS = 20;
my $ROUNDS = 20;

my $node = new_server('race');
install_checks($node);
$node->safe_psql(
	'postgres', q{
CREATE TABLE answers (
    round int, client int, allowed boolean, hold_id uuid, PRIMARY KEY (round, client));

SELECT quota.put_account('company:one'), quota.put_account('company:one/project:one');
SELECT quota.put_member('company:one', 'u' || i) FROM generate_series(0, 19) i;
SELECT quota.set_limit('company:one', 'credit', 500);

-- The project has the least room, each user has enough.
SELECT quota.put_account('company:deep'), quota.put_account('company:deep/project:deep');
SELECT quota.put_member('company:deep', 'u' || i) FROM generate_series(0, 19) i;
SELECT quota.set_limit('company:deep', 'credit', 520);
SELECT quota.set_limit('company:deep/project:deep', 'credit', 500);
SELECT quota.set_limit('company:deep/user:*', 'credit', 80);
SELECT quota.set_limit('company:deep/project:deep/user:*', 'credit', 75, 'lifetime');
});

# Every client waits for the lock of its round, all of them are let go at once, and
# each tells its answer.
my $script = write_script(
	'race.pgbench', q{
\set round :round + 1
SELECT pg_advisory_lock_shared(:round);
SELECT (v ->> 'allowed')::boolean AS allowed, coalesce(v ->> 'hold_id', '') AS hold_id
FROM quota.reserve_amount('u' || :client_id::text, :project, 'credit=75') AS v \gset
INSERT INTO answers VALUES (:round, :client_id, :allowed, nullif(:hold_id, '')::uuid);
});

# race(project, before): runs all rounds; before is SQL to run before each start.
# Returns how many were granted in each round.
sub race
{
	my ($project, $before) = @_;
	my $gate = open_session($node);
	my @granted;

	$before //= 'NULL';
	$gate->query("TRUNCATE answers; SELECT pg_advisory_lock(i) FROM generate_series(1, $ROUNDS) i");
	my ($clients, $output) = start_pgbench($node, 'postgres', '-f', $script, '-M', 'extended',
		'-c', $CLIENTS, '-j', 2, '-t', $ROUNDS, '-D', 'round=0', '-D', "project=$project");

	for my $round (1 .. $ROUNDS)
	{
		$gate->query(
			qq{
CALL test.wait_until(\$\$SELECT count(*) = $CLIENTS FROM pg_locks
                     WHERE locktype = 'advisory' AND NOT granted AND objid = $round\$\$);
DO \$\$ BEGIN $before; END \$\$;
SELECT pg_advisory_unlock($round);
CALL test.wait_until('SELECT count(*) = $CLIENTS FROM answers WHERE round = $round');
});
		push @granted, $gate->query(
			"SELECT count(quota.release(hold_id)) FROM answers
			 WHERE round = $round AND allowed");
	}
	$clients->finish or die "pgbench failed: $$output";
	$gate->close;
	return "@granted";
}

my $six = join ' ', (6) x $ROUNDS;
my $six_or_seven = join ' ', (7, 6) x ($ROUNDS / 2);

is(race('one'), $six, 'of 20 parallel reserves of 75 against 500, exactly 6 are granted');
is(race('one', q{PERFORM quota.reload('company:one')}),
	$six, 'so also when no counter is in memory');
is(race('deep'), $six, 'so also with limits on four levels of which one is the narrowest');
is(race('deep', q{PERFORM quota.reload()}),
	$six, 'so also on four levels when no counter is in memory');
is( race('one',
		q{PERFORM quota.set_limit('company:one', 'credit', 1050 - l.amount, force => true)
          FROM quota.limits l WHERE l.scope OPERATOR(quota.=) 'company:one'}),
	$six_or_seven,
	'with the limit set to 550 or 500 just before, it is 7 or 6');
is(differences($node), '', 'counters equal the tables');
is(mismatches($node), '', 'and what the rows of the ledger add up to');

done_testing();
