/*
 * upkeep.c
 *		What administrators ask of the engine: verify(), reload(), statistics, and
 *		the numbers behind the view of limits. Also announces the fold's writes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "api/operation.h"
#include "directory/changes.h"
#include "directory/directory.h"
#include "escrow/locks.h"
#include "period/period.h"
#include "query.h"
#include "relations.h"
#include "types/scope.h"

PG_FUNCTION_INFO_V1(quota_verify_root);
PG_FUNCTION_INFO_V1(quota_reload_root);
PG_FUNCTION_INFO_V1(quota_engine_stats);
PG_FUNCTION_INFO_V1(quota_limit_levels);
PG_FUNCTION_INFO_V1(quota_denials);
PG_FUNCTION_INFO_V1(quota_begin_own_write);
PG_FUNCTION_INFO_V1(quota_end_own_write);

/* A number of millionths, as numeric, in units. */
static Datum
total_to_numeric(int128 micros)
{
	Numeric units;
	int128 high = micros / ((int128) 1000000000 * 1000000000);
	int64 low = (int64) (micros % ((int128) 1000000000 * 1000000000));

	/* In two parts, since a counter is wider than 64 bits. */
	units = int64_div_fast_to_numeric(low, 6);
	if (high != 0)
		units =
			numeric_add_opt_error(units,
								  numeric_mul_opt_error(int64_to_numeric((int64) high),
														int64_to_numeric(INT64CONST(1000000000000)),
														NULL),
								  NULL);
	return DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(units));
}

/*
 * enter_root_alone
 *		Begins upkeep of one root: everybody else stays out until the lock is given
 *		back, or the transaction ends.
 */
static void
enter_root_alone(const char *name, uint32 root_hash)
{
	PreventCommandDuringRecovery(name);
	(void) operation_begin(name, false);
	if (escrow_has_pins())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("cannot execute %s in a transaction that has operated on quotas", name),
				 errhint("Run it in a transaction of its own.")));
	lock_exclusive_bounded(false, root_hash);
}

/* What a counter in memory says of the definition that it was made for. */
typedef struct CounterDefinition
{
	MemoryContext context;
	char *scope;
	char *resource;
	char *model;
	Period *period;
} CounterDefinition;

static void
collect_definition(Datum *values, bool *nulls pg_attribute_unused(), void *arg)
{
	CounterDefinition *definition = arg;
	MemoryContext old = MemoryContextSwitchTo(definition->context);

	definition->scope = scope_to_cstring(DatumGetScopeP(values[0]));
	definition->resource = TextDatumGetCString(values[1]);
	definition->model = TextDatumGetCString(values[2]);
	definition->period = (Period *) PG_DETOAST_DATUM_COPY(values[3]);
	MemoryContextSwitchTo(old);
}

/*
 * counter_definition
 *		Finds the definition of a counter. Returns false if there is none any more:
 *		nobody can use the counter.
 */
static bool
counter_definition(const CounterKey *key, CounterDefinition *definition)
{
	static PreparedQuery query = {
		.text = "SELECT a.scope, l.resource, l.model, l.period FROM ("
				" SELECT resource, model, period FROM quota.limits"
				" WHERE root_id = $1 AND limit_id = $3 AND version = $4"
				" UNION ALL"
				" SELECT resource, model, period FROM quota.plan_limits"
				" WHERE limit_id = $3 AND version = $4"
				" UNION ALL"
				" SELECT '" OPEN_HOLDS "', '*', 'lifetime'::quota.period WHERE $3 = 0) l,"
				" quota.accounts a WHERE a.root_id = $1 AND a.account_id = $2",
		.argument_count = 4,
		.argument_types = {INT8OID, INT8OID, INT8OID, INT8OID},
	};
	Datum arguments[] = {Int64GetDatum(key->root_id), Int64GetDatum(key->account_id),
						 Int64GetDatum(key->limit_id), Int64GetDatum(key->version)};
	QueryScope scope;
	bool found;

	definition->context = CurrentMemoryContext;
	query_begin(&scope);
	found = query_run(&scope, &query, arguments, NULL, collect_definition, definition) > 0;
	query_end(&scope);
	return found;
}

/* A row of the answer: the counter, in memory and in the tables. */
static void
verify_put_difference(ReturnSetInfo *result, const CounterKey *key,
					  const CounterDefinition *definition, const CounterTotals *memory,
					  const CounterTotals *tables)
{
	Datum values[9];
	bool nulls[9] = {false};

	values[0] = CStringGetTextDatum(
		key->user_id[0] == '\0'
			? definition->scope
			: scope_to_cstring(scope_append(scope_parse(definition->scope), "user", key->user_id)));
	values[1] = Int64GetDatum(key->limit_id);
	values[2] = CStringGetTextDatum(definition->resource);
	values[3] = CStringGetTextDatum(definition->model);
	values[4] = TimestampTzGetDatum(key->period_start);
	values[5] = total_to_numeric(memory->used);
	values[6] = total_to_numeric(memory->held);
	values[7] = total_to_numeric(tables->used);
	values[8] = total_to_numeric(tables->held);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * quota_verify_root
 *		quota._verify_root(root_id, root): compares every counter of a root that
 *		is in memory with what the tables say, with everybody else kept out.
 *		Returns those that differ.
 */
Datum
quota_verify_root(PG_FUNCTION_ARGS)
{
	int64 root_id = PG_GETARG_INT64(0);
	uint32 root_hash = scope_root_hash(PG_GETARG_SCOPE_P(1));
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CounterCopy *copies;
	int count;

	enter_root_alone("verify()", root_hash);
	InitMaterializedSRF(fcinfo, 0);
	copies = escrow_copy_root(root_id, root_hash, &count);
	for (int i = 0; i < count; i++)
	{
		CounterDefinition definition;
		CounterSpec spec = {.key = copies[i].key, .root_hash = root_hash};
		const CounterSpec *specs[] = {&spec};
		TimestampTz start;
		CounterTotals totals;

		CHECK_FOR_INTERRUPTS();
		if (!copies[i].current || copies[i].key.extension != quota_extension() ||
			copies[i].key.private_id != 0 || !counter_definition(&copies[i].key, &definition))
			continue;
		spec.resource = definition.resource;
		spec.model_pattern = definition.model;
		period_bounds(definition.period,
					  TIMESTAMP_IS_NOBEGIN(spec.key.period_start) ? 0 : spec.key.period_start,
					  &start, &spec.period_end);
		ledger_load(specs, 1, &totals);
		if (totals.used != copies[i].totals.used || totals.held != copies[i].totals.held)
			verify_put_difference(result, &copies[i].key, &definition, &copies[i].totals, &totals);
	}
	unlock_root_exclusive(root_hash);
	return (Datum) 0;
}

/*
 * quota_reload_root
 *		quota._reload_root(root): makes every counter of a root load afresh, and every
 *		backend read its definitions again: a repair past the triggers may have
 *		changed either.
 */
Datum
quota_reload_root(PG_FUNCTION_ARGS)
{
	uint32 root_hash = scope_root_hash(PG_GETARG_SCOPE_P(0));

	enter_root_alone("reload()", root_hash);
	escrow_forget_root(root_hash);
	escrow_bump_generation(root_hash);
	escrow_bump_names();
	unlock_root_exclusive(root_hash);
	PG_RETURN_VOID();
}

/*
 * quota_engine_stats
 *		quota._engine_stats(): one row of statistics of the server's escrow memory.
 */
Datum
quota_engine_stats(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	EscrowStats stats;
	Datum values[10];
	bool nulls[10] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!escrow_is_attached())
		(void) operation_begin("engine_stats", false);
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
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* A row of quota._limit_levels(). */
static void
put_level(ReturnSetInfo *result, const LevelLimit *limit, const CounterTotals *totals, int64 denied)
{
	Datum values[16];
	bool nulls[16] = {false};
	const CounterSpec *counter = &limit->counter;

	values[0] = Int64GetDatum(limit->limit_id);
	values[1] = ScopePGetDatum(limit->scope_key);
	values[2] = CStringGetTextDatum(counter->key.user_id);
	nulls[2] = !limit->share;
	values[3] = CStringGetTextDatum(limit->resource);
	values[4] = CStringGetTextDatum(limit->model_pattern);
	values[5] = PeriodPGetDatum(limit->period);
	values[6] = CStringGetTextDatum(limit_policy_name(limit->policy));
	values[7] = total_to_numeric(level_limit_amount(limit));
	values[8] = total_to_numeric(limit->overdraft);
	values[9] = TimestampTzGetDatum(counter->key.period_start);
	values[10] = TimestampTzGetDatum(counter->period_end);
	values[11] = total_to_numeric(totals->used);
	values[12] = total_to_numeric(totals->held);
	values[13] = CStringGetTextDatum(limit->source);
	values[14] = Int64GetDatum(denied);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * quota_limit_levels
 *		quota._limit_levels(account, user_id): the limits of one level, the account
 *		itself or the share of a user in it, with their counters now. Those that
 *		memory does not have are computed from the tables, and not kept: a view of
 *		all accounts must not push out the counters in use.
 */
Datum
quota_limit_levels(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Scope *account;
	uint32 root_hash;
	TimestampTz now = clock_now();
	SpendLimits *limits;
	Spender spender;

	operation_require(fcinfo, 0, "account");
	account = PG_GETARG_SCOPE_P(0);
	root_hash = scope_root_hash(account);
	InitMaterializedSRF(fcinfo, 0);
	if (!payer_find_account(account, &spender))
		return (Datum) 0;
	if (!PG_ARGISNULL(1))
		spender.user_id = text_to_cstring(PG_GETARG_TEXT_PP(1));
	limits = limits_of_spender(&spender, root_hash);
	for (int i = 0; i < limits->count; i++)
	{
		LevelLimit *limit = &limits->limits[i];
		CounterTotals totals;
		int64 denied = 0;

		if (limit->limit_id == 0 || limit->account_id != spender.levels[spender.level_count - 1] ||
			limit->share != (spender.user_id != NULL))
			continue;
		const CounterSpec *counter = level_limit_counter(limit, &spender, root_hash, now);

		if (!escrow_is_attached() || RecoveryInProgress() ||
			!escrow_peek(counter, &totals, &denied))
			ledger_load(&counter, 1, &totals);
		put_level(result, limit, &totals, denied);
	}
	return (Datum) 0;
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
