
# Years of random definitions, requests, settlements, corrections and steps of the clock,
# against the engine and against a model of the documentation (test/lib/QuotaModel.pm), which
# shares no code with it. After each step, for each limit at each level:
#   1. limit, used, held, remaining, period, what was carried and granted are the model's, in
#      verdicts, in quota.remaining(), in quota.admin_limits and in quota.admin_grants
#   2. a request is allowed or refused as the model says, down to the last millionth; what is
#      short is the model's
#   3. at retry_at the same request is allowed, and not a microsecond before
#   4. what is open, and what has expired, is the model's
#   5. upkeep, forgetting counters, looking at other times and what is rolled back change
#      nothing; memory and tables agree
#
# AMOUNT steps (3,000). They are taken in worlds of some hundred, each with a company, limits
# and habits of its own, which follow from SEED (1): the same seed repeats a run, SEED and
# WORLD=n a world of it, another seed finds other worlds. FEATURES names what is tried, of
# those below, all unless it is given.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use QuotaCalendar qw(SECOND HOUR DAY BEFORE_ALL AFTER_ALL instant instant_text parse_instant period period_bounds
  divide_down window_bucket window_buckets);
use QuotaModel;
use Test::More;
use Wire;
use XavierQuota;

my $STEPS = $ENV{AMOUNT} // 3000;
my $SEED = $ENV{SEED} // 1;
my $ONLY = $ENV{WORLD};
my %FEATURES = map { $_ => 1 } split /[ ,]+/, $ENV{FEATURES}
  // 'calendar,lifetime,rolling,refill,rollover,overage,grants,prorate,soft,plans,force';
# After so many worlds the extension is created anew: each month of a world has a partition.
my $WORLDS_TOGETHER = 20;
my $FAILURES_MAX = 3;

# A world moves in steps of about this size, and has periods of this class.
my %CLASSES = (
	tiny => {
		scale => 4 * SECOND,
		calendar => [ '10 seconds', '1 minute', '7 seconds from 2024-02-29 23:59' ],
		rolling => [ 'rolling 7 seconds', 'rolling 40 seconds', 'rolling 1 second', 'rolling 2 minutes' ],
		refill => [
			'refill 7 per 3 seconds up to 11', 'refill 100 per 1 minute up to 20', 'refill 0.7 per 11 seconds up to 4.000001',
			'refill 1.5 per 1 second up to 30' ],
	},
	short => {
		scale => 2 * HOUR,
		calendar => [
			'6 hours', '1 day', '90 minutes from 2024-01-01 00:07', '1 day from 2024-01-01 in Europe/Berlin',
			'1 day from 2024-01-01 02:30 in Europe/Berlin', '5 hours from 2023-07-01 in America/New_York',
			'1 day from 2024-01-01 in Asia/Kolkata', 'month' ],
		rolling => [ 'rolling 24 hours', 'rolling 1 hour', 'rolling 50 minutes', 'rolling 59 hours' ],
		refill => [ 'refill 7 per 1 hour up to 40', 'refill 100 per 1 day up to 60', 'refill 13 per 7 hours up to 25.5' ],
	},
	long => {
		scale => 9 * DAY,
		calendar => [
			'month', 'week', '1 month from 2024-01-31', '1 month from 2024-01-30 09:30 in Europe/Berlin', 'quarter', 'year',
			'10 days from 2024-02-28 in America/New_York', '3 months from 2023-11-30 in America/New_York',
			'2 weeks from 2024-01-03', '1 year from 2024-02-29', '1 week from 2024-01-03 01:30 in America/New_York' ],
		rolling => [ 'rolling 3 days', 'rolling 10 weeks', 'rolling 26 weeks', 'rolling 60 hours' ],
		refill => [ 'refill 7 per 4 weeks up to 40', 'refill 50 per 3 days up to 200', 'refill 1000 per 26 weeks up to 100.000001' ],
	});

my @USERS = qw(ann bob);
my @RESOURCES = qw(credit credit credit calls);

my ($session, $world, $step, @mismatches);
my %names;      # of periods
my %done;       # how often each thing has happened
my $years = 0;

note "SEED=$SEED";
check_model();
my $node = new_server('simulation', settings => "fsync = off\nautovacuum_naptime = 10s\n");
$session = Wire->connect($node, 'postgres');
prepare_session();

my ($steps, $failures) = (0, 0);
for (my $number = $ONLY // 1; $steps < $STEPS; $number++)
{
	my $length = $STEPS - $steps;

	renew_extension() if $number % $WORLDS_TOGETHER == 0 and not defined $ONLY;
	$steps += run_world($number, $length);
	$failures++ if @mismatches;
	last if $failures == $FAILURES_MAX or defined $ONLY;
	diag sprintf '%d steps, %d worlds, %.1f years', $steps, $number, $years if $steps % 10_000 < 100 and $steps > 1000;
}
is($failures, 0, sprintf '%d steps in %.1f simulated years are as the model says', $steps, $years);
is(join("\n", map { join '|', map { $_ // '' } @$_ } $session->query('SELECT * FROM quota.verify()')), '', 'memory and tables agree');
note join ', ', map { "$done{$_} $_" } sort keys %done;
SKIP:
{
	skip 'too few steps to have done everything', 1 if $STEPS < 3000 or $failures or defined $ONLY;
	is(join(', ', grep { ($done{$_} // 0) < 10 } wanted_often()), '', 'everything has happened often');
}
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|was terminated by signal/, 'the log says nothing of a crash');
$session->close;
done_testing();

# The model, by hand -------------------------------------------------------------------

# A model of one limit of company c, with rows [instant, amount].
sub model_of
{
	my ($period, $fields, @rows) = @_;
	my $model = QuotaModel->new('company:c');

	$model->put_account('company:c', undef, instant(2024, 1, 1));
	$model->set_limit(1, $fields->{set_at} // instant(2024, 1, 1), 0, scope => 'company:c', resource => 'credit', period => period($period),
		rollover_periods => 1, map { $_ => $fields->{$_} } grep { $_ ne 'set_at' } keys %$fields);
	add_fact($model, @$_) for @rows;
	return $model;
}

sub add_fact
{
	my ($model, $at, $amount) = @_;

	$model->add_row(scope => 'company:c', at => $at, state => 'settled', held => {}, charged => { credit => $amount });
	return;
}

sub view_of
{
	my ($model, $at) = @_;
	return $model->view($model->{limits}{1}, 'company:c', $at, $model->{rows});
}

sub retry_text
{
	my ($view, $request) = @_;
	my $retry = $view->{retry}->($request);
	return defined $retry ? instant_text($retry) : 'never';
}

sub check_model
{
	my ($jan, $feb, $mar, $apr) = map { instant(2026, $_, 10) } 1 .. 4;
	my ($model, $view);

	# Calendars: the last day of a month, an hour that is skipped, one that comes twice.
	is(join(' ', map { instant_text($_) } period_bounds(period('1 month from 2026-01-31'), instant(2026, 3, 1))),
		'2026-02-28 00:00:00.000000+00 2026-03-31 00:00:00.000000+00', 'model: months from the 31st');
	is(join(' ', map { instant_text($_) } period_bounds(period('1 day from 2026-01-01 02:30 in Europe/Berlin'), instant(2026, 3, 29, 1, 30))),
		'2026-03-29 01:30:00.000000+00 2026-03-30 00:30:00.000000+00', 'model: a boundary in the hour that is skipped');
	is(join(' ', map { instant_text($_) } period_bounds(period('1 day from 2026-01-01 02:30 in Europe/Berlin'), instant(2026, 10, 25, 12))),
		'2026-10-25 01:30:00.000000+00 2026-10-26 01:30:00.000000+00', 'model: a boundary in the hour that comes twice');

	# Of March 43 of 62 parts are left: 500 + 310 * 43 / 62.
	$model = model_of('month', { amount => 500e6 });
	$model->set_limit(1, instant(2026, 3, 10, 12), 1, amount => 810e6, rollover_periods => 1);
	is(view_of($model, instant(2026, 3, 10, 12))->{limit}, 715e6, 'model: prorated');
	is(view_of($model, $apr)->{limit}, 810e6, 'model: and the next period is whole');

	# 24 hours are 60 buckets of 24 minutes. What fell into the first one falls out when the
	# 62nd begins, 61 * 24 minutes after midnight.
	$model = model_of('rolling 24 hours', { amount => 10e6 }, [ instant(2000, 1, 1, 0, 10), 7e6 ]);
	is(retry_text(view_of($model, instant(2000, 1, 1, 0, 20)), 4e6), '2000-01-02 00:24:00.000000+00', 'model: rolling');
	is(retry_text(view_of($model, instant(2000, 1, 1, 0, 20)), 11e6), 'never', 'model: more than the window has');
	is(view_of($model, instant(2000, 1, 2, 0, 23, 59, 999_999))->{used}, 7e6, 'model: rolling, a microsecond before');
	is(view_of($model, instant(2000, 1, 2, 0, 24))->{used}, 0, 'model: rolling, fallen out');
	# 72 hours: buckets of an hour, 72 of them.
	is(window_bucket(72 * HOUR) . ' ' . window_buckets(72 * HOUR), 3_600_000_000 . ' 72', 'model: whole hours');

	# 11 are used at once; 1 has flowed back after 3/7 seconds: 428571.43 microseconds.
	$model = model_of('refill 7 per 3 seconds up to 11', { amount => 11e6 }, [ $jan, 11e6 ]);
	is(retry_text(view_of($model, $jan), 1e6), instant_text($jan + 428_572), 'model: refill');
	ok(!view_of($model, $jan + 428_571)->{fits}->(1e6), 'model: refill, a microsecond before');
	is(view_of($model, $jan + SECOND)->{used}, 8_666_667, 'model: refill, rounded up');
	# One more at 3 seconds, when 7 have come back: 11 - 7 + 1 = 5. What is above the burst is a debt, too.
	add_fact($model, $jan + 3 * SECOND, 1e6);
	is(view_of($model, $jan + 3 * SECOND)->{used}, 5e6, 'model: refill, and used again');
	is(view_of($model, $feb)->{used}, 0, 'model: refilled');

	# Roll-over of at most 30, for one period: 100 - 80 = 20 are left of January; February has
	# 120; 10 of them are left, all of its own, as what was rolled over burned first.
	$model = model_of('month', { amount => 100e6, rollover => 30e6, set_at => $jan }, [ $jan, 80e6 ]);
	$view = view_of($model, $feb);
	is("$view->{limit} $view->{rolled_over}", '120000000 20000000', 'model: rolled over');
	add_fact($model, $feb, 110e6);
	is(view_of($model, $mar)->{limit}, 110e6, 'model: burned first');
	is(view_of($model, $apr)->{limit}, 130e6, 'model: at most');
	# 50 of January are given back: 20 + 50 are capped at 30, and February leaves 20.
	add_fact($model, $jan, -50e6);
	is(view_of($model, $feb)->{limit}, 130e6, 'model: a correction of a period before');
	is(view_of($model, $mar)->{rolled_over}, 20e6, 'model: and what follows from it');

	# Two periods: 30 of January, 20 of February; the cap of 40 takes from the older.
	$model = model_of('month', { amount => 100e6, rollover => 40e6, rollover_periods => 2, set_at => $jan }, [ $jan, 70e6 ], [ $feb, 80e6 ]);
	is(view_of($model, $mar)->{limit}, 140e6, 'model: two vintages');
	# February: of 30 + 100, 80 burn: the 30 and 50. 50 are left, and capped.
	is(view_of($model, $mar)->{rolled_over}, 40e6, 'model: capped');
	add_fact($model, $mar, 140e6);
	is(view_of($model, $apr)->{rolled_over}, 0, 'model: nothing is left');

	# Overage of 20 is carried; what February does not have is paid by March.
	$model = model_of('month', { amount => 100e6, overdraft => 50e6, carry_overage => 1, set_at => $jan }, [ $jan, 120e6 ], [ $feb, 100e6 ]);
	$view = view_of($model, $feb);
	is("$view->{carried_overage} $view->{limit} $view->{remaining}", '20000000 80000000 -20000000', 'model: carried overage');
	is(view_of($model, $mar)->{remaining}, 80e6, 'model: and again');
	is(retry_text(view_of($model, $feb), 90e6), '2026-03-01 00:00:00.000000+00', 'model: retry in the next period');

	# A grant of 50 from 5 to 20 February with priority 1, one of 10 from 1 February on: of 130,
	# 100 are the month's, and the first grant has the rest.
	$model = model_of('month', { amount => 100e6, set_at => $jan }, [ $feb, 130e6 ]);
	my @fields = (scope => 'company:c', limit => 1, rollover => undef, voided => undef);
	$model->{grants}{2} = { @fields, id => 2, amount => 50e6, priority => 1, effective => instant(2026, 2, 5), expires => instant(2026, 2, 20), created => 1 };
	$model->{grants}{3} = { @fields, id => 3, amount => 10e6, priority => 2, effective => instant(2026, 2, 1), expires => undef, created => 2, rollover => 4e6 };
	$view = view_of($model, $feb);
	is("$view->{limit} $view->{remaining} $view->{granted}", '160000000 30000000 30000000', 'model: grants');
	# When the first has ended its rest is lost: of 100 + 10, 130 minus its 30 are used.
	$view = view_of($model, instant(2026, 2, 20));
	is("$view->{limit} $view->{remaining} $view->{granted}", '140000000 10000000 10000000', 'model: a grant has ended');
	is(view_of($model, $mar)->{granted}, 4e6, 'model: a grant keeps so much');
	return;
}

# Sessions ------------------------------------------------------------------------------

sub prepare_session
{
	$session->query('CREATE EXTENSION IF NOT EXISTS xavier_quota');
	$session->query(q{
SET timezone = 'UTC'; SET datestyle = 'ISO'; SET client_min_messages = error;
-- A verdict as fields that need no JSON: a line for each level.
CREATE OR REPLACE FUNCTION pg_temp.told(v jsonb, OUT allowed boolean, OUT state text, OUT hold_id text, OUT retry_at text, OUT levels text)
LANGUAGE sql AS $$
    SELECT (v ->> 'allowed')::boolean, v ->> 'state', v ->> 'hold_id', v ->> 'retry_at',
        (SELECT string_agg(concat_ws(E'\t', 'scope=' || (l ->> 'scope'), 'id=' || (l ->> 'limit_id'), 'resource=' || (l ->> 'resource'),
             'policy=' || (l ->> 'policy'), 'limit=' || (l ->> 'limit'), 'overdraft=' || (l ->> 'overdraft'), 'used=' || (l ->> 'used'),
             'held=' || (l ->> 'held'), 'requested=' || (l ->> 'requested'), 'remaining=' || (l ->> 'remaining'),
             'passed=' || (l ->> 'passed'), 'short=' || (l ->> 'short'), 'start=' || (l ->> 'period_start'), 'end=' || (l ->> 'period_end'),
             'rolled_over=' || (l ->> 'rolled_over'), 'granted=' || (l ->> 'granted'),
             'carried_overage=' || (l ->> 'carried_overage')), E'\n')
         FROM jsonb_array_elements(v -> 'levels') AS e (l))
$$});
	# How the type writes a period is what tells it from others.
	for my $text (map { (@{ $_->{calendar} }, @{ $_->{rolling} }, @{ $_->{refill} }) } values %CLASSES)
	{
		$names{$text} = ($session->query("SELECT '$text'::quota.period"))[0][0];
	}
	return;
}

sub period_of
{
	my ($text) = @_;
	my $period = period($text);

	$period->{same_as} = $names{$text} // $text;
	return $period;
}

sub renew_extension
{
	$session->query('DROP EXTENSION xavier_quota CASCADE');
	prepare_session();
	return;
}

# run(statement, name): runs a statement of the history and returns its only value, kept under
# the name, as psql's \gset would. :name in a statement is such a value.
sub run
{
	my ($statement, $name) = @_;

	set_clock($world->{now});
	push @{ $world->{history} }, defined $name ? "$statement AS $name \\gset" : "$statement;";
	my @rows = $session->query($statement =~ s/:'?(\w+)'?/defined $world->{names}{$1} ? "'$world->{names}{$1}'" : $&/ger);
	$world->{names}{$name} = $rows[0][0] if defined $name;
	return $rows[0];
}

sub set_clock
{
	my ($now) = @_;
	my $text = instant_text($now);

	return if $world->{clock} eq $text;
	$world->{clock} = $text;
	push @{ $world->{history} }, "SET xavier_quota.clock = '$text';";
	$session->query("SET xavier_quota.clock = '$text'");
	return;
}

sub mismatch
{
	my ($what, $expected, $came) = @_;

	push @mismatches, sprintf '%s: expected %s, came %s', $what, $expected // 'nothing', $came // 'nothing';
	return;
}

sub same
{
	my ($what, $expected, $came) = @_;

	mismatch($what, $expected, $came) if ($expected // '') ne ($came // '');
	return;
}

# Small things ---------------------------------------------------------------------------

sub pick
{
	return $_[ rand @_ ];
}

sub chance
{
	return rand() < $_[0];
}

# A number of microseconds or millionths, of all sizes up to this.
sub up_to
{
	my ($most) = @_;
	return int($most * rand() ** pick(1, 2, 6)) + 1;
}

sub micros
{
	my ($text) = @_;

	return undef unless defined $text;
	my ($sign, $whole, $fraction) = $text =~ /^(-?)(\d+)(?:\.(\d{1,6}))?$/ or die "not an amount: $text";
	my $micros = $whole * 1_000_000 + substr(($fraction // '') . '000000', 0, 6);
	return $sign ? -$micros : $micros;
}

sub decimal
{
	my ($micros) = @_;
	my $size = abs $micros;
	my $text = sprintf '%d.%06d', divide_down($size, 1_000_000), $size % 1_000_000;

	return ($micros < 0 ? '-' : '') . $text =~ s/\.?0+$//r;
}

sub amount_text
{
	my ($amount) = @_;
	return join ',', map { "$_=" . decimal($amount->{$_}) } sort keys %$amount;
}

# A span of time as an interval.
sub interval
{
	return sprintf '%s microseconds', $_[0];
}

# How much somebody asks for: whole units, halves, and odd millionths.
sub some_amount
{
	my ($size) = @_;
	my $amount = pick(1, 1, 2) * pick(int(rand 10) + 1, int(rand 20) + 0.5, rand 12) * 1e5 * $size;

	return int($amount) || 1;
}

sub some_request
{
	my %amount = (pick(@RESOURCES) => some_amount($world->{size}));

	$amount{ pick(@RESOURCES) } = some_amount($world->{size}) if chance(0.25);
	return \%amount;
}

sub holds
{
	my (@states) = @_;
	my %wanted = map { $_ => 1 } @states;
	return grep { $_->{id} && $wanted{ $_->{state} } && !$_->{late} } @{ $world->{model}{rows} };
}

sub open_holds { return holds('open') }

# The levels that anybody can spend at.
sub all_levels
{
	my %levels;

	for my $project (@{ $world->{projects} })
	{
		$levels{$_} = 1 for map { QuotaModel::levels_of($project, $_) } @USERS;
	}
	return sort keys %levels;
}

# Every limit at every level, as [level, limit].
sub counting
{
	return map { my $level = $_; map { [ $level, $_ ] } $world->{model}->limits_at($level) } all_levels();
}

# A world --------------------------------------------------------------------------------

# run_world(number, most): makes a world and takes steps in it, at most so many. Returns how many.
sub run_world
{
	my ($number, $most) = @_;
	my $length = 40 + int rand 100;

	# A world depends on its number alone.
	srand($SEED * 100_000 + $number);
	$length = 40 + int rand 100;
	$length = $most if $most < $length;
	@mismatches = ();
	$step = 0;
	# Without a statement of its own, an error has nothing to undo.
	my $taken = 0;
	my $lived = eval {
		make_world($number);
		for (1 .. $length)
		{
			$step++;
			take_step();
			$taken++;
			last if @mismatches;
		}
		do_verify() unless @mismatches;
		end_world() unless @mismatches;
		1;
	};
	unless ($lived)
	{
		push @mismatches, "error: $@";
		eval { $session->query('ROLLBACK') };
	}
	$years += ($world->{front} - $world->{born}) / (365.25 * DAY);
	report($number) if @mismatches;
	return $taken || 1;
}

# Views look at all limits that there are: not at those of worlds that are over.
sub end_world
{
	run("SELECT quota.put_account('$world->{root}')");
	run("SELECT quota.put_account('$_')") for @{ $world->{projects} };
	$session->query("SELECT quota.put_plan(plan, '[]') FROM quota.plans");
	$session->query('SELECT quota.drop_limit(limit_id) FROM quota.limits');
	return;
}

sub report
{
	my ($number) = @_;

	diag join "\n", "SEED=$SEED WORLD=$number step $step, at " . instant_text($world->{now}) . ($world->{doing} ? ", $world->{doing}" : '') . ':',
	  @mismatches[ 0 .. (@mismatches > 12 ? 11 : $#mismatches) ], 'after, for psql:', @{ $world->{history} };
	return;
}

sub make_world
{
	my ($number) = @_;
	my $class = pick(sort keys %CLASSES);
	my $root = "company:sim$number";
	my $born = instant(2024 + int rand 6, 1 + int rand 12, 1 + int rand 28, int rand 24, int rand 60) + int rand 3 * HOUR;
	my @projects = ("$root/project:p1", "$root/" . pick('', 'team:t/') . 'project:p2');

	$world = {
		number => $number, root => $root, class => $CLASSES{$class}, born => $born, now => $born, front => $born, clock => '',
		projects => \@projects, history => [], names => {}, serial => 0, created => 0, model => QuotaModel->new($root),
		size => $class eq 'tiny' && chance(0.5) ? 1 : 10,
		# Nothing is ever corrected: a refill limit has to be exact.
		clean => chance(0.35),
		# Nobody does the upkeep.
		lazy => chance(0.4),
		plan => undef,
	};
	$done{"worlds of class $class"}++;
	put_account($_) for sort { length $a <=> length $b } keys %{ { map { $_ => 1 } map { QuotaModel::accounts_of($_) } @projects } };
	run("SELECT quota.put_member('$root', '$_')") for @USERS;
	put_limit() for 1 .. 3 + rand 4;
	if ($FEATURES{plans} and chance(0.5))
	{
		put_plan();
		put_account($root, $world->{plan}) if $world->{plan};
	}
	return;
}

sub put_account
{
	my ($scope, $plan) = @_;

	run("SELECT quota.put_account('$scope'" . (defined $plan ? ", plan => '$plan')" : ')'));
	$world->{model}->put_account($scope, $plan, $world->{now});
	return;
}

sub take_step
{
	move_clock();
	my @choices = (
		[ 30, \&do_reserve ], [ 14, \&do_settle ], [ 4, \&do_release ], [ 4, \&do_extend ], [ 7, \&do_adjust ], [ 4, \&do_late ],
		[ 7, \&do_transaction ], [ 3, \&do_savepoints ], [ 2, \&do_reload ], [ 2, \&do_verify ], [ 3, \&do_nothing ],
		[ $world->{lazy} ? 0 : 4, \&do_maintenance ]);

	# Definitions change at the newest instant only: their history is by time, too.
	push @choices, [ 6, \&change_limit ], [ 2, \&put_limit ], [ 3, \&drop_limit ], [ $FEATURES{grants} ? 6 : 0, \&give_grant ],
	  [ $FEATURES{grants} ? 2 : 0, \&void_grant ], [ $FEATURES{plans} ? 4 : 0, \&change_plan ]
	  if $world->{now} == $world->{front};
	my $sum = 0;
	$sum += $_->[0] for @choices;
	my $choice = rand $sum;
	for (@choices)
	{
		$choice -= $_->[0];
		next if $choice >= 0;
		$_->[1]->();
		last;
	}
	observe() unless @mismatches;
	return;
}

# Moves the clock: by nothing, by a little, to where something happens, by a lot, or back.
sub move_clock
{
	my $scale = $world->{class}{scale};
	my $how = rand;
	my $to = $world->{now};

	if ($how < 0.12)
	{
		$to += pick(0, 0, 1, 2, 1000);
	}
	elsif ($how < 0.3)
	{
		my @marks = sort { $a <=> $b } grep { $_ > $to && $_ < $to + 20 * $scale } landmarks();
		@marks = @marks[ 0 .. 4 ] if @marks > 5;
		$to = pick(@marks) + pick(-1, 0, 0, 1) if @marks;
		$done{'steps to a landmark'}++ if @marks;
	}
	elsif ($how < 0.9)
	{
		$to += up_to(2 * $scale);
	}
	elsif ($how < 0.94)
	{
		$to += up_to(15 * $scale);
	}
	elsif (not $world->{clean})
	{
		$to -= up_to(pick(1000, $scale, 3 * $scale));
		$to = $world->{born} if $to < $world->{born};
		$done{'steps back'}++;
	}
	$to = $world->{front} if $to < $world->{front} and ($world->{clean} or $how < 0.9 and chance(0.5));
	settle_in_time($to) if $world->{clean};
	$session->query(forget_sql()) if $to < $world->{now};
	$world->{clock} = '' if $to < $world->{now};
	$world->{now} = $to;
	$world->{front} = $to if $to > $world->{front};
	return;
}

# Where nothing is ever corrected no hold may expire.
sub settle_in_time
{
	my ($to) = @_;

	for my $hold (grep { $_->{expires} <= $to } open_holds())
	{
		settle($hold, { %{ $hold->{held} } });
	}
	return;
}

# Instants at which something is going to happen.
sub landmarks
{
	my @marks = map { $_->{expires} } open_holds();

	push @marks, grep { defined } map { @$_{qw(effective expires)} } values %{ $world->{model}{grants} };
	for my $limit (values %{ $world->{model}{limits} })
	{
		my $period = $limit->{period};

		push @marks, (period_bounds($period, $world->{now}))[1] if $period->{kind} =~ /calendar|lifetime/;
		next if $period->{kind} ne 'rolling';
		my $bucket = window_bucket($period->{window});
		push @marks, map { (divide_down($_->{at}, $bucket) + window_buckets($period->{window}) + 1) * $bucket } @{ $world->{model}{rows} };
	}
	return @marks;
}

# Definitions ----------------------------------------------------------------------------

sub some_period
{
	my @kinds = grep { $FEATURES{$_} } qw(calendar calendar rolling refill lifetime);
	my $kind = pick(@kinds);

	return period_of($kind eq 'lifetime' ? 'lifetime' : pick(@{ $world->{class}{$kind} }));
}

# Policy, amount and what is carried, of a limit with this period.
sub some_terms
{
	my ($period) = @_;
	my $size = $world->{size};
	my %terms = (
		amount => chance(0.05) ? 0 : int(some_amount($size) * pick(1, 3, 6, 10)),
		overdraft => chance(0.25) ? some_amount($size) : 0,
		policy => $FEATURES{soft} ? pick(('hard') x 8, 'soft', 'shadow') : 'hard',
		rollover => 0, rollover_periods => 1, carry_overage => 0,
	);

	if ($period->{kind} eq 'refill')
	{
		$terms{amount} = $period->{burst};
	}
	elsif ($period->{kind} eq 'lifetime')
	{
		$terms{amount} *= 10;
	}
	elsif ($period->{kind} eq 'calendar')
	{
		@terms{qw(rollover rollover_periods)} = (int($terms{amount} * pick(0.3, 1, 2)) || 1, pick(1, 1, 2, 3)) if $FEATURES{rollover} and chance(0.4);
		$terms{carry_overage} = 1 if $FEATURES{overage} and chance(0.35);
	}
	return %terms;
}

# The arguments of set_limit() for these terms.
sub arguments
{
	my (%terms) = @_;
	my @arguments = ("policy => '$terms{policy}'", 'overdraft => ' . decimal($terms{overdraft}));

	push @arguments, 'rollover => ' . decimal($terms{rollover}), "rollover_periods => $terms{rollover_periods}" if $FEATURES{rollover};
	push @arguments, 'carry_overage => ' . ($terms{carry_overage} ? 'true' : 'false') if $FEATURES{overage};
	push @arguments, 'force => true' if $FEATURES{force};
	return join ', ', @arguments;
}

# Sets a limit where there is none, or that of the same period anew.
sub put_limit
{
	my $root = $world->{root};
	my $scope = pick($root, "$root/user:*", "$root/user:" . pick(@USERS), "$root/project:*", @{ $world->{projects} },
		pick(@{ $world->{projects} }) . '/user:' . pick('*', @USERS));
	my $period = some_period();
	my $resource = pick(@RESOURCES);
	my ($existing) = grep { !$_->{plan} && $_->{scope} eq $scope && $_->{resource} eq $resource && $_->{period}{same_as} eq $period->{same_as} }
	  values %{ $world->{model}{limits} };

	set_limit($scope, $resource, $existing ? $existing->{period} : $period, $existing, some_terms($period));
	return;
}

sub set_limit
{
	my ($scope, $resource, $period, $existing, %terms) = @_;
	my $prorate = $FEATURES{prorate} && $period->{kind} eq 'calendar' && chance(0.3) ? 1 : 0;
	my $name = $existing ? "l$existing->{id}" : 'l' . ++$world->{serial};
	my $row = run(sprintf("SELECT quota.set_limit('%s', '%s', %s, '%s', %s%s)", $scope, $resource, decimal($terms{amount}), $period->{text},
			arguments(%terms), $prorate ? ', prorate => true' : ''), $name);
	my ($id) = @$row;

	same('id of the limit', $existing->{id}, $id) if $existing;
	$world->{model}->set_limit($id, $world->{now}, $prorate, %terms, $existing ? () : (scope => $scope, resource => $resource, period => $period));
	$done{"limits $period->{kind}"}++;
	$done{'limits prorated'}++ if $prorate;
	return;
}

sub own_limits
{
	my $limits = $world->{model}{limits};
	return map { $limits->{$_} } grep { !$limits->{$_}{plan} } sort { $a <=> $b } keys %$limits;
}

sub change_limit
{
	my $limit = pick(own_limits()) or return;
	my %terms = (some_terms($limit->{period}), map { $_ => $limit->{$_} } grep { chance(0.4) } qw(amount overdraft policy rollover rollover_periods carry_overage));

	$world->{doing} = 'set_limit';
	set_limit(@$limit{qw(scope resource period)}, $limit, %terms);
	return;
}

sub drop_limit
{
	my $model = $world->{model};
	my @limits = grep { my $id = $_->{id}; !grep { $_->{limit} == $id } values %{ $model->{grants} } } own_limits();
	my $limit = pick(@limits) or return;
	my @before = map { [ $_, $model->limits_at($_) ] } all_levels();

	$world->{doing} = 'drop_limit';
	run("SELECT quota.drop_limit($limit->{id})");
	$world->{model}->drop_limit($limit->{id}, $world->{now});
	$done{'limits dropped'}++;
	for (@before)
	{
		my ($level, %ids) = ($_->[0], map { $_->{id} => 1 } @$_[ 1 .. $#$_ ]);
		$done{'levels at which a limit that carries applies again'} += grep { !$ids{ $_->{id} } && $model->carries($_, $level) } $model->limits_at($level);
	}
	return;
}

# Plan "a" or "b" of this world, with limits of new terms. A limit that had grants stays.
sub put_plan
{
	my $name = "sim$world->{number}" . pick('a', 'b');
	my $model = $world->{model};
	my %kept = map { ("$_->{resource} $_->{period}{same_as}" => $_) } grep { ($_->{plan} // '') eq $name } map { $model->{limits}{$_} } sort keys %{ $model->{limits} };
	my %wanted;

	for (1 .. 1 + rand 2)
	{
		my ($resource, $period) = (pick(@RESOURCES), some_period());
		$wanted{"$resource $period->{same_as}"} = { some_terms($period), resource => $resource, period => $period };
	}
	for my $key (sort keys %kept)
	{
		my $limit = $kept{$key};
		next if not chance(0.5) and not grep { $_->{limit} == $limit->{id} } values %{ $model->{grants} };
		$wanted{$key} = { some_terms($limit->{period}), resource => $limit->{resource}, period => $limit->{period} };
	}
	my $limits = join ', ', map {
		my $wanted = $wanted{$_};
		sprintf '{"resource": "%s", "period": "%s", "amount": %s, "policy": "%s", "overdraft": %s%s%s}', $wanted->{resource}, $wanted->{period}{text},
		  decimal($wanted->{amount}), $wanted->{policy}, decimal($wanted->{overdraft}),
		  $FEATURES{rollover} ? sprintf(', "rollover": %s, "rollover_periods": %d', decimal($wanted->{rollover}), $wanted->{rollover_periods}) : '',
		  $FEATURES{overage} ? ', "carry_overage": ' . ($wanted->{carry_overage} ? 'true' : 'false') : ''
	} sort keys %wanted;
	run("SELECT quota.put_plan('$name', '[$limits]'" . ($FEATURES{force} ? ', force => true)' : ')'));

	my %ids;
	for my $row ($session->query("SELECT limit_id, resource, period FROM quota.plan_limits WHERE plan = '$name'"))
	{
		$ids{"$row->[1] $row->[2]"} = $row->[0];
	}
	same('limits of the plan', join(', ', sort keys %wanted), join(', ', sort keys %ids));
	for my $key (sort keys %wanted)
	{
		my %fields = %{ $wanted{$key} };
		my $kept = $kept{$key};

		next unless $ids{$key};
		same('id of a limit of the plan', $kept->{id}, $ids{$key}) if $kept;
		delete @fields{qw(resource period)} if $kept;
		$model->set_limit($ids{$key}, $world->{now}, 0, %fields, $kept ? () : (plan => $name));
	}
	$model->drop_limit($kept{$_}{id}, $world->{now}) for grep { !$wanted{$_} } keys %kept;
	$world->{plan} = $name;
	$done{plans}++;
	return;
}

# Other limits in a plan, or another plan for an account.
sub change_plan
{
	$world->{doing} = 'plans';
	put_plan() if chance(0.5) or not $world->{plan};
	put_account(pick($world->{root}, @{ $world->{projects} }), pick($world->{plan}, $world->{plan}, undef)) if chance(0.6);
	return;
}

sub give_grant
{
	my @fed = grep { $_->[1]{period}{kind} =~ /calendar|lifetime/ } counting();
	my $fed = pick(@fed) or return;
	my ($level, $limit) = @$fed;
	my $scale = $world->{class}{scale};
	my $next = (period_bounds($limit->{period}, $world->{now}))[1];
	my $effective = pick($world->{now}, $world->{now}, $world->{now} + up_to(3 * $scale), $world->{now} - up_to($scale), $next == AFTER_ALL ? $world->{now} : $next);
	my $expires = pick(undef, $effective + up_to(8 * $scale), $effective + up_to(30 * $scale), $next > $effective && $next != AFTER_ALL ? $next : undef);
	my $rollover = pick(undef, undef, 0, some_amount($world->{size}));
	my $amount = some_amount($world->{size}) * pick(1, 3);
	my $priority = pick(100, 100, 1, 7);

	$world->{doing} = 'grant_quota';
	my ($id) = @{ run(sprintf(
			"SELECT quota.grant_quota('%s', '%s', %s, priority => %d, effective_at => '%s', expires_at => %s, limit_id => %s%s)",
			$level, $limit->{resource}, decimal($amount), $priority, instant_text($effective), defined $expires ? "'" . instant_text($expires) . "'" : 'NULL',
			$limit->{id}, defined $rollover ? ', rollover => ' . decimal($rollover) : ''), 'g' . ++$world->{serial}) };
	$world->{model}{grants}{$id} = {
		id => $id, scope => $level, limit => $limit->{id}, amount => $amount, priority => $priority, effective => $effective, expires => $expires,
		voided => undef, rollover => $rollover, created => ++$world->{created},
	};
	$done{grants}++;
	return;
}

sub void_grant
{
	my $grants = $world->{model}{grants};
	my $id = pick(grep { !defined $grants->{$_}{voided} && QuotaModel::grant_end($grants->{$_}) > $world->{now} } sort { $a <=> $b } keys %$grants) or return;

	$world->{doing} = 'void_grant';
	run("SELECT quota.void_grant($id, 'simulated')");
	$grants->{$id}{voided} = $world->{now};
	$done{'grants voided'}++;
	return;
}

# Operations -----------------------------------------------------------------------------

sub some_ttl
{
	my $ttl = $world->{clean} ? 7 * DAY : pick(up_to($world->{class}{scale}), up_to(2 * $world->{class}{scale}), 900 * SECOND, 7 * DAY);

	return $ttl < SECOND ? SECOND : $ttl > 7 * DAY ? 7 * DAY : $ttl;
}

sub do_reserve
{
	my ($scope, $user) = (pick(@{ $world->{projects} }), pick(@USERS));
	my $amount = chance(0.3) ? amount_at_edge($scope, $user) : some_request();

	reserve($scope, $user, $amount, some_ttl());
	return;
}

# What a random limit has left, or a millionth more.
sub amount_at_edge
{
	my ($scope, $user) = @_;
	my $model = $world->{model};
	my @at = map { my $level = $_; map { [ $level, $_ ] } $model->limits_at($level) } QuotaModel::levels_of($scope, $user);
	my $chosen = pick(@at) or return some_request();
	my $view = $model->view(@$chosen[ 1, 0 ], $world->{now}, $model->{rows});
	my $edge = $view->{remaining} + $chosen->[1]{overdraft} + pick(0, 0, 1);

	return { $chosen->[1]{resource} => $edge > 0 ? $edge : 1 };
}

sub reserve
{
	my ($scope, $user, $amount, $ttl) = @_;
	my $model = $world->{model};
	my $now = $world->{now};
	my $name = 'h' . ++$world->{serial};
	my $sql = sprintf "quota.reserve_amount('%s', '%s', '%s', ttl => '%s')", $user, $scope, amount_text($amount), interval($ttl);
	my @expired = $model->expired($now);

	$world->{doing} = "reserve $name";
	set_clock($now);
	push @{ $world->{history} }, "SELECT $sql ->> 'hold_id' AS $name \\gset";
	my ($verdict) = map { told(@$_) } $session->query("SELECT t.* FROM pg_temp.told($sql) t");
	$world->{names}{$name} = $verdict->{hold_id};

	my $levels = $model->look($scope, $user, $amount, $now, $model->{rows});
	if (@expired)
	{
		# Where a refill is not exact, whether they gave way is seen by them.
		my $vague = grep { !$_->{exact} || $_->{before} } values %$levels;
		my ($allowed) = QuotaModel::decide($levels);
		my $gone = $vague ? !is_open($expired[0]) : !$allowed;

		if ($gone)
		{
			$model->close_row($_, 'expired', $now) for @expired;
			$levels = $model->look($scope, $user, $amount, $now, $model->{rows});
			$done{'holds that gave way'} += @expired;
		}
		else
		{
			$levels = $model->look($scope, $user, $amount, $now, $model->{rows});
		}
	}
	compare_verdict('reserve', $levels, $verdict, [ $scope, $user, $amount, $now ], $model->{rows});
	same('state', $verdict->{allowed} ? 'open' : 'refused', $verdict->{state});
	$done{ $verdict->{allowed} ? 'reserved' : 'refused' }++;
	return unless $verdict->{allowed};
	$model->add_row(scope => $scope, user => $user, at => $now, state => 'open', held => {%$amount}, charged => {}, expires => $now + $ttl,
		id => $verdict->{hold_id}, name => $name);
	return;
}

sub is_open
{
	my ($row) = @_;
	return ($session->query("SELECT 1 FROM quota.holds WHERE hold_id = '$row->{id}'"))[0] ? 1 : 0;
}

sub do_settle
{
	my $hold = pick(open_holds()) or return;
	my %charged = %{ $hold->{held} };
	my $how = $world->{clean} ? 0 : rand;

	if ($how > 0.3)
	{
		my $factor = $how < 0.75 ? rand : 1 + rand;
		$_ = int($_ * $factor) for values %charged;
		$charged{ pick(@RESOURCES) } += some_amount(1) if chance(0.1);
		delete @charged{ grep { !$charged{$_} } keys %charged };
	}
	settle($hold, \%charged);
	return;
}

sub settle
{
	my ($hold, $charged) = @_;
	my ($state) = ($hold->{state});

	$world->{doing} = "settle $hold->{name}";
	my ($answer, $late) = @{ run(sprintf "SELECT r ->> 'state', r ->> 'late' FROM quota.settle_amount(:'%s', '%s') AS r", $hold->{name}, amount_text($charged)) };
	same('state of the settlement', 'settled', $answer);
	same('late', $state eq 'open' ? 'false' : 'true', $late);
	if ($state eq 'open')
	{
		$world->{model}->close_row($hold, 'settled', $world->{now}, $charged);
		$done{settled}++;
		return;
	}
	# What was closed already is charged in a row of its own, once.
	$hold->{late} = 1;
	$world->{model}->add_row(scope => $hold->{scope}, user => $hold->{user}, at => $hold->{at}, state => 'settled', held => {}, charged => $charged, corrected => 1);
	$done{'settled late'}++;
	return;
}

sub do_late
{
	my $hold = pick(holds('released', 'expired')) or return;
	my %charged = map { $_ => int($hold->{held}{$_} * pick(0, 0.5, 1, 1.7)) } keys %{ $hold->{held} };

	delete @charged{ grep { !$charged{$_} } keys %charged };
	settle($hold, \%charged);
	return;
}

sub do_release
{
	my $hold = pick(open_holds()) or return;

	return if $world->{clean};
	$world->{doing} = "release $hold->{name}";
	my ($state) = @{ run("SELECT quota.release(:'$hold->{name}') ->> 'state'") };
	same('state of the release', 'released', $state);
	$world->{model}->close_row($hold, 'released', $world->{now});
	$done{released}++;
	return;
}

sub do_extend
{
	my $hold = pick(holds('expired'), holds('open')) or return;
	my $model = $world->{model};
	my $anew = $hold->{state} eq 'expired';
	my $ttl = some_ttl();
	my ($may, $must) = $anew ? may_be_held_anew($hold) : (1, 1);

	$world->{doing} = "extend $hold->{name}";
	my ($allowed, $expires) = @{ run(sprintf "SELECT (v ->> 'allowed')::boolean, v ->> 'expires_at' FROM quota.extend(:'%s', ttl => '%s') AS v", $hold->{name}, interval($ttl)) };
	same('extended', $must ? 't' : 'f', $allowed) if $may == $must;
	$done{ $anew ? 'extended when expired' : 'extended' }++;
	if ($allowed eq 't')
	{
		$hold->{expires} = $world->{now} + $ttl if $anew or $hold->{expires} < $world->{now} + $ttl;
		$hold->{state} = 'open';
		same('expires_at', instant_text($hold->{expires}), instant_text(parse_instant($expires)));
	}
	return;
}

# Whether an expired hold may be granted again, and whether it must be. In windows it may be
# judged at its own instant, now, or by all windows around it: the documentation leaves it open.
sub may_be_held_anew
{
	my ($hold) = @_;
	my $model = $world->{model};
	my ($may, $must) = (1, 1);
	my %at = (then => $hold->{at}, now => $world->{now});

	for my $level (QuotaModel::levels_of($hold->{scope}, $hold->{user}))
	{
		for my $limit (grep { $hold->{held}{ $_->{resource} } && $_->{policy} eq 'hard' } $model->limits_at($level))
		{
			my $request = $hold->{held}{ $limit->{resource} };
			my $window = $limit->{period}{kind} =~ /rolling|refill/;
			my @fits = map {
				my $view = $model->view($limit, $level, $at{$_}, $model->{rows});
				my $capacity = $limit->{amount} + $limit->{overdraft};

				# A limit that is smaller than the hold came after it: the hold may have left its window.
				$window && $request > $capacity ? (0, 1)
				  : $view->{exact} && !$view->{before} ? ($view->{fits}->($request), $view->{fits_around} ? $view->{fits_around}->($request) : ())
				  : $view->{before} ? (0, 1)
				  : ($view->{low} + $request <= $capacity, $view->{high} + $request <= $capacity)
			} $window ? qw(then now) : 'then';

			$may = 0 unless grep { $_ } @fits;
			$must = 0 if grep { !$_ } @fits;
		}
	}
	return ($may, $must);
}

sub do_adjust
{
	my ($scope, $user) = (pick($world->{root}, @{ $world->{projects} }), pick(undef, @USERS));
	my $amount = some_request();

	unless ($world->{clean} or chance(0.5))
	{
		$_ = -$_ for values %$amount;
	}
	$world->{doing} = 'adjust';
	run(sprintf "SELECT quota.adjust('%s', '%s', 'simulated') ->> 'state'", defined $user ? "$scope/user:$user" : $scope, amount_text($amount));
	$world->{model}->add_row(scope => $scope, user => $user, at => $world->{now}, state => 'settled', held => {}, charged => $amount,
		(grep { $_ < 0 } values %$amount) ? (corrected => 1) : ());
	$done{adjusted}++;
	return;
}

# Some operations that are taken back.
sub do_transaction
{
	return if $world->{clean};
	my $before = $world->{model}->clone;

	run('BEGIN');
	some_operation() for 1 .. 1 + rand 3;
	run('ROLLBACK');
	$world->{model} = $before;
	$before->{corrected} = 1;
	$done{'rolled back'}++;
	return;
}

# A transaction of which a part is taken back.
sub do_savepoints
{
	return if $world->{clean};
	run('BEGIN');
	some_operation() if chance(0.7);
	run('SAVEPOINT a');
	my $before = $world->{model}->clone;
	some_operation() for 1 .. 1 + rand 2;
	if (chance(0.7))
	{
		run('ROLLBACK TO a');
		$world->{model} = $before;
		$before->{corrected} = 1;
		$done{'rolled back to a savepoint'}++;
	}
	some_operation() if chance(0.7);
	run('COMMIT');
	return;
}

sub some_operation
{
	return if @mismatches;
	pick(\&do_reserve, \&do_reserve, \&do_settle, \&do_release, \&do_adjust, \&do_extend, \&do_late)->();
	return;
}

sub do_nothing
{
	$world->{doing} = 'nothing';
	return;
}

sub do_reload
{
	$world->{doing} = 'reload';
	run("SELECT quota.reload('$world->{root}')");
	$done{reloaded}++;
	return;
}

sub do_verify
{
	$world->{doing} = 'verify';
	set_clock($world->{now});
	my @rows = $session->query("SELECT * FROM quota.verify('$world->{root}')");
	same('verify', '', join "\n", map { join '|', map { $_ // '' } @$_ } @rows);
	$done{verified}++;
	return;
}

sub do_maintenance
{
	return if $world->{clean} and $world->{model}->expired($world->{now});
	$world->{doing} = 'run_maintenance';
	run('CALL quota.run_maintenance()');
	for ($world->{model}->expired($world->{now}))
	{
		$world->{model}->close_row($_, 'expired', $world->{now});
		$done{'expired by a job'}++;
	}
	same('errors of jobs', '', join "\n", map { "$_->[0]: $_->[1]" }
		  $session->query('SELECT job, last_error FROM quota.admin_jobs WHERE last_error IS NOT NULL'));
	$done{maintained}++;
	return;
}

# Observations ---------------------------------------------------------------------------

# A verdict from the fields that pg_temp.told() returns.
sub told
{
	my %verdict;

	@verdict{qw(allowed state hold_id retry_at levels)} = @_;
	$verdict{allowed} = $verdict{allowed} eq 't' ? 1 : 0;
	$verdict{retry_at} = parse_instant($verdict{retry_at});
	my @levels = map { { map { split /=/, $_, 2 } split /\t/ } } split /\n/, $verdict{levels} // '';
	$verdict{levels} = { map { ("$_->{scope} $_->{id}" => $_) } grep { $_->{id} } @levels };
	return \%verdict;
}

sub check_sql
{
	my ($scope, $user, $amount) = @_;
	return sprintf "pg_temp.told(quota.check_amount('%s', '%s', '%s'))", $user, $scope, amount_text($amount);
}

# Looks at everything, now and at some other instant, and at what comes of waiting.
sub observe
{
	my $now = $world->{now};
	my $model = $world->{model};
	my ($scope, $user) = (pick(@{ $world->{projects} }), pick(@USERS));
	my @looks = (
		[ $scope, $user, { credit => 1, calls => 1 }, $now ],
		[ $scope, $user, amount_at_edge($scope, $user), $now ],
		[ pick(@{ $world->{projects} }), pick(@USERS), some_request(), $now ]);

	push @looks, [ $scope, $user, some_request(), $world->{born} + int rand($now - $world->{born}) ] if chance(0.15);
	push @looks, [ $scope, $user, some_request(), $now + up_to(20 * $world->{class}{scale}) ] if chance(0.15);
	set_clock($now);
	my $sql = join ";\n", map {
		my ($scope, $user, $amount, $at) = @{ $looks[$_] };
		# Each in a transaction of its own: what one of them has in use is not loaded again for the next.
		sprintf "BEGIN; SET xavier_quota.clock = '%s'; SELECT 'look', %d, t.* FROM %s t; COMMIT", instant_text($at), $_, check_sql($scope, $user, $amount)
	} 0 .. $#looks;
	$sql .= ";\n" . forget_sql() if @looks > 3;
	$sql .= ";\nBEGIN; SET xavier_quota.clock = '$world->{clock}'; COMMIT; BEGIN; SELECT 'remaining', quota.remaining('$user', '$scope')";
	$sql .= ";\nSELECT 'open', h.hold_id FROM quota.holds h JOIN quota.accounts a USING (root_id) WHERE a.scope::text = '$world->{root}'";
	my $views = chance(0.25);
	$sql .= qq{;\nSELECT 'limit', scope, limit_id, "limit", used, held, remaining, overdraft, period_start, resets_at FROM quota.admin_limits WHERE root = '$world->{root}'} if $views;
	my $grants = $FEATURES{grants} && %{ $model->{grants} } && chance(0.5);
	$sql .= ";\nSELECT 'grant', grant_id, trim_scale(remaining) FROM quota.admin_grants WHERE root = '$world->{root}'" if $grants;

	my %rows = (forget => [], open => [], limit => [], grant => []);
	push @{ $rows{ shift @$_ } }, $_ for $session->query("$sql;\nCOMMIT");
	my @waits;
	for my $row (@{ $rows{look} })
	{
		my $look = $looks[ shift @$row ];
		my $verdict = told(@$row);

		compare_check($look, $verdict);
		# A wait of years passes more short periods than the model has time for.
		push @waits, [ $look, $verdict ]
		  if not $verdict->{allowed} and defined $verdict->{retry_at} and $verdict->{retry_at} < $now + 100 * $world->{class}{scale};
	}
	compare_remaining($model->remaining($scope, $user, $now), $rows{remaining}[0][0]);
	same('open holds', join(' ', sort map { $_->{id} } open_holds()), join ' ', sort map { $_->[0] } @{ $rows{open} });
	compare_views($rows{limit}) if $views;
	compare_grants($rows{grant}) if $grants;
	wait_for(@$_) for @waits[ 0 .. ($#waits > 1 ? 1 : $#waits) ];
	return;
}

# A session remembers for a second of its clock that no hold of a root has expired. It counts
# on clocks that do not go back: after a look at another time, a refusal before any hold makes it forget.
sub forget_sql
{
	my @sql = ('BEGIN', sprintf("SET xavier_quota.clock = '%s'", instant_text($world->{born} - DAY)));

	for my $project (@{ $world->{projects} })
	{
		push @sql, map { "SELECT 'forget', quota.check_amount('$_', '$project', 'calls=1000000000,credit=1000000000') IS NULL" } @USERS;
	}
	return join ";\n", @sql, 'COMMIT';
}

# The model's rows as a look sees them that would be refused otherwise: without holds that
# are past their time.
sub without_expired
{
	my ($at) = @_;
	return [ map { $_->{state} eq 'open' && $_->{expires} <= $at ? { %$_, state => 'expired', charged => {}, corrected => 1 } : $_ } @{ $world->{model}{rows} } ];
}

sub compare_check
{
	my ($look, $verdict) = @_;
	my ($scope, $user, $amount, $at) = @$look;
	my $model = $world->{model};
	my $what = sprintf 'check of %s by %s in %s at %s', amount_text($amount), $user, $scope, instant_text($at);
	my $rows = $model->{rows};
	my $levels = $model->look($scope, $user, $amount, $at, $rows);

	if ($model->expired($at))
	{
		my $vague = grep { !$_->{exact} || $_->{before} } values %$levels;
		my ($allowed) = QuotaModel::decide($levels);
		my $gone = without_expired($at);

		# What is known within bounds only may be seen with them or without: one must be right.
		if ($vague)
		{
			my @so_far = @mismatches;
			compare_verdict($what, $model->look($scope, $user, $amount, $at, $model->{rows}), $verdict, $look, $model->{rows});
			return if @mismatches == @so_far;
			@mismatches = @so_far;
		}
		$rows = $gone if $vague || !$allowed;
		$levels = $model->look($scope, $user, $amount, $at, $rows);
	}
	compare_verdict($what, $levels, $verdict, $look, $rows);
	$done{'looks at another time'}++ if $at != $world->{now};
	return;
}

# Whether a limit that carries may have taken an instant into its opening already: it goes back
# no further than 128 phases, of which a period has several where grants begin and end in it.
sub is_taken_in
{
	my ($view, $at) = @_;

	return defined $view->{later_rows} && $world->{front} - $at > 32 * ($view->{end} - $view->{start});
}

# agreed_retry(look, rows, retry): an instant at which each limit that refuses would let the
# request pass, until all do. Returns nothing where the model does not know.
sub agreed_retry
{
	my ($look, $rows, $retry) = @_;
	my ($scope, $user, $amount, $at) = @$look;

	# Of what was used after an instant of the past, only limits that look back know.
	return if $at < $world->{model}{latest};
	for (1 .. 32)
	{
		return { at => undef } unless defined $retry;
		# A wait of years passes more short periods than the model has time for.
		return if $retry > $world->{now} + 100 * $world->{class}{scale};
		my $levels = $world->{model}->look($scope, $user, $amount, $retry, $rows);
		return if grep { !$_->{exact} || $_->{before} || is_taken_in($_, $retry) } values %$levels;
		my ($allowed, $next) = QuotaModel::decide($levels);
		return { at => $retry } if $allowed;
		$retry = $next;
	}
	return { at => undef };
}

# compare_verdict(what, levels of the model, verdict, look, rows of the model)
sub compare_verdict
{
	my ($what, $levels, $verdict, $look, $rows) = @_;
	my $at = $look->[3];
	my $came = $verdict->{levels};
	my $vague = 0;

	same("$what: limits", join(', ', sort keys %$levels), join(', ', sort keys %$came));
	return if @mismatches or grep { $_->{before} || is_taken_in($_, $at) } values %$levels;
	for my $key (sort keys %$levels)
	{
		my $view = $levels->{$key};
		take_estimate("$what: $key", $view, micros($came->{$key}{used}) + micros($came->{$key}{held})) unless $view->{exact};
	}
	my ($allowed, $retry) = QuotaModel::decide($levels);
	for my $key (sort keys %$levels)
	{
		my ($view, $level) = ($levels->{$key}, $came->{$key});

		compare_level("$what: $key", $view, $level);
		$vague = 1 if not $view->{exact} and not $view->{fits_now} and $view->{of}{policy} eq 'hard';
	}
	same("$what: allowed", $allowed, $verdict->{allowed});
	return if $allowed;
	if ($vague and defined $retry)
	{
		mismatch("$what: retry_at", 'an instant after ' . instant_text($at), instant_text($verdict->{retry_at}))
		  if defined $verdict->{retry_at} and $verdict->{retry_at} <= $at;
		$verdict->{vague} = 1;
		return;
	}
	my $agreed = agreed_retry($look, $rows, $retry);
	if (not $agreed)
	{
		mismatch("$what: retry_at", 'an instant from ' . instant_text($retry) . ' on', instant_text($verdict->{retry_at}))
		  if defined $verdict->{retry_at} and $verdict->{retry_at} < $retry;
		return;
	}
	same("$what: retry_at", map { defined $_ ? instant_text($_) : 'never' } $agreed->{at}, $verdict->{retry_at});
	return;
}

# What is only known within bounds is what the engine says, if that is within them.
sub take_estimate
{
	my ($what, $view, $used) = @_;

	mismatch("$what: used and held", "$view->{low} to $view->{high}", $used) if $used < $view->{low} or $used > $view->{high};
	$view->{takes}->($used);
	$view->{used} = $used;
	$view->{remaining} = $view->{limit} - $used;
	$done{'estimates within bounds'}++;
	return;
}

sub compare_level
{
	my ($what, $view, $level) = @_;
	my $limit = $view->{of};

	$done{"exact levels $limit->{period}{kind}"}++ if $view->{exact};
	$done{'levels that carry'}++ if $view->{rolled_over} or $view->{carried_overage};
	$done{'levels with a grant'}++ if $view->{granted};
	compare_numbers($what, $view, $level);
	same("$what: requested", $view->{requested}, micros($level->{requested}));
	same("$what: policy", $limit->{policy}, $level->{policy});
	same("$what: passed", $view->{fits_now} || $limit->{policy} ne 'hard' ? 'true' : 'false', $level->{passed});
	same("$what: short", $view->{fits_now} ? undef : $view->{short}, micros($level->{short})) unless $view->{later_rows};
	same("$what: $_", $view->{$_} || undef, micros($level->{$_})) for qw(rolled_over granted carried_overage);
	return;
}

sub compare_numbers
{
	my ($what, $view, $level) = @_;

	same("$what: limit", $view->{limit}, micros($level->{limit}));
	same("$what: overdraft", $view->{of}{overdraft} || 0, micros($level->{overdraft} // 0));
	if ($view->{sum_only})
	{
		same("$what: used and held", $view->{used} + $view->{held}, micros($level->{used}) + micros($level->{held}));
	}
	else
	{
		same("$what: used", $view->{used}, micros($level->{used}));
		same("$what: held", $view->{held}, micros($level->{held}));
		same("$what: from", instant_or_nothing($view->{start}), instant_or_nothing(parse_instant($level->{start})));
	}
	same("$what: to", instant_or_nothing($view->{end}), instant_or_nothing(parse_instant($level->{end})));
	same("$what: remaining", $view->{remaining}, micros($level->{remaining}));
	return;
}

sub instant_or_nothing
{
	my ($instant) = @_;
	return defined $instant && $instant != AFTER_ALL && $instant != BEFORE_ALL ? instant_text($instant) : undef;
}

# Asks again when retry_at has come, and a microsecond before.
sub wait_for
{
	my ($look, $verdict) = @_;
	my ($scope, $user, $amount, $at) = @$look;
	my $retry = $verdict->{retry_at};
	my @answers = map { told(@$_) } grep { $_->[0] ne 'forget' } $session->query(join ";\n",
		(map { sprintf "BEGIN; SET xavier_quota.clock = '%s'; SELECT t.* FROM %s t; COMMIT", instant_text($_), check_sql($scope, $user, $amount) } $retry - 1, $retry), forget_sql(),
		"SET xavier_quota.clock = '$world->{clock}'");
	my $what = sprintf '%s by %s in %s, refused at %s', amount_text($amount), $user, $scope, instant_text($at);

	$done{'waits for retry_at'}++;
	compare_check([ $scope, $user, $amount, $retry - 1 ], $answers[0]);
	compare_check([ $scope, $user, $amount, $retry ], $answers[1]);
	# Nothing else must happen meanwhile: no hold may expire, nothing may have been used later.
	return if $world->{model}->expired($retry) or $at < $world->{model}{latest};
	# A refill limit that is only known within bounds may be loaded then, within others.
	return if $verdict->{vague};
	same("$what: allowed a microsecond before retry_at", 0, $answers[0]{allowed});
	same("$what: allowed at retry_at", 1, $answers[1]{allowed});
	return;
}

sub compare_remaining
{
	my ($expected, $text) = @_;
	my %came;

	for my $part ($text =~ /([^,{}][^{}]*\{[^{}]*\})/g)
	{
		my ($level, $amounts) = $part =~ /^(.*)\{(.*)\}$/;
		$came{$level} = { map { split /=/ } split /,/, $amounts };
	}
	same('levels of remaining()', join(', ', sort keys %$expected), join(', ', sort keys %came));
	for my $level (sort keys %$expected)
	{
		for my $resource (sort keys %{ $expected->{$level} })
		{
			my $view = $expected->{$level}{$resource};
			next if not $view->{exact} or $view->{before};
			# One that is known within bounds may be the least.
			next if grep { $_->{resource} eq $resource && $_->{period}{kind} eq 'refill' } $world->{model}->limits_at($level);
			same("remaining() $level $resource", $view->{remaining}, micros($came{$level}{$resource}));
		}
	}
	return;
}

sub compare_views
{
	my ($rows) = @_;
	my %expected = map { ("$_->[0] $_->[1]{id}" => $_) } counting();
	my %seen;

	for my $row (@$rows)
	{
		my %level;
		@level{qw(scope id limit used held remaining overdraft start end)} = @$row;
		s/ (?=\d\d:)/T/ for grep { defined } @level{qw(start end)};
		my $key = "$level{scope} $level{id}";
		my $counting = $expected{$key};

		$seen{$key} = 1;
		if (not $counting)
		{
			mismatch('admin_limits', 'not', $key);
			next;
		}
		my $view = $world->{model}->view(@$counting[ 1, 0 ], $world->{now}, $world->{model}{rows});
		next if $view->{before};
		take_estimate("admin_limits $key", $view, micros($level{used}) + micros($level{held})) unless $view->{exact};
		compare_numbers("admin_limits $key", $view, \%level);
	}
	same('admin_limits: accounts', '', join ', ', grep { !$seen{$_} && !m{/user:} } sort keys %expected);
	$done{'views compared'}++;
	return;
}

sub compare_grants
{
	my ($rows) = @_;
	my $model = $world->{model};
	my %came = map { $_->[0] => $_->[1] } @$rows;

	for my $counting (counting())
	{
		my ($level, $limit) = @$counting;
		next unless $model->grants_of($limit, $level);
		my $view = $model->view($limit, $level, $world->{now}, $model->{rows});

		same("admin_grants $_", $view->{grants}{$_}, micros($came{$_})) for grep { !defined $model->{grants}{$_}{voided} } sort keys %{ $view->{grants} // {} };
	}
	$done{'grants compared'}++;
	return;
}

# What a run of some length must have done.
sub wanted_often
{
	return (
		'reserved', 'refused', 'settled', 'settled late', 'released', 'extended', 'extended when expired', 'adjusted', 'rolled back',
		'rolled back to a savepoint', 'reloaded', 'verified', 'maintained', 'holds that gave way', 'steps back', 'steps to a landmark',
		'waits for retry_at', 'views compared', 'looks at another time', 'limits dropped',
		(map { ("limits $_", "exact levels $_") } grep { $FEATURES{$_} } qw(calendar lifetime rolling refill)),
		($FEATURES{prorate} ? 'limits prorated' : ()), ($FEATURES{plans} ? 'plans' : ()),
		($FEATURES{refill} ? 'estimates within bounds' : ()), ($FEATURES{rollover} || $FEATURES{overage} ? 'levels that carry' : ()),
		($FEATURES{grants} ? ('grants', 'grants voided', 'levels with a grant', 'grants compared') : ()));
}
