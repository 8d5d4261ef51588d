
# A standby answers every question from the tables, with the numbers of what has been
# replayed, also in the middle of a replay under load; it keeps nothing in memory and
# refuses to write; promoted, it goes on where the primary stopped, also for sessions and
# transactions that were open before.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $primary = new_server('primary',
	settings => "xavier_quota.clock = '2026-03-20 12:34:56'\nhot_standby_feedback = on\n",
	init => { allows_streaming => 1 });
install_checks($primary);
my ($hold, $settled) = split /\n/, $primary->safe_psql(
	'postgres', q{
\o /dev/null
SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [
    {"meter": "input_tokens", "price": "0.000001"}, {"meter": "output_tokens", "price": "0.000002"}]}', '2026-01-01');
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo');
SELECT quota.put_member('company:acme', 'ann');
SELECT quota.set_limit('company:acme', 'credit', 100);
SELECT quota.set_limit('company:acme/user:*', 'credit', 60);
SELECT quota.set_limit('company:acme/project:apollo', 'calls', 10, 'lifetime');
SELECT quota.charge('ann', 'apollo', 'm1', '{"input_tokens": 10000, "output_tokens": 1000}');
CALL quota.run_maintenance();
\o
SELECT quota.reserve_amount('ann', 'apollo', 'credit=10,calls=1') ->> 'hold_id';
SELECT quota.settle((quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1}') ->> 'hold_id')::uuid,
    '{"input_tokens": 1, "output_tokens": 1}') ->> 'hold_id';
});

# Limits that look back, and at 11 o'clock holds that have expired an hour later.
$primary->safe_psql(
	'postgres', q{
SELECT quota.put_resource('images', 'image', 'flow', 'Images');
SELECT quota.put_account('company:back'), quota.put_account('company:back/project:back'), quota.put_member('company:back', 'ann');
SET xavier_quota.clock = '2036-01-01 00:00+00';
SELECT quota.set_limit('company:back', 'credit', 10, 'rolling 1 day'), quota.set_limit('company:back', 'calls', 10, 'refill 1 per 1 day up to 10'),
       quota.set_limit('company:back', 'images', 10, 'day', rollover => 5);
SELECT quota.grant_quota('company:back', 'images', 2, effective_at => '2036-01-01 00:00+00', limit_id => l.limit_id) FROM quota.limits l WHERE l.resource = 'images';
SET xavier_quota.clock = '2036-01-01 11:00+00';
SELECT quota.reserve_amount('ann', 'back', 'credit=8,calls=8,images=10', ttl => '1 minute');
SELECT quota.adjust('company:back', 'credit=1,calls=1,images=1', 'used');
});

# An event as a restore brings it, that adopt() can roll up.
$primary->safe_psql(
	'postgres', qq{
CREATE TEMP TABLE restored AS SELECT * FROM quota.events WHERE hold_id = '$settled';
UPDATE restored SET hold_id = overlay(hold_id::text PLACING '0123456' FROM 30)::uuid, origin = 1;
INSERT INTO quota.events SELECT * FROM restored;
});
$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;

my $memory = $standby->safe_psql('postgres', 'SELECT * FROM quota.engine_stats');
like($memory, qr/^0\|\d+\|0\|0\|0\|0\|0\|0\|0\|/, 'there is nothing in the memory of the standby');

# What both servers can be asked.
my %questions = (
	'remaining()' => q{SELECT quota.remaining('ann', 'apollo')},
	'hold() of an open one' => qq{SELECT quota.hold('$hold')},
	'hold() of a settled one' => qq{SELECT quota.hold('$settled')},
	'check()' => q{SELECT quota.check('ann', 'apollo', 'm1', '{"input_tokens": 1000}')},
	'a refused check()' => q{SELECT quota.can_execute_generation('ann', 'apollo', 'm1', '{"input_tokens": 10000000}')},
	'check_amount()' => q{SELECT quota.check_amount('ann', 'apollo', 'credit=50')},
	'estimate()' => q{SELECT quota.estimate('m1', '{"input_tokens": 1000}', 'company:acme')},
	'price()' => q{SELECT quota.price('m1', '{"input_tokens": 1000, "output_tokens": 7}', 'company:acme')},
	'now()' => 'SELECT quota.now()');
for my $amount ('credit=5', 'calls=5', 'images=5', 'credit=20,calls=20,images=30')
{
	$questions{"check_amount() of $amount, by limits that look back"} =
	  "BEGIN; SET LOCAL xavier_quota.clock = '2036-01-01 12:00+00'; SELECT quota.check_amount('ann', 'back', '$amount'); COMMIT";
}
for my $view (split /\n/,
	$primary->safe_psql(
		'postgres', q{SELECT oid::regclass FROM pg_class
                      WHERE relnamespace = 'quota'::regnamespace AND relkind = 'v' AND relname NOT IN ('engine_stats', 'admin_denials')}))
{
	# Each server counts its own refusals, in memory.
	$questions{$view} = "SELECT (to_jsonb(v) - 'denied')::text FROM $view v ORDER BY 1";
}
my ($there, $asked) = map { open_session($_) } $primary, $standby;

# compare(when, remaining): that both give the same answers, an open session of the standby
# included; and what is left.
sub compare
{
	my ($when, $remaining) = @_;

	$primary->wait_for_catchup($standby);
	for my $question (sort keys %questions)
	{
		is($asked->attempt($questions{$question}), $there->query($questions{$question}),
			"$when: $question on the standby is as on the primary");
	}
	is(mismatches($standby), '', "$when: which is what the rows of its ledger add up to");
	is($asked->query($questions{'remaining()'}), $remaining, "$when: as it should be");
	return;
}

sub left
{
	my ($company, $calls, $user, $project) = @_;
	return "company:acme{credit=$company},company:acme/project:apollo{calls=$calls"
	  . (defined $project ? ",credit=$project" : '') . "},company:acme/user:ann{credit=$user}";
}

is($asked->query('SELECT count(*) FROM quota.admin_denials'), 0, 'a standby has refused nobody');
compare('at first', left(88.7994, 6, 48.7994));
$primary->safe_psql('postgres', qq{SELECT quota.settle_amount('$hold', 'credit=4,calls=1')});
compare('after a settlement', left(94.7994, 6, 54.7994));
$primary->safe_psql(
	'postgres', q{
SELECT quota.set_limit('company:acme', 'credit', 20, force => true);
SELECT quota.set_limit('company:acme/project:apollo', 'credit', 15);
SELECT quota.set_credit_rate(50);
SELECT quota.set_price_adjustment('company:acme', 1.5);
SELECT quota.deny_model('company:acme', 'm*');
SELECT quota.put_resource('tokens', 'token', 'flow', 'Tokens');
SELECT quota.put_account('company:acme/project:zeus');
});
compare('after changes of definitions', left(14.7994, 6, 54.7994, 9.7994));
$primary->safe_psql(
	'postgres', q{
SELECT quota.set_limit('company:acme', 'credit', 100);
SELECT quota.set_limit('company:acme/project:apollo', 'credit', 90);
SELECT quota.put_plan('team', '[{"resource": "calls", "amount": 1000, "period": "year"}]');
SELECT quota.put_account('company:acme/project:apollo', plan => 'team');
SELECT quota.drop_model_rule('company:acme', 'm*');
SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [
    {"meter": "input_tokens", "price": "0.000004"}, {"meter": "output_tokens", "price": "0.000008"}]}', '2026-03-01');
CALL quota.run_maintenance();
SELECT quota.reserve_amount('ann', 'apollo', 'credit=1,calls=1') FROM generate_series(1, 3);
});
compare('after upkeep', left(91.7994, 3, 51.7994, 81.7994));

# What a server that cannot write refuses: a standby, and a read-only transaction on the
# primary. In both, memory stays as it was.
my $open = $primary->safe_psql('postgres', 'SELECT hold_id FROM quota.holds ORDER BY 1 LIMIT 1');
my ($limit) = $primary->safe_psql('postgres', q{SELECT limit_id FROM quota.limits ORDER BY 1 LIMIT 1});
my %writes = (
	adjust => q{SELECT quota.adjust('company:acme', 'credit=1', 'test')},
	adopt => 'SELECT quota.adopt()',
	allow_model => q{SELECT quota.allow_model('company:acme', 'n*')},
	charge => q{SELECT quota.charge('ann', 'apollo', 'm1', '{"input_tokens": 1}')},
	deny_model => q{SELECT quota.deny_model('company:acme', 'n*')},
	drop_limit => "SELECT quota.drop_limit($limit)",
	drop_member => q{SELECT quota.drop_member('company:acme', 'ann')},
	drop_model_alias => q{SELECT quota.drop_model_alias('x')},
	drop_model_rule => q{SELECT quota.drop_model_rule('company:acme', 'x*')},
	extend => qq{SELECT quota.extend('$open', ttl => '1 hour')},
	grant_access => q{SELECT quota.grant_access('service', 'service')},
	grant_quota => q{SELECT quota.grant_quota('company:acme', 'credit', 1)},
	import_prices => q{SELECT quota.import_prices('{"m2": {"mode": "chat", "input_cost_per_token": 1e-6,
	    "output_cost_per_token": 1e-6}}')},
	preview_limit => q{SELECT quota.preview_limit('company:acme', 'credit', 1)},
	preview_plan => q{SELECT quota.preview_plan('new', '[]')},
	put_account => q{SELECT quota.put_account('company:new')},
	put_member => q{SELECT quota.put_member('company:acme', 'bob')},
	put_model_alias => q{SELECT quota.put_model_alias('y', 'm1')},
	put_plan => q{SELECT quota.put_plan('new', '[]')},
	put_resource => q{SELECT quota.put_resource('images', 'image', 'flow', 'Images')},
	rebuild_usage => 'SELECT quota.rebuild_usage(NULL, \'-infinity\')',
	release => qq{SELECT quota.release('$open')},
	reload => 'SELECT quota.reload()',
	reserve => q{SELECT quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000}')},
	reserve_amount => q{SELECT quota.reserve_amount('ann', 'apollo', 'credit=1', 'a key')},
	revoke_access => q{SELECT quota.revoke_access('service', 'service')},
	run_job => q{CALL quota.run_job('fold')},
	run_maintenance => q{CALL quota.run_maintenance()},
	set_credit_rate => 'SELECT quota.set_credit_rate(3)',
	set_limit => q{SELECT quota.set_limit('company:acme', 'credit', 1, force => true)},
	set_price_adjustment => q{SELECT quota.set_price_adjustment('company:acme', 2)},
	set_rate_card => q{SELECT quota.set_rate_card('m2', '{"lines": [{"meter": "requests", "price": "1"}]}')},
	settle => qq{SELECT quota.settle('$open', '{"input_tokens": 1}')},
	settle_amount => qq{SELECT quota.settle_amount('$open', 'credit=1')},
	verify => 'SELECT quota.verify()',
	void_grant => q{SELECT quota.void_grant(0, 'none')});
my @reads = qw(can_execute_generation check check_amount estimate hold now price remaining);
# Jobs of pg_cron are pg_cron's.
my @others = qw(schedule_jobs unschedule_jobs);

$primary->safe_psql('postgres', q{CREATE ROLE service; SELECT quota.grant_access('service', 'service')});
$primary->safe_psql('postgres', q{SELECT quota.deny_model('company:acme', 'x*'), quota.put_model_alias('x', 'm1')});
$primary->wait_for_catchup($standby);
is( $primary->safe_psql(
		'postgres', q{SELECT string_agg(DISTINCT proname, ' ' ORDER BY proname) FROM pg_proc
                      WHERE pronamespace = 'quota'::regnamespace AND provolatile = 'v' AND proname !~ '^_'}),
	join(' ', sort @reads, @others, keys %writes),
	'every function that may write is tried');
$asked->query('\set VERBOSITY verbose');
for my $write (sort keys %writes)
{
	like($asked->attempt($writes{$write}), qr/^ERROR:  25006: /m, "$write() is refused on the standby");
}

my $reader = open_session($primary);
$reader->query('\set VERBOSITY verbose');
my $before = $primary->safe_psql('postgres', $questions{'remaining()'});
# verify() and reload() write nothing where there is a memory; and what commits on its own
# cannot be called in a transaction.
for my $write (grep { !/^(?:run_|verify|reload)/ } sort keys %writes)
{
	$reader->query('BEGIN READ ONLY');
	like($reader->attempt($writes{$write}), qr/^ERROR:  25006: /m,
		"$write() is refused in a read-only transaction");
	$reader->query('ROLLBACK');
}
$reader->query('BEGIN READ ONLY');
is($reader->query($questions{'remaining()'}), $before, 'remaining() works there');
$reader->query('COMMIT');
$reader->close;
is($primary->safe_psql('postgres', $questions{'remaining()'}), $before, 'no balance has changed');
is(differences($primary), '', 'counters equal the tables');

# In the middle of a replay, under load: wherever it stands, the limits are what the rows
# add up to; and while it goes on, no hard limit is seen exceeded.
$primary->safe_psql(
	'postgres', q{
SELECT quota.put_resource('in_flight', 'generation', 'concurrency', 'Generations that run now');
SELECT quota.put_account('company:busy'), quota.put_account('company:busy/project:busy');
SELECT quota.put_member('company:busy', i::text) FROM generate_series(0, 7) i;
SELECT quota.set_limit('company:busy', 'credit', 1000000, 'lifetime');
SELECT quota.set_limit('company:busy', 'in_flight', 5);
SELECT quota.set_limit('company:busy/user:*', 'credit', 100000);
});
my $script = write_script(
	'busy.pgbench', q{
SELECT coalesce(v ->> 'hold_id', '') AS hold
FROM quota.reserve_amount(:client_id::text, 'busy', 'credit=3,in_flight=1') AS v \gset
\sleep 20 ms
SELECT quota.settle_amount(nullif(:hold, '')::uuid, 'credit=2.5') WHERE :hold <> '';
});
my ($clients, $output) = start_pgbench($primary, 'postgres', '-f', $script, '-M', 'extended',
	'-c', 8, '-j', 2, '-T', 600);
my $upkeep = open_session($primary);
my (@wrong, @stands, $highest);
for my $stop (1 .. 12)
{
	my $held = 'SELECT max(held) FROM quota._limit_levels(\'company:busy\', NULL) WHERE resource = \'in_flight\'';

	for (1 .. 15)
	{
		my $now = $asked->query($held);
		push @wrong, "in flight: $now" if $now > 5;
		$highest = $now if !defined $highest || $now > $highest;
	}
	$asked->query('SELECT pg_wal_replay_pause()');
	$standby->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'})
	  or die 'the replay does not pause';
	push @wrong, mismatches($standby);
	push @stands, $asked->query('SELECT pg_last_wal_replay_lsn()');
	$asked->query('SELECT pg_wal_replay_resume()');
	$upkeep->query($stop % 2 ? 'CALL quota.run_maintenance()' : 'SELECT quota.reload()');
	is_running($clients) or die "pgbench has ended: $$output";
}
$clients->kill_kill;
$upkeep->close;
$primary->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'})
  or die 'pgbench is still served';
is(join("\n", grep { $_ ne '' } @wrong), '',
	'in the middle of a replay: limits are what the rows add up to, and are kept');
cmp_ok($highest, '>', 0, "with up to $highest in flight");
is(scalar(keys %{ { map { $_ => 1 } @stands } }), 12, 'at 12 different places');
compare('after the load', $before);
is($standby->safe_psql('postgres', 'SELECT * FROM quota.engine_stats'),
	$memory, 'there is still nothing in the memory of the standby');

# The primary is lost, with a transaction open; the standby takes over, with sessions and a
# transaction that have asked it before. One of them has not heard of the last changes.
my $sleeper = open_session($standby);
my $straddler = open_session($standby);
my $verdict = q{SELECT quota.check('ann', 'apollo', 'm1', '{"input_tokens": 1000}')};
$sleeper->query("$verdict; $questions{'remaining()'}");
$primary->safe_psql(
	'postgres', q{
SELECT quota.set_limit('company:acme', 'credit', 101);
SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [
    {"meter": "input_tokens", "price": "0.000005"}, {"meter": "output_tokens", "price": "0.000008"}]}', '2026-03-02');
SELECT quota.put_account('company:acme/project:hera');
});
$there->close;
my $last_verdict = $primary->safe_psql('postgres', $verdict);
my $lost = open_session($primary);
$before = left(92.7994, 3, 51.7994, 81.7994);
is($primary->safe_psql('postgres', $questions{'remaining()'}), $before, 'what is left in the end');
$lost->query(q{BEGIN; SELECT quota.reserve_amount('ann', 'apollo', 'credit=20') \g /dev/null});
$primary->wait_for_catchup($standby);
$straddler->query("BEGIN; $verdict; $questions{'remaining()'}");
$primary->stop('immediate');
is($asked->query($questions{'remaining()'}), $before, 'the primary is lost: the standby knows what was committed');
$standby->promote;

for my $session ([ 'a session that was open', $asked ], [ 'one that has not heard of changes', $sleeper ],
	[ 'a transaction that was open', $straddler ], [ 'a new one', open_session($standby) ])
{
	is($session->[1]->query($verdict), $last_verdict, "promoted: $session->[0] decides as the primary did");
	is($session->[1]->query($questions{'remaining()'}), $before, "promoted: $session->[0] knows what is left");
}
$straddler->query('\set VERBOSITY verbose');
like($straddler->attempt($writes{reserve_amount}), qr/^ERROR:  25006: /m,
	'promoted: the transaction that was open still cannot write');
$straddler->query('ROLLBACK');
is($straddler->query(qq{SELECT quota.settle_amount('$open', 'credit=0.5,calls=1') ->> 'state'}),
	'settled', 'promoted: a hold of the old primary is settled');
is($sleeper->query(q{SELECT quota.reserve_amount('ann', 'hera', 'credit=2,calls=1') ->> 'allowed'}),
	'true', 'promoted: new ones are made');
is($asked->query(q{SELECT quota.reserve_amount('ann', 'apollo', 'credit=200') ->> 'allowed'}),
	'false', 'promoted: and refused');
is($standby->safe_psql('postgres', 'SELECT counters > 0 AND pinned = 0 FROM quota.engine_stats'),
	't', 'promoted: counters are in memory again');
is(differences($standby), '', 'promoted: they equal the tables');
is(mismatches($standby), '', 'promoted: and what the rows of the ledger add up to');
$standby->safe_psql('postgres', 'CALL quota.run_maintenance(); SELECT quota.reload()');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM quota.job_runs WHERE error IS NOT NULL}),
	0, 'promoted: upkeep runs');
is($standby->safe_psql('postgres', 'SELECT quota.adopt()'), 1, 'promoted: what was restored is rolled up');
is(mismatches($standby), '', 'promoted: and changes no balance');

done_testing();
