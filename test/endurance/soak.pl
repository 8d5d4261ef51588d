
# A mixed load for as long as it is told, with everything that could grow sampled all the
# while: memory of backends and of the engine, tables and indexes, dead rows, events not
# folded, open holds, latencies. After half of the time a transaction elsewhere stays
# open for a fifth of it, so that nothing can be vacuumed or folded. In the end everything
# is as it was before, and counters equal the tables.
#
# AMOUNT is the time in seconds (60). The samples go to soak.tsv and the picture of them to
# soak.png, in the directory RESULTS.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use List::Util qw(max min sum0);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use XavierQuota;

my $SECONDS = $ENV{AMOUNT} // 60;
my $LONG = $SECONDS >= 600;
my $STEP = $LONG ? 10 : 2;
my $RESULTS = $ENV{RESULTS} // $PostgreSQL::Test::Utils::log_path;
my $PARTS = "$FindBin::RealBin/soak";

# Requests a second, so that a machine that does other things as well keeps pace.
my $RATE = 400;
my $CLIENTS = 8;
# Beside the hot one.
my $COMPANIES = $LONG ? 500 : 60;

# When, in parts of the time: the load is warm; the transaction elsewhere begins, ends;
# what it has left behind has been cleared up.
my ($WARM, $HELD, $FREE, $CLEAR) = (0.35, 0.5, 0.7, 0.85);

# What a sample has; from open_holds to contexts as soak/sample.sql reads it.
my @SAMPLE = qw(
  seconds open_holds
  holds_bytes holds_dead holds_index_bytes keys_bytes keys_dead keys_index_bytes events_bytes
  unfolded_events counters pinned memory_bytes loads evictions claims refusals
  wal_bytes rows_written context_bytes backend_bytes_median backend_bytes_max
  calls_per_second latency_ms_50 latency_ms_99 latency_ms_999);

my $node = new_server(
	'soak', settings => qq(
fsync = on
xavier_quota.max_counters = @{[ $LONG ? 2048 : 400 ]}
xavier_quota.max_series = @{[ $LONG ? 1024 : 256 ]}
xavier_quota.max_ttl = 30
xavier_quota.key_retention = @{[ $LONG ? 120 : 10 ]}
autovacuum_naptime = @{[ $LONG ? '1min' : '3s' ]}
max_wal_size = 4GB
));
install_checks($node);
$node->safe_psql('postgres', "SET soak.companies = $COMPANIES;\n" . slurp_file("$PARTS/definitions.sql"));

# Half of the requests are of the hot company. Those of a client that are open are h1 to h8.
my $pick = qq{
\\set turn :turn + 1
\\set company 0
\\set user random(0, 63)
\\if random(0, 1) = 1
\\set company random(1, $COMPANIES)
\\set user random(0, 1)
\\endif
};
my $request = q{'{"input_tokens": 1200, "max_output_tokens": 1000}'};
my $reserve = "quota.reserve('u' || :user, 'p' || :company, 'm1', $request, ttl => '30 seconds'";
my @workload = (
	# The generation that began eight turns ago has ended.
	[ 60, qq{
SELECT v ->> 'hold_id' AS h1, @{[ join ', ', map { "(:h$_)::text AS h" . ($_ + 1) } 1 .. 7 ]} FROM $reserve) AS v \\gset
\\set made :made + 1
\\if :made > 8
SELECT quota.settle((:h8)::uuid, '{"input_tokens": 1200, "output_tokens": 300}');
\\endif
} ],
	# Nobody settles it: it expires.
	[ 6, "SELECT $reserve);" ],
	[ 5, qq{
SELECT v ->> 'hold_id' AS hold FROM $reserve) AS v \\gset
SELECT quota.extend((:hold)::uuid, '{"input_tokens": 1200, "max_output_tokens": 2000}', ttl => '25 seconds');
SELECT quota.release((:hold)::uuid, 'cancelled');
} ],
	[ 5, qq{
SELECT count($reserve, idempotency_key => concat((:run)::text, (:client_id)::text, '-', (:turn)::text))) FROM generate_series(1, 2);
} ],
	[ 4, qq{
BEGIN;
SELECT v ->> 'hold_id' AS hold FROM $reserve) AS v \\gset
SAVEPOINT one;
SELECT quota.settle((:hold)::uuid, '{"input_tokens": 1200, "output_tokens": 10}');
ROLLBACK TO SAVEPOINT one;
SELECT quota.settle((:hold)::uuid, '{"input_tokens": 1200, "output_tokens": 1500}');
COMMIT;
} ],
	[ 2, qq{
BEGIN;
SELECT $reserve);
ROLLBACK;
} ],
	[ 4, qq{SELECT quota.charge('u' || :user, 'p' || :company, 'm2', '{"input_tokens": 500, "output_tokens": 50}');} ],
	[ 2, qq{SELECT quota.adjust(test.share((:company)::text, (:user)::text), 'credit=-0.5', 'goodwill');} ],
	[ 6, qq{SELECT quota.can_execute_generation('u' || :user, 'p' || :company, 'm2', $request);} ],
	[ 3, qq{SELECT quota.remaining('u' || :user, 'p' || :company);} ],
	[ 2, qq{SELECT quota.reserve_amount('u0', 'tight', 'storage=1', ttl => '4 seconds');} ],
	[ 1, qq{INSERT INTO contexts SELECT pg_backend_pid(), clock_timestamp(), sum(total_bytes) FROM pg_backend_memory_contexts;} ]);

# What administrators do, one thing at a time. A limit that comes or goes waits for the
# requests of its company in progress, a plan for all.
my @administration = (
	[ 5, qq{SELECT quota.set_limit(test.company('0'), 'credit', 1000000000 + :turn);} ],
	[ 5, qq{SELECT quota.set_limit(test.company((:company)::text), 'calls', 1000000, '1 day', model => 'm2');} ],
	[ 5, qq{
SELECT count(quota.drop_limit(limit_id)) FROM quota.limits
WHERE resource = 'calls' AND model = 'm2' AND scope OPERATOR(quota.=) test.company((:company)::text);
} ],
	[ 1, qq{SELECT quota.put_plan('small', jsonb_build_array(jsonb_build_object('resource', 'calls', 'amount', 1000000 + :turn, 'period', 'hour')));} ],
	[ 1, qq{SELECT quota.put_plan('small', jsonb_build_array(jsonb_build_object('resource', 'calls', 'amount', 1000000, 'period', (ARRAY['hour', 'day'])[1 + :turn % 2])));} ],
	[ 1, qq{SELECT quota.set_rate_card('m2', '{"lines": [{"meter": "input_tokens", "price": "0.000001"}, {"meter": "output_tokens", "price": "0.00001"}]}', clock_timestamp());} ],
	[ 2, qq{SELECT quota.put_member(test.company((:company)::text), 'v' || :user, random() < 0.5);} ],
	[ 2, qq{SELECT count(*) FROM quota.admin_limits WHERE scope LIKE 'company_c1%';} ],
	[ 2, qq{SELECT count(*) FROM quota.admin_usage_daily;} ],
	[ 2, qq{SELECT count(*) FROM (SELECT * FROM quota.admin_holds LIMIT 100) AS h;} ],
	[ 2, qq{SELECT count(*) FROM quota.verify(test.company((:company)::text));} ]);

# scripts(name, workload): pgbench's arguments for scripts with their weights.
sub scripts
{
	my ($name, @scripts) = @_;
	my $number = 0;

	return map {
		my ($weight, $text) = @$_;
		('-f', write_script("$name" . $number++ . '.pgbench', "$pick$text\n") . "\@$weight");
	} @scripts;
}

my @ring = ('-D', 'turn=0', '-D', 'made=0', map { ('-D', "h$_=none") } 1 .. 8);
my $log = "$PostgreSQL::Test::Utils::tmp_check/soak";
my %runs;

# start(name, connection, arguments): pgbench for the time of the soak.
sub start
{
	my ($name, $connection, @arguments) = @_;
	my $output = '';
	my $handle = IPC::Run::start(
		[ 'pgbench', '-n', '-T', $SECONDS, '-D', "run=$name", @ring, @arguments, "$connection application_name=$name" ],
		'<', \undef, '>', \$output, '2>&1');

	$runs{$name} = { handle => $handle, output => \$output };
	return;
}

my $direct = $node->connstr('postgres');
my $administrator = "$direct options='-c xavier_quota.definition_lock_timeout=60s'";
my $began = time;
start('service', $direct, scripts('service', @workload),
	'-M', 'prepared', '-c', $CLIENTS, '-j', 1, '-R', $RATE, '-l', "--log-prefix=$log");
start('newcomers', $direct, scripts('newcomers', @workload), '-M', 'extended', '-C', '-c', 2, '-R', 5);
start('administrators', $administrator, scripts('administrators', @administration), '-M', 'prepared', '-c', 1, '-R', 1);
my $bouncer;
if (find_bouncer())
{
	($bouncer, my $port) = start_bouncer($node, 4, '');
	start('pooled', "host=127.0.0.1 port=$port dbname=postgres", scripts('pooled', @workload),
		'-M', 'extended', '-c', 16, '-R', $RATE / 8);
}
else
{
	note 'there is no program pgbouncer: nobody comes through a pool';
}
my $upkeep_output = '';
my $every = $LONG ? 60 : 3;
my $upkeep = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $direct, '-f', write_script('upkeep.sql', "CALL quota.run_maintenance() \\watch $every\n") ],
	'<', \undef, '>', \$upkeep_output, '2>&1');

# Nobody goes on when the test has ended before its time.
$SIG{TERM} = $SIG{INT} = sub { exit 1 };
END
{
	local $?;
	$_ and $_->kill_kill for $upkeep, $bouncer, map { $_->{handle} } values %runs;
}

# anonymous_bytes(pid): memory of a process that is its own.
sub anonymous_bytes
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/smaps_rollup" or return;
	my ($kilobytes) = map { /^Anonymous:\s+(\d+) kB/ } <$file>;
	return $kilobytes * 1024;
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return @sorted ? $sorted[ $#sorted / 2 ] : 0;
}

# The samples, and in @held the transaction that stays open for a while.
my $sampler = open_session($node, 'postgres', $SECONDS + 300);
my $elsewhere = open_session($node, 'postgres', $SECONDS + 300);
my $sample_query = slurp_file("$PARTS/sample.sql");
my (@samples, @held);
while (time - $began < $SECONDS)
{
	my $now = time - $began;
	my %sample = (seconds => $now);
	my @backends = split /\n/,
	  $sampler->query("SELECT pid FROM pg_stat_activity WHERE application_name = 'service'");
	my @bytes = grep { defined } map { anonymous_bytes($_) } @backends;

	if (!@held and $now >= $HELD * $SECONDS)
	{
		$elsewhere->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()');
		push @held, $now;
	}
	if (@held == 1 and $now >= $FREE * $SECONDS)
	{
		$elsewhere->query('COMMIT');
		push @held, $now;
	}
	is_running($upkeep) or die "upkeep has ended: $upkeep_output";
	@sample{ @SAMPLE[ 1 .. 19 ] } = split /\|/, $sampler->query($sample_query);
	$sample{backend_bytes_median} = median(@bytes);
	$sample{backend_bytes_max} = max(@bytes, 0);
	push @samples, \%sample;
	note sprintf '%d s: %d holds open, %d events not folded, %.1f MB in a backend, %.1f MB of holds',
	  $now, $sample{open_holds}, $sample{unfolded_events}, $sample{backend_bytes_median} / 1e6,
	  ($sample{holds_bytes} + $sample{holds_index_bytes}) / 1e6
	  if @samples % ($LONG ? 30 : 5) == 1;
	sleep(max(0, $began + $STEP * @samples - time));
}
for my $name (sort keys %runs)
{
	my $run = $runs{$name};
	my $well = $run->{handle}->finish;
	my $summary = ${ $run->{output} } =~ s/^SQL script (?:.*\n)(?: - .*\n)*//gmr;

	ok($well, "$name: every call was answered") or diag $summary;
	note $summary;
}
$upkeep->kill_kill;
unlike($upkeep_output, qr/WARNING|ERROR/, 'upkeep ran without a warning');
if ($bouncer)
{
	$bouncer->signal('TERM');
	$bouncer->finish;
}

# add_latencies(): percentiles of what pgbench has logged, by sample. A line is: client,
# number, microseconds, script, second, microsecond, lag behind the schedule.
sub add_latencies
{
	my @by_sample;

	for my $file (glob "$log.*")
	{
		open my $lines, '<', $file or die "could not read $file: $!";
		while (<$lines>)
		{
			my (undef, undef, $time, $script, $second, $microsecond, $lag) = split / /;
			my $sample = int(($second + $microsecond / 1e6 - $began) / $STEP);

			push @{ $by_sample[$sample] }, ($time - $lag) / 1000 if $script == 0;
		}
	}
	for my $i (0 .. $#samples)
	{
		my @sorted = sort { $a <=> $b } @{ $by_sample[$i] // [0] };
		@{ $samples[$i] }{qw(latency_ms_50 latency_ms_99 latency_ms_999)} =
		  map { $sorted[ $#sorted * $_ ] } 0.5, 0.99, 0.999;
	}
	return;
}

# Totals become what was added since the sample before.
sub add_rates
{
	for my $i (reverse 1 .. $#samples)
	{
		my ($sample, $before) = @samples[ $i, $i - 1 ];
		my $seconds = $sample->{seconds} - $before->{seconds};

		$sample->{$_} -= $before->{$_} for qw(loads evictions claims refusals wal_bytes rows_written);
		$sample->{calls_per_second} = $sample->{rows_written} / $seconds;
	}
	shift @samples;
	return;
}

add_latencies();
add_rates();
my $table = "$RESULTS/soak.tsv";
open my $tsv, '>', $table or die "could not write $table: $!";
print $tsv join("\t", @SAMPLE), "\n";
print $tsv join("\t", map { sprintf '%.6g', $_ } @$_{@SAMPLE}), "\n" for @samples;
close $tsv;
note "samples: $table";
if (system("gnuplot --version > /dev/null 2>&1") == 0)
{
	my @command = ('gnuplot', '-e', "table = '$table'; picture = '$RESULTS/soak.png'; held = $held[0]; free = $held[1]; rate = $RATE",
		"$PARTS/plot.gnuplot");
	ok(run_log(\@command), 'the picture is drawn');
	note "picture: $RESULTS/soak.png";
}
else
{
	note 'there is no program gnuplot (Debian package gnuplot-nox): no picture';
}

# during(column, from, until): its values in a part of the time.
sub during
{
	my ($column, $from, $until) = @_;
	return map { $_->{$column} }
	  grep { $_->{seconds} >= $from * $SECONDS and $_->{seconds} < $until * $SECONDS } @samples;
}

# flat(column, factor, slack, sentence): whether the median at the end is that of before.
sub flat
{
	my ($column, $factor, $slack, $sentence) = @_;
	my ($before, $after) = (median(during($column, $WARM, $HELD)), median(during($column, $CLEAR, 2)));

	cmp_ok($after, '<=', $before * $factor + $slack, sprintf '%s: %.4g, at the end %.4g', $sentence, $before, $after);
	return;
}

# How fast is a matter of the machine, and of what else it does: only an hour has the time to tell.
cmp_ok(median(during('calls_per_second', $CLEAR, 2)), '>=', median(during('calls_per_second', $WARM, $HELD)) / 2,
	'calls are served as before') if $LONG;
flat('backend_bytes_median', 1.1, 500_000, 'memory of a backend does not grow (bytes)');
flat('context_bytes', 1.1, 300_000, 'nor what it says of it itself (bytes)');
flat('unfolded_events', 2, $RATE * $every, 'events that are not folded do not pile up');
flat('open_holds', 1.5, 200, 'nor do open holds');
flat('wal_bytes', 2, 0, 'what goes to the WAL does not grow (bytes in a sample)');
for my $table (qw(holds keys))
{
	# What the transaction elsewhere has made them grow to stays, and is used again.
	my $most = max(during("${table}_bytes", 0, $CLEAR));

	cmp_ok(max(during("${table}_bytes", $CLEAR, 2)), '<=', $most * 1.1 + 1e6,
		sprintf '%s stops growing: %.4g bytes', $table, $most);
	$most = max(during("${table}_index_bytes", 0, $CLEAR));
	cmp_ok(max(during("${table}_index_bytes", $CLEAR, 2)), '<=', $most * 1.1 + 1e6,
		sprintf 'its index, too: %.4g bytes', $most);
}
is(max(map { $_->{memory_bytes} } @samples) - min(map { $_->{memory_bytes} } @samples),
	0, 'shared memory is what it was');
cmp_ok(sum0(map { $_->{evictions} } @samples), '>', 100, 'though counters were evicted');
cmp_ok(sum0(map { $_->{refusals} } @samples), '>', 10, 'and requests refused');
is($node->safe_psql('postgres', 'SELECT pinned FROM quota.engine_stats'), '0', 'no counter is pinned any more');
is(differences($node), '', 'counters equal the tables');
is(mismatches($node), '', 'and what the rows of the ledger add up to');
$node->safe_psql('postgres', 'CALL quota.run_maintenance()');
is($node->safe_psql('postgres', 'SELECT * FROM unfolded'), '0', 'after one more fold no event is left to fold');

done_testing();
