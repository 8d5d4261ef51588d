
# Disks that are full: that of the tables, on which calls then fail one by one, and that of the
# WAL, on which the whole server dies. Once there is room again, everything that a client was told
# is there, nothing else is, and who repeats a call with its key gets one answer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use SmallDisks tables => '48m', wal => '24m';

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $definitions = q{
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo');
SELECT quota.put_member('company:acme', 'u' || i) FROM generate_series(1, 4) i;
SELECT quota.set_limit(s::quota.scope, 'credit', 1000000) FROM unnest(ARRAY['company:acme', 'company:acme/project:apollo', 'company:acme/user:*']) s};

# The disk of the tables ---------------------------------------------------------------

{
	my $CALLS = 400;
	my $node = new_server('tables', create => 0, settings => "autovacuum = off\n");
	my %hold;
	my @refused;
	my $space = disk('tables') . '/space';

	mkdir $space or die "could not make $space: $!";
	$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$space'");
	$node->safe_psql('postgres', 'CREATE DATABASE quota TABLESPACE small');
	$node->safe_psql('quota', "CREATE EXTENSION xavier_quota; $definitions");
	install_checks($node, 'quota');
	my $session = open_session($node, 'quota');
	my $reserve = sub {
		my ($number) = @_;
		my $user = 'u' . ($number % 4 + 1);
		return $session->attempt(
			"SELECT quota.reserve_amount('$user', 'apollo', 'credit=1', 'key $number') ->> 'hold_id'");
	};

	# Some calls succeed even then, where there is room on a page.
	fill_disk('tables', 65536);
	for my $number (1 .. $CALLS)
	{
		my $answer = $reserve->($number);

		if ($answer =~ /^[0-9a-f-]{36}$/)
		{
			$hold{$number} = $answer;
			# Every third is settled, which writes elsewhere, and may fail as well.
			$session->attempt("SELECT quota.settle_amount('$answer', 'credit=0.5')") if $number % 3 == 0;
		}
		else
		{
			push @refused, $number;
			$answer =~ /No space left on device/ or fail("call $number: $answer");
		}
	}
	cmp_ok(scalar keys %hold, '>', 10, keys(%hold) . ' calls have been answered, before the disk was full or after');
	cmp_ok(scalar @refused, '>', 10, @refused . ' calls have failed, and said that there is no space');

	is($session->query('SELECT test.in_use()'), '0 locks, 0 pinned', 'the disk is full: nothing is in use');
	is(differences($node, 'quota'), '', 'the disk is full: counters equal the tables');
	is(mismatches($node, 'quota'), '', 'the disk is full: limits say what the rows of the ledger add up to');
	is( $session->query(q{SELECT string_agg(key || ' ' || hold_id, E'\n' ORDER BY split_part(key, ' ', 2)::int) FROM quota.keys}),
		join("\n", map { "key $_ $hold{$_}" } sort { $a <=> $b } keys %hold),
		'the disk is full: what has been answered is there, and nothing else');
	like($session->query(q{SELECT quota.check_amount('u1', 'apollo', 'credit=1') ->> 'allowed'}),
		qr/true/, 'the disk is full: checks are answered');
	$session->query('SELECT quota.reload()');
	is(mismatches($node, 'quota'), '', 'the disk is full: counters can be loaded');

	empty_disk('tables');
	for my $number (1 .. $CALLS)
	{
		my $answer = $reserve->($number);

		$hold{$number} //= $answer;
		$answer eq $hold{$number} or fail("call $number repeated: $answer");
	}
	is($session->query(q{SELECT count(*), count(DISTINCT hold_id) FROM quota.keys}),
		"$CALLS|$CALLS", 'there is room again: who repeats a call gets its answer, or one');
	is($session->query(q{SELECT count(DISTINCT hold_id) FROM (SELECT hold_id FROM quota.holds UNION ALL SELECT hold_id FROM quota.events) h}),
		$CALLS, 'there is room again: every call holds once');
	is(differences($node, 'quota'), '', 'there is room again: counters equal the tables');
	is(mismatches($node, 'quota'), '', 'there is room again: limits say what the rows of the ledger add up to');
	is($session->query('SELECT test.in_use()'), '0 locks, 0 pinned', 'there is room again: nothing is in use');
	$session->close;
	unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal/, 'the server has run all the time');
	$node->stop;
}

# The disk of the WAL --------------------------------------------------------------------

{
	my $CLIENTS = 4;
	my $node = new_server(
		'wal',
		init => { extra => [ '--waldir', disk('wal') . '/pg_wal', '--wal-segsize', '1' ] },
		settings => "max_wal_size = '1GB'\ncheckpoint_timeout = '1h'\nrestart_after_crash = off\nautovacuum = off\n");
	my %hold;
	my %last;
	my @clients;

	install_checks($node);
	$node->safe_psql('postgres', $definitions);
	fill_disk('wal', 2 * 1024 * 1024);
	for my $client (1 .. $CLIENTS)
	{
		my $script = write_script("disk_full_$client.sql",
			"\\set ON_ERROR_STOP 1\n" . join '', map { qq{
SELECT quota.reserve_amount('u$client', 'apollo', 'credit=1', 'key $client $_') ->> 'hold_id' AS hold \\gset
\\echo $client $_ :hold
SELECT quota.settle_amount(:'hold', 'credit=0.5') \\g /dev/null
} } 1 .. 20000);
		my $output = '';

		push @clients, { output => \$output,
			handle => IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', $script ],
				'<', \undef, '>', \$output, '2>', \my $errors) };
	}
	for my $client (@clients)
	{
		$client->{handle}->finish;
		for my $line (${ $client->{output} } =~ /^(.*)\n/mg)
		{
			my ($number, $call, $hold) = split / /, $line;

			$hold{"key $number $call"} = $hold;
			$last{$number} = $call;
		}
	}
	like(slurp_file($node->logfile), qr/PANIC:  .*No space left on device/, 'the server has died for want of space for WAL');
	cmp_ok(scalar keys %hold, '>', 100, keys(%hold) . ' calls had been answered');

	$node->stop('immediate', fail_ok => 1);
	empty_disk('wal');
	$node->start;
	my $told = write_script('told', join '', map { "$_\t$hold{$_}\n" } sort keys %hold);

	$node->safe_psql('postgres', "CREATE TABLE told (key text, hold_id uuid);\n\\copy told FROM '$told'");
	is($node->safe_psql('postgres', 'SELECT key FROM told EXCEPT SELECT k.key FROM quota.keys k JOIN told USING (key, hold_id)'),
		'', 'there is room again: every call that was answered is there');
	is( $node->safe_psql(
			'postgres', q{SELECT count(*) FROM (SELECT hold_id FROM quota.holds UNION ALL SELECT hold_id FROM quota.events) h
GROUP BY hold_id HAVING count(*) > 1}),
		'', 'there is room again: every hold is there once');
	is($node->safe_psql('postgres', "SELECT count(*) <= $CLIENTS FROM (SELECT key FROM quota.keys EXCEPT SELECT key FROM told) u"),
		't', 'there is room again: of what was not answered, there is at most what was being done');
	is(differences($node), '', 'there is room again: counters equal the tables');
	is(mismatches($node), '', 'there is room again: limits say what the rows of the ledger add up to');
	for my $client (1 .. $CLIENTS)
	{
		my $key = "key $client " . ($last{$client} + 1);
		my $call = "SELECT quota.reserve_amount('u$client', 'apollo', 'credit=1', '$key') ->> 'hold_id'";
		my $answer = $node->safe_psql('postgres', $call);

		is($node->safe_psql('postgres', $call), $answer, "client $client, which was not answered, repeats its call and gets one answer");
	}
	is(mismatches($node), '', 'after that, limits say what the rows of the ledger add up to');
	is($node->safe_psql('postgres', 'SELECT test.in_use()'), '0 locks, 0 pinned', 'after that, nothing is in use');
	$node->stop;
}

done_testing();
