
# A table of counters that is too small for one transaction: the call says so, and nothing
# is lost; for many transactions it makes room. A library that is not of the version of
# the SQL objects says what to do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $node = new_server('full',
	settings => "xavier_quota.max_counters = 256\nxavier_quota.max_series = 256\n");
my $session = open_session($node);

$session->query('\set VERBOSITY verbose');
$session->query(
	q{SELECT count(quota.put_account(format('company:f%s', i)::quota.scope)),
       count(quota.put_account(format('company:f%s/project:f%s', i, i)::quota.scope)),
       count(quota.put_member(format('company:f%s', i)::quota.scope, 'ann'))
FROM generate_series(1, 400) AS i});

sub reserve
{
	my ($from, $to) = @_;
	return
	  "SELECT count(quota.reserve_amount('ann', 'f' || i, 'storage=1')) FROM generate_series($from, $to) AS i";
}

like(
	$session->attempt(reserve(1, 400)),
	qr/^ERROR:  53200: out of shared memory for quotas\n.*^HINT:  .*xavier_quota\.max_counters/ms,
	'a transaction that needs every counter and more is told which setting to raise');
is($session->query('SELECT pinned FROM quota.engine_stats'), '0', 'it leaves no counter pinned');
is($session->query('SELECT count(*) FROM quota.holds'), '0', 'and no hold');
is($session->query(reserve(1, 200)), '200', 'one that needs fewer is served');
is($session->query(reserve(201, 400)), '200', 'the next one takes the place of idle counters');
is( $session->query(
		'SELECT counters <= max_counters, evictions > 0 FROM quota.engine_stats'),
	't|t',
	'by evicting them');
is($session->query('SELECT count(*) FROM quota.holds'), '400', 'every hold is there');
is(differences($node), '', 'counters equal the tables');

# The same for counters that look back, which have a table of their own.
$session->query(q{SELECT count(quota.set_limit(format('company:f%s', i)::quota.scope, 'credit', 10, 'rolling 1 hour'))
FROM generate_series(1, 400) AS i});
$session->query(q{SELECT count(quota.release(hold_id)) FROM (SELECT hold_id FROM quota.holds LIMIT 200) h}) for 1 .. 2;

sub roll
{
	my ($from, $to) = @_;
	return
	  "SELECT count(quota.reserve_amount('ann', 'f' || i, 'credit=1')) FROM generate_series($from, $to) AS i";
}

like(
	$session->attempt(roll(1, 400)),
	qr/^ERROR:  53200: out of shared memory for quotas\n.*^HINT:  .*xavier_quota\.max_series/ms,
	'so is one that needs every counter that looks back');
is($session->query('SELECT pinned FROM quota.engine_stats'), '0', 'it leaves none pinned');
is($session->query('SELECT count(*) FROM quota.holds'), '0', 'and no hold');
is($session->query(roll(1, 200)), '200', 'one that needs fewer is served');
is($session->query(roll(201, 400)), '200', 'the next one takes the place of idle ones');
is( $session->query('SELECT series <= max_series, sum(held) FROM quota.engine_stats, quota.admin_limits GROUP BY 1'),
	't|400',
	'and those whose place was taken are computed');
is(differences($node), '', 'they equal the tables, too');

# Expired holds of more counters than there are: as many at a time as there is room for.
$session->query(q{
SELECT quota.put_account('company:many'), quota.put_account('company:many/project:many'),
       quota.set_limit('company:many/user:*', 'credit', 1, 'rolling 1 hour');
SELECT count(quota.put_member('company:many', 'u' || i)) FROM generate_series(1, 300) AS i;
});
sub hold
{
	my ($user) = @_;
	return "quota.reserve_amount($user, 'many', 'credit=1', ttl => '1 minute') ->> 'state'";
}
is($session->query("SELECT count(*) FROM generate_series($_, $_ + 99) AS i WHERE " . hold(q{'u' || i}) . " = 'open'"), 100, 'held')
  for 1, 101, 201;
my $later = "xavier_quota.clock = '@{[ $session->query(q{SELECT quota.now() + interval '2 minutes'}) ]}'";
is($session->query("SET $later; SELECT " . hold(q{'u300'})), 'refused', 'a request has expired holds closed, but not all at once');
is($session->query(q{SELECT count(*) BETWEEN 1 AND 299 FROM quota.admin_holds WHERE overdue AND root = 'company:many'}), 't', 'which is for good');
my $state = '';
for (1 .. 10)
{
	$state = $session->query('SELECT ' . hold(q{'u300'}));
	last if $state eq 'open';
}
is($state, 'open', 'so that it passes in the end');
is($session->attempt(q{CALL quota.run_job('expire')}), '', 'the job closes them without a warning');
is($session->query(q{SELECT count(*) FROM quota.holds WHERE scope::text LIKE 'company:many%'}), '1', 'all of them');
is($session->query('SELECT * FROM quota.verify()'), '', 'counters equal the tables');

$session->query("UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'xavier_quota'");
like(
	open_session($node)->attempt("\\set VERBOSITY verbose\nSELECT quota.remaining('ann', 'f1')"),
	qr/^ERROR:  55000: extension "xavier_quota" is version 0\.9.*^HINT:  Run ALTER EXTENSION/ms,
	'SQL objects of another version are told from those of the library');

done_testing();
