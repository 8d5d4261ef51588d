
# A standby answers every question from the tables, with the numbers of what has been
# replayed; it refuses to write; promoted, it goes on where the primary stopped.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $primary = new_server('primary', init => { allows_streaming => 1 });
install_checks($primary);
my $hold = $primary->safe_psql(
	'postgres', q{
\o /dev/null
SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [
    {"meter": "input_tokens", "price": "0.000001"}, {"meter": "output_tokens", "price": "0.000002"}]}');
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo');
SELECT quota.put_member('company:acme', 'ann');
SELECT quota.set_limit('company:acme', 'credit', 100);
SELECT quota.set_limit('company:acme/user:*', 'credit', 60);
SELECT quota.set_limit('company:acme/project:apollo', 'calls', 10, 'lifetime');
SELECT quota.charge('ann', 'apollo', 'm1', '{"input_tokens": 10000, "output_tokens": 1000}');
CALL quota.run_maintenance();
\o
SELECT quota.reserve_amount('ann', 'apollo', 'credit=10,calls=1') ->> 'hold_id';
});
$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;

# What both servers can be asked.
my %questions = (
	'remaining()' => q{SELECT quota.remaining('ann', 'apollo')},
	'hold()' => qq{SELECT quota.hold('$hold')},
	'check()' => q{SELECT quota.check('ann', 'apollo', 'm1', '{"input_tokens": 1000}')},
	'a refused check()' => q{SELECT quota.can_execute_generation('ann', 'apollo', 'm1', '{"input_tokens": 10000000}')},
	'check_amount()' => q{SELECT quota.check_amount('ann', 'apollo', 'credit=50')},
	'the limits' => q{SELECT scope::text, resource, used, held FROM quota._limit_usage() ORDER BY 1, 2},
	'usage by day' => q{SELECT scope::text, resource, used FROM quota.admin_usage_daily ORDER BY 1, 2},
	'open holds' => q{SELECT hold_id, amount FROM quota.admin_holds ORDER BY 1});
my $asked = open_session($standby);

# compare(when): that both give the same answers, an open session of the standby included.
sub compare
{
	my ($when) = @_;

	$primary->wait_for_catchup($standby);
	for my $question (sort keys %questions)
	{
		is($asked->attempt($questions{$question}),
			$primary->safe_psql('postgres', $questions{$question}),
			"$when: $question on the standby is as on the primary");
	}
	is(mismatches($standby), '', "$when: which is what the rows of its ledger add up to");
	return;
}

compare('at first');
is($asked->query($questions{'remaining()'}),
	'company:acme{credit=88.8},company:acme/project:apollo{calls=8},company:acme/user:ann{credit=48.8}',
	'as it should be');

$primary->safe_psql('postgres', qq{SELECT quota.settle_amount('$hold', 'credit=4,calls=1')});
compare('after a settlement');
is($asked->query($questions{'remaining()'}),
	'company:acme{credit=94.8},company:acme/project:apollo{calls=8},company:acme/user:ann{credit=54.8}',
	'as it should be');

$primary->safe_psql('postgres', q{SELECT quota.set_limit('company:acme', 'credit', 20)});
$primary->safe_psql('postgres', q{SELECT quota.set_limit('company:acme/project:apollo', 'credit', 15)});
compare('after a change of limits');
is($asked->query($questions{'remaining()'}),
	'company:acme{credit=14.8},company:acme/project:apollo{calls=8,credit=9.8},company:acme/user:ann{credit=54.8}',
	'as it should be');

$primary->safe_psql(
	'postgres', q{
SELECT quota.set_limit('company:acme', 'credit', 100);
SELECT quota.set_limit('company:acme/project:apollo', 'credit', 90);
CALL quota.run_maintenance();
SELECT quota.reserve_amount('ann', 'apollo', 'credit=1,calls=1') FROM generate_series(1, 3);
});
compare('after upkeep');

$primary->wait_for_catchup($standby);
for my $view (split /\n/,
	$asked->query(
		q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'quota'::regnamespace
          AND relkind = 'v' ORDER BY 1}))
{
	unlike($asked->attempt("SELECT * FROM $view"), qr/ERROR/, "$view can be read on the standby");
}

# What a server that cannot write refuses: a standby, and a read-only transaction on the
# primary, where memory stays as it was.
my $open = $primary->safe_psql('postgres', 'SELECT hold_id FROM quota.holds ORDER BY 1 LIMIT 1');
my %writes = (
	'reserve()' => q{SELECT quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000}')},
	'reserve_amount()' => q{SELECT quota.reserve_amount('ann', 'apollo', 'credit=1')},
	'settle()' => qq{SELECT quota.settle('$open', '{"input_tokens": 1}')},
	'settle_amount()' => qq{SELECT quota.settle_amount('$open', 'credit=1')},
	'release()' => qq{SELECT quota.release('$open')},
	'extend()' => qq{SELECT quota.extend('$open', ttl => '1 hour')},
	'charge()' => q{SELECT quota.charge('ann', 'apollo', 'm1', '{"input_tokens": 1}')},
	'adjust()' => q{SELECT quota.adjust('company:acme', 'credit=1', 'test')},
	'put_account()' => q{SELECT quota.put_account('company:new')},
	'set_limit()' => q{SELECT quota.set_limit('company:acme', 'credit', 1)},
	'run_maintenance()' => q{CALL quota.run_maintenance()});
$asked->query('\set VERBOSITY verbose');
for my $write (sort keys %writes)
{
	like($asked->attempt($writes{$write}), qr/^ERROR:  25006: /m, "$write is refused on the standby");
}
for my $upkeep ('verify', 'reload')
{
	like($asked->attempt("SELECT quota.$upkeep()"), qr/^ERROR:  (?!XX)\w{5}: .*recovery/m,
		"$upkeep() has nothing to do on a standby, and says so");
}

my $reader = open_session($primary);
$reader->query('\set VERBOSITY verbose');
my $before = $primary->safe_psql('postgres', $questions{'remaining()'});
for my $write (grep { !/run_maintenance/ } sort keys %writes)
{
	$reader->query('BEGIN READ ONLY');
	like($reader->attempt($writes{$write}), qr/^ERROR:  25006: /m,
		"$write is refused in a read-only transaction");
	$reader->query('ROLLBACK');
}
$reader->query('BEGIN READ ONLY');
is($reader->query($questions{'remaining()'}), $before, 'remaining() works there');
$reader->query('COMMIT');
$reader->close;
is($primary->safe_psql('postgres', $questions{'remaining()'}), $before, 'no balance has changed');
is(differences($primary), '', 'counters equal the tables');

# The primary is lost, with a transaction open; the standby takes over.
my $lost = open_session($primary);
$lost->query(q{BEGIN; SELECT quota.reserve_amount('ann', 'apollo', 'credit=20') \g /dev/null});
$primary->wait_for_catchup($standby);
$primary->stop('immediate');
is($asked->query($questions{'remaining()'}), $before, 'the primary is lost: the standby knows what was committed');
$standby->promote;
is($asked->query($questions{'remaining()'}), $before, 'promoted: the same, in a session that was open before');
is($standby->safe_psql('postgres', $questions{'remaining()'}), $before, 'promoted: and in a new one');
is($asked->query(qq{SELECT quota.settle_amount('$open', 'credit=0.5,calls=1') ->> 'state'}),
	'settled', 'promoted: a hold of the old primary is settled');
is($asked->query(q{SELECT quota.reserve_amount('ann', 'apollo', 'credit=2,calls=1') ->> 'allowed'}),
	'true', 'promoted: new ones are made');
is($asked->query(q{SELECT quota.reserve_amount('ann', 'apollo', 'credit=200') ->> 'allowed'}),
	'false', 'promoted: and refused');
is($standby->safe_psql('postgres', 'SELECT counters > 0 FROM quota.engine_stats'),
	't', 'promoted: counters are in memory again');
is(differences($standby), '', 'promoted: they equal the tables');
is(mismatches($standby), '', 'promoted: and what the rows of the ledger add up to');
$standby->safe_psql('postgres', 'CALL quota.run_maintenance(); SELECT quota.reload()');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM quota.job_runs WHERE error IS NOT NULL}),
	0, 'promoted: upkeep runs');
is(mismatches($standby), '', 'promoted: and changes no balance');

done_testing();
