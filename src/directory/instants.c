/*
 * instants.c
 *		When a limit ceased to apply at a level, or applied again.
 *
 * What a limit carries follows from it: what is used while it does not apply burns none of
 * its grants. Others go on by what is committed; so the instant is that at which nobody
 * uses it any more, under the locks that a commit takes. Until then it is infinity in the
 * tables, which nobody else sees. A deferred trigger sets it; or, for the operations of
 * this very transaction, which has the lock from then on, the first of them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/timestamp.h"

#include "directory/changes_internal.h"
#include "xavier_quota.h"

PG_FUNCTION_INFO_V1(quota_instant_of_commit);

/* Rows of this transaction have waited for their instant; and perhaps do so now. */
static bool noted = false;
static bool pending = false;
static TimestampTz noted_at = 0;

/*
 * instants_note
 *		Notes that a row waits for its instant.
 */
void
instants_note(void)
{
	if (!pending)
		noted_at = clock_now();
	noted = pending = true;
}

/*
 * instants_rolled_back, instants_forget
 *		At the end of a subtransaction that is rolled back, whose rows may wait again, and
 *		at that of a transaction.
 */
void
instants_rolled_back(void)
{
	pending = noted;
}

void
instants_forget(void)
{
	noted = pending = false;
}

/*
 * changes_instant
 *		Returns an instant as this transaction sees it: one that is not set yet is that of
 *		its first change.
 */
TimestampTz
changes_instant(TimestampTz at)
{
	if (!TIMESTAMP_IS_NOEND(at))
		return at;
	return pending ? noted_at : clock_now();
}

/*
 * instants_set
 *		Locks what this transaction has changed, as its commit will, and gives the rows that
 *		wait for it the instant of now. Errors: 55P03.
 */
void
instants_set(void)
{
	Oid argument_type = TIMESTAMPTZOID;
	Datum now;

	if (!pending)
		return;
	changes_lock_for_commit();
	now = TimestampTzGetDatum(clock_now());
	pending = false;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if (SPI_execute_with_args("SELECT quota._set_instants($1)", 1, &argument_type, &now, NULL,
							  false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not set the instant of a change");
	SPI_finish();
}

/*
 * quota_instant_of_commit
 *		quota._instant_of_commit(): deferred AFTER trigger of rows that wait for their
 *		instant; the first one sets that of all. Errors: 55P03.
 */
Datum
quota_instant_of_commit(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(((TriggerData *) fcinfo->context)->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function must be called as an AFTER trigger")));
	instants_set();
	return PointerGetDatum(NULL);
}
