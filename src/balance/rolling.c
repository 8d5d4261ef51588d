/*
 * rolling.c
 *		Rolling windows: what was used in the last so many hours.
 *
 * The window is cut into buckets of a 60th of its length; of whole hours where that is
 * more than one, so that the hourly roll-up has them. A row counts from its own
 * instant until the last bucket has passed that is less than a window after its own:
 * for at least the length of the window, and for less than a bucket longer. So no window
 * of the given length ever contains more than the limit, wherever it begins.
 *
 * Rows later than the clock count, too: a clock that goes back frees nothing. One that
 * is further behind than memory goes, while others have the series in use, gets nothing.
 */
#include "postgres.h"

#include "balance/balance.h"
#include "civil.h"

#define WINDOW_BUCKETS 60

typedef struct RollingRule
{
	SeriesRule rule; /* MUST BE FIRST */
	int64 bucket_us;
	int64 reach_us; /* a row counts until the bucket that is so much after its own has passed */
} RollingRule;

/*
 * window_bucket_us
 *		Returns how long the buckets of a window are: a 60th of it or less, and
 *		whole hours where the window is long enough.
 */
int64
window_bucket_us(int64 window_us)
{
	int64 bucket_us = (window_us + WINDOW_BUCKETS - 1) / WINDOW_BUCKETS;

	if (window_us >= WINDOW_BUCKETS * USECS_PER_HOUR)
		bucket_us = window_us / WINDOW_BUCKETS / USECS_PER_HOUR * USECS_PER_HOUR;
	return Max(bucket_us, 1);
}

static TimestampTz
bucket_start(TimestampTz at, int64 bucket_us)
{
	return at - floor_modulo(at, bucket_us);
}

static TimestampTz
rolling_slot_start(SeriesRule *rule, TimestampTz at)
{
	return bucket_start(at, ((RollingRule *) rule)->bucket_us);
}

/* The start of the oldest bucket that counts at an instant. */
static TimestampTz
rolling_oldest(const RollingRule *rule, TimestampTz at)
{
	return bucket_start(at, rule->bucket_us) - rule->reach_us;
}

static bool
rolling_is_ready(const SeriesRule *rule pg_attribute_unused(),
				 const SeriesState *state pg_attribute_unused(),
				 TimestampTz now pg_attribute_unused())
{
	return true;
}

static void
rolling_open(const SeriesRule *rule pg_attribute_unused(), SeriesState *state)
{
	state->matters_from = DT_NOEND;
}

static void
rolling_advance(const SeriesRule *rule pg_attribute_unused(), SeriesState *state, TimestampTz until)
{
	series_drop_before(state, until);
}

/* What the slots from one instant to another add up to, both included. */
static int128
rolling_sum(const SeriesState *state, TimestampTz from, TimestampTz until, int128 *held)
{
	int128 used = 0;

	*held = 0;
	for (int i = state->count - 1; i >= 0 && state->slots[i].start >= from; i--)
	{
		if (state->slots[i].start > until)
			continue;
		used += state->slots[i].used;
		*held += state->slots[i].held;
	}
	return used;
}

/*
 * A row that is older than now is in all windows that begin or end near it: as much may
 * be added to it as the slots around it leave. One that no running window contains, and
 * whose own are not all there any more, is past all judging.
 */
static void
rolling_assess(const SeriesRule *base, const SeriesState *state, SeriesClaim *claim)
{
	const RollingRule *rule = (const RollingRule *) base;
	TimestampTz oldest = rolling_oldest(rule, claim->now);
	int128 room = (int128) claim->amount + claim->overdraft - claim->request;
	int128 held;

	claim->used = rolling_sum(state, oldest, DT_NOEND, &claim->held);
	claim->limit = claim->amount;
	claim->rolled_over = 0;
	claim->granted = 0;
	claim->carried = 0;
	claim->counts = claim->slot >= oldest;
	if (claim->request == 0)
		claim->fits = true;
	else if (claim->counts && oldest < state->floor)
		claim->fits = false;
	else if (claim->slot >= bucket_start(claim->now, rule->bucket_us))
		claim->fits = claim->used + claim->held <= room;
	else if (claim->slot - rule->reach_us < state->floor)
		claim->fits = !claim->counts;
	else
		claim->fits =
			rolling_sum(state, claim->slot - rule->reach_us, claim->slot + rule->reach_us, &held) +
				held <=
			room;
}

static TimestampTz
rolling_retry_at(SeriesRule *base, const SeriesState *state, const SeriesClaim *claim)
{
	const RollingRule *rule = (const RollingRule *) base;
	TimestampTz oldest = rolling_oldest(rule, claim->now);
	int128 room = (int128) claim->amount + claim->overdraft - claim->request;
	int128 held;
	int128 total = rolling_sum(state, oldest, DT_NOEND, &held);

	total += held;
	if (total <= room)
		return claim->now;
	for (int i = 0; i < state->count; i++)
	{
		const CounterSlot *slot = &state->slots[i];

		if (slot->start < oldest)
			continue;
		total -= slot->used + slot->held;
		if (total <= room)
			return slot->start + rule->reach_us + rule->bucket_us;
	}
	return DT_NOEND;
}

/*
 * rolling_range
 *		Where a load begins, and what an operation at now needs: the oldest bucket that
 *		counts. A load reads another window, for clocks that are behind, and for what is
 *		added to holds that are older.
 */
SeriesRange
rolling_range(const SeriesRule *rule, TimestampTz now)
{
	TimestampTz oldest = rolling_oldest((const RollingRule *) rule, now);
	TimestampTz from = oldest - ((const RollingRule *) rule)->reach_us;

	return (SeriesRange){from, from, oldest};
}

/*
 * rolling_rule
 *		Makes the rule of a rolling period.
 */
SeriesRule *
rolling_rule(const Period *period)
{
	RollingRule *rule = palloc0(sizeof(RollingRule));
	int64 window_us = period_window_us(period);

	rule->bucket_us = window_bucket_us(window_us);
	rule->reach_us = (window_us + rule->bucket_us - 1) / rule->bucket_us * rule->bucket_us;
	rule->rule.slot_start = rolling_slot_start;
	rule->rule.is_ready = rolling_is_ready;
	rule->rule.open = rolling_open;
	rule->rule.advance = rolling_advance;
	rule->rule.assess = rolling_assess;
	rule->rule.retry_at = rolling_retry_at;
	return &rule->rule;
}
