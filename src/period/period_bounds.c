/*
 * period_bounds.c
 *		Where periods begin and end.
 *
 * The boundaries of a calendar period are anchor + k * length for every whole
 * number k, computed from the anchor each time, never from the boundary before:
 * months from 31 January begin on 28 February and then on 31 March. A period is
 * half-open, [start, end): start is the latest boundary that is not after the
 * instant, end the earliest that is after it. The anchor is one of the boundaries
 * and nothing more, so there are periods before it too.
 *
 * Days, weeks, months and years step on the local calendar. Each boundary is a
 * local time, turned into an instant as PostgreSQL does in AT TIME ZONE: one that
 * daylight saving skips moves forward by what is skipped, one that happens twice
 * is the second. So a day may have 23 or 25 hours; where a zone once skipped a
 * whole day, that day is empty and no instant lies in it.
 *
 * Seconds, minutes and hours step in elapsed time from the instant of the anchor:
 * '6 hours' are always six hours, and after a change of daylight saving they begin
 * at other local times.
 *
 * A boundary outside of PostgreSQL's range of timestamps is infinity.
 */
#include "xavier_quota.h"

#include "utils/datetime.h"

#include "civil.h"
#include "period/period_internal.h"

/*
 * Local times are less than two days away from UTC: dates outside of this range
 * hold no timestamp of PostgreSQL's, and within it date2j() and int64 are exact.
 * Days are counted from 2000-01-01.
 */
#define LOCAL_DAY_MIN (DATETIME_MIN_JULIAN - POSTGRES_EPOCH_JDATE - 2)
#define LOCAL_DAY_MAX (TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE + 2)

/* A period that steps on the local calendar, prepared for computing boundaries. */
typedef struct Calendar
{
	const PeriodParts *parts;
	pg_tz *zone;           /* NULL for UTC */
	int64 anchor_day;      /* days since 2000-01-01 */
	int64 anchor_month;    /* months since the year 0 */
	int anchor_month_day;  /* 1..31 */
	int64 anchor_day_usec; /* microseconds since midnight */
} Calendar;

/*
 * Returns the month of a day, counted from January of the year 0; *month_day is
 * the day in it, 1..31.
 */
static int64
day_to_month(int64 day, int *month_day)
{
	int year;
	int month;

	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, month_day);
	return (int64) year * MONTHS_PER_YEAR + month - 1;
}

/*
 * Returns the day of a month counted from January of the year 0, the last one if
 * the month has no such day.
 */
static int64
month_to_day(int64 month, int month_day)
{
	int year = floor_divide(month, MONTHS_PER_YEAR);
	int month_of_year = floor_modulo(month, MONTHS_PER_YEAR) + 1;
	int last = civil_days_in_month(year, month_of_year);

	return date2j(year, month_of_year, Min(month_day, last)) - POSTGRES_EPOCH_JDATE;
}

static TimestampTz
clamp_instant(TimestampTz instant)
{
	if (instant < MIN_TIMESTAMP)
		return DT_NOBEGIN;
	if (instant >= END_TIMESTAMP)
		return DT_NOEND;
	return instant;
}

/*
 * Turns a local time into an instant, infinite if out of range.
 */
static TimestampTz
local_to_instant(int64 day, int64 usec, pg_tz *zone)
{
	int64 offset = 0;

	if (day < LOCAL_DAY_MIN)
		return DT_NOBEGIN;
	if (day > LOCAL_DAY_MAX)
		return DT_NOEND;
	if (zone != NULL)
	{
		struct pg_tm tm = {0};
		int second = usec / USECS_PER_SEC;

		j2date(day + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
		tm.tm_hour = second / SECS_PER_HOUR;
		tm.tm_min = second / SECS_PER_MINUTE % MINS_PER_HOUR;
		tm.tm_sec = second % SECS_PER_MINUTE;
		offset = DetermineTimeZoneOffset(&tm, zone); /* positive west of Greenwich */
	}
	return clamp_instant(day * USECS_PER_DAY + usec + offset * USECS_PER_SEC);
}

/*
 * Returns the boundary anchor + k * length, infinite if out of range.
 */
static TimestampTz
calendar_boundary(const Calendar *calendar, int64 k)
{
	int64 distance = k * calendar->parts->length;
	int64 day;

	if (calendar->parts->unit == PERIOD_DAYS)
		day = calendar->anchor_day + distance;
	else
		day = month_to_day(calendar->anchor_month + distance, calendar->anchor_month_day);
	return local_to_instant(day, calendar->anchor_day_usec, calendar->zone);
}

/*
 * Bounds of a period of days or months: estimates k from the date in UTC, which is
 * off by one where the zone, the time of day or a short month comes in, and
 * corrects it.
 */
static void
calendar_bounds(const PeriodParts *parts, TimestampTz at, TimestampTz *start, TimestampTz *end)
{
	Calendar calendar = {.parts = parts, .zone = period_zone(parts)};
	int64 day = floor_divide(at, USECS_PER_DAY);
	int64 distance;
	int64 k;
	int ignored;

	calendar.anchor_day = floor_divide(parts->anchor, USECS_PER_DAY);
	calendar.anchor_day_usec = floor_modulo(parts->anchor, USECS_PER_DAY);
	if (parts->unit == PERIOD_DAYS)
		distance = day - calendar.anchor_day;
	else
	{
		calendar.anchor_month = day_to_month(calendar.anchor_day, &calendar.anchor_month_day);
		distance = day_to_month(day, &ignored) - calendar.anchor_month;
	}

	/* Boundaries never decrease in k, as no zone skips more than a day. */
	k = floor_divide(distance, parts->length);
	*start = calendar_boundary(&calendar, k);
	*end = calendar_boundary(&calendar, k + 1);
	while (*start > at)
	{
		*end = *start;
		*start = calendar_boundary(&calendar, --k);
	}
	while (*end <= at)
	{
		*start = *end;
		*end = calendar_boundary(&calendar, ++k + 1);
	}
}

/*
 * Bounds of a period of seconds, minutes or hours.
 */
static void
elapsed_bounds(const PeriodParts *parts, TimestampTz at, TimestampTz *start, TimestampTz *end)
{
	int64 length_us = parts->length * USECS_PER_SEC;
	TimestampTz anchor =
		local_to_instant(floor_divide(parts->anchor, USECS_PER_DAY),
						 floor_modulo(parts->anchor, USECS_PER_DAY), period_zone(parts));
	int64 phase = floor_modulo(anchor, length_us); /* keeps the difference below from overflowing */
	TimestampTz first = at - floor_modulo(at - phase, length_us);

	*start = clamp_instant(first);
	*end = first >= END_TIMESTAMP - length_us ? DT_NOEND : first + length_us;
}

/*
 * period_bounds
 *		Finds the period [start, end) that contains at; see period.h.
 */
void
period_bounds(const Period *period, TimestampTz at, TimestampTz *start, TimestampTz *end)
{
	PeriodParts parts;

	period_take_apart(period, &parts);
	if (parts.kind == PERIOD_LIFETIME)
	{
		*start = DT_NOBEGIN;
		*end = DT_NOEND;
		return;
	}
	if (parts.kind != PERIOD_CALENDAR)
		elog(ERROR, "period of kind %d has no boundaries", (int) parts.kind);
	if (!IS_VALID_TIMESTAMP(at))
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("no period of \"%s\" contains an infinite instant",
							   period_to_cstring(period))));
	if (parts.unit == PERIOD_SECONDS)
		elapsed_bounds(&parts, at, start, end);
	else
		calendar_bounds(&parts, at, start, end);
	Assert(*start <= at && at < *end);
}
