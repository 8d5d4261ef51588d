/*
 * balances.c
 *		What is left, for views: the numbers of limits, of grants, and of periods that
 *		are over.
 *
 * Nothing here changes memory or pins a counter.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/levels.h"
#include "api/operation.h"
#include "ledger/ledger.h"
#include "types/micros.h"
#include "types/scope.h"

PG_FUNCTION_INFO_V1(quota_limit_levels);
PG_FUNCTION_INFO_V1(quota_grant_balances);
PG_FUNCTION_INFO_V1(quota_closed_periods);

/* At most so many periods of one limit are told at once, the oldest first. */
#define PERIODS_MAX 1000

/* A number of millionths, as numeric, in units. */
static Datum
total_datum(int128 micros)
{
	return NumericGetDatum(micros_total_to_numeric(micros));
}

/* A row of quota._limit_levels(). */
static void
put_level(ReturnSetInfo *result, const Level *level, const char *user_id, int64 denied)
{
	Datum values[18];
	bool nulls[18] = {false};
	const LevelLimit *limit = &level->limit;
	const EscrowClaim *claim = &level->claim;

	values[0] = Int64GetDatum(limit->limit_id);
	values[1] = ScopePGetDatum(limit->scope_key);
	nulls[2] = !limit->share;
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(user_id);
	values[3] = CStringGetTextDatum(limit->resource);
	values[4] = CStringGetTextDatum(limit->model_pattern);
	values[5] = PeriodPGetDatum(limit->period);
	values[6] = CStringGetTextDatum(limit_policy_name(limit->policy));
	values[7] = total_datum(limit->amount);
	values[8] = total_datum(limit->overdraft);
	values[9] = TimestampTzGetDatum(limit->period_start);
	values[10] = TimestampTzGetDatum(limit->period_end);
	values[11] = total_datum(claim->totals.used);
	values[12] = total_datum(claim->totals.held);
	values[13] = CStringGetTextDatum(limit->source);
	values[14] = Int64GetDatum(denied);
	values[15] = total_datum(limit->carries ? claim->series.rolled_over : 0);
	values[16] = total_datum(limit->carries ? claim->series.granted : 0);
	values[17] = total_datum(limit->carries ? claim->series.carried : 0);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * limits_at
 *		Returns the limits of the account, or of the share of a user in it, that two
 *		arguments name, and fills their spender; NULL if there is no such account.
 */
static SpendLimits *
limits_at(FunctionCallInfo fcinfo, Spender *spender, uint32 *root_hash)
{
	Scope *account;

	operation_require(fcinfo, 0, "account");
	account = PG_GETARG_SCOPE_P(0);
	*root_hash = scope_root_hash(account);
	if (!payer_find_account(account, spender))
		return NULL;
	if (!PG_ARGISNULL(1))
		spender->user_id = text_to_cstring(PG_GETARG_TEXT_PP(1));
	return limits_of_spender(spender, *root_hash);
}

/* Whether a limit is one of that very level, not of one above it. */
static bool
limit_is_at(const LevelLimit *limit, const Spender *spender)
{
	return limit->limit_id != 0 && limit->account_id == spender->levels[spender->level_count - 1] &&
		   limit->share == (spender->user_id != NULL);
}

/*
 * Whether a rule can read a series that was copied from memory. A view takes no lock of
 * the root: definitions may have changed since it read them.
 */
static bool
series_is_ready(const CounterLoad *load, TimestampTz now)
{
	SeriesRule *rule = load->spec->rule;
	const SeriesState *state = load->state;

	if (rule == NULL)
		return true;
	series_prepare(rule, state, now);
	return rule->is_ready(rule, state, now);
}

/*
 * load_now
 *		Fills in what memory says of a counter; what it does not have is computed from
 *		the tables, and not kept: a view of all accounts must not push out the counters
 *		in use.
 */
static void
load_now(CounterLoad *load, const CounterSpec *counter, TimestampTz now, int64 *denied)
{
	memset(load, 0, sizeof(CounterLoad));
	load->spec = counter;
	if (counter->rule != NULL)
		load->state = palloc(sizeof(SeriesState));
	*denied = 0;
	if (!escrow_is_attached() || RecoveryInProgress() || !escrow_peek(load, denied) ||
		!series_is_ready(load, now))
		ledger_load(load, 1);
}

/*
 * quota_limit_levels
 *		quota._limit_levels(account, user_id): the limits of one level, the account
 *		itself or the share of a user in it, with their counters now.
 */
Datum
quota_limit_levels(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now = clock_now();
	uint32 root_hash;
	SpendLimits *limits;
	Spender spender;

	InitMaterializedSRF(fcinfo, 0);
	limits = limits_at(fcinfo, &spender, &root_hash);
	for (int i = 0; limits != NULL && i < limits->count; i++)
	{
		LevelLimit *limit = &limits->limits[i];
		CounterLoad load;
		Level level;
		int64 denied;

		if (!limit_is_at(limit, &spender))
			continue;
		load_now(&load, level_limit_counter(limit, &spender, root_hash, now, now), now, &denied);
		level_init(&level, limit, now, now);
		level_answer_load(&level, &load);
		put_level(result, &level, spender.user_id, denied);
	}
	return (Datum) 0;
}

/*
 * quota_grant_balances
 *		quota._grant_balances(account, user_id): what each grant that feeds a limit of
 *		one level has left now.
 */
Datum
quota_grant_balances(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now = clock_now();
	uint32 root_hash;
	SpendLimits *limits;
	Spender spender;

	InitMaterializedSRF(fcinfo, 0);
	limits = limits_at(fcinfo, &spender, &root_hash);
	for (int i = 0; limits != NULL && i < limits->count; i++)
	{
		LevelLimit *limit = &limits->limits[i];
		CounterLoad load;
		int128 *left;
		int64 denied;

		if (!limit_is_at(limit, &spender) || !limit->carries || limit->history->grant_count == 0)
			continue;
		load_now(&load, level_limit_counter(limit, &spender, root_hash, now, now), now, &denied);
		left = palloc(sizeof(int128) * limit->history->grant_count);
		carry_grants_left(limit->rule, load.state, now, left);
		for (int j = 0; j < limit->history->grant_count; j++)
		{
			Datum values[3] = {Int64GetDatum(limit->limit_id),
							   Int64GetDatum(limit->history->grants[j].grant_id),
							   total_datum(left[j])};
			bool nulls[3] = {false};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

/* Where the periods of one limit go. */
typedef struct PeriodsState
{
	ReturnSetInfo *result;
	int64 limit_id;
	TimestampTz since;
} PeriodsState;

/* A row of quota._closed_periods(). */
static void
put_period(const CarryPeriod *period, void *arg)
{
	PeriodsState *state = arg;
	Datum values[9];
	bool nulls[9] = {false};

	if (period->end <= state->since)
		return;
	values[0] = Int64GetDatum(state->limit_id);
	values[1] = TimestampTzGetDatum(period->start);
	values[2] = TimestampTzGetDatum(period->end);
	values[3] = total_datum(period->limit);
	values[4] = total_datum(period->granted);
	values[5] = total_datum(period->used);
	values[6] = total_datum(period->held);
	values[7] = total_datum(period->overage);
	values[8] = total_datum(period->rolled_over);
	tuplestore_putvalues(state->result->setResult, state->result->setDesc, values, nulls);
}

/*
 * The end of as many periods from an instant on as are told at once, not after now. Those in
 * which the limit never applied are not told.
 */
static TimestampTz
periods_until(const CarryHistory *history, TimestampTz since, TimestampTz now)
{
	TimestampTz end = since;

	for (int told = 0; told < PERIODS_MAX && end < now;)
	{
		TimestampTz start;
		bool applies = true;

		CHECK_FOR_INTERRUPTS();
		period_bounds(history->period, end, &start, &end);
		for (int i = 0; i < history->gap_count; i++)
			applies &= start < history->gaps[i].from || end > history->gaps[i].until;
		told += applies;
	}
	return Min(end, now);
}

/*
 * quota_closed_periods
 *		quota._closed_periods(account, user_id, since): the periods of the limits of one
 *		level that ended after an instant, and by now; at most 1000 of each, the oldest
 *		first. Computed from the tables, those of a limit that carries something from
 *		where it first did.
 */
Datum
quota_closed_periods(PG_FUNCTION_ARGS)
{
	TimestampTz now = clock_now();
	PeriodsState state = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	uint32 root_hash;
	SpendLimits *limits;
	Spender spender;

	operation_require(fcinfo, 2, "since");
	state.since = PG_GETARG_TIMESTAMPTZ(2);
	InitMaterializedSRF(fcinfo, 0);
	limits = limits_at(fcinfo, &spender, &root_hash);
	for (int i = 0; limits != NULL && i < limits->count; i++)
	{
		LevelLimit *limit = &limits->limits[i];
		const CarryHistory *history = limit->history;
		CounterSpec spec;
		CounterLoad load = {.spec = &spec, .all_slots = true};
		SeriesRule *rule;
		TimestampTz until;

		if (!limit_is_at(limit, &spender) || period_kind(limit->period) != PERIOD_CALENDAR)
			continue;
		if (history == NULL)
			history = limit_read_history(limit, &spender, state.since);
		/* Not the rule that is kept: it would keep all the phases, too. */
		rule = carry_rule(history);
		until = periods_until(history, Max(state.since, history->begin), now);
		spec = *level_limit_counter(limit, &spender, root_hash, now, now);
		spec.rule = rule;
		spec.load_from = spec.exact_from = history->begin;
		spec.needed = until;
		spec.period_end = until;
		ledger_load(&load, 1);
		state.limit_id = limit->limit_id;
		carry_visit_periods(rule, load.slots, load.slot_count, until, put_period, &state);
	}
	return (Datum) 0;
}
