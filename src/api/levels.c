/*
 * levels.c
 *		The limits that one operation touches, with their counters.
 *
 * Which counters a row counts in is decided here, for every operation alike: the
 * limits of the row's levels and user (directory/limits.c) whose model pattern
 * matches and whose resource is in one of the row's amounts, each in the period
 * of the time of the hold. The load counts by the same rule the other way round
 * (ledger/ledger_load.c).
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "api/levels.h"
#include "api/operation.h"
#include "ledger/ledger.h"
#include "model_pattern.h"

/* So often all limits are asked again when each of them would let a request pass. */
#define RETRY_TURNS_MAX 32

static int max_open_holds = 100000;

/* The limit on open holds is a setting, and goes unsaid where it is kept. */
static bool
level_is_setting(const Level *level)
{
	return level->limit.limit_id == 0;
}

/*
 * levels_count_hold
 *		Returns what an open hold of an amount counts: the amount, and itself. model is
 *		that of the hold, NULL for an amount without one.
 */
Amount *
levels_count_hold(const Amount *amount, const char *model)
{
	static const char *const counted[] = {OPEN_HOLDS, IN_FLIGHT};
	AmountEntry entries[AMOUNT_MAX_ENTRIES + lengthof(counted)];
	int count = amount_entries(amount, entries);

	for (int i = 0; i < (int) lengthof(counted); i++)
	{
		entries[count].resource = counted[i];
		entries[count++].micros = hold_counts_itself(counted[i], model);
	}
	return amount_make(entries, count);
}

static bool
amounts_have(const Amount *const *amounts, int count, const char *resource)
{
	for (int i = 0; i < count; i++)
	{
		if (amounts[i] != NULL && amount_get(amounts[i], resource) != 0)
			return true;
	}
	return false;
}

/*
 * level_init
 *		Makes a level of a limit whose counter was asked for last with the same
 *		instants; what it requests is nothing as yet.
 */
void
level_init(Level *level, const LevelLimit *limit, TimestampTz held_at, TimestampTz now)
{
	EscrowClaim *claim = &level->claim;

	memset(level, 0, sizeof(Level));
	level->limit = *limit;
	level->amount_later =
		level_is_setting(level) ? max_open_holds * MICROS_PER_UNIT : limit->amount;
	level->limit.amount = level_is_setting(level) ? level->amount_later : level_limit_amount(limit);
	limit = &level->limit;
	claim->capacity = (int128) limit->amount + limit->overdraft;
	claim->enforced = limit->policy == POLICY_HARD;
	claim->rule = limit->rule;
	claim->series.now = now;
	claim->series.held_at = held_at;
	claim->series.slot = limit->counter.slot;
	claim->series.period_end = limit->period_end;
	claim->series.amount = limit->amount;
	claim->series.overdraft = limit->overdraft;
}

/*
 * levels_collect
 *		Fills set with the limits that a row of the spender with these amounts
 *		counts for, for an operation at now; with no amounts (count 0), with those of
 *		every resource.
 */
void
levels_collect(LevelSet *set, const Spender *spender, uint32 root_hash, TimestampTz held_at,
			   TimestampTz now, const Amount *const *amounts, int amount_count)
{
	SpendLimits *limits = limits_of_spender(spender, root_hash);

	set->root_hash = root_hash;
	set->in_memory = false;
	set->now = now;
	set->count = 0;
	set->levels = palloc(sizeof(Level) * Max(limits->count, 1));
	for (int i = 0; i < limits->count; i++)
	{
		LevelLimit *limit = &limits->limits[i];

		if (!model_matches(limit->model_pattern, spender->model))
			continue;
		if (amount_count > 0 ? !amounts_have(amounts, amount_count, limit->resource)
							 : limit->limit_id == 0)
			continue;
		(void) level_limit_counter(limit, spender, root_hash, held_at, now);
		level_init(&set->levels[set->count++], limit, held_at, now);
	}
}

/*
 * levels_pin
 *		Pins the counters, loading those that memory does not have. The root has
 *		been entered. Comes before any row is written (invariant 5).
 */
void
levels_pin(LevelSet *set)
{
	const CounterSpec **specs = palloc(sizeof(CounterSpec *) * Max(set->count, 1));
	SharedCounter **counters = palloc(sizeof(SharedCounter *) * Max(set->count, 1));

	for (int i = 0; i < set->count; i++)
		specs[i] = &set->levels[i].limit.counter;
	escrow_pin(specs, set->count, ledger_load, counters);
	for (int i = 0; i < set->count; i++)
		set->levels[i].claim.counter = counters[i];
	set->in_memory = true;
	pfree(specs);
	pfree(counters);
}

/* Computes the totals from the tables, touching no memory. */
static void
levels_compute(LevelSet *set)
{
	CounterLoad *loads = palloc0(sizeof(CounterLoad) * Max(set->count, 1));

	for (int i = 0; i < set->count; i++)
		loads[i].spec = &set->levels[i].limit.counter;
	if (set->count > 0)
		ledger_load(loads, set->count);
	for (int i = 0; i < set->count; i++)
	{
		set->levels[i].claim.totals = loads[i].totals;
		set->levels[i].state = loads[i].state;
	}
	pfree(loads);
}

/*
 * levels_pin_or_compute
 *		Makes the totals available to a call that only looks, on a standby too.
 */
void
levels_pin_or_compute(LevelSet *set)
{
	if (operation_on_standby())
		levels_compute(set);
	else
		levels_pin(set);
}

/*
 * levels_take_from_memory
 *		Copies what the counters say after a claim, so that the set can be asked what
 *		would be if they said something else.
 */
void
levels_take_from_memory(LevelSet *set)
{
	if (!set->in_memory)
		return;
	for (int i = 0; i < set->count; i++)
	{
		Level *level = &set->levels[i];

		if (level->claim.rule == NULL)
			continue;
		level->state = palloc(sizeof(SeriesState));
		escrow_copy_state(&level->claim, level->state);
	}
	set->in_memory = false;
}

/*
 * level_discount
 *		Takes an amount that is held in a counter of the level, if it is in this
 *		one, off what the level says of itself. It is not looked at in memory.
 */
void
level_discount(Level *level, const CounterSpec *counter, int128 held)
{
	CounterSlot *slot;

	if (memcmp(&level->limit.counter.key, &counter->key, sizeof(CounterKey)) != 0)
		return;
	if (level->state == NULL)
	{
		level->claim.totals.held -= held;
		return;
	}
	slot = series_find(level->state, counter->slot);
	if (slot != NULL)
		slot->held -= held;
}

/* Answers a claim by what is not in memory, or not any more. */
static void
level_answer(Level *level)
{
	EscrowClaim *claim = &level->claim;

	if (claim->rule == NULL)
	{
		claim->fits = escrow_claim_fits(claim);
		return;
	}
	series_prepare(claim->rule, level->state, claim->series.now);
	if (!claim->rule->is_ready(claim->rule, level->state, claim->series.now))
		elog(ERROR, "series of limit %lld does not follow from its definition",
			 (long long) level->limit.limit_id);
	escrow_assess(claim, level->state);
}

/* What there is to use follows from a series; the limit is shown so. */
static void
level_take_answer(Level *level)
{
	if (level->claim.rule != NULL)
		level->limit.amount =
			(int64) Min(Max(level->claim.series.limit, -(int128) MICROS_MAX), (int128) MICROS_MAX);
}

/*
 * level_answer_load
 *		Fills in what is used, held and left of a level by what memory or the tables say
 *		of its counter.
 */
void
level_answer_load(Level *level, const CounterLoad *load)
{
	level->claim.totals = load->totals;
	level->state = load->state;
	level_answer(level);
	level_take_answer(level);
}

/* Gathers the claims of all levels, or hands them out again. */
static EscrowClaim *
levels_claims(const LevelSet *set)
{
	EscrowClaim *claims = palloc(sizeof(EscrowClaim) * Max(set->count, 1));

	for (int i = 0; i < set->count; i++)
		claims[i] = set->levels[i].claim;
	return claims;
}

static void
levels_take_answers(LevelSet *set, EscrowClaim *claims)
{
	for (int i = 0; i < set->count; i++)
	{
		set->levels[i].claim = claims[i];
		level_take_answer(&set->levels[i]);
	}
	pfree(claims);
}

/*
 * levels_claim
 *		Checks a request at all levels and, if hold is true and it fits, holds it.
 */
EscrowAnswer
levels_claim(LevelSet *set, const Amount *request, Generation generation, bool hold)
{
	EscrowAnswer answer = ESCROW_GRANTED;
	EscrowClaim *claims;

	for (int i = 0; i < set->count; i++)
	{
		Level *level = &set->levels[i];

		level->requested = amount_get(request, level->limit.resource);
		level->claim.request = level->requested;
		if (!set->in_memory)
		{
			level_answer(level);
			level_take_answer(level);
			if (!level->claim.fits && level->claim.enforced)
				answer = ESCROW_REFUSED;
		}
	}
	if (!set->in_memory)
		return answer;
	claims = levels_claims(set);
	answer = escrow_claim(set->root_hash, generation, claims, set->count, hold);
	levels_take_answers(set, claims);
	return answer;
}

/*
 * levels_count_denials
 *		Counts a request that has been decided at the limits that it did not fit: those
 *		that refused it, and those that only would have. To be called after
 *		levels_claim(), once for each request.
 */
void
levels_count_denials(const LevelSet *set, TimestampTz now)
{
	SharedCounter **counters = palloc(sizeof(SharedCounter *) * Max(set->count, 1));
	bool refused = false;
	int count = 0;

	for (int i = 0; i < set->count; i++)
	{
		const EscrowClaim *claim = &set->levels[i].claim;

		if (claim->fits)
			continue;
		counters[count++] = claim->counter;
		refused |= claim->enforced;
	}
	escrow_count_denials(counters, count, refused, now);
	pfree(counters);
}

/*
 * levels_afford
 *		Whether every hard limit has room for amounts: for what they are above held, and
 *		at least for least (either may be NULL). To be asked after levels_claim().
 */
bool
levels_afford(const LevelSet *set, const AmountEntry *entries, int count, const Amount *least,
			  const Amount *held)
{
	for (int i = 0; i < set->count; i++)
	{
		const Level *level = &set->levels[i];
		const char *resource = level->limit.resource;
		EscrowClaim claim = level->claim;

		if (!claim.enforced)
			continue;
		/* A smaller request of the model would be a hold, too. */
		if (hold_counts_itself(resource, level->limit.model_pattern) == 0)
		{
			claim.request = least == NULL ? 0 : amount_get(least, resource);
			for (int j = 0; j < count; j++)
			{
				if (strcmp(entries[j].resource, resource) == 0)
					claim.request = Max(claim.request, entries[j].micros);
			}
			claim.request -= held == NULL ? 0 : amount_get(held, resource);
		}
		if (!escrow_claim_fits(&claim))
			return false;
	}
	return true;
}

/*
 * levels_record
 *		Replaces what was held by what is charged, at all levels; either may be NULL.
 */
void
levels_record(LevelSet *set, const Amount *held, const Amount *charged)
{
	for (int i = 0; i < set->count; i++)
	{
		Level *level = &set->levels[i];
		const char *resource = level->limit.resource;

		level->requested = charged == NULL ? 0 : amount_get(charged, resource);
		escrow_record_use(&level->claim, held == NULL ? 0 : amount_get(held, resource),
						  level->requested);
	}
	levels_look(set);
}

/*
 * levels_look
 *		Reads the counters as this transaction sees them.
 */
void
levels_look(LevelSet *set)
{
	EscrowClaim *claims;

	for (int i = 0; i < set->count; i++)
	{
		Level *level = &set->levels[i];

		level->claim.request = 0;
		if (!set->in_memory && level->claim.rule != NULL)
		{
			level_answer(level);
			level_take_answer(level);
		}
	}
	if (!set->in_memory)
		return;
	claims = levels_claims(set);
	escrow_look(claims, set->count);
	levels_take_answers(set, claims);
}

/*
 * levels_show_granted
 *		Makes the numbers of now those of a verdict on a request that was granted
 *		before.
 */
void
levels_show_granted(LevelSet *set, const Amount *amount)
{
	levels_look(set);
	for (int i = 0; i < set->count; i++)
	{
		Level *level = &set->levels[i];

		level->requested = amount_get(amount, level->limit.resource);
		level->claim.fits = true;
	}
}

static void
level_write_limit(const Level *level, JsonWriter *writer)
{
	const LevelLimit *limit = &level->limit;

	json_text(writer, "scope", limit->scope);
	json_int(writer, "limit_id", limit->limit_id);
	json_text(writer, "source", limit->source);
	json_text(writer, "resource", limit->resource);
	json_text(writer, "model", limit->model_pattern);
	json_text(writer, "policy", limit_policy_name(limit->policy));
	json_time(writer, "period_start", limit->period_start);
	json_time(writer, "period_end", limit->period_end);
	json_micros(writer, "limit", limit->amount);
	if (limit->overdraft != 0)
		json_micros(writer, "overdraft", limit->overdraft);
	if (!limit->carries)
		return;
	if (level->claim.series.rolled_over != 0)
		json_micros(writer, "rolled_over", level->claim.series.rolled_over);
	if (level->claim.series.granted != 0)
		json_micros(writer, "granted", level->claim.series.granted);
	if (level->claim.series.carried != 0)
		json_micros(writer, "carried_overage", level->claim.series.carried);
}

static void
level_write_totals(const Level *level, const CounterTotals *totals, JsonWriter *writer)
{
	json_micros(writer, "used", totals->used);
	json_micros(writer, "held", totals->held);
	json_micros(writer, "requested", level->requested);
	json_micros(writer, "remaining", level->limit.amount - totals->used - totals->held);
}

/*
 * levels_write_claims
 *		Writes the "levels" of a verdict: the numbers before the request, and what
 *		remains after it if it was granted.
 */
void
levels_write_claims(const LevelSet *set, JsonWriter *writer, bool granted)
{
	json_begin_array(writer, "levels");
	for (int i = 0; i < set->count; i++)
	{
		const Level *level = &set->levels[i];
		const EscrowClaim *claim = &level->claim;

		if (level_is_setting(level) && claim->fits)
			continue;

		int128 remaining = level->limit.amount - claim->totals.used - claim->totals.held;
		int128 room = remaining + level->limit.overdraft;

		json_begin_object(writer, NULL);
		level_write_limit(level, writer);
		level_write_totals(level, &claim->totals, writer);
		json_micros(writer, "remaining_after", granted ? remaining - level->requested : remaining);
		json_bool(writer, "passed", claim->fits || !claim->enforced);
		if (!claim->fits)
		{
			json_micros(writer, "short", Max(level->requested - Max(room, 0), 0));
			if (!claim->enforced)
				json_bool(writer, "exceeded", true);
		}
		json_end_object(writer);
	}
	json_end_array(writer);
}

/*
 * levels_write_totals
 *		Writes the "levels" of a receipt: the numbers after it.
 */
void
levels_write_totals(const LevelSet *set, JsonWriter *writer)
{
	json_begin_array(writer, "levels");
	for (int i = 0; i < set->count; i++)
	{
		const Level *level = &set->levels[i];

		if (level_is_setting(level))
			continue;

		int128 total = level->claim.totals.used + level->claim.totals.held;

		json_begin_object(writer, NULL);
		level_write_limit(level, writer);
		level_write_totals(level, &level->claim.totals, writer);
		if (total > (int128) level->limit.amount + level->limit.overdraft)
			json_bool(writer, "exceeded", true);
		json_end_object(writer);
	}
	json_end_array(writer);
}

/*
 * levels_first_failure
 *		Returns the first limit that refuses, NULL if none does.
 */
const Level *
levels_first_failure(const LevelSet *set)
{
	for (int i = 0; i < set->count; i++)
	{
		if (!set->levels[i].claim.fits && set->levels[i].claim.enforced)
			return &set->levels[i];
	}
	return NULL;
}

/*
 * level_never_fits
 *		Says whether a request is too large for a limit however long it waits, as far as
 *		the limit alone can tell.
 */
bool
level_never_fits(const Level *level)
{
	const LevelLimit *limit = &level->limit;

	return !limit->carries && level->requested > (int128) level->amount_later + limit->overdraft;
}

/*
 * level_retry_at
 *		Returns the instant at which a limit that refuses would let the request pass if
 *		nothing else happened; infinity if waiting cannot help.
 */
TimestampTz
level_retry_at(const Level *level, TimestampTz now)
{
	const EscrowClaim *claim = &level->claim;
	SeriesState *state = level->state;
	TimestampTz at;

	if (level_never_fits(level))
		return DT_NOEND;
	if (claim->rule == NULL)
		return level->limit.period_end;
	if (state == NULL)
	{
		state = palloc(sizeof(SeriesState));
		escrow_copy_state(claim, state);
	}
	at = claim->rule->retry_at(claim->rule, state, &claim->series);
	if (state != level->state)
		pfree(state);
	/* By now there may be room: then it is worth trying again at once. */
	return Max(at, now);
}

/*
 * level_fits_from
 *		Returns the first instant, from one on, at which a request that is made then fits,
 *		if nothing else happens.
 */
static TimestampTz
level_fits_from(const Level *level, TimestampTz at)
{
	EscrowClaim claim = level->claim;
	SeriesRule *rule = claim.rule;
	SeriesState *state = level->state;
	TimestampTz fits_from = at;
	TimestampTz start;

	/* The running period may have another amount than those that follow. */
	if (rule == NULL && claim.fits && at < level->limit.period_end)
		return at;
	if (rule == NULL)
		return level_never_fits(level) ? DT_NOEND : Max(at, level->limit.period_end);
	if (state == NULL)
	{
		state = palloc(sizeof(SeriesState));
		escrow_copy_state(&claim, state);
	}
	claim.series.now = at;
	claim.series.held_at = at;
	claim.series.slot = rule->slot_start(rule, at);
	if (level->limit.carries)
		period_bounds(level->limit.period, at, &start, &claim.series.period_end);
	series_prepare(rule, state, at);
	escrow_assess(&claim, state);
	if (!claim.fits)
		fits_from = Max(at, rule->retry_at(rule, state, &claim.series));
	if (state != level->state)
		pfree(state);
	return fits_from;
}

/*
 * levels_retry_at
 *		Returns the instant at which every limit lets the request pass, or infinity if
 *		waiting cannot help: one never does, or is too small even then.
 *
 * When the last of those that refuse now has room, another one may have it no more: a
 * grant has ended. So all are asked again, until they agree.
 */
TimestampTz
levels_retry_at(const LevelSet *set)
{
	TimestampTz at = DT_NOBEGIN;

	for (int i = 0; i < set->count; i++)
	{
		const Level *level = &set->levels[i];

		if (!level->claim.fits && level->claim.enforced)
			at = Max(at, level_retry_at(level, set->now));
	}
	if (at == DT_NOBEGIN)
		return DT_NOEND;
	for (int turn = 0; turn < RETRY_TURNS_MAX && !TIMESTAMP_NOT_FINITE(at); turn++)
	{
		TimestampTz before = at;

		for (int i = 0; i < set->count && !TIMESTAMP_NOT_FINITE(at); i++)
		{
			if (set->levels[i].claim.enforced && set->levels[i].requested > 0)
				at = Max(at, level_fits_from(&set->levels[i], at));
		}
		if (at == before)
			return at;
	}
	return DT_NOEND;
}

void
levels_init(void)
{
	DefineCustomIntVariable("xavier_quota.max_open_holds",
							"Sets how many holds one root may have open.", NULL, &max_open_holds,
							100000, 1, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
}
