
# Rounds of a crash under full load. Sixteen clients hold, settle, release, extend, charge
# and adjust, in single calls and in transactions with savepoints, while one changes
# definitions and one does upkeep. Then something dies: a backend, the postmaster (also
# while it recovers), a background process, or a transaction at a point of its end.
# Afterwards each client finds out what has become of its last call by repeating it, and goes on.
#
# Proved in each round, exactly:
#   1. quota.holds, quota.events, quota.keys and quota.limits contain what the clients were
#      told, all of it and nothing else
#   2. a transaction that died after the flush of WAL is done, one that died before is not;
#      whoever repeats a call gets the first answer
#   3. counters in memory equal the tables, by quota.verify() and by a recount
#   4. no hard limit is ever exceeded, though all are reached
#   5. no counter stays pinned; only errors that may happen have happened
#
# AMOUNT is the number of rounds. CRASH_SEED repeats the choices of a run (not its timing).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use DBI;
use List::Util qw(shuffle);
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use LedgerCalls qw(amount_text);
use LedgerClient;
use XavierQuota;

my $ROUNDS = $ENV{AMOUNT} // 25;
my $SEED = $ENV{CRASH_SEED} // int rand 1_000_000_000;
my $CLIENTS = 16;
# More than there is room for: counters are evicted and loaded.
my $USERS = 128;
# So many rounds on one server: then another one, so that the recount stays short.
my $SERIES = 25;

# What can happen in a round. All of it does before anything does again.
my @DECK = (
	([ 'backend', 'load' ]) x 3,
	[ 'backend', 'upkeep' ],
	[ 'backend', 'definitions' ],
	([ 'postmaster' ]) x 2,
	[ 'postmaster, and again while it recovers' ],
	[ 'immediate shutdown' ],
	[ 'fast shutdown' ],
	[ 'process', 'checkpointer' ],
	[ 'process', 'walwriter' ],
	([ 'point', 'load', 'commit' ]) x 3,
	([ 'point', 'load', 'commit_end' ]) x 2,
	[ 'point', 'load', 'pre_commit' ],
	[ 'point', 'load', 'abort' ],
	[ 'point', 'load', 'abort_end' ],
	[ 'point', 'load', 'subabort' ],
	[ 'point', 'load', 'subabort_end' ],
	[ 'point', 'upkeep', 'commit' ],
	[ 'point', 'definitions', 'pre_commit_end' ],
	[ 'point', 'definitions', 'commit' ]);
my %FATE = (
	pre_commit => 'undone', pre_commit_end => 'undone',
	commit => 'committed', commit_end => 'committed');
my @PAUSES = qw(pre_commit_end commit commit_end abort subabort);

my ($node, %expected, %told, %pids);

# Clients that a failure has left.
END { kill 'KILL', values %pids; }

sub start_server
{
	my ($number) = @_;

	$node = new_server(
		"crash_loop_$number",
		preload  => 'inject_commit,xavier_quota',
		settings => "restart_after_crash = on\nxavier_quota.max_counters = 256\nxavier_quota.max_series = 256\n");
	install_checks($node);
	$node->safe_psql(
		'postgres', qq{
SELECT quota.set_rate_card('writer', '{"mode": "chat", "max_output_tokens": 10000, "lines": [
    {"meter": "input_tokens", "price": "0.00001"}, {"meter": "output_tokens", "price": "0.00002"}]}');
SELECT quota.put_resource('in_flight', 'generation', 'concurrency', 'Generations that run now');
SELECT quota.put_plan('gold', '[{"resource": "credit", "amount": 1000000}]');
DO \$\$
DECLARE
    c text;
BEGIN
    FOREACH c IN ARRAY '{exact,any}'::text[] LOOP
        PERFORM quota.put_account(('company:' || c)::quota.scope, plan => CASE c WHEN 'any' THEN 'gold' END);
        PERFORM quota.put_account(('company:' || c || '/project:' || c)::quota.scope);
        PERFORM quota.put_member(('company:' || c)::quota.scope, 'u' || i) FROM generate_series(1, $USERS) i;
    END LOOP;
    PERFORM quota.set_limit('company:exact', 'in_flight', 20);
    PERFORM quota.set_limit('company:exact/project:exact', 'in_flight', 18);
    PERFORM quota.set_limit('company:exact/user:*', 'in_flight', 2);
    PERFORM quota.set_limit('company:exact/project:exact/user:*', 'credit', 30);
    PERFORM quota.set_limit('company:any', 'credit', 1000000);
    PERFORM quota.set_limit('company:any/user:*', 'credit', 1000000);
    PERFORM quota.set_limit('company:any/project:any/user:*', 'calls', 1000000);
    -- Those that look back.
    PERFORM quota.set_limit('company:any', 'credit', 1000000, 'rolling 30 seconds');
    PERFORM quota.set_limit('company:any/project:any', 'credit', 1000000, '5 seconds', rollover => 2000000, rollover_periods => 4, carry_overage => true);
    PERFORM quota.set_limit('company:any/user:*', 'calls', 1000000, 'refill 1000000 per 7 seconds up to 1000000');
    PERFORM quota.grant_quota('company:any/project:any', 'credit', 1000, limit_id => l.limit_id)
        FROM quota.limits l WHERE l.scope::text = 'company:any/project:any' AND l.rollover > 0;
END \$\$;
CREATE UNLOGGED TABLE expected (
    what text, id text, seq int, kind text, held text, charged text, short boolean);
});
	%expected = (holds => {}, events => {}, keys => {}, limits => {});
	return;
}

# raise_limits: gives company:exact room for some more, so that its limits are reached again.
sub raise_limits
{
	$node->safe_psql(
		'postgres', q{
SELECT quota.set_limit('company:exact', 'credit', l.used + l.held + 60, 'lifetime'),
       quota.set_limit('company:exact/project:exact', 'credit', l.used + l.held + 50, 'lifetime')
FROM (SELECT coalesce(max(a.used), 0) AS used, coalesce(max(a.held), 0) AS held FROM quota.admin_limits AS a
      WHERE a.scope = 'company:exact' AND a.resource = 'credit') AS l});
	return;
}

# take_effect: adds one effect of a journal to what is expected.
sub take_effect
{
	my ($owner, $what, $id, @rest) = @_;

	if ($what eq 'open')
	{
		my %hold = (id => $id, owner => $owner);

		@hold{qw(company user kind short credit in_flight)} = @rest;
		$expected{holds}{$id} = \%hold;
	}
	elsif ($what eq 'amount')
	{
		@{ $expected{holds}{$id} }{qw(credit in_flight)} = @rest;
	}
	elsif ($what eq 'event')
	{
		delete $expected{holds}{$id};
		$expected{events}{"$id\t$rest[0]"} = join "\t", @rest[ 1 .. 2 ], $rest[3] // '';
	}
	elsif ($what eq 'key')
	{
		$expected{keys}{$id} = $rest[0];
	}
	else
	{
		$expected{limits}{"$id $rest[0] $rest[1]"} = $rest[2];
	}
	return;
}

sub journal { return "$PostgreSQL::Test::Utils::tmp_check/journal_$_[0]"; }

# count_notes(name, note, after): how often a client has noted something, after the last
# time that it noted something else.
sub count_notes
{
	my ($name, $note, $after) = @_;
	my $text = slurp_file(journal($name));

	$text =~ s/.*^$after$//ms if defined $after;
	return scalar(() = $text =~ /^$note$/mg);
}

# wait_for_clients(what, code, watch): until code says yes of every client; watch is called
# all the while.
sub wait_for_clients
{
	my ($what, $code, $watch) = @_;

	poll_until(
		sub {
			$watch->() if $watch;
			for my $name (keys %pids)
			{
				next if waitpid($pids{$name}, WNOHANG) == 0;
				die "client $name has ended; see " . journal($name);
			}
			return !grep { !$code->($_) } keys %pids;
		}, undef, 50) or die "clients are not $what";
	return;
}

# collect: what the clients of a round have been told. Returns promises that were broken.
sub collect
{
	my (@names) = @_;
	my @wrong;

	%told = (refused => 0, failed => 0, done => 0, fate => []);
	for my $name (@names)
	{
		for (split /\n/, slurp_file(journal($name)))
		{
			my ($what, @rest) = split /\t/ if /^\+/;

			take_effect($name, @rest) if defined $what;
			push @wrong, "$name: $_" if /^wrong/;
			push @{ $told{fate} }, $1 if /^fate (.*)/ && count_notes($name, 'armed .*');
			$told{$1}++ if /^(refused|failed|done)\b/;
		}
	}
	return @wrong;
}

# Rows that are not as told, of any kind.
my $COMPARE = q{
UPDATE expected AS x SET what = 'event', seq = 1, kind = 'expired'
WHERE x.what = 'hold' AND x.short AND NOT EXISTS (SELECT FROM quota.holds AS h WHERE h.hold_id = x.id::uuid);

SELECT CASE WHEN x.id IS NULL THEN 'not told' WHEN a.id IS NULL THEN 'missing' ELSE 'not as told' END,
       what, id, seq, 'told', x.kind, x.held, x.charged, 'found', a.kind, a.held, a.charged
FROM expected AS x FULL JOIN (
    SELECT 'hold' AS what, h.hold_id::text AS id, 0 AS seq, 'open' AS kind, h.amount::text AS held, '' AS charged
    FROM quota.holds AS h
    UNION ALL SELECT 'event', e.hold_id::text, e.seq, e.kind, e.held::text, e.charged::text FROM quota.events AS e
    UNION ALL SELECT 'key', k.key, 0, k.hold_id::text, '', '' FROM quota.keys AS k
    UNION ALL SELECT 'limit', i.id, 0, coalesce(l.amount::text, 'dropped'), '', ''
    FROM expected AS i LEFT JOIN quota.limits AS l ON i.id = format('%s %s %s', l.scope, l.resource, l.period)
    WHERE i.what = 'limit') AS a USING (what, id, seq)
WHERE (x.kind, x.held, x.charged) IS DISTINCT FROM (a.kind, a.held, a.charged)
ORDER BY what, id, seq LIMIT 20};

sub ledger_differs
{
	my @rows;

	for my $hold (values %{ $expected{holds} })
	{
		push @rows, join "\t", 'hold', $hold->{id}, 0, 'open', amount_text(@$hold{qw(credit in_flight)}), '',
		  $hold->{short};
	}
	push @rows, map { "event\t$_\t$expected{events}{$_}\t0" } keys %{ $expected{events} };
	push @rows, map { "key\t$_\t0\t$expected{keys}{$_}\t\t\t0" } keys %{ $expected{keys} };
	push @rows, map { "limit\t$_\t0\t$expected{limits}{$_}\t\t\t0" } keys %{ $expected{limits} };

	my $file = write_script('expected', join '', map { "$_\n" } @rows);
	return $node->safe_psql('postgres', "TRUNCATE expected;\n\\copy expected FROM '$file'\n$COMPARE");
}

# exceeded(shares): a query for the limits of company:exact that stand above what they allow:
# those of the company and the project, and of so many users in each.
sub exceeded
{
	my ($shares) = @_;
	return qq{
SELECT l.scope, s.share, l.resource, l.used, l.held, l."limit"
FROM (VALUES ('company:exact'), ('company:exact/project:exact')) AS a (scope),
     LATERAL (SELECT NULL UNION ALL SELECT 'u' || i FROM generate_series(1, $shares) AS i) AS s (share),
     LATERAL quota._limit_levels(a.scope::quota.scope, s.share) AS l
WHERE l.used + l.held > l."limit"};
}

sub check
{
	my ($what, @wrong) = @_;

	is(join("\n", @wrong), '', "$what: every promise to a client was kept");
	is(ledger_differs(), '',
		sprintf '%s: the ledger is as the clients were told (%d holds, %d events, %d keys)',
		$what, map { scalar keys %{ $expected{$_} } } qw(holds events keys));
	is(mismatches($node), '', "$what: limits say what the ledger adds up to");
	is(differences($node), '', "$what: counters equal the tables");
	is($node->safe_psql('postgres', exceeded($USERS)), '', "$what: no limit is exceeded");
	is($node->safe_psql('postgres', 'SELECT pinned FROM quota.engine_stats'), '0',
		"$what: no counter is pinned");
	cmp_ok($told{refused}, '>', 0, "$what: limits were reached");
	return;
}

# Faults ---------------------------------------------------------------------------------

# pick_process(database, condition): the process id of one that meets a condition.
sub pick_process
{
	my ($database, $condition) = @_;
	my $pids;

	poll_until(
		sub {
			$pids = $database->selectcol_arrayref("SELECT pid FROM pg_stat_activity WHERE $condition ORDER BY pid");
			return @$pids > 0;
		}, undef, 1) or die "no process has $condition";
	return $pids->[ rand @$pids ];
}

# strike(database, what, whom): makes it happen, and starts the server again if it has to.
sub strike
{
	my ($database, $what, $whom) = @_;

	if ($what eq 'backend')
	{
		kill 'KILL', pick_process($database, "application_name LIKE '$whom%' AND state <> 'idle'");
	}
	elsif ($what eq 'point')
	{
		my @names = grep { /^$whom/ } sort keys %pids;

		kill 'USR2', $pids{ $names[ rand @names ] };
	}
	elsif ($what eq 'process')
	{
		kill 'KILL', pick_process($database, "backend_type = '$whom'");
	}
	elsif ($what =~ /(.*) shutdown/)
	{
		$node->stop($1);
		$node->start;
	}
	else
	{
		kill_server($node);
		if ($what =~ /again/)
		{
			start_server_in_background($node);
			usleep(rand 200_000);
			kill_server($node);
		}
		$node->start;
	}
	return;
}

# The clients of one round ----------------------------------------------------------------

sub start_clients
{
	my ($round, $point, $whom) = @_;
	my %plans = (
		(map { ("load_$_" => \&LedgerCalls::random_plan) } 1 .. $CLIENTS),
		definitions => \&LedgerCalls::definition_plan,
		upkeep      => \&LedgerCalls::upkeep_plan);
	my @names = sort keys %plans;
	my $pause = $PAUSES[ rand @PAUSES ];
	my $pause_us = int rand 3000;
	my %started;

	for my $index (0 .. $#names)
	{
		my $name = $names[$index];
		my %holds = map { ($_->{id} => $_) } grep { $_->{owner} eq $name } values %{ $expected{holds} };

		$started{$name} = LedgerClient::start(
			dsn     => 'dbi:Pg:dbname=postgres;host=' . $node->host . ';port=' . $node->port,
			journal => journal($name),
			name    => $name,
			seed    => $SEED + 100 * $round + $index,
			users   => [ map { 'u' . (1 + ($index + $CLIENTS * $_) % $USERS) } 0 .. $USERS / $CLIENTS - 1 ],
			holds   => \%holds,
			round   => $round,
			plan    => $plans{$name},
			pace_us => $name =~ /^load/ ? 0 : 30_000,
			setup   => [ "SET inject_commit.pause_us = $pause_us", "SET inject_commit.pause_at = $pause" ],
			defined $point ? (crash_at => $point, fate => exists $FATE{$point} && $whom ne 'upkeep') : ());
	}
	return %started;
}

sub play
{
	my ($round, $what, $whom, $point) = @_;
	my $name = join ' ', "round $round:", $what, grep { defined } $whom, $point;

	note($name);
	raise_limits();
	%pids = start_clients($round, $point, $whom);
	my $database = DBI->connect('dbi:Pg:dbname=postgres;host=' . $node->host . ';port=' . $node->port,
		'', '', { RaiseError => 1, PrintError => 0 });
	my $exceeded = $database->prepare(exceeded(2));
	my @wrong;

	wait_for_clients(
		'served',
		sub { return count_notes($_[0], 'done') >= 5; },
		sub {
			my $rows = eval { $exceeded->execute; $exceeded->fetchall_arrayref } // [];

			push @wrong, map { join ' ', 'exceeded:', map { $_ // '' } @$_ } @$rows;
		});
	usleep(rand 300_000);
	strike($database, $what, $whom);
	$_->{InactiveDestroy} = 1 for $exceeded, $database;
	wait_for_clients('served again',
		sub { return count_notes($_[0], 'lost') && count_notes($_[0], 'done', 'lost') >= 3; });
	kill 'USR1', values %pids;
	waitpid $_, 0 for values %pids;

	my @names = sort keys %pids;
	%pids = ();

	push @wrong, collect(@names);
	check($name, @wrong);
	is("@{ $told{fate} }", $FATE{$point}, "$name: the transaction that died is $FATE{$point}")
	  if $what eq 'point' && $whom ne 'upkeep' && $FATE{$point};
	note("$told{done} transactions, $told{refused} refusals, $told{failed} failed by what may happen; since the crash ",
		$node->safe_psql('postgres',
			q{SELECT format('%s counters loaded, %s evicted', counters_loaded, evictions) FROM quota.engine_stats}));
	return;
}

diag("$ROUNDS rounds; repeat their choices with CRASH_SEED=$SEED");
srand $SEED;
my @deck;
for my $round (1 .. $ROUNDS)
{
	if ($round % $SERIES == 1)
	{
		$node->stop if $node;
		start_server($round);
	}
	@deck = shuffle(@DECK) if !@deck;
	play($round, @{ shift @deck });
}
$node->stop;

done_testing();
