
# Whatever the server and the engine remember between two looks at the catalogs is forgotten at
# every chance there is (debug_discard_caches, which servers with assertions have): every call
# ends, and says what it says otherwise. A cache that is read after its invalidation reads
# overwritten memory, and one that is filled until nothing changes is never full.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use Test::More;
use XavierQuota;

# Each line is a call of its own. The hold is that of ann. (To plan admin_limits so takes minutes.)
my $HOLD = q{(SELECT h.hold_id FROM quota.admin_holds h WHERE h.user_id = 'ann')};
my @DEFINITIONS = split(
	/\n/, q{SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [{"meter": "input_tokens", "price": "0.000001"}, {"meter": "output_tokens", "price": "0.000002"}]}')
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo')
SELECT quota.put_member('company:acme', 'ann')
SELECT quota.set_limit('company:acme', 'credit', 1000)
SELECT quota.set_limit('company:acme/user:*', 'calls', 2, period => 'day')});
my @CALLS = split(
	/\n/, qq{SELECT quota.check('ann', 'apollo', 'm1', '{"input_tokens": 1000, "max_output_tokens": 500}')
SELECT quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000, "max_output_tokens": 500}', idempotency_key => 'k1') ->> 'allowed'
SELECT quota.extend($HOLD, ttl => '20 minutes') ->> 'state'
UPDATE quota.limits SET amount = 1 WHERE resource = 'calls' RETURNING amount
SELECT quota.reserve('ann', 'apollo', 'm1', '{"input_tokens": 1000, "max_output_tokens": 500}') ->> 'reason'
SELECT quota.settle($HOLD, '{"input_tokens": 1000, "output_tokens": 100}') - 'hold_id'
SELECT quota.set_rate_card('m1', '{"mode": "chat", "max_output_tokens": 1000, "lines": [{"meter": "input_tokens", "price": "0.000003"}]}', valid_from => now() + interval '1 day') IS NOT NULL
SELECT quota.charge('ann', 'apollo', 'm1', '{"input_tokens": 7, "output_tokens": 1}', idempotency_key => 'c1') ->> 'charged'
SELECT count(*) FROM quota.verify()});

my $node = new_server('discarding');

plan skip_all => 'this server has no assertions, and so never discards a cache at every chance'
	if $node->safe_psql('postgres', 'SHOW debug_assertions') eq 'off';
$node->safe_psql('postgres', 'CREATE DATABASE usual');
$node->safe_psql('usual', 'CREATE EXTENSION xavier_quota');

# It takes minutes.
my %session = (usual => open_session($node, 'usual', 1800), discarding => open_session($node, 'postgres', 1800));
for my $session (values %session)
{
	$session->query("SET xavier_quota.clock = '2026-03-10 12:00:00+00'");
	$session->query($_) for @DEFINITIONS;
}
$session{discarding}->query('SET debug_discard_caches = 1');
for my $call (@CALLS)
{
	my $expected = $session{usual}->query($call);

	isnt($expected, '', "$call: answered");
	is($session{discarding}->attempt($call), $expected, "$call: the same without caches");
}
$_->close for values %session;
$node->stop;
done_testing();
