
# The primary dies under load; its synchronous standby takes over; the dead one is rewound
# and follows; then the new primary dies, and the first takes over again. Clients reconnect
# and repeat by their keys what they had no answer to. Proved each time, exactly:
#   1. the ledger is what the clients were told: nothing acknowledged is lost, nothing is
#      there twice, and nothing else is there
#   2. a limit that was reached before is kept, to the last call, and so is a new one
#   3. what the fold had rolled up is rolled up once, and it goes on where it was
#   4. counters on the new primary equal the tables, and what the ledger adds up to
# First with synchronous_commit = on, then remote_apply, where the standby knows at once
# what a client has been told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use DBI;
use IO::Handle;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use XavierQuota;

my $CLIENTS = 8;

my (%node, %conf, %pids);
my $round = 0;

END { kill 'KILL', values %pids; }

# Clients --------------------------------------------------------------------------------

# A client is a process that makes calls one after the other, and writes each answer into
# its journal. It connects to whichever server is the primary, as libpq does it.
sub journal
{
	my ($name, $of_round) = @_;
	return "$PostgreSQL::Test::Utils::tmp_check/journal_" . ($of_round // $round) . "_$name";
}

sub start_client
{
	my ($name, $work) = @_;
	my $pid = fork() // die "could not fork: $!";

	if ($pid)
	{
		$pids{$name} = $pid;
		return;
	}

	# A process of its own, which ends without the ends of the test.
	my $self = { name => $name, count => 0 };
	open $self->{journal}, '>', journal($name) or POSIX::_exit(1);
	$self->{journal}->autoflush(1);
	$SIG{USR1} = sub { $self->{stop} = 1; };
	eval { $work->($self) until $self->{stop}; 1 } or print { $self->{journal} } "wrong $@\n";
	POSIX::_exit(0);
}

sub stop_clients
{
	kill 'USR1', values %pids;
	waitpid $_, 0 for values %pids;
	%pids = ();
	return;
}

sub connect_client
{
	my ($self) = @_;
	my $end = time + 120;

	until ($self->{db} = DBI->connect(
			sprintf('dbi:Pg:dbname=postgres;host=%s,%s;port=%s,%s;target_session_attrs=read-write',
				map({ $_->host } @node{qw(a b)}), map({ $_->port } @node{qw(a b)})),
			'', '', { RaiseError => 1, PrintError => 0, PrintWarn => 0 }))
	{
		die "no connection: $DBI::errstr" if time > $end;
		usleep(20_000);
	}
	return;
}

# ask(client, sql, arguments): the answer. Repeats the call until there is one.
sub ask
{
	my ($self, $sql, @arguments) = @_;

	for (;;)
	{
		my $row = eval {
			connect_client($self) if !$self->{db};
			$self->{db}->selectrow_arrayref($sql, undef, @arguments);
		};
		return @$row if $row;

		my $error = $@;
		die $error if $self->{db} && $self->{db}->ping > 0;
		$self->{db} = undef;
		print { $self->{journal} } "lost\n";
	}
}

# told(client, facts): writes down what is a fact from now on.
sub told
{
	my ($self, @facts) = @_;
	print { $self->{journal} } join(' ', @facts), "\n";
	return;
}

my $RESERVE = q{SELECT v ->> 'allowed', v ->> 'hold_id' FROM quota.reserve_amount(?, ?, ?, ?) v};

# One turn of a client: a hold that is settled, released or left open; a charge; and a call
# where not all can be served.
sub make_calls
{
	my ($self) = @_;
	my ($user, $count) = ($self->{name}, ++$self->{count});
	my $key = "$round $user $count";
	my (undef, $hold) = ask($self, $RESERVE, $user, 'wide', 'credit=3,calls=1', "$key wide");

	told($self, 'open', $hold);
	if ($count % 3 == 0)
	{
		ask($self, q{SELECT quota.settle_amount(?, 'credit=1.25,calls=1')}, $hold);
		told($self, 'settled', $hold);
	}
	elsif ($count % 3 == 1)
	{
		ask($self, 'SELECT quota.release(?)', $hold);
		told($self, 'released', $hold);
	}
	($hold) = ask($self, q{SELECT quota.charge(?, 'wide', 'm1', '{"input_tokens": 1000}', ?) ->> 'hold_id'},
		$user, "$key charge");
	told($self, 'charge', $hold);

	(my $allowed, $hold) = ask($self, $RESERVE, $user, 'narrow', 'calls=1', "$key narrow");
	if ($allowed eq 'false')
	{
		told($self, 'refused');
		return;
	}
	told($self, 'open', $hold);
	ask($self, q{SELECT quota.settle_amount(?, 'calls=1')}, $hold);
	told($self, 'settled', $hold);
	return;
}

# Upkeep goes on all the while: its fold dies with the primary, too.
sub keep_up
{
	my ($self) = @_;

	eval {
		connect_client($self) if !$self->{db};
		$self->{db}->do('CALL quota.run_maintenance()');
		told($self, 'kept');
		1;
	} or do
	{
		my $error = $@;
		die $error if $self->{db} && $self->{db}->ping > 0;
		$self->{db} = undef;
	};
	usleep(20_000);
	return;
}

# wait_for_clients(pattern, names): until the journal of each has it.
sub wait_for_clients
{
	my ($pattern, @names) = @_;

	poll_until(
		sub {
			for my $name (@names)
			{
				my $journal = slurp_file(journal($name));

				die "client $name: $1" if $journal =~ /^(wrong.*)/m;
				return 0 if $journal !~ $pattern;
			}
			return 1;
		}) or die "clients wait in vain for $pattern";
	return;
}

# What is proved ---------------------------------------------------------------------------

my $NARROW = q{SELECT l.used, l.held, l."limit" FROM quota.admin_limits l
               WHERE l.scope = 'company:acme/project:narrow'};

# check(node, when, narrow): with no client at work, and so much used of the narrow limit.
sub check
{
	my ($node, $when, $narrow) = @_;
	my (%state, %balance, $lines);

	for my $journal (glob journal('*', '*'))
	{
		for (split /\n/, slurp_file($journal))
		{
			my ($state, $hold) = split / /;

			$state{$hold} = $state if defined $hold;
		}
	}
	$balance{"$_ $state{$_}"}++ for keys %state;
	$balance{$_}-- for split /\n/, $node->safe_psql(
		'postgres', q{
SELECT hold_id || ' open' FROM quota.holds UNION ALL SELECT hold_id || ' ' || kind FROM quota.events});
	is(join("\n", map { "$balance{$_}: $_" } grep { $balance{$_} } sort keys %balance),
		'', sprintf '%s: of %d holds and charges, the ledger has all that clients were told, once, and no other',
		$when, scalar keys %state);
	is($node->safe_psql('postgres', $NARROW),
		"$narrow|0|$narrow", "$when: the narrow limit was reached, and not exceeded");
	is( $node->safe_psql(
			'postgres', q{
SELECT u.resource, sum(u.used) = (
    SELECT sum(e.charged OPERATOR(quota.->) u.resource) FROM quota.events e JOIN quota.fold_marks m USING (root_id, origin)
    WHERE e.xid < m.mark)
FROM quota.usage_hourly u WHERE u.leaf GROUP BY u.resource ORDER BY 1}),
		"calls|t\ncredit|t", "$when: the roll-up has each event that is folded, once");
	is( $node->safe_psql(
			'postgres', q{SELECT DISTINCT origin = (SELECT system_identifier FROM pg_control_system())
                          FROM quota.events}),
		't', "$when: all events are of this cluster");
	is(differences($node), '', "$when: counters in memory equal the tables");
	is(mismatches($node), '', "$when: and what the rows of the ledger add up to");
	is($node->safe_psql('postgres', 'SELECT pinned FROM quota.engine_stats'),
		0, "$when: no counter is pinned");
	return;
}

# Servers ----------------------------------------------------------------------------------

# replicate(primary, standby, commit): has the primary wait for the standby from now on.
sub replicate
{
	my ($primary, $standby, $commit) = @_;

	$primary->safe_psql('postgres',
		    "ALTER SYSTEM SET synchronous_standby_names = '" . $standby->name . "';"
		  . "ALTER SYSTEM SET synchronous_commit = $commit; SELECT pg_reload_conf()");
	$primary->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'})
	  or die 'the standby is not synchronous';
	return;
}

# knows_at_once(primary, standby): that the standby knows of a call as soon as its caller.
sub knows_at_once
{
	my ($primary, $standby) = @_;
	my ($there, $here) = map { open_session($_) } $primary, $standby;
	my @states;

	open my $journal, '>', journal('sessions') or die;
	for (1 .. 20)
	{
		my $hold = $there->query(q{SELECT quota.reserve_amount('1', 'wide', 'credit=1') ->> 'hold_id'});
		my $open = $here->query("SELECT quota.hold('$hold') ->> 'state'");

		$there->query("SELECT quota.release('$hold')");
		push @states, "$open, " . $here->query("SELECT quota.hold('$hold') ->> 'state'");
		print $journal "released $hold\n";
	}
	is_deeply(\@states, [ ('open, released') x 20 ], 'the standby knows at once what a client is told');
	close $journal;
	$_->close for $here, $there;
	return;
}

# rejoin(lost, primary): makes a standby of a primary that was lost, by pg_rewind, which
# also copies the settings of the other server.
sub rejoin
{
	my ($lost, $primary) = @_;

	# The new timeline has to be on disk before it can be found.
	$primary->safe_psql('postgres', 'CHECKPOINT');
	command_ok(
		[
			'pg_rewind', '-D', $lost->data_dir, '--no-sync',
			'--source-server', $primary->connstr('postgres')
		],
		'the lost primary ' . $lost->name . ' is rewound');
	unlink $lost->data_dir . '/postgresql.auto.conf', $lost->data_dir . '/postgresql.conf';
	$lost->append_conf('postgresql.conf', $conf{ $lost->name });
	$lost->enable_streaming($primary);
	$lost->start;
	return;
}

sub keep_conf
{
	my ($node) = @_;

	$conf{ $node->name } = slurp_file($node->data_dir . '/postgresql.conf');
	return;
}

$node{a} = new_server('a', settings => "wal_log_hints = on\nwal_keep_size = 512MB\n",
	init => { allows_streaming => 1 });
install_checks($node{a});
$node{a}->safe_psql(
	'postgres', qq{
\\o /dev/null
SELECT quota.set_rate_card('m1', '{"lines": [{"meter": "input_tokens", "price": "0.000001"}]}');
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:wide'),
       quota.put_account('company:acme/project:narrow');
SELECT quota.put_member('company:acme', i::text) FROM generate_series(1, $CLIENTS) i;
SELECT quota.set_limit('company:acme', 'credit', 1000000);
SELECT quota.set_limit('company:acme/user:*', 'credit', 100000);
SELECT quota.set_limit('company:acme/project:narrow', 'calls', 100, 'lifetime');
});
keep_conf($node{a});
$node{a}->backup('copy');
$node{b} = PostgreSQL::Test::Cluster->new('b');
$node{b}->init_from_backup($node{a}, 'copy', has_streaming => 1);
keep_conf($node{b});
$node{b}->start;

my $narrow = 100;
for my $commit ('on', 'remote_apply')
{
	my ($primary, $standby) = ++$round == 1 ? @node{qw(a b)} : @node{qw(b a)};
	my $when = "synchronous_commit = $commit";

	replicate($primary, $standby, $commit);
	start_client($_, \&make_calls) for 1 .. $CLIENTS;
	start_client('upkeep', \&keep_up);
	wait_for_clients(qr/^refused\n/m, 1 .. $CLIENTS);
	wait_for_clients(qr/^kept\n/m, 'upkeep');
	knows_at_once($primary, $standby) if $commit eq 'remote_apply';
	kill_server($primary);
	$standby->promote;

	# What was reached is reached still; then it is raised, and reached again.
	wait_for_clients(qr/^lost\n.*^refused\n/ms, 1 .. $CLIENTS);
	$narrow += 100;
	$standby->safe_psql('postgres',
		"SELECT quota.set_limit('company:acme/project:narrow', 'calls', $narrow, 'lifetime')");
	$standby->poll_query_until('postgres', $NARROW, "$narrow|0|$narrow")
	  or die 'the narrow limit is not reached';
	stop_clients();
	check($standby, "$when, promoted", $narrow);

	rejoin($primary, $standby);
	$standby->wait_for_catchup($primary);
	is($primary->safe_psql('postgres', $NARROW),
		"$narrow|0|$narrow", "$when: as a standby, it knows what has been used since");
	is(mismatches($primary), '', "$when: its limits are what the rows of its ledger add up to");
}

# All that is left is rolled up, and nothing changes by it.
$node{a}->safe_psql('postgres', 'CALL quota.run_maintenance(); SELECT quota.reload()');
is( $node{a}->safe_psql(
		'postgres', q{SELECT count(*) FROM quota.events e LEFT JOIN quota.fold_marks m USING (root_id, origin)
                      WHERE e.xid >= coalesce(m.mark, '0')}),
	0, 'after two promotions, every event is rolled up');
check($node{a}, 'after two promotions, rolled up', $narrow);

done_testing();
