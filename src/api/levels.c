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

#include "miscadmin.h"
#include "utils/guc.h"

#include "api/levels.h"
#include "api/operation.h"
#include "ledger/ledger.h"
#include "model_pattern.h"

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
 * levels_collect
 *		Fills set with the limits that a row of the spender with these amounts
 *		counts for; with no amounts (count 0), with those of every resource.
 */
void
levels_collect(LevelSet *set, const Spender *spender, uint32 root_hash, TimestampTz held_at,
			   const Amount *const *amounts, int amount_count)
{
	SpendLimits *limits = limits_of_spender(spender, root_hash);

	set->root_hash = root_hash;
	set->in_memory = false;
	set->count = 0;
	set->levels = palloc(sizeof(Level) * Max(limits->count, 1));
	for (int i = 0; i < limits->count; i++)
	{
		LevelLimit *limit = &limits->limits[i];
		Level *level;

		if (!model_matches(limit->model_pattern, spender->model))
			continue;
		if (amount_count > 0 ? !amounts_have(amounts, amount_count, limit->resource)
							 : limit->limit_id == 0)
			continue;
		(void) level_limit_counter(limit, spender, root_hash, held_at);
		level = &set->levels[set->count++];
		memset(level, 0, sizeof(Level));
		level->limit = *limit;
		level->amount_later =
			level_is_setting(level) ? max_open_holds * MICROS_PER_UNIT : limit->amount;
		level->limit.amount =
			level_is_setting(level) ? level->amount_later : level_limit_amount(limit);
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
	const CounterSpec **specs = palloc(sizeof(CounterSpec *) * Max(set->count, 1));
	CounterTotals *totals = palloc(sizeof(CounterTotals) * Max(set->count, 1));

	for (int i = 0; i < set->count; i++)
		specs[i] = &set->levels[i].limit.counter;
	if (set->count > 0)
		ledger_load(specs, set->count, totals);
	for (int i = 0; i < set->count; i++)
		set->levels[i].claim.totals = totals[i];
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
 * levels_claim
 *		Checks a request at all levels and, if hold is true and it fits, holds it.
 */
EscrowAnswer
levels_claim(LevelSet *set, const Amount *request, Generation generation, bool hold)
{
	EscrowClaim *claims = palloc(sizeof(EscrowClaim) * Max(set->count, 1));
	EscrowAnswer answer;
	bool granted = true;

	for (int i = 0; i < set->count; i++)
	{
		Level *level = &set->levels[i];

		level->requested = amount_get(request, level->limit.resource);
		level->claim.request = level->requested;
		level->claim.capacity = (int128) level->limit.amount + level->limit.overdraft;
		level->claim.enforced = level->limit.policy == POLICY_HARD;
		claims[i] = level->claim;
		if (!set->in_memory)
		{
			EscrowClaim *claim = &claims[i];

			claim->fits = escrow_claim_fits(claim);
			granted &= claim->fits || !claim->enforced;
		}
	}
	if (set->in_memory)
		answer = escrow_claim(set->root_hash, generation, claims, set->count, hold);
	else
		answer = granted ? ESCROW_GRANTED : ESCROW_REFUSED;
	for (int i = 0; i < set->count; i++)
		set->levels[i].claim = claims[i];
	pfree(claims);
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
		escrow_record_use(level->claim.counter, held == NULL ? 0 : amount_get(held, resource),
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
	for (int i = 0; i < set->count; i++)
	{
		Level *level = &set->levels[i];

		level->after = set->in_memory ? escrow_read(level->claim.counter) : level->claim.totals;
	}
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
		level->claim.totals = level->after;
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
	json_time(writer, "period_start", limit->counter.key.period_start);
	json_time(writer, "period_end", limit->counter.period_end);
	json_micros(writer, "limit", limit->amount);
	if (limit->overdraft != 0)
		json_micros(writer, "overdraft", limit->overdraft);
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
			json_micros(writer, "short", level->requested - Max(room, 0));
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

		int128 total = level->after.used + level->after.held;

		json_begin_object(writer, NULL);
		level_write_limit(level, writer);
		level_write_totals(level, &level->after, writer);
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
 *		Says whether a request is too large for a limit however long it waits.
 */
bool
level_never_fits(const Level *level)
{
	return level->requested > (int128) level->amount_later + level->limit.overdraft;
}

/*
 * levels_retry_at
 *		Returns the instant at which every refusing limit has started afresh, or
 *		infinity if waiting cannot help: one never does, or is too small even then.
 */
TimestampTz
levels_retry_at(const LevelSet *set)
{
	TimestampTz latest = DT_NOBEGIN;

	for (int i = 0; i < set->count; i++)
	{
		const Level *level = &set->levels[i];

		if (level->claim.fits || !level->claim.enforced)
			continue;
		if (level_never_fits(level))
			return DT_NOEND;
		latest = Max(latest, level->limit.counter.period_end);
	}
	return latest == DT_NOBEGIN ? DT_NOEND : latest;
}

void
levels_init(void)
{
	DefineCustomIntVariable("xavier_quota.max_open_holds",
							"Sets how many holds one root may have open.", NULL, &max_open_holds,
							100000, 1, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
}
