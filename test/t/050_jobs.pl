
# Upkeep by pg_cron, at its own pace, and without it; late, twice and concurrently.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $node = new_server('jobs', settings => q{
cron.database_name = 'postgres'
cron.use_background_workers = on
max_worker_processes = 20
});
my $definitions = q{
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo');
SELECT quota.put_member('company:acme', 'u' || i) FROM generate_series(1, 20) i;
SELECT quota.set_limit('company:acme', 'credit', 1000000);
SELECT quota.set_limit('company:acme', 'calls', 1000000, 'lifetime');
SELECT quota.set_limit('company:acme/user:*', 'credit', 1000);
};

install_checks($node);
$node->safe_psql('postgres', $definitions);

# Scheduled, with work to do: two holds that expire, one that does not, two events.
like(($node->psql('postgres', 'SELECT quota.schedule_jobs()'))[2],
	qr/pg_cron is not installed.*HINT:  .*run_maintenance/s, 'without pg_cron, jobs cannot be scheduled');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron');
my $jobs = join "\n", map { "xavier_quota $_" } qw(expire fold partitions periods purge);
is($node->safe_psql('postgres', 'SELECT quota.schedule_jobs()'), $jobs, 'jobs are scheduled');
is( $node->safe_psql(
		'postgres', q{
UPDATE quota.jobs SET schedule = '* * * * *' WHERE job IN ('partitions', 'periods', 'purge');
SELECT quota.schedule_jobs()}),
	$jobs, 'and scheduled anew when their times have changed');
is( $node->safe_psql('postgres', 'SELECT jobname, schedule, command FROM cron.job ORDER BY 1'),
	join("\n", map { "xavier_quota $_|* * * * *|CALL quota.run_job('$_')" } qw(expire fold partitions periods purge)),
	'each of them once');
$node->safe_psql(
	'postgres', q{
SELECT quota.reserve_amount('u' || i, 'apollo', 'credit=5,calls=1', ttl => CASE WHEN i < 3 THEN '1 second' ELSE '1 hour' END::interval)
FROM generate_series(1, 3) i;
SELECT quota.settle_amount((quota.reserve_amount('u4', 'apollo', 'credit=5,calls=1') ->> 'hold_id')::uuid, ('credit=' || i || ',calls=1')::quota.amount)
FROM generate_series(1, 2) i;
});
my $ready = $node->safe_psql('postgres', q{SELECT clock_timestamp() + interval '1 second'});
my $end_of_wait = time + 140;

# Meanwhile, upkeep in a database without pg_cron.
$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->safe_psql('plain', "CREATE EXTENSION xavier_quota; $definitions");
install_checks($node, 'plain');

sub plain
{
	my ($sql) = @_;
	return $node->safe_psql('plain', $sql);
}

my $usage = q{
SELECT quota.settle_amount((quota.reserve_amount('u' || i, 'apollo', 'credit=5,calls=1') ->> 'hold_id')::uuid, 'credit=1.5,calls=1')
FROM generate_series(1, 20) i;
SELECT quota.reserve_amount('u' || i, 'apollo', 'credit=2', ttl => '1 second') FROM generate_series(1, 20) i;
};
my $partition = q{SELECT tableoid::regclass::text, count(*) FROM quota.events GROUP BY 1 ORDER BY 1};
my $used = q{SELECT quota.remaining('u1', 'apollo')};

# Time is set, so that it takes none: usage in a month that has no partition yet.
my $may = q{SET xavier_quota.clock = '2030-05-10 12:00:00';};
plain("$may $usage");
is(plain($partition), 'quota.events_default|20', 'usage of a month without a partition goes to the default partition');
my $settled = plain(q{SELECT hold_id FROM quota.events ORDER BY 1 LIMIT 1});
my $receipt = plain(qq{SELECT quota.settle_amount('$settled', 'credit=1') - 'levels'});
my $before = plain("$may $used");
is($before, 'company:acme{calls=999980,credit=999930},company:acme/user:u1{credit=996.5}', 'it counts there');
plain(q{SET xavier_quota.clock = '2030-05-10 12:00:01'; CALL quota.run_maintenance()});
is(plain($partition), 'quota.events_2030_05|40', 'run_maintenance() moves it to its month');
is(plain("$may $used"), 'company:acme{calls=999980,credit=999970},company:acme/user:u1{credit=998.5}',
	'and has given back what had expired');
is(plain(q{SELECT count(*) FROM quota.events WHERE kind = 'expired'}), 20, 'which is in the ledger');
is(plain(q{SELECT sum(events), sum(used) = 30 FROM quota.usage_hourly WHERE leaf AND resource = 'credit'}),
	'20|t', 'usage is folded');
is(plain(qq{SELECT quota.settle_amount('$settled', 'credit=1') - 'levels'}), $receipt,
	'what was moved is found by its id');
is( plain(
		q{SELECT string_agg(relid::text, ' ' ORDER BY relid::text) FROM pg_partition_tree('quota.events') WHERE isleaf}),
	'quota.events_2030_05 quota.events_2030_06 quota.events_2030_07 quota.events_default',
	'there are partitions for this month and two more');
is(differences($node, 'plain'), '', 'counters equal the tables');
is(mismatches($node, 'plain'), '', 'and what the rows of the ledger add up to');

# Late: nothing has run for three months.
plain(qq{SET xavier_quota.clock = '2030-06-30 23:59:59'; $usage
         SET xavier_quota.clock = '2030-08-01 00:00:00'; $usage});
plain(q{SET xavier_quota.clock = '2030-09-02 00:00:00'; CALL quota.run_maintenance(); CALL quota.run_job('expire')});
is(plain($partition), "quota.events_2030_05|40\nquota.events_2030_06|40\nquota.events_2030_08|40",
	'late upkeep: holds of any month are expired, events of any month moved there');
is(plain(q{SELECT count(*) FROM quota.holds}), 0, 'late upkeep: all of them');
is(mismatches($node, 'plain'), '', 'late upkeep: limits say what the rows of the ledger add up to');

# Keys are forgotten past their retention, and not before.
plain(q{SET xavier_quota.clock = '2030-09-02 00:00:00';
        SELECT quota.adjust('company:acme', 'credit=1', 'purge', 'old');
        SET xavier_quota.clock = '2030-09-08 00:00:00';
        SELECT quota.adjust('company:acme', 'credit=1', 'purge', 'young');
        SET xavier_quota.clock = '2030-09-09 00:00:01'; CALL quota.run_job('purge')});
is(plain('SELECT key FROM quota.keys'), 'young', 'keys are forgotten past their retention');

# Twice and concurrently, while usage goes on: every job by four sessions at a time.
my $load = write_script('load.pgbench', $usage =~ s/\n\z//r);
my $upkeep = write_script('upkeep.pgbench', 'CALL quota.run_maintenance();');
my @runs = map { [ start_pgbench($node, 'plain', '-f', $_->[0], '-c', $_->[1], '-j', 1, '-t', $_->[2], '--max-tries', 10) ] }
  ([ $load, 2, 20 ], [ $upkeep, 4, 12 ]);
for my $run (@runs)
{
	ok($run->[0]->finish, 'usage and upkeep go on side by side') or diag ${ $run->[1] };
}
is(plain('SELECT job, error FROM quota.job_runs WHERE error IS NOT NULL'), '', 'concurrent upkeep: no job failed');
is(differences($node, 'plain'), '', 'concurrent upkeep: counters equal the tables');
is(mismatches($node, 'plain'), '', 'concurrent upkeep: and what the rows of the ledger add up to');
plain(q{CALL quota.run_job('fold'); SELECT quota.reload()});
is( plain(
		q{SELECT (SELECT sum(events) FROM quota.usage_hourly WHERE leaf AND resource = 'credit')
               = (SELECT count(*) FROM quota.events WHERE charged::jsonb ? 'credit')}),
	't', 'concurrent upkeep: every event is folded once');
is(mismatches($node, 'plain'), '', 'concurrent upkeep: counters loaded from the roll-up say the same');

# By now, or within its minute, pg_cron has done the same, since there was something to do.
ok( poll_until(
		sub {
			't' eq $node->safe_psql(
				'postgres', qq{
SELECT count(DISTINCT d.command) = 5 FROM cron.job_run_details d JOIN cron.job j USING (jobid)
WHERE d.status = 'succeeded' AND d.start_time > '$ready' AND j.jobname LIKE 'xavier_quota %'});
		}, $end_of_wait - time, 1000),
	'pg_cron has run every job');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM cron.job_run_details WHERE status = 'failed'}),
	0, 'and none has failed');
is( $node->safe_psql(
		'postgres', q{
SELECT string_agg(kind || ' ' || n, ' ' ORDER BY kind) FROM (SELECT kind, count(*) AS n FROM quota.events GROUP BY kind) e}),
	'expired 2 settled 2', 'holds that were past their time have expired, the other has not');
is( $node->safe_psql(
		'postgres', q{SELECT count(*) FROM quota.usage_hourly WHERE leaf AND resource = 'credit' AND used = 3 AND user_id = 'u4'}),
	1, 'usage is folded');
is( $node->safe_psql(
		'postgres', q{SELECT count(*) FROM pg_partition_tree('quota.events') WHERE isleaf}),
	4, 'there are partitions for this month and two more');
is(differences($node), '', 'counters equal the tables');
is(mismatches($node), '', 'and what the rows of the ledger add up to');
is( $node->safe_psql(
		'postgres', q{SELECT string_agg(DISTINCT job, ' ' ORDER BY job) FROM quota.job_runs WHERE error IS NULL AND finished_at IS NOT NULL}),
	'expire fold partitions periods purge', 'each run is recorded');
is($node->safe_psql('postgres', q{SELECT count(*) FROM quota.admin_jobs WHERE overdue}),
	0, 'admin_jobs says that none is late');
is($node->safe_psql('postgres', 'SELECT quota.unschedule_jobs()'), $jobs, 'jobs are taken out of pg_cron');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 0, 'none is left');
is($node->safe_psql('postgres', 'SELECT quota.unschedule_jobs()'), '', 'and none can be taken out again');

done_testing();
