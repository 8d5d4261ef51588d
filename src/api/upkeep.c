/*
 * upkeep.c
 *		What administrators ask of the engine: statistics, and how many requests did not
 *		fit. Also announces the fold's writes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/operation.h"
#include "directory/changes.h"
#include "directory/directory.h"
#include "relations.h"

PG_FUNCTION_INFO_V1(quota_engine_stats);
PG_FUNCTION_INFO_V1(quota_denials);
PG_FUNCTION_INFO_V1(quota_begin_own_write);
PG_FUNCTION_INFO_V1(quota_end_own_write);

/*
 * quota_engine_stats
 *		quota._engine_stats(): one row of statistics of the server's escrow memory.
 */
Datum
quota_engine_stats(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	EscrowStats stats;
	Datum values[12];
	bool nulls[12] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!escrow_is_attached())
		operation_begin("engine_stats", false);
	escrow_get_stats(&stats);
	values[0] = Int64GetDatum(stats.counters);
	values[1] = Int64GetDatum(stats.counters_max);
	values[2] = Int64GetDatum(stats.pinned);
	values[3] = Int64GetDatum(stats.loads);
	values[4] = Int64GetDatum(stats.counters_loaded);
	values[5] = Int64GetDatum(stats.evictions);
	values[6] = Int64GetDatum(stats.load_waits);
	values[7] = Int64GetDatum(stats.claims);
	values[8] = Int64GetDatum(stats.refusals);
	values[9] = Int64GetDatum(stats.memory_bytes);
	values[10] = Int64GetDatum(stats.series);
	values[11] = Int64GetDatum(stats.series_max);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/*
 * quota_denials
 *		quota._denials(): the counters of this extension that have denied a request and are
 *		in memory; none where the library was not preloaded, or in recovery.
 */
Datum
quota_denials(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CounterCopy *copies;
	int count;

	InitMaterializedSRF(fcinfo, 0);
	if (!escrow_is_attached() || RecoveryInProgress())
		return (Datum) 0;
	copies = escrow_copy_denied(&count);
	for (int i = 0; i < count; i++)
	{
		const CounterKey *key = &copies[i].key;
		Datum values[8];
		bool nulls[8] = {false};

		if (key->extension != quota_extension() || key->private_id != 0)
			continue;
		values[0] = Int64GetDatum(key->root_id);
		values[1] = Int64GetDatum(key->account_id);
		values[2] = CStringGetTextDatum(key->user_id);
		nulls[2] = key->user_id[0] == '\0';
		values[3] = Int64GetDatum(key->limit_id);
		values[4] = Int64GetDatum(key->version);
		values[5] = TimestampTzGetDatum(key->period_start);
		values[6] = Int64GetDatum(copies[i].denied);
		values[7] = TimestampTzGetDatum(copies[i].last_denied_at);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * quota_begin_own_write, quota_end_own_write
 *		quota._begin_own_write(), quota._end_own_write(): bracket the fold's writes,
 *		which change no counter.
 */
Datum
quota_begin_own_write(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	changes_begin_own_write();
	PG_RETURN_VOID();
}

Datum
quota_end_own_write(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	changes_end_own_write();
	PG_RETURN_VOID();
}
