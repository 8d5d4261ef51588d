
# Sixteen sessions reserve, settle, release and roll back while periods turn under them every
# second or two, a window rolls, a bucket refills and what is unused rolls over. In the end the
# ledger alone must show that no limit was ever overrun, and that every answer that a client has
# is there, once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $CLIENTS = 16;
my $SECONDS = 12;

my $node = new_server('turn', settings => 'max_connections = 60');
install_checks($node);
$node->safe_psql(
	'postgres', qq{
SELECT quota.put_account('company:turn'), quota.put_account('company:turn/project:turn'),
       quota.put_account('company:carry'), quota.put_account('company:carry/project:carry');
SELECT quota.put_member(c::quota.scope, 'u' || i) FROM generate_series(0, $CLIENTS - 1) i, unnest(ARRAY['company:turn', 'company:carry']) AS c;
SELECT quota.put_resource('images', 'image', 'flow', 'images'), quota.put_resource('tokens', 'token', 'flow', 'tokens');
SELECT quota.set_limit('company:turn', 'credit', 60, '1 second'),
       quota.set_limit('company:turn/project:turn', 'images', 100, 'rolling 2 seconds'),
       quota.set_limit('company:turn', 'tokens', 40, 'refill 30 per 1 second up to 40'),
       quota.set_limit('company:carry', 'credit', 80, '2 seconds', rollover => 50);
-- What clients were told, each in the transaction of its reserve.
CREATE TABLE told (hold_id uuid PRIMARY KEY, amount numeric NOT NULL);
CREATE TABLE ended (hold_id uuid PRIMARY KEY, charged numeric NOT NULL);
});

# A reserve of 1 to 4, all of it settled, half of it, or none; one in ten is rolled back.
my $script = write_script(
	'turn.pgbench', q{
\set amount random(1, 4)
\set end random(1, 10)
\set carry random(0, 2)
\set charged :amount
\if :end <= 3
\set charged :amount / 2.0
\endif
BEGIN;
\if :carry = 0
SELECT coalesce(v ->> 'hold_id', '') AS hold FROM quota.reserve_amount('u' || :client_id::text, 'carry', ('credit=' || :amount::text)::quota.amount) AS v \gset
\else
SELECT coalesce(v ->> 'hold_id', '') AS hold FROM quota.reserve_amount('u' || :client_id::text, 'turn', format('credit=%1$s,images=%1$s,tokens=%1$s', :amount::text)::quota.amount) AS v \gset
\endif
INSERT INTO told SELECT nullif(:hold, '')::uuid, :amount WHERE :hold <> '';
\if :end = 10
ROLLBACK;
\else
COMMIT;
BEGIN;
\if :end = 9
INSERT INTO ended SELECT (r ->> 'hold_id')::uuid, 0 FROM (SELECT quota.release(nullif(:hold, '')::uuid) WHERE :hold <> '') AS s (r);
\else
INSERT INTO ended SELECT (r ->> 'hold_id')::uuid, :charged FROM (SELECT quota.settle_amount(t.hold_id,
        CASE WHEN :carry = 0 THEN 'credit=' || :charged::text ELSE format('credit=%1$s,images=%1$s,tokens=%1$s', :charged::text) END::quota.amount)
    FROM told t WHERE t.hold_id = nullif(:hold, '')::uuid) AS s (r);
\endif
COMMIT;
\endif
});

# Upkeep, and counters that are forgotten, come in between.
my ($upkeep, $upkeep_output) = start_pgbench($node, 'postgres', '-n', '-c', 1, '-T', $SECONDS, '-R', 2, '-M', 'simple', '-f',
	write_script('upkeep.pgbench', "CALL quota.run_maintenance();\nSELECT quota.reload('company:turn');\nSELECT quota.reload('company:carry');\n"));
my ($clients, $output) = start_pgbench($node, 'postgres', '-n', '-c', $CLIENTS, '-j', 2, '-T', $SECONDS, '-M', 'extended', '-f', $script);
ok($clients->finish, 'every call was answered') or diag $$output;
ok($upkeep->finish, 'so was upkeep') or diag $$upkeep_output;

sub ask
{
	my ($question) = @_;
	return $node->safe_psql('postgres', $question);
}

ask(q{CREATE VIEW rows AS
SELECT e.scope::text AS scope, e.held_at, sum(coalesce((e.charged OPERATOR(quota.->) 'credit'), 0)) AS credit,
       sum(coalesce((e.charged OPERATOR(quota.->) 'images'), 0)) AS images, sum(coalesce((e.charged OPERATOR(quota.->) 'tokens'), 0)) AS tokens
FROM quota.events e GROUP BY 1, 2});
cmp_ok(ask('SELECT count(*) FROM told'), '>', 100, 'many were granted');
cmp_ok(ask('SELECT sum(refusals) FROM quota.engine_stats'), '>', 100, 'many were refused');
cmp_ok(ask("SELECT count(DISTINCT date_trunc('second', held_at)) FROM rows"), '>=', $SECONDS - 1, 'periods have turned all the while');

# Nothing lost, nothing doubled.
is(ask('SELECT count(*) FROM told t FULL JOIN (SELECT hold_id FROM quota.events UNION ALL SELECT hold_id FROM quota.holds) l USING (hold_id)
        WHERE t.hold_id IS NULL OR l.hold_id IS NULL'), '0', 'the ledger has what clients were told, and nothing else');
is(ask('SELECT count(*) - count(DISTINCT hold_id) FROM quota.events'), '0', 'each of it once');
is(ask(q{SELECT count(*) FROM ended d FULL JOIN quota.events e USING (hold_id)
         WHERE d.charged IS DISTINCT FROM coalesce((e.charged OPERATOR(quota.->) 'credit'), 0)}), '0', 'and as much as they have used');

# Each limit, by the ledger alone.
is(ask(q{SELECT count(*) FROM (SELECT sum(credit) AS used FROM rows WHERE scope LIKE 'company:turn/%' GROUP BY date_trunc('second', held_at)) AS p WHERE used > 60}),
	'0', 'no second has more than 60');
is(ask(q{SELECT count(*) FROM (SELECT sum(images) OVER (ORDER BY held_at RANGE BETWEEN interval '1999999 microseconds' PRECEDING AND CURRENT ROW) AS used FROM rows) AS w WHERE used > 100}),
	'0', 'no two seconds have more than 100, wherever they begin');
# Use since s, less what has flowed back: its largest is where use up to s, less what had flowed back by then, is smallest.
is(ask(q{SELECT count(*) FROM (
    SELECT total - 30 * at - min(total - tokens - 30 * at) OVER (ORDER BY at) AS debt
    FROM (SELECT extract(epoch FROM held_at - '2026-01-01') AS at, tokens, sum(tokens) OVER (ORDER BY held_at) AS total
          FROM rows WHERE scope LIKE 'company:turn/%') AS r) AS d WHERE debt > 40}),
	'0', 'no more than the burst was owed at any time');
is(ask(q{WITH RECURSIVE used AS (
    SELECT p.n, coalesce(sum(r.credit), 0) AS used
    FROM generate_series((SELECT floor(extract(epoch FROM min(held_at)) / 2)::bigint FROM rows), (SELECT floor(extract(epoch FROM max(held_at)) / 2)::bigint FROM rows)) AS p (n)
    LEFT JOIN rows r ON r.scope LIKE 'company:carry/%' AND floor(extract(epoch FROM r.held_at) / 2) = p.n GROUP BY p.n
), walk AS (
    -- Of 80 and what has rolled over, which is used first, at most 50 roll on. The limit is older than the first use.
    SELECT n, used, 50::numeric AS rolled_over FROM used WHERE n = (SELECT min(n) FROM used)
    UNION ALL
    SELECT u.n, u.used, least(50, 80 - greatest(w.used - w.rolled_over, 0)) FROM walk w JOIN used u ON u.n = w.n + 1
) SELECT count(*) FROM walk WHERE used > 80 + rolled_over}), '0', 'no period has more than its own and what has rolled over');
is(ask(q{SELECT count(*) FROM quota.admin_periods WHERE overage > 0}), '0', 'nor does a closed one say so');
is(differences($node), '', 'counters equal the tables');
is(mismatches($node), '', 'and what the rows of the ledger add up to');

done_testing();
