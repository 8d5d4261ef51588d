
# XavierQuota: what the TAP tests share. Each test starts servers of its own.

package XavierQuota;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(
  new_server install_checks poll_until differences mismatches
  open_session start_pgbench write_script
);

# new_server(name, options): a running server with the library preloaded.
#   preload    shared_preload_libraries, if not the usual ones
#   settings   text for postgresql.conf
#   init       arguments of PostgreSQL::Test::Cluster->init
# The extension is created in database postgres, unless create is 0.
sub new_server
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $preload = $options{preload} // 'pg_cron,xavier_quota';

	$node->init(%{ $options{init} // {} });
	$node->append_conf(
		'postgresql.conf', qq(
shared_preload_libraries = '$preload'
timezone = 'UTC'
log_statement = none
max_connections = 100
) . ($options{settings} // ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION xavier_quota') if $options{create} // 1;
	return $node;
}

# install_checks(node, database): test.wait_until(), and test.mismatches(), which recounts
# every limit from the rows of the ledger by its own rules: scopes compared as text, no
# index, no roll-up. It serves limits for all models.
sub install_checks
{
	my ($node, $database) = @_;

	$node->safe_psql(
		$database // 'postgres', q{
CREATE SCHEMA test;
CREATE FUNCTION test.is_below(scope text, above text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN scope = above OR starts_with(scope, above || '/');

CREATE FUNCTION test.counts(account text, share text, scope text, user_id text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN share IS NULL THEN test.is_below(scope, account)
            ELSE test.is_below(scope, regexp_replace(account, '/user:[^/]*$', ''))
                 AND user_id = share END;

-- Returns once the query says true.
CREATE PROCEDURE test.wait_until(query text, seconds int DEFAULT 60)
LANGUAGE plpgsql
AS $$
DECLARE
    done boolean;
    latest timestamptz := clock_timestamp() + make_interval(secs => seconds);
BEGIN
    LOOP
        EXECUTE query INTO done;
        EXIT WHEN done;
        IF clock_timestamp() > latest THEN
            RAISE EXCEPTION 'waited in vain for: %', query;
        END IF;
        COMMIT;
        PERFORM pg_sleep(0.003);
    END LOOP;
END
$$;

CREATE FUNCTION test.mismatches() RETURNS SETOF text
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    WITH counters AS MATERIALIZED (SELECT * FROM quota._limit_usage()),
    recount AS (
        SELECT c.scope, c.resource, c.period_start, c.used, c.held,
               (SELECT coalesce(sum((e.charged::jsonb ->> c.resource)::numeric), 0)
                FROM quota.events e
                WHERE test.counts(c.scope::text, c.user_id, e.scope::text, e.user_id)
                  AND e.held_at >= c.period_start AND e.held_at < c.period_end) AS events_used,
               (SELECT coalesce(sum((h.amount::jsonb ->> c.resource)::numeric), 0)
                FROM quota.holds h
                WHERE test.counts(c.scope::text, c.user_id, h.scope::text, h.user_id)
                  AND h.held_at >= c.period_start AND h.held_at < c.period_end) AS holds_held
        FROM counters c
    )
    SELECT format('%s %s from %s: used %s held %s, in the ledger %s and %s',
                  r.scope, r.resource, r.period_start, r.used, r.held, r.events_used, r.holds_held)
    FROM recount r
    WHERE (r.used, r.held) IS DISTINCT FROM (r.events_used, r.holds_held)
    ORDER BY 1;
END;
});
	return;
}

# differences(node): what quota.verify() finds; empty when all is well.
sub differences
{
	my ($node, $database) = @_;
	return $node->safe_psql($database // 'postgres', 'SELECT * FROM quota.verify()');
}

# mismatches(node): what the recount of install_checks() finds; empty when all is well.
sub mismatches
{
	my ($node, $database) = @_;
	return $node->safe_psql($database // 'postgres', 'SELECT * FROM test.mismatches()');
}

# poll_until(code, seconds, step): whether code returned true within the time.
sub poll_until
{
	my ($code, $seconds, $step_ms) = @_;
	my $end = time + ($seconds // $PostgreSQL::Test::Utils::timeout_default);

	until ($code->())
	{
		return 0 if time > $end;
		usleep(($step_ms // 10) * 1000);
	}
	return 1;
}

# write_script(name, text): a file with the text; returns its path.
sub write_script
{
	my ($name, $text) = @_;
	my $path = "$PostgreSQL::Test::Utils::tmp_check/$name";

	open my $file, '>', $path or die "could not write $path: $!";
	print $file $text;
	close $file;
	return $path;
}

# start_pgbench(node, arguments): starts pgbench; returns a handle for finish() and a
# reference to what it prints.
sub start_pgbench
{
	my ($node, @arguments) = @_;
	my $output = '';
	my $handle = IPC::Run::start([ 'pgbench', '-n', @arguments, $node->connstr('postgres') ],
		'<', \undef, '>', \$output, '2>&1');

	return ($handle, \$output);
}

# open_session(node, database): a session that stays open. Its methods:
#   query(sql)     what psql prints; dies of an error
#   attempt(sql)   what psql prints, errors included
#   backend        process id of its backend
#   close
sub open_session
{
	my ($node, $database) = @_;
	my $self = bless { input => '', output => '', count => 0 }, 'XavierQuota::Session';

	$self->{psql} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr($database // 'postgres') ],
		'<', \$self->{input}, '>', \$self->{output}, '2>&1',
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	$self->{backend} = $self->query('SELECT pg_backend_pid()');
	return $self;
}

package XavierQuota::Session;

use strict;
use warnings;

sub query
{
	my ($self, $sql) = @_;
	my $output = $self->attempt($sql);

	die "$output\nin: $sql" if $output =~ /^(?:ERROR|FATAL|PANIC):|^psql:/m;
	return $output;
}

sub attempt
{
	my ($self, $sql) = @_;
	my $end = '-- end of answer ' . ++$self->{count};

	$self->{output} = '';
	$self->{input} .= "$sql\n;\n\\echo $end\n";
	$self->{psql}->pump until $self->{output} =~ s/^\Q$end\E\n\z//m or !$self->{psql}->pumpable;
	chomp $self->{output};
	return $self->{output};
}

sub backend
{
	my ($self) = @_;
	return $self->{backend};
}

sub close
{
	my ($self) = @_;

	$self->{input} .= "\\q\n";
	return $self->{psql}->finish;
}

1;
