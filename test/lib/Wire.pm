
# Wire: a client that speaks PostgreSQL's protocol over a socket by itself. It can have
# several connections at work at a time, and send the bytes of a value as they are, which
# is how a type's receive function is reached.

package Wire;

use strict;
use warnings;

use IO::Select;
use IO::Socket::UNIX;

# Wire->connect(node, database): a session. It has the fields
#   backend   process id of its backend
#   rows      what the last query returned: references to arrays of texts or undef
#   error     message of the first error of the last query, or undef; state: its SQLSTATE
sub connect
{
	my ($class, $node, $database) = @_;
	my $path = sprintf '%s/.s.PGSQL.%s', $node->host, $node->port;
	my $socket = IO::Socket::UNIX->new(Peer => $path) or die "could not connect to $path: $!";
	my $self = bless { socket => $socket, buffer => '' }, $class;
	my $user = $ENV{PGUSER} // getpwuid $<;
	my $start = pack 'N(Z*)*', 196608, user => $user, database => $database, '';

	$self->put(pack('N', 4 + length $start) . $start);
	$self->start;
	1 until $self->read_message eq 'Z';
	die $self->{error} if defined $self->{error};
	return $self;
}

# send(sql): starts a query; read_message() says 'Z' when it is done, '' if the server is gone.
sub send
{
	my ($self, $sql) = @_;

	$self->start;
	$self->put(message('Q', pack 'Z*', $sql));
	return;
}

# query(sql): runs a query and returns its rows; dies of an error.
sub query
{
	my ($self, $sql) = @_;

	$self->send($sql);
	$self->finish;
	die "$self->{error}\nin: $sql" if defined $self->{error};
	return @{ $self->{rows} };
}

# finish(): reads until the query is done.
sub finish
{
	my ($self) = @_;

	while ((my $type = $self->read_message) ne 'Z')
	{
		die 'the server closed the connection' if $type eq '';
	}
	return;
}

# run_binary(statement, values): runs a statement once for each value, whose bytes are its
# only parameter, in binary format; so are its results. Returns for each value a reference
# to the row that was returned, or to an array of nothing but the SQLSTATE of the error.
sub run_binary
{
	my ($self, $statement, @values) = @_;
	my @answers;

	$self->start;
	$self->put(message('P', pack 'Z*Z*n', '', $statement, 0) . message('S', ''));
	$self->finish;
	die $self->{error} if defined $self->{error};
	while (@values)
	{
		my ($batch, $count) = ('', 0);

		# Not more at a time than sockets hold: neither side may wait for the other to read.
		while (@values and length $batch < 16384)
		{
			my $value = shift @values;
			$count++;
			$batch .= message('B', pack 'Z*Z*nnnN/a*nn', '', '', 1, 1, 1, $value, 1, 1)
			  . message('E', pack 'Z*N', '', 0)
			  . message('S', '');
		}
		$self->put($batch);
		for (1 .. $count)
		{
			$self->start;
			$self->finish;
			push @answers, defined $self->{error} ? [ $self->{state} ] : $self->{rows}[0];
		}
	}
	return @answers;
}

# ready(sessions): those from which something can be read; waits until there is one.
sub ready
{
	my (@sessions) = @_;
	my %by_socket = map { $_->{socket} => $_ } @sessions;
	my @buffered = grep { $_->has_message } @sessions;

	return @buffered if @buffered;
	return map { $by_socket{$_} } IO::Select->new(map { $_->{socket} } @sessions)->can_read;
}

# read_message(): takes one message from the server in; returns its type, '' if there is no
# server any more.
sub read_message
{
	my ($self) = @_;

	until ($self->has_message)
	{
		sysread $self->{socket}, $self->{buffer}, 65536, length $self->{buffer} or return '';
	}
	my ($type, $length) = unpack 'aN', $self->{buffer};
	my $body = substr substr($self->{buffer}, 0, 1 + $length, ''), 5;

	if ($type eq 'D')
	{
		my ($count, $fields) = unpack 'na*', $body;
		my @row;

		for (1 .. $count)
		{
			my $size = unpack 'l>', substr $fields, 0, 4, '';
			push @row, $size < 0 ? undef : substr $fields, 0, $size, '';
		}
		push @{ $self->{rows} }, \@row;
	}
	elsif ($type eq 'E' and not defined $self->{error})
	{
		my %fields = map { (substr($_, 0, 1), substr $_, 1) } split /\0/, $body;
		@$self{qw(state error)} = @fields{qw(C M)};
	}
	elsif ($type eq 'K')
	{
		$self->{backend} = unpack 'N', $body;
	}
	return $type;
}

sub close
{
	my ($self) = @_;

	$self->put(message('X', ''));
	return $self->{socket}->close;
}

# The inside --------------------------------------------------------------------------

sub has_message
{
	my ($self) = @_;
	return length $self->{buffer} >= 5
	  && length $self->{buffer} > unpack 'N', substr $self->{buffer}, 1, 4;
}

sub start
{
	my ($self) = @_;
	@$self{qw(rows error state)} = ([], undef, undef);
	return;
}

sub put
{
	my ($self, $bytes) = @_;

	while (length $bytes)
	{
		my $sent = syswrite $self->{socket}, $bytes;
		return unless defined $sent;    # the server is gone; reading says so
		substr $bytes, 0, $sent, '';
	}
	return;
}

sub message
{
	my ($type, $body) = @_;
	return $type . pack('N', 4 + length $body) . $body;
}

1;
