/*
 * period_range.c
 *		quota.period_range() and quota.period_next(): periods for SQL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "period/period.h"

PG_FUNCTION_INFO_V1(quota_period_range);
PG_FUNCTION_INFO_V1(quota_period_next);

/*
 * The instants whose amounts count at `at` in a period without boundaries: the
 * window before it, without its far end, with its near one.
 */
static void
window_bounds(const Period *period, TimestampTz at, TimestampTz *start)
{
	int64 window_us = period_window_us(period);

	if (!IS_VALID_TIMESTAMP(at))
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("no period of \"%s\" contains an infinite instant",
							   period_to_cstring(period))));
	*start = at - window_us < MIN_TIMESTAMP ? DT_NOBEGIN : at - window_us;
}

/*
 * quota_period_range
 *		period_range(period, at): the instants whose amounts count together with
 *		those of `at`.
 *
 * Calendar and lifetime: [start, end). Rolling: (at - window, at]. Replenishing:
 * (at - burst / rate, at], as what is older has flowed back.
 */
Datum
quota_period_range(PG_FUNCTION_ARGS)
{
	Period *period = PG_GETARG_PERIOD_P(0);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);
	PeriodKind kind = period_kind(period);
	bool bounded = kind == PERIOD_CALENDAR || kind == PERIOD_LIFETIME;
	RangeBound lower = {.lower = true, .inclusive = bounded};
	RangeBound upper = {.lower = false, .inclusive = !bounded};
	TimestampTz start;
	TimestampTz end = at;

	if (bounded)
		period_bounds(period, at, &start, &end);
	else
		window_bounds(period, at, &start);
	lower.val = TimestampTzGetDatum(start);
	upper.val = TimestampTzGetDatum(end);
	PG_RETURN_RANGE_P(
		compat_make_range(range_get_typcache(fcinfo, TSTZRANGEOID), &lower, &upper, false));
}

/*
 * quota_period_next
 *		period_next(period, at): the next boundary strictly after `at`. Infinity if
 *		there is none, NULL if the period has no boundaries (rolling, refill).
 */
Datum
quota_period_next(PG_FUNCTION_ARGS)
{
	Period *period = PG_GETARG_PERIOD_P(0);
	PeriodKind kind = period_kind(period);
	TimestampTz start;
	TimestampTz end;

	if (kind != PERIOD_CALENDAR && kind != PERIOD_LIFETIME)
		PG_RETURN_NULL();
	period_bounds(period, PG_GETARG_TIMESTAMPTZ(1), &start, &end);
	PG_RETURN_TIMESTAMPTZ(end);
}
