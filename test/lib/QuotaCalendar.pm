
# QuotaCalendar: instants and calendar periods, computed by arithmetic of its own: neither
# PostgreSQL nor the extension is asked. An instant is a whole number of microseconds since
# 2000-01-01 00:00 UTC.
#
# A period is a hash:
#   text      as quota.period takes it
#   same_as   what tells it from others: the text, unless somebody knows how the type writes it
#   kind      calendar, lifetime, rolling, refill
#   months, days or us    of a calendar: its length
#   anchor    of a calendar: a local time, as if it were UTC
#   zone      of a calendar: one of UTC, Asia/Kolkata, Europe/Berlin, America/New_York
#   window    of a rolling: its length
#   rate, per, burst      of a refill: in millionths, and the microseconds that rate takes

package QuotaCalendar;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(SECOND HOUR DAY BEFORE_ALL AFTER_ALL divide_down divide_up instant instant_text parse_instant
  period period_bounds window_buckets window_bucket);

use constant {
	SECOND => 1_000_000,
	HOUR => 3_600_000_000,
	DAY => 86_400_000_000,
	BEFORE_ALL => -4_611_686_018_427_387_904,
	AFTER_ALL => 4_611_686_018_427_387_904,
};

# Rules that have not changed in the years of the simulation: the offset of the standard
# time, and when summer time begins and ends in a year: month, which Sunday (-1: the last),
# and the hour in UTC.
my %ZONES = (
	'UTC' => { offset => 0 },
	'Asia/Kolkata' => { offset => 5.5 * HOUR },
	'Europe/Berlin' => { offset => HOUR, summer => [ [ 3, -1, 1 ], [ 10, -1, 1 ] ] },
	'America/New_York' => { offset => -5 * HOUR, summer => [ [ 3, 2, 7 ], [ 11, 1, 6 ] ] });

my %LENGTHS = (
	second => { us => SECOND }, minute => { us => 60 * SECOND }, hour => { us => HOUR },
	day => { days => 1 }, week => { days => 7 },
	month => { months => 1 }, quarter => { months => 3 }, year => { months => 12 });

# The whole quotient below, or above; $divisor is positive.
sub divide_down
{
	my ($dividend, $divisor) = @_;
	return ($dividend - $dividend % $divisor) / $divisor;
}

sub divide_up
{
	my ($dividend, $divisor) = @_;
	return -divide_down(-$dividend, $divisor);
}

sub is_leap
{
	my ($year) = @_;
	return $year % 4 == 0 && ($year % 100 != 0 || $year % 400 == 0);
}

sub days_in_month
{
	my ($year, $month) = @_;
	return $month == 2 ? 28 + (is_leap($year) ? 1 : 0) : (31, 0, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[ $month - 1 ];
}

# Days since 2000-01-01. Years count by their own length, months by theirs: slow and plain.
my %year_starts = (2000 => 0);

sub year_start
{
	my ($year) = @_;

	return $year_starts{$year} //= $year > 2000
	  ? year_start($year - 1) + (is_leap($year - 1) ? 366 : 365)
	  : year_start($year + 1) - (is_leap($year) ? 366 : 365);
}

sub day_number
{
	my ($year, $month, $day) = @_;
	my $number = year_start($year) + $day - 1;

	$number += days_in_month($year, $_) for 1 .. $month - 1;
	return $number;
}

# Year, month and day of a number of days.
sub date_of
{
	my ($number) = @_;
	my $year = 2000 + int($number / 366);
	my $month = 1;

	$year-- while year_start($year) > $number;
	$year++ while year_start($year + 1) <= $number;
	$number -= year_start($year);
	$number -= days_in_month($year, $month++) while $number >= days_in_month($year, $month);
	return ($year, $month, $number + 1);
}

# instant(year, month, day, hour, minute, second, us) in UTC
sub instant
{
	my ($year, $month, $day, $hour, $minute, $second, $us) = map { $_ // 0 } @_[ 0 .. 6 ];
	return day_number($year, $month, $day) * DAY + (($hour * 60 + $minute) * 60 + $second) * SECOND + $us;
}

sub instant_text
{
	my ($instant) = @_;
	my $us = $instant % DAY;
	my $second = divide_down($us, SECOND);

	return 'never' if $instant == AFTER_ALL or $instant == BEFORE_ALL;
	return sprintf '%04d-%02d-%02d %02d:%02d:%02d.%06d+00', date_of(divide_down($instant, DAY)),
	  int($second / 3600), int($second / 60) % 60, $second % 60, $us % SECOND;
}

# Reads what documents and rows say, in UTC; undef stays undef.
sub parse_instant
{
	my ($text) = @_;

	return undef unless defined $text;
	my @fields = $text =~ /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?\+00(?::00)?$/
	  or die "not an instant in UTC: $text";
	$fields[6] = substr(($fields[6] // '') . '000000', 0, 6);
	return instant(@fields);
}

# period(text): takes a text apart, in the few forms that the simulation uses.
sub period
{
	my ($text) = @_;
	my %period = (text => $text, same_as => $text, kind => 'calendar', zone => 'UTC');

	if ($text eq 'lifetime')
	{
		$period{kind} = 'lifetime';
	}
	elsif ($text =~ /^rolling (\d+) (\w+?)s?$/)
	{
		@period{qw(kind window)} = ('rolling', $1 * elapsed($2));
	}
	elsif ($text =~ /^refill ([\d.]+) per (\d+) (\w+?)s? up to ([\d.]+)$/)
	{
		@period{qw(kind rate per burst)} = ('refill', sprintf('%.0f', $1 * 1e6), $2 * elapsed($3), sprintf('%.0f', $4 * 1e6));
		$_ = int $_ for @period{qw(rate burst)};
	}
	elsif ($text =~ /^(?:(\d+) )?([a-z]+?)s?(?: from (\S+)(?: (\d\d):(\d\d))?)?(?: in (\S+))?$/)
	{
		my ($count, $unit, $date, $hour, $minute, $zone) = ($1 // 1, $2, $3, $4 // 0, $5 // 0, $6 // 'UTC');
		my ($name, $length) = %{ $LENGTHS{$unit} };
		# Weeks begin on Mondays.
		my @date = split /-/, $date // ($unit eq 'week' ? '1970-01-05' : '1970-01-01');

		@period{ $name, 'anchor', 'zone' } = ($count * $length, instant(@date, $hour, $minute), $zone);
		die "unknown zone in $text" unless $ZONES{$zone};
	}
	else
	{
		die "unknown form of a period: $text";
	}
	return \%period;
}

# Rolling and refill measure elapsed time.
sub elapsed
{
	my ($unit) = @_;
	my $length = $LENGTHS{$unit};

	return $length->{us} // $length->{days} * DAY;
}

# Whether it is summer time in a zone, and a local time as an instant: one that is skipped
# moves forward by what is skipped, of one that happens twice it is the second.
sub is_summer
{
	my ($zone, $instant) = @_;
	my $rules = $ZONES{$zone}{summer} or return 0;
	my ($year) = date_of(divide_down($instant, DAY));
	my ($start, $end) = map { sunday($year, $_->[0], $_->[1]) * DAY + $_->[2] * HOUR } @$rules;

	return $instant >= $start && $instant < $end;
}

sub sunday
{
	my ($year, $month, $which) = @_;
	my $day = $which > 0 ? day_number($year, $month, 1) : day_number($year, $month, days_in_month($year, $month));

	# 2000-01-01 was a Saturday.
	if ($which > 0)
	{
		$day++ while ($day + 6) % 7 != 0;
		return $day + 7 * ($which - 1);
	}
	$day-- while ($day + 6) % 7 != 0;
	return $day;
}

sub local_instant
{
	my ($local, $zone) = @_;
	my $standard = $local - $ZONES{$zone}{offset};
	my $summer = $standard - HOUR;

	return is_summer($zone, $standard) && is_summer($zone, $summer) ? $summer : $standard;
}

# Boundary number k of a calendar: anchor + k * length. Each is asked for often.
my %boundaries;

sub boundary
{
	my ($period, $k) = @_;

	return $boundaries{ $period->{text} }{$k} //= compute_boundary($period, $k);
}

sub compute_boundary
{
	my ($period, $k) = @_;
	my $anchor = $period->{anchor};
	my $day = divide_down($anchor, DAY);

	return local_instant($anchor, $period->{zone}) + $k * $period->{us} if $period->{us};
	if ($period->{days})
	{
		$day += $k * $period->{days};
	}
	else
	{
		my ($year, $month, $month_day) = date_of($day);
		my $months = $year * 12 + $month - 1 + $k * $period->{months};

		($year, $month) = (divide_down($months, 12), $months % 12 + 1);
		$month_day = days_in_month($year, $month) if $month_day > days_in_month($year, $month);
		$day = day_number($year, $month, $month_day);
	}
	return local_instant($day * DAY + $anchor % DAY, $period->{zone});
}

# period_bounds(period, instant): start and end of the calendar period that contains it.
sub period_bounds
{
	my ($period, $instant) = @_;

	return (BEFORE_ALL, AFTER_ALL) if $period->{kind} eq 'lifetime';
	# The last one is likely to be asked for again.
	my $found = $period->{found} //= [ 0, 0, 0 ];
	return @$found[ 0, 1 ] if $found->[0] <= $instant and $instant < $found->[1];

	my $k = $found->[2];
	if ($instant == $found->[1])
	{
		$k++;
	}
	else
	{
		my $length = $period->{us} // ($period->{days} // $period->{months} * 30) * DAY;
		$k = divide_down($instant - $period->{anchor}, $length);
	}
	$k-- while boundary($period, $k) > $instant;
	$k++ while boundary($period, $k + 1) <= $instant;
	@$found = (boundary($period, $k), boundary($period, $k + 1), $k);
	return @$found[ 0, 1 ];
}

# The length of a bucket of a window, how many a window has, and the one that has an instant.
sub window_bucket
{
	my ($window) = @_;
	return $window >= 60 * HOUR ? divide_down($window, 60 * HOUR) * HOUR : divide_up($window, 60);
}

sub window_buckets
{
	my ($window) = @_;
	return divide_up($window, window_bucket($window));
}

1;
