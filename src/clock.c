/*
 * clock.c
 *		The one source of time.
 *
 * Every use of the current time goes through clock_now(), so that a test of
 * time takes no time: a superuser sets xavier_quota.clock, and the extension
 * lives at that instant. Unset, it is the wall clock at the moment of the call,
 * never the start of the transaction.
 */
#include "xavier_quota.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "compat.h"

PG_FUNCTION_INFO_V1(quota_now);

static char *clock_setting = NULL;

/* The parsed setting; DT_NOBEGIN stands for the wall clock. */
static TimestampTz clock_fixed = DT_NOBEGIN;

static bool
check_clock(char **newval, void **extra, GucSource source pg_attribute_unused())
{
	TimestampTz instant = DT_NOBEGIN;
	TimestampTz *parsed;

	if (*newval != NULL && (*newval)[0] != '\0')
	{
		/* Parsing reads the time zone database, but no catalog: safe in a check hook. */
		instant = DatumGetTimestampTz(DirectFunctionCall3(
			timestamptz_in, CStringGetDatum(*newval), ObjectIdGetDatum(InvalidOid),
			Int32GetDatum(-1)));
		if (TIMESTAMP_NOT_FINITE(instant))
		{
			GUC_check_errdetail("The clock must be a finite instant.");
			return false;
		}
	}
	parsed = compat_guc_malloc(sizeof(TimestampTz));
	if (parsed == NULL)
		return false;
	*parsed = instant;
	*extra = parsed;
	return true;
}

static void
assign_clock(const char *newval pg_attribute_unused(), void *extra)
{
	if (extra != NULL)
		clock_fixed = *(TimestampTz *) extra;
}

void
clock_init(void)
{
	DefineCustomStringVariable("xavier_quota.clock",
							   "Sets the instant that quotas take for the current time.",
							   "For tests. Empty means the wall clock.", &clock_setting, "",
							   PGC_SUSET, GUC_NOT_IN_SAMPLE, check_clock, assign_clock, NULL);
}

/*
 * clock_now
 *		Returns the current time in microseconds since 2000-01-01 UTC.
 */
TimestampTz
clock_now(void)
{
	return clock_fixed == DT_NOBEGIN ? GetCurrentTimestamp() : clock_fixed;
}

/*
 * quota_now
 *		quota.now(): the instant that quotas take for the current time.
 */
Datum
quota_now(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_TIMESTAMPTZ(clock_now());
}
