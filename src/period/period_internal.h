/*
 * period_internal.h
 *		What the files of this folder share: a period taken apart, and zones.
 */
#ifndef XAVIER_QUOTA_PERIOD_PERIOD_INTERNAL_H
#define XAVIER_QUOTA_PERIOD_PERIOD_INTERNAL_H

#include "pgtime.h"

#include "period/period.h"

/* Lengths are kept in one of three units, none of which converts into another. */
typedef enum PeriodUnit
{
	PERIOD_SECONDS, /* elapsed time */
	PERIOD_DAYS,    /* days of the local calendar, 23 to 25 hours long */
	PERIOD_MONTHS   /* months of the local calendar */
} PeriodUnit;

/* No period is longer than 1000 years, so arithmetic on it stays far from 2^63. */
#define PERIOD_YEARS_MAX INT64CONST(1000)
#define PERIOD_MONTHS_MAX (PERIOD_YEARS_MAX * MONTHS_PER_YEAR)
#define PERIOD_DAYS_MAX (PERIOD_YEARS_MAX * 366)
#define PERIOD_SECONDS_MAX (PERIOD_DAYS_MAX * SECS_PER_DAY)

/* Where periods begin unless an anchor is given: 1970-01-01, weeks on Monday 1970-01-05. */
#define PERIOD_ANCHOR ((UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)
#define PERIOD_WEEK_ANCHOR (PERIOD_ANCHOR + 4 * USECS_PER_DAY)

/* A period taken apart. Fields that its kind does not have are zero. */
typedef struct PeriodParts
{
	PeriodKind kind;
	PeriodUnit unit;    /* of length; always seconds unless calendar */
	int64 length;       /* calendar, rolling; replenish: of the refill interval */
	Timestamp anchor;   /* calendar: a local time, years 1 to 9999 */
	int64 rate_micros;  /* replenish */
	int64 burst_micros; /* replenish */
	const char *zone;   /* calendar: canonical name, not NUL-terminated; NULL for UTC */
	int zone_length;    /* in bytes, 0 for UTC */
} PeriodParts;

/* Functions in period.c */
extern Period *period_make(const PeriodParts *parts);
extern void period_take_apart(const Period *period, PeriodParts *parts);
extern const char *period_check(const PeriodParts *parts);

/* Functions in period_zone.c */
extern void period_set_zone(PeriodParts *parts, const char *name, int length);
extern pg_tz *period_zone(const PeriodParts *parts);

#endif /* XAVIER_QUOTA_PERIOD_PERIOD_INTERNAL_H */
