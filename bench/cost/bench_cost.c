/*
 * bench_cost.c
 *		The clock of bench/cost.sh: how long it takes to price a request.
 *
 * A module of its own, linked from the extension's objects, so that the bare
 * computation can be measured without giving the extension a function for it.
 * Everything is called in a loop in C, without a query around it: the bare cost, a
 * function through the function manager, a statement through a plan that is kept.
 * Each loop starts with some calls that are not counted, and frees after every call what the
 * call has allocated.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "compat.h"
#include "cost/cache.h"
#include "cost/credit.h"
#include "cost/estimate.h"
#include "xavier_quota.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(bench_cost);
PG_FUNCTION_INFO_V1(bench_time_cost);
PG_FUNCTION_INFO_V1(bench_time_function);
PG_FUNCTION_INFO_V1(bench_time_statement);

/* Calls before the clock starts: caches fill, plans become generic. */
#define WARM_UP 10

/* What is called again and again, with the state that it needs. */
typedef void (*BenchStep)(void *state);

void _PG_init(void);

void
_PG_init(void)
{
	vocabulary_init();
	cache_init();
}

/* A request for its bare cost. */
typedef struct CostStep
{
	const char *model;
	Jsonb *request;
	TimestampTz at;
	int64 micros; /* the answer: what a hold takes, in millionths of a credit */
} CostStep;

static void
step_cost(void *state)
{
	CostStep *step = state;
	const CardPlan *plan;
	CostLine lines[64];
	CostResult cost = {.lines = lines};
	CreditRate rate;
	Estimate estimate;
	ModelMatch match;

	cache_begin();
	plan = cache_find_model(step->model, step->at, &match);
	if (plan == NULL || plan->most_cost_lines > (int) lengthof(lines))
		elog(ERROR, "model \"%s\" has no card, or one too large to measure", step->model);
	estimate_usage(plan, step->request, 0, step->at, &estimate);
	evaluate_cost(plan, &estimate.ceiling, true, &cost);
	cache_find_rate(0, step->at, &rate);
	step->micros = cost_to_micros(cost.total, &rate);
}

/* A function with the arguments (model text, request jsonb). */
typedef struct FunctionStep
{
	FmgrInfo function;
	int argument_count; /* those after the first two are null */
	Datum model;
	Datum request;
} FunctionStep;

static void
step_function(void *state)
{
	FunctionStep *step = state;
	LOCAL_FCINFO(fcinfo, 4);

	InitFunctionCallInfoData(*fcinfo, &step->function, step->argument_count, InvalidOid, NULL,
							 NULL);
	for (int i = 0; i < step->argument_count; i++)
		fcinfo->args[i].isnull = i >= 2;
	fcinfo->args[0].value = step->model;
	fcinfo->args[1].value = step->request;
	(void) FunctionCallInvoke(fcinfo);
}

/* A statement with the parameters $1 text, the model, and $2 jsonb, the request. */
typedef struct StatementStep
{
	SPIPlanPtr plan;
	Datum arguments[2];
} StatementStep;

static void
step_statement(void *state)
{
	StatementStep *step = state;

	if (SPI_execute_plan(step->plan, step->arguments, NULL, true, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "the statement did not return one row");
	SPI_freetuptable(SPI_tuptable);
}

/* Returns how many nanoseconds one of so many calls of a step takes. */
static double
time_loop(BenchStep call, void *state, int64 calls)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "quota_bench", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	instr_time start = {0};
	instr_time end;

	for (int64 i = -WARM_UP; i < calls; i++)
	{
		if (i == 0)
			INSTR_TIME_SET_CURRENT(start);
		CHECK_FOR_INTERRUPTS();
		call(state);
		MemoryContextReset(scratch);
	}
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return INSTR_TIME_GET_DOUBLE(end) * 1e9 / (double) calls;
}

/*
 * bench_cost
 *		cost(model, request): the credits of the ceiling, by the bare computation.
 */
Datum
bench_cost(PG_FUNCTION_ARGS)
{
	CostStep step = {.model = text_to_cstring(PG_GETARG_TEXT_PP(0)),
					 .request = PG_GETARG_JSONB_P(1),
					 .at = clock_now()};

	step_cost(&step);
	PG_RETURN_NUMERIC(int64_div_fast_to_numeric(step.micros, 6));
}

/*
 * bench_time_cost
 *		time_cost(model, request, calls): nanoseconds of one bare computation.
 */
Datum
bench_time_cost(PG_FUNCTION_ARGS)
{
	CostStep step = {.model = text_to_cstring(PG_GETARG_TEXT_PP(0)),
					 .request = PG_GETARG_JSONB_P(1),
					 .at = clock_now()};

	PG_RETURN_FLOAT8(time_loop(step_cost, &step, PG_GETARG_INT64(2)));
}

/*
 * bench_time_function
 *		time_function(function, model, request, calls): nanoseconds of one call.
 */
Datum
bench_time_function(PG_FUNCTION_ARGS)
{
	FunctionStep step = {.model = PG_GETARG_DATUM(1),
						 .request = JsonbPGetDatum(PG_GETARG_JSONB_P(2))};

	fmgr_info(PG_GETARG_OID(0), &step.function);
	step.argument_count = step.function.fn_nargs;
	if (step.argument_count < 2 || step.argument_count > 4)
		elog(ERROR, "the function does not take a model and a request");
	PG_RETURN_FLOAT8(time_loop(step_function, &step, PG_GETARG_INT64(3)));
}

/*
 * bench_time_statement
 *		time_statement(statement, model, request, calls): nanoseconds of one execution
 *		by a plan that is kept.
 */
Datum
bench_time_statement(PG_FUNCTION_ARGS)
{
	Oid types[] = {TEXTOID, JSONBOID};
	StatementStep step = {.arguments = {PG_GETARG_DATUM(1), JsonbPGetDatum(PG_GETARG_JSONB_P(2))}};
	double nanoseconds;

	SPI_connect();
	step.plan = SPI_prepare_cursor(text_to_cstring(PG_GETARG_TEXT_PP(0)), lengthof(types), types,
								   CURSOR_OPT_GENERIC_PLAN);
	if (step.plan == NULL)
		elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));
	nanoseconds = time_loop(step_statement, &step, PG_GETARG_INT64(3));
	SPI_finish();
	PG_RETURN_FLOAT8(nanoseconds);
}
