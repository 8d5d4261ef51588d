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

/* A varlena whose bytes compare with memcmp in the type's order; see period.c. */
typedef struct varlena Period;

typedef enum PeriodKind
{
	PERIOD_CALENDAR,  /* every n hours, days, weeks, months or years from an anchor in a zone */
	PERIOD_ROLLING,   /* the last so many hours */
	PERIOD_REPLENISH, /* token bucket: rate and burst */
	PERIOD_LIFETIME   /* never resets */
} PeriodKind;

#define DatumGetPeriodP(datum) ((Period *) PG_DETOAST_DATUM_PACKED(datum))
#define PG_GETARG_PERIOD_P(n) DatumGetPeriodP(PG_GETARG_DATUM(n))
#define PeriodPGetDatum(period) PointerGetDatum(period)

/* Functions in period.c */
extern PeriodKind period_kind(const Period *period);

/*
 * How long an amount counts, in microseconds: the window of a rolling period,
 * burst / rate of a replenishing one, rounded up. Those two only (elog).
 */
extern int64 period_window_us(const Period *period);

/* What flows back in how many microseconds; of a replenishing period only (elog). */
extern void period_refill(const Period *period, int64 *rate_micros, int64 *length_us);

/* Functions in period_text.c; results are palloc'd, malformed text raises 22P02 and the like. */
extern Period *period_parse(const char *text);
extern char *period_to_cstring(const Period *period);

/*
 * Function in period_bounds.c: the period [start, end) that contains at. A
 * lifetime is [-infinity, infinity). Calendar and lifetime only: the others have
 * no boundaries (elog).
 *
 * Costs about 50 ns in UTC and 130 ns in another zone, allocates nothing and looks
 * at no catalog; the first use of a zone in a backend reads its file. Raises 22008 if
 * a calendar period is asked for an infinite instant, 22023 if the server no longer
 * knows the zone: call it before, not while, holding a lightweight lock.
 */
extern void
period_bounds(const Period *period, TimestampTz at, TimestampTz *start, TimestampTz *end);

#endif /* XAVIER_QUOTA_PERIOD_PERIOD_H */
