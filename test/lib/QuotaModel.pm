
# QuotaModel: what limits, grants and the ledger say at an instant, computed anew for each
# question from a plain list of rows, by the rules of the documentation and nothing else. It
# shares no code with the extension: it is slow, and meant to be obviously right.
#
# All amounts are whole millionths, all instants those of QuotaCalendar. A model has one root.
#
# A row of the ledger:
#   scope, user   account and user (or undef) of the row
#   at            instant in which it counts: when its hold was made
#   state         open, settled, released, expired; a charge, an adjustment and a late charge
#                 are settled from the beginning
#   held, charged amounts, by resource
#   expires       of a hold
#   corrected     it has been less, or more, than it is now; or came after a later one
#
# A limit:
#   id, scope, resource, period, policy, amount, overdraft, prorated_at, prorated_amount,
#   rollover, rollover_periods, carry_overage
#   plan          its name, if the limit is one of a plan (which has no scope)
#   terms         what it has been, in the order in which it was defined: set_at and the
#                 fields from amount on
#   dropped_at    of one that is no more, in past_limits
#
# A grant: id, scope (its level), limit (id), amount, priority, effective, expires, voided,
# rollover (or undef), created (a number in the order of creation)

package QuotaModel;

use strict;
use warnings;

use List::Util qw(max min);
use Math::BigInt;
use QuotaCalendar qw(HOUR BEFORE_ALL AFTER_ALL divide_down divide_up period_bounds window_bucket window_buckets);
use Storable ();

# So many boundaries are looked at to say when a request may be repeated.
my $BOUNDARIES = 64;

my @TERMS = qw(amount prorated_at prorated_amount rollover rollover_periods carry_overage);

sub new
{
	my ($class, $root) = @_;
	return bless {
		root => $root, accounts => {}, plans => {}, limits => {}, past_limits => [], grants => {}, rows => [], corrected => 0,
		latest => BEFORE_ALL,
	}, $class;
}

sub clone
{
	my ($self) = @_;
	return Storable::dclone($self);
}

# Definitions -------------------------------------------------------------------------

sub put_account
{
	my ($self, $scope, $plan, $now) = @_;
	my $account = $self->{accounts}{$scope} //= { created => $now, on => [] };

	return if ($account->{plan} // '') eq ($plan // '');
	# What it has been on: plan, since, until.
	$account->{on}[-1]{until} = $now if defined $account->{plan};
	push @{ $account->{on} }, { plan => $plan, since => $now, until => AFTER_ALL } if defined $plan;
	$account->{plan} = $plan;
	return;
}

sub drop_limit
{
	my ($self, $id, $now) = @_;
	my $limit = delete $self->{limits}{$id};

	push @{ $self->{past_limits} }, { %$limit, dropped_at => $now } unless $limit->{plan};
	return;
}

# set_limit(id, now, prorate, fields): a new limit, or other terms of one.
sub set_limit
{
	my ($self, $id, $now, $prorate, %fields) = @_;
	my $limit = $self->{limits}{$id};
	my %before = $limit ? %$limit : (amount => 0);

	%fields = (policy => 'hard', overdraft => 0, rollover => 0, carry_overage => 0, %fields);
	return if $limit and not grep { ($before{$_} // '') ne ($fields{$_} // '') } keys %fields;
	$limit = $self->{limits}{$id} = { %before, %fields, id => $id, terms => $before{terms} // [] };
	if (not @{ $limit->{terms} } or $before{amount} != $limit->{amount})
	{
		delete @$limit{qw(prorated_at prorated_amount)};
		@$limit{qw(prorated_at prorated_amount)} = ($now, prorated($limit, \%before, $now)) if $prorate;
	}
	# Terms that are replaced at the very instant at which they were set have never been.
	@{ $limit->{terms} } = grep { $_->{set_at} != $now } @{ $limit->{terms} };
	push @{ $limit->{terms} }, { set_at => $now, map { $_ => $limit->{$_} } @TERMS };
	return;
}

# What the running period has when the amount changes within it, rounded up.
sub prorated
{
	my ($limit, $before, $now) = @_;
	my ($start, $end) = period_bounds($limit->{period}, $now);
	my $change = Math::BigInt->new($limit->{amount} - $before->{amount})->bmul($end - $now);
	my $running = in_period($before, $start, $end);
	# The remainder of bdiv() has the sign of the divisor: the quotient is the one below.
	my ($part, $rest) = $change->bdiv($end - $start);
	my $amount = $running + $part->numify + ($rest->is_zero ? 0 : 1);

	return $amount < 0 ? 0 : $amount;
}

# The amount of terms, or of a limit as it is now, in a period.
sub in_period
{
	my ($terms, $start, $end) = @_;
	my $at = $terms->{prorated_at};

	return defined $at && $start <= $at && $at < $end ? $terms->{prorated_amount} : $terms->{amount};
}

# Levels and their limits -------------------------------------------------------------

# accounts_of(scope): the accounts of a path, the root first.
sub accounts_of
{
	my ($scope) = @_;
	my @names = split m{/}, $scope;
	return map { join '/', @names[ 0 .. $_ ] } 0 .. $#names;
}

# levels_of(scope, user): the levels that a row counts at.
sub levels_of
{
	my ($scope, $user) = @_;
	return map { ($_, defined $user ? "$_/user:$user" : ()) } accounts_of($scope);
}

# How far a limit is from a level: made for it, for all of its kind, or of a plan; undef if it
# has nothing to do with it.
sub rank_at
{
	my ($limit, $level) = @_;
	my ($parent, $kind) = $level =~ m{^(?:(.*)/)?([^:/]+):[^/]*$};

	return 3 if $limit->{plan};
	return 1 if $limit->{scope} eq $level;
	return defined $parent && $limit->{scope} eq "$parent/$kind:*" ? 2 : undef;
}

# gaps(limit, level): when it did not apply there, as [from, until]: a nearer one did, or the
# account was not on the plan.
sub gaps
{
	my ($self, $limit, $level) = @_;
	my $rank = rank_at($limit, $level);
	my @gaps = map { [ $_->{terms}[0]{set_at}, $_->{dropped_at} ] }
	  grep { $_->{resource} eq $limit->{resource} && $_->{period}{same_as} eq $limit->{period}{same_as} && (rank_at($_, $level) // 9) < $rank }
	  @{ $self->{past_limits} };

	if ($limit->{plan})
	{
		my @on = grep { $_->{plan} eq $limit->{plan} && $_->{since} < $_->{until} } @{ $self->{accounts}{$level}{on} };
		push @gaps, map { [ $_ ? $on[ $_ - 1 ]{until} : BEFORE_ALL, $on[$_]{since} ] } 0 .. $#on;
	}
	return grep { $_->[0] < $_->[1] } @gaps;
}

# limits_at(level): those that apply there, one of each resource and period: the nearest.
sub limits_at
{
	my ($self, $level) = @_;
	my $account = $self->{accounts}{$level};
	my %nearest;

	for my $limit (values %{ $self->{limits} })
	{
		my $rank = rank_at($limit, $level) or next;
		next if $limit->{plan} and not($account and ($account->{plan} // '') eq $limit->{plan});
		my $key = "$limit->{resource} $limit->{period}{same_as}";

		$nearest{$key} = [ $rank, $limit ] if not $nearest{$key} or $rank < $nearest{$key}[0];
	}
	return map { $nearest{$_}[1] } sort keys %nearest;
}

# Rows --------------------------------------------------------------------------------

# add_row(row): what is held, or charged, from now on.
sub add_row
{
	my ($self, %row) = @_;

	$row{levels} = { map { $_ => 1 } levels_of(@row{qw(scope user)}) };
	$row{corrected} = 1 if $row{at} < $self->{latest};
	$self->{latest} = $row{at} if $row{at} > $self->{latest};
	push @{ $self->{rows} }, \%row;
	return \%row;
}

# close_row(row, state, now, charged): a hold ends, and what it is later said to have cost.
sub close_row
{
	my ($self, $row, $state, $now, $charged) = @_;

	$charged //= {};
	for my $resource (keys %{ { %{ $row->{held} }, %$charged } })
	{
		$row->{corrected} = 1 if ($row->{held}{$resource} // 0) != ($charged->{$resource} // 0);
	}
	@$row{qw(state charged)} = ($state, $charged);
	return;
}

sub expired
{
	my ($self, $now) = @_;
	return grep { $_->{state} eq 'open' && $_->{expires} <= $now } @{ $self->{rows} };
}

# counted(rows, level, resource): what each row counts at a level, as [at, used, held, row], in
# the order of time.
sub counted
{
	my ($rows, $level, $resource) = @_;
	my @counted;

	for my $row (grep { $_->{levels}{$level} } @$rows)
	{
		my $open = $row->{state} eq 'open';
		my $amount = $row->{ $open ? 'held' : 'charged' }{$resource} // 0;

		push @counted, [ $row->{at}, $open ? 0 : $amount, $open ? $amount : 0, $row ]
		  if $amount or $row->{corrected};
	}
	return [ sort { $a->[0] <=> $b->[0] } @counted ];
}

sub sums
{
	my @sums = (0, 0);

	for my $row (@_)
	{
		$sums[0] += $row->[1];
		$sums[1] += $row->[2];
	}
	return @sums;
}

# One limit at one level --------------------------------------------------------------
#
# view(limit, level, at, rows) is what there is to say of it: limit, used, held, remaining,
# start, end (undef: none), and
#   rolled_over, granted, carried_overage   of a limit that carries something
#   grants        by id, what is left of those in effect
#   exact         false if what is used is known within bounds only: low and high
#   before        true before its carrying begins: the documentation does not say what then
# and code for the questions that depend on the kind:
#   fits(r)       whether a request fits
#   retry(r)      when it would, undef for never

sub view
{
	my ($self, $limit, $level, $at, $rows) = @_;
	my $counted = counted($rows, $level, $limit->{resource});
	my $kind = $limit->{period}{kind};
	my $view =
	    $kind eq 'rolling' ? view_rolling($limit, $at, $counted)
	  : $kind eq 'refill' ? view_refill($limit, $at, $counted, $self->{corrected})
	  : $self->carries($limit, $level) ? $self->view_chain($limit, $level, $at, $counted)
	  : view_calendar($limit, $at, $counted);

	$view->{exact} //= 1;
	$view->{remaining} = $view->{limit} - $view->{used} - $view->{held};
	$view->{of} = $limit;
	return $view;
}

# Calendar and lifetime, nothing carried.
sub view_calendar
{
	my ($limit, $at, $counted) = @_;
	my ($start, $end) = period_bounds($limit->{period}, $at);
	my ($used, $held) = sums(grep { $_->[0] >= $start && $_->[0] < $end } @$counted);
	my $amount = in_period($limit, $start, $end);

	return {
		limit => $amount, used => $used, held => $held, start => $start, end => $end,
		fits => sub { $_[0] == 0 || $used + $held + $_[0] <= $amount + $limit->{overdraft} },
		retry => sub { $_[0] > $limit->{amount} + $limit->{overdraft} || $end == AFTER_ALL ? undef : $end },
	};
}

# Rolling: what fell into a bucket counts until so many later ones have begun.
sub view_rolling
{
	my ($limit, $at, $counted) = @_;
	my $window = $limit->{period}{window};
	my $length = window_bucket($window);
	my $buckets = window_buckets($window);
	my $capacity = $limit->{amount} + $limit->{overdraft};
	my $sums_at = sub {
		my ($instant) = @_;
		return sums(grep { divide_down($_->[0], $length) + $buckets >= divide_down($instant, $length) } @$counted);
	};
	my $fits_at = sub {
		my ($instant, $request) = @_;
		my ($used, $held) = $sums_at->($instant);
		return $request == 0 || $used + $held + $request <= $capacity;
	};
	my ($used, $held) = $sums_at->($at);

	return {
		limit => $limit->{amount}, used => $used, held => $held, start => $at - $window, end => undef,
		fits => sub { $fits_at->($at, $_[0]) },
		# Whether the request fits into all windows that the instant is in, later ones too.
		fits_around => sub {
			my ($request) = @_;
			my $mine = divide_down($at, $length);

			for my $last (grep { $_ >= $mine && $_ <= $mine + $buckets } $mine, map { divide_down($_->[0], $length) } @$counted)
			{
				my ($used, $held) = sums(grep { my $b = divide_down($_->[0], $length); $b <= $last && $b + $buckets >= $last } @$counted);
				return 0 if $used + $held + $request > $capacity;
			}
			return 1;
		},
		retry => sub {
			my ($request) = @_;
			return undef if $request > $capacity;
			for my $row (@$counted)
			{
				my $falls_out = (divide_down($row->[0], $length) + $buckets + 1) * $length;
				return $falls_out if $falls_out > $at && $fits_at->($falls_out, $request);
			}
			return undef;
		},
	};
}

# Refill: a debt that flows back. In units of 1/per millionths, so that it is whole.
sub view_refill
{
	my ($limit, $at, $counted, $corrected) = @_;
	my ($rate, $per, $burst) = @{ $limit->{period} }{qw(rate per burst)};
	my $capacity = $limit->{amount} + $limit->{overdraft};
	my $bucket = window_bucket(divide_up($burst * $per, $rate));
	my @later = grep { $_->[0] > $at } @$counted;
	my $debt = debt($rate, $per, $at, grep { $_->[0] <= $at } @$counted);
	my $low = ceiling($debt, $per);
	# What is older than that, a load knows by the hour only.
	my $window = divide_up($capacity * $per, $rate);
	my $known = max(2 * $window, min(16 * $window, HOUR)) + $bucket;
	my @old = grep { $_->[0] < $at - $known } @$counted;
	my $exact = !$corrected && !@later && !@old && !grep { $_->[3]{corrected} } @$counted;
	my $used = $low;
	my %bounds;

	unless ($exact)
	{
		# Rows that are later than this may be counted already. What flows back in a bucket is
		# added before rounding.
		my $later = 0;
		$later += $_->[1] + $_->[2] for grep { $_->[1] + $_->[2] > 0 } @later;
		# After a load as much may be owed as ever may, for all that it knows of what is old. Of what
		# facts had made more, it may miss what flows back in an hour, and in buckets of hours
		# whether a correction downwards came first.
		my $loose = @old ? $capacity : 0;
		my @down = grep { $_->[1] + $_->[2] < 0 } @$counted;
		my $missed = @old && debt($rate, $per, $at - $known, @old) > Math::BigInt->new($capacity)->bmul($per)
		  || $bucket >= HOUR && @down;
		# Nor does it have to know what one of them pays off in its own bucket, or before what came later.
		$loose -= $_->[1] + $_->[2] for @down;
		%bounds = (
			low => $missed ? 0 : $low,
			high => ceiling($debt->copy->badd(Math::BigInt->new($later + $loose)->bmul($per))
				  ->badd(Math::BigInt->new($rate)->bmul($bucket)), $per));
	}
	return {
		limit => $burst, used => $used, held => 0, sum_only => 1, end => undef, exact => $exact, %bounds,
		fits => sub { $_[0] == 0 || $used + $_[0] <= $capacity },
		retry => sub {
			my ($request) = @_;
			return undef if $request > $capacity;
			my $above = $debt->copy->bsub(Math::BigInt->new($capacity - $request)->bmul($per));
			return $at + ceiling($above, $rate);
		},
		# With what the engine says is used: within the bounds, it decides.
		takes => sub { $used = $_[0] },
	};
}

# debt(rate, per, at, rows): the most, over all instants before, of what was used since then
# without what has flowed back since then.
sub debt
{
	my ($rate, $per, $at, @rows) = @_;
	my $debt = Math::BigInt->new(0);
	my $last = @rows ? $rows[0][0] : $at;

	while (@rows)
	{
		my $instant = $rows[0][0];
		my $amount = 0;

		$debt = flow_back($debt, $rate, $instant - $last);
		while (@rows and $rows[0][0] == $instant)
		{
			my $row = shift @rows;
			$amount += $row->[1] + $row->[2];
		}
		$debt->badd(Math::BigInt->new($amount)->bmul($per));
		$last = $instant;
	}
	return flow_back($debt, $rate, $at - $last);
}

sub flow_back
{
	my ($debt, $rate, $us) = @_;
	my $left = $debt->copy->bsub(Math::BigInt->new($rate)->bmul($us));

	return $left->is_neg ? Math::BigInt->new(0) : $left;
}

sub ceiling
{
	my ($dividend, $divisor) = @_;
	my ($quotient, $rest) = $dividend->copy->bdiv($divisor);

	return $quotient->numify + ($rest->is_zero ? 0 : 1);
}

# What is carried ---------------------------------------------------------------------

sub grants_of
{
	my ($self, $limit, $level) = @_;
	return grep { $_->{limit} == $limit->{id} && $_->{scope} eq $level } values %{ $self->{grants} };
}

# The end of a grant: what comes first of its expiry and its being voided.
sub grant_end
{
	my ($grant) = @_;
	my ($end) = sort { $a <=> $b } map { $_ // AFTER_ALL } @$grant{qw(expires voided)};
	return $end;
}

# Where grants burn first.
sub burn_order
{
	my ($first, $second) = @_;

	return $first->{priority} <=> $second->{priority}
	  || ($first->{expires} // AFTER_ALL) <=> ($second->{expires} // AFTER_ALL)
	  || $first->{created} <=> $second->{created}
	  || $first->{id} <=> $second->{id};
}

sub first_carrying
{
	my ($limit) = @_;
	my ($terms) = grep { $_->{rollover} > 0 || $_->{carry_overage} } @{ $limit->{terms} };
	return $terms;
}

sub carries
{
	my ($self, $limit, $level) = @_;
	return first_carrying($limit) || $self->grants_of($limit, $level);
}

# The instant in whose period the chain begins.
sub chain_since
{
	my ($self, $limit, $level) = @_;
	my $terms = first_carrying($limit);
	my $account = $self->{accounts}{$level};
	my ($since) = sort { $a <=> $b } ($terms ? $terms->{set_at} : ()), map { $_->{effective} } $self->grants_of($limit, $level);
	my @created = $limit->{terms}[0]{set_at};

	push @created, map { $_->{since} } (grep { $_->{plan} eq $limit->{plan} && $_->{since} < $_->{until} } @{ $account->{on} })[0] if $limit->{plan};
	push @created, $account->{created} if not $limit->{plan} and $limit->{scope} =~ /\*$/ and $account;
	my ($created) = sort { $b <=> $a } @created;
	return $created > $since ? $created : $since;
}

sub terms_of
{
	my ($limit, $end) = @_;
	# Those that were set last: of the same instant, the later.
	my @terms = sort { $a->{set_at} <=> $b->{set_at} } grep { $_->{set_at} < $end } @{ $limit->{terms} };
	return $terms[-1];
}

sub total
{
	my $total = 0;
	$total += $_ for @_;
	return $total;
}

# walk(limit, level, rows, until, boundaries): the phases of a chain, from its beginning to
# the last of these: the one of the instant, the one of the last row, and so many later
# boundaries. A phase: start, end, from, to (of its period), and after it burned: debt,
# available, grants (what is left, of those in effect); rolled and carried of its period.
sub walk
{
	my ($self, $limit, $level, $counted, $until, $boundaries) = @_;
	my ($from, $to) = period_bounds($limit->{period}, $self->chain_since($limit, $level));
	my @grants = map { { %$_, end => grant_end($_), left => 0, lives => 0 } } sort { burn_order($a, $b) }
	  grep { grant_end($_) > $_->{effective} } $self->grants_of($limit, $level);
	my @gaps = $self->gaps($limit, $level);
	my @cuts = sort { $a <=> $b } grep { $_ > $from } (map { @$_{qw(effective end)} } @grants), map { @$_ } @gaps;
	my $applies = sub {
		my ($at) = @_;
		return !grep { $_->[0] <= $at && $at < $_->[1] } @gaps;
	};
	my @rows = grep { $_->[0] >= $from } @$counted;
	my @vintages;    # the oldest first, as [age, amount]
	my $forgiven = 0;    # of the period: used while it did not apply, and covered by nothing
	my $allowance = in_period(terms_of($limit, $to), $from, $to);
	my ($debt, $rolled, $carried) = (0, 0, 0);
	my ($start, $is_boundary) = ($from, 1);
	my @phases;

	# While it does not apply, grants and debts wait.
	my $usable = sub { grep { $_->{lives} } $applies->($start) ? @grants : () };
	my $burn = sub {
		my ($amount) = @_;

		for my $source ((map { \$_->[1] } @vintages), \$allowance, map { \$_->{left} } $usable->())
		{
			my $part = $amount < $$source ? $amount : $$source;
			$$source -= $part;
			$amount -= $part;
		}
		return $amount;
	};

	for (@grants)
	{
		@$_{qw(lives left)} = (1, $_->{amount}) if $_->{effective} <= $from && $_->{end} > $from;
	}
	for (;;)
	{
		shift @cuts while @cuts and $cuts[0] <= $start;
		my $end = @cuts && $cuts[0] < $to ? $cuts[0] : $to;
		my $taken = 0;

		while (@rows and $rows[0][0] < $end)
		{
			my $row = shift @rows;
			$taken += $row->[1] + $row->[2];
		}
		if ($taken >= 0)
		{
			my $uncovered = $burn->($taken);
			${ $applies->($start) ? \$debt : \$forgiven } += $uncovered;
		}
		else
		{
			my $back = -$taken;
			for my $owed (\$forgiven, \$debt)
			{
				my $paid = $back < $$owed ? $back : $$owed;
				$$owed -= $paid;
				$back -= $paid;
			}
			$allowance += $back;
		}
		push @phases, {
			start => $start, end => $end, from => $from, to => $to, debt => $debt, rolled => $rolled, carried => $carried,
			is_boundary => $is_boundary,
			grants => { map { $_->{id} => $_->{left} } grep { $_->{lives} } @grants },
			usable => total(map { $_->{left} } $usable->()),
			available => total((map { $_->[1] } @vintages), $allowance, (map { $_->{left} } $usable->())) - $debt,
		};
		$boundaries-- if $start > $until and $is_boundary;
		last if $end == AFTER_ALL or $end > $until && !@rows && $boundaries <= 0;

		# Into the next phase.
		my $applied = $applies->($start);
		$start = $end;
		$is_boundary = $start == $to;
		for (grep { $_->{end} <= $start } @grants)
		{
			@$_{qw(lives left)} = (0, 0);
		}
		if ($start == $to)
		{
			my $terms = terms_of($limit, $to);
			my $periods = $terms->{rollover_periods} // 1;

			$_->[0]++ for @vintages;
			push @vintages, [ 1, $allowance ];
			@vintages = $terms->{rollover} > 0 && $applied ? grep { $_->[0] <= $periods } @vintages : ();
			my $excess = total(map { $_->[1] } @vintages) - $terms->{rollover};
			for (@vintages)
			{
				my $cut = $excess < $_->[1] ? $excess : $_->[1];
				next if $cut <= 0;
				$_->[1] -= $cut;
				$excess -= $cut;
			}
			for (grep { $_->{lives} && defined $_->{rollover} && $_->{left} > $_->{rollover} } @grants)
			{
				$_->{left} = $_->{rollover};
			}
			$debt = 0 unless $terms->{carry_overage};
			($from, $to) = period_bounds($limit->{period}, $start);
			$allowance = in_period(terms_of($limit, $to), $from, $to);
			($rolled, $carried) = (total(map { $_->[1] } @vintages), $debt);
			$forgiven = 0;
		}
		for (grep { $_->{effective} == $start } @grants)
		{
			@$_{qw(lives left)} = (1, $_->{amount});
			$is_boundary = 1;
		}
		$debt = $burn->($debt) if $applies->($start);
	}
	return @phases;
}

sub view_chain
{
	my ($self, $limit, $level, $at, $counted) = @_;
	my ($start, $end) = period_bounds($limit->{period}, $at);
	my ($begin) = period_bounds($limit->{period}, $self->chain_since($limit, $level));
	my $last = @$counted ? $counted->[-1][0] : $at;

	return { %{ view_calendar($limit, $at, $counted) }, before => 1 } if $at < $begin;
	my @phases = $self->walk($limit, $level, $counted, $at, 0);
	my ($phase) = grep { $_->{start} <= $at && $at < $_->{end} } @phases;
	my ($used, $held) = sums(grep { $_->[0] >= $start && $_->[0] < $end } @$counted);

	my $fits_in = sub {
		my ($request, $phase, @phases) = @_;
		return 1 if $request == 0;
		return 0 if $request > $phase->{available} + $limit->{overdraft};
		return 1 if $last < $phase->{end};
		# Later phases have rows: none may come into a debt that it does not have.
		my %debts = map { $_->{start} => $_->{debt} } @phases;
		my @with = sort { $a->[0] <=> $b->[0] } @$counted, [ $phase->{start}, 0, $request, {} ];
		return !grep { $_->{start} > $phase->{start} && $_->{debt} > $limit->{overdraft} && $_->{debt} > ($debts{ $_->{start} } // 0) }
		  $self->walk($limit, $level, \@with, $last, 0);
	};

	return {
		limit => $phase->{available} + $used + $held, used => $used, held => $held, start => $start, end => $end,
		rolled_over => $phase->{rolled}, carried_overage => $phase->{carried},
		granted => $phase->{usable}, grants => $phase->{grants},
		later_rows => $last >= $phase->{end} ? 1 : 0,
		fits => sub { $fits_in->($_[0], $phase, @phases) },
		retry => sub {
			my ($request) = @_;
			my @future = $self->walk($limit, $level, $counted, $at, $BOUNDARIES);
			my $looked = 0;

			for (grep { $_->{start} > $at && $_->{is_boundary} } @future)
			{
				last if $looked++ == $BOUNDARIES;
				return $_->{start} if $fits_in->($request, $_, @future);
			}
			return undef;
		},
	};
}

# Requests ----------------------------------------------------------------------------

# look(scope, user, amount, at, rows): every limit that a request meets, by 'level limit': its
# view, with requested.
sub look
{
	my ($self, $scope, $user, $amount, $at, $rows) = @_;
	my %levels;

	for my $level (levels_of($scope, $user))
	{
		for my $limit (grep { $amount->{ $_->{resource} } } $self->limits_at($level))
		{
			my $view = $self->view($limit, $level, $at, $rows);

			$view->{requested} = $amount->{ $limit->{resource} };
			$levels{"$level $limit->{id}"} = $view;
		}
	}
	return \%levels;
}

# decide(levels): whether hard limits let it pass, and when it may be repeated; sets passed
# and short of each.
sub decide
{
	my ($levels) = @_;
	my ($allowed, $retry, $never) = (1, undef, 0);

	for my $view (values %$levels)
	{
		my ($limit, $request) = ($view->{of}, $view->{requested});
		my $room = $view->{remaining} + $limit->{overdraft};

		$view->{fits_now} = $view->{fits}->($request) ? 1 : 0;
		next if $view->{fits_now};
		$view->{short} = $request - ($room > 0 ? $room : 0);
		next if $limit->{policy} ne 'hard';
		$allowed = 0;
		my $instant = $view->{retry}->($request);
		$never = 1 unless defined $instant;
		$retry = $instant if defined $instant and (not defined $retry or $instant > $retry);
	}
	return ($allowed, $allowed || $never ? undef : $retry);
}

# remaining(scope, user, at): by level and resource, the least of what limits have left.
sub remaining
{
	my ($self, $scope, $user, $at) = @_;
	my %remaining;

	for my $level (levels_of($scope, $user))
	{
		for my $limit (grep { $_->{policy} ne 'shadow' } $self->limits_at($level))
		{
			my $view = $self->view($limit, $level, $at, $self->{rows});
			my $least = $remaining{$level}{ $limit->{resource} };

			$remaining{$level}{ $limit->{resource} } = $view
			  if not $least or $view->{remaining} < $least->{remaining};
		}
	}
	return \%remaining;
}

1;
