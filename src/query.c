/*
 * query.c
 *		Runs the engine's queries through SPI.
 *
 * All queries between query_begin() and query_end() read one snapshot, the
 * latest at query_begin(), whatever the isolation level of the transaction: the
 * locks of the engine order them, not the transaction's snapshot. They are
 * planned without sequential scans, since tables of open holds are often
 * analyzed when they are empty; and never compiled, since all read few rows, however
 * many the planner expects, and compiling takes longer than any of them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "query.h"

static void
query_disable(const char *setting)
{
	(void) set_config_option(setting, "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

/*
 * query_begin
 *		Opens a scope: SPI, one snapshot and the planner's settings.
 */
void
query_begin(QueryScope *scope)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	scope->guc_level = NewGUCNestLevel();
	query_disable("enable_seqscan");
	query_disable("jit");
	scope->snapshot = RegisterSnapshot(GetLatestSnapshot());
}

/*
 * query_run
 *		Runs a query and hands each row to the function given. Returns the number
 *		of rows. nulls as in SPI_execute_plan(), or NULL.
 */
int64
query_run(QueryScope *scope, PreparedQuery *query, Datum *arguments, const char *nulls,
		  QueryRow row, void *arg)
{
	int64 count;

	if (query->plan == NULL)
	{
		SPIPlanPtr plan = SPI_prepare(query->text, query->argument_count, query->argument_types);

		if (plan == NULL)
			elog(ERROR, "could not prepare query: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "could not keep plan");
		query->plan = plan;
	}
	if (SPI_execute_snapshot(query->plan, arguments, nulls, scope->snapshot, InvalidSnapshot, true,
							 false, 0) != SPI_OK_SELECT)
		elog(ERROR, "query did not return rows: %s", query->text);

	count = (int64) SPI_processed;
	for (int64 i = 0; i < count; i++)
	{
		TupleDesc desc = SPI_tuptable->tupdesc;
		Datum *values = palloc(sizeof(Datum) * desc->natts);
		bool *row_nulls = palloc(sizeof(bool) * desc->natts);

		heap_deform_tuple(SPI_tuptable->vals[i], desc, values, row_nulls);
		row(values, row_nulls, arg);
		pfree(values);
		pfree(row_nulls);
	}
	SPI_freetuptable(SPI_tuptable);
	return count;
}

/*
 * query_end
 *		Closes a scope. An error closes it through the abort of the transaction.
 */
void
query_end(QueryScope *scope)
{
	UnregisterSnapshot(scope->snapshot);
	AtEOXact_GUC(true, scope->guc_level);
	SPI_finish();
}
