
# SmallDisks: disks of a test's own, to be filled. To be used before everything else:
#
#     use SmallDisks tables => '48m', wal => '24m';
#
# starts the test again where these file systems, in memory, are mounted; nobody else sees them,
# and they go with the test. No privilege is needed: the name space is one of the user's own, who
# is root in it while mounting, and nobody special after that, since PostgreSQL does not run as
# root. Where the system does not allow it the test is skipped, and says why.

package SmallDisks;

use strict;
use warnings;

use Exporter ();
use File::Temp ();
use Test::More;

our @EXPORT = qw(disk fill_disk empty_disk);

sub import
{
	my ($package, %sizes) = @_;

	enter_name_space(%sizes) unless $ENV{SMALL_DISKS};
	@_ = ($package);
	goto &Exporter::import;
}

sub enter_name_space
{
	my (%sizes) = @_;
	my $directory = File::Temp::tempdir(CLEANUP => 1);
	my ($user, $group) = ($>, (split / /, $))[0]);
	my $mount = join ' && ', map {
		mkdir "$directory/$_" or die "could not make $directory/$_: $!";
		"mount -t tmpfs -o size=$sizes{$_},mode=0777 $_ $directory/$_"
	} sort keys %sizes;
	my @in_name_space = ('unshare', '--map-root-user', '--mount', '--', 'sh', '-c',
		"$mount && exec unshare --user --map-user=$user --map-group=$group -- \"\$@\"", 'sh');

	open my $probe, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', @in_name_space, 'id', '-u'
	  or die "could not run a shell: $!";
	my $answer = <$probe> // '';
	close $probe;
	chomp $answer;
	plan skip_all => "no disk of its own can be mounted here: $answer" if $answer ne $user;

	local $ENV{SMALL_DISKS} = $directory;
	my $status = system @in_name_space, $^X, $0, @ARGV;
	exit($status >> 8 || ($status == 0 ? 0 : 255));
}

# disk(name): where a disk is mounted.
sub disk
{
	my ($name) = @_;
	return "$ENV{SMALL_DISKS}/$name";
}

# fill_disk(name, rest): takes all room of a disk but the rest, in bytes.
sub fill_disk
{
	my ($name, $rest) = @_;
	my $path = disk($name);
	my $available = qx{df --output=avail -B1 $path} =~ /(\d+)/ ? $1 : die "df does not know $path";

	system('dd', 'if=/dev/zero', "of=$path/filler", 'bs=4096', 'status=none', 'count=' . int(($available - $rest) / 4096)) == 0
	  or die "could not fill $path";
	return;
}

# empty_disk(name): gives the room back.
sub empty_disk
{
	my ($name) = @_;

	unlink disk($name) . '/filler' or die "could not empty $name: $!";
	return;
}

1;
