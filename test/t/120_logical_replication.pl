
# The ledger flows out by logical replication, by the commands of docs/operating.md: to an
# analytics database without the extension, and to a server with the extension, which
# knows every balance and takes over. No publication, of whatever kind, makes a call or a
# job fail.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $settings = "xavier_quota.clock = '2026-03-20 12:34:56'\n";
# The copy is of a later major version, where there is one.
my ($old, $new) = two_majors();
my $source = new_server('source',
	prefix => $old, settings => $settings, init => { allows_streaming => 'logical' });
my $workers = "wal_retrieve_retry_interval = '50ms'\nmax_sync_workers_per_subscription = 4\nmax_logical_replication_workers = 8\n";
my $analytics = new_server('analytics', preload => '', settings => $workers, create => 0);
my $target = new_server('target', prefix => $new, settings => $settings . $workers, create => 0);
my $session = open_session($source);

install_checks($source);
$session->query(
	q{
SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [
    {"meter": "input_tokens", "price": "0.000001"}, {"meter": "output_tokens", "price": "0.000002"}]}', '2023-01-01');
SELECT quota.put_plan('team', '[{"resource": "credit", "amount": 700, "period": "lifetime"}]');
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo', plan => 'team');
SELECT quota.put_account('user:ann'), quota.put_account('user:ann/project:diary');
SELECT quota.put_member('company:acme', u) FROM unnest('{ann,bob}'::text[]) u;
SELECT quota.set_limit('company:acme', 'credit', 1000, 'lifetime');
SELECT quota.set_limit('company:acme', 'calls', 1000);
SELECT quota.set_limit('company:acme/user:*', 'credit', 400);
SELECT quota.set_limit('company:acme/project:apollo', 'calls', 30, 'month', rollover => 20);
SELECT quota.set_limit('company:acme/project:apollo', 'credit', 400, 'rolling 24 hours');
});

# use_ledger(time): every kind of call, now and at another time, and then every job. The
# ledger has no partition for the other time until the job makes one and moves there what
# is in the default partition.
sub use_ledger
{
	my ($other_time) = @_;

	for my $time ('2026-03-20 12:34:00', $other_time)
	{
		$session->query(
			qq{
SET xavier_quota.clock = '$time';
SELECT quota.settle((quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000}', 'key $other_time $time',
    ttl => '1 day') ->> 'hold_id')::uuid, '{"input_tokens": 900, "output_tokens": 10}');
SELECT quota.settle_amount((quota.reserve_amount('bob', 'apollo', 'credit=3,calls=1') ->> 'hold_id')::uuid,
    'credit=2.5,calls=1');
SELECT quota.release((quota.reserve_amount('bob', 'apollo', 'credit=3,calls=1') ->> 'hold_id')::uuid);
SELECT quota.charge('ann', 'diary', 'm1', '{"input_tokens": 2000, "output_tokens": 10}');
SELECT quota.adjust('company:acme/user:ann', 'credit=-0.5', 'refund');
SELECT quota.reserve_amount('ann', 'apollo', 'credit=1', ttl => '1 second');
SELECT quota.extend((quota.reserve_amount('ann', 'apollo', 'credit=7', ttl => '7 days') ->> 'hold_id')::uuid,
    ttl => '6 days');
RESET xavier_quota.clock;
});
	}
	$session->query(
		q{
SELECT quota.set_limit('company:acme', 'calls', 1 + (SELECT amount FROM quota.limits WHERE resource = 'calls' AND rollover = 0));
SELECT quota.grant_quota('company:acme/project:apollo', 'calls', 1 + (SELECT count(*) FROM quota.grants), expires_at => now() + interval '50 days');
SELECT quota.put_member('company:acme', 'member ' || (SELECT count(*) FROM quota.members));
CALL quota.run_maintenance();
});
	return;
}

# rows(node, tables): all their rows, as text. What a server has emptied itself is not asked.
sub rows
{
	my ($node, @tables) = @_;

	return split /\n/, $node->safe_psql('postgres', join ' UNION ALL ',
		map { "SELECT '$_: ' || t::text FROM quota.$_ t" . ($_ eq 'audit' ? q{ WHERE operation <> 'TRUNCATE'} : '') } @tables);
}

# same(node, subscription, when, tables): that a subscriber has the rows of the source.
sub same
{
	my ($node, $subscription, $when, @tables) = @_;
	my %balance;

	$source->wait_for_catchup($subscription);
	$balance{$_}++ for rows($source, @tables);
	$balance{$_}-- for rows($node, @tables);
	is(join("\n", map { "$balance{$_}: $_" } grep { $balance{$_} } sort keys %balance),
		'', "$when: the subscriber has the rows of the source, all and no other");
	return;
}

sub jobs_that_failed
{
	return $source->safe_psql('postgres', 'SELECT job, error FROM quota.job_runs WHERE error IS NOT NULL');
}

# Any publication: calls and jobs go on.
use_ledger('2025-10-05 12:00:00');
my %publications = (
	'all tables' => 'FOR ALL TABLES',
	'all tables, as the parent' => 'FOR ALL TABLES WITH (publish_via_partition_root = true)',
	'a schema' => 'FOR TABLES IN SCHEMA quota',
	'the ledger, filtered' =>
	  q{FOR TABLE quota.events WHERE (kind <> '' AND root_id > 0) WITH (publish_via_partition_root = true)},
	'one partition' => 'FOR TABLE quota.events_default');
my $month = 0;
for my $publication (sort keys %publications)
{
	$source->safe_psql('postgres', qq{CREATE PUBLICATION other $publications{$publication}});
	use_ledger(sprintf '2024-%02d-05 12:00:00', ++$month);
	is(jobs_that_failed(), '', "with a publication of $publication, calls and jobs work");
	is($source->safe_psql('postgres', 'SELECT count(*) FROM quota.events_default'),
		0, "with a publication of $publication, late events are moved to a partition");
	$source->safe_psql('postgres', 'DROP PUBLICATION other');
}
is($source->safe_psql('postgres', q{
SELECT c.oid::regclass FROM pg_class c
WHERE c.relnamespace = 'quota'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'global_lock'
  AND c.relreplident <> 'f' AND NOT (c.relreplident = 'd' AND EXISTS (
      SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))}),
	'', 'every table that is written has a replica identity');

# subscribe(node, headings, subscription, connection): runs the documented commands.
sub subscribe
{
	my ($node, $subscription, $user, %commands) = @_;
	my $connection = sprintf "host=%s port=%s dbname=postgres user=$user", $source->host, $source->port;

	$source->safe_psql('postgres', documented('operating.md', $commands{source}));
	$node->safe_psql('postgres',
		documented('operating.md', $commands{subscriber}) =~ s/(?<=CONNECTION ')[^']+/$connection/r);
	$node->wait_for_subscription_sync($source, $subscription);
	return;
}

# Analytics, without the extension.
my @tables = qw(events holds usage_hourly accounts);
subscribe($analytics, 'quota_analytics', 'analytics',
	source => 'On the server with the ledger',
	subscriber => 'In the database for reports');
same($analytics, 'quota_analytics', 'analytics, at first', @tables);
use_ledger('2025-11-05 12:00:00');
same($analytics, 'quota_analytics', 'analytics, after calls and a partition made late', @tables);
$session->query(q{SELECT quota._create_partition('2026-09-01'), quota._create_partition('2025-09-01')});
use_ledger('2026-09-05 12:00:00');
same($analytics, 'quota_analytics', 'analytics, after calls in a partition made ahead', @tables);
is( $analytics->safe_psql(
		'postgres', q{
SELECT scope, resource, sum(amount) FROM quota.charges
GROUP BY scope, resource HAVING sum(amount) <> 0 ORDER BY 1, 2}),
	$source->safe_psql(
		'postgres', q{
SELECT e.scope::text, r, sum(e.charged OPERATOR(quota.->) r) FROM quota.events e, unnest('{calls,credit}'::text[]) r
GROUP BY 1, 2 HAVING sum(e.charged OPERATOR(quota.->) r) <> 0 ORDER BY 1, 2}),
	'analytics: what was charged adds up to the same');
$analytics->safe_psql('postgres', 'DROP SUBSCRIPTION quota_analytics');

# A copy, with the extension.
my @all = split / /, $source->safe_psql('postgres', q{
SELECT string_agg(relname, ' ' ORDER BY relname COLLATE "C") FROM pg_class
WHERE relnamespace = 'quota'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
  AND relname NOT IN ('jobs', 'job_runs', 'global_lock')});

subscribe($target, 'quota_copy', 'postgres',
	source => 'On the old server', subscriber => 'On the new server');
install_checks($target);
my $asked = open_session($target);
for my $time ('2025-12-05 12:00:00', '2026-09-06 12:00:00', '2025-08-05 12:00:00')
{
	same($target, 'quota_copy', "copy, before calls of $time", @all);
	is(balances($target), balances($source),
		'copy: with the balances of the source');
	is(differences($target), '', 'copy: counters in memory equal the tables');
	is(mismatches($target), '', 'copy: and what the rows of its ledger add up to');
	use_ledger($time);
	$target->safe_psql('postgres', q{CALL quota.run_job('partitions')}) if $time =~ /2026/;
}
same($target, 'quota_copy', 'copy, at the end', @all);

# It takes over: what was counted, held and remembered goes on; ids go on.
my $key_hold = $session->query(
	q{SELECT quota.reserve_amount('bob', 'apollo', 'credit=4', 'key of bob', '2 days') ->> 'hold_id'});
my $last_value = $source->safe_psql('postgres', 'SELECT last_value FROM quota.definition_id_seq');
my $before = balances($source);
$source->wait_for_catchup('quota_copy');
$target->safe_psql('postgres', documented('operating.md', 'On the new server, to take over'),
	extra_params => [ '-v', "last_value=$last_value" ]);
$source->stop;
is(balances($target), $before, 'taken over: with the balances of the old server');
is( $asked->query(
		q{SELECT v ->> 'hold_id', v ->> 'replayed'
          FROM quota.reserve_amount('bob', 'apollo', 'credit=4', 'key of bob', '2 days') v}),
	"$key_hold|true", 'taken over: a key gives the answer it gave before');
is($asked->query(qq{SELECT quota.settle_amount('$key_hold', 'credit=1') ->> 'state'}),
	'settled', 'taken over: a hold of the old server is settled');
is( $asked->query(
		qq{SELECT bool_and(id > $last_value) FROM (
           SELECT quota.put_account('company:new') UNION ALL SELECT quota.set_limit('company:new', 'credit', 1)) i (id)}),
	't', 'taken over: new ids are beyond those there are');
$before = balances($target);
$asked->query('CALL quota.run_maintenance(); SELECT quota.reload()');
is(balances($target), $before, 'taken over: upkeep and a load change no balance');
is(differences($target), '', 'taken over: counters equal the tables');
is(mismatches($target), '', 'taken over: and what the rows of the ledger add up to');
is($asked->query(q{SELECT count(*) FROM quota.job_runs WHERE error IS NOT NULL}),
	0, 'taken over: no job failed');

done_testing();
