
# What it costs to compute counters from the tables, whatever the planner believes: no
# event of the root's history is read but those that are not folded and those at the edges
# of a period that does not begin on the hour, and no query is compiled. The
# statistics are the worst there can be for it: one root has all events, and all of them
# are folded but four.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $node = new_server(
	'load', preload => 'pg_stat_statements,xavier_quota', settings => q{
xavier_quota.clock = '2031-03-10 12:30+00'
pg_stat_statements.track = all
jit = on
});

# Ten thousand events in ten hours, and twenty thousand in another month.
$node->safe_psql('postgres', q{
CREATE EXTENSION pg_stat_statements;
CALL quota.run_job('partitions');
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo'),
       quota.put_member('company:acme', 'ann'),
       quota.set_limit('company:acme', 'credit', 1000000),
       quota.set_limit('company:acme/user:*', 'credit', 1000000, 'lifetime'),
       quota.set_limit('company:acme/project:apollo', 'credit', 1000000, '1 day from 2031-03-01 00:30');
CREATE FUNCTION use(instant timestamptz, credits numeric) RETURNS void
LANGUAGE sql AS $$
    SELECT set_config('xavier_quota.clock', instant::text, true);
    SELECT quota.adjust('company:acme/project:apollo/user:ann', ('credit=' || credits)::quota.amount, 'history')
$$;
SELECT count(use('2031-03-10 02:00+00'::timestamptz + i * '3.6 s'::interval, 1)) FROM generate_series(0, 9999) AS i;
SELECT count(use('2031-02-10 02:00+00'::timestamptz + i * '3.6 s'::interval, 1)) FROM generate_series(0, 19999) AS i;
-- In the first half hour of the project's day: before and after its beginning.
SELECT use('2031-03-10 00:20+00', 100), use('2031-03-10 00:40+00', 200), use('2031-03-10 00:50+00', 300);
});
ok( $node->poll_query_until('postgres', q{
SELECT quota._run_step('fold', root_id, scope) IS NOT NULL AND (
    SELECT count(*) = 0 FROM quota.events e LEFT JOIN quota.fold_marks m USING (root_id, origin) WHERE e.xid >= coalesce(m.mark, '0'))
FROM quota.accounts WHERE parent_id IS NULL}), 'all events are folded');
$node->safe_psql('postgres', q{
VACUUM ANALYZE;
SELECT use('2031-03-10 12:30+00', 1) FROM generate_series(1, 4);
SELECT pg_stat_force_next_flush();
});

# In one session, so that plans of every kind come to be used.
my $session = open_session($node);
my $check = q{SELECT string_agg(l ->> 'used', ' ' ORDER BY length(l ->> 'scope'))
    FROM jsonb_array_elements(quota.check_amount('ann', 'apollo', 'credit=1') -> 'levels') AS l};
my $reads = q{SELECT sum(seq_tup_read), sum(idx_tup_fetch) FROM pg_stat_user_tables WHERE relname ~ '^events_'};
$session->query('SELECT pg_stat_statements_reset()');
my ($scanned_before, $fetched_before) = split /\|/, $session->query($reads);
my @answers;
for (1 .. 8)
{
	# The server compiles whatever it may.
	$session->query('RESET jit_above_cost; SELECT quota.reload(); SET jit_above_cost = 0');
	push @answers, $session->query($check);
}
$session->query('SELECT pg_stat_force_next_flush()');
my ($scanned, $fetched) = split /\|/, $session->query($reads);

# By hand: the company's month has 10000, 600 and 4, ann has 20000 more, and the project's
# day, which begins at 00:30, lacks the 100.
is(join("\n", @answers), join("\n", ('10604 30604 10504') x 8), 'each load finds what was used');
is($scanned - $scanned_before, 0, 'without a sequential scan of events');
cmp_ok(($fetched - $fetched_before) / 8, '<', 20, 'and reads but the four that are not folded, and two at an edge, of 30,007');
is( $session->query(q{SELECT count(*) > 5, sum(jit_functions) FROM pg_stat_statements WHERE NOT toplevel}),
	't|0', 'no query of the engine was compiled');
is(differences($node), '', 'counters equal the tables');

done_testing();
