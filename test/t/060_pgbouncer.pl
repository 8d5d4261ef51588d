
# Many clients behind PgBouncer in transaction mode: a hold is made on one connection to
# the server and settled on another, and nothing depends on the session.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $WORKERS = 40;
my $SERVER_CONNECTIONS = 4;
plan skip_all => 'there is no program pgbouncer (Debian package pgbouncer)' if !find_bouncer();

my $node = new_server('pooled');
install_checks($node);
$node->safe_psql(
	'postgres', qq{
CREATE TABLE backends (client int, pid int);
SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [
    {"meter": "input_tokens", "price": "0.000001"}, {"meter": "output_tokens", "price": "0.000002"}]}');
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo');
SELECT quota.put_member('company:acme', 'u' || i) FROM generate_series(0, $WORKERS + 1) i;
SELECT quota.set_limit('company:acme', 'credit', 1000000);
SELECT quota.set_limit('company:acme/user:*', 'calls', 1000);
SELECT quota.set_limit('company:acme/user:u1', 'credit', 0);
});

# Three transactions each, so that most go through several connections to the server.
my $script = write_script(
	'pooled.pgbench', q{
SELECT v ->> 'hold_id' AS hold
FROM quota.reserve('u' || (2 + :client_id)::text, 'apollo', 'm1', '{"input_tokens": 1000, "max_output_tokens": 500}') v \gset
BEGIN;
INSERT INTO backends VALUES (:client_id, pg_backend_pid());
SELECT quota.extend((:hold)::uuid, ttl => '20 minutes');
COMMIT;
SELECT quota.settle((:hold)::uuid, '{"input_tokens": 1000, "output_tokens": 100}');
SELECT (v ->> 'allowed')::boolean::int AS allowed FROM quota.reserve_amount('u1', 'apollo', 'credit=1') v \gset
SELECT 1 / (1 - :allowed);
});

my $rounds = 0;
for my $reset ('server_reset_query = DISCARD ALL', "server_reset_query = DISCARD ALL\nserver_reset_query_always = 1")
{
	my $what = $reset =~ /always/ ? 'sessions reset after each transaction' : 'sessions as they are';
	my ($bouncer, $port) = start_bouncer($node, $SERVER_CONNECTIONS, $reset);
	my $output = '';

	$node->safe_psql('postgres', 'TRUNCATE backends');
	ok( IPC::Run::run(
			[ 'pgbench', '-n', '-M', 'extended', '-f', $script, '-c', $WORKERS, '-j', 2, '-t', 10,
				"host=127.0.0.1 port=$port dbname=postgres" ], '<', \undef, '>', \$output, '2>&1'),
		"$what: every call is answered") or diag $output;
	$rounds++;
	is( $node->safe_psql('postgres', "SELECT count(DISTINCT pid) BETWEEN 2 AND $SERVER_CONNECTIONS FROM backends"),
		't', "$what: by few connections to the server");
	is( $node->safe_psql(
			'postgres', 'SELECT max(n) > 1 FROM (SELECT count(DISTINCT pid) AS n FROM backends GROUP BY client) b'),
		't', "$what: more than one of them for a client");
	is( $node->safe_psql(
			'postgres', q{SELECT count(*), sum((charged::jsonb ->> 'credit')::numeric) / 0.12 = count(*)
                          FROM quota.events WHERE kind = 'settled'}),
		$rounds * $WORKERS * 10 . '|t', "$what: every generation is settled, at its price");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM quota.holds'), 0, "$what: no hold is left");
	is($node->safe_psql('postgres', 'SELECT pinned FROM quota.engine_stats'), 0, "$what: no counter is pinned");
	is(differences($node), '', "$what: counters equal the tables");
	is(mismatches($node), '', "$what: and what the rows of the ledger add up to");

	# What a client leaves open when it goes away is rolled back with its transaction.
	my $before = $node->safe_psql('postgres', q{SELECT quota.remaining('u2', 'apollo')});
	my $client = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', "host=127.0.0.1 port=$port dbname=postgres" ],
		'<', \"BEGIN; SELECT quota.reserve_amount('u2', 'apollo', 'credit=7') ->> 'allowed';\n\\! true\n", '>', \my $answer, '2>&1');
	$client->finish;
	like($answer, qr/true/, "$what: a client holds something and goes away");
	ok($node->poll_query_until('postgres', q{SELECT quota.remaining('u2', 'apollo')::text}, $before),
		"$what: which leaves nothing");

	$bouncer->signal('TERM');
	$bouncer->finish;
}

done_testing();
