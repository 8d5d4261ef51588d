
# Memory runs out: one allocation after the other is made to fail, the first, the second and so
# on until a call needs no more. Each time the caller gets an ordinary error, nothing remains of
# the call, and the session goes on.
#
# Of two kinds: palloc, each single request to a memory context of PostgreSQL, and malloc, what
# reaches the C library (or mmap). See test/injection/.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

chomp(my $libraries = `pg_config --pkglibdir`);
plan skip_all => "$libraries has no inject_malloc.so: build test/injection" unless -e "$libraries/inject_malloc.so";
# Where another allocator is loaded, as by a sanitizer, the C library's is not asked.
my $other_allocator = $ENV{LD_PRELOAD};
local $ENV{LD_PRELOAD} = $other_allocator // "$libraries/inject_malloc.so";
my $node = new_server('memory', settings => "restart_after_crash = off\nmax_locks_per_transaction = 64\n");
install_checks($node);

$node->safe_psql(
	'postgres', q{
CREATE FUNCTION test.arm(kind text, countdown bigint, failures bigint) RETURNS void
    LANGUAGE C AS 'inject_allocation', 'inject_allocation_arm';
CREATE FUNCTION test.disarm() RETURNS bigint
    LANGUAGE C AS 'inject_allocation', 'inject_allocation_disarm';

-- Makes every step-th of a call's allocations fail, in a block that is rolled back in any case.
-- Returns how many it has, and every answer that was neither success nor out of memory.
CREATE FUNCTION test.exhaust(call text, step int, OUT allocations bigint, OUT surprises text)
LANGUAGE plpgsql AS $$
DECLARE
    failed bigint;
BEGIN
    allocations := 0;
    LOOP
        failed := NULL;
        BEGIN
            PERFORM test.arm('palloc', allocations + 1, 1);
            EXECUTE call;
            failed := test.disarm();
            RAISE EXCEPTION SQLSTATE 'XX999';
        EXCEPTION
            WHEN SQLSTATE 'XX999' OR out_of_memory THEN
                NULL;
            WHEN OTHERS THEN
                surprises := concat_ws(E'\n', surprises, format('%s: %s %s', allocations + 1, SQLSTATE, SQLERRM));
        END;
        EXIT WHEN failed = 0 OR length(surprises) > 1000;
        allocations := allocations + step;
    END LOOP;
END
$$;

-- Reserves in a block whose own commit may fail.
CREATE FUNCTION test.reserve_in_block(key text, countdown bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        PERFORM quota.reserve_amount('ann', 'apollo', 'credit=1', key);
        PERFORM test.arm('palloc', countdown, 1);
    EXCEPTION WHEN out_of_memory THEN
        NULL;
    END;
    PERFORM test.disarm();
END
$$;

-- What must be as it was.
CREATE FUNCTION test.state() RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    in_use text := test.in_use();
BEGIN
    RETURN format('%s, %s', in_use, quota.remaining('ann', 'apollo'));
END
$$;

SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo');
SELECT quota.put_member('company:acme', 'ann');
SELECT quota.put_plan('basic', '[{"resource": "calls", "amount": 1000000}]'), quota.put_account('company:acme', plan => 'basic');
SELECT quota.set_limit(s::quota.scope, 'credit', 1000000) FROM unnest(ARRAY['company:acme', 'company:acme/project:apollo', 'company:acme/user:*']) s;
SELECT quota.allow_model('company:acme', 'm*');
SELECT quota.set_rate_card('m1', '{"max_output_tokens": 1000, "lines": [
    {"meter": "input_tokens", "price": "0.000001"}, {"meter": "output_tokens", "price": "0.000002"}]}', '2026-01-01');
CREATE TABLE test.holds (label text, hold_id uuid);
INSERT INTO test.holds SELECT l, (quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000}', l) ->> 'hold_id')::uuid
FROM unnest(ARRAY['open', 'settled', 'released']) l;
SELECT quota.settle(hold_id, '{"input_tokens": 1000, "output_tokens": 1}') FROM test.holds WHERE label = 'settled';
SELECT quota.release(hold_id) FROM test.holds WHERE label = 'released';
});

sub hold
{
	my ($label) = @_;
	return "(SELECT hold_id FROM test.holds WHERE label = '$label')";
}

my $failures = 0;
my $usage = q{'{"input_tokens": 1000, "output_tokens": 10}'};
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $state = $node->safe_psql('postgres', 'SELECT test.state()');
like($state, qr/^0 locks, 0 pinned, /, 'nothing is in use');

my @calls = (
	[ 'check' => q{SELECT quota.check('ann', 'apollo', 'm1', '{"input_tokens": 1000}')} ],
	[ 'reserve' => q{SELECT quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000}', 'new key')} ],
	[ 'reserve again' => q{SELECT quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000}', 'open')} ],
	[ 'settle' => 'SELECT quota.settle(' . hold('open') . ", $usage)" ],
	[ 'settle late' => 'SELECT quota.settle(' . hold('released') . ", $usage)" ],
	[ 'settle again' => 'SELECT quota.settle(' . hold('settled') . ", $usage)" ],
	[ 'release' => 'SELECT quota.release(' . hold('open') . ')' ],
	[ 'extend' => 'SELECT quota.extend(' . hold('open') . q{, '{"input_tokens": 2000}', '1 hour')} ],
	[ 'charge' => "SELECT quota.charge('ann', 'apollo', 'm1', $usage, 'new key')" ],
	[ 'adjust' => q{SELECT quota.adjust('company:acme', 'credit=-1', 'refund', 'new key')}, 5 ],
	[ 'hold and remaining' => 'SELECT quota.hold(' . hold('settled') . q{), quota.remaining('ann', 'apollo')} ],
	[ 'a hold that expires' => q{SELECT set_config('xavier_quota.clock', (now() + interval '1 day')::text, true), quota._expire_holds(root_id, scope, 10) FROM quota.accounts WHERE parent_id IS NULL} ],
	[ 'a limit, and a reserve under it' => q{SELECT quota.set_limit('company:acme/project:apollo', 'credit', 1000, 'day'), quota.reserve_amount('ann', 'apollo', 'credit=2')}, 11 ],
	[ 'an account, and a reserve in it' => q{SELECT quota.put_account('company:acme/project:new'), quota.reserve_amount('ann', 'new', 'credit=2')}, 2 ],
	[ 'a plan' => q{SELECT quota.put_plan('basic', '[{"resource": "calls", "amount": 5}, {"resource": "credit", "amount": 5}]')}, 3 ],
	[ 'verify' => 'SELECT * FROM quota.verify()', 3 ],
	[ 'reload' => q{SELECT quota.reload(), quota.remaining('ann', 'apollo')} ],
	[ 'fold' => 'SELECT quota._fold_root(root_id, quota._system_identifier()) FROM quota.accounts WHERE parent_id IS NULL', 7 ],
	[ 'the view of limits' => 'SELECT * FROM quota.admin_limits', 29 ],
	[ 'estimate' => q{SELECT quota.estimate('m1', '{"input_tokens": 1000}', 'company:acme')} ],
	[ 'a rate card' => q{SELECT quota.set_rate_card('m2', '{"lines": [{"meter": "input_tokens", "price": "0.01"}]}'), quota.estimate('m2', '{"input_tokens": 1000}')}, 2 ],
	[ 'import' => q{SELECT quota.import_prices('{"m3": {"mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}}')} ],
);

# exhaust(session, name, sql, step): makes every step-th allocation of a call fail.
sub exhaust
{
	my ($session, $name, $sql, $step) = @_;

	# PostgreSQL itself warns of an allocation that fails while a subtransaction ends.
	$session->query('SET client_min_messages = error');
	my ($allocations, $surprises) =
	  split /\|/, $session->query("SELECT * FROM test.exhaust(\$call\$$sql\$call\$, $step)"), 2;

	$failures += int($allocations / $step);
	cmp_ok($allocations / $step, '>', 100, "$name: every allocation of $allocations, in steps of $step, fails");
	is($surprises, '', "$name: as an error that says so");
	is($session->query('SELECT test.state()'), $state, "$name: nothing remains of it");
	return;
}

# By a session that has never called before: what it reads first, and keeps, is read with and
# without memory. A failure on the way leaves the rest to the next turn.
for my $call (grep { $_->[0] =~ /^(?:reserve|estimate)$/ } @calls)
{
	my $session = open_session($node);

	exhaust($session, "$call->[0] in a new session", $call->[1], 3);
	$session->close;
}
{
	my $session = open_session($node);

	for my $call (@calls)
	{
		$session->query("BEGIN; $call->[1]; ROLLBACK");
		exhaust($session, @$call[ 0, 1 ], $call->[2] // 1);
	}
	$session->close;
}
is(differences($node), '', 'in a block: counters equal the tables');
is(mismatches($node), '', 'in a block: limits say what the rows of the ledger add up to');

# strike(session, kind, countdown, sql): what a statement answers while an allocation fails, and
# whether one has failed.
sub strike
{
	my ($session, $kind, $countdown, $sql) = @_;
	my $armed = $session->attempt("SELECT test.arm('$kind', $countdown, 1)");
	my $answer = $session->attempt($sql);
	my $disarm = 'SELECT test.disarm()';
	my $failed = $session->attempt($disarm);

	# In a transaction that has failed it cannot be asked.
	$failed .= "\n" . $session->attempt("ROLLBACK;\n$disarm") if $failed =~ /aborted/;
	return ($answer, "$armed$answer" =~ /out of memory/ || $failed =~ /^[1-9]/m);
}

# count_up(what, options): strikes each of a statement's allocations, and compares the answers with
# what is there. Each turn has a key: KEY in what it says.
#   kind, step   which allocations
#   least        how many there are at least
#   before       what comes first in the transaction, unharmed
#   sql          the statement
#   accepted     the answer by which one knows that it has been done
#   new_sessions each turn has a session of its own
sub count_up
{
	my ($what, %options) = @_;
	my $session = open_session($node);
	my $reached = 1;
	my $countdown;
	my @accepted;

	for ($countdown = 1; $reached; $countdown += $options{step})
	{
		my $key = "$what $countdown";
		my $answer;

		if ($options{new_sessions})
		{
			$session->close;
			$session = open_session($node);
			$session->query('SELECT test.disarm()');
		}
		$session->query($options{before} =~ s/KEY/$key/gr) if $options{before};
		($answer, $reached) = strike($session, $options{kind}, $countdown, $options{sql} =~ s/KEY/$key/gr);
		push @accepted, $key if $answer =~ $options{accepted};
	}
	$session->close;
	$failures += int($countdown / $options{step}) - 1;

	cmp_ok($countdown, '>', $options{least}, "$what: every $options{kind} of $countdown, in steps of $options{step}, fails");
	is( $node->safe_psql(
			'postgres', "SELECT key FROM quota.keys WHERE key LIKE '$what %' ORDER BY regexp_replace(key, '.* ', '')::int"),
		join("\n", @accepted),
		"$what: what has been answered is there, and nothing else");
	is($node->safe_psql('postgres', 'SELECT test.in_use()'), '0 locks, 0 pinned', "$what: nothing is in use");
	return;
}

my %transactions = (
	'calls' => qq{
SELECT quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000}', 'KEY') ->> 'hold_id' AS hold \\gset
SELECT quota.settle(:'hold', $usage), quota.adjust('company:acme', 'credit=-0.001', 'refund');},
	'calls in savepoints' => q{
SELECT quota.reserve_amount('ann', 'apollo', 'credit=1', 'KEY') ->> 'hold_id' AS hold \gset
SAVEPOINT one; SELECT quota.release(:'hold');
SAVEPOINT two; SELECT quota.adjust('company:acme', 'credit=1', 'test');
SAVEPOINT three; SELECT quota.adjust('company:acme', 'credit=-1', 'test'); ROLLBACK TO two;},
	'definitions' => q{
SELECT quota.set_limit('company:acme/project:apollo', 'calls', 100 + ascii(right('KEY', 1)), 'day'),
       quota.reserve_amount('ann', 'apollo', 'credit=1', 'KEY');});

# psql says COMMIT when it has been one.
sub aloud
{
	my ($end) = @_;
	return "\\set QUIET off\n$end;\n\\set QUIET on";
}

for my $name (sort keys %transactions)
{
	for my $end ('COMMIT', 'ROLLBACK')
	{
		count_up("$end after $name",
			kind => 'palloc', step => 1, least => 20, before => "BEGIN; $transactions{$name}",
			sql => aloud($end), accepted => qr/^COMMIT$/m);
	}
}

# The end of a block. Where PostgreSQL cannot end it, it says that it has rolled it back, which is
# not always so; whatever it has done with the row, counters say the same.
{
	my $session = open_session($node);

	$session->attempt("BEGIN; SELECT test.reserve_in_block('block $_', $_); COMMIT") for 1 .. 10;
	is($session->query('SELECT * FROM quota.verify()'), '', 'the end of a block: counters equal the tables');
	$session->close;
}

# A call as a transaction of its own, by a session that has not called before.
count_up('alone',
	kind => 'palloc', step => 7, least => 300,
	sql => "SELECT quota.reserve_amount('ann', 'apollo', 'credit=0.01', 'KEY') ->> 'state'", accepted => qr/^open$/m);

# Whole transactions, with all that comes before them in a new session. Where PostgreSQL cannot
# load a library for want of memory, it may end the session.
SKIP:
{
	skip "LD_PRELOAD is set to $other_allocator", 9 if defined $other_allocator;

	count_up("new sessions, $_",
		kind => 'malloc', step => 37, least => 500, new_sessions => 1,
		sql => "BEGIN; $transactions{$_}\n" . aloud('COMMIT'), accepted => qr/^COMMIT$/m)
	  for sort keys %transactions;
}

is(differences($node), '', 'counters equal the tables');
is(mismatches($node), '', 'limits say what the rows of the ledger add up to');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server has run all the time');
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal/, 'and no backend has crashed');
note("$failures allocations have failed");

done_testing();
