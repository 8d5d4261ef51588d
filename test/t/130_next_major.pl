
# From one major version of PostgreSQL to a later one: by dump and restore, and by
# pg_upgrade. Everything is there and works. This version is one of the two.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use MovedLedger;
use XavierQuota;

my ($old, $new) = two_majors();

plan skip_all => 'there is no other major version of PostgreSQL with the extension: '
  . 'build one with "test/run --pg N build", or name its directory in OTHER_POSTGRES'
  if !defined $new;

my $settings = "xavier_quota.clock = '$NOW'\n";
my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump";
my $source = new_server('source', prefix => $old, settings => $settings);
my $target = new_server('target', prefix => $new, settings => $settings, create => 0);
my $versions = join ' to ', map { $_->safe_psql('postgres', 'SHOW server_version') =~ /^(\d+)/ } $source, $target;
my $ledger = fill_ledger($source);

# Dump and restore, by the programs of the later version.
$target->safe_psql('postgres', 'CREATE DATABASE restored');
$target->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $source->connstr('postgres') ], "$versions: dumped");
$target->command_ok([ 'pg_restore', '-e', '-j', 4, '-d', 'restored', $dump ], "$versions: restored without an error");
check_ledger($target, 'restored', "$versions, restored", $ledger, changes => 'INSERT');
$target->stop;

# pg_upgrade, from a cluster without data checksums, which are what initdb makes since 18.
my ($help) = run_command([ "$new/bin/initdb", '--help' ]);
my @initdb = $help =~ /(--no-data-checksums)/ ? (init => { extra => [$1] }) : ();
my $upgraded = new_server('upgraded', prefix => $new, settings => $settings, started => 0, @initdb);
$source->stop;
chdir $PostgreSQL::Test::Utils::tmp_check;
command_ok(
	[
		"$new/bin/pg_upgrade", '--no-sync',
		'-b', "$old/bin", '-B', "$new/bin", '-d', $source->data_dir, '-D', $upgraded->data_dir,
		'-p', $source->port, '-P', $upgraded->port, '-s', $source->host
	],
	"$versions: upgraded in place");
$upgraded->start;
check_ledger($upgraded, 'postgres', "$versions, upgraded", $ledger, changes => '');

done_testing();
