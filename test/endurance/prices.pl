
# Random rate cards and usages, priced by the engine and by a model of the documentation in
# SQL's numeric (test/lib/price_model.sql), which shares no code with it. Proved for each:
#   1. the cost is the model's, to the last digit; what the model has no price for is
#      refused; what 128 bits cannot hold is an error, and nothing else is
#   2. the lines add up to the cost, each is its quantity times its price, none is negative
#   3. more of anything never costs less (cards with volume tiers or prices above a size aside)
#   4. the ceiling of a request covers whatever becomes of its output (cards with one price for
#      each kind of output)
#
# AMOUNT cards (300), each asked about six usages. They depend on their number alone:
# FIRST=n AMOUNT=1 repeats one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $CARDS = $ENV{AMOUNT} // 300;
my $FIRST = $ENV{FIRST} // 1;
my $BATCH = 50;

my $node = new_server('prices', settings => "fsync = off\n");
install_checks($node);
my $session = open_session($node);
$session->query(slurp_file("$FindBin::RealBin/../lib/price_model.sql"));

my %asked;
my $broken = 0;
for (my $number = $FIRST; $number < $FIRST + $CARDS; $number += $BATCH)
{
	my $last = $number + $BATCH - 1;
	$last = $FIRST + $CARDS - 1 if $last >= $FIRST + $CARDS;
	my @rows = split /\n/, $session->query(
		qq{SELECT json_build_object('card', n, 'asked', c.asked, 'broken', c.broken)
FROM generate_series($number, $last) n, price_model.check_card(n) c});
	for my $row (map { decode_json($_) } @rows)
	{
		$asked{$_} += $row->{asked}{$_} for keys %{ $row->{asked} };
		for my $law (@{ $row->{broken} })
		{
			diag("card $row->{card}: " . encode_json($law)) if $broken++ < 5;
		}
	}
	note "$last cards: " . join(', ', map { "$asked{$_} $_" } sort keys %asked) if $last % 100 < $BATCH;
}
is($broken, 0, "$CARDS cards: no law is broken");
SKIP:
{
	skip 'too few cards to ask everything', 1 if $CARDS < 100;
	is(join(', ', grep { $asked{$_} < $CARDS / 10 } sort keys %asked), '', 'each law was asked about often');
}
$session->close;
$node->stop('fast');
done_testing();
