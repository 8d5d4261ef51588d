/*
 * operation.c
 *		What every call of the engine begins with.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "api/closing.h"
#include "api/levels.h"
#include "api/operation.h"
#include "directory/changes.h"
#include "escrow/escrow.h"

/* Well below what an index entry can hold. */
#define KEY_BYTES_MAX 255

static int min_ttl_seconds = 1;
static int max_ttl_seconds = 7 * SECS_PER_DAY;
static int key_retention_seconds = 7 * SECS_PER_DAY; /* read by the purge job */

static bool on_standby = false;

/*
 * operation_on_standby
 *		Says whether the call has to compute its answer from the tables, because
 *		this server was in recovery when it began: memory does not follow what is
 *		replayed. A promotion in the middle of a call does not change the answer,
 *		since a call without locks must keep away from memory to its end.
 */
bool
operation_on_standby(void)
{
	return on_standby;
}

/*
 * operation_begin
 *		Checks that the call can be served, and takes the global lock.
 *
 * The caller enters a root then, and reads the clock once: for everything that it does, and
 * under the lock, so that it counts by the definitions of that instant.
 *
 * name, as 'reserve()', goes into errors. Errors: 55000 if the library was not
 * preloaded; 25006 where a write is refused; 25000 in a parallel plan, where only a
 * function with a wrong label can lead.
 */
void
operation_begin(const char *name, bool writes)
{
	if (!escrow_is_attached())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("xavier_quota must be loaded via \"shared_preload_libraries\""),
						errhint("Add xavier_quota to \"shared_preload_libraries\" and restart the "
								"server.")));
	PreventCommandIfParallelMode(name);
	if (writes)
	{
		PreventCommandIfReadOnly(name);
		PreventCommandDuringRecovery(name);
	}
	on_standby = RecoveryInProgress();
	if (!on_standby)
	{
		changes_lock_global();
		escrow_note_operation();
	}
}

/*
 * operation_expiry
 *		Returns when a hold made or prolonged now may expire. Errors: 22023 if ttl is out
 *		of bounds.
 */
TimestampTz
operation_expiry(TimestampTz now, const Interval *ttl)
{
	TimestampTz expiry =
		DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now),
												PointerGetDatum(ttl)));

	if (expiry < now + min_ttl_seconds * USECS_PER_SEC ||
		expiry > now + max_ttl_seconds * USECS_PER_SEC)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("ttl is out of bounds"),
				 errdetail("A hold lives from %d to %d seconds.", min_ttl_seconds, max_ttl_seconds),
				 errhint("See the settings \"xavier_quota.min_ttl\" and "
						 "\"xavier_quota.max_ttl\".")));
	return expiry;
}

/*
 * operation_require
 *		Raises an error if an argument is null (22004).
 */
void
operation_require(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
}

/*
 * operation_text
 *		Returns a text argument that must not be null.
 */
char *
operation_text(FunctionCallInfo fcinfo, int argument, const char *name)
{
	operation_require(fcinfo, argument, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/*
 * operation_key
 *		Returns an idempotency key, NULL if none is given. Errors: 22023 for one that is
 *		empty or too long.
 */
const char *
operation_key(FunctionCallInfo fcinfo, int argument)
{
	char *key;

	if (PG_ARGISNULL(argument))
		return NULL;
	key = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	if (key[0] == '\0' || strlen(key) > KEY_BYTES_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("idempotency key must have 1 to %d bytes", KEY_BYTES_MAX)));
	return key;
}

void
operation_init(void)
{
	levels_init();
	closing_init();
	DefineCustomIntVariable("xavier_quota.min_ttl", "Sets the shortest life of a hold.", NULL,
							&min_ttl_seconds, 1, 1, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL, NULL,
							NULL);
	DefineCustomIntVariable("xavier_quota.max_ttl", "Sets the longest life of a hold.", NULL,
							&max_ttl_seconds, 7 * SECS_PER_DAY, 1, INT_MAX, PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("xavier_quota.key_retention",
							"Sets how long idempotency keys are remembered.",
							"Never shorter than xavier_quota.max_ttl.", &key_retention_seconds,
							7 * SECS_PER_DAY, 1, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
}
