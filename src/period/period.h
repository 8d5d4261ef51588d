/*
 * period.h
 *		quota.period: when a limit starts afresh, 'month' or
 *		'1 month from 2026-01-31 in Europe/Berlin' or 'lifetime'.
 */
#ifndef XAVIER_QUOTA_PERIOD_PERIOD_H
#define XAVIER_QUOTA_PERIOD_PERIOD_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "fmgr.h"

typedef struct varlena Period;

typedef enum PeriodKind
{
	PERIOD_CALENDAR,  /* every n hours, days, weeks, months or years from an anchor in a zone */
	PERIOD_ROLLING,	  /* the last so many hours */
	PERIOD_REPLENISH, /* token bucket: rate and burst */
	PERIOD_LIFETIME	  /* never resets */
} PeriodKind;

#define DatumGetPeriodP(datum) ((Period *) PG_DETOAST_DATUM_PACKED(datum))
#define PG_GETARG_PERIOD_P(n) DatumGetPeriodP(PG_GETARG_DATUM(n))

/* Functions in period.c */
extern PeriodKind period_kind(const Period *period);

/*
 * The period [start, end) that contains at. A lifetime is [-infinity, infinity).
 * Calendar and lifetime only: the others have no boundaries (elog).
 */
extern void period_bounds(const Period *period, TimestampTz at, TimestampTz *start,
						  TimestampTz *end);

#endif /* XAVIER_QUOTA_PERIOD_PERIOD_H */
