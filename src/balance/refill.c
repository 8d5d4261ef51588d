/*
 * refill.c
 *		Token buckets: a burst that flows back at a rate.
 *
 * What has been used and has not flowed back yet is a debt:
 *
 *		debt(t) = max over s <= t of (amounts in [s, t] - rate * (t - s)), at least 0
 *
 * which may be at most the burst. It is a function of the rows, and cannot be kept
 * as one number: when a row becomes smaller, what it is since depends on all rows. So
 * two bounds are kept, neither of which is ever below the debt, and the lower one
 * is taken:
 *
 *		running	the debt as it was brought forward from row to row (Lindley's
 *				recursion): exact while rows come in the order of time and none
 *				becomes smaller; what becomes smaller leaves it as it is, until
 *				the next load
 *		slots	the amounts of buckets of a 60th of the time that the burst takes to
 *				flow back, each taken to be used at the end of its bucket: too
 *				high by what flows back in one bucket, at most
 *
 * Everything is in integers: debts are counted in parts of a millionth, so many that
 * a whole number of them flows back in a microsecond.
 *
 * A negative adjustment pays off what is owed, and no more: what it would pay in its own
 * bucket is not counted there, since it may have come before what it would pay for. Where
 * the buckets are hours, whose sums come from the roll-up, it counts as if it came last.
 *
 * Where a load has sums of hours, it takes them as used at their ends, and looks up the
 * hour since which something is owed: only when that began matters.
 *
 * A load reads some such times of rows, and before that the hours of 64 of them: so what
 * is owed after a load is never less than it is, and more only where the bucket has been
 * kept nearly empty for long. Caveat: of a debt above the burst that facts had made before
 * (a charge of many bursts at once), it may miss what flows back in an hour.
 */
#include "postgres.h"

#include "balance/balance.h"
#include "civil.h"

/* Debts are cut off here: far above all that can be owed, and the sum of two does not overflow. */
#define PARTS_MAX ((int128) 1 << 125)

typedef struct RefillRule
{
	SeriesRule rule; /* MUST BE FIRST */
	int64 parts;     /* of a millionth, in which debts are counted */
	int64 rate;      /* parts that flow back in a microsecond */
	int64 window_us; /* in which the burst flows back */
	int64 bucket_us;
	int128 most; /* that may be owed, in parts: the burst and the overdraft */
} RefillRule;

/*
 * A load reads exactly twice the time in which what may be owed flows back, or more where
 * that is short, and much more by the hour.
 */
#define EXACT_WINDOWS 2
#define EXACT_WINDOWS_MAX 16
#define EXACT_US USECS_PER_HOUR
#define LOAD_WINDOWS 64

/* Nothing is looked for longer ago: 2000 years. */
#define RANGE_MAX_US (INT64CONST(2000) * 366 * USECS_PER_DAY)

/* What a series keeps beside its slots. */
typedef struct RefillOpening
{
	int128 before;  /* a bound of the debt at the floor */
	int128 running; /* another, of the debt at running_at */
	TimestampTz running_at;
	TimestampTz corrected_at; /* of the last negative adjustment */
} RefillOpening;

StaticAssertDecl(sizeof(RefillOpening) <= sizeof(SeriesOpening),
				 "what is kept must have room in a series");

static int64
greatest_common_divisor(int64 a, int64 b)
{
	while (b != 0)
	{
		int64 rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static TimestampTz
refill_slot_start(SeriesRule *base, TimestampTz at)
{
	const RefillRule *rule = (const RefillRule *) base;

	return at - floor_modulo(at, rule->bucket_us);
}

static bool
refill_is_ready(const SeriesRule *rule pg_attribute_unused(),
				const SeriesState *state pg_attribute_unused(),
				TimestampTz now pg_attribute_unused())
{
	return true;
}

static int128
parts_of(const RefillRule *rule, int128 micros)
{
	int128 most = PARTS_MAX / rule->parts;

	return Min(Max(micros, -most), most) * rule->parts;
}

/* What is left of a debt after some time. */
static int128
flow_back(const RefillRule *rule, int128 debt, int64 elapsed_us)
{
	return elapsed_us <= 0 ? debt : debt - (int128) rule->rate * elapsed_us;
}

static void
refill_open(const SeriesRule *rule pg_attribute_unused(), SeriesState *state)
{
	RefillOpening *opening = (RefillOpening *) &state->opening;

	opening->before = 0;
	opening->running = 0;
	opening->running_at = state->floor;
	opening->corrected_at = DT_NOBEGIN;
	state->matters_from = DT_NOEND;
}

/*
 * refill_look_back
 *		Finds a bound of the debt at the floor from what the hours before it add up to.
 *
 * Before them as much may have been owed as ever may. What an hour adds has flowed back at
 * its end but for that much, unless facts have made more; of that, all is kept that an
 * hour does not give back.
 */
static void
refill_look_back(const SeriesRule *base, SeriesState *state, TimestampTz from,
				 const CounterSlot *hours, int count)
{
	const RefillRule *rule = (const RefillRule *) base;
	RefillOpening *opening = (RefillOpening *) &state->opening;
	int128 debt = rule->most;
	TimestampTz at = from;

	for (int i = 0; i < count; i++)
	{
		int128 added = parts_of(rule, hours[i].used + hours[i].held);
		TimestampTz end = Min(hours[i].start + USECS_PER_HOUR, state->floor);

		debt = Max(flow_back(rule, debt, hours[i].start - at), 0);
		debt = Min(flow_back(rule, debt + added, end - Max(hours[i].start, at)), PARTS_MAX);
		debt = Max(Max(debt, Min(added, rule->most)), 0);
		at = end;
	}
	debt = Max(flow_back(rule, debt, state->floor - at), 0);
	opening->before = debt;
	opening->running = debt;
	opening->running_at = state->floor;
}

/* What a slot adds to the debt of its own bucket, and of those before it. */
static int128
slot_own_parts(const RefillRule *rule, const CounterSlot *slot)
{
	return parts_of(rule, slot->used - slot->returned + slot->held);
}

static int128
slot_parts(const RefillRule *rule, const CounterSlot *slot)
{
	return parts_of(rule, slot->used + slot->held);
}

/* Brings the debt forward over a bucket, all of whose amounts are taken to be used at its end. */
static int128
debt_after(const RefillRule *rule, int128 debt, const CounterSlot *slot, TimestampTz from)
{
	TimestampTz end = slot->start + rule->bucket_us;

	debt = Max(flow_back(rule, debt, end - from), 0);
	debt = Min(debt + slot_parts(rule, slot), PARTS_MAX);
	return Max(debt, slot_own_parts(rule, slot));
}

static void
refill_advance(const SeriesRule *base, SeriesState *state, TimestampTz until)
{
	const RefillRule *rule = (const RefillRule *) base;
	RefillOpening *opening = (RefillOpening *) &state->opening;
	TimestampTz at = state->floor;

	for (int i = 0; i < state->count && state->slots[i].start < until; i++)
	{
		opening->before = debt_after(rule, opening->before, &state->slots[i], at);
		at = state->slots[i].start + rule->bucket_us;
	}
	opening->before = Max(flow_back(rule, opening->before, until - at), 0);
	series_drop_before(state, until);
}

static void
refill_miss(const SeriesRule *base, SeriesState *state, TimestampTz held_at pg_attribute_unused(),
			int64 micros)
{
	const RefillRule *rule = (const RefillRule *) base;
	RefillOpening *opening = (RefillOpening *) &state->opening;

	opening->before = Min(opening->before + parts_of(rule, micros), PARTS_MAX);
}

static void
refill_note(const SeriesRule *base, SeriesState *state, TimestampTz held_at, int64 micros)
{
	const RefillRule *rule = (const RefillRule *) base;
	RefillOpening *opening = (RefillOpening *) &state->opening;
	int128 added = parts_of(rule, micros);

	if (held_at > opening->running_at)
	{
		opening->running = Max(flow_back(rule, opening->running, held_at - opening->running_at), 0);
		opening->running_at = held_at;
	}
	/* One that comes late has flowed back in part by then, or not: it counts in full. */
	opening->running = Max(Min(opening->running + added, PARTS_MAX), 0);
}

static int
refill_first_owed(const SeriesRule *base, const SeriesNote *notes, int count)
{
	const RefillRule *rule = (const RefillRule *) base;
	int128 debt = 0;
	int first = -1;

	for (int i = 0; i < count; i++)
	{
		if (i > 0)
			debt = Max(flow_back(rule, debt, notes[i].held_at - notes[i - 1].held_at), 0);
		if (debt == 0)
			first = i;
		debt = Max(Min(debt + parts_of(rule, notes[i].micros), PARTS_MAX), 0);
	}
	return debt == 0 ? -1 : first;
}

/* A correction of before what came since may have had nothing to pay off. */
static void
refill_correct(const SeriesRule *base, SeriesState *state, TimestampTz held_at, int64 micros)
{
	RefillOpening *opening = (RefillOpening *) &state->opening;

	opening->corrected_at = Max(opening->corrected_at, held_at);
	if (held_at >= opening->running_at)
		refill_note(base, state, held_at, micros);
}

/*
 * Returns the bound that the slots give at an instant. Slots are taken from the last to
 * the first; a bucket that is not over has flowed back nothing. At an instant before a
 * correction, none of a bucket that is not over has paid off anything.
 */
static int128
slots_bound(const RefillRule *rule, const SeriesState *state, TimestampTz at)
{
	const RefillOpening *opening = (const RefillOpening *) &state->opening;
	bool is_corrected_later = at < opening->corrected_at;
	int128 bound = 0;
	int128 later = 0;

	for (int i = state->count - 1; i >= 0; i--)
	{
		const CounterSlot *slot = &state->slots[i];
		int128 sum = Min(later + slot_own_parts(rule, slot), PARTS_MAX);

		bound = Max(bound, flow_back(rule, sum, at - (slot->start + rule->bucket_us)));
		later += is_corrected_later && slot->start + rule->bucket_us > at
					 ? slot_own_parts(rule, slot)
					 : slot_parts(rule, slot);
		later = Max(Min(later, PARTS_MAX), -PARTS_MAX);
	}
	later = Min(later + opening->before, PARTS_MAX);
	return Max(bound, flow_back(rule, later, at - state->floor));
}

/*
 * A bound of the debt at an instant, in parts. Of an instant that is before the last row,
 * what flowed back since then had not yet: so who is late is not given what others have
 * waited for.
 */
static int128
refill_debt(const RefillRule *rule, const SeriesState *state, TimestampTz at)
{
	const RefillOpening *opening = (const RefillOpening *) &state->opening;
	int128 debt = slots_bound(rule, state, at);

	/* What has been corrected was owed until then. */
	if (at >= opening->corrected_at)
		debt = Min(debt, opening->running - (int128) rule->rate * (at - opening->running_at));
	return Max(debt, 0);
}

static void
refill_assess(const SeriesRule *base, const SeriesState *state, SeriesClaim *claim)
{
	const RefillRule *rule = (const RefillRule *) base;
	int128 parts = refill_debt(rule, state, claim->now);
	int128 debt = (parts + rule->parts - 1) / rule->parts;
	TimestampTz oldest = claim->now - rule->window_us;
	int128 held = 0;

	for (int i = state->count - 1; i >= 0 && state->slots[i].start > oldest; i--)
		held += state->slots[i].held;
	claim->held = Min(Max(held, 0), debt);
	claim->used = debt - claim->held;
	claim->limit = claim->amount;
	claim->rolled_over = 0;
	claim->granted = 0;
	claim->carried = 0;
	claim->fits =
		claim->request == 0 || parts + parts_of(rule, claim->request) <=
								   parts_of(rule, (int128) claim->amount + claim->overdraft);
}

/* The first instant at which a debt of so many parts is at most another. */
static TimestampTz
paid_at(const RefillRule *rule, TimestampTz at, int128 debt, int128 most)
{
	int128 above = debt - most;
	int128 wait = above > 0 ? (above + rule->rate - 1) / rule->rate : -(-above / rule->rate);

	if (wait >= (int128) END_TIMESTAMP - at)
		return DT_NOEND;
	return wait <= (int128) MIN_TIMESTAMP - at ? DT_NOBEGIN : at + (TimestampTz) wait;
}

/* The same of a bucket that is not over, or a floor: before it nothing flows back. */
static TimestampTz
paid_after(const RefillRule *rule, TimestampTz at, int128 debt, int128 most)
{
	return debt <= most ? DT_NOBEGIN : paid_at(rule, at, debt, most);
}

static TimestampTz
refill_retry_at(SeriesRule *base, const SeriesState *state, const SeriesClaim *claim)
{
	const RefillRule *rule = (const RefillRule *) base;
	const RefillOpening *opening = (const RefillOpening *) &state->opening;
	int128 most =
		parts_of(rule, (int128) claim->amount + claim->overdraft) - parts_of(rule, claim->request);
	int128 later = 0;
	TimestampTz at = claim->now;

	if (most < 0)
		return DT_NOEND;
	for (int i = state->count - 1; i >= 0; i--)
	{
		const CounterSlot *slot = &state->slots[i];
		int128 sum = Min(later + slot_own_parts(rule, slot), PARTS_MAX);

		at = Max(at, paid_after(rule, slot->start + rule->bucket_us, sum, most));
		later = Max(Min(later + slot_parts(rule, slot), PARTS_MAX), -PARTS_MAX);
	}
	later = Min(later + opening->before, PARTS_MAX);
	at = Max(at, paid_after(rule, state->floor, later, most));
	at = Min(at, Max(claim->now, paid_at(rule, opening->running_at, opening->running, most)));
	return Max(at, opening->corrected_at);
}

/* The start of the bucket that is some time before an instant. */
static TimestampTz
bucket_before(const RefillRule *rule, TimestampTz now, int128 elapsed_us)
{
	TimestampTz at = now - (int64) Min(elapsed_us, (int128) RANGE_MAX_US);

	return at - floor_modulo(at, rule->bucket_us);
}

/*
 * refill_range
 *		Where a load begins, and what an operation at now needs: a row has flowed back
 *		when the burst and the overdraft could have, unless facts have made a larger debt.
 */
SeriesRange
refill_range(const SeriesRule *base, TimestampTz now)
{
	const RefillRule *rule = (const RefillRule *) base;
	int128 window = rule->most / rule->rate + 1;
	int128 exact = Min(window * EXACT_WINDOWS_MAX, (int128) EXACT_US);

	return (SeriesRange){bucket_before(rule, now, window * LOAD_WINDOWS),
						 bucket_before(rule, now, Max(window * EXACT_WINDOWS, exact)),
						 bucket_before(rule, now, window)};
}

/*
 * refill_rule
 *		Makes the rule of a replenishing period, for a limit of an amount, its burst.
 */
SeriesRule *
refill_rule(const Period *period, int64 amount, int64 overdraft)
{
	RefillRule *rule = palloc0(sizeof(RefillRule));
	int64 rate_micros;
	int64 length_us;
	int64 divisor;

	period_refill(period, &rate_micros, &length_us);
	divisor = greatest_common_divisor(rate_micros, length_us);
	rule->parts = length_us / divisor;
	rule->rate = rate_micros / divisor;
	rule->most = parts_of(rule, (int128) amount + overdraft);
	rule->window_us = period_window_us(period);
	rule->bucket_us = window_bucket_us(rule->window_us);
	rule->rule.slot_start = refill_slot_start;
	rule->rule.is_ready = refill_is_ready;
	rule->rule.open = refill_open;
	rule->rule.look_back = refill_look_back;
	rule->rule.advance = refill_advance;
	rule->rule.note = refill_note;
	rule->rule.correct = refill_correct;
	rule->rule.first_owed = refill_first_owed;
	rule->rule.miss = refill_miss;
	rule->rule.assess = refill_assess;
	rule->rule.retry_at = refill_retry_at;
	return &rule->rule;
}
