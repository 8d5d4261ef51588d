/*
 * query.c
 *		Runs the engine's queries through SPI.
 *
 * All queries between query_begin() and query_end() read one snapshot, the
 * latest at query_begin(), whatever the isolation level of the transaction: the
 * locks of the engine order them, not the transaction's snapshot. They are
 * planned without sequential scans, since tables of open holds are often
 * analyzed when they are empty, and without sorting what an index has in order; and
 * never compiled, since compiling takes longer than any of them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/tuptable.h"
#include "nodes/params.h"
#include "tcop/dest.h"
#include "utils/guc.h"
#include "utils/memutils.h"
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
	query_disable("enable_bitmapscan");
	query_disable("enable_sort");
	query_disable("jit");
	scope->snapshot = RegisterSnapshot(GetLatestSnapshot());
}

/* Hands rows over as the executor finds them, without a copy: a load reads many. */
typedef struct RowReceiver
{
	DestReceiver receiver; /* MUST BE FIRST */
	MemoryContext context;
	QueryRow row;
	void *arg;
} RowReceiver;

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->context);

	slot_getallattrs(slot);
	receiver->row(slot->tts_values, slot->tts_isnull, receiver->arg);
	MemoryContextSwitchTo(old);
	return true;
}

static void
receive_begin(DestReceiver *self pg_attribute_unused(), int operation pg_attribute_unused(),
			  TupleDesc desc pg_attribute_unused())
{
}

static void
receive_end(DestReceiver *self pg_attribute_unused())
{
}

static ParamListInfo
query_parameters(const PreparedQuery *query, const Datum *arguments, const char *nulls)
{
	ParamListInfo parameters = makeParamList(query->argument_count);

	for (int i = 0; i < query->argument_count; i++)
	{
		parameters->params[i].value = arguments[i];
		parameters->params[i].isnull = nulls != NULL && nulls[i] == 'n';
		parameters->params[i].pflags = PARAM_FLAG_CONST;
		parameters->params[i].ptype = query->argument_types[i];
	}
	return parameters;
}

/*
 * query_run
 *		Runs a query and hands each row to the function given, which must not run
 *		another. Returns the number of rows. nulls: a string with n for each argument
 *		that is null, or NULL.
 */
int64
query_run(QueryScope *scope, PreparedQuery *query, Datum *arguments, const char *nulls,
		  QueryRow row, void *arg)
{
	/* To SPI a destination of no kind would mean that rows are not wanted. */
	RowReceiver receiver = {
		.receiver = {.receiveSlot = receive_row,
					 .rStartup = receive_begin,
					 .rShutdown = receive_end,
					 .rDestroy = receive_end,
					 .mydest = DestTuplestore},
		.context = CurrentMemoryContext,
		.row = row,
		.arg = arg,
	};
	SPIExecuteOptions options = {
		.read_only = true,
		.must_return_tuples = true,
		.dest = &receiver.receiver,
	};

	if (query->plan == NULL)
	{
		SPIPlanPtr plan = SPI_prepare(query->text, query->argument_count, query->argument_types);

		if (plan == NULL)
			elog(ERROR, "could not prepare query: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "could not keep plan");
		query->plan = plan;
	}
	options.params = query_parameters(query, arguments, nulls);
	PushActiveSnapshot(scope->snapshot);
	if (SPI_execute_plan_extended(query->plan, &options) != SPI_OK_SELECT)
		elog(ERROR, "query did not return rows: %s", query->text);
	PopActiveSnapshot();
	pfree(options.params);
	return (int64) SPI_processed;
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
