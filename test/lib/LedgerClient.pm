
# LedgerClient: a client that makes random calls, survives the loss of its connection, and
# knows exactly what it was told.
#
# It is a process with a connection and a journal: a file in which it writes what has
# happened to it, so that whoever started it can add up what must be in the ledger.
#
#   + EFFECT           what an acknowledged transaction has done (see LedgerCalls)
#   done               a transaction has ended, whichever way
#   refused            a limit has said no
#   failed SQLSTATE    a transaction was undone by an error that may happen
#   armed POINT        this connection will die at that point
#   lost               the connection has gone
#   fate TEXT          what became of the transaction in which it was lost: committed, undone
#   wrong TEXT         a promise was broken
#
# What it does not know, it asks by repeating: a single call as it is; a transaction by one
# call of it that says whether it was made before. All of a transaction is there, or nothing.

package LedgerClient;

use strict;
use warnings;

use DBI;
use IO::Handle;
use POSIX ();
use Time::HiRes qw(usleep);

use LedgerCalls qw(witness);

# Serialization, deadlock, lock not available, no room for counters: try again.
my %MAY_HAPPEN = map { $_ => 1 } qw(40001 40P01 55P03 53200);

my $PATIENCE_SECONDS = 180;

# start(options): forks a client, which works until it gets SIGUSR1. Returns its process id.
#   dsn        of DBI              journal    path of the file
#   name, round  of its connection and keys   seed    of its choices
#   users      whom it works for   holds      id -> hold: open ones that it may take
#   plan       code that makes transactions   setup   statements for each connection
#   crash_at   a point of inject_commit, at which it dies after SIGUSR2
#   pace_us    how long it may rest after each transaction
#   fate       whether it shall find out what becomes of the transaction in which it dies
sub start
{
	my (%options) = @_;
	my $pid = fork() // die "could not fork: $!";

	return $pid if $pid;

	# A process of its own, which ends without the ends of the test.
	my $self = bless { %options, keys => 0 }, 'LedgerClient';
	open $self->{file}, '>', $self->{journal} or POSIX::_exit(1);
	$self->{file}->autoflush(1);
	srand $self->{seed};
	$SIG{USR1} = sub { $self->{stop} = 1; };
	$SIG{USR2} = sub { $self->{strike} = 1; };
	eval { $self->work; 1 } or $self->note("wrong client died: $@");
	POSIX::_exit(0);
}

sub note
{
	my ($self, $text) = @_;
	$text =~ s/\s+/ /g if $text !~ /^\+/;
	print { $self->{file} } "$text\n";
	return;
}

# expect(what, got, wanted)
sub expect
{
	my ($self, $what, $got, $wanted) = @_;
	$self->note("wrong $what: \"$got\", not \"$wanted\"") if $got ne $wanted;
	return;
}

sub new_key
{
	my ($self) = @_;
	return join ' ', @$self{qw(name round)}, ++$self->{keys};
}

sub random_user
{
	my ($self) = @_;
	return $self->{users}[ rand @{ $self->{users} } ];
}

sub work
{
	my ($self) = @_;

	$self->connect;
	until ($self->{stop})
	{
		if ($self->{strike})
		{
			$self->{strike} = 0;
			$self->{armed} = 1;
			$self->note("armed $self->{crash_at}");
			eval { $self->{db}->do("SET inject_commit.crash_at = $self->{crash_at}") };
		}

		my $plan = $self->{plan}->($self);
		if ($self->{armed} && $self->{fate} && !$plan->{calls}[0]{sqlstate})
		{
			unshift @{ $plan->{calls} }, witness($self);
			@$plan{qw(begin end)} = ('BEGIN', 'COMMIT') if $plan->{begin} eq '';
		}
		$self->carry_out($plan);
		$self->note('done');
		usleep(rand $self->{pace_us}) if $self->{pace_us};
	}
	$self->{db}->disconnect;
	return;
}

sub connect
{
	my ($self) = @_;
	my $end = time + $PATIENCE_SECONDS;

	# Statements of a connection that has gone cannot be closed, and need not be.
	$_->{RaiseError} = 0 for $self->{db} ? values %{ $self->{db}{CachedKids} } : ();

	until (eval { $self->{db} = DBI->connect($self->{dsn} . ";application_name=$self->{name}",
			'', '', { RaiseError => 1, PrintError => 0, PrintWarn => 0 }) })
	{
		die "no connection: $DBI::errstr" if time > $end;
		usleep(20_000);
	}
	return $self->connect if !eval { $self->{db}->do($_) for @{ $self->{setup} }; 1 };
	$self->{lost} = $self->{armed} = 0;
	return;
}

# ask(call, id): the row that a call returns; id is that of its hold.
sub ask
{
	my ($self, $call, $id) = @_;
	my $statement = $self->{db}->prepare_cached($call->{text}, undef, 3);

	$statement->execute(defined $id ? $id : (), @{ $call->{bind} });
	my $row = $statement->{NUM_OF_FIELDS} ? $statement->fetchrow_hashref : undef;
	$statement->finish;
	return $row;
}

# make_call(call, transaction): adds what it does to the effects of the transaction.
sub make_call
{
	my ($self, $call, $transaction) = @_;
	my $hold;

	if (defined $call->{hold})
	{
		# What should have made the hold was refused, or undone with its savepoint.
		$hold = $transaction->{holds}{ $call->{hold} };
		return if !$hold || $hold->{closed};
	}
	my $row = $self->ask($call, $hold && $hold->{id});

	$self->expect('SQLSTATE', '00000', $call->{sqlstate}) if $call->{sqlstate};
	return if !$call->{means};

	my @effects = $call->{means}->($self, $transaction, $row);
	push @{ $transaction->{done} },
	  { call => $call, id => $hold && $hold->{id}, row => $row, effects => \@effects }
	  if @effects;
	return;
}

# take_mark(call, transaction): sets a savepoint, or goes back to it.
sub take_mark
{
	my ($self, $call, $transaction) = @_;
	my $savepoints = $transaction->{savepoints};

	$self->{db}->do($call->{text});
	if ($call->{mark} eq 'savepoint')
	{
		push @$savepoints, [ { %{ $transaction->{holds} } }, scalar @{ $transaction->{done} } ];
	}
	elsif ($call->{mark} eq 'rollback to')
	{
		my ($holds, $count) = @{ $savepoints->[-1] };

		$transaction->{holds} = {%$holds};
		splice @{ $transaction->{done} }, $count;
	}
	else
	{
		pop @$savepoints;
	}
	return;
}

# After an error: whether it is the one that the call must end in.
sub is_mistake
{
	my ($self, $call) = @_;
	return $call->{sqlstate} && $self->{db}->state eq $call->{sqlstate};
}

# attempt(plan): carries it out once. Returns its transaction, of which state is
#   committed, undone     this is known
#   unknown               the connection was lost when it may have been committed
sub attempt
{
	my ($self, $plan) = @_;
	my $transaction = {
		holds      => { %{ $self->{holds} } },
		done       => [],
		savepoints => [],
		state      => $plan->{begin} eq '' ? 'unknown' : 'undone',
	};
	my $call;

	my $complete = eval {
		$self->{db}->do($plan->{begin}) if $plan->{begin};
		for (@{ $plan->{calls} })
		{
			$call = $_;
			if ($call->{mark})
			{
				$self->take_mark($call, $transaction);
				next;
			}
			next if eval { $self->make_call($call, $transaction); 1 };
			die $@ if $plan->{begin} eq '' || !$self->is_mistake($call);
		}
		if ($plan->{end} eq 'COMMIT')
		{
			$self->make_call(witness($self), $transaction)
			  if @{ $transaction->{done} } && !teller($transaction);
			$transaction->{state} = 'unknown';
		}
		$self->end($plan->{end}) if $plan->{end};
		1;
	};
	if ($complete)
	{
		$transaction->{state} = $plan->{end} eq 'ROLLBACK' ? 'undone' : 'committed';
		return $transaction;
	}

	my ($sqlstate, $message) = ($self->{db}->state, $@);
	return $transaction if $self->has_lost_connection;

	$transaction->{state} = 'undone';
	if ($MAY_HAPPEN{$sqlstate})
	{
		$self->note("failed $sqlstate");
	}
	elsif (!$self->is_mistake($call))
	{
		$self->note("wrong error $sqlstate: $message");
	}
	eval { $self->{db}->do('ROLLBACK') } if $plan->{begin};
	return $transaction;
}

# end(text): COMMIT or ROLLBACK. The end of a transaction that has failed is called ROLLBACK
# by the server, whatever was asked for.
sub end
{
	my ($self, $text) = @_;
	my $statement = $self->{db}->prepare($text, { pg_server_prepare => 0 });

	$statement->execute;
	$self->expect('end of a transaction', $statement->{pg_cmd_status}, $text);
	return;
}

# After an error: whether it was the last one of the connection.
sub has_lost_connection
{
	my ($self) = @_;

	$self->{lost} = 1 if $self->{db}->ping <= 0;
	return $self->{lost};
}

# teller(transaction): the first call of it whose repetition tells whether it was committed. A
# release that found the hold past its time does not: it may have expired since by itself.
sub teller
{
	my ($transaction) = @_;
	my ($first) = grep {
			 $_->{call}{repeatable}
		  && $_->{row}{replayed} eq 'false'
		  && ($_->{row}{state} // '') ne 'expired'
	} @{ $transaction->{done} };

	return $first;
}

# asks_whether_done(transaction): whether a transaction was committed, by a call of it.
# Returns nothing if no call of it can say, since none has done anything.
sub asks_whether_done
{
	my ($self, $transaction) = @_;
	my $first = teller($transaction);
	my $row;

	return if !$first;
	$self->{db}->do('BEGIN');
	eval { $row = $self->ask($first->{call}, $first->{id}); 1 } or do
	{
		die $@ if $self->has_lost_connection;
		# A hold that was made and closed by it, and is not there.
		$self->expect('SQLSTATE of what was not done', $self->{db}->state, 'XQ004');
	};
	$self->{db}->do('ROLLBACK');

	# A release that was undone is no repetition if the hold has expired since.
	return $row && $row->{replayed} eq 'true' && ($row->{state} // '') eq ($first->{row}{state} // '')
	  ? 1
	  : 0;
}

# confirm(transaction): repeats what a committed transaction has done; the answers are the
# first ones.
sub confirm
{
	my ($self, $transaction) = @_;

	for my $done (grep { $_->{call}{repeatable} } @{ $transaction->{done} })
	{
		my $row = $self->ask($done->{call}, $done->{id});

		for my $column ('replayed', 'hold_id', 'charged')
		{
			next if !defined $done->{row}{$column};
			$self->expect("$column of a repetition",
				$row->{$column}, $column eq 'replayed' ? 'true' : $done->{row}{$column});
		}
	}
	return;
}

# carry_out(plan): until it is known what has become of it.
sub carry_out
{
	my ($self, $plan) = @_;
	my $transaction = $self->attempt($plan);

	while ($self->{lost})
	{
		$self->note('lost');
		$self->connect;
		next if $transaction->{state} ne 'unknown';
		eval { $transaction = $self->find_out($plan, $transaction); 1 }
		  or $self->has_lost_connection
		  or die $@;
	}
	$self->accept($transaction) if $transaction->{state} eq 'committed';
	return;
}

# find_out(plan, transaction): what has become of it; makes its calls again if it was undone.
sub find_out
{
	my ($self, $plan, $transaction) = @_;

	if ($plan->{begin} ne '')
	{
		my $done = $self->asks_whether_done($transaction);

		if (defined $done)
		{
			$self->note('fate ' . ($done ? 'committed' : 'undone'));
			if ($done)
			{
				$self->confirm($transaction);
				$transaction->{state} = 'committed';
				return $transaction;
			}
		}
	}
	return $self->attempt($plan);
}

# accept(transaction): what a committed transaction has done is a fact from now on.
sub accept
{
	my ($self, $transaction) = @_;
	my $text = '';

	for my $done (@{ $transaction->{done} })
	{
		$text .= join("\t", '+', @$_) . "\n" for @{ $done->{effects} };
		for my $effect (@{ $done->{effects} })
		{
			$self->{last_settled} = $effect->[1] if $effect->[0] eq 'event' && $effect->[3] eq 'settled';
			$self->{last_key} = $effect->[1] if $effect->[0] eq 'key' && !$done->{call}{opens};
		}
	}
	for my $name (keys %{ $transaction->{holds} })
	{
		my $hold = $transaction->{holds}{$name};

		delete $self->{holds}{$name};
		$self->{holds}{ $hold->{id} } = $hold if !$hold->{closed};
	}
	chomp $text;
	$self->note($text) if $text ne '';
	return;
}

1;
