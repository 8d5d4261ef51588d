
# MovedLedger: a ledger with something of everything, and the proof that all of it is there
# and works after it has been moved: restored, upgraded or copied.

package MovedLedger;

use strict;
use warnings;

use Exporter 'import';
use Test::More;

use XavierQuota;

our @EXPORT = qw($NOW fill_ledger check_ledger);

# The time of all servers that have it.
our $NOW = '2026-03-20 12:34:56';

# fill_ledger(node): definitions of every kind, five months of usage of which one has no
# partition of its own, a tail that is not folded, open holds, keys. Returns what to expect.
sub fill_ledger
{
	my ($node) = @_;

	install_checks($node);
	my $session = open_session($node);
	$session->query(
		q{
SELECT quota.set_credit_rate(200);
SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [
    {"meter": "input_tokens", "price": "0.000001"},
    {"meter": "output_tokens", "price": "0.000002"}]}', '2025-01-01');
SELECT quota.put_model_alias('other-m1', 'm1');
SELECT quota.put_resource('tokens', 'token', 'flow', 'Tokens');
SELECT quota.put_plan('team', '[{"resource": "credit", "amount": 70}]');
SELECT quota.put_account('company:acme', attributes => '{"tier": 1}');
SELECT quota.put_account('company:acme/project:apollo', plan => 'team');
SELECT quota.put_account('company:acme/project:zeus', active => false);
SELECT quota.put_account('user:ann');
SELECT quota.put_account('user:ann/project:diary');
SELECT quota.put_member('company:acme', u) FROM unnest('{ann,bob}'::text[]) u;
SELECT quota.deny_model('company:acme', 'secret-*');
SELECT quota.set_limit('company:acme', 'credit', 1000, 'lifetime');
SELECT quota.set_limit('company:acme', 'credit', 100);
SELECT quota.set_limit('company:acme', 'calls', 50, '1 month from 2026-01-31 10:30:00 in Europe/Berlin');
SELECT quota.set_limit('company:acme/user:*', 'credit', 60, policy => 'soft');
SELECT quota.set_limit('company:acme/project:apollo/user:ann', 'credit', 55, overdraft => 5);
SELECT quota.set_limit('user:ann', 'credit', 9);
SELECT quota.set_limit('company:acme/project:apollo', 'calls', 20, 'month', rollover => 15, rollover_periods => 2);
SELECT quota.set_limit('company:acme/project:apollo', 'credit', 300, 'rolling 30 days');
SELECT quota.grant_quota('company:acme/project:apollo', 'calls', 5, expires_at => '2026-06-01', rollover => 2);
SELECT quota.void_grant(quota.grant_quota('company:acme/project:apollo', 'calls', 50), 'a mistake');
});
	for my $time ('2025-11-02 08:00:00', '2026-01-15 23:59:59.999999', '2026-02-28 12:00:01',
		'2026-03-01 00:00:00', '2026-03-20 12:00:00', '2025-12-24 18:00:00')
	{
		$session->query(
			qq{
SET xavier_quota.clock = '$time';
SELECT quota.settle_amount((quota.reserve_amount(u, 'apollo', 'credit=3.25,calls=1',
    ttl => '7 days') ->> 'hold_id')::uuid, 'credit=2.000001,calls=1')
FROM unnest('{ann,bob,ann}'::text[]) u;
SELECT quota.release((quota.reserve('bob', 'apollo', 'm1', '{"input_tokens": 1000}') ->> 'hold_id')::uuid);
SELECT quota.charge('ann', 'diary', 'm1', '{"input_tokens": 2000, "output_tokens": 10}', 'charge at $time');
SELECT quota.adjust('company:acme/user:ann', 'credit=-0.5', 'refund');
});
		$session->query('CALL quota.run_maintenance()') if $time gt '2026-01' and $time lt '2026-03-20';
	}
	my $key_hold = $session->query(
		q{
RESET xavier_quota.clock;
SELECT quota.settle_amount((quota.reserve_amount('bob', 'apollo', 'credit=5') ->> 'hold_id')::uuid,
    'credit=6') \g /dev/null
SELECT quota.reserve_amount('ann', 'apollo', 'credit=7') \g /dev/null
SELECT quota.reserve('ann', 'diary', 'm1', '{"input_tokens": 500}', ttl => '1 day') \g /dev/null
SELECT quota.reserve_amount('bob', 'apollo', 'credit=4', 'key of bob', '2 days') ->> 'hold_id'
});
	$session->close;

	my $last_change = $node->safe_psql('postgres', 'SELECT max(changed_at) FROM quota.audit');
	return {
		key_hold    => $key_hold,
		last_change => $last_change,
		contents    => contents($node, 'postgres', $last_change),
		balances    => balances($node),
		unfolded    => $node->safe_psql(
			'postgres', q{
SELECT count(*) FROM quota.events e
LEFT JOIN quota.fold_marks m ON (m.root_id, m.origin) = (e.root_id, e.origin)
WHERE e.xid >= coalesce(m.mark, '0')}),
	};
}

sub highest_id
{
	my ($node, $database) = @_;

	return $node->safe_psql(
		$database, q{
SELECT max(id) FROM (
    SELECT account_id FROM quota.accounts UNION ALL SELECT limit_id FROM quota.limits
    UNION ALL SELECT version FROM quota.limits UNION ALL SELECT limit_id FROM quota.plan_limits
    UNION ALL SELECT version FROM quota.plan_limits UNION ALL SELECT grant_id FROM quota.grants UNION ALL SELECT card_id FROM quota.rate_cards) AS i (id)});
}

# check_ledger(node, database, way, ledger, options): that all of a filled ledger is there and
# works.
#   changes   the operations that the audit records of its arrival
#   own       whether it has stayed in its cluster
sub check_ledger
{
	my ($node, $database, $way, $ledger, %options) = @_;
	my $key_hold = $ledger->{key_hold};

	is(contents($node, $database, $ledger->{last_change}), $ledger->{contents}, "$way: every table and sequence is the same");
	is( $node->safe_psql(
			$database,
			"SELECT DISTINCT operation FROM quota.audit WHERE changed_at > '$ledger->{last_change}'"),
		$options{changes}, "$way: the audit records how it came");
	is(balances($node, $database), $ledger->{balances}, "$way: balances are the same");
	is(differences($node, $database), '', "$way: counters equal the tables");
	is(mismatches($node, $database), '', "$way: and what the rows of the ledger add up to");

	my $restored = open_session($node, $database);
	my $highest = highest_id($node, $database);

	is( $restored->query(
			q{SELECT v ->> 'hold_id', v ->> 'replayed'
              FROM quota.reserve_amount('bob', 'apollo', 'credit=4', 'key of bob', '2 days') v}),
		"$key_hold|true", "$way: a key gives the answer it gave before");
	is($restored->query(qq{SELECT quota.settle_amount('$key_hold', 'credit=1') ->> 'state'}),
		'settled', "$way: a hold made before is settled after");
	is( $restored->query(
			q{SELECT quota.settle_amount((quota.reserve_amount('ann', 'apollo', 'credit=2,calls=1') ->> 'hold_id')::uuid,
              'credit=1.5,calls=1') ->> 'state'}),
		'settled', "$way: new usage is taken");
	is( $restored->query(
			q{SELECT u.used FROM quota._limit_usage('company:acme') u
              WHERE u.period OPERATOR(quota.=) 'lifetime'})
		  - ($ledger->{balances} =~ /^company:acme\|\|credit\|-infinity\|([\d.]+)\|/m)[0],
		2.5, "$way: and counts with what was there");
	is( $restored->query(
			qq{SELECT bool_and(id > $highest) FROM (
               SELECT quota.put_account('company:new') UNION ALL SELECT quota.set_limit('company:new', 'credit', 1)
               UNION ALL SELECT quota.set_rate_card('m2', '{"lines": [{"meter": "input_tokens", "price": "1"}]}')) i (id)}),
		't', "$way: new ids are beyond those there are");

	my $before = balances($node, $database);
	$restored->query('CALL quota.run_maintenance()');
	is($restored->query('SELECT quota.adopt()'),
		$options{own} ? 0 : $ledger->{unfolded}, "$way: adopt() folds what came from the other cluster");
	is($restored->query('SELECT quota.adopt()'), 0, "$way: and does so once");
	is(balances($node, $database), $before, "$way: maintenance and adopt() change no balance");
	is(differences($node, $database), '', "$way: counters still equal the tables");
	$restored->query('SELECT quota.reload()');
	is(balances($node, $database), $before, "$way: nor does a load that reads the roll-up");
	is(mismatches($node, $database), '', "$way: which adds up to the rows of the ledger");
	is( $restored->query(q{SELECT count(*) FROM quota.job_runs WHERE error IS NOT NULL}),
		0, "$way: no job failed");
	$restored->close;
	return;
}

1;
