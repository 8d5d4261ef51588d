
# Errors in the middle of transactions that take more than one session, or much of something:
# sessions that are ended by a timeout, an administrator or the death of their client, wherever
# they are; errors of other extensions at the commit; a full table of locks; thousands of
# savepoints; tens of thousands of errors. What is left each time is nothing: no lock, no
# counter in use, no number that differs from the rows, no memory.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $node = new_server(
	'errors',
	preload => 'inject_commit,xavier_quota',
	settings => "autovacuum = off\nclient_connection_check_interval = '10ms'\n");
install_checks($node);
$node->safe_psql(
	'postgres', q{
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo');
SELECT quota.put_member('company:acme', 'ann');
SELECT quota.set_limit(s::quota.scope, 'credit', 1000000) FROM unnest(ARRAY['company:acme', 'company:acme/project:apollo', 'company:acme/user:*']) s;
SELECT quota.set_rate_card('m1', '{"max_output_tokens": 1000, "lines": [{"meter": "input_tokens", "price": "0.000001"}]}');
CREATE TABLE test.holds AS SELECT (quota.reserve_amount('ann', 'apollo', 'credit=10') ->> 'hold_id')::uuid AS hold_id;
});

my $remaining = q{SELECT quota.remaining('ann', 'apollo')};
my $before = $node->safe_psql('postgres', $remaining);

# Every kind of call, in one transaction.
my $calls = q{
SELECT quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000}', 'key'), quota.settle_amount(hold_id, 'credit=20') FROM test.holds;
SAVEPOINT one;
SELECT quota.charge('ann', 'apollo', 'm1', '{"input_tokens": 1000}'), quota.adjust('company:acme', 'credit=-3', 'refund');
ROLLBACK TO one;
SELECT quota.adjust('company:acme', 'credit=-2', 'refund'), quota.release((quota.reserve_amount('ann', 'apollo', 'credit=1') ->> 'hold_id')::uuid);
};
my $definitions = q{SELECT quota.set_limit('company:acme/project:apollo', 'credit', 1000, 'day');};

# expect_nothing(what): nothing is left of a transaction, and the next one is served.
sub expect_nothing
{
	my ($what) = @_;

	is($node->safe_psql('postgres', 'SELECT test.in_use()'), '0 locks, 0 pinned', "$what: nothing is in use");
	is($node->safe_psql('postgres', $remaining), $before, "$what: the same remains");
	is(differences($node), '', "$what: counters equal the tables");
	is(mismatches($node), '', "$what: limits say what the rows of the ledger add up to");
	is($node->safe_psql('postgres', "SELECT quota.check_amount('ann', 'apollo', 'credit=1') ->> 'allowed'"),
		'true', "$what: the next call works");
	return;
}

# gone(session): whether the backend of a session has ended.
sub gone
{
	my ($session) = @_;
	return $node->poll_query_until('postgres',
		'SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ' . $session->backend);
}

# waits(session): whether the backend of a session waits for a lock.
sub waits
{
	my ($session) = @_;
	return $node->poll_query_until('postgres',
		'SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND pid = ' . $session->backend);
}

# Timeouts that end the session.
for my $timeout ('idle_in_transaction_session_timeout', 'transaction_timeout')
{
  SKIP:
	{
		skip "PostgreSQL has $timeout since 17", 1
		  unless $node->safe_psql('postgres', "SELECT count(*) FROM pg_settings WHERE name = '$timeout'");
		my $session = open_session($node);

		$session->query("BEGIN; $calls SET $timeout = '20ms'");
		ok(gone($session), "$timeout ends a session");
		expect_nothing($timeout);
	}
}

# Ended by an administrator, or abandoned by its client: in a query, at a wait for each lock.
my $block_load = 'SELECT quota.reload(); BEGIN; LOCK TABLE quota.usage_hourly IN ACCESS EXCLUSIVE MODE';
my %waits = (
	'in a query' => [ undef, "BEGIN; $calls SELECT pg_sleep(600)" ],
	'at a load' => [ $block_load, "BEGIN; $calls" ],
	'at the lock of the root' => [ "BEGIN; $definitions $calls", "BEGIN; $calls" ],
	'at a key' => [ "BEGIN; $calls", q{BEGIN; SELECT quota.adjust('company:acme', 'credit=-2', 'refund'), quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000}', 'key')} ],
	'at the row of a hold' => [ "BEGIN; $calls", q{BEGIN; SELECT quota.adjust('company:acme', 'credit=-2', 'refund'), quota.release(hold_id) FROM test.holds} ],
	'at the commit of definitions' => [ "BEGIN; $calls", "SET xavier_quota.definition_lock_timeout = '600s'; BEGIN; $definitions COMMIT" ],
);
for my $where (sort keys %waits)
{
	my ($obstacle, $sql) = @{ $waits{$where} };

	for my $end ('pg_terminate_backend', 'death of its client')
	{
		my $blocker = open_session($node);
		my $session = open_session($node);

		$blocker->query($obstacle) if $obstacle;
		$session->send($sql);
		if ($obstacle)
		{
			ok(waits($session), "a session waits $where");
		}
		else
		{
			ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'}),
				"a session is $where");
		}
		if ($end eq 'pg_terminate_backend')
		{
			$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . $session->backend . ')');
		}
		else
		{
			$session->{psql}->kill_kill;
		}
		ok(gone($session), "$where: $end ends it");
		$blocker->query('ROLLBACK') if $obstacle;
		expect_nothing("$end $where");
		$blocker->close;
	}
}

# An error of another extension at the commit, before and after the engine has taken the locks of
# what is counted otherwise.
for my $point ('pre_commit', 'pre_commit_end')
{
	for my $what ('calls', 'definitions', 'definitions and calls')
	{
		my $session = open_session($node);
		my $sql = ($what =~ /definitions/ ? $definitions : '') . ($what =~ /calls/ ? $calls : '');

		$session->query("SET inject_commit.fail_at = '$point'; BEGIN; $sql");
		like($session->attempt('COMMIT'), qr/injected failure/, "$what: another extension fails at $point");
		expect_nothing("$what, $point");
		$session->query("SET inject_commit.fail_at = 'none'; BEGIN; $sql ROLLBACK");
		$session->close;
	}
}

# A full table of locks: whatever lock a call wants next, it does not get.
{
	my $hoarder = open_session($node);
	my $session = open_session($node);
	my $taken;
	my $failures = 0;

	# All but a few, which it gives back one by one.
	$hoarder->query(
		q{
CREATE PROCEDURE test.hoard() LANGUAGE plpgsql AS $$
BEGIN
    FOR key IN 1 .. 1000000 LOOP
        PERFORM pg_advisory_lock(key);
    END LOOP;
EXCEPTION WHEN out_of_memory THEN
    RETURN;
END
$$});
	$session->query("BEGIN; $calls ROLLBACK");
	$hoarder->query('CALL test.hoard()');
	$taken = $hoarder->query('SELECT max(objid::bigint) FROM pg_locks WHERE locktype = $$advisory$$');
	cmp_ok($taken, '>', 100, "all locks of the server are taken, $taken of them");
	for my $given_back (1 .. 40)
	{
		my $answer = $session->attempt("BEGIN; $calls");

		$session->attempt('ROLLBACK');
		last unless $answer =~ /^ERROR:  out of shared memory/m;
		$failures++;
		$hoarder->query('SELECT pg_advisory_unlock(' . ($taken + 1 - $given_back) . ')');
	}
	cmp_ok($failures, '>', 0, "calls fail for want of locks, $failures times");
	$hoarder->query('SELECT pg_advisory_unlock_all()');
	expect_nothing('no locks');
	$hoarder->close;
	$session->close;
}

# Thousands of savepoints within each other, while others load the counters: their snapshots have
# overflowed, and what is not committed yet must count nevertheless.
{
	my $DEPTH = 2000;
	my $session = open_session($node);
	my $other = open_session($node);
	my $reserve = q{SELECT quota.reserve_amount('ann', 'apollo', 'credit=1') ->> 'state'};
	my $left = sub { return $other->query(q{SELECT quota.remaining('ann', 'apollo') OPERATOR(quota.->) 'company:acme' OPERATOR(quota.->) 'credit'}) };
	my $start = $left->();

	$session->query("BEGIN;\n" . join('', map { "SAVEPOINT s$_; $reserve;\n" } 1 .. $DEPTH));
	is($left->(), $start - $DEPTH, "$DEPTH savepoints: what each has held counts at once");
	$session->query("ROLLBACK TO s1001;\n$reserve");
	is($left->(), $start - 1001, "half of it is rolled back");
	$session->query('COMMIT');
	is(differences($node), '', 'committed: counters equal the tables');
	is(mismatches($node), '', 'committed: limits say what the rows of the ledger add up to');
	is($left->(), $start - 1001, 'committed: the rest is held');
	is($session->query('SELECT test.in_use()'), '0 locks, 0 pinned', 'committed: nothing is in use');
	$session->query('DO $$ BEGIN PERFORM quota.release(hold_id) FROM quota.holds WHERE hold_id NOT IN (TABLE test.holds); END $$');
	expect_nothing('released');
	$session->close;
	$other->close;
}

# Ten thousand times the same (fewer of what is slow), after a tenth of it to begin with: the memory
# of the session is the same to the byte.
{
	my $session = open_session($node);
	my @loops = (
		[ 'definitions', 200 => q{
            PERFORM quota.set_limit('company:acme/project:apollo', 'credit', 1000 + turn, 'day');
            PERFORM quota.reserve_amount('ann', 'apollo', 'credit=1');
            ROLLBACK;} ],
		[ 'calls', 10000 => q{
            verdict := quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000}', format('flat %s', turn));
            PERFORM quota.settle((verdict ->> 'hold_id')::uuid, '{"input_tokens": 900}');
            COMMIT;} ],
		[ 'errors', 10000 => q{
            BEGIN
                PERFORM quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000}');
                CASE turn % 5
                    WHEN 0 THEN PERFORM quota.reserve('ann', 'no such project', 'm1', '{"input_tokens": 1000}');
                    WHEN 1 THEN PERFORM quota.reserve('ann', 'apollo', 'no such model', '{"input_tokens": 1000}');
                    WHEN 2 THEN PERFORM quota.settle('00000000-0000-8000-8000-000000000001', '{"input_tokens": 900}');
                    WHEN 3 THEN PERFORM quota.estimate('m1', '{"input_tokens": -1}');
                    ELSE PERFORM quota.reserve_amount('ann', 'apollo', 'no_such_resource=1');
                END CASE;
            EXCEPTION WHEN OTHERS THEN
                NULL;
            END;
            ROLLBACK;} ],
		[ 'refusals', 10000 => q{
            PERFORM quota.reserve_amount('ann', 'apollo', 'credit=2000000');
            COMMIT;} ],
		[ 'rolled back', 10000 => q{
            PERFORM quota.release((quota.reserve_amount('ann', 'apollo', 'credit=1') ->> 'hold_id')::uuid);
            ROLLBACK;} ],
		[ 'blocks in one transaction', 10000 => q{
            BEGIN
                PERFORM quota.release((quota.reserve_amount('ann', 'apollo', 'credit=1') ->> 'hold_id')::uuid);
                RAISE EXCEPTION 'fails';
            EXCEPTION WHEN raise_exception THEN
                NULL;
            END;} ],
	);
	my $memory = q{
SELECT string_agg(format('%s %s', name, total), ', ' ORDER BY name)
FROM (SELECT name, sum(total_bytes) AS total FROM pg_backend_memory_contexts GROUP BY name) m};

	for my $loop (@loops)
	{
		my ($name, $then, $turn) = @$loop;
		my $first = $then / 10;

		$session->query(
			qq{
CREATE OR REPLACE PROCEDURE test.turns(first int, last int) LANGUAGE plpgsql AS \$\$
DECLARE
    verdict jsonb;
BEGIN
    FOR turn IN first .. last LOOP$turn
    END LOOP;
END
\$\$});
		$session->query("CALL test.turns(1, $first)");
		$session->query($memory);
		my $used = $session->query($memory);
		$session->query("CALL test.turns($first + 1, $first + $then)");
		is($session->query($memory), $used, "$then times $name: memory is the same");
		is($session->query('SELECT test.in_use()'), '0 locks, 0 pinned', "$then times $name: nothing is in use");
	}
	$session->close;
	is(differences($node), '', 'after them, counters equal the tables');
	is(mismatches($node), '', 'after them, limits say what the rows of the ledger add up to');
}

done_testing();
