
# A server that has not preloaded the library: values, prices, definitions and views work;
# what needs the engine's memory says what to do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $node = new_server('bare', preload => '');
my $session = open_session($node);
my $hold = 'b46a99a4-01a1-8fce-b7a1-6e04bb14088e';

is( $session->query(
		q{SELECT quota.parent('company:acme/project:apollo'), quota.amount 'credit=1.5' OPERATOR(quota.+) 'calls=1',
          quota.period_range('month', '2026-02-03 04:05:06+00')}),
	'company:acme|calls=1,credit=1.5|["2026-02-01 00:00:00+00","2026-03-01 00:00:00+00")',
	'values are computed');

$session->query(
	q{
SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [
    {"meter": "input_tokens", "price": "0.000001"}]}');
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo');
SELECT quota.put_member('company:acme', 'ann');
SELECT quota.set_limit('company:acme', 'credit', 100);
});
is( $session->query(q{SELECT quota.estimate('m1', '{"input_tokens": 1000}') -> 'amount' ->> 'credit'}),
	'0.1', 'requests are priced');
is($session->query(q{SELECT scope, "limit", used, held FROM quota._limit_usage()}),
	'company:acme|100|0|0', 'limits are shown');
for my $view (split /\n/,
	$session->query(
		q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'quota'::regnamespace
          AND relkind = 'v' AND relname LIKE 'admin%' ORDER BY 1}))
{
	unlike($session->attempt("SELECT * FROM $view"), qr/ERROR/, "$view can be read");
}

# Everything that reads or changes counters, whether or not the library is loaded later on.
my %calls = (
	'check()' => q{quota.check('ann', 'apollo', 'm1', '{"input_tokens": 1}')},
	'can_execute_generation()' => q{quota.can_execute_generation('ann', 'apollo', 'm1', '{"input_tokens": 1}')},
	'check_amount()' => q{quota.check_amount('ann', 'apollo', 'credit=1')},
	'reserve()' => q{quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1}')},
	'reserve_amount()' => q{quota.reserve_amount('ann', 'apollo', 'credit=1')},
	'settle()' => qq{quota.settle('$hold', '{"input_tokens": 1}')},
	'settle_amount()' => qq{quota.settle_amount('$hold', 'credit=1')},
	'release()' => qq{quota.release('$hold')},
	'extend()' => qq{quota.extend('$hold', ttl => '1 hour')},
	'charge()' => q{quota.charge('ann', 'apollo', 'm1', '{"input_tokens": 1}')},
	'adjust()' => q{quota.adjust('company:acme', 'credit=1', 'test')},
	'hold()' => qq{quota.hold('$hold')},
	'remaining()' => q{quota.remaining('ann', 'apollo')},
	'verify()' => q{quota.verify()},
	'reload()' => q{quota.reload()},
	'engine_stats' => q{s FROM quota.engine_stats s});

for my $how ('', "LOAD 'xavier_quota';")
{
	my $later = open_session($node);

	$later->query("$how\n\\set VERBOSITY verbose");
	for my $call (sort keys %calls)
	{
		like(
			$later->attempt("SELECT $calls{$call}"),
			qr/^ERROR:  55000: xavier_quota must be loaded via "shared_preload_libraries"\n.*^HINT:  Add xavier_quota/ms,
			"$call says what to do" . ($how && ", after LOAD too"));
	}
	$later->close;
}
is($session->query('SELECT count(*) FROM quota.holds'), 0, 'nothing was held');
$session->close;

# Loaded at the start of a session is not preloaded either.
$node->append_conf('postgresql.conf', "session_preload_libraries = 'xavier_quota'\n");
$node->reload;
like(
	($node->psql('postgres', "SELECT $calls{'reserve()'}"))[2],
	qr/must be loaded via "shared_preload_libraries"/,
	'session_preload_libraries is not enough');

# Preloaded, all is there.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'xavier_quota'\n");
$node->restart;
is($node->safe_psql('postgres', "SELECT $calls{'reserve()'} ->> 'allowed'"), 'true', 'preloaded: it holds');
is($node->safe_psql('postgres', "SELECT $calls{'remaining()'}"),
	'company:acme{credit=99.9999}', 'preloaded: and says what remains');
is(differences($node), '', 'preloaded: counters equal the tables');

done_testing();
