
# LedgerCalls: the calls that a random client makes. For each: what it sends, and what its
# answer says is in the ledger from then on, computed here from the arguments alone.
#
# There are two companies. In company:exact nothing ever costs more than was held, so no
# hard limit may ever be exceeded. In company:any everything happens.
#
# A call is a hash:
#   text, bind   the SQL, and its parameters (behind the hold's id, if there is a hold)
#   hold         the name of the hold that it needs
#   name, opens  the name of the hold that it makes, within the transaction, and what it is
#   repeatable   whether a repetition says that it is one: it has a key, or closes a hold
#   sqlstate     the error that it must end in
#   mark         of a savepoint: savepoint, rollback to, release
#   means        code(client, transaction, row): the effects of the answer
#
# An effect is a list: a line of the client's journal.
#   open    id company user model|amount short credit in_flight    quota.holds has this row
#   amount  id credit in_flight                                    from now on with this amount
#   event   id seq kind held charged                               quota.events has this row
#   key     key id                                                 quota.keys has this row
#   limit   scope resource period amount|dropped                   quota.limits has this row
#
# Credits are counted in thousandths, as whole numbers.

package LedgerCalls;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(amount_text witness);

# credits(thousandths): as the type amount prints them.
sub credits
{
	my ($thousandths) = @_;
	my $text = sprintf '%s%d.%03d', $thousandths < 0 ? '-' : '', int(abs($thousandths) / 1000),
	  abs($thousandths) % 1000;

	return $text =~ s/\.?0+$//r;
}

# amount_text(credit, in_flight): one call, so many credits.
sub amount_text
{
	my ($credit, $in_flight) = @_;
	return 'calls=1,credit=' . credits($credit) . ($in_flight ? ',in_flight=1' : '');
}

# Columns of verdicts and of receipts.
my $VERDICT = q{v ->> 'allowed' AS allowed, v ->> 'replayed' AS replayed, v ->> 'hold_id' AS hold_id,
    (v -> 'estimate' -> 'amount')::quota.amount::text AS amount, s.least, s.failed
FROM quota.%s AS v, LATERAL (
    SELECT min((l ->> 'remaining_after')::numeric) AS least, count(*) FILTER (WHERE l ->> 'passed' = 'false') AS failed
    FROM jsonb_array_elements(v -> 'levels') AS l) AS s};
my $RECEIPT = q{r ->> 'state' AS state, r ->> 'replayed' AS replayed, r ->> 'late' AS late,
    r ->> 'hold_id' AS hold_id, (r -> 'charged')::quota.amount::text AS charged FROM quota.%s AS r};

sub verdict_of { return 'SELECT ' . sprintf $VERDICT, $_[0]; }
sub receipt_of { return 'SELECT ' . sprintf $RECEIPT, $_[0]; }

# A request of so many tokens costs input + 2 * output thousandths of a credit.
sub tokens
{
	my ($input, $output, $output_name) = @_;
	return (qq({"input_tokens": $input, "$output_name": $output}), $input + 2 * $output);
}

my $names = 0;

# Reserve: with a model, or as an amount.
sub reserve
{
	my ($client, $company, $key, $excessive) = @_;
	my %hold = (
		company   => $company,
		user      => $client->random_user,
		kind      => rand() < 0.5 ? 'model' : 'amount',
		short     => $company eq 'any' && rand() < 0.15 ? 1 : 0,
		in_flight => 0);
	my $ttl = $hold{short} ? '1 second' : '1 hour';
	my $name = 'new ' . ++$names;
	my ($text, @bind);

	if ($hold{kind} eq 'model')
	{
		(my $request, $hold{credit}) = tokens(500 * int rand 8, 250 * (1 + int rand 8), 'max_output_tokens');
		$text = q{reserve(?, ?, 'writer', ?::jsonb, idempotency_key => ?, ttl => ?::interval)};
		@bind = ($hold{user}, $company, $request, $key, $ttl);
	}
	else
	{
		$hold{credit} = $excessive ? 1_000_000_000_000 : 500 * (1 + int rand 16);
		$hold{in_flight} = $company eq 'exact' ? 1 : 0;
		$text = q{reserve_amount(?, ?, ?::quota.amount, idempotency_key => ?, ttl => ?::interval)};
		@bind = ($hold{user}, $company, amount_text(@hold{qw(credit in_flight)}), $key, $ttl);
	}
	return {
		text       => verdict_of($text),
		bind       => \@bind,
		name       => $name,
		opens      => \%hold,
		repeatable => defined $key,
		means      => sub {
			my ($client, $transaction, $row) = @_;

			if ($row->{allowed} ne 'true')
			{
				$client->note('refused');
				$client->expect('levels that fail of a refusal', $row->{failed} > 0, 1);
				return;
			}
			$client->expect('held', $row->{amount}, amount_text(@hold{qw(credit in_flight)}));
			$client->expect("room left ($row->{least})", $row->{least} >= 0, 1)
			  if $row->{replayed} eq 'false';
			$transaction->{holds}{$name} = { %hold, id => $row->{hold_id} };
			return (
				[ 'open', $row->{hold_id}, @hold{qw(company user kind short credit in_flight)} ],
				defined $key ? [ 'key', $key, $row->{hold_id} ] : ());
		},
	};
}

# Extend: to more tokens, or by time alone.
sub extend
{
	my ($name, $hold) = @_;
	my ($text, @bind, $credit);

	if ($hold->{kind} eq 'model')
	{
		(my $request, $credit) = tokens(500 * int rand 8, 250 * (1 + int rand 16), 'max_output_tokens');
		$text = 'extend(?, ?::jsonb)';
		@bind = ($request);
	}
	else
	{
		$text = q{extend(?, ttl => '2 hours')};
		$credit = 0;
	}
	return {
		text  => verdict_of($text),
		bind  => \@bind,
		hold  => $name,
		means => sub {
			my ($client, $transaction, $row) = @_;
			my $held = $transaction->{holds}{$name};

			if ($row->{allowed} ne 'true')
			{
				$client->note('refused');
				return;
			}
			$client->expect('cost of an extension', $row->{amount}, amount_text($credit))
			  if $hold->{kind} eq 'model';
			$held = { %$held, credit => $credit } if $credit > $held->{credit};
			$transaction->{holds}{$name} = $held;
			return [ 'amount', @$held{qw(id credit in_flight)} ];
		},
	};
}

# The effects of the answer to a settle or a release; charged is '' for a release.
sub closed
{
	my ($client, $transaction, $name, $row, $charged) = @_;
	my $hold = $transaction->{holds}{$name};
	my $held = amount_text(@$hold{qw(credit in_flight)});
	my @expired = ([ 'event', $hold->{id}, 1, 'expired', $held, '' ]);

	# A hold with a short life may have expired before.
	$client->expect('end of a hold that cannot have expired', "$row->{state} $row->{late}",
		$charged eq '' ? 'released false' : 'settled false')
	  if !$hold->{short};
	$client->expect('hold', $row->{hold_id}, $hold->{id});
	$client->expect('charged', $row->{charged}, $charged);
	$transaction->{holds}{$name} = { %$hold, closed => 1 };
	return @expired, [ 'event', $hold->{id}, 2, 'late', '', $charged ] if $row->{late} eq 'true';
	return @expired if $row->{state} eq 'expired';
	return [ 'event', $hold->{id}, 1, $row->{state}, $held, $charged ];
}

# Settle: in company:exact a little; else anything, also more than was held.
sub settle
{
	my ($name, $hold) = @_;
	my ($text, @bind, $credit);

	if ($hold->{kind} eq 'model')
	{
		(my $usage, $credit) =
		  $hold->{company} eq 'exact'
		  ? tokens(1 + int rand 50, int rand 25, 'output_tokens')
		  : tokens(int rand 4000, 1 + int rand 4000, 'output_tokens');
		$text = 'settle(?, ?::jsonb)';
		@bind = ($usage);
	}
	else
	{
		$credit = 1 + int rand($hold->{company} eq 'exact' ? 100 : 12_000);
		$text = 'settle_amount(?, ?::quota.amount)';
		@bind = (amount_text($credit));
	}
	return {
		text       => receipt_of($text),
		bind       => \@bind,
		hold       => $name,
		repeatable => 1,
		means      => sub { return closed(@_[ 0, 1 ], $name, $_[2], amount_text($credit)); },
	};
}

sub release
{
	my ($name) = @_;
	return {
		text       => receipt_of('release(?)'),
		bind       => [],
		hold       => $name,
		repeatable => 1,
		means      => sub { return closed(@_[ 0, 1 ], $name, $_[2], ''); },
	};
}

# A fact: charge or adjust, with what it must say it has charged.
sub fact
{
	my ($kind, $call, $charged, $key, @bind) = @_;
	return {
		text       => receipt_of($call),
		bind       => [ @bind, $key ],
		repeatable => defined $key,
		means      => sub {
			my ($client, $transaction, $row) = @_;

			$client->expect("charged by $kind", $row->{charged}, $charged);
			return ([ 'event', $row->{hold_id}, 1, $kind, '', $charged ],
				defined $key ? [ 'key', $key, $row->{hold_id} ] : ());
		},
	};
}

sub charge
{
	my ($client, $key) = @_;
	my ($usage, $credit) = tokens(int rand 2000, 1 + int rand 1000, 'output_tokens');

	return fact('charge', q{charge(?, 'any', 'writer', ?::jsonb, ?)},
		amount_text($credit), $key, $client->random_user, $usage);
}

sub adjust
{
	my ($client, $key) = @_;
	my $credit = (1 + int rand 3000) * (rand() < 0.5 ? -1 : 1);
	my $amount = 'credit=' . credits($credit);

	return fact('adjustment', q{adjust(?::quota.scope, ?::quota.amount, 'by hand', ?)},
		$amount, $key, 'company:any/project:any/user:' . $client->random_user, $amount);
}

# witness(client): a call whose repetition tells whether it was committed.
sub witness
{
	my ($client) = @_;
	return adjust($client, $client->new_key);
}

# Calls that are errors, and leave nothing.
sub mistake
{
	my ($client) = @_;
	my $user = $client->random_user;
	my @mistakes = (
		[ 'XQ002', q{SELECT quota.reserve_amount(?, 'nowhere', 'credit=1')}, $user ],
		[ 'XQ004', q{SELECT quota.release('00000000-0000-8000-8000-000000000000')} ],
		[ 'XQ006', q{SELECT quota.reserve_amount(?, 'any', 'no_such_thing=1')}, $user ],
		[ '22012', q{SELECT 1 / (0 * length(quota.reserve_amount(?, 'any', 'credit=1')::text))}, $user ]);

	push @mistakes,
	  [ 'XQ103', q{SELECT quota.reserve_amount(?, 'any', 'credit=0.123', ?)}, $user, $client->{last_key} ]
	  if $client->{last_key};
	push @mistakes, [ 'XQ101', q{SELECT quota.release(?)}, $client->{last_settled} ]
	  if $client->{last_settled};

	my ($sqlstate, $text, @bind) = @{ $mistakes[ rand @mistakes ] };
	return { text => $text, bind => \@bind, sqlstate => $sqlstate };
}

# A random call. holds: name -> hold, those that it may take; one that it closes it takes out.
sub random_call
{
	my ($client, $holds, $keyed) = @_;
	my $key = $keyed ? $client->new_key : undef;
	my $company = rand() < 0.6 ? 'exact' : 'any';
	my @names = sort keys %$holds;
	my $dice = rand();

	return charge($client, $key) if $dice < 0.06;
	return adjust($client, $key) if $dice < 0.12;
	return reserve($client, 'exact', $key, 1) if $dice < 0.13;
	return reserve($client, $company, $key) if !@names || $dice < (@names > 6 ? 0.25 : 0.55);

	my $name = $names[ rand @names ];
	my $hold = $holds->{$name};

	return extend($name, $hold) if $dice < 0.68 && !$hold->{short};
	delete $holds->{$name};
	return $dice < 0.78 ? release($name) : settle($name, $hold);
}

# The calls of a transaction, with savepoints around some of them.
sub random_calls
{
	my ($client, $holds) = @_;
	my @calls;
	my $depth = 0;
	my $savepoint = sub { return mark('savepoint', 'SAVEPOINT s' . ++$depth); };
	my $undo = sub { return mark('rollback to', "ROLLBACK TO s$depth"), mark('release', 'RELEASE s' . $depth--); };

	for (1 .. 2 + int rand 5)
	{
		my $dice = rand();

		push @calls, $savepoint->(), mistake($client), $undo->() if $dice < 0.05;
		push @calls, $savepoint->() if $dice > 0.7;

		my $call = random_call($client, $holds, rand() < 0.6);
		push @calls, $call;
		$holds->{ $call->{name} } = $call->{opens} if $call->{opens};

		next if $depth == 0;
		push @calls, $undo->() if $dice < 0.2;
		push @calls, mark('release', 'RELEASE s' . $depth--) if $dice >= 0.2 && $dice < 0.4;
	}
	return @calls;
}

# A savepoint, and its ends.
sub mark
{
	my ($mark, $text) = @_;
	return { text => $text, mark => $mark };
}

# random_plan(client): the calls of one transaction. begin is its first statement, empty if it
# is one call without a transaction around it; end is its last one.
sub random_plan
{
	my ($client) = @_;
	my %holds = %{ $client->{holds} };

	return single(rand() < 0.04 ? mistake($client) : random_call($client, \%holds, 1))
	  if rand() < 0.65;
	return {
		begin => rand() < 0.15 ? 'BEGIN ISOLATION LEVEL REPEATABLE READ' : 'BEGIN',
		end   => rand() < 0.85 ? 'COMMIT' : 'ROLLBACK',
		calls => [ random_calls($client, \%holds) ],
	};
}

sub single { return { begin => '', end => '', calls => [ $_[0] ] }; }

# definition_plan(client): a change of definitions, by itself or beside a call: of how much,
# of what is counted below one company, or of what is counted anywhere.
sub definition_plan
{
	my ($client) = @_;
	my ($scope, $resource, $period, $stays) = @{
		(   [ 'company:any', 'credit', 'month', 1 ],
			[ 'company:any/project:any', 'credit', 'day' ],
			# In place of what every user has, and back again.
			[ 'company:any/user:u1', 'credit', 'month' ],
			[ 'company:exact', 'calls', 'lifetime' ],
			[ 'company:exact/user:*', 'calls', 'month' ])[ rand 5 ] };
	my $amount = 1_000_000 + int rand 1_000_000;
	my $call = {
		text  => 'SELECT quota.set_limit(?::quota.scope, ?, ?::numeric, ?::quota.period)',
		bind  => [ $scope, $resource, $amount, $period ],
		means => sub { return [ 'limit', $scope, $resource, $period, $amount ]; },
	};

	$call = {
		text => q{SELECT quota.drop_limit(l.limit_id) FROM quota.limits AS l
WHERE l.scope::text = ? AND l.resource = ? AND l.period::text = ?},
		bind  => [ $scope, $resource, $period ],
		means => sub { return [ 'limit', $scope, $resource, $period, 'dropped' ]; },
	} if !$stays && rand() < 0.5;
	$call = {
		text => q{SELECT quota.put_plan('gold', ?::jsonb)},
		bind => [ sprintf '[{"resource": "%s", "amount": %d}]', rand() < 0.5 ? 'storage' : 'credit', $amount ],
	} if rand() < 0.1;

	return single($call) if rand() < 0.5;
	return {
		begin => 'BEGIN',
		end   => rand() < 0.8 ? 'COMMIT' : 'ROLLBACK',
		calls => [ rand() < 0.5 ? ($call, witness($client)) : (witness($client), $call) ],
	};
}

# upkeep_plan(client): upkeep of one kind or another.
sub upkeep_plan
{
	my @statements = ((q{CALL quota.run_maintenance()}) x 6, 'CHECKPOINT', q{SELECT quota.reload('company:any')});
	return single({ text => $statements[ rand @statements ], bind => [] });
}

1;
