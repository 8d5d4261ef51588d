/*
 * civil.c
 *		Local date and time as people write it.
 *
 * PostgreSQL's own input of timestamps depends on DateStyle and TimeZone, knows
 * words such as 'now' and raises errors. A stored period must mean the same in
 * every session, and a check hook must not raise anything (in the postmaster an
 * error is fatal), so this file reads ISO 8601 dates by itself: four digits of
 * year, from 0001-01-01 to 9999-12-31, Gregorian throughout.
 *
 * A Timestamp here is a local time: microseconds since 2000-01-01 00:00 on a
 * clock that never changes its offset.
 */
#include "civil.h"

#include "utils/datetime.h"

/*
 * Reads exactly `count` digits. Moves the cursor past them, or leaves it where
 * it was and returns false.
 */
static bool
civil_read_digits(const char **cursor, int count, int *value)
{
	const char *at = *cursor;
	int result = 0;

	for (int i = 0; i < count; i++)
	{
		if (at[i] < '0' || at[i] > '9')
			return false;
		result = result * 10 + (at[i] - '0');
	}
	*value = result;
	*cursor = at + count;
	return true;
}

static bool
civil_read_char(const char **cursor, char expected)
{
	if (**cursor != expected)
		return false;
	(*cursor)++;
	return true;
}

/*
 * Reads the '.ffffff' of a second if there is one: one to six digits.
 */
static bool
civil_read_fraction(const char **cursor, int *usec)
{
	int scale = 100000;

	*usec = 0;
	if (!civil_read_char(cursor, '.'))
		return true;
	if (**cursor < '0' || **cursor > '9')
		return false;
	for (; **cursor >= '0' && **cursor <= '9'; (*cursor)++)
	{
		if (scale == 0)
			return false;
		*usec += (**cursor - '0') * scale;
		scale /= 10;
	}
	return true;
}

/*
 * Reads 'HH:MM[:SS[.ffffff]]' as microseconds since midnight.
 */
static CivilResult
civil_read_time(const char **cursor, int64 *usec_of_day)
{
	const char *start = *cursor;
	int hour;
	int minute;
	int second = 0;
	int usec = 0;

	if (!civil_read_digits(cursor, 2, &hour) || !civil_read_char(cursor, ':') ||
		!civil_read_digits(cursor, 2, &minute))
		return CIVIL_MALFORMED;
	if (civil_read_char(cursor, ':') &&
		(!civil_read_digits(cursor, 2, &second) || !civil_read_fraction(cursor, &usec)))
		return CIVIL_MALFORMED;
	if (hour > 23 || minute > 59 || second > 59)
	{
		*cursor = start;
		return CIVIL_OUT_OF_RANGE;
	}
	*usec_of_day =
		((hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE + second) * USECS_PER_SEC + usec;
	return CIVIL_OK;
}

/*
 * civil_parse
 *		Reads 'YYYY-MM-DD', or that and a time of day 'HH:MM[:SS[.ffffff]]' after
 *		a T or blanks.
 *
 * Moves the cursor past what it read; on failure to where the trouble is.
 */
CivilResult
civil_parse(const char **cursor, Timestamp *local)
{
	const char *start = *cursor;
	const char *time;
	bool has_time;
	int year;
	int month;
	int day;
	int64 usec_of_day = 0;

	if (!civil_read_digits(cursor, 4, &year) || !civil_read_char(cursor, '-') ||
		!civil_read_digits(cursor, 2, &month) || !civil_read_char(cursor, '-') ||
		!civil_read_digits(cursor, 2, &day))
		return CIVIL_MALFORMED;
	if (year < 1 || month < 1 || month > MONTHS_PER_YEAR || day < 1 ||
		day > civil_days_in_month(year, month))
	{
		*cursor = start;
		return CIVIL_OUT_OF_RANGE;
	}

	/* After a T a time must follow; after blanks something else may. */
	time = *cursor;
	if (*time == 'T' || *time == 't')
	{
		has_time = true;
		time++;
	}
	else
	{
		time += strspn(time, CIVIL_BLANKS);
		has_time = time > *cursor && *time >= '0' && *time <= '9';
	}
	if (has_time)
	{
		CivilResult result;

		*cursor = time;
		result = civil_read_time(cursor, &usec_of_day);
		if (result != CIVIL_OK)
			return result;
	}
	*local = civil_from_date(year, month, day) + usec_of_day;
	return CIVIL_OK;
}

/*
 * civil_parse_instant
 *		Reads a date and time with its offset from UTC, 'Z', 'UTC' or
 *		'+HH[:MM[:SS]]'; without one it is UTC, whatever the session's TimeZone.
 */
CivilResult
civil_parse_instant(const char **cursor, TimestampTz *instant)
{
	CivilResult result = civil_parse(cursor, instant);
	int hour;
	int minute = 0;
	int second = 0;
	int64 offset;
	bool east;

	if (result != CIVIL_OK)
		return result;
	*cursor += strspn(*cursor, CIVIL_BLANKS);
	if (pg_strncasecmp(*cursor, "utc", 3) == 0)
		*cursor += 3;
	else if (**cursor == 'Z' || **cursor == 'z')
		(*cursor)++;
	else if (**cursor == '+' || **cursor == '-')
	{
		const char *start = *cursor;

		east = *(*cursor)++ == '+';
		if (!civil_read_digits(cursor, 2, &hour) ||
			(civil_read_char(cursor, ':') && !civil_read_digits(cursor, 2, &minute)) ||
			(civil_read_char(cursor, ':') && !civil_read_digits(cursor, 2, &second)))
			return CIVIL_MALFORMED;
		offset = (hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE + second;
		if (minute > 59 || second > 59 || offset >= TZDISP_LIMIT)
		{
			*cursor = start;
			return CIVIL_OUT_OF_RANGE;
		}
		*instant += (east ? -offset : offset) * USECS_PER_SEC;
	}
	return CIVIL_OK;
}

/*
 * civil_to_cstring
 *		Writes the shortest text that civil_parse() reads back: the date alone at
 *		midnight, no seconds and no fraction where they are zero. buffer holds
 *		CIVIL_TEXT_SIZE bytes; local lies in the years 1 to 9999.
 */
void
civil_to_cstring(Timestamp local, char *buffer)
{
	int64 usec = floor_modulo(local, USECS_PER_DAY);
	int second = usec / USECS_PER_SEC;
	int fraction = usec % USECS_PER_SEC;
	int year;
	int month;
	int day;
	char *end = buffer;

	j2date(floor_divide(local, USECS_PER_DAY) + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	end += snprintf(end, CIVIL_TEXT_SIZE, "%04d-%02d-%02d", year, month, day);
	if (usec == 0)
		return;
	end += snprintf(end, buffer + CIVIL_TEXT_SIZE - end, " %02d:%02d", second / SECS_PER_HOUR,
					second / SECS_PER_MINUTE % MINS_PER_HOUR);
	if (second % SECS_PER_MINUTE == 0 && fraction == 0)
		return;
	end += snprintf(end, buffer + CIVIL_TEXT_SIZE - end, ":%02d", second % SECS_PER_MINUTE);
	if (fraction == 0)
		return;
	end += snprintf(end, buffer + CIVIL_TEXT_SIZE - end, ".%06d", fraction);
	while (end[-1] == '0')
		*--end = '\0';
}

/*
 * civil_days_in_month
 *		Returns the number of days of a month 1..12; a year 0 is 1 BC.
 */
int
civil_days_in_month(int year, int month)
{
	Assert(month >= 1 && month <= MONTHS_PER_YEAR);
	return day_tab[isleap(year)][month - 1];
}

/*
 * civil_from_date
 *		Returns the local midnight that a date begins with; the date exists.
 */
Timestamp
civil_from_date(int year, int month, int day)
{
	return (int64) (date2j(year, month, day) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
}
