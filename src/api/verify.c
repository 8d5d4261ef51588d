/*
 * verify.c
 *		verify(): is memory what the tables say? reload(): forget memory.
 *
 * Each works on one root at a time, with everybody else kept out for a moment.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"

#include "api/levels.h"
#include "api/operation.h"
#include "escrow/locks.h"
#include "query.h"
#include "relations.h"
#include "types/micros.h"
#include "types/scope.h"

PG_FUNCTION_INFO_V1(quota_verify_root);
PG_FUNCTION_INFO_V1(quota_reload_root);

/* A number of millionths, as numeric, in units. */
static Datum
total_datum(int128 micros)
{
	return NumericGetDatum(micros_total_to_numeric(micros));
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
	operation_begin(name, false);
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

/* A row of the answer: a counter or a slot of it, in memory and in the tables. */
static void
verify_put_difference(ReturnSetInfo *result, const CounterKey *key, TimestampTz period_start,
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
	values[4] = TimestampTzGetDatum(period_start);
	values[5] = total_datum(memory->used);
	values[6] = total_datum(memory->held);
	values[7] = total_datum(tables->used);
	values[8] = total_datum(tables->held);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* A plain counter: its total in memory, and in the tables. */
static void
verify_total(ReturnSetInfo *result, const CounterCopy *copy, const CounterDefinition *definition,
			 uint32 root_hash)
{
	CounterSpec spec = {.key = copy->key, .root_hash = root_hash};
	CounterLoad load = {.spec = &spec};
	TimestampTz start;

	spec.resource = definition->resource;
	spec.model_pattern = definition->model;
	period_bounds(definition->period,
				  TIMESTAMP_IS_NOBEGIN(spec.key.period_start) ? 0 : spec.key.period_start, &start,
				  &spec.period_end);
	ledger_load(&load, 1);
	if (load.totals.used != copy->totals.used || load.totals.held != copy->totals.held)
		verify_put_difference(result, &copy->key, copy->key.period_start, definition, &copy->totals,
							  &load.totals);
}

/* Finds the limit that a series counts, NULL if it does not apply at its level any more. */
static LevelLimit *
series_limit(const CounterKey *key, const CounterDefinition *definition, uint32 root_hash,
			 Spender *spender)
{
	SpendLimits *limits;

	if (!payer_find_account(scope_parse(definition->scope), spender))
		return NULL;
	spender->user_id = key->user_id[0] == '\0' ? NULL : key->user_id;
	limits = limits_of_spender(spender, root_hash);
	for (int i = 0; i < limits->count; i++)
	{
		LevelLimit *limit = &limits->limits[i];

		if (limit->limit_id == key->limit_id && limit->version == key->version &&
			limit->account_id == key->account_id && limit->share == (key->user_id[0] != '\0') &&
			limit->rule != NULL)
			return limit;
	}
	return NULL;
}

/* The totals of the slot that starts at an instant. */
static CounterTotals
slot_totals(SeriesState *state, TimestampTz start)
{
	CounterTotals totals = {0, 0};
	CounterSlot *slot = series_find(state, start);

	if (slot != NULL)
	{
		totals.used = slot->used;
		totals.held = slot->held;
	}
	return totals;
}

/* What a limit that carries something has for use at an instant, as its series says. */
static CounterTotals
carried_totals(const LevelLimit *limit, SeriesState *state, TimestampTz at)
{
	CounterLoad load = {.state = state};
	CounterTotals totals = {0, 0};
	Level level;

	level_init(&level, limit, at, at);
	level_answer_load(&level, &load);
	totals.used = level.claim.series.limit;
	return totals;
}

/*
 * A series: each of its slots in memory, and in the tables; and of what there is to use in
 * a limit that carries something, the sum, as of the first slot.
 */
static void
verify_series(ReturnSetInfo *result, const CounterCopy *copy, const CounterDefinition *definition,
			  uint32 root_hash)
{
	TimestampTz now = clock_now();
	Spender spender;
	LevelLimit *limit = series_limit(&copy->key, definition, root_hash, &spender);
	CounterSpec any;
	CounterLoad memory = {.spec = &any};
	CounterLoad tables = {0};
	CounterTotals in_memory;
	CounterTotals in_tables;
	TimestampTz floor;
	int64 denied;

	if (limit == NULL)
		return;
	tables.spec = level_limit_counter(limit, &spender, root_hash, now, now);
	any = *tables.spec;
	any.needed = DT_NOEND;
	memory.state = palloc(sizeof(SeriesState));
	if (!escrow_peek(&memory, &denied))
		return;
	ledger_load(&tables, 1);
	floor = Max(memory.state->floor, tables.state->floor);
	for (int i = 0; i < memory.state->count + tables.state->count; i++)
	{
		bool first = i < memory.state->count;
		TimestampTz start = first ? memory.state->slots[i].start
								  : tables.state->slots[i - memory.state->count].start;

		if (start < floor || (!first && series_find(memory.state, start) != NULL))
			continue;
		in_memory = slot_totals(memory.state, start);
		in_tables = slot_totals(tables.state, start);
		if (in_memory.used != in_tables.used || in_memory.held != in_tables.held)
			verify_put_difference(result, &copy->key, start, definition, &in_memory, &in_tables);
	}
	if (!limit->carries)
		return;
	/* One that somebody ahead of this clock has used does not say what is left now. */
	now = Max(now, floor);
	(void) level_limit_counter(limit, &spender, root_hash, now, now);
	in_memory = carried_totals(limit, memory.state, now);
	in_tables = carried_totals(limit, tables.state, now);
	if (in_memory.used != in_tables.used)
		verify_put_difference(result, &copy->key, floor, definition, &in_memory, &in_tables);
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

		CHECK_FOR_INTERRUPTS();
		if (!copies[i].current || copies[i].key.extension != quota_extension() ||
			copies[i].key.private_id != 0 || !counter_definition(&copies[i].key, &definition))
			continue;
		if (copies[i].series)
			verify_series(result, &copies[i], &definition, root_hash);
		else
			verify_total(result, &copies[i], &definition, root_hash);
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
