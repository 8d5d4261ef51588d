
# Mistakes and corruption: what a superuser can do to ledger, roll-up, definitions and
# shared memory. What goes through the triggers is counted at once; what goes past them is
# found, exactly and nothing else, by quota.verify() (memory against tables) or
# quota.verify_usage() (roll-up against events), and mended as far as the tables still say
# what is true. docs/operating.md tells what to do, and what is lost.
#
# Each case has a database of its own, copied from one with this scene, at 12:30 on
# 2031-03-10. Of company:acme the roll-up has three events of ann in project apollo: 10
# credits of the tenth hour, 20 of the eleventh, 30 of the twelfth, each a call. Not
# folded is one of 5 credits; open is a hold of 7.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;
use XavierQuota;

my $node = new_server('mistakes', create => 0, settings => "xavier_quota.clock = '2031-03-10 12:30+00'\n");
my $unfolded = q{SELECT count(*) FROM quota.events e LEFT JOIN quota.fold_marks m USING (root_id, origin)
    WHERE e.xid >= coalesce(m.mark, '0')};

$node->safe_psql('postgres', 'CREATE DATABASE scene');
$node->safe_psql('scene', q{
CREATE EXTENSION xavier_quota;
CALL quota.run_job('partitions');
SELECT quota.put_account('company:acme'), quota.put_account('company:acme/project:apollo'),
       quota.put_member('company:acme', 'ann'),
       quota.set_limit('company:acme', 'credit', 1000),
       quota.set_limit('company:acme/user:*', 'credit', 500, 'lifetime'),
       quota.set_limit('company:acme/project:apollo', 'calls', 100, 'day');

-- Uses so many credits and one call at an instant.
CREATE FUNCTION use(instant timestamptz, credits numeric) RETURNS void
LANGUAGE sql AS $$
    SELECT set_config('xavier_quota.clock', instant::text, true);
    SELECT quota.settle_amount((quota.reserve_amount('ann', 'apollo', 'calls=1,credit=100') ->> 'hold_id')::uuid,
                               ('calls=1,credit=' || credits)::quota.amount)
$$;
-- What the limits say is used and held: credits of the company, of ann, calls of the project.
CREATE FUNCTION used_and_held() RETURNS text
LANGUAGE sql AS $$
    SELECT string_agg((l ->> 'used') || '+' || (l ->> 'held'), ' ' ORDER BY l ->> 'scope' = 'company:acme' DESC, l ->> 'scope' DESC)
    FROM jsonb_array_elements(quota.check_amount('ann', 'apollo', 'calls=1,credit=1') -> 'levels') AS l
$$;
-- Writes past the triggers of a table.
CREATE PROCEDURE unnoticed(relation regclass, statement text)
LANGUAGE plpgsql AS $$
DECLARE
    name name;
BEGIN
    EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', relation);
    EXECUTE statement;
    FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = relation AND NOT tgisinternal LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', relation, name);
    END LOOP;
END
$$;
SELECT use('2031-03-10 10:10+00', 10), use('2031-03-10 11:20+00', 20), use('2031-03-10 12:05+00', 30);
});
ok( $node->poll_query_until('scene', "SELECT quota._run_step('fold', root_id, scope) IS NOT NULL AND ($unfolded) = 0 FROM quota.accounts WHERE parent_id IS NULL"),
	'three events are folded');
$node->safe_psql('scene', q{SELECT use('2031-03-10 12:30+00', 5), quota.reserve_amount('ann', 'apollo', 'calls=1,credit=7', 'key')});

my $case = 0;
my $database;

# sql(statements): what psql prints, in the database of the case.
sub sql
{
	my ($statements) = @_;
	return $node->safe_psql($database, $statements);
}

# scene(what): a new database with the scene, its counters in memory.
sub scene
{
	my ($what) = @_;

	$database = 'case_' . ++$case;
	note "$case. $what";
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE scene");
	is(sql('SELECT used_and_held()'), '65+7 65+7 4+1', "$what: the scene");
	is(found(), '', "$what: in which all is well");
	return;
}

# found(): what verify() and verify_usage() return, in order of bytes.
sub found
{
	return sql(q{
SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") FROM (
    SELECT format('%s %s: memory %s+%s tables %s+%s', scope, resource, memory_used, memory_held, table_used, table_held)
    FROM quota.verify()
    UNION ALL
    SELECT format('%s:00 %s %s %s: rolled up %s in %s, events %s in %s', to_char(hour, 'HH24'), scope, user_id, resource,
                  trim_scale(hourly_used), hourly_events, trim_scale(ledger_used), ledger_events)
    FROM quota.verify_usage()) AS d (line)});
}

# differs(lines, sentence): whether found() returns exactly these.
sub differs
{
	my ($lines, $sentence) = @_;
	return is(found(), $lines =~ s/^\s+//gmr =~ s/\n\z//r, $sentence);
}

# usage(hour, credits, calls, credits, calls): what found() says of ann's usage of an hour, if the
# roll-up has the first and the events have the second. A call is one event.
sub usage
{
	my ($hour, $credits, $calls, $ledger_credits, $ledger_calls) = @_;

	return join "\n", map {
		("$hour:00 company:acme$_ ann calls: rolled up $calls in $calls, events $ledger_calls in $ledger_calls",
			"$hour:00 company:acme$_ ann credit: rolled up $credits in $calls, events $ledger_credits in $ledger_calls")
	} '', '/project:apollo';
}

# unnoticed(relation, statement): writes past the triggers.
sub unnoticed
{
	my ($relation, $statement) = @_;
	return sql("CALL unnoticed('$relation', \$sql\$$statement\$sql\$)");
}

# Holds ------------------------------------------------------------------------

for my $how ('', 'SET session_replication_role = replica;')
{
	scene('holds deleted' . ($how && ' as a replica'));
	sql("$how DELETE FROM quota.holds");
	is(sql('SELECT used_and_held()'), '65+0 65+0 4+0', 'triggers see it, the counters follow');
	differs('', 'nothing differs');
}

scene('holds deleted without triggers');
my $hold = sql('SELECT hold_id FROM quota.holds');
unnoticed('quota.holds', 'DELETE FROM quota.holds');
differs('company:acme credit: memory 65+7 tables 65+0
	company:acme open holds: memory 0+1 tables 0+0
	company:acme/project:apollo calls: memory 4+1 tables 4+0
	company:acme/user:ann credit: memory 65+7 tables 65+0', 'verify() says which counters, and by how much');
is(sql('SELECT used_and_held()'), '65+7 65+7 4+1', 'and changes nothing');
sql('SELECT quota.reload()');
differs('', 'reload() mends it');
is(sql('SELECT used_and_held()'), '65+0 65+0 4+0', 'by what the tables say');
my (undef, undef, $error) = $node->psql($database, "SELECT quota.settle_amount('$hold', 'credit=6')");
like($error, qr/does not exist.*quota\.charge/s, 'the hold is lost; its worker is told to charge');

scene('holds truncated');
sql('TRUNCATE quota.holds');
is(sql('SELECT used_and_held()'), '65+0 65+0 4+0', 'triggers see it, the counters follow');
differs('', 'nothing differs');

scene('keys deleted');
sql('DELETE FROM quota.keys');
differs('', 'nothing differs: keys count nowhere');
is( sql(q{SELECT v ->> 'replayed' FROM quota.reserve_amount('ann', 'apollo', 'calls=1,credit=7', 'key') AS v}),
	'false', 'but a call that is repeated with its key holds once more');
is(sql('SELECT used_and_held()'), '65+14 65+14 4+2', 'and is counted as what it is');

# Events -----------------------------------------------------------------------

scene('events deleted');
(undef, undef, $error) = $node->psql($database, 'SET session_replication_role = replica; DELETE FROM quota.events');
like($error, qr/the ledger is append-only/, 'the ledger refuses, whoever asks');

scene('an event deleted that is not folded, without triggers');
unnoticed('quota.events', "DELETE FROM quota.events WHERE held_at = '2031-03-10 12:30+00'");
differs('company:acme credit: memory 65+7 tables 60+7
	company:acme/project:apollo calls: memory 4+1 tables 3+1
	company:acme/user:ann credit: memory 65+7 tables 60+7', 'verify() says which counters, and by how much');
sql('SELECT quota.reload()');
differs('', 'reload() takes the tables as the truth');
is(sql('SELECT used_and_held()'), '60+7 60+7 3+1', 'what was used is lost');

scene('an event deleted that is folded, without triggers');
sql("CREATE TABLE backup AS SELECT * FROM quota.events WHERE held_at = '2031-03-10 11:20+00'");
unnoticed('quota.events', "DELETE FROM quota.events WHERE held_at = '2031-03-10 11:20+00'");
differs(usage(11, 20, 1, 0, 0), 'counters are right by the roll-up; verify_usage() says what is missing');
sql('INSERT INTO quota.events SELECT * FROM backup');
differs('', 'put back from a backup, nothing differs');
is(sql('SELECT used_and_held()'), '65+7 65+7 4+1', 'and nothing was lost');

scene('a partition of events detached');
sql('ALTER TABLE quota.events DETACH PARTITION quota.events_2031_03');
my $without_march = join "\n", usage(10, 10, 1, 0, 0), usage(11, 20, 1, 0, 0), usage(12, 30, 1, 0, 0);
my $without_tail = '
	company:acme credit: memory 65+7 tables 60+7
	company:acme/project:apollo calls: memory 4+1 tables 3+1
	company:acme/user:ann credit: memory 65+7 tables 60+7';
differs($without_march . $without_tail, 'both say what is missing');
sql("SELECT use('2031-03-10 12:30+00', 1)");
is(sql('SELECT used_and_held()'), '66+7 66+7 5+1', 'business goes on, in the default partition');
sql(documented('operating.md', 'To attach a partition again'));
differs('', 'attached again, nothing differs');
is(sql('SELECT used_and_held()'), '66+7 66+7 5+1', 'and nothing was lost');

scene('a partition of events dropped too early');
sql('DROP TABLE quota.events_2031_03');
differs($without_march . $without_tail, 'both say what is missing');
is(sql(q{SELECT count(*) FROM quota.verify_usage(since => '2031-04-01 00:00+00')}),
	'0', 'of hours that are given up, verify_usage() does not ask');
sql(q{SELECT quota.rebuild_usage(NULL, '2031-04-01 00:00+00'), quota.reload()});
is(sql('SELECT used_and_held()'), '60+7 60+7 3+1', 'what was folded still counts; what was not is lost');
sql("SELECT use('2031-03-10 12:30+00', 1)");
is(sql('SELECT used_and_held()'), '61+7 61+7 4+1', 'and business goes on, in the default partition');

scene('a partition of events truncated');
sql('TRUNCATE quota.events_2031_03');
is(sql('SELECT used_and_held()'), '60+7 60+7 3+1', 'triggers see it, the counters follow the roll-up');
differs($without_march, 'verify_usage() says what is missing');

scene('an event inserted by hand');
my $insert = q{INSERT INTO quota.events SELECT overlay(hold_id::text PLACING '000' FROM 34)::uuid, 1, kind, root_id, levels,
    scope, user_id, model, held, charged, cost_usd, outcome, held_at, recorded_at, card_id, usage, reason, origin,
    %s FROM quota.events WHERE held_at = '2031-03-10 11:20+00'};
sql(sprintf $insert, 'pg_current_xact_id()');
is(sql('SELECT used_and_held()'), '85+7 85+7 5+1', 'it is a fact like any other');
differs('', 'nothing differs');
(undef, undef, $error) = $node->psql($database, q{INSERT INTO quota.events SELECT * FROM quota.events LIMIT 1});
like($error, qr/duplicate key value/, 'but the same fact twice is refused');

scene('an event inserted by hand as if it were folded');
sql(sprintf $insert, 'xid');
is(sql('SELECT used_and_held()'), '65+7 65+7 4+1', 'it counts nowhere');
differs(usage(11, 20, 1, 40, 2),
	'verify_usage() finds it');
is(sql(q{SELECT quota.rebuild_usage('company:acme', '-infinity')}), '12', 'rebuild_usage() makes the roll-up anew');
differs('', 'and nothing differs');
is(sql('SELECT used_and_held()'), '85+7 85+7 5+1', 'now it counts');

# The roll-up and its mark ---------------------------------------------------------

my $edit = q{UPDATE quota.usage_hourly SET used = used + 100 WHERE resource = 'credit' AND hour = '2031-03-10 11:00+00' AND leaf};
my $edited = '11:00 company:acme/project:apollo ann credit: rolled up 120 in 1, events 20 in 1';

scene('the roll-up edited');
sql($edit =~ s/AND leaf/AND NOT leaf/r);
is(sql('SELECT used_and_held()'), '165+7 165+7 4+1', 'triggers see it, the counters follow');
differs($edited =~ s{/project:apollo}{}r, 'verify_usage() says what was edited');
sql(q{SELECT quota.rebuild_usage('company:acme', '2031-03-10 11:59+00')});
differs('', 'rebuild_usage() mends it, from the hour on that it is told');
is(sql('SELECT used_and_held()'), '65+7 65+7 4+1', 'and the counters follow');

scene('the roll-up edited without triggers');
unnoticed('quota.usage_hourly', $edit =~ s/AND leaf//r);
differs(($edited =~ s{/project:apollo}{}r) . "\n$edited" . '
	company:acme credit: memory 65+7 tables 165+7
	company:acme/user:ann credit: memory 65+7 tables 165+7', 'both say what differs');
sql(q{SELECT quota.rebuild_usage(NULL, '-infinity')});
differs('', 'rebuild_usage() mends it');
is(sql('SELECT used_and_held()'), '65+7 65+7 4+1', 'and the counters are what they were');

scene('the roll-up deleted');
sql('DELETE FROM quota.usage_hourly');
is(sql('SELECT used_and_held()'), '5+7 5+7 1+1', 'triggers see it, the counters follow');
differs(join("\n", usage(10, 0, 0, 10, 1), usage(11, 0, 0, 20, 1), usage(12, 0, 0, 30, 1)),
	'verify_usage() says what is missing');
sql(q{SELECT quota.rebuild_usage(NULL, '-infinity')});
differs('', 'rebuild_usage() mends it');
is(sql('SELECT used_and_held()'), '65+7 65+7 4+1', 'and nothing was lost');

scene('the mark of the fold set back');
sql(q{UPDATE quota.fold_marks SET mark = '3'});
is(sql('SELECT used_and_held()'), '125+7 125+7 7+1', 'what is folded counts twice');
differs($without_march, 'verify_usage() says so');
sql(q{SELECT quota.rebuild_usage(NULL, '-infinity')});
differs('', 'rebuild_usage() mends it');
is(sql('SELECT used_and_held()'), '65+7 65+7 4+1', 'and the counters are what they were');

scene('the mark of the fold set ahead');
sql(q{UPDATE quota.fold_marks SET mark = '1000000000000'});
is(sql('SELECT used_and_held()'), '60+7 60+7 3+1', 'what is not folded counts nowhere');
differs(usage(12, 30, 1, 35, 2), 'verify_usage() says so');
sql(q{SELECT quota.rebuild_usage(NULL, '-infinity')});
differs('', 'rebuild_usage() mends it');
sql("SELECT use('2031-03-10 12:30+00', 1)");
is(sql('SELECT used_and_held()'), '66+7 66+7 5+1', 'and what comes after it counts');
sql('CALL quota.run_maintenance(); SELECT quota.reload()');
differs('', 'folded or not');
is(sql('SELECT used_and_held()'), '66+7 66+7 5+1', 'as it should');

# Definitions ------------------------------------------------------------------

scene('definitions edited');
my $session = open_session($node, $database);
my $remaining = q{SELECT quota.remaining('ann', 'apollo')};
$session->query($remaining);
sql(q{UPDATE quota.limits SET amount = 100 WHERE resource = 'credit' AND user_id IS NULL AND child_kind IS NULL});
is( $session->query($remaining),
	'company:acme{credit=28},company:acme/project:apollo{calls=95},company:acme/user:ann{credit=428}',
	'triggers see it, the limit is another one');
sql(q{DELETE FROM quota.limits WHERE resource = 'calls'});
is($session->query($remaining), 'company:acme{credit=28},company:acme/user:ann{credit=428}', 'or there is none');
differs('', 'counters are what they were');

scene('definitions edited without triggers');
$session = open_session($node, $database);
$session->query($remaining);
unnoticed('quota.limits', q{UPDATE quota.limits SET amount = 100 WHERE resource = 'credit' AND child_kind IS NULL});
like($session->query($remaining), qr/^company:acme\{credit=928\}/, 'who knew the limit does not see it');
differs('', 'counters are what they were');
sql('SELECT quota.reload()');
like($session->query($remaining), qr/^company:acme\{credit=28\}/, 'reload() has it read again');

# The clock --------------------------------------------------------------------

scene('the clock a month ahead');
sql(q{SET xavier_quota.clock = '2031-04-10 12:30+00';
      SELECT quota.reserve_amount('ann', 'apollo', 'calls=1,credit=2')});
is(sql('SELECT used_and_held()'), '65+7 65+9 4+1', 'what was held then counts then, and for ever');
is(sql(q{SET xavier_quota.clock = '2031-04-10 13:00+00'; SELECT used_and_held()}),
	'0+2 65+9 0+1', 'in the month and on the day that the clock said');
differs('', 'nothing differs');

# Memory -----------------------------------------------------------------------

# poke(credits): adds to what the counter of company:acme, credits, has used, in shared
# memory, through a debugger that is attached to a backend. Returns what gdb says.
sub poke
{
	my ($credits) = @_;
	my $backend = open_session($node, $database);
	my ($pid, $database_oid, $limit) = split /\|/, $backend->query(q{
SELECT pg_backend_pid(), d.oid, l.limit_id FROM pg_database d, quota.limits l, quota.engine_stats s
WHERE d.datname = current_database() AND l.resource = 'credit' AND l.child_kind IS NULL});
	my $micros = $credits * 1_000_000;
	my $script = write_script(
		'poke.gdb', qq{
set var \$poked = 0
set var \$partition = 0
while \$partition < 64
  set var \$head = &EscrowState->partitions[\$partition].members.head
  set var \$node = \$head->next
  while \$node != 0 && \$node != \$head
    set var \$counter = (SharedCounter *) ((char *) \$node - (long) &((SharedCounter *) 0)->member)
    if \$counter->key.database == $database_oid && \$counter->key.limit_id == $limit && \$counter->key.user_id[0] == 0
      set var *(long *) &\$counter->used = *(long *) &\$counter->used + $micros
      set var \$poked = \$poked + 1
    end
    set var \$node = \$node->next
  end
  set var \$partition = \$partition + 1
end
printf "poked %d\\n", \$poked
});
	my $output = `gdb -nx -batch -p $pid -x $script 2>&1`;

	$backend->close;
	return $output;
}

SKIP:
{
	skip 'there is no program gdb (Debian package gdb)', 7 if system('gdb --version > /dev/null 2>&1');

	scene('a counter changed in memory');
	my $output = poke(5);
	skip "gdb may not attach to a process here: $1", 5 if $output =~ /(.*(?:not permitted|ptrace).*)/;
	skip 'the library was built without debugging symbols', 5 if $output =~ /^No symbol/m;
	like($output, qr/^poked 1$/m, 'gdb adds 5 to one counter');
	is(sql('SELECT used_and_held()'), '70+7 65+7 4+1', 'the limit is fuller by that');
	differs('company:acme credit: memory 70+7 tables 65+7', 'verify() says which counter, and by how much');
	sql('SELECT quota.reload()');
	differs('', 'reload() mends it');
	is(sql('SELECT used_and_held()'), '65+7 65+7 4+1', 'nothing was lost');
}

done_testing();
