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
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "civil.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(quota_now);

static char *clock_setting = NULL;

/* The parsed setting; DT_NOBEGIN stands for the wall clock. */
static TimestampTz clock_fixed = DT_NOBEGIN;

/*
 * Parses the setting. It must not raise anything: the postmaster, which reads the
 * configuration file, would go down. Nor may it depend on the session: a parallel
 * worker gets its settings one after the other, TimeZone perhaps later than this.
 */
static bool
check_clock(char **newval, void **extra, GucSource source pg_attribute_unused())
{
	TimestampTz instant = DT_NOBEGIN;
	TimestampTz *parsed;
	const char *cursor = *newval;

	if (cursor != NULL && *cursor != '\0')
	{
		CivilResult result = civil_parse_instant(&cursor, &instant);

		if (result == CIVIL_OUT_OF_RANGE)
		{
			GUC_check_errdetail("There is no such date, time or offset.");
			return false;
		}
		if (result == CIVIL_MALFORMED || *cursor != '\0')
		{
			GUC_check_errdetail("Unexpected text at byte %d.", (int) (cursor - *newval) + 1);
			GUC_check_errhint(
				"Write an instant such as 2026-01-31 15:00:00+01; without an offset it is UTC. "
				"An empty value means the wall clock.");
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
