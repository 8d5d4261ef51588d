
# XavierQuota: what the TAP tests share. Each test starts servers of its own.

package XavierQuota;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(
  new_server install_checks poll_until differences mismatches contents balances
  open_session start_pgbench is_running write_script documented
  find_bouncer start_bouncer kill_server start_server_in_background two_majors
);

# new_server(name, options): a running server with the library preloaded.
#   preload    shared_preload_libraries, if not the usual ones
#   settings   text for postgresql.conf
#   init       arguments of PostgreSQL::Test::Cluster->init
#   prefix     of another installation of PostgreSQL, above its bin/
#   started    0 to leave it stopped
# The extension is created in database postgres, unless create is 0.
sub new_server
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name,
		$options{prefix} ? (install_path => $options{prefix}) : ());
	my $preload = $options{preload} // 'pg_cron,xavier_quota';

	$node->init(%{ $options{init} // {} });
	$node->append_conf(
		'postgresql.conf', qq(
shared_preload_libraries = '$preload'
timezone = 'UTC'
log_statement = none
jit = off
max_connections = 100
) . ($options{settings} // ''));
	return $node if !($options{started} // 1);
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION xavier_quota') if $options{create} // 1;
	return $node;
}

# install_checks(node, database): test.wait_until(); test.in_use(), which says what transactions
# hold of the engine; and test.mismatches(), which recounts every limit from the rows of the
# ledger by its own rules: scopes compared as text, no index, no roll-up.
sub install_checks
{
	my ($node, $database) = @_;

	$node->safe_psql(
		$database // 'postgres', q{
CREATE SCHEMA test;
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

-- Locks that calls have taken and not given back, and counters in use, of all sessions.
CREATE FUNCTION test.in_use() RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    locks bigint := (SELECT count(*) FROM pg_locks l LEFT JOIN pg_class c ON c.oid IN (l.relation, l.classid)
                     WHERE c.relnamespace = 'quota'::regnamespace
                       AND (l.locktype = 'object' OR c.relname = 'global_lock'));
BEGIN
    RETURN format('%s locks, %s pinned', locks, (SELECT s.pinned FROM quota.engine_stats s));
END
$$;

CREATE FUNCTION test.limit_mismatches() RETURNS SETOF text
LANGUAGE sql VOLATILE
-- As text: what is parsed beforehand is restored by pg_upgrade before our operators are.
AS $$
    WITH facts AS (
        SELECT e.scope::text AS scope, e.user_id, e.model, e.held_at, c.key AS resource,
               c.value::numeric AS used, 0 AS held
        FROM quota.events e, jsonb_each_text(e.charged::jsonb) c
        UNION ALL
        SELECT h.scope::text, h.user_id, h.model, h.held_at, c.key, 0, c.value::numeric
        FROM quota.holds h, jsonb_each_text(h.amount::jsonb) c
        UNION ALL
        -- A hold of a model is a generation that runs.
        SELECT h.scope::text, h.user_id, h.model, h.held_at, 'in_flight', 0, 1
        FROM quota.holds h WHERE h.model IS NOT NULL
    ), counted AS MATERIALIZED (
        -- Once for each account above, and once for the share of the user in each.
        SELECT array_to_string((string_to_array(f.scope, '/'))[1:n], '/') AS account, s.share,
               f.resource, f.model, f.held_at, f.used, f.held
        FROM facts f, generate_series(1, cardinality(string_to_array(f.scope, '/'))) n,
             LATERAL (SELECT '' UNION ALL SELECT f.user_id WHERE f.user_id IS NOT NULL) s (share)
    ), recount AS (
        SELECT c.scope, c.resource, c.period_start, c.used, c.held,
               coalesce(sum(f.used), 0) AS events_used, coalesce(sum(f.held), 0) AS holds_held
        FROM quota._limit_usage() c
        LEFT JOIN counted f
            ON f.account = CASE WHEN c.user_id IS NULL THEN c.scope::text
                                ELSE left(c.scope::text, -length('/' || quota.scope('user', c.user_id)::text)) END
            AND f.share = coalesce(c.user_id, '') AND f.resource = c.resource
            AND f.held_at >= c.period_start AND f.held_at < c.period_end
            AND (c.model = '*' OR f.model LIKE replace(regexp_replace(c.model, '([\\\\%_])', '\\\\\\1', 'g'), '*', '%'))
        -- What falls out of a window, or has flowed back, is not a matter of adding up.
        WHERE c.period::text !~ '^(rolling|refill) '
        GROUP BY c.scope, c.resource, c.period_start, c.limit_id, c.used, c.held
    )
    SELECT format('%s %s from %s: used %s held %s, in the ledger %s and %s',
                  r.scope, r.resource, r.period_start, r.used, r.held, r.events_used, r.holds_held)
    FROM recount r
    WHERE (r.used, r.held) IS DISTINCT FROM (r.events_used, r.holds_held);
$$;

-- The same for what is learned from usage, which has to be in the vocabulary.
CREATE FUNCTION test.mismatches() RETURNS SETOF text
LANGUAGE sql VOLATILE
AS $$
    SELECT m FROM test.limit_mismatches() m
    UNION ALL
    SELECT format('%s bucket %s of output tokens in the week of %s: learned %s, rolled up %s',
                  model, bucket, week, learned.events, rolled_up.events)
    FROM (
        -- Each event below the mark of its cluster that has succeeded, from its usage.
        SELECT e.root_id, c.model, date_trunc('week', e.held_at AT TIME ZONE 'UTC')::date AS week,
               quota._histogram_bucket((e.usage ->> 'output_tokens')::numeric) AS bucket, count(*) AS events
        FROM quota.events e
        JOIN quota.rate_cards c ON c.card_id = e.card_id
        JOIN quota.fold_marks m ON (m.root_id, m.origin) = (e.root_id, e.origin) AND e.xid < m.mark
        WHERE e.usage ? 'output_tokens' AND coalesce(e.outcome, 'succeeded') = 'succeeded'
        GROUP BY 1, 2, 3, 4
    ) AS rolled_up
    FULL JOIN (
        SELECT h.root_id, h.model, h.week, h.bucket, h.events
        FROM quota.usage_histogram h WHERE h.quantity = 'output_tokens'
    ) AS learned USING (root_id, model, week, bucket)
    WHERE learned.events IS DISTINCT FROM rolled_up.events
      AND week >= date_trunc('week', quota.now() AT TIME ZONE 'UTC')::date - 28
    ORDER BY 1;
$$;
});
	return;
}

# major(prefix): the version of an installation, if it has the extension.
sub major
{
	my ($prefix) = @_;
	my ($version) = eval { run_command([ "$prefix/bin/postgres", '--version' ]) };
	my ($library) = eval { run_command([ "$prefix/bin/pg_config", '--pkglibdir' ]) };

	return undef if !$library || !-e "$library/xavier_quota.so";
	return $version =~ /(\d+)/ ? $1 : undef;
}

# two_majors: the directories above bin/ of this version of PostgreSQL and of another one, the
# earlier first; nothing if there is no other. It is any that test/run has built in the same
# checkout, or the one in OTHER_POSTGRES, with the extension installed.
sub two_majors
{
	my ($bin) = run_command([ 'pg_config', '--bindir' ]);
	my $own = $bin =~ s{/bin$}{}r;
	my ($other) = grep { (major($_) // major($own)) != major($own) }
	  $ENV{OTHER_POSTGRES} // glob("$FindBin::RealBin/../../../../pg*/usr/lib/postgresql/*");

	return defined $other ? sort { major($a) <=> major($b) } $own, $other : ();
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

# contents(node, database, last_change): what a database holds, table by table, and where its
# sequence stands; of the audit, what is not later than the last change.
sub contents
{
	my ($node, $database, $last_change) = @_;

	$last_change //= 'infinity';
	return $node->safe_psql(
		$database // 'postgres', "\\set last_change '$last_change'" . q{
SELECT format(CASE c.relkind WHEN 'S' THEN 'SELECT %L, last_value FROM quota.%I;'
       ELSE 'SELECT %L, count(*), md5(string_agg(t::text, E''\n'' ORDER BY t::text COLLATE "C")) FROM quota.%I t' END
       || CASE c.relname WHEN 'audit' THEN $$ WHERE changed_at <= '%3$s'$$ ELSE '' END,
       c.relname, c.relname, :'last_change')
FROM pg_class c
WHERE c.relnamespace = 'quota'::regnamespace AND c.relkind IN ('r', 'p', 'S')
ORDER BY c.relname COLLATE "C" \gexec
});
}

# balances(node, database): what is left to every user in every project, and used and held of
# every limit.
sub balances
{
	my ($node, $database) = @_;

	return $node->safe_psql(
		$database // 'postgres', q{
SELECT p.scope::text, u.user_id, quota.remaining(u.user_id, p.scope::text)
FROM quota.accounts p JOIN quota.accounts r ON r.account_id = p.root_id,
     LATERAL (SELECT m.user_id FROM quota.members m WHERE m.root_id = p.root_id
              UNION SELECT r.name WHERE r.kind = 'user') u
WHERE p.kind = 'project' ORDER BY p.scope, u.user_id;
SELECT u.scope::text, u.user_id, u.resource, u.period_start, u.used, u.held
FROM quota._limit_usage() u ORDER BY u.scope, u.user_id, u.resource, u.period::text});
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

# write_script(name, text): a file of this test with the text; returns its path. Other tests,
# which run at the same time, have files of the same names.
sub write_script
{
	my ($name, $text) = @_;
	my $path = join '', $PostgreSQL::Test::Utils::tmp_check, '/', basename($0, '.pl'), '_', $name;

	open my $file, '>', $path or die "could not write $path: $!";
	print $file $text;
	close $file;
	return $path;
}

# documented(page, heading): the commands that a page of docs/ shows under this first line.
sub documented
{
	my ($page, $heading) = @_;
	my ($commands) = slurp_file("docs/$page") =~ /^```postgresql\n(-- \Q$heading\E:\n.*?)^```$/ms;

	return $commands // die "docs/$page shows no commands under \"$heading\"";
}

# start_pgbench(node, database, arguments): starts pgbench; returns a handle for finish() and a
# reference to what it prints.
sub start_pgbench
{
	my ($node, $database, @arguments) = @_;
	my $output = '';
	my $handle = IPC::Run::start([ 'pgbench', '-n', @arguments, $node->connstr($database) ],
		'<', \undef, '>', \$output, '2>&1');

	return ($handle, \$output);
}

# is_running(handle): whether the program has not ended; takes what it has printed.
sub is_running
{
	my ($handle) = @_;
	return $handle->pumpable && eval { $handle->pump_nb; 1 } && $handle->pumpable;
}

# find_bouncer(): the path of the program pgbouncer, if there is one.
sub find_bouncer
{
	my ($program) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
	return $program;
}

# start_bouncer(node, connections, settings): PgBouncer in transaction mode on 127.0.0.1, with
# so many connections to the server; returns its handle and its port.
sub start_bouncer
{
	my ($node, $connections, $settings) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $log = "$PostgreSQL::Test::Utils::log_path/" . basename($0, '.pl') . '_pgbouncer.log';
	my $host = $node->host;
	my $server = $node->port;
	my $user = $node->safe_psql('postgres', 'SELECT current_user');
	my $file = write_script(
		'pgbouncer.ini', qq{
[databases]
* = host=$host port=$server user=$user
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = $connections
max_client_conn = 100
logfile = $log
$settings
});
	my $handle = IPC::Run::start([ find_bouncer(), '-q', $file ], '<', \undef, '>', \my $output, '2>&1');

	poll_until(
		sub {
			is_running($handle) or die "PgBouncer does not run: $output";
			return IPC::Run::run([ 'psql', '-Xqc', 'SELECT', "host=127.0.0.1 port=$port dbname=postgres" ],
				'<', \undef, '>', \my $answer, '2>&1');
		}, 30, 50) or die "PgBouncer does not answer: $output";
	return ($handle, $port);
}

# Processes, by /proc: the state of one, and its parent.
sub process_status
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/stat" or return ('gone', 0);
	my $line = <$file> // '';
	return $line =~ /^\d+ \(.*\) (\S) (\d+)/s ? ($1, $2) : ('gone', 0);
}

sub is_dead
{
	return (process_status($_[0]))[0] =~ /^(gone|Z|X)$/;
}

# kill_server(node): kills the postmaster and waits until it and all its children are gone. In a
# container where nobody buries the dead, its lock files would stand for a server that runs.
sub kill_server
{
	my ($node) = @_;
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @processes = ($postmaster,
		grep { (process_status($_))[1] == $postmaster } map { m{/(\d+)$} } glob '/proc/[0-9]*');

	$node->kill9;
	poll_until(sub { !grep { !is_dead($_) } @processes }) or die 'the server does not die';
	poll_until(sub { !kill 0, $postmaster }, 10)
	  or unlink $node->data_dir . '/postmaster.pid', glob $node->host . '/.s.PGSQL.*.lock';
	return;
}

# start_server_in_background(node): starts the postmaster, and does not wait until it serves.
sub start_server_in_background
{
	my ($node) = @_;
	my $file = $node->data_dir . '/postmaster.pid';
	# The postmaster replaces what a killed one has left: between two looks there may be none.
	my $content = sub { return eval { slurp_file($file) } // ''; };
	my $left = $content->();

	system_or_bail('pg_ctl', '-W', '-D', $node->data_dir, '-l', $node->logfile,
		'-o', '--cluster-name=' . $node->name, 'start');
	poll_until(sub { $content->() !~ /^(?:\Q$left\E)?\z/ }, undef, 1)
	  or die 'the server does not start';
	$node->_update_pid(-1);
	return;
}

# open_session(node, database, seconds): a session that stays open, for so long at most (the
# usual time of tests). Its methods:
#   query(sql)     what psql prints; dies of an error
#   attempt(sql)   what psql prints, errors included
#   send(sql)      does not wait for an answer
#   backend        process id of its backend
#   close
sub open_session
{
	my ($node, $database, $seconds) = @_;
	my $self = bless { input => '', output => '', count => 0 }, 'XavierQuota::Session';

	$self->{psql} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr($database // 'postgres') ],
		'<', \$self->{input}, '>', \$self->{output}, '2>&1',
		IPC::Run::timeout($seconds // $PostgreSQL::Test::Utils::timeout_default));
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

sub send
{
	my ($self, $sql) = @_;

	$self->{input} .= "$sql\n;\n";
	$self->{psql}->pump_nb while length $self->{input};
	return;
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
